//! `src/descriptors.bin` is what `print` knows of Envoy's messages: cut out of the descriptor set that the crate
//! `envoy-types` ships, with what our resources can contain and nothing more. `BLESS=1` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet, MessageOptions};

const ROOTS: [&str; 65] = [
    "envoy.config.bootstrap.v3.Bootstrap",
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.core.v3.TypedExtensionConfig",
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.config.listener.v3.Listener",
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.config.route.v3.ScopedRouteConfiguration",
    "envoy.config.trace.v3.OpenTelemetryConfig",
    "envoy.config.trace.v3.ZipkinConfig",
    "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    "envoy.extensions.access_loggers.stats.v3.Config",
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    "envoy.extensions.clusters.dns.v3.DnsCluster",
    "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
    "envoy.extensions.filters.common.matcher.action.v3.SkipFilter",
    "envoy.extensions.filters.http.body_size_limit.v3.BodySizeLimit",
    "envoy.extensions.filters.http.composite.v3.Composite",
    "envoy.extensions.filters.http.composite.v3.CompositePerRoute",
    "envoy.extensions.filters.http.composite.v3.ExecuteFilterAction",
    "envoy.extensions.filters.http.cors.v3.Cors",
    "envoy.extensions.filters.http.cors.v3.CorsPolicy",
    "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
    "envoy.extensions.filters.http.filter_chain.v3.FilterChainConfig",
    "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
    "envoy.extensions.filters.http.lua.v3.Lua",
    "envoy.extensions.filters.http.lua.v3.LuaPerRoute",
    "envoy.extensions.filters.http.rbac.v3.RBAC",
    "envoy.extensions.filters.http.router.v3.Router",
    "envoy.extensions.filters.http.stateful_session.v3.StatefulSession",
    "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute",
    "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
    "envoy.extensions.filters.http.wasm.v3.Wasm",
    "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
    "envoy.extensions.filters.network.direct_response.v3.Config",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "envoy.extensions.filters.network.rbac.v3.RBAC",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    "envoy.extensions.filters.udp.udp_proxy.v3.Route",
    "envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig",
    "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
    "envoy.extensions.http.injected_credentials.generic.v3.Generic",
    "envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState",
    "envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState",
    "envoy.extensions.matching.common_inputs.network.v3.SourceIPInput",
    "envoy.extensions.matching.input_matchers.ip.v3.Ip",
    "envoy.extensions.rbac.principals.mtls_authenticated.v3.Config",
    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
    "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
    "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    "envoy.extensions.transport_sockets.tls.v3.Secret",
    "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "envoy.service.discovery.v3.DiscoveryResponse",
    "envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
    "google.protobuf.Any",
    "google.protobuf.BytesValue",
    "google.protobuf.Duration",
    "google.protobuf.Empty",
    "google.protobuf.StringValue",
    "google.protobuf.Struct",
];

#[test]
fn the_descriptors_are_those_of_the_messages_we_render() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/descriptors.bin");
    let expected = cut(&FileDescriptorSet::decode(&*std::fs::read(types_bin()).unwrap()).unwrap()).encode_to_vec();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    assert!(std::fs::read(&path).unwrap_or_default() == expected, "src/descriptors.bin is not current: run with BLESS=1");
}

/// The set as it lies in the sources that cargo unpacked, in the version that is locked.
fn types_bin() -> PathBuf {
    let lock = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../Cargo.lock")).unwrap();
    let after = lock.split("name = \"envoy-types\"\nversion = \"").nth(1).unwrap();
    let package = format!("envoy-types-{}", after.split('"').next().unwrap());
    let home = std::env::var_os("CARGO_HOME").map_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cargo"), PathBuf::from);
    let registries = std::fs::read_dir(home.join("registry/src")).unwrap();
    let found =
        registries.map(|registry| registry.unwrap().path().join(&package).join("src/generated/types.bin")).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("the sources of {package} are not in {}", home.display()))
}

