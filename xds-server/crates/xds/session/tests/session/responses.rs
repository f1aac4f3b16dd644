//! Rules 1–12 and 24–26, 38–49: nonces, answers, flow and limits.

use std::sync::Arc;
use std::time::Duration;

use windrose_state::{Accepted, KindMap, Observed, Opened, Protocol};
use windrose_xds_session::{DeltaRequest, Effect, Failure, NodeClaim, Session, SotwRequest, StreamError, limits};

use crate::stream::{Stream, delta, setup, sotw};
use crate::world::{kind, view, world};

const TWO: &str = "CDS a@1; CDS b@1";

fn sotw_of(short: &str, names: &[&str], nonce: &str) -> SotwRequest {
    SotwRequest {
        type_url: kind(short).type_url().into(),
        resource_names: names.iter().map(ToString::to_string).collect(),
        response_nonce: nonce.into(),
        ..SotwRequest::default()
    }
}

fn delta_of(short: &str, subscribe: &[&str], nonce: &str) -> DeltaRequest {
    DeltaRequest {
        type_url: kind(short).type_url().into(),
        subscribe: subscribe.iter().map(ToString::to_string).collect(),
        response_nonce: nonce.into(),
        ..DeltaRequest::default()
    }
}

#[test]
fn rule_01_a_nonce_is_unique_on_its_stream_and_differs_from_other_streams() {
    let mut nonces = Vec::new();
    for stream in [1, 2] {
        let mut setup = setup(Protocol::Delta);
        setup.params.stream = stream;
        let mut one = setup.open();
        one.subscribe("CDS", &[]);
        one.subscribe("LDS", &[]);
        for version in 1..4 {
            one.view(&format!("CDS a@{version}; LDS l@{version}"));
            while let Some(response) = one.poll() {
                nonces.push(response.nonce.to_string());
                one.ack(&response);
            }
        }
    }
    let count = nonces.len();
    nonces.sort();
    nonces.dedup();
    assert_eq!((count, nonces.len()), (12, 12));
}

#[test]
fn rule_02_sotw_a_stale_nonce_gets_no_response_but_one_of_a_former_stream_does() {
    let mut stream = sotw();
    stream.view(TWO);
    stream.sotw_request(sotw_of("CDS", &[], "former-server-1")).unwrap();
    assert_eq!(stream.lines(), ["CDS +a@1 +b@1"]);
    stream.sotw_request(sotw_of("CDS", &["a"], "former-server-1")).unwrap();
    assert!(stream.lines().is_empty());
}

#[test]
fn rule_03_delta_a_stale_nonce_never_hides_a_subscription() {
    let mut stream = delta();
    stream.view("EDS a@1; EDS b@1");
    stream.subscribe("EDS", &["a"]);
    stream.accept_all();
    stream.delta_request(delta_of("EDS", &["b"], "stale")).unwrap();
    assert_eq!(stream.lines(), ["EDS +b@1"]);
}

#[test]
fn rule_04_a_nack_is_error_detail_and_never_a_version() {
    let mut stream = sotw();
    stream.view(TWO);
    stream.subscribe("CDS", &[]);
    let response = stream.poll().unwrap();
    let odd = SotwRequest { version_info: "some other version".into(), ..sotw_of("CDS", &[], &response.nonce) };
    stream.sotw_request(odd).unwrap();
    assert_eq!(stream.last_acked("CDS"), ["a@1", "b@1"]);
    assert!(stream.diagnoses().is_empty());
}

#[test]
fn rule_06_a_nack_on_one_stream_does_not_stop_another_from_receiving() {
    let accepted = Arc::new(Accepted::new());
    let open = || {
        let mut stream = setup(Protocol::Delta).accepted(&accepted).open();
        stream.view(TWO);
        stream.subscribe("CDS", &[]);
        stream.accept_all();
        stream
    };
    let (mut one, mut other) = (open(), open());
    one.view("CDS a@2; CDS b@1");
    let response = one.poll().unwrap();
    one.nack(&response, "Error adding/updating cluster(s) a: bad");
    other.view("CDS a@2; CDS b@1");
    assert_eq!(other.accept_all(), ["CDS +a@2"]);
}

#[test]
fn rule_07_the_same_nonce_twice_gets_no_second_response_and_changed_names_do() {
    let mut stream = sotw();
    stream.view("EDS a@1; EDS b@1");
    stream.subscribe("EDS", &["a"]);
    let response = stream.poll().unwrap();
    stream.ack(&response);
    stream.ack(&response);
    assert!(stream.lines().is_empty());
    stream.sotw_request(sotw_of("EDS", &["a", "b"], &response.nonce)).unwrap();
    assert_eq!(stream.lines(), ["EDS +b@1"]);
}

