//! The requests a proxy sends: its first subscription, and one acknowledgement for every response.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// The fields of `envoy.service.discovery.v3.DeltaDiscoveryRequest` that are used.
#[derive(Clone, PartialEq, prost::Message)]
struct Delta {
    #[prost(message, optional, tag = "1")]
    node: Option<Node>,
    #[prost(string, tag = "2")]
    type_url: String,
    #[prost(string, repeated, tag = "3")]
    subscribe: Vec<String>,
    #[prost(btree_map = "string, string", tag = "5")]
    initial_resource_versions: BTreeMap<String, String>,
    #[prost(string, tag = "6")]
    response_nonce: String,
}

/// The fields of `envoy.config.core.v3.Node` that are used.
#[derive(Clone, PartialEq, prost::Message)]
struct Node {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    cluster: String,
}

/// The first request of a stream, framed for gRPC; `has` is what the proxy says it has in which version.
#[must_use]
pub fn subscribe(proxy: usize, type_url: &str, names: Vec<String>, has: &BTreeMap<String, String>) -> Bytes {
    let node = Some(Node { id: format!("edge-{proxy}"), cluster: "edge".into() });
    framed(&Delta { node, type_url: type_url.into(), subscribe: names, initial_resource_versions: has.clone(), ..Delta::default() })
}

/// The acknowledgement of a response, framed for gRPC.
#[must_use]
pub fn ack(type_url: &str, nonce: &str) -> Bytes {
    framed(&Delta { type_url: type_url.into(), response_nonce: nonce.into(), ..Delta::default() })
}

fn framed(message: &Delta) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(5 + length);
    out.put_u8(0);
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    out.put_slice(&message.encode_to_vec());
    out.freeze()
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

    use super::*;

    #[test]
    fn the_fields_are_those_of_the_public_message() {
        let read = |framed: Bytes| DeltaDiscoveryRequest::decode(&framed[5..]).unwrap();
        let has = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let first = read(subscribe(3, "t", vec!["a".into()], &has));
        assert_eq!(first.initial_resource_versions["a"], "1");
        assert_eq!((first.node.unwrap().id.as_str(), first.type_url.as_str()), ("edge-3", "t"));
        assert_eq!(first.resource_names_subscribe, ["a"]);
        assert_eq!(read(ack("t", "n")).response_nonce, "n");
    }
}
