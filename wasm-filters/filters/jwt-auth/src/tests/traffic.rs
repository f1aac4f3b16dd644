//! What happens to the request around the token: which policy applies, what is stripped, forwarded, cached and answered.

use std::time::Duration;

use windrose_filter_kit::policy::verified_claim;
use windrose_filter_kit::{HeaderMap, Host};

use super::*;
use crate::config::{ClaimPath, ClaimRule, ClaimToHeader, Location, Requirement};

fn with_claims_handed_on() -> JwtPolicy {
    let to_header = |path: &[&str], header: &str| ClaimToHeader {
        claim: ClaimPath(path.iter().map(|segment| (*segment).to_owned()).collect()),
        header: header.to_owned(),
    };
    JwtPolicy {
        claims_to_headers: vec![
            to_header(&["tier"], "x-tier"),
            to_header(&["realm_access", "roles"], "x-roles"),
            to_header(&["none"], "x-none"),
        ],
        claims_to_properties: vec![ClaimPath::top("sub"), ClaimPath::top("tier")],
        ..policy()
    }
}

#[test]
fn claims_travel_to_the_upstream_and_to_later_filters() {
    let host = bearing(vector("RS256"));
    assert_eq!(refusal(&filter(with_claims_handed_on()), &host), None);
    assert_eq!(host.request_header("x-tier"), [b"gold".to_vec()]);
    assert_eq!(host.request_header("x-roles"), [br#"["admin","dev"]"#.to_vec()]);
    assert!(host.request_header("x-none").is_empty());
    assert_eq!(verified_claim(&host, "sub"), Ok(Some(b"alice".to_vec())));
    assert_eq!(verified_claim(&host, "tier"), Ok(Some(b"gold".to_vec())));
    assert_eq!(verified_claim(&host, "scope"), Ok(None));
}

#[test]
fn what_a_client_sends_under_a_claim_s_header_is_stripped_on_every_path() {
    let mut policy = with_claims_handed_on();
    policy.allow_cors_preflight = true;
    let filter = filter(policy);
    let spoofed = |host: FakeHost| {
        let host =
            host.with_header("x-tier", "platinum").with_header("x-tier", "gold").with_header("x-none", "1").with_header("x-other", "kept");
        let refused = refusal(&filter, &host);
        let (tier, none, other) = (host.request_header("x-tier"), host.request_header("x-none"), host.request_header("x-other"));
        assert_eq!((none.len(), other.len()), (0, 1));
        (refused.map(|(status, _)| status), tier)
    };
    assert_eq!(spoofed(bearing(vector("RS256"))), (None, vec![b"gold".to_vec()]));
    assert_eq!(spoofed(FakeHost::new().with_policy("open")), (None, vec![]), "public");
    assert_eq!(spoofed(preflight("p")), (None, vec![]), "preflight");
    assert_eq!(spoofed(FakeHost::new().with_policy("p")), (Some(401), vec![]), "refused");
    assert_eq!(spoofed(FakeHost::new().with_policy("unknown")), (Some(403), vec![]), "unknown policy");
}

#[test]
fn a_header_that_an_absent_policy_would_set_is_stripped_on_every_route() {
    let policies = BTreeMap::from([("open".to_owned(), Policy::Public {}), ("p".to_owned(), Policy::Jwt(policy()))]);
    let filter = configured_as(&Config { policies, taken_off: BTreeSet::from(["x-user".to_owned()]), ..Config::default() });
    let spoofed = |host: FakeHost| {
        let host = host.with_header(":method", "GET").with_header("x-user", "admin").with_header("x-other", "kept");
        let refused = refusal(&filter, &host).map(|(status, _)| status);
        (refused, host.request_header("x-user").len(), host.request_header("x-other").len())
    };
    assert_eq!(spoofed(FakeHost::new().with_policy("open")), (None, 0, 1));
    assert_eq!(spoofed(bearing(vector("RS256"))), (None, 0, 1));
    assert_eq!(spoofed(FakeHost::new().with_policy("gone")), (Some(403), 0, 1));
}

fn preflight(policy: &str) -> FakeHost {
    let host = FakeHost::new().with_policy(policy).with_header(":method", "OPTIONS");
    host.with_header("origin", "https://app.example").with_header("access-control-request-method", "POST")
}

#[test]
fn a_preflight_needs_a_token_unless_the_policy_says_otherwise() {
    assert_eq!(refusal(&filter(policy()), &preflight("p")), Some((401, "token_missing")));
    let lenient = filter(JwtPolicy { allow_cors_preflight: true, ..policy() });
    assert_eq!(refusal(&lenient, &preflight("p")), None);
    let only_options = FakeHost::new().with_policy("p").with_header(":method", "OPTIONS").with_header("origin", "x");
    assert_eq!(refusal(&lenient, &only_options), Some((401, "token_missing")));
}

fn with_headers() -> FakeHost {
    FakeHost::new().with_header(":method", "GET")
}

#[test]
fn everything_that_is_not_explicitly_public_is_denied() {
    let filter = filter(policy());
    assert_eq!(refusal(&filter, &with_headers().with_policy("open")), None);
    assert_eq!(refusal(&filter, &with_headers().with_policy("p")), Some((401, "token_missing")));
    assert_eq!(refusal(&filter, &with_headers().with_policy("OPEN")), Some((403, "policy_unknown")));
    assert_eq!(refusal(&filter, &with_headers().with_policy("")), Some((403, "policy_unknown")));
    assert_eq!(refusal(&filter, &with_headers().with_route("r")), Some((403, "policy_unknown")));
    assert_eq!(refusal(&filter, &with_headers()), Some((404, "no_route")));
    let good_but_elsewhere = bearing(vector("RS256")).with_policy("unknown");
    assert_eq!(refusal(&filter, &good_but_elsewhere), Some((403, "policy_unknown")));
    assert!(refusal(&filter, &FakeHost::new().with_policy("open")).is_some(), "nobody knows what it sent under a claim's header");
}

#[test]
fn a_verified_token_without_the_claim_or_scope_is_forbidden_with_a_challenge() {
    let mut policy = policy();
    policy.require.scopes = vec!["orders:admin".into()];
    let host = bearing(vector("RS256"));
    let mut stream = FakeStream::new(&filter(policy.clone()));
    stream.run(|request| request.on_request_headers(&host, true));
    let reply = stream.reply().unwrap();
    assert_eq!((reply.status, reply.details), (403, "scope_missing"));
    let challenge = b"Bearer realm=\"windrose\", error=\"insufficient_scope\", scope=\"orders:admin\"".to_vec();
    assert!(reply.headers.contains(&("www-authenticate".into(), challenge)));
    policy.require =
        Requirement { claims: vec![ClaimRule { claim: ClaimPath::top("tier"), any_of: vec![json!("bronze")] }], scopes: vec![] };
    assert_eq!(refusal(&filter(policy.clone()), &bearing(vector("RS256"))), Some((403, "claim_missing")));
    policy.any_of = vec![Requirement { scopes: vec!["orders:read".into()], ..Requirement::default() }];
    assert_eq!(refusal(&filter(policy), &bearing(vector("bronze"))), None);
}

#[test]
fn a_401_challenges_and_says_nothing_that_was_sent() {
    let reply_to = |host: FakeHost| {
        let mut stream = FakeStream::new(&filter(policy()));
        stream.run(|request| request.on_request_headers(&host, true));
        stream.reply().unwrap().clone()
    };
    let missing = reply_to(with_headers().with_policy("p"));
    assert_eq!(missing.headers[0], ("www-authenticate".into(), b"Bearer realm=\"windrose\"".to_vec()));
    assert_eq!(missing.body, br#"{"error":{"code":"token_missing","message":"a bearer token is required"}}"#);
    let bad = reply_to(bearing("canary.canary.canary"));
    assert!(!String::from_utf8(bad.body).unwrap().contains("canary"));
    let grpc = reply_to(with_headers().with_policy("p").with_header("content-type", "application/grpc"));
    assert_eq!((grpc.grpc_status, grpc.body.as_slice()), (Some(16), b"a bearer token is required".as_slice()));
}

#[test]
fn the_upstream_sees_the_token_only_if_the_provider_says_so() {
    let host = bearing(vector("RS256"));
    assert_eq!(refusal(&filter(policy()), &host), None);
    assert!(host.request_header("authorization").is_empty());
    let mut forwarding = policy();
    forwarding.providers[0].forward = true;
    let host = bearing(vector("RS256"));
    assert_eq!(refusal(&filter(forwarding), &host), None);
    assert_eq!(host.request_header("authorization").len(), 1);
}

#[test]
fn a_token_is_taken_only_from_the_places_of_its_issuer() {
    let mut policy = policy();
    policy.providers[0].from = vec![Location::Query { name: "token".into() }];
    policy.providers.push(Provider { name: "other".into(), issuer: "https://other.example".into(), ..provider() });
    let filter = filter(policy);
    let in_query = |token: &str| FakeHost::new().with_policy("p").with_header(":path", format!("/a?token={token}&b=1"));
    let host = in_query(&vector("RS256"));
    assert_eq!(refusal(&filter, &host), None);
    assert_eq!(host.request_header(":path"), [b"/a?b=1".to_vec()]);
    assert_eq!(refusal(&filter, &bearing(vector("RS256"))), Some((401, "token_location_refused")), "cached or not");
    let both = in_query(&vector("RS256")).with_header("authorization", format!("Bearer {}", vector("RS256")));
    assert_eq!(refusal(&filter, &both), Some((401, "token_ambiguous")));
}

#[test]
fn two_authorization_headers_are_refused() {
    let host = bearing(vector("RS256")).with_header("authorization", format!("Bearer {}", vector("ES256")));
    assert_eq!(refusal(&filter(policy()), &host), Some((401, "token_ambiguous")));
}

#[test]
fn a_claim_with_line_breaks_never_becomes_a_header() {
    let token = sign(&claims_with(json!({"tier": "gold\r\nx-admin: 1"})));
    let host = bearing(token);
    assert_eq!(refusal(&filter(with_claims_handed_on()), &host), Some((403, "claim_not_forwardable")));
    assert!(host.request_header("x-tier").is_empty());
}

#[test]
fn a_claim_that_a_reader_would_trim_never_becomes_a_header() {
    for odd in [" gold", "gold ", "\u{a0}gold", " ", ""] {
        let host = bearing(sign(&claims_with(json!({"tier": odd}))));
        assert_eq!(refusal(&filter(with_claims_handed_on()), &host), Some((403, "claim_not_forwardable")), "{odd:?}");
        assert!(host.request_header("x-tier").is_empty());
    }
}

#[test]
fn a_forwarded_token_is_the_only_one_that_any_reader_finds() {
    let mut policy = policy();
    policy.providers[0].forward = true;
    policy.providers[0].from = vec![Location::bearer(), Location::Query { name: "access_token".into() }];
    let filter = filter(policy);
    let good = vector("RS256");
    let host = |path: String, authorization: &[String]| {
        let host = FakeHost::new().with_policy("p").with_header(":path", path);
        authorization.iter().fold(host, |host, value| host.with_header("authorization", value))
    };
    assert_eq!(refusal(&filter, &host(format!("/?access%5Ftoken={good}"), &[])), None, "the control");
    for (path, authorization) in [
        (format!("/?access_token={good}&access%5Ftoken=EVIL"), vec![]),
        (format!("/?access%5ftoken=EVIL&access_token={good}"), vec![]),
        (format!("/?a;access_token=EVIL&access_token={good}"), vec![]),
        ("/".to_owned(), vec![format!("Bearer {good}"), "Bearer\tEVIL".to_owned()]),
        ("/".to_owned(), vec!["Basic EVIL".to_owned(), format!("Bearer {good}")]),
        (format!("/?access_token={good}"), vec!["Bearer\tEVIL".to_owned()]),
    ] {
        assert_eq!(refusal(&filter, &host(path.clone(), &authorization)), Some((401, "token_ambiguous")), "{path} {authorization:?}");
    }
}

#[test]
fn a_cached_token_is_verified_once_and_never_past_its_end() {
    let filter = filter(with_claims_handed_on());
    let host = bearing(sign(&claims_with(json!({"tier": "gold", "exp": NOW + 100}))));
    let token_header = host.request_header("authorization").remove(0);
    let again = |host: &FakeHost| {
        host.next_stream();
        host.put_property(&["xds", "route_metadata", "filter_metadata", "windrose", "policy"], "p");
        host.push_header(HeaderMap::Request, "authorization", &token_header);
    };
    assert_eq!(refusal(&filter, &host), None);
    again(&host);
    assert_eq!(refusal(&filter, &host), None);
    assert_eq!(host.request_header("x-tier"), [b"gold".to_vec()], "from the cache too");
    assert_eq!(verified_claim(&host, "tier"), Ok(Some(b"gold".to_vec())));
    host.advance(Duration::from_secs(159));
    again(&host);
    assert_eq!(refusal(&filter, &host), None);
    host.advance(Duration::from_secs(1));
    again(&host);
    assert_eq!(refusal(&filter, &host), Some((401, "token_expired")));
}

#[test]
fn a_cached_token_costs_no_second_verification_and_one_changed_byte_does() {
    let filter = filter(policy());
    let first = bearing(vector("RS256")).with_foreign("verify_signature", |_| Ok(vec![8, 1]));
    assert_eq!((refusal(&filter, &first), first.foreign_calls().len()), (None, 1));
    let second = bearing(vector("RS256")).with_foreign("verify_signature", |_| Ok(vec![]));
    assert_eq!((refusal(&filter, &second), second.foreign_calls().len()), (None, 0));
    let forged = format!("{}.{}", vector("ES256").rsplit_once('.').unwrap().0, vector("RS256").rsplit_once('.').unwrap().1);
    assert!(refusal(&filter, &bearing(forged)).is_some(), "same signature, other claims");
    let rotated = super::filter(policy());
    let third = bearing(vector("RS256")).with_foreign("verify_signature", |_| Ok(vec![]));
    assert_eq!(refusal(&rotated, &third), Some((401, "token_signature_invalid")), "a new configuration starts empty");
}

#[test]
fn a_cached_token_is_good_only_for_the_policy_that_verified_it() {
    let mut strict = policy();
    strict.require.scopes = vec!["orders:admin".into()];
    let filter = configured(&[("p", Policy::Jwt(policy())), ("strict", Policy::Jwt(strict))]);
    assert_eq!(refusal(&filter, &bearing(vector("RS256"))), None);
    assert_eq!(refusal(&filter, &bearing(vector("RS256")).with_policy("strict")), Some((403, "scope_missing")));
}

#[test]
fn a_clock_that_steps_back_does_not_revive_a_token_before_its_time() {
    let filter = filter(policy());
    let token = sign(&claims_with(json!({"nbf": NOW})));
    assert_eq!(refusal(&filter, &bearing(&token)), None);
    let earlier = bearing(&token);
    earlier.set_now_ns(earlier.now_ns() - 61_000_000_000);
    assert_eq!(refusal(&filter, &earlier), Some((401, "token_not_yet_valid")));
}

#[test]
fn requests_are_counted() {
    let host = bearing(vector("RS256"));
    let policies = BTreeMap::from([("p".to_owned(), Policy::Jwt(policy()))]);
    let text = serde_json::to_vec(&Config { policies, ..Config::default() }).unwrap();
    let filter = Rc::new(JwtAuth::configure(&text, &host).unwrap());
    assert_eq!(refusal(&filter, &host), None);
    host.next_stream();
    assert!(refusal(&filter, &host).is_some());
    assert_eq!((host.counter("windrose.jwt.allowed"), host.counter("windrose.jwt.denied")), (1, 1));
}

#[test]
fn a_policy_that_an_edit_takes_away_judges_for_a_while_and_one_that_is_closed_does_not() {
    let host = FakeHost::new();
    let setting =
        JwtPolicy { claims_to_headers: vec![ClaimToHeader { claim: ClaimPath::top("tier"), header: "x-tier".into() }], ..policy() };
    let former = filter(setting);
    let after = |config: Config| {
        let mut next = JwtAuth::configure(&serde_json::to_vec(&config).unwrap(), &host).unwrap();
        next.succeed(&former, &host);
        Rc::new(next)
    };
    let open = || BTreeMap::from([("open".to_owned(), Policy::Public {})]);
    let gone = after(Config { policies: open(), ..Config::default() });
    let token = || bearing(sign(&good_claims())).with_header("x-tier", "forged");
    let request = token();
    assert_eq!(refusal(&gone, &request), None);
    assert_eq!(request.request_header("x-tier"), Vec::<Vec<u8>>::new(), "its headers are taken off");
    assert_eq!(refusal(&gone, &bearing("no token")).map(|(status, _)| status), Some(401), "it still judges");
    let later = token();
    later.advance(std::time::Duration::from_secs(60));
    assert_eq!(refusal(&gone, &later).map(|(status, _)| status), Some(403));

    let closed = after(Config { policies: open(), closed: ["p".to_owned()].into(), ..Config::default() });
    assert_eq!(refusal(&closed, &token()).map(|(status, _)| status), Some(403));
}

/// The routes of before are there for a while, and lead to services that believe what the table of before took off.
#[test]
fn what_a_policy_set_before_an_edit_is_taken_off_for_a_while_on_every_route() {
    let host = FakeHost::new();
    let setting = |header: &str| {
        let claims_to_headers = vec![ClaimToHeader { claim: ClaimPath::top("sub"), header: header.into() }];
        let policies = [("p".to_owned(), Policy::Jwt(JwtPolicy { claims_to_headers, ..policy() })), ("open".to_owned(), Policy::Public {})];
        JwtAuth::configure(&serde_json::to_vec(&Config { policies: policies.into(), ..Config::default() }).unwrap(), &host).unwrap()
    };
    let mut next = setting("x-account");
    next.succeed(&setting("x-user"), &host);
    let mut last = setting("x-other");
    last.succeed(&next, &host);
    let (next, last) = (Rc::new(next), Rc::new(last));
    let by_token = |request: FakeHost| request.with_header("authorization", format!("Bearer {}", sign(&good_claims())));
    for (filter, of) in [(&next, "p"), (&next, "open"), (&last, "p")] {
        let request = by_token(FakeHost::new().with_policy(of).with_header("x-user", "admin"));
        assert_eq!(refusal(filter, &request), None);
        assert_eq!(request.request_header("x-user"), Vec::<Vec<u8>>::new(), "{of}");
    }
    let later = by_token(FakeHost::new().with_policy("p").with_header("x-user", "mine"));
    later.advance(std::time::Duration::from_secs(90));
    assert_eq!(refusal(&next, &later), None);
    assert_eq!(later.request_header("x-user"), [b"mine".to_vec()], "then it is a header like others");

    // One that now carries a token, which may have to go on to the service, is left.
    let in_header = JwtPolicy {
        providers: policy()
            .providers
            .into_iter()
            .map(|one| Provider { from: vec![Location::Header { name: "x-user".into(), scheme: None }], ..one })
            .collect(),
        ..policy()
    };
    let config = Config { policies: BTreeMap::from([("p".to_owned(), Policy::Jwt(in_header))]), ..Config::default() };
    let mut carrying = JwtAuth::configure(&serde_json::to_vec(&config).unwrap(), &host).unwrap();
    carrying.succeed(&setting("x-user"), &host);
    assert!(carrying.also_stripped.is_empty());
}

#[test]
fn what_a_policy_that_is_gone_lets_by_is_remembered_for_no_other() {
    let host = FakeHost::new();
    let mut next = JwtAuth::configure(&serde_json::to_vec(&strict()).unwrap(), &host).unwrap();
    next.succeed(&filter(policy()), &host);
    let next = Rc::new(next);
    let token = sign(&good_claims());
    assert_eq!(refusal(&next, &bearing(&token)), None);
    let other = FakeHost::new().with_policy("a").with_header("authorization", format!("Bearer {token}"));
    assert!(refusal(&next, &other).is_some(), "its number is that of another policy now");
}

/// A table in which another policy has the number of `p`, and asks for more.
fn strict() -> Config {
    let require = Requirement { scopes: vec!["more".into()], ..Requirement::default() };
    let strict = || Policy::Jwt(JwtPolicy { require: require.clone(), ..policy() });
    Config { policies: BTreeMap::from([("a".to_owned(), strict()), ("b".to_owned(), strict())]), ..Config::default() }
}
