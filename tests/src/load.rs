//! Steady load beside a test: connections that repeat one call as fast as it is answered, and a tally of what came back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::{Call, Connection};
use crate::wait::wait_until;

/// Different texts that a tally keeps of errors, and of answers.
const TEXTS_MAX: usize = 20;

/// Running load.
#[derive(Debug)]
pub struct Load {
    stop: CancellationToken,
    calls: Arc<AtomicU64>,
    workers: JoinSet<Tally>,
}

/// What came back.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Answers by status code.
    pub statuses: BTreeMap<u16, u64>,
    /// Calls without an answer, by their reason.
    pub errors: BTreeMap<String, u64>,
    /// What answers of 500 and more said.
    pub excuses: BTreeMap<String, u64>,
}

impl Load {
    /// Repeats `call` on so many connections, with a pause between two calls of one connection.
    ///
    /// A connection that the other side closes in order between two calls is opened again; that is no error.
    pub fn start(connections: usize, pause: Duration, call: &Call) -> Self {
        let stop = CancellationToken::new();
        let calls = Arc::new(AtomicU64::new(0));
        let mut workers = JoinSet::new();
        for _ in 0..connections {
            workers.spawn(work(call.clone(), pause, stop.clone(), Arc::clone(&calls)));
        }
        Self { stop, calls, workers }
    }

    /// Lets it run until so many calls more have ended.
    ///
    /// # Panics
    /// When that takes longer than `patience`.
    pub async fn go_on(&self, more: u64, patience: Duration) {
        let goal = self.calls.load(Ordering::Relaxed) + more;
        wait_until(patience, "the load to go on", async || match self.calls.load(Ordering::Relaxed) {
            calls if calls >= goal => Ok(()),
            calls => Err(format!("{calls} of {goal} calls")),
        })
        .await;
    }

    /// Ends it and returns the tally of all connections.
    ///
    /// # Panics
    /// When a worker broke.
    pub async fn finish(mut self) -> Tally {
        self.stop.cancel();
        let mut all = Tally::default();
        while let Some(tally) = self.workers.join_next().await {
            all.add(tally.expect("a worker ends in order"));
        }
        all
    }
}

impl Tally {
    /// All calls.
    pub fn total(&self) -> u64 {
        self.statuses.values().chain(self.errors.values()).sum()
    }

    /// Calls that were answered otherwise than by `status`, or not at all.
    pub fn other_than(&self, status: u16) -> u64 {
        self.total() - self.statuses.get(&status).copied().unwrap_or(0)
    }

    fn add(&mut self, other: Self) {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        other.errors.into_iter().for_each(|(error, times)| count(&mut self.errors, error, times));
        other.excuses.into_iter().for_each(|(words, times)| count(&mut self.excuses, words, times));
    }
}

/// Counts different texts, as many as are kept.
fn count(all: &mut BTreeMap<String, u64>, text: String, times: u64) {
    let known = all.contains_key(&text) || all.len() < TEXTS_MAX;
    *all.entry(if known { text } else { "others".to_owned() }).or_default() += times;
}

async fn work(call: Call, pause: Duration, stop: CancellationToken, calls: Arc<AtomicU64>) -> Tally {
    let mut tally = Tally::default();
    let mut connection = None;
    while !stop.is_cancelled() {
        let mut open = match connection.take().filter(Connection::is_open) {
            Some(open) => open,
            None => match Connection::open(&call).await {
                Ok(open) => open,
                Err(error) => {
                    count(&mut tally.errors, error.to_string(), 1);
                    calls.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
                    continue;
                }
            },
        };
        match open.send(&call).await {
            Ok(reply) => {
                *tally.statuses.entry(reply.status).or_default() += 1;
                if reply.status >= 500 {
                    count(&mut tally.excuses, format!("{}: {}", reply.status, reply.text()), 1);
                }
                connection = (reply.header("connection") != "close").then_some(open);
            }
            Err(error) => count(&mut tally.errors, error.to_string(), 1),
        }
        calls.fetch_add(1, Ordering::Relaxed);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Loopback;
    use crate::echo::EchoServer;

    #[tokio::test]
    async fn the_tally_tells_answers_and_a_server_that_went_away() {
        let home = Loopback::claim();
        let server = EchoServer::start("one", home.port(8080)).await;
        let call = Call::get(server.address(), "/");
        let load = Load::start(2, Duration::from_millis(1), &call);
        load.go_on(10, Duration::from_secs(10)).await;
        let tally = load.finish().await;
        assert_eq!((tally.total(), tally.other_than(200)), (server.requests(), 0));
        assert!(tally.total() >= 10, "{tally:?}");

        drop(server);
        let load = Load::start(1, Duration::ZERO, &Call::get(home.port(8081), "/"));
        tokio::time::sleep(Duration::from_millis(20)).await;
        let tally = load.finish().await;
        assert!(tally.statuses.is_empty() && tally.total() > 0, "{tally:?}");
    }
}
