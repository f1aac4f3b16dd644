//! A route table: virtual hosts with routes in the order they are tried.

mod headers;

use std::sync::Arc;

use imbl::OrdMap;
use windrose_vocab::{Canonical, Duration, Hostname, Text, Writer, canonical};

use crate::LATER;
pub use headers::HeaderChanges;

/// One route table. A copy costs nothing, and two that grew from each other compare at the cost of what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTable {
    /// Virtual hosts by name; hosts of two never overlap exactly.
    pub hosts: OrdMap<Text, Arc<VirtualHost>>,
    /// Whether each host that is [`VirtualHost::alone`] goes by itself too: where a listener takes the table so, or once
    /// did and still has connections from then.
    pub by_host: bool,
}

impl RouteTable {
    /// The name under which one host of a table goes by itself.
    #[must_use]
    pub fn scope_name(table: &str, host: &str) -> Text {
        format!("{table}/{host}").into()
    }
}

impl FromIterator<VirtualHost> for RouteTable {
    /// The table of these hosts, to be taken whole.
    fn from_iter<I: IntoIterator<Item = VirtualHost>>(hosts: I) -> Self {
        Self { hosts: hosts.into_iter().map(|host| (host.name.clone(), Arc::new(host))).collect(), by_host: false }
    }
}

/// The routes of some hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualHost {
    /// Name, from its hosts.
    pub name: Text,
    /// Hosts, with any port; sorted.
    pub hosts: Vec<Hostname>,
    /// Literal authorities besides, such as `10.96.0.7` or `orders.shop.svc.cluster.local:8080`; sorted.
    pub authorities: Vec<Text>,
    /// Who is asked, in this order, before a route is chosen.
    pub external_auth: Vec<ExternalAuth>,
    /// Routes, first match wins. A declared route stands at each of its hosts.
    pub routes: Vec<Arc<Route>>,
    /// Configurations of filters that have policies of the routes. Sorted.
    pub filters: Vec<Text>,
}

impl VirtualHost {
    /// Its host, where it is named after one exact host and is for no other: such a host can go by itself.
    #[must_use]
    pub fn alone(&self) -> Option<&Hostname> {
        match (&*self.hosts, &*self.authorities) {
            ([host], []) if host.is_exact() && *self.name == *host.as_str() => Some(host),
            _ => None,
        }
    }
}

/// Authorization by a service of the user's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExternalAuth {
    /// The service may not be asked: nobody passes.
    Denied,
    /// The service decides; nobody passes while it does not answer.
    Asked(Box<AuthService>),
}

/// A service that decides who passes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuthService {
    /// Its cluster.
    pub cluster: Text,
    /// How it is asked.
    pub protocol: AuthProtocol,
    /// Headers that it alone sets: what the request has under them is taken off before it is asked. Lower case, sorted.
    pub take_off: Vec<Text>,
    /// Bytes of the request's body that it is told; a longer one is refused. 0: it is told none.
    pub body_bytes: u32,
}

/// How a service that authorizes is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AuthProtocol {
    /// By Envoy's protocol `ext_authz`.
    Grpc {
        /// The request headers that it is told; all where empty.
        headers: Vec<Text>,
    },
    /// By a request of its own, which is to be answered by 200.
    Http {
        /// Put before the request's path.
        path: Text,
        /// Request headers that it is told besides host, method, path, length and `authorization`.
        headers: Vec<Text>,
        /// Headers of its answer that go on to the backend; all where empty.
        answer_headers: Vec<Text>,
    },
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Name: kind/namespace/name/rule/match of what was declared.
    pub name: Text,
    /// What it matches.
    pub matcher: RouteMatch,
    /// What it does.
    pub action: RouteAction,
    /// Changes to the request's headers.
    pub request_headers: HeaderChanges,
    /// Changes to the answer's headers.
    pub response_headers: HeaderChanges,
    /// CORS, if the route has it.
    pub cors: Option<Box<Cors>>,
    /// Who is asked whether a request may pass.
    pub external_auth: Option<ExternalAuth>,
    /// Bytes of a body that may be held back at once, where a filter needs more than the connection has; 0 where none does.
    pub buffer_bytes: u64,
    /// Entries of the filters' tables that apply: filter name (`policy`, `ratelimit`, `transcode`) and entry. Sorted.
    pub policies: Vec<(Text, Text)>,
    /// Of the requests that match, those it takes; all where absent. The next routes with the same match take the others.
    pub share: Option<Share>,
}

