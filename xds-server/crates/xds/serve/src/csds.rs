//! What each client has, in the words of CSDS (`envoy.service.status.v3`). Pure. Private keys never show: neither secrets
//! nor extensions, which can hold keys, are shown with their content.

use std::time::SystemTime;

use envoy_types::pb::envoy::admin::v3::{ClientResourceStatus, UpdateFailureState};
use envoy_types::pb::envoy::config::core::v3::{Locality, Node};
use envoy_types::pb::envoy::service::status::v3::client_config::GenericXdsConfig;
use envoy_types::pb::envoy::service::status::v3::{ClientConfig, ClientStatusRequest, ClientStatusResponse, ConfigStatus};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{NodeMatcher, StringMatcher};
use envoy_types::pb::google::protobuf::{Any, Timestamp};
use tonic::Status;
use windrose_state::observed::KindStatus;
use windrose_state::{Rejection, StreamStatus};
use windrose_vocab::{Resource, ResourceKind, Text};

use crate::limits;

/// The answer to `request` about `clients`, in their order.
///
/// # Errors
/// `INVALID_ARGUMENT` for matchers we do not know, `RESOURCE_EXHAUSTED` for an answer beyond [`limits::STATUS_BYTES`].
pub fn answer(clients: &[StreamStatus], request: &ClientStatusRequest) -> Result<ClientStatusResponse, Status> {
    if request.node_matchers.len() > limits::NODE_MATCHERS {
        return Err(Status::invalid_argument("too many node matchers"));
    }
    let mut config = Vec::new();
    let mut room = limits::STATUS_BYTES;
    for client in clients {
        if is_matched(client, &request.node_matchers)? {
            config.push(client_config(client, !request.exclude_resource_contents, &mut room)?);
        }
    }
    Ok(ClientStatusResponse { config })
}

fn is_matched(client: &StreamStatus, matchers: &[NodeMatcher]) -> Result<bool, Status> {
    let mut any = matchers.is_empty();
    for matcher in matchers {
        if !matcher.node_metadatas.is_empty() {
            return Err(Status::invalid_argument("matching by node metadata is not supported; match by node_id"));
        }
        any |= match &matcher.node_id {
            Some(pattern) => matches(pattern, &client.opened.node)?,
            None => true,
        };
    }
    Ok(any)
}

fn matches(matcher: &StringMatcher, text: &str) -> Result<bool, Status> {
    let fold = |text: &str| if matcher.ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let text = fold(text);
    match &matcher.match_pattern {
        Some(MatchPattern::Exact(exact)) => Ok(text == fold(exact)),
        Some(MatchPattern::Prefix(prefix)) => Ok(text.starts_with(&fold(prefix))),
        Some(MatchPattern::Suffix(suffix)) => Ok(text.ends_with(&fold(suffix))),
        Some(MatchPattern::Contains(part)) => Ok(text.contains(&fold(part))),
        _ => Err(Status::invalid_argument("node_id is matched by exact, prefix, suffix or contains")),
    }
}

fn client_config(client: &StreamStatus, contents: bool, room: &mut usize) -> Result<ClientConfig, Status> {
    let mut generic_xds_configs = Vec::new();
    for kind in ResourceKind::ALL {
        let status = client.of_kind(kind);
        let absent = status.missing.first.iter().filter(|name| !status.sent.contains_key(*name) && !status.rejected.contains_key(*name));
        for name in absent {
            *room = room.checked_sub(name.len() + 256).ok_or_else(too_long)?;
            generic_xds_configs.push(not_sent(kind, name));
        }
        for (name, resource) in &status.sent {
            let shown = contents && is_shown(kind);
            let cost = name.len() + 256 + if shown { resource.bytes.len() } else { 0 };
            *room = room.checked_sub(cost).ok_or_else(too_long)?;
            generic_xds_configs.push(held(kind, status, resource, shown));
        }
        for (name, rejection) in status.rejected.iter().filter(|(name, _)| !status.sent.contains_key(*name)) {
            *room = room.checked_sub(name.len() + 1_024).ok_or_else(too_long)?;
            generic_xds_configs.push(only_rejected(kind, name, rejection));
        }
    }
    let scope = &client.opened.scope;
    let locality = scope.class.zone.as_ref().map(|zone| Locality { zone: zone.to_string(), ..Default::default() });
    let node = Node { id: client.opened.node.to_string(), cluster: scope.proxy.to_string(), locality, ..Default::default() };
    Ok(ClientConfig { node: Some(node), generic_xds_configs, client_scope: client.opened.identity.to_string(), ..Default::default() })
}

fn too_long() -> Status {
    Status::resource_exhausted("the answer is too long: set exclude_resource_contents, or name fewer clients by node_matchers")
}

/// An extension holds a filter's configuration, and a symmetric key may be part of it.
fn is_shown(kind: ResourceKind) -> bool {
    match kind {
        ResourceKind::Secret | ResourceKind::Extension => false,
        ResourceKind::Cluster | ResourceKind::Endpoints | ResourceKind::Listener | ResourceKind::ScopedRoutes | ResourceKind::Routes => {
            true
        }
    }
}

fn held(kind: ResourceKind, status: &KindStatus, resource: &Resource, shown: bool) -> GenericXdsConfig {
    let rejection = status.rejected.get(&resource.id.name);
    let acked = status.acked.get(&resource.id.name).is_some_and(|acked| acked.version == resource.version);
    let (config_status, client_status) = match (rejection, acked) {
        (Some(_), _) => (ConfigStatus::Error, ClientResourceStatus::Nacked),
        (None, true) => (ConfigStatus::Synced, ClientResourceStatus::Acked),
        (None, false) => (ConfigStatus::Stale, ClientResourceStatus::Requested),
    };
    let content = || Any { type_url: kind.type_url().to_owned(), value: resource.bytes.to_vec() };
    // Of what another replica serves, only names and versions are known.
    let shown = shown && !resource.bytes.is_empty();
    GenericXdsConfig {
        type_url: kind.type_url().to_owned(),
        name: resource.id.name.to_string(),
        version_info: resource.version.to_string(),
        xds_config: shown.then(content),
        last_updated: status.acked_at.filter(|_| acked).map(timestamp),
        config_status: config_status.into(),
        client_status: client_status.into(),
        error_state: rejection.map(failure),
        is_static_resource: false,
    }
}

fn only_rejected(kind: ResourceKind, name: &Text, rejection: &Rejection) -> GenericXdsConfig {
    GenericXdsConfig {
        type_url: kind.type_url().to_owned(),
        name: name.to_string(),
        config_status: ConfigStatus::Error.into(),
        client_status: ClientResourceStatus::Nacked.into(),
        error_state: Some(failure(rejection)),
        ..Default::default()
    }
}

/// Asked for, and not there to be sent.
fn not_sent(kind: ResourceKind, name: &Text) -> GenericXdsConfig {
    GenericXdsConfig {
        type_url: kind.type_url().to_owned(),
        name: name.to_string(),
        config_status: ConfigStatus::NotSent.into(),
        client_status: ClientResourceStatus::DoesNotExist.into(),
        ..Default::default()
    }
}

fn failure(rejection: &Rejection) -> UpdateFailureState {
    UpdateFailureState {
        failed_configuration: None,
        last_update_attempt: Some(timestamp(rejection.at)),
        details: rejection.reason.to_string(),
        version_info: rejection.version.to_string(),
    }
}

fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let nanos = i32::try_from(since.subsec_nanos()).unwrap_or(0);
    Timestamp { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos }
}
