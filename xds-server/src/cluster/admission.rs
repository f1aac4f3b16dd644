//! The webhook on the wire: TLS by our own authority, one path, one answer. What it answers is `windrose_kube::admission`'s.

mod room;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use windrose_kube::admission::{REVIEW_BYTES_MAX, review};
use windrose_kube::source::World;
use windrose_pki::{NodeAuthority, SystemEntropy};

use room::{Activity, Limits, Peer, Room};

/// Bytes of a connection that are kept before anybody asks for them.
const BUFFER: usize = 128 << 10;
/// Bytes of the headers of a request; an API server sends a few hundred.
const HEADERS_MAX: u32 = 16 << 10;
/// By which it is seen which namespaces are left out.
type Worlds = watch::Receiver<Arc<World>>;

/// Serves until the end.
pub(crate) async fn serve(
    listener: TcpListener,
    (authority, names): (Arc<NodeAuthority>, Vec<String>),
    worlds: Worlds,
    end: CancellationToken,
) {
    serve_within(Limits::REAL, listener, (authority, names), worlds, end).await;
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    (authority, names): (Arc<NodeAuthority>, Vec<String>),
    worlds: Worlds,
    end: CancellationToken,
) {
    let config = match config(&authority, &names) {
        Ok(config) => Arc::new(ArcSwap::from_pointee(config)),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the webhook has no certificate; objects are checked when they are served");
            return end.cancelled().await;
        }
    };
    let room = Room::new(limits, worlds);
    let mut connections = JoinSet::new();
    let mut renewal = tokio::time::interval(limits.renewal);
    renewal.tick().await;
    loop {
        let accepted = tokio::select! {
            () = end.cancelled() => break,
            accepted = listener.accept(), if connections.len() < limits.connections => accepted,
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
            Ok((stream, from)) => {
                // Who has all places of one address is hung up on.
                let Some(place) = room.place(from.ip().to_canonical()) else { continue };
                connections.spawn(connection(stream, TlsAcceptor::from(config.load_full()), (room.clone(), place), end.clone()));
            }
            // Out of descriptors, for example: not a reason to spin.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    // Each ends by itself, after what is in flight.
    while connections.join_next().await.is_some() {}
}

fn config(authority: &NodeAuthority, names: &[String]) -> anyhow::Result<ServerConfig> {
    let made = authority.issue_server(names, SystemTime::now(), &SystemEntropy).context("certificate")?;
    let key = PrivateKeyDer::from_pem_slice(made.key.expose().as_bytes()).context("key")?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(made.chain, key).context("TLS")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

type Place = (Arc<Peer>, OwnedSemaphorePermit);

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, (room, place): (Arc<Room>, Place), end: CancellationToken) {
    let limits = room.limits;
    let Ok(Ok(stream)) = timeout(limits.handshake, acceptor.accept(stream)).await else { return };
    let activity = Activity::new();
    let service = service_fn(|request| {
        let (room, peer, asked) = (room.clone(), place.0.clone(), activity.ask());
        async move {
            let answer = answer(&room, &peer, request).await;
            drop(asked);
            Ok::<_, Infallible>(answer)
        }
    });
    let builder = protocol(&limits);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = served.as_mut() => return,
        () = end.cancelled() => {}
        () = activity.rests(limits.idle) => {}
        () = tokio::time::sleep(limits.life) => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = timeout(limits.drain, served).await;
}

/// HTTP/1.1 and HTTP/2, with bounds on what is kept for a connection before anybody asks for it.
fn protocol(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.headers).max_buf_size(BUFFER);
    let window = u32::try_from(BUFFER).unwrap_or(u32::MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(window)
        .initial_connection_window_size(window)
        .max_header_list_size(HEADERS_MAX)
        .keep_alive_interval(limits.idle / 3)
        .keep_alive_timeout(limits.idle / 3);
    builder
}

async fn answer(room: &Room, peer: &Peer, request: Request<Incoming>) -> Response<Full<Bytes>> {
    match judged(room, peer, request).await {
        Ok(answer) => response(StatusCode::OK, "application/json", answer.into()),
        Err((status, why)) => response(status, "text/plain", Bytes::from_static(why.as_bytes())),
    }
}

async fn judged(room: &Room, peer: &Peer, request: Request<Incoming>) -> Result<Vec<u8>, (StatusCode, &'static str)> {
    const TOO_LARGE: (StatusCode, &str) = (StatusCode::PAYLOAD_TOO_LARGE, "the review is too large");
    const BUSY: (StatusCode, &str) = (StatusCode::SERVICE_UNAVAILABLE, "too many reviews at once");
    if request.method() != Method::POST || request.uri().path() != "/validate" {
        return Err((StatusCode::NOT_FOUND, "POST /validate"));
    }
    let until = Instant::now() + room.limits.review;
    // A body that does not say how long it is may be as long as any.
    let length = request.body().size_hint().upper().map_or(REVIEW_BYTES_MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if length > REVIEW_BYTES_MAX {
        return Err(TOO_LARGE);
    }
    // The room is held from before the first byte until the judgement is over, also when whoever asked is gone by then.
    let held = timeout_at(until, room.hold(peer, length)).await.ok().flatten().ok_or(BUSY)?;
    let body = match timeout_at(until, Limited::new(request.into_body(), REVIEW_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(TOO_LARGE),
        Ok(Err(_)) => return Err((StatusCode::BAD_REQUEST, "the review was cut off")),
        Err(_) => return Err((StatusCode::REQUEST_TIMEOUT, "the review took too long")),
    };
    let turn = timeout_at(until, room.turn()).await.ok().flatten().ok_or(BUSY)?;
    // Decoding is work for the processor: other tasks go on meanwhile.
    let world = room.worlds.borrow().clone();
    let judged = tokio::task::spawn_blocking(move || {
        let answer = review(&body, |namespace| world.leaves_out(namespace));
        drop((body, turn, held));
        answer
    });
    let answer = judged.await.map_err(|_| (StatusCode::INTERNAL_SERVER_ERROR, "the review could not be judged"))?;
    answer.map_err(|why| (StatusCode::BAD_REQUEST, why))
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