/// A part of the requests that match: with one number drawn for each request, those below a bound. Routes that share a match have
/// growing bounds, so that each takes what is between its own and the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    /// The bound, in millionths.
    pub below_millionths: u32,
}

/// What a route matches; all parts must.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteMatch {
    /// Path.
    pub path: PathMatch,
    /// Method, if one.
    pub method: Option<Text>,
    /// Headers.
    pub headers: Vec<ValueMatch>,
    /// Query parameters.
    pub query: Vec<ValueMatch>,
    /// Only gRPC requests.
    pub grpc: bool,
}

/// How a path is matched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// Exactly.
    Exact(Text),
    /// By whole segments: `/a` matches `/a` and `/a/b`, not `/ab`. `/` matches all.
    Prefix(Text),
    /// The whole path, RE2.
    Regex(Text),
}

/// How a header or query parameter is matched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueMatch {
    /// Name; lower case for headers.
    pub name: Text,
    /// Value.
    pub value: ValuePattern,
}

/// A value to compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValuePattern {
    /// Exactly.
    Exact(Text),
    /// The whole value, RE2.
    Regex(Text),
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteAction {
    /// Sends on.
    Forward(Box<Forward>),
    /// Redirects.
    Redirect(Redirect),
    /// Answers by itself: 500 for a rule without valid backends, 503 for one without endpoints, 404 otherwise.
    Respond {
        /// HTTP status.
        status: u16,
        /// Body; for gRPC requests it becomes the message.
        body: Text,
    },
}

/// Sends a request on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Forward {
    /// Backends with a weight above 0, at least one.
    pub backends: Vec<WeightedBackend>,
    /// Rewrites, if any.
    pub rewrite: Rewrite,
    /// Time for the whole exchange; unlimited where zero.
    pub timeout: Duration,
    /// Time without bytes in either direction; the listener's where absent.
    pub idle_timeout: Option<Duration>,
    /// Retries, if any.
    pub retry: Option<Retry>,
    /// Copies of requests.
    pub mirrors: Vec<Mirror>,
    /// What is hashed for consistent hashing, in order.
    pub hash: Vec<HashOn>,
    /// What keeps a session at its endpoint, if anything.
    pub session: Option<Session>,
    /// Whether an HTTP/1.1 upgrade passes on this route.
    pub websocket: bool,
    /// Largest gRPC deadline a client may ask for, if it is looked at.
    pub max_grpc_timeout: Option<Duration>,
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WeightedBackend {
    /// The cluster. `None`: this share is answered with 500 (a reference that does not resolve).
    pub cluster: Option<Text>,
    /// Its share.
    pub weight: u32,
    /// Changes to the request's headers for this backend only.
    pub request_headers: HeaderChanges,
    /// Changes to the answer's headers for this backend only.
    pub response_headers: HeaderChanges,
    /// Host to send instead of the request's, for this backend only.
    pub host: Option<Text>,
}

/// Rewrites on the way on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rewrite {
    /// Host.
    pub host: Option<Text>,
    /// Path.
    pub path: Option<PathRewrite>,
}

/// How a path is rewritten.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathRewrite {
    /// The whole path; the query is kept.
    Full(Text),
    /// The matched prefix.
    Prefix(Text),
}

/// A redirect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redirect {
    /// `http` or `https`; the request's where absent.
    pub scheme: Option<Text>,
    /// Host; the request's where absent.
    pub host: Option<Text>,
    /// Port; by scheme or the listener's where absent.
    pub port: Option<u16>,
    /// Path; the request's where absent.
    pub path: Option<PathRewrite>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Retries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Retry {
    /// Attempts after the first.
    pub attempts: u32,
    /// Time for each attempt; the whole time where absent.
    pub per_try_timeout: Option<Duration>,
    /// First wait; grows to ten times of it.
    pub backoff: Duration,
    /// Answers that are tried again.
    pub statuses: Vec<u16>,
    /// gRPC statuses that are tried again, by name (`unavailable`).
    pub grpc_statuses: Vec<Text>,
    /// Whether a refused connection, a reset before the answer, or a refused stream is tried again.
    pub on_connect_failure: bool,
}

/// A copy of requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mirror {
    /// The cluster that gets the copy.
    pub cluster: Text,
    /// Share of requests as numerator of `denominator`.
    pub numerator: u32,
    /// 100, 10,000 or 1,000,000.
    pub denominator: u32,
}

/// What is hashed for consistent hashing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HashOn {
    /// A header.
    Header(Text),
    /// A cookie, made with this lifetime and path where it is absent; a session cookie where the lifetime is zero.
    Cookie(Text, Duration, Text),
    /// The client's address.
    SourceAddress,
}

