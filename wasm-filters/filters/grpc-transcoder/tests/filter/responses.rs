//! Whole responses: messages and status become JSON, however the bytes are cut.

use windrose_filter_kit::Verdict;
use windrose_grpc_transcoder::scalar::encode_base64;
use windrose_grpc_transcoder::wire::{put_bytes, tag_of_bytes};

use crate::envoy::{Envoy, filter, framed, reply, text};
use crate::kitchen::{encode, schema};

const OK: &[(&str, &str)] = &[("grpc-status", "0")];

/// A call that waits for its response.
fn call(method: &str, path: &str, accept: &str) -> Envoy {
    let mut envoy = Envoy::new(&filter(|policy| policy.response_message_bytes_max = Some(1000)));
    assert_eq!(envoy.headers(method, path, "", &[("accept", accept)]), Verdict::Pause);
    assert_eq!(envoy.body(b"", true), Verdict::Continue);
    envoy
}

fn unary() -> Envoy {
    let mut envoy = call("POST", "/v1/cook", "");
    assert_eq!(envoy.response(&[("content-length", "99"), ("grpc-accept-encoding", "gzip"), ("x-keep", "1")]), Verdict::Pause);
    envoy
}

fn streaming(accept: &str) -> Envoy {
    let mut envoy = call("GET", "/v1/serve", accept);
    assert_eq!(envoy.response(&[]), Verdict::Pause);
    envoy
}

fn message(json: &str) -> Vec<u8> {
    framed(&encode(&schema(), json.as_bytes()).unwrap())
}

/// An `Inner` with a name.
fn named(name: &str) -> Vec<u8> {
    let mut message = Vec::new();
    put_bytes(&mut message, tag_of_bytes(1), name.as_bytes());
    framed(&message)
}

