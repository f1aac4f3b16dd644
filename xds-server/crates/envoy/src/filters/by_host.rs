//! A filter for some hosts of a listener: requests for others pass it by. It does not look at the route: what finds none is judged too.

use windrose_ir::http::HostScope;
use windrose_vocab::Hostname;

use super::skip;
use crate::pb;
use pb::hcm::http_filter::ConfigType;
use pb::xds_matcher::matcher::matcher_list::Predicate;

const AUTHORITY: &str = ":authority";

/// What an authority looks like of which everybody says that it has the same host: a name or a bracketed address, and perhaps a port.
/// Whatever does not look so is nobody's in particular, and no filter is passed by.
const PLAIN: &str = r"[^:\[\]]*(:[^:\[\]]*)?|\[[^\[\]]*\](:[^:\[\]]*)?";

/// The filter, which judges the requests of these hosts alone.
pub(super) fn only(scope: &HostScope, filter: pb::hcm::HttpFilter) -> pb::hcm::HttpFilter {
    let typed_config = match filter.config_type {
        Some(ConfigType::TypedConfig(config)) => Some(config),
        Some(ConfigType::ConfigDiscovery(_)) | None => None,
    };
    let inner = pb::core::TypedExtensionConfig { name: filter.name.clone(), typed_config };
    skip::unless(&filter.name, inner, passed_by(scope))
}

/// Whose requests pass it by: those of each name that it does not judge and that no more specific name covers.
fn passed_by(scope: &HostScope) -> Vec<Predicate> {
    let others = (!scope.others).then(Hostname::any);
    let names = scope.hosts.iter().filter(|(_, judged)| !judged).map(|(host, _)| host.clone());
    let all: Vec<Hostname> = others.into_iter().filter(|any| scope.hosts.iter().all(|(host, _)| host != any)).chain(names).collect();
    let one = |name: &Hostname| {
        let within: Vec<&Hostname> = scope.hosts.iter().map(|(host, _)| host).filter(|host| *host != name && name.covers(host)).collect();
        let named = (!name.is_any()).then(|| skip::header(AUTHORITY, &pattern(&[name])));
        let not_within = (!within.is_empty()).then(|| skip::not(skip::header(AUTHORITY, &pattern(&within))));
        skip::all([Some(skip::header(AUTHORITY, PLAIN)), named, not_within].into_iter().flatten().collect())
    };
    all.iter().map(one).collect()
}

/// Authorities of these hosts, in whatever letters and with any port, as routes take them.
fn pattern(hosts: &[&Hostname]) -> String {
    let one = |host: &&Hostname| match host.suffix() {
        Some(suffix) => format!("[^:]+{}", suffix.replace('.', r"\.")),
        None if host.is_any() => "[^:]*".to_owned(),
        None => host.as_str().replace('.', r"\."),
    };
    format!("(?i)({})(:.*)?", hosts.iter().map(one).collect::<Vec<_>>().join("|"))
}
