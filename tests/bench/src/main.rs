//! `make bench`: measures what windrose's server and a go-control-plane server need for the same work, by turns, and
//! prints both side by side with what is aimed at. Any error of any proxy voids the run.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use rustix::process::{Resource, getrlimit, setrlimit};
use windrose_bench::credentials::Credentials;
use windrose_bench::machine::Machine;
use windrose_bench::measure::{Schedule, measure};
use windrose_bench::plan::{self, Planned};
use windrose_bench::report::{Report, lines, plan_lines};
use windrose_bench::side::Contender;
use windrose_bench::storm::storm;

const TRANSPORT: &str = "TLS 1.3 with client certificates, HTTP/2, one connection per proxy, loopback";

/// Measures the control plane beside a peer: CPU, time and memory for many proxies.
#[derive(Debug, Parser)]
struct Args {
    /// Whether everything works, in a minute; the figures are not to be quoted.
    #[arg(long)]
    quick: bool,
    /// How the result is printed.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    /// Measure only shapes whose text contains this, such as `clusters 1000 200`, `storm` or `plan`.
    #[arg(long, default_value = "")]
    only: String,
    /// The peer's program.
    #[arg(long)]
    peer: Option<PathBuf>,
    /// Why there is no peer.
    #[arg(long, conflicts_with = "peer")]
    left_out: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// One thread for all proxies: the load takes the same from both sides, and never more than one processor.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("the run is void: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let machine = Machine::look();
    allow_many_connections()?;
    let ours = std::env::current_exe()?.with_file_name("bench-server");
    let mut contenders = vec![Contender { name: "windrose", program: ours }];
    contenders.extend(args.peer.map(|program| Contender { name: "go-control-plane", program }));
    let left_out = (contenders.len() == 1).then(|| args.left_out.unwrap_or_else(|| "no program was given".into()));
    let schedule = if args.quick { Schedule::quick() } else { Schedule::full() };
    let credentials = Credentials::make()?;
    let began = Instant::now();
    let mut measured = Vec::new();
    for shape in &schedule.shapes {
        let text = format!("{} {} {}", shape.content.word(), shape.resources, shape.proxies);
        if !text.contains(&args.only) {
            continue;
        }
        let mut say = |news: String| tell(&format!("[{:4.0} s] {text}: {news}", began.elapsed().as_secs_f64()));
        measured.push(measure(*shape, &schedule, &contenders, &credentials, &mut say).await.context(text.clone())?);
    }
    let mut storms = Vec::new();
    for shape in &schedule.storms {
        let text = format!("storm {} {} {}", shape.content.word(), shape.resources, shape.proxies);
        if !text.contains(&args.only) {
            continue;
        }
        let mut say = |news: String| tell(&format!("[{:4.0} s] {text}: {news}", began.elapsed().as_secs_f64()));
        storms.push(storm(*shape, schedule.rounds, &contenders, &credentials, &mut say).await.context(text.clone())?);
    }
    let planned = planned(&schedule, &args.only)?;
    ensure!(!(measured.is_empty() && storms.is_empty() && planned.is_empty()), "no shape contains {:?}", args.only);
    let lines = lines(&measured, &storms).into_iter().chain(plan_lines(&planned)).collect();
    let report = Report { machine, transport: TRANSPORT, quick: args.quick, left_out, lines, measured, storms, planned };
    let text = match args.output {
        Output::Table => report.to_string(),
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

fn planned(schedule: &Schedule, only: &str) -> anyhow::Result<Vec<Planned>> {
    let wanted = schedule.routes.iter().filter(|routes| format!("plan {routes}").contains(only));
    wanted.map(|routes| plan::measure(*routes, schedule.rounds, schedule.edits).context(format!("plan {routes}"))).collect()
}

fn tell(news: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{news}");
}

/// Two thousand connections need as many file descriptors, here and in the servers, which inherit the limit.
fn allow_many_connections() -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("raising the limit of open files")
}
