//! One request: find its policy, see that all its limits have room, take from all of them or answer 429.

use std::rc::Rc;

use windrose_filter_kit::policies::Policies;
use windrose_filter_kit::{ConfigError, Denial, Filter, FilterContext, HeaderMap, Host, HostError, LogLevel, MetricId, Verdict, policy};

use crate::config::{Config, Limit, Quota};
use crate::gcra::Outcome;
use crate::key::{self, Key, Request};
use crate::secret::Secret;
use crate::table;

/// Member of the route's metadata that names the entry of this filter's table.
pub const METADATA_KEY: &str = "ratelimit";
const NS_PER_SECOND: u64 = 1_000_000_000;

/// The configured filter.
#[derive(Debug)]
pub struct RateLimit {
    policies: Policies<Vec<Limit>>,
    secret: Secret,
    refused: Option<MetricId>,
    shadowed: Option<MetricId>,
}

/// One stream: what to tell the client with its answer.
#[derive(Debug)]
pub struct Stream {
    filter: Rc<RateLimit>,
    tell: Option<Told>,
}

/// `RateLimit-Policy` and `RateLimit`, for the client.
type Told = (String, String);
/// The limit that has no room, and the nanoseconds until it has.
type Refusal<'s, 'a> = (&'s Share<'a>, Option<u64>);

/// One limit of a request, with the quota of its plan and its key.
struct Share<'a> {
    limit: &'a Limit,
    quota: Quota,
    key: Key,
}

impl Filter for RateLimit {
    type Context = Stream;

    fn configure(configuration: &[u8], host: &dyn Host) -> Result<Self, ConfigError> {
        let config = Config::parse(configuration)?;
        let secret = Secret::of_process(host, Secret::draw()).map_err(|cause| ConfigError::new(format!("shared data: {cause}")))?;
        let counter = |name: &str| host.define_counter(name).ok();
        let policies = config.policies.into_iter().map(|(id, limits)| (id, Rc::new(limits))).collect();
        let policies = Policies::new(policies, config.closed);
        Ok(Self { policies, secret, refused: counter("windrose_rate_limit_refused"), shadowed: counter("windrose_rate_limit_shadowed") })
    }

    fn succeed(&mut self, former: &Self, host: &dyn Host) {
        self.policies.succeed(&former.policies, host);
    }

    fn context(filter: &Rc<Self>) -> Stream {
        Stream { filter: Rc::clone(filter), tell: None }
    }
}

impl FilterContext for Stream {
    fn on_request_headers(&mut self, host: &dyn Host, _end_of_stream: bool) -> Verdict {
        let path = ["xds", "route_metadata", "filter_metadata", policy::METADATA_NAMESPACE, METADATA_KEY];
        let id = match host.property(&path) {
            Ok(None) => return Verdict::Continue,
            Ok(Some(id)) => id,
            Err(cause) => return unread(host, cause),
        };
        let filter = Rc::clone(&self.filter);
        let named = std::str::from_utf8(&id).ok().and_then(|id| filter.policies.get(id, host));
        let Some(limits) = named.map(|known| known.policy()) else {
            return deny(host, Denial::new(503, "rate_limit_unknown", "the rate limit of this route is not in force, so it is closed"));
        };
        let request = Request::new(host);
        let shares: Vec<Share<'_>> = match limits.iter().map(|limit| share(&request, filter.secret, limit)).collect() {
            Ok(shares) => shares,
            Err(cause) => return unread(host, cause),
        };
        match spend(host, &shares) {
            Ok(tell) => self.tell = tell,
            Err((share, retry_after)) => return self.refuse(host, share, retry_after),
        }
        self.count_shadows(host, &shares);
        Verdict::Continue
    }

    fn on_response_headers(&mut self, host: &dyn Host, _end_of_stream: bool) -> Verdict {
        if let Some((policy, state)) = self.tell.take() {
            // An answer without these headers is still the right answer.
            let _ = host.set_header(HeaderMap::Response, "ratelimit-policy", policy.as_bytes());
            let _ = host.set_header(HeaderMap::Response, "ratelimit", state.as_bytes());
        }
        Verdict::Continue
    }
}

