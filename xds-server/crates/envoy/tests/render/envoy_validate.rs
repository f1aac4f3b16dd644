//! The real Envoy's word on what is rendered.

use crate::fixture;
use std::path::Path;
use std::process::Command;

use envoy_types::pb::envoy::extensions::filters::http::filter_chain::v3::FilterChainConfig;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use prost::{Message as _, Name as _};
use windrose_envoy::bootstrap::{AdminPages, Identity, Server, Settings};
use windrose_envoy::inline;
use windrose_vocab::{Resource, ResourceKind};

/// Envoy's complaint about a bootstrap in a file of that name, or `None` if it takes it.
fn complaint(name: &str, bootstrap: impl AsRef<[u8]>) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bootstrap).unwrap();
    validate(&path)
}

fn validate(path: &Path) -> Option<String> {
    let envoy = std::env::var_os("ENVOY").expect("ENVOY names an Envoy 1.40 binary");
    let output = Command::new(envoy).args(["--mode", "validate", "-l", "warn", "-c"]).arg(path).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (!output.status.success()).then_some(text)
}

fn everything() -> Vec<Resource> {
    fixture::complete(&fixture::renderer().full(&fixture::everything()))
}

#[test]
fn every_shape_of_the_ir_is_taken_by_envoy() {
    assert_eq!(complaint("bootstrap.pb", inline::bootstrap(&everything())), None);
}

#[test]
fn what_is_printed_is_what_is_sent() {
    assert_eq!(complaint("bootstrap.yaml", inline::bootstrap_yaml(&everything())), None);
}

/// Without this the two tests above would hold for an Envoy that looks at nothing.
#[test]
fn one_broken_resource_of_any_kind_is_refused_with_its_reason() {
    let cases = [
        (ResourceKind::Cluster, "origin", "seconds: -1"),
        (ResourceKind::Endpoints, "orders", "address"),
        (ResourceKind::Secret, "edge", "certificate"),
        (ResourceKind::Extension, "edge/jwt", "edge/jwt"),
        (ResourceKind::Listener, "edge/scoped", "address"),
        (ResourceKind::ScopedRoutes, "scoped/a.example", "missing )"),
        (ResourceKind::Routes, "shop", "missing )"),
    ];
    for (kind, name, reason) in cases {
        let mut resources = everything();
        let broken = resources.iter_mut().find(|resource| resource.id.kind == kind && &*resource.id.name == name).unwrap();
        broken.bytes = broken_bytes(broken).into();
        let complaint = complaint("bootstrap.pb", inline::bootstrap(&resources)).unwrap_or_else(|| panic!("a broken {kind} was taken"));
        assert!(complaint.contains(reason), "{kind}: {complaint}");
    }
}

