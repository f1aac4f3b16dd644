//! Every limit of this room, with its unit and its reason.

use std::time::Duration;

/// Bytes of one message. A follower splits what it has to tell; a name that an object declares is far below a kilobyte.
pub const MESSAGE: usize = 16 << 20;
/// Bytes that a follower puts into one message before the rest goes into the next: what is added last is far smaller than what is left
/// of [`MESSAGE`].
pub const TOLD: usize = 2 << 20;
/// Bytes of a resource in a message, beside its name: version, and what protobuf puts around both.
pub const ENTRY: usize = 26;
/// Between two words of one end: a connection that is silent for longer than [`SILENCE`] is dead.
pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// Time without a word after which the other end is given up: shorter than a Lease holds.
pub const SILENCE: Duration = Duration::from_secs(8);
/// Between two looks at what streams say: thousands of ACKs are told together.
pub const PAUSE: Duration = Duration::from_millis(50);
/// Time for a handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
