//! `Accepted` as records and back, so that a restarted server still knows what was good. Secrets stay in memory: what is written
//! here holds no private key.
//!
//! A record stands for itself: what it says replaces what an earlier one said of the same thing. Length-prefixed little-endian fields
//! after the byte that says what it is. Whoever stores records sees to it that each is whole.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use windrose_vocab::{Fingerprint, NodeClass, ProxyKey, Resource, ResourceId, ResourceKind, Text};

use super::{Accepted, Inner, RejectedVersion};
use crate::observed::Reason;
use crate::scope::Scope;
use crate::set::{Change, ResourceSet};

/// A resource that proxies of a scope accepted.
const ACCEPTED: u8 = 1;
/// One that they have no longer.
const REMOVED: u8 = 2;
/// A scope that is not declared any more.
const FORGOTTEN: u8 = 3;
/// Everything that is rejected.
const REJECTED: u8 = 4;
/// Bits of the byte that says what a scope has: a folder of modules,
const HAS_MODULES: u8 = 1;
/// and a zone.
const HAS_ZONE: u8 = 2;

/// A record that says nothing that is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of what proxies accepted is damaged: {0}")]
pub struct CorruptRecord(&'static str);

/// What was written of a memory, so that the next writing costs what changed since.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    accepted: BTreeMap<Scope, ResourceSet>,
    rejected: Bytes,
}

impl Accepted {
    /// The records of what `written` does not say, and what it says once they are written too.
    #[must_use]
    pub fn records(&self, written: &Ledger) -> (Vec<Bytes>, Ledger) {
        let inner = self.inner();
        let mut records = Vec::new();
        for scope in written.accepted.keys().filter(|scope| !inner.accepted.contains_key(*scope)) {
            records.push(record(FORGOTTEN, |out| put_scope(out, scope)));
        }
        let none = ResourceSet::new();
        for (scope, set) in &inner.accepted {
            let former = written.accepted.get(scope).unwrap_or(&none);
            for kind in ResourceKind::ALL.into_iter().filter(|kind| *kind != ResourceKind::Secret) {
                records.extend(ResourceSet::diff(former, set, kind).map(|change| of_change(scope, kind, change)));
            }
        }
        let rejected = record(REJECTED, |out| put_all_rejected(out, &inner));
        let ledger = Ledger { accepted: inner.accepted.clone(), rejected };
        drop(inner);
        if ledger.rejected != written.rejected {
            records.push(ledger.rejected.clone());
        }
        (records, ledger)
    }

    /// The memory of which these are the records.
    ///
    /// # Errors
    /// [`CorruptRecord`] when one of them says nothing that is understood.
    pub fn restored(records: impl IntoIterator<Item: AsRef<[u8]>>) -> Result<Self, CorruptRecord> {
        let accepted = Self::new();
        records.into_iter().try_for_each(|record| accepted.replay(record.as_ref()))?;
        Ok(accepted)
    }

    /// Takes in what a record says.
    ///
    /// # Errors
    /// [`CorruptRecord`] when it says nothing that is understood; the caller goes on without it.
    pub fn replay(&self, record: &[u8]) -> Result<(), CorruptRecord> {
        let mut input = Bytes::copy_from_slice(record);
        let what = input.try_get_u8().map_err(|_| CorruptRecord("it is empty"))?;
        let mut inner = self.inner();
        match what {
            ACCEPTED => {
                let (scope, resource) = (scope(&mut input)?, resource(&mut input)?);
                inner.accepted.entry(scope).or_default().insert(resource);
            }
            REMOVED => {
                let (scope, id) = (scope(&mut input)?, id(&mut input)?);
                inner.accepted.get_mut(&scope).and_then(|set| set.remove(id.kind, &id.name));
            }
            FORGOTTEN => drop(inner.accepted.remove(&scope(&mut input)?)),
            REJECTED => (inner.order, inner.rejected) = all_rejected(&mut input)?,
            _ => return Err(CorruptRecord("it was written by another version")),
        }
        drop(inner);
        if input.has_remaining() { Err(CorruptRecord("bytes after the end")) } else { Ok(()) }
    }
}

