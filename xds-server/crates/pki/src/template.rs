//! What each kind of certificate says before it is signed. Serial numbers come from the caller's randomness.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Purpose, IsCa, KeyUsagePurpose, SanType, SerialNumber,
    string::Ia5String,
};
use time::OffsetDateTime;
use windrose_vocab::{SpiffeId, TrustDomain};

use crate::{Entropy, Error, limits};

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: SystemTime,
    pub(crate) to: SystemTime,
}

impl Validity {
    /// `lifetime` from `now`, backdated for slow clocks.
    pub(crate) fn starting(now: SystemTime, lifetime: Duration) -> Self {
        let from = now.checked_sub(limits::BACKDATE).unwrap_or(SystemTime::UNIX_EPOCH);
        Self { from, to: now.checked_add(lifetime).unwrap_or(now) }
    }

    /// The part of it that lies inside `outer`: nothing outlives its issuer.
    pub(crate) fn within(self, outer: Self) -> Self {
        Self { from: self.from.max(outer.from), to: self.to.min(outer.to) }
    }
}

/// A self-signed root for `trust_domain`, named after its serial number so that two roots are never confused.
pub(crate) fn root(role: &str, domain: &TrustDomain, validity: Validity, entropy: &dyn Entropy) -> Result<CertificateParams, Error> {
    authority(&format!("Windrose {role} root"), domain, BasicConstraints::Unconstrained, validity, entropy)
}

/// An intermediate that may sign leaves only.
pub(crate) fn intermediate(domain: &TrustDomain, validity: Validity, entropy: &dyn Entropy) -> Result<CertificateParams, Error> {
    authority("Windrose mesh intermediate", domain, BasicConstraints::Constrained(0), validity, entropy)
}

/// An X.509 SVID: one URI, both ends of mTLS, no subject (so the name is critical).
pub(crate) fn workload(identity: &SpiffeId, validity: Validity, entropy: &dyn Entropy) -> Result<CertificateParams, Error> {
    let mut params = leaf(vec![uri(&identity.to_string())?], validity, entropy)?;
    params.extended_key_usages = vec![Purpose::ClientAuth, Purpose::ServerAuth];
    Ok(params)
}

/// A client certificate for the xDS stream: one URI, and only the client's end.
pub(crate) fn node(name: &str, validity: Validity, entropy: &dyn Entropy) -> Result<CertificateParams, Error> {
    let mut params = leaf(vec![uri(name)?], validity, entropy)?;
    params.extended_key_usages = vec![Purpose::ClientAuth];
    Ok(params)
}

/// A certificate of the xDS server: DNS names and IP addresses, and only the server's end.
pub(crate) fn server(names: &[String], validity: Validity, entropy: &dyn Entropy) -> Result<CertificateParams, Error> {
    let mut params = leaf(names.iter().map(|name| host(name)).collect::<Result<_, _>>()?, validity, entropy)?;
    params.extended_key_usages = vec![Purpose::ServerAuth];
    Ok(params)
}

/// A client certificate of a replica of the control plane: one DNS name, and only the client's end.
pub(crate) fn replica(name: &str, validity: Validity, entropy: &dyn Entropy) -> Result<CertificateParams, Error> {
    let mut params = leaf(vec![host(name)?], validity, entropy)?;
    params.extended_key_usages = vec![Purpose::ClientAuth];
    Ok(params)
}

fn authority(
    role: &str,
    domain: &TrustDomain,
    constraints: BasicConstraints,
    validity: Validity,
    entropy: &dyn Entropy,
) -> Result<CertificateParams, Error> {
    let mut params = leaf(vec![uri(&format!("spiffe://{domain}"))?], validity, entropy)?;
    let serial = params.serial_number.iter().flat_map(SerialNumber::to_bytes).take(4);
    let suffix: String = serial.map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name.push(DnType::OrganizationName, "Windrose");
    params.distinguished_name.push(DnType::CommonName, format!("{role} {suffix}"));
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn leaf(names: Vec<SanType>, validity: Validity, entropy: &dyn Entropy) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = names;
    params.not_before = calendar(validity.from);
    params.not_after = calendar(validity.to);
    params.serial_number = Some(serial(entropy)?);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Positive and never zero, of constant length.
fn serial(entropy: &dyn Entropy) -> Result<SerialNumber, Error> {
    let mut bytes = [0; limits::SERIAL_BYTES];
    entropy.fill(&mut bytes)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn uri(text: &str) -> Result<SanType, Error> {
    Ia5String::try_from(text).map(SanType::URI).map_err(|_| Error::Name(text.to_owned()))
}

fn host(text: &str) -> Result<SanType, Error> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'*');
    match text.parse() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) if (1..=253).contains(&text.len()) && text.bytes().all(plain) => {
            Ia5String::try_from(text).map(SanType::DnsName).map_err(|_| Error::Name(text.to_owned()))
        }
        Err(_) => Err(Error::Name(text.to_owned())),
    }
}

/// Seconds since 1970 as a date; X.509 knows no year beyond 9999.
pub(crate) fn calendar(at: SystemTime) -> OffsetDateTime {
    const YEAR_10000: u64 = 253_402_300_800;
    let seconds = unix_seconds(at).min(YEAR_10000 - 1);
    i64::try_from(seconds).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Whole seconds since 1970; 0 for a clock that is before.
pub(crate) fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `2026-11-24 02:31:07 UTC`.
pub(crate) fn written(at: SystemTime) -> String {
    let at = calendar(at);
    let (date, (hour, minute, second)) = (at.date(), at.time().as_hms());
    format!("{}-{:02}-{:02} {hour:02}:{minute:02}:{second:02} UTC", date.year(), u8::from(date.month()), date.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_for_people() {
        assert_eq!(written(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_487_467)), "2026-11-24 02:31:07 UTC");
        assert_eq!(written(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) << 16)), "9999-12-31 23:59:59 UTC");
    }
}
