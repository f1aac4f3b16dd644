//! Many proxies in one process: each a connection of its own with one delta ADS stream, which reads everything and
//! acknowledges everything. It keeps nothing of what it reads.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::board::Board;
use crate::reader::{Reader, Response};
use crate::shape::Shape;
use crate::{limits, request};

const DELTA: &str = "https://localhost/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// Connected proxies; they are gone with this value.
#[derive(Debug)]
pub struct Fleet {
    /// What reaches them.
    pub board: Arc<Board>,
    _proxies: JoinSet<()>,
}

impl Fleet {
    /// Connects the proxies of `shape`, and returns when each has all it asked for.
    ///
    /// # Errors
    /// The first thing that goes wrong with any of them.
    pub async fn connect(to: SocketAddr, tls: Arc<ClientConfig>, shape: Shape) -> anyhow::Result<Self> {
        let (board, mut proxies) = (Arc::new(Board::default()), JoinSet::new());
        let turns = Arc::new(Semaphore::new(limits::CONNECTING));
        for number in 0..shape.proxies {
            let (board, tls, turns) = (board.clone(), TlsConnector::from(tls.clone()), turns.clone());
            proxies.spawn(async move {
                let proxy = Proxy { number, shape, board: board.clone() };
                if let Err(error) = proxy.live(to, tls, &turns).await {
                    board.fail(format!("proxy {number}: {error:#}"));
                }
            });
        }
        board.all_ready(shape.proxies, limits::CONNECT_MAX).await.context("while the fleet connects")?;
        Ok(Self { board, _proxies: proxies })
    }
}

struct Proxy {
    number: usize,
    shape: Shape,
    board: Arc<Board>,
}

impl Proxy {
    /// Lives until it fails: nobody has a reason to end its stream.
    async fn live(self, to: SocketAddr, tls: TlsConnector, turns: &Semaphore) -> anyhow::Result<()> {
        let turn = turns.acquire().await?;
        let (mut sender, connection) = connect(to, tls).await.context("connecting")?;
        let stream = async {
            let mut stream = self.subscribe(&mut sender).await?;
            self.take_all(&mut stream).await.context("first resources")?;
            drop(turn);
            self.board.ready();
            loop {
                let response = stream.next().await?;
                self.board.got(&response);
            }
        };
        tokio::select! {
            ended = connection => { ended.context("connection")?; bail!("the server closed the connection") }
            ended = stream => ended,
        }
    }

    async fn subscribe(&self, sender: &mut SendRequest<Bytes>) -> anyhow::Result<Stream> {
        let request = http::Request::post(DELTA).header("content-type", "application/grpc").header("te", "trailers").body(())?;
        let (response, mut requests) = sender.send_request(request, false)?;
        let type_url = self.shape.content.kind().type_url();
        requests.send_data(request::subscribe(self.number, type_url, self.shape.names(self.number)), false)?;
        let response = response.await.context("response")?;
        let status = response.headers().get("grpc-status");
        ensure!(response.status() == http::StatusCode::OK && status.is_none(), "refused: {} {status:?}", response.status());
        Ok(Stream { type_url, requests, responses: response.into_body(), reader: Reader::default() })
    }

    async fn take_all(&self, stream: &mut Stream) -> anyhow::Result<()> {
        let mut have = 0;
        while have < self.shape.resources_per_proxy() {
            let response = stream.next().await?;
            ensure!(response.removed == 0, "something was removed");
            have += response.resources;
        }
        ensure!(have == self.shape.resources_per_proxy(), "{have} resources came, {} are there", self.shape.resources_per_proxy());
        Ok(())
    }
}

async fn connect(to: SocketAddr, tls: TlsConnector) -> anyhow::Result<(SendRequest<Bytes>, impl Future<Output = Result<(), h2::Error>>)> {
    let tcp = TcpStream::connect(to).await?;
    tcp.set_nodelay(true)?;
    let secure = tls.connect(ServerName::try_from("localhost")?, tcp).await?;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(limits::WINDOW).initial_connection_window_size(limits::WINDOW);
    Ok(builder.handshake(secure).await?)
}

struct Stream {
    type_url: &'static str,
    requests: SendStream<Bytes>,
    responses: RecvStream,
    reader: Reader,
}

impl Stream {
    /// The next response, which then counts as accepted.
    async fn next(&mut self) -> anyhow::Result<Response> {
        loop {
            if let Some(response) = self.reader.response()? {
                ensure!(response.type_url == self.type_url, "a response of another type: {}", response.type_url);
                self.requests.send_data(request::ack(self.type_url, &response.nonce), false)?;
                return Ok(response);
            }
            let Some(piece) = self.responses.data().await else { bail!("the server ended the stream: {}", self.last_words().await) };
            let piece = piece?;
            self.responses.flow_control().release_capacity(piece.len())?;
            self.reader.push(&piece);
        }
    }

    async fn last_words(&mut self) -> String {
        let trailers = self.responses.trailers().await.ok().flatten().unwrap_or_default();
        let said = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        format!("status {} {}", said("grpc-status"), said("grpc-message"))
    }
}
