//! The mesh's authority from outside: what it issues is taken by an independent verifier, it survives a restart,
//! and every way its files can be wrong is told by name.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its stage fails")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use windrose_pki::{Authority, Directory, Error, Given, SystemEntropy, TrustBundle, WorkloadCertificate, limits};
use windrose_vocab::{SpiffeId, TrustDomain};

const DAY: Duration = Duration::from_secs(86_400);

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn domain() -> TrustDomain {
    TrustDomain::parse("cluster.local").unwrap()
}

fn orders() -> SpiffeId {
    SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/orders").unwrap()
}

fn open(path: &Path, now: SystemTime) -> Result<Authority, Error> {
    Authority::open(Directory::open(path.join("pki"))?, &domain(), now, &SystemEntropy)
}

/// Whether somebody who trusts `bundle` takes `certificate` at `now`.
fn is_taken(certificate: &WorkloadCertificate, bundle: &TrustBundle, now: SystemTime) -> bool {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).map(Result::unwrap).collect();
    let mut roots = RootCertStore::empty();
    bundle.roots().iter().for_each(|root| roots.add(root.clone()).unwrap());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let now = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    verifier.verify_client_cert(&chain[0], &chain[1..], now).is_ok()
}

#[test]
fn a_workload_certificate_is_taken_for_a_day_and_names_one_identity() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path(), noon() - 2 * DAY).unwrap();
    let certificate = authority.issue(&orders(), noon(), &SystemEntropy).unwrap();
    assert!(is_taken(&certificate, authority.bundle(), noon()));
    assert!(is_taken(&certificate, authority.bundle(), certificate.slot.until + limits::WORKLOAD_LIFETIME / 2));
    assert!(!is_taken(&certificate, authority.bundle(), noon() + DAY));
    assert_eq!(certificate.facts.uris, [orders().to_string()]);
    assert!(certificate.facts.dns_names.is_empty() && !certificate.facts.is_authority);
    let life = certificate.facts.not_after.duration_since(certificate.facts.not_before).unwrap();
    assert_eq!(life, limits::WORKLOAD_LIFETIME + limits::BACKDATE);
    windrose_pki::check_pair(&certificate.chain, certificate.key.expose()).unwrap();
}

#[test]
fn a_restart_makes_no_new_root_and_no_new_version() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path(), noon()).unwrap();
    let second = open(folder.path(), noon()).unwrap();
    assert_eq!(first.bundle(), second.bundle());
    assert_eq!(first.version(&orders(), noon()), second.version(&orders(), noon()));
    let issued = second.issue(&orders(), noon(), &SystemEntropy).unwrap();
    assert_eq!(issued.version, first.version(&orders(), noon()));
    assert_ne!(issued.version, first.version(&orders(), issued.slot.until));
}

#[test]
fn two_servers_that_start_at_once_share_one_authority() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let versions: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| open(path, noon()).unwrap().version(&orders(), noon()))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(versions.iter().all(|version| *version == versions[0]));
}

#[test]
fn serial_numbers_and_keys_are_never_used_twice() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path(), noon()).unwrap();
    let issued: Vec<_> = (0..20).map(|_| authority.issue(&orders(), noon(), &SystemEntropy).unwrap()).collect();
    let serials: std::collections::BTreeSet<_> = issued.iter().map(|one| one.facts.serial.clone()).collect();
    let keys: std::collections::BTreeSet<_> = issued.iter().map(|one| one.key.expose().to_owned()).collect();
    assert_eq!((serials.len(), keys.len()), (20, 20));
}

#[test]
fn an_identity_of_another_trust_domain_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = SpiffeId::parse("spiffe://other.example/ns/shop/sa/orders").unwrap();
    let error = open(folder.path(), noon()).unwrap().issue(&foreign, noon(), &SystemEntropy).unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
}

#[test]
fn the_intermediate_is_renewed_at_half_life_and_old_leaves_are_still_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut authority = open(folder.path(), noon()).unwrap();
    assert!(!authority.renew(noon() + 100 * DAY, &SystemEntropy).unwrap());
    let old = authority.issue(&orders(), noon() + 183 * DAY, &SystemEntropy).unwrap();
    let later = noon() + 183 * DAY;
    assert!(authority.renew(later, &SystemEntropy).unwrap());
    assert_ne!(authority.version(&orders(), later), old.version);
    assert!(is_taken(&old, authority.bundle(), later));
    assert!(is_taken(&authority.issue(&orders(), later, &SystemEntropy).unwrap(), authority.bundle(), later));
    let reopened = open(folder.path(), later).unwrap();
    assert_eq!(reopened.version(&orders(), later), authority.version(&orders(), later));
}

