//! HTTP on a chain: limits on what strangers send, the filters in order, and the table that routes.

use windrose_vocab::{Canonical, Duration, Hostname, Text, Writer, canonical};

use crate::LATER;
use crate::telemetry::{AccessLog, Tracing};

/// HTTP on one chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpHandler {
    /// Name for statistics.
    pub stat_name: Text,
    /// Where routes come from.
    pub routes: RouteSource,
    /// Filters in the order requests pass them; the router follows by itself.
    pub filters: Vec<HttpFilter>,
    /// Limits.
    pub limits: HttpLimits,
    /// Whose word on the client's address is taken.
    pub client_address: ClientAddress,
    /// What happens to requests with `_` in the name of a header.
    pub underscores: Underscores,
    /// What is told upstream of the client's certificate.
    pub client_certificate: ForwardedCertificate,
    /// How paths are made plain before they are matched.
    pub paths: PathNormalization,
    /// Whether WebSockets come over HTTP/2 too; over HTTP/1.1 each route says whether they pass.
    pub websocket: bool,
    /// Traces, if on.
    pub tracing: Option<Tracing>,
    /// Access log, if on.
    pub access_log: Option<AccessLog>,
    /// Whether requests are counted and timed by who called whom.
    pub metrics: bool,
}

/// Where routes come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteSource {
    /// One table by name (RDS).
    Table(Text),
    /// Each host of the table by itself (SRDS); all of them must be [`crate::VirtualHost::alone`].
    Scoped(Text),
}

/// One HTTP filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HttpFilter {
    /// Takes headers off that no client may send, before a route is looked for. Lower case, sorted.
    TakeOff(Vec<Text>),
    /// The same at some hosts; requests for others keep theirs. A route is looked for once more where one was there.
    HostTakeOff(HostScope, Vec<Text>),
    /// The service of that position among those that are asked before a route is chosen, as the host says.
    ListenerAuth(u32),
    /// CORS, as routes say.
    Cors,
    /// The service that is asked, as routes say.
    RouteAuth,
    /// A filter of ours, delivered apart from the listener; until it is there, requests are denied.
    Extension(Text),
    /// Who may do what.
    Authorization(Authorization),
    /// Who may do what at some hosts; requests for others pass it by.
    HostAuthorization(HostScope, Authorization),
    /// Tells gRPC statistics.
    GrpcStats,
    /// Keeps sessions at their endpoints, as routes say.
    Sessions,
}

impl HttpFilter {
    /// The filter of ours that it is the place of.
    #[must_use]
    pub fn extension(&self) -> Option<&Text> {
        match self {
            Self::Extension(name) => Some(name),
            Self::TakeOff(_)
            | Self::HostTakeOff(_, _)
            | Self::ListenerAuth(_)
            | Self::Cors
            | Self::RouteAuth
            | Self::Authorization(_)
            | Self::HostAuthorization(_, _)
            | Self::GrpcStats
            | Self::Sessions => None,
        }
    }
}

/// Of which hosts a filter judges the requests: the most specific name that covers a host decides, as it does for routes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostScope {
    /// Whether it judges those that no name here covers.
    pub others: bool,
    /// Whether it judges those of each name. Sorted.
    pub hosts: Vec<(Hostname, bool)>,
}

/// Who may do what, by verified identity. Deny rules come first; then each allow list has to allow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Authorization {
    /// Denied if one matches.
    pub deny: Vec<AuthorizationRule>,
    /// Of each of these lists a rule has to match, else it is denied (an empty list: everything is).
    pub allow: Vec<Vec<AuthorizationRule>>,
    /// Counted and logged as if it were an allow list, never enforced.
    pub audit: Option<Vec<AuthorizationRule>>,
    /// Counted and logged as if these were deny rules, never enforced.
    pub audit_deny: Vec<AuthorizationRule>,
}

/// One rule: all its parts must match; an empty part matches everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AuthorizationRule {
    /// Name, for logs and statistics.
    pub name: Text,
    /// Who: any of them.
    pub principals: Vec<Principal>,
    /// HTTP methods: any of them.
    pub methods: Vec<Text>,
    /// Paths: any of them.
    pub paths: Vec<PathPattern>,
    /// Ports: any of them.
    pub ports: Vec<u16>,
}

/// Who a peer is, by its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Principal {
    /// Exactly this URI SAN.
    Identity(Text),
    /// A URI SAN with this prefix: a namespace or a trust domain.
    Prefix(Text),
    /// Whoever showed a certificate of the mesh.
    Authenticated,
    /// A client address in this network.
    Network(Text, u8),
}

/// A path to compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathPattern {
    /// Exactly.
    Exact(Text),
    /// By whole segments.
    Prefix(Text),
}

