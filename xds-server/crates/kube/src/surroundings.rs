//! What decides how a class of ours is served beside what is declared: the version of Gateway API's definitions, and whether somebody
//! has installed us twice.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client, ResourceExt};
use windrose_vocab::Kind;

use crate::client::{code, explain};
use crate::{install, names};

/// The oldest version whose definitions have everything that is needed to serve.
pub const GATEWAY_API_MIN: (u32, u32) = (1, 2);
/// The newest that our stories were told with.
pub const GATEWAY_API_MAX: (u32, u32) = (1, 7);
/// Where a definition says which version of Gateway API it is of.
pub const BUNDLE: &str = "gateway.networking.k8s.io/bundle-version";
/// The definitions whose version is looked at: they are installed together, and `windrose check` tells of mixtures.
pub(crate) const VERSIONED: [&str; 2] = ["gatewayclasses.gateway.networking.k8s.io", "httproutes.gateway.networking.k8s.io"];

/// Kinds of Gateway API that every version and channel has which we serve.
const EVERYWHERE: [Kind; 5] = [Kind::GatewayClass, Kind::Gateway, Kind::HTTPRoute, Kind::GRPCRoute, Kind::ReferenceGrant];

/// What was found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The versions that definitions of Gateway API name; empty for one that names none. Else why they cannot be read.
    pub gateway_api: Result<Vec<String>, String>,
    /// The namespace of this installation.
    pub own: String,
    /// Namespaces with another installation of ours that serves what we serve.
    pub others: Vec<String>,
    /// Kinds that cannot be read for longer than a moment, with the reason, and without which nothing new is served.
    pub unread: BTreeMap<Kind, String>,
}

impl Surroundings {
    /// Why the definitions are none of those that we know, if so. `absent` are kinds that the cluster does not have; some are there in
    /// one channel of Gateway API only, and with the other what needs them is not claimed.
    #[must_use]
    pub fn unsupported(&self, absent: &BTreeSet<Kind>) -> Option<String> {
        let is_needed = |kind: &&Kind| kind.group() == install::GROUP || EVERYWHERE.contains(*kind);
        let lacking: Vec<String> =
            absent.iter().filter(is_needed).map(|kind| format!("{}.{}", names::plural(*kind), kind.group())).collect();
        if !lacking.is_empty() {
            return Some(format!("definitions are not installed: {}", lacking.join(", ")));
        }
        let versions = match &self.gateway_api {
            Ok(versions) => versions,
            Err(why) => return Some(format!("the version of its definitions cannot be read: {why}")),
        };
        let range = format!("v{}.{} to v{}.{}", GATEWAY_API_MIN.0, GATEWAY_API_MIN.1, GATEWAY_API_MAX.0, GATEWAY_API_MAX.1);
        let unknown = versions.iter().find(|version| !is_supported(version))?;
        let found = if unknown.is_empty() { "of no version that they name" } else { unknown };
        Some(format!("the definitions of Gateway API are {found}; {range} are supported, others as far as they go"))
    }

    /// What keeps anything new from being served, if so.
    #[must_use]
    pub fn held(&self) -> Option<String> {
        let kinds: Vec<String> = self.unread.iter().map(|(kind, why)| format!("{kind} cannot be read ({why})")).collect();
        (!kinds.is_empty()).then(|| format!("nothing new is served before it is known what protects it: {}", kinds.join("; ")))
    }

    /// The namespaces of all installations that serve the same, in the same order whoever looks; empty where this one is alone.
    #[must_use]
    pub fn rivals(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.others.iter().map(String::as_str).collect();
        if !all.is_empty() {
            all.push(&self.own);
        }
        all.sort_unstable();
        all
    }

    /// Major and minor of the oldest definitions.
    #[must_use]
    pub fn version(&self) -> Option<(u32, u32)> {
        self.gateway_api.iter().flatten().map(|version| parse(version)).min().flatten()
    }
}

fn is_supported(version: &str) -> bool {
    parse(version).is_some_and(|version| (GATEWAY_API_MIN..=GATEWAY_API_MAX).contains(&version))
}

/// Major and minor of `v1.4.1`, `v1.5.0-rc.1`.
#[must_use]
pub fn parse(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.strip_prefix('v')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Looks once; `namespace` is ours.
///
/// # Errors
/// Why the definitions cannot be read now: what was found before still holds. A right that is missing is a finding.
pub async fn look(client: &Client, namespace: &str) -> Result<Surroundings, String> {
    let gateway_api = match versions(client).await {
        Err(error) if code(&error) != Some(403) => return Err(explain(&error)),
        read => read.map_err(|error| explain(&error)),
    };
    let others = others(client, namespace).await.unwrap_or_else(|error| {
        tracing::warn!(error, "whether another installation is there cannot be seen");
        Vec::new()
    });
    Ok(Surroundings { gateway_api, own: namespace.to_owned(), others, unread: BTreeMap::new() })
}

async fn versions(client: &Client) -> Result<Vec<String>, kube::Error> {
    let definition = ApiResource {
        group: "apiextensions.k8s.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "apiextensions.k8s.io/v1".to_owned(),
        kind: "CustomResourceDefinition".to_owned(),
        plural: "customresourcedefinitions".to_owned(),
    };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &definition);
    let mut versions = Vec::new();
    for name in VERSIONED {
        let found = api.get_metadata_opt(name).await?;
        versions.extend(found.map(|found| found.annotations().get(BUNDLE).cloned().unwrap_or_default()));
    }
    Ok(versions)
}

