//! One response as a gRPC message: the envelope is written here, the resources are the bytes that all streams share.
//! It is taken piece by piece, so a reader that stops reading holds one piece and not a copy of the response.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use windrose_state::Protocol;
use windrose_vocab::{Fingerprint, Resource};
use windrose_xds_session::{Resources, Response};

use crate::limits;
use crate::wire::{field_len, open_field, put_field};

const ANY_TYPE_URL: u8 = 1;
const ANY_VALUE: u8 = 2;
const RESOURCES: u8 = 2;
const RESOURCE_VERSION: u8 = 1;
const RESOURCE_ANY: u8 = 2;
const RESOURCE_NAME: u8 = 3;
const RESOURCE_TTL: u8 = 6;
const RESPONSE_VERSION: u8 = 1;
const RESPONSE_TYPE_URL: u8 = 4;
const RESPONSE_NONCE: u8 = 5;
const DELTA_REMOVED: u8 = 6;
const SOTW_CONTROL_PLANE: u8 = 6;
const DELTA_CONTROL_PLANE: u8 = 7;
const IDENTIFIER: u8 = 1;
const CONTROL_PLANE: &[u8] = b"windrose";
const WRAPPER: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";

/// A gRPC message that is being sent.
pub(crate) struct Frame {
    shape: Shape,
    resources: Resources,
    /// The last one that was taken from them.
    last: Option<Arc<Resource>>,
    /// Written and not yet taken.
    written: BytesMut,
    /// Comes after what is written: the bytes of a large resource.
    shared: Option<Bytes>,
    length: usize,
    /// Bytes that were not taken yet.
    left: usize,
}

/// Before every gRPC message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Bytes that the prefix and the fields before the resources seldom exceed.
const HEAD: usize = 256;

/// How each resource stands in the response.
struct Shape {
    form: Form,
    type_url: &'static str,
    /// The encoded `google.protobuf.Duration`.
    ttl: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `Any` (state of the world).
    Bare,
    /// `Any` of a `Resource` (state of the world with a lifetime).
    Wrapped,
    /// `Resource` (delta).
    Named,
}

/// A response of 4 GB: gRPC cannot say its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a response of {0} bytes is longer than gRPC can say")]
pub(crate) struct TooLong(usize);

impl Frame {
    /// Nothing is copied but names and versions.
    pub(crate) fn new(protocol: Protocol, response: Response) -> Result<Self, TooLong> {
        let form = match protocol {
            Protocol::Sotw if response.wrapped => Form::Wrapped,
            Protocol::Sotw => Form::Bare,
            Protocol::Delta => Form::Named,
        };
        let shape = Shape { form, type_url: response.kind.type_url(), ttl: response.ttl.map(duration) };
        let entries = response.resources.iter().map(|one| field_len(shape.entry_len(one))).sum::<usize>();
        let mut written = BytesMut::with_capacity(HEAD + entries.min(limits::SEGMENT));
        written.put_bytes(0, PREFIX);
        shape.put_head(&mut written, &response);
        let length = written.len() - PREFIX + entries;
        let said = u32::try_from(length).map_err(|_| TooLong(length))?;
        written[1..PREFIX].copy_from_slice(&said.to_be_bytes());
        let length = PREFIX + length;
        Ok(Self { shape, resources: response.resources, last: None, written, shared: None, length, left: length })
    }

    /// Bytes in all, with the five that gRPC puts before a message.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The next piece, `None` after the last one. Small resources are copied together up to [`limits::SEGMENT`].
    pub(crate) fn next_segment(&mut self) -> Option<Bytes> {
        if self.shared.is_none() && self.written.capacity() == 0 {
            self.written.reserve(self.left.min(limits::SEGMENT + HEAD));
        }
        let mut last = None;
        let mut rest = self.resources.after(self.last.as_ref().map(|last| &*last.id.name));
        while self.shared.is_none() && self.written.len() < limits::SEGMENT {
            let Some(resource) = rest.next() else { break };
            self.shape.put_entry(&mut self.written, resource);
            if resource.bytes.len() >= limits::SEGMENT {
                self.shared = Some(resource.bytes.clone());
            } else {
                self.written.put_slice(&resource.bytes);
            }
            last = Some(Arc::clone(resource));
        }
        drop(rest);
        self.last = last.or(self.last.take());
        let piece = if self.written.is_empty() { self.shared.take()? } else { std::mem::take(&mut self.written).freeze() };
        self.left -= piece.len();
        Some(piece)
    }
}

