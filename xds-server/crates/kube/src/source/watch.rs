//! One watch: it finds the version that the cluster has, lists, follows, and begins again when it must.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject, ListParams, PartialObjectMeta};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use windrose_api::schema::schema;
use windrose_vocab::Kind;

use super::{by_metadata, protects};
use crate::client::{code, explain};
use crate::names::plural;
use crate::{lasting, limits};

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
    let mut absent = 0_u32;
    loop {
        let served = served_version(client, kind).await;
        absent = if matches!(served, Ok(None)) { absent.saturating_add(1) } else { 0 };
        let pause = match served {
            Ok(Some(version)) => match follow(client, kind, &version, events).await {
                Ok(pause) => pause,
                Err(Over) => return,
            },
            Ok(None) => {
                if tell(Told::NoSuchKind).await.is_err() {
                    return;
                }
                absent_retry(kind, absent)
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

/// Until the next look for a kind that was absent in so many.
fn absent_retry(kind: Kind, looks: u32) -> Duration {
    match (protects(kind), looks) {
        (true, _) => limits::ABSENT_PROTECTION_RETRY,
        (false, ..=limits::ABSENT_KIND_OFTEN) => limits::ABSENT_KIND_RETRY,
        (false, _) => limits::ABSENT_KIND_LATER,
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

/// Follows until it has to be begun again, after the time that is returned.
async fn follow(client: &Client, kind: Kind, version: &str, events: &mpsc::Sender<Event>) -> Result<Duration, Over> {
    let resource = resource(kind, version);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let config = watcher::Config { field_selector: unwanted(kind), page_size: Some(limits::PAGE), ..watcher::Config::default() };
    if by_metadata(kind) {
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client.clone(), &resource);
        let stream = watcher(api, config).map(|event| event.map(|event| map(event, &resource, metadata)));
        drain(kind, stream, events).await
    } else {
        let stream = watcher(api, config).map(|event| event.map(|event| map(event, &resource, whole)));
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
) -> Result<Duration, Over> {
    let mut stream = pin!(stream);
    while let Some(event) = stream.next().await {
        let (told, again) = match event.map_err(|error| after(&error)) {
            Ok(told) => (told, None),
            // What it misses until it is there again may be what protects: a watch does not say when it is, and a list does.
            Err(After::GoOn | After::BeginAgain) if protects(kind) => {
                (Told::Failed("its watch broke off".to_owned()), Some(limits::WATCH_RESUME))
            }
            Err(After::GoOn) => {
                tokio::time::sleep(limits::WATCH_RESUME).await;
                continue;
            }
            Err(After::BeginAgain) => return Ok(limits::FAILURE_RETRY),
            // The same: one that goes on after a failure does not say when it is cured.
            Err(After::Tell(why)) => (Told::Failed(why), Some(limits::FAILURE_RETRY)),
        };
        events.send(Event { kind, told }).await.map_err(|_| Over)?;
        if let Some(pause) = again {
            return Ok(pause);
        }
    }
    Ok(limits::FAILURE_RETRY)
}

/// What follows from an error of a watch.
#[derive(Debug, PartialEq)]
enum After {
    /// Nothing: it goes on where it was, or lists anew by itself.
    GoOn,
    /// It has to be begun again.
    BeginAgain,
    /// The kind cannot be read.
    Tell(String),
}

fn after(error: &watcher::Error) -> After {
    if lasting::cannot_go_on(error) {
        return After::BeginAgain;
    }
    match error {
        // A connection that breaks says nothing of the kind: the watch goes on from the version that it has seen.
        watcher::Error::WatchFailed(kube::Error::ReadEvents(_) | kube::Error::HyperError(_) | kube::Error::Service(_)) => After::GoOn,
        watcher::Error::WatchError(status) if status.code == 410 => After::GoOn,
        watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause) | watcher::Error::WatchFailed(cause) => {
            After::Tell(explain(cause))
        }
        watcher::Error::WatchError(status) => After::Tell(status.message.clone()),
        watcher::Error::NoResourceVersion => After::Tell(error.to_string()),
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

#[cfg(test)]
mod tests {
    use futures::stream;
    use kube::core::Status;

    use super::*;

    fn refused(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(Status::failure("no", "No").with_code(code)))
    }

    fn broken() -> kube::Error {
        kube::Error::ReadEvents(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    }

    #[test]
    fn a_kind_that_stays_absent_is_asked_for_seldom_unless_it_protects() {
        let (first, later) = (absent_retry(Kind::TCPRoute, 1), absent_retry(Kind::TCPRoute, limits::ABSENT_KIND_OFTEN + 1));
        assert_eq!((first, later), (limits::ABSENT_KIND_RETRY, limits::ABSENT_KIND_LATER));
        // What goes is believed to be gone while it is still asked for often.
        assert!(limits::ABSENT_KIND_RETRY * limits::ABSENT_KIND_OFTEN > limits::ABSENT_KIND_BELIEVED);
        assert_eq!(absent_retry(Kind::AuthPolicy, u32::MAX), limits::ABSENT_PROTECTION_RETRY);
    }

    /// What the owner is told of these events, and how many were taken.
    async fn told(events: Vec<Result<Told, watcher::Error>>) -> (Vec<String>, usize) {
        told_of(Kind::HTTPRoute, events).await
    }

    async fn told_of(kind: Kind, events: Vec<Result<Told, watcher::Error>>) -> (Vec<String>, usize) {
        let (sender, mut receiver) = mpsc::channel(16);
        let count = events.len();
        let mut left = stream::iter(events);
        assert!(drain(kind, &mut left, &sender).await.is_ok());
        drop(sender);
        let mut told = Vec::new();
        while let Some(event) = receiver.recv().await {
            told.push(format!("{:?}", event.told));
        }
        (told, count - left.count().await)
    }

    #[tokio::test]
    async fn a_connection_that_breaks_is_no_failure_of_the_kind() {
        let events = vec![Ok(Told::Listed), Err(watcher::Error::WatchFailed(broken())), Ok(Told::There(Value::Null))];
        assert_eq!(told(events).await, (vec!["Listed".to_owned(), "There".to_owned()], 3));
        let too_old = Status::failure("too old", "Expired").with_code(410);
        let events = vec![Err(watcher::Error::WatchError(Box::new(too_old))), Ok(Told::Listing)];
        assert_eq!(told(events).await, (vec!["Listing".to_owned()], 2));
    }

    #[tokio::test]
    async fn of_what_protects_a_watch_that_breaks_off_is_told_and_all_is_listed_again() {
        let too_old = || Status::failure("too old", "Expired").with_code(410);
        for error in [
            watcher::Error::WatchFailed(broken()),
            watcher::Error::WatchError(Box::new(too_old())),
            watcher::Error::WatchStartFailed(refused(410)),
        ] {
            let events = vec![Ok(Told::Listed), Err(error), Ok(Told::There(Value::Null))];
            assert_eq!(told_of(Kind::AuthPolicy, events).await, (vec!["Listed".to_owned(), "Failed".to_owned()], 2));
        }
    }

    #[tokio::test]
    async fn a_watch_that_cannot_begin_is_told_and_begun_again() {
        for error in [
            watcher::Error::WatchStartFailed(broken()),
            watcher::Error::WatchStartFailed(refused(503)),
            watcher::Error::InitialListFailed(refused(403)),
            watcher::Error::InitialListFailed(refused(404)),
            watcher::Error::WatchFailed(refused(500)),
        ] {
            assert_eq!(told(vec![Err(error), Ok(Told::Listing)]).await, (vec!["Failed".to_owned()], 1));
        }
    }

    #[tokio::test]
    async fn a_watch_from_a_version_that_is_too_old_is_begun_again() {
        let events = vec![Err(watcher::Error::WatchStartFailed(refused(410))), Ok(Told::Listing)];
        assert_eq!(told(events).await, (Vec::new(), 1));
    }
}
