//! A host for tests: deterministic, with the semantics of Envoy's (CAS numbers, the first of repeated headers, properties found by
//! their first segment), and a stream that runs a filter's callbacks and keeps the reply.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::policy::{METADATA_NAMESPACE, METADATA_POLICY};
use crate::{
    Body, Filter, FilterContext, HeaderMap, Headers, HeadersBuilder, Host, HostError, LocalReply, LogLevel, MetricId, SharedValue, Verdict,
};

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;
/// What reading a property answers.
type Read = Result<Vec<u8>, HostError>;
type Foreign = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, HostError>>;

/// 2026-01-01T00:00:00Z, in nanoseconds since 1970: where every fake clock starts.
pub const START_NS: u64 = 1_767_225_600_000_000_000;

/// Envoy for a test. Cells inside, because the port takes `&self`.
pub struct FakeHost {
    headers: RefCell<BTreeMap<HeaderMap, Pairs>>,
    bodies: RefCell<BTreeMap<Body, Vec<u8>>>,
    properties: RefCell<BTreeMap<Vec<u8>, Read>>,
    shared: RefCell<BTreeMap<String, SharedValue>>,
    last_cas: Cell<u32>,
    now_ns: Cell<u64>,
    monotonic_ns: Cell<u64>,
    logs: RefCell<Vec<(LogLevel, String)>>,
    counters: RefCell<Vec<(String, u64)>>,
    foreign: RefCell<BTreeMap<String, Foreign>>,
    foreign_calls: RefCell<Vec<String>>,
    resumed: RefCell<Vec<Body>>,
    is_reset: Cell<bool>,
}

impl fmt::Debug for FakeHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeHost").field("now_ns", &self.now_ns).field("logs", &self.logs).finish_non_exhaustive()
    }
}

impl Default for FakeHost {
    fn default() -> Self {
        Self {
            headers: RefCell::default(),
            bodies: RefCell::default(),
            properties: RefCell::default(),
            shared: RefCell::default(),
            last_cas: Cell::new(0),
            now_ns: Cell::new(START_NS),
            monotonic_ns: Cell::new(1_000_000_000),
            logs: RefCell::default(),
            counters: RefCell::default(),
            foreign: RefCell::default(),
            foreign_calls: RefCell::default(),
            resumed: RefCell::default(),
            is_reset: Cell::new(false),
        }
    }
}

impl FakeHost {
    /// A host without headers, route, shared data or foreign functions, at [`START_NS`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a request header (any bytes; the name in lower case).
    #[must_use]
    pub fn with_header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.push_header(HeaderMap::Request, name, value);
        self
    }

    /// Puts the stream on a route of this name, without metadata.
    #[must_use]
    pub fn with_route(self, name: &str) -> Self {
        self.put_property(&["xds", "route_name"], name);
        self
    }

    /// Puts the stream on a route whose metadata names this policy.
    #[must_use]
    pub fn with_policy(self, id: &str) -> Self {
        self.put_property(&["xds", "route_metadata", "filter_metadata", METADATA_NAMESPACE, METADATA_POLICY], id);
        self.with_route("route")
    }

    /// Offers a foreign function; without it, calls by that name answer `NotFound`.
    #[must_use]
    pub fn with_foreign(self, name: &str, function: impl Fn(&[u8]) -> Result<Vec<u8>, HostError> + 'static) -> Self {
        self.foreign.borrow_mut().insert(name.to_owned(), Box::new(function));
        self
    }

    /// Adds a header to any map.
    pub fn push_header(&self, map: HeaderMap, name: &str, value: impl AsRef<[u8]>) {
        let pair = (name.as_bytes().to_vec(), value.as_ref().to_vec());
        self.headers.borrow_mut().entry(map).or_default().push(pair);
    }

    /// Forgets the stream (headers, bodies, properties) and keeps what outlives it (clock, shared data, counters, foreign
    /// functions): the next request of the same VM.
    pub fn next_stream(&self) {
        self.headers.borrow_mut().clear();
        self.bodies.borrow_mut().clear();
        self.properties.borrow_mut().clear();
    }

    /// Writes an attribute of the host's own, by path.
    pub fn put_property(&self, path: &[&str], value: impl AsRef<[u8]>) {
        self.properties.borrow_mut().insert(path.join("\0").into_bytes(), Ok(value.as_ref().to_vec()));
    }

    /// Makes the host fail at this attribute.
    pub fn fail_property(&self, path: &[&str], error: HostError) {
        self.properties.borrow_mut().insert(path.join("\0").into_bytes(), Err(error));
    }

    /// Makes these the buffered body bytes.
    pub fn put_body(&self, body: Body, bytes: impl Into<Vec<u8>>) {
        self.bodies.borrow_mut().insert(body, bytes.into());
    }

    /// All buffered bytes of a body.
    pub fn whole_body(&self, body: Body) -> Vec<u8> {
        self.bodies.borrow().get(&body).cloned().unwrap_or_default()
    }

    /// Every value of a request header, in order.
    pub fn request_header(&self, name: &str) -> Vec<Vec<u8>> {
        self.headers(HeaderMap::Request).all(name).map(<[u8]>::to_vec).collect()
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.now_ns.set(self.now_ns.get().saturating_add(ns));
        self.monotonic_ns.set(self.monotonic_ns.get().saturating_add(ns));
    }

    /// Steps the wall clock alone, as an operator or NTP would.
    pub fn set_now_ns(&self, now_ns: u64) {
        self.now_ns.set(now_ns);
    }

    /// All log lines so far.
    pub fn logs(&self) -> Vec<(LogLevel, String)> {
        self.logs.borrow().clone()
    }

    /// The value of a counter; zero when it was never defined.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.borrow().iter().find(|(n, _)| n == name).map_or(0, |(_, value)| *value)
    }

    /// Names of the foreign functions called so far, in order.
    pub fn foreign_calls(&self) -> Vec<String> {
        self.foreign_calls.borrow().clone()
    }

    /// The directions that were resumed since this was asked last, in order.
    pub fn take_resumed(&self) -> Vec<Body> {
        self.resumed.take()
    }

    /// Whether the stream was reset.
    pub fn is_reset(&self) -> bool {
        self.is_reset.get()
    }

    fn drop_header(&self, map: HeaderMap, name: &str) {
        self.headers.borrow_mut().entry(map).or_default().retain(|(n, _)| n != name.as_bytes());
    }
}

