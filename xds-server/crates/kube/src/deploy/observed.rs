//! What the cluster made of the Envoys of Gateways: addresses of Services, Pods, and why they do not start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch as latest;
use tokio_util::sync::CancellationToken;
use windrose_vocab::{ObjectKey, Text};

use super::{ACCEPT_ANNOTATION, CLASS_LABEL, FLEET_LABEL, MANAGER, READY_GATE};
use crate::{lasting, limits};

/// What is there, by the name of what was made (namespace and name).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Made {
    /// False before all has been listed once: what is not here may be there all the same.
    pub complete: bool,
    /// Services with what they were given.
    pub services: BTreeMap<ObjectKey, ServiceMade>,
    /// Deployments.
    pub deployments: BTreeMap<ObjectKey, DeploymentMade>,
    /// Pods.
    pub pods: BTreeMap<ObjectKey, PodMade>,
    /// ConfigMaps with the bootstraps of Envoys.
    pub bootstraps: BTreeMap<ObjectKey, ()>,
}

/// A Service of a Gateway.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceMade {
    /// Addresses by which it is reached: of the load balancer, else of the cluster.
    pub addresses: BTreeSet<Text>,
    /// Host names of the load balancer.
    pub hostnames: BTreeSet<Text>,
    /// Whether a load balancer gives them.
    pub is_balanced: bool,
    /// The identity of the Gateway that it was made for.
    pub owner: Option<String>,
}

impl ServiceMade {
    /// Whether clients can reach it.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        !(self.addresses.is_empty() && self.hostnames.is_empty())
    }
}

/// A Deployment of a Gateway.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeploymentMade {
    /// The identity of the Gateway that it was made for; none where several share it.
    pub owner: Option<String>,
    /// The identities of those that share it; none where it was made for one.
    pub shared_by: BTreeSet<String>,
    /// Pods that are available.
    pub available: i32,
    /// Why it does not progress, in Kubernetes' words.
    pub problem: Option<String>,
}

/// A Pod of a Gateway.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodMade {
    /// Tells it from an earlier one of the same name.
    pub uid: String,
    /// The Deployment that it is of; empty where it is of none.
    pub deployment: String,
    /// Its address; empty before it has one.
    pub address: String,
    /// Its end, where it is going away.
    pub ending: Option<Ending>,
    /// Whether its gate is open.
    pub gate: bool,
    /// Why it does not run, in Kubernetes' words.
    pub problem: Option<String>,
}

/// The end of a Pod, by what it says itself: whoever sees it first when it is half over knows the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When it began, by the clock of the API server and in whole seconds.
    pub since: SystemTime,
    /// How long from then on the Pod accepts connections at least.
    pub accepts_for: Duration,
    /// How long its endpoint is waited for at most, once that is over.
    pub endpoint_for: Duration,
}

/// Follows what is there until the end.
pub async fn observed(client: Client, made: latest::Sender<Arc<Made>>, end: CancellationToken) {
    let labels = format!("app.kubernetes.io/managed-by={MANAGER},{CLASS_LABEL}");
    let config = watcher::Config::default().labels(&labels);
    let mut services = lasting::watch(Api::<Service>::all(client.clone()), config.clone());
    let mut deployments = lasting::watch(Api::<Deployment>::all(client.clone()), config.clone());
    let mut pods = lasting::watch(Api::<Pod>::all(client.clone()), config.clone());
    let mut bootstraps = lasting::watch(Api::<PartialObjectMeta<ConfigMap>>::all(client), config);
    let mut now = Made::default();
    let mut stale: [BTreeSet<ObjectKey>; 4] = Default::default();
    let mut listed = [false; 4];
    loop {
        // What is ready is taken in together: a rollout of many Pods becomes few comparisons of the whole.
        for taken in 0..limits::EVENTS_AT_ONCE {
            let next = async {
                tokio::select! {
                    Some(event) = services.next() => take(event, &mut now.services, (&mut stale[0], &mut listed[0]), service),
                    Some(event) = deployments.next() => take(event, &mut now.deployments, (&mut stale[1], &mut listed[1]), deployment),
                    Some(event) = pods.next() => take(event, &mut now.pods, (&mut stale[2], &mut listed[2]), pod),
                    Some(event) = bootstraps.next() => take(event, &mut now.bootstraps, (&mut stale[3], &mut listed[3]), |_| ()),
                }
            };
            match if taken == 0 { end.run_until_cancelled(next).await } else { next.now_or_never() } {
                None if taken == 0 => return,
                None => break,
                Some(None) => {}
                Some(Some(problem)) => tracing::warn!(problem, "what was made for Gateways cannot be followed; trying again"),
            }
        }
        now.complete = listed == [true; 4];
        if !now.complete {
            continue;
        }
        made.send_if_modified(|former| {
            let differs = **former != now;
            if differs {
                *former = Arc::new(now.clone());
            }
            differs
        });
    }
}

