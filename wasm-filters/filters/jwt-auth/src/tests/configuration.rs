//! Configurations that must not come into force, each with the words that a person can act on.

use super::*;
use crate::config::{ClaimPath, ClaimRule, ClaimToHeader, Location, Requirement};

fn reason(policy: JwtPolicy) -> String {
    policy.check().unwrap_err().to_string()
}

fn with_provider(change: impl FnOnce(&mut Provider)) -> JwtPolicy {
    let mut policy = policy();
    change(&mut policy.providers[0]);
    policy
}

fn with_keys(keys: Value) -> JwtPolicy {
    with_provider(|provider| provider.jwks = json!({ "keys": keys }).to_string())
}

fn key(index: usize, changes: Value) -> Value {
    let mut key = vectors()["jwks"]["keys"][index].clone();
    key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    key
}

#[track_caller]
fn refused(policy: JwtPolicy, words: &str) {
    let reason = reason(policy);
    assert!(reason.contains(words), "{reason:?} does not say {words:?}");
}

#[test]
fn a_good_policy_compiles() {
    assert_eq!(policy().check(), Ok(()));
}

#[test]
fn a_provider_must_name_issuer_audience_and_keys() {
    refused(JwtPolicy::default(), "no provider");
    refused(with_provider(|p| p.issuer.clear()), "issuer is empty");
    refused(with_provider(|p| p.audiences.clear()), "at least one audience");
    refused(with_provider(|p| p.audiences.push(String::new())), "none of them empty");
    refused(with_provider(|p| p.leeway_seconds = 301), "at most 300");
    refused(with_keys(json!([])), "no key in it");
    refused(JwtPolicy { providers: vec![provider(), provider()], ..policy() }, "same issuer");
}

