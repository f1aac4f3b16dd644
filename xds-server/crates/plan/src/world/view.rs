//! The eyes of one unit while it is computed: every look is recorded, everything it tells is kept.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use windrose_api::declared::{
    AnyObject, Backend, ClusterTrustBundle, ConfigMap, EndpointSlice, Gateway, GatewayClass, Grant, ListenerSet, Namespace, Object, Route,
    Secret, Service, Workload,
};
use windrose_api::policy::{
    AuthPolicy, AuthorizationPolicy, EdgePolicy, GatewayParameters, MeshPolicy, RateLimitPolicy, TelemetryPolicy, TrafficPolicy,
};
use windrose_api::{Declared, Meta};
use windrose_vocab::{Code, Diagnostic, FieldPath, Kind, ObjectKey, ObjectRef, ObjectVersion, Text};

use super::{Computed, Dep, Filter, HostSlot, Index, Indexes, Layer, Need, Output, Told};
use crate::gateway::{FleetPorts, Frame, ListenerId};
use crate::plan::{Condition, ConditionType, Coverage, Covered, Subject};
use crate::policy::{PolicyOutcome, set_aside};
use crate::route::{Attached, Resolved, Rules, RulesKey, TableKey};
use crate::settings::Settings;

/// What units may look at: inputs, and the outcomes of the layers before them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layers<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) declared: &'a Declared,
    /// Secrets whose former certificates go on.
    pub(crate) stale: &'a BTreeMap<ObjectRef, String>,
    pub(crate) indexes: &'a Indexes,
    /// TLS to backends: BackendTLSPolicies, and Backends with their own.
    pub(crate) trusts: &'a Layer<ObjectRef, PolicyOutcome>,
    pub(crate) frames: &'a Layer<ObjectKey, Frame>,
    pub(crate) fleets: &'a Layer<ObjectKey, FleetPorts>,
    pub(crate) policies: &'a Layer<ObjectRef, PolicyOutcome>,
    pub(crate) resolved: &'a Layer<ObjectRef, Resolved>,
    pub(crate) attached: &'a Attached,
    pub(crate) rules: &'a Layer<RulesKey, Rules>,
}

/// One unit's view of them.
#[derive(Debug)]
pub(crate) struct View<'a> {
    layers: Layers<'a>,
    reads: RefCell<HashSet<Dep>>,
    sources: RefCell<BTreeSet<ObjectVersion>>,
    told: RefCell<Told>,
}

macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident: $field:ident, $kind:ident, $t:ty;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(&self, key: &ObjectKey) -> Option<&'a Arc<Object<$t>>> {
            self.read(Dep::Object(ObjectRef { kind: Kind::$kind, key: key.clone() }));
            let found = self.layers.declared.$field.get(key);
            found.inspect(|object| self.source(&object.meta))
        }
    )*};
}

impl<'a> View<'a> {
    pub(crate) fn new(layers: Layers<'a>) -> Self {
        Self { layers, reads: RefCell::default(), sources: RefCell::default(), told: RefCell::default() }
    }

    objects! {
        gateway_class: gateway_classes, GatewayClass, GatewayClass;
        gateway: gateways, Gateway, Gateway;
        listener_set: listener_sets, ListenerSet, ListenerSet;
        grant: grants, ReferenceGrant, Grant;
        namespace: namespaces, Namespace, Namespace;
        service: services, Service, Service;
        endpoint_slice: endpoint_slices, EndpointSlice, EndpointSlice;
        secret: secrets, Secret, Secret;
        config_map: config_maps, ConfigMap, ConfigMap;
        trust_bundle: trust_bundles, ClusterTrustBundle, ClusterTrustBundle;
        backend: backends, Backend, Backend;
        workload: workloads, Workload, Workload;
        auth_policy: auth_policies, AuthPolicy, AuthPolicy;
        rate_limit_policy: rate_limit_policies, RateLimitPolicy, RateLimitPolicy;
        traffic_policy: traffic_policies, TrafficPolicy, TrafficPolicy;
        edge_policy: edge_policies, EdgePolicy, EdgePolicy;
        mesh_policy: mesh_policies, MeshPolicy, MeshPolicy;
        authorization_policy: authorization_policies, AuthorizationPolicy, AuthorizationPolicy;
        telemetry_policy: telemetry_policies, TelemetryPolicy, TelemetryPolicy;
        gateway_parameters: gateway_parameters, GatewayParameters, GatewayParameters;
    }

