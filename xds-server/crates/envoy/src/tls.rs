//! TLS contexts for both directions. Certificates, keys and CA bundles always come by SDS and never stand in a listener
//! or a cluster; the bytes of an SDS reference never change, so a rotation touches no listener.

use windrose_ir::cluster::{SubjectName, UpstreamTls};
use windrose_ir::listener::{ClientValidation, ServerTls, TlsVersion};
use windrose_ir::secret::{MESH_TRUST, WORKLOAD_SVID};
use windrose_vocab::{SpiffeId, Text};

use crate::pb;
use pb::cluster::cluster::TransportSocketMatch;
use pb::tls::certificate_validation_context::TrustChainVerification;
use pb::tls::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};
use pb::tls::subject_alt_name_matcher::SanType;
use pb::tls::tls_parameters::TlsProtocol;
use pb::tls::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, SubjectAltNameMatcher, TlsParameters,
    UpstreamTlsContext, downstream_tls_context,
};

const SOCKET: &str = "envoy.transport_sockets.tls";
/// Where Debian, Alpine, Arch, and Envoy's own images keep the certificates of the public authorities.
const SYSTEM_TRUST: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The mark of an endpoint that is outside of the mesh: key and value of its metadata.
pub(crate) const OUTSIDE: (&str, &str) = ("windrose", "outside");
/// No certificate carries it: what has to match a name and was given none matches nothing.
const NOBODY: &str = "spiffe://nobody.invalid/";

/// The transport socket of a chain that ends TLS.
pub(crate) fn server(tls: &ServerTls) -> pb::core::TransportSocket {
    let context = DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(TlsParameters {
                tls_minimum_protocol_version: protocol(tls.minimum) as i32,
                tls_maximum_protocol_version: TlsProtocol::TlSv13 as i32,
                cipher_suites: tls.ciphers.iter().map(ToString::to_string).collect(),
                ..Default::default()
            }),
            tls_certificate_sds_secret_configs: tls.certificates.iter().map(|name| sds(name)).collect(),
            alpn_protocols: tls.alpn.iter().map(ToString::to_string).collect(),
            validation_context_type: tls.client.as_ref().map(client_validation),
            ..Default::default()
        }),
        require_client_certificate: tls.client.as_ref().and_then(|client| pb::boolean(client.required)),
        // A resumed session skips the check of the certificate: a CA that was taken out would live on in tickets.
        disable_stateful_session_resumption: tls.client.is_some(),
        session_ticket_keys_type: tls
            .client
            .is_some()
            .then_some(downstream_tls_context::SessionTicketKeysType::DisableStatelessSessionResumption(true)),
        ..Default::default()
    };
    socket(&context)
}

fn client_validation(client: &ClientValidation) -> ValidationContextType {
    let names = client.uri_prefixes.iter().map(|prefix| san(SanType::Uri, pb::prefix(prefix))).collect();
    let chain = if client.required { TrustChainVerification::VerifyTrustChain } else { TrustChainVerification::AcceptUntrusted };
    validation(&client.trust, CertificateValidationContext { trust_chain_verification: chain as i32, ..carrying(names) })
}

/// The transport socket of a cluster that is spoken to over TLS. Where some of its endpoints are outside of the mesh it
/// is the mesh's: an endpoint whose mark is not there yet is never spoken to in the clear.
pub(crate) fn client(tls: &UpstreamTls) -> pb::core::TransportSocket {
    match tls {
        UpstreamTls::Mesh { peers } | UpstreamTls::Mixed { peers, .. } => socket(&mesh(peers)),
        UpstreamTls::Origin { sni, trust, subject_names, client_certificate } => {
            socket(&origin(sni, trust.as_ref(), subject_names, client_certificate.as_ref()))
        }
    }
}

/// Another transport socket for the endpoints that carry the mark of those outside of the mesh.
pub(crate) fn outside(tls: &UpstreamTls) -> Option<TransportSocketMatch> {
    let UpstreamTls::Mixed { outside, .. } = tls else { return None };
    Some(TransportSocketMatch {
        name: "outside".to_owned(),
        r#match: Some(pb::string_struct([OUTSIDE])),
        transport_socket: Some(outside.as_deref().map_or_else(plain, client)),
    })
}