impl Stream {
    fn refuse(&self, host: &dyn Host, share: &Share<'_>, retry_after: Option<u64>) -> Verdict {
        if let Some(counter) = self.filter.refused {
            host.increment(counter, 1);
        }
        let seconds = retry_after.map(|ns| ns.div_ceil(NS_PER_SECOND).max(1));
        let mut denial = Denial::new(429, "rate_limited", "too many requests");
        if let Some(seconds) = seconds {
            denial = denial.with_header("retry-after", seconds.to_string());
        }
        if share.limit.headers {
            let (policy, state) = describe(share, 0, seconds.unwrap_or(share.quota.window_ms.div_ceil(1000)));
            denial = denial.with_header("ratelimit-policy", policy).with_header("ratelimit", state);
        }
        deny(host, denial)
    }

    fn count_shadows(&self, host: &dyn Host, shares: &[Share<'_>]) {
        let now = host.monotonic_ns();
        for share in shares.iter().filter(|share| share.limit.shadow) {
            if let Outcome::Refused { .. } = table::take(host, share.key, &share.quota, now) {
                host.log(LogLevel::Info, &format!("rate limit {} would refuse (shadow)", share.limit.name));
                self.filter.shadowed.iter().for_each(|counter| host.increment(*counter, 1));
            }
        }
    }
}

fn share<'a>(request: &Request<'_>, secret: Secret, limit: &'a Limit) -> Result<Share<'a>, HostError> {
    let named = match &limit.plans {
        Some(plans) => {
            let plan = policy::verified_claim(request.host, &plans.claim)?.and_then(|plan| String::from_utf8(plan).ok());
            plan.and_then(|plan| plans.quotas.get(&plan).map(|quota| (plan, *quota)))
        }
        None => None,
    };
    let (plan, quota) = named.map_or((None, limit.default), |(plan, quota)| (Some(plan), quota));
    Ok(Share { limit, quota, key: key::key(request, secret, limit, plan.as_deref())? })
}

/// Takes one request from every enforced limit, or from none: a request that one limit refuses costs the others nothing.
/// What is told to the client is of the limit with the least room.
fn spend<'s, 'a>(host: &dyn Host, shares: &'s [Share<'a>]) -> Result<Option<Told>, Refusal<'s, 'a>> {
    let now = host.monotonic_ns();
    let enforced = || shares.iter().filter(|share| !share.limit.shadow);
    for share in enforced().filter(|_| enforced().nth(1).is_some()) {
        if let Outcome::Refused { retry_after } = table::peek(host, share.key, &share.quota, now) {
            return Err((share, retry_after));
        }
    }
    let mut tightest: Option<(u64, Told)> = None;
    for (taken, share) in enforced().enumerate() {
        match table::take(host, share.key, &share.quota, now) {
            Outcome::Refused { retry_after } => {
                enforced().take(taken).for_each(|earlier| table::give_back(host, earlier.key, &earlier.quota, now));
                return Err((share, retry_after));
            }
            Outcome::Admitted { remaining, reset, .. } => {
                if share.limit.headers && tightest.as_ref().is_none_or(|(least, _)| remaining < *least) {
                    tightest = Some((remaining, describe(share, remaining, reset.div_ceil(NS_PER_SECOND))));
                }
            }
        }
    }
    Ok(tightest.map(|(_, tell)| tell))
}

/// `RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers has them: quota, window, remaining, seconds to reset.
fn describe(share: &Share<'_>, remaining: u64, seconds: u64) -> Told {
    let (name, quota) = (&share.limit.name, &share.quota);
    let policy = format!("\"{name}\";q={};w={}", quota.requests, quota.window_ms.div_ceil(1000));
    (policy, format!("\"{name}\";r={remaining};t={seconds}"))
}

/// What the host fails to say could have been a limit, or the key of one.
fn unread(host: &dyn Host, cause: HostError) -> Verdict {
    host.log(LogLevel::Warn, &format!("rate limit: the request cannot be read: {cause}"));
    deny(host, Denial::new(503, "rate_limit_unread", "the rate limit of this request cannot be told, so it is closed"))
}

