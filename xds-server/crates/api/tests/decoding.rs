//! Objects as plain data into our own words: what comes out, and what is told.
#![expect(clippy::panic, reason = "a test that cannot go on fails")]

use std::cell::RefCell;

use bytes::Bytes;
use serde_json::{Value, json};
use windrose_api::declared::AnyObject;
use windrose_api::declared::route::{AuthProtocol, Filter};
use windrose_api::{Decoded, Source, ValueFiles, decode};

/// Files in memory.
#[derive(Default)]
struct Memory(Vec<(&'static str, &'static [u8])>, RefCell<Vec<String>>);

impl ValueFiles for Memory {
    fn read(&self, path: &str) -> Result<Bytes, String> {
        self.1.borrow_mut().push(path.to_owned());
        let found = self.0.iter().find(|(name, _)| *name == path);
        found.map(|(_, content)| Bytes::from_static(content)).ok_or_else(|| format!("cannot read `{path}`: no such file"))
    }
}

fn decoded(node: Value) -> Decoded {
    let files: Vec<(&str, &[u8])> = vec![
        ("keys.json", br#"{"keys":[{"kty":"RSA"}]}"#),
        ("binary", b"\xff\x00"),
        ("broken", b"{\n  keys"),
        ("other", br#"{"k":"hunter2"}"#),
        ("none", br#"{"keys":[]}"#),
    ];
    decode(node, Source::Files(&Memory(files, RefCell::default())))
}

fn told(node: Value) -> Vec<String> {
    decoded(node).diagnostics.iter().map(ToString::to_string).collect()
}

fn object(node: Value) -> AnyObject {
    let decoded = decoded(node);
    decoded.object.unwrap_or_else(|| panic!("{:#?}", decoded.diagnostics))
}

fn gateway(kind: &str, spec: Value) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": {"name": "x", "namespace": "shop"}, "spec": spec})
}

fn ours(kind: &str, spec: Value) -> Value {
    json!({"apiVersion": "windrose.dev/v1alpha1", "kind": kind, "metadata": {"name": "x", "namespace": "shop"}, "spec": spec})
}

fn rule(rule: Value) -> Value {
    gateway("HTTPRoute", json!({"parentRefs": [{"name": "edge"}], "rules": [rule]}))
}

fn target(kind: &str) -> Value {
    let group = match kind {
        "Service" => "",
        "Workload" | "Backend" => "windrose.dev",
        _ => "gateway.networking.k8s.io",
    };
    json!([{"group": group, "kind": kind, "name": "x"}])
}

#[test]
fn an_object_that_cannot_be_named_says_what_is_missing() {
    let cases = [
        (json!([]), "error[WrongType]: expected an object: a mapping with apiVersion, kind and metadata"),
        (json!({"kind": "Gateway"}), "error[MissingField]: apiVersion: required field `apiVersion` is missing"),
        (
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HttpRoutes"}),
            "error[UnknownKind]: kind: no kind `HttpRoutes` in group `gateway.networking.k8s.io` (did you mean `HTTPRoute`?)",
        ),
        (
            json!({"apiVersion": "gateway.networking.k8.io/v1", "kind": "HTTPRoute"}),
            "error[UnknownKind]: apiVersion: HTTPRoute is not of group `gateway.networking.k8.io` (write `apiVersion: gateway.networking.k8s.io/v1`)",
        ),
        (
            json!({"apiVersion": "gateway.networking.k8s.io/v2", "kind": "HTTPRoute"}),
            "error[UnknownKind]: apiVersion: HTTPRoute has no version `v2` (known are v1, v1beta1)",
        ),
        (
            json!({"apiVersion": "apps/v1", "kind": "Deployment"}),
            "info[UnknownKind]: kind: `Deployment` of group `apps` is not used by Windrose and left out",
        ),
        (json!({"apiVersion": "v1", "kind": "Sevice"}), "error[UnknownKind]: kind: no kind `Sevice` in group `` (did you mean `Service`?)"),
        (
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {}}),
            "error[MissingField]: metadata.name: required field `metadata.name` is missing",
        ),
        (
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": 7}}),
            "error[WrongType]: metadata.name: expected a string (put it in quotes)",
        ),
    ];
    for (node, expected) in cases {
        let decoded = decoded(node.clone());
        assert!(decoded.object.is_none() && decoded.reference.is_none(), "{node}");
        assert_eq!(decoded.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected], "{node}");
    }
}

