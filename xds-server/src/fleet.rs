//! Local Envoys, one for each proxy of the plan: started when it appears, started again when it ends by itself, ended when it is gone.
//! None outlives the run, however that ends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windrose_envoy::bootstrap::BOOTSTRAP_FILE;
use windrose_pki::NodeAuthority;
use windrose_vocab::{ProxyKey, Text};

use crate::args::IdentityKind;
use crate::client::Server;
use crate::commands::bootstrap::{self, Order};

mod drain;
mod leftovers;
mod ports;

/// Between two starts of an Envoy that ends by itself.
const RESTART_PAUSE: Duration = Duration::from_secs(2);
/// Between two looks at what runs and what should.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Time for an Envoy to end after SIGTERM.
const END_MAX: Duration = Duration::from_secs(5);
/// Longest path of a Unix socket (`sun_path`).
const SOCKET_PATH_MAX: usize = 107;
/// A credential for as long as one run: it is made anew at every start.
const CREDENTIAL_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

/// How local Envoys are started.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) envoy: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) modules: PathBuf,
    pub(crate) server: SocketAddr,
    pub(crate) authority: Arc<NodeAuthority>,
    /// Only these, if not empty.
    pub(crate) only: Vec<ProxyKey>,
}

/// One Envoy, or the time at which it may be tried again.
enum Local {
    Running(Box<Child>),
    Waiting(Instant),
}

/// The proxies that should run.
pub(crate) type Wanted = BTreeMap<ProxyKey, Place>;

/// Where one of them is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The addresses that it listens on.
    pub(crate) addresses: BTreeSet<SocketAddr>,
    /// The zone that it says it is in.
    pub(crate) zone: Option<Text>,
}

impl Local {
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Running(child) => child.id(),
            Self::Waiting(_) => None,
        }
    }
}

impl Fleet {
    /// Keeps the Envoys of `wanted` running until `end`, then until they have answered what is under way or `cut` comes. To be
    /// polled by the thread that lives as long as the process: the system ends an Envoy with the thread that started it.
    pub(crate) async fn run(self, wanted: impl Fn() -> Wanted, (end, cut): (CancellationToken, CancellationToken)) {
        leftovers::end_all(&self.folder, BOOTSTRAP_FILE, END_MAX).await;
        let mut locals: BTreeMap<ProxyKey, Local> = BTreeMap::new();
        let mut ports = ports::Look::default();
        let mut told = false;
        while !end.is_cancelled() {
            let mut wanted = wanted();
            if !told && !wanted.is_empty() {
                told = true;
                self.tell_missing(&wanted);
            }
            wanted.retain(|proxy, _| self.only.is_empty() || self.only.contains(proxy));
            let gone: Vec<ProxyKey> = locals.keys().filter(|proxy| !wanted.contains_key(proxy)).cloned().collect();
            for proxy in gone {
                if let Some(Local::Running(child)) = locals.remove(&proxy) {
                    tracing::info!(%proxy, "no longer declared; its Envoy ends");
                    self.end_one(&proxy, *child).await;
                }
            }
            ports.again(&wanted, locals.values().filter_map(Local::pid));
            for (proxy, place) in wanted {
                let local = locals.remove(&proxy).unwrap_or(Local::Waiting(Instant::now()));
                let local = self.look(&proxy, local, place.zone);
                locals.insert(proxy, local);
            }
            end.run_until_cancelled(tokio::time::sleep(LOOK_INTERVAL)).await;
        }
        self.finish(locals, cut).await;
    }

    /// Ends all Envoys, with what is under way answered unless `cut` comes before.
    async fn finish(&self, locals: BTreeMap<ProxyKey, Local>, cut: CancellationToken) {
        let running = locals.into_iter().filter_map(|(proxy, local)| match local {
            Local::Running(child) => Some((proxy, child)),
            Local::Waiting(_) => None,
        });
        let running: Vec<_> = running.collect();
        let admins = running.iter().filter_map(|(proxy, _)| Some((proxy.role, admin(&self.home(proxy))?))).collect();
        cut.run_until_cancelled(drain::all(admins)).await;
        futures::future::join_all(running.into_iter().map(|(proxy, child)| async move { self.end_one(&proxy, *child).await })).await;
    }

