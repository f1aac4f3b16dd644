//! One connection: its handshake, its age, its idleness, and an end that is announced before it comes.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cut::Cuttable;
use crate::limits;
use crate::router::Router;
use crate::together::{Spawner, Together};
use crate::visitors::Visit;

/// What a stream knows of the connection it lives on.
pub(crate) struct Circumstances {
    /// The other end.
    pub(crate) remote: SocketAddr,
    /// What the client showed in the handshake.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// Its place among those of its address.
    pub(crate) visit: Visit,
    streams: TaskTracker,
    spawner: Spawner,
    useless: CancellationToken,
    drain: CancellationToken,
    cut: CancellationToken,
}

impl Circumstances {
    pub(crate) fn new(remote: SocketAddr, visit: Visit, certificate: Option<CertificateDer<'static>>) -> Self {
        let [useless, drain, cut] = std::array::from_fn(|_| CancellationToken::new());
        Self { remote, certificate, visit, streams: TaskTracker::new(), spawner: Spawner::default(), useless, drain, cut }
    }

    /// Starts a stream; the connection does not end before it.
    pub(crate) fn spawn(&self, stream: impl Future<Output = ()> + Send + 'static) {
        self.spawner.spawn(self.streams.track_future(stream));
    }

    /// Waits until streams should end.
    pub(crate) async fn drained(&self) {
        self.drain.cancelled().await;
    }

    /// Ends the connection in order where the certificate that was shown in its handshake is good no more: the client may have a newer
    /// one, and shows it on a new connection.
    pub(crate) fn leave(&self) {
        if self.certificate.is_some() {
            self.useless.cancel();
        }
    }

    /// Ends the connection without further words.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }
}

/// How long a connection may live.
#[derive(Clone, Copy)]
pub(crate) struct Lifetime {
    pub(crate) age: Duration,
    pub(crate) grace: Duration,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By either side, in order or by an error of the other side.
    Closed,
    /// By us, because our words were not read in time.
    Cut,
}

/// Serves a connection until it ends (by the client, at its age, when idle, or when `stop` says so) and its streams with it.
pub(crate) async fn run<I>(io: I, router: Router, at: Arc<Circumstances>, lifetime: Lifetime, stop: CancellationToken) -> Ended
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn({
        let at = at.clone();
        move |request| {
            // Also while its credential is being checked.
            let (router, at, streams) = (router.clone(), at.clone(), at.streams.token());
            async move {
                let answer = router.answer(request, &at).await;
                drop(streams);
                Ok::<_, Infallible>(answer)
            }
        }
    });
    let io = TokioIo::new(Cuttable::new(io, at.cut.clone()));
    let mut connection = Box::pin(protocol(at.spawner.clone()).serve_connection(io, service));
    let mut together = Together::new(at.spawner.clone());
    let mut end = Instant::now() + lifetime.age;
    let mut draining = false;
    let mut idle_since = Instant::now();
    let ended = loop {
        tokio::select! {
            _ = together.drive(connection.as_mut()) => break Ended::Closed,
            () = at.cut.cancelled() => break Ended::Cut,
            () = stop.cancelled(), if !draining => end = Instant::now(),
            () = at.useless.cancelled(), if !draining => end = Instant::now(),
            () = sleep(limits::IDLE_CONNECTION / 4), if !draining => {
                if !at.streams.is_empty() { idle_since = Instant::now() }
                if idle_since.elapsed() >= limits::IDLE_CONNECTION { end = Instant::now() }
            }
            () = sleep_until(end), if draining => break Ended::Cut,
            () = sleep_until(end), if !draining => {}
        }
        if !draining && Instant::now() >= end {
            draining = true;
            end = Instant::now() + lifetime.grace;
            connection.as_mut().graceful_shutdown();
            at.drain.cancel();
        }
    };
    at.drain.cancel();
    if ended == Ended::Cut {
        at.cut.cancel();
        let _ = timeout(limits::FAREWELL, together.drive(connection.as_mut())).await;
    }
    drop(connection);
    at.streams.close();
    together.drive(pin!(at.streams.wait())).await;
    ended
}

