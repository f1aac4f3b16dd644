//! SPIFFE identities, as the SPIFFE-ID standard spells them and no more leniently.

use std::fmt;

use crate::Text;

/// A trust domain: 1 to 255 of `a-z`, `0-9`, `.`, `-`, `_`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Text);

/// `spiffe://<trust domain>/ns/<namespace>/sa/<account>`: who a workload or a gateway is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// The namespace.
    pub namespace: Text,
    /// The service account.
    pub account: Text,
}

/// Why a text is not an identity of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// Not `spiffe://`, in lower case.
    #[error("does not begin with `spiffe://`")]
    Scheme,
    /// The trust domain is empty, too long, or has another character.
    #[error("has no valid trust domain (a-z, 0-9, `.`, `-`, `_`; 1 to 255)")]
    TrustDomain,
    /// The path is not `/ns/<namespace>/sa/<account>` with plain segments.
    #[error("has no path of the form /ns/<namespace>/sa/<service account>")]
    Path,
    /// Longer than 2,048 bytes.
    #[error("is longer than 2,048 bytes")]
    TooLong,
}

impl TrustDomain {
    /// Checks `text`.
    ///
    /// # Errors
    /// When it is empty, longer than 255, or has a character outside `a-z`, `0-9`, `.`, `-`, `_`.
    pub fn parse(text: &str) -> Result<Self, SpiffeError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        let valid = (1..=255).contains(&text.len()) && text.bytes().all(plain);
        valid.then(|| Self(text.into())).ok_or(SpiffeError::TrustDomain)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SpiffeId {
    /// Checks `text`. Wrong case, an empty, `.` or `..` segment, `%`, NUL, a trailing slash, a query or a fragment are refused.
    ///
    /// # Errors
    /// When it is not exactly `spiffe://<trust domain>/ns/<namespace>/sa/<account>`.
    pub fn parse(text: &str) -> Result<Self, SpiffeError> {
        if text.len() > 2048 {
            return Err(SpiffeError::TooLong);
        }
        let rest = text.strip_prefix("spiffe://").ok_or(SpiffeError::Scheme)?;
        let (domain, path) = rest.split_once('/').ok_or(SpiffeError::Path)?;
        let trust_domain = TrustDomain::parse(domain)?;
        let mut segments = path.split('/');
        let spelled = [segments.next(), segments.next(), segments.next(), segments.next(), segments.next()];
        match spelled {
            [Some("ns"), Some(namespace), Some("sa"), Some(account), None] if is_segment(namespace) && is_segment(account) => {
                Ok(Self { trust_domain, namespace: namespace.into(), account: account.into() })
            }
            _ => Err(SpiffeError::Path),
        }
    }
}

fn is_segment(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(plain)
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/ns/{}/sa/{}", self.trust_domain, self.namespace, self.account)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

crate::canonical!(newtype TrustDomain);
crate::canonical!(struct SpiffeId { trust_domain, namespace, account });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_prints_as_it_was_spelled() {
        let text = "spiffe://cluster.local/ns/shop/sa/orders";
        assert_eq!(SpiffeId::parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn rule_51_every_other_spelling_is_refused() {
        let texts = [
            "SPIFFE://cluster.local/ns/shop/sa/orders",
            "spiffe://Cluster.local/ns/shop/sa/orders",
            "spiffe://cluster.local/ns/shop/sa/orders/",
            "spiffe://cluster.local//ns/shop/sa/orders",
            "spiffe://cluster.local/ns//sa/orders",
            "spiffe://cluster.local/ns/../sa/orders",
            "spiffe://cluster.local/ns/shop/sa/ord%65rs",
            "spiffe://cluster.local/ns/shop/sa/orders?x=1",
            "spiffe://cluster.local/ns/shop/sa/orders#x",
            "spiffe://cluster.local/ns/shop/sa/ord\0ers",
            "spiffe://cluster.local:8443/ns/shop/sa/orders",
            "spiffe://user@cluster.local/ns/shop/sa/orders",
            "spiffe:///ns/shop/sa/orders",
            "spiffe://cluster.local",
            "https://cluster.local/ns/shop/sa/orders",
        ];
        for text in texts {
            assert!(SpiffeId::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(SpiffeId::parse(&format!("spiffe://a/ns/{}/sa/b", "x".repeat(2048))), Err(SpiffeError::TooLong));
    }
}
