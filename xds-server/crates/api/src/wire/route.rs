//! Routes of all kinds. They share parents, backends and filters, so one set of types reads them all;
//! the schema of the kind has refused what that kind cannot say.

use regex::Regex;
use serde::Deserialize;
use windrose_vocab::{Code, Hostname, Kind, Port, Severity, Text, Weight};

use super::Enveloped;
use super::reference::Reference;
use crate::declared::Meta;
use crate::declared::route::{
    AuthProtocol, BackendRef, Cors, ExternalAuth, Filter, HeaderChanges, Match, Mirror, ParentRef, PathMatch, PathModifier, Redirect,
    Retry, Rewrite, Route, Rule, SessionPersistence, ValueMatch,
};
use crate::decode::{Path, Report};
use crate::scalar::Duration;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RouteSpec {
    parent_refs: Vec<WrittenParent>,
    hostnames: Vec<String>,
    rules: Vec<WrittenRule>,
    use_default_gateways: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenParent {
    #[serde(flatten)]
    target: Reference,
    section_name: Option<String>,
    port: Option<i64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenRule {
    name: Option<String>,
    matches: Vec<WrittenMatch>,
    filters: Vec<WrittenFilter>,
    backend_refs: Vec<WrittenBackend>,
    timeouts: WrittenTimeouts,
    retry: Option<WrittenRetry>,
    session_persistence: Option<WrittenSession>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenMatch {
    path: Typed,
    method: Option<Method>,
    headers: Vec<Typed>,
    query_params: Vec<Typed>,
}

/// A method of HTTP is a word, one of gRPC is a mapping.
#[derive(Deserialize)]
#[serde(untagged)]
enum Method {
    Http(String),
    Grpc(GrpcMethod),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GrpcMethod {
    r#type: String,
    service: Option<String>,
    method: Option<String>,
}

/// A value with the way it is compared.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Typed {
    r#type: String,
    name: String,
    value: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenBackend {
    #[serde(flatten)]
    target: Reference,
    port: Option<i64>,
    weight: Option<i64>,
    filters: Vec<WrittenFilter>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WrittenFilter {
    request_header_modifier: Option<HeaderModifier>,
    response_header_modifier: Option<HeaderModifier>,
    request_mirror: Option<WrittenMirror>,
    request_redirect: Option<WrittenRedirect>,
    url_rewrite: Option<WrittenRewrite>,
    extension_ref: Option<Reference>,
    cors: Option<WrittenCors>,
    external_auth: Option<WrittenAuth>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HeaderModifier {
    set: Vec<Typed>,
    add: Vec<Typed>,
    remove: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenMirror {
    backend_ref: WrittenBackend,
    percent: Option<u32>,
    fraction: Option<Fraction>,
}

#[derive(Deserialize)]
struct Fraction {
    numerator: u32,
    denominator: u32,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenRedirect {
    scheme: Option<String>,
    hostname: Option<String>,
    port: Option<i64>,
    path: Option<WrittenModifier>,
    status_code: Option<u16>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenRewrite {
    hostname: Option<String>,
    path: Option<WrittenModifier>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenModifier {
    replace_full_path: Option<String>,
    replace_prefix_match: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenCors {
    allow_origins: Vec<String>,
    allow_credentials: bool,
    allow_methods: Vec<String>,
    allow_headers: Vec<String>,
    expose_headers: Vec<String>,
    max_age: u32,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenAuth {
    protocol: String,
    backend_ref: WrittenBackend,
    grpc: WrittenAskedBy,
    http: WrittenAskedBy,
    forward_body: WrittenBody,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenAskedBy {
    path: String,
    allowed_headers: Vec<String>,
    allowed_response_headers: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenBody {
    max_size: u32,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenTimeouts {
    request: Option<Duration>,
    backend_request: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenRetry {
    codes: Vec<u16>,
    attempts: Option<u32>,
    backoff: Option<Duration>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenSession {
    r#type: String,
    cookie: Cookie,
    header: Option<Typed>,
    absolute_timeout: Option<Duration>,
    /// The name of the cookie or header, in the words of v1.6.
    session_name: Option<String>,
    /// The cookie, in the words of v1.6.
    cookie_config: Cookie,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Cookie {
    name: Option<String>,
    path: Option<String>,
    lifetime_type: String,
}

pub(super) fn route(written: Enveloped<RouteSpec>, meta: &Meta, report: &mut Report) -> Option<Route> {
    let root = Path::ROOT;
    let at = root.field("spec");
    let spec = written.spec;
    if spec.use_default_gateways.as_deref().is_some_and(|scope| scope != "None") {
        let message = "default Gateways are not supported: name the parents in `parentRefs`";
        report.tell(&at.field("useDefaultGateways"), Severity::Warning, Code::Unsupported, message.to_owned(), None);
    }
    let at_rules = at.field("rules");
    let rules = spec.rules.into_iter().enumerate();
    Some(Route {
        parents: spec.parent_refs.into_iter().map(parent).collect(),
        hostnames: hostnames(spec.hostnames, &at.field("hostnames"), report),
        rules: rules.map(|(index, written)| rule(written, meta.object.kind, &at_rules.index(index), report)).collect(),
    })
}

fn parent(written: WrittenParent) -> ParentRef {
    let section = written.section_name.filter(|name| !name.is_empty()).map(Into::into);
    ParentRef { target: written.target.into(), section, port: written.port.and_then(Port::new) }
}

/// Positions must stay those of the object, so one that is refused refuses the object.
fn hostnames(written: Vec<String>, at: &Path<'_>, report: &mut Report) -> Vec<Hostname> {
    let parsed = written.into_iter().enumerate().filter_map(|(index, text)| match Hostname::parse(&text) {
        Ok(hostname) => Some(hostname),
        Err(error) => {
            report.error(&at.index(index), Code::OutOfRange, format!("`{}` {error}", text.escape_debug()));
            None
        }
    });
    parsed.collect()
}

fn rule(written: WrittenRule, kind: Kind, at: &Path<'_>, report: &mut Report) -> Rule {
    let at_matches = at.field("matches");
    let matches = written.matches.into_iter().enumerate();
    Rule {
        name: text(written.name),
        matches: matches.map(|(index, written)| matched(written, kind, &at_matches.index(index), report)).collect(),
        filters: filters(written.filters),
        backends: written.backend_refs.into_iter().map(backend).collect(),
        request_timeout: written.timeouts.request.map(|time| time.0),
        backend_timeout: written.timeouts.backend_request.map(|time| time.0),
        retry: written.retry.map(retry),
        session: written.session_persistence.map(|written| session(written, &at.field("sessionPersistence"), report)),
    }
}

fn matched(written: WrittenMatch, kind: Kind, at: &Path<'_>, report: &mut Report) -> Match {
    let headers = values(written.headers, &at.field("headers"), report);
    let at_method = at.field("method");
    match (kind, written.method) {
        (Kind::GRPCRoute, method) => {
            let method = match method {
                Some(Method::Grpc(method)) => method,
                Some(Method::Http(_)) | None => GrpcMethod::default(),
            };
            let regex = method.r#type == REGEX;
            let mut check = |name: &str, value: &Option<String>| {
                value.iter().filter(|_| regex).for_each(|value| regular_expression(value, &at_method.field(name), report));
            };
            check("service", &method.service);
            check("method", &method.method);
            Match::Grpc { regex, service: text(method.service), method: text(method.method), headers }
        }
        (_, method) => Match::Http {
            path: path(written.path, &at.field("path"), report),
            method: match method {
                Some(Method::Http(method)) => Some(method.into()),
                Some(Method::Grpc(_)) | None => None,
            },
            headers,
            query: values(written.query_params, &at.field("queryParams"), report),
        },
    }
}

const REGEX: &str = "RegularExpression";

fn path(written: Typed, at: &Path<'_>, report: &mut Report) -> PathMatch {
    match written.r#type.as_str() {
        "Exact" => PathMatch::Exact(written.value.into()),
        REGEX => {
            regular_expression(&written.value, &at.field("value"), report);
            PathMatch::Regex(written.value.into())
        }
        // The schema knows these three, and this is its default.
        _ => PathMatch::Prefix(written.value.into()),
    }
}

fn values(written: Vec<Typed>, at: &Path<'_>, report: &mut Report) -> Vec<ValueMatch> {
    let value = |(index, written): (usize, Typed)| {
        let regex = written.r#type == REGEX;
        if regex {
            regular_expression(&written.value, &at.index(index).field("value"), report);
        }
        ValueMatch { name: written.name.into(), regex, value: written.value.into() }
    };
    written.into_iter().enumerate().map(value).collect()
}

/// Envoy refuses a whole route table for one broken expression. What RE2 knows and our engine does not is left to Envoy.
fn regular_expression(text: &str, at: &Path<'_>, report: &mut Report) {
    let only_re2 = text.contains(r"\Q") || text.contains(r"\C");
    if let Err(error) = Regex::new(text)
        && !only_re2
    {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        report.error(at, Code::OutOfRange, format!("is not a regular expression: {reason}"));
    }
}

fn backend(written: WrittenBackend) -> BackendRef {
    BackendRef {
        target: written.target.into(),
        port: written.port.and_then(Port::new),
        weight: written.weight.and_then(Weight::new).unwrap_or(Weight::DEFAULT),
        filters: filters(written.filters),
    }
}

pub(super) fn filters(written: Vec<WrittenFilter>) -> Vec<Filter> {
    written.into_iter().filter_map(filter).collect()
}

/// The rules of the schema say that exactly the field of the filter's type is there.
fn filter(written: WrittenFilter) -> Option<Filter> {
    let filter = written.request_header_modifier.map(|changes| Filter::RequestHeaders(header_changes(changes)));
    filter
        .or_else(|| written.response_header_modifier.map(|changes| Filter::ResponseHeaders(header_changes(changes))))
        .or_else(|| written.request_mirror.map(|written| Filter::Mirror(mirror(written))))
        .or_else(|| written.request_redirect.map(|written| Filter::Redirect(redirect(written))))
        .or_else(|| written.url_rewrite.map(|written| Filter::Rewrite(rewrite(written))))
        .or_else(|| written.cors.map(|written| Filter::Cors(cors(written))))
        .or_else(|| written.extension_ref.map(|reference| Filter::Extension(reference.into())))
        .or_else(|| written.external_auth.map(|written| Filter::ExternalAuth(external_auth(written))))
}

fn external_auth(written: WrittenAuth) -> ExternalAuth {
    let texts = |written: Vec<String>| written.into_iter().map(Into::into).collect();
    let protocol = if written.protocol == "GRPC" {
        AuthProtocol::Grpc { headers: texts(written.grpc.allowed_headers) }
    } else {
        AuthProtocol::Http {
            path: written.http.path.into(),
            headers: texts(written.http.allowed_headers),
            answer_headers: texts(written.http.allowed_response_headers),
        }
    };
    ExternalAuth {
        target: written.backend_ref.target.into(),
        port: written.backend_ref.port.and_then(Port::new),
        protocol,
        body_bytes: written.forward_body.max_size,
    }
}

fn header_changes(written: HeaderModifier) -> HeaderChanges {
    let pairs = |written: Vec<Typed>| written.into_iter().map(|header| (header.name.into(), header.value.into())).collect();
    HeaderChanges { set: pairs(written.set), add: pairs(written.add), remove: written.remove.into_iter().map(Into::into).collect() }
}

fn mirror(written: WrittenMirror) -> Mirror {
    let fraction = match (written.percent, written.fraction) {
        (Some(percent), _) => (percent, 100),
        (None, Some(fraction)) => (fraction.numerator, fraction.denominator),
        (None, None) => (100, 100),
    };
    Mirror { target: written.backend_ref.target.into(), port: written.backend_ref.port.and_then(Port::new), fraction }
}

fn redirect(written: WrittenRedirect) -> Redirect {
    Redirect {
        scheme: text(written.scheme),
        hostname: text(written.hostname),
        port: written.port.and_then(Port::new),
        path: written.path.and_then(path_modifier),
        status: written.status_code,
    }
}

fn rewrite(written: WrittenRewrite) -> Rewrite {
    Rewrite { hostname: text(written.hostname), path: written.path.and_then(path_modifier) }
}

fn path_modifier(written: WrittenModifier) -> Option<PathModifier> {
    let full = written.replace_full_path.map(|path| PathModifier::Full(path.into()));
    full.or_else(|| written.replace_prefix_match.map(|path| PathModifier::Prefix(path.into())))
}

fn cors(written: WrittenCors) -> Cors {
    let texts = |written: Vec<String>| written.into_iter().map(Into::into).collect();
    Cors {
        origins: texts(written.allow_origins),
        credentials: written.allow_credentials,
        methods: texts(written.allow_methods),
        headers: texts(written.allow_headers),
        expose: texts(written.expose_headers),
        max_age_seconds: written.max_age,
    }
}

fn retry(written: WrittenRetry) -> Retry {
    Retry { codes: written.codes, attempts: written.attempts, backoff: written.backoff.map(|time| time.0) }
}

fn session(written: WrittenSession, at: &Path<'_>, report: &mut Report) -> SessionPersistence {
    let WrittenSession { cookie, cookie_config, header, session_name, .. } = written;
    let permanent = [&cookie, &cookie_config].iter().any(|cookie| cookie.lifetime_type == "Permanent");
    if written.absolute_timeout.is_some() && (written.r#type == "Header" || !permanent) {
        let message = "only a cookie of `lifetimeType: Permanent` ends after a time: nothing is kept of sessions";
        report.tell(&at.field("absoluteTimeout"), Severity::Warning, Code::Unsupported, message.to_owned(), None);
    }
    SessionPersistence {
        header: written.r#type == "Header",
        name: text(header.map(|header| header.name).or(cookie.name).or(session_name)),
        path: text(cookie.path),
        absolute_timeout: written.absolute_timeout.map(|time| time.0),
        permanent,
    }
}

fn text(written: Option<String>) -> Option<Text> {
    written.filter(|text| !text.is_empty()).map(Into::into)
}
