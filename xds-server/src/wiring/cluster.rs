//! The tasks of a control plane in a Kubernetes cluster.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TrackedFuture;
use windrose_envoy::bootstrap::Server as Reached;
use windrose_kube::lease::{Leadership, Replica};
use windrose_kube::source::{Good, Selection, World};
use windrose_kube::{Client, deploy as kube_deploy, events, lease, limits, source as kube_source, zones};
use windrose_plan::Addresses;
use windrose_replicas::Known;
use windrose_vocab::{Kind, ObjectRef};

use super::follow::OnBug;
use super::{Running, trust_domain};
use crate::args::{Controller, ServerOptions};
use crate::cluster::deploy::Place;
use crate::cluster::identity::{Shared, Tokens};
use crate::cluster::{Sight, admission, deploy, gates, keys, leaving, replicas, source, status, surroundings, trust};
use crate::judges;
use crate::pipeline::Judge;
use crate::source::News;
use crate::state_folder::StateFolder;

/// Connections of one Envoy of a Gateway.
const MAX_CONNECTIONS: u32 = 50_000;

/// Serves a cluster until SIGTERM or Ctrl-C.
pub(crate) async fn serve_cluster(given: &Controller) -> anyhow::Result<()> {
    let cluster = windrose_kube::connect().await?;
    let namespace = given.namespace.clone().unwrap_or_else(|| cluster.namespace.clone());
    let reached = reached(given, &namespace)?;
    let options = options(given, &reached.0);
    let kept_keys = keys::fetch(&cluster.client, &namespace, &options).await?;
    let state = Arc::new(StateFolder::open(&options.common.state)?);
    let lock = state.lock()?;
    let mut running = Running::new(&options, &state)?;
    let held = replicas::remember(&cluster.client, &namespace, &running.last_good, &mut running.remembered).await?;
    let (holding, in_place) = watch::channel(Arc::new(source::referred_in_place(&running.remembered.refused)));
    let end = running.end.clone();
    let (leading, leads) = watch::channel(Leadership::Unknown);
    let shared = Shared::default();
    let (zoning, zones) = watch::channel(None);
    running.tasks.spawn(zones::follow(cluster.client.clone(), zoning, end.child_token()));
    let (client, told) = (cluster.client.clone(), shared.clone());
    let settings = judges::settings(trust_domain(&options)?).with_addresses(Addresses::Assigned);
    let server = running.server(&options, settings, |nodes| Arc::new(Tokens::new(client, nodes, zones, &told)))?;
    running.serve(&server, &options).await?;

    let selection = Selection::new(given.namespace_selector.clone(), &namespace);
    let (worlds, news) = read(&mut running, &cluster.client, selection, (held, in_place));
    let (reports, nodes) = (server.reports.clone(), server.nodes.clone());
    let known = Known { desired: server.xds.desired.clone(), observed: server.xds.observed.clone(), accepted: server.xds.accepted.clone() };
    let (judging, judge) = watch::channel(Judge::Another(None));
    let looks = running.follow(server, (news, judge), OnBug::End);
    let listens = windrose_xds_serve::bind(given.replicas).await.context("--replicas")?;
    let webhook = windrose_xds_serve::bind(given.webhook).await.context("--webhook")?;
    let port = listens.local_addr().context("--replicas")?.port();
    let me = Replica { name: given.name.clone(), listens: given.replica_address.map(|address| SocketAddr::new(address, port)) };
    let writers = Writers::default();
    running.tasks.spawn(lease::hold(cluster.client.clone(), namespace.clone(), me, leading, writers.ended.clone()));
    let (making, made) = watch::channel(Arc::default());
    running.tasks.spawn(kube_deploy::observed(cluster.client.clone(), making, end.child_token()));
    let (telling, problems) = watch::channel(Arc::default());
    let (found, around) = watch::channel(None);
    running.tasks.spawn(surroundings::follow(
        cluster.client.clone(),
        namespace.clone(),
        (worlds.clone(), leads.clone()),
        found,
        end.child_token(),
    ));
    let sight = Sight { client: cluster.client, worlds, reports, looks, made, problems, surroundings: around, leads };
    running.tasks.spawn(source::hold(sight.clone(), holding, end.child_token()));
    join_others(&mut running, &sight, &namespace, (listens, known, judging), &writers);
    let root = running.authority.root_pem();
    let place = place(given, reached, &root);
    running.tasks.spawn(writers.with(deploy::follow(sight.clone(), place, shared.clone(), telling, end.child_token())));
    running.tasks.spawn(gates::follow(sight.clone(), end.child_token()));
    running.tasks.spawn(leaving::follow(sight.clone(), nodes, shared, end.child_token()));
    let names = vec![format!("{}.{namespace}.svc", given.service), format!("{}.{namespace}.svc.cluster.local", given.service)];
    running.tasks.spawn(admission::serve(webhook, (running.authority.clone(), names), sight.worlds.clone(), end.child_token()));
    let state_folder = state.path().to_owned();
    running.tasks.spawn(writers.with(trust::follow(sight.clone(), namespace, (state_folder, kept_keys), root, end.child_token())));
    let (events, writes) = events::events(sight.client.clone(), &given.name, end.child_token());
    running.tasks.spawn(writes);
    running.tasks.spawn(writers.with(status::follow(sight, events, end.child_token())));
    running.tasks.spawn(writers.wait(end.clone()));
    tracing::info!(xds = %options.listen, admin = %options.admin, "serving the cluster");
    let told = running.until_told(None).await;
    running.end().await;
    drop(lock);
    told
}

