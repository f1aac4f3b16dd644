//! Our filters: in the chain a place that is filled by discovery and denies until then; the resource that fills it is
//! the Wasm module with its table of policies, where there are any, and what it needs before and behind it.

use windrose_ir::Extension;
use windrose_vocab::NodeClass;

use super::{edits, give_body, idle, jwt, rate_limit, rbac, transcoder};
use crate::limits::{RELOAD_AFTER, RELOAD_AFTER_MAX};
use crate::modules::Modules;
use crate::pb;
use pb::core::{ExtensionConfigSource, TypedExtensionConfig};
use pb::filter_chain::{FilterChain, FilterChainConfig};
use pb::wasm::{FailurePolicy, PluginConfig, ReloadConfig, VmConfig, plugin_config};

const RUNTIME: &str = "envoy.wasm.runtime.v8";

/// The place of a filter in a chain. Before its configuration is there, and after it is gone, requests are denied.
#[must_use]
pub fn discovered(name: &str) -> pb::hcm::HttpFilter {
    let denied = pb::any(&rbac::deny_all());
    let source = ExtensionConfigSource {
        config_source: pb::ads(),
        type_urls: vec![<FilterChainConfig as prost::Name>::type_url(), denied.type_url.clone()],
        default_config: Some(denied),
        // A sidecar's listener that gains the filter goes on without it until it is there: others of the port would be denied meanwhile.
        apply_default_config_without_warming: false,
    };
    let config = pb::hcm::http_filter::ConfigType::ConfigDiscovery(source);
    pb::hcm::HttpFilter { name: name.to_owned(), config_type: Some(config), ..Default::default() }
}

/// The resource that fills the place: while no policy needs the module, a filter of Envoy's own. A module that is nowhere, or a table
/// that cannot be written, is a filter that denies.
pub(crate) fn message(name: &str, extension: &Extension, class: &NodeClass, modules: &Modules) -> TypedExtensionConfig {
    if let Some(idle) = idle::instead(extension) {
        return pb::extension(name, &idle);
    }
    let runnable = code(extension, class, modules).zip(configuration(extension));
    let Some((code, configuration)) = runnable else { return closed(name) };
    let module = pb::extension(name, &plugin(name, extension, code, configuration));
    let filters = match extension {
        Extension::JwtAuth(_) => vec![module, edits::filter(module_name(extension))],
        Extension::RateLimit(_) => vec![module],
        Extension::Transcoder(_) => vec![give_body::filter(), module, edits::filter(module_name(extension))],
    };
    let chain = FilterChainConfig { default_filter_chain: Some(FilterChain { filters }) };
    pb::extension(name, &chain)
}

/// The resource of a name behind which nothing is: it denies.
pub(crate) fn closed(name: &str) -> TypedExtensionConfig {
    pb::extension(name, &rbac::deny_all())
}

/// The name of the module that runs the extension, as in `<name>.wasm`.
#[must_use]
pub fn module_name(extension: &Extension) -> &'static str {
    match extension {
        Extension::JwtAuth(_) => windrose_jwt_auth::NAME,
        Extension::RateLimit(_) => "rate-limit",
        Extension::Transcoder(_) => windrose_grpc_transcoder::NAME,
    }
}

/// Why the filter would refuse policies of the extension: id and reason. Those are denied; the others work.
#[must_use]
pub fn refused_policies(extension: &Extension) -> Vec<(String, String)> {
    match extension {
        Extension::JwtAuth(table) => jwt::check(table),
        Extension::RateLimit(table) => rate_limit::check(table),
        Extension::Transcoder(table) => transcoder::check(table),
    }
}

fn configuration(extension: &Extension) -> Option<String> {
    match extension {
        Extension::JwtAuth(table) => jwt::configuration(table),
        Extension::RateLimit(table) => rate_limit::configuration(table),
        Extension::Transcoder(table) => transcoder::configuration(table),
    }
}

fn code(extension: &Extension, class: &NodeClass, modules: &Modules) -> Option<pb::core::DataSource> {
    let module = module_name(extension);
    match class.modules.as_deref().filter(|folder| modules.are_in(folder)) {
        Some(folder) => Some(pb::filename(&format!("{}/{module}.wasm", folder.trim_end_matches('/')))),
        None => modules.code(module).map(|code| pb::inline_bytes(code)),
    }
}

fn plugin(name: &str, extension: &Extension, code: pb::core::DataSource, configuration: String) -> pb::http_wasm::Wasm {
    let vm = VmConfig {
        vm_id: vm_id(name, extension),
        runtime: RUNTIME.to_owned(),
        code: Some(pb::core::AsyncDataSource { specifier: Some(pb::core::async_data_source::Specifier::Local(code)) }),
        // Equal VM ids share their data, equal configurations besides share the VM: one listener's panic stays with it.
        configuration: Some(text(name.to_owned())),
        ..Default::default()
    };
    let plugin = PluginConfig {
        name: name.to_owned(),
        root_id: module_name(extension).to_owned(),
        configuration: Some(text(configuration)),
        failure_policy: FailurePolicy::FailReload as i32,
        reload_config: Some(ReloadConfig {
            backoff: Some(pb::core::BackoffStrategy {
                base_interval: pb::duration(RELOAD_AFTER),
                max_interval: pb::duration(RELOAD_AFTER_MAX),
            }),
        }),
        // Otherwise a filter that waits at the headers is given the body, and hangs.
        allow_on_headers_stop_iteration: pb::boolean(true),
        vm: Some(plugin_config::Vm::VmConfig(vm)),
        ..Default::default()
    };
    pb::http_wasm::Wasm { config: Some(plugin) }
}

/// A new VM id would lose what the filter keeps: it follows from the filter alone where counts belong to the whole proxy,
/// and from the listener's extension where nothing may be shared.
fn vm_id(name: &str, extension: &Extension) -> String {
    match extension {
        Extension::RateLimit(_) => format!("windrose/{}", module_name(extension)),
        Extension::JwtAuth(_) | Extension::Transcoder(_) => format!("windrose/{}/{name}", module_name(extension)),
    }
}

fn text(value: String) -> pb::google::Any {
    pb::any(&pb::google::StringValue { value })
}
