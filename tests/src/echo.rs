//! An upstream that tells what reached it: the request as JSON. Headers of the request say how it shall answer.
//!
//! `x-echo-status: 503`, `x-echo-delay-ms: 200`, `x-echo-bytes: 4096` (so many bytes instead of the JSON).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::http_server::{self, Answer, Received};

/// Bytes that `x-echo-bytes` may ask for.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// A running echo server; dropping it ends it.
#[derive(Debug)]
pub struct EchoServer {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _stop: DropGuard,
}

#[derive(Debug, Default)]
struct Seen {
    requests: u64,
    last: Value,
    /// What is answered to a request that asks for no status.
    status: StatusCode,
}

impl EchoServer {
    /// Starts at `address` (port 0: any) with a name that it tells in every answer (`server`, header `x-echo-server`).
    ///
    /// # Panics
    /// When the address is taken.
    pub async fn start(name: &str, address: SocketAddr) -> Self {
        Self::launch(name, address, None).await
    }

    /// The same over TLS (`tls::server_config`).
    ///
    /// # Panics
    /// When the address is taken.
    pub async fn start_tls(name: &str, address: SocketAddr, config: ServerConfig) -> Self {
        Self::launch(name, address, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn launch(name: &str, address: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await;
        let listener = listener.unwrap_or_else(|cause| panic!("echo server {name}: {address}: {cause}"));
        let address = listener.local_addr().expect("a listener has an address");
        let stop = CancellationToken::new();
        let seen = Arc::<Mutex<Seen>>::default();
        let (name, shared): (Arc<str>, _) = (name.into(), seen.clone());
        tokio::spawn(http_server::serve(listener, tls, stop.clone(), move |received| {
            let (name, seen) = (name.clone(), shared.clone());
            async move { echo(&name, &received, &seen).await }
        }));
        Self { address, seen, _stop: stop.drop_guard() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests reached it.
    pub fn requests(&self) -> u64 {
        lock(&self.seen).requests
    }

    /// Answers with this status from now on.
    ///
    /// # Panics
    /// When there is no such status.
    pub fn answer(&self, status: u16) {
        lock(&self.seen).status = StatusCode::from_u16(status).expect("a status");
    }

    /// The newest request, as its answer tells it; null before the first.
    pub fn last(&self) -> Value {
        lock(&self.seen).last.clone()
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().expect("an echo does not panic while it counts")
}

async fn echo(name: &str, received: &Received, seen: &Mutex<Seen>) -> Answer {
    let headers = received.request.headers();
    let told = told(name, received);
    let usual = {
        let mut seen = lock(seen);
        seen.requests += 1;
        seen.last = told.clone();
        seen.status
    };
    if let Some(delay) = asked(headers, "x-echo-delay-ms") {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let status = asked(headers, "x-echo-status").unwrap_or(usual);
    let mut answer = match asked::<usize>(headers, "x-echo-bytes") {
        Some(count) => Response::new(Full::from(Bytes::from(vec![b'x'; count.min(BYTES_MAX)]))),
        None => http_server::json(status, &told),
    };
    *answer.status_mut() = status;
    answer.headers_mut().insert("x-echo-server", name.parse().expect("a server's name can be a header"));
    answer
}

fn told(name: &str, received: &Received) -> Value {
    let request = &received.request;
    let uri = request.uri();
    let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
    json!({
        "server": name,
        "peer": received.peer.to_string(),
        "version": format!("{:?}", request.version()),
        "method": request.method().as_str(),
        "authority": uri.authority().map(http::uri::Authority::as_str).or(host),
        "path": uri.path_and_query().map(http::uri::PathAndQuery::as_str),
        "headers": http_server::headers_json(request.headers()),
        "body": String::from_utf8_lossy(request.body()),
    })
}

fn asked<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Loopback;
    use crate::authority::TestAuthority;
    use crate::client::{Call, Connection};
    use crate::tls::{TlsClient, server_config};

    #[tokio::test]
    async fn the_request_comes_back_over_both_protocols() {
        let home = Loopback::claim();
        let server = EchoServer::start("one", home.port(8080)).await;
        let call = Call::post(server.address(), "/a?b=c", "hello").host("shop.example").header("x-twice", "1").header("x-twice", "2");
        for call in [call.clone(), call.http2()] {
            let told = call.send().await.unwrap().json();
            assert_eq!(told["authority"], "shop.example");
            assert_eq!(told["path"], "/a?b=c");
            assert_eq!(told["body"], "hello");
            assert_eq!(told["headers"]["x-twice"], json!(["1", "2"]));
        }
        assert_eq!(server.requests(), 2);
    }

    #[tokio::test]
    async fn one_connection_carries_many_calls_and_the_answers_that_were_asked_for() {
        let server = EchoServer::start("one", Loopback::claim().port(8080)).await;
        let call = Call::get(server.address(), "/").header("x-echo-status", "503").header("x-echo-bytes", "10");
        let mut connection = Connection::open(&call).await.unwrap();
        for _ in 0..3 {
            let reply = connection.send(&call).await.unwrap();
            assert_eq!((reply.status, reply.body.len(), reply.header("x-echo-server")), (503, 10, "one"));
        }
    }

    #[tokio::test]
    async fn mutual_tls_lets_in_who_shows_a_certificate_of_the_authority() {
        let (authority, stranger) = (TestAuthority::new("test root"), TestAuthority::new("another root"));
        let config = server_config(&authority.issue(&["echo.example"]), Some(authority.root_pem()), &["h2", "http/1.1"]);
        let server = EchoServer::start_tls("secret", Loopback::claim().port(8443), config).await;
        let client = TlsClient::trusting(authority.root_pem());
        let call = Call::get(server.address(), "/");

        let known = client.clone().showing(&authority.issue(&["spiffe://td/ns/a/sa/b"]));
        let reply = call.clone().tls(&known, "echo.example").http2().send().await.unwrap();
        assert_eq!((reply.status, reply.peer_certificates.len()), (200, 1));

        let unknown = client.clone().showing(&stranger.issue(&["spiffe://td/ns/a/sa/b"]));
        assert!(call.clone().tls(&unknown, "echo.example").send().await.is_err());
        assert!(call.clone().tls(&client, "echo.example").send().await.is_err());
        let other_name = call.tls(&known, "other.example").send().await.unwrap_err();
        assert_eq!(other_name.step(), "tls");
        assert_eq!(server.requests(), 1);
    }
}
