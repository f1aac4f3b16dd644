//! What RFC 7519 leaves to whoever reads a token, in the shipped module and the real Envoy: one table of tokens that are signed by
//! the right key and must not pass, each beside one that differs in nothing else and does.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use rcgen::{KeyPair, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SigningKey};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::jwt::{Gateway, code, configuration};
use crate::module;

/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// The keys of the one who makes the tokens: an RSA key, and a secret.
struct Keys {
    rsa: KeyPair,
    secret: [u8; 32],
}

/// Which key signs, and what the header says of it: algorithm and `kid`.
#[derive(Clone, Copy)]
struct Signer {
    algorithm: &'static str,
    kid: &'static str,
}

/// What every good token is signed by.
const RS256: Signer = Signer { algorithm: "RS256", kid: "rsa" };
const HS256: Signer = Signer { algorithm: "HS256", kid: "secret" };

impl Keys {
    fn new() -> Self {
        Self { rsa: KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(), secret: [7; 32] }
    }

    /// The public key as a key of a JWKS; DER says where the modulus stands: `SEQUENCE { INTEGER (257 bytes, the first 0), 65537 }`.
    fn public(&self) -> Value {
        let der = self.rsa.public_key_raw();
        assert_eq!((der.len(), &der[265..]), (270, &[2, 3, 1, 0, 1][..]), "an RSA key of 2048 bits");
        json!({"kty": "RSA", "kid": RS256.kid, "n": URL_SAFE_NO_PAD.encode(&der[9..265]), "e": "AQAB"})
    }

