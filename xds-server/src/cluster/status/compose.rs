//! One status in our words: the plan's verdicts, and beside them what only the proxies and the cluster can tell.

#[cfg(test)]
mod tests;
mod unreadable;

use std::collections::{BTreeMap, BTreeSet};

use windrose_api::declared::gateway::{CONTROLLER, GatewayAddress, Listener as Declared, Protocol, Reach};
use windrose_api::declared::route::ParentRef;
use windrose_api::declared::{AnyObject, Gateway, Object};
use windrose_kube::deploy::{Made, PodMade, ServiceMade};
use windrose_kube::names;
use windrose_kube::source::{Seen, World};
use windrose_kube::status::{Address, Condition, Listener, Status};
use windrose_kube::surroundings::Surroundings;
use windrose_plan::{ConditionType, Edge, Subject, Verdict};
use windrose_vocab::{Kind, ObjectKey, ObjectRef, ObjectVersion, ProxyKey, ResourceId, ResourceKind, Severity};

use super::features::features;
use crate::cluster::deploy::{Problems, envoys_of, service_of};
use crate::cluster::identity::pod;
use crate::pipeline::Picture;
use crate::progress::{Lag, Progress, Standing};

/// What a status is made of.
pub(super) struct Known<'a> {
    pub(super) world: &'a World,
    pub(super) picture: &'a Picture,
    pub(super) progress: &'a Progress,
    pub(super) made: &'a Made,
    pub(super) problems: &'a Problems,
    /// None before it was looked at.
    pub(super) surroundings: Option<&'a Surroundings>,
}

/// The status of an object; none where there is nothing of ours to say.
pub(super) fn status(known: &Known<'_>, object: &ObjectRef, seen: &Seen) -> Option<Status> {
    let Some(declared) = known.picture.declared.get(object) else { return unreadable::status(known, object, seen) };
    match &declared {
        AnyObject::GatewayClass(class) if *class.spec.controller == *CONTROLLER => class_status(known, plain(known, object)),
        AnyObject::GatewayClass(_) => None,
        AnyObject::Gateway(gateway) => known.gateway(gateway, seen),
        AnyObject::ListenerSet(set) => {
            let verdict = known.verdict(&Subject::object(object.clone()))?;
            let problem = problem(known, object);
            let mut conditions = with_problem(conditions(verdict), problem.as_ref());
            let parent = known.picture.declared.gateways.get(&set.spec.gateway);
            let runs = parent.and_then(|gateway| Some(known.runs(gateway, known.world.seen.get(&gateway.meta.object)?)));
            let runs = runs.unwrap_or_else(|| Runs::no("Pending", "its Gateway is not there")).unless(problem.is_some());
            let listeners = known.listeners((&set.spec.gateway, object), &set.spec.listeners, &runs, seen);
            let late = set.spec.listeners.iter().find_map(|listener| known.late(&set.spec.gateway, listener));
            conditions.push(programmed(verdict, &runs, late.filter(|_| !was_programmed(seen))));
            Some(Status::Listeners { conditions, listeners, addresses: None, sets: None })
        }
        AnyObject::Route(route) => Some(Status::Parents(known.parents(object, &route.spec.parents))),
        AnyObject::BackendTls(_) => Some(Status::Ancestors(known.ancestors(object, &declared))),
        AnyObject::AuthPolicy(_)
        | AnyObject::RateLimitPolicy(_)
        | AnyObject::TranscodingPolicy(_)
        | AnyObject::TrafficPolicy(_)
        | AnyObject::EdgePolicy(_)
        | AnyObject::MeshPolicy(_)
        | AnyObject::AuthorizationPolicy(_)
        | AnyObject::TelemetryPolicy(_) => Some(Status::Ancestors(known.ancestors(object, &declared))),
        // They count for a class wherever they are; the status is for whoever selects their namespace to write.
        AnyObject::GatewayParameters(_) if known.world.leaves_out(&object.key.namespace) => None,
        AnyObject::Backend(_) | AnyObject::Workload(_) | AnyObject::GatewayParameters(_) => Some(Status::Plain(plain(known, object))),
        AnyObject::Grant(_)
        | AnyObject::Namespace(_)
        | AnyObject::Service(_)
        | AnyObject::EndpointSlice(_)
        | AnyObject::Secret(_)
        | AnyObject::ConfigMap(_)
        | AnyObject::ClusterTrustBundle(_) => None,
    }
}

