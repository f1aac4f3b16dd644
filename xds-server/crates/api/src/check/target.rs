//! The targets of a policy, as far as they can be judged without looking for them.

use windrose_vocab::{Code, Kind};

use crate::decode::{Path, Report, nearest};
use crate::policy::TargetRef;

/// Kind and group must be ones that exist, and no target may stand there twice.
pub(super) fn check(targets: &[TargetRef], at: &Path<'_>, report: &mut Report) {
    let at = at.field("targetRefs");
    let mut seen = std::collections::BTreeMap::new();
    for (index, target) in targets.iter().enumerate() {
        let at = at.index(index);
        known(target, &at, report);
        if let Some(first) = seen.insert(target, index) {
            report.error(&at, Code::Invalid, format!("is the same as item {first}"));
        }
    }
}

fn known(target: &TargetRef, at: &Path<'_>, report: &mut Report) {
    match Kind::parse(&target.kind) {
        Some(kind) if kind.group() == target.group => {}
        Some(kind) => {
            let message = format!("{kind} is not of group `{}`", target.group.escape_debug());
            report.error_with_hint(&at.field("group"), Code::InvalidKind, message, format!("write `group: \"{}\"`", kind.group()));
        }
        None => {
            let message = format!("no kind `{}`", target.kind.escape_debug());
            match nearest(&target.kind, Kind::ALL.map(Kind::as_str)) {
                Some(best) => report.error_with_hint(&at.field("kind"), Code::InvalidKind, message, format!("did you mean `{best}`?")),
                None => report.error(&at.field("kind"), Code::InvalidKind, message),
            }
        }
    }
}
