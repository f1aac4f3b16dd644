//! The routes that one declared route comes to in one table: every match of every rule, with its action and its policies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windrose_api::declared::route::Rule;
use windrose_ir::route::{Route, RouteMatch};
use windrose_vocab::{Kind, ObjectRef, Text};

use super::filters::filters;
use super::forward::{RuleParts, action};
use super::matching::{Precedence, everything, label, matcher};
use super::{RulesKey, Table};
use crate::backend::ClusterKey;
use crate::plan::{Coverage, Covered};
use crate::policy::{self, ExtensionEntry, Place, auth, rate_limit, transcoding};
use crate::world::{Filter, View};

/// All of them, unordered between routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) routes: Box<[Ruled]>,
    /// Sorted, each once.
    pub(crate) clusters: Box<[ClusterKey]>,
    /// Entries of the filters' tables that the routes name.
    pub(crate) entries: BTreeMap<(Filter, Text), ExtensionEntry>,
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
    for (index, (rule, resolved)) in route.spec.rules.iter().zip(&resolved.rules).enumerate() {
        let filters = filters(view, &key.route, &format!("spec.rules[{index}].filters"), &rule.filters);
        let place = place(key, rule);
        let transcoder = transcoding::effective(view, &place, &resolved.backends);
        let transcoded = transcoder.is_some();
        let parts = RuleParts { route: &key.route, index, rule, resolved, table: &key.table, filters: &filters, transcoded };
        let action = action(view, &parts, &mut clusters);
        let entries = entries(view, key, &place, transcoder, &rule_label(key.route.kind, rule));
        let policies: Vec<(Text, Text)> = entries.iter().map(|(filter, id, _)| (filter.metadata().into(), id.clone())).collect();
        all_entries.extend(entries.into_iter().map(|(filter, id, entry)| ((filter, id), entry)));
        let understood =
            matchers(key.route.kind, rule).into_iter().enumerate().filter(|(position, _)| !resolved.unmatched.contains(position));
        for (position, matcher) in understood {
            let route = Route {
                name: route_name(&key.route, rule, &matcher),
                action: action.clone(),
                request_headers: filters.request_headers.clone(),
                response_headers: filters.response_headers.clone(),
                cors: filters.cors.clone(),
                policies: sorted(policies.clone()),
                matcher,
            };
            routes.push(Ruled { precedence: Precedence::of(&route.matcher), rule: index, position, route: route.into() });
        }
    }
    let clusters = clusters.into_iter().collect();
    Some(Rules { routes: routes.into(), clusters, entries: all_entries, created: route.meta.created })
}

fn place<'a>(key: &'a RulesKey, rule: &'a Rule) -> Place<'a> {
    let gateway = match &*key.table {
        Table::Edge { gateway, .. } => Some(ObjectRef { kind: Kind::Gateway, key: gateway.clone() }),
        Table::Mesh { .. } => None,
    };
    Place { gateway, listener: key.listener.as_ref(), route: &key.route, rule: rule.name.as_ref() }
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

/// The entries that the rule names, and what protects it.
fn entries(
    view: &View<'_>,
    key: &RulesKey,
    place: &Place<'_>,
    transcoder: Option<(Text, ExtensionEntry)>,
    rule: &Text,
) -> Vec<(Filter, Text, ExtensionEntry)> {
    let mut all = Vec::new();
    let parent = match &*key.table {
        Table::Edge { gateway, .. } => ObjectRef { kind: Kind::Gateway, key: gateway.clone() },
        Table::Mesh { service, .. } => ObjectRef { kind: Kind::Service, key: service.clone() },
    };
    let section = key.listener.as_ref().map(ToString::to_string).map(Text::from);
    let covered = Covered { route: key.route.clone(), parent, section, rule: rule.clone() };
    match auth::effective(view, place) {
        Some(auth::Effective { id, rule, coverage }) => {
            view.covers(covered, coverage);
            all.push((Filter::JwtAuth, id, ExtensionEntry::Auth(rule)));
        }
        None => {
            if matches!(*key.table, Table::Edge { .. }) {
                view.covers(covered, Coverage::Open);
                auth::warn_open(view, &key.route);
            }
            if policy::guarded(view, &key.table, Filter::JwtAuth) {
                all.push((Filter::JwtAuth, auth::OPEN.into(), ExtensionEntry::Auth(windrose_ir::extension::AuthRule::Public)));
            }
        }
    }
    if let Some((id, limits)) = rate_limit::effective(view, place) {
        all.push((Filter::RateLimit, id, ExtensionEntry::RateLimit(limits)));
    }
    all.extend(transcoder.map(|(id, entry)| (Filter::Transcoder, id, entry)));
    all
}
