//! AuthorizationPolicy → who may call what. A source that cannot be read never lets anybody in.

use std::collections::BTreeMap;

use windrose_api::declared::Object;
use windrose_api::policy::{Action, AuthorizationPolicy, AuthorizationRule as DeclaredRule, PathPattern as DeclaredPath, Source};
use windrose_ir::http::{Authorization, AuthorizationRule, PathPattern, Principal};
use windrose_vocab::{Code, Diagnostic, Fingerprint, Kind, ObjectRef, Port, SpiffeId, Text, TrustDomain};

use super::{all_at, edge, mesh};
use crate::reference::field;
use crate::world::{Index, View};

/// What all policies on these targets come to, and of those that name none the namespace's and the mesh's; none where there are none. Whose
/// Allow policies are of one namespace let in what one of them allows; of several owners each has to: who attaches something to another
/// one's can close there, and never open. An Allow policy of the mesh without rules is what holds where no other owner says whom to let in.
pub(crate) fn effective(view: &View<'_>, targets: &[(ObjectRef, Option<Text>)], namespace: Option<&Text>) -> Option<Authorization> {
    let mut names: Vec<ObjectRef> = Vec::new();
    let general = namespace.into_iter().cloned().chain(namespace.map(|_| mesh::SYSTEM_NAMESPACE.into()));
    names.extend(general.flat_map(|namespace| view.index(Index::NamespacePolicies(Kind::AuthorizationPolicy, namespace))));
    for (target, section) in targets {
        names.extend(all_at(view, Kind::AuthorizationPolicy, target, section.as_ref()));
    }
    names.sort();
    names.dedup();
    let policies: Vec<_> = names.iter().filter_map(|name| view.authorization_policy(&name.key)).collect();
    let mut all = Authorization::default();
    let mut allow: BTreeMap<&Text, Vec<AuthorizationRule>> = BTreeMap::new();
    for policy in policies.iter().filter(|policy| !is_default(policy)) {
        let rules = policy.spec.rules.iter().filter_map(|rule| self::rule(view, policy, rule));
        match (policy.spec.action, policy.spec.audit) {
            (Action::Deny, false) => all.deny.extend(rules),
            (Action::Allow, false) => allow.entry(&policy.meta.object.key.namespace).or_default().extend(rules),
            (Action::Allow, true) => all.audit.get_or_insert_default().extend(rules),
            (Action::Deny, true) => all.audit_deny.extend(rules),
        }
    }
    all.deny.sort();
    all.audit_deny.sort();
    all.allow = allow.into_values().collect();
    if all.allow.is_empty() && policies.iter().any(|policy| is_default(policy)) {
        all.allow = nobody().allow;
    }
    all.allow.iter_mut().chain(&mut all.audit).for_each(|rules| rules.sort());
    (all != Authorization::default()).then_some(all)
}

/// Whether it says of the whole mesh that nobody comes in whom nobody allows, and allows nobody itself.
fn is_default(policy: &Object<AuthorizationPolicy>) -> bool {
    let AuthorizationPolicy { target_refs, action, rules, audit } = &policy.spec;
    let of_mesh = *policy.meta.object.key.namespace == *mesh::SYSTEM_NAMESPACE && target_refs.is_empty();
    of_mesh && *action == Action::Allow && rules.is_empty() && !audit
}

/// Rules that let nobody in.
pub(crate) fn nobody() -> Authorization {
    Authorization { allow: vec![Vec::new()], ..Authorization::default() }
}

/// Two sets of rules, of which both have to let in.
pub(crate) fn both(one: Option<Authorization>, other: Option<Authorization>) -> Option<Authorization> {
    match (one, other) {
        (None, other) => other,
        (one, None) => one,
        (Some(mut one), Some(other)) => {
            one.deny.extend(other.deny);
            one.allow.extend(other.allow);
            one.audit = one.audit.or(other.audit);
            one.audit_deny.extend(other.audit_deny);
            Some(one)
        }
    }
}

