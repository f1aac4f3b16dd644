//! `Accepted` as bytes and back, so that a restarted server still knows what was good. Secrets stay in memory:
//! what is written here holds no private key.
//!
//! Format: magic, then length-prefixed little-endian fields, then the fingerprint of all before it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::watch;
use windrose_vocab::{Fingerprint, NodeClass, ProxyKey, Resource, ResourceId, ResourceKind, Text};

use super::{Accepted, Inner, RejectedVersion};
use crate::limits;
use crate::observed::Reason;
use crate::scope::Scope;
use crate::set::ResourceSet;

const MAGIC: &[u8; 8] = b"wrledg01";
const CHECKSUM_DOMAIN: &str = "windrose accepted ledger";
const CHECKSUM_BYTES: usize = 16;

/// Bytes that are no ledger, or not a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger of accepted resources is damaged: {0}")]
pub struct CorruptLedger(&'static str);

impl Accepted {
    /// All that is worth keeping over a restart.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let inner = self.inner();
        let mut out = BytesMut::new();
        out.put_slice(MAGIC);
        put_length(&mut out, inner.accepted.len());
        for (scope, set) in &inner.accepted {
            put_scope(&mut out, scope);
            let kept = || set.iter().filter(|one| one.id.kind != ResourceKind::Secret);
            put_length(&mut out, kept().count());
            kept().for_each(|one| put_resource(&mut out, one));
        }
        put_length(&mut out, inner.order.len());
        for id in &inner.order {
            put_id(&mut out, id);
            let versions = inner.rejected.get(id).into_iter().flatten();
            put_length(&mut out, versions.clone().count());
            versions.for_each(|one| put_rejected(&mut out, one));
        }
        drop(inner);
        let checksum = Fingerprint::of(CHECKSUM_DOMAIN, &out[..]);
        out.put_u128_le(checksum.bits());
        out.freeze()
    }

    /// The memory that [`Self::to_bytes`] wrote. The bytes are shared, not copied.
    ///
    /// # Errors
    /// [`CorruptLedger`] when they are anything else; the caller starts without memory then.
    pub fn from_bytes(bytes: &Bytes) -> Result<Self, CorruptLedger> {
        let mut input = checked(bytes)?;
        let mut inner = Inner::default();
        for _ in 0..length(&mut input)? {
            let scope = scope(&mut input)?;
            let mut set = ResourceSet::new();
            for _ in 0..length(&mut input)? {
                set.insert(resource(&mut input)?);
            }
            inner.accepted.insert(scope, set);
        }
        for _ in 0..length(&mut input)? {
            let id = id(&mut input)?;
            let mut versions = VecDeque::new();
            for _ in 0..length(&mut input)? {
                versions.push_back(rejected(&mut input)?);
            }
            inner.order.push_back(id.clone());
            inner.rejected.insert(id, versions);
        }
        if input.has_remaining() {
            return Err(CorruptLedger("bytes after the end"));
        }
        Ok(Self { inner: Mutex::new(inner), changes: watch::Sender::new(0) })
    }
}

fn put_length(out: &mut BytesMut, length: usize) {
    out.put_u64_le(length as u64);
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.put_slice(bytes);
}

fn put_id(out: &mut BytesMut, id: &ResourceId) {
    put_bytes(out, id.kind.short().as_bytes());
    put_bytes(out, id.name.as_bytes());
}

fn put_scope(out: &mut BytesMut, scope: &Scope) {
    let NodeClass { modules } = &scope.class;
    put_bytes(out, scope.proxy.to_string().as_bytes());
    out.put_u8(u8::from(modules.is_some()));
    put_bytes(out, modules.as_deref().unwrap_or_default().as_bytes());
}

fn put_resource(out: &mut BytesMut, resource: &Resource) {
    put_id(out, &resource.id);
    out.put_u128_le(resource.version.bits());
    put_bytes(out, &resource.bytes);
    put_length(out, resource.refs.len());
    resource.refs.iter().for_each(|id| put_id(out, id));
}

fn put_rejected(out: &mut BytesMut, rejected: &RejectedVersion) {
    out.put_u128_le(rejected.version.bits());
    put_bytes(out, rejected.reason.as_str().as_bytes());
    out.put_u8(u8::from(rejected.accepted));
    put_length(out, rejected.by.len());
    rejected.by.iter().for_each(|identity| put_bytes(out, identity.as_bytes()));
}

fn checked(bytes: &Bytes) -> Result<Bytes, CorruptLedger> {
    if bytes.len() > limits::LEDGER_BYTES {
        return Err(CorruptLedger("it is too long"));
    }
    let end = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(CorruptLedger("it is too short"))?;
    let (body, mut checksum) = (bytes.slice(..end), bytes.slice(end..));
    if Fingerprint::of(CHECKSUM_DOMAIN, &body[..]).bits() != checksum.get_u128_le() {
        return Err(CorruptLedger("the checksum does not match"));
    }
    if !body.starts_with(MAGIC) {
        return Err(CorruptLedger("it was written by another version"));
    }
    Ok(body.slice(MAGIC.len()..))
}

