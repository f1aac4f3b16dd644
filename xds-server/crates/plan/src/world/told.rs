//! What units tell people, gathered: each diagnostic once however many units say it, each condition from one unit.

use std::collections::HashMap;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use windrose_vocab::{Diagnostic, Kind};

use crate::plan::{Condition, ConditionType, Coverage, Covered, Subject, Verdict};

/// What one unit tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) diagnostics: Vec<Arc<Diagnostic>>,
    pub(crate) conditions: Vec<(Subject, ConditionType, Condition)>,
    pub(crate) kinds: Vec<(Subject, Vec<Kind>)>,
    pub(crate) attached: Vec<Subject>,
    pub(crate) coverage: Vec<(Covered, Coverage)>,
}

impl Told {
    /// To be kept for as long as the unit is, in no more memory than it takes; none where nothing is told.
    pub(crate) fn boxed(mut self) -> Option<Box<Self>> {
        if self == Self::default() {
            return None;
        }
        self.diagnostics.shrink_to_fit();
        self.conditions.shrink_to_fit();
        self.kinds.shrink_to_fit();
        self.attached.shrink_to_fit();
        self.coverage.shrink_to_fit();
        Some(Box::new(self))
    }
}

/// What all units tell.
#[derive(Debug, Default)]
pub(crate) struct ToldIndex {
    counts: HashMap<Arc<Diagnostic>, u32>,
    pub(crate) diagnostics: OrdSet<Arc<Diagnostic>>,
    pub(crate) verdicts: OrdMap<Subject, Verdict>,
    pub(crate) attached: OrdMap<Subject, u32>,
    pub(crate) coverage: OrdMap<Covered, Coverage>,
}

impl ToldIndex {
    /// Takes back what a unit told before. All old tellings of a layer go before any new one comes:
    /// a subject may move from one unit to another.
    pub(crate) fn retract(&mut self, told: &Told) {
        for diagnostic in &told.diagnostics {
            self.retract_diagnostic(diagnostic);
        }
        for (subject, kind, _) in &told.conditions {
            self.change(subject, |verdict| verdict.conditions.remove(*kind));
        }
        for (subject, _) in &told.kinds {
            self.change(subject, |verdict| verdict.supported_kinds.clear());
        }
        for subject in &told.attached {
            match self.attached.get(subject).copied() {
                Some(count) if count > 1 => drop(self.attached.insert(subject.clone(), count - 1)),
                Some(_) => drop(self.attached.remove(subject)),
                None => {}
            }
        }
        for (covered, _) in &told.coverage {
            self.coverage.remove(covered);
        }
    }

    /// Takes in what a unit tells now.
    pub(crate) fn assert(&mut self, told: &Told) {
        for diagnostic in &told.diagnostics {
            *self.counts.entry(Arc::clone(diagnostic)).or_insert(0) += 1;
            self.diagnostics.insert(Arc::clone(diagnostic));
        }
        for (subject, kind, condition) in &told.conditions {
            self.change(subject, |verdict| verdict.conditions.insert(*kind, condition.clone()));
        }
        for (subject, kinds) in &told.kinds {
            self.change(subject, |verdict| verdict.supported_kinds.clone_from(kinds));
        }
        for subject in &told.attached {
            *self.attached.entry(subject.clone()).or_insert(0) += 1;
        }
        for (covered, coverage) in &told.coverage {
            self.coverage.insert(covered.clone(), coverage.clone());
        }
    }

    fn retract_diagnostic(&mut self, diagnostic: &Arc<Diagnostic>) {
        match self.counts.get_mut(diagnostic) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.counts.remove(diagnostic);
                self.diagnostics.remove(diagnostic);
            }
        }
    }

    fn change(&mut self, subject: &Subject, change: impl FnOnce(&mut Verdict)) {
        let mut verdict = self.verdicts.get(subject).cloned().unwrap_or_default();
        change(&mut verdict);
        if verdict == Verdict::default() {
            self.verdicts.remove(subject);
        } else {
            self.verdicts.insert(subject.clone(), verdict);
        }
    }
}