#[test]
fn a_jwks_that_is_not_one_is_refused() {
    for (jwks, words) in [
        ("<html>", "not a JSON object"),
        ("", "not a JSON object"),
        ("[]", "not a JSON object"),
        ("{}", "no array \"keys\""),
        (r#"{"keys":{}}"#, "no array \"keys\""),
        (r#"{"keys":[1]}"#, "key 0 is not an object"),
        (r#"{"keys":[],"keys":[]}"#, "given twice"),
        (r#"{"keys":[{"kty":"RSA","kty":"oct"}]}"#, "given twice"),
        (r#"{"keys":[{}]}"#, "kty is missing"),
    ] {
        refused(with_provider(|p| p.jwks = jwks.into()), words);
    }
    let many: Vec<Value> = (0..65).map(|_| key(0, json!({}))).collect();
    refused(with_keys(json!(many)), "at most 64");
    refused(with_provider(|p| p.jwks = " ".repeat(300_000)), "bytes, at most");
}

#[test]
fn weak_keys_are_refused_at_load() {
    refused(with_keys(json!([vectors()["weak_rsa"]])), "1024 bits");
    refused(with_keys(json!([key(0, json!({"n": encoded([0xff; 8192 / 8])}))])), "8192 bits is not taken; 2048 to 4096 are");
    refused(with_keys(json!([key(0, json!({"e": "AQ"}))])), "odd and at least 3");
    refused(with_keys(json!([key(0, json!({"e": "BA"}))])), "odd and at least 3");
    refused(with_keys(json!([key(0, json!({"e": encoded([0xff; 16])}))])), "not an RSA public key");
    refused(with_keys(json!([{"kty": "oct", "k": ""}])), "too short for HS256, which needs 32");
    refused(with_keys(json!([{"kty": "oct", "kid": "short", "k": encoded([1; 40])}])), "too short for HS384");
    let mut only_256 = with_keys(json!([{"kty": "oct", "k": encoded([1; 32])}]));
    only_256.providers[0].algorithms = vec![Algorithm::HS256];
    assert_eq!(only_256.check(), Ok(()));
}

#[test]
fn points_that_are_not_on_their_curve_are_refused() {
    refused(with_keys(json!([key(1, json!({"x": encoded([1; 32])}))])), "not a point of P-256");
    refused(with_keys(json!([key(1, json!({"x": encoded([1; 31])}))])), "32 bytes each");
    refused(with_keys(json!([key(2, json!({"y": encoded([2; 48])}))])), "not a point of P-384");
    refused(with_keys(json!([key(3, json!({"x": encoded([0; 32])}))])), "small order");
}

#[test]
fn a_private_key_in_a_jwks_is_refused() {
    for index in 0..4 {
        refused(with_keys(json!([key(index, json!({"d": "AQ"}))])), "private key");
    }
}

#[test]
fn two_keys_of_one_kid_and_use_are_refused() {
    refused(with_keys(json!([key(0, json!({})), key(0, json!({}))])), "two keys have the same kid (kid \"rsa\")");
    let other_type = with_keys(json!([key(0, json!({"kid": "a"})), key(1, json!({"kid": "a"}))]));
    assert_eq!(other_type.check(), Ok(()), "RFC 7517 allows it for different types");
    let third_is_the_twin = [key(0, json!({"kid": "a"})), key(1, json!({"kid": "a"})), key(0, json!({"kid": "a"}))];
    refused(with_keys(json!(third_is_the_twin)), "two keys have the same kid");
}

#[test]
fn use_and_key_ops_and_alg_of_a_key_are_honoured() {
    for (changes, usable) in [
        (json!({"use": "sig"}), true),
        (json!({"use": "enc"}), false),
        (json!({"key_ops": ["verify"]}), true),
        (json!({"key_ops": ["encrypt", "wrapKey"]}), false),
        (json!({"key_ops": []}), false),
        (json!({"use": "sig", "key_ops": ["encrypt"]}), false),
        (json!({"alg": "RS256"}), true),
        (json!({"alg": "RS512"}), false),
        (json!({"alg": "RSA-OAEP"}), false),
    ] {
        let filter = filter(with_keys(json!([key(0, changes.clone()), key(1, json!({}))])));
        let expected = if usable { None } else { Some((401, "token_key_unknown")) };
        assert_eq!(refusal(&filter, &bearing(vector("RS256"))), expected, "{changes}");
    }
    refused(with_keys(json!([key(0, json!({"key_ops": "verify"}))])), "key_ops is not an array");
}

#[test]
fn keys_that_are_not_for_us_are_passed_over() {
    let strange = json!([{"kty": "EC", "crv": "P-521", "x": "AQ", "y": "AQ"}, {"kty": "OKP", "crv": "X25519", "x": "AQ"}, {"kty": "AKP"}]);
    let mut keys = strange.as_array().unwrap().clone();
    keys.push(key(0, json!({})));
    assert_eq!(refusal(&filter(with_keys(json!(keys))), &bearing(vector("RS256"))), None);
    refused(with_keys(strange), "no key in it can verify");
}

#[test]
fn hmac_must_be_named() {
    let filter = filter(with_provider(|p| p.algorithms.clear()));
    assert_eq!(refusal(&filter, &bearing(vector("HS256"))), Some((401, "token_algorithm_refused")));
    assert_eq!(refusal(&filter, &bearing(vector("EdDSA"))), None);
}

#[test]
fn pss_must_be_named_by_the_policy_or_the_key() {
    let with = |alg: Option<&str>, algorithms: &[Algorithm]| {
        let rsa = alg.map_or_else(|| key(0, json!({})), |alg| key(0, json!({"alg": alg})));
        let mut policy = with_keys(json!([rsa]));
        policy.providers[0].algorithms = algorithms.to_vec();
        filter(policy)
    };
    let verdict = |filter: &Rc<JwtAuth>, token: &str| refusal(filter, &bearing(vector(token))).map(|(_, code)| code);
    let unnamed = with(None, &[]);
    assert_eq!(verdict(&unnamed, "RS256"), None);
    assert_eq!(verdict(&unnamed, "RS512"), None);
    assert_eq!(verdict(&unnamed, "PS256"), Some("token_key_unknown"));
    let garbage = sign_text(r#"{"alg":"PS512","kid":"rsa"}"#, &good_claims().to_string());
    assert_eq!(refusal(&unnamed, &bearing(garbage)), Some((401, "token_key_unknown")), "not even looked at");
    assert_eq!(verdict(&with(Some("PS256"), &[]), "PS256"), None);
    assert_eq!(verdict(&with(Some("PS256"), &[]), "RS256"), Some("token_key_unknown"));
    assert_eq!(verdict(&with(None, &[Algorithm::PS256, Algorithm::RS256]), "PS256"), None);
}

#[test]
fn one_document_is_read_anew_for_a_policy_that_names_its_algorithms() {
    let asymmetric: Vec<Algorithm> = Algorithm::ALL.into_iter().filter(|algorithm| !algorithm.is_symmetric()).collect();
    let policy = |algorithms: &[Algorithm]| Policy::Jwt(with_provider(|p| p.algorithms = algorithms.to_vec()));
    let filter = configured(&[("p", policy(&[])), ("q", policy(&asymmetric))]);
    assert_eq!(refusal(&filter, &bearing(vector("PS256"))), Some((401, "token_key_unknown")));
    assert_eq!(refusal(&filter, &bearing(vector("PS256")).with_policy("q")), None);
}

#[test]
fn headers_with_a_meaning_of_their_own_cannot_carry_claims() {
    let to = |header: &str| JwtPolicy {
        claims_to_headers: vec![ClaimToHeader { claim: ClaimPath::top("sub"), header: header.into() }],
        ..policy()
    };
    for header in ["host", "authorization", "content-length", "x-envoy-original-path", "x-forwarded-for", "cookie"] {
        refused(to(header), "meaning of its own");
    }
    for header in ["", "X-Tier", "x tier", ":path", "x\r\ny"] {
        refused(to(header), "not a header name");
    }
    let mut stolen = to("x-token");
    stolen.providers[0].from = vec![Location::Header { name: "x-token".into(), scheme: None }];
    refused(stolen, "which a policy sets from a claim");
}

#[test]
fn requirements_and_places_must_mean_something() {
    let rule = |any_of| Requirement { claims: vec![ClaimRule { claim: ClaimPath::top("a"), any_of }], scopes: Vec::new() };
    refused(JwtPolicy { any_of: vec![rule(vec![json!(null)])], ..policy() }, "strings, numbers or booleans");
    refused(JwtPolicy { require: Requirement { scopes: vec!["a b".into()], ..Requirement::default() }, ..policy() }, "not a scope");
    refused(JwtPolicy { claims_to_properties: vec![ClaimPath(vec![])], ..policy() }, "claim path");
    refused(with_provider(|p| p.from = vec![Location::Cookie { name: "a;b".into() }]), "not a place");
}

#[test]
fn the_reason_names_policy_provider_and_key_but_no_secret() {
    let policy = with_keys(json!([{"kty": "oct", "kid": "short", "k": encoded(b"s3cret")}]));
    let config = Config { policies: BTreeMap::from([("orders".to_owned(), Policy::Jwt(policy))]), ..Config::default() };
    let reason = config.compile().unwrap_err().to_string();
    assert_eq!(
        reason,
        "policy \"orders\": provider \"main\": jwks: key (kid \"short\"): a secret of 6 bytes is too short for HS256, which needs 32"
    );
}

#[test]
fn a_configuration_that_is_not_one_is_refused() {
    for text in [
        "",
        "{}",
        "[]",
        r#"{"policies":{"p":{"public":{"x":1}}}}"#,
        r#"{"policies":{"p":"public"}}"#,
        r#"{"policies":{"p":{"jwt":{"providers":[]}}}}"#,
    ] {
        assert!(JwtAuth::configure(text.as_bytes(), &FakeHost::new()).is_err(), "{text}");
    }
    assert!(JwtAuth::configure(br#"{"policies":{}}"#, &FakeHost::new()).is_ok());
}

#[test]
fn what_cannot_carry_a_claim_or_carries_a_token_cannot_be_taken_off() {
    let from = vec![Location::Header { name: "x-token".into(), scheme: None }];
    let policies = BTreeMap::from([("p".to_owned(), Policy::Jwt(with_provider(|p| p.from = from)))]);
    let reason = |header: &str| {
        let config = Config { policies: policies.clone(), taken_off: BTreeSet::from([header.to_owned()]), ..Config::default() };
        config.compile().unwrap_err().to_string()
    };
    assert!(reason("authorization").contains("taken_off: header \"authorization\" has a meaning of its own"));
    assert!(reason("X-User").contains("not a header name in lower case"));
    assert!(reason("x-token").contains("its token lies in header"));
}
