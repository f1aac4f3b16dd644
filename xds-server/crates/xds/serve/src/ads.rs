//! One ADS stream: moves requests into its session and, whenever the transport wants one, a response out of it.
//! The reader never waits for the writer, and a slow writer finds the newest state.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::{Code, Status};
use windrose_state::{Feed, Observation, Opened, Protocol, Scope, StreamId, View};
use windrose_vocab::{NodeClass, ResourceId};
use windrose_xds_session::{DeltaRequest, Diagnosis, Effect, Moment, Params, Session, SotwRequest, StreamError};

use crate::body::Outbox;
use crate::connection::Circumstances;
use crate::counters::Open;
use crate::frame::Frame;
use crate::identity::Peer;
use crate::message::{Messages, Spoken};
use crate::request::Node;
use crate::service::Shared;
use crate::{limits, node, request};

/// One of the two variants of the protocol.
pub(crate) trait Variant: 'static {
    type Request: Spoken + Send + 'static;
    const PROTOCOL: Protocol;
    fn node(request: &Self::Request) -> Option<&Node>;
    fn take(session: &mut Session, request: Self::Request, now: Moment) -> Result<(), StreamError>;
}

/// State of the world.
pub(crate) struct Sotw;

/// Incremental.
pub(crate) struct Delta;

impl Variant for Sotw {
    type Request = request::Sotw;
    const PROTOCOL: Protocol = Protocol::Sotw;
    fn node(request: &Self::Request) -> Option<&Node> {
        request.node.as_ref()
    }
    fn take(session: &mut Session, request: Self::Request, now: Moment) -> Result<(), StreamError> {
        session.on_sotw(SotwRequest::from(request), now)
    }
}

impl Variant for Delta {
    type Request = request::Delta;
    const PROTOCOL: Protocol = Protocol::Delta;
    fn node(request: &Self::Request) -> Option<&Node> {
        request.node.as_ref()
    }
    fn take(session: &mut Session, request: Self::Request, now: Moment) -> Result<(), StreamError> {
        session.on_delta(DeltaRequest::from(request), now)
    }
}

/// Serves one stream until it ends, and sees to it that the end is heard or the connection cut.
pub(crate) async fn run<V: Variant>(
    shared: Arc<Shared>,
    peer: Peer,
    mut messages: Messages<hyper::body::Incoming>,
    mut outbox: Outbox,
    at: Arc<Circumstances>,
) {
    let counters = &shared.xds.counters;
    counters.streams.up();
    let _open = Open::new(&counters.streams_open);
    let end = match Stream::<V>::open(&shared, &peer, &mut messages, &at).await {
        Ok(Some(mut stream)) => stream.serve(&mut messages, &mut outbox, &at).await,
        Ok(None) => End::Client,
        Err(status) => End::Fault(status),
    };
    end.count(&shared, &peer);
    if matches!(end, End::Expired | End::Revoked) {
        at.leave();
    }
    let Some(status) = end.status() else { return };
    let farewell = async {
        outbox.end(status).await;
        messages.discard().await;
    };
    if timeout(limits::FAREWELL, farewell).await.is_err() {
        at.cut();
        // The request is held until the connection is gone: HTTP/2 loses count of a stream that is let go with words unsent.
        let _ = timeout(limits::FAREWELL, messages.discard()).await;
    }
}

/// Why a stream ended.
enum End {
    /// The client is done or gone.
    Client,
    /// The connection or the server ends.
    Drained,
    /// The credential's time is over.
    Expired,
    /// The credential was taken back.
    Revoked,
    /// The client broke a rule or limit.
    Fault(Status),
}

impl End {
    /// What the client is told; nothing to a client that is gone.
    fn status(self) -> Option<Status> {
        match self {
            Self::Client => Some(Status::ok("")),
            Self::Drained => Some(Status::unavailable("the connection is being closed; connect again")),
            Self::Expired => Some(Status::unauthenticated("the credential has expired")),
            Self::Revoked => Some(Status::unauthenticated("the credential was revoked")),
            Self::Fault(status) if status.code() == Code::Cancelled => None,
            Self::Fault(status) => Some(status),
        }
    }

    fn count(&self, shared: &Shared, peer: &Peer) {
        let counters = &shared.xds.counters;
        match self {
            Self::Client | Self::Drained => {}
            Self::Expired => counters.expired.up(),
            Self::Revoked => counters.revoked.up(),
            Self::Fault(status) if status.code() == Code::Cancelled => {}
            Self::Fault(status) => {
                counters.streams_failed.up();
                if shared.may_tell() {
                    tracing::warn!(peer = %peer.identity, reason = status.message(), "stream failed");
                }
            }
        }
    }
}

