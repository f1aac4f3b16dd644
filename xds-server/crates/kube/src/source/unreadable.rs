//! What an object that cannot be read refers to all the same, as far as that is plain: its status says there why it has no effect.

use serde_json::Value;
use windrose_api::declared::backend::ObjectReference;
use windrose_api::declared::route::ParentRef;
use windrose_vocab::{Kind, Port, Text};

/// What is plain of an object that cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// The controller that a GatewayClass names.
    pub controller: Option<Text>,
    /// The parents of a route or ListenerSet, or the targets of a policy.
    pub refers: Vec<ParentRef>,
}

impl Unreadable {
    /// What is plain of `value`, which is an object of that kind.
    pub(super) fn of(kind: Kind, value: &Value) -> Self {
        let spec = &value["spec"];
        let controller = (kind == Kind::GatewayClass).then(|| text(&spec["controllerName"])).flatten();
        let group = Kind::Gateway.group();
        let refers = match kind {
            Kind::HTTPRoute | Kind::GRPCRoute | Kind::TLSRoute | Kind::TCPRoute | Kind::UDPRoute => all(&spec["parentRefs"], group),
            Kind::ListenerSet => reference(&spec["parentRef"], group).into_iter().collect(),
            _ => all(&spec["targetRefs"], ""),
        };
        Self { controller, refers }
    }
}

fn all(list: &Value, group: &str) -> Vec<ParentRef> {
    let mut all: Vec<ParentRef> = Vec::new();
    for found in list.as_array().into_iter().flatten().filter_map(|one| reference(one, group)) {
        if !all.contains(&found) {
            all.push(found);
        }
    }
    all
}

/// Group and kind may be left out where a Gateway is meant.
fn reference(value: &Value, group: &str) -> Option<ParentRef> {
    let kind = text(&value["kind"]).or_else(|| (!group.is_empty()).then(|| Kind::Gateway.as_str().into()))?;
    let target = ObjectReference {
        group: text(&value["group"]).unwrap_or_else(|| group.into()),
        kind,
        namespace: text(&value["namespace"]),
        name: text(&value["name"])?,
    };
    Some(ParentRef { target, section: text(&value["sectionName"]), port: value["port"].as_i64().and_then(Port::new) })
}

fn text(value: &Value) -> Option<Text> {
    value.as_str().map(Text::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_plain_is_kept_and_the_rest_is_left_out() {
        let route = json!({"spec": {"parentRefs": [{"name": "edge", "sectionName": "http", "port": "x"}, {"name": 7}, {"name": "edge", "sectionName": "http"}]}});
        let found = Unreadable::of(Kind::HTTPRoute, &route).refers;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&*found[0].target.group, &*found[0].target.kind), ("gateway.networking.k8s.io", "Gateway"));
        assert_eq!((found[0].section.as_deref(), found[0].port), (Some("http"), None));
        let policy = json!({"spec": {"targetRefs": [{"group": "", "kind": "Service", "name": "one"}, {"name": "of-no-kind"}]}});
        assert_eq!(Unreadable::of(Kind::AuthPolicy, &policy).refers.len(), 1);
        let class = json!({"spec": {"controllerName": "windrose.dev/gateway-controller"}});
        assert_eq!(Unreadable::of(Kind::GatewayClass, &class).controller.as_deref(), Some("windrose.dev/gateway-controller"));
        assert_eq!(Unreadable::of(Kind::ListenerSet, &json!({"spec": "nonsense"})), Unreadable::default());
    }
}
