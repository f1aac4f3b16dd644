//! From what is declared to what is served: plan, render, publish, each at the cost of what changed. Knows no files and
//! no sockets; the owner hands in worlds, news of proxies and the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use imbl::ordmap::DiffItem;
use windrose_admin::report::CertificateReport;
use windrose_api::Declared;
use windrose_api::declared::Changed;
use windrose_envoy::{Modules, VersionKey};
use windrose_ir::Program;
use windrose_plan::{Plan, Planner, Refused, Settings};
use windrose_replicas::Verdicts;
use windrose_state::{Accepted, Desired, DesiredReader, Scope};
use windrose_vocab::{Fingerprint, Kind, ObjectVersion, ProxyKey, ProxyRole, ResourceId, Text};

use crate::carried::Carried;
use crate::ends::{self, Ends};
use crate::identities::Nodes;
use crate::last_good::{LastGood, Remembered};
use crate::refusals::{self, Evidence, Refusals};
use crate::revocations::Absences;
use crate::svids::Svids;
use bugs::Bug;
use publish::{Served, with_classes};

mod bugs;
mod checks;
mod pairs;
mod publish;
mod standing;

/// What is served now, for reports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Picture {
    /// Counts the worlds and refusals that were planned; 0 before the first.
    pub(crate) generation: u64,
    /// When it was published.
    pub(crate) published: Option<SystemTime>,
    /// What is declared.
    pub(crate) declared: Declared,
    /// Which versions are not planned: Envoy refused them, or they cannot be used.
    pub(crate) refused: Refused,
    /// What follows from it.
    pub(crate) plan: Plan,
    /// What former versions of resources carried.
    pub(crate) carried: Carried,
    /// The certificates that are made here, with their ends.
    pub(crate) certificates: Arc<Vec<CertificateReport>>,
    /// Those that are declared.
    pub(crate) declared_certificates: Arc<Vec<CertificateReport>>,
    /// Whether that is what we decided, not another replica.
    pub(crate) judged_here: bool,
    /// Some of what is refused is only being tried.
    pub(crate) on_trial: bool,
    /// What is planned and not served, because it is not complete in itself, and why.
    pub(crate) unpublished: Arc<BTreeMap<Scope, String>>,
    /// Proxies that nothing is planned for just now, and whose streams go on.
    pub(crate) standing: Arc<BTreeSet<ProxyKey>>,
}

impl Picture {
    /// Why a proxy is not served what is planned for it, if so.
    pub(crate) fn unpublished(&self, proxy: &ProxyKey) -> Option<&str> {
        let scopes = self.unpublished.range(Scope::from(proxy.clone())..);
        scopes.take_while(|(scope, _)| scope.proxy == *proxy).map(|(_, error)| error.as_str()).next()
    }
}

/// What the pipeline stands on.
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) modules: Modules,
    pub(crate) version_key: VersionKey,
    pub(crate) svids: Svids,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) absences: Absences,
    pub(crate) desired: Desired,
    pub(crate) accepted: Arc<Accepted>,
    pub(crate) last_good: Arc<LastGood>,
    pub(crate) picture: Arc<ArcSwap<Picture>>,
}

/// Who decides which versions are refused: one for all replicas of a control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Judge {
    /// We do.
    #[default]
    Ourselves,
    /// Another replica, that has said this, as [`LastGood::share`] writes it; nothing yet where none.
    Another(Option<Arc<Verdicts>>),
}

