//! The only place that starts tasks. Each has a name, ends by one token, and is waited for with a deadline.

mod bound;
#[cfg(feature = "kubernetes")]
mod cluster;
mod follow;
mod keep;
mod tell;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windrose_pki::NodeAuthority;
use windrose_plan::Settings;
use windrose_state::{Desired, Observed};
use windrose_vocab::{ProxyKey, ProxyRole, TrustDomain};
use windrose_xds_serve::{Counters, Identify, Xds};

use crate::accepted_journal::AcceptedJournal;
use crate::args::ServerOptions;
use crate::fleet::{Fleet, Place, Wanted};
use crate::identities::Nodes;
use crate::last_good::{LastGood, Remembered};
use crate::pipeline::{Judge, Parts, Picture, Pipeline};
use crate::report::{Memory, Reports, SourceReport};
use crate::revocations::Absences;
use crate::source::{self, News};
use crate::state_folder::StateFolder;
use crate::svids::Svids;
use crate::{filters, judges};

#[cfg(feature = "kubernetes")]
pub(crate) use cluster::serve_cluster;
use follow::OnBug;

/// Certificates are looked at this often; their slots are hours.
const CLOCK: Duration = Duration::from_secs(30);
/// Time for everything to end after the signal.
const END_MAX: Duration = Duration::from_secs(15);

/// Serves a folder until SIGTERM or Ctrl-C; with a fleet, starts local Envoys too.
pub(crate) async fn serve(options: &ServerOptions, fleet: Option<FleetOrder>) -> anyhow::Result<()> {
    let state = Arc::new(StateFolder::open(&options.common.state)?);
    let lock = state.lock()?;
    let mut running = Running::new(options, &state)?;
    let kept = running.remembered.kept.clone();
    let end = running.end.clone();
    let server = running.server(options, judges::settings(trust_domain(options)?), |nodes| nodes)?;
    running.serve(&server, options).await?;
    let memory = (running.last_good.clone(), kept);
    let (news, reload) = source::start(&mut running.tasks, &options.path, memory, end.child_token())?;
    let picture = server.reports.picture.clone();
    let alone = watch::channel(Judge::Ourselves).1;
    let reports = server.reports.clone();
    let publications = running.follow(server, (news, alone), OnBug::ServeOn);
    running.tasks.spawn(tell::follow(reports, publications, end.child_token()));
    let (modules, authority) = (running.modules.clone(), running.authority.clone());
    let fleet = fleet.map(|order| order.fleet(options, &state, modules, authority));
    let (cut, drained) = (CancellationToken::new(), CancellationToken::new());
    let fleet = async {
        if let Some(fleet) = fleet {
            fleet.run(|| wanted(&picture.load()), (end.child_token(), cut.clone())).await;
        }
        drained.cancel();
    };
    let told = async {
        let told = running.until_told(Some(reload)).await;
        running.until_drained(&drained, &cut).await;
        told
    };
    tracing::info!(xds = %options.listen, admin = %options.admin, path = %options.path.display(), "serving");
    // Together, by the main thread: see `Fleet::run`.
    let (told, ()) = tokio::join!(told, fleet);
    running.end().await;
    drop(lock);
    told
}

fn trust_domain(options: &ServerOptions) -> anyhow::Result<TrustDomain> {
    TrustDomain::parse(&options.common.trust_domain).with_context(|| format!("--trust-domain {}", options.common.trust_domain))
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

/// The proxies of the plan, and where they are.
fn wanted(picture: &Picture) -> Wanted {
    let addresses = |program: &windrose_ir::Program| program.listeners.values().flat_map(|listener| listener.addresses.clone()).collect();
    let workload = |proxy: &ProxyKey| picture.declared.workloads.get(&proxy.object).filter(|_| proxy.role == ProxyRole::Workload);
    let zone = |proxy: &ProxyKey| workload(proxy).map(|workload| workload.spec.zone.clone()).filter(|zone| !zone.is_empty());
    let place = |proxy: &ProxyKey, program| Place { addresses: addresses(program), zone: zone(proxy) };
    picture.plan.programs.iter().map(|(proxy, program)| (proxy.clone(), place(proxy, program))).collect()
}

/// What a running server stands on, wherever its declarations come from.
struct Running {
    state: Arc<StateFolder>,
    modules: std::path::PathBuf,
    authority: Arc<NodeAuthority>,
    last_good: Arc<LastGood>,
    remembered: Remembered,
    end: CancellationToken,
    tasks: JoinSet<()>,
    signals: Signals,
}

/// What we are told from outside. Heard from the beginning: one that comes while we start is done when we have.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let [terminate, interrupt, hangup] = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self { terminate: terminate?, interrupt: interrupt?, hangup: hangup? })
    }
}

impl Running {
    fn new(options: &ServerOptions, state: &Arc<StateFolder>) -> anyhow::Result<Self> {
        let signals = Signals::listen().context("signals cannot be heard")?;
        let modules = filters::folder(options.common.filters.as_deref())?;
        let authority = Arc::new(state.node_authority(&options.common.trust_domain)?);
        let (last_good, remembered) = LastGood::open(state.path(), &options.path);
        let (end, tasks) = (CancellationToken::new(), JoinSet::new());
        Ok(Self { state: state.clone(), modules, authority, last_good: Arc::new(last_good), remembered, end, tasks, signals })
    }

