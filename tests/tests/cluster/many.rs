//! A thousand objects at once.

use std::fmt::Write as _;

use serde_json::Value;
use windrose_tests::client::Call;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, Stage, condition};

const ROUTES: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_routes_at_once_are_accepted_and_each_status_is_written_once() {
    let Some(stage) = Stage::open("many") else { return };
    stage.backend("echo", 1).await;
    stage.gateway("edge", "echo");
    let at = stage.address("edge", 80).await;
    let mut yaml = String::new();
    for index in 0..ROUTES {
        write!(
            yaml,
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: r{index} }}\nspec:\n  parentRefs: [{{ name: edge }}]\n  hostnames: [h{index}.example]\n  rules: [{{ backendRefs: [{{ name: echo, port: 8080 }}] }}]\n"
        )
        .unwrap();
    }
    stage.try_kubectl(&["create", "-f", "-"], Some(&yaml)).unwrap();
    let routes = || -> Value { serde_json::from_str(&stage.kubectl(&["get", "httproute", "-o", "json"])).unwrap() };
    let is_accepted = |route: &Value| condition(&route["status"]["parents"][0]["conditions"], "Accepted")["status"] == "True";
    wait_until(PATIENCE, "all to be accepted", async || {
        let routes = routes();
        let accepted = routes["items"].as_array().unwrap().iter().filter(|route| is_accepted(route)).count();
        if accepted == ROUTES + 1 { Ok(()) } else { Err(format!("{accepted} are")) }
    })
    .await;
    stage.answered(&Call::get(at, "/").host("h999.example"), "echo").await;
    let attached = stage.object("gateway", "edge")["status"]["listeners"][0]["attachedRoutes"].clone();
    assert_eq!(attached, ROUTES + 1);
}
