//! An HTTP client that says exactly what a test wants said: to which address, over which protocol, with which host.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderMap};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt;

use crate::tls::TlsClient;

/// How long one call may take unless the test says otherwise.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// What is sent with a request.
type Body = BoxBody<Bytes, Infallible>;

/// One request, on a connection of its own unless it is sent on a [`Connection`].
#[derive(Debug, Clone)]
pub struct Call {
    to: SocketAddr,
    transport: Transport,
    method: Method,
    path: String,
    host: String,
    headers: HeaderMap,
    body: Bytes,
    timeout: Duration,
}

/// What is spoken below the requests of a connection.
#[derive(Debug, Clone, Default)]
pub struct Transport {
    http2: bool,
    tls: Option<(TlsClient, String)>,
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Its trailers, such as `grpc-status`.
    pub trailers: HeaderMap,
    /// What the server showed in the TLS handshake, leaf first; empty in the clear.
    pub peer_certificates: Vec<CertificateDer<'static>>,
}

/// Why there was no answer: at which step, and its cause.
#[derive(Debug)]
pub struct CallError {
    step: &'static str,
    cause: String,
}

impl fmt::Display for CallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.step, self.cause)
    }
}

impl std::error::Error for CallError {}

impl CallError {
    /// The step that failed: `connect`, `tls`, `http`, `send`, `body` or `timeout`.
    pub fn step(&self) -> &'static str {
        self.step
    }
}

fn failed<E: fmt::Debug>(step: &'static str) -> impl Fn(E) -> CallError {
    move |cause| CallError { step, cause: format!("{cause:?}") }
}

impl Call {
    /// `method path` at an address; the host is the address unless [`Call::host`] says another.
    pub fn new(method: Method, to: SocketAddr, path: &str) -> Self {
        Self {
            to,
            transport: Transport::default(),
            method,
            path: path.to_owned(),
            host: to.to_string(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: CALL_TIMEOUT,
        }
    }

    /// `GET path`.
    pub fn get(to: SocketAddr, path: &str) -> Self {
        Self::new(Method::GET, to, path)
    }

    /// `POST path` with a body.
    pub fn post(to: SocketAddr, path: &str, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::new(Method::POST, to, path) }
    }

    /// The `Host` header or `:authority`.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// One more header.
    ///
    /// # Panics
    /// When name or value cannot be a header's.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.headers.append(name, HeaderValue::from_bytes(value.as_ref()).expect("a header value"));
        self
    }

    /// `Authorization: Bearer …`.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Over HTTP/2 (by prior knowledge, or by ALPN with TLS).
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.transport.http2 = true;
        self
    }

    /// Over TLS, asking for `server_name`.
    #[must_use]
    pub fn tls(mut self, client: &TlsClient, server_name: &str) -> Self {
        self.transport.tls = Some((client.clone(), server_name.to_owned()));
        self
    }

    /// How long the whole call may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Opens a connection, sends, reads the whole answer.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn send(&self) -> Result<Reply, CallError> {
        let call = async { Connection::open(self).await?.exchange(self).await };
        tokio::time::timeout(self.timeout, call).await.map_err(failed("timeout"))?
    }

    /// Opens a connection, sends, leaves the request open, and reads until the answer ends or that time is over: a stream as gRPC knows it.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn stream(&self, within: Duration) -> Result<Reply, CallError> {
        let body = tokio_stream::once(Ok(Frame::data(self.body.clone()))).chain(tokio_stream::pending());
        let request = self.request(StreamBody::new(body).boxed())?;
        let answer = async { Connection::open(self).await?.answer(request, Some(within)).await };
        tokio::time::timeout(self.timeout + within, answer).await.map_err(failed("timeout"))?
    }

    fn request(&self, body: Body) -> Result<Request<Body>, CallError> {
        let uri = if self.transport.http2 {
            let scheme = if self.transport.tls.is_some() { "https" } else { "http" };
            Uri::builder().scheme(scheme).authority(self.host.as_str()).path_and_query(self.path.as_str()).build()
        } else {
            Uri::builder().path_and_query(self.path.as_str()).build()
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri.map_err(failed("http"))?;
        *request.headers_mut() = self.headers.clone();
        if !self.transport.http2 && !self.headers.contains_key(HOST) {
            request.headers_mut().insert(HOST, HeaderValue::from_str(&self.host).map_err(failed("http"))?);
        }
        Ok(request)
    }
}

