//! `ir::extension::TranscoderTable` → the configuration of the filter `grpc-transcoder`.

use std::collections::BTreeMap;

use windrose_grpc_transcoder::config::{Config, Policy};
use windrose_grpc_transcoder::limits::MESSAGE_BYTES_CEILING;
use windrose_ir::extension::{TranscoderRule, TranscoderTable};

/// The table as JSON; policies that cannot be used, or that the filter would refuse, are closed.
pub(crate) fn configuration(table: &TranscoderTable) -> Option<String> {
    let mut config = config(table);
    let refused: Vec<String> = check(table).into_iter().map(|(id, _)| id).collect();
    config.policies.retain(|id, _| !refused.contains(id));
    config.closed = super::closed(&table.policies, &config.policies);
    config.descriptors.retain(|name, _| config.policies.values().any(|policy| policy.descriptors == *name));
    Some(config.to_json())
}

/// The filter's own word on each policy.
pub(crate) fn check(table: &TranscoderTable) -> Vec<(String, String)> {
    let config = config(table);
    let refused = |(id, policy): (&String, &Policy)| {
        let descriptors = config.descriptors.get_key_value(&policy.descriptors);
        let alone = Config {
            descriptors: descriptors.map(|(name, set)| (name.clone(), set.clone())).into_iter().collect(),
            policies: BTreeMap::from([(id.clone(), policy.clone())]),
            ..Config::default()
        };
        Some((id.clone(), alone.compile().err()?.to_string()))
    };
    config.policies.iter().filter_map(refused).collect()
}

fn config(table: &TranscoderTable) -> Config {
    Config {
        descriptors: table.descriptors.iter().map(|(name, set)| (name.to_string(), Config::encode_descriptors(set))).collect(),
        policies: table.policies.iter().filter_map(|(id, rule)| Some((id.to_string(), policy(rule.as_ref()?)))).collect(),
        ..Config::default()
    }
}

fn policy(rule: &TranscoderRule) -> Policy {
    Policy {
        descriptors: rule.descriptor.to_string(),
        services: rule.services.iter().map(ToString::to_string).collect(),
        ignore_unknown_fields: rule.ignore_unknown_fields,
        always_print_primitive_fields: rule.always_print_primitive_fields,
        preserve_proto_field_names: rule.preserve_proto_field_names,
        enums_as_ints: rule.enums_as_integers,
        request_bytes_max: Some(bytes(rule.max_request_bytes)),
        response_message_bytes_max: Some(bytes(rule.max_response_bytes)),
        ..Policy::default()
    }
}

fn bytes(limit: u32) -> u32 {
    limit.clamp(1, u32::try_from(MESSAGE_BYTES_CEILING).unwrap_or(u32::MAX))
}
