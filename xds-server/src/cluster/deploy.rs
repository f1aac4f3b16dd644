//! Which Envoys the Gateways should have, from the plan; the leader puts them there.

mod parameters;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windrose_api::declared::gateway::{CONTROLLER, GatewayAddress};
use windrose_envoy::bootstrap::{self, AdminPages, Identity, Server, Settings};
use windrose_kube::deploy::{Applier, BOOTSTRAP_FOLDER, Carries, Made, Owner, RUN_FOLDER, TOKEN_FOLDER, Wanted};
use windrose_kube::source::World;
use windrose_vocab::{Kind, ObjectKey, ObjectRef, ProxyKey, ProxyRole};

use super::Sight;
use super::identity::{Shared, accounts};
use crate::pipeline::Picture;

/// Why the Envoys of a Gateway could not be put into the cluster.
pub(crate) type Problems = BTreeMap<ObjectKey, String>;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two tries after the cluster refused something.
const RETRY: Duration = Duration::from_secs(5);
/// Everything is put there again this often, in case somebody changed it.
const RESYNC: Duration = Duration::from_secs(600);

/// Where Envoys find this server, and what they run.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The server as proxies see it.
    pub(crate) server: Server,
    /// The Envoy image.
    pub(crate) image: Option<String>,
    /// Connections of all listeners of one Envoy together.
    pub(crate) max_connections: u32,
}

