//! Before an installation: whether the cluster has what we need, and whoever asks may do what it takes.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use windrose_vocab::Kind;

use super::access::{self, Deed};
use super::{Fact, all, cluster, definitions, text};
use crate::client::explain;
use crate::install::{self, CONTROLLER_NAME, Options};
use crate::names::{plural, plural_of};
use crate::surroundings::{self, BUNDLE, GATEWAY_API_MAX, GATEWAY_API_MIN, parse};

/// The version of Gateway API whose conformance suite we pass.
pub(super) const GATEWAY_API: &str = "v1.6.3";
/// Where a definition says which channel of Gateway API it is of.
const CHANNEL: &str = "gateway.networking.k8s.io/channel";
/// Kinds of the standard channel that everybody needs.
const NEEDED: [Kind; 5] = [Kind::GatewayClass, Kind::Gateway, Kind::HTTPRoute, Kind::GRPCRoute, Kind::ReferenceGrant];
/// How strict a namespace is with its Pods.
const ENFORCED: &str = "pod-security.kubernetes.io/enforce";

/// Asks everything that decides whether `options` can be installed.
pub async fn before(client: &Client, options: &Options) -> Vec<Fact> {
    let (answers, goes_on) = cluster(client).await;
    let mut facts = vec![answers];
    if !goes_on {
        return facts;
    }
    facts.extend(gateway_api(client).await);
    facts.push(rights(client, options).await);
    facts.push(grants(client).await);
    facts.push(namespace(client, &options.namespace).await);
    facts.extend(others(client, &options.namespace).await);
    facts
}

/// The definitions of Gateway API: all that are needed, of one version and channel.
pub(super) async fn gateway_api(client: &Client) -> Vec<Fact> {
    const SECTION: &str = "Gateway API";
    let there = match definitions(client).await {
        Ok(there) => there,
        Err(why) => {
            return vec![Fact::bad(
                SECTION,
                format!("its definitions cannot be seen: {why}"),
                "ask somebody who may list customresourcedefinitions",
            )];
        }
    };
    let install = format!(
        "kubectl apply --server-side -f https://github.com/kubernetes-sigs/gateway-api/releases/download/{GATEWAY_API}/experimental-install.yaml"
    );
    let name = |kind: Kind| format!("{}.{}", plural(kind), kind.group());
    let missing =
        |kinds: &[Kind]| kinds.iter().filter(|kind| !there.contains_key(&name(**kind))).map(ToString::to_string).collect::<Vec<_>>();
    let needed = missing(&NEEDED);
    if !needed.is_empty() {
        return vec![Fact::bad(SECTION, format!("no definition of {}", needed.join(", ")), install)];
    }
    let annotation = |kind: Kind, annotation: &str| there.get(&name(kind)).and_then(|all| all.get(annotation)).cloned().unwrap_or_default();
    let (version, channel) = (annotation(Kind::HTTPRoute, BUNDLE), annotation(Kind::HTTPRoute, CHANNEL));
    let said = format!("definitions are there: {version}, {channel} channel");
    let mut facts = match parse(&version) {
        None => vec![Fact::doubtful(SECTION, "definitions are there, of a version that they do not name", install.clone())],
        Some(found) if found < GATEWAY_API_MIN => vec![Fact::doubtful(SECTION, format!("{said}, which is old"), install.clone())],
        Some(found) if found > GATEWAY_API_MAX => {
            vec![Fact::doubtful(SECTION, format!("{said}, which is newer than all that was tested"), install.clone())]
        }
        Some(_) => vec![Fact::good(SECTION, said)],
    };
    let of_group: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.group() == Kind::Gateway.group()).collect();
    let optional = missing(&of_group);
    if !optional.is_empty() {
        let hint = format!("only if you want to use them, the experimental channel has all: {install}");
        facts.push(Fact::doubtful(SECTION, format!("no definition of {}", optional.join(", ")), hint));
    }
    let mixed = of_group.iter().filter(|kind| there.contains_key(&name(**kind)) && annotation(**kind, BUNDLE) != version);
    let mixed: Vec<String> = mixed.map(|kind| format!("{kind} {}", annotation(*kind, BUNDLE))).collect();
    if !mixed.is_empty() {
        facts.push(Fact::doubtful(SECTION, format!("definitions of several versions: HTTPRoute {version}, {}", mixed.join(", ")), install));
    }
    facts
}

/// Whether everything may be put there.
async fn rights(client: &Client, options: &Options) -> Fact {
    const SECTION: &str = "rights";
    let mut deeds = Vec::new();
    for object in install::objects(options) {
        let (group, _) = text(&object, "/apiVersion").split_once('/').unwrap_or_default();
        let one = |verb: &str| Deed {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: plural_of(text(&object, "/kind")),
            namespace: text(&object, "/metadata/namespace").to_owned(),
            name: String::new(),
        };
        deeds.extend(["get", "create", "patch"].map(one));
    }
    deeds.sort();
    deeds.dedup();
    let all = deeds.len();
    match access::denied_to_me(client, deeds).await {
        Err(why) => Fact::doubtful(
            SECTION,
            format!("your rights cannot be asked for: {why}"),
            "try: windrose install | kubectl apply --server-side --dry-run=server -f -",
        ),
        Ok(denied) if denied.is_empty() => Fact::good(SECTION, format!("you may do all {all} things that an installation needs")),
        Ok(denied) => Fact::bad(SECTION, format!("you may not: {}", access::listed(&denied)), "install as a cluster administrator"),
    }
}

