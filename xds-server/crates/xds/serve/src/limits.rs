//! What a stranger may cost this server, and how long it waits; each limit with its unit and its reason.

use std::time::Duration;

/// Connections at once. Each costs about 60 KB with TLS; ten times the largest fleet the benchmarks know would need replicas.
pub const CONNECTIONS: usize = 20_000;

/// Connections at once of one address: a fleet of machines behind one NAT.
pub const CONNECTIONS_OF_ADDRESS: usize = 10_000;

/// The same of those on which nobody has proven yet who he is: a fleet that comes back at once proves it within a second or two, and who
/// is turned away comes again.
pub const STRANGERS_OF_ADDRESS: usize = 1_024;

/// Credentials of one address that are being checked at a time: most are in no time, and those that the API server has to judge wait for
/// each other.
pub const CHECKS_OF_ADDRESS: usize = 64;

/// How long one waits for its turn: a fleet behind one address comes back at once.
pub const CHECK_WAIT: Duration = Duration::from_secs(10);

/// Connections that have not finished their handshake. More than that is no reconnect storm but an attack: new ones are dropped.
pub const HANDSHAKES: usize = 2_048;

/// Connections that wait to be accepted: a fleet that comes back at once. The kernel may have a lower bound of its own.
pub const BACKLOG: u32 = 1_024;

/// How long a handshake may take.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// Streams at once per connection. A proxy needs one, and a second during a reconnect.
pub const STREAMS_PER_CONNECTION: u32 = 16;

/// Bytes of request headers, as HTTP/2 counts them. A token is below 4 KB.
pub const HEADER_LIST_BYTES: u32 = 16 << 10;

/// Streams that the client reset and we have not yet let go (rapid reset, CVE-2023-44487).
pub const PENDING_RESETS: usize = 20;

/// Streams that we reset for the client's errors before the connection ends (MadeYouReset, CVE-2025-8671).
pub const LOCAL_ERROR_RESETS: usize = 100;

/// Bytes of one request message. A reconnecting proxy names every resource it has: 50,000 of them are about 6 MB.
pub const REQUEST_BYTES: usize = 16 << 20;

/// Time in which a request that began to arrive has to be there: 16 MB in that come from far away, and what stops half-way is let go.
pub const REQUEST_TIME: Duration = Duration::from_secs(30);

/// Bytes of a request that need no room of their own: almost all are smaller, and the window of the stream holds more.
pub const REQUEST_FREE: usize = 16 << 10;

/// Bytes of larger requests that one proxy may have here at a time, over all its streams: ten Envoys that name 50,000 resources each.
pub const REQUEST_BYTES_OF_PROXY: usize = 64 << 20;

/// The same of all proxies: a quarter of what the Pod has. More than that waits at the other end.
pub const REQUEST_BYTES_OF_ALL: usize = 256 << 20;

/// Larger requests of one proxy that are here or wait for room. One that waits costs what fills the window of its connection.
pub const LARGE_REQUESTS_OF_PROXY: usize = 256;

/// Fields of one request: as many names as a session takes in each of three lists, and what is said once.
pub const REQUEST_FIELDS: usize = 3 * windrose_xds_session::limits::NAMES_PER_REQUEST + 64;

/// Bytes of what a node says of itself in one request. Envoy lists its extensions, about 100 KB.
pub const NODE_BYTES: usize = 1 << 20;

/// Capacity in bytes that a request buffer keeps between messages: an ACK is below 1 KB.
pub const REQUEST_BUFFER_KEPT: usize = 4 << 10;

/// HTTP/2 window of one stream, in bytes: what a client may send before we read.
pub const STREAM_WINDOW: u32 = 256 << 10;

/// HTTP/2 window of one connection, in bytes.
pub const CONNECTION_WINDOW: u32 = 512 << 10;

/// Bytes of one piece of a response that are copied together; a resource larger than this is sent from the shared bytes.
pub const SEGMENT: usize = 16 << 10;

/// Bytes that one stream may have waiting in the HTTP/2 layer: what a reader that stopped reading costs.
pub const SEND_BUFFER: usize = 32 << 10;

/// Bytes of encrypted data that one connection may have waiting for the socket.
pub const TLS_BUFFER: usize = 16 << 10;

/// How often the parts of one connection may wake each other before another connection has its turn. A change, its
/// response and the write need two.
pub const ROUNDS_PER_TURN: usize = 16;

/// How long a stream may be open before its first request.
pub const FIRST_REQUEST: Duration = Duration::from_secs(30);

/// How long a connection may be open without any stream.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(60);

/// How often a connection is asked whether it lives.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// How long the answer may take. Together with the interval: a half-open connection is noticed within 30 s.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How old a connection may become unless the settings say otherwise: replicas share the load again after one of them restarted.
pub const CONNECTION_AGE: Duration = Duration::from_secs(3_600);

/// By how many percent the age of a connection varies, so that a fleet that came together does not leave together.
pub const CONNECTION_AGE_JITTER: u32 = 20;

/// How long everything in flight may take to end when the server stops, unless the settings say otherwise.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long a stream that must end may take to read its end before its connection is cut.
pub const FAREWELL: Duration = Duration::from_secs(5);

/// The longest sleep until a credential expires: a clock that jumps is noticed.
pub const EXPIRY_CHECK: Duration = Duration::from_secs(30);

/// The pause after an accept error that concerns us and not the connection (no file descriptors, no memory).
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of one CSDS answer; more must be asked for by narrower matchers.
pub const STATUS_BYTES: usize = 32 << 20;

/// CSDS answers that one proxy may have in memory at a time: one on its way, and one that is being made.
pub const STATUS_ANSWERS_OF_PROXY: usize = 2;

/// The same of all proxies: a quarter of what the Pod has.
pub const STATUS_ANSWERS_OF_ALL: usize = 8;

/// Bytes of one CSDS request: matchers, and what a client says of itself.
pub const STATUS_REQUEST_BYTES: usize = 256 << 10;

/// Lines of one sort that are logged about one client in a minute; what goes beyond is logged once a second for all of them, and counted.
pub const LINES_OF_SORT: u32 = 8;

/// Sorts of lines that are remembered within a minute: several of each of a thousand proxies.
pub const TOLD_SORTS: usize = 16_384;

/// Matchers in one CSDS request.
pub const NODE_MATCHERS: usize = 64;

/// Bytes of a folder name that a node claims.
pub const MODULES_BYTES: usize = 1_024;

/// Bytes of a zone's name that a node claims. In Kubernetes it is the value of a label, with 63 at most.
pub const ZONE_BYTES: usize = 128;
