//! A running installation: whether each part is there, current, and does its work.

use std::time::SystemTime;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use windrose_api::decode::suggestion;
use windrose_vocab::Kind;

use super::access::{self, Deed};
use super::before::{gateway_api, second};
use super::{Fact, all, cluster, condition, definitions, of, selection, text};
use crate::client::explain;
use crate::install::{self, CONTROLLER_NAME, FINGERPRINT, Place, VERSION, VERSION_LABEL};
use crate::source::watch::resource;
use crate::{keys, lease, surroundings};

/// Asks everything that tells whether the installation in `namespace` works.
pub async fn running(client: &Client, namespace: &str) -> Vec<Fact> {
    let (answers, goes_on) = cluster(client).await;
    let mut facts = vec![answers];
    if !goes_on {
        return facts;
    }
    facts.extend(gateway_api(client).await);
    facts.push(ours(client).await);
    let there = deployment(client, namespace).await;
    let installed = there.mark != super::Mark::Bad || there.text.contains("available");
    facts.push(there);
    if !installed {
        return facts;
    }
    facts.push(rights(client, namespace).await);
    facts.push(leader(client, namespace).await);
    facts.push(secret(client, namespace).await);
    facts.push(second(surroundings::others(client, namespace).await));
    if install::WEBHOOK {
        facts.push(webhook(client, namespace).await);
    }
    let (selection, is_left_out) = selection::selection(client, namespace).await;
    facts.push(selection);
    facts.extend(classes(client, is_left_out).await);
    facts
}

/// The definitions of our kinds, by the fingerprint that each carries.
async fn ours(client: &Client) -> Fact {
    const SECTION: &str = "definitions";
    let there = match definitions(client).await {
        Ok(there) => there,
        Err(why) => return Fact::bad(SECTION, format!("cannot be seen: {why}"), "ask somebody who may list customresourcedefinitions"),
    };
    let wanted = install::definitions();
    let of = |definition: &Value| text(definition, "/metadata/name").to_owned();
    let missing: Vec<String> = wanted.iter().map(of).filter(|name| !there.contains_key(name)).collect();
    if !missing.is_empty() {
        return Fact::bad(SECTION, format!("missing: {}", missing.join(", ")), "windrose install | kubectl apply --server-side -f -");
    }
    let fingerprint = |definition: &Value| definition["metadata"]["annotations"][FINGERPRINT].as_str().map(str::to_owned);
    let other = wanted
        .iter()
        .filter(|definition| there.get(&of(definition)).and_then(|all| all.get(FINGERPRINT)).cloned() != fingerprint(definition));
    let other: Vec<String> = other.map(of).collect();
    if other.is_empty() {
        return Fact::good(SECTION, format!("all {} of windrose.dev are there, as version {VERSION} has them", wanted.len()));
    }
    Fact::doubtful(
        SECTION,
        format!("of another version than {VERSION}: {}", other.join(", ")),
        "windrose upgrade | kubectl apply --server-side -f -",
    )
}

async fn deployment(client: &Client, namespace: &str) -> Fact {
    const SECTION: &str = "control plane";
    let hint = format!("kubectl -n {namespace} describe deployment,pods -l app.kubernetes.io/name={}", install::NAME);
    let found = match Api::<Deployment>::namespaced(client.clone(), namespace).get_opt(install::NAME).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let hint = "windrose install | kubectl apply --server-side -f -   (--namespace names another namespace)";
            return Fact::bad(SECTION, format!("nothing is installed in namespace {namespace}"), hint);
        }
        Err(error) => {
            return Fact::bad(SECTION, format!("Deployment {namespace}/{} cannot be seen: {}", install::NAME, explain(&error)), hint);
        }
    };
    let wanted = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = found.status.clone().unwrap_or_default();
    let (available, updated) = (status.available_replicas.unwrap_or_default(), status.updated_replicas.unwrap_or_default());
    let version = found.labels().get(VERSION_LABEL).cloned().unwrap_or_default();
    let said = format!("version {version}, {available} of {wanted} replicas available");
    if available >= wanted && updated >= wanted {
        return Fact::good(SECTION, said);
    }
    let stuck = stuck(client, namespace).await.map(|why| format!(": {why}")).unwrap_or_default();
    if available > 0 { Fact::doubtful(SECTION, format!("{said}{stuck}"), hint) } else { Fact::bad(SECTION, format!("{said}{stuck}"), hint) }
}

