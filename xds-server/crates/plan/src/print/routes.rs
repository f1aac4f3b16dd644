//! One route table: hosts, and routes in the order they are tried.

use std::time::Duration;

use windrose_ir::route::{
    AuthProtocol, ExternalAuth, Forward, HashOn, HeaderChanges, PathMatch, PathRewrite, Redirect, Route, RouteAction, RouteMatch,
    RouteTable, Session, ValueMatch, ValuePattern,
};

use super::Text;
use crate::limits;

pub(super) fn print(out: &mut Text, name: &str, table: &RouteTable) {
    out.line(1, &format!("routes {name}"));
    for host in table.hosts.values() {
        let hosts = host.hosts.iter().map(ToString::to_string).chain(host.authorities.iter().map(ToString::to_string));
        out.line(2, &format!("host {}", hosts.collect::<Vec<_>>().join(" ")));
        host.external_auth.iter().for_each(|one| out.line(3, &auth(one)));
        for route in &host.routes {
            self::route(out, route);
        }
    }
}

fn route(out: &mut Text, route: &Route) {
    let share = route.share.map(|share| format!(" of a million below {}", share.below_millionths)).unwrap_or_default();
    out.line(3, &format!("{}{share} -> {}", matcher(&route.matcher), action(&route.action)));
    let mut details = vec![format!("name {}", route.name)];
    details.extend(headers("request", &route.request_headers));
    details.extend(headers("response", &route.response_headers));
    details.extend(route.cors.iter().map(|cors| format!("{cors:?}")));
    details.extend(route.external_auth.iter().map(auth));
    details.extend(route.policies.iter().map(|(filter, id)| format!("{filter} {id}")));
    details.iter().for_each(|detail| out.line(4, detail));
}

fn auth(auth: &ExternalAuth) -> String {
    let ExternalAuth::Asked(service) = auth else { return "lets nobody pass".to_owned() };
    let names = |names: &[windrose_vocab::Text]| names.join(" ");
    let how = match &service.protocol {
        AuthProtocol::Grpc { headers } => format!("by gRPC, telling headers [{}]", names(headers)),
        AuthProtocol::Http { path, headers, answer_headers } => {
            format!("by HTTP at [{path}], telling headers [{}], taking [{}]", names(headers), names(answer_headers))
        }
    };
    let first = if service.take_off.is_empty() { String::new() } else { format!("takes off {} and ", names(&service.take_off)) };
    format!("{first}asks {} {how} and {} bytes of the body", service.cluster, service.body_bytes)
}

fn matcher(matcher: &RouteMatch) -> String {
    let path = match &matcher.path {
        PathMatch::Exact(path) => format!("= {path}"),
        PathMatch::Prefix(path) => format!("{path}*"),
        PathMatch::Regex(pattern) => format!("~ {pattern}"),
    };
    let value = |kind: &'static str| {
        move |value: &ValueMatch| match &value.value {
            ValuePattern::Exact(text) => format!("{kind} {}={text}", value.name),
            ValuePattern::Regex(pattern) => format!("{kind} {}~{pattern}", value.name),
        }
    };
    let grpc = matcher.grpc.then(|| "grpc".to_owned());
    let method = matcher.method.as_ref().map(ToString::to_string);
    let headers = matcher.headers.iter().map(value("header"));
    let query = matcher.query.iter().map(value("query"));
    grpc.into_iter().chain(method).chain([path]).chain(headers).chain(query).collect::<Vec<_>>().join(" ")
}

fn action(action: &RouteAction) -> String {
    match action {
        RouteAction::Respond { status, .. } => format!("answers {status}"),
        RouteAction::Redirect(redirect) => self::redirect(redirect),
        RouteAction::Forward(forward) => self::forward(forward),
    }
}

fn redirect(redirect: &Redirect) -> String {
    let part = |value: Option<String>| value.unwrap_or_else(|| "same".to_owned());
    let path = redirect.path.as_ref().map(rewrite);
    let [scheme, host] = [&redirect.scheme, &redirect.host].map(|text| part(text.as_ref().map(ToString::to_string)));
    format!("redirects {} to {scheme}://{host}:{} path {}", redirect.status, part(redirect.port.map(|port| port.to_string())), part(path))
}

fn rewrite(path: &PathRewrite) -> String {
    match path {
        PathRewrite::Full(path) => path.to_string(),
        PathRewrite::Prefix(path) => format!("{path}*"),
    }
}

fn forward(forward: &Forward) -> String {
    let backend = |backend: &windrose_ir::route::WeightedBackend| {
        let own = headers("request", &backend.request_headers).into_iter().chain(headers("response", &backend.response_headers));
        let own = own.chain(backend.host.iter().map(|host| format!("host {host}"))).collect::<Vec<_>>().join(", ");
        let own = if own.is_empty() { own } else { format!(" ({own})") };
        format!("{} {}{own}", backend.cluster.as_deref().unwrap_or("500"), backend.weight)
    };
    let mut parts = vec![forward.backends.iter().map(backend).collect::<Vec<_>>().join(" | ")];
    parts.extend(forward.rewrite.host.iter().map(|host| format!("host {host}")));
    parts.extend(forward.rewrite.path.iter().map(|path| format!("path {}", rewrite(path))));
    if forward.timeout != limits::REQUEST_TIMEOUT {
        parts.push(if forward.timeout == Duration::ZERO { "no timeout".to_owned() } else { format!("timeout {:?}", forward.timeout) });
    }
    parts.extend(forward.idle_timeout.map(|idle| format!("idle {idle:?}")));
    parts.extend(forward.retry.iter().map(|retry| {
        let each = retry.per_try_timeout.map(|each| format!(" of {each:?}")).unwrap_or_default();
        let grpc = if retry.grpc_statuses.is_empty() { String::new() } else { format!(" {}", retry.grpc_statuses.join(" ")) };
        format!("{} retries{each} on {:?}{grpc} after {:?}", retry.attempts, retry.statuses, retry.backoff)
    }));
    parts.extend(forward.mirrors.iter().map(|mirror| format!("mirrors {}/{} to {}", mirror.numerator, mirror.denominator, mirror.cluster)));
    parts.extend(forward.hash.iter().map(|on| match on {
        HashOn::Header(name) => format!("hashes header {name}"),
        HashOn::Cookie(name, lifetime, path) => format!("hashes cookie {name} for {lifetime:?} on {path}"),
        HashOn::SourceAddress => "hashes address".to_owned(),
    }));
    parts.extend(forward.session.iter().map(|session| match session {
        Session::Cookie { name, lifetime, path } => format!("session by cookie {name} for {lifetime:?} on {path}"),
        Session::Header(name) => format!("session by header {name}"),
        Session::Hashed => "session by hash".to_owned(),
    }));
    parts.join(", ")
}

fn headers(of: &str, changes: &HeaderChanges) -> Vec<String> {
    let set = changes.set.iter().map(|(name, value)| format!("{of} set {name}: {value}"));
    let add = changes.add.iter().map(|(name, value)| format!("{of} add {name}: {value}"));
    let remove = changes.remove.iter().map(|name| format!("{of} remove {name}"));
    set.chain(add).chain(remove).collect()
}
