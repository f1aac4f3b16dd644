//! Envoy as this filter sees it: buffers while the filter pauses, sends when it continues or resumes.

use std::rc::Rc;

use windrose_filter_kit::fake::{FakeHost, FakeStream};
use windrose_filter_kit::policy::METADATA_NAMESPACE;
use windrose_filter_kit::{Body, Filter, FilterContext, HeaderMap, Host, LocalReply, Verdict};
use windrose_grpc_transcoder::config::{Config, Policy};
use windrose_grpc_transcoder::frame;
use windrose_grpc_transcoder::logic::{GrpcTranscoder, METADATA_TRANSCODE, Stream};

use crate::kitchen::{SERVICE, SET};

/// One stream through the filter.
pub(crate) struct Envoy {
    pub(crate) host: FakeHost,
    stream: FakeStream<Stream>,
    /// The filter paused with data, so that data is Envoy's own buffer now.
    buffering: bool,
    /// What went on to the client.
    pub(crate) sent: Vec<u8>,
}

/// The policy of the kitchen, with its options.
pub(crate) fn filter(options: impl FnOnce(&mut Policy)) -> Rc<GrpcTranscoder> {
    let mut policy = Policy { descriptors: "kitchen".into(), services: vec![SERVICE.into()], ..Policy::default() };
    options(&mut policy);
    let config = Config {
        descriptors: [("kitchen".into(), Config::encode_descriptors(&SET))].into(),
        policies: [("p".into(), policy)].into(),
        ..Config::default()
    };
    Rc::new(GrpcTranscoder::configure(config.to_json().as_bytes(), &FakeHost::new()).unwrap())
}

/// A framed message.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = frame::open(&mut out);
    out.extend(message);
    assert!(frame::close(&mut out, start));
    out
}

impl Envoy {
    pub(crate) fn new(filter: &Rc<GrpcTranscoder>) -> Self {
        let host = FakeHost::new();
        host.put_property(&["xds", "route_metadata", "filter_metadata", METADATA_NAMESPACE, METADATA_TRANSCODE], "p");
        Self { host, stream: FakeStream::new(filter), buffering: false, sent: Vec::new() }
    }

    /// Request headers; `media` empty for none.
    pub(crate) fn headers(&mut self, method: &str, path: &str, media: &str, more: &[(&str, &str)]) -> Verdict {
        for (name, value) in
            [(":method", method), (":path", path), ("content-type", media)].iter().chain(more).filter(|(_, value)| !value.is_empty())
        {
            self.host.push_header(HeaderMap::Request, name, value);
        }
        let host = &self.host;
        self.stream.run(|context| context.on_request_headers(host, false))
    }

    pub(crate) fn headers_only(&mut self, method: &str, path: &str) -> Verdict {
        self.host.push_header(HeaderMap::Request, ":method", method);
        self.host.push_header(HeaderMap::Request, ":path", path);
        let host = &self.host;
        self.stream.run(|context| context.on_request_headers(host, true))
    }

    /// A piece of the request body.
    pub(crate) fn body(&mut self, bytes: &[u8], end: bool) -> Verdict {
        let mut all = self.host.whole_body(Body::Request);
        all.extend(bytes);
        let size = all.len();
        self.host.put_body(Body::Request, all);
        let host = &self.host;
        self.stream.run(|context| context.on_request_body(host, size, end))
    }

    pub(crate) fn request_trailers(&mut self) -> Verdict {
        let host = &self.host;
        self.stream.run(|context| context.on_request_trailers(host))
    }

    /// A whole request: the framed gRPC body, or the reply.
    pub(crate) fn request(&mut self, method: &str, path: &str, media: &str, body: &str) -> Result<Vec<u8>, LocalReply> {
        let verdict = match self.headers(method, path, media, &[]) {
            Verdict::Pause => self.body(body.as_bytes(), true),
            other => other,
        };
        match verdict {
            Verdict::Continue => Ok(self.host.whole_body(Body::Request)),
            Verdict::Reply(reply) => Err(reply),
            Verdict::Pause => panic!("the request waits for ever"),
        }
    }

    /// Response headers of gRPC.
    pub(crate) fn response(&mut self, more: &[(&str, &str)]) -> Verdict {
        let grpc = [(":status", "200"), ("content-type", "application/grpc")];
        self.response_headers(&[&grpc[..], more].concat())
    }

    pub(crate) fn response_headers(&mut self, headers: &[(&str, &str)]) -> Verdict {
        self.response_that_ends(headers, false)
    }

    /// Response headers, which may be all there is.
    pub(crate) fn response_that_ends(&mut self, headers: &[(&str, &str)], end: bool) -> Verdict {
        for (name, value) in headers {
            self.host.push_header(HeaderMap::Response, name, value);
        }
        let host = &self.host;
        self.stream.run(|context| context.on_response_headers(host, end))
    }

    /// A piece of the response body; `sent` grows by what leaves.
    pub(crate) fn chunk(&mut self, bytes: &[u8], end: bool) -> Verdict {
        let mut all = self.host.whole_body(Body::Response);
        all.extend(bytes);
        let size = all.len();
        self.host.put_body(Body::Response, all);
        let host = &self.host;
        let verdict = self.stream.run(|context| context.on_response_body(host, size, end));
        // A resume sends what is in Envoy's own buffer; bytes that came just now are in it only if the filter had paused before.
        if !self.host.take_resumed().is_empty() && self.buffering {
            self.flush();
        }
        self.buffering = verdict == Verdict::Pause;
        if verdict == Verdict::Continue {
            self.flush();
        }
        verdict
    }

    /// The end; the verdict and all that the client has got.
    pub(crate) fn trailers(&mut self, trailers: &[(&str, &str)]) -> (Verdict, String) {
        for (name, value) in trailers {
            self.host.push_header(HeaderMap::ResponseTrailers, name, value);
        }
        let before = self.host.whole_body(Body::Response);
        let host = &self.host;
        let verdict = self.stream.run(|context| context.on_response_trailers(host));
        if !self.buffering {
            assert_eq!(self.host.whole_body(Body::Response), before, "Envoy takes no bytes at the trailers unless it holds a buffer");
        }
        if verdict == Verdict::Continue {
            self.flush();
        }
        (verdict, String::from_utf8(self.sent.clone()).unwrap())
    }

    fn flush(&mut self) {
        self.sent.extend(self.host.whole_body(Body::Response));
        self.host.put_body(Body::Response, Vec::new());
    }

    pub(crate) fn request_header(&self, name: &str) -> Option<String> {
        self.host.headers(HeaderMap::Request).text(name).map(str::to_owned)
    }

    pub(crate) fn response_header(&self, name: &str) -> Option<String> {
        self.host.headers(HeaderMap::Response).text(name).map(str::to_owned)
    }
}

/// The body of a reply as text.
pub(crate) fn text(reply: &LocalReply) -> String {
    String::from_utf8(reply.body.clone()).unwrap()
}

/// The reply of a verdict.
pub(crate) fn reply(verdict: Verdict) -> LocalReply {
    match verdict {
        Verdict::Reply(reply) => reply,
        other => panic!("no reply but {other:?}"),
    }
}
