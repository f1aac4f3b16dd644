//! Where the proxies of one fleet say what reached them, and where the runner waits for it. Whatever comes that was not
//! expected is a failure, and a failure stays.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::reader::Response;

/// Shared by the proxies of one fleet.
#[derive(Debug, Default)]
pub struct Board {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: usize,
    /// Bytes of the responses to first requests.
    first: usize,
    wanted: Option<Wanted>,
    reached: usize,
    bytes: usize,
    complete: Option<Instant>,
    failure: Option<String>,
}

/// One change on its way.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The resource that changes.
    pub name: String,
    /// What its new content holds.
    pub mark: String,
    /// How many proxies it concerns.
    pub proxies: usize,
}

/// A change that reached all.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When the last proxy had it.
    pub at: Instant,
    /// Bytes of all responses.
    pub bytes: usize,
}

impl Board {
    /// A proxy has all it asked for.
    pub fn ready(&self) {
        self.state().ready += 1;
        self.news.notify_one();
    }

    /// A proxy got this before it had all, or although it said that it has all.
    pub fn took(&self, response: &Response) {
        self.state().first += response.length;
    }

    /// Bytes of all responses before the first change.
    #[must_use]
    pub fn first_bytes(&self) -> usize {
        self.state().first
    }

    /// Whether no change was expected yet.
    #[must_use]
    pub fn is_before_changes(&self) -> bool {
        self.state().wanted.is_none()
    }

    /// A proxy that had everything got this.
    pub fn got(&self, response: &Response) {
        let mut state = self.state();
        let Some(wanted) = state.wanted.as_ref().filter(|wanted| response.is_only(&wanted.name, &wanted.mark)) else {
            drop(state);
            return self.fail(format!("a response that was not expected: {} resources, {} removed", response.resources, response.removed));
        };
        let proxies = wanted.proxies;
        state.reached += 1;
        state.bytes += response.length;
        if state.reached > proxies {
            drop(state);
            return self.fail("a change came twice, or to a proxy that it does not concern".into());
        }
        if state.reached == proxies {
            state.complete = Some(Instant::now());
            self.news.notify_one();
        }
    }

    /// A proxy failed; the first failure is kept.
    pub fn fail(&self, failure: String) {
        self.state().failure.get_or_insert(failure);
        self.news.notify_one();
    }

    /// From now on, that change is expected and nothing else.
    pub fn expect(&self, wanted: Wanted) {
        let mut state = self.state();
        (state.wanted, state.reached, state.bytes, state.complete) = (Some(wanted), 0, 0, None);
    }

    /// Waits until so many proxies have all they asked for.
    ///
    /// # Errors
    /// A failure of any proxy, or the time is over.
    pub async fn all_ready(&self, proxies: usize, patience: Duration) -> anyhow::Result<()> {
        self.until(patience, |state| (state.ready == proxies).then_some(())).await
    }

    /// Waits until the expected change reached all it concerns.
    ///
    /// # Errors
    /// A failure of any proxy, or the time is over.
    pub async fn all_reached(&self, patience: Duration) -> anyhow::Result<Arrival> {
        self.until(patience, |state| Some(Arrival { at: state.complete?, bytes: state.bytes })).await
    }

    /// Refuses to go on after a failure.
    ///
    /// # Errors
    /// That failure.
    pub fn check(&self) -> anyhow::Result<()> {
        match &self.state().failure {
            Some(failure) => bail!("{failure}"),
            None => Ok(()),
        }
    }

    async fn until<T>(&self, patience: Duration, so: impl Fn(&State) -> Option<T>) -> anyhow::Result<T> {
        let wait = async {
            loop {
                self.check()?;
                if let Some(found) = so(&self.state()) {
                    return Ok(found);
                }
                self.news.notified().await;
            }
        };
        match timeout(patience, wait).await {
            Ok(found) => found,
            Err(_) => {
                let state = self.state();
                bail!("after {patience:?}: {} proxies have everything, {} have the change", state.ready, state.reached)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