#[test]
fn every_problem_is_told_at_once_each_at_its_field() {
    let node = gateway(
        "HTTPRoute",
        json!({
            "parentRef": [{"name": "edge"}],
            "hostnames": ["Shop.example"],
            "rules": [{
                "matches": [{"path": {"type": "Prefix", "value": "/a"}}],
                "backendRefs": [{"name": "orders", "port": 70000}, {"name": "orders", "port": "80"}, {"port": 80}],
                "timeouts": {"request": "10 s", "backendRequest": 2},
            }],
        }),
    );
    let expected = [
        "error[OutOfRange]: HTTPRoute/shop/x: spec.hostnames[0]: `Shop.example` has a label that is not lower-case letters, digits and inner `-` (1 to 63 of them)",
        "error[UnknownField]: HTTPRoute/shop/x: spec.parentRef: unknown field `parentRef` (did you mean `parentRefs`?)",
        "error[OutOfRange]: HTTPRoute/shop/x: spec.rules[0].backendRefs[0].port: `70000` is out of range: 1 to 65535",
        "error[WrongType]: HTTPRoute/shop/x: spec.rules[0].backendRefs[1].port: expected an integer, found the string `80` (write it without quotes)",
        "error[MissingField]: HTTPRoute/shop/x: spec.rules[0].backendRefs[2].name: required field `name` is missing",
        "error[OutOfRange]: HTTPRoute/shop/x: spec.rules[0].matches[0].path.type: `Prefix` is none of the allowed values (known here: `Exact`, `PathPrefix`, `RegularExpression`)",
        "error[WrongType]: HTTPRoute/shop/x: spec.rules[0].timeouts.backendRequest: expected a string, found the number `2` (write its unit: `2s` or `2ms`)",
        "error[OutOfRange]: HTTPRoute/shop/x: spec.rules[0].timeouts.request: `10 s` is not a duration such as `1h30m`, `10s` or `500ms`",
    ];
    assert_eq!(told(node), expected);
}

#[test]
fn what_the_rules_of_gateway_api_forbid_is_refused_in_their_words() {
    let cases = [
        (
            rule(json!({"timeouts": {"request": "1s", "backendRequest": "2s"}})),
            "backendRequest timeout cannot be longer than request timeout",
        ),
        (rule(json!({"matches": [{"path": {"value": "/a//b"}}]})), "must not contain '//' when type one of ['Exact', 'PathPrefix']"),
        (
            rule(json!({"filters": [{"type": "CORS", "cors": {"allowHeaders": ["*", "a"]}}]})),
            "AllowHeaders cannot contain '*' alongside other methods",
        ),
        (
            gateway("TLSRoute", json!({"hostnames": ["10.0.0.1"], "rules": [{"backendRefs": [{"name": "a", "port": 1}]}]})),
            "Hostnames cannot contain an IP",
        ),
        (
            gateway("HTTPRoute", json!({"parentRefs": [{"name": "a"}, {"name": "a"}]})),
            "sectionName or port must be unique when parentRefs includes 2 or more references to the same parent",
        ),
    ];
    for (node, expected) in cases {
        let told = told(node.clone());
        assert!(told.iter().any(|line| line.contains("error[Invalid]") && line.contains(expected)), "{node}\n{told:#?}");
    }
}