/// What keeps a session at its endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Session {
    /// A cookie that names the endpoint, with this lifetime; a session cookie where zero.
    Cookie {
        /// Its name.
        name: Text,
        /// Its lifetime.
        lifetime: Duration,
        /// The paths that it is sent for.
        path: Text,
    },
    /// A header that names the endpoint: the answer tells it, and requests repeat it.
    Header(Text),
    /// What is hashed, which also decides between backends.
    Hashed,
}

/// CORS of one route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cors {
    /// Allowed origins.
    pub origins: Vec<OriginPattern>,
    /// Allowed methods; `*` for all.
    pub methods: Vec<Text>,
    /// Allowed request headers; `*` for all.
    pub headers: Vec<Text>,
    /// Headers shown to the page.
    pub expose: Vec<Text>,
    /// Whether credentials pass.
    pub credentials: bool,
    /// How long a preflight answer is kept.
    pub max_age: Duration,
}

/// An origin to compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OriginPattern {
    /// Any.
    Any,
    /// Exactly.
    Exact(Text),
    /// `scheme://*.suffix[:port]`, as a safe regex of the whole origin.
    Regex(Text),
}

impl Canonical for RouteTable {
    /// As a whole: `by_host` says nothing of what is in it, and every host tells its own name.
    fn write(&self, w: &mut Writer) {
        let Self { hosts, by_host: _ } = self;
        w.length(hosts.len());
        hosts.values().for_each(|host| host.write(w));
    }
}

canonical!(struct VirtualHost { name, hosts, authorities, external_auth, routes, filters });

fn write_later<T: Canonical>(later: &Option<T>, w: &mut Writer) {
    if let Some(later) = later {
        w.bytes(&[LATER]);
        later.write(w);
    }
}

impl Canonical for Route {
    fn write(&self, w: &mut Writer) {
        let Self { name, matcher, action, request_headers, response_headers, cors, external_auth, buffer_bytes, policies, share } = self;
        (name, matcher).write(w);
        (action, request_headers).write(w);
        (response_headers, cors).write(w);
        write_later(share, w);
        (external_auth, buffer_bytes).write(w);
        policies.write(w);
    }
}

canonical!(struct Share { below_millionths });
canonical!(
    enum ExternalAuth {
        Denied,
        Asked(service),
    }
);

impl Canonical for AuthService {
    fn write(&self, w: &mut Writer) {
        let Self { cluster, protocol, take_off, body_bytes } = self;
        cluster.write(w);
        write_later(&(!take_off.is_empty()).then_some(take_off), w);
        (protocol, body_bytes).write(w);
    }
}

canonical!(enum AuthProtocol { Grpc { headers }, Http { path, headers, answer_headers } });
canonical!(struct RouteMatch { path, method, headers, query, grpc });
canonical!(
    enum PathMatch {
        Exact(p),
        Prefix(p),
        Regex(p),
    }
);
canonical!(struct ValueMatch { name, value });
canonical!(
    enum ValuePattern {
        Exact(v),
        Regex(v),
    }
);
canonical!(enum RouteAction { Forward(f), Redirect(r), Respond { status, body } });

impl Canonical for Forward {
    fn write(&self, w: &mut Writer) {
        let Self { backends, rewrite, timeout, idle_timeout, retry, mirrors, hash, session, websocket, max_grpc_timeout } = self;
        (backends, rewrite).write(w);
        (timeout, idle_timeout).write(w);
        (retry, mirrors).write(w);
        hash.write(w);
        write_later(session, w);
        (websocket, max_grpc_timeout).write(w);
    }
}

canonical!(struct WeightedBackend { cluster, weight, request_headers, response_headers, host });
canonical!(struct Rewrite { host, path });
canonical!(
    enum PathRewrite {
        Full(p),
        Prefix(p),
    }
);
canonical!(struct Redirect { scheme, host, port, path, status });
canonical!(struct Retry { attempts, per_try_timeout, backoff, statuses, grpc_statuses, on_connect_failure });
canonical!(struct Mirror { cluster, numerator, denominator });
canonical!(
    enum HashOn {
        Header(h),
        Cookie(name, ttl, path),
        SourceAddress,
    }
);
canonical!(
    enum Session {
        Cookie { name, lifetime, path },
        Header(name),
        Hashed,
    }
);
canonical!(struct Cors { origins, methods, headers, expose, credentials, max_age });
canonical!(
    enum OriginPattern {
        Any,
        Exact(o),
        Regex(o),
    }
);