/// The same rules for what comes in at one port of a Gateway: a rule that names ports holds there or not, and the proxies need not know by
/// which number the port was declared.
pub(crate) fn at_port(rules: Authorization, port: Port) -> Authorization {
    let here = |rule: AuthorizationRule| {
        let holds = rule.ports.is_empty() || rule.ports.contains(&port.get());
        holds.then(|| AuthorizationRule { ports: Vec::new(), ..rule })
    };
    let all = |rules: Vec<AuthorizationRule>| rules.into_iter().filter_map(here).collect();
    let allow = rules.allow.into_iter().map(all).collect();
    Authorization { deny: all(rules.deny), allow, audit: rules.audit.map(all), audit_deny: all(rules.audit_deny) }
}

/// The same rules where certificates are not of the mesh's own authority: whoever signs them can write any identity into them, so ours are
/// nobody's there. A rule allows nobody by such a one, and still denies whoever shows it.
pub(crate) fn of_strangers(rules: Authorization, domain: &TrustDomain) -> Authorization {
    let ours = prefix_of(domain);
    let foreign = |mut rule: AuthorizationRule| {
        let anybody = rule.principals.is_empty();
        rule.principals.retain(|principal| !is_of(principal, &ours));
        (anybody || !rule.principals.is_empty()).then_some(rule)
    };
    let all = |rules: Vec<AuthorizationRule>| rules.into_iter().filter_map(foreign).collect();
    Authorization { allow: rules.allow.into_iter().map(all).collect(), audit: rules.audit.map(all), ..rules }
}

/// What the identities of a trust domain begin with.
fn prefix_of(domain: &TrustDomain) -> String {
    format!("spiffe://{domain}/")
}

fn is_of(principal: &Principal, domain: &str) -> bool {
    match principal {
        Principal::Identity(uri) | Principal::Prefix(uri) => uri.starts_with(domain),
        Principal::Authenticated | Principal::Network(_, _) => false,
    }
}

/// The same rules for connections, which have neither method nor path: what such a rule allows is not allowed, what it denies is.
pub(crate) fn of_connections(rules: Authorization) -> Authorization {
    let plain = |rule: &AuthorizationRule| rule.methods.is_empty() && rule.paths.is_empty();
    let broad = |rule: AuthorizationRule| AuthorizationRule { methods: Vec::new(), paths: Vec::new(), ..rule };
    Authorization {
        deny: rules.deny.into_iter().map(broad).collect(),
        allow: rules.allow.into_iter().map(|rules| rules.into_iter().filter(plain).collect()).collect(),
        audit: rules.audit.map(|rules| rules.into_iter().filter(plain).collect()),
        audit_deny: rules.audit_deny.into_iter().map(broad).collect(),
    }
}

/// A rule, if its sources can be read. An Allow rule that cannot is left out; a Deny rule that cannot denies everybody.
fn rule(view: &View<'_>, policy: &Object<AuthorizationPolicy>, declared: &DeclaredRule) -> Option<AuthorizationRule> {
    let namespace = &policy.meta.object.key.namespace;
    let read: Vec<Option<Principal>> = declared.from.iter().map(|source| principal(view, namespace, source)).collect();
    let unreadable = read.iter().any(Option::is_none) || declared.paths.iter().any(|path| self::path(path).is_none());
    let mut principals: Vec<Principal> = read.into_iter().flatten().collect();
    principals.sort();
    principals.dedup();
    let mut rule = AuthorizationRule {
        name: "".into(),
        principals,
        methods: declared.methods.iter().map(|method| Text::from(method.as_str())).collect(),
        paths: declared.paths.iter().filter_map(path).collect(),
        ports: declared.ports.clone(),
    };
    match policy.spec.action {
        Action::Allow if unreadable && (rule.principals.is_empty() && !declared.from.is_empty()) => return None,
        Action::Allow if rule.paths.len() < declared.paths.len() && rule.paths.is_empty() => return None,
        Action::Deny if unreadable => {
            rule = AuthorizationRule { name: "".into(), principals: Vec::new(), methods: Vec::new(), paths: Vec::new(), ports: Vec::new() };
        }
        Action::Allow | Action::Deny => {}
    }
    let digest: String = Fingerprint::of("authorization", &rule).to_string().chars().take(8).collect();
    rule.name = format!("{}/{digest}", policy.meta.object.key).into();
    Some(rule)
}

