//! Delta responses out of the pieces of a gRPC body, without keeping them: a fleet that holds the first response of
//! each of its proxies whole would need gigabytes.

use std::collections::BTreeMap;

use bytes::{Buf, BytesMut};
use prost::Message;

use crate::limits;

/// Reads one stream.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    /// Bytes of the message that are not read yet; none between two messages.
    left: Option<usize>,
    response: Response,
    /// Versions by name, where somebody wants to know them.
    versions: Option<BTreeMap<String, String>>,
}

/// What is kept of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Its nonce.
    pub nonce: String,
    /// Its type.
    pub type_url: String,
    /// How many resources it holds.
    pub resources: usize,
    /// How many names it removes.
    pub removed: usize,
    /// The last of its resources, encoded.
    pub last: Vec<u8>,
    /// Its length in bytes, with the five that gRPC puts before it.
    pub length: usize,
}

/// A body that is no sequence of delta responses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the response is malformed: {0}")]
pub struct Malformed(&'static str);

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(bytes = "vec", tag = "2")]
    any: Vec<u8>,
    #[prost(string, tag = "3")]
    name: String,
}

impl Response {
    /// Whether it holds exactly the resource of that name, and that text somewhere in its body.
    #[must_use]
    pub fn is_only(&self, name: &str, mark: &str) -> bool {
        let Ok(entry) = Entry::decode(&self.last[..]) else { return false };
        let marked = || entry.any.windows(mark.len()).any(|window| window == mark.as_bytes());
        self.resources == 1 && self.removed == 0 && entry.name == name && marked()
    }
}

impl Reader {
    /// One that keeps the versions of what it reads.
    #[must_use]
    pub fn learning() -> Self {
        Self { versions: Some(BTreeMap::new()), ..Self::default() }
    }

    /// What it learned.
    #[must_use]
    pub fn versions(self) -> BTreeMap<String, String> {
        self.versions.unwrap_or_default()
    }

    /// Takes the next piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next response that is complete.
    ///
    /// # Errors
    /// [`Malformed`] when what was read can be none.
    pub fn response(&mut self) -> Result<Option<Response>, Malformed> {
        loop {
            let Some(left) = self.left else {
                if !self.begin()? {
                    return Ok(None);
                }
                continue;
            };
            if left == 0 {
                self.left = None;
                return Ok(Some(std::mem::take(&mut self.response)));
            }
            if !self.field(left)? {
                return Ok(None);
            }
        }
    }

    fn begin(&mut self) -> Result<bool, Malformed> {
        let Some(&[compressed, a, b, c, d]) = self.buffer.first_chunk::<5>() else { return Ok(false) };
        if compressed != 0 {
            return Err(Malformed("it is compressed"));
        }
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| Malformed("its length"))?;
        self.buffer.advance(5);
        self.left = Some(length);
        self.response.length = 5 + length;
        Ok(true)
    }

    /// Reads one field if all of it is there.
    fn field(&mut self, left: usize) -> Result<bool, Malformed> {
        let mut ahead = &self.buffer[..self.buffer.len().min(left)];
        let all = ahead.len();
        let (Some(tag), Some(length)) = (varint(&mut ahead), varint(&mut ahead)) else {
            return if all < left { Ok(false) } else { Err(Malformed("a field's head")) };
        };
        let (head, length) = (all - ahead.len(), usize::try_from(length).map_err(|_| Malformed("a field's length"))?);
        if tag & 7 != 2 || length > limits::FIELD_BYTES || head + length > left {
            return Err(Malformed("a field that no delta response has"));
        }
        let Some(value) = ahead.get(..length) else { return Ok(false) };
        self.response.take(tag >> 3, value)?;
        if let Some(versions) = self.versions.as_mut().filter(|_| tag >> 3 == 2) {
            let entry = Entry::decode(value).map_err(|_| Malformed("a resource"))?;
            versions.insert(entry.name, entry.version);
        }
        self.buffer.advance(head + length);
        self.left = Some(left - head - length);
        Ok(true)
    }
}

impl Response {
    fn take(&mut self, field: u64, value: &[u8]) -> Result<(), Malformed> {
        let text = || String::from_utf8(value.to_vec()).map_err(|_| Malformed("a text"));
        match field {
            2 => {
                self.resources += 1;
                self.last.clear();
                self.last.extend_from_slice(value);
            }
            4 => self.type_url = text()?,
            5 => self.nonce = text()?,
            6 | 8 => self.removed += 1,
            _ => {}
        }
        Ok(())
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let ended = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)?;
    let (head, rest) = bytes.split_at(ended + 1);
    *bytes = rest;
    Some(head.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)))
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource};
    use envoy_types::pb::google::protobuf::Any;

    use super::*;

    fn response(names: &[&str]) -> Vec<u8> {
        let one = |name: &&str| Resource {
            name: (*name).into(),
            version: "1".into(),
            resource: Some(Any { type_url: "t".into(), value: format!("revision of {name}").into_bytes() }),
            ..Default::default()
        };
        let message = DeltaDiscoveryResponse {
            type_url: "t".into(),
            nonce: "n".into(),
            resources: names.iter().map(one).collect(),
            ..Default::default()
        };
        let body = message.encode_to_vec();
        let mut framed = vec![0];
        framed.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        framed.extend(body);
        framed
    }

    #[test]
    fn responses_are_read_from_pieces_of_any_size() {
        let bytes = [response(&["a", "b"]), response(&["c"]), response(&[])].concat();
        for size in [1, 7, 64, bytes.len()] {
            let (mut reader, mut read) = (Reader::default(), Vec::new());
            for piece in bytes.chunks(size) {
                reader.push(piece);
                while let Some(one) = reader.response().unwrap() {
                    read.push(one);
                }
            }
            assert_eq!(read.iter().map(|one| one.resources).collect::<Vec<_>>(), [2, 1, 0], "pieces of {size}");
            assert!(read[1].is_only("c", "revision of c"));
            assert!(!read[1].is_only("c", "revision of b") && !read[0].is_only("b", "revision of b"));
            assert_eq!((read[2].nonce.as_str(), read[2].type_url.as_str()), ("n", "t"));
        }
    }

    #[test]
    fn what_is_no_response_is_told() {
        for bytes in [&b"\x01\0\0\0\0"[..], b"\0\0\0\0\x02\x08\x01", b"\0\0\0\0\x02\x12\x7f"] {
            let mut reader = Reader::default();
            reader.push(bytes);
            assert!(reader.response().is_err(), "{bytes:?}");
        }
    }
}