#[test]
fn a_unary_response_is_json_however_it_is_cut() {
    let bytes = message(r#"{"anInt64":"5","text":"a"}"#);
    for size in [1, 3, 5, bytes.len()] {
        let mut envoy = unary();
        for chunk in bytes.chunks(size) {
            assert_eq!(envoy.chunk(chunk, false), Verdict::Pause);
        }
        let (verdict, sent) = envoy.trailers(OK);
        assert_eq!((verdict, sent.as_str()), (Verdict::Continue, r#"{"anInt64":"5","text":"a"}"#));
        for (name, value) in [
            ("content-type", Some("application/json")),
            ("content-length", Some("26")),
            ("grpc-accept-encoding", None),
            ("x-keep", Some("1")),
        ] {
            assert_eq!(envoy.response_header(name).as_deref(), value, "{name}");
        }
    }
}

#[test]
fn response_body_names_a_field() {
    for (json, expected) in
        [(r#"{"inner":{"name":"x"},"text":"a"}"#, r#"{"name":"x"}"#), (r#"{"text":"a"}"#, "null"), (r#"{"inner":{}}"#, "{}")]
    {
        let mut envoy = call("GET", "/v1/cook", "");
        assert_eq!(envoy.response(&[]), Verdict::Pause);
        assert_eq!(envoy.chunk(&message(json), false), Verdict::Pause);
        assert_eq!(envoy.trailers(OK).1, expected);
    }
}

#[test]
fn the_field_that_response_body_names_is_printed_as_it_would_be_within_its_message() {
    let printed = |json: &str| {
        let mut envoy = Envoy::new(&filter(|policy| policy.always_print_primitive_fields = true));
        assert_eq!(envoy.headers("GET", "/v1/cook", "", &[]), Verdict::Pause);
        assert_eq!(envoy.body(b"", true), Verdict::Continue);
        assert_eq!(envoy.response(&[]), Verdict::Pause);
        assert_eq!(envoy.chunk(&message(json), false), Verdict::Pause);
        envoy.trailers(OK).1
    };
    assert_eq!(
        printed(r#"{"inner":{"inner":{"name":"x"}},"text":"a"}"#),
        r#"{"inner":{"name":"x","count":0,"inners":[]},"name":"","count":0,"inners":[]}"#
    );
    assert_eq!(printed(r#"{"text":"a"}"#), "null");
}

#[test]
fn every_status_has_its_http_status_with_and_without_headers_first() {
    let expected = [499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
    for (code, http) in (1..).zip(expected) {
        let status = [("grpc-status", code.to_string()), ("grpc-message", "no%0D%0Away".to_owned())];
        let status: Vec<(&str, &str)> = status.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let trailers_only = reply(call("POST", "/v1/cook", "").response(&[&status[..], &[("x-keep", "1")]].concat()));
        let trailers = reply(unary().trailers(&status).0);
        let stream = reply(streaming("").trailers(&status).0);
        for reply in [trailers_only, trailers, stream] {
            assert_eq!(reply.status, http, "{code}");
            assert_eq!(text(&reply), format!("{{\"code\":{code},\"message\":\"no\\r\\nway\",\"details\":[]}}"));
        }
    }
    let kept = reply(call("POST", "/v1/cook", "").response(&[("grpc-status", "5"), ("x-keep", "1")]));
    assert!(kept.headers.iter().any(|(name, value)| name == "x-keep" && value == b"1"));
    assert!(!kept.headers.iter().any(|(name, _)| name.starts_with("grpc-")));
}

#[test]
fn details_of_known_types_are_printed_and_others_left_out() {
    let any = |url: &str, value: &[u8]| {
        let mut any = Vec::new();
        put_bytes(&mut any, tag_of_bytes(1), url.as_bytes());
        put_bytes(&mut any, tag_of_bytes(2), value);
        any
    };
    let mut status = vec![8, 5];
    put_bytes(&mut status, tag_of_bytes(3), &any("type.googleapis.com/strange.Type", b"\x08\x01"));
    put_bytes(&mut status, tag_of_bytes(3), &any("type.googleapis.com/google.rpc.ErrorInfo", b"\x0a\x04GONE"));
    let mut header = Vec::new();
    encode_base64(&status, &mut header);
    let header = String::from_utf8(header).unwrap();
    let reply = reply(unary().trailers(&[("grpc-status", "5"), ("grpc-status-details-bin", header.trim_end_matches('='))]).0);
    assert_eq!(text(&reply), r#"{"code":5,"message":"","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"GONE"}]}"#);
}

#[test]
fn a_broken_upstream_is_502() {
    let two = [message("{}"), message("{}")].concat();
    for (chunk, reason) in [
        (&b""[..], "no whole message"),
        (b"\0\0\0\0\x09x", "no whole message"),
        (b"\0\xff\xff\xff\xff", "longer than the limit"),
        (b"\x01\0\0\0\0", "compressed"),
        (b"\0\0\0\0\x02\x72\x09", "not a message of its type"),
        (&two, "more than one message"),
    ] {
        let mut envoy = unary();
        assert_eq!(envoy.chunk(chunk, false), Verdict::Pause);
        let reply = reply(envoy.trailers(OK).0);
        assert!(reply.status == 502 && text(&reply).contains(reason), "{reason}: {}", text(&reply));
    }
    assert_eq!(reply(unary().chunk(b"", true)).status, 502);
    assert_eq!(reply(unary().chunk(&[0; 1006], false)).status, 502);
    assert_eq!(reply(unary().trailers(&[]).0).status, 502);
    assert_eq!(reply(call("POST", "/v1/cook", "").response(&[("grpc-status", "0")])).status, 502);
    assert_eq!(reply(call("POST", "/v1/cook", "").response_headers(&[(":status", "200"), ("content-type", "text/html")])).status, 502);
}

#[test]
fn headers_that_are_all_there_is_are_answered_at_once() {
    let answer = |path: &str, headers: &[(&str, &str)]| {
        let method = if path == "/v1/serve" { "GET" } else { "POST" };
        call(method, path, "").response_that_ends(&[&[(":status", "200"), ("content-type", "application/grpc")], headers].concat(), true)
    };
    for path in ["/v1/cook", "/v1/serve"] {
        let reply = reply(answer(path, &[]));
        assert!(reply.status == 502 && text(&reply).contains("ended without a status"), "{path}: {}", text(&reply));
    }
    assert_eq!(reply(answer("/v1/cook", &[("grpc-status", "5")])).status, 404);
    assert_eq!(text(&reply(answer("/v1/serve", &[("grpc-status", "0")]))), "[]");
    let mut other = call("POST", "/v1/cook", "");
    assert_eq!(other.response_that_ends(&[(":status", "503")], true), Verdict::Continue);
}

#[test]
fn errors_that_are_no_grpc_pass_as_they_are() {
    let mut envoy = call("POST", "/v1/cook", "");
    assert_eq!(envoy.response_headers(&[(":status", "503"), ("content-type", "text/plain")]), Verdict::Continue);
    assert_eq!(envoy.chunk(b"no healthy upstream", true), Verdict::Continue);
    assert_eq!(envoy.sent, b"no healthy upstream");
}

#[test]
fn a_stream_is_an_array_however_it_is_cut() {
    let bytes = [named("a"), named("b"), framed(b""), named("c")].concat();
    for size in 1..=bytes.len() {
        let mut envoy = streaming("");
        for chunk in bytes.chunks(size) {
            assert_eq!(envoy.chunk(chunk, false), Verdict::Pause);
        }
        let (verdict, sent) = envoy.trailers(OK);
        assert_eq!((verdict, sent.as_str()), (Verdict::Continue, r#"[{"name":"a"},{"name":"b"},{},{"name":"c"}]"#), "cut by {size}");
        assert_eq!(envoy.response_header("content-type").as_deref(), Some("application/json"));
        assert_eq!(envoy.response_header("content-length"), None);
    }
}

#[test]
fn an_array_flows_from_its_second_element_on() {
    let mut envoy = streaming("");
    envoy.chunk(&named("a"), false);
    assert_eq!(envoy.sent, b"");
    envoy.chunk(&named("b"), false);
    assert_eq!(envoy.sent, br#"[{"name":"a"},{"name":"b"}"#);
    envoy.chunk(&named("c"), false);
    assert_eq!(envoy.sent, br#"[{"name":"a"},{"name":"b"},{"name":"c"}"#);
}

#[test]
fn lines_and_events_flow_from_their_first_on() {
    for (accept, media, first) in [
        ("application/x-ndjson", "application/x-ndjson", "{\"name\":\"a\"}\n"),
        ("text/html, text/event-stream;q=0.9", "text/event-stream", "data: {\"name\":\"a\"}\n\n"),
    ] {
        let mut envoy = streaming(accept);
        let bytes = named("a");
        let (head, tail) = bytes.split_at(4);
        assert_eq!(envoy.chunk(head, false), Verdict::Pause);
        assert_eq!(envoy.chunk(tail, false), Verdict::Continue);
        assert_eq!(String::from_utf8(envoy.sent.clone()).unwrap(), first);
        assert_eq!(envoy.response_header("content-type").as_deref(), Some(media));
        assert_eq!(envoy.chunk(b"\0\0", false), Verdict::Continue);
        assert_eq!(envoy.chunk(b"\0\0\0", false), Verdict::Continue);
        let (verdict, sent) = envoy.trailers(OK);
        assert_eq!((verdict, sent.len() > first.len()), (Verdict::Continue, true));
    }
}

#[test]
fn an_empty_stream_is_an_empty_array() {
    for (accept, body) in [("", "[]"), ("text/event-stream", ""), ("application/x-ndjson", "")] {
        let reply = reply(streaming(accept).trailers(OK).0);
        assert_eq!((reply.status, text(&reply).as_str()), (200, body));
    }
    assert_eq!(text(&reply(call("GET", "/v1/serve", "").response(OK))), "[]");
}

#[test]
fn a_stream_that_is_cut_within_its_first_message_is_no_empty_stream() {
    for accept in ["", "application/x-ndjson", "text/event-stream"] {
        let cut = |status: &[(&str, &str)]| {
            let mut envoy = streaming(accept);
            assert_eq!(envoy.chunk(b"\0\0\0\0\x09x", false), Verdict::Pause);
            reply(envoy.trailers(status).0)
        };
        let broken = cut(OK);
        assert!(broken.status == 502 && text(&broken).contains("ended within a message"), "{accept}: {}", text(&broken));
        assert_eq!(cut(&[("grpc-status", "14")]).status, 503, "what the service says of it comes first");
    }
}

#[test]
fn an_error_after_the_first_message_ends_the_array_or_breaks_the_stream() {
    for messages in [1, 2, 3] {
        let mut envoy = streaming("");
        for _ in 0..messages {
            envoy.chunk(&named("a"), false);
        }
        let (verdict, sent) = envoy.trailers(&[("grpc-status", "8"), ("grpc-message", "full")]);
        assert_eq!(verdict, Verdict::Continue);
        let sent: Vec<serde_json::Value> = serde_json::from_str(&sent).unwrap();
        assert_eq!(sent.len(), messages + 1);
        assert_eq!(sent[messages]["error"]["code"], 8);
    }
    let mut lines = streaming("application/x-ndjson");
    assert_eq!(lines.chunk(&named("a"), false), Verdict::Continue);
    assert_eq!(lines.trailers(&[("grpc-status", "8")]).0, Verdict::Pause);
    assert!(lines.host.is_reset());
    for (chunk, end) in [(&b"\x01\0\0\0\0"[..], false), (b"\0\0\0\0\x02\x0a\x09", false), (b"", true)] {
        let mut envoy = streaming("");
        envoy.chunk(&named("a"), false);
        envoy.chunk(&named("b"), false);
        assert_eq!(envoy.chunk(chunk, end), Verdict::Pause);
        assert!(envoy.host.is_reset());
    }
    let mut cut = streaming("");
    cut.chunk(&named("a"), false);
    cut.chunk(b"\0\0\0", false);
    cut.trailers(OK);
    assert!(cut.host.is_reset(), "the upstream ended within a message");
    assert_eq!(reply(streaming("").chunk(b"\x01\0\0\0\0", false)).status, 502, "nothing was sent yet");
}

#[test]
fn http_bodies_are_sent_as_they_are() {
    let mut envoy = call("POST", "/v1/pictures/cat", "");
    assert_eq!(envoy.response(&[]), Verdict::Pause);
    let mut body = Vec::new();
    put_bytes(&mut body, tag_of_bytes(1), b"image/png");
    put_bytes(&mut body, tag_of_bytes(2), b"\x01PNG");
    assert_eq!(envoy.chunk(&framed(&body), false), Verdict::Pause);
    assert_eq!(envoy.trailers(OK), (Verdict::Continue, "\u{1}PNG".to_owned()));
    assert_eq!(envoy.response_header("content-type").as_deref(), Some("image/png"));
}
