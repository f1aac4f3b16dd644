//! A client on one stream, as terse as the rules: what it says and what it hears are lines of text.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use windrose_state::{Accepted, Fault, KindMap, Observation, Protocol, ResourceSet, Selections, View};
use windrose_vocab::{NodeClass, ProxyKey, ResourceKind};
use windrose_xds_session::{DeltaRequest, Diagnosis, Effect, Failure, NodeClaim, Params, Response, Session, SotwRequest, StreamError};

use crate::world::{kind, view, world};

pub(crate) struct Stream {
    pub(crate) session: Session,
    pub(crate) now: Duration,
    pub(crate) effects: Vec<Effect>,
    protocol: Protocol,
    selections: Arc<Selections>,
    set: ResourceSet,
    spoke: bool,
    features: BTreeSet<String>,
    names: [Vec<String>; 7],
    nonces: [String; 7],
}

pub(crate) struct Setup {
    pub(crate) params: Params,
    pub(crate) features: BTreeSet<String>,
}

pub(crate) fn setup(protocol: Protocol) -> Setup {
    let params = Params {
        scope: ProxyKey::gateway("shop", "edge").into(),
        identity: "edge".into(),
        protocol,
        ads: true,
        stream: 7,
        ttl: None,
        accepted: Arc::new(Accepted::new()),
        selections: Arc::default(),
    };
    Setup { params, features: BTreeSet::new() }
}

impl Setup {
    pub(crate) fn accepted(mut self, accepted: &Arc<Accepted>) -> Self {
        self.params.accepted = Arc::clone(accepted);
        self
    }

    pub(crate) fn selections(mut self, selections: &Arc<Selections>) -> Self {
        self.params.selections = Arc::clone(selections);
        self
    }

    pub(crate) fn identity(mut self, identity: &str) -> Self {
        self.params.identity = identity.into();
        self
    }

    pub(crate) fn alone(mut self) -> Self {
        self.params.ads = false;
        self
    }

    pub(crate) fn feature(mut self, feature: &str) -> Self {
        self.features.insert(feature.to_owned());
        self
    }

    pub(crate) fn open(self) -> Stream {
        Stream {
            protocol: self.params.protocol,
            selections: Arc::clone(&self.params.selections),
            set: ResourceSet::new(),
            session: Session::new(self.params),
            now: Duration::ZERO,
            effects: Vec::new(),
            spoke: false,
            features: self.features,
            names: Default::default(),
            nonces: Default::default(),
        }
    }
}

pub(crate) fn delta() -> Stream {
    setup(Protocol::Delta).open()
}

pub(crate) fn sotw() -> Stream {
    setup(Protocol::Sotw).open()
}

impl Stream {
    pub(crate) fn view(&mut self, text: &str) {
        self.set(world(text));
    }

    pub(crate) fn set(&mut self, set: ResourceSet) {
        self.show(set, KindMap::new());
    }

    /// A view with secrets of the identity that nothing in it refers to.
    pub(crate) fn view_and_spare(&mut self, text: &str, spare: &str) {
        self.show(world(text), world(spare).of_kind(ResourceKind::Secret).clone());
    }

    fn show(&mut self, set: ResourceSet, spare: KindMap) {
        self.selections.advance(&self.set, &set);
        self.set = set.clone();
        self.session.on_view(view(set, spare), self.now);
        self.gather();
    }

    pub(crate) fn cold_view(&mut self) {
        self.session.on_view(Arc::new(View::cold(NodeClass::default())), self.now);
    }

    pub(crate) fn node(&mut self) -> Option<NodeClaim> {
        let first = !std::mem::replace(&mut self.spoke, true);
        first.then(|| NodeClaim { id: "node".into(), cluster: "edge".into(), features: self.features.clone() })
    }

    pub(crate) fn delta_request(&mut self, request: DeltaRequest) -> Result<(), StreamError> {
        let node = request.node.clone().or_else(|| self.node());
        let done = self.session.on_delta(DeltaRequest { node, ..request }, self.now);
        self.gather();
        done
    }

    pub(crate) fn sotw_request(&mut self, request: SotwRequest) -> Result<(), StreamError> {
        let node = request.node.clone().or_else(|| self.node());
        let done = self.session.on_sotw(SotwRequest { node, ..request }, self.now);
        self.gather();
        done
    }

    /// Delta: adds these names. State of the world: these are all names from now on.
    pub(crate) fn subscribe(&mut self, short: &str, names: &[&str]) {
        self.ask(short, names, &[], &[]);
    }

    pub(crate) fn unsubscribe(&mut self, short: &str, names: &[&str]) {
        self.ask(short, &[], names, &[]);
    }

    /// A first request of a client that has `claimed`, as `name@version`.
    pub(crate) fn resume(&mut self, short: &str, names: &[&str], claimed: &[&str]) {
        self.ask(short, names, &[], claimed);
    }

    fn ask(&mut self, short: &str, names: &[&str], drop: &[&str], claimed: &[&str]) {
        let kind = kind(short);
        let owned = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let done = match self.protocol {
            Protocol::Delta => self.delta_request(DeltaRequest {
                type_url: kind.type_url().into(),
                subscribe: owned(names),
                unsubscribe: owned(drop),
                initial_resource_versions: claimed.iter().map(|one| claim(one)).collect(),
                ..DeltaRequest::default()
            }),
            Protocol::Sotw => {
                self.names[kind.index()] = owned(names);
                self.sotw_answer(kind, None)
            }
        };
        done.unwrap();
    }

