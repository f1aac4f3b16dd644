//! Sessions that keep their endpoint, and what they are known by.

use std::time::Duration;

use windrose_api::declared::route::{Rule, SessionPersistence};
use windrose_ir::route::{HashOn, Session};
use windrose_vocab::{Code, Fingerprint, Text};

use super::forward::{RuleParts, rule_name};
use crate::limits;
use crate::policy::headers::is_token;
use crate::reference::field;
use crate::world::View;

/// The session of a rule with what is hashed for it; none where it has none, or where its name cannot be used.
pub(super) fn session(view: &View<'_>, parts: &RuleParts<'_>) -> Option<(Session, Vec<HashOn>)> {
    let declared = parts.rule.session.as_ref()?;
    let path = field(&format!("spec.rules[{}].sessionPersistence", parts.index));
    if !is_usable(declared) {
        view.error(parts.route, path, Code::OutOfRange, "the name is that of no header or cookie; sessions do not stick");
        return None;
    }
    if is_hashed(parts.rule) {
        let message = "of several backends a hash of the session decides, so they keep their endpoint from the second request on, and for \
                       as long as no endpoint comes or goes";
        view.warn(parts.route, path, Code::Unsupported, message);
        return Some((Session::Hashed, vec![hashed(parts, declared)]));
    }
    let name = name(parts, declared);
    let known = if declared.header {
        Session::Header(name)
    } else {
        Session::Cookie { name, lifetime: lifetime(declared), path: path_of(declared) }
    };
    Some((known, Vec::new()))
}

/// Whether the cookie or header of a rule's sessions names their endpoint.
pub(super) fn names_endpoints(rule: &Rule) -> bool {
    rule.session.as_ref().is_some_and(is_usable) && !is_hashed(rule)
}

/// Whether its sessions are hashed: the name of an endpoint does not say which of several backends it is of.
pub(super) fn is_hashed(rule: &Rule) -> bool {
    rule.session.as_ref().is_some_and(is_usable) && rule.backends.iter().filter(|backend| backend.weight.get() > 0).count() > 1
}

fn is_usable(session: &SessionPersistence) -> bool {
    session.name.as_ref().is_none_or(|name| is_token(name))
}

fn hashed(parts: &RuleParts<'_>, declared: &SessionPersistence) -> HashOn {
    let name = name(parts, declared);
    if declared.header { HashOn::Header(name) } else { HashOn::Cookie(name, lifetime(declared), path_of(declared)) }
}

/// The paths that a cookie is sent for: all, unless it says which.
fn path_of(declared: &SessionPersistence) -> Text {
    declared.path.clone().unwrap_or_else(|| "/".into())
}

fn lifetime(declared: &SessionPersistence) -> Duration {
    if declared.permanent { declared.absolute_timeout.unwrap_or_default() } else { Duration::ZERO }
}

/// As declared; else one that no other rule has, or two would write over each other's.
fn name(parts: &RuleParts<'_>, declared: &SessionPersistence) -> Text {
    let made_up = || {
        let key = &parts.route.key;
        let digest = Fingerprint::of("session", &(&(&key.namespace, &key.name), &rule_name(parts))).to_string();
        let short: String = digest.chars().take(limits::SESSION_NAME_DIGITS).collect();
        Text::from(format!("windrose-{short}"))
    };
    let name = declared.name.clone().unwrap_or_else(made_up);
    if declared.header { name.to_ascii_lowercase().into() } else { name }
}