/// Limits on what strangers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HttpLimits {
    /// Request headers in all, in KiB.
    pub max_headers_kib: u32,
    /// Number of request headers.
    pub max_headers: u32,
    /// HTTP/2 streams at once.
    pub max_streams: u32,
    /// HTTP/2 stream window, bytes.
    pub stream_window_bytes: u32,
    /// HTTP/2 connection window, bytes.
    pub connection_window_bytes: u32,
    /// Request body in bytes; unlimited where absent.
    pub max_body_bytes: Option<u64>,
    /// Time to read request headers.
    pub headers_timeout: Duration,
    /// Time to read a whole request; unlimited where zero.
    pub request_timeout: Duration,
    /// A stream without bytes ends after this.
    pub stream_idle_timeout: Duration,
    /// A connection without streams ends after this.
    pub connection_idle_timeout: Duration,
    /// A connection ends after this; unlimited where absent.
    pub connection_duration: Option<Duration>,
}

/// Whose word on the client's address is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientAddress {
    /// The connection's peer, which is put into `x-forwarded-for`; behind proxies of our own so many of its entries are believed, from the right.
    Edge {
        /// Proxies of our own in front of this one.
        trusted_hops: u32,
    },
    /// The last entry of `x-forwarded-for`, which goes on as it came (sidecar).
    Forwarded,
    /// The connection's peer; `x-forwarded-for` is not believed, and goes on as it came (sidecar that counts by address).
    Connection,
}

/// What happens to requests with `_` in the name of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Underscores {
    /// They go on.
    Keep,
    /// 400: servers that turn `_` into `-` would take `x_user` for a header that filters set.
    Reject,
}

impl ClientAddress {
    /// Whether strangers connect.
    #[must_use]
    pub fn is_edge(self) -> bool {
        match self {
            Self::Edge { .. } => true,
            Self::Forwarded | Self::Connection => false,
        }
    }
}

/// What is done with `x-forwarded-client-cert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardedCertificate {
    /// Taken off: nobody outside may claim one.
    Sanitize,
    /// Set from the verified certificate.
    Set,
}

/// How paths are made plain before they are matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathNormalization {
    /// RFC 3986 dot segments and case of escapes.
    pub normalize: bool,
    /// `//` becomes `/`.
    pub merge_slashes: bool,
    /// What happens to `%2F`, `%5C`.
    pub escaped_slashes: EscapedSlashes,
    /// What happens to `;`.
    pub parameters: PathParameters,
}

/// What happens to a path with parameters (`/a;x=1`). One whose segment is dots but for them gets 400 at every edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathParameters {
    /// Kept; routes compare them as part of the path.
    Keep,
    /// 400.
    Reject,
}

/// What happens to an escaped slash in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EscapedSlashes {
    /// Kept.
    Keep,
    /// 400.
    Reject,
    /// Unescaped, and the client redirected.
    UnescapeAndRedirect,
}

canonical!(struct HttpHandler { stat_name, routes, filters, limits, client_address, underscores, client_certificate, paths, websocket, tracing, access_log, metrics });
canonical!(
    enum RouteSource {
        Table(name),
        Scoped(name),
    }
);
canonical!(
    enum HttpFilter {
        TakeOff(names),
        HostTakeOff(hosts, names),
        ListenerAuth(position),
        Cors,
        RouteAuth,
        Extension(name),
        Authorization(rules),
        HostAuthorization(hosts, rules),
        GrpcStats,
        Sessions,
    }
);
canonical!(struct HostScope { others, hosts });

impl Canonical for Authorization {
    /// One allow list as when there was no second: none, or one.
    fn write(&self, w: &mut Writer) {
        let Self { deny, allow, audit, audit_deny } = self;
        deny.write(w);
        match &allow[..] {
            [] | [_] => allow.first().cloned().write(w),
            several => {
                w.bytes(&[LATER]);
                several.write(w);
            }
        }
        (audit, audit_deny).write(w);
    }
}

canonical!(struct AuthorizationRule { name, principals, methods, paths, ports });
canonical!(
    enum Principal {
        Identity(uri),
        Prefix(uri),
        Authenticated,
        Network(address, bits),
    }
);
canonical!(
    enum PathPattern {
        Exact(path),
        Prefix(path),
    }
);
canonical!(struct HttpLimits { max_headers_kib, max_headers, max_streams, stream_window_bytes, connection_window_bytes, max_body_bytes, headers_timeout, request_timeout, stream_idle_timeout, connection_idle_timeout, connection_duration });
canonical!(
    enum ClientAddress {
        Edge { trusted_hops },
        Forwarded,
        Connection,
    }
);
canonical!(
    enum Underscores {
        Keep,
        Reject,
    }
);
canonical!(
    enum ForwardedCertificate {
        Sanitize,
        Set,
    }
);
canonical!(struct PathNormalization { normalize, merge_slashes, escaped_slashes, parameters });
canonical!(
    enum PathParameters {
        Keep,
        Reject,
    }
);
canonical!(
    enum EscapedSlashes {
        Keep,
        Reject,
        UnescapeAndRedirect,
    }
);
