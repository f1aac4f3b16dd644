//! From rounds to the lines that are compared with the targets.

use serde::Serialize;

use crate::content::Content;
use crate::machine::Machine;
use crate::plan::Planned;
use crate::round::{Measured, Memory, Round, Shown};
use crate::shape::Reach;
use crate::spread::Spread;
use crate::storm::{Gust, Storm};

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// What lies below the messages, on both sides.
    pub transport: &'static str,
    /// Whether it was a run whose figures are not to be quoted.
    pub quick: bool,
    /// Why there is no peer.
    pub left_out: Option<String>,
    /// What is compared.
    pub lines: Vec<Line>,
    /// What it was made from.
    pub measured: Vec<Measured>,
    /// And fleets that came at once.
    pub storms: Vec<Storm>,
    /// What was measured without a server.
    pub planned: Vec<Planned>,
}

/// One figure of both sides.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// As the list of benchmarks calls it.
    pub id: &'static str,
    /// What it is, with its unit.
    pub what: String,
    /// Ours.
    pub ours: Spread,
    /// The peer's.
    pub peer: Option<Spread>,
    /// How many times less ours is; absent for a figure that is itself a ratio.
    pub ratio: Option<f64>,
    /// What is aimed at.
    pub target: String,
    /// Whether it was reached, for each part of the target; unknown where the peer is missing.
    pub met: Vec<Option<bool>>,
}

/// The aims of one line.
#[derive(Clone, Copy, Default)]
struct Target {
    /// At least so many times less than the peer.
    ratio: Option<f64>,
    /// At most that.
    most: Option<(f64, &'static str)>,
}

/// TLS adds to all of it; the aims are those of the list of benchmarks, and the one for memory is that for mTLS.
const CPU_MOST: (f64, &str) = (30.0, "30 µs");
const MEMORY_MOST: (f64, &str) = (100.0, "100 KB");
const EDIT_MOST: (f64, &str) = (100.0, "100 µs");

/// The lines for what was planned and rendered.
#[must_use]
pub fn plan_lines(planned: &[Planned]) -> Vec<Line> {
    let mut lines = Vec::new();
    for of in planned {
        let cold = vec![Spread::of(of.cold_ms.iter().copied())];
        let edit = vec![Spread::of(of.edit_us.iter().copied())];
        lines.push(line("CP13", format!("CPU to plan and render {} HTTPRoutes from nothing [ms]", of.routes), cold, Target::default()));
        let target = Target { ratio: None, most: Some(EDIT_MOST) };
        lines.push(line("CP13", format!("CPU to plan and render one edit of {} HTTPRoutes [µs]", of.routes), edit, target));
    }
    lines
}

/// The lines for what was measured.
#[must_use]
pub fn lines(measured: &[Measured], storms: &[Storm]) -> Vec<Line> {
    let mut lines: Vec<Line> = measured.iter().flat_map(cost).collect();
    lines.extend(measured.iter().flat_map(memory));
    lines.extend(flatness(measured));
    lines.extend(storms.iter().flat_map(weathered));
    lines.sort_by_key(|line| line.id);
    lines
}

fn cost(of: &Measured) -> Vec<Line> {
    let shape = of.shape;
    let proxies = count(shape.proxies);
    let at = format!("{} resources, {} proxies", shape.resources, shape.proxies);
    let per_proxy = move |round: &Round| round.cpu_us / proxies;
    match shape.content {
        Content::Clusters => {
            let (cpu, time) = if shape.resources > 1_000 { (110.0, 45.0) } else { (12.0, 6.0) };
            let cpu = Target { ratio: Some(cpu), most: Some(CPU_MOST) };
            let time = Target { ratio: Some(time), most: None };
            vec![
                compare("CP1", format!("CPU per proxy and change, {at} [µs]"), of, Reach::Everyone, cpu, per_proxy),
                compare("CP2", format!("until the last proxy has it, {at} [ms]"), of, Reach::Everyone, time, |round| round.last_ms),
            ]
        }
        Content::Endpoints => {
            let target = Target { ratio: Some(45.0), most: None };
            let all = compare("CP3", format!("CPU per proxy, change for 100 %, {at} [µs]"), of, Reach::Everyone, target, per_proxy);
            let few = format!("CPU of the server, change for 1 %, {at} [µs]");
            let few = compare("CP3", few, of, Reach::Hundredth, Target::default(), |round| round.cpu_us);
            vec![all, few, share(of, &at)]
        }
    }
}

fn compare(id: &'static str, what: String, of: &Measured, reach: Reach, target: Target, figure: impl Fn(&Round) -> f64) -> Line {
    let spread = |side: &Shown| Spread::of(side.of(reach).iter().map(&figure));
    line(id, what, of.sides.iter().map(spread).collect(), target)
}

/// What a change costs that concerns a hundredth of the proxies, as a part of one that concerns all.
fn share(of: &Measured, at: &str) -> Line {
    let cpu = |side: &Shown, reach| Spread::of(side.of(reach).iter().map(|round| round.cpu_us)).median;
    let share = |side: &Shown| Spread::of([100.0 * cpu(side, Reach::Hundredth) / cpu(side, Reach::Everyone)]);
    let mut line = line("CP3", format!("change for 1 % against 100 %, {at} [%]"), of.sides.iter().map(share).collect(), Target::default());
    line.ratio = None;
    line.target = "the interested only: 1 %".into();
    line
}

/// Of the peer the smaller figure is taken: after it gave unused memory back.
fn memory(of: &Measured) -> Vec<Line> {
    let changes: Vec<String> = of.sides.iter().map(|side| side.memory.changes.to_string()).collect();
    let at = format!("{} {}, {} proxies", of.shape.resources, of.shape.content.word(), of.shape.proxies);
    let per_proxy = |figure: fn(&Memory) -> u64| -> Vec<Spread> {
        of.sides.iter().map(|side| Spread::of([grown(&side.memory, figure) / count(of.shape.proxies)])).collect()
    };
    let target = Target { ratio: None, most: Some(MEMORY_MOST) };
    let connected = per_proxy(|memory| memory.connected_collected);
    let changed = per_proxy(|memory| memory.changed_collected);
    vec![
        line("CP4", format!("memory per proxy when connected, {at} [KB]"), connected, target),
        line("CP4", format!("after {} changes, {at} [KB]", changes.join(" / ")), changed, target),
    ]
}

/// Memory per proxy with the most resources against that with the fewest, for the same proxies.
fn flatness(measured: &[Measured]) -> Vec<Line> {
    let clusters = || measured.iter().filter(|one| one.shape.content == Content::Clusters);
    let pairs = clusters().flat_map(|small| clusters().map(move |large| (small, large)));
    let pairs = pairs.filter(|(small, large)| small.shape.proxies == large.shape.proxies && small.shape.resources < large.shape.resources);
    let grows = |(small, large): (&Measured, &Measured)| {
        let grown = |side: &Shown| grown(&side.memory, |memory| memory.changed_collected);
        let factors = small.sides.iter().zip(&large.sides).map(|(small, large)| Spread::of([grown(large) / grown(small)])).collect();
        let what = format!(
            "memory with {} against {} resources, {} proxies [×]",
            large.shape.resources, small.shape.resources, small.shape.proxies
        );
        let mut line = line("CP4", what, factors, Target { ratio: None, most: Some((1.1, "flat: 1.1×")) });
        line.ratio = None;
        line
    };
    pairs.map(grows).collect()
}

/// All at once, and all again.
fn weathered(of: &Storm) -> [Line; 2] {
    let at = format!("{} {}, {} proxies", of.shape.resources, of.shape.content.word(), of.shape.proxies);
    let per_side = |figure: &dyn Fn(&Gust) -> f64| of.sides.iter().map(|side| Spread::of(side.rounds.iter().map(figure))).collect();
    let (slowest, most) = (Some((2.5, "2.5 s")), Some((0.5, "0.5 %")));
    let seconds = per_side(&|gust| gust.seconds);
    let time = line("CP5", format!("all connect at once, {at} [s]"), seconds, Target { ratio: None, most: slowest });
    let share = per_side(&|gust| 100.0 * kilobytes(gust.bytes_again) / kilobytes(gust.bytes));
    let mut again = line("CP6", format!("bytes when all come again, {at} [%]"), share, Target { ratio: None, most });
    again.ratio = None;
    [time, again]
}

fn line(id: &'static str, what: String, sides: Vec<Spread>, target: Target) -> Line {
    let (ours, peer) = (sides.first().copied().unwrap_or(Spread::of([])), sides.get(1).copied());
    let ratio = peer.map(|peer| peer.median / ours.median);
    let mut words = Vec::new();
    let mut met = Vec::new();
    if let Some(least) = target.ratio {
        words.push(format!("≥ {least}×"));
        met.push(ratio.map(|ratio| ratio >= least));
    }
    if let Some((most, word)) = target.most {
        words.push(format!("≤ {word}"));
        met.push(Some(ours.median <= most));
    }
    Line { id, what, ours, peer, ratio, target: words.join(", "), met }
}

/// Kilobytes (of 1,000 bytes) more than without proxies.
fn grown(memory: &Memory, figure: impl Fn(&Memory) -> u64) -> f64 {
    kilobytes(figure(memory).saturating_sub(memory.empty))
}

fn kilobytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1_000).unwrap_or(u32::MAX))
}

