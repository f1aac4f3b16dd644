//! `windrose token`: signed JSON Web Tokens for development (RFC 7519, ES256), and the key they are checked by.

use anyhow::{Context, bail};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};
use windrose_pki::{Directory, SystemEntropy};

use crate::args;
use crate::output::put;

/// Name of the key file in the state folder.
const KEY: &str = "dev-token.key";
/// A development token lives at most so long.
const TTL_MAX: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);

pub(crate) fn run(options: &args::Token) -> anyhow::Result<()> {
    let key = open_key(&options.state)?;
    if options.jwks {
        return put(&format!("{}\n", serde_json::to_string_pretty(&jwks(&key))?));
    }
    let token = sign(&key, &claims(options, super::now())?)?;
    put(&format!("{token}\n"))
}

/// The key in the state folder, made when there is none.
fn open_key(state: &std::path::Path) -> anyhow::Result<EcdsaKeyPair> {
    let directory = Directory::open(state)?;
    let damaged = || format!("{}: not a key of ours; delete it and a new one is made", state.join(KEY).display());
    if directory.read(KEY)?.is_none() {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).context("randomness")?;
        directory.write_first(KEY, &STANDARD.encode(made.as_ref()), &SystemEntropy)?;
    }
    let text = directory.read(KEY)?.with_context(damaged)?;
    let pkcs8 = STANDARD.decode(text.trim()).with_context(damaged)?;
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).map_err(|why| anyhow::anyhow!("{} ({why})", damaged()))
}

/// The public key as a JWKS document (RFC 7517).
fn jwks(key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
    json!({"keys": [{
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid(key),
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    }]})
}

fn kid(key: &EcdsaKeyPair) -> String {
    windrose_vocab::Fingerprint::of("dev-token", &bytes::Bytes::copy_from_slice(key.public_key().as_ref())).to_string()
}

fn claims(options: &args::Token, now: u64) -> anyhow::Result<Map<String, Value>> {
    let ttl = super::parse_ttl("--ttl", &options.ttl)?;
    if ttl > TTL_MAX {
        bail!("--ttl {}: at most 365d", options.ttl);
    }
    let standard = json!({
        "iss": options.issuer, "aud": options.audience, "sub": options.subject, "iat": now, "exp": now + ttl.as_secs(),
    });
    let Value::Object(mut claims) = standard else { bail!("claims are an object") };
    for pair in &options.claims {
        let (name, value) = pair.split_once('=').with_context(|| format!("--claim {pair}: write it as NAME=VALUE"))?;
        claims.insert(name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned())));
    }
    Ok(claims)
}

fn sign(key: &EcdsaKeyPair, claims: &Map<String, Value>) -> anyhow::Result<String> {
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": kid(key)});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&header), part(&Value::Object(claims.clone())));
    let signature = key.sign(&SystemRandom::new(), text.as_bytes()).context("signing")?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
}
