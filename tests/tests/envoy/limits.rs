//! What an EdgePolicy bounds is bounded by the real Envoy: each limit turns away who goes beyond it, lets by who stays within, and
//! is not the listener's without the policy, where the same request is answered.

use std::time::{Duration, Instant};

use rustls::SupportedProtocolVersion;
use windrose_tests::address::Loopback;
use windrose_tests::authority::TestAuthority;
use windrose_tests::client::{Call, Connection, raw};
use windrose_tests::echo::EchoServer;
use windrose_tests::tls::{Identity, TlsClient};
use windrose_tests::wait::wait_until;

use crate::certificates::secret;
use crate::stage::{EVERYTHING, PATIENCE, Stage, answered_by, documents, endpoint, route, service};

/// Listeners that the policy is about, and beside each one without.
const STRICT: u16 = 8080;
const LAX: u16 = 8081;
const STRICT_TLS: u16 = 8443;
const LAX_TLS: u16 = 8444;
/// Listeners where little time is given.
const TIMED: u16 = 8082;
const TIMED_TLS: u16 = 8445;
const AGED: u16 = 8083;

/// The limits of [`declared`].
const HEADERS: usize = 20;
const HEADERS_KIB: usize = 4;
const BODY_BYTES: usize = 1_000;
const STREAMS: usize = 2;
const CONNECTIONS: usize = 4;
const HEADERS_TIME: Duration = Duration::from_secs(1);

fn declared(home: &Loopback, identity: &Identity) -> String {
    let gateway = format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: edge, namespace: shop }}
