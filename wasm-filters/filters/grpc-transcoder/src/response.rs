//! The way back: gRPC messages and status become one JSON value, a JSON array, lines or events, and an HTTP status.
//! The headers wait until it is known how the call went: for a stream, until its first message.

use std::rc::Rc;

use windrose_filter_kit::{Body, HeaderMap, Headers, Host, LocalReply, Verdict};

use crate::config::Compiled;
use crate::frame::Deframer;
use crate::limits;
use crate::proto_to_json::{print_field, print_message};
use crate::request::{Call, method_of, refusal};
use crate::schema::{Form, Kind, MessageId};
use crate::status::{self, Status};
use crate::wire::{Reader, Value};

/// Headers of a gRPC response that say nothing about the JSON.
const NOT_PASSED_ON: [&str; 6] = ["content-length", "grpc-encoding", "grpc-accept-encoding", "trailer", "grpc-status", "grpc-message"];
/// Headers that Envoy writes itself, or that would lie about a reply of ours.
const NOT_IN_REPLIES: [&str; 8] = ["content-type", "content-length", "transfer-encoding", "connection", "date", "server", "te", "trailer"];
/// Upstream headers that are passed on with an error.
const REPLY_HEADERS_MAX: usize = 64;

/// A response under way.
#[derive(Debug)]
pub struct Answer {
    policy: Rc<Compiled>,
    output: MessageId,
    response_body: Option<u32>,
    shape: Shape,
    headers: Headers,
    frames: Deframer,
    /// The response headers are those of the JSON.
    is_started: bool,
    /// Messages of a stream that were written.
    written: usize,
    /// What of ours lies in Envoy's buffer, unsent.
    held: Vec<u8>,
}

/// What the response looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One message, one value.
    Single,
    /// A stream as a JSON array.
    Array,
    /// A stream as lines (`application/x-ndjson`).
    Lines,
    /// A stream as events (`text/event-stream`).
    Events,
    /// A stream of `google.api.HttpBody`, as its bytes.
    Bytes,
}

impl Shape {
    fn content_type(self) -> &'static [u8] {
        match self {
            Self::Single | Self::Array => b"application/json",
            Self::Lines => b"application/x-ndjson",
            Self::Events => b"text/event-stream",
            Self::Bytes => b"application/octet-stream",
        }
    }
}

impl Answer {
    /// Looks at the response headers of a call: the answer to come, or the verdict at once. `None`: this is no gRPC response
    /// and passes as it is (a local reply of Envoy, an upstream's own error).
    #[must_use]
    pub fn begin(call: &Call, host: &dyn Host) -> Option<Result<Self, Verdict>> {
        let headers = host.headers(HeaderMap::Response);
        let policy = &call.policy;
        let is_grpc = headers.first("content-type").is_some_and(|media| media.starts_with(b"application/grpc"));
        if !is_grpc && headers.first(":status") != Some(b"200") {
            return None;
        }
        let binding = policy.bindings.get(call.binding)?;
        let method = method_of(policy, binding)?;
        let answer = Self {
            policy: Rc::clone(policy),
            output: method.output,
            response_body: binding.response_body,
            shape: shape(call, method.server_streaming, is_raw(policy, method.output, binding.response_body)),
            frames: Deframer::new(policy.response_message_bytes_max),
            is_started: false,
            written: 0,
            held: Vec::new(),
            headers,
        };
        if !is_grpc {
            return Some(Err(answer.broken("the upstream did not answer with gRPC")));
        }
        let status = Status::of_headers(&policy.schema, policy.printing, |name| answer.headers.first(name));
        Some(match status {
            Some(status) => Err(answer.ended_without_message(&status)),
            None => Ok(answer),
        })
    }

    /// The response headers were all there is, and no status is among them.
    #[must_use]
    pub fn ended_without_status(&self) -> Verdict {
        self.broken("the upstream ended without a status")
    }

    /// A piece of the body is here.
    pub fn on_body(&mut self, host: &dyn Host, size: usize, end_of_stream: bool) -> Verdict {
        if self.shape == Shape::Single {
            return match (size, end_of_stream) {
                (size, _) if size > self.policy.response_message_bytes_max.saturating_add(crate::frame::HEADER_BYTES) => {
                    self.broken("the upstream sent more than one message of the allowed length")
                }
                (_, true) => self.ended_without_status(),
                (_, false) => Verdict::Pause,
            };
        }
        self.frames.push(host.body(Body::Response, self.held.len(), size));
        let mut out = Vec::new();
        if let Err(reason) = self.drain(&mut out) {
            return self.break_off(host, &reason);
        }
        if end_of_stream {
            return self.break_off(host, "the upstream ended without a status");
        }
        self.send(host, size, out)
    }

