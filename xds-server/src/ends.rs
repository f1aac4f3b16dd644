//! When certificates end: a line for each, and when those do that users declare, which only somebody with a clock can judge. The planner
//! has none, so an expired certificate is served; here it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use windrose_admin::report::CertificateReport;
use windrose_api::Declared;
use windrose_api::declared::backend::ObjectReference;
use windrose_api::declared::{AnyObject, Changed, values};
use windrose_vocab::{Code, Diagnostic, FieldPath, Kind, ObjectKey, ObjectRef, ObjectVersion};

use crate::output::span;

/// What ends sooner than this is warned of before it is applied.
pub(crate) const WARNED_BEFORE: Duration = Duration::from_secs(7 * 86_400);

/// What is shown to others, in a Secret.
const CERTIFICATE: &str = "tls.crt";
/// What others are checked by, in a Secret or a ConfigMap.
const CA: &str = "ca.crt";

/// One certificate as it is reported.
pub(crate) fn report(kind: &str, subject: String, end: SystemTime, renewed_automatically: bool) -> CertificateReport {
    CertificateReport { kind: kind.into(), subject, not_after: seconds(end), renewed_automatically }
}

/// Seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// When a certificate of a declared text ends: a chain with the first of it, CAs with the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    kind: &'static str,
    object: ObjectRef,
    field: FieldPath,
    at: SystemTime,
}

impl End {
    fn what(&self) -> &'static str {
        if self.kind == "ca" { "the CA certificate" } else { "the certificate" }
    }

    fn report(&self) -> CertificateReport {
        report(self.kind, format!("{} in {}", self.what(), self.object), self.at, false)
    }

    /// A warning, where it is over at `now` or soon after.
    fn judge(&self, now: SystemTime) -> Option<Diagnostic> {
        let when = match self.at.duration_since(now) {
            Ok(left) if left < WARNED_BEFORE => format!("ends in {}", span(left.as_secs())),
            Ok(_) => return None,
            Err(over) => format!("expired {} ago, and is in use all the same", span(over.duration().as_secs())),
        };
        let message = format!("{} {when}", self.what());
        let told = Diagnostic::warning(self.object.clone(), self.field.clone(), Code::InvalidCertificate, message);
        Some(told.hint("put a new one in its place"))
    }
}

/// What ends of all that is declared, each text read once.
#[derive(Debug, Default)]
pub(crate) struct Ends(BTreeMap<ObjectVersion, Vec<End>>);

impl Ends {
    /// The ends after a change; none where it cannot have changed any.
    pub(crate) fn follow(&mut self, declared: &Declared, changed: &Changed) -> Option<Arc<Vec<CertificateReport>>> {
        let concerns = |object: &ObjectRef| {
            use Kind::{Backend, BackendTLSPolicy, ClusterTrustBundle, ConfigMap, Gateway, ListenerSet, Secret};
            matches!(object.kind, Gateway | ListenerSet | Backend | BackendTLSPolicy | Secret | ConfigMap | ClusterTrustBundle)
        };
        changed.objects.iter().any(concerns).then(|| {
            let found = named(declared).into_iter().filter_map(|object| declared.get(&object)).map(|object| {
                let version = object.meta().identity();
                let ends = self.0.remove(&version).unwrap_or_else(|| of_object(&object));
                (version, ends)
            });
            self.0 = found.collect::<Vec<_>>().into_iter().collect();
            Arc::new(self.0.values().flatten().map(End::report).collect())
        })
    }
}

/// A warning for each declared certificate that is expired at `now`, or soon will be.
pub(crate) fn warnings(declared: &Declared, now: SystemTime) -> Vec<Diagnostic> {
    let objects = named(declared).into_iter().filter_map(|object| declared.get(&object));
    objects.flat_map(|object| of_object(&object)).filter_map(|end| end.judge(now)).collect()
}

/// The objects with certificates that listeners and backends are shown, or that clients and backends are checked by.
fn named(declared: &Declared) -> BTreeSet<ObjectRef> {
    let gateways = declared.gateways.values().cloned().map(AnyObject::Gateway);
    let sets = declared.listener_sets.values().cloned().map(AnyObject::ListenerSet);
    let policies = declared.backend_tls.values().cloned().map(AnyObject::BackendTls);
    let backends = declared.backends.values().cloned().map(AnyObject::Backend);
    let mut all: BTreeSet<_> = gateways.chain(sets).chain(policies).chain(backends).flat_map(|object| values(&object)).collect();
    let validations = declared.gateways.values().flat_map(|gateway| {
        let per_port = gateway.spec.frontend_validation_per_port.values().flatten();
        gateway.spec.frontend_validation.iter().chain(per_port).flat_map(|validation| &validation.ca_certificates)
    });
    let origins = declared.backend_tls.values().flat_map(|policy| &policy.spec.ca);
    let bundle = |reference: &&ObjectReference| &*reference.kind == Kind::ClusterTrustBundle.as_str();
    let bundles = validations.chain(origins).filter(bundle).map(|reference| reference.name.clone());
    all.extend(bundles.map(|name| ObjectRef { kind: Kind::ClusterTrustBundle, key: ObjectKey::new("", name) }));
    all
}

