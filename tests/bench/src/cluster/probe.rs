//! Asks Envoy for one host again and again, over one connection, until a route answers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Between two questions.
const PAUSE: Duration = Duration::from_micros(500);

/// A connection to Envoy.
#[derive(Debug)]
pub(super) struct Probe {
    sender: SendRequest<Empty<Bytes>>,
}

impl Probe {
    /// Connects, as soon as somebody listens.
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let until = Instant::now() + Duration::from_secs(60);
        let stream = loop {
            match TcpStream::connect(address).await {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > until => return Err(error).with_context(|| format!("{address}")),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Returns with the first 200; before it there is nothing but 404, or the run is void.
    pub(super) async fn until_answered(&mut self, host: &str, patience: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + patience;
        loop {
            self.sender.ready().await.context("Envoy closed the connection")?;
            let request = Request::get("/").header(HOST, host).body(Empty::new())?;
            let answer = self.sender.send_request(request).await.with_context(|| host.to_owned())?;
            let status = answer.status().as_u16();
            answer.into_body().collect().await?;
            match status {
                200 => return Ok(()),
                404 if Instant::now() < until => tokio::time::sleep(PAUSE).await,
                _ => bail!("{host} is answered {status}"),
            }
        }
    }
}