    /// The trailers are here: the status is known.
    pub fn on_trailers(&mut self, host: &dyn Host, size: usize) -> Verdict {
        let trailers = host.headers(HeaderMap::ResponseTrailers);
        let policy = Rc::clone(&self.policy);
        let status = Status::of_headers(&policy.schema, policy.printing, |name| trailers.first(name));
        let Some(status) = status else { return self.break_off(host, "the upstream ended without a status") };
        for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
            if trailers.first(name).is_some() && host.remove_header(HeaderMap::ResponseTrailers, name).is_err() {
                return self.break_off(host, "the status cannot be taken out of the trailers");
            }
        }
        match (self.shape, self.written) {
            (Shape::Single, _) => self.single(host, size, &status),
            (_, 0) if self.frames.is_empty() || status.code != status::OK => self.ended_without_message(&status),
            (_, _) if !self.frames.is_empty() => self.break_off(host, "the upstream ended within a message"),
            (_, _) => self.tail(host, &status),
        }
    }

    fn single(&mut self, host: &dyn Host, size: usize, status: &Status) -> Verdict {
        if status.code != status::OK {
            return self.failed(status);
        }
        self.frames.push(host.body(Body::Response, 0, size));
        let policy = Rc::clone(&self.policy);
        let raw = is_raw(&policy, self.output, self.response_body);
        let mut out = Vec::with_capacity(size.saturating_mul(2));
        let content_type = match self.frames.next_message() {
            Ok(Some(message)) if raw => put_raw(message, self.response_body, &mut out),
            Ok(Some(message)) => print(&policy, self.output, self.response_body, message, &mut out).map(|()| None),
            Ok(None) => Err("the upstream sent no whole message".to_owned()),
            Err(broken) => Err(broken.to_string()),
        };
        let content_type = match content_type {
            Ok(content_type) => content_type,
            Err(reason) => return self.broken(&reason),
        };
        if !self.frames.is_empty() {
            return self.broken("the upstream sent more than one message");
        }
        let replaced = host.replace_body(Body::Response, 0, size, &out);
        let written = replaced.and_then(|()| self.start(host, content_type.as_deref(), Some(out.len())));
        if written.is_ok() { Verdict::Continue } else { self.broken("the response could not be replaced") }
    }

    /// Writes every whole message that is here.
    fn drain(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        let policy = Rc::clone(&self.policy);
        while let Some(message) = self.frames.next_message().map_err(|broken| broken.to_string())? {
            match self.shape {
                Shape::Single => {}
                Shape::Array => out.push(if self.written == 0 { b'[' } else { b',' }),
                Shape::Lines | Shape::Bytes => {}
                Shape::Events => out.extend(b"data: "),
            }
            if self.shape == Shape::Bytes {
                put_raw(message, self.response_body, out)?;
            } else {
                print(&policy, self.output, self.response_body, message, out)?;
            }
            match self.shape {
                Shape::Single | Shape::Array | Shape::Bytes => {}
                Shape::Lines => out.push(b'\n'),
                Shape::Events => out.extend(b"\n\n"),
            }
            self.written += 1;
        }
        Ok(())
    }

    /// Hands written messages to Envoy in place of the `size` bytes that are buffered.
    ///
    /// Lines and events leave at once. An array must be able to write its end when only trailers come, and Envoy takes bytes at
    /// the trailers only if it still holds a buffer for us. So an array stays paused: its first element waits for the second
    /// (or the end), and from then on each resume sends what is buffered while the pause goes on.
    fn send(&mut self, host: &dyn Host, size: usize, out: Vec<u8>) -> Verdict {
        let starts = self.written > 0 && !self.is_started;
        if starts && self.start(host, None, None).is_err() {
            return self.broken("the response headers could not be written");
        }
        let waits = self.shape == Shape::Array && (starts || out.is_empty());
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(&out);
        if host.replace_body(Body::Response, 0, size, &all).is_err() {
            return self.break_off(host, "the response could not be replaced");
        }
        if self.shape != Shape::Array {
            return if self.written == 0 { Verdict::Pause } else { Verdict::Continue };
        }
        if waits {
            self.held = all;
        } else if host.resume(Body::Response).is_err() {
            return self.break_off(host, "the response could not be sent on");
        }
        Verdict::Pause
    }

    /// Makes the response headers those of the JSON; they are kept no longer.
    fn start(&mut self, host: &dyn Host, content_type: Option<&[u8]>, length: Option<usize>) -> Result<(), windrose_filter_kit::HostError> {
        let map = HeaderMap::Response;
        let headers = std::mem::take(&mut self.headers);
        self.is_started = true;
        for name in NOT_PASSED_ON {
            if headers.first(name).is_some() {
                host.remove_header(map, name)?;
            }
        }
        if let Some(length) = length {
            host.set_header(map, "content-length", length.to_string().as_bytes())?;
        }
        host.set_header(map, "content-type", content_type.unwrap_or(self.shape.content_type()))
    }

    /// The end of a stream that has sent messages.
    fn tail(&mut self, host: &dyn Host, status: &Status) -> Verdict {
        let failed = status.code != status::OK;
        if self.shape != Shape::Array {
            // Envoy takes no more bytes for these; a client must not take what it has for all there is.
            return if failed { self.break_off(host, "the call failed") } else { Verdict::Continue };
        }
        let mut all = std::mem::take(&mut self.held);
        let size = all.len().max(1);
        if failed {
            all.extend(b",{\"error\":");
            all.extend(status.to_json());
            all.push(b'}');
        }
        all.push(b']');
        if host.replace_body(Body::Response, 0, size, &all).is_err() {
            return self.break_off(host, "the end of the array could not be written");
        }
        Verdict::Continue
    }

    /// A call that ended before its first message.
    fn ended_without_message(&self, status: &Status) -> Verdict {
        match (self.shape, status.code) {
            (Shape::Single, status::OK) => self.broken("the upstream sent no message"),
            (Shape::Array, status::OK) => self.empty(b"[]"),
            (Shape::Lines | Shape::Events | Shape::Bytes, status::OK) => self.empty(b""),
            _ => self.failed(status),
        }
    }

    fn empty(&self, body: &[u8]) -> Verdict {
        let mut headers = self.passed_on();
        headers.push(("content-type".into(), self.shape.content_type().to_vec()));
        Verdict::Reply(LocalReply { status: 200, headers, body: body.to_vec(), grpc_status: None, details: "transcode_empty_stream" })
    }

    fn failed(&self, status: &Status) -> Verdict {
        let mut reply = refusal(status::http_status(status.code), status, "transcode_grpc_status");
        reply.headers.extend(self.passed_on());
        Verdict::Reply(reply)
    }

    fn broken(&self, reason: &str) -> Verdict {
        Verdict::Reply(refusal(502, &Status::new(status::INTERNAL, reason), "transcode_upstream_broken"))
    }

    /// An error when something may have been sent: then only a reset tells the client.
    fn break_off(&self, host: &dyn Host, reason: &str) -> Verdict {
        if !self.is_started {
            return self.broken(reason);
        }
        // A reset that is refused leaves the stream paused, which the route's timeout ends.
        let _ = host.reset();
        Verdict::Pause
    }

    /// The upstream's own headers, for a reply of ours.
    fn passed_on(&self) -> Vec<(std::borrow::Cow<'static, str>, Vec<u8>)> {
        let is_own = |name: &[u8]| {
            !name.starts_with(b":") && !name.starts_with(b"grpc-") && !NOT_IN_REPLIES.iter().any(|known| known.as_bytes() == name)
        };
        let pairs = self.headers.iter().filter(|(name, _)| is_own(name)).take(REPLY_HEADERS_MAX);
        pairs.map(|(name, value)| (String::from_utf8_lossy(name).into_owned().into(), value.to_vec())).collect()
    }
}

