// The resources: field by field those of ../../src/content.rs.
package main

import (
	"fmt"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func name(index int) string { return fmt.Sprintf("shop/service-%05d/8080", index) }

// mark is the text by which the client knows the revision.
func mark(revision int) string { return fmt.Sprintf("revision-%08d", revision) }

func cluster(index, revision int) types.Resource {
	return &clusterv3.Cluster{
		Name:                 name(index),
		AltStatName:          mark(revision),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       durationpb.New(5 * time.Second),
		LoadAssignment:       oneEndpoint(index, ""),
	}
}

func assignment(index, revision int) types.Resource { return oneEndpoint(index, mark(revision)) }

func oneEndpoint(index int, hostname string) *endpoint.ClusterLoadAssignment {
	address := &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address:       fmt.Sprintf("10.0.%d.%d", index/250, index%250),
		PortSpecifier: &core.SocketAddress_PortValue{PortValue: 8080},
	}}}
	return &endpoint.ClusterLoadAssignment{
		ClusterName: name(index),
		Endpoints: []*endpoint.LocalityLbEndpoints{{LbEndpoints: []*endpoint.LbEndpoint{{
			HostIdentifier:      &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: address, Hostname: hostname}},
			LoadBalancingWeight: wrapperspb.UInt32(1),
		}}}},
	}
}
