//! A JWKS document (RFC 7517) as keys ready for verification. A key that is not for us (encryption, an unknown type or
//! curve) is passed over, as the RFC says; a key that is dangerous (weak, private, ambiguous) refuses the whole document.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::BoxedUint;
use serde_json::{Map, Value};

use crate::config::Algorithm;
use crate::der;
use crate::json;
use crate::limits::{JWKS_BYTES_MAX, KEYS_MAX, RSA_BITS_MAX, RSA_BITS_MIN};

/// The keys of one issuer.
#[derive(Debug)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
}

/// One key and what it may be used for.
pub(crate) struct Key {
    kid: Option<String>,
    only_for: Option<Algorithm>,
    /// Whether an RSA key is for PSS too: where the key or the policy says so, never because a token does.
    takes_pss: bool,
    pub(crate) material: Material,
}

/// What verifies: for the host the public key as `SubjectPublicKeyInfo`, for us the parsed key.
pub(crate) enum Material {
    Rsa { spki: Vec<u8>, key: Box<rsa::PublicKey> },
    P256 { spki: Vec<u8>, key: p256::ecdsa::VerifyingKey },
    P384 { spki: Vec<u8>, key: p384::ecdsa::VerifyingKey },
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
    Secret(Vec<u8>),
}

/// No key material, secret or not.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl KeySet {
    /// Parses a JWKS for these algorithms; `named` says that the policy names them. Where it does not, an RSA key without
    /// `alg` is for PKCS #1 alone: PSS is the dearest signature to check, and its choice is not the client's. The error is a
    /// sentence that names the key by its place and `kid`.
    pub(crate) fn parse(jwks: &str, algorithms: &[Algorithm], named: bool) -> Result<Self, String> {
        let keys = listed(jwks)?;
        let mut set = Self { keys: Vec::new() };
        for (index, jwk) in keys.iter().enumerate() {
            let parsed = Key::parse(jwk, named).map_err(|reason| format!("key {index}{}: {reason}", kid_in_words(jwk)))?;
            set.keys.extend(parsed.filter(|key| algorithms.iter().any(|algorithm| key.verifies(*algorithm))));
        }
        set.check(algorithms)?;
        Ok(set)
    }

    /// The one key that a token of this algorithm and `kid` may be tried with; `None` when there is none, or several and
    /// the token does not say which.
    pub(crate) fn select(&self, algorithm: Algorithm, kid: Option<&str>) -> Option<&Key> {
        let usable = || self.keys.iter().filter(move |key| key.verifies(algorithm));
        match kid {
            Some(kid) => usable().find(|key| key.kid.as_deref() == Some(kid)).or_else(|| only(usable()).filter(|key| key.kid.is_none())),
            None => only(usable()),
        }
    }

    fn check(&self, algorithms: &[Algorithm]) -> Result<(), String> {
        if self.keys.is_empty() {
            return Err("no key in it can verify any of the allowed algorithms".to_owned());
        }
        for (index, key) in self.keys.iter().enumerate() {
            key.check_strength(algorithms).map_err(|reason| format!("key{}: {reason}", in_words(key.kid.as_deref())))?;
            let mut twins = self.keys.iter().skip(index.saturating_add(1)).filter(|other| other.kid.is_some() && other.kid == key.kid);
            if twins.any(|twin| algorithms.iter().any(|algorithm| twin.verifies(*algorithm) && key.verifies(*algorithm))) {
                return Err(format!("two keys have the same kid{}", in_words(key.kid.as_deref())));
            }
        }
        Ok(())
    }
}

impl Key {
    /// `Ok(None)` for a key that is not meant for this.
    fn parse(jwk: &Map<String, Value>, named: bool) -> Result<Option<Self>, String> {
        if !may_verify(jwk)? {
            return Ok(None);
        }
        let only_for = match text(jwk, "alg")? {
            None => None,
            Some(name) => match name.parse() {
                Ok(algorithm) => Some(algorithm),
                Err(_) => return Ok(None),
            },
        };
        let kid = text(jwk, "kid")?.map(str::to_owned);
        let material = Material::parse(jwk)?;
        Ok(material.map(|material| Self { kid, only_for, takes_pss: named || only_for.is_some(), material }))
    }

    fn verifies(&self, algorithm: Algorithm) -> bool {
        let is_open = self.takes_pss || !algorithm.is_pss();
        is_open && self.only_for.is_none_or(|only| only == algorithm) && self.material.fits(algorithm)
    }

    fn check_strength(&self, algorithms: &[Algorithm]) -> Result<(), String> {
        let Material::Secret(secret) = &self.material else { return Ok(()) };
        for algorithm in algorithms.iter().filter(|algorithm| self.verifies(**algorithm)) {
            let least = algorithm.hash().bytes();
            if secret.len() < least {
                let name = algorithm.name();
                return Err(format!("a secret of {} bytes is too short for {name}, which needs {least}", secret.len()));
            }
        }
        Ok(())
    }
}

