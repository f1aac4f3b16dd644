//! Signature verification, and the `CryptoProvider` through which `jsonwebtoken` asks for it: RSASSA-PKCS1 and ECDSA by the
//! host's `verify_signature` (BoringSSL, an order faster than anything inside the module), in Rust where the host
//! refuses the call; PSS, EdDSA and HMAC always in Rust.

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, new_error};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{DecodingKey, EncodingKey};
use rsa::signature::Verifier as _;
use rsa::{pkcs1v15, pss};
use scoped_tls_hkt::scoped_thread_local;
use sha2::{Sha256, Sha384, Sha512};
use windrose_filter_kit::{Host, HostError, LogLevel};

use crate::config::{Algorithm, Hash};
use crate::keys::{Key, Material};

/// Name of Envoy's foreign function.
const VERIFY_SIGNATURE: &str = "verify_signature";

/// One verification at hand: which key, which algorithm, and the host that can help.
#[derive(Clone, Copy)]
pub(crate) struct Verification<'a> {
    pub(crate) host: &'a dyn Host,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: &'a Key,
}

scoped_thread_local!(static AT_HAND: for<'a> Verification<'a>);

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: refuse_to_sign,
    verifier_factory: verifier_at_hand,
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
        rsa_pub_components_from_public_key: |_| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
        ec_pub_components_from_private_key: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
        ed_pub_components_from_private_key: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
        compute_digest: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    },
};

/// Makes `jsonwebtoken` of this process verify through us. Doing it twice is no harm; where another provider was first,
/// every token is refused, because the keys that `jsonwebtoken` is handed here are empty.
pub(crate) fn install() {
    let _ = PROVIDER.install_default();
}

impl Verification<'_> {
    /// Runs `decode` so that the signature it asks about is checked with this key, and only this one.
    pub(crate) fn scope<T>(self, decode: impl FnOnce() -> T) -> T {
        AT_HAND.set(self, decode)
    }

    /// Whether `signature` (as JWS has it) is this key's for `message`.
    pub(crate) fn holds(self, message: &[u8], signature: &[u8]) -> bool {
        use Algorithm as A;
        match (self.algorithm, &self.key.material) {
            (A::RS256 | A::RS384 | A::RS512, Material::Rsa { spki, key }) => {
                self.by_host(spki, message, signature).unwrap_or_else(|_| rsa_pkcs1(self.algorithm.hash(), key, message, signature))
            }
            (A::ES256, Material::P256 { spki, key }) => match p256::ecdsa::Signature::from_slice(signature) {
                Ok(parsed) => {
                    self.by_host(spki, message, parsed.to_der().as_bytes()).unwrap_or_else(|_| key.verify(message, &parsed).is_ok())
                }
                Err(_) => false,
            },
            (A::ES384, Material::P384 { spki, key }) => match p384::ecdsa::Signature::from_slice(signature) {
                Ok(parsed) => {
                    self.by_host(spki, message, parsed.to_der().as_bytes()).unwrap_or_else(|_| key.verify(message, &parsed).is_ok())
                }
                Err(_) => false,
            },
            (A::PS256 | A::PS384 | A::PS512, Material::Rsa { key, .. }) => rsa_pss(self.algorithm.hash(), key, message, signature),
            (A::EdDSA, Material::Ed25519(key)) => match ed25519_dalek::Signature::from_slice(signature) {
                Ok(parsed) => key.verify_strict(message, &parsed).is_ok(),
                Err(_) => false,
            },
            (A::HS256 | A::HS384 | A::HS512, Material::Secret(secret)) => hmac(self.algorithm.hash(), secret, message, signature),
            (_, Material::Rsa { .. } | Material::P256 { .. } | Material::P384 { .. } | Material::Ed25519(_) | Material::Secret(_)) => false,
        }
    }

    /// Asks the host. An error means that it refused the call, not that the signature is wrong.
    fn by_host(self, spki: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, HostError> {
        let hash = self.algorithm.hash().name();
        let mut arguments = Vec::with_capacity(spki.len() + message.len() + signature.len() + 32);
        for (field, bytes) in [(1, hash.as_bytes()), (2, spki), (3, signature), (4, message)] {
            push_field(&mut arguments, field, bytes);
        }
        // `bool result = 1`: written as 08 01 when true, left out when false.
        let reply = self.host.call_foreign(VERIFY_SIGNATURE, &arguments);
        let reply =
            reply.inspect_err(|error| self.host.log(LogLevel::Debug, &format!("{VERIFY_SIGNATURE}: {error}; verifying in Rust")))?;
        Ok(reply.starts_with(&[0x08, 0x01]))
    }
}