/// What is wrong with an object by itself.
fn problem(known: &Known<'_>, object: &ObjectRef) -> Option<Condition> {
    let told = known.world.problems.get(object)?;
    let error = told.iter().find(|one| one.severity == Severity::Error)?;
    Some(Condition { kind: "Accepted", status: false, reason: "Invalid".into(), message: format!("{}: {}", error.field, error.message) })
}

/// What is wrong with the newest version of an object, in the place of what its last good version came to.
fn with_problem(mut conditions: Vec<Condition>, problem: Option<&Condition>) -> Vec<Condition> {
    if let Some(problem) = problem {
        conditions.retain(|condition| condition.kind != problem.kind);
        let message = format!("{}; its last good version stays in force", problem.message);
        conditions.insert(0, Condition { message, ..problem.clone() });
    }
    conditions
}

fn plain(known: &Known<'_>, object: &ObjectRef) -> Vec<Condition> {
    if let Some(problem) = problem(known, object) {
        return vec![problem];
    }
    match known.verdict(&Subject::object(object.clone())) {
        Some(verdict) => conditions(verdict),
        None => vec![yes("Accepted", "Accepted")],
    }
}

/// What a class of ours says, once it is known which definitions and installations there are.
fn class_status(known: &Known<'_>, mut conditions: Vec<Condition>) -> Option<Status> {
    let surroundings = known.surroundings?;
    let accepted = conditions.iter_mut().find(|condition| condition.kind == "Accepted" && condition.status);
    // In the same words whoever writes it, or each would correct the other for ever.
    let rivals = surroundings.rivals().join(", ");
    let rivals =
        (!rivals.is_empty()).then(|| format!("Windrose is installed in namespaces {rivals}, and each writes every status: keep one"));
    if let Some((accepted, wrong)) = accepted.zip(rivals.or_else(|| surroundings.held())) {
        accepted.message = wrong;
    }
    let absent = &known.world.absent;
    conditions.push(match surroundings.unsupported(absent) {
        None => yes("SupportedVersion", "SupportedVersion"),
        Some(message) => Condition { kind: "SupportedVersion", status: false, reason: "UnsupportedVersion".into(), message },
    });
    Some(Status::Class { conditions, features: features(surroundings.version(), absent) })
}

fn yes(kind: &'static str, reason: &str) -> Condition {
    Condition { kind, status: true, reason: reason.into(), message: String::new() }
}

fn conditions(verdict: &Verdict) -> Vec<Condition> {
    let one = |(kind, state): (ConditionType, &windrose_plan::Condition)| Condition {
        kind: kind.as_str(),
        status: state.status,
        reason: state.reason.into(),
        message: state.message.clone(),
    };
    verdict.conditions.iter().map(one).collect()
}

fn holds(verdict: &Verdict, kind: ConditionType) -> Option<bool> {
    verdict.conditions.get(kind).map(|condition| condition.status)
}

/// Whether what was made of an object runs, and why not; or what is wrong all the same.
#[derive(Debug, PartialEq, Eq)]
struct Runs {
    status: bool,
    reason: &'static str,
    message: String,
}

