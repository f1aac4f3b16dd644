//! Many proxies in one process: each a connection of its own with one delta ADS stream, which reads everything and
//! acknowledges everything. It keeps nothing of what it reads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
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

/// How proxies come.
#[derive(Clone, Debug)]
pub struct Coming {
    /// So many of them at the same time.
    pub at_once: usize,
    /// What each says it has, in which version: it was connected before. Empty for those that have nothing.
    pub has: Arc<BTreeMap<String, String>>,
}

impl Coming {
    /// Proxies that have nothing.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        Self { at_once, has: Arc::default() }
    }

    fn is_return(&self) -> bool {
        !self.has.is_empty()
    }
}

/// Connected proxies; they are gone with this value.
#[derive(Debug)]
pub struct Fleet {
    /// What reaches them.
    pub board: Arc<Board>,
    _proxies: JoinSet<()>,
}

impl Fleet {
    /// Connects the proxies of `shape`, and returns when each has all it asked for, or has said what it has.
    ///
    /// # Errors
    /// The first thing that goes wrong with any of them.
    pub async fn connect(to: SocketAddr, tls: Arc<ClientConfig>, shape: Shape, coming: &Coming) -> anyhow::Result<Self> {
        let (board, mut proxies) = (Arc::new(Board::default()), JoinSet::new());
        let turns = Arc::new(Semaphore::new(coming.at_once));
        for number in 0..shape.proxies {
            let (board, tls, turns, coming) = (board.clone(), TlsConnector::from(tls.clone()), turns.clone(), coming.clone());
            proxies.spawn(async move {
                let proxy = Proxy { number, shape, board: board.clone(), coming };
                if let Err(error) = proxy.live(to, tls, &turns).await {
                    board.fail(format!("proxy {number}: {error:#}"));
                }
            });
        }
        board.all_ready(shape.proxies, limits::CONNECT_MAX).await.context("while the fleet connects")?;
        Ok(Self { board, _proxies: proxies })
    }
}

/// The versions of all that the first proxy of `shape` asks for.
///
/// # Errors
/// Whatever goes wrong with it.
pub async fn versions(to: SocketAddr, tls: Arc<ClientConfig>, shape: Shape) -> anyhow::Result<BTreeMap<String, String>> {
    let proxy = Proxy { number: 0, shape, board: Arc::default(), coming: Coming::new(1) };
    let (mut sender, connection) = connect(to, TlsConnector::from(tls)).await?;
    let read = async {
        let (response, requests) = proxy.subscribe(&mut sender)?;
        let mut stream = Stream { requests, responses: accepted(response).await?, reader: Reader::learning(), type_url: proxy.type_url() };
        proxy.take_all(&mut stream).await?;
        Ok(stream.reader.versions())
    };
    tokio::select! {
        _ = connection => bail!("the server closed the connection"),
        read = read => read,
    }
}

struct Proxy {
    number: usize,
    shape: Shape,
    board: Arc<Board>,
    coming: Coming,
}

impl Proxy {
    /// Lives until it fails: nobody has a reason to end its stream.
    async fn live(self, to: SocketAddr, tls: TlsConnector, turns: &Semaphore) -> anyhow::Result<()> {
        let turn = turns.acquire().await?;
        let (mut sender, connection) = connect(to, tls).await.context("connecting")?;
        let stream = async {
            let (response, requests) = self.subscribe(&mut sender)?;
            let mut turn = Some(turn);
            if self.coming.is_return() {
                // A server may have nothing to say to it, not even headers.
                turn = None;
                self.board.ready();
            }
            let responses = accepted(response).await?;
            let mut stream = Stream { requests, responses, reader: Reader::default(), type_url: self.type_url() };
            if !self.coming.is_return() {
                self.take_all(&mut stream).await.context("first resources")?;
                self.board.ready();
            }
            drop(turn);
            loop {
                let response = stream.next().await?;
                if self.coming.is_return() && self.board.is_before_changes() {
                    self.board.took(&response)
                } else {
                    self.board.got(&response)
                }
            }
        };
        tokio::select! {
            ended = connection => { ended.context("connection")?; bail!("the server closed the connection") }
            ended = stream => ended,
        }
    }

    fn type_url(&self) -> &'static str {
        self.shape.content.kind().type_url()
    }

    fn subscribe(&self, sender: &mut SendRequest<Bytes>) -> anyhow::Result<(ResponseFuture, SendStream<Bytes>)> {
        let request = http::Request::post(DELTA).header("content-type", "application/grpc").header("te", "trailers").body(())?;
        let (response, mut requests) = sender.send_request(request, false)?;
        let names = self.shape.names(self.number);
        requests.send_data(request::subscribe(self.number, self.type_url(), names, &self.coming.has), false)?;
        Ok((response, requests))
    }

    async fn take_all(&self, stream: &mut Stream) -> anyhow::Result<()> {
        let mut have = 0;
        while have < self.shape.resources_per_proxy() {
            let response = stream.next().await?;
            ensure!(response.removed == 0, "something was removed");
            self.board.took(&response);
            have += response.resources;
        }
        ensure!(have == self.shape.resources_per_proxy(), "{have} resources came, {} are there", self.shape.resources_per_proxy());
        Ok(())
    }
}

async fn accepted(response: ResponseFuture) -> anyhow::Result<RecvStream> {
    let response = response.await.context("response")?;
    let status = response.headers().get("grpc-status");
    ensure!(response.status() == http::StatusCode::OK && status.is_none(), "refused: {} {status:?}", response.status());
    Ok(response.into_body())
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
