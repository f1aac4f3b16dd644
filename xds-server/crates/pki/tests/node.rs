//! Node credentials from outside: they open the stream for exactly one proxy, and nothing else opens it.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its stage fails")]

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use windrose_pki::{Authority, CredentialProblem, Directory, Error, NodeAuthority, SystemEntropy, limits};
use windrose_vocab::{ProxyKey, SpiffeId, TrustDomain};

const DAY: Duration = Duration::from_secs(86_400);

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn domain(text: &str) -> TrustDomain {
    TrustDomain::parse(text).unwrap()
}

struct Place {
    _folder: tempfile::TempDir,
    directory: Directory,
    nodes: NodeAuthority,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path().join("pki")).unwrap();
    let nodes = NodeAuthority::open(&directory, &domain("cluster.local"), noon(), &SystemEntropy).unwrap();
    Place { _folder: folder, directory, nodes }
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn a_client_certificate_names_its_proxy_until_it_expires() {
    let place = place();
    for proxy in [ProxyKey::gateway("shop", "edge"), ProxyKey::workload("shop", "orders")] {
        let made = place.nodes.issue_certificate(&proxy, limits::NODE_LIFETIME, noon(), &SystemEntropy).unwrap();
        let identity = place.nodes.identify_certificate(&der(&made.certificate), noon() + 89 * DAY).unwrap();
        assert_eq!((&identity, &identity.proxy), (&made.identity, &proxy));
        assert_eq!(identity.expires_at, noon() + 90 * DAY);
        let late = place.nodes.identify_certificate(&der(&made.certificate), noon() + 91 * DAY);
        assert_eq!(late, Err(CredentialProblem::OutsideValidity));
    }
}

#[test]
fn a_token_names_its_proxy_until_it_expires() {
    let place = place();
    let proxy = ProxyKey::workload("shop", "orders");
    let token = place.nodes.issue_token(&proxy, DAY, noon(), &SystemEntropy).unwrap();
    let identity = place.nodes.identify_token(token.expose(), noon()).unwrap();
    assert_eq!((identity.proxy, identity.expires_at), (proxy, noon() + DAY));
    for now in [noon() + DAY, noon() - Duration::from_secs(3600)] {
        assert_eq!(place.nodes.identify_token(token.expose(), now), Err(CredentialProblem::OutsideValidity));
    }
}

#[test]
fn credentials_survive_a_restart() {
    let place = place();
    let proxy = ProxyKey::workload("shop", "orders");
    let token = place.nodes.issue_token(&proxy, DAY, noon(), &SystemEntropy).unwrap();
    let made = place.nodes.issue_certificate(&proxy, DAY, noon(), &SystemEntropy).unwrap();
    let again = NodeAuthority::open(&place.directory, &domain("cluster.local"), noon(), &SystemEntropy).unwrap();
    assert_eq!(again.identify_token(token.expose(), noon()).unwrap().proxy, proxy);
    assert_eq!(again.identify_certificate(&der(&made.certificate), noon()).unwrap().proxy, proxy);
}

#[test]
fn a_workload_certificate_opens_no_stream_and_a_node_certificate_is_no_workload() {
    let place = place();
    let mesh = Authority::open(place.directory.clone(), &domain("cluster.local"), noon(), &SystemEntropy).unwrap();
    let identity = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/orders").unwrap();
    let svid = mesh.issue(&identity, noon(), &SystemEntropy).unwrap();
    assert_eq!(place.nodes.identify_certificate(&der(&svid.chain), noon()), Err(CredentialProblem::Foreign));
    let proxy = ProxyKey::workload("shop", "orders");
    let node = place.nodes.issue_certificate(&proxy, DAY, noon(), &SystemEntropy).unwrap();
    let uri = &windrose_pki::CertificateFacts::parse(&der(&node.certificate)).unwrap().uris[0];
    assert_eq!(uri, "spiffe://cluster.local/windrose/node/workload/shop/orders");
    assert!(SpiffeId::parse(uri).is_err());
    assert!(!mesh.bundle().roots().contains(place.nodes.root()));
}

#[test]
fn only_a_replicas_certificate_is_a_replicas_and_it_opens_no_stream() {
    let (place, other) = (place(), self::place());
    let replica = place.nodes.issue_replica(noon(), &SystemEntropy).unwrap();
    assert!(place.nodes.is_replica(&replica.chain[0], noon()));
    assert!(!place.nodes.is_replica(&replica.chain[0], noon() + DAY), "its time is over");
    assert_eq!(place.nodes.identify_certificate(&replica.chain[0], noon()), Err(CredentialProblem::Name));
    let proxy = place.nodes.issue_certificate(&ProxyKey::gateway("shop", "edge"), DAY, noon(), &SystemEntropy).unwrap();
    let server = place.nodes.issue_server(&["replica.windrose.internal".into()], noon(), &SystemEntropy).unwrap();
    let foreign = other.nodes.issue_replica(noon(), &SystemEntropy).unwrap();
    assert!(!place.nodes.is_replica(&der(&proxy.certificate), noon()), "a proxy's");
    assert!(!place.nodes.is_replica(&server.chain[0], noon()), "a server's of that name");
    assert!(!place.nodes.is_replica(&foreign.chain[0], noon()), "of another authority");
}

