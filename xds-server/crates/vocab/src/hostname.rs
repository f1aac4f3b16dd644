//! DNS hostnames as Gateway API knows them: exact or with one leading `*` label, lower case, never an address.

use std::fmt;

use crate::Text;

/// A hostname that was checked: `shop.example`, `*.shop.example`, or `*` for any.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hostname(Text);

/// Why a text is not a hostname.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostnameError {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text is longer than 253 characters.
    #[error("is longer than 253 characters")]
    TooLong,
    /// The text is an IP address.
    #[error("is an IP address, not a DNS name")]
    Address,
    /// A `*` stands elsewhere than as the whole first label.
    #[error("may have `*` only as its whole first label")]
    Wildcard,
    /// A label is empty, longer than 63 characters, or has a character that is not `a-z`, `0-9` or an inner `-`.
    #[error("has a label that is not lower-case letters, digits and inner `-` (1 to 63 of them)")]
    Label,
}

impl Hostname {
    /// Any host: `*`.
    #[must_use]
    pub fn any() -> Self {
        Self(Text::from("*"))
    }

    /// Checks `text` (RFC 1123, lower case, no trailing dot, no port).
    ///
    /// # Errors
    /// When the text is none of `*`, an exact DNS name, or `*.` and a DNS name.
    pub fn parse(text: &str) -> Result<Self, HostnameError> {
        match text {
            "" => return Err(HostnameError::Empty),
            "*" => return Ok(Self::any()),
            _ if text.len() > 253 => return Err(HostnameError::TooLong),
            _ if text.parse::<std::net::IpAddr>().is_ok() => return Err(HostnameError::Address),
            _ => {}
        }
        let rest = text.strip_prefix("*.").unwrap_or(text);
        if rest.contains('*') {
            return Err(HostnameError::Wildcard);
        }
        if rest.split('.').all(is_label) { Ok(Self(Text::from(text))) } else { Err(HostnameError::Label) }
    }

    /// The text as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `*`.
    #[must_use]
    pub fn is_any(&self) -> bool {
        &*self.0 == "*"
    }

    /// The part after `*`, with its dot, if this is `*.something`.
    #[must_use]
    pub fn suffix(&self) -> Option<&str> {
        self.0.strip_prefix('*').filter(|rest| !rest.is_empty())
    }

    /// Whether this names exactly one host.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.starts_with('*')
    }

    /// Whether every host that `other` names is named by this one. `*.a` covers `x.a` and `x.y.a`, not `a`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match self.suffix() {
            _ if self == other || self.is_any() => true,
            Some(suffix) => {
                !other.is_any() && other.0.strip_prefix('*').unwrap_or(&other.0).ends_with(suffix) && other.0.len() > suffix.len()
            }
            None => false,
        }
    }

    /// The hosts that both name: the more specific of the two, if one covers the other.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        if self.covers(other) {
            Some(other.clone())
        } else if other.covers(self) {
            Some(self.clone())
        } else {
            None
        }
    }

    /// Orders hostnames from the most to the least specific: exact first, then longer suffixes, `*` last.
    #[must_use]
    pub fn specificity(&self) -> (bool, usize) {
        (self.is_exact(), self.0.len())
    }
}

fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

crate::canonical!(newtype Hostname);

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Hostname {
        Hostname::parse(text).unwrap()
    }

    #[test]
    fn texts_that_are_no_hostnames_are_refused_with_their_reason() {
        let cases = [
            ("", HostnameError::Empty),
            ("10.0.0.1", HostnameError::Address),
            ("::1", HostnameError::Address),
            ("a.*.b", HostnameError::Wildcard),
            ("*a.b", HostnameError::Wildcard),
            ("Shop.example", HostnameError::Label),
            ("shop.example.", HostnameError::Label),
            ("shop_x.example", HostnameError::Label),
            ("-a.b", HostnameError::Label),
        ];
        for (text, expected) in cases {
            assert_eq!(Hostname::parse(text), Err(expected), "{text:?}");
        }
        assert_eq!(Hostname::parse(&"a".repeat(254)), Err(HostnameError::TooLong));
    }

    #[test]
    fn intersection_is_the_more_specific_of_two() {
        let cases = [
            ("*", "a.b", Some("a.b")),
            ("*.b", "a.b", Some("a.b")),
            ("*.b", "x.a.b", Some("x.a.b")),
            ("*.b", "b", None),
            ("*.b", "*.a.b", Some("*.a.b")),
            ("*.a.b", "*.b", Some("*.a.b")),
            ("*.ab", "x.b", None),
            ("a.b", "c.b", None),
            ("*.b", "*", Some("*.b")),
        ];
        for (left, right, expected) in cases {
            assert_eq!(host(left).intersect(&host(right)), expected.map(host), "{left} ∩ {right}");
            assert_eq!(host(right).intersect(&host(left)), expected.map(host), "{right} ∩ {left}");
        }
    }
}