/// The one owner of the plan and of what is published.
pub(crate) struct Pipeline {
    parts: Parts,
    reader: DesiredReader,
    planner: Planner,
    refused: Refused,
    /// What was refused last while nothing was on trial.
    settled: Refused,
    /// What we fail on, which a bug of ours makes us set aside.
    bugs: Refused,
    /// What cannot be used as it is, and goes on as it was.
    checks: Refused,
    /// Something could not be rendered.
    stumbled: Option<Bug>,
    judge: Judge,
    refusals: Refusals,
    carried: Carried,
    declared: Declared,
    plan: Plan,
    served: BTreeMap<Scope, Served>,
    certificates: Arc<Vec<CertificateReport>>,
    ends: Ends,
    declared_certificates: Arc<Vec<CertificateReport>>,
    unpublished: Arc<BTreeMap<Scope, String>>,
    standing: Arc<BTreeSet<ProxyKey>>,
    /// The program of who has to close all: one for all scopes, so that zones know it from their class.
    nothing: Arc<Program>,
    generation: u64,
    published: Option<SystemTime>,
}

impl Pipeline {
    /// A pipeline that has planned nothing yet, and knows what was good and refused before a restart.
    pub(crate) fn new(parts: Parts, remembered: Remembered) -> Self {
        Self {
            reader: parts.desired.reader(),
            planner: Planner::new(parts.settings.clone()),
            refused: remembered.refused.clone(),
            settled: remembered.refused.clone(),
            bugs: Refused::default(),
            checks: Refused::default(),
            stumbled: None,
            judge: Judge::default(),
            refusals: Refusals::after_restart(remembered),
            carried: Carried::default(),
            declared: Declared::default(),
            plan: Plan::default(),
            served: BTreeMap::new(),
            certificates: Arc::default(),
            ends: Ends::default(),
            declared_certificates: Arc::default(),
            unpublished: Arc::default(),
            standing: Arc::default(),
            nothing: Arc::default(),
            generation: 0,
            published: None,
            parts,
        }
    }

    /// Takes a new world.
    pub(crate) fn declare(&mut self, declared: Declared, changed: &Changed, now: SystemTime) {
        self.refusals.before(&self.declared, &declared, changed, &self.not_planned());
        self.refusals.take_up(&declared);
        self.declared = declared;
        self.check(changed);
        self.note_judged();
        self.replan(changed, now);
    }

    /// Serves scopes that were asked for and are not served yet.
    pub(crate) fn follow_demand(&mut self, now: SystemTime) {
        if self.generation == 0 {
            return;
        }
        let before = Arc::clone(&self.unpublished);
        let (asked, plan) = (self.reader.take_asked(), self.plan.clone());
        for scope in with_classes(&asked) {
            self.publish_scope(&scope, &plan, now);
        }
        for proxy in asked.iter().map(|scope| &scope.proxy).collect::<BTreeSet<_>>() {
            self.retire(proxy);
        }
        // Told as unpublished; what changes next is not to blame for it.
        self.stumbled = None;
        if before != self.unpublished {
            self.show();
        }
    }

    /// Looks at what proxies refused, and plans the last good version of what caused it. Looks again after each plan: what it
    /// makes may have been answered before, and then no proxy answers once more.
    pub(crate) fn follow_observed(&mut self, streams: &[windrose_state::StreamStatus], now: SystemTime) {
        if self.generation == 0 || self.judge != Judge::Ourselves {
            return;
        }
        let was_on_trial = self.refusals.is_trying();
        loop {
            let found = self.look(streams, now);
            let is_over = found.is_none();
            if let Some((refused, changed)) = found {
                self.refused = refused;
                self.replan(&changed, now);
            }
            let served = &self.served;
            self.refusals.asked(&|scope, id| version(served, scope, id));
            if is_over {
                break;
            }
        }
        // Verdicts only: suspects of a trial that a restart cuts short would stay set aside.
        if !self.refusals.is_trying() {
            self.settle();
        }
        if was_on_trial != self.refusals.is_trying() {
            self.show();
        }
    }

    fn settle(&mut self) {
        self.settled = self.refused.clone();
        self.note_refused();
    }