#[test]
fn a_server_certificate_and_a_stranger_open_no_stream() {
    let (place, other) = (place(), self::place());
    let server = place.nodes.issue_server(&["127.0.0.1".into(), "xds.example".into()], noon(), &SystemEntropy).unwrap();
    assert_eq!(place.nodes.identify_certificate(&server.chain[0], noon()), Err(CredentialProblem::Purpose));
    let proxy = ProxyKey::workload("shop", "orders");
    let foreign = other.nodes.issue_certificate(&proxy, DAY, noon(), &SystemEntropy).unwrap();
    assert_eq!(place.nodes.identify_certificate(&der(&foreign.certificate), noon()), Err(CredentialProblem::Foreign));
    let root = place.nodes.root().clone();
    assert_eq!(place.nodes.identify_certificate(&root, noon()), Err(CredentialProblem::Purpose));
    assert_eq!(place.nodes.identify_certificate(&CertificateDer::from(vec![1, 2, 3]), noon()), Err(CredentialProblem::Malformed));
}

/// Certificates that our own root signed, as a bug or a thief with the key would make them.
#[test]
fn a_certificate_that_names_two_or_another_is_refused_though_the_root_signed_it() {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
    let place = place();
    let pem = std::fs::read_to_string(place.directory.path("node-root.pem")).unwrap();
    let key = KeyPair::from_pem(&pem[pem.find("-----BEGIN PRIVATE KEY").unwrap()..]).unwrap();
    let issuer = Issuer::from_ca_cert_der(place.nodes.root(), &key).unwrap();
    let node = "spiffe://cluster.local/windrose/node/workload/shop/orders";
    let identify = |uris: &[&str], dns: &[&str]| {
        let mut params = CertificateParams::new(dns.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|&uri| SanType::URI(uri.try_into().unwrap())));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        place.nodes.identify_certificate(certificate.der(), noon())
    };
    assert!(identify(&[node], &[]).is_ok());
    let refused: [(&[&str], &[&str]); 9] = [
        (&[node, "spiffe://cluster.local/windrose/node/workload/shop/catalog"], &[]),
        (&[node, node], &[]),
        (&[node], &["orders"]),
        (&[], &[]),
        (&["spiffe://cluster.local/ns/shop/sa/orders"], &[]),
        (&["spiffe://other.example/windrose/node/workload/shop/orders"], &[]),
        (&["spiffe://cluster.local/windrose/node/workload/shop/orders/"], &[]),
        (&["spiffe://cluster.local/windrose/node/workload/shop/%6frders"], &[]),
        (&["spiffe://cluster.local/windrose/node/workload/../orders"], &[]),
    ];
    for (uris, dns) in refused {
        assert_eq!(identify(uris, dns), Err(CredentialProblem::Name), "{uris:?} {dns:?}");
    }
}

#[test]
fn a_token_that_was_touched_is_refused() {
    let (place, other) = (place(), self::place());
    let proxy = ProxyKey::workload("shop", "orders");
    let token = place.nodes.issue_token(&proxy, DAY, noon(), &SystemEntropy).unwrap();
    let token = token.expose();
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { unreachable!() };
    let none = BASE64URL.encode(r#"{"alg":"none","typ":"windrose-node+jwt"}"#);
    let claims = String::from_utf8(BASE64URL.decode(payload).unwrap()).unwrap();
    let forged = BASE64URL.encode(claims.replace("orders", "catalog"));
    let cases = [
        (format!("{none}.{payload}."), CredentialProblem::Foreign),
        (format!("{none}.{payload}.{signature}"), CredentialProblem::Foreign),
        (format!("{header}.{forged}.{signature}"), CredentialProblem::Foreign),
        (format!("{header}.{payload}."), CredentialProblem::Foreign),
        (format!("{header}.{payload}.{signature}="), CredentialProblem::Malformed),
        (format!("{token}.eHh4"), CredentialProblem::Foreign),
        (format!("{token}\0"), CredentialProblem::Malformed),
        (format!("{header}.{payload}"), CredentialProblem::Malformed),
        (String::new(), CredentialProblem::Malformed),
        ("a".repeat(limits::TOKEN_BYTES_MAX + 1), CredentialProblem::Malformed),
        (other.nodes.issue_token(&proxy, DAY, noon(), &SystemEntropy).unwrap().expose().to_owned(), CredentialProblem::Foreign),
    ];
    for (text, problem) in cases {
        assert_eq!(place.nodes.identify_token(&text, noon()), Err(problem), "{text:.60}");
    }
}

#[test]
fn a_lifetime_or_name_out_of_bounds_is_refused() {
    let place = place();
    let proxy = ProxyKey::workload("shop", "orders");
    for lifetime in [Duration::ZERO, 400 * DAY, Duration::MAX] {
        let token = place.nodes.issue_token(&proxy, lifetime, noon(), &SystemEntropy);
        assert!(matches!(token, Err(Error::Lifetime { .. })));
        assert!(place.nodes.issue_certificate(&proxy, lifetime, noon(), &SystemEntropy).is_err());
    }
    for name in ["", "..", "a b", "a%2fb", "ä", &"x".repeat(300)] {
        let odd = ProxyKey::workload("shop", name);
        assert!(matches!(place.nodes.issue_certificate(&odd, DAY, noon(), &SystemEntropy), Err(Error::Name(_))), "{name}");
        assert!(matches!(place.nodes.issue_token(&odd, DAY, noon(), &SystemEntropy), Err(Error::Name(_))), "{name}");
    }
    for name in ["", "a b", "ä.example", "a\0b"] {
        assert!(place.nodes.issue_server(&[name.to_owned()], noon(), &SystemEntropy).is_err(), "{name:?}");
    }
}

#[test]
fn no_key_shows_in_debug_output() {
    let place = place();
    let node = place.nodes.issue_certificate(&ProxyKey::gateway("a", "b"), DAY, noon(), &SystemEntropy).unwrap();
    let server = place.nodes.issue_server(&["localhost".into()], noon(), &SystemEntropy).unwrap();
    for text in [format!("{:?}", place.nodes), format!("{node:?}"), format!("{server:?}")] {
        assert!(!text.contains("PRIVATE KEY") && text.contains("redacted"), "{text}");
    }
}
