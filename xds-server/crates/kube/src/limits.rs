//! Every limit of this room, with its unit and its reason.

use std::time::Duration;

/// Events of watches that wait for their owner; a watch that is faster waits.
pub const EVENTS_MAX: usize = 1024;
/// Events that are taken in before the world is shown: a burst becomes few plans, and no plan waits long.
pub const EVENTS_AT_ONCE: usize = 512;
/// Secrets and ConfigMaps that are read at a time.
pub const READS_AT_ONCE: usize = 16;
/// Time for one request; watches are open-ended and have their own.
pub const REQUEST_TIME: Duration = Duration::from_secs(20);
/// How long a token waits until others were reviewed: honest ones need milliseconds each.
pub const REVIEW_WAIT: Duration = Duration::from_secs(10);
/// Between two looks whether a kind that the cluster does not have is there now.
pub const ABSENT_KIND_RETRY: Duration = Duration::from_secs(5);
/// The same once it was absent for [`ABSENT_KIND_OFTEN`] looks: who installs a definition later than that waits a little longer.
pub const ABSENT_KIND_LATER: Duration = Duration::from_secs(30);
/// Looks for an absent kind that follow each other soon, two minutes of them.
pub const ABSENT_KIND_OFTEN: u32 = 24;
/// The same for a kind that protects: what it protects is shown without it until it is found.
pub const ABSENT_PROTECTION_RETRY: Duration = Duration::from_secs(1);
/// How long a kind that was there has to be gone before that is believed: definitions of an API server that starts come late.
pub const ABSENT_KIND_BELIEVED: Duration = Duration::from_secs(60);
/// How often that has to be said in this time, without a failure in between: a cluster that was away said nothing.
pub const ABSENT_KIND_ANSWERS: u32 = 6;
/// The same for a kind that was never there since we started.
pub const ABSENT_KIND_AT_FIRST: Duration = Duration::from_secs(4);
/// And how often.
pub const ABSENT_KIND_ANSWERS_AT_FIRST: u32 = 2;
/// Between two tries after a failure that a retry may cure.
pub const FAILURE_RETRY: Duration = Duration::from_secs(2);
/// Failed reads of a value before a first world goes without it: with the pauses between them half a minute.
pub(crate) const TRIES_AWAITED: u32 = 4;
/// Before a watch whose connection broke goes on where it was.
pub const WATCH_RESUME: Duration = Duration::from_millis(500);
/// Between two tries to read what we may not read, and at most between two tries to read a value.
pub const FORBIDDEN_RETRY: Duration = Duration::from_secs(30);
/// How long who refers to a Secret is held back until it is read: it is milliseconds, unless the cluster does not answer.
pub const AWAIT_VALUES: Duration = Duration::from_secs(3);
/// How long a Secret or ConfigMap is kept that nobody refers to any more: Envoy may refuse the version that came last, which takes it 20 s
/// where a cluster fails late, and the former version is to go on whole.
pub const VALUES_STAY: Duration = Duration::from_secs(60);
/// Time without a word before the other side's kernel is asked whether it is there.
pub const KEEPALIVE: Duration = Duration::from_secs(15);
/// Between two such questions.
pub const KEEPALIVE_RETRY: Duration = Duration::from_secs(5);
/// Such questions without an answer before the connection is given up: a machine that went away is noticed after half a minute.
pub const KEEPALIVE_RETRIES: u32 = 3;
/// How long bytes of ours may stay without an acknowledgement.
pub const UNACKNOWLEDGED: Duration = Duration::from_secs(20);
/// Time without a word on any connection before it is given up, although its machine is there: a server that hangs must not make us
/// deaf for minutes. An API server has something to say on every watch each minute (a bookmark); where it has not, the watch goes on
/// where it was.
pub const SILENCE: Duration = Duration::from_secs(100);
/// How long the listeners of a Pod that goes away may stay: until no endpoint names it any more and every node has heard of it. Only then
/// the time begins that its connections have.
pub const LISTENERS_STAY: Duration = Duration::from_secs(8);
/// How long a Pod that goes away accepts connections at least where external traffic goes by nodes: load balancers find out by asking each
/// node, the slowest of the large clouds three times in 10 s.
pub const ACCEPT_LOCAL: Duration = Duration::from_secs(30);
/// The longest that a Pod may ask to accept connections: as long as its connections may take to end.
pub const ACCEPT_MAX: Duration = Duration::from_secs(600);
/// Time for Envoy to end after its connections did.
pub const ENVOY_ENDS: Duration = Duration::from_secs(15);
/// Gateways whose objects are put into the cluster at a time, and Pods whose gate is opened: a namespace whose admission webhook is slow
/// holds up few others, and a cluster with many Gateways is not flooded.
pub const APPLIES_AT_ONCE: usize = 8;
/// Events that wait to be written; what comes on top of them is dropped.
pub const EVENTS_WAITING: usize = 256;
/// How long a cause of which an object has told that it degrades it is no news: Pods of a rollout come and go with the same one.
pub const DEGRADED_AGAIN: Duration = Duration::from_secs(600);
/// Objects in one page of a list: 500 routes of a few KB are about 1 MB.
pub const PAGE: u32 = 500;