impl Material {
    fn parse(jwk: &Map<String, Value>) -> Result<Option<Self>, String> {
        let curve = text(jwk, "crv")?;
        match (text(jwk, "kty")?, curve) {
            (None, _) => Err("kty is missing".to_owned()),
            (Some("oct"), _) => Ok(Some(Self::Secret(bytes(jwk, "k")?))),
            (Some("RSA" | "EC" | "OKP"), _) if jwk.contains_key("d") => {
                Err("this is a private key; publish only the public one".to_owned())
            }
            (Some("RSA"), _) => rsa_key(jwk).map(Some),
            (Some("EC"), Some("P-256")) => p256_key(jwk).map(Some),
            (Some("EC"), Some("P-384")) => p384_key(jwk).map(Some),
            (Some("OKP"), Some("Ed25519")) => ed25519_key(jwk).map(Some),
            (Some(_), _) => Ok(None),
        }
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm as A;
        match self {
            Self::Rsa { .. } => matches!(algorithm, A::RS256 | A::RS384 | A::RS512 | A::PS256 | A::PS384 | A::PS512),
            Self::P256 { .. } => algorithm == A::ES256,
            Self::P384 { .. } => algorithm == A::ES384,
            Self::Ed25519(_) => algorithm == A::EdDSA,
            Self::Secret(_) => algorithm.is_symmetric(),
        }
    }
}

fn listed(jwks: &str) -> Result<Vec<Map<String, Value>>, String> {
    if jwks.len() > JWKS_BYTES_MAX {
        return Err(format!("it has {} bytes, at most {JWKS_BYTES_MAX} are read", jwks.len()));
    }
    let mut document =
        json::parse_object(jwks.as_bytes()).ok_or("it is not a JSON object, or a member is given twice, or it is nested too deep")?;
    let Some(Value::Array(keys)) = document.remove("keys") else { return Err("it has no array \"keys\"".to_owned()) };
    if keys.len() > KEYS_MAX {
        return Err(format!("it has {} keys, at most {KEYS_MAX} are taken", keys.len()));
    }
    let objects = keys.into_iter().enumerate().map(|(index, key)| match key {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(format!("key {index} is not an object"))
        }
    });
    objects.collect()
}

/// `use` and `key_ops` (RFC 7517, sections 4.2 and 4.3): both, where given, must allow verification.
fn may_verify(jwk: &Map<String, Value>) -> Result<bool, String> {
    let by_use = text(jwk, "use")?.is_none_or(|usage| usage == "sig");
    let by_operations = match jwk.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => operations.iter().any(|operation| operation == "verify"),
        Some(_) => return Err("key_ops is not an array".to_owned()),
    };
    Ok(by_use && by_operations)
}

fn rsa_key(jwk: &Map<String, Value>) -> Result<Material, String> {
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let bits = der::significant(&n).len().saturating_mul(8).saturating_sub(leading_zero_bits(&n));
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err(format!("an RSA modulus of {bits} bits is not taken; {RSA_BITS_MIN} to {RSA_BITS_MAX} are"));
    }
    if !matches!(der::significant(&e), [.., last] if last & 1 == 1 && der::significant(&e) != [1]) {
        return Err("the RSA exponent e must be odd and at least 3".to_owned());
    }
    let (modulus, exponent) =
        (BoxedUint::from_be_slice_vartime(der::significant(&n)), BoxedUint::from_be_slice_vartime(der::significant(&e)));
    let key = rsa::PublicKey::new_with_size_limits(modulus, exponent, RSA_BITS_MIN..=RSA_BITS_MAX)
        .map_err(|error| format!("not an RSA public key: {error}"))?;
    Ok(Material::Rsa { spki: der::rsa_public_key(&n, &e), key: Box::new(key) })
}

fn leading_zero_bits(number: &[u8]) -> usize {
    der::significant(number).first().map_or(0, |byte| usize::try_from(byte.leading_zeros()).unwrap_or(0))
}

fn p256_key(jwk: &Map<String, Value>) -> Result<Material, String> {
    let point = point(jwk, 32)?;
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| "x and y are not a point of P-256")?;
    Ok(Material::P256 { spki: der::p256_public_key(&point), key })
}

fn p384_key(jwk: &Map<String, Value>) -> Result<Material, String> {
    let point = point(jwk, 48)?;
    let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| "x and y are not a point of P-384")?;
    Ok(Material::P384 { spki: der::p384_public_key(&point), key })
}

/// An uncompressed point; RFC 7518, section 6.2.1.2, fixes the length of each coordinate.
fn point(jwk: &Map<String, Value>, coordinate_len: usize) -> Result<Vec<u8>, String> {
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != coordinate_len || y.len() != coordinate_len {
        return Err(format!("x and y must have {coordinate_len} bytes each"));
    }
    Ok([&[4], x.as_slice(), y.as_slice()].concat())
}

fn ed25519_key(jwk: &Map<String, Value>) -> Result<Material, String> {
    let x = <[u8; 32]>::try_from(bytes(jwk, "x")?).map_err(|_| "x must have 32 bytes")?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(&x).map_err(|_| "x is not a point of Ed25519")?;
    if key.is_weak() {
        return Err("x is a point of small order, which verifies anything".to_owned());
    }
    Ok(Material::Ed25519(Box::new(key)))
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let text = text(jwk, name)?.ok_or_else(|| format!("{name} is missing"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("{name} is not base64url without padding"))
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} is not a string")),
    }
}

fn only<'a>(mut keys: impl Iterator<Item = &'a Key>) -> Option<&'a Key> {
    let first = keys.next();
    if keys.next().is_some() { None } else { first }
}

fn kid_in_words(jwk: &Map<String, Value>) -> String {
    in_words(jwk.get("kid").and_then(Value::as_str))
}

fn in_words(kid: Option<&str>) -> String {
    kid.map(|kid| format!(" (kid {kid:?})")).unwrap_or_default()
}
