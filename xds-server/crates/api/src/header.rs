//! Headers with a meaning of their own, which no policy may take for itself: what a client sends under a header that a policy sets from a
//! claim is taken off for all who share the port.

/// By name.
const RESERVED: [&str; 53] = [
    // Whose request it is, and with what right.
    "host",
    "authorization",
    "proxy-authorization",
    "proxy-authenticate",
    "www-authenticate",
    "cookie",
    "set-cookie",
    "x-api-key",
    // How it is framed and carried on.
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "expect",
    "max-forwards",
    "via",
    "forwarded",
    "priority",
    "early-data",
    "x-real-ip",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-server",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-forwarded-client-cert",
    // What is asked for.
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "cache-control",
    "pragma",
    "date",
    "origin",
    "referer",
    "user-agent",
    "prefer",
    "idempotency-key",
    "x-http-method-override",
    "x-original-url",
    "x-rewrite-url",
    // What traces are tied together by.
    "x-request-id",
    "traceparent",
    "tracestate",
    "baggage",
];

/// By how their names begin: bodies, negotiation, what Envoy says of a request, gRPC, browsers, traces, pseudo headers, and our own.
const RESERVED_PREFIXES: [&str; 9] = [":", "content-", "accept", "access-control-", "sec-", "x-envoy-", "grpc-", "x-b3-", "x-windrose-"];

/// Whether a header, in lower case, is one of them.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
