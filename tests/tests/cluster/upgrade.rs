//! Another version of the control plane, put over the one that runs.

use std::time::Duration;

use windrose_tests::load::Load;

use crate::stage::{NAME, PATIENCE, SYSTEM, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_of_the_control_plane_costs_no_request_and_no_change() {
    let Some(stage) = Stage::open_alone("upgrade") else { return };
    let call = stage.two_backends("one", "other").await;

    let runs = stage.kubectl(&["-n", SYSTEM, "get", "deployment", NAME, "-o", "jsonpath={.spec.template.spec.containers[0].image}"]);
    let images = std::env::var("WINDROSE_TEST_IMAGES").expect("WINDROSE_TEST_IMAGES names two images of the control plane");
    let next = images.split_whitespace().find(|image| *image != runs).unwrap();
    let load = Load::start(4, Duration::from_millis(20), &call);
    let installation = stage.windrose(&["install", "--image", next]);
    stage.anywhere(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &installation);
    stage.gateway("edge", "other");
    stage.answered(&call, "other").await;
    stage.rolled_out();
    stage.gateway("edge", "one");
    stage.answered(&call, "one").await;
    load.go_on(20, PATIENCE).await;
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
}
