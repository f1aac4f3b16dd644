//! What the pipeline is told, one after the other and off the async threads.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windrose_state::DesiredReader;

use super::CLOCK;
use crate::pipeline::{Judge, Pipeline};
use crate::report::Reports;
use crate::source::News;

/// Between two looks at what proxies refused.
const ANSWERS_PAUSE: Duration = Duration::from_millis(100);
/// Between two looks while somebody may be silent or contradict.
const SILENCE_LOOK: Duration = Duration::from_millis(500);

/// Wakes at most once in [`ANSWERS_PAUSE`] for what proxies answer: thousands of ACKs are looked at together.
pub(super) fn paced(tasks: &mut JoinSet<()>, reports: &Reports, end: CancellationToken) -> watch::Receiver<()> {
    let (sender, receiver) = watch::channel(());
    let mut answers = reports.observed.changes();
    tasks.spawn(async move {
        while let Some(Ok(())) = end.run_until_cancelled(answers.changed()).await {
            sender.send_replace(());
            if end.run_until_cancelled(tokio::time::sleep(ANSWERS_PAUSE)).await.is_none() {
                return;
            }
        }
    });
    receiver
}

/// Looks at what proxies acknowledge while they do, so that the status knows since when; at most a tenth of the time, however
/// large the fleet is.
pub(super) async fn watch_progress(reports: Arc<Reports>, mut publications: watch::Receiver<()>, end: CancellationToken) {
    let mut answers = reports.observed.changes();
    loop {
        let news = async {
            tokio::select! {
                told = answers.changed() => told,
                told = publications.changed() => told,
            }
        };
        let Some(Ok(())) = end.run_until_cancelled(news).await else { return };
        let (began, reports) = (std::time::Instant::now(), reports.clone());
        let looked = tokio::task::spawn_blocking(move || reports.look()).await;
        if let Err(error) = looked {
            tracing::error!(%error, "the progress of proxies cannot be followed; the status finds it out when it is asked");
        }
        let pause = ANSWERS_PAUSE.max(began.elapsed() * 9);
        if end.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// What the pipeline follows, and whom it tells.
pub(super) struct Follower {
    pub(super) news: watch::Receiver<Arc<News>>,
    pub(super) answers: watch::Receiver<()>,
    pub(super) judge: watch::Receiver<Judge>,
    pub(super) published: watch::Sender<()>,
    pub(super) reports: Arc<Reports>,
    pub(super) desired: DesiredReader,
    pub(super) on_bug: OnBug,
}

/// What to do when a bug of ours ends the pipeline.
#[derive(Clone, Copy, Debug)]
pub(super) enum OnBug {
    /// What is served stays as it is: nobody else would serve it. Reports say so.
    ServeOn,
    /// End, and with us the server: another replica may know better, and must not be kept from leading.
    End,
}

/// Hands worlds, wishes, answers and the time to the pipeline, off the async threads, one after the other.
pub(super) async fn follow(mut pipeline: Pipeline, follower: Follower, end: CancellationToken) {
    let Follower { mut news, mut answers, mut judge, published, reports, desired, on_bug } = follower;
    let mut demand = desired.demand();
    let mut clock = tokio::time::interval(CLOCK);
    let mut former = Arc::new(News::default());
    news.mark_changed();
    judge.mark_changed();
    loop {
        let step = tokio::select! {
            () = end.cancelled() => return,
            Ok(()) = news.changed() => Step::World(news.borrow_and_update().clone()),
            Ok(()) = judge.changed() => Step::Judge(judge.borrow_and_update().clone()),
            Ok(()) = demand.changed() => Step::Demand,
            Ok(()) = answers.changed() => Step::Observed,
            () = tokio::time::sleep(SILENCE_LOOK), if pipeline.is_waiting() => Step::Observed,
            _ = clock.tick() => Step::Clock,
        };
        let worker = tokio::task::spawn_blocking({
            let (reports, former) = (reports.clone(), former.clone());
            let step = step.clone();
            move || {
                take(&mut pipeline, &step, &former, &reports);
                pipeline
            }
        });
        if let Step::World(world) = step {
            former = world;
        }
        match worker.await {
            Ok(back) => {
                pipeline = back;
                published.send_replace(());
            }
            Err(error) => {
                tracing::error!(%error, "the pipeline failed; what is served stays as it is");
                let _ =
                    reports.stopped.set("a bug of the server keeps it from planning anything new; what is served stays as it is".into());
                match on_bug {
                    OnBug::ServeOn => end.cancelled().await,
                    OnBug::End => {}
                }
                return;
            }
        }
    }
}

/// What the pipeline is told next.
#[derive(Clone)]
enum Step {
    World(Arc<News>),
    Judge(Judge),
    Demand,
    Observed,
    Clock,
}

fn take(pipeline: &mut Pipeline, step: &Step, former: &News, reports: &Reports) {
    let now = SystemTime::now();
    match step {
        Step::World(world) => {
            reports.source.store(world.report.clone());
            let changed = world.changed_since(former);
            let first = world.complete && !former.complete;
            if first || !changed.objects.is_empty() {
                pipeline.declare(world.declared.clone(), &changed, now);
            } else {
                // What only moved is kept from another place.
                pipeline.note_judged();
            }
        }
        Step::Judge(judge) => pipeline.follow_judge(judge.clone(), now),
        Step::Demand => pipeline.follow_demand(now),
        Step::Observed => pipeline.follow_observed(&reports.observed.snapshot(), now),
        Step::Clock => {
            pipeline.follow_time(now);
            pipeline.follow_observed(&reports.observed.snapshot(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use windrose_admin::Source;
    use windrose_state::Observed;
    use windrose_xds_serve::Counters;

    use super::*;
    use crate::last_good::Remembered;
    use crate::pipeline::tests::{Bug, parts};
    use crate::report::{Memory, SourceReport};
    use crate::test_world::{SHOP, declared, with_certificates};

    /// A follower whose pipeline fails on Gateways with a certificate, and who hands it worlds.
    fn follower(folder: &std::path::Path, on_bug: OnBug) -> (Pipeline, Follower, watch::Sender<Arc<News>>) {
        let mut parts = parts(folder, "shop.test", SystemTime::now());
        parts.settings.certificates = Arc::new(Bug);
        let desired = parts.desired.reader();
        let reports = Arc::new(Reports {
            picture: parts.picture.clone(),
            desired: desired.clone(),
            observed: Arc::new(Observed::new()),
            accepted: parts.accepted.clone(),
            counters: Arc::new(Counters::default()),
            orphans: Arc::default(),
            source: Arc::new(arc_swap::ArcSwap::from_pointee(SourceReport::default())),
            memory: std::sync::Mutex::new(Memory::default()),
            stopped: std::sync::OnceLock::new(),
            started: SystemTime::now(),
        });
        let (worlds, news) = watch::channel(Arc::default());
        let (answers, judge) = (watch::channel(()).1, watch::channel(Judge::Ourselves).1);
        let published = watch::channel(()).0;
        (Pipeline::new(parts, Remembered::default()), Follower { news, answers, judge, published, reports, desired, on_bug }, worlds)
    }

    async fn until(holds: impl Fn() -> bool) {
        let long = tokio::time::timeout(Duration::from_secs(20), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        long.await.expect("in time");
    }

    #[tokio::test]
    async fn a_bug_is_told_and_ends_the_server_only_where_others_serve() {
        // So many that it cannot be the objects.
        let bad = format!("{SHOP}{}", with_certificates(&["a", "b", "c", "d", "e", "f", "g", "h", "i"]));
        for (on_bug, ends) in [(OnBug::ServeOn, false), (OnBug::End, true)] {
            let folder = tempfile::tempdir().unwrap();
            let (pipeline, follower, worlds) = follower(folder.path(), on_bug);
            let (reports, end) = (follower.reports.clone(), CancellationToken::new());
            let task = tokio::spawn(follow(pipeline, follower, end.clone()));
            let world = |text: &str| Arc::new(News { declared: declared(text), complete: true, report: Arc::default() });
            worlds.send_replace(world(SHOP));
            until(|| reports.ready().is_ok()).await;
            assert!(reports.metrics().contains("windrose_config_stopped 0"));
            let before = reports.revision();
            worlds.send_replace(world(&bad));
            until(|| reports.ready().is_err()).await;
            assert!(reports.metrics().contains("windrose_config_stopped 1"));
            assert_ne!(before, reports.revision());
            assert!(reports.status(None).diagnostics.iter().any(|one| one.code == "Stopped"));
            if ends {
                until(|| task.is_finished()).await;
            } else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                assert!(!task.is_finished(), "what is served is served by this process");
                end.cancel();
            }
            task.await.unwrap();
        }
    }
}
