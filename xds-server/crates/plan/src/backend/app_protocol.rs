//! What a Service's port says it speaks (`appProtocol`, GEP-1911).

/// What a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppProtocol {
    /// It says nothing: HTTP/1.1 for the edge, whatever the caller speaks for a sidecar.
    Unsaid,
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS.
    H2c,
    /// HTTP/1.1 with WebSocket.
    WebSocket,
    /// HTTP over TLS: needs a BackendTLSPolicy.
    Https,
    /// WebSocket over TLS: needs one too.
    SecureWebSocket,
    /// Bytes, or a protocol that we do not read.
    Opaque,
}

impl AppProtocol {
    /// What `appProtocol` means. Names of protocols have no case (RFC 6335, section 5.1).
    pub(crate) fn parse(text: Option<&str>) -> Self {
        match text.map(str::to_ascii_lowercase).as_deref() {
            None | Some("") => Self::Unsaid,
            Some("http" | "kubernetes.io/http") => Self::Http,
            Some("kubernetes.io/h2c" | "h2c" | "http2" | "grpc") => Self::H2c,
            Some("kubernetes.io/ws") => Self::WebSocket,
            Some("https") => Self::Https,
            Some("kubernetes.io/wss") => Self::SecureWebSocket,
            Some(_) => Self::Opaque,
        }
    }

    /// Whether it is spoken over TLS.
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::SecureWebSocket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_protocols_have_no_case() {
        assert_eq!(AppProtocol::parse(Some("HTTPS")), AppProtocol::Https);
        assert_eq!(AppProtocol::parse(Some("kubernetes.io/h2c")), AppProtocol::H2c);
        assert_eq!(AppProtocol::parse(Some("mysql")), AppProtocol::Opaque);
    }
}
