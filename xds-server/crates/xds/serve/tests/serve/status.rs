//! CSDS: what each client has, without a secret, and only to whom it concerns.

use std::sync::Arc;

use envoy_types::pb::envoy::admin::v3::ClientResourceStatus;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::envoy::service::status::v3::client_config::GenericXdsConfig;
use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_client::ClientStatusDiscoveryServiceClient;
use envoy_types::pb::envoy::service::status::v3::{ClientStatusRequest, ClientStatusResponse, ConfigStatus};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{NodeMatcher, StringMatcher};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Endpoint;
use windrose_vocab::ResourceKind;
use windrose_xds_serve::{Counters, Settings, Status, bind, serve_status};

use crate::client::{with_token, within};
use crate::stage::{DAY, Stage, catalog, cluster, orders, resource, until};

/// A server with one synchronised client per proxy, which has a cluster and a secret.
async fn stage() -> (Stage, Vec<crate::client::Delta>) {
    let mut stage = Stage::new().await;
    let mut streams = Vec::new();
    for proxy in [orders(), catalog()] {
        stage.publish(&proxy, [cluster("a", "one"), resource(ResourceKind::Secret, "own", "PRIVATE KEY")]);
        let mut stream = stage.delta(&stage.bearer(&proxy)).await.unwrap();
        for kind in [ResourceKind::Cluster, ResourceKind::Secret] {
            let mut request = envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest {
                node: Some(crate::client::node()),
                type_url: kind.type_url().into(),
                ..Default::default()
            };
            if kind == ResourceKind::Secret {
                request.resource_names_subscribe = vec!["own".into()];
            }
            stream.send.send(request).await.unwrap();
            let response = stream.next().await.unwrap();
            stream.ack(&response).await;
        }
        streams.push(stream);
    }
    let observed = stage.observed.clone();
    let acked = move || {
        let all = observed.snapshot();
        let both = |kind| all.iter().all(|one| one.of_kind(kind).acked.len() == 1);
        both(ResourceKind::Cluster) && both(ResourceKind::Secret)
    };
    until("all acknowledged", acked).await;
    (stage, streams)
}

#[tokio::test]
async fn rule_49_a_client_sees_itself_without_private_keys() {
    let (stage, _streams) = stage().await;
    let credential = stage.bearer(&orders());
    let mut client = ClientStatusDiscoveryServiceClient::new(stage.channel(&credential).await.unwrap());
    let answer = client.fetch_client_status(with_token(ClientStatusRequest::default(), &credential)).await.unwrap().into_inner();
    let [config] = answer.config.try_into().unwrap();
    assert_eq!(config.node.unwrap().cluster, orders().to_string());
    let [cluster, secret] = config.generic_xds_configs.try_into().unwrap();
    assert_eq!((cluster.name.as_str(), cluster.config_status()), ("a", ConfigStatus::Synced));
    assert_eq!(cluster.client_status(), ClientResourceStatus::Acked);
    assert_eq!(cluster.xds_config.unwrap().value, b"one");
    assert_eq!((secret.name.as_str(), secret.xds_config), ("own", None));
    let none = ClientStatusDiscoveryServiceClient::new(stage.channel(&Default::default()).await.unwrap())
        .fetch_client_status(ClientStatusRequest::default())
        .await;
    assert_eq!(none.unwrap_err().code(), Code::Unauthenticated);
}

/// What the answer says of each resource: name, status, reason.
fn told(answer: &ClientStatusResponse) -> Vec<(String, ConfigStatus, String)> {
    let all = answer.config.iter().flat_map(|client| &client.generic_xds_configs);
    let reason = |one: &GenericXdsConfig| one.error_state.as_ref().map(|error| error.details.clone()).unwrap_or_default();
    all.map(|one| (one.name.clone(), one.config_status(), reason(one))).collect()
}