#[test]
fn defaults_are_those_of_the_schema() {
    let AnyObject::Route(route) =
        object(gateway("HTTPRoute", json!({"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "a", "port": 80}]}]})))
    else {
        panic!("a route")
    };
    let text = format!("{:?}", route.spec);
    assert!(text.contains(r#"Prefix("/")"#) && text.contains(r#"kind: "Service""#) && text.contains("weight: Weight(1)"), "{text}");
    assert_eq!(&*route.spec.parents[0].target.kind, "Gateway");
    assert_eq!(&*route.meta.object.key.namespace, "shop");
}

#[test]
fn a_field_of_kubernetes_that_we_do_not_know_is_a_warning_and_one_of_metadata_an_error() {
    let service = |metadata: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"prots": [], "ports": [{"port": 80}]}});
    let expected = "warning[UnknownField]: Service/default/x: spec.prots: unknown field `prots`";
    let decoded = decoded(service(json!({"name": "x"})));
    assert!(decoded.object.is_some());
    assert!(decoded.diagnostics[0].to_string().starts_with(expected), "{:?}", decoded.diagnostics);
    let refused = told(service(json!({"name": "x", "lables": {}})));
    assert!(
        refused.iter().any(|line| line.starts_with("error[UnknownField]") && line.ends_with("(did you mean `labels`?)")),
        "{refused:?}"
    );
}

#[test]
fn values_come_from_files_and_are_part_of_the_version() {
    let secret = |path: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {"a": "b"}, "files": {"c": path}});
    let AnyObject::Secret(first) = object(secret("binary")) else { panic!("a Secret") };
    assert_eq!(first.spec.data["c"].expose().as_ref(), b"\xff\x00");
    assert_eq!(first.spec.data["a"].expose().as_ref(), b"b");
    let AnyObject::Secret(second) = object(secret("keys.json")) else { panic!("a Secret") };
    assert_ne!(first.meta.version, second.meta.version);

    assert_eq!(told(secret("nowhere")), ["error[File]: Secret/default/x: files.c: cannot read `nowhere`: no such file"]);
    let twice =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {"c": "b"}, "files": {"c": "binary"}});
    assert_eq!(told(twice), ["error[Invalid]: Secret/default/x: files.c: `c` has a value in the object too"]);

    let policy = |jwks: Value| {
        ours(
            "AuthPolicy",
            json!({"targetRefs": target("Gateway"), "jwt": [{"name": "a", "issuer": "i", "audiences": ["b"], "jwks": jwks}]}),
        )
    };
    let AnyObject::AuthPolicy(auth) = object(policy(json!({"file": "keys.json"}))) else { panic!("an AuthPolicy") };
    assert_eq!(auth.spec.jwt[0].jwks.inline.as_deref(), Some(r#"{"keys":[{"kty":"RSA"}]}"#));
    assert_eq!(told(policy(json!({"file": "binary"}))), ["error[File]: AuthPolicy/shop/x: spec.jwt[0].jwks.file: `binary` is not UTF-8"]);
    let wrong = [
        ("gone", "cannot read `gone`: no such file"),
        ("broken", "`broken` is not JSON: line 2, column 3 of the document"),
        ("other", "`other` is not a JSON Web Key Set: it has no list `keys`"),
        ("none", "`none` has no keys"),
    ];
    for (file, why) in wrong {
        let expected = format!("error[File]: AuthPolicy/shop/x: spec.jwt[0].jwks.file: {why}");
        assert_eq!(told(policy(json!({"file": file}))), [expected], "{file}");
    }
    let in_cluster = decode(policy(json!({"file": "keys.json"})), Source::Cluster);
    assert_eq!(in_cluster.diagnostics[0].message, "files can be named in files only, not in a cluster");
}

#[test]
fn a_secret_is_never_among_the_words() {
    let cases = [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "data": {"a": "hunter2!"}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {"a": 4_710_815}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "type": "hunter2!", "data": "hunter2!"}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "data": [true]}),
        ours(
            "AuthPolicy",
            json!({"targetRefs": target("Gateway"), "jwt": [{"name": "a", "issuer": "i", "audiences": ["b"], "jwks": {"inline": "{\"k\": \"hunter2!"}}]}),
        ),
    ];
    for node in cases {
        let decoded = decoded(node.clone());
        assert!(decoded.object.is_none(), "{node}");
        let text = format!("{:?}", decoded.diagnostics);
        assert!(!text.contains("hunter2") && !text.contains("4710815"), "{text}");
    }
}

