//! The routes that one declared route comes to in one table: every match of every rule, with its action and its policies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windrose_api::declared::route::{Filter as DeclaredFilter, Rule};
use windrose_ir::extension::AuthRule;
use windrose_ir::route::{ExternalAuth, HeaderChanges, Route, RouteAction, RouteMatch, Share};
use windrose_vocab::{Code, Diagnostic, Kind, ObjectRef, Text};

use super::filters::filters;
use super::forward::{RuleParts, actions};
use super::matching::{Precedence, everything, label, matcher};
use super::{ResolvedRule, RulesKey, Table, external_auth};
use crate::backend::ClusterKey;
use crate::gateway::BoundListener;
use crate::plan::{Coverage, Covered};
use crate::policy::{ExtensionEntry, Place, auth, closed, rate_limit, transcoding};
use crate::reference::field;
use crate::world::{Filter, View};

/// All of them, unordered between routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) routes: Box<[Ruled]>,
    /// Sorted, each once.
    pub(crate) clusters: Box<[ClusterKey]>,
    /// Entries of the filters' tables that the routes name.
    pub(crate) entries: Box<[((Filter, Text), ExtensionEntry)]>,
    pub(crate) created: u64,
}

/// One route, with what decides its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ruled {
    pub(crate) precedence: Precedence,
    pub(crate) rule: usize,
    pub(crate) position: usize,
    pub(crate) route: Arc<Route>,
}

/// Makes the routes of one declared route for one table.
pub(crate) fn rules(view: &View<'_>, key: &RulesKey) -> Option<Rules> {
    let route = view.route(&key.route)?;
    let resolved = view.resolved(&key.route)?;
    let (mut routes, mut clusters, mut all_entries) = (Vec::new(), BTreeSet::new(), BTreeMap::new());
    let mut open = Vec::new();
    for (index, (rule, resolved)) in route.spec.rules.iter().zip(&resolved.rules).enumerate() {
        let mut filters = filters(view, &key.route, &format!("spec.rules[{index}].filters"), &rule.filters);
        let place = place(key, rule);
        let external_auth = external_auth_of(view, key, (index, rule), resolved, &place);
        clusters.extend(external_auth.iter().filter_map(|found| found.as_ref()).map(|(_, cluster)| cluster.clone()));
        // Without the one who is to be asked the rule answers 500.
        filters.unknown |= external_auth.as_ref().is_some_and(Option::is_none);
        let asks = external_auth.is_some() && matches!(*key.table, Table::Edge { .. });
        let external_auth = external_auth.flatten().map(|(asked, _)| asked);
        let counted = rule.backends.iter().zip(&resolved.backends).filter(|(backend, _)| backend.weight.get() > 0);
        let transcoder = transcoding::effective(view, &place, counted.filter_map(|(_, resolved)| resolved.as_ref()));
        let transcoded = transcoder.is_some();
        let mut closed = closed::at_rule(view, &place);
        closed.extend(transcoder.iter().filter(|(_, entry)| transcoding::is_unusable(entry)).map(|(policy, _)| policy.clone()));
        let transcoder = transcoder.map(|(policy, entry)| (Text::from(policy.key.to_string()), entry));
        let parts = RuleParts { route: &key.route, index, rule, resolved, table: &key.table, filters: &filters, transcoded };
        let actions = actions(view, &parts, &mut clusters);
        let asked = if asks { Some(key.route.clone()) } else { asked_before(view, key) };
        let label = rule_label(key.route.kind, rule);
        let unasked = if only_redirects(rule, &actions) { Coverage::Redirects } else { Coverage::Open };
        let (entries, is_open) = entries(view, key, &place, (asked, unasked, closed), &label);
        open.extend(is_open.then_some((index, label)));
        let policies: Vec<(Text, Text)> = entries.iter().map(|(filter, id, _)| (filter.metadata().into(), id.clone())).collect();
        all_entries.extend(entries.into_iter().map(|(filter, id, entry)| ((filter, id), entry)));
        // What is answered here becomes no call.
        let transcoder = transcoder.filter(|_| actions.iter().any(|(_, action)| forwards(action)));
        let buffer_bytes = transcoder.iter().map(|(_, entry)| transcoding::buffer_bytes(entry)).sum();
        let transcode = transcoder.as_ref().map(|(id, _)| id.clone());
        all_entries.extend(transcoder.map(|(id, entry)| ((Filter::Transcoder, id), entry)));
        let understood =
            matchers(key.route.kind, rule).into_iter().enumerate().filter(|(position, _)| !resolved.unmatched.contains(position));
        for (position, matcher, (share, action)) in
            understood.flat_map(|(position, matcher)| actions.iter().map(move |action| (position, matcher.clone(), action)))
        {
            let transcode = transcode.iter().filter(|_| forwards(action)).map(|id| (Filter::Transcoder.metadata().into(), id.clone()));
            let route = Route {
                name: route_name(&key.route, rule, &matcher),
                action: action.clone(),
                share: *share,
                request_headers: if has_shares_own(action) { HeaderChanges::default() } else { filters.request_headers.clone() },
                response_headers: filters.response_headers.clone(),
                cors: filters.cors.clone(),
                external_auth: external_auth.clone(),
                buffer_bytes,
                policies: sorted(policies.iter().cloned().chain(transcode).collect()),
                matcher,
            };
            routes.push(Ruled { precedence: Precedence::of(&route.matcher), rule: index, position, route: route.into() });
        }
    }
    auth::warn_open(view, &key.route, &open, route.spec.rules.len());
    let clusters = clusters.into_iter().collect();
    Some(Rules { routes: routes.into(), clusters, entries: all_entries.into_iter().collect(), created: route.meta.created })
}