impl Shape {
    /// Everything that is no resource with a body; the order of fields is free on the wire.
    fn put_head(&self, out: &mut BytesMut, response: &Response) {
        put_field(out, RESPONSE_VERSION, response.version.as_bytes());
        put_field(out, RESPONSE_TYPE_URL, self.type_url.as_bytes());
        put_field(out, RESPONSE_NONCE, response.nonce.as_bytes());
        let control_plane = if self.form == Form::Named { DELTA_CONTROL_PLANE } else { SOTW_CONTROL_PLANE };
        open_field(out, control_plane, field_len(CONTROL_PLANE.len()));
        put_field(out, IDENTIFIER, CONTROL_PLANE);
        if self.form == Form::Named {
            response.removed.iter().for_each(|name| put_field(out, DELTA_REMOVED, name.as_bytes()));
            for (name, version) in &response.heartbeats {
                open_field(out, RESOURCES, self.label_len(name));
                self.put_label(out, name, *version);
            }
        }
    }

    fn entry_len(&self, resource: &Resource) -> usize {
        match self.form {
            Form::Bare => self.any_len(resource),
            Form::Named => self.named_len(resource),
            Form::Wrapped => field_len(WRAPPER.len()) + field_len(self.named_len(resource)),
        }
    }

    /// Everything before the resource's own bytes, which come last in every form.
    fn put_entry(&self, out: &mut BytesMut, resource: &Resource) {
        open_field(out, RESOURCES, self.entry_len(resource));
        match self.form {
            Form::Bare => self.put_any(out, resource),
            Form::Named => self.put_named(out, resource),
            Form::Wrapped => {
                put_field(out, ANY_TYPE_URL, WRAPPER.as_bytes());
                open_field(out, ANY_VALUE, self.named_len(resource));
                self.put_named(out, resource);
            }
        }
    }

    fn named_len(&self, resource: &Resource) -> usize {
        self.label_len(&resource.id.name) + field_len(self.any_len(resource))
    }

    fn put_named(&self, out: &mut BytesMut, resource: &Resource) {
        self.put_label(out, &resource.id.name, resource.version);
        open_field(out, RESOURCE_ANY, self.any_len(resource));
        self.put_any(out, resource);
    }

    fn any_len(&self, resource: &Resource) -> usize {
        field_len(self.type_url.len()) + field_len(resource.bytes.len())
    }

    fn put_any(&self, out: &mut BytesMut, resource: &Resource) {
        put_field(out, ANY_TYPE_URL, self.type_url.as_bytes());
        open_field(out, ANY_VALUE, resource.bytes.len());
    }

    /// Name, version and lifetime: a `Resource` without a body.
    fn label_len(&self, name: &str) -> usize {
        field_len(name.len()) + field_len(FINGERPRINT_DIGITS) + self.ttl.as_ref().map_or(0, |ttl| field_len(ttl.len()))
    }

    fn put_label(&self, out: &mut BytesMut, name: &str, version: Fingerprint) {
        put_field(out, RESOURCE_NAME, name.as_bytes());
        put_field(out, RESOURCE_VERSION, digits(version).as_slice());
        if let Some(ttl) = &self.ttl {
            put_field(out, RESOURCE_TTL, ttl);
        }
    }
}

const FINGERPRINT_DIGITS: usize = 32;

