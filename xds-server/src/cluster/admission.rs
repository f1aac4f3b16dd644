//! The webhook on the wire: TLS by our own authority, one path, one answer. What it answers is `windrose_kube::admission`'s.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use windrose_kube::admission::{REVIEW_BYTES_MAX, review};
use windrose_pki::{NodeAuthority, SystemEntropy};

/// Connections at a time: API servers keep few, and open.
const CONNECTIONS_MAX: usize = 128;
/// Time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Time to send a review; the API server waits no longer for all of it.
const REVIEW: Duration = Duration::from_secs(10);
/// A connection ends after this: a certificate must come to be seen.
const CONNECTION_LIFE: Duration = Duration::from_secs(3600);
/// Between two certificates.
const RENEW: Duration = Duration::from_secs(86_400);

/// Serves until the end.
pub(crate) async fn serve(listener: TcpListener, authority: Arc<NodeAuthority>, names: Vec<String>, end: CancellationToken) {
    let config = match config(&authority, &names) {
        Ok(config) => Arc::new(ArcSwap::from_pointee(config)),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the webhook has no certificate; objects are checked when they are served");
            return end.cancelled().await;
        }
    };
    let mut connections = JoinSet::new();
    let mut renewal = tokio::time::interval(RENEW);
    renewal.tick().await;
    loop {
        let accepted = tokio::select! {
            () = end.cancelled() => return connections.shutdown().await,
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => accepted,
            Some(_) = connections.join_next() => continue,
            _ = renewal.tick() => {
                match self::config(&authority, &names) {
                    Ok(renewed) => config.store(Arc::new(renewed)),
                    Err(error) => tracing::error!(error = format!("{error:#}"), "the webhook keeps its former certificate"),
                }
                continue;
            }
        };
        match accepted {
            Ok((stream, _)) => drop(connections.spawn(connection(stream, TlsAcceptor::from(config.load_full())))),
            // Out of descriptors, for example: not a reason to spin.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn config(authority: &NodeAuthority, names: &[String]) -> anyhow::Result<ServerConfig> {
    let made = authority.issue_server(names, SystemTime::now(), &SystemEntropy).context("certificate")?;
    let key = PrivateKeyDer::from_pem_slice(made.key.expose().as_bytes()).context("key")?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(made.chain, key).context("TLS")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor) {
    let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
    let builder = auto::Builder::new(TokioExecutor::new());
    let served = builder.serve_connection(TokioIo::new(stream), service_fn(answer));
    let _ = timeout(CONNECTION_LIFE, served).await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = |status: StatusCode, kind: &'static str, body: Bytes| {
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        response
    };
    let refused = |status, why: &'static str| Ok(response(status, "text/plain", Bytes::from_static(why.as_bytes())));
    if request.method() != Method::POST || request.uri().path() != "/validate" {
        return refused(StatusCode::NOT_FOUND, "POST /validate");
    }
    let body = match timeout(REVIEW, Limited::new(request.into_body(), REVIEW_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return refused(StatusCode::PAYLOAD_TOO_LARGE, "the review is too large, or was cut off"),
        Err(_) => return refused(StatusCode::REQUEST_TIMEOUT, "the review took too long"),
    };
    // Decoding is work for the processor: other tasks go on meanwhile.
    match tokio::task::spawn_blocking(move || review(&body)).await {
        Ok(Ok(answer)) => Ok(response(StatusCode::OK, "application/json", answer.into())),
        Ok(Err(why)) => refused(StatusCode::BAD_REQUEST, why),
        Err(_) => refused(StatusCode::INTERNAL_SERVER_ERROR, "the review could not be judged"),
    }
}