/// The messages and enums that the roots reach, without options, in files without what nobody imports.
fn cut(set: &FileDescriptorSet) -> FileDescriptorSet {
    let mut index = BTreeMap::new();
    for file in &set.file {
        for message in &file.message_type {
            index.insert(format!(".{}.{}", file.package(), message.name()), (file.name(), message));
        }
    }
    let mut reached = BTreeSet::new();
    let mut pending: Vec<String> = ROOTS.iter().map(|name| format!(".{name}")).collect();
    while let Some(name) = pending.pop() {
        let Some(top) = top_level(&name, &index) else { continue };
        if reached.insert(top.clone()) {
            references(index[&top].1, &mut pending);
        }
    }
    FileDescriptorSet { file: set.file.iter().filter_map(|file| cut_file(file, &reached, set)).collect() }
}

fn top_level(name: &str, index: &BTreeMap<String, (&str, &DescriptorProto)>) -> Option<String> {
    let mut name = name;
    loop {
        if index.contains_key(name) {
            return Some(name.to_owned());
        }
        name = name.rsplit_once('.')?.0;
    }
}

fn references(message: &DescriptorProto, into: &mut Vec<String>) {
    into.extend(message.field.iter().filter_map(|field| field.type_name.clone()));
    message.nested_type.iter().for_each(|nested| references(nested, into));
}

fn cut_file(file: &FileDescriptorProto, reached: &BTreeSet<String>, set: &FileDescriptorSet) -> Option<FileDescriptorProto> {
    let kept = |name: &str| reached.contains(&format!(".{}.{name}", file.package()));
    let messages: Vec<_> = file.message_type.iter().filter(|message| kept(message.name())).map(without_options).collect();
    let (mut used, mut names) = (BTreeSet::new(), Vec::new());
    messages.iter().for_each(|message| references(message, &mut names));
    for other in &set.file {
        let defines = |name: &str| {
            let own = name.strip_prefix(&format!(".{}.", other.package())).map(|rest| rest.split('.').next().unwrap_or(rest).to_owned());
            own.is_some_and(|own| {
                other.message_type.iter().any(|message| message.name() == own) || other.enum_type.iter().any(|one| one.name() == own)
            })
        };
        if other.name() != file.name() && names.iter().any(|name| defines(name)) {
            used.insert(other.name().to_owned());
        }
    }
    let enums: Vec<_> = file.enum_type.iter().filter(|one| is_used(file, one, reached, set)).map(plain_enum).collect();
    (!messages.is_empty() || !enums.is_empty()).then(|| FileDescriptorProto {
        name: file.name.clone(),
        package: file.package.clone(),
        dependency: used.into_iter().collect(),
        message_type: messages,
        enum_type: enums,
        syntax: file.syntax.clone(),
        ..Default::default()
    })
}

fn is_used(file: &FileDescriptorProto, one: &EnumDescriptorProto, reached: &BTreeSet<String>, set: &FileDescriptorSet) -> bool {
    let full = format!(".{}.{}", file.package(), one.name());
    set.file.iter().any(|other| {
        other.message_type.iter().filter(|message| reached.contains(&format!(".{}.{}", other.package(), message.name()))).any(|message| {
            let mut names = Vec::new();
            references(message, &mut names);
            names.contains(&full)
        })
    })
}

fn without_options(message: &DescriptorProto) -> DescriptorProto {
    let map_entry = message.options.as_ref().and_then(|options| options.map_entry);
    let mut message = message.clone();
    message.options = map_entry.map(|entry| MessageOptions { map_entry: Some(entry), ..Default::default() });
    message.field.iter_mut().for_each(|field| field.options = None);
    message.oneof_decl.iter_mut().for_each(|oneof| oneof.options = None);
    message.nested_type = message.nested_type.iter().map(without_options).collect();
    message.enum_type = message.enum_type.iter().map(plain_enum).collect();
    message.reserved_range.clear();
    message.reserved_name.clear();
    message
}

fn plain_enum(one: &EnumDescriptorProto) -> EnumDescriptorProto {
    let mut one = one.clone();
    one.options = None;
    one.value.iter_mut().for_each(|value| value.options = None);
    one.reserved_range.clear();
    one.reserved_name.clear();
    one
}