/// Who is asked whether a request of the rule may pass, if anybody is: nobody who can be, where the inner part is absent.
fn external_auth_of(
    view: &View<'_>,
    key: &RulesKey,
    (index, rule): (usize, &Rule),
    resolved: &ResolvedRule,
    place: &Place<'_>,
) -> Option<Option<(ExternalAuth, ClusterKey)>> {
    let declared = rule.filters.iter().enumerate().filter_map(|(position, filter)| match filter {
        DeclaredFilter::ExternalAuth(declared) => Some((position, declared)),
        _ => None,
    });
    let mut both = declared.zip(&resolved.auth);
    let ((position, declared), service) = both.next()?;
    let refuse = |position: usize, message: &str, hint: &str| {
        let path = field(&format!("spec.rules[{index}].filters[{position}]"));
        view.tell(Diagnostic::error(key.route.clone(), path, Code::Unsupported, message).hint(hint));
        Some(None)
    };
    if let Some(((second, _), _)) = both.next() {
        return refuse(second, "a rule asks one service; with more it answers 500", "put others into the `filters` of the listener");
    }
    let Table::Edge { gateway, .. } = &*key.table else {
        return refuse(position, "sidecars ask nobody: towards a Service the rule answers 500", "attach the route to a Gateway");
    };
    Some(service.as_ref().map(|service| {
        let cluster = external_auth::cluster(view, gateway, declared, service);
        let answered = external_auth::answered(declared);
        let take_off = if answered.is_empty() { answered } else { &answered - &set_before(view, key, place) };
        (external_auth::asked(declared, &cluster, take_off), cluster)
    }))
}

/// Headers that are set before the service of a rule is asked, and under which no client's copy is left: by the services of the listener,
/// and from claims.
fn set_before(view: &View<'_>, key: &RulesKey, place: &Place<'_>) -> BTreeSet<Text> {
    let by_listener = listener(view, key).map(BoundListener::answered).unwrap_or_default();
    let from_claims = match auth::effective(view, place).map(|effective| effective.rule) {
        Some(AuthRule::Jwt(rule)) => rule.claims_to_headers.into_iter().map(|(_, header)| header).collect(),
        Some(AuthRule::Public | AuthRule::Deny { .. }) | None => Vec::new(),
    };
    by_listener.into_iter().chain(from_claims).collect()
}

/// Whose listener asks about every request, if it does.
fn asked_before(view: &View<'_>, key: &RulesKey) -> Option<ObjectRef> {
    listener(view, key).filter(|listener| listener.is_guarded()).map(|listener| listener.id.owner.clone())
}

fn listener<'v>(view: &View<'v>, key: &RulesKey) -> Option<&'v BoundListener> {
    let Table::Edge { gateway, .. } = &*key.table else { return None };
    let id = key.listener.as_ref()?;
    view.frame(gateway)?.listeners.iter().find(|listener| listener.id == *id)
}

