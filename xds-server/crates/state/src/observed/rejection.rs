//! What a client refused, in its own words as far as those may be kept.

use std::fmt;
use std::time::SystemTime;

use windrose_vocab::{Fingerprint, Text};

use crate::limits;

/// A rejection's text after reduction: at most [`limits::REASON_BYTES`], one line, no secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason(Text);

impl Reason {
    /// Takes a text that holds no secret; control characters become spaces and the rest is cut off.
    #[must_use]
    pub fn new(reduced: &str) -> Self {
        let mut line = String::new();
        for c in reduced.chars().map(|c| if c.is_control() { ' ' } else { c }) {
            if line.len() + c.len_utf8() > limits::REASON_BYTES {
                break;
            }
            line.push(c);
        }
        Self(line.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose fault it is that a client refused something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// That of what was sent: whoever else is sent it may refuse it too.
    Content,
    /// That of this one client, such as a port that another process holds, or silence: it blames nobody.
    Client,
}

/// A version that a client refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The version.
    pub version: Fingerprint,
    /// Whose fault it is.
    pub fault: Fault,
    /// In the client's words, reduced.
    pub reason: Reason,
    /// When it was said.
    pub at: SystemTime,
}
