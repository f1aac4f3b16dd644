//! CSDS at the address for operators: what every proxy has, in the words of the standard, without its keys.

use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_client::ClientStatusDiscoveryServiceClient;
use envoy_types::pb::envoy::service::status::v3::{ClientConfig, ClientStatusRequest, ConfigStatus};
use tonic::transport::Endpoint;
use windrose_tests::address::Loopback;
use windrose_tests::client::Call;
use windrose_tests::echo::EchoServer;
use windrose_tests::server::windrose;
use windrose_tests::wait::wait_until;

use crate::stage::{EVERYTHING, PATIENCE, Stage, answered_by, documents, endpoint, gateway, route, service};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_proxy_is_shown_to_operators_and_to_nobody_from_elsewhere() {
    let home = Loopback::claim();
    let _back = EchoServer::start("web", home.port(9001)).await;
    let at = home.port(8080);
    let declared =
        documents(&[gateway(&[("http", at)]), service("web"), endpoint("web", home.port(9001)), route("web", EVERYTHING, "web")]);
    let csds = home.port(18_002);
    let stage = Stage::set_with(home, &declared, &["--csds", &csds.to_string()]).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    answered_by(&Call::get(at, "/"), "web").await;

    let mut client =
        ClientStatusDiscoveryServiceClient::new(Endpoint::from_shared(format!("http://{csds}")).unwrap().connect().await.unwrap());
    wait_until(PATIENCE, "everything to be in step", async || {
        let answer = client.fetch_client_status(ClientStatusRequest::default()).await.map_err(|status| status.to_string())?.into_inner();
        let [edge]: [ClientConfig; 1] = answer.config.try_into().map_err(|_| "not one client".to_owned())?;
        let resources = &edge.generic_xds_configs;
        assert_eq!(edge.node.as_ref().unwrap().cluster, "gateway/shop/edge");
        assert!(resources.iter().all(|one| one.xds_config.is_none() || !one.type_url.ends_with("Secret")));
        let behind: Vec<_> = resources.iter().filter(|one| one.config_status() != ConfigStatus::Synced).map(|one| &one.name).collect();
        if behind.is_empty() && resources.len() >= 4 { Ok(()) } else { Err(format!("{} resources, behind: {behind:?}", resources.len())) }
    })
    .await;

    let folder = stage.server.options().folder.display().to_string();
    let refused = windrose(&["serve", &folder, "--csds", "0.0.0.0:18002"]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("not a loopback address"));
}