    /// A route of any kind.
    pub(crate) fn route(&self, route: &ObjectRef) -> Option<&'a Arc<Object<Route>>> {
        self.read(Dep::Object(route.clone()));
        self.layers.declared.routes.get(route).inspect(|object| self.source(&object.meta))
    }

    /// An object of any kind.
    pub(crate) fn object(&self, object: &ObjectRef) -> Option<AnyObject> {
        self.read(Dep::Object(object.clone()));
        self.layers.declared.get(object).inspect(|object| self.source(object.meta()))
    }

    /// Whether an object is there and cannot be read, and nothing holds in its place.
    pub(crate) fn is_unread(&self, object: &ObjectRef) -> bool {
        self.read(Dep::Object(object.clone()));
        self.layers.declared.set_aside.contains_key(object) && self.layers.declared.get(object).is_none()
    }

    /// Whether an object is there and cannot be read, whatever stands in for it.
    pub(crate) fn is_set_aside(&self, object: &ObjectRef) -> bool {
        self.read(Dep::Object(object.clone()));
        self.layers.declared.set_aside.contains_key(object)
    }

    /// What is wrong with the newest version of a Secret, where its former certificate goes on.
    pub(crate) fn stale(&self, secret: &ObjectRef) -> Option<&'a str> {
        self.read(Dep::Object(secret.clone()));
        self.layers.stale.get(secret).map(String::as_str)
    }

    /// Whether nothing of a namespace is declared here although it is there. It says what is absent: nothing is made of it.
    pub(crate) fn leaves_out(&self, namespace: &Text) -> bool {
        self.read(Dep::Object(ObjectRef { kind: Kind::Namespace, key: ObjectKey::new("", namespace.clone()) }));
        self.layers.declared.leaves_out(namespace)
    }

    /// The objects in a bucket, sorted.
    pub(crate) fn index(&self, index: Index) -> Vec<ObjectRef> {
        let found = self.layers.indexes.get(&index).cloned().collect();
        self.read(Dep::Index(index));
        found
    }

    /// The policies of a kind on an object or on a section of it, sorted.
    pub(crate) fn policies_on(&self, kind: Kind, object: &ObjectRef) -> impl Iterator<Item = ObjectRef> + use<> {
        self.index(Index::Policies(object.clone())).into_iter().filter(move |policy| policy.kind == kind)
    }

    /// The frame of a Gateway; none where it is absent or of another controller.
    pub(crate) fn frame(&self, gateway: &ObjectKey) -> Option<&'a Frame> {
        self.read(Dep::Frame(gateway.clone()));
        self.layers.frames.get(gateway).map(|output| &*output.value)
    }

    /// The ports of a shared fleet. What it is made of is not what a reader is made of: the ports of one Gateway are none of another's
    /// business.
    pub(crate) fn fleet(&self, fleet: &ObjectKey) -> Option<&'a FleetPorts> {
        self.read(Dep::Fleet(fleet.clone()));
        self.layers.fleets.get(fleet).map(|output| &*output.value)
    }

    /// What a policy comes to.
    pub(crate) fn policy(&self, policy: &ObjectRef) -> Option<&'a PolicyOutcome> {
        self.read(Dep::Policy(policy.clone()));
        let layer = if matches!(policy.kind, Kind::BackendTLSPolicy | Kind::Backend) { self.layers.trusts } else { self.layers.policies };
        layer.get(policy).map(|output| self.carried(output))
    }

    /// The backends of a route.
    pub(crate) fn resolved(&self, route: &ObjectRef) -> Option<&'a Resolved> {
        self.read(Dep::Resolved(route.clone()));
        self.layers.resolved.get(route).map(|output| self.carried(output))
    }

    /// The routes made from one declared route.
    pub(crate) fn rules(&self, key: &RulesKey) -> Option<&'a Rules> {
        self.read(Dep::Rules(key.clone()));
        self.layers.rules.get(key).map(|output| self.carried(output))
    }

    /// Which routes are attached to a host of a table, and by which listener and declared host.
    pub(crate) fn slot(&self, slot: &HostSlot) -> impl Iterator<Item = &'a crate::route::Attachment> {
        self.read(Dep::Slot(slot.clone()));
        self.layers.attached.slot(slot)
    }

    /// Which routes are attached to a listener that routes connections.
    pub(crate) fn connections(&self, gateway: &ObjectKey, listener: &ListenerId) -> impl Iterator<Item = &'a crate::route::Connection> {
        self.read(Dep::Connections(gateway.clone(), listener.clone()));
        self.layers.attached.connections(gateway, listener)
    }

    /// Whether an attached route needs this filter at a sidecar.
    pub(crate) fn guarded(&self, table: &TableKey, filter: Filter) -> bool {
        self.needed(table, Need::Filter(filter))
    }

    /// Whether an attached route keeps sessions at their endpoints.
    pub(crate) fn has_sessions(&self, table: &TableKey) -> bool {
        self.needed(table, Need::Sessions)
    }

    fn needed(&self, table: &TableKey, need: Need) -> bool {
        self.read(Dep::Guard(table.clone(), need));
        self.layers.attached.needs(table, need)
    }

    pub(crate) fn settings(&self) -> &'a Settings {
        self.layers.settings
    }

    /// Counts an object among those the outcome is made of.
    pub(crate) fn source(&self, meta: &Meta) {
        self.sources.borrow_mut().insert(meta.identity());
    }

    pub(crate) fn tell(&self, diagnostic: Diagnostic) {
        if self.is_of_stand_in(&diagnostic) {
            return;
        }
        let mut told = self.told.borrow_mut();
        if !told.diagnostics.iter().any(|known| **known == diagnostic) {
            told.diagnostics.push(Arc::new(diagnostic));
        }
    }

    /// Whether it is about the content of what stands in for an object: what is wrong with that one was told before.
    fn is_of_stand_in(&self, diagnostic: &Diagnostic) -> bool {
        let of_content = matches!(diagnostic.code, Code::Invalid | Code::MissingField);
        let found = diagnostic.object.as_ref().filter(|_| of_content).and_then(|object| self.layers.declared.get(object));
        found.is_some_and(|object| set_aside::is_stand_in(object.meta()))
    }

    pub(crate) fn error(&self, object: &ObjectRef, field: FieldPath, code: Code, message: impl Into<String>) {
        self.tell(Diagnostic::error(object.clone(), field, code, message));
    }

    pub(crate) fn warn(&self, object: &ObjectRef, field: FieldPath, code: Code, message: impl Into<String>) {
        self.tell(Diagnostic::warning(object.clone(), field, code, message));
    }

    pub(crate) fn condition(&self, subject: &Subject, kind: ConditionType, condition: Condition) {
        let mut told = self.told.borrow_mut();
        told.conditions.retain(|(known, known_kind, _)| (known, known_kind) != (subject, &kind));
        told.conditions.push((subject.clone(), kind, condition));
    }

    pub(crate) fn supported_kinds(&self, subject: &Subject, kinds: Vec<Kind>) {
        self.told.borrow_mut().kinds.push((subject.clone(), kinds));
    }

    pub(crate) fn attached_to(&self, listener: Subject) {
        let mut told = self.told.borrow_mut();
        // A route that comes to a listener by two of its parents is one route there.
        if !told.attached.contains(&listener) {
            told.attached.push(listener);
        }
    }

    pub(crate) fn covers(&self, covered: Covered, coverage: Coverage) {
        self.told.borrow_mut().coverage.push((covered, coverage));
    }

    /// The known name in this namespace that is nearest to `name`, as a question; none if nothing is near.
    pub(crate) fn nearest(&self, kind: Kind, namespace: &Text, name: &str) -> Option<String> {
        let known = self.index(Index::Names(kind, namespace.clone()));
        nearest(known.iter().map(|object| &*object.key.name), name)
    }

    /// The frame of a Gateway, whose objects count among those the outcome is made of.
    pub(crate) fn frame_with_sources(&self, gateway: &ObjectKey) -> Option<&'a Frame> {
        self.read(Dep::Frame(gateway.clone()));
        self.layers.frames.get(gateway).map(|output| self.carried(output))
    }

    /// Ends the look: the outcome with all that was read and told.
    pub(crate) fn finish<V>(self, value: Option<V>) -> Computed<V> {
        let sources = self.sources.into_inner().into_iter().collect();
        let output = value.map(|value| Output { value: Arc::new(value), sources });
        Computed { output, told: self.told.into_inner().boxed(), reads: self.reads.into_inner() }
    }

    fn read(&self, dep: Dep) {
        self.reads.borrow_mut().insert(dep);
    }

    fn carried<V>(&self, output: &'a Output<V>) -> &'a V {
        self.sources.borrow_mut().extend(output.sources.iter().cloned());
        &output.value
    }
}

/// The name most like `name`, as a question; the first of equals.
pub(crate) fn nearest<'n>(known: impl Iterator<Item = &'n str>, name: &str) -> Option<String> {
    let (distance, other) = known.map(|other| (strsim::damerau_levenshtein(other, name), other)).min()?;
    (distance <= 1 + name.len() / 4).then(|| format!("did you mean `{other}`?"))
}
