//! Who is not who it must be gets nothing: not a client at a sidecar, not a server behind one, not a proxy at the control
//! plane. Whoever forges here has the mesh's own key, so that each certificate is wrong in one thing only.

use std::time::{Duration, SystemTime};

use windrose_pki::{Directory, NodeAuthority, SystemEntropy};
use windrose_tests::address::Loopback;
use windrose_tests::authority::{TestAuthority, self_signed};
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::envoy::EnvoyProcess;
use windrose_tests::tls::{Identity, leads_to, server_config};
use windrose_tests::wait::wait_until;
use windrose_vocab::{ProxyKey, TrustDomain};

use crate::stage::{
    EVERYTHING, PATIENCE, Stage, answered_by, beyond, counted, documents, endpoint, free, gateway, route, service, showing, until, workload,
};

const FRIEND: &str = "spiffe://windrose.local/ns/shop/sa/friend";
const WEB: &str = "spiffe://windrose.local/ns/shop/sa/web";

/// Service `web` behind a sidecar at port 15080, which takes calls of `friend` alone; `friend` calls it by port 7001.
fn declared(web: &Loopback, friend: &Loopback) -> String {
    documents(&[
        service("web"),
        workload("web", web.ip(), &[("web", 15_080, 9001)], &[]),
        workload("friend", friend.ip(), &[], &[("web", 7001)]),
        "apiVersion: windrose.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: web, namespace: shop }
spec:
  targetRefs: [{ group: windrose.dev, kind: Workload, name: web }]
  action: Allow
  rules: [{ from: [{ serviceAccount: friend }] }]"
            .to_owned(),
    ])
}

/// Over all clusters but the control plane's.
async fn failed_connections(envoy: &EnvoyProcess) -> u64 {
    let stats = envoy.admin_get("/stats?format=text").await.unwrap().text();
    let counts = stats.lines().filter_map(|line| line.split_once(": "));
    let failed = counts.filter(|(name, _)| name.ends_with(".upstream_cx_connect_fail") && !name.contains("windrose/xds"));
    failed.filter_map(|(_, count)| count.parse::<u64>().ok()).sum()
}

