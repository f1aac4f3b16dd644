//! The parts of discovery requests that are read. The messages have more fields (a node lists every extension that is
//! compiled into it); what is not named here is skipped without being kept.

use std::collections::{BTreeMap, HashMap};

use tonic::Status;
use windrose_xds_session::{DeltaRequest, Failure, NodeClaim, SotwRequest};

use crate::message::{Spoken, check_sizes};

/// `envoy.service.discovery.v3.DiscoveryRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Sotw {
    #[prost(string, tag = "1")]
    version_info: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) node: Option<Node>,
    #[prost(string, repeated, tag = "3")]
    resource_names: Vec<String>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    response_nonce: String,
    #[prost(message, optional, tag = "6")]
    error_detail: Option<RpcStatus>,
}

/// `envoy.service.discovery.v3.DeltaDiscoveryRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Delta {
    #[prost(message, optional, tag = "1")]
    pub(crate) node: Option<Node>,
    #[prost(string, tag = "2")]
    type_url: String,
    #[prost(string, repeated, tag = "3")]
    resource_names_subscribe: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    resource_names_unsubscribe: Vec<String>,
    #[prost(btree_map = "string, string", tag = "5")]
    initial_resource_versions: BTreeMap<String, String>,
    #[prost(string, tag = "6")]
    response_nonce: String,
    #[prost(message, optional, tag = "7")]
    error_detail: Option<RpcStatus>,
}

/// `envoy.config.core.v3.Node`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Node {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) cluster: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) metadata: Option<Struct>,
    #[prost(message, optional, tag = "4")]
    pub(crate) locality: Option<Locality>,
    /// Which Envoy it is.
    #[prost(message, optional, tag = "8")]
    pub(crate) user_agent_build_version: Option<BuildVersion>,
    #[prost(string, repeated, tag = "10")]
    pub(crate) client_features: Vec<String>,
}

/// `envoy.config.core.v3.BuildVersion`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct BuildVersion {
    #[prost(message, optional, tag = "1")]
    pub(crate) version: Option<SemanticVersion>,
}

/// `envoy.type.v3.SemanticVersion`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct SemanticVersion {
    #[prost(uint32, tag = "1")]
    pub(crate) major_number: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) minor_number: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) patch: u32,
}

/// `envoy.config.core.v3.Locality`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Locality {
    #[prost(string, tag = "2")]
    pub(crate) zone: String,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Struct {
    #[prost(map = "string, message", tag = "1")]
    pub(crate) fields: HashMap<String, Value>,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Value {
    #[prost(string, optional, tag = "3")]
    pub(crate) string_value: Option<String>,
    #[prost(message, optional, tag = "5")]
    pub(crate) struct_value: Option<Struct>,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

impl Spoken for Sotw {
    fn check(bytes: &[u8]) -> Result<(), Status> {
        check_sizes(bytes, 2)
    }
}

impl Spoken for Delta {
    fn check(bytes: &[u8]) -> Result<(), Status> {
        check_sizes(bytes, 1)
    }
}

impl From<Sotw> for SotwRequest {
    fn from(request: Sotw) -> Self {
        Self {
            node: request.node.map(NodeClaim::from),
            type_url: request.type_url,
            resource_names: request.resource_names,
            version_info: request.version_info,
            response_nonce: request.response_nonce,
            error_detail: request.error_detail.map(Failure::from),
        }
    }
}

impl From<Delta> for DeltaRequest {
    fn from(request: Delta) -> Self {
        Self {
            node: request.node.map(NodeClaim::from),
            type_url: request.type_url,
            subscribe: request.resource_names_subscribe,
            unsubscribe: request.resource_names_unsubscribe,
            initial_resource_versions: request.initial_resource_versions,
            response_nonce: request.response_nonce,
            error_detail: request.error_detail.map(Failure::from),
        }
    }
}

impl From<Node> for NodeClaim {
    fn from(node: Node) -> Self {
        Self { id: node.id, cluster: node.cluster, features: node.client_features.into_iter().collect() }
    }
}

impl From<RpcStatus> for Failure {
    fn from(status: RpcStatus) -> Self {
        Self { code: status.code, message: status.message }
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3 as core;
    use envoy_types::pb::envoy::service::discovery::v3 as pb;
    use envoy_types::pb::google::rpc;
    use prost::Message;

    use super::*;

    fn node() -> core::Node {
        let locality = core::Locality { region: "r".into(), zone: "z".into(), sub_zone: "s".into() };
        let client_features = vec!["f".into()];
        core::Node { id: "n".into(), cluster: "c".into(), client_features, locality: Some(locality), ..Default::default() }
    }

    #[test]
    fn the_fields_are_those_of_the_public_messages() {
        let error = rpc::Status { code: 13, message: "bad".into(), details: Vec::new() };
        let sotw = pb::DiscoveryRequest {
            version_info: "v".into(),
            node: Some(node()),
            resource_names: vec!["a".into(), "b".into()],
            type_url: "t".into(),
            response_nonce: "x".into(),
            error_detail: Some(error.clone()),
            ..Default::default()
        };
        let read = SotwRequest::from(Sotw::decode(sotw.encode_to_vec().as_slice()).unwrap());
        assert_eq!((read.version_info.as_str(), read.type_url.as_str(), read.response_nonce.as_str()), ("v", "t", "x"));
        assert_eq!(read.resource_names, ["a", "b"]);
        assert_eq!(read.error_detail, Some(Failure { code: 13, message: "bad".into() }));
        let claim = read.node.unwrap();
        assert_eq!((claim.id.as_str(), claim.cluster.as_str(), claim.features.len()), ("n", "c", 1));

        let delta = pb::DeltaDiscoveryRequest {
            node: Some(node()),
            type_url: "t".into(),
            resource_names_subscribe: vec!["a".into()],
            resource_names_unsubscribe: vec!["b".into()],
            initial_resource_versions: [("a".to_owned(), "1".to_owned())].into(),
            response_nonce: "x".into(),
            error_detail: Some(error),
            ..Default::default()
        };
        let read = Delta::decode(delta.encode_to_vec().as_slice()).unwrap();
        assert_eq!(read.node.as_ref().unwrap().locality.as_ref().unwrap().zone, "z");
        let read = DeltaRequest::from(read);
        assert_eq!((read.subscribe, read.unsubscribe), (vec!["a".to_owned()], vec!["b".to_owned()]));
        assert_eq!(read.initial_resource_versions["a"], "1");
        assert_eq!((read.type_url.as_str(), read.response_nonce.as_str(), read.error_detail.unwrap().code), ("t", "x", 13));
        assert_eq!(read.node.unwrap().id, "n");
    }
}
