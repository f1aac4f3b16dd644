//! Asking a running server: one request over its Unix socket or over HTTP on an address.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::args::Target;

/// Name of the admin socket in the state folder.
pub(crate) const SOCKET: &str = "admin.sock";
/// The largest report that is read: 5,000 objects are about 2 MB.
const REPORT_BYTES: usize = 64 << 20;
/// Time for one question.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// Its socket.
    Unix(PathBuf),
    /// `host:port` of its admin API.
    Tcp(String),
}

impl Server {
    /// The server that the flags, the environment or the state folder name.
    pub(crate) fn find(target: &Target) -> anyhow::Result<Self> {
        let Some(text) = &target.server else { return Ok(Self::Unix(target.state.join(SOCKET))) };
        if let Some(rest) = text.strip_prefix("http://") {
            return Ok(Self::Tcp(rest.trim_end_matches('/').to_owned()));
        }
        if text.starts_with("https://") {
            bail!("--server {text}: the admin API speaks plain HTTP on loopback (use http://, or a tunnel)");
        }
        let looks_like_address = text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(if looks_like_address { Self::Tcp(text.clone()) } else { Self::Unix(text.into()) })
    }

    /// The JSON at `path`, unless it is the same as `known`, the revision of an earlier answer.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, known: Option<&str>) -> anyhow::Result<Option<Answer<T>>> {
        let mut request = http::Request::get(path);
        if let Some(known) = known {
            request = request.header(http::header::IF_NONE_MATCH, known);
        }
        let response = tokio::time::timeout(TIMEOUT, self.send(request)).await.with_context(|| format!("no answer in {TIMEOUT:?}"))??;
        if response.status() == http::StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let revision = response.headers().get(http::header::ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = successful(&response)?;
        let report = serde_json::from_slice(body).context("the server's answer is not what this version expects (windrose version)")?;
        Ok(Some(Answer { report, revision }))
    }

    /// The answer to a request without a body, whatever its status; errs where none comes. Whoever asks bounds the time.
    pub(crate) async fn send(&self, request: http::request::Builder) -> anyhow::Result<http::Response<Bytes>> {
        match self {
            Self::Unix(socket) => exchange(connect(socket).await?, request.header(http::header::HOST, "localhost")).await,
            Self::Tcp(address) => {
                let stream = tokio::net::TcpStream::connect(address.as_str()).await.with_context(|| {
                    format!("no server answers at {address} (is `windrose serve` or `windrose run` running? its address is --admin)")
                })?;
                exchange(stream, request.header(http::header::HOST, address)).await
            }
        }
    }
}

/// The body of an answer that is no refusal.
pub(crate) fn successful(response: &http::Response<Bytes>) -> anyhow::Result<&Bytes> {
    let (status, body) = (response.status(), response.body());
    anyhow::ensure!(status.is_success(), "the server says {status}: {}", String::from_utf8_lossy(body).trim());
    Ok(body)
}

/// A report, and what to name when asking whether it changed.
pub(crate) struct Answer<T> {
    pub(crate) report: T,
    pub(crate) revision: Option<String>,
}

async fn connect(socket: &Path) -> anyhow::Result<tokio::net::UnixStream> {
    tokio::net::UnixStream::connect(socket).await.with_context(|| {
        format!(
            "no server answers at {} (is `windrose serve` or `windrose run` running with this --state, as this user? else name it by --server)",
            socket.display()
        )
    })
}

async fn exchange<S>(stream: S, request: http::request::Builder) -> anyhow::Result<http::Response<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = request.body(Empty::<Bytes>::new())?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, REPORT_BYTES).collect().await.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        Ok(http::Response::from_parts(head, body))
    };
    tokio::pin!(connection);
    tokio::select! {
        answer = exchange => answer,
        ended = &mut connection => bail!("the server closed the connection: {ended:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(server: Option<&str>) -> Server {
        Server::find(&Target { server: server.map(str::to_owned), state: "s".into() }).unwrap()
    }

    #[test]
    fn a_server_is_an_address_a_url_or_a_socket() {
        assert_eq!(find(None), Server::Unix("s/admin.sock".into()));
        assert_eq!(find(Some("http://127.0.0.1:18001/")), Server::Tcp("127.0.0.1:18001".into()));
        assert_eq!(find(Some("127.0.0.1:18001")), Server::Tcp("127.0.0.1:18001".into()));
        assert_eq!(find(Some("/run/windrose/admin.sock")), Server::Unix("/run/windrose/admin.sock".into()));
    }
}
