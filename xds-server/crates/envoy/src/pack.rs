//! The only place that encodes a resource: the message becomes bytes, the value it came from becomes its version.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use prost::Message;
use windrose_vocab::{Canonical, Fingerprint, NodeClass, Resource, ResourceId, ResourceKind};

/// Part of every version. Raise it by one whenever equal values are rendered to another message than before: proxies
/// then get the new rendering once. A test fails if a golden resource changes while this does not.
pub const RENDER_EPOCH: u32 = 7;

/// Hides what secret values are made of: their versions are seen in logs and statuses, and without the key nobody can
/// try guesses against one. All replicas of a control plane have the same.
#[derive(Clone)]
pub struct VersionKey([u8; 32]);

impl VersionKey {
    /// The key of those bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn hide(&self, version: Fingerprint) -> Fingerprint {
        let digest = blake3::keyed_hash(&self.0, &version.bits().to_le_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&digest.as_bytes()[..16]);
        Fingerprint::from_bits(u128::from_le_bytes(first))
    }
}

impl fmt::Debug for VersionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VersionKey")
    }
}

/// Makes resources for one node class.
#[derive(Clone, Copy)]
pub(crate) struct Packer<'a> {
    pub(crate) class: &'a NodeClass,
    pub(crate) key: &'a VersionKey,
}

impl Packer<'_> {
    /// The resource of that message; its version is that of `value`, which the message was rendered from.
    pub(crate) fn pack(
        self,
        id: ResourceId,
        value: &(impl Canonical + ?Sized),
        message: &impl Message,
        refs: BTreeSet<ResourceId>,
    ) -> Resource {
        let version = Fingerprint::of(&format!("{}/{RENDER_EPOCH}", id.kind), &(self.class, value));
        let version = if can_hold_secrets(id.kind) { self.key.hide(version) } else { version };
        sealed(id, version, message, refs)
    }
}

/// The resource of that message, with a version that somebody else decided.
pub(crate) fn sealed(id: ResourceId, version: Fingerprint, message: &impl Message, refs: BTreeSet<ResourceId>) -> Resource {
    Resource { id, version, bytes: message.encode_to_vec().into(), refs: Arc::from_iter(refs) }
}

/// Keys lie in secrets, and symmetric keys of tokens in extensions.
fn can_hold_secrets(kind: ResourceKind) -> bool {
    match kind {
        ResourceKind::Secret | ResourceKind::Extension => true,
        ResourceKind::Cluster | ResourceKind::Endpoints | ResourceKind::Listener | ResourceKind::ScopedRoutes | ResourceKind::Routes => {
            false
        }
    }
}
