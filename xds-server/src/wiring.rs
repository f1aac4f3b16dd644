//! The only place that starts tasks. Each has a name, ends by one token, and is waited for with a deadline.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windrose_pki::{NodeAuthority, SystemEntropy};
use windrose_state::{Accepted, Desired, DesiredReader, Observed};
use windrose_vocab::{ProxyKey, TrustDomain};
use windrose_xds_serve::{Counters, Tls, Xds};

use crate::args::ServerOptions;
use crate::fleet::{Fleet, Wanted};
use crate::identities::Nodes;
use crate::last_good::{LastGood, Remembered};
use crate::pipeline::{Parts, Picture, Pipeline};
use crate::report::{Memory, Reports, SourceReport};
use crate::revocations::{Absences, Revocations};
use crate::source::{self, News};
use crate::state_folder::StateFolder;
use crate::svids::Svids;
use crate::{filters, judges};

/// Certificates are looked at this often; their slots are hours.
const CLOCK: Duration = Duration::from_secs(30);
/// Between two looks at what proxies refused.
const ANSWERS_PAUSE: Duration = Duration::from_millis(100);
/// Between two looks while somebody may be silent or contradict.
const SILENCE_LOOK: Duration = Duration::from_millis(500);
/// What is to survive a restart is written at most this often.
const KEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Between two tries to write what could not be written.
const KEEP_RETRY: Duration = Duration::from_secs(5);
/// Between two looks at revocations, which other processes make.
const REVOCATIONS_INTERVAL: Duration = Duration::from_secs(1);
/// Time for everything to end after the signal.
const END_MAX: Duration = Duration::from_secs(15);

/// Serves until SIGTERM or Ctrl-C; with a fleet, starts local Envoys too.
pub(crate) async fn serve(options: &ServerOptions, fleet: Option<FleetOrder>) -> anyhow::Result<()> {
    let state = Arc::new(StateFolder::open(&options.common.state)?);
    let lock = state.lock()?;
    let modules_folder = filters::folder(options.common.filters.as_deref())?;
    let nodes_authority = Arc::new(state.node_authority(&options.common.trust_domain)?);
    let (last_good, remembered) = LastGood::open(state.path(), &options.path);
    let (last_good, kept) = (Arc::new(last_good), remembered.kept.clone());
    let server = Server::build(options, &state, &modules_folder, &nodes_authority, (last_good.clone(), remembered))?;
    let bound = Bound::open(options, &state).await?;
    let tls = server_tls(options, &nodes_authority)?;
    let end = CancellationToken::new();
    let mut tasks = JoinSet::new();

    tasks.spawn(windrose_xds_serve::serve(bound.xds, tls.clone(), server.xds.clone(), end.child_token()));
    if let Some(csds) = bound.csds {
        tasks.spawn(windrose_xds_serve::serve_status(csds, server.status(), end.child_token()));
    }
    tasks.spawn(admin(bound.admin, server.reports.clone(), end.child_token()));
    tasks.spawn(follow_revocations(state.revocations()?, server.nodes.clone(), end.child_token()));
    tasks.spawn(renew_server_certificate(options.clone(), nodes_authority.clone(), tls, end.child_token()));
    keep(&mut tasks, &state, &server.xds.accepted, &last_good, &end);
    let (news, reload) = source::start(&mut tasks, &options.path, (last_good.clone(), kept), end.child_token())?;
    let answers = paced(&mut tasks, &server.reports, end.child_token());
    let (published, publications) = watch::channel(());
    tasks.spawn(watch_progress(server.reports.clone(), publications, end.child_token()));
    let follower = Follower { news, answers, published, reports: server.reports.clone(), desired: server.xds.desired.clone() };
    tasks.spawn(follow(server.pipeline, follower, end.child_token()));
    let picture = server.reports.picture.clone();
    let fleet = fleet.map(|order| order.fleet(options, &state, modules_folder, nodes_authority));
    let fleet = async {
        if let Some(fleet) = fleet {
            fleet.run(|| wanted(&picture.load()), end.child_token()).await;
        }
    };
    tracing::info!(xds = %options.listen, admin = %options.admin, path = %options.path.display(), "serving");
    let told = async {
        let told = until_told(reload, &mut tasks).await;
        end.cancel();
        told
    };
    // Together, by the main thread: see `Fleet::run`.
    let (told, ()) = tokio::join!(told, fleet);
    end_in_order(tasks).await;
    if let Err(error) = last_good.flush() {
        tracing::error!(error = format!("{error:#}"), "a restart does not know the last changes");
    }
    let _ = std::fs::remove_file(state.socket());
    drop(lock);
    tracing::info!("ended");
    told
}

