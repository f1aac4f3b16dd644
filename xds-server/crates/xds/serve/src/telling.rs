//! How much is written about one client: a few lines of each sort a minute, so that the first is never lost, and who refuses everything
//! fills no log.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};

use windrose_vocab::{ResourceKind, Text};
use windrose_xds_session::Diagnosis;

use crate::limits;

/// What was written in this minute.
#[derive(Debug, Default)]
pub(crate) struct Told {
    minute: u64,
    lines: HashMap<Sort, u32>,
}

/// Lines that say much the same: about whom, what, and of which kind.
type Sort = (Text, Discriminant<Diagnosis>, Option<ResourceKind>);

impl Told {
    /// Whether a line about this is one of the first of its sort in that minute.
    pub(crate) fn is_news(&mut self, peer: &Text, diagnosis: &Diagnosis, minute: u64) -> bool {
        if self.minute != minute || self.lines.len() >= limits::TOLD_SORTS {
            *self = Self { minute, lines: HashMap::new() };
        }
        let lines = self.lines.entry((peer.clone(), discriminant(diagnosis), kind(diagnosis))).or_default();
        *lines = lines.saturating_add(1);
        *lines <= limits::LINES_OF_SORT
    }
}

fn kind(diagnosis: &Diagnosis) -> Option<ResourceKind> {
    match diagnosis {
        Diagnosis::GateOpened { resource, .. } | Diagnosis::Withheld { resource, .. } | Diagnosis::Rejected { resource, .. } => {
            Some(resource.kind)
        }
        Diagnosis::RejectedUnnamed { kind, .. } | Diagnosis::Unanswered { kind, .. } => Some(*kind),
        Diagnosis::UnknownType | Diagnosis::UnaskedRepair { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_of_each_sort_are_written_and_a_flood_is_not() {
        let (mut told, unanswered) = (Told::default(), |kind| Diagnosis::Unanswered { kind, resources: 1 });
        let mut lines = |peer: &str, kind, minute| (0..1_000).filter(|_| told.is_news(&peer.into(), &unanswered(kind), minute)).count();
        let max = limits::LINES_OF_SORT as usize;
        assert_eq!(lines("a", ResourceKind::Cluster, 1), max);
        assert_eq!(lines("a", ResourceKind::Cluster, 1), 0);
        assert_eq!(lines("a", ResourceKind::Listener, 1), max, "another sort");
        assert_eq!(lines("b", ResourceKind::Cluster, 1), max, "another client");
        assert_eq!(lines("a", ResourceKind::Cluster, 2), max, "another minute");
    }

    #[test]
    fn what_was_written_is_remembered_within_bounds() {
        let mut told = Told::default();
        for n in 0..2 * limits::TOLD_SORTS {
            assert!(told.is_news(&n.to_string().into(), &Diagnosis::UnknownType, 1));
        }
        assert!(told.lines.len() <= limits::TOLD_SORTS);
    }
}