/// Why a Pod of the control plane does not run, in Kubernetes' words.
async fn stuck(client: &Client, namespace: &str) -> Option<String> {
    let labels = format!("app.kubernetes.io/name={}", install::NAME);
    let pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&ListParams::default().labels(&labels)).await.ok()?;
    pods.items.iter().find_map(|pod| {
        let status = pod.status.as_ref()?;
        let waiting = status.container_statuses.iter().flatten().find_map(|container| container.state.as_ref()?.waiting.as_ref());
        let words = waiting.map(|waiting| [waiting.reason.clone(), waiting.message.clone()]);
        let unscheduled = status.conditions.iter().flatten().find(|one| one.type_ == "PodScheduled" && one.status == "False");
        let words = words.or_else(|| unscheduled.map(|one| [one.reason.clone(), one.message.clone()]))?;
        Some(format!("Pod {}: {}", pod.name_any(), words.into_iter().flatten().collect::<Vec<_>>().join(": ")))
    })
}

async fn rights(client: &Client, namespace: &str) -> Fact {
    const SECTION: &str = "rights";
    let deed = |right: install::Right| Deed {
        verb: right.verb.to_owned(),
        group: right.group.to_owned(),
        resource: right.resource,
        namespace: if right.place == Place::Own { namespace.to_owned() } else { String::new() },
        name: right.only.unwrap_or_default().to_owned(),
    };
    let deeds: Vec<Deed> = install::rights(install::WEBHOOK).into_iter().map(deed).collect();
    let (all, user) = (deeds.len(), format!("system:serviceaccount:{namespace}:{}", install::NAME));
    match access::denied_to(client, &user, deeds).await {
        Ok(denied) if denied.is_empty() => Fact::good(SECTION, format!("the service account may do all {all} things that it needs")),
        Ok(denied) => Fact::bad(
            SECTION,
            format!("the service account may not: {}", access::listed(&denied)),
            "windrose upgrade | kubectl apply --server-side -f -",
        ),
        Err(why) => Fact::doubtful(
            SECTION,
            format!("the service account's rights cannot be asked for: {why}"),
            "ask somebody who may create subjectaccessreviews",
        ),
    }
}

async fn leader(client: &Client, namespace: &str) -> Fact {
    const SECTION: &str = "leader";
    let hint = format!("kubectl -n {namespace} logs -l app.kubernetes.io/name={} --prefix | grep -i lease", install::NAME);
    let found = match Api::<Lease>::namespaced(client.clone(), namespace).get_opt(lease::LEASE).await {
        Ok(Some(found)) => found.spec.unwrap_or_default(),
        Ok(None) => return Fact::bad(SECTION, format!("Lease {} was never taken: nobody writes", lease::LEASE), hint),
        Err(error) => return Fact::bad(SECTION, format!("Lease {} cannot be seen: {}", lease::LEASE, explain(&error)), hint),
    };
    let holder = found.holder_identity.filter(|holder| !holder.is_empty());
    let Some(holder) = holder else { return Fact::bad(SECTION, "nobody holds the Lease: nobody writes", hint) };
    let renewed = found.renew_time.map(|time| u64::try_from(time.0.as_second()).unwrap_or_default()).unwrap_or_default();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (age, holds) = (now.saturating_sub(renewed), u64::try_from(found.lease_duration_seconds.unwrap_or_default()).unwrap_or_default());
    let said = format!("{holder} leads; renewed {age} s ago");
    if age <= holds { Fact::good(SECTION, said) } else { Fact::bad(SECTION, format!("{said}, and it holds for {holds} s"), hint) }
}