/// Which local Envoys to start.
#[derive(Debug)]
pub(crate) struct FleetOrder {
    pub(crate) envoy: std::path::PathBuf,
    pub(crate) only: Vec<ProxyKey>,
}

impl FleetOrder {
    fn fleet(self, options: &ServerOptions, state: &StateFolder, modules: std::path::PathBuf, authority: Arc<NodeAuthority>) -> Fleet {
        let folder = std::path::absolute(state.folder("envoys")).unwrap_or_else(|_| state.folder("envoys"));
        let modules = std::path::absolute(&modules).unwrap_or(modules);
        Fleet { envoy: self.envoy, folder, modules, server: options.listen, authority, only: self.only }
    }
}

/// The proxies of the plan, and where they listen.
fn wanted(picture: &Picture) -> Wanted {
    let addresses = |program: &windrose_ir::Program| program.listeners.values().flat_map(|listener| listener.addresses.clone()).collect();
    picture.plan.programs.iter().map(|(proxy, program)| (proxy.clone(), addresses(program))).collect()
}

/// Everything that is shared between tasks.
struct Server {
    xds: Xds,
    reports: Arc<Reports>,
    nodes: Arc<Nodes>,
    pipeline: Pipeline,
}

impl Server {
    fn build(
        options: &ServerOptions,
        state: &StateFolder,
        modules: &std::path::Path,
        authority: &Arc<NodeAuthority>,
        (last_good, remembered): (Arc<LastGood>, Remembered),
    ) -> anyhow::Result<Self> {
        let trust_domain =
            TrustDomain::parse(&options.common.trust_domain).with_context(|| format!("--trust-domain {}", options.common.trust_domain))?;
        let desired = Desired::new();
        let reader = desired.reader();
        let accepted = Arc::new(state.accepted()?);
        let nodes = Arc::new(Nodes::new(authority.clone(), state.revocations()?.all()?));
        let picture = Arc::new(ArcSwap::from_pointee(Picture::default()));
        let xds = Xds {
            desired: reader.clone(),
            accepted: accepted.clone(),
            observed: Arc::new(Observed::new()),
            identify: nodes.clone(),
            clock: Arc::new(SystemTime::now),
            counters: Arc::new(Counters::default()),
            settings: windrose_xds_serve::Settings::default(),
        };
        let reports = Arc::new(Reports {
            picture: picture.clone(),
            desired: reader,
            observed: xds.observed.clone(),
            accepted: xds.accepted.clone(),
            counters: xds.counters.clone(),
            source: Arc::new(ArcSwap::from_pointee(SourceReport::default())),
            memory: Mutex::new(Memory::default()),
            started: SystemTime::now(),
        });
        let parts = Parts {
            settings: judges::settings(trust_domain),
            modules: filters::read(modules)?,
            version_key: state.version_key()?,
            svids: Svids::new(state.authority(&options.common.trust_domain, options.authority.as_ref())?),
            nodes: nodes.clone(),
            absences: Absences::open(state.path(), &options.path, (SystemTime::now(), std::time::Instant::now()))?,
            desired,
            accepted,
            last_good,
            picture,
        };
        let pipeline = Pipeline::new(parts, remembered);
        Ok(Self { xds, reports, nodes, pipeline })
    }

    /// What CSDS tells of all proxies; whoever asks is counted apart from them.
    fn status(&self) -> windrose_xds_serve::Status {
        windrose_xds_serve::Status {
            observed: self.xds.observed.clone(),
            counters: Arc::new(Counters::default()),
            settings: self.xds.settings,
        }
    }
}

/// The open ports.
struct Bound {
    xds: TcpListener,
    admin: windrose_admin::Listeners,
    csds: Option<TcpListener>,
}

