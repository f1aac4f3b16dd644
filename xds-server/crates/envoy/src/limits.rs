//! The numbers that rendering adds to what was decided: bounds that Envoy itself has, and settings that nobody declares.

use std::ops::RangeInclusive;

use windrose_vocab::Duration;

/// HTTP/2 flow-control windows that Envoy takes, in bytes.
pub(crate) const WINDOW_BYTES: RangeInclusive<u32> = 65_535..=2_147_483_647;
/// HTTP/2 streams at once that Envoy takes.
pub(crate) const STREAMS: RangeInclusive<u32> = 1..=2_147_483_647;
/// Sizes of request headers that Envoy takes, in KiB.
pub(crate) const HEADERS_KIB: RangeInclusive<u32> = 1..=8_192;
/// Proxies in front, more than a request can name in `x-forwarded-for`: all its headers have 8 MiB at most, and a comma stands
/// between two.
pub(crate) const MORE_HOPS_THAN_ENTRIES: u32 = 1 << 24;
/// Entries of the largest hash ring that Envoy takes.
pub(crate) const RING_MAX: u64 = 8_388_608;
/// Bytes of the body of a direct answer that Envoy takes by itself; a table with a longer one raises it.
pub(crate) const DIRECT_RESPONSE_BYTES: usize = 4_096;
/// Windows of rate limits that the filter takes, in milliseconds: a day at most.
pub(crate) const LIMIT_WINDOW_MS: RangeInclusive<u64> = 1..=86_400_000;

/// Percent of healthy endpoints below which Envoy tries all of them: only when none is left. Its default of fifty would
/// send new requests to draining endpoints as soon as half of them drain.
pub(crate) const PANIC_PERCENT: u32 = 1;
/// TCP probes without an answer after which a connection is dead.
pub(crate) const KEEPALIVE_PROBES: u32 = 3;
/// Other endpoints that are looked for when an attempt is tried again.
pub(crate) const HOST_ATTEMPTS: i64 = 3;
/// The longest wait between two attempts, in waits before the first.
pub(crate) const BACKOFF_GROWTH: u32 = 10;

/// A downstream HTTP/2 connection is asked this often whether it lives: a phone that went out of reach says nothing.
pub(crate) const DOWNSTREAM_KEEPALIVE: Duration = Duration::from_secs(60);
/// And is closed when it does not answer within this.
pub(crate) const DOWNSTREAM_KEEPALIVE_ANSWER: Duration = Duration::from_secs(20);

/// A filter that panicked is started anew after this: requests are refused meanwhile.
pub(crate) const RELOAD_AFTER: Duration = Duration::from_millis(100);
/// And after this, if it goes on panicking.
pub(crate) const RELOAD_AFTER_MAX: Duration = Duration::from_secs(1);

/// Time for a service that is asked whether a request may pass; it is refused then.
pub(crate) const EXTERNAL_AUTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for one export of spans; they are dropped then.
pub(crate) const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Golden metrics of one proxy, each with its own labels: services times callers times statuses, and an end to it.
pub(crate) const METRICS_MAX: u32 = 10_000;
/// Bytes of a path that a span shows.
pub(crate) const PATH_TAG_BYTES: u32 = 256;

/// Size of regex programs (RE2) that is taken; Envoy's own 100 refuses `/a{1,60}`.
pub(crate) const REGEX_PROGRAM: u32 = 4_096;
/// Connections that an Envoy takes which runs an inlined set.
pub(crate) const INLINE_CONNECTIONS: u32 = 10_000;
/// Time to connect to the control plane.
pub(crate) const XDS_CONNECT: Duration = Duration::from_secs(5);
/// The stream to the control plane is asked this often whether it lives, and
pub(crate) const XDS_KEEPALIVE: Duration = Duration::from_secs(15);
/// is given up without an answer after this: a dead one is noticed within 40 s.
pub(crate) const XDS_KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// A lost stream is opened anew after this, and
pub(crate) const XDS_RECONNECT: Duration = Duration::from_millis(100);
/// no later than this: endpoints are current two seconds after the control plane is back.
pub(crate) const XDS_RECONNECT_MAX: Duration = Duration::from_secs(1);

/// Characters of base64, or of one text of a filter's table, that are printed for people.
pub(crate) const PRINTED_MAX: usize = 128;