fn record(what: u8, put: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(what);
    put(&mut out);
    out.freeze()
}

fn of_change(scope: &Scope, kind: ResourceKind, change: Change<'_>) -> Bytes {
    match change.after() {
        Some(resource) => record(ACCEPTED, |out| {
            put_scope(out, scope);
            put_resource(out, resource);
        }),
        None => record(REMOVED, |out| {
            put_scope(out, scope);
            put_id(out, &ResourceId::new(kind, change.name().clone()));
        }),
    }
}

fn put_all_rejected(out: &mut BytesMut, inner: &Inner) {
    put_length(out, inner.order.len());
    for id in &inner.order {
        put_id(out, id);
        let versions = inner.rejected.get(id).into_iter().flatten();
        put_length(out, versions.clone().count());
        versions.for_each(|one| put_rejected(out, one));
    }
}

type Rejected = (VecDeque<ResourceId>, BTreeMap<ResourceId, VecDeque<RejectedVersion>>);

fn all_rejected(input: &mut Bytes) -> Result<Rejected, CorruptRecord> {
    let mut all = Rejected::default();
    for _ in 0..length(input)? {
        let id = id(input)?;
        let versions = (0..length(input)?).map(|_| rejected(input)).collect::<Result<VecDeque<_>, _>>()?;
        all.0.push_back(id.clone());
        all.1.insert(id, versions);
    }
    Ok(all)
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
    let NodeClass { modules, zone } = &scope.class;
    put_bytes(out, scope.proxy.to_string().as_bytes());
    let has = |there: bool, bit: u8| if there { bit } else { 0 };
    out.put_u8(has(modules.is_some(), HAS_MODULES) | has(zone.is_some(), HAS_ZONE));
    put_bytes(out, modules.as_deref().unwrap_or_default().as_bytes());
    zone.iter().for_each(|zone| put_bytes(out, zone.as_bytes()));
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

/// Every counted thing takes a byte at least, so a length beyond the rest is a lie.
fn length(input: &mut Bytes) -> Result<usize, CorruptRecord> {
    let length = input.try_get_u64_le().map_err(|_| CorruptRecord("it ends early"))?;
    usize::try_from(length).ok().filter(|length| *length <= input.len()).ok_or(CorruptRecord("a length beyond the end"))
}

fn bytes(input: &mut Bytes) -> Result<Bytes, CorruptRecord> {
    let length = length(input)?;
    Ok(input.split_to(length))
}

fn text(input: &mut Bytes) -> Result<Text, CorruptRecord> {
    let bytes = bytes(input)?;
    std::str::from_utf8(&bytes).map(Text::from).map_err(|_| CorruptRecord("a text that is not UTF-8"))
}

fn flag(input: &mut Bytes) -> Result<bool, CorruptRecord> {
    input.try_get_u8().map(|byte| byte != 0).map_err(|_| CorruptRecord("it ends early"))
}

fn version(input: &mut Bytes) -> Result<Fingerprint, CorruptRecord> {
    input.try_get_u128_le().map(Fingerprint::from_bits).map_err(|_| CorruptRecord("it ends early"))
}

fn id(input: &mut Bytes) -> Result<ResourceId, CorruptRecord> {
    let short = text(input)?;
    let kind = ResourceKind::ALL.into_iter().find(|kind| kind.short() == &*short);
    Ok(ResourceId { kind: kind.ok_or(CorruptRecord("an unknown kind"))?, name: text(input)? })
}

fn scope(input: &mut Bytes) -> Result<Scope, CorruptRecord> {
    let proxy = ProxyKey::parse(&text(input)?).ok_or(CorruptRecord("an unknown proxy key"))?;
    let has = input.try_get_u8().map_err(|_| CorruptRecord("it ends early"))?;
    let modules = Some(text(input)?).filter(|_| has & HAS_MODULES != 0);
    let zone = if has & HAS_ZONE != 0 { Some(text(input)?) } else { None };
    Ok(Scope { proxy, class: NodeClass { modules, zone } })
}

fn resource(input: &mut Bytes) -> Result<Arc<Resource>, CorruptRecord> {
    let (id_, version, bytes) = (id(input)?, version(input)?, bytes(input)?);
    let refs = (0..length(input)?).map(|_| id(input)).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Resource { id: id_, version, bytes, refs: refs.into() }))
}