async fn secret(client: &Client, namespace: &str) -> Fact {
    const SECTION: &str = "keys";
    let found = Api::<Secret>::namespaced(client.clone(), namespace).get_metadata_opt(keys::SECRET).await;
    match found {
        Ok(Some(_)) => Fact::good(SECTION, format!("Secret {namespace}/{} is there", keys::SECRET)),
        Ok(None) => Fact::bad(
            SECTION,
            format!("Secret {namespace}/{} is gone: replicas that start now wait for it", keys::SECRET),
            "the replica that leads puts it back within half a minute; where none runs, put it back from a copy",
        ),
        Err(error) => Fact::doubtful(
            SECTION,
            format!("Secret {} cannot be seen: {}", keys::SECRET, explain(&error)),
            "ask somebody who may get secrets",
        ),
    }
}

/// Whether the webhook answers: the API server is asked to store, without storing it, what only our decoder refuses.
async fn webhook(client: &Client, namespace: &str) -> Fact {
    const SECTION: &str = "webhook";
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &of("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"));
    match api.get_opt(install::NAME).await {
        Ok(Some(found)) if !text(&found.data, "/webhooks/0/clientConfig/caBundle").is_empty() => {
            let kind = resource(Kind::EdgePolicy, "v1alpha1");
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
            let wrong = DynamicObject::new("windrose-check", &kind).within(namespace).data(json!({"spec": {
                "targetRefs": [{"group": Kind::Gateway.group(), "kind": "Gateway", "name": "none"}],
                "addresses": {"allow": ["no network: asked by windrose check"]},
            }}));
            let dry = PostParams { dry_run: true, ..PostParams::default() };
            proven(api.create(&dry, &wrong).await.map(drop))
        }
        Ok(Some(_)) => Fact::bad(SECTION, "it has no `caBundle` yet: nothing is refused early", "the leader puts it there: see its logs"),
        Ok(None) => Fact::doubtful(
            SECTION,
            "it is not there: mistakes show in the status only",
            "windrose upgrade | kubectl apply --server-side -f -",
        ),
        Err(error) => Fact::doubtful(
            SECTION,
            format!("it cannot be seen: {}", explain(&error)),
            "ask somebody who may get validatingwebhookconfigurations",
        ),
    }
}

/// What the API server's answer to a wrong object says of the webhook. One that it cannot reach or does not trust it passes over.
fn proven(answer: Result<(), kube::Error>) -> Fact {
    const SECTION: &str = "webhook";
    match answer {
        Err(kube::Error::Api(status)) if status.message.contains(install::WEBHOOK_NAME) => {
            Fact::good(SECTION, "the API server asks it, trusts it, and a wrong object is refused")
        }
        Err(error) => Fact::doubtful(
            SECTION,
            format!("whether it answers cannot be tried: {}", explain(&error)),
            "ask somebody who may create edgepolicies in that namespace",
        ),
        Ok(()) => Fact::bad(
            SECTION,
            "the API server takes a wrong object: it cannot reach the webhook, or does not trust its certificate",
            "docs/kubernetes/troubleshooting.md#webhook",
        ),
    }
}

/// Classes and Gateways.
const GATEWAYS: &str = "gateways";

/// The classes that are ours, and their Gateways where they are ours to serve.
async fn classes(client: &Client, is_left_out: impl Fn(&str) -> bool) -> Vec<Fact> {
    let (classes, gateways) = match (all(client, Kind::GatewayClass).await, all(client, Kind::Gateway).await) {
        (Ok(classes), Ok(gateways)) => (classes, gateways),
        (Err(why), _) | (_, Err(why)) => {
            return vec![Fact::doubtful(
                GATEWAYS,
                format!("cannot be seen: {why}"),
                "ask somebody who may list gateways and gatewayclasses",
            )];
        }
    };
    of_classes(&classes, &gateways, is_left_out)
}

