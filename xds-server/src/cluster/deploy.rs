//! Which Envoys the Gateways should have, from the plan; the leader puts them there.

mod parameters;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windrose_api::declared::gateway::{CONTROLLER, GatewayAddress};
use windrose_api::declared::{Gateway, GatewayClass, Namespace, Object, Objects};
use windrose_api::policy::GatewayParameters;
use windrose_envoy::bootstrap::{self, AdminPages, Identity, Server, Settings};
use windrose_kube::deploy::{Applier, BOOTSTRAP_FOLDER, Carries, Envoys, For, Made, RUN_FOLDER, Service, TOKEN_FOLDER, Wanted};
use windrose_kube::names;
use windrose_kube::source::World;
use windrose_plan::{Edge, FLEET_ANNOTATION, GATEWAY_ANNOTATION, OpenPort, READY_PORT};
use windrose_vocab::{Kind, ObjectKey, ProxyKey, ProxyRole, Text};

use super::identity::Shared;
use super::{Sight, while_leading};
use crate::pipeline::Picture;
use sweep::{There, sweep};

/// Why the Envoys of a Gateway could not be put into the cluster.
pub(crate) type Problems = BTreeMap<ObjectKey, String>;

/// What the cluster refused.
type Refused = BTreeMap<For, Problem>;

/// Why something could not be put into the cluster, and whom that concerns.
#[derive(Clone)]
struct Problem {
    gateways: BTreeSet<ObjectKey>,
    why: String,
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two tries after the cluster refused something.
const RETRY: Duration = Duration::from_secs(5);
/// How long the first Envoys wait until it is known which Pods are going away: a list of them takes less, and one that is going must not
/// get its listeners back.
const PODS_AWAITED: Duration = Duration::from_secs(3);
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
    let mut refused = Refused::new();
    end.run_until_cancelled(pods_known(sight.made.clone())).await;
    loop {
        let failed = !refused.is_empty();
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
        shared.keep_accounts(&picture);
        if !sight.leads() {
            (applier, looked) = (Applier::default(), None);
            continue;
        }
        if is_on_trial(&picture) {
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
            forget_deleted(&mut applier, &made, &made_now);
            (made, looked) = (made_now, None);
        }
        let world = sight.worlds.borrow().clone();
        let again = failed && tried.elapsed() >= RETRY;
        // Most of what wakes us concerns no Envoys: routes, what proxies answer, and statuses that were written.
        let look = Some(Basis::of(&picture, &world));
        if look == looked && !again {
            continue;
        }
        looked = look;
        if again {
            tried = tokio::time::Instant::now();
        }
        let write = write(&sight, &mut applier, &place, (&picture, &world, &made), Some(&refused).filter(|_| !again));
        match end.run_until_cancelled(while_leading(sight.leads.clone(), write)).await {
            Some(Some(outcome)) => refused = outcome,
            Some(None) => (applier, looked) = (Applier::default(), None),
            None => return,
        }
        tell(&refused, &tells);
        end.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

/// Returns once Pods are known, or do not become so.
async fn pods_known(mut made: watch::Receiver<Arc<Made>>) {
    let is_known = async { made.wait_for(|made| made.complete).await.is_ok() };
    if tokio::time::timeout(PODS_AWAITED, is_known).await.is_err() {
        tracing::warn!("which Pods are going away is not known yet; their Envoys may serve until it is");
    }
}

/// Puts there what is wanted and takes away what is not; what the cluster refuses.
async fn write(
    sight: &Sight,
    applier: &mut Applier,
    place: &Place,
    (picture, world, made): (&Picture, &World, &Made),
    before: Option<&Refused>,
) -> Refused {
    let wanted = wanted(picture, world, place);
    let mut refused = put(sight, applier, &wanted, (picture, world), before).await;
    let there = There { all: &wanted, picture, world, made, refused: &refused };
    let kept = sweep(sight, &there).await;
    refused.extend(kept);
    refused
}

/// Whether it is only being tried whose Envoys are where: that is put nowhere.
fn is_on_trial(picture: &Picture) -> bool {
    let decides = |kind: Kind| matches!(kind, Kind::Gateway | Kind::GatewayClass | Kind::GatewayParameters | Kind::ListenerSet);
    picture.on_trial && picture.refused.objects.keys().any(|version| decides(version.object.kind))
}

/// Tells what the cluster refused, by the Gateways that it concerns, if that changed.
fn tell(refused: &Refused, tells: &watch::Sender<Arc<Problems>>) {
    let of_gateways = refused.values().flat_map(|problem| problem.gateways.iter().map(|gateway| (gateway.clone(), problem.why.clone())));
    let problems: Problems = of_gateways.collect();
    if **tells.borrow() != problems {
        problems.iter().for_each(|(gateway, problem)| tracing::warn!(%gateway, problem, "its Envoys cannot be deployed"));
        tells.send_replace(Arc::new(problems));
    }
}

/// All that [`write()`] goes by, in maps that share what did not change.
#[derive(PartialEq)]
struct Basis {
    edges: OrdMap<ObjectKey, Arc<Edge>>,
    gateways: Objects<Gateway>,
    classes: Objects<GatewayClass>,
    parameters: Objects<GatewayParameters>,
    namespaces: Objects<Namespace>,
    incomplete: bool,
    /// Which Gateways there are, and stay: one that was deleted and made anew is another one.
    standing: Vec<String>,
}

impl Basis {
    fn of(picture: &Picture, world: &World) -> Self {
        let declared = &picture.declared;
        Self {
            edges: picture.plan.edges.clone(),
            gateways: declared.gateways.clone(),
            classes: declared.gateway_classes.clone(),
            parameters: declared.gateway_parameters.clone(),
            namespaces: declared.namespaces.clone(),
            incomplete: declared.incomplete,
            standing: declared.gateways.values().filter_map(|gateway| identity(gateway, world)).cloned().collect(),
        }
    }
}

/// The identity of a Gateway; none of one that is being deleted: what it owns goes with it, and is not made again meanwhile.
fn identity<'a>(gateway: &Object<Gateway>, world: &'a World) -> Option<&'a String> {
    world.seen.get(&gateway.meta.object).filter(|seen| !seen.deleting).map(|seen| &seen.uid)
}

