//! What Gateways had under their former class, or before they shared Envoys, and what those had that are another controller's by now:
//! taken away once nobody needs it, also what was made by a replica that is gone.

use std::collections::{BTreeMap, BTreeSet};

use windrose_kube::deploy::{self, DeploymentMade, For, Made, Owner, ServiceMade, Sweep, Wanted};
use windrose_kube::source::World;
use windrose_vocab::{Kind, ObjectKey, ObjectRef};

use super::{Problem, Refused, envoys_of, is_ours, service_of};
use crate::cluster::Sight;
use crate::pipeline::Picture;

/// What is wanted and what is there.
pub(super) struct There<'a> {
    pub(super) all: &'a [Wanted],
    pub(super) picture: &'a Picture,
    pub(super) world: &'a World,
    pub(super) made: &'a Made,
    pub(super) refused: &'a Refused,
}

/// Something that nobody needs any more.
struct Left<'a> {
    of: For,
    owners: Vec<Owner>,
    name: &'a ObjectKey,
    what: Sweep,
}

/// What was made for one Gateway.
#[derive(Default)]
struct Had<'a> {
    services: Vec<&'a ObjectKey>,
    envoys: Vec<&'a ObjectKey>,
}

impl<'a> Had<'a> {
    /// All but that Service and those Envoys; who sends traffic goes first.
    fn but(&self, kept: Option<(&ObjectKey, &ObjectKey)>) -> impl Iterator<Item = (&'a ObjectKey, Sweep)> {
        let services = self.services.iter().filter(move |name| kept.is_none_or(|(service, _)| **name != service));
        let envoys = self.envoys.iter().filter(move |name| kept.is_none_or(|(_, envoys)| **name != envoys));
        services.map(|name| (*name, Sweep::Service)).chain(envoys.map(|name| (*name, Sweep::Envoys)))
    }
}

/// Takes it away; what the cluster refuses.
pub(super) async fn sweep(sight: &Sight, there: &There<'_>) -> Refused {
    let mut refused = Refused::new();
    for Left { of, owners, name, what } in there.all_left() {
        if refused.contains_key(&of) {
            // No Service is left without the Envoys that it leads to.
            continue;
        }
        tracing::info!(%name, ?what, "taking away what was made before");
        if let Err(why) = deploy::sweep(&sight.client, &owners, name, what).await {
            let gateways = match &of {
                For::Gateway(gateway) | For::Member(gateway) => BTreeSet::from([gateway.clone()]),
                For::Fleet(_) => there.all.iter().find(|one| one.of == of).map(Wanted::owners).unwrap_or_default(),
            };
            if gateways.is_empty() {
                tracing::warn!(%name, why, "what was made before cannot be taken away; trying again");
            }
            refused.insert(of, Problem { gateways, why });
        }
    }
    refused
}