impl Host for FakeHost {
    fn headers(&self, map: HeaderMap) -> Headers {
        let mut builder = HeadersBuilder::default();
        for (name, value) in self.headers.borrow().get(&map).into_iter().flatten() {
            builder.push(name, value);
        }
        builder.build()
    }

    fn set_header(&self, map: HeaderMap, name: &str, value: &[u8]) -> Result<(), HostError> {
        self.remove_header(map, name)?;
        self.push_header(map, name, value);
        Ok(())
    }

    fn remove_header(&self, map: HeaderMap, name: &str) -> Result<(), HostError> {
        if map == HeaderMap::Request {
            return Err(HostError::BadArgument);
        }
        self.drop_header(map, name);
        Ok(())
    }

    fn body(&self, body: Body, start: usize, max: usize) -> Vec<u8> {
        self.bodies.borrow().get(&body).map(|bytes| bytes.iter().skip(start).take(max).copied().collect()).unwrap_or_default()
    }

    fn replace_body(&self, body: Body, start: usize, len: usize, bytes: &[u8]) -> Result<(), HostError> {
        let mut bodies = self.bodies.borrow_mut();
        let buffer = bodies.entry(body).or_default();
        let start = start.min(buffer.len());
        let end = start.saturating_add(len).min(buffer.len());
        buffer.splice(start..end, bytes.iter().copied());
        Ok(())
    }

    fn property(&self, path: &[&str]) -> Result<Option<Vec<u8>>, HostError> {
        self.properties.borrow().get(path.join("\0").as_bytes()).cloned().transpose()
    }

    fn set_property(&self, name: &str, value: &[u8]) -> Result<(), HostError> {
        for (name, value) in crate::edits::read(name, value).into_iter().flatten() {
            self.drop_header(HeaderMap::Request, name);
            value.into_iter().for_each(|value| self.push_header(HeaderMap::Request, name, value));
        }
        self.put_property(&[name], value);
        Ok(())
    }

    fn shared_data(&self, key: &str) -> Option<SharedValue> {
        self.shared.borrow().get(key).cloned()
    }

    fn set_shared_data(&self, key: &str, value: &[u8], cas: Option<u32>) -> Result<(), HostError> {
        let mut shared = self.shared.borrow_mut();
        let stale = shared.get(key).is_some_and(|now| cas.is_some_and(|cas| cas != now.cas));
        if stale {
            return Err(HostError::CasMismatch);
        }
        self.last_cas.set(self.last_cas.get().saturating_add(1));
        shared.insert(key.to_owned(), SharedValue { bytes: value.to_vec(), cas: self.last_cas.get() });
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.get()
    }

    fn log(&self, level: LogLevel, line: &str) {
        self.logs.borrow_mut().push((level, line.to_owned()));
    }

    fn define_counter(&self, name: &str) -> Result<MetricId, HostError> {
        let mut counters = self.counters.borrow_mut();
        let found = counters.iter().position(|(n, _)| n == name);
        let index = found.unwrap_or_else(|| {
            counters.push((name.to_owned(), 0));
            counters.len().saturating_sub(1)
        });
        u32::try_from(index).map(MetricId).map_err(|_| HostError::BadArgument)
    }

