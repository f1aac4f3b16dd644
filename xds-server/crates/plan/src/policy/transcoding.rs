//! TranscodingPolicy → descriptors and options. The most specific policy decides: rule, route, then the port of the Service behind it,
//! then all of that Service.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use windrose_api::declared::Object;
use windrose_api::policy::{DescriptorSource, TranscodingPolicy};
use windrose_ir::Extension;
use windrose_ir::extension::{TranscoderRule, TranscoderTable};
use windrose_vocab::{Code, Diagnostic, Fingerprint, Kind, ObjectRef, Text};

use super::{ExtensionEntry, Place, PolicyOutcome, chain, on_backend};
use crate::limits;
use crate::reference::{field, missing};
use crate::route::ResolvedBackend;
use crate::world::View;

const CONFIG_MAP_KEY: &str = "descriptors.pb";

/// What one policy says; none where its descriptors cannot be had, which is told. Then what it transcodes is denied.
pub(crate) fn rule(view: &View<'_>, policy: &Object<TranscodingPolicy>) -> Option<(Bytes, TranscoderRule)> {
    let spec = &policy.spec;
    let descriptors = descriptors(view, &policy.meta.object, &spec.descriptors)?;
    let json = &spec.json;
    let rule = TranscoderRule {
        descriptor: Fingerprint::of("descriptors", &descriptors).to_string().into(),
        services: spec.services.iter().map(|name| Text::from(name.as_str())).collect(),
        always_print_primitive_fields: json.always_print_primitive_fields,
        enums_as_integers: json.enums_as_integers,
        preserve_proto_field_names: json.preserve_proto_field_names,
        ignore_unknown_fields: json.ignore_unknown_fields,
        max_request_bytes: spec.max_request_bytes.unwrap_or(limits::TRANSCODED_REQUEST_BYTES),
        max_response_bytes: spec.max_response_bytes.unwrap_or(limits::TRANSCODED_RESPONSE_BYTES),
    };
    Some((descriptors, rule))
}

/// Whether the filter would take it.
pub(crate) fn passes(view: &View<'_>, policy: &Object<TranscodingPolicy>, (descriptors, rule): &(Bytes, TranscoderRule)) -> bool {
    let own = &policy.meta.object;
    let table = TranscoderTable {
        descriptors: [(rule.descriptor.clone(), descriptors.clone())].into(),
        policies: [(own.key.to_string().into(), Some(rule.clone()))].into(),
    };
    super::passes(view, own, "spec", &Extension::Transcoder(table))
}

fn descriptors(view: &View<'_>, policy: &ObjectRef, source: &DescriptorSource) -> Option<Bytes> {
    let told = |path: &str, code: Code, message: String| {
        view.tell(Diagnostic::error(policy.clone(), field(path), code, message));
        None
    };
    match (&source.inline, &source.file, &source.config_map) {
        // Files are read by whoever reads the declaration; what was read stands in `inline`.
        (Some(text), _, None) => match STANDARD.decode(text.trim()) {
            Ok(bytes) if !bytes.is_empty() => Some(bytes.into()),
            Ok(_) => told("spec.descriptors.inline", Code::Invalid, "the descriptor set is empty".to_owned()),
            Err(_) => told("spec.descriptors.inline", Code::Invalid, "the descriptor set is not base64".to_owned()),
        },
        (None, Some(file), None) => told("spec.descriptors.file", Code::File, format!("file `{file}` was not read")),
        (None, None, Some(name)) => {
            let target = ObjectRef::new(Kind::ConfigMap, policy.key.namespace.clone(), name.as_str());
            match view.config_map(&target.key).map(|map| map.spec.data.get(CONFIG_MAP_KEY).cloned()) {
                Some(Some(bytes)) => Some(bytes),
                Some(None) => told("spec.descriptors.configMap", Code::RefNotFound, format!("{target} has no key `{CONFIG_MAP_KEY}`")),
                None => {
                    view.tell(missing(view, "RefNotFound", &target).at(policy, field("spec.descriptors.configMap")));
                    None
                }
            }
        }
        _ => told("spec.descriptors", Code::Invalid, "descriptors come from exactly one of file, configMap and inline".to_owned()),
    }
}

/// Whether it lets nothing through.
pub(crate) fn is_unusable(entry: &ExtensionEntry) -> bool {
    match entry {
        ExtensionEntry::Transcoder(rule) => rule.is_none(),
        ExtensionEntry::Auth(_) | ExtensionEntry::RateLimit(_) => false,
    }
}

/// What a proxy has to hold of a message while it is transcoded.
pub(crate) fn buffer_bytes(entry: &ExtensionEntry) -> u64 {
    match entry {
        ExtensionEntry::Transcoder(Some((_, rule))) => u64::from(rule.max_request_bytes.max(rule.max_response_bytes)) + limits::FRAME_BYTES,
        ExtensionEntry::Transcoder(None) | ExtensionEntry::Auth(_) | ExtensionEntry::RateLimit(_) => 0,
    }
}

/// The policy for a rule whose requests are to be transcoded, and what stands under its name. `backends` are those that requests go to.
pub(crate) fn effective<'r>(
    view: &View<'_>,
    place: &Place<'_>,
    backends: impl Iterator<Item = &'r ResolvedBackend>,
) -> Option<(ObjectRef, ExtensionEntry)> {
    let own = chain(view, Kind::TranscodingPolicy, place).pop();
    let behind = || {
        let mut services = backends.map(|backend| &backend.id).filter(|id| id.object().kind == Kind::Service);
        services.find_map(|service| on_backend(view, Kind::TranscodingPolicy, service, false).into_iter().next())
    };
    let policy = own.or_else(behind)?;
    let rule = match view.policy(&policy) {
        Some(PolicyOutcome::Transcoding(rule)) => rule.clone(),
        _ => None,
    };
    Some((policy, ExtensionEntry::Transcoder(rule)))
}
