//! One program that has every shape the IR can take, small enough to be read.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use windrose_envoy::{Modules, Rendered, Renderer, VersionKey};
use windrose_ir::cluster::*;
use windrose_ir::endpoint::*;
use windrose_ir::extension::*;
use windrose_ir::http::*;
use windrose_ir::listener::*;
use windrose_ir::route::*;
use windrose_ir::telemetry::*;
use windrose_ir::{DatagramListener, Extension, Program, Secret};
use windrose_vocab::{Duration, Fingerprint, Hostname, NodeClass, Resource, Sensitive, SpiffeId, Text};

pub(crate) fn text(text: &str) -> Text {
    text.into()
}

pub(crate) fn host(name: &str) -> Hostname {
    Hostname::parse(name).unwrap()
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn renderer() -> Renderer {
    Renderer::new(NodeClass::default(), modules(), VersionKey::new([7; 32]))
}

pub(crate) fn endpoints(addresses: &[&str]) -> EndpointSet {
    let endpoint = |address: &&str| Endpoint {
        address: Address::Socket(address.parse().unwrap()),
        weight: 1,
        health: Health::Ready,
        outside: false,
        zones: Zones::default(),
    };
    EndpointSet { localities: vec![Locality { zone: text(""), priority: 0, endpoints: addresses.iter().map(endpoint).collect() }] }
}

pub(crate) fn cluster(discovery: Discovery) -> Cluster {
    Cluster {
        stat_name: text("catalog"),
        discovery,
        protocol: UpstreamProtocol::Http1,
        tls: None,
        connect_timeout: seconds(1),
        load_balancing: LoadBalancing::LeastRequest,
        limits: Limits { connections: 1024, pending_requests: 1024, requests: 1024, retries: 3 },
        retry_budget: None,
        outliers: None,
        health_check: None,
        pool: Pool { max_requests_per_connection: 0, idle_timeout: seconds(60), tcp_keepalive: None },
    }
}

pub(crate) fn backend(cluster: &str, weight: u32) -> WeightedBackend {
    WeightedBackend {
        cluster: Some(text(cluster)),
        weight,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        host: None,
    }
}

pub(crate) fn forward(backends: Vec<WeightedBackend>) -> Forward {
    Forward {
        backends,
        rewrite: Rewrite::default(),
        timeout: seconds(15),
        idle_timeout: None,
        retry: None,
        mirrors: vec![],
        hash: vec![],
        session: None,
        websocket: false,
        max_grpc_timeout: None,
    }
}

pub(crate) fn route(name: &str, path: PathMatch, action: RouteAction) -> Route {
    Route {
        name: text(name),
        matcher: RouteMatch { path, method: None, headers: vec![], query: vec![], grpc: false },
        action,
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        cors: None,
        external_auth: None,
        buffer_bytes: 1 << 20,
        policies: vec![],
        share: None,
    }
}

pub(crate) fn to(cluster: &str) -> RouteAction {
    RouteAction::Forward(Box::new(forward(vec![backend(cluster, 1)])))
}

pub(crate) fn answer(status: u16, body: &str) -> RouteAction {
    RouteAction::Respond { status, body: text(body) }
}

pub(crate) fn virtual_host(name: &str, hosts: &[&str], routes: Vec<Route>) -> VirtualHost {
    let routes = routes.into_iter().map(Arc::new).collect();
    VirtualHost {
        name: text(name),
        hosts: hosts.iter().map(|name| host(name)).collect(),
        authorities: vec![],
        external_auth: vec![],
        routes,
        filters: vec![],
    }
}

pub(crate) fn handler(routes: RouteSource) -> HttpHandler {
    HttpHandler {
        stat_name: text("edge"),
        routes,
        filters: vec![],
        limits: HttpLimits {
            max_headers_kib: 60,
            max_headers: 100,
            max_streams: 100,
            stream_window_bytes: 65_536,
            connection_window_bytes: 1_048_576,
            max_body_bytes: None,
            headers_timeout: seconds(10),
            request_timeout: seconds(300),
            stream_idle_timeout: seconds(300),
            connection_idle_timeout: seconds(3600),
            connection_duration: None,
        },
        client_address: ClientAddress::Edge { trusted_hops: 0 },
        underscores: Underscores::Reject,
        client_certificate: ForwardedCertificate::Sanitize,
        paths: PathNormalization {
            normalize: true,
            merge_slashes: true,
            escaped_slashes: EscapedSlashes::UnescapeAndRedirect,
            parameters: PathParameters::Keep,
        },
        websocket: false,
        tracing: None,
        access_log: None,
        metrics: false,
    }
}

pub(crate) fn chain(name: &str, transport: Transport, handler: Handler) -> Chain {
    Chain { name: text(name), server_names: vec![], transport, handler }
}

pub(crate) fn listener(address: &str, chains: Vec<Chain>) -> Listener {
    Listener {
        addresses: vec![address.parse().unwrap()],
        direction: Direction::Inbound,
        inspect_tls: false,
        chains,
        limits: ConnectionLimits { buffer_bytes: 32_768, max_connections: None, backlog: 1024, handshake_timeout: seconds(5) },
        access_log: None,
    }
}

/// A plain HTTP listener of one table.
pub(crate) fn http(address: &str, routes: RouteSource) -> Listener {
    listener(address, vec![chain("http", Transport::Plain, Handler::Http(Box::new(handler(routes))))])
}

/// A self-signed CA and a leaf, as PEM: chain, key, CA.
pub(crate) fn certificate() -> (String, String, String) {
    let mut ca = CertificateParams::new(vec![]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    (leaf.pem(), key.serialize_pem(), ca.pem())
}

/// Every shape of everything.
pub(crate) fn everything() -> Program {
    let mut program = Program::default();
    clusters(&mut program);
    secrets(&mut program);
    extensions(&mut program);
    listeners(&mut program);
    program.routes.insert(text("shop"), Arc::new(table()));
    program.routes.insert(text("inner"), Arc::new(inner()));
    program.routes.insert(text("empty"), Arc::new(RouteTable::default()));
    program.routes.insert(text("scoped"), Arc::new(scoped()));
    program
}

fn clusters(program: &mut Program) {
    let address = "127.0.0.1:18080";
    let mut add = |name: &str, cluster: Cluster| program.clusters.insert(text(name), Arc::new(cluster));
    add("catalog", Cluster { health_check: Some(http_check()), outliers: Some(outliers()), ..cluster(Discovery::Eds) });
    add(
        "orders",
        Cluster {
            protocol: UpstreamProtocol::Http2,
            tls: Some(UpstreamTls::Mesh { peers: vec![SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/orders").unwrap()] }),
            retry_budget: Some(RetryBudget { percent: 20, minimum_concurrency: 3 }),
            health_check: Some(HealthCheck { probe: Probe::Grpc { service: text("") }, ..http_check() }),
            load_balancing: LoadBalancing::RoundRobin,
            ..cluster(Discovery::Eds)
        },
    );
    add(
        "origin",
        Cluster {
            tls: Some(UpstreamTls::Origin {
                sni: text("origin.example"),
                trust: Some(text("origin-ca")),
                subject_names: vec![SubjectName::Dns(text("origin.example")), SubjectName::Uri(text("spiffe://a/b"))],
                client_certificate: Some(text("edge")),
            }),
            protocol: UpstreamProtocol::SameAsDownstream,
            load_balancing: LoadBalancing::Random,
            outliers: Some(OutlierDetection { consecutive_5xx: None, consecutive_local_failures: None, ..outliers() }),
            ..cluster(Discovery::Static(endpoints(&[address])))
        },
    );
    let mut half = endpoints(&["127.0.0.6:18080", "127.0.0.7:18080"]);
    half.localities[0].endpoints[1].outside = true;
    add(
        "mixed",
        Cluster {
            tls: Some(UpstreamTls::Mixed {
                peers: vec![SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/orders").unwrap()],
                outside: None,
            }),
            ..cluster(Discovery::Static(half))
        },
    );
    add(
        "public",
        Cluster {
            tls: Some(UpstreamTls::Origin { sni: text("a.example"), trust: None, subject_names: vec![], client_certificate: None }),
            load_balancing: LoadBalancing::ConsistentHash { maglev: true, minimum_ring_size: 0 },
            pool: Pool { max_requests_per_connection: 100, idle_timeout: seconds(1), tcp_keepalive: Some(seconds(30)) },
            ..cluster(Discovery::Dns { endpoints: named("localhost", 18081), refresh: seconds(5) })
        },
    );
    add(
        "raw",
        Cluster {
            protocol: UpstreamProtocol::Tcp,
            load_balancing: LoadBalancing::ConsistentHash { maglev: false, minimum_ring_size: 1024 },
            health_check: Some(HealthCheck { probe: Probe::Tcp, ..http_check() }),
            ..cluster(Discovery::Static(unix("/run/app.sock")))
        },
    );
    add(
        "odd",
        Cluster {
            // Nothing of this can be as it is said; it must still be taken.
            tls: Some(UpstreamTls::Mesh { peers: vec![] }),
            health_check: Some(HealthCheck {
                probe: Probe::Grpc { service: text("x") },
                interval: seconds(0),
                timeout: seconds(0),
                ..http_check()
            }),
            connect_timeout: seconds(0),
            load_balancing: LoadBalancing::ConsistentHash { maglev: false, minimum_ring_size: u64::MAX },
            ..cluster(Discovery::Static(named("name.example", 1)))
        },
    );
    let spread = Locality { priority: 3, ..endpoints(&["127.0.0.4:18080", "[::1]:18080"]).localities[0].clone() };
    let mut two = endpoints(&["127.0.0.2:18080", "127.0.0.3:18080"]);
    two.localities[0].endpoints[1].weight = 3;
    two.localities[0].endpoints[0].health = Health::Draining;
    two.localities.push(spread);
    program.endpoints.insert(text("catalog"), Arc::new(two));
    program.endpoints.insert(text("orders"), Arc::new(endpoints(&["127.0.0.5:18080"])));
}

fn named(name: &str, port: u16) -> EndpointSet {
    let endpoint =
        Endpoint { address: Address::Dns(text(name), port), weight: 1, health: Health::Ready, outside: false, zones: Zones::default() };
    EndpointSet { localities: vec![Locality { zone: text("a"), priority: 0, endpoints: vec![endpoint] }] }
}

fn unix(path: &str) -> EndpointSet {
    let endpoint =
        Endpoint { address: Address::Unix(text(path)), weight: 1, health: Health::Ready, outside: false, zones: Zones::default() };
    EndpointSet { localities: vec![Locality { zone: text(""), priority: 0, endpoints: vec![endpoint] }] }
}

fn http_check() -> HealthCheck {
    HealthCheck {
        probe: Probe::Http { host: None, path: text("/healthz") },
        interval: seconds(5),
        timeout: seconds(1),
        healthy_threshold: 1,
        unhealthy_threshold: 3,
    }
}

fn outliers() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: Some(5),
        consecutive_gateway_errors: Some(3),
        consecutive_local_failures: Some(2),
        success_rate_deviation_permille: Some(1900),
        failure_percentage: Some(85),
        interval: seconds(1),
        base_ejection: seconds(5),
        max_ejection: seconds(60),
        max_ejection_percent: 50,
    }
}

fn secrets(program: &mut Program) {
    let (chain, key, ca) = certificate();
    let pair = Secret::Certificate { chain: chain.as_str().into(), key: Sensitive::new(key) };
    program.secrets.insert(text("edge"), Arc::new(pair));
    program.secrets.insert(text("origin-ca"), Arc::new(Secret::Trust { bundle: ca.as_str().into() }));
}

/// The two secrets that an authority would make.
pub(crate) fn authority_secrets() -> Vec<Resource> {
    let (chain, key, ca) = certificate();
    let version = Fingerprint::from_bits(1);
    vec![windrose_envoy::render_svid(&chain, &Sensitive::new(key), version), windrose_envoy::render_trust(&ca, version)]
}

fn extensions(program: &mut Program) {
    let mut add = |name: &str, extension: Extension| program.extensions.insert(text(name), Arc::new(extension));
    add("edge/jwt", Extension::JwtAuth(jwt_table()));
    add("edge/limits", Extension::RateLimit(limit_table()));
    add("edge/rest", Extension::Transcoder(transcoder_table()));
}

pub(crate) fn jwt_table() -> JwtTable {
    let provider = JwtProvider {
        name: text("main"),
        issuer: text("https://id.example"),
        audiences: vec![text("orders")],
        jwks: Sensitive::new(
            &br#"{"keys":[{"kty":"oct","kid":"k","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA","alg":"HS256"}]}"#[..],
        ),
        algorithms: vec![text("HS256")],
        leeway: seconds(5),
        sources: vec![
            TokenSource::Header(text("Authorization"), text("Bearer ")),
            TokenSource::Query(text("token")),
            TokenSource::Cookie(text("session")),
        ],
        forward: false,
    };
    let rule = JwtRule {
        providers: vec![provider],
        claims: vec![ClaimRequirement { claim: text("realm.active"), any_of: vec![text("true")] }],
        scopes: vec![text("orders:read")],
        claims_to_headers: vec![(text("sub"), text("x-sub"))],
        shared_claims: vec![text("https://id.example/tier")],
    };
    let rules =
        [("closed", AuthRule::Deny { taken_off: [text("x-user")].into() }), ("orders", AuthRule::Jwt(rule)), ("public", AuthRule::Public)];
    JwtTable { policies: rules.into_iter().map(|(name, rule)| (text(name), rule)).collect() }
}

fn limit_table() -> RateLimitTable {
    let quota = |requests| Quota { requests, window: seconds(60), burst: requests };
    let limit = RateLimit {
        name: text("per-user"),
        key: vec![KeyPart::Claim(text("sub")), KeyPart::ClientAddress, KeyPart::Header(text("X-Tenant")), KeyPart::Route],
        plans: Some(Plans { claim: text("tier"), quotas: [(text("gold"), quota(100))].into() }),
        default: Quota { burst: 0, ..quota(5) },
        shadow: false,
        headers: true,
    };
    let crowd = vec![limit.clone(); 1000];
    RateLimitTable { policies: [(text("gold"), vec![limit]), (text("too-many"), crowd)].into() }
}

fn transcoder_table() -> TranscoderTable {
    let rule = TranscoderRule {
        descriptor: text("absent"),
        services: vec![text("shop.v1.Orders")],
        always_print_primitive_fields: true,
        enums_as_integers: false,
        preserve_proto_field_names: false,
        ignore_unknown_fields: false,
        max_request_bytes: u32::MAX,
        max_response_bytes: 0,
    };
    TranscoderTable { descriptors: BTreeMap::new(), policies: [(text("orders"), Some(rule))].into() }
}

fn listeners(program: &mut Program) {
    let mut add = |name: &str, listener: Listener| program.listeners.insert(text(name), Arc::new(listener));
    add(
        "edge/http",
        Listener {
            addresses: vec!["127.0.0.1:10080".parse().unwrap(), "127.0.0.2:10080".parse().unwrap()],
            limits: ConnectionLimits { max_connections: Some(100), ..listener("127.0.0.1:1", vec![]).limits },
            access_log: Some(log(LogSink::Stdout)),
            ..listener("127.0.0.1:1", vec![chain("http", Transport::Plain, Handler::Http(Box::new(edge())))])
        },
    );
    add("edge/https", Listener { inspect_tls: true, ..listener("127.0.0.1:10443", tls_chains()) });
    add("edge/scoped", http("127.0.0.1:10081", RouteSource::Scoped(text("scoped"))));
    add("mesh/inbound", Listener { inspect_tls: true, ..listener("127.0.0.1:15006", mesh_chains()) });
    add(
        "mesh/outbound",
        Listener {
            direction: Direction::Outbound,
            ..listener("127.0.0.1:15001", vec![chain("http", Transport::Plain, Handler::Http(Box::new(outbound())))])
        },
    );
    add("empty", http("127.0.0.1:10082", RouteSource::Table(text("empty"))));
    add("chainless", listener("127.0.0.1:10083", vec![]));
    add("every/address", listener("[::]:10084", vec![]));
    datagram_listeners(program);
}

fn datagram_listeners(program: &mut Program) {
    let rule = |bits| AuthorizationRule {
        name: text("rule"),
        principals: vec![Principal::Network(text("10.0.0.0"), bits), Principal::Authenticated],
        methods: vec![],
        paths: vec![],
        ports: vec![],
    };
    let rules = |deny, allow| Some(Authorization { deny, allow, ..Authorization::default() });
    let shapes = [
        ("dropped", "[::]:10053", None, None),
        ("open", "[::]:10054", Some("raw"), None),
        ("denied", "127.0.0.1:10055", Some("raw"), rules(vec![rule(16)], vec![])),
        ("allowed", "127.0.0.1:10056", Some("raw"), rules(vec![], vec![vec![rule(8)]])),
        ("both", "127.0.0.1:10057", Some("raw"), rules(vec![rule(16)], vec![vec![rule(8)]])),
        ("nobody", "127.0.0.1:10058", Some("raw"), rules(vec![], vec![vec![]])),
        ("elsewhere", "127.0.0.1:10059", Some("raw"), rules(vec![AuthorizationRule { ports: vec![1], ..rule(8) }], vec![])),
    ];
    for (name, address, cluster, authorization) in shapes {
        let listener = DatagramListener {
            addresses: vec![address.parse().unwrap()],
            stat_name: text("edge/53"),
            cluster: cluster.map(text),
            authorization,
            idle_timeout: seconds(60),
            hash_source: true,
            access_log: Some(log(LogSink::Stdout)),
        };
        program.datagram_listeners.insert(text(&format!("datagrams/{name}")), Arc::new(listener));
    }
}

fn edge() -> HttpHandler {
    let base = handler(RouteSource::Table(text("shop")));
    let of_shop = HostScope { others: false, hosts: vec![(host("shop.example"), true)] };
    HttpHandler {
        filters: vec![
            HttpFilter::TakeOff(vec![text("x-tenant")]),
            HttpFilter::HostTakeOff(of_shop, vec![text("x-user"), text("x'`")]),
            HttpFilter::ListenerAuth(0),
            HttpFilter::ListenerAuth(1),
            HttpFilter::Cors,
            HttpFilter::RouteAuth,
            HttpFilter::Extension(text("edge/jwt")),
            HttpFilter::Extension(text("edge/limits")),
            HttpFilter::Extension(text("edge/rest")),
            HttpFilter::GrpcStats,
            HttpFilter::Sessions,
        ],
        limits: HttpLimits { max_body_bytes: Some(1_000_000), connection_duration: Some(seconds(3600)), ..base.limits },
        websocket: true,
        tracing: Some(Tracing {
            provider: TraceProvider::Zipkin { cluster: text("catalog"), host: text("zipkin"), path: text("/api/v2/spans") },
            sampling_basis_points: 1,
            service: text("edge"),
            tags: vec![(text("team"), text("shop"))],
        }),
        access_log: Some(AccessLog { minimum_status: Some(400), ..log(LogSink::File(text("/dev/null"))) }),
        metrics: true,
        ..base
    }
}

fn log(sink: LogSink) -> AccessLog {
    AccessLog { sink, fields: vec![(text("tenant"), text("%REQ(X-TENANT)%"))], minimum_status: None }
}

pub(crate) fn server_tls(client: Option<ClientValidation>) -> ServerTls {
    ServerTls {
        certificates: vec![text("edge")],
        client,
        minimum: TlsVersion::Tls12,
        alpn: vec![text("h2"), text("http/1.1")],
        ciphers: vec![text("ECDHE-ECDSA-AES128-GCM-SHA256")],
    }
}

fn tls_chains() -> Vec<Chain> {
    let client = ClientValidation { trust: text("origin-ca"), required: false, uri_prefixes: vec![] };
    let with_names = |names: &[&str], chain: Chain| Chain { server_names: names.iter().map(|name| host(name)).collect(), ..chain };
    let web = Handler::Http(Box::new(handler(RouteSource::Table(text("shop")))));
    let tcp = TcpHandler {
        stat_name: text("raw"),
        clusters: vec![(text("raw"), 1), (text("catalog"), 2), (text("none"), 0)],
        idle_timeout: seconds(60),
        authorization: None,
        access_log: Some(log(LogSink::Stdout)),
    };
    vec![
        with_names(&["*"], chain("any", Transport::Tls(server_tls(None)), Handler::Close)),
        with_names(&["*.shop.example"], chain("wild", Transport::Tls(server_tls(Some(client))), web)),
        with_names(&["raw.example"], chain("passed", Transport::Passthrough, Handler::Tcp(tcp))),
    ]
}

fn mesh_chains() -> Vec<Chain> {
    let tls = ServerTls {
        certificates: vec![text(windrose_ir::secret::WORKLOAD_SVID)],
        client: Some(ClientValidation {
            trust: text(windrose_ir::secret::MESH_TRUST),
            required: true,
            uri_prefixes: vec![text("spiffe://cluster.local/")],
        }),
        minimum: TlsVersion::Tls13,
        alpn: vec![],
        ciphers: vec![],
    };
    let inbound = HttpHandler {
        filters: vec![HttpFilter::Authorization(authorization())],
        client_address: ClientAddress::Forwarded,
        underscores: Underscores::Keep,
        client_certificate: ForwardedCertificate::Set,
        paths: PathNormalization {
            normalize: false,
            merge_slashes: false,
            escaped_slashes: EscapedSlashes::Keep,
            parameters: PathParameters::Keep,
        },
        ..handler(RouteSource::Table(text("inner")))
    };
    let tcp = TcpHandler {
        stat_name: text("plain"),
        clusters: vec![(text("raw"), 1)],
        idle_timeout: seconds(60),
        authorization: Some(authorization()),
        access_log: None,
    };
    vec![chain("mtls", Transport::Tls(tls), Handler::Http(Box::new(inbound))), chain("plain", Transport::Plain, Handler::Tcp(tcp))]
}

fn outbound() -> HttpHandler {
    HttpHandler {
        client_address: ClientAddress::Connection,
        paths: PathNormalization {
            normalize: true,
            merge_slashes: false,
            escaped_slashes: EscapedSlashes::Reject,
            parameters: PathParameters::Reject,
        },
        tracing: Some(Tracing {
            provider: TraceProvider::OpenTelemetry { cluster: text("orders"), host: text("collector") },
            sampling_basis_points: 10_000,
            service: text("catalog"),
            tags: vec![],
        }),
        ..handler(RouteSource::Table(text("inner")))
    }
}

fn authorization() -> Authorization {
    let rule = |name: &str| AuthorizationRule { name: text(name), principals: vec![], methods: vec![], paths: vec![], ports: vec![] };
    Authorization {
        deny: vec![AuthorizationRule { methods: vec![text("TRACE"), text("CONNECT")], ..rule("no-trace") }],
        allow: vec![
            vec![
                AuthorizationRule {
                    principals: vec![
                        Principal::Identity(text("spiffe://cluster.local/ns/shop/sa/edge")),
                        Principal::Prefix(text("spiffe://cluster.local/ns/shop/")),
                        Principal::Network(text("10.0.0.0"), 8),
                    ],
                    paths: vec![PathPattern::Exact(text("/a")), PathPattern::Prefix(text("/b/")), PathPattern::Prefix(text("/"))],
                    ports: vec![8080, 8081],
                    ..rule("shop")
                },
                AuthorizationRule { principals: vec![Principal::Authenticated], ..rule("shop") },
            ],
            vec![rule("owner")],
        ],
        audit: Some(vec![]),
        audit_deny: vec![AuthorizationRule { methods: vec![text("DELETE")], ..rule("no-delete") }],
    }
}

fn table() -> RouteTable {
    let mut secure = route("orders", PathMatch::Prefix(text("/v1/orders/")), to("orders"));
    secure.matcher.method = Some(text("POST"));
    secure.matcher.headers = vec![
        ValueMatch { name: text("x-tenant"), value: ValuePattern::Exact(text("a")) },
        ValueMatch { name: text("x-env"), value: ValuePattern::Regex(text("(dev|test)")) },
    ];
    secure.matcher.query = vec![ValueMatch { name: text("q"), value: ValuePattern::Exact(text("1")) }];
    secure.policies = vec![(text("policy"), text("orders")), (text("ratelimit"), text("gold"))];
    secure.cors = Some(Box::new(Cors {
        origins: vec![
            OriginPattern::Any,
            OriginPattern::Exact(text("https://a.example")),
            OriginPattern::Regex(text("https://[a-z]{1,60}\\.b")),
        ],
        methods: vec![text("*")],
        headers: vec![text("content-type")],
        expose: vec![text("x-a")],
        credentials: true,
        max_age: seconds(60),
    }));
    let (path, headers, answer_headers) = (text("/check"), vec![text("x-tenant")], vec![text("x-user")]);
    secure.external_auth = Some(asked(AuthProtocol::Http { path, headers, answer_headers }));
    let split = Forward {
        rewrite: Rewrite { host: Some(text("inner.example")), path: Some(PathRewrite::Prefix(text("/"))) },
        retry: Some(Retry {
            attempts: 2,
            per_try_timeout: Some(seconds(1)),
            backoff: Duration::from_millis(25),
            statuses: vec![503],
            grpc_statuses: vec![text("deadline_exceeded")],
            on_connect_failure: true,
        }),
        mirrors: vec![Mirror { cluster: text("catalog"), numerator: 1, denominator: 10_000 }],
        hash: vec![HashOn::Header(text("x-user")), HashOn::Cookie(text("c"), seconds(0), text("/")), HashOn::SourceAddress],
        websocket: true,
        max_grpc_timeout: Some(seconds(30)),
        idle_timeout: Some(seconds(10)),
        ..forward(vec![
            WeightedBackend {
                request_headers: HeaderChanges {
                    set: vec![(text("host"), text("v2.example")), (text("x-share"), text("100%"))],
                    add: vec![(text("x-empty"), text(""))],
                    remove: vec![text("x-gone"), text(":path")],
                },
                ..backend("catalog", 90)
            },
            WeightedBackend { cluster: None, ..backend("", 10) },
        ])
    };
    let redirect =
        |status, path| RouteAction::Redirect(Redirect { scheme: Some(text("https")), host: None, port: Some(443), path, status });
    let long = "x".repeat(5000);
    [
        virtual_host(
            "shop",
            &["shop.example", "*.shop.example"],
            vec![
                secure,
                route("split", PathMatch::Prefix(text("/a.b")), RouteAction::Forward(Box::new(split))),
                route("redirect", PathMatch::Exact(text("/old")), redirect(301, Some(PathRewrite::Full(text("/new"))))),
                route("moved", PathMatch::Prefix(text("/c")), redirect(308, Some(PathRewrite::Prefix(text("/d/"))))),
                route("root", PathMatch::Prefix(text("/e")), redirect(302, Some(PathRewrite::Prefix(text("/"))))),
                route("regex", PathMatch::Regex(text("/f/[0-9]{1,60}")), answer(200, &long)),
                Route {
                    matcher: RouteMatch { grpc: true, ..route("g", PathMatch::Prefix(text("/")), to("orders")).matcher },
                    ..route("grpc", PathMatch::Prefix(text("/")), to("orders"))
                },
                route("rest", PathMatch::Prefix(text("/")), answer(404, "")),
            ],
        ),
        VirtualHost {
            external_auth: vec![asked(AuthProtocol::Grpc { headers: vec![text("authorization")] }), ExternalAuth::Denied],
            ..virtual_host("wild", &["*"], vec![])
        },
        virtual_host("twice", &["shop.example"], vec![]),
    ]
    .into_iter()
    .collect()
}

fn asked(protocol: AuthProtocol) -> ExternalAuth {
    ExternalAuth::Asked(Box::new(AuthService { cluster: text("catalog"), protocol, take_off: vec![text("x-user")], body_bytes: 4096 }))
}

fn inner() -> RouteTable {
    let full =
        Forward { rewrite: Rewrite { host: None, path: Some(PathRewrite::Full(text("/x\\1"))) }, ..forward(vec![backend("catalog", 1)]) };
    let mut host =
        virtual_host("inner", &["orders.shop.svc"], vec![route("all", PathMatch::Prefix(text("/")), RouteAction::Forward(Box::new(full)))]);
    host.authorities = vec![text("10.96.0.7"), text("orders.shop.svc:8080"), text("[::1]:8080")];
    RouteTable::from_iter([host])
}

fn scoped() -> RouteTable {
    let host = |name: &str| virtual_host(name, &[name], vec![route("all", PathMatch::Prefix(text("/")), to("catalog"))]);
    RouteTable { by_host: true, ..["a.example", "b.example"].map(host).into_iter().collect() }
}

/// All resources with the authority's two secrets, as values.
pub(crate) fn complete(rendered: &Rendered) -> Vec<Resource> {
    rendered.iter().map(|resource| Resource::clone(resource)).chain(authority_secrets()).collect()
}

/// The smallest module that Envoy takes for a filter, under the names of all our filters. It does nothing.
pub(crate) fn modules() -> Modules {
    let name = |text: &[u8], kind: u8, index: u8| [&[u8::try_from(text.len()).unwrap()], text, &[kind, index]].concat();
    let exports = [name(b"memory", 2, 0), name(b"proxy_abi_version_0_2_1", 0, 0), name(b"proxy_on_memory_allocate", 0, 1)].concat();
    let module: Vec<u8> = [
        &b"\0asm\x01\0\0\0"[..],
        // Types: a procedure, and an allocator; two functions of them; a page of memory; the exports; the bodies.
        &[1, 9, 2, 0x60, 0, 0, 0x60, 1, 0x7f, 1, 0x7f, 3, 3, 2, 0, 1, 5, 3, 1, 0, 1],
        &[7, u8::try_from(exports.len()).unwrap() + 1, 3],
        &exports,
        &[10, 9, 2, 2, 0, 0x0b, 4, 0, 0x41, 0, 0x0b],
    ]
    .concat();
    let names = ["jwt-auth", "rate-limit", "grpc-transcoder"];
    Modules::new(names.into_iter().map(|name| (text(name), Bytes::from(module.clone()))).collect::<BTreeMap<_, _>>())
}