impl Runs {
    fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: false, reason, message: message.into() }
    }

    /// By what the proxies acknowledged and what keeps Pods from running. What runs does not stop for a Pod that cannot come.
    fn by(holds: bool, stuck: Option<String>, standing: Option<&Standing<'_>>) -> Self {
        match (holds, stuck, standing) {
            (true, stuck, _) => Self { status: true, reason: "Programmed", message: stuck.unwrap_or_default() },
            (false, Some(problem), _) => Self::no("NoResources", problem),
            (false, None, Some(standing)) if standing.targets > 0 => {
                Self::no("Pending", lacking(standing, standing.lags.into_iter().flat_map(BTreeMap::values).next()))
            }
            (false, None, _) => Self::no("Pending", "no Envoy is connected yet"),
        }
    }

    /// What runs is not what is declared now, where that cannot be read.
    fn unless(self, unreadable: bool) -> Self {
        if unreadable { Self::no("Invalid", "see Accepted") } else { self }
    }
}

/// How many Envoys have it, and what one lacks that has not.
fn lacking(standing: &Standing<'_>, lag: Option<&Lag>) -> String {
    let counted = format!("{} of {} Envoys have acknowledged it", standing.acknowledged, standing.targets);
    match (standing.unpublished, lag) {
        (Some(why), _) => format!("{counted}; it is not served: {why}"),
        (None, Some(lag)) => format!("{counted}; one lacks {}", lag.resource),
        (None, None) => counted,
    }
}

/// What is not accepted is not programmed, for the same reason; nor is what came later than the rest, and is `late`.
fn programmed(verdict: &Verdict, runs: &Runs, late: Option<String>) -> Condition {
    let refused = verdict.conditions.get(ConditionType::Accepted).filter(|condition| !condition.status);
    let (status, reason, message) = match refused {
        Some(refused) => (false, refused.reason, refused.message.clone()),
        None if holds(verdict, ConditionType::ResolvedRefs) == Some(false) => (false, "Invalid", "see ResolvedRefs".to_owned()),
        None if runs.status && late.is_some() => (false, "Pending", late.unwrap_or_default()),
        // What is wrong beside it is said once, on the Gateway.
        None => (runs.status, runs.reason, if runs.status { String::new() } else { runs.message.clone() }),
    };
    Condition { kind: "Programmed", status, reason: reason.into(), message }
}

