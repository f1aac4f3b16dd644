//! Serving the API on a TCP address and on a Unix socket that only its owner can open. Over TCP, whoever is on another machine sees
//! health and metrics alone.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::middleware;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use crate::{Source, routes};

/// Where the API is served; bound by the caller, who knows what to say when that fails.
#[derive(Debug)]
pub struct Listeners {
    /// For monitoring.
    pub tcp: TcpListener,
    /// For the CLI on the same machine.
    pub unix: Option<UnixListener>,
}

/// Serves until `end` is cancelled; requests under way are finished.
///
/// # Errors
/// When a listener fails for good.
pub async fn serve(listeners: Listeners, source: Arc<dyn Source>, end: CancellationToken) -> io::Result<()> {
    let router = routes::router(source);
    let known = router.clone().layer(middleware::from_fn(routes::refuse_strangers)).into_make_service_with_connect_info::<SocketAddr>();
    let tcp = axum::serve(listeners.tcp, known).with_graceful_shutdown(end.clone().cancelled_owned());
    match listeners.unix {
        None => tcp.await,
        Some(socket) => {
            let unix = axum::serve(socket, router).with_graceful_shutdown(end.cancelled_owned());
            tokio::try_join!(tcp, unix).map(|_| ())
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::report::{ProxyReport, StatusReport};

    struct Nothing;

    impl Source for Nothing {
        fn ready(&self) -> Result<(), String> {
            Ok(())
        }
        fn revision(&self) -> String {
            String::new()
        }
        fn status(&self, _: Option<&str>) -> StatusReport {
            StatusReport::default()
        }
        fn proxies(&self) -> Vec<ProxyReport> {
            Vec::new()
        }
        fn metrics(&self) -> String {
            String::new()
        }
    }

    #[tokio::test]
    async fn who_asks_on_this_machine_is_told_everything() {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let end = CancellationToken::new();
        let served = tokio::spawn(serve(Listeners { tcp, unix: None }, Arc::new(Nothing), end.clone()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /v1/proxies HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        end.cancel();
        served.await.unwrap().unwrap();
    }
}
