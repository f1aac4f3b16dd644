//! The way there: which binding a REST request has, what of it may not pass, and the gRPC request it becomes.

use std::rc::Rc;

use windrose_filter_kit::{Headers, HostError, LocalReply, RequestEdits};

use crate::binding::{Binding, Body};
use crate::config::Compiled;
use crate::frame;
use crate::json::Json;
use crate::json_to_proto::Encoder;
use crate::limits;
use crate::refusal::{Refusal, Result};
use crate::schema::{Form, Kind, MessageId, Method};
use crate::status::{self, Status};
use crate::wire;

/// Header that keeps the path which the client asked for.
const ORIGINAL_PATH: &str = "x-envoy-original-path";
/// Headers that are about the JSON body, or that would change how the upstream answers.
const NOT_PASSED_ON: [&str; 5] = ["content-length", "content-encoding", "grpc-encoding", "grpc-accept-encoding", "expect"];

/// A request that has a binding, between its headers and the end of its body.
#[derive(Debug)]
pub struct Call {
    /// The policy that was in force when it began.
    pub policy: Rc<Compiled>,
    /// Number of the binding.
    pub binding: usize,
    /// What path and query say, as protobuf.
    from_path: Vec<u8>,
    content_type: Option<Vec<u8>>,
    original_path: Vec<u8>,
    timeout: Timeout,
    to_remove: Vec<&'static str>,
    /// What the client wants a stream to look like.
    pub accept: Option<String>,
}

/// What becomes of the client's `grpc-timeout`.
#[derive(Debug, PartialEq, Eq)]
enum Timeout {
    /// It has none, or a good one.
    AsItIs,
    /// One that is none, or comes twice.
    Removed,
    /// Milliseconds.
    Cut(u64),
}

/// A JSON error in place of an answer.
#[must_use]
pub fn refusal(http_status: u16, status: &Status, details: &'static str) -> LocalReply {
    LocalReply {
        status: http_status,
        headers: vec![("content-type".into(), b"application/json".to_vec())],
        body: status.to_json(),
        grpc_status: None,
        details,
    }
}

fn bad_request(cause: &Refusal) -> Box<LocalReply> {
    Box::new(refusal(400, &Status::of_refusal(cause), "transcode_bad_request"))
}

fn too_large(policy: &Compiled) -> Box<LocalReply> {
    let message = format!("the body has more than {} bytes", policy.request_bytes_max);
    Box::new(refusal(413, &Status::new(status::RESOURCE_EXHAUSTED, message), "transcode_body_too_large"))
}

fn unsupported_media_type(message: &str) -> Box<LocalReply> {
    Box::new(refusal(415, &Status::new(status::INVALID_ARGUMENT, message), "transcode_media_type"))
}

impl Call {
    /// Looks at the request headers.
    ///
    /// # Errors
    /// The answer to a request that cannot become a call.
    pub fn begin(policy: &Rc<Compiled>, headers: &Headers) -> std::result::Result<Self, Box<LocalReply>> {
        let http_method = headers.text(":method").unwrap_or_default();
        let target = headers.text(":path").unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let matched = policy.router.matched(http_method, path).map_err(|cause| bad_request(&cause))?;
        let Some((matched, binding)) = matched.and_then(|matched| policy.bindings.get(matched.binding).map(|binding| (matched, binding)))
        else {
            let status = Status::new(status::NOT_FOUND, "no method is bound to this path");
            return Err(Box::new(refusal(404, &status, "transcode_no_binding")));
        };
        let mut from_path = Vec::new();
        let input = method_of(policy, binding).map(|method| method.input);
        if let Some(input) = input {
            let put = binding.put_path_and_query(&policy.schema, input, &matched.values, query, &policy.query, &mut from_path);
            put.map_err(|cause| bad_request(&cause))?;
        }
        let call = Self {
            policy: Rc::clone(policy),
            binding: matched.binding,
            from_path,
            content_type: headers.first("content-type").map(<[u8]>::to_vec),
            original_path: target.as_bytes().to_vec(),
            timeout: timeout(headers, policy.timeout_max_ms),
            to_remove: NOT_PASSED_ON.into_iter().filter(|name| headers.first(name).is_some()).collect(),
            accept: headers.text("accept").map(str::to_ascii_lowercase),
        };
        call.check_body_headers(headers)?;
        Ok(call)
    }

