//! A watch that goes on for ever: where the version that it has seen is too old for the API server it would ask for that for ever, so it
//! is begun anew, with a list.

use std::fmt::Debug;
use std::pin::Pin;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::client::code;
use crate::limits;

type Told<K> = Result<Event<K>, watcher::Error>;

/// Follows all that `api` and `config` mean, until it is dropped. An error is told, and more follows.
pub(crate) fn watch<K>(api: Api<K>, config: watcher::Config) -> Pin<Box<impl Stream<Item = Told<K>>>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    Box::pin(begun_again(move || watcher(api.clone(), config.clone()).default_backoff().boxed()))
}

/// The streams that `begin` makes, one after the other, each until it cannot go on.
fn begun_again<K: 'static>(begin: impl Fn() -> BoxStream<'static, Told<K>>) -> impl Stream<Item = Told<K>> {
    let first = (begin(), false);
    stream::unfold((first, begin), async |((mut current, is_over), begin)| {
        if is_over {
            tokio::time::sleep(limits::WATCH_RESUME).await;
            current = begin();
        }
        let told = current.next().await?;
        let is_over = told.as_ref().is_err_and(cannot_go_on);
        Some((told, ((current, is_over), begin)))
    })
}

/// Whether a watch that failed so asks for the same for ever.
pub(crate) fn cannot_go_on(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(cause) | watcher::Error::InitialListFailed(cause) => code(cause) == Some(410),
        // A connection that breaks says nothing of the kind: the watch goes on from the version that it has seen.
        watcher::Error::WatchFailed(kube::Error::ReadEvents(_) | kube::Error::HyperError(_) | kube::Error::Service(_)) => false,
        // An event that cannot be read would be missed for ever.
        watcher::Error::WatchFailed(cause) => code(cause).is_none(),
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use k8s_openapi::api::core::v1::Node;
    use kube::core::Status;

    use super::*;

    fn refused(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(Status::failure("no", "No").with_code(code)))
    }

    #[tokio::test]
    async fn a_watch_whose_version_is_too_old_is_begun_anew_and_one_that_failed_otherwise_goes_on() {
        let begun = AtomicUsize::new(0);
        let begin = || {
            begun.fetch_add(1, Ordering::Relaxed);
            let events: Vec<Told<Node>> = vec![
                Ok(Event::Init),
                Err(watcher::Error::WatchStartFailed(refused(503))),
                Ok(Event::InitDone),
                Err(watcher::Error::WatchStartFailed(refused(410))),
                Ok(Event::Delete(Node::default())),
            ];
            stream::iter(events).boxed()
        };
        let told: Vec<Told<Node>> = begun_again(begin).take(6).collect().await;
        let words: Vec<&str> = told
            .iter()
            .map(|told| match told {
                Ok(Event::Init) => "list",
                Ok(Event::InitDone) => "listed",
                Ok(Event::InitApply(_) | Event::Apply(_) | Event::Delete(_)) => "changed",
                Err(_) => "failed",
            })
            .collect();
        assert_eq!(words, ["list", "failed", "listed", "failed", "list", "failed"]);
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }
}
