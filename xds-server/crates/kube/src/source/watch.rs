//! One watch: it finds the version that the cluster has, lists, follows, and begins again when it must.

use std::fmt;
use std::pin::pin;

use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject, ListParams, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use windrose_api::schema::schema;
use windrose_vocab::Kind;

use super::by_metadata;
use crate::client::{code, explain};
use crate::limits;
use crate::names::plural;

/// What one watch tells its owner.
#[derive(Debug)]
pub struct Event {
    /// Of which kind.
    pub kind: Kind,
    /// What.
    pub told: Told,
}

/// The steps of a watch.
pub enum Told {
    /// A list begins.
    Listing,
    /// An object is there, in this state.
    There(Value),
    /// An object is gone.
    Gone(Value),
    /// The list is over: what it did not have is gone.
    Listed,
    /// The cluster has no such kind.
    NoSuchKind,
    /// It cannot be read, and why.
    Failed(String),
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An object may be a Secret.
        f.write_str(match self {
            Self::Listing => "Listing",
            Self::There(_) => "There",
            Self::Gone(_) => "Gone",
            Self::Listed => "Listed",
            Self::NoSuchKind => "NoSuchKind",
            Self::Failed(_) => "Failed",
        })
    }
}

/// How to ask for objects of a kind in a version.
#[must_use]
pub fn resource(kind: Kind, version: &str) -> ApiResource {
    let group = kind.group();
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    ApiResource { group: group.to_owned(), version: version.to_owned(), api_version, kind: kind.as_str().to_owned(), plural: plural(kind) }
}

/// Follows all objects of `kind` until the end.
pub async fn watch(client: Client, kind: Kind, events: mpsc::Sender<Event>, end: CancellationToken) {
    end.run_until_cancelled(follow_always(&client, kind, &events)).await;
}

async fn follow_always(client: &Client, kind: Kind, events: &mpsc::Sender<Event>) {
    let tell = async |told| events.send(Event { kind, told }).await;
    loop {
        let pause = match served_version(client, kind).await {
            Ok(Some(version)) => {
                if follow(client, kind, &version, events).await.is_err() {
                    return;
                }
                limits::FAILURE_RETRY
            }
            Ok(None) => {
                if tell(Told::NoSuchKind).await.is_err() {
                    return;
                }
                limits::ABSENT_KIND_RETRY
            }
            Err(error) => {
                if tell(Told::Failed(explain(&error))).await.is_err() {
                    return;
                }
                limits::FAILURE_RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// The newest version that both we and the cluster know.
pub(crate) async fn served_version(client: &Client, kind: Kind) -> Result<Option<String>, kube::Error> {
    let plural = plural(kind);
    for version in schema(kind).versions() {
        let list = match kind.group() {
            "" => client.list_core_api_resources(version).await,
            group => client.list_api_group_resources(&format!("{group}/{version}")).await,
        };
        match list {
            Ok(list) if list.resources.iter().any(|resource| resource.name == plural) => return Ok(Some(version.to_owned())),
            Ok(_) => {}
            Err(error) if code(&error) == Some(404) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Nobody wants to hear it any more.
struct Over;

/// Follows until the kind is gone.
async fn follow(client: &Client, kind: Kind, version: &str, events: &mpsc::Sender<Event>) -> Result<(), Over> {
    let resource = resource(kind, version);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let config = watcher::Config { field_selector: unwanted(kind), page_size: Some(limits::PAGE), ..watcher::Config::default() };
    if by_metadata(kind) {
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client.clone(), &resource);
        let stream = watcher(api, config).default_backoff().map(|event| event.map(|event| map(event, &resource, metadata)));
        drain(kind, stream, events).await
    } else {
        let stream = watcher(api, config).default_backoff().map(|event| event.map(|event| map(event, &resource, whole)));
        drain(kind, stream, events).await
    }
}

/// What no reference means, and there is much of: the history of Helm, and tokens.
fn unwanted(kind: Kind) -> Option<String> {
    (kind == Kind::Secret).then(|| "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token".to_owned())
}

async fn drain(
    kind: Kind,
    stream: impl futures::Stream<Item = Result<Told, watcher::Error>>,
    events: &mpsc::Sender<Event>,
) -> Result<(), Over> {
    let mut stream = pin!(stream);
    while let Some(event) = stream.next().await {
        let told = match event {
            Ok(told) => told,
            Err(error) => match cause(&error) {
                Some((404, _)) => return Ok(()),
                Some((410, _)) => continue,
                Some((_, message)) => Told::Failed(message),
                None => Told::Failed(error.to_string()),
            },
        };
        // A watch that goes on after a failure does not say when it is cured: a new list does.
        let failed = matches!(told, Told::Failed(_));
        events.send(Event { kind, told }).await.map_err(|_| Over)?;
        if failed {
            return Ok(());
        }
    }
    Ok(())
}

fn cause(error: &watcher::Error) -> Option<(u16, String)> {
    match error {
        watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause) | watcher::Error::WatchFailed(cause) => {
            Some((code(cause).unwrap_or_default(), explain(cause)))
        }
        watcher::Error::WatchError(status) => Some((status.code, status.message.clone())),
        _ => None,
    }
}

fn map<K>(event: watcher::Event<K>, resource: &ApiResource, value: fn(K, &ApiResource) -> Value) -> Told {
    match event {
        watcher::Event::Init => Told::Listing,
        watcher::Event::InitDone => Told::Listed,
        watcher::Event::InitApply(object) | watcher::Event::Apply(object) => Told::There(value(object, resource)),
        watcher::Event::Delete(object) => Told::Gone(value(object, resource)),
    }
}

/// The object as it is written, with the names that items of a list leave out.
fn whole(object: DynamicObject, resource: &ApiResource) -> Value {
    let DynamicObject { metadata, mut data, .. } = object;
    named(&mut data, metadata, resource);
    data
}

fn metadata(object: PartialObjectMeta<DynamicObject>, resource: &ApiResource) -> Value {
    let mut data = Value::Null;
    named(&mut data, object.metadata, resource);
    data
}

fn named(data: &mut Value, mut metadata: kube::core::ObjectMeta, resource: &ApiResource) {
    tidy(&mut metadata);
    if !data.is_object() {
        *data = Value::Object(serde_json::Map::new());
    }
    if let Some(members) = data.as_object_mut() {
        members.insert("apiVersion".to_owned(), resource.api_version.clone().into());
        members.insert("kind".to_owned(), resource.kind.clone().into());
        members.insert("metadata".to_owned(), serde_json::to_value(metadata).unwrap_or_default());
    }
}

/// Leaves out what is large and says nothing; of a Secret it would even say the content.
fn tidy(metadata: &mut kube::core::ObjectMeta) {
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

/// Reads one object.
pub(super) async fn read(client: &Client, kind: Kind, namespace: &str, name: &str) -> Result<Option<Value>, kube::Error> {
    let resource = resource(kind, "v1");
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let read = tokio::time::timeout(limits::REQUEST_TIME, api.get_opt(name)).await;
    let found = read.map_err(|_| kube::Error::Service("no answer in time".into()))??;
    Ok(found.map(|object| whole(object, &resource)))
}

/// Whether objects of `kind` can be listed, for those who check an installation.
///
/// # Errors
/// Why they cannot.
pub async fn can_list(client: &Client, kind: Kind) -> Result<bool, String> {
    let Some(version) = served_version(client, kind).await.map_err(|error| explain(&error))? else { return Ok(false) };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind, &version));
    api.list_metadata(&ListParams::default().limit(1)).await.map(|_| true).map_err(|error| explain(&error))
}