#[test]
fn policies_are_checked_beyond_their_schema() {
    let jwt = |more: Value| {
        let mut provider = json!({"name": "a", "issuer": "i", "audiences": ["b"], "jwks": {"file": "keys.json"}});
        provider.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ours("AuthPolicy", json!({"targetRefs": target("Gateway"), "jwt": [provider]}))
    };
    let claim = |header: &str| {
        let claims_to_headers = json!([{"claim": "sub", "header": header}]);
        ours("AuthPolicy", json!({"targetRefs": target("Gateway"), "claimsToHeaders": claims_to_headers}))
    };
    let limit = |limit: Value| ours("RateLimitPolicy", json!({"targetRefs": target("Gateway"), "limits": [limit]}));
    let traffic = |field: &str, value: Value| ours("TrafficPolicy", json!({"targetRefs": target("Service"), field: value}));
    let authorization = |from: Value| ours("AuthorizationPolicy", json!({"action": "Allow", "rules": [{"from": [from]}]}));
    let cases = [
        (jwt(json!({"algorithms": ["ES512"]})), "spec.jwt[0].algorithms[0]: algorithm `ES512` is not supported"),
        (jwt(json!({"algorithms": ["none"]})), "spec.jwt[0].algorithms[0]: algorithm `none` is not supported"),
        (jwt(json!({"leeway": "6m"})), "spec.jwt[0].leeway: `360s` is out of range: 0s to 300s"),
        (
            jwt(json!({"from": [{"header": "a", "cookie": "b"}]})),
            "spec.jwt[0].from[0]: only one of `header`, `query`, `cookie` may be there",
        ),
        (jwt(json!({"jwks": {}})), "spec.jwt[0].jwks: one of `inline`, `file`, `object` must be there"),
        (jwt(json!({"jwks": {"inline": "{}"}})), "spec.jwt[0].jwks.inline: is not a JSON Web Key Set"),
        (
            ours("AuthPolicy", json!({"targetRefs": target("Gateway")})),
            "spec.jwt: one of `jwt`, `requiredClaims`, `requiredScopes`, `claimsToHeaders`, `public` must be there",
        ),
        (claim("x-api-key"), "spec.claimsToHeaders[0].header: header `x-api-key` has a meaning of its own and is not set from a claim"),
        (claim("grpc-timeout"), "spec.claimsToHeaders[0].header: header `grpc-timeout` has a meaning of its own"),
        (
            ours("AuthPolicy", json!({"targetRefs": [{"kind": "HTTPRoute", "name": "a"}], "public": {"reason": "a", "approvedBy": "b"}})),
            "spec.targetRefs[0].group: HTTPRoute is not of group ``",
        ),
        (limit(json!({"name": "a", "quota": {"requests": 1, "window": "25h"}})), "quota.window: `90000s` is out of range: 1ms to 86400s"),
        (
            limit(json!({"name": "a", "quota": {"requests": 1, "window": "1s"}, "key": [{"route": false}]})),
            "key[0].route: `false` says nothing here",
        ),
        (
            limit(json!({"name": "a", "quota": {"requests": 1, "window": "24h", "burst": 36501}})),
            "quota.burst: `36501` is out of range: `burst` × `window` / `requests` is more than 100 years",
        ),
        (
            limit(json!({"name": "a\"b", "quota": {"requests": 1, "window": "1s"}})),
            "spec.limits[0].name: `a\\\"b` is not printable ASCII without quotes and backslashes",
        ),
        (limit(json!({"name": "a", "quota": {"requests": -1, "window": "1s"}})), "quota.requests: `-1` is out of range: 0 to 1000000000"),
        (
            traffic("loadBalancing", json!({"type": "ConsistentHash"})),
            "spec.loadBalancing.consistentHash: required field `consistentHash` is missing",
        ),
        (traffic("retries", json!({"grpcStatuses": ["unavailble"]})), "(did you mean `unavailable`?)"),
        (traffic("retries", json!({"attempts": 11})), "spec.retries.attempts: `11` is out of range: 0 to 10"),
        (traffic("retires", json!({})), "unknown field `retires` (did you mean `retries`?)"),
        (authorization(json!({"identity": "spiffe://A/ns/b/sa/c"})), "from[0].identity: has no valid trust domain"),
        (authorization(json!({"network": "10.0.0.0/33"})), "from[0].network: `10.0.0.0/33` has more than 32 bits"),
        (
            ours("EdgePolicy", json!({"targetRefs": target("Gateway"), "addresses": {"deny": ["10.0.0.0"]}})),
            "addresses.deny[0]: `10.0.0.0` is not a network",
        ),
        (
            ours("MeshPolicy", json!({"ports": [{"port": 1, "mtls": "Strict"}, {"port": 1, "mtls": "Permissive"}]})),
            "spec.ports[1].port: `1` is the port of item 0 too",
        ),
        (
            ours("MeshPolicy", json!({"mtls": "strict"})),
            "spec.mtls: `strict` is none of the allowed values (did you mean `Strict`? known here: `Strict`, `Permissive`)",
        ),
        (ours("Backend", json!({"endpoints": [{"ip": "10.0.0.1"}]})), "spec.endpoints[0].port: required field `port` is missing"),
        (ours("Backend", json!({"endpoints": [{"host": "10.0.0.1", "port": 1}]})), "spec.endpoints[0].host: is an IP address"),
        (
            ours("Backend", json!({"endpoints": [{"ip": "10.0.0.1", "port": 1}], "tls": {}})),
            "spec.tls.hostname: required field `hostname` is missing",
        ),
        (
            ours("Workload", json!({"address": "10.0.0.1", "serves": [{"service": "a", "port": 80, "application": "127.0.0.1"}]})),
            "spec.serves[0].application: `127.0.0.1` is not an address with a port such as `127.0.0.1:8080`",
        ),
        (
            ours("TranscodingPolicy", json!({"targetRefs": target("HTTPRoute"), "descriptors": {"inline": "?"}})),
            "spec.descriptors.inline: is not base64",
        ),
    ];
    for (node, expected) in cases {
        let decoded = decoded(node.clone());
        let told: Vec<_> = decoded.diagnostics.iter().map(ToString::to_string).collect();
        assert!(decoded.object.is_none(), "{node} was taken");
        assert!(told.len() == 1 && told[0].contains(expected), "{node}\n{told:#?}\nexpected: {expected}");
        assert_eq!(decoded.aside.targets.is_empty(), node.pointer("/spec/targetRefs").is_none());
    }
}