    fn sotw_answer(&mut self, kind: ResourceKind, error_detail: Option<Failure>) -> Result<(), StreamError> {
        self.sotw_request(SotwRequest {
            type_url: kind.type_url().into(),
            resource_names: self.names[kind.index()].clone(),
            response_nonce: self.nonces[kind.index()].clone(),
            error_detail,
            ..SotwRequest::default()
        })
    }

    pub(crate) fn poll(&mut self) -> Option<Response> {
        let response = self.session.poll(self.now)?;
        self.gather();
        let names = response.resources.iter().map(|one| &one.id.name).chain(&response.removed);
        let names: Vec<_> = names.chain(response.heartbeats.iter().map(|(name, _)| name)).collect();
        let unique: BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "rule 20: no response carries one name twice");
        self.nonces[response.kind.index()] = response.nonce.to_string();
        Some(response)
    }

    /// Everything that may be sent now, unanswered.
    pub(crate) fn hear(&mut self) -> Vec<Response> {
        std::iter::from_fn(|| self.poll()).take(100).collect()
    }

    /// The same as text.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        self.hear().iter().map(line).collect()
    }

    /// Everything that is sent when each response is accepted at once.
    pub(crate) fn accept_all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(response) = self.poll() {
            assert!(all.len() < 1_000, "a loop: {:?}", &all[990..]);
            all.push(line(&response));
            self.ack(&response);
        }
        all
    }

    pub(crate) fn ack(&mut self, response: &Response) {
        self.answer(response, None);
    }

    pub(crate) fn nack(&mut self, response: &Response, text: &str) {
        self.answer(response, Some(Failure { code: 13, message: text.into() }));
    }

    fn answer(&mut self, response: &Response, error_detail: Option<Failure>) {
        let done = match self.protocol {
            Protocol::Delta => self.delta_request(DeltaRequest {
                type_url: response.kind.type_url().into(),
                response_nonce: response.nonce.to_string(),
                error_detail,
                ..DeltaRequest::default()
            }),
            Protocol::Sotw => {
                self.nonces[response.kind.index()] = response.nonce.to_string();
                self.sotw_answer(response.kind, error_detail)
            }
        };
        done.unwrap();
    }

    /// Lets time pass the way the owner of a stream does.
    pub(crate) fn wait(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(at) = self.session.next_deadline().filter(|at| *at <= end) {
            assert!(at >= self.now || self.session.next_deadline() == Some(at), "time goes on");
            self.now = self.now.max(at);
            self.session.on_tick(self.now);
            assert_ne!(self.session.next_deadline(), Some(at), "a deadline that was kept is over");
        }
        self.now = end;
        self.session.on_tick(self.now);
        self.gather();
    }

    fn gather(&mut self) {
        self.effects.extend(self.session.effects());
    }

    pub(crate) fn diagnoses(&self) -> Vec<String> {
        let diagnoses = self.effects.iter().filter_map(|effect| match effect {
            Effect::Diagnose(diagnosis) => Some(diagnosis),
            Effect::Observe(_) => None,
        });
        diagnoses.map(Diagnosis::to_string).collect()
    }

    pub(crate) fn acked(&self, short: &str) -> KindMap {
        let of_kind = |effect: &Effect| match effect {
            Effect::Observe(Observation::Acked { kind: at, acked }) if *at == kind(short) => Some(acked.clone()),
            Effect::Observe(_) | Effect::Diagnose(_) => None,
        };
        self.effects.iter().rev().find_map(of_kind).unwrap_or_default()
    }

    pub(crate) fn last_acked(&self, short: &str) -> Vec<String> {
        self.acked(short).values().map(|one| format!("{}@{}", one.id.name, one.version.bits())).collect()
    }
}

fn claim(text: &str) -> (String, String) {
    let (name, version) = text.split_once('@').unwrap();
    (name.to_owned(), windrose_vocab::Fingerprint::from_bits(version.parse().unwrap()).to_string())
}

/// `CDS +a@1 -b =c`: what came, what went, what lives on.
pub(crate) fn line(response: &Response) -> String {
    let mut line = response.kind.to_string();
    response.resources.iter().for_each(|one| line += &format!(" +{}@{}", one.id.name, one.version.bits()));
    response.removed.iter().for_each(|name| line += &format!(" -{name}"));
    response.heartbeats.iter().for_each(|(name, _)| line += &format!(" ={name}"));
    line
}

impl Stream {
    pub(crate) fn last_missing(&self) -> (usize, Vec<String>) {
        let missing = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::Observe(Observation::Missing { missing, .. }) => Some(missing),
            Effect::Observe(_) | Effect::Diagnose(_) => None,
        });
        missing.map(|one| (one.count, one.first.iter().map(ToString::to_string).collect())).unwrap_or_default()
    }
}

impl Stream {
    /// Names that were kept out by the client's surroundings and then accepted.
    pub(crate) fn recovered(&self) -> Vec<String> {
        let names = self.effects.iter().filter_map(|effect| match effect {
            Effect::Observe(Observation::Recovered { name, .. }) => Some(name.to_string()),
            Effect::Observe(_) | Effect::Diagnose(_) => None,
        });
        names.collect()
    }
}

impl Stream {
    /// Whose fault each refusal was.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let faults = self.effects.iter().filter_map(|effect| match effect {
            Effect::Observe(Observation::Rejected { fault, .. }) => Some(*fault),
            Effect::Observe(_) | Effect::Diagnose(_) => None,
        });
        faults.collect()
    }
}
