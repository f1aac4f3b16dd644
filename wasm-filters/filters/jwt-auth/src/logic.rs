//! The filter: finds the policy of the route, verifies the token, and hands the claims on. Whatever is unknown, missing or
//! fails is answered with a refusal.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use windrose_filter_kit::policies::{Known, remembered_until};
use windrose_filter_kit::policy::{RoutePolicy, policy_of_route};
use windrose_filter_kit::{ConfigError, Denial, Filter, FilterContext, HeaderMap, Headers, Host, MetricId, RequestEdits, Verdict};

use crate::cache::{Cache, Verified};
use crate::config::Config;
use crate::place::{self, Found};
use crate::refusal::Refusal;
use crate::signature;
use crate::table::{Compiled, JwtRules, Table};
use crate::verify;

/// What the edits of this filter go by.
pub const NAME: &str = "jwt-auth";

/// The configured filter of one worker.
#[derive(Debug)]
pub struct JwtAuth {
    table: Table,
    /// Headers that only tables of before take off, and until when, on the monotonic clock: routes of before lead to services that trust them.
    pub(crate) also_stripped: BTreeMap<String, u64>,
    cache: RefCell<Cache>,
    counters: Counters,
}

/// One request.
#[derive(Debug)]
pub struct JwtRequest {
    filter: Rc<JwtAuth>,
}

/// Counters of Envoy's statistics; absent ones cost the statistics, not the request.
#[derive(Debug)]
struct Counters {
    allowed: Option<MetricId>,
    denied: Option<MetricId>,
    cached: Option<MetricId>,
}

impl Filter for JwtAuth {
    type Context = JwtRequest;

    fn configure(configuration: &[u8], host: &dyn Host) -> Result<Self, ConfigError> {
        signature::install();
        let config: Config = serde_json::from_slice(configuration).map_err(|error| ConfigError::new(error.to_string()))?;
        let counter = |name| host.define_counter(name).ok();
        let counters = Counters {
            allowed: counter("windrose.jwt.allowed"),
            denied: counter("windrose.jwt.denied"),
            cached: counter("windrose.jwt.cached"),
        };
        Ok(Self { table: config.compile()?, also_stripped: BTreeMap::new(), cache: RefCell::new(Cache::new()), counters })
    }

    fn succeed(&mut self, former: &Self, host: &dyn Host) {
        self.table.policies.succeed(&former.table.policies, host);
        let (now, until) = (host.monotonic_ns(), remembered_until(host));
        let still = former.also_stripped.iter().filter(|(_, until)| now < **until).map(|(name, until)| (name, *until));
        let all = still.chain(former.table.stripped.iter().map(|name| (name, until)));
        let besides = all.filter(|(name, _)| !self.table.stripped.contains(*name) && !self.table.token_headers.contains(*name));
        self.also_stripped = besides.map(|(name, until)| (name.clone(), until)).collect();
    }

    fn context(filter: &Rc<Self>) -> JwtRequest {
        JwtRequest { filter: Rc::clone(filter) }
    }
}

impl FilterContext for JwtRequest {
    fn on_request_headers(&mut self, host: &dyn Host, _end_of_stream: bool) -> Verdict {
        let headers = host.headers(HeaderMap::Request);
        match self.filter.decide(host, &headers) {
            Ok(()) => {
                count(host, self.filter.counters.allowed);
                Verdict::Continue
            }
            Err(denial) => {
                count(host, self.filter.counters.denied);
                Verdict::Reply(denial.into_reply(headers.caller()))
            }
        }
    }
}

impl JwtAuth {
    fn decide(&self, host: &dyn Host, headers: &Headers) -> Result<(), Denial> {
        // Without them nothing is known to be stripped.
        if headers.is_empty() {
            return Err(Refusal::HostFailed.denial(&[]));
        }
        let mut edits = RequestEdits::default();
        self.strip(host, headers, &mut edits);
        let judged = self.judge(host, headers, &mut edits);
        edits.hand_over(NAME, host).map_err(|_| Refusal::HostFailed.denial(&[]))?;
        judged
    }