struct Stream<'a, V> {
    shared: &'a Shared,
    peer: &'a Peer,
    session: Session,
    feed: Feed,
    observed: Watched<'a>,
    /// Whether the transport waits for a message.
    wanted: bool,
    /// The newest view without listeners, beside what it was made of, once the client is about to end.
    leaving: Option<(Arc<View>, Arc<View>)>,
    variant: std::marker::PhantomData<fn(V)>,
}

impl<'a, V: Variant> Stream<'a, V> {
    /// Waits for the first request, which says what kind of node it is, and lets the session take it.
    async fn open(
        shared: &'a Shared,
        peer: &'a Peer,
        messages: &mut Messages<hyper::body::Incoming>,
        at: &Circumstances,
    ) -> Result<Option<Self>, Status> {
        let first = tokio::select! {
            first = timeout(limits::FIRST_REQUEST, messages.next::<V::Request>()) => first,
            () = at.drained() => return Err(Status::unavailable("the connection is being closed; connect again")),
        };
        let first = first.map_err(|_| Status::deadline_exceeded("no request came"))??;
        let Some(first) = first else { return Ok(None) };
        let claimed = V::node(&first);
        node::refuse_other_claim(claimed, &peer.proxy)?;
        let (scope, feed) = follow(shared, peer, node::class(claimed)?)?;
        let session = Session::new(params::<V>(shared, peer, &scope, &feed));
        let mut stream = Self {
            observed: Watched { shared, opening: Some(opened::<V>(shared, peer, scope, claimed)), id: None },
            shared,
            peer,
            session,
            feed,
            wanted: false,
            leaving: None,
            variant: std::marker::PhantomData,
        };
        stream.take_view();
        stream.take_request(first)?;
        stream.observed.open()?;
        stream.settle(None)?;
        Ok(Some(stream))
    }

    async fn serve(&mut self, messages: &mut Messages<hyper::body::Incoming>, outbox: &mut Outbox, at: &Circumstances) -> End {
        let mut ending = pin!(ending(self.shared, self.peer, at));
        let mut leaving = pin!(leaving(self.shared, self.peer));
        loop {
            if let Err(status) = self.settle(Some(outbox)) {
                return End::Fault(status);
            }
            let due = self.session.next_deadline().map(|moment| self.shared.instant(moment));
            tokio::select! {
                request = messages.next::<V::Request>() => match request {
                    Ok(Some(request)) => if let Err(status) = self.take_request(request) { return End::Fault(status) },
                    Ok(None) => return End::Client,
                    Err(status) => return End::Fault(status),
                },
                wanted = outbox.wanted(), if !self.wanted => match wanted {
                    true => self.wanted = true,
                    false => return End::Client,
                },
                () = self.feed.changed() => self.take_view(),
                () = leaving.as_mut(), if self.leaving.is_none() => self.leave(),
                () = wait_until(due) => self.session.on_tick(self.shared.moment()),
                end = ending.as_mut() => return end,
            }
        }
    }

    fn take_request(&mut self, request: V::Request) -> Result<(), Status> {
        self.shared.xds.counters.requests.up();
        // It may ask for what changed while it concerned nobody here.
        self.take_view();
        let taken = V::take(&mut self.session, request, self.shared.moment());
        taken.map_err(|error| Status::new(Code::from_i32(error.code()), error.to_string()))
    }

    fn take_view(&mut self) {
        let view = self.feed.current();
        let view = match &mut self.leaving {
            None => view,
            Some((whole, without)) => {
                if !Arc::ptr_eq(whole, &view) {
                    (*whole, *without) = (view.clone(), Arc::new(view.without_listeners()));
                }
                without.clone()
            }
        };
        self.session.on_view(view, self.shared.moment());
    }

    fn leave(&mut self) {
        let view = self.feed.current();
        self.leaving = Some((view.clone(), Arc::new(view.without_listeners())));
        self.take_view();
    }

    /// Hands over the next response, if one is wanted and due, and passes on what the session tells.
    fn settle(&mut self, outbox: Option<&mut Outbox>) -> Result<(), Status> {
        if let Some(outbox) = outbox.filter(|_| self.wanted)
            && let Some(response) = self.session.poll(self.shared.moment())
        {
            let resources = response.resources.len();
            let frame = Frame::new(V::PROTOCOL, response).map_err(|error| Status::resource_exhausted(error.to_string()))?;
            let counters = &self.shared.xds.counters;
            counters.responses.up();
            counters.response_bytes.add(frame.length() as u64);
            counters.resources.add(resources as u64);
            outbox.put(frame);
            self.wanted = false;
        }
        self.feed.ask(self.session.asks());
        self.pass_effects();
        Ok(())
    }