fn deny(host: &dyn Host, denial: Denial) -> Verdict {
    Verdict::Reply(denial.into_reply(host.headers(HeaderMap::Request).caller()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use windrose_filter_kit::LocalReply;
    use windrose_filter_kit::fake::{FakeHost, FakeStream};

    const CONFIG: &str = r#"{"policies":{
        "plain":[{"name":"all","default":{"requests":3,"window_ms":3000,"burst":3},"headers":true}],
        "plans":[{"name":"user","key":[{"claim":"sub"}],"default":{"requests":1,"window_ms":60000,"burst":1},
                  "plans":{"claim":"plan","quotas":{"gold":{"requests":100,"window_ms":60000,"burst":100}}}}],
        "two":[{"name":"wide","default":{"requests":10,"window_ms":60000,"burst":10}},
               {"name":"narrow","key":[{"header":"x-k"}],"default":{"requests":1,"window_ms":60000,"burst":1}}],
        "wide":[{"name":"wide","default":{"requests":10,"window_ms":60000,"burst":10}}],
        "shadow":[{"name":"s","default":{"requests":1,"window_ms":60000,"burst":1},"shadow":true}],
        "none":[{"name":"n","default":{"requests":0,"window_ms":1000,"burst":0}}]}}"#;

    fn filter(host: &FakeHost) -> Rc<RateLimit> {
        Rc::new(RateLimit::configure(CONFIG.as_bytes(), host).unwrap())
    }

    /// One request on a route that names `id`; the reply, if there was one.
    fn request(host: &FakeHost, filter: &Rc<RateLimit>, id: &str, claims: &[(&str, &str)], headers: &[(&str, &str)]) -> Option<LocalReply> {
        host.next_stream();
        host.push_header(HeaderMap::Request, ":path", "/");
        host.put_property(&["xds", "route_metadata", "filter_metadata", "windrose", METADATA_KEY], id);
        claims.iter().for_each(|(name, value)| host.set_property(&policy::claim_property(name), value.as_bytes()).unwrap());
        headers.iter().for_each(|(name, value)| host.push_header(HeaderMap::Request, name, value));
        let mut stream = FakeStream::new(filter);
        stream.run(|context| context.on_request_headers(host, true));
        stream.run(|context| context.on_response_headers(host, true));
        stream.reply().cloned()
    }

    fn header(reply: &LocalReply, name: &str) -> String {
        let found = reply.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        String::from_utf8(found.unwrap_or_default()).unwrap()
    }

    #[test]
    fn over_the_limit_is_429_with_what_a_client_needs_to_know() {
        let host = FakeHost::new();
        let filter = filter(&host);
        for remaining in [2, 1, 0] {
            assert_eq!(request(&host, &filter, "plain", &[], &[]), None);
            let told = host.headers(HeaderMap::Response);
            assert!(told.text("ratelimit").unwrap().starts_with(&format!("\"all\";r={remaining};")));
        }
        let reply = request(&host, &filter, "plain", &[], &[]).unwrap();
        assert_eq!((reply.status, reply.grpc_status), (429, Some(8)));
        assert_eq!(header(&reply, "retry-after"), "1");
        assert_eq!(header(&reply, "ratelimit-policy"), "\"all\";q=3;w=3");
        assert_eq!(host.counter("windrose_rate_limit_refused"), 1);
        host.advance(Duration::from_secs(1));
        assert_eq!(request(&host, &filter, "plain", &[], &[]), None);
    }

    #[test]
    fn plans_give_quotas_and_users_have_buckets_of_their_own() {
        let host = FakeHost::new();
        let filter = filter(&host);
        let bronze = [("sub", "ann"), ("plan", "bronze")];
        assert_eq!(request(&host, &filter, "plans", &bronze, &[]), None);
        assert!(request(&host, &filter, "plans", &bronze, &[]).is_some());
        assert_eq!(request(&host, &filter, "plans", &[("sub", "bob"), ("plan", "bronze")], &[]), None);
        for _ in 0..50 {
            assert_eq!(request(&host, &filter, "plans", &[("sub", "ann"), ("plan", "gold")], &[]), None);
        }
        assert_eq!(request(&host, &filter, "plans", &[], &[]), None, "no claim at all is a bucket of its own");
        assert!(request(&host, &filter, "plans", &[], &[]).is_some(), "and not an unlimited request");
    }

    #[test]
    fn a_claim_that_a_client_sends_as_a_header_is_no_claim() {
        let host = FakeHost::new();
        let filter = filter(&host);
        let spoofed = [("windrose.claim.plan", "gold"), ("plan", "gold"), ("x-plan", "gold")];
        assert_eq!(request(&host, &filter, "plans", &[("sub", "ann")], &spoofed), None);
        assert!(request(&host, &filter, "plans", &[("sub", "ann")], &spoofed).is_some());
    }

    #[test]
    fn a_request_that_one_limit_refuses_costs_the_others_nothing() {
        let host = FakeHost::new();
        let filter = filter(&host);
        assert_eq!(request(&host, &filter, "two", &[], &[("x-k", "a")]), None);
        for _ in 0..20 {
            assert!(request(&host, &filter, "two", &[], &[("x-k", "a")]).is_some());
        }
        for other in 0..9 {
            assert_eq!(request(&host, &filter, "two", &[], &[("x-k", &other.to_string())]), None);
        }
        assert!(request(&host, &filter, "two", &[], &[("x-k", "z")]).is_some(), "the wide limit is used up now");
    }

    #[test]
    fn a_limit_counts_over_all_routes_that_it_is_part_of() {
        let host = FakeHost::new();
        let filter = filter(&host);
        for own in 0..5 {
            assert_eq!(request(&host, &filter, "two", &[], &[("x-k", &own.to_string())]), None);
            assert_eq!(request(&host, &filter, "wide", &[], &[]), None);
        }
        assert!(request(&host, &filter, "wide", &[], &[]).is_some());
        assert!(request(&host, &filter, "two", &[], &[("x-k", "new")]).is_some());
    }

    #[test]
    fn a_shadow_limit_counts_and_refuses_nobody() {
        let host = FakeHost::new();
        let filter = filter(&host);
        for _ in 0..3 {
            assert_eq!(request(&host, &filter, "shadow", &[], &[]), None);
        }
        assert_eq!(host.counter("windrose_rate_limit_shadowed"), 2);
    }

    #[test]
    fn zero_refuses_all_and_an_unknown_policy_is_closed() {
        let host = FakeHost::new();
        let filter = filter(&host);
        assert_eq!(request(&host, &filter, "none", &[], &[]).unwrap().status, 429);
        assert_eq!(request(&host, &filter, "gone", &[], &[]).unwrap().status, 503);
    }

    #[test]
    fn a_repeated_header_is_no_fresh_key() {
        let host = FakeHost::new();
        let filter = filter(&host);
        assert_eq!(request(&host, &filter, "two", &[], &[("x-k", "real")]), None);
        let repeated = |random: &str| request(&host, &filter, "two", &[], &[("x-k", random), ("x-k", "real")]);
        assert_eq!(repeated("1"), None, "the one bucket of all that repeat the header");
        for random in ["2", "3", "real"] {
            assert_eq!(repeated(random).unwrap().status, 429, "{random}");
        }
    }

    #[test]
    fn only_a_limit_that_is_certainly_absent_lets_a_request_by() {
        let host = FakeHost::new();
        let filter = filter(&host);
        let path = ["xds", "route_metadata", "filter_metadata", "windrose", METADATA_KEY];
        let run = |prepare: &dyn Fn()| {
            host.next_stream();
            prepare();
            let mut stream = FakeStream::new(&filter);
            stream.run(|context| context.on_request_headers(&host, true));
            stream.reply().map(|reply| (reply.status, reply.details))
        };
        assert_eq!(run(&|| {}), None);
        for error in [HostError::BadArgument, HostError::CasMismatch, HostError::Other(6)] {
            assert_eq!(run(&|| host.fail_property(&path, error)), Some((503, "rate_limit_unread")), "{error}");
        }
        let claim = policy::claim_property("plan");
        let named = || {
            host.put_property(&path, "plans");
            host.fail_property(&[&claim], HostError::Other(6));
        };
        assert_eq!(run(&named), Some((503, "rate_limit_unread")), "a plan that cannot be read is not the default plan");
    }

    #[test]
    fn counts_survive_a_new_configuration_and_a_step_of_the_wall_clock() {
        let host = FakeHost::new();
        let before = filter(&host);
        for _ in 0..3 {
            request(&host, &before, "plain", &[], &[]);
        }
        host.set_now_ns(host.now_ns() + 3_600 * NS_PER_SECOND);
        assert!(request(&host, &filter(&host), "plain", &[], &[]).is_some());
    }
}
