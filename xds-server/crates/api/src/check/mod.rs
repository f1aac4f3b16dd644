//! What the schema of a policy cannot say and one object alone decides: fields that exclude each other, names that repeat,
//! values that parse only in code. What needs a second object is decided when planning.

mod auth;
mod authorization;
mod edge;
mod mesh;
mod parameters;
mod rate_limit;
mod target;
mod telemetry;
mod traffic;
mod transcoding;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use windrose_vocab::Code;

use crate::decode::{Path, Report};

/// A policy that can check itself.
pub(crate) trait Check: DeserializeOwned {
    /// Tells everything that is wrong with it; `at` is its `spec`.
    fn check(&self, at: &Path<'_>, report: &mut Report);
}

/// Exactly one of these fields must be set.
fn exactly_one(fields: &[(&str, bool)], at: &Path<'_>, report: &mut Report) {
    let names = || fields.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match fields.iter().filter(|(_, set)| *set).count() {
        1 => {}
        0 => report.error(at, Code::MissingField, format!("one of {} must be there", names())),
        _ => report.error(at, Code::Invalid, format!("only one of {} may be there", names())),
    }
}

/// A flag whose only sense is to be set.
fn only_true(flag: Option<bool>, name: &str, at: &Path<'_>, report: &mut Report) {
    if flag == Some(false) {
        report.error_with_hint(&at.field(name), Code::Invalid, "`false` says nothing here", format!("write `true` or leave `{name}` out"));
    }
}

/// No two items may have the same name.
fn unique<'a>(names: impl IntoIterator<Item = &'a str>, field: &str, at: &Path<'_>, report: &mut Report) {
    let mut seen = BTreeMap::new();
    for (index, name) in names.into_iter().enumerate() {
        if let Some(first) = seen.insert(name.to_owned(), index) {
            let message = format!("`{}` is the {field} of item {first} too", name.escape_debug());
            report.error(&at.index(index).field(field), Code::Invalid, message);
        }
    }
}

/// A length of time within bounds, both included.
fn within(time: Duration, (least, most): (Duration, Duration), at: &Path<'_>, report: &mut Report) {
    if !(least..=most).contains(&time) {
        let shown = |time| crate::scalar::Duration(time);
        report.error(at, Code::OutOfRange, format!("`{}` is out of range: {} to {}", shown(time), shown(least), shown(most)));
    }
}

/// A length of time that cannot be nothing.
fn positive(time: Option<crate::scalar::Duration>, field: &str, at: &Path<'_>, report: &mut Report) {
    if time.is_some_and(|time| time.0.is_zero()) {
        report.error(&at.field(field), Code::OutOfRange, "`0s` is out of range: more than that");
    }
}

/// A header's name (RFC 9110), in lower case or not.
fn header_name(name: &str, at: &Path<'_>, report: &mut Report) {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > 256 || !name.bytes().all(token) {
        report.error(at, Code::OutOfRange, format!("`{}` is not the name of a header", name.escape_debug()));
    }
}

/// A network: an address and the number of bits that count.
fn network(text: &str, at: &Path<'_>, report: &mut Report) {
    let parsed = text.split_once('/').and_then(|(address, bits)| Some((address.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?)));
    match parsed {
        Some((IpAddr::V4(_), 0..=32) | (IpAddr::V6(_), 0..=128)) => {}
        Some((IpAddr::V4(_), _)) => report.error(at, Code::OutOfRange, format!("`{text}` has more than 32 bits")),
        Some((IpAddr::V6(_), _)) => report.error(at, Code::OutOfRange, format!("`{text}` has more than 128 bits")),
        None => {
            let message = format!("`{}` is not a network", text.escape_debug());
            report.error_with_hint(at, Code::OutOfRange, message, "write an address and its bits: `10.0.0.0/8`, `2001:db8::/32`");
        }
    }
}