#[test]
fn our_kinds_say_what_they_mean() {
    let AnyObject::Workload(workload) = object(ours(
        "Workload",
        json!({"address": "10.0.0.1", "serves": [{"service": "orders", "port": 80, "application": "127.0.0.1:8080"}],
            "calls": [{"service": "inventory", "port": 90, "listen": "127.0.0.1:9001"}]}),
    )) else {
        panic!("a Workload")
    };
    assert_eq!(&*workload.spec.account, "x");
    assert_eq!(workload.spec.serves[0].listen.get(), 80);
    assert_eq!(workload.spec.calls.as_ref().unwrap()[0].listen.unwrap().1.get(), 9001);
    let AnyObject::Workload(workload) = object(ours("Workload", json!({"address": "10.0.0.1"}))) else { panic!("a Workload") };
    assert_eq!(workload.spec.calls, None);
}

#[test]
fn authorization_by_a_service_is_read_in_a_rule_and_in_a_listener() {
    let filter = json!({"type": "ExternalAuth", "externalAuth": {"protocol": "HTTP", "backendRef": {"name": "a", "port": 1},
        "http": {"path": "/v1", "allowedHeaders": ["x-a"]}, "forwardBody": {"maxSize": 7}}});
    let listener = json!({"name": "a", "port": 80, "protocol": "HTTP", "filters": {"requests": [filter.clone()]}});
    let AnyObject::Gateway(gateway) = object(gateway("Gateway", json!({"gatewayClassName": "windrose", "listeners": [listener]}))) else {
        panic!("a Gateway")
    };
    let AnyObject::Route(route) = object(rule(json!({"filters": [filter]}))) else { panic!("a route") };
    assert_eq!(gateway.spec.listeners[0].filters, route.spec.rules[0].filters);
    let [Filter::ExternalAuth(auth)] = &*route.spec.rules[0].filters else { panic!("one filter") };
    assert_eq!((&*auth.target.name, auth.port.unwrap().get(), auth.body_bytes), ("a", 1, 7));
    let AuthProtocol::Http { path, headers, answer_headers } = &auth.protocol else { panic!("by HTTP") };
    assert_eq!((&**path, headers.len(), answer_headers.len()), ("/v1", 1, 0));
}

#[test]
fn a_version_follows_the_content_and_not_its_spelling() {
    let version = |node: Value| object(node).meta().version;
    let first = version(rule(json!({"backendRefs": [{"name": "a", "port": 80}]})));
    assert_eq!(first, version(rule(json!({"backendRefs": [{"port": 80, "name": "a", "weight": 1}]}))));
    assert_ne!(first, version(rule(json!({"backendRefs": [{"name": "a", "port": 81}]}))));
    let mut with_status = rule(json!({"backendRefs": [{"name": "a", "port": 80}]}));
    with_status["status"] = json!({"parents": []});
    assert_eq!(first, version(with_status));
}