/// HTTP/2 with a limit for everything a client may do.
fn protocol(spawner: Spawner) -> http2::Builder<Spawner> {
    let mut protocol = http2::Builder::new(spawner);
    protocol
        .timer(TokioTimer::new())
        .keep_alive_interval(limits::KEEPALIVE_INTERVAL)
        .keep_alive_timeout(limits::KEEPALIVE_TIMEOUT)
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION)
        .max_header_list_size(limits::HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(limits::PENDING_RESETS)
        .max_local_error_reset_streams(limits::LOCAL_ERROR_RESETS)
        .initial_stream_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW)
        .max_send_buf_size(limits::SEND_BUFFER);
    protocol
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use hyper_util::rt::TokioExecutor;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::watch;
    use tokio::task::JoinHandle;
    use windrose_state::{Accepted, Desired, Observed};
    use windrose_vocab::ProxyKey;

    use super::*;
    use crate::identity::{Identify, Peer, Refusal};
    use crate::service::{Settings, Shared, Xds};
    use crate::visitors::Visitors;

    /// Believes everybody for ever, and some after a while.
    struct Anybody;

    const SLOW: Duration = Duration::from_secs(50);

    impl Identify for Anybody {
        fn by_certificate<'a>(&'a self, _: &'a CertificateDer<'static>, _: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>> {
            async { Err(Refusal::Unavailable) }.boxed()
        }
        fn by_token<'a>(&'a self, token: &'a str, now: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>> {
            let peer = Peer {
                proxy: ProxyKey::workload("shop", "orders"),
                identity: token.into(),
                credential: token.into(),
                issued_at: now,
                expires_at: now + Duration::from_secs(1 << 20),
                zone: None,
            };
            async move {
                if token == "slow" {
                    sleep(SLOW).await;
                }
                Ok(peer)
            }
            .boxed()
        }
        fn is_revoked(&self, _: &Peer) -> bool {
            false
        }
        fn revocations(&self) -> watch::Receiver<u64> {
            watch::Sender::new(0).subscribe()
        }
    }

    /// The client's end, and the server's connection, whose output is how it ended and after how long.
    fn connected(age: Duration) -> (DuplexStream, JoinHandle<(Ended, Duration)>) {
        let xds = Xds {
            desired: Desired::new().reader(),
            accepted: Arc::new(Accepted::new()),
            observed: Arc::new(Observed::new()),
            identify: Arc::new(Anybody),
            clock: Arc::new(SystemTime::now),
            counters: Arc::default(),
            settings: Settings::default(),
        };
        let router = Router::Xds(Arc::new(Shared::new(xds)));
        let (client, server) = duplex(1 << 16);
        let remote = SocketAddr::from(([127, 0, 0, 1], 1));
        let at = Arc::new(Circumstances::new(remote, Visitors::new().admit(remote.ip()).unwrap(), None));
        let lifetime = Lifetime { age, grace: Duration::from_secs(10) };
        let began = Instant::now();
        let task = tokio::spawn(async move {
            let ended = run(server, router, at, lifetime, CancellationToken::new()).await;
            (ended, began.elapsed())
        });
        (client, task)
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_streams_ends_after_a_minute() {
        let (client, server) = connected(DAY);
        let (_sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .handshake::<_, http_body_util::Empty<Bytes>>(TokioIo::new(client))
            .await
            .unwrap();
        tokio::spawn(connection);
        let (ended, after) = server.await.unwrap();
        assert_eq!(ended, Ended::Closed);
        assert!((60..90).contains(&after.as_secs()), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn rule_43_a_half_open_connection_is_noticed_within_40_seconds() {
        let (mut client, server) = connected(DAY);
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let (_, after) = server.await.unwrap();
        assert!((20..=40).contains(&after.as_secs()), "{after:?}");
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_a_request_ends_after_half_a_minute() {
        assert_eq!(end_of_silence("x", Duration::ZERO).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_not_idle_while_the_credential_of_a_stream_is_being_checked() {
        let idle = limits::IDLE_CONNECTION / 2;
        assert_eq!(end_of_silence("slow", idle).await, SLOW.as_secs() + 30, "the stream ends by itself");
    }

    /// After how many seconds a stream ends for want of a request, on a connection on which nothing was asked for so long before.
    async fn end_of_silence(token: &str, idle: Duration) -> u64 {
        let (client, _server) = connected(DAY);
        let (mut sender, connection) =
            hyper::client::conn::http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(client)).await.unwrap();
        tokio::spawn(connection);
        sleep(idle).await;
        let silence = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let request = http::Request::post("/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources")
            .header("content-type", "application/grpc")
            .header("authorization", format!("Bearer {token}"))
            .body(silence)
            .unwrap();
        let began = Instant::now();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), http::StatusCode::OK);
        let end = response.into_body().collect().await.unwrap();
        assert_eq!(end.trailers().unwrap()["grpc-status"], "4", "DEADLINE_EXCEEDED");
        began.elapsed().as_secs()
    }
}
