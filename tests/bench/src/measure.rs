//! One shape from start to end: both sides up and connected, rounds by turns, then changes until memory is measured.

use std::time::{Duration, Instant};

use crate::content::Content;
use crate::credentials::Credentials;
use crate::limits;
use crate::round::{Measured, Memory, Round, Shown};
use crate::shape::{Reach, Shape};
use crate::side::{Contender, Side};

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The shapes, one after the other.
    pub shapes: Vec<Shape>,
    /// The shapes whose fleets come at once.
    pub storms: Vec<Shape>,
    /// Rounds of each side.
    pub rounds: u32,
    /// Changes of one round at most.
    pub changes: u32,
    /// Changes after which memory is measured.
    pub memory_changes: u32,
    /// Numbers of routes that are planned and rendered.
    pub routes: Vec<usize>,
    /// Edits of one round of these.
    pub edits: u32,
}

impl Schedule {
    /// Everything, in at most ten minutes on two cores.
    #[must_use]
    pub fn full() -> Self {
        let clusters = [(1_000, 200), (1_000, 1_000), (10_000, 200), (10_000, 1_000)];
        let clusters = clusters.map(|(resources, proxies)| Shape { content: Content::Clusters, resources, proxies });
        let endpoints = [200, 1_000].map(|proxies| Shape { content: Content::Endpoints, resources: 2_000, proxies });
        let shapes = clusters.into_iter().chain(endpoints).collect();
        let storms = vec![Shape { content: Content::Clusters, resources: 1_000, proxies: 1_000 }];
        Self {
            shapes,
            storms,
            rounds: 5,
            changes: *limits::CHANGES_PER_ROUND.end(),
            memory_changes: limits::MEMORY_CHANGES,
            routes: limits::ROUTES.to_vec(),
            edits: limits::EDITS,
        }
    }

    /// Whether everything works, in a minute; its figures are not to be quoted.
    #[must_use]
    pub fn quick() -> Self {
        let shape = |(content, resources)| Shape { content, resources, proxies: 200 };
        let shapes = [(Content::Clusters, 1_000), (Content::Endpoints, 2_000)].map(shape).to_vec();
        let storms = vec![shape((Content::Clusters, 1_000))];
        Self { shapes, storms, rounds: 2, changes: 3, memory_changes: 20, routes: vec![1_000], edits: 20 }
    }
}

/// Measures one shape.
///
/// # Errors
/// Anything that goes wrong voids the run.
pub async fn measure(
    shape: Shape,
    schedule: &Schedule,
    contenders: &[Contender],
    credentials: &Credentials,
    say: &mut dyn FnMut(String),
) -> anyhow::Result<Measured> {
    let (mut sides, mut connected) = (Vec::new(), Vec::new());
    for contender in contenders {
        let began = Instant::now();
        let mut side = Side::start(contender, shape, credentials).await.map_err(|error| error.context(contender.name))?;
        say(format!("{} connected in {:.1} s", contender.name, began.elapsed().as_secs_f64()));
        connected.push(side.memory().await?);
        for _ in 0..limits::WARM_UP {
            side.change_and_rest(Reach::Everyone).await?;
        }
        sides.push(side);
    }
    let mut rounds = vec![Vec::new(); sides.len()];
    for reach in reaches(shape) {
        let by_side = by_turns(&mut sides, *reach, schedule, say).await?;
        rounds.iter_mut().zip(by_side).for_each(|(all, these)| all.push((*reach, these)));
    }
    let mut shown = Vec::new();
    for ((mut side, rounds), connected) in sides.into_iter().zip(rounds).zip(connected) {
        let memory = age(&mut side, connected, schedule.memory_changes).await?;
        shown.push(Shown { name: side.name, about: side.about.clone(), rounds, memory });
        say(format!("{} has had {} changes", side.name, side.changes));
        side.end().await?;
    }
    Ok(Measured { shape, sides: shown })
}

fn reaches(shape: Shape) -> &'static [Reach] {
    match shape.content {
        Content::Clusters => &[Reach::Everyone],
        Content::Endpoints => &[Reach::Everyone, Reach::Hundredth],
    }
}

/// The sides take turns, and who begins changes with every round.
async fn by_turns(sides: &mut [Side], reach: Reach, schedule: &Schedule, say: &mut dyn FnMut(String)) -> anyhow::Result<Vec<Vec<Round>>> {
    let mut rounds = vec![Vec::new(); sides.len()];
    for number in 0..schedule.rounds {
        let mut order: Vec<usize> = (0..sides.len()).collect();
        if number % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let side = &mut sides[at];
            let changes = affordable(side.pace, schedule.changes);
            let round = side.round(reach, changes).await.map_err(|error| error.context(side.name))?;
            say(format!("round {} {reach:?}, {}: {:.0} µs CPU, last after {:.1} ms", number + 1, side.name, round.cpu_us, round.last_ms));
            rounds[at].push(round);
        }
    }
    Ok(rounds)
}

/// How many changes of that pace fill a round.
fn affordable(pace: Duration, most: u32) -> u32 {
    let fit = limits::ROUND.as_millis() / pace.as_millis().max(1);
    u32::try_from(fit).unwrap_or(most).clamp(*limits::CHANGES_PER_ROUND.start(), most)
}

/// More changes until memory is measured, as far as patience goes.
async fn age(side: &mut Side, connected: (u64, u64), changes: u32) -> anyhow::Result<Memory> {
    let began = Instant::now();
    while side.changes < changes && began.elapsed() < limits::MEMORY_PATIENCE {
        side.change_and_rest(Reach::Everyone).await?;
    }
    let (changed, changed_collected) = side.memory().await?;
    let (connected, connected_collected) = connected;
    Ok(Memory { empty: side.empty, connected, connected_collected, changes: side.changes, changed, changed_collected })
}
