//! What a certificate says, as plain values for status pages and checks. Reads only; trusts nothing.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AlgorithmIdentifier, X509Version};

/// What one certificate says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Subject, with control characters replaced.
    pub subject: String,
    /// Issuer, with control characters replaced.
    pub issuer: String,
    /// Serial number in lower-case hexadecimal.
    pub serial: String,
    /// First second of the validity.
    pub not_before: SystemTime,
    /// Last second of the validity.
    pub not_after: SystemTime,
    /// DNS names, in the certificate's order and spelling.
    pub dns_names: Vec<String>,
    /// IP addresses.
    pub addresses: Vec<IpAddr>,
    /// URIs, a SPIFFE identity among them.
    pub uris: Vec<String>,
    /// Whether it may sign other certificates.
    pub is_authority: bool,
    /// Its public key.
    pub key: Key,
}

/// A public key's kind and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// RSA with that many bits of modulus.
    Rsa(usize),
    /// ECDSA on the NIST curve of that many bits.
    Ec(usize),
    /// Anything else, by its object identifier.
    Other(String),
}

impl CertificateFacts {
    /// Reads one DER certificate. `None` when it is not one, or bytes follow it.
    #[must_use]
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        rest.is_empty().then(|| Self::of(&certificate)).flatten()
    }

    /// Whether it is of a version before the third, which has no names of hosts.
    pub(crate) fn is_old(der: &[u8]) -> bool {
        X509Certificate::from_der(der).is_ok_and(|(_, certificate)| certificate.version() != X509Version::V3)
    }

    /// Whether `now` lies in the validity.
    #[must_use]
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whether a client that asks for `host` (lower case, no trailing dot) would take it: RFC 6125, a `*` for one leftmost label.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        self.dns_names.iter().any(|name| covers_name(&name.to_ascii_lowercase(), host))
    }

    /// Whether it is for a host of `hostname`: for that host, or of `*.parent` for all or for some.
    #[must_use]
    pub fn serves(&self, hostname: &str) -> bool {
        let within = |parent: &str| {
            self.dns_names.iter().any(|name| name.to_ascii_lowercase().strip_suffix(parent).is_some_and(|rest| rest.ends_with('.')))
        };
        self.covers(hostname) || hostname.strip_prefix("*.").is_some_and(within)
    }

    fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let names = certificate.subject_alternative_name().ok()?;
        let names = names.map(|extension| extension.value.general_names.clone()).unwrap_or_default();
        let text = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(text) => Some((*text).to_owned()),
            _ => None,
        };
        let uri = |name: &GeneralName<'_>| match name {
            GeneralName::URI(text) => Some((*text).to_owned()),
            _ => None,
        };
        Some(Self {
            subject: printable(&certificate.subject().to_string()),
            issuer: printable(&certificate.issuer().to_string()),
            serial: certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            not_before: moment(certificate.validity().not_before.timestamp()),
            not_after: moment(certificate.validity().not_after.timestamp()),
            dns_names: names.iter().filter_map(text).collect(),
            addresses: names.iter().filter_map(address).collect(),
            uris: names.iter().filter_map(uri).collect(),
            is_authority: may_sign(certificate),
            key: key(certificate),
        })
    }
}

fn covers_name(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
        None => pattern == host,
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn moment(timestamp: i64) -> SystemTime {
    let seconds = Duration::from_secs(timestamp.unsigned_abs());
    let at = if timestamp < 0 { SystemTime::UNIX_EPOCH.checked_sub(seconds) } else { SystemTime::UNIX_EPOCH.checked_add(seconds) };
    at.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn address(name: &GeneralName<'_>) -> Option<IpAddr> {
    match name {
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(four) => Some(IpAddr::from(four)),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(IpAddr::from),
        },
        _ => None,
    }
}

fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    let usage = certificate.key_usage().ok().flatten();
    certificate.is_ca() && usage.is_none_or(|usage| usage.value.key_cert_sign())
}

fn key(certificate: &X509Certificate<'_>) -> Key {
    let public = certificate.public_key();
    match public.parsed() {
        Ok(PublicKey::RSA(rsa)) => Key::Rsa(rsa.key_size()),
        Ok(PublicKey::EC(_)) => curve(&public.algorithm),
        _ => Key::Other(public.algorithm.algorithm.to_id_string()),
    }
}

/// By name and not by size: secp256k1 has 256 bits too, and no TLS client takes it.
fn curve(algorithm: &AlgorithmIdentifier<'_>) -> Key {
    let oid = algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok()).map(|oid| oid.to_id_string()).unwrap_or_default();
    match oid.as_str() {
        "1.2.840.10045.3.1.7" => Key::Ec(256),
        "1.3.132.0.34" => Key::Ec(384),
        "1.3.132.0.35" => Key::Ec(521),
        _ => Key::Other(oid),
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::Ec(bits) => write!(f, "ECDSA P-{bits}"),
            Self::Other(oid) => write!(f, "algorithm {oid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(names: &[&str]) -> CertificateFacts {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        CertificateFacts::parse(made.cert.der()).unwrap()
    }

    #[test]
    fn a_certificate_covers_its_names_and_one_label_under_a_star() {
        let facts = facts(&["Shop.Example", "*.api.example", "127.0.0.1"]);
        for host in ["shop.example", "v1.api.example", "127.0.0.1"] {
            assert!(facts.covers(host), "{host}");
        }
        for host in ["example", "api.example", "a.b.api.example", ".api.example", "127.0.0.2", "*.api.example.org"] {
            assert!(!facts.covers(host), "{host}");
        }
    }

    #[test]
    fn a_wildcard_is_served_by_a_certificate_for_some_of_its_hosts() {
        let facts = facts(&["Shop.Example", "*.api.example"]);
        for hostname in ["shop.example", "*.example", "*.api.example", "v1.api.example"] {
            assert!(facts.serves(hostname), "{hostname}");
        }
        for hostname in ["*.shop.example", "*.ample", "*.v1.api.example", "api.example", "*.other"] {
            assert!(!facts.serves(hostname), "{hostname}");
        }
    }

    #[test]
    fn the_key_and_the_right_to_sign_are_told() {
        let facts = facts(&["a.example"]);
        assert_eq!((facts.key, facts.is_authority), (Key::Ec(256), false));
    }

    #[test]
    fn what_is_no_certificate_has_no_facts() {
        assert_eq!(CertificateFacts::parse(b"\x30\x03\x02\x01\x01"), None);
        let mut der = rcgen::generate_simple_self_signed(vec![]).unwrap().cert.der().to_vec();
        der.push(0);
        assert_eq!(CertificateFacts::parse(&der), None);
    }
}
