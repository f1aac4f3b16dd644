//! Backend: endpoints outside Kubernetes.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windrose_vocab::{Code, Port};

use super::Enveloped;
use super::reference::{CertificateRef, SecretRef};
use crate::declared::Meta;
use crate::declared::backend::{BackendEndpoint, BackendTlsSettings};
use crate::decode::{Path, Report};
use crate::{declared, name};

/// Endpoints outside Kubernetes, for routes to send to: `backendRefs` with group `windrose.dev` and kind `Backend`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// Where it is. Requests are spread over all of them.
    #[schemars(length(min = 1, max = 1024))]
    pub endpoints: Vec<Address>,
    /// What it speaks. Http where absent.
    #[serde(default)]
    pub protocol: BackendProtocol,
    /// TLS to it. Plain text where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
}

/// One endpoint: `ip` and `port`, `host` and `port`, or `unix`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Address {
    /// IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// DNS name; resolved by Envoy, again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub host: Option<String>,
    /// Port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Path of a Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 107))]
    pub unix: Option<String>,
}

/// What a Backend speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BackendProtocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/2, gRPC too.
    Http2,
    /// Bytes.
    Tcp,
}

/// TLS to a Backend. The certificate is always checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendTls {
    /// Server name to send and to check. The endpoint's host name where absent; needed for IP addresses and Unix sockets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub hostname: Option<String>,
    /// CA certificates. The system's where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CertificateRef>,
    /// Our own certificate: a Secret of type `kubernetes.io/tls`. None is shown where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<SecretRef>,
}

pub(super) fn backend(written: Enveloped<Backend>, _: &Meta, report: &mut Report) -> Option<declared::Backend> {
    let root = Path::ROOT;
    let at = root.field("spec");
    let spec = written.spec;
    let at_endpoints = at.field("endpoints");
    let endpoints = spec.endpoints.into_iter().enumerate();
    let endpoints: Vec<_> = endpoints.filter_map(|(index, address)| endpoint(address, &at_endpoints.index(index), report)).collect();
    if let Some(tls) = &spec.tls {
        check_hostname(tls, &endpoints, &at.field("tls"), report);
    }
    Some(declared::Backend { endpoints, protocol: protocol(spec.protocol), tls: spec.tls.map(tls) })
}

fn endpoint(written: Address, at: &Path<'_>, report: &mut Report) -> Option<BackendEndpoint> {
    let port = written.port.and_then(|port| Port::new(i64::from(port)));
    match (written.ip, written.host, written.unix, port) {
        (Some(ip), None, None, Some(port)) => Some(BackendEndpoint::Ip(ip, port)),
        (None, Some(host), None, Some(port)) => host_name(&host, port, at, report),
        (None, None, Some(path), None) => Some(BackendEndpoint::Unix(path.into())),
        (Some(_), None, None, None) | (None, Some(_), None, None) => {
            report.error(&at.field("port"), Code::MissingField, "required field `port` is missing");
            None
        }
        _ => {
            report.error(at, Code::Invalid, "must be one of: `ip` and `port`, `host` and `port`, `unix`");
            None
        }
    }
}

fn host_name(host: &str, port: Port, at: &Path<'_>, report: &mut Report) -> Option<BackendEndpoint> {
    if host.parse::<IpAddr>().is_ok() {
        report.error_with_hint(&at.field("host"), Code::Invalid, "is an IP address, not a DNS name", "write it as `ip`");
    } else if !name::is_subdomain(host) {
        report.error(&at.field("host"), Code::OutOfRange, "is not a DNS name: lower-case letters, digits, inner `-` and `.`");
    } else {
        return Some(BackendEndpoint::Host(host.into(), port));
    }
    None
}

/// Without a name there is nothing to check a certificate against.
fn check_hostname(tls: &BackendTls, endpoints: &[BackendEndpoint], at: &Path<'_>, report: &mut Report) {
    let nameless = endpoints.iter().any(|endpoint| match endpoint {
        BackendEndpoint::Host(..) => false,
        BackendEndpoint::Ip(..) | BackendEndpoint::Unix(_) => true,
    });
    match &tls.hostname {
        None if nameless => report.error(
            &at.field("hostname"),
            Code::MissingField,
            "required field `hostname` is missing: an IP address or Unix socket has no name to check the certificate against",
        ),
        Some(hostname) if !name::is_subdomain(hostname) => {
            report.error(&at.field("hostname"), Code::OutOfRange, "is not a DNS name: lower-case letters, digits, inner `-` and `.`");
        }
        Some(_) | None => {}
    }
}

fn protocol(written: BackendProtocol) -> declared::backend::BackendProtocol {
    match written {
        BackendProtocol::Http => declared::backend::BackendProtocol::Http,
        BackendProtocol::Http2 => declared::backend::BackendProtocol::Http2,
        BackendProtocol::Tcp => declared::backend::BackendProtocol::Tcp,
    }
}

fn tls(written: BackendTls) -> BackendTlsSettings {
    BackendTlsSettings {
        hostname: written.hostname.map(Into::into),
        ca: written.ca.map(Into::into),
        client_certificate: written.client_certificate.map(Into::into),
    }
}
