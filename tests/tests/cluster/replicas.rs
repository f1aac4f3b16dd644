//! Two replicas, of which any may go at any time.

use std::time::Duration;

use windrose_tests::client::Call;
use windrose_tests::load::Load;
use windrose_tests::wait::wait_until;

use crate::stage::{PATIENCE, SYSTEM, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_can_go_and_no_request_and_no_change_is_lost() {
    let Some(stage) = Stage::open_alone("replicas") else { return };
    stage.backend("one", 1).await;
    stage.backend("other", 1).await;
    stage.gateway("edge", "one");
    let at = stage.address("edge", 80).await;
    let call = Call::get(at, "/");
    stage.answered(&call, "one").await;

    let leader = || stage.kubectl(&["-n", SYSTEM, "get", "pod", "-l", "windrose.dev/leader", "-o", "jsonpath={.items[*].metadata.name}"]);
    let former = leader();
    if former.is_empty() {
        // A control plane that runs outside the cluster has no Pod to delete.
        return;
    }
    let load = Load::start(2, Duration::from_millis(20), &call);
    stage.kubectl(&["-n", SYSTEM, "delete", "pod", &former, "--grace-period=0", "--force"]);
    stage.gateway("edge", "other");
    stage.answered(&call, "other").await;
    let tally = load.finish().await;
    assert_eq!(tally.other_than(200), 0, "{tally:?}");
    wait_until(PATIENCE, "another leader", async || {
        let now = leader();
        if !now.is_empty() && now != former { Ok(()) } else { Err(now) }
    })
    .await;
}