impl Known<'_> {
    fn verdict(&self, subject: &Subject) -> Option<&Verdict> {
        self.picture.plan.verdicts.get(subject)
    }

    fn gateway(&self, gateway: &Object<Gateway>, seen: &Seen) -> Option<Status> {
        let object = &gateway.meta.object;
        let verdict = self.verdict(&Subject::object(object.clone()))?;
        let problem = problem(self, object);
        let runs = self.runs(gateway, seen).unless(problem.is_some());
        let mut conditions = with_problem(conditions(verdict), problem.as_ref());
        let accepted = problem.is_none() && holds(verdict, ConditionType::Accepted) != Some(false);
        conditions.push(Condition {
            kind: "Programmed",
            status: accepted && runs.status,
            reason: if accepted { runs.reason } else { "Invalid" }.into(),
            message: if accepted { runs.message.clone() } else { "see Accepted".to_owned() },
        });
        let sets = self.picture.declared.listener_sets.values().filter(|set| {
            let accepted = self.verdict(&Subject::object(set.meta.object.clone()));
            set.spec.gateway == object.key && accepted.is_some_and(|verdict| holds(verdict, ConditionType::Accepted) == Some(true))
        });
        Some(Status::Listeners {
            conditions,
            listeners: self.listeners((&object.key, object), &gateway.spec.listeners, &runs, seen),
            addresses: Some(self.addresses(gateway)),
            sets: u32::try_from(sets.count()).ok(),
        })
    }

    /// Where the Gateway is served.
    fn edge(&self, gateway: &Object<Gateway>) -> Option<&Edge> {
        self.picture.plan.edges.get(&gateway.meta.object.key).map(|edge| &**edge)
    }

    /// Addresses at which the Gateway is reached.
    fn addresses(&self, gateway: &Object<Gateway>) -> Vec<Address> {
        let Some(service) = self.made.services.get(&service_of(self.edge(gateway), gateway)) else { return Vec::new() };
        let routability = (!gateway.spec.reach.is_empty()).then_some(Reach::CLUSTER);
        let ips = service.addresses.iter().map(|address| ("IPAddress", address.to_string()));
        let names = service.hostnames.iter().map(|name| ("Hostname", name.to_string()));
        ips.chain(names).map(|(kind, value)| Address { kind, value, routability }).collect()
    }

    /// Whether the Gateway's proxies run this generation of it.
    fn runs(&self, gateway: &Object<Gateway>, seen: &Seen) -> Runs {
        let key = &gateway.meta.object.key;
        if let Some(problem) = self.problems.get(key) {
            return Runs::no("NoResources", problem);
        }
        let made = self.made.services.get(&service_of(self.edge(gateway), gateway));
        // What was made for another Gateway of this name goes with that.
        let Some(service) = made.filter(|service| service.owner.as_ref().is_none_or(|owner| *owner == seen.uid)) else {
            return Runs::no("AddressNotAssigned", "no address is assigned yet");
        };
        let missing = not_given(&gateway.spec.addresses, service);
        if !missing.is_empty() {
            return Runs::no("AddressNotUsable", unusable(&missing, &gateway.spec.addresses, service));
        }
        if !service.is_reached() {
            return Runs::no("AddressNotAssigned", "no address is assigned yet");
        }
        let version = gateway.meta.identity();
        if let Some(refusal) = self.picture.refused.objects.get(&version) {
            return Runs::no("Invalid", refusal.says());
        }
        let standing = self.progress.of(&version);
        let refused = standing.iter().filter_map(|standing| standing.lags).flat_map(BTreeMap::values).find_map(|lag| {
            let reason = lag.refused.as_ref()?;
            Some(format!("Envoy refused {}: {}", lag.resource, reason.as_str()))
        });
        if let Some(refused) = refused {
            return Runs::no("Invalid", refused);
        }
        let has = |edge: &Edge| self.all_have(&edge.proxy, &version);
        let holds = standing.as_ref().is_some_and(|standing| standing.holds) || was_programmed(seen) || self.edge(gateway).is_some_and(has);
        Runs::by(holds, self.stuck(gateway), standing.as_ref())
    }

    /// Why Envoys of the Gateway do not start, in Kubernetes' words.
    fn stuck(&self, gateway: &Object<Gateway>) -> Option<String> {
        let own = envoys_of(self.edge(gateway), gateway);
        // While nobody knows whether it shares them, those that are there tell.
        let shared = ObjectKey::new(gateway.meta.object.key.namespace.clone(), names::of_fleet(&gateway.spec.class));
        let name = if self.made.deployments.contains_key(&own) || !self.made.deployments.contains_key(&shared) { own } else { shared };
        let of_it =
            |pod: &ObjectKey, made: &PodMade| pod.namespace == name.namespace && made.deployment == *name.name && made.ending.is_none();
        let mut pods = self.made.pods.iter().filter(|(pod, made)| of_it(pod, made));
        let pod = pods.find_map(|(pod, made)| Some(format!("Pod {}: {}", pod.name, made.problem.as_ref()?)));
        pod.or_else(|| self.made.deployments.get(&name)?.problem.clone())
    }

    /// Whether all Envoys have a version, but for those that are going away: they get no listener any more, and lag on every one.
    fn all_have(&self, proxy: &ProxyKey, version: &ObjectVersion) -> bool {
        let ends = |identity: &str| pod(identity).and_then(|pod| self.made.pods.get(&pod)).is_some_and(|pod| pod.ending.is_some());
        self.progress.runs_at(proxy, version, |identity| !ends(identity))
    }

    /// What a listener carries that some Envoy has not acknowledged: it may be able to serve only since something else came.
    fn late(&self, gateway: &ObjectKey, listener: &Declared) -> Option<String> {
        let datagrams = if listener.protocol == Protocol::Udp { "-udp" } else { "" };
        let id = ResourceId::new(ResourceKind::Listener, format!("{gateway}/{}{datagrams}", listener.port));
        let proxy = &self.picture.plan.edges.get(gateway)?.proxy;
        let mut carried = self.picture.plan.sources.get(proxy)?.get(&id)?.iter();
        let runs = self.progress.generation() >= self.picture.generation && carried.all(|version| self.all_have(proxy, version));
        (!runs).then(|| "not all Envoys have acknowledged it yet".to_owned())
    }

    /// The listeners that an object of that Gateway declares.
    fn listeners(&self, (gateway, owner): (&ObjectKey, &ObjectRef), declared: &[Declared], runs: &Runs, seen: &Seen) -> Vec<Listener> {
        let former = listeners_that_were_programmed(seen);
        let one = |listener: &Declared| {
            let subject = Subject::section(owner.clone(), listener.name.clone());
            let verdict = self.verdict(&subject)?;
            let mut conditions = conditions(verdict);
            let is_new = runs.status && !former.contains(&*listener.name);
            let late = is_new.then(|| self.late(gateway, listener)).flatten();
            conditions.push(programmed(verdict, runs, late));
            Some(Listener {
                name: listener.name.to_string(),
                kinds: verdict.supported_kinds.clone(),
                attached: self.picture.plan.attached_routes.get(&subject).copied().unwrap_or_default(),
                conditions,
            })
        };
        declared.iter().filter_map(one).collect()
    }

    /// The parents that are ours, in the order they are written.
    fn parents(&self, object: &ObjectRef, written: &[ParentRef]) -> Vec<(ParentRef, Vec<Condition>)> {
        let (refused, problem) = (self.refused(object), problem(self, object));
        let one = |parent: &ParentRef| {
            let verdict = self.verdict(&Subject::parent(object.clone(), parent.clone()));
            let said = match verdict {
                Some(verdict) => conditions(verdict),
                // Nothing of it is planned, because Envoy refused the only version there is.
                None if refused.is_some() && self.is_ours(object, parent) => vec![yes("Accepted", "Accepted")],
                None => return None,
            };
            let mut conditions = with_problem(said, problem.as_ref());
            conditions.extend(refused.clone());
            Some((parent.clone(), conditions))
        };
        written.iter().filter_map(one).collect()
    }

    /// Whether a parent is a Gateway that we judge.
    fn is_ours(&self, object: &ObjectRef, parent: &ParentRef) -> bool {
        let namespace = parent.target.namespace.clone().unwrap_or_else(|| object.key.namespace.clone());
        let kind = Kind::parse(&parent.target.kind).filter(|kind| matches!(kind, Kind::Gateway | Kind::ListenerSet));
        let subject = kind.map(|kind| Subject::object(ObjectRef::new(kind, namespace, parent.target.name.clone())));
        subject.is_some_and(|subject| self.verdict(&subject).is_some())
    }

    /// Why the version that is declared now runs nowhere, where Envoy refused it or we fail on it.
    fn refused(&self, object: &ObjectRef) -> Option<Condition> {
        let version = self.picture.declared.get(object)?.meta().identity();
        let refusal = self.picture.refused.objects.get(&version)?;
        let none = windrose_plan::stead(&self.picture.plan, &self.picture.declared, object);
        let stead = if refusal.last_good.is_some() { "its last good version stays in force" } else { none.words };
        Some(Condition {
            kind: "Programmed",
            status: false,
            reason: refusal.code().as_str().into(),
            message: format!("{}; {stead}", refusal.says()),
        })
    }

    /// GEP-713: the Gateways that a policy takes effect on, or its targets where there is none.
    fn ancestors(&self, object: &ObjectRef, declared: &AnyObject) -> Vec<(ParentRef, Vec<Condition>)> {
        let of_object = self.picture.plan.verdicts_of(object);
        let (problem, refused) = (problem(self, object), self.refused(object));
        let target = |verdict: &Verdict| {
            let mut conditions = with_problem(conditions(verdict), problem.as_ref());
            conditions.extend(refused.clone());
            conditions
        };
        let targets: Vec<(ParentRef, Vec<Condition>)> =
            of_object.filter_map(|(subject, verdict)| Some((subject.parent.clone()?, target(verdict)))).collect();
        if object.kind != Kind::BackendTLSPolicy {
            return targets;
        }
        let gateways = self.gateways_with(declared);
        if gateways.is_empty() {
            return targets;
        }
        // What is wrong towards one target is wrong.
        let mut conditions: Vec<Condition> = Vec::new();
        for condition in targets.into_iter().flat_map(|(_, conditions)| conditions) {
            match conditions.iter_mut().find(|known| known.kind == condition.kind) {
                Some(known) if known.status => *known = condition,
                Some(_) => {}
                None => conditions.push(condition),
            }
        }
        gateways.into_iter().map(|gateway| (gateway, conditions.clone())).collect()
    }

    /// The Gateways that get something of an object.
    fn gateways_with(&self, declared: &AnyObject) -> Vec<ParentRef> {
        let version = declared.meta().identity();
        let proxies = self.progress.proxies(&version);
        let gateways: BTreeSet<ObjectKey> = proxies.flat_map(|proxy| self.picture.plan.gateways(proxy, &version)).collect();
        gateways.iter().map(gateway_ref).collect()
    }
}