/// Follows plans until the end. Every replica keeps the accounts; the leader writes.
pub(crate) async fn follow(mut sight: Sight, place: Place, shared: Shared, tells: watch::Sender<Arc<Problems>>, end: CancellationToken) {
    let mut applier = Applier::default();
    let mut made = Arc::new(Made::default());
    let mut looked = None;
    let mut synced = tokio::time::Instant::now();
    let mut tried = synced;
    loop {
        let failed = !tells.borrow().is_empty();
        let due = async {
            tokio::select! {
                told = sight.changed() => told,
                () = tokio::time::sleep(if failed { RETRY } else { RESYNC }) => Ok(()),
            }
        };
        let Some(Ok(())) = end.run_until_cancelled(due).await else { return };
        let picture = sight.reports.picture.load_full();
        if picture.generation == 0 {
            continue;
        }
        let now = accounts(&picture);
        if **shared.accounts.load() != now {
            shared.accounts.store(Arc::new(now));
        }
        if !sight.leads() {
            (applier, looked) = (Applier::default(), None);
            continue;
        }
        if synced.elapsed() > RESYNC {
            (applier, looked, synced) = (Applier::default(), None, tokio::time::Instant::now());
        }
        let made_now = sight.made.borrow().clone();
        if !made_now.complete {
            continue;
        }
        if made_now != made {
            (made, looked) = (made_now, None);
            forget_deleted(&mut applier, &made);
        }
        let world = sight.worlds.borrow().clone();
        let again = failed && tried.elapsed() >= RETRY;
        // Most of what wakes us concerns no Gateway: what proxies answer, and statuses that were written.
        let look = Some((picture.generation, uids(&picture, &world)));
        if look == looked && !again {
            continue;
        }
        looked = look;
        if again {
            tried = tokio::time::Instant::now();
        }
        let mut problems = put(&sight, &mut applier, &picture, &world, &place, again).await;
        sweep(&sight, &applier, &world, &made, &mut problems).await;
        if **tells.borrow() != problems {
            problems.iter().for_each(|(gateway, problem)| tracing::warn!(%gateway, problem, "its Envoys cannot be deployed"));
            tells.send_replace(Arc::new(problems));
        }
        end.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

/// Which Gateways there are: one that was deleted and made anew is another one.
fn uids(picture: &Picture, world: &World) -> Vec<String> {
    let gateways = picture.declared.gateways.values();
    gateways.filter_map(|gateway| world.seen.get(&gateway.meta.object)).map(|seen| seen.uid.clone()).collect()
}

/// Takes away what was made for Gateways under their former class while no control plane ran, once the new Envoys are there.
async fn sweep(sight: &Sight, applier: &Applier, world: &World, made: &Made, problems: &mut Problems) {
    for (gateway, now) in applier.names().filter(|(gateway, _)| !problems.contains_key(*gateway)).collect::<Vec<_>>() {
        let object = ObjectRef { kind: Kind::Gateway, key: gateway.clone() };
        let Some(seen) = world.seen.get(&object) else { continue };
        if made.deployments.get(&now).is_none_or(|deployment| deployment.available == 0) {
            continue;
        }
        let of_it = made
            .deployments
            .iter()
            .filter(|(there, deployment)| there.namespace == gateway.namespace && **there != now && deployment.owners.contains(&seen.uid));
        let owner = Owner { namespace: gateway.namespace.clone(), uid: seen.uid.clone() };
        for (former, _) in of_it {
            tracing::info!(%gateway, former = %former.name, "taking away what was made under its former class");
            if let Err(problem) = windrose_kube::deploy::sweep(&sight.client, &owner, &former.name).await {
                problems.insert(gateway.clone(), problem);
            }
        }
    }
}

/// What somebody deleted is put there again.
fn forget_deleted(applier: &mut Applier, made: &Made) {
    let gone = applier.names().filter(|(_, name)| !made.services.contains_key(name) || !made.deployments.contains_key(name));
    for gateway in gone.map(|(gateway, _)| gateway.clone()).collect::<Vec<_>>() {
        applier.forget(&gateway);
    }
}

/// `again` also tries what the cluster refused before.
async fn put(sight: &Sight, applier: &mut Applier, picture: &Picture, world: &World, place: &Place, again: bool) -> Problems {
    let mut problems = Problems::new();
    let former = sight.problems.borrow().clone();
    for wanted in picture.plan.programs.keys().filter_map(|proxy| wanted(proxy, picture, world, place)) {
        if let Some(problem) = former.get(&wanted.gateway).filter(|_| !again) {
            problems.insert(wanted.gateway, problem.clone());
            continue;
        }
        if let Err(problem) = applier.apply(&sight.client, &wanted).await {
            problems.insert(wanted.gateway, problem);
        }
    }
    let ours: BTreeSet<ObjectKey> = applier.gateways().filter(|gateway| !is_ours(gateway, picture)).cloned().collect();
    for gateway in ours {
        if !picture.declared.gateways.contains_key(&gateway) {
            applier.forget(&gateway);
        } else if let Err(problem) = applier.withdraw(&sight.client, &gateway).await {
            problems.insert(gateway, problem);
        }
    }
    problems
}

/// Whether the Gateway is there and not another controller's. One that is wrong keeps its Envoys, and so does one whose class is
/// gone: a class that is made anew must not cost an address.
fn is_ours(gateway: &ObjectKey, picture: &Picture) -> bool {
    let Some(gateway) = picture.declared.gateways.get(gateway) else { return false };
    let class = picture.declared.gateway_classes.get(&ObjectKey::new("", gateway.spec.class.clone()));
    class.is_none_or(|class| *class.spec.controller == *CONTROLLER)
}

/// The Envoys of one Gateway; none where it is no Gateway or has no open port.
fn wanted(proxy: &ProxyKey, picture: &Picture, world: &World, place: &Place) -> Option<Wanted> {
    if proxy.role != ProxyRole::Gateway {
        return None;
    }
    let gateway = picture.declared.gateways.get(&proxy.object)?;
    let seen = world.seen.get(&gateway.meta.object)?;
    let program = picture.plan.programs.get(proxy)?;
    let tcp = program.listeners.values().flat_map(|listener| &listener.addresses).map(|address| (address.port(), Carries::Tcp));
    let udp = program.datagram_listeners.values().flat_map(|listener| &listener.addresses).map(|address| (address.port(), Carries::Udp));
    let ports: BTreeSet<(u16, Carries)> = tcp.chain(udp).collect();
    if ports.is_empty() {
        return None;
    }
    let ip = |address: &GatewayAddress| match address {
        GatewayAddress::Ip(ip) => Some(*ip),
        GatewayAddress::Hostname(_) | GatewayAddress::Other(..) => None,
    };
    Some(Wanted {
        gateway: proxy.object.clone(),
        uid: seen.uid.clone(),
        class: gateway.spec.class.clone(),
        ports,
        addresses: gateway.spec.addresses.iter().filter_map(ip).collect(),
        labels: gateway.spec.infrastructure.labels.clone(),
        annotations: gateway.spec.infrastructure.annotations.clone(),
        bootstrap: bootstrap_of(proxy, place),
        parameters: parameters::of(gateway, picture, place)?,
    })
}

fn bootstrap_of(proxy: &ProxyKey, place: &Place) -> BTreeMap<String, String> {
    let settings = Settings {
        // Each Pod says its own on its command line.
        node_id: "".into(),
        node_cluster: "".into(),
        metadata: BTreeMap::from([("proxy".into(), proxy.to_string().into())]),
        server: place.server.clone(),
        identity: Identity::Token { file: format!("{TOKEN_FOLDER}/token").into(), directory: TOKEN_FOLDER.into() },
        state_of_the_world: false,
        folder: BOOTSTRAP_FOLDER.into(),
        admin: AdminPages::Unix(format!("{RUN_FOLDER}/envoy.sock").into()),
        max_connections: place.max_connections,
    };
    bootstrap::files(&settings).into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}