fn take<K: ResourceExt, V>(
    event: Result<Event<K>, watcher::Error>,
    now: &mut BTreeMap<ObjectKey, V>,
    (stale, listed): (&mut BTreeSet<ObjectKey>, &mut bool),
    read: fn(&K) -> V,
) -> Option<String> {
    match event {
        Ok(Event::Init) => *stale = now.keys().cloned().collect(),
        Ok(Event::InitApply(object) | Event::Apply(object)) => {
            let key = key(&object);
            stale.remove(&key);
            now.insert(key, read(&object));
        }
        Ok(Event::Delete(object)) => drop(now.remove(&key(&object))),
        Ok(Event::InitDone) => {
            now.retain(|key, _| !stale.contains(key));
            *listed = true;
        }
        Err(error) => return Some(error.to_string()),
    }
    None
}

fn key(object: &impl ResourceExt) -> ObjectKey {
    ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any())
}

fn service(service: &Service) -> ServiceMade {
    let spec = service.spec.clone().unwrap_or_default();
    let balanced = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.clone()).unwrap_or_default();
    let is_balanced = spec.type_.as_deref() == Some("LoadBalancer");
    let mut made = ServiceMade { is_balanced, owner: controlled_by(service), ..ServiceMade::default() };
    made.addresses.extend(balanced.iter().filter_map(|ingress| ingress.ip.clone()).map(Text::from));
    made.hostnames.extend(balanced.iter().filter_map(|ingress| ingress.hostname.clone()).map(Text::from));
    made.addresses.extend(spec.external_ips.unwrap_or_default().into_iter().map(Text::from));
    if !is_balanced && made.addresses.is_empty() {
        let cluster = spec.cluster_ips.unwrap_or_default().into_iter().filter(|address| address != "None");
        made.addresses.extend(cluster.map(Text::from));
    }
    made
}

fn controlled_by(object: &impl ResourceExt) -> Option<String> {
    let mut owners = object.owner_references().iter();
    owners.find(|owner| owner.kind == "Gateway" && owner.controller == Some(true)).map(|owner| owner.uid.clone())
}

fn deployment(deployment: &Deployment) -> DeploymentMade {
    let status = deployment.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let failure = conditions
        .iter()
        .find(|one| (one.type_ == "ReplicaFailure" && one.status == "True") || (one.type_ == "Progressing" && one.status == "False"));
    let shared = deployment.labels().contains_key(FLEET_LABEL);
    let owners = deployment.owner_references().iter().filter(|_| shared);
    DeploymentMade {
        owner: controlled_by(deployment),
        shared_by: owners.map(|owner| owner.uid.clone()).collect(),
        available: status.available_replicas.unwrap_or_default(),
        problem: failure.and_then(|one| one.message.clone().or_else(|| one.reason.clone())),
    }
}

/// By the ReplicaSet between them: a Pod's own name may have been cut, a ReplicaSet's is its Deployment's with a hash.
fn deployment_of(pod: &Pod) -> Option<String> {
    let set = pod.owner_references().iter().find(|owner| owner.kind == "ReplicaSet")?;
    set.name.rsplit_once('-').map(|(name, _)| name.to_owned())
}

/// How long a Pod accepts connections at least, once it goes away, by its own word.
fn accepts_for(pod: &Pod) -> Duration {
    let said = pod.annotations().get(ACCEPT_ANNOTATION).and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(said.unwrap_or_default()).min(limits::ACCEPT_MAX)
}

/// Within the grace that the Pod was really given, which may be shorter than what it is made for: what is in flight has the drain then,
/// as far as that goes, and an endpoint that stays costs no more than half of the time.
fn ending(pod: &Pod) -> Option<Ending> {
    let seconds = |seconds: Option<i64>| Duration::from_secs(seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default());
    let end = SystemTime::from(pod.metadata.deletion_timestamp.as_ref()?.0);
    let grace = seconds(pod.metadata.deletion_grace_period_seconds);
    let made_for = seconds(pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds));
    let accepts_for = accepts_for(pod);
    let drain = made_for.saturating_sub(accepts_for.max(limits::LISTENERS_STAY) + limits::ENVOY_ENDS);
    Some(Ending {
        since: end.checked_sub(grace).unwrap_or(end),
        accepts_for: accepts_for.min(grace.saturating_sub(drain + limits::ENVOY_ENDS)),
        endpoint_for: limits::LISTENERS_STAY.min(grace / 2),
    })
}

