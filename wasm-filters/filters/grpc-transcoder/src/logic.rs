//! One stream from its headers to its trailers: which policy its route names, then the way there and the way back.

use std::rc::Rc;

use windrose_filter_kit::policies::Policies;
use windrose_filter_kit::policy::METADATA_NAMESPACE;
use windrose_filter_kit::{Body, Caller, ConfigError, Denial, Filter, FilterContext, HeaderMap, Host, Verdict};

use crate::config::{Compiled, Config};
use crate::request::{Call, refusal};
use crate::response::Answer;
use crate::status::{self, Status};

/// What the edits of this filter go by.
pub const NAME: &str = "grpc-transcoder";

/// Member of our route metadata that names the transcoding policy. A route without it is not transcoded.
pub const METADATA_TRANSCODE: &str = "transcode";

/// What stands before this filter as Envoy's own Lua filter, on the routes that are transcoded. A Wasm filter can change a
/// body and cannot make one, and a `GET` has none; this gives such a request an empty body, which becomes the gRPC message.
/// Without it requests without a body are answered 501. A call that is gRPC already has one, which may never end.
pub const GIVE_BODY_LUA: &str = r#"function envoy_on_request(request)
  local headers = request:headers()
  local media = string.lower(headers:get("content-type") or "")
  if string.sub(media, 1, 16) == "application/grpc" then return end
  local length = headers:get("content-length")
  if length == nil or length == "0" then request:body(true) end
end
"#;

/// The configured filter.
#[derive(Debug)]
pub struct GrpcTranscoder {
    policies: Policies<Compiled>,
}

impl Filter for GrpcTranscoder {
    type Context = Stream;

    fn configure(configuration: &[u8], _: &dyn Host) -> Result<Self, ConfigError> {
        let config = Config::parse(configuration)?;
        let policies = config.compile()?;
        Ok(Self { policies: Policies::new(policies, config.closed) })
    }

    fn succeed(&mut self, former: &Self, host: &dyn Host) {
        self.policies.succeed(&former.policies, host);
    }

    fn context(filter: &Rc<Self>) -> Stream {
        Stream { filter: Rc::clone(filter), stage: Stage::Untouched, size: 0 }
    }
}

/// One request and its response.
#[derive(Debug)]
pub struct Stream {
    filter: Rc<GrpcTranscoder>,
    stage: Stage,
    /// Bytes that Envoy holds for us in the present direction.
    size: usize,
}

#[derive(Debug)]
enum Stage {
    /// Not transcoded: nothing is looked at.
    Untouched,
    /// The request's body is still coming.
    Receiving(Box<Call>),
    /// The upstream has it.
    Calling(Box<Call>),
    /// The response is coming.
    Answering(Box<Answer>),
}

impl Stream {
    fn begin(&mut self, host: &dyn Host, end_of_stream: bool) -> Verdict {
        let metadata = ["xds", "route_metadata", "filter_metadata", METADATA_NAMESPACE, METADATA_TRANSCODE];
        let id = host.property(&metadata);
        if id == Ok(None) {
            return Verdict::Continue;
        }
        let headers = host.headers(HeaderMap::Request);
        // It needs nothing of the policy, also where that is not in force.
        if headers.caller() == Caller::Grpc {
            return Verdict::Continue;
        }
        let policy = id.ok().flatten().and_then(|id| self.filter.policies.get(std::str::from_utf8(&id).ok()?, host));
        let Some(policy) = policy.map(|known| known.policy()) else {
            let denial = Denial::new(500, "transcode_policy_unknown", "the transcoding policy of this route is not in force");
            return Verdict::Reply(denial.into_reply(headers.caller()));
        };
        match Call::begin(policy, &headers) {
            // Envoy lets a filter of this kind change a body and not make one.
            Ok(_) if end_of_stream => Verdict::Reply(refusal(501, &without_body(), "transcode_no_body")),
            Ok(call) => {
                self.stage = Stage::Receiving(Box::new(call));
                Verdict::Pause
            }
            Err(reply) => Verdict::Reply(*reply),
        }
    }

    /// The request is complete: `size` bytes are buffered.
    fn call(&mut self, host: &dyn Host, size: usize) -> Verdict {
        let Stage::Receiving(call) = std::mem::replace(&mut self.stage, Stage::Untouched) else { return Verdict::Continue };
        let framed = match call.transcode(&host.body(Body::Request, 0, size)) {
            Ok(framed) => framed,
            Err(reply) => return Verdict::Reply(*reply),
        };
        let rewritten =
            call.edits().and_then(|edits| edits.hand_over(NAME, host)).and_then(|()| host.replace_body(Body::Request, 0, size, &framed));
        if rewritten.is_err() {
            let status = Status::new(status::INTERNAL, "the request could not be rewritten");
            return Verdict::Reply(refusal(500, &status, "transcode_rewrite_refused"));
        }
        self.stage = Stage::Calling(call);
        self.size = 0;
        Verdict::Continue
    }
}

fn without_body() -> Status {
    Status::new(status::UNIMPLEMENTED, "this listener gives no body to requests without one, so they cannot become gRPC calls")
}

impl FilterContext for Stream {
    fn on_request_headers(&mut self, host: &dyn Host, end_of_stream: bool) -> Verdict {
        self.begin(host, end_of_stream)
    }

    fn on_request_body(&mut self, host: &dyn Host, size: usize, end_of_stream: bool) -> Verdict {
        let Stage::Receiving(call) = &self.stage else { return Verdict::Continue };
        if let Err(reply) = call.check_size(size) {
            return Verdict::Reply(*reply);
        }
        self.size = size;
        if end_of_stream { self.call(host, size) } else { Verdict::Pause }
    }

    fn on_request_trailers(&mut self, host: &dyn Host) -> Verdict {
        match self.stage {
            Stage::Receiving(_) if self.size == 0 => Verdict::Reply(refusal(501, &without_body(), "transcode_no_body")),
            Stage::Receiving(_) => self.call(host, self.size),
            Stage::Untouched | Stage::Calling(_) | Stage::Answering(_) => Verdict::Continue,
        }
    }

    fn on_response_headers(&mut self, host: &dyn Host, end_of_stream: bool) -> Verdict {
        let Stage::Calling(call) = std::mem::replace(&mut self.stage, Stage::Untouched) else { return Verdict::Continue };
        match Answer::begin(&call, host) {
            None => Verdict::Continue,
            // Nobody would call this filter again.
            Some(Ok(answer)) if end_of_stream => answer.ended_without_status(),
            Some(Ok(answer)) => {
                self.stage = Stage::Answering(Box::new(answer));
                Verdict::Pause
            }
            Some(Err(verdict)) => verdict,
        }
    }

    fn on_response_body(&mut self, host: &dyn Host, size: usize, end_of_stream: bool) -> Verdict {
        self.size = size;
        match &mut self.stage {
            Stage::Answering(answer) => answer.on_body(host, size, end_of_stream),
            Stage::Untouched | Stage::Receiving(_) | Stage::Calling(_) => Verdict::Continue,
        }
    }

    fn on_response_trailers(&mut self, host: &dyn Host) -> Verdict {
        match &mut self.stage {
            Stage::Answering(answer) => answer.on_trailers(host, self.size),
            Stage::Untouched | Stage::Receiving(_) | Stage::Calling(_) => Verdict::Continue,
        }
    }
}
