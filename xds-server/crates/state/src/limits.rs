//! How much this room remembers at most; each limit with its unit and its reason.

/// Node classes per proxy key. A class is a claim of the node, so a stranger with one identity could invent any number.
pub const CLASSES_PER_PROXY: usize = 8;

/// Zones per proxy key, over all its classes. Where the node says its zone itself that is a claim too; the largest regions have six.
pub const ZONES_PER_PROXY: usize = 32;

/// Streams that are watched at once: ten times the largest fleet the benchmarks know.
pub const STREAMS: usize = 50_000;

/// Rejections kept per stream and kind; the oldest goes. A person reads the first few, the repair needs none of them.
pub const REJECTIONS_PER_KIND: usize = 256;

/// Bytes of a reduced NACK text. Envoy's texts can hold a whole resource; what helps a person stands in the beginning.
pub const REASON_BYTES: usize = 512;

/// Names listed of those that a client asked for and that do not exist; the count stays exact.
pub const MISSING_NAMES: usize = 16;

/// Resources with a rejected version that are remembered over all proxies; the oldest goes.
pub const REJECTED_RESOURCES: usize = 4_096;

/// Rejected versions remembered per resource; the oldest goes. Enough for an operator who tries and rolls back.
pub const REJECTED_VERSIONS: usize = 8;

/// Proxies remembered per rejected version: two make it binding for all, so more are never needed.
pub const REJECTING_PROXIES: usize = 2;

/// Instances of each of them: two make it binding for all instances of their proxy.
pub const REJECTING_INSTANCES: usize = 2;

/// Scopes whose last accepted resources are remembered; the first in order of name goes.
pub const ACCEPTED_SCOPES: usize = 16_384;