#[test]
fn rule_08_sotw_an_ack_of_an_older_response_has_no_effect() {
    let mut stream = sotw();
    stream.view("CDS a@1");
    stream.subscribe("CDS", &[]);
    let first = stream.poll().unwrap();
    stream.view("CDS a@2");
    let second = stream.poll().unwrap();
    stream.sotw_request(sotw_of("CDS", &[], &first.nonce)).unwrap();
    assert!(stream.last_acked("CDS").is_empty());
    stream.ack(&second);
    assert_eq!(stream.last_acked("CDS"), ["a@2"]);
}

#[test]
fn rule_09_the_node_comes_once_and_another_node_later_fails_the_stream() {
    let node = |id: &str| Some(NodeClaim { id: id.into(), ..NodeClaim::default() });
    let mut session = Session::new(setup(Protocol::Delta).params);
    let mut ask = |node| session.on_delta(DeltaRequest { node, ..delta_of("CDS", &[], "") }, Duration::ZERO);
    assert_eq!(ask(None), Err(StreamError::NoNode));
    assert_eq!(ask(node("")), Err(StreamError::NoNode));
    assert_eq!(ask(node("one")), Ok(()));
    assert_eq!(ask(None), Ok(()));
    assert_eq!(ask(node("one")), Ok(()));
    assert_eq!(ask(node("other")), Err(StreamError::OtherNode));
}

#[test]
fn rule_10_an_empty_type_is_refused_and_an_unknown_one_is_survived() {
    let mut stream = delta();
    stream.view(TWO);
    let unknown = DeltaRequest { type_url: "type.googleapis.com/envoy.config.x.Y".into(), ..DeltaRequest::default() };
    stream.delta_request(unknown).unwrap();
    stream.subscribe("CDS", &[]);
    assert_eq!(stream.lines(), ["CDS +a@1 +b@1"]);
    assert_eq!(stream.delta_request(DeltaRequest::default()), Err(StreamError::EmptyType));
    assert_eq!(StreamError::EmptyType.code(), 3, "INVALID_ARGUMENT");
}

#[test]
fn rule_11_an_unacked_type_gets_no_second_response_and_then_the_newest() {
    let mut stream = delta();
    stream.view("EDS a@1");
    stream.subscribe("EDS", &["a"]);
    let first = stream.poll().unwrap();
    for version in 2..5 {
        stream.view(&format!("EDS a@{version}"));
        assert!(stream.lines().is_empty());
    }
    stream.ack(&first);
    assert_eq!(stream.accept_all(), ["EDS +a@4"]);
}

#[test]
fn rule_12_an_unchanged_set_is_never_sent() {
    for mut stream in [delta(), sotw()] {
        stream.view(TWO);
        stream.subscribe("CDS", &[]);
        stream.accept_all();
        stream.view(TWO);
        stream.wait(60);
        assert!(stream.lines().is_empty());
        stream.view("CDS a@2; CDS b@1");
        stream.view(TWO);
        assert!(stream.lines().is_empty(), "a change that was taken back before it was sent is none");
    }
}

#[test]
fn rule_24_every_resource_has_a_name_and_a_version_and_the_response_has_one_too() {
    let mut stream = delta();
    stream.view(TWO);
    stream.subscribe("CDS", &[]);
    let response = stream.poll().unwrap();
    assert!(response.resources.iter().all(|one| !one.id.name.is_empty() && one.version != Default::default()));
    assert_eq!(response.version.len(), 32);
}

fn with_ttl(feature: &str) -> Stream {
    let mut setup = setup(Protocol::Delta).feature(feature);
    setup.params.ttl = Some(Duration::from_secs(20));
    setup.open()
}

#[test]
fn rule_25_a_heartbeat_has_a_name_a_version_and_no_body() {
    let mut stream = with_ttl("xds.config.supports-resource-ttl");
    stream.view(TWO);
    stream.subscribe("CDS", &[]);
    let first = stream.poll().unwrap();
    assert_eq!(first.ttl, Some(Duration::from_secs(20)));
    stream.ack(&first);
    stream.wait(9);
    assert!(stream.lines().is_empty());
    stream.wait(1);
    assert_eq!(stream.accept_all(), ["CDS =a =b"]);
    stream.wait(10);
    assert_eq!(stream.accept_all(), ["CDS =a =b"]);
}

#[test]
fn rule_26_the_clients_features_are_respected() {
    let mut without = with_ttl("something-else");
    without.view(TWO);
    without.subscribe("CDS", &[]);
    assert_eq!(without.poll().unwrap().ttl, None);
    without.wait(60);
    assert!(without.lines().is_empty());
    for (feature, wrapped) in [("xds.config.resource-in-sotw", true), ("other", false)] {
        let mut stream = setup(Protocol::Sotw).feature(feature).open();
        stream.view(TWO);
        stream.subscribe("CDS", &[]);
        assert_eq!(stream.poll().unwrap().wrapped, wrapped);
    }
}