    /// The secret as keys that may verify, and as some that say that they may not.
    fn document(&self) -> String {
        let secret = |more: Value| {
            let mut key = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(self.secret)});
            key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            key
        };
        json!({"keys": [
            self.public(),
            secret(json!({"kid": HS256.kid, "use": "sig", "key_ops": ["verify"]})),
            secret(json!({"kid": "encrypts", "use": "enc"})),
            secret(json!({"kid": "signs", "key_ops": ["sign"]})),
            secret(json!({"kid": "nothing", "use": "sig", "key_ops": []})),
        ]})
        .to_string()
    }

    /// A token of this header and these claims, whatever they say; `algorithm` signs it.
    fn sign(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = match algorithm {
            "RS256" => self.rsa.sign(message.as_bytes()).unwrap(),
            _ => hmac(&self.secret, &message),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn hmac(secret: &[u8], message: &str) -> Vec<u8> {
    Hmac::<Sha256>::new_from_slice(secret).unwrap().chain_update(message).finalize().into_bytes().to_vec()
}

fn header(signer: Signer) -> String {
    format!(r#"{{"alg":"{}","kid":"{}"}}"#, signer.algorithm, signer.kid)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Good claims with these members set, or taken out where null.
fn claims(changes: Value) -> String {
    let mut claims = json!({"iss": "https://id.example", "aud": "orders", "exp": now() + 1_000, "sub": "alice"});
    let members = claims.as_object_mut().unwrap();
    members.extend(changes.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    claims.to_string()
}

/// The text of a JSON object with more members behind its own.
fn with(object: &str, more: &str) -> String {
    format!("{},{more}}}", object.strip_suffix('}').unwrap())
}

fn nested(levels: usize) -> Value {
    serde_json::from_str(&("[".repeat(levels) + &"]".repeat(levels))).unwrap()
}

/// Claims that must not pass, with their refusal; and claims that differ in nothing else and pass.
fn by_claims() -> Vec<(&'static str, String, &'static str, String)> {
    let good = || claims(json!({}));
    vec![
        ("no exp", claims(json!({"exp": null})), "token_time_malformed", good()),
        ("no iss", claims(json!({"iss": null})), "token_issuer_unknown", good()),
        ("no aud", claims(json!({"aud": null})), "token_audience_wrong", good()),
        ("aud is a number", claims(json!({"aud": 7})), "token_audience_wrong", claims(json!({"aud": ["other", "orders"]}))),
        ("nbf in an hour", claims(json!({"nbf": now() + 3_600})), "token_not_yet_valid", claims(json!({"nbf": now()}))),
        ("exp in the year 10000", claims(json!({"exp": LAST_SECOND + 1})), "token_time_malformed", claims(json!({"exp": LAST_SECOND}))),
        ("33 levels", claims(json!({"x": nested(32)})), "token_malformed", claims(json!({"x": nested(31)}))),
        ("a claim twice", with(&good(), r#""sub":"root""#), "token_malformed", with(&good(), r#""sab":"root""#)),
        ("a claim twice below", with(&good(), r#""x":[{"a":1,"a":2}]"#), "token_malformed", with(&good(), r#""x":[{"a":1,"b":2}]"#)),
    ]
}

/// Members of a header that must not pass, with their refusal; and such that do.
const BY_HEADER: [(&str, &str, &str); 3] = [
    (r#""crit":["exp"],"exp":1"#, "token_critical_header", r#""exp":1"#),
    (r#""crit":["b64"],"b64":true"#, "token_critical_header", r#""x5u":"https://127.0.0.1/""#),
    (r#""x":1,"x":1"#, "token_malformed", r#""x":1,"y":1"#),
];

/// A filter that takes what those keys sign, on every path.
async fn gateway(keys: &Keys) -> Gateway {
    let mut configuration = configuration();
    let provider = &mut configuration["policies"]["orders"]["jwt"]["providers"][0];
    (provider["jwks"], provider["algorithms"]) = (json!(keys.document()), json!(["HS256", "RS256"]));
    configuration["policies"] = json!({"orders": configuration["policies"]["orders"]});
    let filters = [module::filter("jwt-auth", &module::built("jwt-auth"), &configuration), module::edits("jwt-auth")];
    Gateway::start_with(&filters, &[module::route("/", Some("orders"))], tempfile::tempdir().unwrap()).await
}

#[tokio::test]
async fn what_the_claims_and_the_header_must_say_is_asked_of_every_algorithm() {
    let keys = Keys::new();
    let gateway = gateway(&keys).await;
    for signer in [RS256, HS256] {
        let sign = |header: &str, claims: &str| keys.sign(signer.algorithm, header, claims);
        let of_claims = by_claims()
            .into_iter()
            .map(|(name, bad, refusal, good)| (name, sign(&header(signer), &bad), refusal, sign(&header(signer), &good)));
        let of_header = BY_HEADER.into_iter().map(|(bad, refusal, good)| {
            let token = |more| sign(&with(&header(signer), more), &claims(json!({})));
            (bad, token(bad), refusal, token(good))
        });
        for (name, bad, refusal, good) in of_claims.chain(of_header) {
            let seen = code(&gateway.with_token("/", &bad).await);
            assert_eq!(seen, (401, refusal.to_owned()), "{}: {name}", signer.algorithm);
            assert_eq!(gateway.with_token("/", &good).await.status, 200, "{}: the good one beside {name}", signer.algorithm);
        }
    }
    let passed = 2 * (by_claims().len() + BY_HEADER.len());
    assert_eq!(gateway.upstream.requests(), passed as u64);
}

#[tokio::test]
async fn a_key_verifies_what_it_is_for_and_nothing_else() {
    let keys = Keys::new();
    let gateway = gateway(&keys).await;
    let good = claims(json!({}));
    let by = |kid, algorithm| header(Signer { algorithm, kid });
    for kid in ["encrypts", "signs", "nothing"] {
        let token = keys.sign("HS256", &by(kid, "HS256"), &good);
        assert_eq!(code(&gateway.with_token("/", &token).await), (401, "token_key_unknown".to_owned()), "{kid}");
    }
    // The public key is everybody's, and must be no secret of anybody's.
    for public in [keys.rsa.public_key_pem().into_bytes(), keys.rsa.subject_public_key_info(), keys.public().to_string().into_bytes()] {
        for (kid, refusal) in [(RS256.kid, "token_key_unknown"), (HS256.kid, "token_signature_invalid")] {
            let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(by(kid, "HS256")), URL_SAFE_NO_PAD.encode(&good));
            let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(hmac(&public, &message)));
            assert_eq!(code(&gateway.with_token("/", &token).await), (401, refusal.to_owned()), "{kid}");
        }
    }
    for none in ["none", "None", "nOnE"] {
        let signed = keys.sign("RS256", &by(RS256.kid, none), &good);
        let unsigned = signed.rsplit_once('.').unwrap().0.to_owned() + ".";
        for token in [signed, unsigned] {
            assert_eq!(code(&gateway.with_token("/", &token).await), (401, "token_algorithm_refused".to_owned()), "{none}");
        }
    }
    assert_eq!(gateway.upstream.requests(), 0);
    for signer in [RS256, HS256] {
        let token = keys.sign(signer.algorithm, &header(signer), &good);
        assert_eq!(gateway.with_token("/", &token).await.status, 200, "{}", signer.algorithm);
    }
}
