//! gRPC status as HTTP: the code, the message, the details, and the JSON of an error
//! (`{"code":5,"message":"…","details":[…]}`, as `google.rpc.Status` prints).

use crate::json::put_string;
use crate::limits;
use crate::path::escaped_byte;
use crate::proto_to_json::{Printing, print_message};
use crate::refusal::Refusal;
use crate::scalar::decode_base64;
use crate::schema::Schema;
use crate::wire::{Reader, Value};

/// `OK`
pub const OK: u32 = 0;
/// `UNKNOWN`
pub const UNKNOWN: u32 = 2;
/// `INVALID_ARGUMENT`
pub const INVALID_ARGUMENT: u32 = 3;
/// `NOT_FOUND`
pub const NOT_FOUND: u32 = 5;
/// `RESOURCE_EXHAUSTED`
pub const RESOURCE_EXHAUSTED: u32 = 8;
/// `UNIMPLEMENTED`
pub const UNIMPLEMENTED: u32 = 12;
/// `INTERNAL`
pub const INTERNAL: u32 = 13;

/// The HTTP status of a gRPC status code, as `google.rpc.Code` documents them.
#[must_use]
pub fn http_status(code: u32) -> u16 {
    match code {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// gRPC status code.
    pub code: u32,
    /// For a person.
    pub message: String,
    /// Each detail as JSON.
    pub details: Vec<Vec<u8>>,
}

impl Status {
    /// A status of our own.
    #[must_use]
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }

    /// A request that is answered with 400, with the field that it is about.
    #[must_use]
    pub fn of_refusal(refusal: &Refusal) -> Self {
        let mut detail = b"{\"@type\":\"type.googleapis.com/google.rpc.BadRequest\",\"fieldViolations\":[{\"field\":".to_vec();
        put_string(&mut detail, &refusal.field_path());
        detail.extend(b",\"description\":");
        put_string(&mut detail, refusal.reason());
        detail.extend(b"}]}");
        Self { code: INVALID_ARGUMENT, message: refusal.to_string(), details: vec![detail] }
    }

    /// From the three headers of a gRPC response; `None` when there is no `grpc-status`.
    #[must_use]
    pub fn of_headers<'h>(schema: &Schema, printing: Printing, header: impl Fn(&str) -> Option<&'h [u8]>) -> Option<Self> {
        let code = std::str::from_utf8(header("grpc-status")?).ok().and_then(|code| code.trim().parse().ok()).unwrap_or(UNKNOWN);
        let message = header("grpc-message").map(percent_decoded).unwrap_or_default();
        let details = header("grpc-status-details-bin").filter(|_| code != OK).map(|bytes| details(schema, printing, bytes));
        Some(Self { code, message, details: details.unwrap_or_default() })
    }

    /// The error as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = format!("{{\"code\":{},\"message\":", self.code).into_bytes();
        put_string(&mut out, &self.message);
        out.extend(b",\"details\":[");
        out.extend(self.details.join(&b','));
        out.extend(b"]}");
        out
    }
}

/// The details whose types are known; what cannot be read is left out.
fn details(schema: &Schema, printing: Printing, header: &[u8]) -> Vec<Vec<u8>> {
    let Some(any) = schema.message_named("google.protobuf.Any") else { return Vec::new() };
    let mut bytes = Vec::new();
    // Several values of a header are joined by commas; the first is enough.
    let first = header.split(|byte| *byte == b',').next().unwrap_or_default();
    if decode_base64(first.trim_ascii(), &mut bytes).is_none() {
        return Vec::new();
    }
    let mut details = Vec::new();
    let mut reader = Reader::new(&bytes);
    while let Ok(Some((number, value))) = reader.next_field() {
        let mut json = Vec::new();
        if let (3, Value::Bytes(detail)) = (number, value)
            && print_message(schema, printing, any, detail, &mut json, limits::JSON_GROWTH_MAX * detail.len().max(64)).is_ok()
        {
            details.push(json);
        }
    }
    details
}

/// `grpc-message` is percent-encoded UTF-8; what is not is kept as readable as it can be.
fn percent_decoded(raw: &[u8]) -> String {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw.get(..limits::STATUS_MESSAGE_BYTES_MAX).unwrap_or(raw);
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, escaped_byte(after.first().copied(), after.get(1).copied())) {
            (b'%', Some(escaped)) => {
                out.push(escaped);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_http_status() {
        let statuses: Vec<u16> = (0..=17).map(http_status).collect();
        assert_eq!(statuses, [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401, 500]);
    }

    fn of(pairs: &[(&str, &'static str)]) -> Option<Status> {
        let header = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes());
        Status::of_headers(&Schema::default(), Printing::default(), header)
    }

    #[test]
    fn messages_are_decoded_and_escaped() {
        let status = of(&[("grpc-status", "5"), ("grpc-message", "no%0D%0A%22x%22 %C3%A9 %zz %")]).unwrap();
        assert_eq!(status.message, "no\r\n\"x\" é %zz %");
        assert_eq!(String::from_utf8(status.to_json()).unwrap(), r#"{"code":5,"message":"no\r\n\"x\" é %zz %","details":[]}"#);
    }

    #[test]
    fn a_strange_status_is_unknown_and_none_is_none() {
        assert_eq!(of(&[("grpc-status", "banana")]).unwrap().code, UNKNOWN);
        assert_eq!(of(&[("grpc-message", "x")]), None);
        assert_eq!(of(&[("grpc-status", "3"), ("grpc-status-details-bin", "!!")]).unwrap().details, Vec::<Vec<u8>>::new());
    }
}