/// Starts what reads the cluster. `held` are the last good versions of what cannot be read now, and what versions refer to that are in
/// effect in the place of others.
fn read(
    running: &mut Running,
    client: &Client,
    selection: Selection,
    (held, in_place): (Vec<Good>, watch::Receiver<Arc<BTreeSet<ObjectRef>>>),
) -> (watch::Receiver<Arc<World>>, watch::Receiver<Arc<News>>) {
    let (tasks, end) = (&mut running.tasks, &running.end);
    let (events, told) = mpsc::channel(limits::EVENTS_MAX);
    for kind in Kind::ALL {
        tasks.spawn(kube_source::watch::watch(client.clone(), kind, events.clone(), end.child_token()));
    }
    let (world, worlds) = watch::channel(Arc::new(World::default()));
    let known = (held, source::keep(running.last_good.clone()), in_place);
    tasks.spawn(kube_source::follow(client.clone(), (selection, told), world, known, end.child_token()));
    let (reading, news) = watch::channel(Arc::new(News::default()));
    tasks.spawn(source::follow(worlds.clone(), reading, end.child_token()));
    (worlds, news)
}

/// The tasks that write while this replica leads.
#[derive(Default)]
struct Writers {
    running: TaskTracker,
    /// Cancelled when none of them writes any more: only then may another replica lead.
    ended: CancellationToken,
}

impl Writers {
    /// One of them.
    fn with<F: Future>(&self, writer: F) -> TrackedFuture<F> {
        self.running.track_future(writer)
    }

    /// Returns when all of them ended after the end.
    async fn wait(self, end: CancellationToken) {
        end.cancelled().await;
        self.running.close();
        self.running.wait().await;
        self.ended.cancel();
    }
}

/// Starts what ties this replica to the others.
fn join_others(
    running: &mut Running,
    sight: &Sight,
    namespace: &str,
    (listens, known, judging): (TcpListener, Known, watch::Sender<Judge>),
    writers: &Writers,
) {
    let (tasks, end, authority) = (&mut running.tasks, &running.end, &running.authority);
    let (telling, verdicts) = watch::channel(Arc::default());
    tasks.spawn(replicas::follow(authority.clone(), known.observed.clone(), judging, sight.leads.clone(), end.child_token()));
    tasks.spawn(replicas::lead(listens, authority.clone(), known, verdicts, sight.clone(), end.child_token()));
    let told = replicas::tell(sight.clone(), namespace.to_owned(), running.last_good.clone(), telling, end.child_token());
    tasks.spawn(writers.with(told));
}

/// Where Envoys find us, and what they run.
fn place(given: &Controller, (host, port): (String, u16), root: &str) -> Place {
    let server = Reached { host: host.clone().into(), port, name: host.into(), trust: root.into() };
    Place { server, image: given.envoy_image.clone(), max_connections: MAX_CONNECTIONS }
}

/// Host and port by which Envoys reach us.
fn reached(given: &Controller, namespace: &str) -> anyhow::Result<(String, u16)> {
    let Some(advertised) = &given.advertise else {
        return Ok((format!("{}.{namespace}.svc", given.service), given.listen.port()));
    };
    if let Ok(address) = advertised.parse::<SocketAddr>() {
        return Ok((address.ip().to_string(), address.port()));
    }
    let (host, port) = advertised.rsplit_once(':').context("--advertise is HOST:PORT")?;
    Ok((host.to_owned(), port.parse().context("--advertise is HOST:PORT")?))
}

fn options(given: &Controller, name: &str) -> ServerOptions {
    ServerOptions {
        path: "kubernetes".into(),
        listen: given.listen,
        names: vec![name.to_owned(), "windrose".to_owned()],
        admin: given.admin,
        csds: None,
        authority: None,
        common: given.common.clone(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn the_lease_is_kept_until_nothing_writes_any_more() {
        let (writers, end) = (Writers::default(), CancellationToken::new());
        let ended = writers.ended.clone();
        let (written, writing) = oneshot::channel::<()>();
        let (begun, begins) = oneshot::channel();
        tokio::spawn(writers.with(async move {
            begun.send(()).unwrap();
            writing.await.unwrap();
        }));
        begins.await.unwrap();
        let waits = tokio::spawn(writers.wait(end.clone()));
        end.cancel();
        tokio::task::yield_now().await;
        assert!(!ended.is_cancelled(), "something is being written");
        written.send(()).unwrap();
        waits.await.unwrap();
        assert!(ended.is_cancelled());
    }
}
