//! Who may call a sidecar: rules by method, path and namespace, and a default of the mesh or the namespace, as Envoy enforces them.

use http::Method;
use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;

use crate::stage::{Stage, answered_by, documents, service, showing, until, workload};

const FRIEND: &str = "shop/sa/friend";
const GUEST: &str = "team/sa/guest";

/// Two Allow rules and a Deny.
const RULES: &str = "
  action: Allow
  rules:
  - { from: [{ namespace: shop }], methods: [GET], paths: [{ prefix: /v1 }] }
  - { from: [{ namespace: team }], paths: [{ exact: /health }] }";
const DENIAL: &str = "
  action: Deny
  rules: [{ paths: [{ prefix: /v1/admin }] }]";

/// An Allow policy that allows nothing.
const NOBODY: &str = "\n  action: Allow";

/// Who is answered what under [`RULES`] and [`DENIAL`]; first those who pass.
const WANTED: [(&str, Method, &str, u16); 10] = [
    (FRIEND, Method::GET, "/v1/a", 200),
    (GUEST, Method::GET, "/health", 200),
    (GUEST, Method::POST, "/health", 200),
    (FRIEND, Method::POST, "/v1/a", 403),
    (FRIEND, Method::GET, "/v1x", 403),
    (FRIEND, Method::GET, "/health", 403),
    (FRIEND, Method::GET, "/v1/admin/a", 403),
    (GUEST, Method::GET, "/v1/a", 403),
    (GUEST, Method::GET, "/health/a", 403),
    ("lost/sa/stranger", Method::GET, "/health", 403),
];

fn policy(namespace: &str, name: &str, spec: &str) -> String {
    let kind = "apiVersion: windrose.dev/v1alpha1\nkind: AuthorizationPolicy";
    format!("{kind}\nmetadata: {{ name: {name}, namespace: {namespace} }}\nspec:{spec}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_lets_by_by_method_path_and_namespace_and_by_default_nobody() {
    let home = Loopback::claim();
    let back = EchoServer::start("web", home.port(9001)).await;
    let (at, workload) = (home.port(15_080), workload("web", home.ip(), &[("web", 15_080, 9001)], &[]));
    let declared = |policies: &[String]| documents(&[service("web"), workload.clone(), documents(policies)]);
    let stage = Stage::set(home, &documents(&[service("web"), workload.clone()])).await;
    let _inbound = stage.envoy("workload", "web", &[]).await;
    let thief = stage.thief();
    let call = |who: &str, method: &Method, path: &str| {
        let identity = thief.issue(&[&format!("spiffe://windrose.local/ns/{who}")]);
        showing(&identity, &Call::new(method.clone(), at, path))
    };
    let friend = call(FRIEND, &Method::GET, "/v1/a");
    let refused = async |what: &str| _ = until(&friend, what, |reply| reply.status == 403).await;
    answered_by(&friend, "web").await;

    let of_mesh = policy("windrose-system", "default", NOBODY);
    stage.declare("shop.yaml", &declared(std::slice::from_ref(&of_mesh)));
    refused("the mesh to let nobody by").await;

    stage.declare("shop.yaml", &declared(&[of_mesh, policy("shop", "callers", RULES), policy("shop", "admin", DENIAL)]));
    answered_by(&friend, "web").await;
    for (who, method, path, wanted) in WANTED {
        let seen = back.requests();
        let reply = call(who, &method, path).send().await.unwrap();
        assert_eq!((reply.status, back.requests() - seen), (wanted, u64::from(wanted == 200)), "{who} {method} {path}");
    }
    stage.declare("shop.yaml", &declared(&[policy("shop", "default", NOBODY)]));
    refused("the namespace to let nobody by").await;
}