/// The class under which a Gateway is served: of what is shared, that which is in force.
fn class_of<'a>(edge: Option<&'a Edge>, gateway: &'a Object<Gateway>) -> &'a Text {
    match edge {
        Some(edge) if edge.proxy.role == ProxyRole::Fleet => &edge.proxy.object.name,
        Some(_) | None => &gateway.spec.class,
    }
}

/// What the Service of a Gateway is called.
pub(in crate::cluster) fn service_of(edge: Option<&Edge>, gateway: &Object<Gateway>) -> ObjectKey {
    let key = &gateway.meta.object.key;
    ObjectKey::new(key.namespace.clone(), names::of_gateway(&key.name, class_of(edge, gateway)))
}

/// What the Envoys are called that serve a Gateway.
pub(in crate::cluster) fn envoys_of(edge: Option<&Edge>, gateway: &Object<Gateway>) -> ObjectKey {
    match edge {
        Some(edge) if edge.proxy.role == ProxyRole::Fleet => {
            ObjectKey::new(edge.proxy.object.namespace.clone(), names::of_fleet(&edge.proxy.object.name))
        }
        Some(_) | None => service_of(edge, gateway),
    }
}

/// What somebody deleted is put there again.
fn forget_deleted(applier: &mut Applier, former: &Made, made: &Made) {
    let gone: Vec<For> = applier.whole().filter(|wanted| lacks(wanted, former, made)).map(|wanted| wanted.of.clone()).collect();
    gone.iter().for_each(|of| applier.forget(of));
}

/// Whether something of what was made is gone. That a service account is shows by a Deployment that came to a halt: nobody may watch those.
fn lacks(wanted: &Wanted, former: &Made, made: &Made) -> bool {
    let name = ObjectKey::new(wanted.namespace().clone(), wanted.name());
    let problem = |made: &Made| made.deployments.get(&name).and_then(|deployment| deployment.problem.clone());
    let halts = || problem(made).is_some_and(|now| problem(former).as_ref() != Some(&now));
    let envoys = || !made.deployments.contains_key(&name) || !made.bootstraps.contains_key(&name) || halts();
    (wanted.service.is_some() && !made.services.contains_key(&name)) || (wanted.envoys.is_some() && envoys())
}

