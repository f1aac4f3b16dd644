//! Which replica leads: the one that holds the Lease. It serves and writes; its Pod carries the label by which the Service finds it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::{code, explain};
use crate::deploy::MANAGER;

/// The label of the leader's Pod, by which the Service finds it.
pub const LEADER_LABEL: &str = "windrose.dev/leader";
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
    /// Somebody else does.
    Others,
    /// Nobody can tell: the cluster does not answer. Whoever served goes on, and nobody writes.
    Unknown,
}

/// Tries to hold the Lease until the end, and says who leads. At the end it is given back.
pub async fn hold(client: Client, namespace: String, me: String, leads: watch::Sender<Leadership>, end: CancellationToken) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let api: Api<Lease> = Api::namespaced(client, &namespace);
    let mut state = Holder { api, me, seen: None, renewed: None };
    let mut marked = false;
    loop {
        let now = state.step().await;
        if now == Leadership::Ours && !marked {
            // Before anybody is told: whoever connects from here on finds us.
            marked = tokio::time::timeout(RETRY, mark(&pods, &state.me)).await.unwrap_or(false);
        }
        marked &= now != Leadership::Others;
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
    if leads.send_replace(Leadership::Others) == Leadership::Ours {
        state.give_back().await;
    }
}

/// Puts the label on our Pod and takes it from others; whether that is done.
async fn mark(pods: &Api<Pod>, me: &str) -> bool {
    let label = |value: Option<&str>| json!({"metadata": {"labels": {LEADER_LABEL: value}}});
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let marked = match pods.patch(me, &parameters, &Patch::Merge(&label(Some("true")))).await {
        // We are no Pod: a control plane that runs outside is found by its address.
        Err(error) if code(&error) == Some(404) => return true,
        Err(error) => Err(error),
        Ok(_) => pods.list_metadata(&ListParams::default().labels(LEADER_LABEL)).await,
    };
    let others = match marked {
        Ok(found) => found.items.into_iter().filter_map(|pod| pod.metadata.name).filter(|name| name != me),
        Err(error) => {
            tracing::warn!(error = explain(&error), "the Pod cannot be marked as the leader's; trying again");
            return false;
        }
    };
    for name in others {
        match pods.patch(&name, &parameters, &Patch::Merge(&label(None))).await {
            Err(error) if code(&error) != Some(404) => {
                tracing::warn!(pod = name, error = explain(&error), "it stays marked as the leader's; trying again");
                return false;
            }
            Ok(_) | Err(_) => {}
        }
    }
    true
}

struct Holder {
    api: Api<Lease>,
    me: String,
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
            Ok(Ok(held)) => {
                self.renewed = held.then_some(began);
                return if held { Leadership::Ours } else { Leadership::Others };
            }
            Ok(Err(error)) => tracing::warn!(error = explain(&error), "the Lease cannot be renewed"),
            Err(_) => tracing::warn!("the Lease cannot be renewed: no answer"),
        }
        let holds = self.renewed.is_some_and(|renewed| renewed.elapsed() < LET_GO);
        if holds { Leadership::Ours } else { Leadership::Unknown }
    }

    async fn try_to_hold(&mut self) -> Result<bool, kube::Error> {
        let Some(lease) = self.api.get_opt(LEASE).await? else {
            let metadata = ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.ours(None)) };
            return won(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if holder != self.me && !holder.is_empty() && !self.is_stale(&lease) {
            return Ok(false);
        }
        let lease = Lease { spec: Some(self.ours(Some(&spec))), ..lease };
        let answer = self.api.replace(LEASE, &PostParams::default(), &lease).await;
        // A renewal of ours that was late may have come first: that is nobody else's Lease.
        if holder == self.me { answer.map(|_| true) } else { won(answer) }
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
        let same = former.filter(|former| former.holder_identity.as_ref() == Some(&self.me));
        let transitions = former.and_then(|former| former.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(HOLDS.as_secs()).ok(),
            acquire_time: same.and_then(|same| same.acquire_time.clone()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if same.is_some() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }

    async fn give_back(&self) {
        let Ok(Some(lease)) = self.api.get_opt(LEASE).await else { return };
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_ref() == Some(&self.me) {
            let spec = LeaseSpec { holder_identity: Some(String::new()), ..spec };
            let _ = self.api.replace(LEASE, &PostParams::default(), &Lease { spec: Some(spec), ..lease }).await;
        }
    }
}

/// Two that try at once: one of them is told so.
fn won(answer: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if code(&error) == Some(409) => Ok(false),
        Err(error) => Err(error),
    }
}
