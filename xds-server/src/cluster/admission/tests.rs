//! The port as a stranger meets it: over TLS, byte by byte.

use std::net::SocketAddr;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use windrose_pki::Directory;
use windrose_vocab::TrustDomain;

use super::*;

const SOON: Duration = Duration::from_secs(20);
const REVIEW: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"7","operation":"DELETE"}}"#;

struct Stage {
    address: SocketAddr,
    connector: TlsConnector,
    end: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

/// Patient enough for a busy machine.
fn limits() -> Limits {
    Limits { review: SOON, headers: SOON, idle: SOON, ..Limits::REAL }
}

async fn stage(limits: Limits) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path().join("keys")).unwrap();
    let domain = TrustDomain::parse("windrose.local").unwrap();
    let authority = Arc::new(NodeAuthority::open(&directory, &domain, SystemTime::now(), &SystemEntropy).unwrap());
    let mut roots = RootCertStore::empty();
    roots.add(authority.root().clone()).unwrap();
    let trusting = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let end = CancellationToken::new();
    let served = tokio::spawn(serve_within(
        limits,
        listener,
        (authority, vec!["localhost".to_owned()]),
        watch::channel(Arc::default()).1,
        end.clone(),
    ));
    Stage { address, connector: TlsConnector::from(Arc::new(trusting)), end, served, _folder: folder }
}

impl Stage {
    async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        self.connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    /// Sends the head of a review whose body is said to be so long, and what is given of it.
    async fn begin(&self, length: usize, body: &str) -> TlsStream<TcpStream> {
        let mut stream = self.connect().await.unwrap();
        let head = format!("POST /validate HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, body: &str) -> String {
        answer(self.begin(body.len(), body).await).await
    }
}

/// Everything until the connection ends.
async fn answer(mut stream: TlsStream<TcpStream>) -> String {
    let mut text = Vec::new();
    // An end without TLS's own goodbye is one too.
    let _ = timeout(SOON, stream.read_to_end(&mut text)).await.expect("the connection ends");
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_review_is_answered_and_what_is_none_is_refused() {
    let stage = stage(limits()).await;
    let good = stage.ask(REVIEW).await;
    assert!(good.starts_with("HTTP/1.1 200") && good.contains(r#""allowed":true"#), "{good}");
    assert!(stage.ask("{").await.starts_with("HTTP/1.1 400"));
    let mut other = stage.connect().await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(answer(other).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_certificate_is_renewed_while_connections_of_before_go_on() {
    let stage = stage(Limits { renewal: Duration::from_millis(200), ..limits() }).await;
    let shown = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let before = stage.begin(REVIEW.len(), "").await;
    let first = shown(&before);
    let renewed = async {
        while shown(&stage.connect().await.unwrap()) == first {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, renewed).await.expect("another certificate is shown");
    let mut before = before;
    before.write_all(REVIEW.as_bytes()).await.unwrap();
    assert!(answer(before).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn http_2_is_answered_as_api_servers_speak_it_also_beyond_its_windows() {
    let stage = stage(limits()).await;
    let stream = TokioIo::new(stage.connect().await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let review = |body: String| Request::post("https://localhost/validate").body(Full::new(Bytes::from(body))).unwrap();
    let good = sender.send_request(review(REVIEW.to_owned())).await.unwrap();
    assert_eq!(good.status(), StatusCode::OK);
    let long = timeout(SOON, sender.send_request(review("x".repeat(1 << 20)))).await.unwrap().unwrap();
    assert_eq!(long.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let stage = stage(limits()).await;
    let told = answer(stage.begin(REVIEW_BYTES_MAX + 1, "").await).await;
    assert!(told.starts_with("HTTP/1.1 413"), "{told}");
    // Without its length, when so much of it has come.
    let mut stream = stage.connect().await.unwrap();
    stream.write_all(b"POST /validate HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    for _ in 0..8 {
        // It may have hung up by then.
        let _ = stream.write_all(chunk.as_bytes()).await;
    }
    let mut first = [0; 12];
    timeout(SOON, stream.read_exact(&mut first)).await.unwrap().unwrap();
    assert_eq!(&first, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let stage = stage(Limits { review: Duration::from_millis(200), ..limits() }).await;
    let told = answer(stage.begin(100, "{").await).await;
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked_ends() {
    let idle = stage(Limits { idle: Duration::from_millis(200), ..limits() }).await;
    assert_eq!(answer(idle.connect().await.unwrap()).await, "");
    let headers = stage(Limits { headers: Duration::from_millis(200), ..limits() }).await;
    let mut slow = headers.connect().await.unwrap();
    slow.write_all(b"POST /validate HTTP/1.1\r\nhost").await.unwrap();
    let told = answer(slow).await;
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 408"), "{told}");
}

#[tokio::test]
async fn bodies_of_one_address_have_a_budget_that_is_held_and_given_back() {
    let stage = stage(Limits { bytes_of_peer: 1 << 20, review: Duration::from_millis(500), ..limits() }).await;
    let first = stage.begin(900 << 10, "{").await;
    // It has to have come there first.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let told = answer(stage.begin(900 << 10, "{").await).await;
    assert!(told.starts_with("HTTP/1.1 503") || told.starts_with("HTTP/1.1 408"), "{told}");
    let small = stage.ask(REVIEW).await;
    assert!(small.starts_with("HTTP/1.1 200"), "{small}");
    assert!(answer(first).await.starts_with("HTTP/1.1 408"));
    let again = answer(stage.begin(900 << 10, "{").await).await;
    assert!(again.starts_with("HTTP/1.1 408"), "it has room again, and its body does not come: {again}");
}

#[tokio::test]
async fn the_budget_is_one_for_all_addresses() {
    let room = Room::new(Limits { bytes: 10 << 10, bytes_of_peer: 8 << 10, ..Limits::REAL }, watch::channel(Arc::default()).1);
    let (one, _) = room.place("10.0.0.1".parse().unwrap()).unwrap();
    let (other, _) = room.place("10.0.0.2".parse().unwrap()).unwrap();
    let waits = async |peer: &Peer, bytes: usize| timeout(Duration::from_millis(50), room.hold(peer, bytes)).await.is_err();
    let held = room.hold(&one, 7 << 10).await.unwrap();
    assert!(waits(&one, 2 << 10).await, "that address has no more");
    assert!(waits(&other, 4 << 10).await, "nobody has more");
    assert!(!waits(&other, 3 << 10).await);
    drop(held);
    assert!(!waits(&one, 8 << 10).await);
}

#[tokio::test]
async fn one_address_does_not_take_all_places() {
    let stage = stage(Limits { connections_of_peer: 1, ..limits() }).await;
    let first = stage.connect().await.unwrap();
    assert!(stage.connect().await.is_err());
    drop(first);
    let again = async {
        while stage.connect().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, again).await.unwrap();
}

#[tokio::test]
async fn what_is_in_flight_is_answered_before_the_end() {
    let stage = stage(limits()).await;
    let mut stream = stage.begin(REVIEW.len(), &REVIEW[..10]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    stage.end.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    stream.write_all(&REVIEW.as_bytes()[10..]).await.unwrap();
    let told = answer(stream).await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    timeout(SOON, stage.served).await.unwrap().unwrap();
}
