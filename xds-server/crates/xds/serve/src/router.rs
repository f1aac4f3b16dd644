//! Which method a request calls, and the gRPC rules that hold before any method: POST, content type, a status for everything.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use tonic::Status;
use windrose_state::Observed;

use crate::ads::{self, Delta, Sotw, Variant};
use crate::body::{self, ResponseBody, trailers};
use crate::connection::Circumstances;
use crate::identity::{Peer, authenticate};
use crate::limits;
use crate::message::Messages;
use crate::service::{self, Shared};
use crate::status::{self, Seen, Sight};
use crate::visitors::Crowded;

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
    /// Whether a line about a stranger may be logged now.
    pub(crate) fn may_tell(&self) -> bool {
        match self {
            Self::Xds(shared) => shared.may_tell(),
            Self::Status(_) => false,
        }
    }

    /// The answer to one request. Never fails: an error is an answer.
    pub(crate) async fn answer(&self, request: Request<Incoming>, at: &Arc<Circumstances>) -> Response<ResponseBody> {
        if request.method() != Method::POST || !is_grpc(&request) {
            let mut response = Response::new(ResponseBody::Empty);
            *response.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return response;
        }
        let answered = match self {
            Self::Xds(shared) => xds(shared, request, at).await,
            Self::Status(of) => status_of_all(of, request, at).await,
        };
        answered.unwrap_or_else(|status| refused(&status))
    }
}

async fn xds(shared: &Arc<Shared>, request: Request<Incoming>, at: &Arc<Circumstances>) -> Result<Response<ResponseBody>, Status> {
    let peer = identify(shared, request.headers(), at).await.inspect_err(|status| {
        shared.xds.counters.unauthenticated.up();
        if shared.may_tell() {
            tracing::warn!(remote = %at.remote, reason = status.message(), "stream refused");
        }
    })?;
    match request.uri().path() {
        SOTW => Ok(open::<Sotw>(shared, request, peer, at)),
        DELTA => Ok(open::<Delta>(shared, request, peer, at)),
        FETCH_STATUS => status::fetch(&shared.xds.observed, request, itself(shared, peer)).await.map(grpc),
        STREAM_STATUS => Ok(grpc(status::stream(shared.xds.observed.clone(), request, at, itself(shared, peer)))),
        _ => Err(Status::unimplemented("no such method")),
    }
}

/// Who opens a stream.
async fn identify(shared: &Shared, headers: &HeaderMap, at: &Circumstances) -> Result<Peer, Status> {
    let too_many = |Crowded| Status::unavailable("too many credentials of this address are being checked");
    let _place = at.visit.check().await.map_err(too_many)?;
    let known = authenticate(shared.xds.identify.as_ref(), at.certificate.as_ref(), headers, shared.now()).await;
    let peer = known.map_err(|unknown| {
        if unknown.outdated {
            at.leave();
        }
        unknown.status
    })?;
    at.visit.is_known();
    Ok(peer)
}

async fn status_of_all(
    of: &service::Status,
    request: Request<Incoming>,
    at: &Arc<Circumstances>,
) -> Result<Response<ResponseBody>, Status> {
    match request.uri().path() {
        FETCH_STATUS => status::fetch(&of.observed, request, everybody).await.map(grpc),
        STREAM_STATUS => Ok(grpc(status::stream(of.observed.clone(), request, at, everybody))),
        _ => Err(Status::unimplemented("no such method")),
    }
}

fn open<V: Variant>(shared: &Arc<Shared>, request: Request<Incoming>, peer: Peer, at: &Arc<Circumstances>) -> Response<ResponseBody> {
    let (outbox, body) = body::stream();
    let messages = Messages::new(request.into_body(), limits::REQUEST_BYTES).within(shared.room.clone(), peer.proxy.clone());
    at.spawn(ads::run::<V>(shared.clone(), peer, messages, outbox, at.clone()));
    grpc(ResponseBody::Stream(body))
}

/// Only itself, and only as long as it may open streams.
fn itself(shared: &Arc<Shared>, peer: Peer) -> impl Sight {
    let shared = shared.clone();
    move |observed| {
        if shared.now() >= peer.expires_at || shared.xds.identify.is_revoked(&peer) {
            return Err(Status::unauthenticated("the credential is no longer valid"));
        }
        let place = shared.answers.try_take(peer.proxy.clone());
        let place = place.ok_or_else(|| Status::resource_exhausted("too many answers are on their way; read them first"))?;
        Ok(Seen { clients: observed.streams_of(&peer.proxy), place: Some(place) })
    }
}

fn everybody(observed: &Observed) -> Result<Seen, Status> {
    Ok(Seen { clients: observed.snapshot(), place: None })
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
