//! Routes of every kind, in one shape. What a kind cannot say is empty.

use windrose_vocab::{Duration, Hostname, Port, Text, Weight};

use super::backend::ObjectReference;

/// A route of any kind; the kind is in the object's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Parents, in order.
    pub parents: Vec<ParentRef>,
    /// Hosts; those of the listener where empty.
    pub hostnames: Vec<Hostname>,
    /// Rules, in order.
    pub rules: Vec<Rule>,
}

/// What a route attaches to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParentRef {
    /// Gateway, ListenerSet or Service, as written.
    pub target: ObjectReference,
    /// Listener, if only one.
    pub section: Option<Text>,
    /// Port, if only one.
    pub port: Option<Port>,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Name, for policies that attach to it.
    pub name: Option<Text>,
    /// Any of these; everything where empty.
    pub matches: Vec<Match>,
    /// Filters, in order.
    pub filters: Vec<Filter>,
    /// Backends, in order.
    pub backends: Vec<BackendRef>,
    /// Time for the whole exchange; 0 is unlimited.
    pub request_timeout: Option<Duration>,
    /// Time for one attempt; 0 is unlimited.
    pub backend_timeout: Option<Duration>,
    /// Retries.
    pub retry: Option<Retry>,
    /// Sessions that stick to a backend.
    pub session: Option<SessionPersistence>,
}

/// What a rule matches: all parts must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// HTTPRoute.
    Http {
        /// Path.
        path: PathMatch,
        /// Method.
        method: Option<Text>,
        /// Headers, names as written.
        headers: Vec<ValueMatch>,
        /// Query parameters.
        query: Vec<ValueMatch>,
    },
    /// GRPCRoute.
    Grpc {
        /// Whether service and method are regular expressions.
        regex: bool,
        /// Service; any where absent.
        service: Option<Text>,
        /// Method; any where absent.
        method: Option<Text>,
        /// Metadata.
        headers: Vec<ValueMatch>,
    },
}

/// How a path is matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// Exactly.
    Exact(Text),
    /// By whole segments.
    Prefix(Text),
    /// RE2, the whole path.
    Regex(Text),
}

/// How a header or query parameter is matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueMatch {
    /// Name.
    pub name: Text,
    /// Whether the value is a regular expression.
    pub regex: bool,
    /// Value.
    pub value: Text,
}

/// A backend of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendRef {
    /// What it is.
    pub target: ObjectReference,
    /// Port; required for Services.
    pub port: Option<Port>,
    /// Its share.
    pub weight: Weight,
    /// Filters for this backend only.
    pub filters: Vec<Filter>,
}

/// A filter of a rule or of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Changes request headers.
    RequestHeaders(HeaderChanges),
    /// Changes response headers.
    ResponseHeaders(HeaderChanges),
    /// Redirects.
    Redirect(Redirect),
    /// Rewrites host or path.
    Rewrite(Rewrite),
    /// Sends copies.
    Mirror(Mirror),
    /// CORS.
    Cors(Cors),
    /// Lets a service of the user's own decide who passes.
    ExternalAuth(ExternalAuth),
    /// A filter of another kind by reference: not supported, the rule answers 500.
    Extension(ObjectReference),
}

/// Authorization by a service of the user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAuth {
    /// The service.
    pub target: ObjectReference,
    /// Its port, for a Service.
    pub port: Option<Port>,
    /// How it is asked.
    pub protocol: AuthProtocol,
    /// Bytes of the request's body that it is told at most; 0: none.
    pub body_bytes: u32,
}

/// How a service that authorizes is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
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
        /// Request headers that it is told besides those that always are.
        headers: Vec<Text>,
        /// Headers of its answer that go on to the backend; all where empty.
        answer_headers: Vec<Text>,
    },
}

/// Changes to headers, in the order written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Replaced.
    pub set: Vec<(Text, Text)>,
    /// Appended.
    pub add: Vec<(Text, Text)>,
    /// Taken off.
    pub remove: Vec<Text>,
}

/// A redirect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<Text>,
    /// Host.
    pub hostname: Option<Text>,
    /// Port.
    pub port: Option<Port>,
    /// Path.
    pub path: Option<PathModifier>,
    /// Status; 302 where absent.
    pub status: Option<u16>,
}

/// A rewrite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Host.
    pub hostname: Option<Text>,
    /// Path.
    pub path: Option<PathModifier>,
}

/// How a path is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathModifier {
    /// The whole path.
    Full(Text),
    /// The matched prefix.
    Prefix(Text),
}

/// Copies of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where copies go.
    pub target: ObjectReference,
    /// Port.
    pub port: Option<Port>,
    /// Share: numerator and denominator, 100 of 100 where nothing is said.
    pub fraction: (u32, u32),
}

/// CORS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// `*`, `scheme://host[:port]`, or with a leading `*` in the host.
    pub origins: Vec<Text>,
    /// Whether credentials pass.
    pub credentials: bool,
    /// Methods; `*` for all.
    pub methods: Vec<Text>,
    /// Request headers; `*` for all.
    pub headers: Vec<Text>,
    /// Headers shown to the page.
    pub expose: Vec<Text>,
    /// Seconds a preflight is kept.
    pub max_age_seconds: u32,
}

/// Retries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// Statuses that are tried again.
    pub codes: Vec<u16>,
    /// Attempts after the first; the implementation's default where absent.
    pub attempts: Option<u32>,
    /// Least time between two.
    pub backoff: Option<Duration>,
}

/// Sessions that stick to a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionPersistence {
    /// Name of the cookie or header; one is made up where absent.
    pub name: Option<Text>,
    /// Path of the cookie; all where absent.
    pub path: Option<Text>,
    /// By header instead of by cookie.
    pub header: bool,
    /// How long a session lasts at most.
    pub absolute_timeout: Option<Duration>,
    /// Whether the cookie outlives the browser.
    pub permanent: bool,
}