fn plain() -> pb::core::TransportSocket {
    let config = pb::core::transport_socket::ConfigType::TypedConfig(pb::any(&pb::raw_buffer::RawBuffer {}));
    pb::core::TransportSocket { name: "envoy.transport_sockets.raw_buffer".to_owned(), config_type: Some(config) }
}

fn mesh(peers: &[SpiffeId]) -> UpstreamTlsContext {
    let names: Vec<_> = peers.iter().map(|peer| san(SanType::Uri, pb::exact(&peer.to_string()))).collect();
    UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(versions(TlsVersion::Tls13)),
            tls_certificate_sds_secret_configs: vec![sds(WORKLOAD_SVID)],
            validation_context_type: Some(validation(MESH_TRUST, carrying(or_nobody(names)))),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn origin(sni: &str, trust: Option<&Text>, subject_names: &[SubjectName], certificate: Option<&Text>) -> UpstreamTlsContext {
    let names = if subject_names.is_empty() && !sni.is_empty() {
        vec![dns_name(sni)]
    } else {
        or_nobody(subject_names.iter().map(subject).collect())
    };
    let validation = match trust {
        Some(trust) => validation(trust, carrying(names)),
        None => ValidationContextType::ValidationContext(CertificateValidationContext {
            trusted_ca: Some(pb::filename(SYSTEM_TRUST)),
            ..carrying(names)
        }),
    };
    UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(versions(TlsVersion::Tls12)),
            tls_certificate_sds_secret_configs: certificate.map(|name| sds(name)).into_iter().collect(),
            validation_context_type: Some(validation),
            ..Default::default()
        }),
        sni: sni.to_owned(),
        ..Default::default()
    }
}

pub(crate) fn versions(minimum: TlsVersion) -> TlsParameters {
    TlsParameters {
        tls_minimum_protocol_version: protocol(minimum) as i32,
        tls_maximum_protocol_version: TlsProtocol::TlSv13 as i32,
        ..Default::default()
    }
}

fn protocol(version: TlsVersion) -> TlsProtocol {
    match version {
        TlsVersion::Tls12 => TlsProtocol::TlSv12,
        TlsVersion::Tls13 => TlsProtocol::TlSv13,
    }
}

fn subject(name: &SubjectName) -> SubjectAltNameMatcher {
    match name {
        SubjectName::Dns(name) => dns_name(name),
        SubjectName::Uri(uri) => san(SanType::Uri, pb::exact(uri)),
    }
}

/// A certificate must carry this DNS name.
pub(crate) fn dns_name(name: &str) -> SubjectAltNameMatcher {
    san(SanType::Dns, pb::exact(name))
}

/// A certificate must carry this DNS name, or this address where it is one.
pub(crate) fn host_name(name: &str) -> SubjectAltNameMatcher {
    match name.parse::<std::net::IpAddr>() {
        Ok(address) => san(SanType::IpAddress, pb::exact(&address.to_string())),
        Err(_) => dns_name(name),
    }
}

/// Envoy takes an empty list of names for "any name".
fn or_nobody(names: Vec<SubjectAltNameMatcher>) -> Vec<SubjectAltNameMatcher> {
    if names.is_empty() { vec![san(SanType::Uri, pb::exact(NOBODY))] } else { names }
}

pub(crate) fn san(kind: SanType, matcher: pb::matcher::StringMatcher) -> SubjectAltNameMatcher {
    SubjectAltNameMatcher { san_type: kind as i32, matcher: Some(matcher), oid: String::new() }
}

/// A certificate must carry one of these names.
fn carrying(names: Vec<SubjectAltNameMatcher>) -> CertificateValidationContext {
    CertificateValidationContext { match_typed_subject_alt_names: names, ..Default::default() }
}

fn validation(trust: &str, context: CertificateValidationContext) -> ValidationContextType {
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(context),
        validation_context_sds_secret_config: Some(sds(trust)),
        ..Default::default()
    })
}

fn sds(name: &str) -> SdsSecretConfig {
    SdsSecretConfig { name: name.to_owned(), sds_config: pb::ads() }
}

pub(crate) fn socket<M: prost::Message + prost::Name>(context: &M) -> pb::core::TransportSocket {
    let config = pb::core::transport_socket::ConfigType::TypedConfig(pb::any(context));
    pb::core::TransportSocket { name: SOCKET.to_owned(), config_type: Some(config) }
}
