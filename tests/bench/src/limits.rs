//! How much is measured and how long anything may take; each with its unit and its reason.

use std::time::Duration;

/// Proxies that connect at the same time: as many as keep both cores busy, far below what is refused as a storm.
pub const CONNECTING: usize = 50;

/// How long a fleet may take to connect and to have everything.
pub const CONNECT_MAX: Duration = Duration::from_secs(240);

/// How long one change may take until the last proxy has it; more is an error and voids the run.
pub const UPDATE_MAX: Duration = Duration::from_secs(60);

/// How long a server may take to start, or to answer a command other than a change.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A server is quiet when it uses less than this in one [`QUIET_LOOK`]: answers to keepalives, and no acknowledgement.
pub const QUIET_CPU: Duration = Duration::from_millis(1);

/// Between two looks at whether a server is quiet.
pub const QUIET_LOOK: Duration = Duration::from_millis(20);

/// How long a server may take to become quiet after a change.
pub const QUIET_MAX: Duration = Duration::from_secs(30);

/// Changes before anything is measured: caches, allocators and the peer's garbage collector find their size.
pub const WARM_UP: u32 = 3;

/// Changes of one round, at most and at least: the median of a round needs several.
pub const CHANGES_PER_ROUND: std::ops::RangeInclusive<u32> = 2..=10;

/// How long the changes of one round should take: a slow server gets fewer of them.
pub const ROUND: Duration = Duration::from_millis(2_500);

/// Changes after which memory is measured.
pub const MEMORY_CHANGES: u32 = 100;

/// How long one server may take to reach them; one that is slower is measured after those that it managed.
pub const MEMORY_PATIENCE: Duration = Duration::from_secs(45);

/// Routes that are planned: a large gateway, and four times as many to see whether an edit stays as cheap.
pub const ROUTES: [usize; 2] = [5_000, 20_000];

/// Edits of one round: enough that each is at another place of every map.
pub const EDITS: u32 = 500;

/// Bytes of one field of a discovery response; the resources here have some 200.
pub const FIELD_BYTES: usize = 64 << 10;

/// HTTP/2 window of the client, in bytes: large enough that it seldom has to speak of it.
pub const WINDOW: u32 = 1 << 20;
