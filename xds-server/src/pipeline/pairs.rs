//! Certificates of files that are put in place in two steps: while the newest version of a Secret has a chain and a key that cannot be used
//! together, its former pair goes on. All else that the Secret says is the newest; a pair that is taken out is gone.

use std::borrow::Cow;
use std::sync::Arc;

use windrose_api::Declared;
use windrose_api::declared::{AnyObject, Object, Secret};
use windrose_plan::{Refusal, Refused, RefusedBy};
use windrose_vocab::{Fingerprint, ObjectRef, ObjectVersion};

use super::Pipeline;

/// The chain and its key.
const PAIR: [&str; 2] = ["tls.crt", "tls.key"];

impl Pipeline {
    /// The former pair of a Secret, where that of the newest version cannot be used.
    pub(super) fn pair_in_place(&self, object: &ObjectRef) -> Option<(ObjectVersion, Refusal)> {
        let newest = self.declared.secrets.get(&object.key)?;
        let version = newest.meta.identity();
        let AnyObject::Secret(former) = self.refusals.last_good(&version)? else { return None };
        let reason = judge(&newest.spec)?.err()?;
        judge(&former.spec)?.ok()?;
        let last_good = Some(AnyObject::Secret(with_pair_of(newest, former)));
        Some((version, Refusal { by: RefusedBy::Check, reason, last_good }))
    }
}

/// What is declared, with the pairs that are in use.
pub(super) fn in_use<'a>(declared: &'a Declared, checks: &Refused) -> Cow<'a, Declared> {
    if checks.objects.is_empty() {
        return Cow::Borrowed(declared);
    }
    let mut declared = declared.clone();
    checks.objects.values().filter_map(|refusal| refusal.last_good.clone()).for_each(|good| declared.insert(good));
    Cow::Owned(declared)
}

/// Whether a Secret's certificate and key can be used, and why not; none where it has neither.
fn judge(secret: &Secret) -> Option<Result<(), String>> {
    if PAIR.iter().all(|part| !secret.data.contains_key(*part)) {
        return None;
    }
    let text = |part: &str| {
        let text = secret.data.get(part).and_then(|value| std::str::from_utf8(value.expose()).ok());
        text.ok_or_else(|| format!("has no text `{part}`"))
    };
    let [chain, key] = PAIR.map(text);
    Some(chain.and_then(|chain| windrose_pki::check_pair(chain, key?).map(drop).map_err(|problem| problem.to_string())))
}

/// The newest version, but for the pair. Where nothing else differs it is the former one: nothing of it is sent again.
fn with_pair_of(newest: &Object<Secret>, former: &Arc<Object<Secret>>) -> Arc<Object<Secret>> {
    let others = newest.spec.data.iter().filter(|(key, _)| !PAIR.contains(&&***key));
    let pair = PAIR.iter().filter_map(|part| former.spec.data.get_key_value(*part));
    let data = others.chain(pair).map(|(key, value)| (key.clone(), value.clone())).collect();
    if data == former.spec.data {
        return Arc::clone(former);
    }
    let mut meta = newest.meta.clone();
    meta.version = Fingerprint::of("former pair", format!("{} {}", former.meta.version, newest.meta.version).as_str());
    Arc::new(Object { meta, spec: Secret { kind: newest.spec.kind.clone(), data } })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use windrose_pki::{Authority, Directory, SystemEntropy};
    use windrose_plan::Subject;
    use windrose_vocab::{Code, Kind, ProxyKey, ResourceKind, SpiffeId, TrustDomain};

    use super::super::tests::Stage;
    use super::*;
    use crate::test_world::declared;

    const DAY: Duration = Duration::from_secs(86_400);

    /// A chain of a day with its key.
    fn made(then: SystemTime) -> [String; 2] {
        let folder = tempfile::tempdir().unwrap();
        let domain = TrustDomain::parse("shop.test").unwrap();
        let authority = Authority::open(Directory::open(folder.path().join("state")).unwrap(), &domain, then, &SystemEntropy).unwrap();
        let identity = SpiffeId::parse("spiffe://shop.test/ns/shop/sa/edge").unwrap();
        let leaf = authority.issue(&identity, then, &SystemEntropy).unwrap();
        [leaf.chain, leaf.key.expose().to_owned()]
    }

    /// A Gateway that shows what the Secret has.
    fn world(data: &[(&str, &str)]) -> String {
        let data: Vec<String> = data.iter().map(|(key, text)| format!("{key}: {}", serde_json::Value::from(*text))).collect();
        format!(
            "{GATEWAY}---
apiVersion: v1
kind: Secret
metadata: {{ name: edge, namespace: shop }}
stringData: {{ {} }}
",
            data.join(", ")
        )
    }

    const GATEWAY: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: shop }