/// One length-delimited protobuf field, number below 16.
fn push_field(message: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    message.push((field << 3) | 2);
    let mut len = bytes.len();
    while len >= 0x80 {
        message.push(u8::try_from(len & 0x7f).unwrap_or(0) | 0x80);
        len >>= 7;
    }
    message.push(u8::try_from(len).unwrap_or(0));
    message.extend_from_slice(bytes);
}

fn rsa_pkcs1(hash: Hash, key: &rsa::PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = pkcs1v15::Signature::try_from(signature) else { return false };
    let key = key.clone();
    match hash {
        Hash::Sha256 => pkcs1v15::VerifyingKey::<Sha256>::new(key).verify(message, &signature).is_ok(),
        Hash::Sha384 => pkcs1v15::VerifyingKey::<Sha384>::new(key).verify(message, &signature).is_ok(),
        Hash::Sha512 => pkcs1v15::VerifyingKey::<Sha512>::new(key).verify(message, &signature).is_ok(),
    }
}

/// The salt is as long as the hash (RFC 7518, section 3.5), which is what `VerifyingKey::new` demands.
fn rsa_pss(hash: Hash, key: &rsa::PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = pss::Signature::try_from(signature) else { return false };
    let key = key.clone();
    match hash {
        Hash::Sha256 => pss::VerifyingKey::<Sha256>::new(key).verify(message, &signature).is_ok(),
        Hash::Sha384 => pss::VerifyingKey::<Sha384>::new(key).verify(message, &signature).is_ok(),
        Hash::Sha512 => pss::VerifyingKey::<Sha512>::new(key).verify(message, &signature).is_ok(),
    }
}

/// Compared in constant time.
fn hmac(hash: Hash, secret: &[u8], message: &[u8], signature: &[u8]) -> bool {
    match hash {
        Hash::Sha256 => mac_holds::<Hmac<Sha256>>(secret, message, signature),
        Hash::Sha384 => mac_holds::<Hmac<Sha384>>(secret, message, signature),
        Hash::Sha512 => mac_holds::<Hmac<Sha512>>(secret, message, signature),
    }
}

fn mac_holds<M: Mac + KeyInit>(secret: &[u8], message: &[u8], signature: &[u8]) -> bool {
    <M as KeyInit>::new_from_slice(secret).is_ok_and(|mac| mac.chain_update(message).verify_slice(signature).is_ok())
}

/// What `jsonwebtoken` holds while it decodes: the verification at hand, for the one algorithm it asked for.
struct VerifierAtHand(jsonwebtoken::Algorithm);

impl Verifier<Vec<u8>> for VerifierAtHand {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Error> {
        let holds = AT_HAND.is_set() && AT_HAND.with(|at_hand| as_theirs(at_hand.algorithm) == self.0 && at_hand.holds(message, signature));
        if holds { Ok(()) } else { Err(Error::new()) }
    }
}

impl JwtVerifier for VerifierAtHand {
    fn algorithm(&self) -> jsonwebtoken::Algorithm {
        self.0
    }
}

fn verifier_at_hand(algorithm: &jsonwebtoken::Algorithm, _key: &DecodingKey) -> jsonwebtoken::errors::Result<Box<dyn JwtVerifier>> {
    Ok(Box::new(VerifierAtHand(*algorithm)))
}

fn refuse_to_sign(_: &jsonwebtoken::Algorithm, _: &EncodingKey) -> jsonwebtoken::errors::Result<Box<dyn JwtSigner>> {
    Err(new_error(ErrorKind::UnsupportedAlgorithm))
}

/// Our algorithm as `jsonwebtoken` names it.
pub(crate) fn as_theirs(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm as Theirs;
    match algorithm {
        Algorithm::HS256 => Theirs::HS256,
        Algorithm::HS384 => Theirs::HS384,
        Algorithm::HS512 => Theirs::HS512,
        Algorithm::RS256 => Theirs::RS256,
        Algorithm::RS384 => Theirs::RS384,
        Algorithm::RS512 => Theirs::RS512,
        Algorithm::PS256 => Theirs::PS256,
        Algorithm::PS384 => Theirs::PS384,
        Algorithm::PS512 => Theirs::PS512,
        Algorithm::ES256 => Theirs::ES256,
        Algorithm::ES384 => Theirs::ES384,
        Algorithm::EdDSA => Theirs::EdDSA,
    }
}