fn principal(view: &View<'_>, namespace: &Text, source: &Source) -> Option<Principal> {
    let domain = &view.settings().trust_domain;
    match (&source.identity, &source.namespace, &source.service_account, source.authenticated, &source.network) {
        (Some(identity), None, None, None, None) => {
            SpiffeId::parse(identity).ok().map(|identity| Principal::Identity(identity.to_string().into()))
        }
        (None, Some(namespace), None, None, None) => Some(Principal::Prefix(format!("spiffe://{domain}/ns/{namespace}/").into())),
        (None, None, Some(account), None, None) => {
            let (namespace, account) = account.split_once('/').unwrap_or((namespace, account));
            Some(Principal::Identity(format!("spiffe://{domain}/ns/{namespace}/sa/{account}").into()))
        }
        (None, None, None, Some(true), None) => Some(Principal::Authenticated),
        (None, None, None, None, Some(network)) => edge::network(network),
        _ => None,
    }
}

fn path(declared: &DeclaredPath) -> Option<PathPattern> {
    match (&declared.exact, &declared.prefix) {
        (Some(path), None) => Some(PathPattern::Exact(path.as_str().into())),
        (None, Some(path)) => Some(PathPattern::Prefix(path.as_str().into())),
        _ => None,
    }
}

/// Tells what a policy says that cannot be.
pub(crate) fn judge(view: &View<'_>, policy: &Object<AuthorizationPolicy>) {
    let own = &policy.meta.object;
    let effect = match policy.spec.action {
        Action::Allow => "it lets nobody in",
        Action::Deny => "the rule denies everybody",
    };
    judge_reach(view, policy);
    let at_edge = policy.spec.target_refs.iter().any(|target| matches!(Kind::parse(&target.kind), Some(Kind::Gateway | Kind::ListenerSet)));
    let allows_at_edge = at_edge && policy.spec.action == Action::Allow;
    let ours = prefix_of(&view.settings().trust_domain);
    for (index, rule) in policy.spec.rules.iter().enumerate() {
        for (position, source) in rule.from.iter().enumerate() {
            let read = principal(view, &own.key.namespace, source);
            if allows_at_edge && read.as_ref().is_some_and(|one| is_of(one, &ours)) {
                let message =
                    "at a Gateway it lets nobody in: others sign the certificates of clients there, and could sign this identity too";
                let hint = "name an identity of another trust domain, or a `network`";
                let path = field(&format!("spec.rules[{index}].from[{position}]"));
                view.tell(Diagnostic::warning(own.clone(), path, Code::Unsafe, message).hint(hint));
            }
            if read.is_none() {
                let message = format!(
                    "the source cannot be read, so {effect}: exactly one of identity, namespace, serviceAccount, authenticated, network"
                );
                view.error(own, field(&format!("spec.rules[{index}].from[{position}]")), Code::Invalid, message);
            }
        }
        for (position, _) in rule.paths.iter().enumerate().filter(|(_, path)| self::path(path).is_none()) {
            let message = format!("the path is not exactly one of exact and prefix, so {effect}");
            view.error(own, field(&format!("spec.rules[{index}].paths[{position}]")), Code::Invalid, message);
        }
    }
}

/// Tells where a policy without targets does not reach, although somebody may think that it does: who comes to a Gateway is a stranger,
/// whom no rule about the mesh is meant for.
fn judge_reach(view: &View<'_>, policy: &Object<AuthorizationPolicy>) {
    let own = &policy.meta.object;
    if !policy.spec.target_refs.is_empty() {
        return;
    }
    let of_mesh = *own.key.namespace == *mesh::SYSTEM_NAMESPACE;
    let gateways = if of_mesh { Index::Kind(Kind::Gateway) } else { Index::Names(Kind::Gateway, own.key.namespace.clone()) };
    if view.index(gateways).is_empty() {
        return;
    }
    let whole = if of_mesh { "mesh" } else { "namespace" };
    let message = format!("it holds for the sidecars of the {whole}, and not for its Gateways");
    let hint = "for a Gateway attach one by `targetRefs`, in its namespace";
    view.tell(Diagnostic::warning(own.clone(), field("spec.targetRefs"), Code::Unsupported, message).hint(hint));
}