    fn pass_effects(&mut self) {
        let mut news = Vec::new();
        for effect in self.session.effects() {
            match effect {
                Effect::Observe(one) => news.push(one),
                Effect::Diagnose(diagnosis) => tell(self.shared, self.peer, &diagnosis),
            }
        }
        self.observed.record(news);
    }
}

/// The feed of the peer's scope. Without room for its zone it is sent what is right everywhere.
fn follow(shared: &Shared, peer: &Peer, claimed: NodeClass) -> Result<(Scope, Feed), Status> {
    let zone = peer.zone.clone().or(claimed.zone);
    let wanted = Scope::new(peer.proxy.clone(), NodeClass { zone, ..claimed });
    let found = shared.xds.desired.subscribe_near(&wanted).map_err(|error| Status::resource_exhausted(error.to_string()))?;
    if found.0 != wanted && shared.may_tell() {
        tracing::warn!(peer = %peer.identity, scope = %wanted, "its proxies are in too many zones; it is served as if in none");
    }
    Ok(found)
}

/// Waits until the client is about to end.
async fn leaving(shared: &Shared, peer: &Peer) {
    let mut changes = Some(shared.xds.identify.revocations());
    while !shared.xds.identify.is_leaving(peer) {
        if !revoked(&mut changes).await {
            changes = None;
        }
    }
}

/// Waits until the stream has to end although nothing is wrong with what the client says.
async fn ending(shared: &Shared, peer: &Peer, at: &Circumstances) -> End {
    let mut revocations = Some(shared.xds.identify.revocations());
    loop {
        if shared.xds.identify.is_revoked(peer) {
            return End::Revoked;
        }
        let left = peer.expires_at.duration_since(shared.now()).unwrap_or_default();
        if left.is_zero() {
            return End::Expired;
        }
        tokio::select! {
            // It ends early rather than late: the clock may jump.
            () = sleep(left.min(limits::EXPIRY_CHECK)) => {}
            alive = revoked(&mut revocations) => if !alive { revocations = None },
            () = at.drained() => return End::Drained,
        }
    }
}

fn params<V: Variant>(shared: &Shared, peer: &Peer, scope: &Scope, feed: &Feed) -> Params {
    Params {
        scope: scope.clone(),
        identity: peer.identity.clone(),
        protocol: V::PROTOCOL,
        ads: true,
        stream: shared.next_stream(),
        ttl: shared.xds.settings.resource_ttl,
        accepted: shared.xds.accepted.clone(),
        selections: feed.selections(),
    }
}

fn opened<V: Variant>(shared: &Shared, peer: &Peer, scope: Scope, claimed: Option<&Node>) -> Opened {
    let (identity, since, credential_expires) = (peer.identity.clone(), shared.now(), peer.expires_at);
    let (node, version) = (claimed.map(|node| node.id.as_str().into()).unwrap_or_default(), node::version(claimed));
    Opened { node, version, identity, scope, protocol: V::PROTOCOL, since, credential_expires, replica: None }
}

fn tell(shared: &Shared, peer: &Peer, diagnosis: &Diagnosis) {
    match diagnosis {
        Diagnosis::Rejected { resource: ResourceId { kind, .. }, .. } | Diagnosis::RejectedUnnamed { kind, .. } => {
            shared.xds.counters.rejections.up();
            shared.xds.counters.rejections_of[kind.index()].up();
            warn(shared, peer, diagnosis);
        }
        Diagnosis::GateOpened { .. } | Diagnosis::Withheld { .. } | Diagnosis::UnaskedRepair { .. } | Diagnosis::Unanswered { .. } => {
            warn(shared, peer, diagnosis);
        }
        Diagnosis::UnknownType => tracing::debug!(peer = %peer.identity, "{diagnosis}"),
    }
}

fn warn(shared: &Shared, peer: &Peer, diagnosis: &Diagnosis) {
    if shared.may_tell_of(&peer.identity, diagnosis) {
        tracing::warn!(peer = %peer.identity, "{diagnosis}");
    }
}

async fn revoked(revocations: &mut Option<watch::Receiver<u64>>) -> bool {
    match revocations {
        Some(revocations) => revocations.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The stream's entry in `Observed`; gone with it, however it ends.
struct Watched<'a> {
    shared: &'a Shared,
    opening: Option<Opened>,
    id: Option<StreamId>,
}

impl Watched<'_> {
    fn open(&mut self) -> Result<(), Status> {
        if let Some(opening) = self.opening.take() {
            let opened = self.shared.xds.observed.open(opening);
            self.id = Some(opened.map_err(|error| Status::resource_exhausted(error.to_string()))?);
        }
        Ok(())
    }

    fn record(&self, news: Vec<Observation>) {
        if let Some(id) = self.id.filter(|_| !news.is_empty()) {
            self.shared.xds.observed.record(id, news, self.shared.now());
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.xds.observed.close(id);
        }
    }
}
