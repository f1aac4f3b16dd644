//! A set of field indices that costs nothing for messages of at most 64 fields.

/// Which fields of a message have been met.
#[derive(Debug)]
pub(crate) struct Seen {
    first: u64,
    more: Vec<u64>,
}

impl Seen {
    /// None of so many fields.
    #[must_use]
    pub(crate) fn new(fields: usize) -> Self {
        Self { first: 0, more: if fields > 64 { vec![0; fields / 64] } else { Vec::new() } }
    }

    /// Keeps a field; false when it was there already.
    #[inline]
    pub(crate) fn insert(&mut self, index: usize) -> bool {
        let word = match index / 64 {
            0 => Some(&mut self.first),
            at => self.more.get_mut(at - 1),
        };
        let bit = 1u64 << (index % 64);
        word.is_some_and(|word| {
            let new = *word & bit == 0;
            *word |= bit;
            new
        })
    }

    /// Whether it was there.
    #[must_use]
    pub(crate) fn has(&self, index: usize) -> bool {
        let word = match index / 64 {
            0 => Some(self.first),
            at => self.more.get(at - 1).copied(),
        };
        word.is_some_and(|word| word & 1 << (index % 64) != 0)
    }
}
