//! The built modules, and the least of Envoy that runs one: a listener, a Wasm filter or two, routes that name policies,
//! an upstream that tells what reached it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use envoy_types::pb::envoy::config::core::v3::ExtensionConfigSource;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;
use prost::{Message, Name};
use serde_json::{Value, json};
use windrose_tests::places;

/// The module of a filter as it ships: from the folder that `WINDROSE_FILTERS` names, else built now.
///
/// # Panics
/// When it cannot be built.
pub(crate) fn built(name: &str) -> PathBuf {
    // Cargo would wait for itself anyway, and say so in the output.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let file = format!("{name}.wasm");
    if let Some(folder) = std::env::var_os("WINDROSE_FILTERS") {
        return Path::new(&folder).join(file);
    }
    let _guard = ONE_AT_A_TIME.lock().unwrap();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| places::checkout().join("target"), PathBuf::from);
    let script = places::checkout().join("wasm-filters/build.sh");
    let output = Command::new(script).arg(name).env("CARGO_TARGET_DIR", &target).output().expect("build.sh can be run");
    assert!(output.status.success(), "the filter {name} is not built:\n{}", String::from_utf8_lossy(&output.stderr));
    target.join("wasm-modules").join(file)
}

/// Writes a module of the test's own, given as text.
///
/// # Panics
/// When the text is no module.
pub(crate) fn from_text(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(format!("{name}.wasm"));
    std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
    path
}

/// A file that is no module.
pub(crate) fn no_module(folder: &Path) -> PathBuf {
    let path = folder.join("not.wasm");
    std::fs::write(&path, "not a module").unwrap();
    path
}

/// The Wasm filter `name` as the renderer would configure it, with code from a file.
pub(crate) fn filter(name: &str, module: &Path, configuration: &Value) -> Value {
    json!({"name": name, "typed_config": plugin(name, module, configuration)})
}

/// The typed configuration of [`filter`].
pub(crate) fn plugin(name: &str, module: &Path, configuration: &Value) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": name,
            "root_id": name,
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration.to_string()},
            "failure_policy": "FAIL_RELOAD",
            "reload_config": {"backoff": {"base_interval": "0.1s", "max_interval": "0.1s"}},
            "allow_on_headers_stop_iteration": true,
            "vm_config": {
                "vm_id": format!("windrose.{name}"),
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": module}}
            }
        }
    })
}

/// What stands behind the filter `of`, as the renderer would put it there: it does the edits that the filter hands over.
pub(crate) fn edits(of: &str) -> Value {
    json!({"name": format!("edits of {of}"), "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": {"inline_string": windrose_filter_kit::edits_script(of)},
        "clear_route_cache": false,
    }})
}

/// A route with a prefix, to the upstream; with a policy in its metadata if there is one.
pub(crate) fn route(prefix: &str, policy: Option<&str>) -> Value {
    let metadata = policy.map_or(json!({}), |policy| json!({"filter_metadata": {"windrose": {"policy": policy}}}));
    json!({"match": {"prefix": prefix}, "metadata": metadata, "route": {"cluster": "upstream"}})
}

/// A bootstrap with one listener, these filters before the router, and these routes.
pub(crate) fn bootstrap(listener: SocketAddr, upstream: SocketAddr, filters: &[Value], routes: &[Value]) -> String {
    let address = |at: SocketAddr| json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}});
    let router = json!({"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": filters.iter().chain([&router]).collect::<Vec<_>>(),
    });
    json!({"node": {"id": "test", "cluster": "test"}, "static_resources": {
        "listeners": [{
            "name": "test",
            "address": address(listener),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }],
        "clusters": [{
            "name": "upstream",
            "type": "STATIC",
            "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(upstream)}}]}]},
        }],
    }})
    .to_string()
}

/// A module that panics at every request, as Rust does: by `unreachable`.
pub(crate) const PANICKING: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))"#;

/// The filter `name` as the product delivers it: in the place that the renderer makes for it, by ECDS (here from a file of `folder`).
pub(crate) fn delivered(folder: &Path, name: &str, plugin: &Value) -> Value {
    deliver(folder, name, plugin);
    let place = place(name);
    json!({"name": name, "config_discovery": {
        "config_source": {"path_config_source": {"path": delivery(folder, name)}, "resource_api_version": "V3"},
        "type_urls": place.type_urls,
        "default_config": {"@type": Rbac::type_url(), "rules": {}},
        "apply_default_config_without_warming": place.apply_default_config_without_warming,
    }})
}

/// The place of a filter as it is rendered, with the default that [`delivered`] writes.
fn place(name: &str) -> ExtensionConfigSource {
    let Some(ConfigType::ConfigDiscovery(place)) = windrose_envoy::discovered(name).config_type else { panic!("{name} has no place") };
    let denying = Rbac { rules: Some(Default::default()), ..Rbac::default() };
    assert_eq!(place.default_config.as_ref().map(|default| &default.value), Some(&denying.encode_to_vec()));
    place
}

/// Replaces what [`delivered`] delivers; Envoy follows the rename.
pub(crate) fn deliver(folder: &Path, name: &str, plugin: &Value) {
    let chain = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.filter_chain.v3.FilterChainConfig",
        "default_filter_chain": {"filters": [{"name": name, "typed_config": plugin}]},
    });
    let resource = json!({"@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", "name": name, "typed_config": chain});
    let new = folder.join("ecds.new");
    std::fs::write(&new, json!({"resources": [resource]}).to_string()).unwrap();
    std::fs::rename(new, delivery(folder, name)).unwrap();
}

fn delivery(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.ecds.json"))
}