#[tokio::test]
async fn a_stream_of_questions_tells_what_is_on_its_way_refused_and_absent_and_ends_with_the_credential() {
    let (mut stage, mut streams) = stage().await;
    let credential = stage.bearer(&orders());
    let (ask, questions) = tokio::sync::mpsc::channel(1);
    let request = with_token(tokio_stream::wrappers::ReceiverStream::new(questions), &credential);
    let mut client = ClientStatusDiscoveryServiceClient::new(stage.channel(&credential).await.unwrap());
    let mut answers = client.stream_client_status(request).await.unwrap().into_inner();
    let (cluster_a, secret) =
        (|status, reason: &str| ("a".to_owned(), status, reason.to_owned()), ("own".to_owned(), ConfigStatus::Synced, String::new()));

    ask.send(ClientStatusRequest::default()).await.unwrap();
    let first = within(answers.message()).await.unwrap().unwrap();
    assert_eq!(told(&first), [cluster_a(ConfigStatus::Synced, ""), secret.clone()]);

    stage.publish(&orders(), [cluster("a", "two"), resource(ResourceKind::Secret, "own", "PRIVATE KEY")]);
    let response = streams[0].next().await.unwrap();
    ask.send(ClientStatusRequest::default()).await.unwrap();
    let second = within(answers.message()).await.unwrap().unwrap();
    assert_eq!(told(&second), [cluster_a(ConfigStatus::Stale, ""), secret.clone()]);

    let nack = DeltaDiscoveryRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        error_detail: Some(envoy_types::pb::google::rpc::Status {
            code: 13,
            message: "Error adding/updating cluster(s) a: no such thing {private_key: \"PRIVATE KEY\"}".into(),
            details: Vec::new(),
        }),
        ..Default::default()
    };
    let absent = DeltaDiscoveryRequest {
        type_url: ResourceKind::Endpoints.type_url().into(),
        resource_names_subscribe: vec!["nowhere".into()],
        ..Default::default()
    };
    for request in [nack, absent] {
        streams[0].send.send(request).await.unwrap();
    }
    let observed = stage.observed.clone();
    until("both are noticed", || {
        let all = observed.snapshot();
        all.iter()
            .any(|one| !one.of_kind(ResourceKind::Cluster).rejected.is_empty() && one.of_kind(ResourceKind::Endpoints).missing.count == 1)
    })
    .await;
    ask.send(ClientStatusRequest::default()).await.unwrap();
    let third = within(answers.message()).await.unwrap().unwrap();
    let nowhere = ("nowhere".to_owned(), ConfigStatus::NotSent, String::new());
    assert_eq!(told(&third), [cluster_a(ConfigStatus::Error, "no such thing"), nowhere, secret]);

    stage.move_clock(2 * DAY);
    ask.send(ClientStatusRequest::default()).await.unwrap();
    assert_eq!(within(answers.message()).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn the_status_address_shows_all_clients_and_narrows_by_node_id() {
    let (stage, _streams) = stage().await;
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let stop = CancellationToken::new();
    let status = Status { observed: stage.observed.clone(), counters: Arc::new(Counters::default()), settings: Settings::default() };
    let task = tokio::spawn(serve_status(listener, status, stop.clone()));
    let client = ClientStatusDiscoveryServiceClient::new(endpoint.connect().await.unwrap());
    let asked = |pattern: Option<MatchPattern>| {
        let matcher = |pattern| NodeMatcher {
            node_id: Some(StringMatcher { match_pattern: Some(pattern), ignore_case: false }),
            node_metadatas: Vec::new(),
        };
        let request =
            ClientStatusRequest { node_matchers: pattern.map(matcher).into_iter().collect(), exclude_resource_contents: true, node: None };
        let mut client = client.clone();
        async move { client.fetch_client_status(request).await.map(|answer| answer.into_inner().config) }
    };
    let all = asked(None).await.unwrap();
    assert_eq!(all.len(), 2);
    assert!(all.iter().flat_map(|one| &one.generic_xds_configs).all(|one| one.xds_config.is_none()));
    assert_eq!(asked(Some(MatchPattern::Exact("test".into()))).await.unwrap().len(), 2);
    assert_eq!(asked(Some(MatchPattern::Prefix("x".into()))).await.unwrap().len(), 0);
    assert_eq!(asked(Some(MatchPattern::SafeRegex(Default::default()))).await.unwrap_err().code(), Code::InvalidArgument);
    stop.cancel();
    crate::client::within(task).await.unwrap();
}

#[tokio::test]
async fn rule_45_answers_that_nobody_reads_are_few() {
    let (mut stage, _streams) = stage().await;
    stage.publish(&orders(), [cluster("a", vec![b'x'; 1 << 20])]);
    let large = stage.observed.clone();
    until("it is sent", || large.snapshot().iter().any(|one| one.of_kind(ResourceKind::Cluster).sent["a"].bytes.len() == 1 << 20)).await;
    let credential = stage.bearer(&orders());
    let mut client = ClientStatusDiscoveryServiceClient::new(stage.channel(&credential).await.unwrap());
    let mut refused = false;
    for _ in 0..20 {
        let mut unread = Vec::new();
        for _ in 0..=windrose_xds_serve::limits::STATUS_ANSWERS_OF_PROXY {
            let question = tokio_stream::once(ClientStatusRequest::default());
            unread.push(client.stream_client_status(with_token(question, &credential)).await.unwrap().into_inner());
        }
        // All are answered by now, unless the machine is busy.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        for mut answers in unread {
            refused |= within(answers.message()).await.is_err_and(|status| status.code() == Code::ResourceExhausted);
        }
        if refused {
            break;
        }
    }
    assert!(refused);
    for _ in 0..20 {
        let asked = client.fetch_client_status(with_token(ClientStatusRequest::default(), &credential));
        if within(asked).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the places are not given back");
}
