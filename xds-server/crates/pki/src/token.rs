//! Bearer tokens for the xDS stream: JWTs (RFC 7519) of one fixed header, HMAC-SHA256 under a key that only we have.
//! There is nothing to negotiate: another header, algorithm, audience or claim is refused.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::{Deserialize, Serialize};
use windrose_vocab::{ProxyKey, TrustDomain};

use crate::keyed::open_key;
use crate::node::is_segment;
use crate::template::unix_seconds;
use crate::{CredentialProblem, Directory, Entropy, Error, NodeIdentity, SecretText, limits};

const TOKEN_KEY: &str = "node-token.key";
const HEADER: &str = r#"{"alg":"HS256","typ":"windrose-node+jwt"}"#;
const AUDIENCE: &str = "windrose-xds";

/// The key that signs node tokens.
pub struct TokenKey {
    trust_domain: TrustDomain,
    key: hmac::Key,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    jti: String,
    iat: u64,
    exp: u64,
}

impl TokenKey {
    /// The key in `directory`, made when there is none.
    ///
    /// # Errors
    /// When it cannot be read or written, or is damaged.
    pub fn open(directory: &Directory, trust_domain: &TrustDomain, entropy: &dyn Entropy) -> Result<Self, Error> {
        let bytes = open_key(directory, TOKEN_KEY, entropy)?;
        Ok(Self { trust_domain: trust_domain.clone(), key: hmac::Key::new(hmac::HMAC_SHA256, bytes.as_ref()) })
    }

    /// A token for `proxy` that expires after `lifetime`.
    pub(crate) fn issue(&self, proxy: &ProxyKey, lifetime: Duration, now: SystemTime, entropy: &dyn Entropy) -> Result<SecretText, Error> {
        let mut id = [0; limits::SERIAL_BYTES];
        entropy.fill(&mut id)?;
        let iat = unix_seconds(now);
        let claims = Claims {
            iss: self.trust_domain.to_string(),
            aud: AUDIENCE.to_owned(),
            sub: proxy.to_string(),
            jti: format!("{:032x}", u128::from_be_bytes(id)),
            iat,
            exp: iat.saturating_add(lifetime.as_secs()),
        };
        let payload = serde_json::to_vec(&claims).map_err(|_| Error::Name(proxy.to_string()))?;
        let signed = format!("{}.{}", BASE64URL.encode(HEADER), BASE64URL.encode(payload));
        let signature = BASE64URL.encode(hmac::sign(&self.key, signed.as_bytes()));
        Ok(SecretText::new(format!("{signed}.{signature}")))
    }

    /// Whom the token names.
    pub(crate) fn verify(&self, token: &str, now: SystemTime) -> Result<NodeIdentity, CredentialProblem> {
        let claims = self.authentic(token)?;
        let (issued, expires) = (moment(claims.iat)?, moment(claims.exp)?);
        if claims.aud != AUDIENCE || claims.iss != self.trust_domain.as_str() {
            return Err(CredentialProblem::Purpose);
        }
        if now >= expires || now.checked_add(limits::BACKDATE).is_some_and(|soon| issued > soon) {
            return Err(CredentialProblem::OutsideValidity);
        }
        let proxy = ProxyKey::parse(&claims.sub).ok_or(CredentialProblem::Name)?;
        if !is_segment(&proxy.object.namespace) || !is_segment(&proxy.object.name) {
            return Err(CredentialProblem::Name);
        }
        Ok(NodeIdentity {
            proxy,
            trust_domain: self.trust_domain.clone(),
            credential: claims.jti.as_str().into(),
            issued_at: issued,
            expires_at: expires,
        })
    }

    /// The claims, once header and signature are right; nothing is decoded before.
    fn authentic(&self, token: &str) -> Result<Claims, CredentialProblem> {
        if token.len() > limits::TOKEN_BYTES_MAX {
            return Err(CredentialProblem::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(CredentialProblem::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(CredentialProblem::Malformed)?;
        if header != BASE64URL.encode(HEADER) {
            return Err(CredentialProblem::Foreign);
        }
        let signature = BASE64URL.decode(signature).map_err(|_| CredentialProblem::Malformed)?;
        hmac::verify(&self.key, signed.as_bytes(), &signature).map_err(|_| CredentialProblem::Foreign)?;
        let payload = BASE64URL.decode(payload).map_err(|_| CredentialProblem::Malformed)?;
        serde_json::from_slice(&payload).map_err(|_| CredentialProblem::Malformed)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({}, key redacted)", self.trust_domain)
    }
}

fn moment(seconds: u64) -> Result<SystemTime, CredentialProblem> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).ok_or(CredentialProblem::Malformed)
}