    fn check_body_headers(&self, headers: &Headers) -> std::result::Result<(), Box<LocalReply>> {
        let length = headers.text("content-length").and_then(|length| length.parse::<u64>().ok());
        if length.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > self.policy.request_bytes_max)) {
            return Err(too_large(&self.policy));
        }
        if headers.first("content-encoding").is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
            return Err(unsupported_media_type("encoded bodies are not taken"));
        }
        if self.takes_json() && self.content_type.as_deref().is_some_and(|media| !is_json(media)) {
            return Err(unsupported_media_type("the body must be application/json"));
        }
        Ok(())
    }

    /// The bound on what may be buffered.
    ///
    /// # Errors
    /// More than that is.
    pub fn check_size(&self, size: usize) -> std::result::Result<(), Box<LocalReply>> {
        if size > self.policy.request_bytes_max { Err(too_large(&self.policy)) } else { Ok(()) }
    }

    /// The framed gRPC body.
    ///
    /// # Errors
    /// The answer to a body that is no message.
    pub fn transcode(&self, body: &[u8]) -> std::result::Result<Vec<u8>, Box<LocalReply>> {
        self.check_size(body.len())?;
        let Some((binding, method)) = self.target() else { return Err(bad_request(&Refusal::new("the policy has no such binding"))) };
        if self.takes_json() && self.content_type.is_none() && !body.is_empty() {
            return Err(unsupported_media_type("the body must be application/json"));
        }
        let framed = if method.client_streaming { self.stream(method, body) } else { self.message(binding, method, body) };
        framed.map_err(|cause| bad_request(&cause))
    }

    /// What makes the headers those of the gRPC call.
    ///
    /// # Errors
    /// The policy has no such method.
    pub fn edits(&self) -> std::result::Result<RequestEdits, HostError> {
        let mut edits = RequestEdits::default();
        let path = self.target().map(|(_, method)| &*method.grpc_path).ok_or(HostError::NotFound)?;
        edits.set(ORIGINAL_PATH, &self.original_path);
        edits.set(":path", path.as_bytes());
        edits.set(":method", b"POST");
        edits.set("content-type", b"application/grpc");
        edits.set("te", b"trailers");
        self.to_remove.iter().for_each(|name| edits.remove(name));
        match self.timeout {
            Timeout::AsItIs => {}
            Timeout::Removed => edits.remove("grpc-timeout"),
            Timeout::Cut(milliseconds) => edits.set("grpc-timeout", format!("{milliseconds}m").as_bytes()),
        }
        Ok(edits)
    }

    fn target(&self) -> Option<(&Binding, &Method)> {
        let binding = self.policy.bindings.get(self.binding)?;
        Some((binding, method_of(&self.policy, binding)?))
    }

    /// Whether a body is expected and is JSON.
    fn takes_json(&self) -> bool {
        let Some((binding, method)) = self.target() else { return false };
        match binding.body {
            Body::Nowhere => false,
            Body::Message | Body::Field(_) => self.raw_body(binding, method).is_none(),
        }
    }

    /// The `google.api.HttpBody` that takes the bytes as they are, if the body goes into one.
    fn raw_body(&self, binding: &Binding, method: &Method) -> Option<MessageId> {
        let schema = &self.policy.schema;
        let id = match binding.body {
            Body::Nowhere => return None,
            Body::Message => method.input,
            Body::Field(index) => match schema.message(method.input).fields.get(usize::from(index))?.kind {
                Kind::Message(id) => id,
                _ => return None,
            },
        };
        (schema.message(id).form == Form::HttpBody).then_some(id)
    }

    fn message(&self, binding: &Binding, method: &Method, body: &[u8]) -> Result<Vec<u8>> {
        let schema = &*self.policy.schema;
        let mut out = Vec::with_capacity(frame::HEADER_BYTES + self.from_path.len() + body.len());
        let start = frame::open(&mut out);
        out.extend_from_slice(&self.from_path);
        if self.raw_body(binding, method).is_some() {
            self.put_raw(binding, body, &mut out);
        } else if !body.is_empty() {
            let mut encoder = Encoder::new(schema, self.policy.ignore_unknown_fields, &binding.variables, out);
            match binding.body {
                Body::Nowhere if body.iter().all(u8::is_ascii_whitespace) => {}
                Body::Nowhere => return Err(Refusal::new("this method takes no body")),
                Body::Message => encoder.body(&mut Json::new(body)?, method.input)?,
                Body::Field(index) => match schema.message(method.input).fields.get(usize::from(index)) {
                    Some(field) => encoder.body_field(&mut Json::new(body)?, field, usize::from(index))?,
                    None => return Err(Refusal::new("the policy has no such field")),
                },
            }
            out = encoder.out;
        }
        closed(out, start)
    }

    /// `google.api.HttpBody`: field 1 is the content type, field 2 the bytes.
    fn put_raw(&self, binding: &Binding, body: &[u8], out: &mut Vec<u8>) {
        let field = match binding.body {
            Body::Field(index) => {
                self.target().and_then(|(_, method)| self.policy.schema.message(method.input).fields.get(usize::from(index)))
            }
            Body::Nowhere | Body::Message => None,
        };
        let opened = field.map(|field| wire::open(out, field.tag()));
        let media = self.content_type.as_deref().unwrap_or(b"application/octet-stream");
        wire::put_bytes(out, wire::tag_of_bytes(1), String::from_utf8_lossy(media).as_bytes());
        wire::put_bytes(out, wire::tag_of_bytes(2), body);
        if let Some(start) = opened {
            wire::close(out, start);
        }
    }

    /// A client stream: an array of messages, one frame each.
    fn stream(&self, method: &Method, body: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(body.len());
        if body.is_empty() {
            return Ok(out);
        }
        let mut json = Json::new(body)?;
        if json.peek() != Some(b'[') {
            return Err(json.unexpected("an array of messages"));
        }
        let mut more = json.open(b'[', b']')?;
        let mut index = 0;
        while more {
            let start = frame::open(&mut out);
            let mut encoder = Encoder::new(&self.policy.schema, self.policy.ignore_unknown_fields, &[], out);
            encoder.element_of_body(&mut json, method.input).map_err(|cause| cause.in_index(index))?;
            out = closed(encoder.out, start)?;
            index += 1;
            more = json.more(b']')?;
        }
        json.end()?;
        Ok(out)
    }
}

