//! What a node says of itself, as far as it may matter: the folder of its filter modules, the zone that it is in, and whom it believes
//! to be.

use tonic::Status;
use windrose_vocab::{NodeClass, ProxyKey, Text};

use crate::limits;
use crate::request::{Node, SemanticVersion, Value};

/// The class that the node asks for: by its metadata, `windrose: {modules: /folder}`, and by the zone of its locality. Claims: a false
/// one hurts the node alone.
pub(crate) fn class(node: Option<&Node>) -> Result<NodeClass, Status> {
    Ok(NodeClass { modules: modules(node)?, zone: zone(node) })
}

/// Which Envoy it says it is, as in `1.40.0`.
pub(crate) fn version(node: Option<&Node>) -> Option<Text> {
    let SemanticVersion { major_number, minor_number, patch } = node?.user_agent_build_version.as_ref()?.version?;
    Some(format!("{major_number}.{minor_number}.{patch}").into())
}

/// What can be nobody's zone is none, for it decides no more than which endpoints come first.
fn zone(node: Option<&Node>) -> Option<Text> {
    let zone = node?.locality.as_ref()?.zone.as_str();
    let valid = !zone.is_empty() && zone.len() <= limits::ZONE_BYTES && !zone.chars().any(char::is_control);
    valid.then(|| zone.into())
}

fn modules(node: Option<&Node>) -> Result<Option<Text>, Status> {
    let Some(folder) = windrose(node, "modules") else { return Ok(None) };
    let valid = folder.starts_with('/') && folder.len() <= limits::MODULES_BYTES && !folder.chars().any(char::is_control);
    if !valid {
        return Err(Status::invalid_argument("node.metadata.windrose.modules is not an absolute path"));
    }
    Ok(Some(Text::from(folder)))
}

/// Refuses a node that believes to be another than its credential says (`windrose: {proxy: ROLE/NS/NAME}`): two folders were mixed up.
pub(crate) fn refuse_other_claim(node: Option<&Node>, proxy: &ProxyKey) -> Result<(), Status> {
    match windrose(node, "proxy") {
        Some(claim) if claim != proxy.to_string() => {
            Err(Status::permission_denied(format!("the credential is for {proxy}, and the node claims to be another proxy")))
        }
        Some(_) | None => Ok(()),
    }
}

fn windrose<'a>(node: Option<&'a Node>, field: &str) -> Option<&'a str> {
    let ours: &Value = node?.metadata.as_ref()?.fields.get("windrose")?;
    ours.struct_value.as_ref()?.fields.get(field)?.string_value.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Locality, Struct};

    fn node(field: &str, text: &str) -> Node {
        let value = Value { string_value: Some(text.to_owned()), struct_value: None };
        let ours = Value { string_value: None, struct_value: Some(Struct { fields: [(field.to_owned(), value)].into() }) };
        Node { metadata: Some(Struct { fields: [("windrose".to_owned(), ours)].into() }), ..Default::default() }
    }

    #[test]
    fn the_class_is_the_folder_of_modules() {
        assert_eq!(class(None).unwrap(), NodeClass::default());
        assert_eq!(class(Some(&node("modules", "/opt/filters"))).unwrap().modules.as_deref(), Some("/opt/filters"));
        for odd in ["", "relative", "/a\nb", &format!("/{}", "x".repeat(limits::MODULES_BYTES))] {
            assert!(class(Some(&node("modules", odd))).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn a_zone_that_cannot_be_one_is_none() {
        let of = |zone: &str| {
            let node = Node { locality: Some(Locality { zone: zone.to_owned() }), ..node("modules", "/f") };
            class(Some(&node)).unwrap().zone
        };
        assert_eq!(of("europe-west1-b").as_deref(), Some("europe-west1-b"));
        for odd in ["", "a\nb", &"x".repeat(limits::ZONE_BYTES + 1)] {
            assert_eq!(of(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn a_claim_to_be_another_proxy_is_refused_and_an_empty_one_matches_nothing() {
        let orders = ProxyKey::workload("shop", "orders");
        assert!(refuse_other_claim(None, &orders).is_ok());
        assert!(refuse_other_claim(Some(&node("proxy", "workload/shop/orders")), &orders).is_ok());
        for other in ["workload/shop/catalog", "gateway/shop/orders", "", "workload/shop/orders/"] {
            assert!(refuse_other_claim(Some(&node("proxy", other)), &orders).is_err(), "{other:?}");
        }
    }
}