#[test]
fn an_object_that_is_read_in_a_newer_api_version_is_the_same_version() {
    let read = |version: &str| {
        let mut route = gateway(
            "TLSRoute",
            json!({"hostnames": ["a.example"], "parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "a", "port": 1}]}]}),
        );
        route["apiVersion"] = json!(format!("gateway.networking.k8s.io/{version}"));
        object(route)
    };
    assert_eq!(read("v1alpha3").meta().version, read("v1").meta().version);
}

#[test]
fn a_version_is_the_content_in_a_cluster_too() {
    let read = |generation: u64, created: &str| {
        let mut node = rule(json!({}));
        node["metadata"]["generation"] = json!(generation);
        node["metadata"]["creationTimestamp"] = json!(created);
        decode(node, Source::Cluster).object.unwrap()
    };
    let (first, again) = (read(7, "1970-01-02T00:00:00Z"), read(1, "1970-01-03T00:00:00Z"));
    assert_eq!(first.meta().version, again.meta().version, "deleted and declared again, it is the same version");
    assert_eq!(first.meta().created, 86_400);
}

#[test]
fn an_empty_list_that_kubernetes_writes_as_null_is_empty() {
    let node = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "orders-1", "namespace": "shop"},
        "addressType": "IPv4", "endpoints": null, "ports": null,
    });
    let decoded = decode(node, Source::Cluster);
    assert!(decoded.object.is_some(), "{:?}", decoded.diagnostics);
}

#[test]
fn problems_without_end_are_cut_off() {
    let mut spec = serde_json::Map::new();
    (0..1000).for_each(|index| drop(spec.insert(format!("field{index}"), json!(1))));
    let told = told(ours("MeshPolicy", Value::Object(spec)));
    assert_eq!(told.len(), 101);
    assert!(told[100].contains("900 more problems are not shown"), "{}", told[100]);
}

#[test]
fn what_a_broken_policy_attaches_to_is_read_however_it_is_written() {
    let group = "gateway.networking.k8s.io";
    for targets in [
        json!({"targetRefs": [{"kind": "HTTPRoute", "name": "admin"}]}),
        json!({"targetRefs": [{"group": "", "kind": "HTTPRoute", "name": "admin", "namespace": "shop"}]}),
        json!({"targetRef": {"group": group, "kind": "HTTPRoute", "name": "admin", "sectionName": ""}}),
        json!({"targetRefs": {"group": group, "kind": "HTTPRoute", "name": "admin"}}),
        json!({"targetRefs": [{"group": group, "kind": "HTTPRout", "name": "admin"}]}),
    ] {
        let mut spec = targets;
        spec["jwtt"] = json!([]);
        let decoded = decoded(ours("AuthPolicy", spec));
        assert!(decoded.object.is_none());
        let [target] = &*decoded.aside.targets else { panic!("{:?}", decoded.aside) };
        assert_eq!((&*target.group, &*target.name, &target.section_name), (group, "admin", &None));
    }
    let lost = decoded(ours("AuthPolicy", json!({"targetRefs": [{"kind": "HTTPRoute"}]}))).aside;
    assert!(lost.targets.is_empty() && lost.more);
}

#[test]
fn of_a_broken_policy_that_would_refuse_nobody_so_much_is_known() {
    let harmless = |kind: &str, spec: Value| {
        let decoded = decoded(ours(kind, spec));
        assert!(decoded.object.is_none());
        decoded.aside.harmless
    };
    assert!(harmless("EdgePolicy", json!({"timeouts": {"request": 2}})));
    assert!(!harmless("EdgePolicy", json!({"addresses": 7})) && !harmless("EdgePolicy", json!({"adresses": {}})), "or nearly so");
    assert!(!harmless("EdgePolicy", json!([])));
    let misplaced =
        [json!({"connections": {"addresses": {}}}), json!({"connections": [{"allow": []}]}), json!({"body": 1, "trustedHops": 1})];
    misplaced.into_iter().for_each(|spec| assert!(!harmless("EdgePolicy", spec.clone()), "{spec}"));
    let mut beside = ours("EdgePolicy", json!({}));
    beside["addresses"] = json!({"allow": ["10.0.0.0/8"]});
    assert!(!decoded(beside).aside.harmless);
    for (kind, watches) in [("RateLimitPolicy", "shadow"), ("AuthorizationPolicy", "audit")] {
        assert!(harmless(kind, json!({watches: true, "wrong": 1})) && !harmless(kind, json!({watches: "true"})), "{kind}");
    }
    assert!(!harmless("AuthPolicy", json!({"audit": true, "shadow": true})));
}