    /// Takes note of who decides what is refused, and plans without what another one refuses. Whoever takes over, or hears nothing any
    /// more, begins with what was decided last: what was on trial is tried anew.
    pub(crate) fn follow_judge(&mut self, judge: Judge, now: SystemTime) {
        if judge == self.judge {
            return;
        }
        let told = match &judge {
            Judge::Ourselves => Some((self.settled.clone(), true)),
            Judge::Another(None) => (self.refused != self.settled).then(|| (self.settled.clone(), true)),
            Judge::Another(Some(verdicts)) => {
                let known = |version: &ObjectVersion| {
                    let declared = self.declared.get(&version.object).filter(|object| object.meta().version == version.version);
                    declared.or_else(|| self.refusals.remembered(version))
                };
                let refused = self.parts.last_good.take(&verdicts.content, known);
                if refused.is_none() {
                    tracing::error!("what the leader refuses cannot be read; what was refused before stays so");
                }
                refused.map(|refused| (refused, !verdicts.on_trial))
            }
        };
        self.judge = judge;
        self.refusals.leave_off();
        let mut changed = Changed::default();
        if let Some((refused, is_settled)) = told {
            changed = refusals::difference(&self.refused, &refused);
            self.refused = refused;
            if is_settled {
                self.settle();
            }
        }
        match self.generation {
            0 => {}
            _ if changed.objects.is_empty() => self.show(),
            _ => self.replan(&changed, now),
        }
    }

    fn look(&mut self, streams: &[windrose_state::StreamStatus], now: SystemTime) -> Option<(Refused, Changed)> {
        let served = &self.served;
        // What proxies are sent, and may refuse.
        let declared = pairs::in_use(&self.declared, &self.checks);
        let evidence = Evidence {
            streams,
            plan: &self.plan,
            declared: &declared,
            accepted: &self.parts.accepted,
            carried: &self.carried,
            refused: &self.refused,
            desired: &|scope, id| version(served, scope, id),
            now,
        };
        self.refusals.look(&evidence)
    }

    /// Whether [`Self::follow_observed`] may find something although no proxy says anything.
    pub(crate) fn is_waiting(&self) -> bool {
        self.refusals.is_waiting()
    }

    /// Renews certificates whose slot is over, and publishes what could not be published for want of one.
    pub(crate) fn follow_time(&mut self, now: SystemTime) {
        if self.generation == 0 {
            return;
        }
        // Of several replicas the one that decides renews it, and the others look for what it made.
        match self.judge {
            Judge::Ourselves => self.parts.svids.renew_authority(now),
            Judge::Another(_) => self.parts.svids.follow_authority(now),
        }
        self.follow_absences(now);
        let before = Arc::clone(&self.unpublished);
        let due = self.parts.svids.due(now);
        let is_due = |proxy: &ProxyKey| !due.is_empty() && self.plan.identities.get(proxy).is_some_and(|one| due.contains(one));
        let scopes = self.served.keys().filter(|scope| self.unpublished.contains_key(*scope) || is_due(&scope.proxy));
        for scope in scopes.cloned().collect::<Vec<_>>() {
            self.publish_served(&scope, now);
        }
        if before != self.unpublished || self.parts.svids.has_other_ends() {
            self.show();
        }
    }

    fn replan(&mut self, changed: &Changed, now: SystemTime) {
        // Before anything of the new plan gets a certificate.
        if self.judge == Judge::Ourselves {
            self.parts.svids.renew_authority(now);
        }
        let first = self.generation == 0;
        let plan = self.plan_around_bugs(changed);
        self.generation += 1;
        self.serve(plan, changed, now);
        if let Some(bug) = self.stumbled.take() {
            let plan = self.set_aside_what_fails(changed, first, &bug);
            self.serve(plan, changed, now);
            // What still cannot be rendered stays as it was, and is told as unpublished.
            self.stumbled = None;
        }
    }