spec:
  gatewayClassName: windrose
  addresses: [{{ type: IPAddress, value: \"{}\" }}]
  listeners:
  - {{ name: strict, port: {STRICT}, protocol: HTTP }}
  - {{ name: lax, port: {LAX}, protocol: HTTP }}
  - {{ name: strict-tls, port: {STRICT_TLS}, protocol: HTTPS, tls: {{ certificateRefs: [{{ name: edge }}] }} }}
  - {{ name: lax-tls, port: {LAX_TLS}, protocol: HTTPS, tls: {{ certificateRefs: [{{ name: edge }}] }} }}
  - {{ name: timed, port: {TIMED}, protocol: HTTP }}
  - {{ name: timed-tls, port: {TIMED_TLS}, protocol: HTTPS, tls: {{ certificateRefs: [{{ name: edge }}] }} }}
  - {{ name: aged, port: {AGED}, protocol: HTTP }}
---
apiVersion: windrose.dev/v1alpha1
kind: EdgePolicy
metadata: {{ name: edge, namespace: shop }}
spec:
  targetRefs:
  - {{ group: gateway.networking.k8s.io, kind: Gateway, name: edge, sectionName: strict }}
  - {{ group: gateway.networking.k8s.io, kind: Gateway, name: edge, sectionName: strict-tls }}
  headers: {{ maxCount: {HEADERS}, maxKib: {HEADERS_KIB} }}
  body: {{ maxBytes: {BODY_BYTES} }}
  http2: {{ maxStreams: {STREAMS} }}
  connections: {{ max: {CONNECTIONS} }}
  timeouts: {{ headers: {}s }}
  tls: {{ minimumVersion: \"1.3\" }}
---
apiVersion: windrose.dev/v1alpha1
kind: EdgePolicy
metadata: {{ name: timed, namespace: shop }}
spec:
  targetRefs:
  - {{ group: gateway.networking.k8s.io, kind: Gateway, name: edge, sectionName: timed }}
  - {{ group: gateway.networking.k8s.io, kind: Gateway, name: edge, sectionName: timed-tls }}
  timeouts: {{ handshake: 1s, request: 1s, streamIdle: 2s, connectionIdle: 1s }}
---
apiVersion: windrose.dev/v1alpha1
kind: EdgePolicy
metadata: {{ name: aged, namespace: shop }}
spec:
  targetRefs: [{{ group: gateway.networking.k8s.io, kind: Gateway, name: edge, sectionName: aged }}]
  timeouts: {{ connection: 1s }}",
        home.ip(),
        HEADERS_TIME.as_secs()
    );
    let (service, endpoint) = (service("web"), endpoint("web", home.port(9001)));
    documents(&[gateway, secret("edge", identity), service, endpoint, route("web", EVERYTHING, "web")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_limit_of_an_edge_policy_acts_and_none_acts_elsewhere() {
    let (home, authority) = (Loopback::claim(), TestAuthority::new("edge root"));
    let _back = EchoServer::start("web", home.port(9001)).await;
    let declared = declared(&home, &authority.issue(&["edge.example"]));
    let stage = Stage::set(home, &declared).await;
    let _edge = stage.envoy("gateway", "edge", &[]).await;
    for port in [STRICT, LAX] {
        answered_by(&Call::get(stage.home.port(port), "/"), "web").await;
    }
    requests(&stage.home).await;
    slow_headers(&stage.home).await;
    times(&stage.home).await;
    streams(&stage.home).await;
    versions_of_tls(&stage.home, &authority).await;
    connections(&stage.home).await;
}

/// Headers by number and by size, and a body.
async fn requests(home: &Loopback) {
    let with_headers = |port, count| {
        let call = Call::get(home.port(port), "/");
        (0..count).fold(call, |call, n| call.header(&format!("x-{n}"), "v"))
    };
    let of_size = |port, bytes: usize| Call::get(home.port(port), "/").header("x-large", "v".repeat(bytes));
    let with_body = |port, bytes: usize| Call::post(home.port(port), "/", "b".repeat(bytes));
    let cases = [
        ("headers", 431, with_headers(STRICT, HEADERS / 2), [STRICT, LAX].map(|port| with_headers(port, HEADERS + 1))),
        ("KiB of headers", 431, of_size(STRICT, 512), [STRICT, LAX].map(|port| of_size(port, (HEADERS_KIB + 1) << 10))),
        ("bytes of a body", 413, with_body(STRICT, BODY_BYTES), [STRICT, LAX].map(|port| with_body(port, BODY_BYTES + 1))),
    ];
    for (name, refusal, within, [strict, lax]) in cases {
        assert_eq!(within.send().await.unwrap().status, 200, "{name}: within the limit");
        assert_eq!(strict.send().await.unwrap().status, refusal, "{name}: beyond it");
        assert_eq!(lax.send().await.unwrap().status, 200, "{name}: where there is none");
    }
}

/// Headers that never end.
async fn slow_headers(home: &Loopback) {
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ";
    let begun = Instant::now();
    let answer = raw(home.port(STRICT), request, PATIENCE).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    assert!((HEADERS_TIME..PATIENCE).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert!(raw(home.port(LAX), request, HEADERS_TIME * 2).await.unwrap().is_empty(), "it waits on");
}

/// A hello that never comes, a body that never ends, an answer that is late, and connections without requests or for ever. Where nothing
/// is said, all of them wait longer.
async fn times(home: &Loopback) {
    const LONGER: Duration = Duration::from_secs(3);
    let slow_body = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nab";
    let late_answer = "GET / HTTP/1.1\r\nhost: a\r\nx-echo-delay-ms: 10000\r\n\r\n";
    for (request, words) in [(slow_body, "request timeout"), (late_answer, "stream timeout")] {
        let answer = raw(home.port(TIMED), request.as_bytes(), PATIENCE).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains(words), "{answer}");
        assert!(raw(home.port(LAX), request.as_bytes(), LONGER).await.unwrap().is_empty(), "it waits on");
    }
    let answered = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    for (limited, free, request) in [(TIMED_TLS, LAX_TLS, ""), (TIMED, LAX, answered), (AGED, LAX, answered)] {
        let begun = Instant::now();
        raw(home.port(limited), request.as_bytes(), PATIENCE).await.unwrap();
        assert!(begun.elapsed() < PATIENCE, "the connection at {limited} is still open");
        let begun = Instant::now();
        raw(home.port(free), request.as_bytes(), LONGER).await.unwrap();
        assert!(begun.elapsed() >= LONGER, "the connection at {free} was closed");
    }
}

/// More streams at once than a client may have, from one that does not ask how many that are.
async fn streams(home: &Loopback) {
    let opened = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, b"")].concat();
    let all = (0..=STREAMS).flat_map(|n| frame(HEADERS_FRAME, END_STREAM | END_HEADERS, 2 * u32::try_from(n).unwrap() + 1, SLOW_REQUEST));
    let bytes = [opened, all.collect()].concat();
    let answered = async |port| {
        let kinds = kinds(&raw(home.port(port), &bytes, Duration::from_secs(2)).await.unwrap());
        let count = |kind| kinds.iter().filter(|one| **one == kind).count();
        (count(HEADERS_FRAME), count(RST_STREAM) + count(GOAWAY))
    };
    let (answers, refusals) = answered(STRICT).await;
    assert!(answers <= STREAMS && refusals >= 1, "{answers} answers, {refusals} refusals");
    assert_eq!(answered(LAX).await, (STREAMS + 1, 0));
}

/// Kinds of frames (RFC 9113, section 6), and flags of HEADERS.
const HEADERS_FRAME: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET http://a/` with `x-echo-delay-ms: 300`, in HPACK: three entries of the static table, one name of it, and a literal.
const SLOW_REQUEST: &[u8] = b"\x82\x86\x84\x41\x01a\x00\x0fx-echo-delay-ms\x03300";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The kinds of the frames in `bytes`, which may end within one.
fn kinds(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [a, b, c, kind, ..] = *bytes {
        kinds.push(kind);
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap();
        bytes = bytes.get(9 + length..).unwrap_or_default();
    }
    kinds
}

static TLS_1_2: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
static TLS_1_3: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

async fn versions_of_tls(home: &Loopback, authority: &TestAuthority) {
    let client = TlsClient::trusting(authority.root_pem());
    let (old, new) = (client.clone().versions(TLS_1_2), client.versions(TLS_1_3));
    let call = |port, client: &TlsClient| Call::get(home.port(port), "/").tls(client, "edge.example");
    answered_by(&call(STRICT_TLS, &new), "web").await;
    answered_by(&call(LAX_TLS, &old), "web").await;
    assert_eq!(call(STRICT_TLS, &old).send().await.unwrap_err().step(), "tls");
}

/// One connection more than may be open; the place of one that ends is free again.
async fn connections(home: &Loopback) {
    let call = Call::get(home.port(STRICT), "/");
    let mut held = Vec::new();
    wait_until(PATIENCE, "all connections", async || {
        let mut connection = Connection::open(&call).await.map_err(|cause| cause.to_string())?;
        connection.send(&call).await.map_err(|cause| cause.to_string())?;
        held.push(connection);
        if held.len() == CONNECTIONS { Ok(()) } else { Err(format!("{} connections", held.len())) }
    })
    .await;
    assert!(call.send().await.is_err(), "one more was answered");
    assert_eq!(Call::get(home.port(LAX), "/").send().await.unwrap().status, 200);
    drop(held.pop());
    answered_by(&call, "web").await;
    assert!(held.iter().all(Connection::is_open), "nobody lost a connection by it");
}