fn rejected(input: &mut Bytes) -> Result<RejectedVersion, CorruptRecord> {
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
        let class = NodeClass { modules: Some("/etc/windrose/filters".into()), zone: Some("a".into()) };
        let scope = Scope::new(ProxyKey::gateway("shop", "edge"), class);
        let good = resource_of(ResourceKind::Routes, "r", "good");
        let secret = resource_of(ResourceKind::Secret, "s", "PRIVATE KEY");
        let endpoints = resource_of(ResourceKind::Endpoints, "c", "of the zone");
        accepted.acked(&scope, "a", [&good, &secret, &endpoints]);
        accepted.rejected(&"a".into(), &resource_of(ResourceKind::Routes, "r", "bad"), &Reason::new("no"));
        (accepted, scope)
    }

    #[test]
    fn what_was_accepted_and_rejected_survives_a_restart() {
        let (before, scope) = remembered();
        let (records, written) = before.records(&Ledger::default());
        let after = Accepted::restored(&records).unwrap();
        let good = resource_of(ResourceKind::Routes, "r", "good");
        assert_eq!(after.last(&scope, &good.id), Some(good));
        let endpoints = ResourceId::new(ResourceKind::Endpoints, "c");
        assert!(after.last(&scope, &endpoints).is_some());
        assert!(after.last(&scope.anywhere(), &endpoints).is_none());
        assert_eq!(after.quarantine("a"), before.quarantine("a"));
        assert_eq!(after.records(&Ledger::default()).0, records);
        assert!(before.records(&written).0.is_empty());
    }

    #[test]
    fn a_change_is_a_record_and_what_is_gone_comes_back_with_none() {
        let (accepted, scope) = remembered();
        let (mut records, written) = accepted.records(&Ledger::default());
        let other = resource_of(ResourceKind::Cluster, "c", "other");
        accepted.acked(&scope, "a", [&other]);
        let (more, written) = accepted.records(&written);
        assert_eq!(more.len(), 1);
        records.extend(more);
        assert_eq!(Accepted::restored(&records).unwrap().last(&scope, &other.id), Some(other.clone()));
        accepted.removed(&scope, ResourceKind::Cluster, [&other.id.name]);
        let (more, written) = accepted.records(&written);
        records.extend(more);
        assert_eq!(Accepted::restored(&records).unwrap().last(&scope, &other.id), None);
        accepted.forget(&scope);
        accepted.forget(&scope.anywhere());
        records.extend(accepted.records(&written).0);
        assert_eq!(Accepted::restored(&records).unwrap().last(&scope, &resource_of(ResourceKind::Routes, "r", "good").id), None);
        assert_eq!(Accepted::restored(&records).unwrap().quarantine("a"), accepted.quarantine("a"));
    }

    #[test]
    fn no_secret_is_written() {
        let (before, scope) = remembered();
        let (records, _) = before.records(&Ledger::default());
        assert!(!records.concat().windows(7).any(|part| part == b"PRIVATE"));
        assert_eq!(Accepted::restored(&records).unwrap().last(&scope, &ResourceId::new(ResourceKind::Secret, "s")), None);
    }

    #[test]
    fn a_record_that_ends_early_or_late_is_refused() {
        for good in remembered().0.records(&Ledger::default()).0 {
            for at in 0..good.len() {
                assert!(Accepted::new().replay(&good[..at]).is_err(), "cut at {at}");
            }
            assert!(Accepted::new().replay(&[&good[..], &[0]].concat()).is_err());
        }
        assert!(Accepted::new().replay(&[9]).is_err());
    }
}