spec: { gatewayClassName: windrose, listeners: [{ name: tls, port: 8443, protocol: HTTPS, tls: { certificateRefs: [{ name: edge }] } }] }
";

    fn pair(chain: &str, key: &str) -> String {
        world(&[("tls.crt", chain), ("tls.key", key)])
    }

    fn secret() -> ObjectRef {
        ObjectRef::new(Kind::Secret, "shop", "edge")
    }

    fn served(stage: &Stage) -> [windrose_state::KindMap; 2] {
        let view = stage.view(ProxyKey::gateway("shop", "edge")).unwrap();
        [ResourceKind::Secret, ResourceKind::Listener].map(|kind| view.of_kind(kind).clone())
    }

    fn is_kept(stage: &Stage) -> bool {
        stage.picture.load().refused.objects.keys().any(|version| version.object == secret())
    }

    #[test]
    fn a_pair_that_does_not_match_leaves_the_former_one_in_use_and_is_told() {
        let mut stage = Stage::set("shop.test");
        let ([chain, key], [next_chain, next_key]) = (made(stage.now), made(stage.now));
        stage.declare(&pair(&chain, &key));
        let before = served(&stage);
        for (chain, key) in [(&next_chain, &key), (&chain, &next_key), (&next_chain, &String::new()), (&"-----BEGIN".to_owned(), &next_key)]
        {
            stage.declare(&pair(chain, key));
            assert_eq!(served(&stage), before, "nothing is sent");
            let picture = stage.picture.load();
            let told: Vec<_> = picture.plan.diagnostics.iter().filter(|one| one.code == Code::InvalidCertificate).collect();
            let of: Vec<_> = told.iter().filter_map(|one| one.object.as_ref()).map(ToString::to_string).collect();
            assert_eq!(of, ["Gateway/shop/edge", "Secret/shop/edge"], "{told:?}");
            let listener = Subject::section(ObjectRef::new(Kind::Gateway, "shop", "edge"), "tls".into());
            let resolved = picture.plan.verdicts[&listener].conditions.get(windrose_plan::ConditionType::ResolvedRefs).unwrap();
            assert!(!resolved.status && resolved.reason == "InvalidCertificateRef", "{resolved:?}");
        }
        stage.declare(&pair(&next_chain, &next_key));
        assert!(!is_kept(&stage) && served(&stage)[0] != before[0] && served(&stage)[1] == before[1]);
    }

    #[test]
    fn what_never_was_good_or_is_taken_out_is_closed() {
        let mut stage = Stage::set("shop.test");
        let ([chain, key], [other_chain, _]) = (made(stage.now), made(stage.now));
        let closed = |stage: &Stage| {
            stage.view(ProxyKey::gateway("shop", "edge")).is_none_or(|view| view.of_kind(ResourceKind::Listener).is_empty())
        };
        stage.declare(&pair(&other_chain, &key));
        assert!(!is_kept(&stage) && closed(&stage), "there is no former one");
        for gone in [GATEWAY.to_owned(), world(&[("ca.crt", "x")]), GATEWAY.replace("name: edge }]", "name: elsewhere }]")] {
            stage.declare(&pair(&chain, &key));
            stage.declare(&pair(&other_chain, &key));
            assert!(is_kept(&stage) && !closed(&stage));
            stage.declare(&gone);
            assert!(!is_kept(&stage) && closed(&stage), "{gone}");
        }
        stage.declare(&pair(&other_chain, &key));
        assert!(!is_kept(&stage) && closed(&stage), "one of a Secret that was deleted is none of a new one's");
    }

    #[test]
    fn the_end_of_the_pair_in_use_is_what_is_told() {
        let mut stage = Stage::set("shop.test");
        let ([chain, key], [later, _]) = (made(stage.now), made(stage.now + DAY));
        stage.declare(&pair(&chain, &key));
        let ends = |stage: &Stage| stage.picture.load().declared_certificates.iter().map(|one| one.not_after).collect::<Vec<_>>();
        let before = ends(&stage);
        assert_eq!(before.len(), 1);
        stage.declare(&pair(&later, &key));
        assert!(is_kept(&stage) && ends(&stage) == before);
    }

    #[test]
    fn in_a_cluster_a_secret_is_taken_as_it_is() {
        let mut stage = Stage::in_a_cluster("shop.test");
        let ([chain, key], [other, _]) = (made(stage.now), made(stage.now));
        stage.declare(&pair(&chain, &key));
        stage.declare(&pair(&other, &key));
        assert!(!is_kept(&stage));
    }

    #[test]
    fn all_else_of_the_secret_is_the_newest() {
        let mut stage = Stage::set("shop.test");
        let ([chain, key], [next_chain, _]) = (made(stage.now), made(stage.now));
        stage.declare(&world(&[("tls.crt", &chain), ("tls.key", &key), ("ca.crt", "former"), ("gone", "x")]));
        stage.declare(&world(&[("tls.crt", &next_chain), ("tls.key", &key), ("ca.crt", "newest")]));
        let picture = stage.picture.load();
        let refusal = picture.refused.objects.values().next().unwrap();
        let Some(AnyObject::Secret(in_place)) = &refusal.last_good else { panic!("{refusal:?}") };
        let wanted = declared(&world(&[("tls.crt", &chain), ("tls.key", &key), ("ca.crt", "newest")]));
        assert_eq!(in_place.spec, wanted.secrets[&secret().key].spec);
    }
}
