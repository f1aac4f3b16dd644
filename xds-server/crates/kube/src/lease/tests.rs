use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};

use super::*;
use crate::fake::{self, Log, cluster, failure};

/// A holder of that name in a cluster that has one Lease, as an API server keeps it: who writes on an old version is refused.
struct Stage {
    /// What there is, with its version.
    lease: Arc<Mutex<Option<Value>>>,
    /// What every answer is instead, where it is not 200; 0 is none at all.
    instead: Arc<AtomicU16>,
    log: Log,
    client: Client,
}

impl Stage {
    async fn new() -> Self {
        let (lease, instead) = (Arc::new(Mutex::new(None)), Arc::new(AtomicU16::new(200)));
        let (kept, fails) = (lease.clone(), instead.clone());
        let (client, log) = cluster(move |asked| match fails.load(Ordering::Relaxed) {
            200 => keep(&mut kept.lock().unwrap(), asked),
            0 => (0, Value::Null),
            code => failure(code, "no"),
        })
        .await;
        Self { lease, instead, log, client }
    }

    fn holder(&self, name: &str) -> Holder {
        let me = Replica { name: name.to_owned(), listens: Some(SocketAddr::from(([192, 0, 2, 1], 1))) };
        Holder { api: Api::namespaced(self.client.clone(), "ours"), me, seen: None, renewed: None }
    }

    fn instead(&self, code: u16) {
        self.instead.store(code, Ordering::Relaxed);
    }

    /// As if somebody else wrote meanwhile.
    fn touch(&self) {
        let mut lease = self.lease.lock().unwrap();
        let metadata = &mut lease.as_mut().unwrap()["metadata"];
        metadata["resourceVersion"] = next(&metadata["resourceVersion"]);
    }

    fn holder_is(&self) -> String {
        self.lease.lock().unwrap().as_ref().unwrap()["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    }
}

fn keep(kept: &mut Option<Value>, (method, _, body): &fake::Asked) -> (u16, Value) {
    let version = |value: &Value| value["metadata"]["resourceVersion"].clone();
    match (method.as_str(), kept.as_ref()) {
        ("GET", Some(there)) => return (200, there.clone()),
        ("GET" | "PUT", None) => return failure(404, "NotFound"),
        ("POST", Some(_)) => return failure(409, "AlreadyExists"),
        ("PUT", Some(there)) if version(there) != version(body) => return failure(409, "Conflict"),
        _ => {}
    }
    let mut stored = body.clone();
    stored["metadata"]["resourceVersion"] = next(&kept.as_ref().map_or(Value::Null, version));
    *kept = Some(stored.clone());
    (200, stored)
}

fn next(version: &Value) -> Value {
    let number = version.as_str().and_then(|text| text.parse::<u32>().ok()).unwrap_or_default();
    json!((number + 1).to_string())
}

/// Lets that time pass, for a clock that stands still.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn one_of_two_holds_it_and_the_other_learns_where_that_listens() {
    let stage = Stage::new().await;
    let (mut one, mut two) = (stage.holder("one"), stage.holder("two"));
    assert_eq!(one.step().await, Leadership::Ours);
    assert_eq!(two.step().await, Leadership::Others(one.me.listens));
    assert_eq!(one.step().await, Leadership::Ours, "and renews it");
    assert_eq!(
        stage.log.lines(),
        ["GET windrose-leader", "POST leases", "GET windrose-leader", "GET windrose-leader", "PUT windrose-leader"]
    );
}

#[tokio::test]
async fn who_holds_it_lets_go_before_another_one_may_take_it() {
    let stage = Stage::new().await;
    let (mut one, mut two) = (stage.holder("one"), stage.holder("two"));
    assert_eq!(one.step().await, Leadership::Ours);
    assert_eq!(two.step().await, Leadership::Others(one.me.listens));
    pass(LET_GO - Duration::from_secs(1)).await;
    stage.instead(500);
    assert_eq!(one.step().await, Leadership::Ours, "one renewal that fails ends nothing");
    pass(Duration::from_secs(1)).await;
    assert_eq!(one.step().await, Leadership::Unknown);
    stage.instead(200);
    assert_eq!(two.step().await, Leadership::Others(one.me.listens), "and it holds still");
    pass(HOLDS - LET_GO).await;
    assert_eq!(two.step().await, Leadership::Ours);
    assert_eq!(one.step().await, Leadership::Others(two.me.listens));
}

#[tokio::test]
async fn a_lease_that_is_renewed_is_nobodys_to_take_however_late_it_is_looked_at() {
    let stage = Stage::new().await;
    let (mut one, mut two) = (stage.holder("one"), stage.holder("two"));
    assert_eq!(one.step().await, Leadership::Ours);
    assert_eq!(two.step().await, Leadership::Others(one.me.listens));
    pass(HOLDS * 2).await;
    stage.touch();
    assert_eq!(two.step().await, Leadership::Others(one.me.listens), "counted from when it was seen by our own clock");
    pass(HOLDS * 2).await;
    assert_eq!(two.step().await, Leadership::Ours);
}

#[tokio::test]
async fn of_two_that_take_it_at_once_one_is_told_that_it_does_not_lead() {
    let stage = Stage::new().await;
    let conflict = |answered: u16| won(Err(kube::Error::Api(Box::new(kube::core::Status::failure("no", "Conflict").with_code(answered)))));
    assert!(matches!(conflict(409), Ok(Leadership::Others(None))));
    assert!(conflict(500).is_err(), "nobody can tell");
    let (mut one, mut two) = (stage.holder("one"), stage.holder("two"));
    assert_eq!(one.step().await, Leadership::Ours);
    one.give_back().await;
    assert_eq!(stage.holder_is(), "");
    assert_eq!(two.step().await, Leadership::Ours, "what is given back is free at once");
    one.give_back().await;
    assert_eq!(stage.holder_is(), "two", "and nobody gives back what is another's");
}

#[tokio::test]
async fn no_answer_is_waited_for_no_longer_than_it_is_held() {
    let stage = Stage::new().await;
    let mut one = stage.holder("one");
    assert_eq!(one.step().await, Leadership::Ours);
    pass(LET_GO - Duration::from_secs(1)).await;
    stage.instead(0);
    let began = std::time::Instant::now();
    assert_eq!(one.step().await, Leadership::Unknown);
    assert!(began.elapsed() < HOLDS - LET_GO, "{:?}", began.elapsed());
}