fn of_classes(classes: &[Value], gateways: &[Value], is_left_out: impl Fn(&str) -> bool) -> Vec<Fact> {
    let ours: Vec<&Value> = classes.iter().filter(|class| text(class, "/spec/controllerName") == CONTROLLER_NAME).collect();
    if ours.is_empty() {
        let hint = "windrose install has one: a GatewayClass with that controllerName";
        return vec![Fact::bad(GATEWAYS, format!("no GatewayClass names {CONTROLLER_NAME}"), hint)];
    }
    let mut facts: Vec<Fact> = ours.iter().map(|class| holds(GATEWAYS, "GatewayClass", class, "Accepted")).collect();
    let is_ours = |gateway: &&Value| ours.iter().any(|class| text(class, "/metadata/name") == text(gateway, "/spec/gatewayClassName"));
    let ours = gateways.iter().filter(is_ours);
    let (outside, inside): (Vec<&Value>, Vec<&Value>) = ours.partition(|gateway| is_left_out(text(gateway, "/metadata/namespace")));
    facts.extend(inside.into_iter().map(|gateway| holds(GATEWAYS, "Gateway", gateway, "Programmed")));
    let counting = gateways.iter().filter(|gateway| !is_left_out(text(gateway, "/metadata/namespace")));
    facts.extend(counting.clone().filter_map(|gateway| astray(gateway, classes)));
    facts.extend(classes.iter().filter_map(|class| of_others(class, counting.clone())));
    if !outside.is_empty() {
        facts.push(Fact::good(GATEWAYS, format!("{} in namespaces that are not selected: left alone", outside.len())));
    }
    facts
}

/// A Gateway of a class that is not there is nobody's, so nobody else says it.
fn astray(gateway: &Value, classes: &[Value]) -> Option<Fact> {
    let names = classes.iter().map(|class| text(class, "/metadata/name"));
    let (class, namespace) = (text(gateway, "/spec/gatewayClassName"), text(gateway, "/metadata/namespace"));
    if names.clone().any(|name| name == class) {
        return None;
    }
    let said = format!("Gateway {namespace}/{} names class {class}, which is not there", text(gateway, "/metadata/name"));
    let hint = suggestion(class, names).unwrap_or_else(|| "kubectl get gatewayclasses".to_owned());
    Some(Fact::doubtful(GATEWAYS, said, hint))
}

/// Gateways of a class that another controller serves are none of ours: whoever meant Windrose reads here whose they are.
fn of_others<'a>(class: &Value, gateways: impl Iterator<Item = &'a Value>) -> Option<Fact> {
    const NAMED: usize = 3;
    let (name, controller) = (text(class, "/metadata/name"), text(class, "/spec/controllerName"));
    let theirs = gateways.filter(|gateway| controller != CONTROLLER_NAME && text(gateway, "/spec/gatewayClassName") == name);
    let theirs: Vec<String> =
        theirs.map(|gateway| format!("{}/{}", text(gateway, "/metadata/namespace"), text(gateway, "/metadata/name"))).collect();
    let named = theirs.get(..NAMED).unwrap_or(&theirs).join(", ");
    let more = if theirs.len() > NAMED { format!(" and {} more", theirs.len() - NAMED) } else { String::new() };
    let said = format!("class {name} is served by {controller}: left alone is Gateway {named}{more}");
    (!theirs.is_empty()).then(|| Fact::good(GATEWAYS, said))
}

