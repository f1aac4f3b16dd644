//! The listeners: accept, hand shake, serve each connection in a task of its own, and end all of them in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use windrose_vocab::Fingerprint;

use crate::connection::{self, Circumstances, Ended, Lifetime};
use crate::counters::{Counters, Open};
use crate::limits;
use crate::router::Router;
use crate::service::{Settings, Shared, Status, Xds};
use crate::tls::Tls;
use crate::visitors::{Crowded, Visit, Visitors};

/// Serves discovery over TLS on `listener` until `stop` is cancelled, then ends everything in order within the grace of the settings.
pub async fn serve(listener: TcpListener, tls: Tls, xds: Xds, stop: CancellationToken) {
    let (settings, counters) = (xds.settings, xds.counters.clone());
    let router = Router::Xds(Arc::new(Shared::new(xds)));
    let acceptor = Some(TlsAcceptor::from(tls.config()));
    Listening::new(router, acceptor, settings, counters).run(listener, stop).await;
}

/// Serves the status of all clients on `listener`, in plain text and to anybody: give it a loopback address.
pub async fn serve_status(listener: TcpListener, status: Status, stop: CancellationToken) {
    let (settings, counters) = (status.settings, status.counters.clone());
    let router = Router::Status(status);
    Listening::new(router, None, settings, counters).run(listener, stop).await;
}

/// Something to accept connections from.
pub(crate) trait Accept: Send {
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, remote) = TcpListener::accept(self).await?;
        // Where both families are heard, IPv4 comes as IPv6.
        Ok((stream, SocketAddr::new(remote.ip().to_canonical(), remote.port())))
    }
}

/// Whether one of the two does not believe the other's certificate.
fn is_distrust(error: &io::Error) -> bool {
    use rustls::{AlertDescription, CertificateError, Error};
    let known = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(
        known,
        Some(
            Error::AlertReceived(AlertDescription::UnknownCA | AlertDescription::CertificateUnknown | AlertDescription::BadCertificate)
                | Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
        )
    )
}

#[derive(Clone)]
struct Listening {
    router: Router,
    acceptor: Option<TlsAcceptor>,
    settings: Settings,
    counters: Arc<Counters>,
    /// Connections that are not through their handshake.
    handshakes: Arc<AtomicUsize>,
    visitors: Visitors,
}

impl Listening {
    fn new(router: Router, acceptor: Option<TlsAcceptor>, settings: Settings, counters: Arc<Counters>) -> Self {
        Self { router, acceptor, settings, counters, handshakes: Arc::default(), visitors: Visitors::new() }
    }