    fn serve(&mut self, plan: Plan, changed: &Changed, now: SystemTime) {
        let before = std::mem::replace(&mut self.plan, plan);
        self.published = Some(now);
        if let Some(ends) = self.ends.follow(&pairs::in_use(&self.declared, &self.checks), changed) {
            self.declared_certificates = ends;
        }
        if self.generation == 1 || changed.objects.iter().any(|object| matches!(object.kind, Kind::Gateway | Kind::Workload)) {
            self.follow_absences(now);
        }
        let mut differing = differing(&before, &self.plan);
        let standing = self.find_standing(&differing);
        let known_differ = differing.iter().any(|proxy| is_known(&before, proxy) != is_known(&self.plan, proxy));
        if self.generation == 1 || known_differ || *self.standing != standing {
            self.parts.nodes.declare(self.plan.programs.keys().chain(&standing).cloned().collect());
        }
        // What becomes of those may be another thing now, although their program is none still.
        differing.extend(self.standing.iter().cloned());
        self.standing = Arc::new(standing);
        for proxy in &differing {
            self.publish(proxy, &before, now);
        }
        if before.identities.diff(&self.plan.identities).next().is_some() {
            let identities: BTreeSet<_> = self.plan.identities.values().cloned().collect();
            self.parts.svids.retain(|identity| identities.contains(identity));
        }
        self.show();
    }

    /// A proxy is deleted when its object is: one that only becomes nothing, by a mistake in it or somewhere else, is there.
    fn follow_absences(&mut self, now: SystemTime) {
        // Of a Gateway that is set aside nobody knows the class.
        let aside_in: BTreeSet<&Text> =
            self.declared.set_aside.keys().filter(|object| object.kind == Kind::Gateway).map(|object| &object.key.namespace).collect();
        let known = self.plan.programs.keys().chain(self.served.keys().map(|scope| &scope.proxy));
        let kept = known.filter(|proxy| proxy.role == ProxyRole::Fleet && aside_in.contains(&proxy.object.namespace)).cloned();
        let declared = self.declared_proxies().chain(kept).collect();
        // What is in a namespace that is left out may be declared or not: nobody looks.
        let may_be_there = |proxy: &ProxyKey| self.declared.incomplete || self.declared.leaves_out(&proxy.object.namespace);
        self.parts.absences.follow(&declared, may_be_there, (now, std::time::Instant::now()));
    }

    fn show(&mut self) {
        if let Some(mut certificates) = self.parts.svids.take_ends() {
            certificates.push(ends::report("authority", "the root of node credentials".to_owned(), self.parts.nodes.root_end(), false));
            self.certificates = Arc::new(certificates);
        }
        let picture = Picture {
            generation: self.generation,
            published: self.published,
            declared: self.declared.clone(),
            refused: self.not_planned(),
            plan: self.plan.clone(),
            carried: self.carried.clone(),
            certificates: Arc::clone(&self.certificates),
            declared_certificates: Arc::clone(&self.declared_certificates),
            judged_here: self.judge == Judge::Ourselves,
            on_trial: self.refusals.is_trying(),
            unpublished: Arc::clone(&self.unpublished),
            standing: Arc::clone(&self.standing),
        };
        self.parts.picture.store(Arc::new(picture));
    }
}

/// The version of a resource that a scope should have.
fn version(served: &BTreeMap<Scope, Served>, scope: &Scope, id: &ResourceId) -> Option<Fingerprint> {
    served.get(scope)?.resources.lookup(id).map(|resource| resource.version)
}

/// The proxies whose program or identity is another one than before, or that came or went.
fn differing(before: &Plan, after: &Plan) -> BTreeSet<ProxyKey> {
    let programs = before.programs.diff(&after.programs).map(|change| key(&change));
    let identities = before.identities.diff(&after.identities).map(|change| key(&change));
    programs.chain(identities).collect()
}

fn key<V>(change: &DiffItem<'_, '_, ProxyKey, V>) -> ProxyKey {
    match change {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => (*key).clone(),
    }
}

fn is_known(plan: &Plan, proxy: &ProxyKey) -> bool {
    plan.programs.contains_key(proxy)
}

#[cfg(test)]
pub(crate) mod tests;
