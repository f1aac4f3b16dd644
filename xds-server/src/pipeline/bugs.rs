//! Objects that a bug of ours fails on. Each is set aside in that version, with its last good one in its place, so that one object
//! hides no other; where no object is to blame, the failure is passed on.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;

use windrose_api::declared::Changed;
use windrose_envoy::{Rendered, Renderer};
use windrose_ir::Program;
use windrose_plan::{Plan, Planner, Refusal, Refused, RefusedBy};
use windrose_vocab::{Kind, NodeClass, ObjectVersion};

use super::Pipeline;
use crate::refusals::can_be_left_out;

/// More objects are not looked for: it is not the objects then.
const MOST: usize = 8;

/// Where we failed, such as `xds-server/crates/plan/src/planner.rs:7`.
#[derive(Clone, Debug)]
pub(super) struct Bug(String);

impl std::fmt::Display for Bug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at {}", self.0)
    }
}

thread_local! {
    static WHERE: Cell<Option<String>> = const { Cell::new(None) };
    static CATCHES: Cell<bool> = const { Cell::new(false) };
}

/// What `f` makes, or where it failed: never with what words, for those may be what somebody declared.
pub(super) fn caught<T>(f: impl FnOnce() -> T) -> Result<T, Bug> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let otherwise = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if CATCHES.get() {
                let file = |at: &str| at.rsplit("/registry/src/").next().unwrap_or_default().to_owned();
                WHERE.set(info.location().map(|at| format!("{}:{}", file(at.file()), at.line())));
            } else {
                otherwise(info);
            }
        }));
    });
    CATCHES.set(true);
    let done = catch_unwind(AssertUnwindSafe(f));
    CATCHES.set(false);
    done.map_err(|_| Bug(WHERE.take().unwrap_or_else(|| "an unknown place".to_owned())))
}

impl Pipeline {
    /// The plan of what is declared, without what we fail on.
    pub(super) fn plan_around_bugs(&mut self, changed: &Changed) -> Plan {
        let there = |version: &ObjectVersion| self.declared.get(&version.object).is_some_and(|one| one.meta().version == version.version);
        self.bugs.objects = self.bugs.objects.iter().filter(|(version, _)| there(version)).map(|(v, r)| (v.clone(), r.clone())).collect();
        let refused = self.not_planned();
        match caught(|| self.planner.update(&self.declared, &refused, changed)) {
            Ok(plan) => plan,
            Err(bug) => self.set_aside_what_fails(changed, self.generation == 0, &bug),
        }
    }

    /// What is not planned in its newest version, whoever cannot take it.
    pub(super) fn not_planned(&self) -> Refused {
        self.beside(&self.bugs)
    }

    /// What Envoy refuses, what cannot be used, and these.
    fn beside(&self, bugs: &Refused) -> Refused {
        let others = self.refused.objects.clone().union(self.checks.objects.clone());
        Refused { objects: bugs.objects.clone().union(others) }
    }

    /// Plans from nothing, without those objects that we fail on. Who can be to blame is what changed, and at the beginning everything.
    ///
    /// # Panics
    /// Where no object is found, or one that must not be left out: whoever started us knows what is to be done then.
    pub(super) fn set_aside_what_fails(&mut self, changed: &Changed, first: bool, bug: &Bug) -> Plan {
        tracing::error!(%bug, "a bug: looking for what cannot be planned");
        let Some(found) = self.find(&self.suspects(changed, first), first, bug) else { resume_unwind(Box::new(format!("a bug {bug}"))) };
        for (version, _) in found.objects.iter().filter(|(version, _)| !self.bugs.objects.contains_key(*version)) {
            tracing::error!(object = %version.object, %bug, "a bug: it is set aside in this version, and all others are planned; please report it");
        }
        self.bugs = found;
        let planned = caught(|| Planner::from_nothing(self.parts.settings.clone(), &self.declared, &self.not_planned()));
        self.planner = planned.unwrap_or_else(|bug| resume_unwind(Box::new(format!("a bug {bug}"))));
        self.planner.plan().clone()
    }

    /// Those without which the others go on come last, so that they are found and not what they stand on.
    fn suspects(&self, changed: &Changed, first: bool) -> Vec<ObjectVersion> {
        let all = || self.declared.iter().map(|object| object.meta().identity());
        let named = || changed.objects.iter().filter_map(|object| Some(self.declared.get(object)?.meta().identity()));
        let mut suspects: Vec<_> = if first { all().collect() } else { named().collect() };
        suspects.sort_by_cached_key(|version| (can_be_left_out(version.object.kind), version.clone()));
        suspects
    }

    /// Puts the suspects back one after the other, by halves, and leaves out each with which we fail.
    fn find(&self, suspects: &[ObjectVersion], first: bool, bug: &Bug) -> Option<Refused> {
        let mut found = self.bugs.clone();
        let stands = |found: &Refused, from: usize| self.stands(found, suspects.get(from..).unwrap_or_default(), bug);
        let mut back = 0;
        while !stands(&found, suspects.len()) {
            // With `back` of them all is well, with all of them not.
            let mut fails = suspects.len();
            if found.objects.len() >= self.bugs.objects.len() + MOST || !stands(&found, back) {
                return None;
            }
            while fails - back > 1 {
                let middle = back.midpoint(fails);
                *(if stands(&found, middle) { &mut back } else { &mut fails }) = middle;
            }
            let culprit = suspects.get(back)?;
            if !self.may_stand_aside(culprit, first) {
                return None;
            }
            found.objects.insert(culprit.clone(), self.refusal(culprit, bug));
            back = fails;
        }
        Some(found)
    }

    /// Whether all can be planned and rendered from nothing without `found` and `aside`.
    fn stands(&self, found: &Refused, aside: &[ObjectVersion], bug: &Bug) -> bool {
        let mut refused = self.beside(found);
        for version in aside.iter().filter(|version| !self.refused.objects.contains_key(*version)) {
            refused.objects.insert(version.clone(), self.refusal(version, bug));
        }
        let rehearse = || {
            let plan = windrose_plan::plan(&self.declared, &refused, &self.parts.settings);
            let renderer = Renderer::new(NodeClass::default(), self.parts.modules.clone(), self.parts.version_key.clone());
            for program in plan.programs.values() {
                drop(renderer.update(&Rendered::default(), &Program::default(), program));
            }
        };
        caught(rehearse).is_ok()
    }

    fn refusal(&self, version: &ObjectVersion, bug: &Bug) -> Refusal {
        Refusal { by: RefusedBy::Ourselves, reason: bug.to_string(), last_good: self.refusals.last_good(version).cloned() }
    }

    /// At the beginning nobody knows what runs, and a Gateway that is left out would take it down.
    fn may_stand_aside(&self, version: &ObjectVersion, first: bool) -> bool {
        let kind = version.object.kind;
        let is_new = !first && kind != Kind::BackendTLSPolicy;
        can_be_left_out(kind) || is_new || self.refusals.last_good(version).is_some()
    }
}