/// As `Display` writes it, without a string in between.
fn digits(version: Fingerprint) -> [u8; FINGERPRINT_DIGITS] {
    let mut digits = [0; FINGERPRINT_DIGITS];
    for (byte, pair) in version.bits().to_be_bytes().iter().zip(digits.chunks_exact_mut(2)) {
        pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    digits
}

const HEX: [u8; 16] = *b"0123456789abcdef";

fn duration(ttl: Duration) -> Vec<u8> {
    let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(ttl.subsec_nanos()).unwrap_or(0);
    envoy_types::pb::google::protobuf::Duration { seconds, nanos }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::discovery::v3 as pb;
    use windrose_vocab::{ResourceId, ResourceKind};

    use super::*;

    fn resource(name: &str, bytes: Bytes) -> Arc<Resource> {
        let id = ResourceId::new(ResourceKind::Cluster, name);
        Arc::new(Resource { id, version: Fingerprint::of("t", name), bytes, refs: Arc::from([]) })
    }

    fn response(resources: Vec<Arc<Resource>>) -> Response {
        Response {
            kind: ResourceKind::Cluster,
            nonce: "7-1".into(),
            version: "v1".into(),
            resources: resources.into(),
            removed: Vec::new(),
            heartbeats: Vec::new(),
            ttl: None,
            wrapped: false,
        }
    }

    /// All pieces, and the message after gRPC's five bytes.
    fn taken(mut frame: Frame) -> (Vec<Bytes>, Bytes) {
        let length = frame.length();
        let pieces: Vec<_> = std::iter::from_fn(|| frame.next_segment()).collect();
        let all = Bytes::from(pieces.concat());
        assert_eq!(all.len(), length);
        assert_eq!((all[0], u32::from_be_bytes([all[1], all[2], all[3], all[4]]) as usize), (0, length - 5));
        (pieces, all.slice(5..))
    }

    #[test]
    fn a_delta_response_decodes_to_what_the_session_meant() {
        let resources = vec![resource("a", Bytes::from_static(b"one")), resource("b", Bytes::new())];
        let mut response = response(resources.clone());
        response.removed = vec!["gone".into(), "x".repeat(300).into()];
        response.heartbeats = vec![("alive".into(), Fingerprint::of("t", "alive"))];
        response.ttl = Some(Duration::from_millis(1_500));
        let (_, bytes) = taken(Frame::new(Protocol::Delta, response).unwrap());
        let decoded = pb::DeltaDiscoveryResponse::decode(bytes).unwrap();
        assert_eq!((decoded.nonce.as_str(), decoded.system_version_info.as_str()), ("7-1", "v1"));
        assert_eq!(decoded.type_url, ResourceKind::Cluster.type_url());
        assert_eq!(decoded.control_plane.unwrap().identifier, "windrose");
        assert_eq!(decoded.removed_resources, ["gone".to_owned(), "x".repeat(300)]);
        let [alive, a, b] = decoded.resources.try_into().unwrap();
        assert_eq!((alive.name.as_str(), alive.resource), ("alive", None));
        assert_eq!((a.name.as_str(), a.version), ("a", resources[0].version.to_string()));
        assert_eq!(a.resource.as_ref().unwrap().value, b"one");
        assert_eq!(a.resource.unwrap().type_url, ResourceKind::Cluster.type_url());
        assert_eq!(b.resource.unwrap().value, b"");
        assert_eq!(b.ttl.unwrap().nanos, 500_000_000);
    }

    #[test]
    fn a_state_of_the_world_response_decodes_bare_and_wrapped() {
        let resources = vec![resource("a", Bytes::from_static(b"one"))];
        let mut bare = response(resources.clone());
        bare.removed = vec!["never said".into()];
        let (_, bytes) = taken(Frame::new(Protocol::Sotw, bare).unwrap());
        let decoded = pb::DiscoveryResponse::decode(bytes).unwrap();
        assert_eq!((decoded.version_info.as_str(), decoded.nonce.as_str()), ("v1", "7-1"));
        assert_eq!(decoded.resources[0].value, b"one");
        assert_eq!(decoded.control_plane.unwrap().identifier, "windrose");

        let wrapped = Response { wrapped: true, ..response(resources) };
        let (_, bytes) = taken(Frame::new(Protocol::Sotw, wrapped).unwrap());
        let any = pb::DiscoveryResponse::decode(bytes).unwrap().resources.remove(0);
        assert_eq!(any.type_url, WRAPPER);
        let inner = pb::Resource::decode(any.value.as_slice()).unwrap();
        assert_eq!((inner.name.as_str(), inner.resource.unwrap().value), ("a", b"one".to_vec()));
    }

    #[test]
    fn a_large_resource_is_sent_from_the_shared_bytes_and_small_ones_together() {
        let large = Bytes::from(vec![7; limits::SEGMENT]);
        let small = (0..40).map(|n| resource(&format!("s{n:02}"), Bytes::from(vec![1; 1_000])));
        let resources: Vec<_> = [resource("l", large.clone())].into_iter().chain(small).collect();
        let (pieces, _) = taken(Frame::new(Protocol::Delta, response(resources)).unwrap());
        assert!(pieces.iter().any(|piece| piece.as_ptr() == large.as_ptr()), "not copied");
        assert!(pieces.iter().all(|piece| piece.len() <= 2 * limits::SEGMENT));
        assert!(pieces.len() <= 6, "{}", pieces.len());
    }

    #[test]
    fn versions_are_written_as_they_are_displayed() {
        for text in ["a", "b", "windrose"] {
            let version = Fingerprint::of("t", text);
            assert_eq!(digits(version).as_slice(), version.to_string().as_bytes());
        }
    }
}