impl Bound {
    async fn open(options: &ServerOptions, state: &StateFolder) -> anyhow::Result<Self> {
        let xds = windrose_xds_serve::bind(options.listen).await.context("--listen")?;
        let tcp = windrose_xds_serve::bind(options.admin).await.context("--admin")?;
        let csds = match options.csds {
            Some(address) => Some(windrose_xds_serve::bind(address).await.context("--csds")?),
            None => None,
        };
        Ok(Self { xds, admin: windrose_admin::Listeners { tcp, unix: socket(state)? }, csds })
    }
}

/// The admin socket. The folder's lock is ours, so a socket that is there belongs to nobody.
fn socket(state: &StateFolder) -> anyhow::Result<Option<UnixListener>> {
    let path = state.socket();
    match std::fs::remove_file(&path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(cause).with_context(|| path.display().to_string()),
        Ok(()) | Err(_) => {}
    }
    match UnixListener::bind(&path) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "no admin socket; the command line needs --server");
            Ok(None)
        }
    }
}

fn server_names(options: &ServerOptions) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !options.listen.ip().is_unspecified() {
        names.push(options.listen.ip().to_string());
    }
    names.extend(options.names.iter().cloned());
    names.sort();
    names.dedup();
    names
}

fn server_tls(options: &ServerOptions, authority: &NodeAuthority) -> anyhow::Result<Tls> {
    let made = authority.issue_server(&server_names(options), SystemTime::now(), &SystemEntropy).context("--name")?;
    Ok(Tls::new(made.chain, made.key.expose(), std::slice::from_ref(authority.root()))?)
}

async fn admin(listeners: windrose_admin::Listeners, reports: Arc<Reports>, end: CancellationToken) {
    if let Err(error) = windrose_admin::serve(listeners, reports, end).await {
        tracing::error!(%error, "the admin API ended");
    }
}

async fn follow_revocations(revocations: Revocations, nodes: Arc<Nodes>, end: CancellationToken) {
    let (revocations, mut known) = (Arc::new(revocations), None);
    loop {
        let changed = revocations.changed();
        if changed != known {
            let reader = revocations.clone();
            match tokio::task::spawn_blocking(move || reader.all()).await.map_err(anyhow::Error::new).flatten() {
                Ok(all) => {
                    known = changed;
                    nodes.revoke(all);
                }
                Err(error) => tracing::error!(error = format!("{error:#}"), "trying again; those that were known hold"),
            }
        }
        if end.run_until_cancelled(tokio::time::sleep(REVOCATIONS_INTERVAL)).await.is_none() {
            return;
        }
    }
}

async fn renew_server_certificate(options: ServerOptions, authority: Arc<NodeAuthority>, tls: Tls, end: CancellationToken) {
    let (half_life, backdate) = (windrose_pki::limits::SERVER_LIFETIME / 2, windrose_pki::limits::BACKDATE);
    let mut made_at = SystemTime::now();
    while end.run_until_cancelled(tokio::time::sleep(CLOCK)).await.is_some() {
        // By the clock that clients go by: one that was set makes a certificate as old as time does.
        let now = SystemTime::now();
        if made_at <= now + backdate && now < made_at + half_life {
            continue;
        }
        let made = authority.issue_server(&server_names(&options), now, &SystemEntropy);
        let replaced =
            made.map_err(anyhow::Error::new).and_then(|made| tls.replace(made.chain, made.key.expose()).map_err(anyhow::Error::new));
        made_at = if replaced.is_ok() { now } else { made_at };
        if let Err(error) = replaced {
            tracing::error!(error = format!("{error:#}"), "the server's certificate cannot be renewed; the former one stays");
        }
    }
}

/// Writes what is to survive a restart.
fn keep(tasks: &mut JoinSet<()>, state: &Arc<StateFolder>, accepted: &Arc<Accepted>, last_good: &Arc<LastGood>, end: &CancellationToken) {
    let (changes, state, accepted) = (accepted.changes(), state.clone(), accepted.clone());
    tasks.spawn(keep_one(changes, move || state.keep_accepted(&accepted), end.child_token()));
    let (changes, last_good) = (last_good.changes(), last_good.clone());
    tasks.spawn(keep_one(changes, move || last_good.flush(), end.child_token()));
}