#[test]
fn rule_38_a_slow_reader_holds_one_response_and_gets_only_the_newest() {
    let mut stream = delta();
    stream.view("EDS a@1; EDS b@1");
    stream.subscribe("EDS", &["a", "b"]);
    let first = stream.poll().unwrap();
    for version in 2..1_000 {
        stream.view(&format!("EDS a@{version}; EDS b@1"));
        assert!(stream.poll().is_none());
    }
    stream.ack(&first);
    assert_eq!(stream.accept_all(), ["EDS +a@999"]);
}

#[test]
fn rule_40_a_client_that_comes_back_gets_nothing_it_has() {
    let mut stream = delta();
    stream.view("CDS a@1; LDS l@1; EDS a@1; RDS r@1; SDS s@1");
    stream.resume("CDS", &[], &["a@1"]);
    stream.resume("EDS", &["a"], &["a@1"]);
    stream.resume("SDS", &["s"], &["s@1"]);
    stream.resume("LDS", &[], &["l@1"]);
    stream.resume("RDS", &["r"], &["r@1"]);
    stream.wait(60);
    assert!(stream.lines().is_empty());
    assert_eq!(stream.last_acked("RDS"), ["r@1"], "what it says it has counts as accepted");
}

#[test]
fn rule_44_two_streams_of_one_node_are_both_served_and_seen_apart() {
    let observed = Observed::new();
    for version in [1, 2] {
        let opened = Opened {
            node: "node".into(),
            identity: "edge".into(),
            scope: setup(Protocol::Delta).params.scope,
            protocol: Protocol::Delta,
            since: std::time::SystemTime::UNIX_EPOCH,
            credential_expires: std::time::SystemTime::UNIX_EPOCH,
            replica: None,
            version: None,
        };
        let id = observed.open(opened).unwrap();
        let mut stream = delta();
        stream.view(&format!("CDS a@{version}"));
        stream.subscribe("CDS", &[]);
        assert_eq!(stream.accept_all(), [format!("CDS +a@{version}")]);
        let news = stream.effects.into_iter().filter_map(|effect| match effect {
            Effect::Observe(news) => Some(news),
            Effect::Diagnose(_) => None,
        });
        observed.record(id, news, std::time::SystemTime::UNIX_EPOCH);
    }
    let acked: Vec<_> = observed.snapshot().iter().map(|one| one.of_kind(kind("CDS")).acked["a"].version.bits()).collect();
    assert_eq!(acked, [1, 2]);
    assert!(observed.snapshot().iter().all(windrose_state::StreamStatus::is_in_sync));
}

#[test]
fn rule_45_a_million_names_and_a_name_of_a_megabyte_end_in_a_clean_error() {
    let million = vec!["x".to_owned(); 1_000_000];
    let request = DeltaRequest { subscribe: million.clone(), ..delta_of("EDS", &[], "") };
    assert!(matches!(delta().delta_request(request), Err(StreamError::TooMany { .. })));
    let request = SotwRequest { resource_names: million, ..sotw_of("EDS", &[], "") };
    assert!(matches!(sotw().sotw_request(request), Err(StreamError::TooMany { .. })));
    let long = "x".repeat(1 << 20);
    assert!(matches!(delta().delta_request(delta_of("EDS", &[&long], "")), Err(StreamError::TooLong { .. })));
    assert!(matches!(sotw().sotw_request(sotw_of("EDS", &["x"], &long)), Err(StreamError::TooLong { .. })));
    let claims = [(long, String::new())].into();
    let request = DeltaRequest { initial_resource_versions: claims, ..delta_of("EDS", &[], "") };
    assert!(matches!(delta().delta_request(request), Err(StreamError::TooLong { .. })));
}

#[test]
fn rule_45_names_that_do_not_exist_are_bounded_over_many_requests() {
    let mut stream = delta();
    stream.view(TWO);
    let ended = (0..100).find_map(|round| {
        let names = (0..10_000).map(|n| format!("{round}-{n}-{}", "x".repeat(80))).collect();
        stream.delta_request(DeltaRequest { subscribe: names, ..delta_of("EDS", &[], "") }).err()
    });
    assert!(matches!(ended, Some(StreamError::TooMany { max: limits::UNKNOWN_NAME_BYTES, .. })), "{ended:?}");
    let names = (0..60_000).map(|n| format!("{n}-{}", "x".repeat(80))).collect();
    let ended = sotw().sotw_request(SotwRequest { resource_names: names, ..sotw_of("EDS", &[], "") });
    assert!(matches!(ended, Err(StreamError::TooMany { max: limits::UNKNOWN_NAME_BYTES, .. })), "{ended:?}");
}

