//! Facts about a cluster, each asked of it: before Windrose is installed there, and of one that runs. Whoever asks needs
//! rights of their own; what they may not see is said, and nothing is changed.

mod access;
mod before;
mod changes;
mod running;
mod selection;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::version::Info;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client};
use serde_json::Value;
use windrose_vocab::Kind;

use crate::client::explain;
use crate::limits;
use crate::source::watch::{resource, served_version};

pub use before::before;
pub use changes::{Change, Changes, changes};
pub use running::running;

/// The oldest minor version of Kubernetes 1 that we run on: a preStop sleep needs it.
const MINOR_MIN: u32 = 30;

/// How a fact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark {
    /// As it should be.
    Good,
    /// It works, and somebody should look.
    Doubtful,
    /// It does not work.
    Bad,
}

/// One thing that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is about.
    pub section: &'static str,
    /// How it is.
    pub mark: Mark,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Fact {
    fn good(section: &'static str, text: impl Into<String>) -> Self {
        Self { section, mark: Mark::Good, text: text.into(), hint: None }
    }

    fn doubtful(section: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { section, mark: Mark::Doubtful, text: text.into(), hint: Some(hint.into()) }
    }

    fn bad(section: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { section, mark: Mark::Bad, text: text.into(), hint: Some(hint.into()) }
    }
}

/// The version of the cluster, or none when it does not answer; the fact says so.
async fn cluster(client: &Client) -> (Fact, bool) {
    const SECTION: &str = "cluster";
    let asked = tokio::time::timeout(limits::REQUEST_TIME, client.apiserver_version()).await;
    let version = match asked {
        Ok(Ok(version)) => version,
        Ok(Err(error)) => return (Fact::bad(SECTION, format!("the cluster does not answer: {}", explain(&error)), REACH), false),
        Err(_) => return (Fact::bad(SECTION, "the cluster does not answer in time", REACH), false),
    };
    let text = format!("the cluster answers: Kubernetes {}", version.git_version);
    let fact = if is_old(&version) {
        Fact::bad(SECTION, text, format!("Kubernetes 1.{MINOR_MIN} is the oldest that Windrose runs on: upgrade the cluster"))
    } else {
        Fact::good(SECTION, text)
    };
    (fact, true)
}

const REACH: &str = "see `kubectl cluster-info`; KUBECONFIG names the cluster";

fn is_old(version: &Info) -> bool {
    let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>().unwrap_or_default();
    (number(&version.major), number(&version.minor)) < (1, MINOR_MIN)
}

/// Annotations of every definition in the cluster, by its name.
async fn definitions(client: &Client) -> Result<BTreeMap<String, BTreeMap<String, String>>, String> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &definition());
    let list = api.list_metadata(&ListParams::default()).await.map_err(|error| explain(&error))?;
    let one = |object: kube::core::PartialObjectMeta<DynamicObject>| {
        Some((object.metadata.name?, object.metadata.annotations.unwrap_or_default()))
    };
    Ok(list.items.into_iter().filter_map(one).collect())
}

fn definition() -> ApiResource {
    of("apiextensions.k8s.io/v1", "CustomResourceDefinition")
}

/// How to ask for objects of any kind.
fn of(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        plural: crate::names::plural_of(kind),
    }
}

/// All objects of a kind that we declare things in; none where the cluster has no such kind.
async fn all(client: &Client, kind: Kind) -> Result<Vec<Value>, String> {
    let Some(version) = served_version(client, kind).await.map_err(|error| explain(&error))? else { return Ok(Vec::new()) };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind, &version));
    let list = api.list(&ListParams::default()).await.map_err(|error| explain(&error))?;
    Ok(list.items.into_iter().filter_map(|object| serde_json::to_value(object).ok()).collect())
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// One condition of a status.
fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object.pointer("/status/conditions")?.as_array()?.iter().find(|condition| condition["type"] == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_before_the_oldest_are_old() {
        let version = |major: &str, minor: &str| Info { major: major.to_owned(), minor: minor.to_owned(), ..Info::default() };
        for (major, minor, old) in [("1", "28", true), ("1", "29+", true), ("1", "30", false), ("1", "34+", false), ("2", "0", false)] {
            assert_eq!(is_old(&version(major, minor)), old, "{major}.{minor}");
        }
    }
}
