//! Which replica leads: the one that holds the Lease. All serve; it writes, and the others tell it what their proxies say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::{code, explain};

/// The annotation that says where the holder listens to other replicas.
const ADDRESS: &str = "windrose.dev/replicas";
/// The name of the Lease.
pub const LEASE: &str = "windrose-leader";
/// How long a Lease holds after its last renewal.
const HOLDS: Duration = Duration::from_secs(15);
/// Between two renewals.
const RENEW: Duration = Duration::from_secs(4);
/// When a holder that cannot renew lets go: before anybody else may take over.
const LET_GO: Duration = Duration::from_secs(10);
/// Between two tries to get it.
const RETRY: Duration = Duration::from_secs(2);

/// Who leads, as far as this replica knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// We do.
    Ours,
    /// Somebody else does, who listens to other replicas there.
    Others(Option<SocketAddr>),
    /// Nobody can tell: the cluster does not answer. Nobody writes.
    Unknown,
}

/// A replica, as others know it.
#[derive(Clone, Debug)]
pub struct Replica {
    /// What it is called; no other has the name.
    pub name: String,
    /// Where it listens to others when it leads.
    pub listens: Option<SocketAddr>,
}

/// Tries to hold the Lease until the end, and says who leads. At the end it is given back: by then nothing writes any more.
pub async fn hold(client: Client, namespace: String, me: Replica, leads: watch::Sender<Leadership>, end: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(client, &namespace);
    let mut state = Holder { api, me, seen: None, renewed: None };
    loop {
        let now = state.step().await;
        leads.send_if_modified(|before| {
            let differs = *before != now;
            if differs {
                tracing::info!(leadership = ?now, "leadership changed");
            }
            *before = now;
            differs
        });
        let pause = match (now, state.renewed) {
            (Leadership::Ours, Some(renewed)) => RENEW.min((renewed + LET_GO).saturating_duration_since(Instant::now())),
            _ => RETRY,
        };
        if end.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            break;
        }
    }
    if leads.send_replace(Leadership::Others(None)) == Leadership::Ours {
        state.give_back().await;
    }
}

struct Holder {
    api: Api<Lease>,
    me: Replica,
    /// Somebody else's Lease as it was seen, and when by our own clock: clocks of two machines are not compared.
    seen: Option<(String, Instant)>,
    /// When we renewed it last.
    renewed: Option<Instant>,
}

impl Holder {
    async fn step(&mut self) -> Leadership {
        let began = Instant::now();
        let patience = self.renewed.map_or(LET_GO / 2, |renewed| (renewed + LET_GO).saturating_duration_since(began).min(LET_GO / 2));
        match tokio::time::timeout(patience.max(Duration::from_millis(500)), self.try_to_hold()).await {
            Ok(Ok(now)) => {
                self.renewed = (now == Leadership::Ours).then_some(began);
                return now;
            }
            Ok(Err(error)) => tracing::warn!(error = explain(&error), "the Lease cannot be renewed"),
            Err(_) => tracing::warn!("the Lease cannot be renewed: no answer"),
        }
        let holds = self.renewed.is_some_and(|renewed| renewed.elapsed() < LET_GO);
        if holds { Leadership::Ours } else { Leadership::Unknown }
    }

    async fn try_to_hold(&mut self) -> Result<Leadership, kube::Error> {
        let Some(lease) = self.api.get_opt(LEASE).await? else {
            let metadata = ObjectMeta { name: Some(LEASE.to_owned()), annotations: self.annotations(None), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.ours(None)) };
            return won(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let is_ours = holder == self.me.name;
        if !is_ours && !holder.is_empty() && !self.is_stale(&lease) {
            let said = lease.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ADDRESS));
            return Ok(Leadership::Others(said.and_then(|address| address.parse().ok())));
        }
        let spec = self.ours(Some(&spec));
        let metadata = ObjectMeta { annotations: self.annotations(lease.metadata.annotations), ..lease.metadata };
        let lease = Lease { spec: Some(spec), metadata };
        let answer = self.api.replace(LEASE, &PostParams::default(), &lease).await;
        // A renewal of ours that was late may have come first: that is nobody else's Lease.
        if is_ours { answer.map(|_| Leadership::Ours) } else { won(answer) }
    }

    /// Whether somebody else's Lease has not changed for as long as it holds.
    fn is_stale(&mut self, lease: &Lease) -> bool {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        match &self.seen {
            Some((seen, at)) if *seen == version => at.elapsed() > HOLDS,
            _ => {
                self.seen = Some((version, Instant::now()));
                false
            }
        }
    }

    fn ours(&self, former: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let same = former.filter(|former| former.holder_identity.as_ref() == Some(&self.me.name));
        let transitions = former.and_then(|former| former.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.me.name.clone()),
            lease_duration_seconds: i32::try_from(HOLDS.as_secs()).ok(),
            acquire_time: same.and_then(|same| same.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if same.is_some() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }

    /// Ours beside those of others.
    fn annotations(&self, former: Option<BTreeMap<String, String>>) -> Option<BTreeMap<String, String>> {
        let mut all = former.unwrap_or_default();
        all.remove(ADDRESS);
        all.extend(self.me.listens.map(|address| (ADDRESS.to_owned(), address.to_string())));
        Some(all)
    }

    async fn give_back(&self) {
        let Ok(Some(lease)) = self.api.get_opt(LEASE).await else { return };
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_ref() == Some(&self.me.name) {
            let spec = LeaseSpec { holder_identity: Some(String::new()), ..spec };
            let _ = self.api.replace(LEASE, &PostParams::default(), &Lease { spec: Some(spec), ..lease }).await;
        }
    }
}

/// Two that try at once: one of them is told so, and learns the other's address next time.
fn won(answer: Result<Lease, kube::Error>) -> Result<Leadership, kube::Error> {
    match answer {
        Ok(_) => Ok(Leadership::Ours),
        Err(error) if code(&error) == Some(409) => Ok(Leadership::Others(None)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
