//! What a callback decides about its stream, and the one shape in which every filter refuses.

use std::borrow::Cow;

/// What happens next with the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on to the next filter.
    Continue,
    /// Stays here: headers wait, body is buffered, until a later callback of this direction continues.
    /// Envoy's buffer limit bounds what is kept.
    Pause,
    /// Ends here with this answer.
    Reply(LocalReply),
}

/// An answer that the filter gives in place of the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// HTTP status. For a gRPC request Envoy answers 200 with trailers only, and `grpc_status` counts.
    pub status: u16,
    /// Headers beside `content-type` of the body; names in lower case.
    pub headers: Vec<(Cow<'static, str>, Vec<u8>)>,
    /// Body; for a gRPC request Envoy makes it the `grpc-message`.
    pub body: Vec<u8>,
    /// gRPC status code; `None` lets Envoy map it from `status`.
    pub grpc_status: Option<u32>,
    /// One word for the access log (`%RESPONSE_CODE_DETAILS%`), without spaces.
    pub details: &'static str,
}

/// In whose language a refusal is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// Anything that is not gRPC: a JSON body.
    Http,
    /// `content-type: application/grpc*`: a gRPC status.
    Grpc,
}

/// A refusal, before it is known how the caller wants to hear it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// HTTP status, 400–599.
    pub status: u16,
    /// Stable word for programs and for the access log, `snake_case`.
    pub code: &'static str,
    /// One sentence for a person. It never repeats what the client sent.
    pub message: Cow<'static, str>,
    /// Headers to send along (`www-authenticate`, `retry-after`); names in lower case.
    pub headers: Vec<(Cow<'static, str>, Vec<u8>)>,
    /// gRPC status code for gRPC callers.
    pub grpc_status: u32,
}

impl Denial {
    /// A refusal with the gRPC status that belongs to the HTTP status.
    pub fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new(), grpc_status: grpc_status_of(status) }
    }

    /// The same with one header more.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with another gRPC status.
    #[must_use]
    pub fn with_grpc_status(mut self, grpc_status: u32) -> Self {
        self.grpc_status = grpc_status;
        self
    }

    /// The answer in the caller's language: `{"error":{"code":…,"message":…}}`, or a gRPC status with the message.
    #[must_use]
    pub fn into_reply(self, caller: Caller) -> LocalReply {
        let mut headers = self.headers;
        let body = match caller {
            Caller::Grpc => self.message.into_owned().into_bytes(),
            Caller::Http => {
                headers.push(("content-type".into(), b"application/json".to_vec()));
                serde_json::json!({"error": {"code": self.code, "message": self.message}}).to_string().into_bytes()
            }
        };
        LocalReply { status: self.status, headers, body, grpc_status: Some(self.grpc_status), details: self.code }
    }
}

/// HTTP status to gRPC status, as the gRPC specification maps them (`http-grpc-status-mapping.md`), with 429 and 413 as
/// `RESOURCE_EXHAUSTED`.
fn grpc_status_of(status: u16) -> u32 {
    match status {
        400 | 415 | 431 => 3,
        401 => 16,
        403 => 7,
        404 => 5,
        413 | 429 => 8,
        501 => 12,
        502..=504 => 14,
        500..=599 => 13,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denial_is_json_for_http_and_a_status_for_grpc() {
        let denial = Denial::new(401, "token_missing", "a \"token\" is needed").with_header("www-authenticate", "Bearer");
        let http = denial.clone().into_reply(Caller::Http);
        assert_eq!(http.body, br#"{"error":{"code":"token_missing","message":"a \"token\" is needed"}}"#);
        assert!(http.headers.contains(&("content-type".into(), b"application/json".to_vec())));
        let grpc = denial.into_reply(Caller::Grpc);
        assert_eq!((grpc.grpc_status, grpc.body.as_slice()), (Some(16), b"a \"token\" is needed".as_slice()));
        assert_eq!(grpc.headers, vec![("www-authenticate".into(), b"Bearer".to_vec())]);
    }
}
