//! What is written down: the cost of a round of changes, the memory of a fleet, and all of it for one shape.

use serde::Serialize;

use crate::shape::{Reach, Shape};

/// The cost of a few changes in a row, per change.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    /// How many changes it had.
    pub changes: u32,
    /// CPU of the server, in microseconds.
    pub cpu_us: f64,
    /// Until the last proxy had it, in milliseconds; the median of the round.
    pub last_ms: f64,
    /// Bytes of all responses.
    pub bytes: u64,
}

/// Memory of the server, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// Before the first proxy connected, unused memory given back.
    pub empty: u64,
    /// After all had everything.
    pub connected: u64,
    /// The same, unused memory given back.
    pub connected_collected: u64,
    /// After so many changes.
    pub changes: u32,
    /// Then.
    pub changed: u64,
    /// The same, unused memory given back.
    pub changed_collected: u64,
}

/// What one side showed.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// Who.
    pub name: &'static str,
    /// In its own words.
    pub about: String,
    /// Rounds by whom their changes concern.
    pub rounds: Vec<(Reach, Vec<Round>)>,
    /// Memory.
    pub memory: Memory,
}

/// All sides in one shape.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The shape.
    pub shape: Shape,
    /// Ours first.
    pub sides: Vec<Shown>,
}

impl Shown {
    /// The rounds of that reach.
    #[must_use]
    pub fn of(&self, reach: Reach) -> &[Round] {
        self.rounds.iter().find(|(one, _)| *one == reach).map_or(&[], |(_, rounds)| rounds)
    }
}