#[test]
fn who_only_opens_an_authority_renews_nothing_that_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path(), noon()).unwrap();
    let later = noon() + 183 * DAY;
    assert_eq!(open(folder.path(), later).unwrap().version(&orders(), later), authority.version(&orders(), later));
    let ended = noon() + 400 * DAY;
    let reopened = open(folder.path(), ended).unwrap();
    assert_ne!(reopened.version(&orders(), ended), authority.version(&orders(), ended), "one that is over serves nobody");
}

#[test]
fn a_server_that_shares_the_folder_follows_a_renewal() {
    let folder = tempfile::tempdir().unwrap();
    let (mut one, mut other) = (open(folder.path(), noon()).unwrap(), open(folder.path(), noon()).unwrap());
    let later = noon() + 183 * DAY;
    assert!(!other.follow(later).unwrap());
    assert!(one.renew(later, &SystemEntropy).unwrap());
    assert_ne!(one.version(&orders(), later), other.version(&orders(), later));
    assert!(other.follow(later).unwrap());
    assert_eq!(one.version(&orders(), later), other.version(&orders(), later));
    assert!(!other.follow(later).unwrap(), "once");
}

#[test]
fn rule_34_a_root_rotation_overlaps_and_then_really_refuses_the_old_root() {
    let folder = tempfile::tempdir().unwrap();
    let mut authority = open(folder.path(), noon()).unwrap();
    let (old, before) = (authority.issue(&orders(), noon(), &SystemEntropy).unwrap(), authority.bundle().clone());
    authority.introduce_root(noon(), &SystemEntropy).unwrap();
    assert!(authority.introduce_root(noon(), &SystemEntropy).is_err());
    let overlap = authority.bundle().clone();
    assert_eq!(authority.version(&orders(), noon()), old.version, "the old root signs until the new one is known");

    authority.activate_root(noon(), &SystemEntropy).unwrap();
    let new = authority.issue(&orders(), noon(), &SystemEntropy).unwrap();
    assert_eq!(authority.bundle(), &overlap, "activation pushes no bundle");
    assert!(is_taken(&old, &overlap, noon()) && is_taken(&new, &overlap, noon()));
    assert!(!is_taken(&new, &before, noon()));
    assert_eq!(open(folder.path(), noon()).unwrap().bundle(), &overlap);

    authority.retire_root().unwrap();
    assert!(is_taken(&new, authority.bundle(), noon()));
    assert!(!is_taken(&old, authority.bundle(), noon()));
    assert!(matches!(authority.retire_root(), Err(Error::Rotation(_))));
    assert_eq!(open(folder.path(), noon()).unwrap().bundle(), authority.bundle());
}

#[test]
fn a_crash_in_the_middle_of_a_rotation_is_healed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut authority = open(folder.path(), noon()).unwrap();
    authority.introduce_root(noon(), &SystemEntropy).unwrap();
    let pki = folder.path().join("pki");
    let former = fs::read(pki.join("intermediate.pem")).unwrap();
    authority.activate_root(noon(), &SystemEntropy).unwrap();
    fs::write(pki.join("intermediate.pem"), former).unwrap();
    let healed = open(folder.path(), noon()).unwrap();
    let leaf = healed.issue(&orders(), noon(), &SystemEntropy).unwrap();
    assert!(is_taken(&leaf, healed.bundle(), noon()));
    let mut healed = healed;
    healed.retire_root().unwrap();
    assert!(is_taken(&leaf, healed.bundle(), noon()), "the leaf hangs on the new root");
}

#[test]
fn damaged_and_foreign_state_is_refused_by_file_name() {
    let folder = tempfile::tempdir().unwrap();
    let pki = folder.path().join("pki");
    open(folder.path(), noon()).unwrap();
    let other = tempfile::tempdir().unwrap();
    open(other.path(), noon()).unwrap();

    let intermediate = fs::read(pki.join("intermediate.pem")).unwrap();
    fs::write(pki.join("intermediate.pem"), fs::read(other.path().join("pki/intermediate.pem")).unwrap()).unwrap();
    let error = open(folder.path(), noon()).unwrap_err();
    assert!(matches!(&error, Error::NotIssued { file, .. } if file.ends_with("intermediate.pem")), "{error}");

    fs::write(pki.join("intermediate.pem"), &intermediate[..intermediate.len() / 2]).unwrap();
    let error = open(folder.path(), noon()).unwrap_err();
    assert!(error.to_string().contains("intermediate.pem"), "{error}");
    fs::write(pki.join("intermediate.pem"), intermediate).unwrap();

    let foreign = TrustDomain::parse("other.example").unwrap();
    let error = Authority::open(Directory::open(&pki).unwrap(), &foreign, noon(), &SystemEntropy).unwrap_err();
    assert!(error.to_string().contains("root.pem: belongs to trust domain `cluster.local`, not `other.example`"), "{error}");
}