/// Every counted thing takes a byte at least, so a length beyond the rest is a lie.
fn length(input: &mut Bytes) -> Result<usize, CorruptLedger> {
    let length = input.try_get_u64_le().map_err(|_| CorruptLedger("it ends early"))?;
    usize::try_from(length).ok().filter(|length| *length <= input.len()).ok_or(CorruptLedger("a length beyond the end"))
}

fn bytes(input: &mut Bytes) -> Result<Bytes, CorruptLedger> {
    let length = length(input)?;
    Ok(input.split_to(length))
}

fn text(input: &mut Bytes) -> Result<Text, CorruptLedger> {
    let bytes = bytes(input)?;
    std::str::from_utf8(&bytes).map(Text::from).map_err(|_| CorruptLedger("a text that is not UTF-8"))
}

fn flag(input: &mut Bytes) -> Result<bool, CorruptLedger> {
    input.try_get_u8().map(|byte| byte != 0).map_err(|_| CorruptLedger("it ends early"))
}

fn version(input: &mut Bytes) -> Result<Fingerprint, CorruptLedger> {
    input.try_get_u128_le().map(Fingerprint::from_bits).map_err(|_| CorruptLedger("it ends early"))
}

fn id(input: &mut Bytes) -> Result<ResourceId, CorruptLedger> {
    let short = text(input)?;
    let kind = ResourceKind::ALL.into_iter().find(|kind| kind.short() == &*short);
    Ok(ResourceId { kind: kind.ok_or(CorruptLedger("an unknown kind"))?, name: text(input)? })
}

fn scope(input: &mut Bytes) -> Result<Scope, CorruptLedger> {
    let proxy = ProxyKey::parse(&text(input)?).ok_or(CorruptLedger("an unknown proxy key"))?;
    let (has_modules, modules) = (flag(input)?, text(input)?);
    Ok(Scope { proxy, class: NodeClass { modules: has_modules.then_some(modules) } })
}

fn resource(input: &mut Bytes) -> Result<Arc<Resource>, CorruptLedger> {
    let (id_, version, bytes) = (id(input)?, version(input)?, bytes(input)?);
    let refs = (0..length(input)?).map(|_| id(input)).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Resource { id: id_, version, bytes, refs: refs.into() }))
}

fn rejected(input: &mut Bytes) -> Result<RejectedVersion, CorruptLedger> {
    let (version, reason, accepted) = (version(input)?, Reason::new(&text(input)?), flag(input)?);
    let by = (0..length(input)?).map(|_| text(input)).collect::<Result<BTreeSet<_>, _>>()?;
    Ok(RejectedVersion { version, reason, by, accepted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource_of(kind: ResourceKind, name: &str, body: &'static str) -> Arc<Resource> {
        Arc::new(Resource {
            id: ResourceId::new(kind, name),
            version: Fingerprint::of("t", body),
            bytes: Bytes::from_static(body.as_bytes()),
            refs: Arc::from([ResourceId::new(ResourceKind::Cluster, "c")]),
        })
    }

    fn remembered() -> (Accepted, Scope) {
        let accepted = Accepted::new();
        let class = NodeClass { modules: Some("/etc/windrose/filters".into()) };
        let scope = Scope::new(ProxyKey::gateway("shop", "edge"), class);
        let good = resource_of(ResourceKind::Routes, "r", "good");
        let secret = resource_of(ResourceKind::Secret, "s", "PRIVATE KEY");
        accepted.acked(&scope, "a", [&good, &secret]);
        accepted.rejected(&"a".into(), &resource_of(ResourceKind::Routes, "r", "bad"), &Reason::new("no"));
        (accepted, scope)
    }

    #[test]
    fn what_was_accepted_and_rejected_survives_a_restart() {
        let (before, scope) = remembered();
        let after = Accepted::from_bytes(&before.to_bytes()).unwrap();
        let good = resource_of(ResourceKind::Routes, "r", "good");
        assert_eq!(after.last(&scope, &good.id), Some(good));
        assert_eq!(after.quarantine("a"), before.quarantine("a"));
        assert_eq!(after.to_bytes(), before.to_bytes());
    }

    #[test]
    fn no_secret_is_written() {
        let (before, scope) = remembered();
        let bytes = before.to_bytes();
        assert!(!bytes.windows(7).any(|part| part == b"PRIVATE"));
        let after = Accepted::from_bytes(&bytes).unwrap();
        assert_eq!(after.last(&scope, &ResourceId::new(ResourceKind::Secret, "s")), None);
    }

    #[test]
    fn a_damaged_ledger_is_refused_wherever_it_is_damaged() {
        let good = remembered().0.to_bytes();
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 1;
            assert!(Accepted::from_bytes(&bad.into()).is_err(), "byte {at}");
            assert!(Accepted::from_bytes(&good.slice(..at)).is_err(), "cut at {at}");
        }
    }
}
