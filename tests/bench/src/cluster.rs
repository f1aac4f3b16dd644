//! Windrose in a real cluster: how long a route takes from the API server to the first answer of Envoy, alone and while others
//! change, and what the control plane takes for one change a second.

mod api;
mod probe;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;

use api::{Backends, Cluster, Usage};
use probe::Probe;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Routes that are added one by one.
    pub routes: usize,
    /// Probes while other routes change.
    pub probes: usize,
    /// Routes that there are for the last two parts.
    pub world: usize,
    /// Services that those lead to; where there is none, they lead to the backend that answers.
    pub services: usize,
    /// Endpoints of all of these Services together.
    pub endpoints: usize,
    /// Seconds of one change a second.
    pub seconds: u64,
    /// Changes a second while there is churn.
    pub churn: u32,
    /// The namespace of the control plane.
    pub system: String,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// As the list of benchmarks calls it.
    pub id: &'static str,
    /// What it is, with its unit.
    pub what: String,
    /// The figure.
    pub value: f64,
    /// What is aimed at, if anything.
    pub target: Option<f64>,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Cores are thousandths.
        let digits = if self.value < 0.1 { 4 } else { 2 };
        write!(f, "{:<5} {:<110} {:>10.digits$}", self.id, self.what, self.value)?;
        match self.target {
            Some(target) => write!(f, "   ≤ {target} {}", if self.value <= target { "yes" } else { "NO" }),
            None => Ok(()),
        }
    }
}

/// How long each route took, in milliseconds: from before it was sent, and from when the API server had stored it.
#[derive(Debug, Default)]
struct Times {
    sent: Vec<f64>,
    stored: Vec<f64>,
}

/// Measures everything.
///
/// # Errors
/// When the cluster refuses something, or Envoy answers anything but what it should: the run is void then.
pub async fn measure(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let cluster = Cluster::open(&plan.system).await.context("the cluster")?;
    let measured = parts(plan, &cluster, &mut figures).await;
    cluster.close().await;
    measured.map(|()| figures)
}

async fn parts(plan: &Plan, cluster: &Cluster, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let address = cluster.stage().await?;
    let mut probe = Probe::open(address).await?;
    say("one route after the other");
    let quiet = add(cluster, &mut probe, 0..plan.routes).await?;
    let part = (plan.routes / 6).max(1);
    figures.extend(spread("CP7", &format!("the first {part} routes"), &times(&quiet, ..part), None));
    figures.extend(spread("CP7", &format!("the last {part} of {}", plan.routes), &times(&quiet, plan.routes - part..), Some((5.0, 15.0))));

    say("up to the whole world");
    let backends = Backends { services: plan.services, endpoints: plan.endpoints };
    let backend = |route: usize| if route < plan.routes { "echo".to_owned() } else { backends.of(route) };
    let filled = async {
        cluster.fill(plan.routes..plan.world, backends).await?;
        cluster.quiet().await
    };
    let (written, routes) = (cluster.modified_meanwhile(filled).await?, plan.world - plan.routes);
    figures.push(Figure {
        id: "",
        what: format!("writes of a status for each of {routes} routes that come at once"),
        value: f64::from(u32::try_from(written)?) / f64::from(u32::try_from(routes.max(1))?),
        target: Some(1.1),
    });
    let alone = add(cluster, &mut probe, plan.world..plan.world + plan.probes).await?;
    say("while others change");
    let churned = async {
        let (mut pace, mut count) = (tokio::time::interval(Duration::from_secs(1) / plan.churn), 0_usize);
        loop {
            pace.tick().await;
            count += 1;
            let route = count * 7_919 % plan.world;
            cluster.touch(route, &backend(route), count).await?;
        }
    };
    let probed = add(cluster, &mut probe, plan.world + plan.probes..plan.world + 2 * plan.probes);
    let busy = tokio::select! {
        ended = churned => return ended,
        busy = probed => busy?,
    };
    let (before, after) = (percentile(&alone.stored, 50), percentile(&busy.stored, 50));
    figures.extend(spread("CP9", &format!("{} routes and nothing else changes", plan.world), &alone, None));
    figures.extend(spread("CP9", &format!("{} others change a second", plan.churn), &busy, None));
    figures.push(Figure { id: "CP9", what: "ratio of the medians".into(), value: after / before, target: Some(1.1) });

    cluster.quiet().await?;
    say("no change");
    let idle = over(plan, cluster, async |_| Ok(())).await?;
    say("one change a second");
    let changing = async |second: usize| {
        let route = second * 7_919 % plan.world;
        cluster.touch(route, &backend(route), second + 1_000_000).await
    };
    let busy = over(plan, cluster, changing).await?;
    for (name, now) in &busy {
        let without = idle.get(name).with_context(|| format!("{name} has come meanwhile"))?;
        figures.extend(of_replica(plan, name, (without, now)));
    }
    Ok(())
}

