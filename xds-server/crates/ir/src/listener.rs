//! A listener: where it binds, how a connection finds its chain, and what the chain does with it.

use std::net::SocketAddr;

use windrose_vocab::{Duration, Hostname, Text, canonical};

use crate::http::HttpHandler;
use crate::telemetry::AccessLog;

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// Where it binds; the first is the main address. `[::]` takes IPv4 too where no IPv4 address is listed.
    pub addresses: Vec<SocketAddr>,
    /// Whether connections come from our own workload (outbound) or from others (inbound).
    pub direction: Direction,
    /// Whether the server name must be read from the TLS hello to choose a chain, or TLS told from plain text.
    pub inspect_tls: bool,
    /// Chains by name, sorted; the most specific server name wins, not the order.
    pub chains: Vec<Chain>,
    /// Limits on connections.
    pub limits: ConnectionLimits,
    /// Log of connections that no chain took.
    pub access_log: Option<AccessLog>,
}

/// Which way connections come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From others.
    Inbound,
    /// From our own workload.
    Outbound,
}

/// One filter chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    /// Name, from the identity of what was declared: unique within the listener.
    pub name: Text,
    /// Server names (SNI) it takes, sorted; all where empty.
    pub server_names: Vec<Hostname>,
    /// Which transport it takes.
    pub transport: Transport,
    /// What it does.
    pub handler: Handler,
}

/// Which transport a chain takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Plain bytes.
    Plain,
    /// TLS that ends here.
    Tls(ServerTls),
    /// TLS that passes through, chosen by server name.
    Passthrough,
}

/// TLS that ends at a chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerTls {
    /// Secrets with certificates and keys; never empty.
    pub certificates: Vec<Text>,
    /// How clients' certificates are checked, if they are asked for.
    pub client: Option<ClientValidation>,
    /// Lowest version.
    pub minimum: TlsVersion,
    /// ALPN, in order of preference.
    pub alpn: Vec<Text>,
    /// Cipher suites for TLS 1.2; the proxy's own choice where empty.
    pub ciphers: Vec<Text>,
}

/// Checks of a client's certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientValidation {
    /// Secret with the CA certificates.
    pub trust: Text,
    /// Whether a client without a certificate that verifies is refused. Where it is not, nothing may be believed of a
    /// certificate that has not been verified.
    pub required: bool,
    /// Prefixes of URI SANs of which the client must have one (trust domain); any where empty.
    pub uri_prefixes: Vec<Text>,
}

/// TLS versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// What a chain does with a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Handler {
    /// HTTP.
    Http(Box<HttpHandler>),
    /// Bytes to clusters.
    Tcp(TcpHandler),
    /// Refuses: closes the connection at once.
    Close,
}

/// Bytes to clusters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TcpHandler {
    /// Name for statistics.
    pub stat_name: Text,
    /// Clusters with weights, at least one.
    pub clusters: Vec<(Text, u32)>,
    /// A connection without bytes is closed after this.
    pub idle_timeout: Duration,
    /// Who may connect; everybody where absent.
    pub authorization: Option<crate::http::Authorization>,
    /// Log of connections.
    pub access_log: Option<AccessLog>,
}

/// Limits on the connections of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionLimits {
    /// Bytes buffered per connection and direction.
    pub buffer_bytes: u32,
    /// Connections at once; unlimited where absent.
    pub max_connections: Option<u32>,
    /// Connections queued by the kernel.
    pub backlog: u32,
    /// Time to read the TLS hello or to finish the handshake.
    pub handshake_timeout: Duration,
}

canonical!(struct Listener { addresses, direction, inspect_tls, chains, limits, access_log });
canonical!(
    enum Direction {
        Inbound,
        Outbound,
    }
);
canonical!(struct Chain { name, server_names, transport, handler });
canonical!(
    enum Transport {
        Plain,
        Tls(tls),
        Passthrough,
    }
);
canonical!(struct ServerTls { certificates, client, minimum, alpn, ciphers });
canonical!(struct ClientValidation { trust, required, uri_prefixes });
canonical!(
    enum TlsVersion {
        Tls12,
        Tls13,
    }
);
canonical!(
    enum Handler {
        Http(http),
        Tcp(tcp),
        Close,
    }
);
canonical!(struct TcpHandler { stat_name, clusters, idle_timeout, authorization, access_log });
canonical!(struct ConnectionLimits { buffer_bytes, max_connections, backlog, handshake_timeout });