impl There<'_> {
    /// The names of what would be taken away.
    #[cfg(test)]
    pub(super) fn left(&self) -> impl Iterator<Item = (&ObjectKey, Sweep)> {
        self.all_left().into_iter().map(|left| (left.name, left.what))
    }

    fn all_left(&self) -> Vec<Left<'_>> {
        let had = self.had();
        let mut left = self.of_gateways(&had);
        left.extend(self.of_others(&had));
        left.extend(self.of_fleets());
        left
    }

    /// What was made for each Gateway, by namespace and identity: a Gateway owns nothing in another namespace, whatever an object
    /// there says.
    fn had(&self) -> BTreeMap<(&str, &str), Had<'_>> {
        let mut all: BTreeMap<(&str, &str), Had<'_>> = BTreeMap::new();
        for (name, service) in &self.made.services {
            service.owner.iter().for_each(|owner| all.entry((&name.namespace, owner)).or_default().services.push(name));
        }
        for (name, deployment) in &self.made.deployments {
            deployment.owner.iter().for_each(|owner| all.entry((&name.namespace, owner)).or_default().envoys.push(name));
        }
        all
    }

    /// Of Gateways that are another controller's by now.
    fn of_others<'a>(&'a self, had: &BTreeMap<(&str, &str), Had<'a>>) -> Vec<Left<'a>> {
        let others = self.picture.declared.gateways.values().filter(|gateway| !is_ours(&gateway.meta.object.key, self.picture));
        let mut left = Vec::new();
        for gateway in others {
            let key = &gateway.meta.object.key;
            let Some(seen) = self.world.seen.get(&gateway.meta.object).filter(|seen| !seen.deleting) else { continue };
            let Some(had) = had.get(&(&*key.namespace, &*seen.uid)) else { continue };
            let owner = Owner { namespace: key.namespace.clone(), uid: seen.uid.clone() };
            left.extend(had.but(None).map(|(name, what)| Left { of: For::Gateway(key.clone()), owners: vec![owner.clone()], name, what }));
        }
        left
    }

    fn of_gateways<'a>(&'a self, all: &BTreeMap<(&str, &str), Had<'a>>) -> Vec<Left<'a>> {
        let mut left = Vec::new();
        for one in self.all.iter().filter(|one| one.service.is_some()) {
            let Some(uid) = one.owners.values().next() else { continue };
            let Some(had) = all.get(&(&**one.namespace(), &**uid)) else { continue };
            if had.services.len() <= 1 && had.envoys.len() <= usize::from(one.envoys.is_some()) {
                continue;
            }
            let Some((service, envoys)) = self.replaced_by(one) else { continue };
            if self.waits_for_address(one, &service, &had.services) {
                continue;
            }
            let owner = Owner { namespace: one.namespace().clone(), uid: uid.clone() };
            let found = had.but(Some((&service, &envoys)));
            left.extend(found.map(|(name, what)| Left { of: one.of.clone(), owners: vec![owner.clone()], name, what }));
        }
        left
    }

    fn of_fleets(&self) -> Vec<Left<'_>> {
        // In a namespace that is left out, or not known yet, nobody knows who shares them, and they may be another control plane's.
        let is_shared = |name: &ObjectKey, one: &DeploymentMade| !one.shared_by.is_empty() && self.world.counts(&name.namespace);
        let shared: Vec<_> = self.made.deployments.iter().filter(|(name, one)| is_shared(name, one)).collect();
        if shared.is_empty() || self.picture.declared.incomplete || !self.world.kept.is_empty() {
            return Vec::new();
        }
        let first = ObjectRef { kind: Kind::Gateway, key: ObjectKey::new("", "") };
        let seen = self.world.seen.range(first..).take_while(|(object, _)| object.kind == Kind::Gateway);
        let gateways: BTreeMap<&str, (&ObjectKey, bool)> = seen.map(|(object, seen)| (&*seen.uid, (&object.key, seen.deleting))).collect();
        let needs = |uid: &String, fleet: &ObjectKey| {
            // With a Gateway that is being deleted goes what it owns, unless it is to stay.
            gateways.get(&**uid).is_some_and(|(gateway, deleting)| *deleting || self.needs(gateway, fleet))
        };
        let unneeded = shared.into_iter().filter(|(name, one)| !one.shared_by.iter().any(|uid| needs(uid, name)));
        let left = unneeded.map(|(name, one)| {
            let owner = |uid: &String| Owner { namespace: name.namespace.clone(), uid: uid.clone() };
            Left { of: For::Fleet(name.clone()), owners: one.shared_by.iter().map(owner).collect(), name, what: Sweep::Envoys }
        });
        left.collect()
    }

    /// The names of the Service and the Envoys of a Gateway, once they are what it wants and its Envoys run.
    fn replaced_by(&self, one: &Wanted) -> Option<(ObjectKey, ObjectKey)> {
        let gateway = one.owners().into_iter().next()?;
        let (edge, declared) = (self.picture.plan.edges.get(&gateway)?, self.picture.declared.gateways.get(&gateway)?);
        let (service, envoys) = (service_of(Some(edge), declared), envoys_of(Some(edge), declared));
        let runs = self.made.deployments.get(&envoys).is_some_and(|deployment| deployment.available > 0);
        (runs && self.made.services.contains_key(&service) && !self.refused.contains_key(&one.of)).then_some((service, envoys))
    }

    /// Whether clients may still come by a former address. One that is asked for may be that which the former Service has.
    fn waits_for_address(&self, one: &Wanted, service: &ObjectKey, former: &[&ObjectKey]) -> bool {
        let is_reached = |name: &ObjectKey| self.made.services.get(name).is_some_and(ServiceMade::is_reached);
        let asks = one.service.as_ref().is_some_and(|service| !service.addresses.is_empty());
        !asks && !is_reached(service) && former.iter().any(|name| *name != service && is_reached(name))
    }

    /// Whether a Gateway may need these shared Envoys: until others run for it. Of one for which nothing is wanted nobody knows.
    fn needs(&self, gateway: &ObjectKey, fleet: &ObjectKey) -> bool {
        if self.picture.declared.gateways.contains_key(gateway) && !is_ours(gateway, self.picture) {
            return false;
        }
        let of_it = |one: &&Wanted| one.service.is_some() && one.owners().contains(gateway);
        let now = self.all.iter().find(of_it).and_then(|one| self.replaced_by(one));
        now.is_none_or(|(_, envoys)| envoys == *fleet)
    }
}
