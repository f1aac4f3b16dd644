//! Limits and defaults of the plan, each with its unit and reason.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Bytes of a path that may stand in a route's name; a longer one is named by its digest. Names are in every log line.
pub(crate) const LABEL_PATH_BYTES_MAX: usize = 64;

/// HTTPS listeners on one port of which each knows the hosts of all others, so that it tells which requests have come the wrong way.
pub(crate) const MISDIRECTED_LISTENERS_MAX: usize = 64;

/// Ports that the Envoys of a shared fleet open, one for each port of each Gateway: below those that a kernel gives to connections.
pub(crate) const FLEET_PORTS: RangeInclusive<u16> = 10_000..=32_767;

/// The longest value of a label: a longer name stands there in another form.
pub(crate) const LABEL_MAX: usize = 63;

/// The port by which a proxy in a cluster says that it has its listeners: no port of a Gateway, so that none that comes or goes changes
/// its Pods or takes them out of a Service.
pub const READY_PORT: u16 = 9_999;

/// Bytes of a regular expression, as Gateway API bounds the paths and values it stands for.
pub(crate) const PATTERN_BYTES_MAX: usize = 4096;
/// Groups within groups of a regular expression: its parser recurses.
pub(crate) const PATTERN_NESTING_MAX: u32 = 64;
/// Instructions of a regular expression's program. Matching costs as many steps for each byte, and proxies refuse more.
pub(crate) const PATTERN_SIZE_MAX: u64 = 1000;

/// Time to connect where no TrafficPolicy says.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for a whole request where neither route nor policy says.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// A session of datagrams without any in either direction: each holds a socket, and nobody says when it is over.
pub(crate) const SESSION_IDLE: Duration = Duration::from_secs(60);
/// Attempts after the first, where retries are on without a number.
pub(crate) const RETRY_ATTEMPTS: u32 = 2;
/// First wait between two attempts.
pub(crate) const RETRY_BACKOFF: Duration = Duration::from_millis(25);
/// Answers that are tried again where retries are on without a list.
pub(crate) const RETRY_STATUSES: [u16; 3] = [502, 503, 504];
/// Percent of requests under way that may be retries: enough for a blip, too few for a storm.
pub(crate) const RETRY_BUDGET_PERCENT: u32 = 20;
/// Retries that are always allowed, so that a quiet service can retry at all.
pub(crate) const RETRY_BUDGET_MINIMUM: u32 = 3;
/// Connections, waiting requests and requests under way per cluster, each.
pub(crate) const CIRCUIT: u32 = 1024;
/// An idle upstream connection is closed before most servers close it themselves, which would race with a request.
pub(crate) const POOL_IDLE: Duration = Duration::from_secs(60);
/// Time between DNS look-ups where the answer names none.
pub(crate) const DNS_REFRESH: Duration = Duration::from_secs(5);
/// Smallest hash ring where no policy says.
pub(crate) const RING_SIZE_MIN: u64 = 1024;

/// Outlier detection: time between sweeps.
pub(crate) const OUTLIER_INTERVAL: Duration = Duration::from_secs(10);
/// Outlier detection: first ejection.
pub(crate) const OUTLIER_EJECTION: Duration = Duration::from_secs(30);
/// Outlier detection: longest ejection.
pub(crate) const OUTLIER_EJECTION_MAX: Duration = Duration::from_secs(300);
/// Outlier detection: percent of endpoints out at once.
pub(crate) const OUTLIER_PERCENT_MAX: u32 = 10;
/// Outlier detection: 5xx in a row, for a policy that names no detector.
pub(crate) const OUTLIER_5XX: u32 = 5;

/// Health check: time between probes.
pub(crate) const HEALTH_INTERVAL: Duration = Duration::from_secs(5);
/// Health check: time for an answer.
pub(crate) const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);
/// Health check: bad answers in a row.
pub(crate) const HEALTH_BAD: u32 = 3;

/// Connections at once on a listener: well below the file descriptors of a proxy.
pub(crate) const CONNECTIONS: u32 = 50_000;
/// Bytes buffered for each connection and direction.
pub(crate) const BUFFER_BYTES: u32 = 32 * 1024;
/// Connections that the kernel queues for a listener.
pub(crate) const BACKLOG: u32 = 1024;
/// Time for the TLS hello and handshake.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Request headers in KiB.
pub(crate) const HEADERS_KIB: u32 = 60;
/// Number of request headers.
pub(crate) const HEADERS: u32 = 100;
/// HTTP/2 streams at once on one connection.
pub(crate) const STREAMS: u32 = 100;
/// HTTP/2 bytes in flight on one stream.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// HTTP/2 bytes in flight on one connection.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Time for all request headers.
pub(crate) const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// Time to read a whole request.
pub(crate) const REQUEST_READ_TIMEOUT: Duration = Duration::from_secs(300);
/// A stream without bytes.
pub(crate) const STREAM_IDLE: Duration = Duration::from_secs(300);
/// A connection without streams.
pub(crate) const CONNECTION_IDLE: Duration = Duration::from_secs(3600);

/// Clock difference forgiven in a token.
pub(crate) const LEEWAY: Duration = Duration::from_secs(60);
/// The most that a policy may forgive.
pub(crate) const LEEWAY_MAX: Duration = Duration::from_secs(300);
/// Window of a quota, shortest and longest.
pub(crate) const QUOTA_WINDOW: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(24 * 3600)];
/// Longest time for a whole burst to come back, 100 years: filters count in nanoseconds, and what lasts longer than they can count limits
/// nobody.
pub(crate) const QUOTA_FILL_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// What stands before a gRPC message, and what may have come with its end.
pub(crate) const FRAME_BYTES: u64 = 16 * 1024;
/// Largest JSON body that is transcoded.
pub(crate) const TRANSCODED_REQUEST_BYTES: u32 = 1024 * 1024;
/// Largest message that is transcoded.
pub(crate) const TRANSCODED_RESPONSE_BYTES: u32 = 4 * 1024 * 1024;
/// Share of requests that start a trace, in hundredths of a percent.
pub(crate) const TRACE_SAMPLING: u32 = 100;

/// Streams at once on one connection between sidecars, which trust each other more than strangers.
pub(crate) const MESH_STREAMS: u32 = 1024;
/// Port on which a sidecar takes its workload's calls to Services for which no `listen` is declared.
pub(crate) const OUTBOUND_PORT: u16 = 15_001;

/// Hexadecimal digits that tell the made-up names of sessions apart: two of a site are the same once in 2^64.
pub(crate) const SESSION_NAME_DIGITS: usize = 16;

/// Open rules of a route that a warning names.
pub(crate) const OPEN_NAMED: usize = 5;
