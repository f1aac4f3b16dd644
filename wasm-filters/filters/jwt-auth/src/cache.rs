//! Tokens that were verified before, for one filter of one worker: set-associative, the whole token compared, bounded in
//! entries and bytes. It never answers for another policy, and its reader checks the lifetime on every hit. A new
//! configuration is a new filter, and so an empty cache.

use std::rc::Rc;

use crate::claims::Lifetime;
use crate::limits::{CACHE_BYTES_MAX, CACHE_SETS, CACHE_WAYS};

/// What a verified token means to one policy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) lifetime: Lifetime,
    /// Index of the issuer in its policy.
    pub(crate) issuer: usize,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) properties: Vec<(String, String)>,
}

/// The cache.
#[derive(Debug)]
pub(crate) struct Cache {
    sets: Vec<[Option<Entry>; CACHE_WAYS]>,
    bytes: usize,
    next_victim: usize,
}

#[derive(Debug)]
struct Entry {
    policy: u32,
    token: Box<[u8]>,
    verified: Rc<Verified>,
}

impl Cache {
    /// An empty cache.
    pub(crate) fn new() -> Self {
        Self { sets: std::iter::repeat_with(Default::default).take(CACHE_SETS).collect(), bytes: 0, next_victim: 0 }
    }

    /// What this very token means to this policy, if it was verified before.
    pub(crate) fn find(&self, policy: u32, token: &[u8]) -> Option<Rc<Verified>> {
        let set = self.sets.get(set_of(policy, token))?;
        let entry = set.iter().flatten().find(|entry| entry.policy == policy && *entry.token == *token)?;
        Some(Rc::clone(&entry.verified))
    }

    /// Keeps a verified token, at the cost of another where there is no room: an entry of its set, or all of them when the
    /// bytes are used up.
    pub(crate) fn keep(&mut self, policy: u32, token: &[u8], verified: Rc<Verified>) {
        let entry = Entry { policy, token: token.into(), verified };
        if self.bytes.saturating_add(entry.bytes()) > CACHE_BYTES_MAX {
            *self = Self { next_victim: self.next_victim, ..Self::new() };
        }
        self.next_victim = self.next_victim.wrapping_add(1);
        let Some(set) = self.sets.get_mut(set_of(policy, token)) else { return };
        let way = set.iter().position(Option::is_none).unwrap_or(self.next_victim % CACHE_WAYS);
        let Some(slot) = set.get_mut(way) else { return };
        self.bytes = self.bytes.saturating_add(entry.bytes());
        if let Some(old) = slot.replace(entry) {
            self.bytes = self.bytes.saturating_sub(old.bytes());
        }
    }

    /// Removes a token that is no longer good.
    pub(crate) fn forget(&mut self, policy: u32, token: &[u8]) {
        let Some(set) = self.sets.get_mut(set_of(policy, token)) else { return };
        for slot in set {
            if let Some(old) = slot.take_if(|entry| entry.policy == policy && *entry.token == *token) {
                self.bytes = self.bytes.saturating_sub(old.bytes());
            }
        }
    }
}

impl Entry {
    /// Bytes of the token and of the claims kept with it; the rest of an entry is of fixed size.
    fn bytes(&self) -> usize {
        let texts = self.verified.headers.iter().chain(&self.verified.properties);
        texts.fold(self.token.len(), |sum, (name, value)| sum.saturating_add(name.len()).saturating_add(value.len()))
    }
}

/// The set of a token, from the end of its signature, which is as good as random. Only verified tokens are kept, so nobody
/// without the issuer's key can crowd a set.
fn set_of(policy: u32, token: &[u8]) -> usize {
    let tail = token.iter().rev().take(8).fold(policy, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(*byte));
    usize::try_from(tail ^ (tail >> 16)).unwrap_or(0) % CACHE_SETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn verified(text_bytes: usize) -> Rc<Verified> {
        let lifetime = Lifetime::of(json!({"exp": 1000}).as_object().unwrap(), 0).unwrap();
        Rc::new(Verified { lifetime, issuer: 0, headers: vec![(String::new(), "x".repeat(text_bytes))], properties: Vec::new() })
    }

    #[test]
    fn only_the_same_token_under_the_same_policy_is_found() {
        let mut cache = Cache::new();
        cache.keep(1, b"head.claims.signature", verified(1));
        assert!(cache.find(1, b"head.claims.signature").is_some());
        assert!(cache.find(2, b"head.claims.signature").is_none());
        assert!(cache.find(1, b"head.other!.signature").is_none(), "same tail, other token");
        cache.forget(1, b"head.claims.signature");
        assert!(cache.find(1, b"head.claims.signature").is_none());
        assert_eq!(cache.bytes, 0);
    }

    #[test]
    fn entries_are_bounded() {
        let mut cache = Cache::new();
        for number in 0..10_000_u32 {
            cache.keep(0, format!("t{number}").as_bytes(), verified(0));
        }
        assert!(cache.sets.iter().flatten().flatten().count() <= CACHE_SETS * CACHE_WAYS);
        assert!(cache.find(0, b"t9999").is_some());
    }

    #[test]
    fn bytes_are_bounded() {
        let mut cache = Cache::new();
        for number in 0..1000_u32 {
            cache.keep(0, format!("t{number}").as_bytes(), verified(8000));
            assert!(cache.bytes <= CACHE_BYTES_MAX);
        }
        let counted: usize = cache.sets.iter().flatten().flatten().map(Entry::bytes).sum();
        assert_eq!(cache.bytes, counted);
    }
}