/// Puts everything there, and takes away what is wanted no more. What the cluster refused before is not tried where it is given.
async fn put(
    sight: &Sight,
    applier: &mut Applier,
    all: &[Wanted],
    (picture, world): (&Picture, &World),
    former: Option<&Refused>,
) -> Refused {
    let mut refused = Refused::new();
    // Envoys come first: no Service leads to some that are not there.
    let (fleets, others): (Vec<&Wanted>, Vec<&Wanted>) = all.iter().partition(|one| matches!(one.of, For::Fleet(_)));
    for of_a_kind in [fleets, others] {
        let mut tried = Vec::new();
        for one in of_a_kind {
            if let Some(problem) = known_problem(one, &refused, former).cloned() {
                refused.insert(one.of.clone(), Problem { gateways: one.owners(), ..problem });
                continue;
            }
            if applier.former(&one.of).is_some_and(|made| made.class != one.class) {
                // Its class is another one: what it had goes once the new runs.
                applier.forget(&one.of);
            }
            tried.push(one);
        }
        let mut whys = applier.apply(&sight.client, tried.iter().copied()).await;
        let problem = |one: &&Wanted| Some((one.of.clone(), Problem { gateways: one.owners(), why: whys.remove(&one.of)? }));
        refused.extend(tried.iter().filter_map(problem));
    }
    let still: BTreeSet<&For> = all.iter().map(|one| &one.of).collect();
    let unwanted: Vec<Wanted> = applier.applied().filter(|made| !still.contains(&made.of)).cloned().collect();
    for made in unwanted.iter().filter(|made| is_left(made, all, &refused, (picture, world))) {
        applier.forget(&made.of);
    }
    refused
}

/// Why something is not tried: its Envoys were refused just now, or it was before.
fn known_problem<'a>(one: &Wanted, refused: &'a Refused, former: Option<&'a Refused>) -> Option<&'a Problem> {
    let fleet = match &one.of {
        For::Member(gateway) => refused.get(&For::Fleet(ObjectKey::new(gateway.namespace.clone(), one.class.clone()))),
        For::Gateway(_) | For::Fleet(_) => None,
    };
    fleet.or_else(|| former.and_then(|former| former.get(&one.of)))
}

/// Whether something that was made and is not wanted is nothing of ours to keep: it goes with its owners, or [`sweep()`] takes it away,
/// at once where they are another controller's, else when something that replaces it runs.
fn is_left(made: &Wanted, all: &[Wanted], refused: &Refused, (picture, world): (&Picture, &World)) -> bool {
    let now = |gateway: &ObjectKey| all.iter().find(|one| one.service.is_some() && one.owners().contains(gateway));
    // Of a Gateway that is ours and for which nothing is wanted, because something is wrong with it, all stays; and what replaces
    // something has to be there.
    let stays = |gateway: &ObjectKey| is_ours(gateway, picture) && now(gateway).is_none_or(|now| refused.contains_key(&now.of));
    let is_there = |gateway: &ObjectKey| picture.declared.gateways.get(gateway).is_some_and(|gateway| identity(gateway, world).is_some());
    !made.owners().iter().any(|gateway| is_there(gateway) && stays(gateway))
}

/// Whether the Gateway is there and not another controller's. One that is wrong keeps its Envoys, and so does one whose class is
/// gone: a class that is made anew must not cost an address.
fn is_ours(gateway: &ObjectKey, picture: &Picture) -> bool {
    let Some(gateway) = picture.declared.gateways.get(gateway) else { return false };
    let class = picture.declared.gateway_classes.get(&ObjectKey::new("", gateway.spec.class.clone()));
    class.is_none_or(|class| *class.spec.controller == *CONTROLLER)
}

/// What all Gateways should have; Envoys that are shared come before the Services that lead to them.
fn wanted(picture: &Picture, world: &World, place: &Place) -> Vec<Wanted> {
    let mut fleets: BTreeMap<&ProxyKey, BTreeMap<Text, String>> = BTreeMap::new();
    let mut of_gateways = Vec::new();
    for (key, edge) in &picture.plan.edges {
        let Some(gateway) = picture.declared.gateways.get(key) else { continue };
        let Some(uid) = identity(gateway, world) else { continue };
        if edge.proxy.role == ProxyRole::Fleet {
            fleets.entry(&edge.proxy).or_default().insert(key.name.clone(), uid.clone());
        }
        if !edge.ports.is_empty() {
            of_gateways.extend(of_gateway(gateway, edge, uid, picture, place));
        }
    }
    // Also a Gateway that is not served just now keeps the Envoys from going with the others.
    for (proxy, owners) in &mut fleets {
        let of_class = picture
            .declared
            .gateways
            .values()
            .filter(|gateway| gateway.meta.object.key.namespace == proxy.object.namespace && gateway.spec.class == proxy.object.name);
        let there = of_class.filter_map(|gateway| Some((gateway, identity(gateway, world)?)));
        owners.extend(there.map(|(gateway, uid)| (gateway.meta.object.key.name.clone(), uid.clone())));
    }
    let mut all: Vec<Wanted> =
        fleets.into_iter().filter_map(|(proxy, owners)| of_fleet(proxy, (owners, &of_gateways), picture, place)).collect();
    all.append(&mut of_gateways);
    all
}

