//! AuthorizationPolicy.

use windrose_vocab::{Code, Severity, SpiffeId};

use super::{Check, exactly_one, network, only_true, target};
use crate::decode::{Path, Report};
use crate::name;
use crate::policy::{Action, AuthorizationPolicy, AuthorizationRule, PathPattern, Source};

impl Check for AuthorizationPolicy {
    fn check(&self, at: &Path<'_>, report: &mut Report) {
        target::check(&self.target_refs, at, report);
        if self.action == Action::Deny && self.rules.is_empty() {
            let message = "a Deny policy without rules denies nothing".to_owned();
            let hint = Some("to deny everything, write `action: Allow` without rules".to_owned());
            report.tell(&at.field("rules"), Severity::Warning, Code::Invalid, message, hint);
        }
        let at = at.field("rules");
        self.rules.iter().enumerate().for_each(|(index, entry)| rule(entry, &at.index(index), report));
    }
}

fn rule(rule: &AuthorizationRule, at: &Path<'_>, report: &mut Report) {
    let at_from = at.field("from");
    rule.from.iter().enumerate().for_each(|(index, from)| source(from, &at_from.index(index), report));
    let at_methods = at.field("methods");
    for (index, method) in rule.methods.iter().enumerate().filter(|(_, method)| !is_method(method)) {
        report.error(
            &at_methods.index(index),
            Code::OutOfRange,
            format!("`{}` is not a method: upper-case letters", method.escape_debug()),
        );
    }
    let at_paths = at.field("paths");
    rule.paths.iter().enumerate().for_each(|(index, pattern)| path(pattern, &at_paths.index(index), report));
}

fn is_method(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-' || b == b'_')
}

fn source(source: &Source, at: &Path<'_>, report: &mut Report) {
    let Source { identity, namespace, service_account, authenticated, network: net } = source;
    let fields = [
        ("identity", identity.is_some()),
        ("namespace", namespace.is_some()),
        ("serviceAccount", service_account.is_some()),
        ("authenticated", authenticated.is_some()),
        ("network", net.is_some()),
    ];
    exactly_one(&fields, at, report);
    only_true(*authenticated, "authenticated", at, report);
    if let Some(error) = identity.as_deref().and_then(|identity| SpiffeId::parse(identity).err()) {
        report.error(&at.field("identity"), Code::OutOfRange, error.to_string());
    }
    if namespace.as_deref().is_some_and(|namespace| !name::is_label(namespace)) {
        report.error(&at.field("namespace"), Code::OutOfRange, "is not the name of a namespace");
    }
    if service_account.as_deref().is_some_and(|account| !is_account(account)) {
        report.error(&at.field("serviceAccount"), Code::OutOfRange, "is not `account` or `namespace/account`");
    }
    if let Some(net) = net {
        network(net, &at.field("network"), report);
    }
}

fn is_account(text: &str) -> bool {
    match text.split_once('/') {
        Some((namespace, account)) => name::is_label(namespace) && name::is_subdomain(account),
        None => name::is_subdomain(text),
    }
}

fn path(pattern: &PathPattern, at: &Path<'_>, report: &mut Report) {
    let PathPattern { exact, prefix } = pattern;
    exactly_one(&[("exact", exact.is_some()), ("prefix", prefix.is_some())], at, report);
    for (field, path) in [("exact", exact), ("prefix", prefix)] {
        if path.as_deref().is_some_and(|path| !path.starts_with('/')) {
            report.error(&at.field(field), Code::OutOfRange, "does not begin with `/`");
        }
    }
}
