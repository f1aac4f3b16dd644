//! What happened on the wire, as numbers that only grow (and two that say how many are open now).

use std::sync::atomic::{AtomicU64, Ordering};

use windrose_vocab::ResourceKind;

/// One number. Exact, and cheap enough for every message.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn up(&self) {
        self.add(1);
    }

    fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All numbers of one server.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub connections: Count,
    /// Connections open now.
    pub connections_open: Count,
    /// Connections dropped because too many were open or in their handshake.
    pub connections_dropped: Count,
    /// Failed accepts.
    pub accept_errors: Count,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: Count,
    /// Streams opened by an authenticated peer.
    pub streams: Count,
    /// Such streams open now.
    pub streams_open: Count,
    /// Streams refused for want of a credential, or a wrong one.
    pub unauthenticated: Count,
    /// Streams that ended because what they sent broke a limit or the protocol.
    pub streams_failed: Count,
    /// Streams cut because their credential expired.
    pub expired: Count,
    /// Streams cut because their credential was revoked.
    pub revoked: Count,
    /// Connections cut because their end was not read in time.
    pub connections_cut: Count,
    /// Requests read.
    pub requests: Count,
    /// Responses handed to the transport.
    pub responses: Count,
    /// Bytes of those responses, with their framing.
    pub response_bytes: Count,
    /// Resources in those responses.
    pub resources: Count,
    /// Rejections (NACKs) by clients.
    pub rejections: Count,
    /// The same by kind, in the order of `ResourceKind::ALL`.
    pub rejections_of: [Count; ResourceKind::ALL.len()],
}

/// Counts something open until it is dropped.
#[derive(Debug)]
pub(crate) struct Open<'a>(&'a Count);

impl<'a> Open<'a> {
    pub(crate) fn new(count: &'a Count) -> Self {
        count.up();
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.down();
    }
}
