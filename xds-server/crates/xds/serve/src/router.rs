//! Which method a request calls, and the gRPC rules that hold before any method: POST, content type, a status for everything.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use prost::Message;
use tonic::Status;
use windrose_state::{Observed, StreamStatus};

use crate::ads::{self, Delta, Sotw, Variant};
use crate::body::{self, ResponseBody, trailers};
use crate::connection::Circumstances;
use crate::identity::{Peer, authenticate};
use crate::message::Messages;
use crate::service::Shared;
use crate::{csds, service};

const SOTW: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const FETCH_STATUS: &str = "/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus";
const STREAM_STATUS: &str = "/envoy.service.status.v3.ClientStatusDiscoveryService/StreamClientStatus";

/// What a listener answers.
#[derive(Clone)]
pub(crate) enum Router {
    /// The discovery service; status only of the caller itself.
    Xds(Arc<Shared>),
    /// Status of all clients.
    Status(service::Status),
}

impl Router {
    /// The answer to one request. Never fails: an error is an answer.
    pub(crate) async fn answer(&self, request: Request<Incoming>, at: &Arc<Circumstances>) -> Response<ResponseBody> {
        if request.method() != Method::POST || !is_grpc(&request) {
            let mut response = Response::new(ResponseBody::Empty);
            *response.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return response;
        }
        let answered = match self {
            Self::Xds(shared) => xds(shared, request, at).await,
            Self::Status(status) => status_of_all(status, request).await,
        };
        answered.unwrap_or_else(|status| refused(&status))
    }
}

async fn xds(shared: &Arc<Shared>, request: Request<Incoming>, at: &Arc<Circumstances>) -> Result<Response<ResponseBody>, Status> {
    let identify = shared.xds.identify.as_ref();
    let authenticated = authenticate(identify, at.certificate.as_ref(), request.headers(), shared.now()).await;
    let peer = authenticated.inspect_err(|status| {
        shared.xds.counters.unauthenticated.up();
        if shared.may_tell() {
            tracing::warn!(remote = %at.remote, reason = status.message(), "stream refused");
        }
    })?;
    match request.uri().path() {
        SOTW => Ok(open::<Sotw>(shared, request, peer, at)),
        DELTA => Ok(open::<Delta>(shared, request, peer, at)),
        FETCH_STATUS => fetch_status(&shared.xds.observed, request, |stream| stream.opened.scope.proxy == peer.proxy).await,
        STREAM_STATUS => Err(Status::unimplemented("use FetchClientStatus, or the status address of the server")),
        _ => Err(Status::unimplemented("no such method")),
    }
}

async fn status_of_all(status: &service::Status, request: Request<Incoming>) -> Result<Response<ResponseBody>, Status> {
    match request.uri().path() {
        FETCH_STATUS => fetch_status(&status.observed, request, |_| true).await,
        STREAM_STATUS => Err(Status::unimplemented("use FetchClientStatus")),
        _ => Err(Status::unimplemented("no such method")),
    }
}

fn open<V: Variant>(shared: &Arc<Shared>, request: Request<Incoming>, peer: Peer, at: &Arc<Circumstances>) -> Response<ResponseBody> {
    let (outbox, body) = body::stream();
    let messages = Messages::new(request.into_body());
    at.spawn(ads::run::<V>(shared.clone(), peer, messages, outbox, at.clone()));
    grpc(ResponseBody::Stream(body))
}

async fn fetch_status(
    observed: &Observed,
    request: Request<Incoming>,
    may_see: impl Fn(&StreamStatus) -> bool,
) -> Result<Response<ResponseBody>, Status> {
    let mut messages = Messages::new(request.into_body());
    let asked = messages.next().await?.ok_or_else(|| Status::invalid_argument("no request message"))?;
    let clients: Vec<_> = observed.snapshot().into_iter().filter(may_see).collect();
    let answer = csds::answer(&clients, &asked)?;
    Ok(grpc(ResponseBody::Unary { message: Some(framed(&answer)?) }))
}

fn framed(message: &impl Message) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    let prefix = u32::try_from(length).map_err(|_| Status::resource_exhausted("the answer is too long"))?;
    let mut framed = BytesMut::with_capacity(5 + length);
    framed.put_u8(0);
    framed.put_u32(prefix);
    message.encode(&mut framed).map_err(|_| Status::internal("the answer cannot be encoded"))?;
    Ok(framed.freeze())
}

fn is_grpc(request: &Request<Incoming>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let rest = content_type.strip_prefix("application/grpc");
    rest.is_some_and(|rest| rest.is_empty() || rest == "+proto" || rest.starts_with(';'))
}

fn grpc(body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A response that consists of its status: "trailers only".
fn refused(status: &Status) -> Response<ResponseBody> {
    let mut response = grpc(ResponseBody::Empty);
    response.headers_mut().extend(trailers(status));
    response
}
