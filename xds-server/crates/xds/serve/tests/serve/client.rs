//! A client made of tonic and rustls, with whatever credential a test wants to show.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{Locality, Node};
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use windrose_vocab::{ProxyKey, ResourceKind};

use crate::stage::{DAY, Stage};

/// What a client shows.
#[derive(Clone, Default)]
pub(crate) struct Credential {
    /// Chain and key in PEM.
    pub(crate) certificate: Option<(String, String)>,
    pub(crate) token: Option<String>,
}

impl Stage {
    pub(crate) fn certificate(&self, proxy: &ProxyKey) -> Credential {
        let now = std::time::SystemTime::now();
        let made = self.nodes.authority.issue_certificate(proxy, DAY, now, &windrose_pki::SystemEntropy).unwrap();
        Credential { certificate: Some((made.certificate, made.key.expose().to_owned())), token: None }
    }

    pub(crate) fn bearer(&self, proxy: &ProxyKey) -> Credential {
        Credential { certificate: None, token: Some(self.token(proxy)) }
    }

    pub(crate) async fn handshake(&self, credential: &Credential) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        connector(self, credential).connect(ServerName::try_from("localhost").unwrap(), tcp).await
    }

    /// A channel over one connection.
    pub(crate) async fn channel(&self, credential: &Credential) -> Result<Channel, Status> {
        let stream = self.handshake(credential).await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut once = Some(TokioIo::new(stream));
        let connect = tower::service_fn(move |_| {
            let stream = once.take().ok_or_else(|| std::io::Error::other("only once"));
            async move { stream }
        });
        // What is not read stays with the server, but for 64 KB.
        let endpoint = Endpoint::from_static("https://localhost").initial_stream_window_size(65_535);
        endpoint.connect_with_connector(connect).await.map_err(|error| Status::unavailable(format!("{error:?}")))
    }

    pub(crate) async fn delta(&self, credential: &Credential) -> Result<Delta, Status> {
        let (send, requests) = mpsc::channel(64);
        let request = with_token(ReceiverStream::new(requests), credential);
        let mut client = AggregatedDiscoveryServiceClient::new(self.channel(credential).await?);
        let responses = client.delta_aggregated_resources(request).await?.into_inner();
        Ok(Delta { send, responses })
    }

    pub(crate) async fn sotw(&self, credential: &Credential) -> Result<Sotw, Status> {
        let (send, requests) = mpsc::channel(64);
        let request = with_token(ReceiverStream::new(requests), credential);
        let mut client = AggregatedDiscoveryServiceClient::new(self.channel(credential).await?);
        let responses = client.stream_aggregated_resources(request).await?.into_inner();
        Ok(Sotw { send, responses })
    }
}

pub(crate) fn with_token<T>(message: T, credential: &Credential) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = &credential.token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

fn connector(stage: &Stage, credential: &Credential) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(stage.nodes.authority.root().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match &credential.certificate {
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

pub(crate) fn node() -> Node {
    Node { id: "test".into(), ..Default::default() }
}

pub(crate) struct Delta {
    pub(crate) send: mpsc::Sender<DeltaDiscoveryRequest>,
    pub(crate) responses: Streaming<DeltaDiscoveryResponse>,
}

impl Delta {
    pub(crate) async fn subscribe(&self, kind: ResourceKind) {
        self.subscribe_from("", kind).await;
    }

    /// The same of a node that says it is in that zone.
    pub(crate) async fn subscribe_from(&self, zone: &str, kind: ResourceKind) {
        let locality = Locality { zone: zone.to_owned(), region: "nowhere".into(), ..Default::default() };
        let node = Node { locality: Some(locality), ..node() };
        let request = DeltaDiscoveryRequest { node: Some(node), type_url: kind.type_url().into(), ..Default::default() };
        self.send.send(request).await.unwrap();
    }

    pub(crate) async fn ack(&self, response: &DeltaDiscoveryResponse) {
        let request =
            DeltaDiscoveryRequest { type_url: response.type_url.clone(), response_nonce: response.nonce.clone(), ..Default::default() };
        self.send.send(request).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        within(self.responses.message()).await?.ok_or_else(|| Status::ok("the end"))
    }
}

pub(crate) struct Sotw {
    pub(crate) send: mpsc::Sender<DiscoveryRequest>,
    pub(crate) responses: Streaming<DiscoveryResponse>,
}

impl Sotw {
    pub(crate) async fn subscribe(&self, kind: ResourceKind) {
        let request = DiscoveryRequest { node: Some(node()), type_url: kind.type_url().into(), ..Default::default() };
        self.send.send(request).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Result<DiscoveryResponse, Status> {
        within(self.responses.message()).await?.ok_or_else(|| Status::ok("the end"))
    }
}

/// Fails after 10 s instead of waiting for ever.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(10), future).await.expect("nothing came within 10 s")
}
