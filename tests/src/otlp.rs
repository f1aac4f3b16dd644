//! A collector of traces that speaks OTLP over gRPC and keeps what it is sent. The bytes come from real proxies and
//! services; it only counts them out.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::proto::otlp::trace_service_server::{TraceService, TraceServiceServer};
use crate::proto::otlp::{ExportTraceServiceRequest, ExportTraceServiceResponse, ResourceSpans};

/// Exports kept, at most: a test sends a few.
const EXPORTS_MAX: usize = 10_000;

/// A running collector; dropping it ends it.
#[derive(Debug)]
pub struct OtlpCollector {
    kept: Kept,
    _stop: DropGuard,
}

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<ResourceSpans>>>);

impl OtlpCollector {
    /// Starts at `address`.
    ///
    /// # Panics
    /// When the address is taken.
    pub async fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await;
        let listener = listener.unwrap_or_else(|cause| panic!("OTLP collector: {address}: {cause}"));
        let (kept, stop) = (Kept::default(), CancellationToken::new());
        let service = TraceServiceServer::new(kept.clone());
        let ended = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            let served = Server::builder().add_service(service).serve_with_incoming_shutdown(TcpListenerStream::new(listener), ended);
            served.await.expect("the collector serves until it is dropped");
        });
        Self { kept, _stop: stop.drop_guard() }
    }

    /// Everything that it was sent so far.
    pub fn spans(&self) -> Vec<ResourceSpans> {
        self.kept.0.lock().expect("no export panicked").clone()
    }
}

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(&self, request: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.0.lock().map_err(|_| Status::internal("an export before this one broke the collector"))?;
        if kept.len() >= EXPORTS_MAX {
            return Err(Status::resource_exhausted("the collector is full"));
        }
        kept.extend(request.into_inner().resource_spans);
        Ok(Response::new(ExportTraceServiceResponse {}))
    }
}
