//! The two methods of CSDS: one question and its answer, and a stream of them. Whom a caller may see is decided by the
//! router; what is shown of each client by `csds`.

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use envoy_types::pb::envoy::service::status::v3::ClientStatusRequest;
use http::Request;
use hyper::body::Incoming;
use prost::Message;
use tokio::sync::mpsc;
use tonic::Status;
use windrose_state::{Observed, StreamStatus};
use windrose_vocab::ProxyKey;

use crate::body::ResponseBody;
use crate::connection::Circumstances;
use crate::message::{Messages, Spoken};
use crate::shares::Share;
use crate::{csds, limits};

/// What a caller sees at this moment.
pub(crate) struct Seen {
    pub(crate) clients: Vec<StreamStatus>,
    /// A place for the answer, as long as it is in memory; none where nobody counts them.
    pub(crate) place: Option<Share<ProxyKey>>,
}

/// What a caller sees at this moment, or why it sees nothing any more.
pub(crate) trait Sight: Fn(&Observed) -> Result<Seen, Status> + Send + Sync + 'static {}

impl<F: Fn(&Observed) -> Result<Seen, Status> + Send + Sync + 'static> Sight for F {}

impl Spoken for ClientStatusRequest {
    /// It is small.
    fn check(_: &[u8]) -> Result<(), Status> {
        Ok(())
    }
}

/// Answers one question.
pub(crate) async fn fetch(observed: &Observed, request: Request<Incoming>, sight: impl Sight) -> Result<ResponseBody, Status> {
    let mut messages = Messages::new(request.into_body(), limits::STATUS_REQUEST_BYTES);
    let asked = messages.next().await?.ok_or_else(|| Status::invalid_argument("no request message"))?;
    Ok(ResponseBody::Unary { message: Some(answer(observed, &asked, &sight)?) })
}

/// Answers each question when the answer before was taken, until the client is done or the connection drains.
pub(crate) fn stream(observed: Arc<Observed>, request: Request<Incoming>, at: &Arc<Circumstances>, sight: impl Sight) -> ResponseBody {
    let (put, answers) = mpsc::channel(1);
    let mut messages = Messages::new(request.into_body(), limits::STATUS_REQUEST_BYTES);
    at.spawn({
        let at = at.clone();
        async move {
            let end = tokio::select! {
                end = converse(&observed, &mut messages, &put, &sight) => end,
                () = at.drained() => Err(Status::unavailable("the connection is being closed; connect again")),
                () = put.closed() => return,
            };
            if let Err(status) = end {
                let _ = put.send(Err(status)).await;
            }
        }
    });
    ResponseBody::Answers(answers)
}

async fn converse(
    observed: &Observed,
    messages: &mut Messages<Incoming>,
    put: &mpsc::Sender<Result<Bytes, Status>>,
    sight: &impl Sight,
) -> Result<(), Status> {
    // A client that is gone is found by `closed`.
    while let Ok(place) = put.reserve().await {
        let Some(asked) = messages.next().await? else { break };
        place.send(Ok(answer(observed, &asked, sight)?));
    }
    Ok(())
}

fn answer(observed: &Observed, asked: &ClientStatusRequest, sight: &impl Sight) -> Result<Bytes, Status> {
    let Seen { clients, place } = sight(observed)?;
    let bytes = framed(&csds::answer(&clients, asked)?)?;
    Ok(Bytes::from_owner(Answer { bytes, _place: place }))
}

/// An answer in memory, which gives its place back once the transport has written it.
struct Answer {
    bytes: Vec<u8>,
    _place: Option<Share<ProxyKey>>,
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn framed(message: &impl Message) -> Result<Vec<u8>, Status> {
    let length = message.encoded_len();
    let prefix = u32::try_from(length).map_err(|_| Status::resource_exhausted("the answer is too long"))?;
    let mut framed = Vec::with_capacity(5 + length);
    framed.put_u8(0);
    framed.put_u32(prefix);
    message.encode(&mut framed).map_err(|_| Status::internal("the answer cannot be encoded"))?;
    Ok(framed)
}