/// What a replica takes without a change, and with one a second.
fn of_replica(plan: &Plan, name: &str, (without, now): (&Usage, &Usage)) -> Vec<Figure> {
    let at = format!("{} routes, {} Services, one change a second, {name}", plan.world, plan.services);
    let figure = |what: String, value, target| Figure { id: "CP11", what, value, target };
    let mut figures = vec![
        figure(format!("cores, {at}"), now.cpu, Some(0.004)),
        figure(format!("cores without a change, {name}"), without.cpu, None),
        figure(format!("MiB resident, {at}"), now.memory / 1_048_576.0, Some(100.0)),
        figure(format!("bytes sent to proxies for a change, {at}"), now.sent, None),
    ];
    if now.changes > 0.0 {
        let mean = now.converging / now.changes * 1e3;
        figures.push(figure(format!("from planned to acknowledged, mean [ms]; {at}"), mean, Some(5.0)));
    }
    figures
}

/// Does something each second, and says what each replica takes meanwhile: cores, bytes of memory, bytes sent and changes a second.
async fn over(plan: &Plan, cluster: &Cluster, each: impl AsyncFn(usize) -> anyhow::Result<()>) -> anyhow::Result<BTreeMap<String, Usage>> {
    let (before, began) = (cluster.usage().await?, Instant::now());
    for second in 0..plan.seconds {
        each(usize::try_from(second)?).await?;
        tokio::time::sleep_until((began + Duration::from_secs(second + 1)).into()).await;
    }
    let (after, took) = (cluster.usage().await?, began.elapsed().as_secs_f64());
    let taken = |(name, now): (String, Usage)| {
        let former = before.get(&name).with_context(|| format!("{name} has come meanwhile"))?;
        let usage = Usage {
            cpu: (now.cpu - former.cpu) / took,
            memory: now.memory,
            sent: (now.sent - former.sent) / took,
            changes: (now.changes - former.changes) / took,
            converging: (now.converging - former.converging) / took,
        };
        Ok((name, usage))
    };
    after.into_iter().map(taken).collect()
}

/// Adds routes one by one, each when the one before answers.
async fn add(cluster: &Cluster, probe: &mut Probe, routes: std::ops::Range<usize>) -> anyhow::Result<Times> {
    let mut times = Times::default();
    for index in routes {
        let sent = Instant::now();
        cluster.create(index).await?;
        let stored = Instant::now();
        probe.until_answered(&host(index), Duration::from_secs(30)).await?;
        times.sent.push(sent.elapsed().as_secs_f64() * 1e3);
        times.stored.push(stored.elapsed().as_secs_f64() * 1e3);
        if index % 500 == 499 {
            say(&format!("{} routes", index + 1));
        }
    }
    ensure!(!times.sent.is_empty(), "nothing to measure");
    Ok(times)
}

fn host(index: usize) -> String {
    format!("h{index}.bench.example")
}

fn times(all: &Times, range: impl std::slice::SliceIndex<[f64], Output = [f64]> + Clone) -> Times {
    let of = |all: &[f64]| all.get(range.clone()).unwrap_or_default().to_vec();
    Times { sent: of(&all.sent), stored: of(&all.stored) }
}

fn spread(id: &'static str, what: &str, times: &Times, aims: Option<(f64, f64)>) -> Vec<Figure> {
    let figure = |words: &str, all: &[f64], percent, target| Figure {
        id,
        what: format!("{words} to the first answer, p{percent} [ms]; {what}"),
        value: percentile(all, percent),
        target,
    };
    vec![
        figure("from stored", &times.stored, 50, aims.map(|aims| aims.0)),
        figure("from stored", &times.stored, 99, aims.map(|aims| aims.1)),
        figure("from sent", &times.sent, 50, None),
    ]
}

fn percentile(all: &[f64], percent: usize) -> f64 {
    let mut all = all.to_vec();
    all.sort_by(f64::total_cmp);
    all.get((all.len() * percent / 100).min(all.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Tells the person who waits.
#[expect(clippy::print_stderr, reason = "the progress of the program")]
pub fn say(news: &str) {
    eprintln!("bench-cluster: {news}");
}
