//! What a stranger may send on one stream, and how long the protocol waits; each limit with its unit and its reason.

use std::time::Duration;

/// Names in one request. Fleets with 9,000 clusters ask for as many endpoints in one request; ten times that is hostile.
pub const NAMES_PER_REQUEST: usize = 100_000;

/// Names subscribed per stream, all kinds together.
pub const NAMES_PER_STREAM: usize = 200_000;

/// Bytes per stream of all subscribed names that do not exist, and the same of those that a client says it has: they cost memory that
/// nobody shares. Before the first view no name exists, and 60,000 may have gone while nobody told a client.
pub const UNKNOWN_NAME_BYTES: usize = 10 << 20;

/// Bytes that such a name costs beside its letters, about: short ones would be many.
pub const UNKNOWN_NAME_COST: usize = 100;

/// Bytes of a resource name: ours are namespace/name/port and a suffix, below 600.
pub const NAME_BYTES: usize = 1_024;

/// Bytes of a node id, cluster, nonce or version text.
pub const TEXT_BYTES: usize = 1_024;

/// Client features in a node claim; Envoy sends about 10.
pub const FEATURES: usize = 64;

/// Bytes of an error text that are looked at. The rest of a longer one is dropped unread.
pub const ERROR_BYTES: usize = 64 << 10;

/// Unacknowledged CDS responses. Envoy's ACK waits for warming, up to 15 s, and later ones are applied meanwhile.
pub const CLUSTER_WINDOW: usize = 8;

/// Unacknowledged responses of every other kind.
pub const WINDOW: usize = 1;

/// How long a resource waits for what it refers to before it is sent anyway.
pub const GATE: Duration = Duration::from_secs(5);

/// How long the first retry of what the client's surroundings kept out waits: a port that is handed over is free by then.
pub const RETRY_FIRST: Duration = Duration::from_secs(1);

/// How long a later retry waits at most: whoever frees a port sees it used within this time.
pub const RETRY_LONGEST: Duration = Duration::from_secs(30);

/// How long the first retry waits of what a client never answered, and a later one at most. Each costs it [`ANSWER`] in
/// which it answers nothing about clusters; what was only slow, such as names that cannot be looked up, is back after that.
pub const SILENCE_FIRST: Duration = Duration::from_secs(60);
/// See [`SILENCE_FIRST`].
pub const SILENCE_LONGEST: Duration = Duration::from_secs(1_800);

/// How long a response may stay unanswered before it is told, and clusters are taken back. Envoy answers CDS when its clusters are warm, and gives up
/// warming after 15 s by itself; later than that it is stuck.
pub const ANSWER: Duration = Duration::from_secs(20);

/// Resources whose rejected versions are remembered per stream; the oldest name in order goes.
pub const REJECTED_RESOURCES: usize = 4_096;

/// Rejected versions remembered per resource and stream; the oldest goes.
pub const REJECTED_VERSIONS: usize = 8;

/// Diagnoses and observations that wait to be taken; the owner takes them after every call, so more are a bug of it.
pub const EFFECTS: usize = 4_096;
