//! Policies: written and planned in one shape, so all that is left is what a schema cannot say.

use super::Enveloped;
use crate::check::Check;
use crate::declared::Meta;
use crate::decode::{Path, Report};

pub(super) fn checked<T: Check>(written: Enveloped<T>, _: &Meta, report: &mut Report) -> Option<T> {
    written.spec.check(&Path::ROOT.field("spec"), report);
    Some(written.spec)
}
