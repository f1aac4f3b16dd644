//! The tasks of a control plane in a Kubernetes cluster.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use windrose_envoy::bootstrap::Server as Reached;
use windrose_kube::events::Events;
use windrose_kube::lease::Leadership;
use windrose_kube::source::World;
use windrose_kube::{deploy as kube_deploy, lease, limits, source as kube_source};
use windrose_plan::Addresses;
use windrose_vocab::Kind;

use super::{Running, trust_domain};
use crate::args::{Controller, ServerOptions};
use crate::cluster::deploy::Place;
use crate::cluster::identity::{Shared, Tokens};
use crate::cluster::{Sight, admission, deploy, gates, keys, leaving, source, status, trust};
use crate::judges;
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
    keys::fetch(&cluster.client, &namespace, &options).await?;
    let state = Arc::new(StateFolder::open(&options.common.state)?);
    let lock = state.lock()?;
    let mut running = Running::new(&options, &state)?;
    let end = running.end.clone();
    let (leading, leads) = watch::channel(Leadership::Unknown);
    let shared = Shared::default();
    let (client, told, known) = (cluster.client.clone(), shared.clone(), leads.clone());
    let settings = judges::settings(trust_domain(&options)?).with_addresses(Addresses::Assigned);
    let server = running.server(&options, settings, |nodes| Arc::new(Tokens::new(client, nodes, &told, known)))?;
    running.serve(&server, &options).await?;

    let (world, worlds) = watch::channel(Arc::new(World::default()));
    let (events, told) = mpsc::channel(limits::EVENTS_MAX);
    for kind in Kind::ALL {
        running.tasks.spawn(kube_source::watch::watch(cluster.client.clone(), kind, events.clone(), end.child_token()));
    }
    drop(events);
    running.tasks.spawn(kube_source::follow(cluster.client.clone(), told, world, end.child_token()));
    let (reading, news) = watch::channel(Arc::new(News::default()));
    running.tasks.spawn(source::follow(worlds.clone(), reading, end.child_token()));

    let (reports, nodes) = (server.reports.clone(), server.nodes.clone());
    let looks = running.follow(server, news);
    running.tasks.spawn(lease::hold(cluster.client.clone(), namespace.clone(), given.name.clone(), leading, end.child_token()));
    let (making, made) = watch::channel(Arc::default());
    running.tasks.spawn(kube_deploy::observed(cluster.client.clone(), making, end.child_token()));
    let sight = Sight { client: cluster.client, worlds, reports, looks, made, problems: Arc::default(), leads };
    let root = running.authority.root_pem();
    let place = Place {
        server: Reached { host: reached.0.clone().into(), port: reached.1, name: reached.0.into(), trust: root.clone().into() },
        image: given.envoy_image.clone(),
        max_connections: MAX_CONNECTIONS,
    };
    running.tasks.spawn(deploy::follow(sight.clone(), place, shared.clone(), end.child_token()));
    running.tasks.spawn(gates::follow(sight.clone(), end.child_token()));
    running.tasks.spawn(leaving::follow(sight.clone(), nodes, shared, end.child_token()));
    let webhook = windrose_xds_serve::bind(given.webhook).await.context("--webhook")?;
    let names = vec![format!("{}.{namespace}.svc", given.service), format!("{}.{namespace}.svc.cluster.local", given.service)];
    running.tasks.spawn(admission::serve(webhook, running.authority.clone(), names, end.child_token()));
    let state_folder = state.path().to_owned();
    running.tasks.spawn(trust::follow(sight.clone(), namespace, state_folder, root, end.child_token()));
    let events = Events::new(sight.client.clone(), &given.name);
    running.tasks.spawn(status::follow(sight, events, end.child_token()));
    tracing::info!(xds = %options.listen, admin = %options.admin, "serving the cluster");
    let told = running.until_told(None).await;
    running.end().await;
    drop(lock);
    told
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
