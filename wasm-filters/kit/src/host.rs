//! The port to Envoy: every call a filter may make, in bytes, total. It knows no ABI; `shell` implements it for the
//! real host, [`crate::fake::FakeHost`] for tests.

use crate::Headers;

/// Which of the four header maps of a stream a call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeaderMap {
    /// Request headers, pseudo headers (`:path`, `:method`, …) included.
    Request,
    /// Request trailers.
    RequestTrailers,
    /// Response headers, `:status` included.
    Response,
    /// Response trailers.
    ResponseTrailers,
}

/// Which of the two body buffers a call means. Only bytes that are buffered now can be read or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Body {
    /// The request body.
    Request,
    /// The response body.
    Response,
}

/// Severity of a log line, as Envoy has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Envoy's `debug`.
    Debug,
    /// Envoy's `info`.
    Info,
    /// Envoy's `warning`.
    Warn,
    /// Envoy's `error`.
    Error,
}

/// A counter that was defined by [`Host::define_counter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MetricId(pub u32);

/// A value of the shared data, which all workers of one `vm_id` see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedValue {
    /// The stored bytes.
    pub bytes: Vec<u8>,
    /// The number that a conditional write must name; never zero.
    pub cas: u32,
}

/// The number of a value that is not there: a conditional write that names it creates the value, and fails where somebody
/// created it first. Hosts count up from 1, so they give this number away once in four thousand million writes.
pub const CAS_ABSENT: u32 = u32::MAX;

/// Why the host did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostError {
    /// There is nothing of that name here.
    NotFound,
    /// The argument was refused.
    BadArgument,
    /// Another worker wrote first: read again and retry, a bounded number of times.
    CasMismatch,
    /// Any other status of the ABI, by its number.
    Other(u32),
}

impl std::fmt::Display for HostError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::BadArgument => f.write_str("bad argument"),
            Self::CasMismatch => f.write_str("written by another worker meanwhile"),
            Self::Other(status) => write!(f, "host status {status}"),
        }
    }
}

impl std::error::Error for HostError {}

/// Envoy, as a filter sees it. A call that returns data costs about 0.7 µs.
pub trait Host {
    /// All pairs of a header map, in order, repeated names repeated. Empty when the map is not there now.
    fn headers(&self, map: HeaderMap) -> Headers;

    /// Sets a header to exactly one value, whatever was there. The name is lower case. Those of the request are refused here and in the
    /// next: see [`crate::RequestEdits`].
    fn set_header(&self, map: HeaderMap, name: &str, value: &[u8]) -> Result<(), HostError>;

    /// Removes every value of a header; one that is absent is no error. The name is lower case.
    fn remove_header(&self, map: HeaderMap, name: &str) -> Result<(), HostError>;

    /// At most `max` bytes of the buffered body from `start` on; fewer where it ends earlier.
    fn body(&self, body: Body, start: usize, max: usize) -> Vec<u8>;

    /// Replaces `len` buffered bytes from `start` on by `bytes`; `len` may reach past the end and is then cut.
    fn replace_body(&self, body: Body, start: usize, len: usize, bytes: &[u8]) -> Result<(), HostError>;

    /// An attribute of the stream by its path, for example `["xds", "route_name"]`, or a single name that
    /// [`Host::set_property`] wrote in an earlier filter of the chain. Absent only where the host says so: what lets a request by
    /// because something is not there must not take a failure for that.
    ///
    /// # Errors
    /// Whatever else the host answered.
    fn property(&self, path: &[&str]) -> Result<Option<Vec<u8>>, HostError>;

    /// Writes a property for later filters of this stream. One name, not a path: Envoy keeps it as filter state
    /// `wasm.<name>`, and reading finds it by its first path segment alone.
    fn set_property(&self, name: &str, value: &[u8]) -> Result<(), HostError>;

    /// A value of the shared data of this `vm_id`.
    fn shared_data(&self, key: &str) -> Option<SharedValue>;

    /// Writes shared data: with `cas`, only if the value is still the one that was read with it
    /// ([`HostError::CasMismatch`] otherwise), or with [`CAS_ABSENT`] if there is none; without, always, so that two creators
    /// overwrite each other.
    fn set_shared_data(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), HostError>;

    /// Wall clock in nanoseconds since 1970. It can step.
    fn now_ns(&self) -> u64;

    /// A clock in nanoseconds that never steps, with the same origin on all workers of this process.
    fn monotonic_ns(&self) -> u64;

    /// One line for Envoy's log. Never secrets, never tokens.
    fn log(&self, level: LogLevel, line: &str);

    /// Defines a counter, or finds the one of that name.
    fn define_counter(&self, name: &str) -> Result<MetricId, HostError>;

    /// Adds to a counter. An id that this host did not give is ignored.
    fn increment(&self, counter: MetricId, by: u32);

    /// Calls a function of the host's own, for example `verify_signature`; the arguments and the reply are its own affair.
    fn call_foreign(&self, name: &str, arguments: &[u8]) -> Result<Vec<u8>, HostError>;

    /// Lets a direction that paused go on: what is buffered leaves when the current callback has returned. A callback that
    /// pauses after it resumed sends what was buffered before and keeps waiting.
    fn resume(&self, body: Body) -> Result<(), HostError>;

    /// Breaks the stream off, so that nobody takes half an answer for a whole one.
    fn reset(&self) -> Result<(), HostError>;
}
