//! The resources that are served, field by field those of `peers/go-control-plane/content.go`. Each carries its
//! revision as a text, so that a client can see that it got the new one without decoding it.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::core::v3::address::Address as Form;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, SocketAddress};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints};
use envoy_types::pb::google::protobuf::{Duration, UInt32Value};
use prost::Message;
use windrose_vocab::{Fingerprint, Resource, ResourceId, ResourceKind};

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// CDS, subscribed by wildcard.
    Clusters,
    /// EDS, subscribed by name.
    Endpoints,
}

impl Content {
    /// As the servers are told.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Clusters => "clusters",
            Self::Endpoints => "endpoints",
        }
    }

    /// The kind of resource.
    #[must_use]
    pub fn kind(self) -> ResourceKind {
        match self {
            Self::Clusters => ResourceKind::Cluster,
            Self::Endpoints => ResourceKind::Endpoints,
        }
    }

    /// The resource of that index in that revision, encoded.
    #[must_use]
    pub fn resource(self, index: usize, revision: u32) -> Resource {
        let bytes = match self {
            Self::Clusters => cluster(index, revision).encode_to_vec(),
            Self::Endpoints => one_endpoint(index, mark(revision)).encode_to_vec(),
        };
        Resource {
            id: ResourceId::new(self.kind(), name(index)),
            version: Fingerprint::of("windrose.bench", &bytes[..]),
            bytes: bytes.into(),
            refs: Arc::from([]),
        }
    }
}

/// The name of a resource.
#[must_use]
pub fn name(index: usize) -> String {
    format!("shop/service-{index:05}/8080")
}

/// The text by which a client knows the revision.
#[must_use]
pub fn mark(revision: u32) -> String {
    format!("revision-{revision:08}")
}

fn cluster(index: usize, revision: u32) -> Cluster {
    Cluster {
        name: name(index),
        alt_stat_name: mark(revision),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        connect_timeout: Some(Duration { seconds: 5, nanos: 0 }),
        load_assignment: Some(one_endpoint(index, String::new())),
        ..Default::default()
    }
}

fn one_endpoint(index: usize, hostname: String) -> ClusterLoadAssignment {
    let socket = SocketAddress {
        address: format!("10.0.{}.{}", index / 250, index % 250),
        port_specifier: Some(PortSpecifier::PortValue(8080)),
        ..Default::default()
    };
    let address = Some(Address { address: Some(Form::SocketAddress(socket)) });
    let endpoint = LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint { address, hostname, ..Default::default() })),
        load_balancing_weight: Some(UInt32Value { value: 1 }),
        ..Default::default()
    };
    let endpoints = vec![LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..Default::default() }];
    ClusterLoadAssignment { cluster_name: name(index), endpoints, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_changes_the_version_and_shows_in_the_bytes() {
        for content in [Content::Clusters, Content::Endpoints] {
            let (one, two) = (content.resource(7, 1), content.resource(7, 2));
            assert_eq!(one.id, two.id);
            assert_ne!(one.version, two.version);
            let text = mark(2);
            assert!(two.bytes.windows(text.len()).any(|window| window == text.as_bytes()));
        }
    }
}