#[test]
fn rule_45_what_a_client_claims_to_have_and_does_not_exist_is_bounded_over_all_kinds() {
    let mut stream = delta();
    stream.view("CDS a@1");
    let half = limits::UNKNOWN_NAME_BYTES / 2 / (limits::UNKNOWN_NAME_COST + 6);
    let mut claim = |short: &str| {
        let names: Vec<String> = (0..half).map(|n| format!("{n:06}")).collect();
        let claimed = names.iter().map(|name| (name.clone(), String::new())).collect();
        let subscribe = if short == "CDS" { Vec::new() } else { vec!["*".to_owned()] };
        let request = DeltaRequest { subscribe, initial_resource_versions: claimed, ..delta_of(short, &[], "") };
        stream.delta_request(request)
    };
    assert_eq!((claim("CDS"), claim("LDS")), (Ok(()), Ok(())));
    let ended = claim("RDS");
    assert!(matches!(ended, Err(StreamError::TooMany { max: limits::UNKNOWN_NAME_BYTES, .. })), "{ended:?}");
}

#[test]
fn rule_45_short_names_that_do_not_exist_are_bounded_too() {
    let mut stream = delta();
    stream.view("CDS a@1");
    let names = (0..limits::NAMES_PER_REQUEST).map(|n| n.to_string()).collect();
    let ended = stream.delta_request(DeltaRequest { subscribe: names, ..delta_of("EDS", &[], "") });
    assert!(matches!(ended, Err(StreamError::TooMany { max: limits::UNKNOWN_NAME_BYTES, .. })), "{ended:?}");
}

#[test]
fn rule_45_a_client_that_refuses_everything_ends_in_silence_and_not_in_a_loop() {
    for protocol in [Protocol::Delta, Protocol::Sotw] {
        let mut stream = setup(protocol).open();
        stream.view("CDS a@1 -> EDS a; CDS b@1; EDS a@1; LDS l@1; RDS r@1 -> CDS a; SDS s@1");
        for (short, names) in [("CDS", &[][..]), ("LDS", &[]), ("EDS", &["a"]), ("RDS", &["r"]), ("SDS", &["s"])] {
            stream.subscribe(short, names);
        }
        let mut count = 0;
        for round in 0..20 {
            while let Some(response) = stream.poll() {
                stream.nack(&response, "no");
                count += 1;
                assert!(count < 100, "round {round}");
            }
            stream.wait(5);
        }
    }
}

#[test]
fn rule_46_versions_are_equal_in_every_process() {
    let version = || {
        let mut stream = sotw();
        stream.view(TWO);
        stream.subscribe("CDS", &[]);
        stream.poll().unwrap().version
    };
    assert_eq!(version(), version());
    assert_eq!(&*version(), "5245b4ee326e8561b3642609f4b78d0c");
}

#[test]
fn rule_48_a_wildcard_on_secrets_is_refused() {
    assert_eq!(delta().delta_request(delta_of("SDS", &["*"], "")), Err(StreamError::SecretWildcard));
    assert_eq!(sotw().sotw_request(sotw_of("SDS", &["*"], "")), Err(StreamError::SecretWildcard));
    let mut stream = delta();
    stream.view("SDS s@1");
    stream.subscribe("SDS", &[]);
    assert!(stream.lines().is_empty(), "an empty list of secrets is no wildcard either");
}

#[test]
fn rule_49_a_secret_in_a_nack_reaches_no_effect() {
    let mut stream = delta();
    stream.view("SDS s@1");
    stream.subscribe("SDS", &["s"]);
    let response = stream.poll().unwrap();
    let text = "private_key: -----BEGIN PRIVATE KEY----- MIIEvQIBADANBgkqhkiG9w0B password hunter2";
    let failure = Failure { code: 13, message: text.into() };
    assert!(!format!("{failure:?}").contains("hunter2"));
    stream.nack(&response, text);
    let told = format!("{:?} {:?}", stream.effects, stream.session);
    assert!(!told.contains("hunter2") && !told.contains("MIIE"), "{told}");
    assert!(!stream.diagnoses().is_empty());
}

#[test]
fn a_request_of_the_other_variant_ends_the_stream() {
    let mut stream = delta();
    assert_eq!(stream.sotw_request(sotw_of("CDS", &[], "")), Err(StreamError::OtherProtocol));
    assert_eq!(sotw().delta_request(delta_of("CDS", &[], "")), Err(StreamError::OtherProtocol));
}

#[test]
fn a_view_that_was_seen_costs_nothing_and_says_nothing() {
    let mut stream = delta();
    let same = view(world(TWO), KindMap::new());
    stream.session.on_view(Arc::clone(&same), Duration::ZERO);
    stream.subscribe("CDS", &[]);
    stream.accept_all();
    stream.session.on_view(same, Duration::ZERO);
    assert!(stream.lines().is_empty());
}