/// The resource with one mistake that only Envoy would find.
fn broken_bytes(resource: &Resource) -> Vec<u8> {
    use envoy_types::pb::envoy::config as pb;
    use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
    let bad_match = |routes: &mut pb::route::v3::RouteConfiguration| {
        let regex = envoy_types::pb::envoy::r#type::matcher::v3::RegexMatcher { regex: "(".into(), engine_type: None };
        let matcher = routes.virtual_hosts[0].routes[0].r#match.as_mut().unwrap();
        matcher.path_specifier = Some(pb::route::v3::route_match::PathSpecifier::SafeRegex(regex));
    };
    match resource.id.kind {
        ResourceKind::Cluster => {
            let mut cluster = pb::cluster::v3::Cluster::decode(&*resource.bytes).unwrap();
            cluster.connect_timeout = Some(envoy_types::pb::google::protobuf::Duration { seconds: -1, nanos: 0 });
            cluster.encode_to_vec()
        }
        ResourceKind::Endpoints => {
            let mut assignment = pb::endpoint::v3::ClusterLoadAssignment::decode(&*resource.bytes).unwrap();
            let endpoint = pb::endpoint::v3::Endpoint { address: Some(pb::core::v3::Address { address: None }), ..Default::default() };
            assignment.endpoints[0].lb_endpoints[0].host_identifier =
                Some(pb::endpoint::v3::lb_endpoint::HostIdentifier::Endpoint(endpoint));
            assignment.encode_to_vec()
        }
        ResourceKind::Secret => {
            let mut secret = tls::Secret::decode(&*resource.bytes).unwrap();
            let Some(tls::secret::Type::TlsCertificate(pair)) = &mut secret.r#type else { panic!("not a certificate") };
            let text = pb::core::v3::data_source::Specifier::InlineString("-----BEGIN CERTIFICATE-----".into());
            pair.certificate_chain.as_mut().unwrap().specifier = Some(text);
            secret.encode_to_vec()
        }
        ResourceKind::Extension => {
            let mut extension = pb::core::v3::TypedExtensionConfig::decode(&*resource.bytes).unwrap();
            let outer = extension.typed_config.as_mut().unwrap();
            let mut chain = FilterChainConfig::decode(&*outer.value).unwrap();
            let filters = &mut chain.default_filter_chain.as_mut().unwrap().filters;
            let any = filters.iter_mut().filter_map(|filter| filter.typed_config.as_mut()).find(|any| any.type_url == Wasm::type_url());
            let any = any.unwrap();
            let mut wasm = Wasm::decode(&*any.value).unwrap();
            let Some(envoy_types::pb::envoy::extensions::wasm::v3::plugin_config::Vm::VmConfig(vm)) = &mut wasm.config.as_mut().unwrap().vm
            else {
                panic!("no VM")
            };
            vm.runtime = "envoy.wasm.runtime.none".into();
            any.value = wasm.encode_to_vec();
            outer.value = chain.encode_to_vec();
            extension.encode_to_vec()
        }
        ResourceKind::Listener => {
            let mut listener = pb::listener::v3::Listener::decode(&*resource.bytes).unwrap();
            listener.address = Some(pb::core::v3::Address { address: None });
            listener.encode_to_vec()
        }
        ResourceKind::ScopedRoutes => {
            let mut scope = pb::route::v3::ScopedRouteConfiguration::decode(&*resource.bytes).unwrap();
            bad_match(scope.route_configuration.as_mut().unwrap());
            scope.encode_to_vec()
        }
        ResourceKind::Routes => {
            let mut routes = pb::route::v3::RouteConfiguration::decode(&*resource.bytes).unwrap();
            bad_match(&mut routes);
            routes.encode_to_vec()
        }
    }
}

#[test]
fn a_bootstrap_is_taken_with_either_identity() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().into();
    let (chain, key, trust) = fixture::certificate();
    std::fs::write(folder.path().join("chain.pem"), chain).unwrap();
    std::fs::write(folder.path().join("key.pem"), key).unwrap();
    std::fs::write(folder.path().join("token"), "secret-token").unwrap();
    let certificate = Identity::Certificate { chain: path("chain.pem"), key: path("key.pem"), directory: path("") };
    let token = Identity::Token { file: path("token"), directory: path("") };
    for (identity, admin) in
        [(certificate, AdminPages::Unix(path("admin.sock"))), (token, AdminPages::Socket("127.0.0.1:9901".parse().unwrap()))]
    {
        let settings = Settings {
            node_id: "edge-1".into(),
            node_cluster: "edge".into(),
            metadata: [("version".into(), "1".into())].into(),
            zone: Some("a".into()),
            server: Server { host: "127.0.0.1".into(), port: 15010, name: "windrose".into(), trust: trust.as_str().into() },
            identity,
            state_of_the_world: false,
            folder: path(""),
            admin,
            max_connections: 10_000,
        };
        for (name, content) in windrose_envoy::bootstrap::files(&settings) {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        assert_eq!(validate(&folder.path().join(windrose_envoy::bootstrap::BOOTSTRAP_FILE)), None);
    }
}
