//! Which namespaces an installation selects, as far as who asks may see them.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::core::SelectorExt;
use kube::{Api, Client, ResourceExt};

use super::Fact;
use crate::client::explain;
use crate::surroundings::selector_of;
use crate::{install, selector};

const SECTION: &str = "namespaces";
/// Names in one fact.
const NAMED_MAX: usize = 8;

/// What the installation in `namespace` says of it, and whether a namespace is left out.
pub(super) async fn selection(client: &Client, namespace: &str) -> (Fact, Box<dyn Fn(&str) -> bool + Send>) {
    match asked(client, namespace).await {
        Ok((fact, None)) => (fact, Box::new(|_| false)),
        Ok((fact, Some(selected))) => (fact, Box::new(move |name| !selected.contains(name))),
        Err(why) => {
            let fact = Fact::doubtful(SECTION, format!("which are selected cannot be seen: {why}"), "ask somebody who may list namespaces");
            (fact, Box::new(|_| false))
        }
    }
}

/// The fact, and those that are selected unless all are.
async fn asked(client: &Client, namespace: &str) -> Result<(Fact, Option<BTreeSet<String>>), String> {
    let installed = Api::<Deployment>::namespaced(client.clone(), namespace).get(install::NAME).await;
    let installed = installed.map_err(|error| explain(&error))?;
    let text = selector_of(&installed);
    if text.is_empty() {
        return Ok((Fact::good(SECTION, "what is declared in any counts"), None));
    }
    let selector = match selector::parse(text) {
        Ok(selector) => selector,
        Err(why) => {
            let hint = "windrose upgrade --namespace-selector LABELS | kubectl apply --server-side -f -";
            return Ok((Fact::bad(SECTION, format!("the selector is none: {why}"), hint), None));
        }
    };
    let there = Api::<Namespace>::all(client.clone()).list_metadata(&ListParams::default()).await.map_err(|error| explain(&error))?;
    let matching = there.items.iter().filter(|found| selector.matches(found.labels())).map(ResourceExt::name_any);
    let mut selected: BTreeSet<String> = matching.collect();
    let fact = fact(text, &selected, there.items.len());
    selected.insert(namespace.to_owned());
    Ok((fact, Some(selected)))
}

fn fact(selector: &str, selected: &BTreeSet<String>, all: usize) -> Fact {
    if selected.is_empty() {
        let hint = "label a Namespace as the selector wants it, or give another one: windrose upgrade --namespace-selector LABELS";
        return Fact::doubtful(SECTION, format!("`{selector}` selects none of {all}: only the control plane's own counts"), hint);
    }
    let mut named: Vec<&str> = selected.iter().take(NAMED_MAX).map(String::as_str).collect();
    let more = format!("and {} more", selected.len() - named.len());
    if selected.len() > NAMED_MAX {
        named.push(&more);
    }
    Fact::good(SECTION, format!("`{selector}` selects {} of {all}, beside the control plane's own: {}", selected.len(), named.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::inspect::Mark;

    /// What is told of an installation with that selector, beside namespaces `a` and `b` of the team `shop` and `c` of another one.
    async fn told(selector: &'static str) -> (Fact, [bool; 3]) {
        let (client, _) = crate::fake::cluster(move |(_, path, _)| (200, answer(path, selector))).await;
        let (fact, is_left_out) = selection(&client, "c").await;
        (fact, ["a", "b", "c"].map(is_left_out))
    }

    fn answer(path: &str, selector: &str) -> Value {
        if path.contains("/deployments/") {
            let options = install::Options { namespace_selector: selector.to_owned(), ..Default::default() };
            return install::objects(&options).into_iter().find(|object| object["kind"] == "Deployment").unwrap();
        }
        let namespace = |(name, team): (&str, &str)| {
            json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": {"name": name, "labels": {"team": team, "name": name}},
            })
        };
        let items = [("a", "shop"), ("b", "shop"), ("c", "ops")].map(namespace);
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {}, "items": items})
    }

    #[tokio::test]
    async fn what_is_selected_is_a_fact() {
        let (fact, left_out) = told("").await;
        assert_eq!((fact.mark, left_out), (Mark::Good, [false; 3]));
        let (fact, left_out) = told("team=shop,name!=b").await;
        assert_eq!((fact.mark, left_out), (Mark::Good, [false, true, false]), "its own counts always");
        assert!(fact.text.contains("selects 1 of 3") && fact.text.ends_with(": a"), "{}", fact.text);
        let (fact, left_out) = told("team=none").await;
        assert_eq!((fact.mark, left_out), (Mark::Doubtful, [true, true, false]));
        assert_eq!(told("team in").await.0.mark, Mark::Bad);
    }
}
