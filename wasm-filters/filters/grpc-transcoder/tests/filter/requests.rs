//! Whole requests: what becomes a call, and what is refused with which status.

use prost_reflect::DynamicMessage;
use windrose_filter_kit::Verdict;
use windrose_grpc_transcoder::frame::Deframer;

use crate::envoy::{Envoy, filter, reply, text};
use crate::kitchen::{POOL, comparable};

const JSON: &str = "application/json";

fn messages(name: &str, framed: Vec<u8>) -> serde_json::Value {
    let mut frames = Deframer::new(1 << 20);
    frames.push(framed);
    let mut messages = Vec::new();
    while let Some(message) = frames.next_message().unwrap() {
        messages.push(comparable(&DynamicMessage::decode(POOL.get_message_by_name(name).unwrap(), message).unwrap()));
    }
    assert!(frames.is_empty());
    messages.into()
}

fn called(method: &str, path: &str, body: &str) -> Result<serde_json::Value, String> {
    let media = if body.is_empty() { "" } else { JSON };
    match Envoy::new(&filter(|_| {})).request(method, path, media, body) {
        Ok(framed) => Ok(messages("kitchen.v1.Everything", framed)),
        Err(reply) => Err(format!("{} {}", reply.status, text(&reply))),
    }
}

#[test]
fn path_query_and_body_become_one_message() {
    let cases = [
        ("POST", "/v1/cook", r#"{"text":"a","anInt64":"5"}"#, r#"[{"text":"a","anInt64":"5"}]"#),
        ("POST", "/v1/cook", "", "[{}]"),
        ("PUT", "/v1/cook/x%20y", r#"{"anInt64":"5"}"#, r#"[{"text":"x y","anInt64":"5"}]"#),
        ("PUT", "/v1/cook/n/inner", r#"{"inner":{"inner":{"name":"deep"}}}"#, r#"[{"inner":{"name":"n","inner":{"name":"deep"}}}]"#),
        ("PATCH", "/v1/cook/x?aBool=true", r#"{"name":"i"}"#, r#"[{"text":"x","aBool":true,"inner":{"name":"i"}}]"#),
        ("GET", "/v1/names/shelves/7:cook", "", r#"[{"text":"shelves/7"}]"#),
        ("LIST", "/v1/cook?text=a", "", r#"[{"text":"a"}]"#),
        (
            "GET",
            "/v1/cook?text=a+b%2B&an_int64=-5&aBool=false&texts=1&texts=2&color=RED&blob=AQI&inner.inner.name=x&inner.count=2",
            "",
            r#"[{"text":"a b+","anInt64":"-5","texts":["1","2"],"color":"RED","blob":"AQI=","inner":{"count":"2e","inner":{"name":"x"}}}]"#,
        ),
        (
            "GET",
            "/v1/cook?at=2024-02-29T12:00:00Z&lasting=1.5s&mask=text,inner&int64Value=7&stringValue=&choiceNumber=0&colors=7",
            "",
            r#"[{"at":"2024-02-29T12:00:00Z","lasting":"1.500s","mask":"text,inner","int64Value":"7","stringValue":"","choiceNumber":"0e","colors":["7e"]}]"#,
        ),
    ];
    for (method, path, body, expected) in cases {
        let called = called(method, path, body).unwrap_or_else(|refusal| panic!("{path}: {refusal}"));
        let called = called.to_string().replace("2.00000e0", "2e").replace("0.00000e0", "0e").replace("7.00000e0", "7e");
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        assert_eq!(called, expected.to_string(), "{method} {path}");
    }
}

#[test]
fn what_strangers_send_is_refused_with_the_field() {
    let cases = [
        ("PUT", "/v1/cook/a%2Fb", "{}", "400", "text: an escaped slash is not allowed here"),
        ("PUT", "/v1/cook/..", "{}", "400", "text: dot segments are not allowed"),
        ("PUT", "/v1/cook/%2e%2e", "{}", "400", "text: dot segments are not allowed"),
        ("GET", "/v1/names/shelves/..;:cook", "", "400", "text: dot segments are not allowed"),
        ("PUT", "/v1/cook/%zz", "{}", "400", "text: "),
        ("PUT", "/v1/cook/%00", "{}", "400", "text: %00 is not allowed"),
        ("PUT", "/v1/cook/%ff", "{}", "400", "text: "),
        ("PUT", "/v1/cook/a", r#"{"text":"b"}"#, "400", "text: the path of the request gives this field a value already"),
        ("PUT", "/v1/cook/a/inner", r#"{"inner":{"name":"b"}}"#, "400", "inner.name: the path of the request gives"),
        ("PATCH", "/v1/cook/a?text=b", "{}", "400", "text: the path or the body of the request gives"),
        ("PATCH", "/v1/cook/a?inner.name=b", "{}", "400", "inner.name: the path or the body of the request gives"),
        ("POST", "/v1/cook?text=b", "{}", "400", "text: fields come in the body here"),
        ("POST", "/v1/cook?nope=b", "{}", "400", "nope: kitchen.v1.Everything has no such field"),
        ("GET", "/v1/cook?nope=1", "", "400", "nope: kitchen.v1.Everything has no such field for a query"),
        ("GET", "/v1/cook?text=1&text=2", "", "400", "text: given twice"),
        ("GET", "/v1/cook?an_int32=1&anInt32=2", "", "400", "anInt32: given twice"),
        ("GET", "/v1/cook?anInt32=x", "", "400", "anInt32: expected int32, got \\\"x\\\""),
        ("GET", "/v1/cook?inner=x", "", "400", "inner: "),
        ("GET", "/v1/cook?inners.name=x", "", "400", "inners.name: "),
        ("GET", "/v1/cook?byName=x", "", "400", "byName: "),
        ("GET", "/v1/cook?choiceText=a&choiceNumber=1", "", "400", "choiceNumber: another field of the same oneof"),
        ("GET", "/v1/cook?text=%ff", "", "400", "text: "),
        ("GET", "/v1/cook", "{}", "400", "this method takes no body"),
        ("POST", "/v1/cook", r#"{"inners":[{},{},{"count":"x"}]}"#, "400", "inners[2].count: expected int32, got \\\"x\\\""),
        ("DELETE", "/v1/cook", "", "404", "no method is bound to this path"),
        ("GET", "/v2", "", "404", "no method is bound to this path"),
        ("GET", "/v1/names/shelves/7:bake", "", "404", ""),
    ];
    for (method, path, body, status, message) in cases {
        let refusal = called(method, path, body).map(|message| panic!("{method} {path} became {message}")).unwrap_err();
        assert!(refusal.starts_with(status) && refusal.contains(message), "{method} {path}: {refusal}");
    }
    let refusal = called("POST", "/v1/cook", r#"{"anInt32":"x"}"#).unwrap_err();
    let body: serde_json::Value = serde_json::from_str(refusal.split_once(' ').unwrap().1).unwrap();
    assert_eq!(body["details"][0]["fieldViolations"][0]["field"], "anInt32");
}

#[test]
fn the_request_becomes_a_grpc_request() {
    let mut envoy = Envoy::new(&filter(|_| {}));
    let more = [("content-length", "2"), ("grpc-timeout", "1n"), ("grpc-encoding", "gzip"), ("expect", "100-continue"), ("x-keep", "1")];
    assert_eq!(envoy.headers("PUT", "/v1/cook/a", JSON, &more), Verdict::Pause);
    assert_eq!(envoy.request_header(":path").as_deref(), Some("/v1/cook/a"), "nothing changes before the body is good");
    assert_eq!(envoy.body(b"{}", true), Verdict::Continue);
    for (name, value) in [
        (":path", Some("/kitchen.v1.Kitchen/Cook")),
        (":method", Some("POST")),
        ("content-type", Some("application/grpc")),
        ("te", Some("trailers")),
        ("x-envoy-original-path", Some("/v1/cook/a")),
        ("grpc-timeout", Some("1m")),
        ("content-length", None),
        ("grpc-encoding", None),
        ("expect", None),
        ("x-keep", Some("1")),
    ] {
        assert_eq!(envoy.request_header(name).as_deref(), value, "{name}");
    }
}

#[test]
fn a_body_comes_in_pieces_and_ends_at_its_limit() {
    let mut envoy = Envoy::new(&filter(|_| {}));
    assert_eq!(envoy.headers("POST", "/v1/cook", JSON, &[]), Verdict::Pause);
    assert_eq!(envoy.body(b"{\"te", false), Verdict::Pause);
    assert_eq!(envoy.body(b"xt\":\"a\"}", false), Verdict::Pause);
    assert_eq!(envoy.request_trailers(), Verdict::Continue);
    assert_eq!(envoy.host.whole_body(windrose_filter_kit::Body::Request), [0, 0, 0, 0, 3, 0x72, 1, b'a']);

    let small = filter(|policy| policy.request_bytes_max = Some(10));
    let mut envoy = Envoy::new(&small);
    assert_eq!(envoy.headers("POST", "/v1/cook", JSON, &[]), Verdict::Pause);
    assert_eq!(envoy.body(b"          ", false), Verdict::Pause);
    assert_eq!(reply(envoy.body(b"{", false)).status, 413);
    assert_eq!(reply(Envoy::new(&small).headers("POST", "/v1/cook", JSON, &[("content-length", "11")])).status, 413);
}

#[test]
fn only_json_is_taken_for_json() {
    let status = |media: &str, more: &[(&str, &str)], body: &str| {
        let mut envoy = Envoy::new(&filter(|_| {}));
        match envoy.headers("POST", "/v1/cook", media, more) {
            Verdict::Pause => match envoy.body(body.as_bytes(), true) {
                Verdict::Continue => 200,
                other => reply(other).status,
            },
            other => reply(other).status,
        }
    };
    assert_eq!(status("text/plain", &[], "{}"), 415);
    assert_eq!(status("application/x-www-form-urlencoded", &[], "{}"), 415);
    assert_eq!(status("", &[], "{}"), 415);
    assert_eq!(status("", &[], ""), 200);
    assert_eq!(status("application/json; charset=utf-8", &[], "{}"), 200);
    assert_eq!(status(JSON, &[("content-encoding", "gzip")], "{}"), 415);
}

#[test]
fn other_routes_and_native_grpc_are_not_touched() {
    let filter = filter(|_| {});
    let mut native = Envoy::new(&filter);
    assert_eq!(native.headers("POST", "/kitchen.v1.Kitchen/Cook", "application/grpc+proto", &[]), Verdict::Continue);
    assert_eq!(native.body(b"\0\0\0\0\0", true), Verdict::Continue);
    assert_eq!(native.response(&[]), Verdict::Continue);
    assert_eq!(native.chunk(b"\0\0\0\0\0", false), Verdict::Continue);
    assert_eq!(native.trailers(&[("grpc-status", "5")]).0, Verdict::Continue);

    let mut other = Envoy::new(&filter);
    other.host.next_stream();
    assert_eq!(other.headers("GET", "/nowhere", "", &[]), Verdict::Continue);

    let mut unknown = Envoy::new(&filter);
    unknown.host.put_property(&["xds", "route_metadata", "filter_metadata", "windrose", "transcode"], "gone");
    assert_eq!(reply(unknown.headers("POST", "/v1/cook", JSON, &[])).status, 500);
    let mut native = Envoy::new(&filter);
    native.host.put_property(&["xds", "route_metadata", "filter_metadata", "windrose", "transcode"], "gone");
    assert_eq!(native.headers("POST", "/kitchen.v1.Kitchen/Cook", "application/grpc", &[]), Verdict::Continue);
}

#[test]
fn a_request_that_envoy_gives_no_body_is_not_lost() {
    assert_eq!(reply(Envoy::new(&filter(|_| {})).headers_only("GET", "/v1/cook")).status, 501);
}

#[test]
fn client_streams_come_as_an_array() {
    let collect = |body: &str| Envoy::new(&filter(|_| {})).request("POST", "/v1/collect", JSON, body);
    assert_eq!(messages("kitchen.v1.Inner", collect(r#"[{"name":"a"}, {}]"#).unwrap()).to_string(), r#"[{"name":"a"},{}]"#);
    assert_eq!(collect("[]").unwrap(), b"");
    assert!(text(&collect(r#"[{},{"count":"x"}]"#).unwrap_err()).contains("[1].count: expected int32"));
    assert!(text(&collect("{}").unwrap_err()).contains("expected an array of messages, got an object"));
}

#[test]
fn http_bodies_are_taken_as_they_are() {
    let mut envoy = Envoy::new(&filter(|_| {}));
    let framed = envoy.request("POST", "/v1/pictures/cat", "image/png", "\u{1}PNG").unwrap();
    assert_eq!(
        messages("kitchen.v1.Picture", framed).to_string(),
        r#"[{"file":{"contentType":"image/png","data":"AVBORw=="},"name":"cat"}]"#
    );
}

#[test]
fn a_policy_can_be_lenient() {
    let lenient = filter(|policy| {
        policy.ignore_unknown_fields = true;
        policy.ignored_query_parameters = vec!["text".into()];
        policy.ignore_unknown_query_parameters = true;
    });
    let framed = Envoy::new(&lenient).request("POST", "/v1/cook?text=1&utm=2", JSON, r#"{"nope":[1,{}],"text":"a"}"#).unwrap();
    assert_eq!(framed, [0, 0, 0, 0, 3, 0x72, 1, b'a']);
    let framed = Envoy::new(&lenient).request("GET", "/v1/cook?text=1&utm=2&aBool=true", "", "").unwrap();
    assert_eq!(framed, [0, 0, 0, 0, 2, 0x68, 1]);
}