fn count(proxies: usize) -> f64 {
    f64::from(u32::try_from(proxies).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;

    fn side(cpu_us: f64) -> Shown {
        let round = Round { changes: 1, cpu_us, last_ms: cpu_us / 1e3, bytes: 1 };
        let memory =
            Memory { empty: 0, connected: 0, connected_collected: 4_000_000, changes: 100, changed: 0, changed_collected: 5_000_000 };
        Shown { name: "x", about: String::new(), rounds: vec![(Reach::Everyone, vec![round])], memory }
    }

    fn measured(sides: Vec<Shown>) -> Measured {
        Measured { shape: Shape { content: Content::Clusters, resources: 1_000, proxies: 100 }, sides }
    }

    #[test]
    fn a_target_is_met_by_ratio_and_by_figure() {
        let met = |ours, peer| lines(&[measured(vec![side(ours), side(peer)])], &[])[0].met.clone();
        assert_eq!(met(2_000.0, 30_000.0), [Some(true), Some(true)]);
        assert_eq!(met(2_000.0, 20_000.0), [Some(false), Some(true)], "ten times is less than twelve");
        assert_eq!(met(4_000.0, 90_000.0), [Some(true), Some(false)], "40 µs are more than 30");
    }

    #[test]
    fn without_a_peer_nothing_is_said_of_it() {
        let lines = lines(&[measured(vec![side(2_000.0)])], &[]);
        let met: Vec<_> = lines.iter().map(|line| line.met.clone()).collect();
        assert_eq!(met, [vec![None, Some(true)], vec![None], vec![Some(true)], vec![Some(true)]]);
        assert_eq!(lines[2].ours.median, 40.0);
    }
}
