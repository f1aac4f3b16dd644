//! Ours: the rooms of the product that hold and serve, and in place of those before them a list of resources of which
//! one changes when a line on standard input says so. Ends with its input.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, bail, ensure};
use clap::Parser;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use rustix::time::{ClockId, clock_gettime};
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windrose_bench::command::Command;
use windrose_bench::content::Content;
use windrose_bench::credentials;
use windrose_pki::{CredentialProblem, NodeAuthority, NodeIdentity};
use windrose_state::{Accepted, Desired, KindMap, Observed, ResourceSet, Scope};
use windrose_xds_serve::{Counters, Identify, Peer, Refusal, Settings, Tls, Xds};

#[derive(Debug, Parser)]
struct Args {
    /// What is served.
    #[arg(long, value_enum)]
    kind: Content,
    /// How many of them.
    #[arg(long)]
    resources: usize,
    /// The folder with the certificates of the run.
    #[arg(long)]
    pki: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut world = World::new(args.kind, args.resources)?;
    let authority = credentials::authority(&args.pki)?;
    let (chain, key) = credentials::server(&args.pki)?;
    let tls = Tls::new(chain, &key, std::slice::from_ref(authority.root()))?;
    let listener = runtime.block_on(windrose_xds_serve::bind("127.0.0.1:0".parse()?))?;
    answer(&format!("listening {}", listener.local_addr()?))?;
    let xds = Xds {
        desired: world.desired.reader(),
        accepted: Arc::new(Accepted::new()),
        observed: Arc::new(Observed::new()),
        identify: Arc::new(Nodes { authority, changes: watch::Sender::new(0) }),
        clock: Arc::new(SystemTime::now),
        counters: Arc::new(Counters::default()),
        settings: Settings::default(),
    };
    let stop = CancellationToken::new();
    let served = runtime.spawn(windrose_xds_serve::serve(listener, tls, xds, stop.clone()));
    for line in std::io::stdin().lock().lines() {
        obey(&line?, &mut world)?;
    }
    stop.cancel();
    Ok(runtime.block_on(served)?)
}

fn obey(line: &str, world: &mut World) -> anyhow::Result<()> {
    let command = Command::parse(line).with_context(|| format!("no such command: {line:?}"))?;
    let rest = match command {
        Command::Change { index, revision } => {
            world.change(index, revision)?;
            revision.to_string()
        }
        Command::Usage => cpu_microseconds().to_string(),
        Command::Collect => String::new(),
        Command::About => format!("windrose {}, rooms state, session, serve and pki", env!("CARGO_PKG_VERSION")),
    };
    answer(format!("{} {rest}", command.answer()).trim_end())
}

fn answer(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// What the process has used, user and system.
fn cpu_microseconds() -> i64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec * 1_000_000 + used.tv_nsec / 1_000
}

/// What all proxies of the one scope should have.
struct World {
    content: Content,
    scope: Scope,
    resources: ResourceSet,
    desired: Desired,
}

impl World {
    fn new(content: Content, count: usize) -> anyhow::Result<Self> {
        let mut resources = ResourceSet::new();
        for index in 0..count {
            resources.insert(content.resource(index, 0));
        }
        let mut world = Self { content, scope: credentials::proxy().into(), resources, desired: Desired::new() };
        world.publish()?;
        Ok(world)
    }

    fn change(&mut self, index: usize, revision: u32) -> anyhow::Result<()> {
        ensure!(index < self.resources.len(), "there is no resource {index}");
        self.resources.insert(self.content.resource(index, revision));
        self.publish()
    }

    fn publish(&mut self) -> anyhow::Result<()> {
        match self.desired.publish(&self.scope, &self.resources, &KindMap::new())? {
            windrose_state::Published::Changed => Ok(()),
            windrose_state::Published::Unchanged => bail!("a change that changes nothing"),
        }
    }
}

/// The node authority behind the port, as the product connects them; nobody is revoked here.
struct Nodes {
    authority: NodeAuthority,
    changes: watch::Sender<u64>,
}

fn admit(identity: Result<NodeIdentity, CredentialProblem>) -> Result<Peer, Refusal> {
    let identity = identity.map_err(|problem| Refusal::Wrong(problem.to_string()))?;
    Ok(Peer {
        identity: format!("{}#{}", identity.proxy, identity.credential).into(),
        proxy: identity.proxy,
        credential: identity.credential,
        issued_at: identity.issued_at,
        expires_at: identity.expires_at,
        zone: None,
    })
}

impl Identify for Nodes {
    fn by_certificate<'a>(&'a self, certificate: &'a CertificateDer<'static>, now: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>> {
        ready(admit(self.authority.identify_certificate(certificate, now))).boxed()
    }

    fn by_token<'a>(&'a self, token: &'a str, now: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>> {
        ready(admit(self.authority.identify_token(token, now))).boxed()
    }

    fn is_revoked(&self, _: &Peer) -> bool {
        false
    }

    fn revocations(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
