//! A small HTTP server (HTTP/1.1 and h2 by prior knowledge, in the clear or over TLS) around one async function.
//! It reads each request whole, up to a limit, and ends in order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bytes of one request body, at most: the largest that a test sends is 1 MiB.
const BODY_MAX: usize = 8 * 1024 * 1024;

/// How long requests in flight may go on after the end was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A request that was read whole, with where it came from.
#[derive(Debug)]
pub struct Received {
    /// The address of the connection's other end.
    pub peer: SocketAddr,
    /// Head and body.
    pub request: Request<Bytes>,
}

/// What a handler answers.
pub type Answer = Response<Full<Bytes>>;

/// An answer with a JSON body.
pub fn json(status: http::StatusCode, body: &serde_json::Value) -> Answer {
    let mut answer = Response::new(Full::from(format!("{body}\n")));
    *answer.status_mut() = status;
    answer.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    answer
}

/// Headers as a JSON object: name → list of values in the order of their coming; bytes that are no UTF-8 are replaced.
pub fn headers_json(headers: &http::HeaderMap) -> serde_json::Value {
    let mut object = serde_json::Map::new();
    for name in headers.keys() {
        let values = headers.get_all(name).iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        object.insert(name.to_string(), values.into());
    }
    object.into()
}

/// Answers every request on `listener` by `handle`, until `stop`; then finishes what is in flight, 5 s at most.
///
/// With `tls` each connection starts with a handshake; one that fails is closed and nothing else happens.
///
/// # Errors
/// When the listener can accept no more.
pub async fn serve<F, A>(listener: TcpListener, tls: Option<TlsAcceptor>, stop: CancellationToken, handle: F) -> io::Result<()>
where
    F: Fn(Received) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let handle = Arc::new(handle);
    let connections = TaskTracker::new();
    loop {
        let (socket, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted?,
        };
        // A small answer must not wait for the ACK of the one before.
        socket.set_nodelay(true)?;
        let (handle, stop, tls) = (handle.clone(), stop.clone(), tls.clone());
        connections.spawn(async move {
            match tls {
                None => connection(socket, peer, stop, handle).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(socket).await {
                        connection(stream, peer, stop, handle).await;
                    }
                }
            }
        });
    }
    drop(listener);
    connections.close();
    // Whoever has not finished by then is cut: the process or the test ends.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await;
    Ok(())
}

async fn connection<S, F, A>(stream: S, peer: SocketAddr, stop: CancellationToken, handle: Arc<F>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Received) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request| {
        let handle = handle.clone();
        async move { answer(peer, request, &*handle).await }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let served = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    // A client that goes away is an error to hyper and nothing to a sample.
    tokio::select! {
        _ = served.as_mut() => return,
        () = stop.cancelled() => served.as_mut().graceful_shutdown(),
    }
    let _ = served.await;
}

async fn answer<F, A>(peer: SocketAddr, request: Request<Incoming>, handle: &F) -> Result<Answer, hyper::Error>
where
    F: Fn(Received) -> A,
    A: Future<Output = Answer>,
{
    let (head, body) = request.into_parts();
    match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => Ok(handle(Received { peer, request: Request::from_parts(head, body.to_bytes()) }).await),
        Err(cause) => Ok(json(http::StatusCode::PAYLOAD_TOO_LARGE, &serde_json::json!({ "error": format!("body not read: {cause}") }))),
    }
}
