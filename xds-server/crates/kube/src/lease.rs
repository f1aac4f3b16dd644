//! Which replica writes: the one that holds the Lease. All of them serve.

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

/// Tries to hold the Lease until the end, and says whether we do. At the end it is given back.
pub async fn hold(client: Client, namespace: String, me: String, leads: watch::Sender<bool>, end: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(client, &namespace);
    let mut state = Holder { api, me, seen: None, renewed: None };
    loop {
        let leading = state.step().await;
        leads.send_if_modified(|before| {
            let differs = *before != leading;
            if differs {
                tracing::info!(leading, "leadership changed");
            }
            *before = leading;
            differs
        });
        let pause = if leading { RENEW } else { RETRY };
        if end.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            break;
        }
    }
    if leads.send_replace(false) {
        state.give_back().await;
    }
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
    async fn step(&mut self) -> bool {
        let began = Instant::now();
        match tokio::time::timeout(LET_GO / 2, self.try_to_hold()).await {
            Ok(Ok(held)) => {
                self.renewed = held.then_some(began);
                return held;
            }
            Ok(Err(error)) => tracing::warn!(error = explain(&error), "the Lease cannot be renewed"),
            Err(_) => tracing::warn!("the Lease cannot be renewed: no answer"),
        }
        self.renewed.is_some_and(|renewed| renewed.elapsed() < LET_GO)
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
        won(self.api.replace(LEASE, &PostParams::default(), &lease).await)
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