fn shape(call: &Call, streaming: bool, raw: bool) -> Shape {
    let accepts = |media: &str| call.accept.as_deref().is_some_and(|accept| accept.split([',', ';']).any(|part| part.trim() == media));
    match () {
        () if !streaming => Shape::Single,
        () if raw => Shape::Bytes,
        () if accepts("text/event-stream") => Shape::Events,
        () if accepts("application/x-ndjson") || accepts("application/jsonl") => Shape::Lines,
        () => Shape::Array,
    }
}

/// Whether the response is `google.api.HttpBody` (or a field of that type): bytes, not JSON.
fn is_raw(policy: &Compiled, output: MessageId, response_body: Option<u32>) -> bool {
    let schema = &policy.schema;
    let Some(number) = response_body else { return schema.message(output).form == Form::HttpBody };
    match schema.message(output).by_number(number, 0).map(|(_, field)| field.kind) {
        Some(Kind::Message(id)) => schema.message(id).form == Form::HttpBody,
        _ => false,
    }
}

fn print(policy: &Compiled, output: MessageId, response_body: Option<u32>, message: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let bytes_max = policy.response_message_bytes_max.saturating_mul(limits::JSON_GROWTH_MAX);
    let printed = match response_body {
        Some(number) => print_field(&policy.schema, policy.printing, (output, number), message, out, bytes_max),
        None => print_message(&policy.schema, policy.printing, output, message, out, bytes_max),
    };
    printed.map_err(|reason| reason.to_string())
}

/// Appends the bytes of a `google.api.HttpBody`; gives its content type.
fn put_raw(message: &[u8], response_body: Option<u32>, out: &mut Vec<u8>) -> Result<Option<Vec<u8>>, String> {
    let malformed = || "the response is not a google.api.HttpBody".to_owned();
    let last = |bytes: &[u8], wanted: u32| {
        let mut found = Vec::new();
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.next_field().map_err(|_| malformed())? {
            if let (true, Value::Bytes(bytes)) = (number == wanted, value) {
                found = bytes.to_vec();
            }
        }
        Ok::<_, String>(found)
    };
    let body = response_body.map_or_else(|| Ok(message.to_vec()), |number| last(message, number))?;
    let content_type = last(&body, 1)?;
    out.extend(last(&body, 2)?);
    let is_header = !content_type.is_empty() && content_type.iter().all(|byte| (0x20..0x7f).contains(byte));
    Ok(Some(if is_header { content_type } else { b"application/octet-stream".to_vec() }))
}
