//! The standard filters of a rule or of a backend, in the words of the IR.

use std::time::Duration;

use windrose_api::declared::route::{Cors, Filter, HeaderChanges, PathModifier, Redirect, Rewrite};
use windrose_ir::route as ir;
use windrose_vocab::{Code, Diagnostic, ObjectRef, Text};

use crate::reference::field;
use crate::world::View;

/// What the filters of one list come to; mirrors are resolved elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    pub(crate) request_headers: ir::HeaderChanges,
    pub(crate) response_headers: ir::HeaderChanges,
    pub(crate) redirect: Option<ir::Redirect>,
    pub(crate) rewrite: ir::Rewrite,
    pub(crate) cors: Option<Box<ir::Cors>>,
    /// Share of each mirror, in order: numerator and denominator.
    pub(crate) mirrors: Vec<(u32, u32)>,
    /// A filter that we do not know: the rule must not pass without it.
    pub(crate) unknown: bool,
}

/// Reads the filters at `path` of a route.
pub(crate) fn filters(view: &View<'_>, route: &ObjectRef, path: &str, declared: &[Filter]) -> Filters {
    let mut all = Filters::default();
    for (index, filter) in declared.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(text) = texts(filter).into_iter().find(|text| text.chars().any(char::is_control)) {
            let message = format!("`{}` has a control character, which no header may carry; the rule answers 500", text.escape_debug());
            view.error(route, field(&path), Code::OutOfRange, message);
            all.unknown = true;
        }
        match filter {
            Filter::RequestHeaders(changes) => all.request_headers = headers(view, route, &path, changes),
            Filter::ResponseHeaders(changes) => all.response_headers = headers(view, route, &path, changes),
            Filter::Redirect(redirect) => all.redirect = Some(self::redirect(redirect)),
            Filter::Rewrite(rewrite) => all.rewrite = self::rewrite(rewrite),
            Filter::Mirror(mirror) => all.mirrors.push(share(mirror.fraction)),
            Filter::Cors(cors) => all.cors = Some(Box::new(self::cors(cors))),
            // Resolved with the backends.
            Filter::ExternalAuth(_) => {}
            Filter::Extension(reference) => {
                let message = format!("filter {}/{} is not known, so the rule answers 500", reference.kind, reference.name);
                let told = Diagnostic::error(route.clone(), field(&format!("{path}.extensionRef")), Code::Unsupported, message);
                view.tell(told.hint("policies of windrose.dev attach to the route by their own `targetRefs`"));
                all.unknown = true;
            }
        }
    }
    all
}

/// Texts that become part of a header.
fn texts(filter: &Filter) -> Vec<&Text> {
    match filter {
        Filter::RequestHeaders(changes) | Filter::ResponseHeaders(changes) => {
            changes.set.iter().chain(&changes.add).map(|(_, value)| value).collect()
        }
        Filter::Redirect(redirect) => redirect.path.iter().map(text_of).chain(&redirect.hostname).collect(),
        Filter::Rewrite(rewrite) => rewrite.path.iter().map(text_of).chain(&rewrite.hostname).collect(),
        Filter::Cors(cors) => cors.origins.iter().chain(&cors.methods).chain(&cors.headers).chain(&cors.expose).collect(),
        Filter::Mirror(_) | Filter::ExternalAuth(_) | Filter::Extension(_) => Vec::new(),
    }
}

fn text_of(path: &PathModifier) -> &Text {
    match path {
        PathModifier::Full(path) | PathModifier::Prefix(path) => path,
    }
}

fn headers(view: &View<'_>, route: &ObjectRef, path: &str, declared: &HeaderChanges) -> ir::HeaderChanges {
    let usable = |name: &Text| {
        let usable = !name.eq_ignore_ascii_case("host") && !name.starts_with(':');
        if !usable {
            let told = Diagnostic::error(
                route.clone(),
                field(path),
                Code::Unsupported,
                format!("header `{name}` cannot be changed by a header filter"),
            );
            view.tell(told.hint("use `urlRewrite.hostname`"));
        }
        usable
    };
    let pairs = |declared: &[(Text, Text)]| {
        let lower = declared.iter().filter(|(name, _)| usable(name)).map(|(name, value)| (name.to_ascii_lowercase().into(), value.clone()));
        let mut pairs: Vec<(Text, Text)> = lower.collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs
    };
    let mut remove: Vec<Text> = declared.remove.iter().filter(|name| usable(name)).map(|name| name.to_ascii_lowercase().into()).collect();
    remove.sort();
    remove.dedup();
    ir::HeaderChanges { set: pairs(&declared.set), add: pairs(&declared.add), remove }
}

fn redirect(declared: &Redirect) -> ir::Redirect {
    ir::Redirect {
        scheme: declared.scheme.clone(),
        host: declared.hostname.clone(),
        port: declared.port.map(|port| port.get()),
        path: declared.path.as_ref().map(path),
        status: declared.status.unwrap_or(302),
    }
}

fn rewrite(declared: &Rewrite) -> ir::Rewrite {
    ir::Rewrite { host: declared.hostname.clone(), path: declared.path.as_ref().map(path) }
}

/// What a path becomes.
fn path(declared: &PathModifier) -> ir::PathRewrite {
    match declared {
        PathModifier::Full(path) => ir::PathRewrite::Full(path.clone()),
        PathModifier::Prefix(path) => ir::PathRewrite::Prefix(path.clone()),
    }
}

/// A share with one of the denominators that proxies count with, never more than was asked for.
fn share((numerator, denominator): (u32, u32)) -> (u32, u32) {
    match denominator {
        100 | 10_000 | 1_000_000 => (numerator.min(denominator), denominator),
        0 => (0, 100),
        _ => {
            let millionths = u64::from(numerator.min(denominator)) * 1_000_000 / u64::from(denominator);
            (u32::try_from(millionths).unwrap_or(1_000_000), 1_000_000)
        }
    }
}

fn cors(declared: &Cors) -> ir::Cors {
    ir::Cors {
        origins: declared.origins.iter().map(origin).collect(),
        methods: declared.methods.clone(),
        headers: declared.headers.clone(),
        expose: declared.expose.clone(),
        credentials: declared.credentials,
        max_age: Duration::from_secs(u64::from(declared.max_age_seconds)),
    }
}

fn origin(declared: &Text) -> ir::OriginPattern {
    match declared.split_once('*') {
        None => ir::OriginPattern::Exact(declared.clone()),
        Some(("", "")) => ir::OriginPattern::Any,
        Some((before, after)) => ir::OriginPattern::Regex(format!("{}[a-z0-9.-]+{}", escape(before), escape(after)).into()),
    }
}

fn escape(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | ':' | '-' | '_');
    text.chars().flat_map(|c| (!plain(c)).then_some('\\').into_iter().chain([c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_never_grows_by_rounding() {
        assert_eq!(share((1, 3)), (333_333, 1_000_000));
        assert_eq!(share((7, 100)), (7, 100));
        assert_eq!(share((5, 4)), (1_000_000, 1_000_000));
        assert_eq!(share((5, 0)), (0, 100));
    }

    #[test]
    fn a_wildcard_origin_matches_labels_and_nothing_else() {
        assert_eq!(origin(&"https://*.shop.example".into()), ir::OriginPattern::Regex(r"https://[a-z0-9.-]+\.shop\.example".into()));
        assert_eq!(origin(&"*".into()), ir::OriginPattern::Any);
        assert_eq!(origin(&"https://a.example".into()), ir::OriginPattern::Exact("https://a.example".into()));
    }
}