/// Nobody can grant what they may not do themselves, unless they may escalate.
async fn grants(client: &Client) -> Fact {
    const SECTION: &str = "rights";
    let escalate = Deed {
        verb: "escalate".to_owned(),
        group: "rbac.authorization.k8s.io".to_owned(),
        resource: "clusterroles".to_owned(),
        ..Deed::default()
    };
    let own = install::rights(install::WEBHOOK).into_iter().map(|right| Deed {
        verb: right.verb.to_owned(),
        group: right.group.to_owned(),
        resource: right.resource,
        ..Deed::default()
    });
    match (access::denied_to_me(client, vec![escalate]).await, access::denied_to_me(client, own.collect()).await) {
        (Ok(escalates), Ok(_)) if escalates.is_empty() => Fact::good(SECTION, "you may grant the service account what it needs"),
        (_, Ok(denied)) if denied.is_empty() => Fact::good(SECTION, "you hold, and so may grant, all that the service account needs"),
        (_, Ok(denied)) => Fact::bad(
            SECTION,
            format!("you may not grant what you may not do: {}", access::listed(&denied)),
            "install as a cluster administrator",
        ),
        (_, Err(why)) => Fact::doubtful(SECTION, format!("your rights cannot be asked for: {why}"), "install as a cluster administrator"),
    }
}

/// Our Pods and Envoy's meet `restricted`: no level refuses them.
async fn namespace(client: &Client, name: &str) -> Fact {
    const SECTION: &str = "namespace";
    let found = Api::<Namespace>::all(client.clone()).get_opt(name).await;
    match found {
        Err(error) => {
            Fact::doubtful(SECTION, format!("namespace {name} cannot be seen: {}", explain(&error)), "ask somebody who may get namespaces")
        }
        Ok(None) => {
            Fact::good(SECTION, format!("namespace {name} is made by the installation; its pod security is `{}`", install::POD_SECURITY))
        }
        Ok(Some(found)) if found.metadata.deletion_timestamp.is_some() => Fact::bad(
            SECTION,
            format!("namespace {name} is being deleted"),
            format!("wait: kubectl wait --for=delete namespace/{name} --timeout=2m"),
        ),
        Ok(Some(found)) => {
            let level = found.labels().get(ENFORCED).cloned().unwrap_or_else(|| "not set".to_owned());
            Fact::good(
                SECTION,
                format!("namespace {name} is there; its pod security is `{level}`, and ours meets `{}`", install::POD_SECURITY),
            )
        }
    }
}

/// Whoever else serves our class, or has its name.
async fn others(client: &Client, namespace: &str) -> Vec<Fact> {
    const SECTION: &str = "others";
    let mut facts = Vec::new();
    if let Ok(classes) = all(client, Kind::GatewayClass).await {
        let foreign = classes
            .iter()
            .find(|class| text(class, "/metadata/name") == install::NAME && text(class, "/spec/controllerName") != CONTROLLER_NAME);
        if let Some(foreign) = foreign {
            let controller = text(foreign, "/spec/controllerName");
            facts.push(Fact::bad(
                SECTION,
                format!("GatewayClass {} belongs to {controller}", install::NAME),
                "its controller cannot be changed: delete it, if nobody needs it",
            ));
        }
    }
    facts.push(second(surroundings::others(client, namespace).await));
    facts
}

/// Whether there is an installation in another namespace; cluster-wide objects are one for both, and the last one that is put there has them.
pub(super) fn second(others: Result<Vec<String>, String>) -> Fact {
    const SECTION: &str = "others";
    match others {
        Err(why) => Fact::doubtful(SECTION, format!("other installations cannot be seen: {why}"), "ask somebody who may list deployments"),
        Ok(others) => match others.first() {
            Some(other) => Fact::bad(
                SECTION,
                format!("namespace {other} has an installation: two would fight about every Gateway, and one has the rights of both"),
                format!(
                    "keep one: upgrade that one (windrose upgrade --namespace {other}), or delete it (windrose uninstall --namespace {other}) and then install this one, also again: what is cluster-wide is one for both"
                ),
            ),
            None => Fact::good(SECTION, "no other installation is there"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Mark;

    #[test]
    fn a_second_installation_is_named() {
        let fact = second(Ok(vec!["elsewhere".to_owned()]));
        assert_eq!(fact.mark, Mark::Bad);
        assert!(fact.text.contains("elsewhere") && fact.hint.unwrap().contains("--namespace elsewhere"));
        assert_eq!(second(Ok(Vec::new())).mark, Mark::Good);
        assert_eq!(second(Err("forbidden".to_owned())).mark, Mark::Doubtful);
    }

    #[test]
    fn the_version_that_is_named_is_one_that_is_supported() {
        assert!((GATEWAY_API_MIN..=GATEWAY_API_MAX).contains(&parse(GATEWAY_API).unwrap()));
    }
}