    fn tell_missing(&self, declared: &Wanted) {
        for missing in self.only.iter().filter(|proxy| !declared.contains_key(proxy)) {
            let there = declared.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            tracing::warn!(%missing, there, "--only names a proxy that is not declared");
        }
    }

    fn look(&self, proxy: &ProxyKey, local: Local, zone: Option<Text>) -> Local {
        match local {
            Local::Waiting(until) if Instant::now() < until => Local::Waiting(until),
            Local::Waiting(_) => match self.start(proxy, zone) {
                Ok(child) => Local::Running(Box::new(child)),
                Err(error) => {
                    tracing::error!(%proxy, error = format!("{error:#}"), "its Envoy cannot be started");
                    Local::Waiting(Instant::now() + RESTART_PAUSE)
                }
            },
            Local::Running(mut child) => match child.try_wait() {
                Ok(None) => Local::Running(child),
                ended => {
                    let log = self.home(proxy).join(LOG);
                    let ended = ended.ok().flatten().map(|status| status.to_string());
                    tracing::error!(%proxy, ended, log = %log.display(), "its Envoy ended; it is started again");
                    Local::Waiting(Instant::now() + RESTART_PAUSE)
                }
            },
        }
    }

    fn start(&self, proxy: &ProxyKey, zone: Option<Text>) -> anyhow::Result<Child> {
        let home = self.home(proxy);
        bootstrap::write(&self.order(proxy, &home, zone), &self.authority)?;
        let log = std::fs::File::options().create(true).append(true).open(home.join(LOG)).with_context(|| home.display().to_string())?;
        let _ = std::fs::remove_file(home.join(ADMIN));
        let mut command = ending_with_us(&self.envoy);
        command.arg("-c").arg(home.join(BOOTSTRAP_FILE)).arg("--admin-address-path").arg(home.join(ADMIN));
        command.args(["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning", "--drain-time-s", "10"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true).process_group(0);
        let child = command.spawn().with_context(|| self.envoy.display().to_string())?;
        if let Some(pid) = child.id() {
            leftovers::remember(&home, pid).with_context(|| home.display().to_string())?;
        }
        tracing::info!(%proxy, pid = child.id(), log = %home.join(LOG).display(), "its Envoy was started");
        Ok(child)
    }

    fn order(&self, proxy: &ProxyKey, home: &Path, zone: Option<Text>) -> Order {
        let socket_fits = home.join("envoy-admin.sock").as_os_str().len() <= SOCKET_PATH_MAX;
        let server = match self.server.ip() {
            ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
            ip => ip.to_string(),
        };
        Order {
            proxy: proxy.clone(),
            folder: home.to_owned(),
            installed: home.to_owned(),
            server: (server.clone().into(), self.server.port()),
            server_name: "localhost".into(),
            identity: IdentityKind::Certificate,
            ttl: CREDENTIAL_TTL,
            admin: (!socket_fits).then(|| SocketAddr::from(([127, 0, 0, 1], 0))),
            state_of_the_world: false,
            modules: Some(self.modules.clone()),
            zone,
        }
    }

    async fn end_one(&self, proxy: &ProxyKey, mut child: Child) {
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(END_MAX, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
        leftovers::forget(&self.home(proxy));
    }

    fn home(&self, proxy: &ProxyKey) -> PathBuf {
        self.folder.join(proxy.to_string().replace('/', "-"))
    }
}

/// Name of the file with what an Envoy says.
const LOG: &str = "envoy.log";
/// Name of the file in which an Envoy says where its admin pages are.
const ADMIN: &str = "envoy-admin.address";

/// The admin pages of the Envoy in `home`, once it has them.
fn admin(home: &Path) -> Option<Server> {
    let text = std::fs::read_to_string(home.join(ADMIN)).ok()?;
    Some(if text.parse::<SocketAddr>().is_ok() { Server::Tcp(text) } else { Server::Unix(text.into()) })
}

/// Runs `envoy` so that it ends when we do, also when we are killed. Where there is no `setpriv` (util-linux), the next run ends it.
fn ending_with_us(envoy: &Path) -> Command {
    let setpriv = [Path::new("/usr/bin/setpriv"), Path::new("/bin/setpriv")].into_iter().find(|path| path.is_file());
    let Some(setpriv) = setpriv else { return Command::new(envoy) };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "TERM"]).arg(envoy);
    command
}
