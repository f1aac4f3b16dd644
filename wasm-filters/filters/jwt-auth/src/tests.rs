//! The filter as Envoy meets it, against the host of the kit: who comes in, who does not, and what is handed on. The
//! vectors were made by OpenSSL; tokens with other claims are signed here with the HMAC key of the same JWKS.

mod attacks;
mod configuration;
mod fuzz;
mod rfc;
mod signatures;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use windrose_filter_kit::fake::{FakeHost, FakeStream, START_NS};
use windrose_filter_kit::{Filter, FilterContext};

use crate::{Algorithm, Config, JwtAuth, JwtPolicy, Policy, Provider};

/// Seconds since 1970 at the fake host.
const NOW: u64 = START_NS / 1_000_000_000;

fn vectors() -> Value {
    serde_json::from_str(include_str!("tests/vectors.json")).unwrap()
}

fn vector(name: &str) -> String {
    let vectors = vectors();
    vectors["tokens"][name].as_str().or_else(|| vectors[name].as_str()).unwrap().to_owned()
}

/// The provider of the vectors, with every algorithm allowed.
fn provider() -> Provider {
    Provider {
        name: "main".into(),
        issuer: "https://id.example".into(),
        audiences: vec!["orders".into()],
        jwks: vectors()["jwks"].to_string(),
        algorithms: Algorithm::ALL.to_vec(),
        leeway_seconds: 60,
        from: Vec::new(),
        typ: Vec::new(),
        forward: false,
    }
}

fn policy() -> JwtPolicy {
    JwtPolicy { providers: vec![provider()], ..JwtPolicy::default() }
}

/// A filter with this policy as `p` and a public one as `open`.
fn filter(policy: JwtPolicy) -> Rc<JwtAuth> {
    configured(&[("p", Policy::Jwt(policy)), ("open", Policy::Public {})])
}

fn configured(policies: &[(&str, Policy)]) -> Rc<JwtAuth> {
    let policies = policies.iter().map(|(id, policy)| ((*id).to_owned(), policy.clone())).collect();
    configured_as(&Config { policies, ..Config::default() })
}

fn configured_as(config: &Config) -> Rc<JwtAuth> {
    Rc::new(JwtAuth::configure(&serde_json::to_vec(config).unwrap(), &FakeHost::new()).unwrap())
}

/// A request on a route with policy `p`, with this token as bearer.
fn bearing(token: impl AsRef<[u8]>) -> FakeHost {
    FakeHost::new().with_policy("p").with_header("authorization", [b"Bearer ", token.as_ref()].concat())
}

/// Runs a request: status and code of the refusal, or `None` when it goes on.
fn refusal(filter: &Rc<JwtAuth>, host: &FakeHost) -> Option<(u16, &'static str)> {
    let mut stream = FakeStream::new(filter);
    stream.run(|request| request.on_request_headers(host, true));
    stream.reply().map(|reply| (reply.status, reply.details))
}

/// What the default policy says of this token.
fn verdict_on(token: impl AsRef<[u8]>) -> Option<(u16, &'static str)> {
    refusal(&filter(policy()), &bearing(token))
}

fn good_claims() -> Value {
    json!({"iss": "https://id.example", "aud": "orders", "exp": NOW + 1000, "sub": "alice"})
}

/// The good claims with these members set, or removed where null.
fn claims_with(changes: Value) -> Value {
    let mut claims = good_claims();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn secret() -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(vectors()["jwks"]["keys"][4]["k"].as_str().unwrap()).unwrap()
}

/// Signs any header and claims text with HS256 and this secret.
fn sign_with(secret: &[u8], header: &str, claims: &str) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap().chain_update(&message).finalize();
    format!("{message}.{}", encoded(mac.into_bytes()))
}

fn sign_text(header: &str, claims: &str) -> String {
    sign_with(&secret(), header, claims)
}

fn sign(claims: &Value) -> String {
    sign_text(r#"{"alg":"HS256","kid":"hs"}"#, &claims.to_string())
}