fn closed(mut out: Vec<u8>, start: usize) -> Result<Vec<u8>> {
    if frame::close(&mut out, start) { Ok(out) } else { Err(Refusal::new("the message is too long")) }
}

/// The method that a binding calls.
pub(crate) fn method_of<'p>(policy: &'p Compiled, binding: &Binding) -> Option<&'p Method> {
    policy.schema.methods.get(binding.method)
}

/// `application/json` and `application/…+json`, in UTF-8 (the default) where a charset is named.
fn is_json(media: &[u8]) -> bool {
    let Ok(media) = std::str::from_utf8(media) else { return false };
    let mut parts = media.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    let charset = |part: &str| part.to_ascii_lowercase().strip_prefix("charset=").map(|name| name.trim_matches('"').to_owned());
    is_json && parts.filter_map(charset).all(|name| name == "utf-8" || name == "utf8")
}

/// The client's `grpc-timeout`: at most eight digits and a unit.
fn timeout(headers: &Headers, milliseconds_max: u64) -> Timeout {
    let value = match headers.only("grpc-timeout") {
        Ok(None) => return Timeout::AsItIs,
        Ok(Some(value)) => std::str::from_utf8(value).unwrap_or_default(),
        Err(_) => return Timeout::Removed,
    };
    let (digits, unit) = value.split_at_checked(value.len().saturating_sub(1)).unwrap_or_default();
    let number = if digits.len() <= 8 && digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse::<u64>().ok() } else { None };
    let microseconds = match (number, unit) {
        (Some(hours), "H") => hours * 3_600_000_000,
        (Some(minutes), "M") => minutes * 60_000_000,
        (Some(seconds), "S") => seconds * 1_000_000,
        (Some(milliseconds), "m") => milliseconds * 1000,
        (Some(microseconds), "u") => microseconds,
        (Some(nanoseconds), "n") => nanoseconds / 1000,
        _ => return Timeout::Removed,
    };
    match microseconds / 1000 {
        milliseconds if milliseconds < limits::TIMEOUT_MIN => Timeout::Cut(limits::TIMEOUT_MIN),
        milliseconds if milliseconds > milliseconds_max => Timeout::Cut(milliseconds_max),
        _ => Timeout::AsItIs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windrose_filter_kit::HeadersBuilder;

    #[test]
    fn timeouts_are_cut_at_both_ends() {
        let of = |value: &str| {
            let mut headers = HeadersBuilder::default();
            headers.push(b"grpc-timeout", value.as_bytes());
            timeout(&headers.build(), 60_000)
        };
        assert_eq!(of("1n"), Timeout::Cut(1));
        assert_eq!(of("0S"), Timeout::Cut(1));
        assert_eq!(of("10S"), Timeout::AsItIs);
        assert_eq!(of("99999999H"), Timeout::Cut(60_000));
        for strange in ["", "S", "1", "1x", "-1S", "999999999S", "1é"] {
            assert_eq!(of(strange), Timeout::Removed, "{strange}");
        }
        assert_eq!(timeout(&Headers::default(), 60_000), Timeout::AsItIs);
    }

    #[test]
    fn json_is_told_from_other_media() {
        for media in
            ["application/json", "Application/JSON; charset=UTF-8", "application/merge-patch+json", "application/json;charset=\"utf-8\""]
        {
            assert!(is_json(media.as_bytes()), "{media}");
        }
        for media in
            ["", "text/plain", "text/json", "application/jsonx", "application/json; charset=latin1", "application/x-www-form-urlencoded"]
        {
            assert!(!is_json(media.as_bytes()), "{media}");
        }
    }
}