fn place<'a>(key: &'a RulesKey, rule: &'a Rule) -> Place<'a> {
    let gateway = match &*key.table {
        Table::Edge { gateway, .. } => Some(ObjectRef { kind: Kind::Gateway, key: gateway.clone() }),
        Table::Mesh { .. } => None,
    };
    Place { gateway, listener: key.listener.as_ref(), route: &key.route, rule: rule.name.as_ref() }
}

/// Whether the shares change request headers: they do what the rule says before what is their own.
fn has_shares_own(action: &RouteAction) -> bool {
    match action {
        RouteAction::Forward(forward) => forward.backends.iter().any(|backend| backend.request_headers != HeaderChanges::default()),
        RouteAction::Redirect(_) | RouteAction::Respond { .. } => false,
    }
}

fn matchers(kind: Kind, rule: &Rule) -> Vec<RouteMatch> {
    if rule.matches.is_empty() { vec![everything(kind == Kind::GRPCRoute)] } else { rule.matches.iter().map(matcher).collect() }
}

fn route_name(route: &ObjectRef, rule: &Rule, matcher: &RouteMatch) -> Text {
    let own = rule.name.as_ref().map(|name| format!("{name}/")).unwrap_or_default();
    format!("{route}/{own}{}", label(matcher)).into()
}

/// What a rule is called: its name, else what it matches.
pub(crate) fn rule_label(kind: Kind, rule: &Rule) -> Text {
    match &rule.name {
        Some(name) => name.clone(),
        None => matchers(kind, rule).iter().map(label).collect::<Vec<_>>().join(",").into(),
    }
}

fn sorted(mut policies: Vec<(Text, Text)>) -> Vec<(Text, Text)> {
    policies.sort();
    policies
}

fn forwards(action: &RouteAction) -> bool {
    match action {
        RouteAction::Forward(_) => true,
        RouteAction::Redirect(_) | RouteAction::Respond { .. } => false,
    }
}

/// Whether nobody gets farther than here: it has no backend, and sends everybody elsewhere.
fn only_redirects(rule: &Rule, actions: &[(Option<Share>, RouteAction)]) -> bool {
    let redirects = |action: &RouteAction| match action {
        RouteAction::Redirect(_) => true,
        RouteAction::Forward(_) | RouteAction::Respond { .. } => false,
    };
    rule.backends.is_empty() && !actions.is_empty() && actions.iter().all(|(_, action)| redirects(action))
}

/// The entries that every route of the rule names, and whether it is open to everybody by nobody's word. Where nobody is asked it counts as
/// `unasked`, and where nobody passes because of `closed`, that is what counts.
fn entries(
    view: &View<'_>,
    key: &RulesKey,
    place: &Place<'_>,
    (asked, unasked, closed): (Option<ObjectRef>, Coverage, BTreeSet<ObjectRef>),
    rule: &Text,
) -> (Vec<(Filter, Text, ExtensionEntry)>, bool) {
    let mut all = Vec::new();
    let parent = match &*key.table {
        Table::Edge { gateway, .. } => ObjectRef { kind: Kind::Gateway, key: gateway.clone() },
        Table::Mesh { service, .. } => ObjectRef { kind: Kind::Service, key: service.clone() },
    };
    let section = key.listener.as_ref().map(ToString::to_string).map(Text::from);
    let covered = Covered { route: key.route.clone(), parent, section, rule: rule.clone() };
    let coverage = match auth::effective(view, place) {
        Some(auth::Effective { id, rule, coverage }) => {
            all.push((Filter::JwtAuth, id, ExtensionEntry::Auth(rule)));
            coverage
        }
        None => {
            // At a Gateway also where nobody asks for tokens yet: the first policy that does changes no other route.
            if matches!(*key.table, Table::Edge { .. }) || view.guarded(&key.table, Filter::JwtAuth) {
                all.push((Filter::JwtAuth, auth::OPEN.into(), ExtensionEntry::Auth(AuthRule::Public)));
            }
            asked.map_or(unasked, |asked| Coverage::Protected(vec![asked]))
        }
    };
    // Who calls a Service is judged where the call comes in.
    let is_open = coverage == Coverage::Open && matches!(*key.table, Table::Edge { .. });
    if is_open {
        rate_limit::judge_claims(view, place, &key.route);
    }
    view.covers(covered, coverage.closed_by(closed));
    if let Some((id, limits)) = rate_limit::effective(view, place) {
        all.push((Filter::RateLimit, id, ExtensionEntry::RateLimit(limits)));
    }
    (all, is_open)
}