    fn increment(&self, counter: MetricId, by: u32) {
        let mut counters = self.counters.borrow_mut();
        if let Some((_, value)) = usize::try_from(counter.0).ok().and_then(|index| counters.get_mut(index)) {
            *value = value.saturating_add(u64::from(by));
        }
    }

    fn call_foreign(&self, name: &str, arguments: &[u8]) -> Result<Vec<u8>, HostError> {
        self.foreign_calls.borrow_mut().push(name.to_owned());
        match self.foreign.borrow().get(name) {
            Some(function) => function(arguments),
            None => Err(HostError::NotFound),
        }
    }

    fn resume(&self, body: Body) -> Result<(), HostError> {
        self.resumed.borrow_mut().push(body);
        Ok(())
    }

    fn reset(&self) -> Result<(), HostError> {
        self.is_reset.set(true);
        Ok(())
    }
}

/// One stream of a filter under test. Like Envoy it stops calling the filter after a reply.
pub struct FakeStream<C> {
    context: Option<C>,
    reply: Option<LocalReply>,
}

impl<C> fmt::Debug for FakeStream<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeStream").field("reply", &self.reply).finish_non_exhaustive()
    }
}

impl<C: FilterContext> FakeStream<C> {
    /// A new stream of this filter.
    pub fn new<F: Filter<Context = C>>(filter: &Rc<F>) -> Self {
        Self { context: Some(F::context(filter)), reply: None }
    }

    /// Runs one callback and keeps its reply; after a reply nothing runs and the verdict is `Pause`.
    ///
    /// `stream.run(|context| context.on_request_headers(&host, true))`
    pub fn run(&mut self, callback: impl FnOnce(&mut C) -> Verdict) -> Verdict {
        let Some(context) = self.context.as_mut() else { return Verdict::Pause };
        let verdict = callback(context);
        if let Verdict::Reply(reply) = &verdict {
            self.reply = Some(reply.clone());
            self.context = None;
        }
        verdict
    }

    /// The reply of the filter, if it gave one.
    pub fn reply(&self) -> Option<&LocalReply> {
        self.reply.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CAS_ABSENT;

    #[test]
    fn a_stale_cas_number_is_refused_and_a_missing_one_overwrites() {
        let host = FakeHost::new();
        assert_eq!(host.set_shared_data("k", b"1", None), Ok(()));
        let read = host.shared_data("k").unwrap();
        assert_eq!(host.set_shared_data("k", b"2", Some(read.cas)), Ok(()));
        assert_eq!(host.set_shared_data("k", b"3", Some(read.cas)), Err(HostError::CasMismatch));
        assert_eq!(host.set_shared_data("k", b"4", None), Ok(()));
        assert_eq!(host.shared_data("k").unwrap().bytes, b"4");
    }

    #[test]
    fn of_two_creators_one_wins() {
        let host = FakeHost::new();
        assert_eq!(host.set_shared_data("k", b"1", Some(CAS_ABSENT)), Ok(()));
        assert_eq!(host.set_shared_data("k", b"2", Some(CAS_ABSENT)), Err(HostError::CasMismatch));
        assert_eq!(host.shared_data("k").unwrap().bytes, b"1");
    }

    #[test]
    fn body_is_replaced_within_its_bounds() {
        let host = FakeHost::new();
        host.put_body(Body::Request, "abcdef");
        assert_eq!(host.replace_body(Body::Request, 1, 2, b"XYZ"), Ok(()));
        assert_eq!(host.whole_body(Body::Request), b"aXYZdef");
        assert_eq!(host.replace_body(Body::Request, 0, usize::MAX, b""), Ok(()));
        assert_eq!(host.whole_body(Body::Request), b"");
    }

    struct Refusing;
    impl Filter for Refusing {
        type Context = Self;
        fn configure(_: &[u8], _: &dyn Host) -> Result<Self, crate::ConfigError> {
            Ok(Self)
        }
        fn context(_: &Rc<Self>) -> Self {
            Self
        }
    }
    impl FilterContext for Refusing {
        fn on_request_headers(&mut self, _: &dyn Host, _: bool) -> Verdict {
            Verdict::Reply(crate::Denial::new(403, "closed", "closed").into_reply(crate::Caller::Http))
        }
    }

    #[test]
    fn a_replied_stream_runs_no_more_callbacks() {
        let host = FakeHost::new();
        let mut stream = FakeStream::new(&Rc::new(Refusing));
        assert!(matches!(stream.run(|c| c.on_request_headers(&host, true)), Verdict::Reply(_)));
        assert_eq!(stream.run(|_| Verdict::Continue), Verdict::Pause);
        assert_eq!(stream.reply().map(|reply| reply.status), Some(403));
    }
}
