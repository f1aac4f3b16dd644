//! Which Secrets and ConfigMaps an object takes values from, whether it may or not: for whoever has to read them first.

use std::collections::BTreeSet;

use windrose_vocab::{Kind, ObjectRef, Text};

use super::AnyObject;
use super::backend::ObjectReference;
use super::gateway::Listener;

/// The Secrets and ConfigMaps that `object` names.
#[must_use]
pub fn values(object: &AnyObject) -> BTreeSet<ObjectRef> {
    let own = object.meta().object.key.namespace.clone();
    let mut all = BTreeSet::new();
    let mut add = |reference: &ObjectReference| all.extend(value(reference, &own));
    match object {
        AnyObject::Gateway(gateway) => {
            certificates(&gateway.spec.listeners).for_each(&mut add);
            gateway.spec.backend_client_certificate.iter().for_each(&mut add);
            let per_port = gateway.spec.frontend_validation_per_port.values().flatten();
            let validations = gateway.spec.frontend_validation.iter().chain(per_port);
            validations.flat_map(|validation| &validation.ca_certificates).for_each(add);
        }
        AnyObject::ListenerSet(set) => certificates(&set.spec.listeners).for_each(add),
        AnyObject::BackendTls(policy) => policy.spec.ca.iter().for_each(add),
        AnyObject::Backend(backend) => {
            let tls = backend.spec.tls.iter();
            tls.flat_map(|tls| tls.ca.iter().chain(&tls.client_certificate)).for_each(add);
        }
        AnyObject::AuthPolicy(policy) => {
            let objects = policy.spec.jwt.iter().filter_map(|provider| provider.jwks.object.as_ref());
            let named = objects.map(|object| local(&object.kind, &object.name));
            named.for_each(|reference| add(&reference));
        }
        AnyObject::TranscodingPolicy(policy) => {
            let named = policy.spec.descriptors.config_map.iter().map(|name| local("ConfigMap", name));
            named.for_each(|reference| add(&reference));
        }
        _ => {}
    }
    all
}

fn certificates(listeners: &[Listener]) -> impl Iterator<Item = &ObjectReference> {
    listeners.iter().filter_map(|listener| listener.tls.as_ref()).flat_map(|tls| &tls.certificates)
}

fn local(kind: &str, name: &str) -> ObjectReference {
    ObjectReference { group: "".into(), kind: kind.into(), namespace: None, name: name.into() }
}

fn value(reference: &ObjectReference, own: &Text) -> Option<ObjectRef> {
    let kind = Kind::parse(&reference.kind).filter(|kind| matches!(kind, Kind::Secret | Kind::ConfigMap))?;
    let namespace = reference.namespace.as_ref().unwrap_or(own);
    reference.group.is_empty().then(|| ObjectRef::new(kind, namespace.clone(), reference.name.clone()))
}