#[test]
fn a_clock_that_jumps_is_an_error_with_dates_and_destroys_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = open(folder.path(), noon()).unwrap().bundle().clone();
    for now in [noon() - 400 * DAY, noon() + 4000 * DAY] {
        let error = open(folder.path(), now).unwrap_err().to_string();
        assert!(error.contains("root.pem: certificate") && error.contains("is valid from 2027-01-15"), "{error}");
    }
    assert_eq!(open(folder.path(), noon()).unwrap().bundle(), &bundle);
}

struct Files {
    root: String,
    chain: String,
    key: String,
}

/// A root and an intermediate as another tool would make them.
fn foreign_authority(now: SystemTime, is_ca: bool) -> Files {
    let mut root = CertificateParams::new(vec![]).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.distinguished_name.push(rcgen::DnType::CommonName, "corp root");
    let root_key = KeyPair::generate().unwrap();
    let root_certificate = root.self_signed(&root_key).unwrap();
    let mut middle = CertificateParams::new(vec![]).unwrap();
    middle.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Constrained(0)) } else { IsCa::ExplicitNoCa };
    middle.distinguished_name.push(rcgen::DnType::CommonName, "corp mesh");
    middle.not_before = (now - DAY).into();
    middle.not_after = (now + 30 * DAY).into();
    let key = KeyPair::generate().unwrap();
    let chain = middle.signed_by(&key, &rcgen::Issuer::new(root, root_key)).unwrap();
    Files { root: root_certificate.pem(), chain: chain.pem(), key: key.serialize_pem() }
}

fn given(root: &str, chain: &str, key: &str, now: SystemTime) -> Result<Authority, Error> {
    let files = Given::from_texts(("roots.pem", root.into()), ("ca.pem", chain.into()), ("ca.key", key.into()));
    Authority::given(&files, &domain(), now)
}

#[test]
fn a_given_authority_signs_and_its_chain_is_taken() {
    let files = foreign_authority(noon(), true);
    let mut authority = given(&files.root, &files.chain, &files.key, noon()).unwrap();
    let leaf = authority.issue(&orders(), noon(), &SystemEntropy).unwrap();
    assert!(is_taken(&leaf, authority.bundle(), noon()));
    assert!(matches!(authority.introduce_root(noon(), &SystemEntropy), Err(Error::Rotation(_))));
    assert!(!authority.renew(noon() + 29 * DAY, &SystemEntropy).unwrap() && !authority.renews_issuer());
    let last = authority.issue(&orders(), noon() + 30 * DAY - Duration::from_secs(60), &SystemEntropy).unwrap();
    assert!(last.facts.not_after <= noon() + 30 * DAY, "a leaf never outlives its issuer");
    assert!(matches!(authority.issue(&orders(), noon() + 31 * DAY, &SystemEntropy), Err(Error::OutsideValidity { .. })));
}

#[test]
fn every_way_given_files_can_be_wrong_names_the_file() {
    let (good, other, leaf) = (foreign_authority(noon(), true), foreign_authority(noon(), true), foreign_authority(noon(), false));
    let message = |root: &str, chain: &str, key: &str, now| given(root, chain, key, now).unwrap_err().to_string();
    let cases = [
        (message(&good.root, &good.chain, &other.key, noon()), "ca.pem: its first certificate does not match the private key in ca.key"),
        (message(&other.root, &good.chain, &good.key, noon()), "was not issued by any certificate in roots.pem"),
        (message(&leaf.root, &leaf.chain, &leaf.key, noon()), "ca.pem: certificate `CN=corp mesh` is not a certificate authority"),
        (message(&good.root, &good.chain, &good.key, noon() + 40 * DAY), "ca.pem: certificate `CN=corp mesh` is valid from"),
        (message("", &good.chain, &good.key, noon()), "roots.pem: has no certificate"),
        (message(&good.root, "", &good.key, noon()), "ca.pem: has no certificate"),
        (message(&good.root, &good.chain, "", noon()), "ca.key: has no private key"),
        (message(&good.root, &good.chain, &good.chain, noon()), "ca.key: has no private key"),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message}");
    }
    let absent = Given::read(Path::new("/nonexistent/roots.pem"), Path::new("b"), Path::new("c")).unwrap_err();
    assert!(matches!(&absent, Error::Io { action: "read", path, .. } if path.ends_with("roots.pem")), "{absent}");
}

#[test]
fn no_key_shows_in_debug_output() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path(), noon()).unwrap();
    let leaf = authority.issue(&orders(), noon(), &SystemEntropy).unwrap();
    let files = foreign_authority(noon(), true);
    let given = Given::from_texts(("a", files.root), ("b", files.chain), ("c", files.key));
    for text in [format!("{authority:?}"), format!("{leaf:?}"), format!("{given:?}")] {
        assert!(!text.contains("PRIVATE KEY") && !text.contains("serialized"), "{text}");
    }
}