/// Certificates for somebody who is called `right`, each wrong in one thing.
fn wrong(thief: &TestAuthority, right: &str) -> [(&'static str, Identity); 5] {
    let elsewhere = right.replace("windrose.local", "other.example");
    [
        ("of another authority", TestAuthority::new("another root").issue(&[right])),
        ("signed by itself", self_signed(&[right])),
        ("expired", thief.issue_expired(&[right])),
        ("of another trust domain", thief.issue(&[&elsewhere])),
        ("without a name", thief.issue(&[])),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_takes_no_client_that_is_not_who_it_must_be() {
    let (web, friend) = (Loopback::claim(), Loopback::claim());
    let back = EchoServer::start("web", web.port(9001)).await;
    let stage = Stage::set(Loopback::claim(), &declared(&web, &friend)).await;
    let _inbound = stage.envoy("workload", "web", &[]).await;
    let thief = stage.thief();
    let calling_as = |identity: &Identity| showing(identity, &Call::get(web.port(15_080), "/"));

    // The forger can forge: what is refused below is refused for the one thing that is wrong.
    answered_by(&calling_as(&thief.issue(&[FRIEND])), "web").await;
    let seen = back.requests();
    for (what, identity) in wrong(&thief, FRIEND) {
        let answer = calling_as(&identity).send().await;
        assert!(answer.is_err(), "a certificate {what}: {answer:?}");
    }
    let another = calling_as(&thief.issue(&["spiffe://windrose.local/ns/shop/sa/stranger"])).send().await.unwrap();
    assert_eq!(another.status, 403, "{}", another.text());
    assert_eq!(back.requests(), seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_sends_nothing_to_a_server_that_is_not_who_it_must_be() {
    let (web, friend) = (Loopback::claim(), Loopback::claim());
    let stage = Stage::set(Loopback::claim(), &declared(&web, &friend)).await;
    let outbound = stage.envoy("workload", "friend", &[]).await;
    let thief = stage.thief();
    let served_as = async |identity: &Identity| {
        let config = server_config(identity, Some(thief.root_pem()), &["h2", "http/1.1"]);
        EchoServer::start_tls("impostor", web.port(15_080), config).await
    };
    let call = Call::get(friend.port(7001), "/");
    let another = thief.issue(&["spiffe://windrose.local/ns/shop/sa/stranger"]);
    for (what, identity) in wrong(&thief, WEB).iter().chain(&[("of another workload", another)]) {
        let failed = failed_connections(&outbound).await;
        let impostor = served_as(identity).await;
        until(&call, "the sidecar to refuse", |reply| reply.status == 503).await;
        wait_until(PATIENCE, "a refused handshake", async || {
            call.send().await.map_err(|cause| cause.to_string())?;
            let now = failed_connections(&outbound).await;
            if now > failed { Ok(()) } else { Err(format!("{now} failed connections")) }
        })
        .await;
        assert_eq!(impostor.requests(), 0, "a server with a certificate {what} was sent a request");
        drop(impostor);
        free(web.port(15_080)).await;
    }
    let _web = served_as(&thief.issue(&[WEB])).await;
    answered_by(&call, "impostor").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_with_an_expired_or_foreign_token_gets_nothing_until_it_has_a_good_one() {
    let (home, elsewhere) = (Loopback::claim(), tempfile::tempdir().unwrap());
    let _back = EchoServer::start("web", home.port(9001)).await;
    let at = home.port(8080);
    let declared =
        documents(&[gateway(&[("http", at)]), service("web"), endpoint("web", home.port(9001)), route("web", EVERYTHING, "web")]);
    let stage = Stage::set(home, &declared).await;
    let (edge, yesterday) = (ProxyKey::gateway("shop", "edge"), SystemTime::now() - Duration::from_secs(86_400));
    let token = |folder: &std::path::Path, now: SystemTime| {
        let domain = TrustDomain::parse("windrose.local").unwrap();
        let authority = NodeAuthority::open(&Directory::open(folder).unwrap(), &domain, SystemTime::now(), &SystemEntropy).unwrap();
        authority.issue_token(&edge, Duration::from_secs(3_600), now, &SystemEntropy).unwrap().expose().to_owned()
    };
    let state = stage.server.options().state.clone();
    let wrong = [("expired", token(&state, yesterday)), ("foreign", token(&elsewhere.path().join("state"), SystemTime::now()))];
    for (what, token) in wrong {
        let envoy = stage.envoy_with_token("edge", &token).await;
        let refused = "cluster.windrose/xds.upstream_rq_total";
        beyond(&envoy, refused, 1).await;
        // Envoy counts itself connected from its first word on, until it is refused.
        counted(&envoy, "control_plane.connected_state", 0).await;
        assert_eq!(stage.ask("proxies"), serde_json::json!([]), "{what}");
        assert_eq!(envoy.stat("cluster_manager.cds.update_success").await, 0, "{what}");
        assert_eq!(Call::get(at, "/").send().await.unwrap_err().step(), "connect", "{what}");
        assert!(!stage.server.log().contains(&token), "the token is in the log");
    }
    let _envoy = stage.envoy_with_token("edge", &token(&state, SystemTime::now())).await;
    answered_by(&Call::get(at, "/"), "web").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sidecars_of_a_given_authority_show_chains_up_to_the_given_root_and_trust_no_other() {
    let (web, friend, files) = (Loopback::claim(), Loopback::claim(), tempfile::tempdir().unwrap());
    let back = EchoServer::start("web", web.port(9001)).await;
    let (root, another) = (TestAuthority::new("company root"), TestAuthority::new("another root"));
    let issuing = root.intermediate("mesh");
    let given = [("--ca-roots", root.root_pem()), ("--ca-cert", issuing.between_pem()), ("--ca-key", &issuing.key_pem())];
    let arguments = given.map(|(option, pem)| {
        let file = files.path().join(&option[2..]);
        std::fs::write(&file, pem).unwrap();
        [option.to_owned(), file.display().to_string()]
    });
    let arguments: Vec<&str> = arguments.iter().flatten().map(String::as_str).collect();
    let stage = Stage::set_with(Loopback::claim(), &declared(&web, &friend), &arguments).await;
    let _inbound = stage.envoy("workload", "web", &[]).await;
    let _outbound = stage.envoy("workload", "friend", &[]).await;
    answered_by(&Call::get(friend.port(7001), "/"), "web").await;
    assert!(back.last()["headers"]["x-forwarded-client-cert"].to_string().contains(FRIEND), "{}", back.last());

    let call = Call::get(web.port(15_080), "/");
    let shown = showing(&issuing.issue(&[FRIEND]), &call).send().await.unwrap().peer_certificates;
    assert_eq!((leads_to(&shown, root.root_pem()), leads_to(&shown, another.root_pem())), (true, false));
    assert!(!leads_to(&shown[..1], root.root_pem()), "the root has not signed it itself");
    assert!(showing(&another.issue(&[FRIEND]), &call).send().await.is_err());
}