/// Namespaces that have an installation of ours, but this one, sorted; without those that have a namespace selector where this one has
/// one too: each leaves alone what it does not select.
///
/// # Errors
/// Why they cannot be seen.
pub async fn others(client: &Client, namespace: &str) -> Result<Vec<String>, String> {
    let labels = format!("app.kubernetes.io/name={}", install::NAME);
    let there = Api::<Deployment>::all(client.clone()).list(&ListParams::default().labels(&labels)).await;
    let there = there.map_err(|error| explain(&error))?;
    // A label alone may be anybody's.
    let ours = there.items.iter().filter(|found| found.name_any() == install::NAME);
    let (own, others): (Vec<&Deployment>, Vec<&Deployment>) = ours.partition(|found| found.namespace().as_deref() == Some(namespace));
    let selects = own.iter().any(|own| !selector_of(own).is_empty());
    let others = others.into_iter().filter(|other| !selects || selector_of(other).is_empty());
    let mut others: Vec<String> = others.filter_map(ResourceExt::namespace).collect();
    others.sort();
    others.dedup();
    Ok(others)
}

/// The namespace selector that an installation runs with; empty where it serves all.
pub(crate) fn selector_of(installed: &Deployment) -> &str {
    let pod = installed.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let mut variables = pod.iter().flat_map(|pod| &pod.containers).flat_map(|container| container.env.iter().flatten());
    let found = variables.find(|variable| variable.name == install::NAMESPACE_SELECTOR);
    found.and_then(|variable| variable.value.as_deref()).unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// An installation in that namespace.
    fn installed(namespace: &str, selector: &str) -> Value {
        let options = install::Options { namespace: namespace.to_owned(), namespace_selector: selector.to_owned(), ..Default::default() };
        install::objects(&options).into_iter().find(|object| object["kind"] == "Deployment").unwrap()
    }

    #[tokio::test]
    async fn installations_that_both_select_are_no_rivals() {
        for (ours, theirs, rivals) in [("", "", 1), ("team=a", "", 1), ("", "team=b", 1), ("team=a", "team=b", 0)] {
            let items = [installed("ours", ours), installed("theirs", theirs)];
            let list = json!({"apiVersion": "apps/v1", "kind": "DeploymentList", "metadata": {}, "items": items});
            let (client, _) = crate::fake::cluster(move |_| (200, list.clone())).await;
            assert_eq!(others(&client, "ours").await.unwrap().len(), rivals, "{ours:?} {theirs:?}");
        }
    }

    fn of(versions: &[&str]) -> Surroundings {
        let versions = versions.iter().map(|one| (*one).to_owned()).collect();
        Surroundings { gateway_api: Ok(versions), own: "ours".to_owned(), others: Vec::new(), unread: BTreeMap::new() }
    }

    #[test]
    fn versions_of_gateway_api_are_read() {
        assert_eq!(parse("v1.6.3"), Some((1, 6)));
        assert_eq!(parse("v1.7.0-rc.1"), Some((1, 7)));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn only_versions_that_were_tested_are_supported() {
        for (versions, supported) in [
            (&["v1.6.3", "v1.6.3"][..], true),
            (&["v1.7.0"], true),
            (&["v1.2.0"], true),
            (&["v1.1.0"], false),
            (&["v1.6.3", "v1.8.0"], false),
            (&["v2.0.0"], false),
            (&["v1.6.3", ""], false),
        ] {
            assert_eq!(of(versions).unsupported(&BTreeSet::new()).is_none(), supported, "{versions:?}");
        }
        let unread = Surroundings { gateway_api: Err("forbidden".to_owned()), ..of(&[]) };
        assert!(unread.unsupported(&BTreeSet::new()).unwrap().contains("forbidden"));
        assert_eq!((of(&["v1.7.0", "v1.6.3"]).version(), of(&["v1.7.0", ""]).version(), unread.version()), (Some((1, 6)), None, None));
    }

    #[test]
    fn a_definition_that_is_not_there_is_named() {
        let of = |absent: &[Kind]| of(&["v1.7.0"]).unsupported(&absent.iter().copied().collect());
        assert_eq!(of(&[Kind::TCPRoute, Kind::UDPRoute, Kind::ListenerSet, Kind::ClusterTrustBundle]), None, "the standard channel");
        let why = of(&[Kind::HTTPRoute, Kind::AuthPolicy]).unwrap();
        assert!(why.contains("httproutes.gateway.networking.k8s.io") && why.contains("authpolicies.windrose.dev"), "{why}");
    }

    #[test]
    fn what_holds_everything_back_is_named_with_its_reason() {
        assert_eq!(of(&["v1.7.0"]).held(), None);
        let unread = [(Kind::AuthPolicy, "forbidden".to_owned())].into();
        let held = Surroundings { unread, ..of(&["v1.7.0"]) }.held().unwrap();
        assert!(held.ends_with("AuthPolicy cannot be read (forbidden)"), "{held}");
    }
}
