//! Local Envoys finish what they have begun: Gateways take no more connections, and what is under way has a while to be answered.
//! Sidecars go on taking calls meanwhile, because a request that is under way leads to some.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout};
use windrose_vocab::ProxyRole;

use crate::client::{Server, successful};

/// Time for requests that are under way. Whoever pressed Ctrl-C waits for it.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Between two looks at what is under way.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Time for one question to an Envoy: one that is stuck holds up nobody.
const ASK_MAX: Duration = Duration::from_secs(1);
/// The requests that each listener is answering, one line for each. Of connections that are handed on as they are, nobody knows whether
/// anything is under way on them.
const ACTIVE: &str = "/stats?type=Gauges&filter=%5Ehttp%5C..*%5C.downstream_rq_active$";

/// Returns when no Envoy answers a request any more, or [`DRAIN_MAX`] is over. One that is gone is answering none; one that is busy may be.
pub(super) async fn all(envoys: Vec<(ProxyRole, Server)>) {
    let until = Instant::now() + DRAIN_MAX;
    let edges = envoys.iter().filter(|(role, _)| role.is_edge());
    join_all(edges.map(|(_, envoy)| close(envoy))).await;
    let mut told = false;
    loop {
        let counts = join_all(envoys.iter().map(|(_, envoy)| active(envoy))).await;
        let active: u64 = counts.iter().flatten().sum();
        // Envoys that are too busy to say how many.
        let silent = counts.iter().filter(|count| count.is_none()).count();
        if active == 0 && silent == 0 {
            return;
        }
        if Instant::now() >= until {
            return tracing::warn!(requests = active, silent, "not answered within {DRAIN_MAX:?}; they are cut");
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!(requests = active, silent, "waiting up to {DRAIN_MAX:?} for what is under way; Ctrl-C again ends at once");
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// No connection is taken any more, and those that are open end with the answer that is due.
async fn close(envoy: &Server) {
    for path in ["/healthcheck/fail", "/drain_listeners"] {
        let closed = timeout(ASK_MAX, ask(envoy, http::Request::post(path))).await;
        if let Err(error) = closed.map_err(anyhow::Error::from).and_then(|closed| closed) {
            tracing::warn!(path, error = format!("{error:#}"), "an Envoy cannot be drained");
        }
    }
}

/// None where it does not answer in time.
async fn active(envoy: &Server) -> Option<u64> {
    match timeout(ASK_MAX, ask(envoy, http::Request::get(ACTIVE))).await {
        Ok(Ok(stats)) => Some(sum(&stats)),
        Ok(Err(_)) => Some(0),
        Err(_) => None,
    }
}

/// The sum of `NAME: NUMBER` lines. Our own question is one on the admin pages.
fn sum(stats: &str) -> u64 {
    let others = stats.lines().filter(|line| !line.starts_with("http.admin."));
    others.filter_map(|line| line.rsplit_once(": ")?.1.parse::<u64>().ok()).sum()
}

async fn ask(envoy: &Server, request: http::request::Builder) -> anyhow::Result<String> {
    let response = envoy.send(request).await?;
    Ok(String::from_utf8_lossy(successful(&response)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_question_is_no_request_under_way() {
        let stats = "http.admin.downstream_rq_active: 1\nhttp.a:b.downstream_rq_active: 2\nhttp.c.downstream_rq_active: 1\n";
        assert_eq!(sum(stats), 3);
        assert_eq!(sum(""), 0);
    }
}