fn gateway_ref(gateway: &ObjectKey) -> ParentRef {
    let target = windrose_api::declared::backend::ObjectReference {
        group: Kind::Gateway.group().into(),
        kind: Kind::Gateway.as_str().into(),
        namespace: Some(gateway.namespace.clone()),
        name: gateway.name.clone(),
    };
    ParentRef { target, section: None, port: None }
}

/// The addresses that are asked for and that the Service does not have: it may have got another one, or none.
fn not_given(asked: &[GatewayAddress], service: &ServiceMade) -> Vec<String> {
    let missing = |address: &GatewayAddress| match address {
        GatewayAddress::Ip(ip) => (!service.addresses.iter().any(|given| given.parse() == Ok(*ip))).then(|| ip.to_string()),
        GatewayAddress::Hostname(name) => {
            (!service.hostnames.iter().any(|given| given.eq_ignore_ascii_case(name))).then(|| name.to_string())
        }
        // The plan refuses it.
        GatewayAddress::Other(..) => None,
    };
    asked.iter().filter_map(missing).collect()
}

/// That some are missing, and where more were asked for than can be, that too.
fn unusable(missing: &[String], asked: &[GatewayAddress], service: &ServiceMade) -> String {
    let said = format!("the cluster does not give what is asked for: {}", missing.join(", "));
    let mut ips = asked.iter().filter_map(|address| match address {
        GatewayAddress::Ip(ip) => Some(ip),
        GatewayAddress::Hostname(_) | GatewayAddress::Other(..) => None,
    });
    match (ips.next(), ips.next()) {
        (Some(first), Some(_)) if service.is_balanced => {
            format!("{said}; one address can be asked for of a load balancer, and that is the first ({first})")
        }
        _ => said,
    }
}

/// Once true for a generation, only a refusal ends it; that it was true before a restart is written there.
fn was_programmed(seen: &Seen) -> bool {
    is_programmed(&seen.status()["conditions"], seen)
}

/// The names of listeners of which the same is written.
fn listeners_that_were_programmed(seen: &Seen) -> BTreeSet<String> {
    let status = seen.status();
    let listeners = status["listeners"].as_array().into_iter().flatten();
    let programmed = listeners.filter(|listener| is_programmed(&listener["conditions"], seen));
    programmed.filter_map(|listener| listener["name"].as_str().map(str::to_owned)).collect()
}

fn is_programmed(conditions: &serde_json::Value, seen: &Seen) -> bool {
    let conditions = conditions.as_array().into_iter().flatten();
    let mut programmed = conditions.filter(|one| one["type"] == "Programmed" && one["observedGeneration"] == seen.generation);
    programmed.any(|one| one["status"] == "True")
}