fn of_object(object: &AnyObject) -> Vec<End> {
    let end = |kind: &'static str, key: Option<&str>, text: &[u8]| {
        let facts = windrose_pki::check_bundle(std::str::from_utf8(text).ok()?).ok()?;
        let ends = facts.iter().map(|one| one.not_after);
        // A chain is good while all of it are, and CAs while one of them is: others may be those of before.
        let at = if kind == "ca" { ends.max() } else { ends.min() }?;
        let field = key.map_or_else(|| FieldPath::parse("spec.trustBundle"), |key| FieldPath::parse("data").field(key));
        Some(End { kind, object: object.meta().object.clone(), field, at })
    };
    let found = match object {
        AnyObject::Secret(secret) => {
            let part = |key: &'static str| secret.spec.data.get(key).map(|value| &value.expose()[..]);
            vec![
                part(CERTIFICATE).and_then(|text| end("certificate", Some(CERTIFICATE), text)),
                part(CA).and_then(|text| end("ca", Some(CA), text)),
            ]
        }
        AnyObject::ConfigMap(map) => vec![map.spec.data.get(CA).and_then(|text| end("ca", Some(CA), text))],
        AnyObject::ClusterTrustBundle(bundle) => vec![end("ca", None, bundle.spec.certificates.as_bytes())],
        _ => Vec::new(),
    };
    found.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use windrose_pki::{Authority, Directory, SystemEntropy};
    use windrose_vocab::{SpiffeId, TrustDomain};

    use super::*;
    use crate::test_world::declared;

    const DAY: Duration = Duration::from_secs(86_400);

    /// A chain that was made at `then` for a day, with its key, and its root.
    fn made(then: SystemTime) -> (String, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let domain = TrustDomain::parse("shop.test").unwrap();
        let authority = Authority::open(Directory::open(folder.path().join("state")).unwrap(), &domain, then, &SystemEntropy).unwrap();
        let identity = SpiffeId::parse("spiffe://shop.test/ns/shop/sa/edge").unwrap();
        let leaf = authority.issue(&identity, then, &SystemEntropy).unwrap();
        (leaf.chain, leaf.key.expose().to_owned(), authority.bundle().pem().to_owned())
    }

    /// A Gateway with a certificate and a CA for its clients.
    fn world(then: SystemTime) -> Declared {
        let (chain, key, ca) = made(then);
        let text = |pem: &str| serde_json::Value::from(pem).to_string();
        declared(&format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: edge, namespace: shop }}
spec:
  gatewayClassName: windrose
  tls: {{ frontend: {{ default: {{ validation: {{ caCertificateRefs: [{{ group: '', kind: ConfigMap, name: ca }}] }} }} }} }}
  listeners: [{{ name: tls, port: 8443, protocol: HTTPS, tls: {{ certificateRefs: [{{ name: edge }}] }} }}]
---
apiVersion: v1
kind: Secret
metadata: {{ name: edge, namespace: shop }}
stringData: {{ tls.crt: {}, tls.key: {} }}
---
apiVersion: v1
kind: Secret
metadata: {{ name: unused, namespace: shop }}
stringData: {{ tls.crt: {} }}
---
apiVersion: v1
kind: ConfigMap
metadata: {{ name: ca, namespace: shop }}
data: {{ ca.crt: {} }}
",
            text(&chain),
            text(&key),
            text(&chain),
            text(&ca)
        ))
    }

    #[test]
    fn a_certificate_that_is_expired_or_soon_will_be_is_warned_of_where_it_is_declared() {
        let now = SystemTime::now();
        let told = |then| warnings(&world(then), now).iter().map(ToString::to_string).collect::<Vec<_>>();
        let soon = told(now);
        assert_eq!(soon.len(), 1, "{soon:?}");
        assert!(soon[0].contains("Secret/shop/edge") && soon[0].contains("the certificate ends in "), "{soon:?}");
        let over = told(now - 3 * DAY);
        assert!(over[0].contains("the certificate expired 2d") && over[0].contains(" ago, and is in use all the same"), "{over:?}");
        let long_over = told(now - 20 * 365 * DAY);
        assert_eq!(long_over.len(), 2, "{long_over:?}");
        assert!(
            long_over.iter().any(|one| one.contains("ConfigMap/shop/ca") && one.contains("the CA certificate expired")),
            "{long_over:?}"
        );
    }

    #[test]
    fn what_is_named_is_reported_and_read_again_only_where_it_changed() {
        let (now, mut ends) = (SystemTime::now(), Ends::default());
        let world = world(now);
        let all = Changed { objects: world.iter().map(|object| object.meta().object.clone()).collect() };
        let found = ends.follow(&world, &all).unwrap();
        let shown: Vec<_> = found.iter().map(|one| (one.kind.as_str(), one.subject.as_str(), one.renewed_automatically)).collect();
        assert_eq!(
            shown,
            [("certificate", "the certificate in Secret/shop/edge", false), ("ca", "the CA certificate in ConfigMap/shop/ca", false)]
        );
        assert!(found.iter().all(|one| one.not_after > seconds(now)), "{found:?}");
        let service = Changed { objects: [ObjectRef::new(Kind::Service, "shop", "one")].into() };
        assert_eq!(ends.follow(&world, &service), None);
        let mut gone = world.clone();
        gone.gateways.remove(&ObjectKey::new("shop", "edge"));
        let gateway = Changed { objects: [ObjectRef::new(Kind::Gateway, "shop", "edge")].into() };
        assert!(ends.follow(&gone, &gateway).unwrap().is_empty());
    }
}
