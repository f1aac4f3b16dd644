// The peer of the benchmarks: a control plane on go-control-plane's snapshot cache that serves the same resources over
// the same transport as ours, and takes the same commands on its standard input (see ../../src/command.rs).
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

func main() {
	kind := flag.String("kind", "clusters", "clusters or endpoints")
	count := flag.Int("resources", 1000, "how many resources")
	pki := flag.String("pki", "", "the folder with server.pem, server.key and root.pem")
	flag.Parse()
	log.SetPrefix("go-control-plane: ")

	fleet, err := newFleet(*kind, *count)
	if err != nil {
		log.Fatal(err)
	}
	config, err := mutualTLS(*pki)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	rpc := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	discovery.RegisterAggregatedDiscoveryServiceServer(rpc, server.NewServer(context.Background(), fleet.cache, nil))
	go func() { log.Fatal(rpc.Serve(listener)) }()
	fmt.Printf("listening %s\n", listener.Addr())
	obey(fleet)
}

// obey answers each line with one line, until there are no more.
func obey(fleet *fleet) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var index, revision int
		switch line := lines.Text(); {
		case line == "usage":
			fmt.Printf("usage %d\n", cpuMicroseconds())
		case line == "collect":
			debug.FreeOSMemory()
			fmt.Println("collected")
		case line == "about":
			fmt.Printf("about go-control-plane v0.14.0, %s\n", runtime.Version())
		default:
			if _, err := fmt.Sscanf(line, "change %d %d", &index, &revision); err != nil {
				log.Fatalf("no such command: %q", line)
			}
			if err := fleet.change(index, revision); err != nil {
				log.Fatal(err)
			}
			fmt.Printf("changed %d\n", revision)
		}
	}
}

// fleet is one snapshot that all proxies share: the cheapest way to use the cache.
type fleet struct {
	kind      resource.Type
	make      func(index, revision int) types.Resource
	resources []types.Resource
	cache     cache.SnapshotCache
}

type everybody struct{}

func (everybody) ID(*core.Node) string { return "all" }

func newFleet(kind string, count int) (*fleet, error) {
	f := &fleet{resources: make([]types.Resource, count), cache: cache.NewSnapshotCache(false, everybody{}, nil)}
	switch kind {
	case "clusters":
		f.kind, f.make = resource.ClusterType, cluster
	case "endpoints":
		f.kind, f.make = resource.EndpointType, assignment
	default:
		return nil, fmt.Errorf("no such kind: %s", kind)
	}
	for index := range f.resources {
		f.resources[index] = f.make(index, 0)
	}
	return f, f.publish(0)
}

func (f *fleet) change(index, revision int) error {
	if index < 0 || index >= len(f.resources) {
		return fmt.Errorf("there is no resource %d", index)
	}
	f.resources[index] = f.make(index, revision)
	return f.publish(revision)
}

func (f *fleet) publish(revision int) error {
	snapshot, err := cache.NewSnapshot(fmt.Sprint(revision), map[resource.Type][]types.Resource{f.kind: f.resources})
	if err != nil {
		return err
	}
	return f.cache.SetSnapshot(context.Background(), "all", snapshot)
}

// mutualTLS is TLS 1.3 with client certificates, as ours is.
func mutualTLS(folder string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "server.pem"), filepath.Join(folder, "server.key"))
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(filepath.Join(folder, "root.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("root.pem holds no certificate")
	}
	return &tls.Config{
		Certificates:           []tls.Certificate{pair},
		ClientAuth:             tls.RequireAndVerifyClientCert,
		ClientCAs:              roots,
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
	}, nil
}

// cpuMicroseconds is what this process has used, user and system.
func cpuMicroseconds() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	return (usage.Utime.Nano() + usage.Stime.Nano()) / 1000
}
