//! Matches: what Gateway API's words come to, which of two is tried first, and what a match is called.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use windrose_api::declared::route::{Match, PathMatch as DeclaredPath, ValueMatch as DeclaredValue};
use windrose_ir::route::{PathMatch, RouteMatch, ValueMatch, ValuePattern};
use windrose_vocab::{Fingerprint, Text};

use crate::limits;

/// A match in the words of the IR.
pub(crate) fn matcher(declared: &Match) -> RouteMatch {
    match declared {
        Match::Http { path, method, headers, query } => RouteMatch {
            path: http_path(path),
            method: method.clone(),
            headers: values(headers, str::to_ascii_lowercase),
            query: values(query, str::to_owned),
            grpc: false,
        },
        Match::Grpc { regex, service, method, headers } => RouteMatch {
            path: grpc_path(*regex, service.as_deref(), method.as_deref()),
            method: None,
            headers: values(headers, str::to_ascii_lowercase),
            query: Vec::new(),
            grpc: true,
        },
    }
}

/// What a rule without matches matches: everything, for gRPC every gRPC request.
pub(crate) fn everything(grpc: bool) -> RouteMatch {
    RouteMatch { path: PathMatch::Prefix("/".into()), method: None, headers: Vec::new(), query: Vec::new(), grpc }
}

fn http_path(path: &DeclaredPath) -> PathMatch {
    match path {
        DeclaredPath::Exact(path) => PathMatch::Exact(path.clone()),
        DeclaredPath::Regex(pattern) => PathMatch::Regex(pattern.clone()),
        DeclaredPath::Prefix(path) => match path.trim_end_matches('/') {
            "" => PathMatch::Prefix("/".into()),
            plain => PathMatch::Prefix(plain.into()),
        },
    }
}

fn grpc_path(regex: bool, service: Option<&str>, method: Option<&str>) -> PathMatch {
    const ANY: &str = "[^/]+";
    match (service, method) {
        (None, None) => PathMatch::Prefix("/".into()),
        (service, method) if regex => PathMatch::Regex(format!("/(?:{})/(?:{})", service.unwrap_or(ANY), method.unwrap_or(ANY)).into()),
        (Some(service), Some(method)) => PathMatch::Exact(format!("/{service}/{method}").into()),
        (Some(service), None) => PathMatch::Prefix(format!("/{service}").into()),
        (None, Some(method)) => PathMatch::Regex(format!("/{ANY}/{method}").into()),
    }
}

/// Of several conditions on one name only the first counts, as the specification says.
fn values(declared: &[DeclaredValue], fold: impl Fn(&str) -> String) -> Vec<ValueMatch> {
    let mut seen = BTreeSet::new();
    let mut values: Vec<ValueMatch> = Vec::new();
    for value in declared {
        let name: Text = fold(&value.name).into();
        if seen.insert(name.clone()) {
            let pattern = if value.regex { ValuePattern::Regex(value.value.clone()) } else { ValuePattern::Exact(value.value.clone()) };
            values.push(ValueMatch { name, value: pattern });
        }
    }
    values.sort();
    values
}

/// The place of a match among others of its host; the smaller is tried first. Exact paths, then longer prefixes, then regular
/// expressions (longer ones first), then the prefix `/`, which says nothing; then method, number of headers, number of parameters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Precedence {
    path: PathRank,
    any_protocol: bool,
    any_method: bool,
    headers: Reverse<usize>,
    query: Reverse<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Exact,
    Prefix(Reverse<usize>),
    Regex(Reverse<usize>),
    Root,
}

impl Precedence {
    pub(crate) fn of(matcher: &RouteMatch) -> Self {
        let path = match &matcher.path {
            PathMatch::Exact(_) => PathRank::Exact,
            PathMatch::Prefix(path) if &**path == "/" => PathRank::Root,
            PathMatch::Prefix(path) => PathRank::Prefix(Reverse(path.chars().count())),
            PathMatch::Regex(pattern) => PathRank::Regex(Reverse(pattern.chars().count())),
        };
        Self {
            path,
            any_protocol: !matcher.grpc,
            any_method: matcher.method.is_none(),
            headers: Reverse(matcher.headers.len()),
            query: Reverse(matcher.query.len()),
        }
    }
}

/// What a match is called: by what it says, so that reordering renames nothing.
pub(crate) fn label(matcher: &RouteMatch) -> String {
    let path = match &matcher.path {
        PathMatch::Exact(path) => format!("={path}"),
        PathMatch::Prefix(path) => format!("{path}*"),
        PathMatch::Regex(pattern) => format!("~{pattern}"),
    };
    let method = matcher.method.as_ref().map(|method| format!("{method}:")).unwrap_or_default();
    let readable = path.len() <= limits::LABEL_PATH_BYTES_MAX && path.bytes().all(|b| b.is_ascii_graphic());
    let plain = readable && matcher.headers.is_empty() && matcher.query.is_empty();
    let path = if readable { path } else { String::new() };
    let digest = if plain { String::new() } else { format!("+{}", short(&Fingerprint::of("match", matcher))) };
    format!("{method}{path}{digest}")
}

fn short(fingerprint: &Fingerprint) -> String {
    fingerprint.to_string().chars().take(8).collect()
}