fn pod(pod: &Pod) -> PodMade {
    let status = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let unscheduled = conditions.iter().find(|one| one.type_ == "PodScheduled" && one.status == "False");
    let containers = status.container_statuses.unwrap_or_default();
    let waiting = containers
        .iter()
        .filter_map(|one| one.state.as_ref()?.waiting.clone())
        .find(|waiting| waiting.reason.as_deref().is_some_and(|reason| !matches!(reason, "ContainerCreating" | "PodInitializing")));
    let words = |reason: Option<String>, message: Option<String>| [reason, message].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let problem = waiting.map(|waiting| words(waiting.reason, waiting.message));
    PodMade {
        uid: pod.uid().unwrap_or_default(),
        deployment: deployment_of(pod).unwrap_or_default(),
        address: status.pod_ip.clone().unwrap_or_default(),
        ending: ending(pod),
        gate: conditions.iter().any(|one| one.type_ == READY_GATE && one.status == "True"),
        problem: problem.or_else(|| unscheduled.map(|one| words(one.reason.clone(), one.message.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    #[test]
    fn a_pod_is_known_by_its_replica_set_also_where_its_own_name_was_cut() {
        let name = "g".repeat(63);
        let mut one = Pod::default();
        one.metadata.name = Some(format!("{}x7k2p", &name[..58]));
        let owner = OwnerReference { kind: "ReplicaSet".to_owned(), name: format!("{name}-5d59d67564"), ..OwnerReference::default() };
        one.metadata.owner_references = Some(vec![owner]);
        assert_eq!(pod(&one).deployment, name);
        assert_eq!(pod(&Pod::default()).deployment, "");
    }

    #[test]
    fn a_pod_says_how_long_it_accepts_within_bounds() {
        let of = |said: Option<&str>| {
            let mut one = Pod::default();
            one.metadata.annotations = said.map(|said| [(ACCEPT_ANNOTATION.to_owned(), said.to_owned())].into());
            accepts_for(&one).as_secs()
        };
        assert_eq!([of(None), of(Some("30")), of(Some("x")), of(Some("99999999"))], [0, 30, 0, 600]);
    }

    /// A Pod that accepts so long and drains for 30 s, deleted in second 1000 with that grace.
    fn deleted(accepts_for: u64, grace: i64) -> Pod {
        let mut one = Pod::default();
        one.metadata.annotations = Some([(ACCEPT_ANNOTATION.to_owned(), accepts_for.to_string())].into());
        one.metadata.deletion_timestamp = Some(Time(Timestamp::from_second(1_000 + grace).unwrap()));
        one.metadata.deletion_grace_period_seconds = Some(grace);
        let made_for = accepts_for.max(limits::LISTENERS_STAY.as_secs()) + 30 + limits::ENVOY_ENDS.as_secs();
        one.spec = Some(PodSpec { termination_grace_period_seconds: i64::try_from(made_for).ok(), ..PodSpec::default() });
        one
    }

    #[test]
    fn a_pod_that_ends_tells_since_when_and_accepts_no_longer_than_its_grace_leaves() {
        let of = |accepts_for, grace| {
            let ending = pod(&deleted(accepts_for, grace)).ending.unwrap();
            let since = ending.since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            (since, ending.accepts_for.as_secs_f32(), ending.endpoint_for.as_secs_f32())
        };
        assert_eq!(of(0, 53), (1_000, 0.0, 8.0));
        assert_eq!(of(30, 75), (1_000, 30.0, 8.0), "what it is made for");
        assert_eq!(of(30, 600), (1_000, 30.0, 8.0), "it is held no longer than it is made for");
        assert_eq!(of(30, 60), (1_000, 15.0, 8.0), "the drain comes first");
        assert_eq!(of(30, 20), (1_000, 0.0, 8.0));
        assert_eq!(of(30, 5), (1_000, 0.0, 2.5));
        assert_eq!(of(30, 0), (1_000, 0.0, 0.0));
        assert_eq!(pod(&Pod::default()).ending, None);
    }
}