fn of_gateway(gateway: &Object<Gateway>, edge: &Edge, uid: &str, picture: &Picture, place: &Place) -> Option<Wanted> {
    let key = &gateway.meta.object.key;
    let ip = |address: &GatewayAddress| match address {
        GatewayAddress::Ip(ip) => Some(*ip),
        GatewayAddress::Hostname(_) | GatewayAddress::Other(..) => None,
    };
    let envoys = envoys(&edge.proxy, place);
    let class = class_of(Some(edge), gateway);
    let (of, envoys, marks) = match edge.proxy.role {
        ProxyRole::Gateway | ProxyRole::Workload => (For::Gateway(key.clone()), Some(envoys), BTreeMap::new()),
        ProxyRole::Fleet => {
            // By these the planner knows which ports are in force.
            let marks = [(FLEET_ANNOTATION, class.clone()), (GATEWAY_ANNOTATION, key.name.clone())];
            (For::Member(key.clone()), None, BTreeMap::from(marks))
        }
    };
    Some(Wanted {
        of,
        class: class.clone(),
        marks,
        owners: BTreeMap::from([(key.name.clone(), uid.to_owned())]),
        labels: gateway.spec.infrastructure.labels.clone(),
        annotations: gateway.spec.infrastructure.annotations.clone(),
        service: Some(Service {
            ports: edge.ports.iter().map(|port| ((port.declared.get(), carries(*port)), port.bound.get())).collect(),
            addresses: gateway.spec.addresses.iter().filter_map(ip).collect(),
        }),
        envoys,
        parameters: parameters::of_gateway(gateway, class, picture, place)?,
    })
}

fn of_fleet(
    proxy: &ProxyKey,
    (owners, of_gateways): (BTreeMap<Text, String>, &[Wanted]),
    picture: &Picture,
    place: &Place,
) -> Option<Wanted> {
    let parameters = parameters::of_class(&proxy.object.name, picture, place)?;
    let is_of_it = |one: &&Wanted| matches!(one.of, For::Member(_)) && one.class == proxy.object.name;
    let members = of_gateways.iter().filter(|one| *one.namespace() == proxy.object.namespace).filter(is_of_it);
    Some(Wanted {
        of: For::Fleet(proxy.object.clone()),
        class: proxy.object.name.clone(),
        marks: BTreeMap::new(),
        owners,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        service: None,
        envoys: Some(envoys(proxy, place)),
        parameters: parameters::of_shared(parameters, members.map(|one| &one.parameters)),
    })
}

fn carries(port: OpenPort) -> Carries {
    if port.datagrams { Carries::Udp } else { Carries::Tcp }
}

fn envoys(proxy: &ProxyKey, place: &Place) -> Envoys {
    Envoys { bootstrap: bootstrap_of(proxy, place), ready_port: READY_PORT }
}

fn bootstrap_of(proxy: &ProxyKey, place: &Place) -> BTreeMap<String, String> {
    let settings = Settings {
        // Each Pod says its own on its command line.
        node_id: "".into(),
        node_cluster: "".into(),
        metadata: BTreeMap::from([("proxy".into(), proxy.to_string().into())]),
        // Each Pod has another one, which is found by its node.
        zone: None,
        server: place.server.clone(),
        identity: Identity::Token { file: format!("{TOKEN_FOLDER}/token").into(), directory: TOKEN_FOLDER.into() },
        state_of_the_world: false,
        folder: BOOTSTRAP_FOLDER.into(),
        admin: AdminPages::Unix(format!("{RUN_FOLDER}/envoy.sock").into()),
        max_connections: place.max_connections,
    };
    bootstrap::files(&settings).into_iter().map(|(name, text)| (name.to_owned(), text)).collect()
}

#[cfg(test)]
mod tests;