    async fn run(self, listener: impl Accept, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, remote)) => self.take(stream, remote, &mut connections, &stop),
                    Err(error) => self.pause_after(&error).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        let all = async { while connections.join_next().await.is_some() {} };
        // The connections keep the grace themselves; what is beyond is a bug of theirs that must not keep the process.
        if timeout(self.settings.grace + limits::FAREWELL, all).await.is_err() {
            connections.shutdown().await;
        }
    }

    fn take(&self, stream: TcpStream, remote: SocketAddr, connections: &mut JoinSet<()>, stop: &CancellationToken) {
        self.counters.connections.up();
        let full = connections.len() >= limits::CONNECTIONS || self.handshakes.load(Ordering::Relaxed) >= limits::HANDSHAKES;
        match self.visitors.admit(remote.ip()) {
            Ok(visit) if !full => drop(connections.spawn(self.clone().connection(stream, (remote, visit), stop.clone()))),
            Ok(_) | Err(Crowded) => self.counters.connections_dropped.up(),
        }
    }

    async fn connection(self, stream: TcpStream, (remote, visit): (SocketAddr, Visit), stop: CancellationToken) {
        let _open = Open::new(&self.counters.connections_open);
        let _ = stream.set_nodelay(true);
        let lifetime = Lifetime { age: self.age(), grace: self.settings.grace };
        let Some(acceptor) = &self.acceptor else {
            let at = Arc::new(Circumstances::new(remote, visit, None));
            return self.finish(connection::run(stream, self.router.clone(), at, lifetime, stop).await);
        };
        let handshake = Handshake::begin(&self.handshakes);
        let shaken = timeout(limits::HANDSHAKE, acceptor.accept_with(stream, |tls| tls.set_buffer_limit(Some(limits::TLS_BUFFER)))).await;
        drop(handshake);
        let stream = match shaken {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => stream,
            Ok(Ok(_)) => return self.refuse(remote, "the client does not speak h2"),
            Ok(Err(error)) => return self.distrusted(remote, &error),
            Err(_) => return self.refuse(remote, "the handshake took too long"),
        };
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).cloned();
        let at = Arc::new(Circumstances::new(remote, visit, shown));
        self.finish(connection::run(stream, self.router.clone(), at, lifetime, stop).await);
    }

    fn finish(&self, ended: Ended) {
        if ended == Ended::Cut {
            self.counters.connections_cut.up();
        }
    }

    /// A proxy whose bootstrap another authority made comes again and again, and nobody else says why it is not there.
    fn distrusted(&self, remote: SocketAddr, error: &io::Error) {
        if is_distrust(error) && self.router.may_tell() {
            tracing::warn!(%remote, %error, "a client and this server do not believe each other's certificates; a proxy whose server lost its state folder needs a new bootstrap");
        }
        self.refuse(remote, &error.to_string());
    }

    fn refuse(&self, remote: SocketAddr, reason: &str) {
        self.counters.handshakes_failed.up();
        tracing::debug!(%remote, reason, "handshake failed");
    }

    /// An error of the connection concerns nobody else. One of ours (no descriptors, no memory) passes when others end.
    async fn pause_after(&self, error: &io::Error) {
        self.counters.accept_errors.up();
        let theirs = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted];
        if !theirs.contains(&error.kind()) {
            tracing::error!(%error, "cannot accept connections");
            sleep(limits::ACCEPT_PAUSE).await;
        }
    }

    fn age(&self) -> Duration {
        spread(self.settings.connection_age, self.counters.connections.get())
    }
}

/// The age of a connection, spread evenly and without randomness over the connections of this process.
fn spread(age: Duration, connection: u64) -> Duration {
    let width = 2 * limits::CONNECTION_AGE_JITTER;
    let drawn = Fingerprint::of("windrose.xds.age", &connection).bits() % u128::from(width + 1);
    let percent = 100 - limits::CONNECTION_AGE_JITTER + u32::try_from(drawn).unwrap_or(0);
    age * percent / 100
}

/// One handshake, as long as it lasts.
struct Handshake<'a>(&'a AtomicUsize);

impl<'a> Handshake<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_by_ipv4_is_called_so_where_both_families_are_heard() {
        let listener = crate::bind("[::]:0".parse().unwrap()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let caller = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        assert_eq!(Accept::accept(&listener).await.unwrap().1, caller.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_client_of_another_authority_is_known_as_such_and_a_broken_one_is_not() {
        use rustls::{ClientConfig, RootCertStore, ServerConfig};
        use tokio::io::AsyncWriteExt;
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["windrose".to_owned()]).unwrap().self_signed(&key).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let server = server.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let client = client.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let (acceptor, connector) = (TlsAcceptor::from(Arc::new(server)), tokio_rustls::TlsConnector::from(Arc::new(client)));

        let (near, far) = tokio::io::duplex(64 << 10);
        let name = rustls_pki_types::ServerName::try_from("windrose").unwrap();
        let (accepted, connected) = tokio::join!(acceptor.accept(far), connector.connect(name, near));
        assert!(connected.is_err() && is_distrust(&accepted.unwrap_err()));

        let (mut near, far) = tokio::io::duplex(64 << 10);
        near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(!is_distrust(&acceptor.accept(far).await.unwrap_err()));
    }

    #[test]
    fn rule_40_connections_that_came_together_do_not_leave_together() {
        let hour = Duration::from_secs(3_600);
        let ages: Vec<_> = (0..1_000).map(|connection| spread(hour, connection)).collect();
        assert!(ages.iter().all(|age| (hour * 4 / 5..=hour * 6 / 5).contains(age)));
        let same = |age: &Duration| ages.iter().filter(|other| *other == age).count();
        assert!(ages.iter().map(same).all(|count| count < 50), "at most one in twenty at the same moment");
    }
}