/// Writes after changes, again until it could be written, and once more at the end. The disk is waited for off the async threads.
async fn keep_one<T: Send + Sync>(
    mut changes: watch::Receiver<T>,
    write: impl Fn() -> anyhow::Result<()> + Clone + Send + 'static,
    end: CancellationToken,
) {
    let mut failed = false;
    loop {
        let due = async { if failed { tokio::time::sleep(KEEP_RETRY).await } else { drop(changes.changed().await) } };
        let ended = end.run_until_cancelled(due).await.is_none();
        changes.mark_unchanged();
        let written = tokio::task::spawn_blocking(write.clone()).await.map_err(anyhow::Error::new).flatten();
        let fails = written.is_err();
        match written {
            Err(error) if !failed => tracing::error!(error = format!("{error:#}"), "a restart would not know it; trying again"),
            Ok(()) if failed => tracing::info!("what could not be kept is kept now"),
            Err(_) | Ok(()) => {}
        }
        failed = fails;
        if ended {
            return;
        }
        end.run_until_cancelled(tokio::time::sleep(KEEP_INTERVAL)).await;
    }
}

/// Wakes at most once in [`ANSWERS_PAUSE`] for what proxies answer: thousands of ACKs are looked at together.
fn paced(tasks: &mut JoinSet<()>, reports: &Reports, end: CancellationToken) -> watch::Receiver<()> {
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
async fn watch_progress(reports: Arc<Reports>, mut publications: watch::Receiver<()>, end: CancellationToken) {
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
struct Follower {
    news: watch::Receiver<Arc<News>>,
    answers: watch::Receiver<()>,
    published: watch::Sender<()>,
    reports: Arc<Reports>,
    desired: DesiredReader,
}

/// Hands worlds, wishes, answers and the time to the pipeline, off the async threads, one after the other.
async fn follow(mut pipeline: Pipeline, follower: Follower, end: CancellationToken) {
    let Follower { mut news, mut answers, published, reports, desired } = follower;
    let mut demand = desired.demand();
    let mut clock = tokio::time::interval(CLOCK);
    let mut former = Arc::new(News::default());
    news.mark_changed();
    loop {
        let step = tokio::select! {
            () = end.cancelled() => return,
            Ok(()) = news.changed() => Step::World(news.borrow_and_update().clone()),
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
                end.cancelled().await;
                return;
            }
        }
    }
}

/// What the pipeline is told next.
#[derive(Clone)]
enum Step {
    World(Arc<News>),
    Demand,
    Observed,
    Clock,
}

fn take(pipeline: &mut Pipeline, step: &Step, former: &News, reports: &Reports) {
    let now = SystemTime::now();
    match step {
        Step::World(world) => {
            reports.source.store(Arc::new(world.report()));
            let changed = world.changed_since(former);
            let first = world.complete && !former.complete;
            if first || !changed.objects.is_empty() {
                pipeline.declare(world.declared.clone(), &changed, now);
            }
        }
        Step::Demand => pipeline.follow_demand(now),
        Step::Observed => pipeline.follow_observed(&reports.observed.snapshot(), now),
        Step::Clock => {
            pipeline.follow_time(now);
            pipeline.follow_observed(&reports.observed.snapshot(), now);
        }
    }
}

/// Returns when a signal says so, or when a task that must live ended.
async fn until_told(reload: tokio::sync::mpsc::Sender<()>, tasks: &mut JoinSet<()>) -> anyhow::Result<()> {
    let (mut terminate, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    loop {
        tokio::select! {
            _ = terminate.recv() => break tracing::info!("SIGTERM: ending in order"),
            _ = tokio::signal::ctrl_c() => break tracing::info!("Ctrl-C: ending in order"),
            _ = hangup.recv() => {
                tracing::info!("SIGHUP: reading again");
                let _ = reload.try_send(());
            }
            Some(ended) = tasks.join_next() => {
                ended.context("a task failed")?;
                anyhow::bail!("a task ended by itself");
            }
        }
    }
    Ok(())
}

async fn end_in_order(mut tasks: JoinSet<()>) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(END_MAX, all).await.is_err() {
        tracing::warn!("some tasks did not end in {END_MAX:?}; leaving them");
    }
}