/// A connection that lives over many calls.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    peer_certificates: Vec<CertificateDer<'static>>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Connection {
    /// Connects to where `call` goes, by its transport; sends nothing of it yet.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn open(call: &Call) -> Result<Self, CallError> {
        let socket = TcpStream::connect(call.to).await.map_err(failed("connect"))?;
        socket.set_nodelay(true).map_err(failed("connect"))?;
        let Some((tls, server_name)) = &call.transport.tls else {
            return Self::speak(socket, call.transport.http2, Vec::new()).await;
        };
        let alpn: &[&str] = if call.transport.http2 { &["h2"] } else { &["http/1.1"] };
        let name = ServerName::try_from(server_name.clone()).map_err(failed("tls"))?;
        let stream = TlsConnector::from(Arc::new(tls.config(alpn))).connect(name, socket).await.map_err(failed("tls"))?;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let shown = shown.iter().map(|certificate| certificate.clone().into_owned()).collect();
        Self::speak(stream, call.transport.http2, shown).await
    }

    async fn speak<S>(stream: S, http2: bool, peer_certificates: Vec<CertificateDer<'static>>) -> Result<Self, CallError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(stream);
        let sender = if http2 {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), stream).await.map_err(failed("http"))?;
            // What ends the connection shows in the call that was on it.
            tokio::spawn(driver);
            Sender::Http2(sender)
        } else {
            let (sender, driver) = http1::handshake(stream).await.map_err(failed("http"))?;
            tokio::spawn(driver);
            Sender::Http1(sender)
        };
        Ok(Self { sender, peer_certificates })
    }

    /// Whether it was not closed by the other side, as far as is known.
    pub fn is_open(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
        }
    }

    /// Sends `call` on this connection and reads the whole answer.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn send(&mut self, call: &Call) -> Result<Reply, CallError> {
        tokio::time::timeout(call.timeout, self.exchange(call)).await.map_err(failed("timeout"))?
    }

    async fn exchange(&mut self, call: &Call) -> Result<Reply, CallError> {
        self.answer(call.request(Full::new(call.body.clone()).boxed())?, None).await
    }

    /// The whole answer, or what of its body came in that time.
    async fn answer(&mut self, request: Request<Body>, within: Option<Duration>) -> Result<Reply, CallError> {
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(failed("send"))?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(failed("send"))?;
                sender.send_request(request).await
            }
        };
        let (head, mut body) = response.map_err(failed("send"))?.into_parts();
        let mut reply = Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body: Bytes::new(),
            trailers: HeaderMap::new(),
            peer_certificates: self.peer_certificates.clone(),
        };
        let mut read = BytesMut::new();
        let whole = async {
            while let Some(frame) = body.frame().await {
                match frame.map_err(failed("body"))?.into_data() {
                    Ok(data) => read.extend_from_slice(&data),
                    Err(frame) => reply.trailers.extend(frame.into_trailers().unwrap_or_default()),
                }
            }
            Ok(())
        };
        match within {
            None => whole.await?,
            // What is still open then is not at fault.
            Some(within) => tokio::time::timeout(within, whole).await.unwrap_or(Ok(()))?,
        }
        reply.body = read.freeze();
        Ok(reply)
    }
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none; the message shows it.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|cause| panic!("no JSON ({cause}): {} {}", self.status, self.text()))
    }

    /// The first value of a header, or the empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// All headers, sorted, for messages and comparison; the last value of each name.
    pub fn header_map(&self) -> BTreeMap<String, String> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        self.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }
}

/// Sends bytes as they are and reads until the other side closes or `within` has passed: for what no client would say.
///
/// # Errors
/// When the connection cannot be made or written.
pub async fn raw(to: SocketAddr, bytes: &[u8], within: Duration) -> Result<Bytes, CallError> {
    let mut socket = TcpStream::connect(to).await.map_err(failed("connect"))?;
    socket.write_all(bytes).await.map_err(failed("send"))?;
    let mut answer = Vec::new();
    // A reset after an answer is an end like another; the bytes until then are what counts.
    let _ = tokio::time::timeout(within, socket.read_to_end(&mut answer)).await;
    Ok(answer.into())
}