    fn judge(&self, host: &dyn Host, headers: &Headers, edits: &mut RequestEdits) -> Result<(), Denial> {
        let route = policy_of_route(host);
        let policy = match &route {
            RoutePolicy::Named(id) => self.table.policies.get(id, host),
            RoutePolicy::Unnamed | RoutePolicy::NoRoute => None,
        };
        let known = policy.ok_or_else(|| route.denial())?;
        match &**known.policy() {
            Compiled::Public => Ok(()),
            Compiled::Jwt(rules) if rules.allow_cors_preflight && is_preflight(headers) => Ok(()),
            Compiled::Jwt(rules) => {
                let cache = match known {
                    Known::Now(_) => Some(&self.cache),
                    // Its headers are perhaps not among those of this table, and its number is another policy's.
                    Known::Before(_) => {
                        rules.claims_to_headers.iter().for_each(|claim| edits.remove(&claim.header));
                        None
                    }
                };
                self.authenticate((rules, cache), host, headers, edits).map_err(|refusal| refusal.denial(&rules.require.scopes))
            }
        }
    }

    /// Removes what the client sent under a name that some policy sets from claims, before anything else is decided.
    fn strip(&self, host: &dyn Host, headers: &Headers, edits: &mut RequestEdits) {
        let is_there = |name: &&String| headers.first(name).is_some();
        self.table.stripped.iter().filter(is_there).for_each(|name| edits.remove(name));
        let of_before = self.also_stripped.iter().filter(|(name, until)| is_there(name) && host.monotonic_ns() < **until);
        of_before.for_each(|(name, _)| edits.remove(name));
    }

    fn authenticate(
        &self,
        (rules, cache): (&JwtRules, Option<&RefCell<Cache>>),
        host: &dyn Host,
        headers: &Headers,
        edits: &mut RequestEdits,
    ) -> Result<(), Refusal> {
        let found = place::find(headers, &rules.locations)?;
        let verified = self.verified((rules, cache), found, host)?;
        if !rules.issuers.get(verified.issuer).is_some_and(|issuer| issuer.forward) {
            place::remove(edits, headers, found.location);
        }
        for (name, value) in &verified.headers {
            edits.set(name, value.as_bytes());
        }
        for (name, value) in &verified.properties {
            host.set_property(name, value.as_bytes()).map_err(|_| Refusal::HostFailed)?;
        }
        Ok(())
    }

    fn verified(
        &self,
        (rules, cache): (&JwtRules, Option<&RefCell<Cache>>),
        found: Found<'_>,
        host: &dyn Host,
    ) -> Result<Rc<Verified>, Refusal> {
        let now_seconds = host.now_ns() / 1_000_000_000;
        let Some(cache) = cache else { return verify::verify(rules, found, host, now_seconds).map(Rc::new) };
        let known = cache.borrow().find(rules.number, found.token);
        if let Some(known) = known.filter(|known| is_taken_from(rules, known, found)) {
            known.lifetime.check(now_seconds).inspect_err(|_| cache.borrow_mut().forget(rules.number, found.token))?;
            count(host, self.counters.cached);
            return Ok(known);
        }
        let verified = Rc::new(verify::verify(rules, found, host, now_seconds)?);
        cache.borrow_mut().keep(rules.number, found.token, Rc::clone(&verified));
        Ok(verified)
    }
}

/// The one thing about a cached token that differs from request to request beside the time.
fn is_taken_from(rules: &JwtRules, known: &Verified, found: Found<'_>) -> bool {
    rules.issuers.get(known.issuer).is_some_and(|issuer| issuer.from.contains(found.location))
}

/// A CORS preflight as the Fetch standard defines it.
fn is_preflight(headers: &Headers) -> bool {
    headers.first(":method") == Some(b"OPTIONS")
        && headers.first("origin").is_some()
        && headers.first("access-control-request-method").is_some()
}

fn count(host: &dyn Host, counter: Option<MetricId>) {
    if let Some(counter) = counter {
        host.increment(counter, 1);
    }
}