    /// The parts that tasks share. `identify` says who a stream is, beside the credentials of our own authority.
    fn server(
        &self,
        options: &ServerOptions,
        settings: Settings,
        identify: impl FnOnce(Arc<Nodes>) -> Arc<dyn Identify>,
    ) -> anyhow::Result<Server> {
        let state = &self.state;
        let desired = Desired::new();
        let reader = desired.reader();
        let (accepted, journal) = state.accepted()?;
        let accepted = Arc::new(accepted);
        let nodes = Arc::new(Nodes::new(self.authority.clone(), state.revocations()?.all()?));
        let picture = Arc::new(ArcSwap::from_pointee(Picture::default()));
        let xds = Xds {
            desired: reader.clone(),
            accepted: accepted.clone(),
            observed: Arc::new(Observed::new()),
            identify: identify(nodes.clone()),
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
            orphans: nodes.orphans(),
            source: Arc::new(ArcSwap::from_pointee(SourceReport::default())),
            memory: Mutex::new(Memory::default()),
            stopped: OnceLock::new(),
            started: SystemTime::now(),
        });
        let parts = Parts {
            settings,
            modules: filters::read(&self.modules)?,
            version_key: state.version_key()?,
            svids: Svids::new(state.authority(&options.common.trust_domain, options.authority.as_ref())?),
            nodes: nodes.clone(),
            absences: Absences::open(state.path(), &options.path, (SystemTime::now(), std::time::Instant::now()))?,
            desired,
            accepted,
            last_good: self.last_good.clone(),
            picture,
        };
        let pipeline = Pipeline::new(parts, self.remembered.clone());
        Ok(Server { xds, reports, nodes, pipeline, journal: Arc::new(journal) })
    }

    /// Opens the ports and starts what every server has.
    async fn serve(&mut self, server: &Server, options: &ServerOptions) -> anyhow::Result<()> {
        let bound = bound::Bound::open(options, &self.state).await?;
        let tls = bound::server_tls(options, &self.authority)?;
        let (tasks, end) = (&mut self.tasks, &self.end);
        tasks.spawn(windrose_xds_serve::serve(bound.xds, tls.clone(), server.xds.clone(), end.child_token()));
        if let Some(csds) = bound.csds {
            tasks.spawn(windrose_xds_serve::serve_status(csds, server.status(), end.child_token()));
        }
        tasks.spawn(admin(bound.admin, server.reports.clone(), end.child_token()));
        tasks.spawn(keep::follow_revocations(self.state.revocations()?, server.nodes.clone(), end.child_token()));
        tasks.spawn(bound::renew_server_certificate(options.clone(), self.authority.clone(), tls, end.child_token()));
        keep::keep(tasks, (&server.xds.accepted, &server.journal), &self.last_good, end);
        Ok(())
    }

    /// Starts what turns worlds into what is served; returns what changes after each publication.
    fn follow(
        &mut self,
        server: Server,
        (news, judge): (watch::Receiver<Arc<News>>, watch::Receiver<Judge>),
        on_bug: OnBug,
    ) -> watch::Receiver<()> {
        let (tasks, end) = (&mut self.tasks, &self.end);
        let answers = follow::paced(tasks, &server.reports, end.child_token());
        let (published, publications) = watch::channel(());
        tasks.spawn(follow::watch_progress(server.reports.clone(), publications.clone(), end.child_token()));
        let follower = follow::Follower { news, answers, judge, published, reports: server.reports, desired: server.xds.desired, on_bug };
        tasks.spawn(follow::follow(server.pipeline, follower, end.child_token()));
        publications
    }

    /// Returns when a signal says so, or when a task that must live ended; everything ends from then on.
    async fn until_told(&mut self, reload: Option<mpsc::Sender<()>>) -> anyhow::Result<()> {
        let told = until_told(&mut self.signals, reload, &mut self.tasks).await;
        self.end.cancel();
        told
    }

    /// Waits for local Envoys, which answer what is under way; whoever says it again does not wait.
    async fn until_drained(&mut self, drained: &CancellationToken, cut: &CancellationToken) {
        tokio::select! {
            () = drained.cancelled() => return,
            _ = self.signals.terminate.recv() => {}
            _ = self.signals.interrupt.recv() => {}
        }
        tracing::warn!("told again: ending at once, and requests that are under way are cut");
        cut.cancel();
    }

    async fn end(self) {
        end_in_order(self.tasks).await;
        if let Err(error) = self.last_good.flush() {
            tracing::error!(error = format!("{error:#}"), "a restart does not know the last changes");
        }
        let _ = std::fs::remove_file(self.state.socket());
        tracing::info!("ended");
    }
}

/// Everything that is shared between tasks.
struct Server {
    xds: Xds,
    reports: Arc<Reports>,
    nodes: Arc<Nodes>,
    pipeline: Pipeline,
    journal: Arc<AcceptedJournal>,
}

impl Server {
    /// What CSDS tells of all proxies; whoever asks is counted apart from them.
    fn status(&self) -> windrose_xds_serve::Status {
        windrose_xds_serve::Status {
            observed: self.xds.observed.clone(),
            counters: Arc::new(Counters::default()),
            settings: self.xds.settings,
        }
    }
}

async fn admin(listeners: windrose_admin::Listeners, reports: Arc<Reports>, end: CancellationToken) {
    if let Err(error) = windrose_admin::serve(listeners, reports, end).await {
        tracing::error!(%error, "the admin API ended");
    }
}

/// Returns when a signal says so, or when a task that must live ended.
async fn until_told(signals: &mut Signals, reload: Option<mpsc::Sender<()>>, tasks: &mut JoinSet<()>) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break tracing::info!("SIGTERM: ending in order"),
            _ = signals.interrupt.recv() => break tracing::info!("Ctrl-C: ending in order"),
            _ = signals.hangup.recv() => {
                let Some(reload) = &reload else { continue };
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