/// Whether a condition of an object holds for what it declares now.
fn holds(section: &'static str, kind: &str, object: &Value, wanted: &str) -> Fact {
    let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    let named = if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") };
    let describe = || {
        format!(
            "kubectl describe {}{} {name}",
            kind.to_ascii_lowercase(),
            if namespace.is_empty() { String::new() } else { format!(" -n {namespace}") }
        )
    };
    let Some(condition) = condition(object, wanted) else {
        return Fact::bad(
            section,
            format!("{named}: nobody has said `{wanted}` yet"),
            format!("does the control plane run? {}", describe()),
        );
    };
    let (status, reason, message) = (text(condition, "/status"), text(condition, "/reason"), text(condition, "/message"));
    if status != "True" {
        let message = if message.is_empty() { String::new() } else { format!(": {message}") };
        let hint = format!("docs/kubernetes/troubleshooting.md#{}; {}", reason.to_ascii_lowercase(), describe());
        return Fact::bad(section, format!("{named}: {wanted} is {status}: {reason}{message}"), hint);
    }
    if condition["observedGeneration"].as_i64() < object.pointer("/metadata/generation").and_then(Value::as_i64) {
        return Fact::doubtful(section, format!("{named}: {wanted}, in an earlier version"), describe());
    }
    if !message.is_empty() {
        return Fact::doubtful(section, format!("{named}: {wanted}, and yet: {message}"), describe());
    }
    Fact::good(section, format!("{named}: {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Mark;

    #[test]
    fn a_condition_holds_for_the_newest_generation_only() {
        let gateway = |status: &str, seen: i64| {
            json!({
                "metadata": {"namespace": "shop", "name": "edge", "generation": 2},
                "status": {"conditions": [{"type": "Programmed", "status": status, "reason": "Pending", "message": if status == "True" { "" } else { "no Envoy" }, "observedGeneration": seen}]},
            })
        };
        let mark = |object: &Value| holds("gateways", "Gateway", object, "Programmed").mark;
        assert_eq!(mark(&gateway("True", 2)), Mark::Good);
        assert_eq!(mark(&gateway("True", 1)), Mark::Doubtful);
        assert_eq!(mark(&json!({"metadata": {"name": "edge"}})), Mark::Bad);
        let bad = holds("gateways", "Gateway", &gateway("False", 2), "Programmed");
        assert_eq!((bad.mark, bad.text.as_str()), (Mark::Bad, "Gateway shop/edge: Programmed is False: Pending: no Envoy"));
        assert!(bad.hint.unwrap().contains("troubleshooting.md#pending"));
    }

    #[test]
    fn a_gateway_of_a_class_that_is_not_there_is_told_with_the_nearest() {
        let class = |name: &str, controller: &str| json!({"metadata": {"name": name}, "spec": {"controllerName": controller}});
        let gateway = |namespace: &str, class: &str| json!({"metadata": {"namespace": namespace, "name": "edge"}, "spec": {"gatewayClassName": class}});
        let classes = [class("windrose", CONTROLLER_NAME), class("theirs", "other.example/controller")];
        let gateways = [gateway("shop", "windrsoe"), gateway("outside", "windrsoe"), gateway("shop", "theirs")];
        let facts = of_classes(&classes, &gateways, |namespace| namespace == "outside");
        let astray: Vec<&Fact> = facts.iter().filter(|fact| fact.mark == Mark::Doubtful).collect();
        assert_eq!(astray.len(), 1, "{facts:?}");
        assert_eq!(astray[0].text, "Gateway shop/edge names class windrsoe, which is not there");
        assert_eq!(astray[0].hint.as_deref(), Some("did you mean `windrose`?"));
        let said = "class theirs is served by other.example/controller: left alone is Gateway shop/edge";
        assert!(facts.iter().any(|fact| fact.mark == Mark::Good && fact.text == said), "{facts:?}");
    }

    #[test]
    fn a_gateway_that_runs_with_a_problem_is_doubtful() {
        let condition = json!({"type": "Programmed", "status": "True", "reason": "Programmed", "message": "Pod edge-1: ImagePullBackOff"});
        let fact =
            holds("gateways", "Gateway", &json!({"metadata": {"name": "edge"}, "status": {"conditions": [condition]}}), "Programmed");
        assert_eq!(fact.mark, Mark::Doubtful);
        assert!(fact.text.contains("ImagePullBackOff"), "{}", fact.text);
    }

    #[test]
    fn only_our_own_refusal_proves_the_webhook() {
        let refused = |message: &str| kube::Error::Api(Box::new(kube::core::Status::failure(message, "Invalid").with_code(422)));
        let ours = refused("admission webhook \"validate.windrose.dev\" denied the request: spec.addresses.allow[0]: no network");
        assert_eq!(proven(Err(ours)).mark, Mark::Good);
        assert_eq!(proven(Err(refused("User \"me\" cannot create resource"))).mark, Mark::Doubtful);
        assert_eq!(proven(Ok(())).mark, Mark::Bad);
    }
}
