//! One node authority for a run, and on disk what both servers and the load client show: the same certificates, so that
//! the transport of both sides is the same (TLS 1.3 with client certificates).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use windrose_pki::{Directory, NodeAuthority, SystemEntropy};
use windrose_vocab::{ProxyKey, TrustDomain};

const LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// The folder of a run; gone with this value.
#[derive(Debug)]
pub struct Credentials {
    folder: TempDir,
}

/// The proxies of the fleet: replicas of one gateway, which share one scope.
#[must_use]
pub fn proxy() -> ProxyKey {
    ProxyKey::gateway("shop", "edge")
}

/// The authority in a folder that [`Credentials::make`] made.
///
/// # Errors
/// When it cannot be read or written.
pub fn authority(folder: &Path) -> anyhow::Result<NodeAuthority> {
    let directory = Directory::open(folder.join("authority"))?;
    Ok(NodeAuthority::open(&directory, &TrustDomain::parse("cluster.local")?, SystemTime::now(), &SystemEntropy)?)
}

/// The server's certificate, leaf first, and its key in PEM.
///
/// # Errors
/// When it cannot be read.
pub fn server(folder: &Path) -> anyhow::Result<(Vec<CertificateDer<'static>>, String)> {
    Ok((chain(&folder.join("server.pem"))?, read(&folder.join("server.key"))?))
}

impl Credentials {
    /// Makes everything anew.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("a folder for certificates")?;
        let (authority, now) = (authority(folder.path())?, SystemTime::now());
        let server = authority.issue_server(&["localhost".into(), "127.0.0.1".into()], now, &SystemEntropy)?;
        let client = authority.issue_certificate(&proxy(), LIFETIME, now, &SystemEntropy)?;
        let made = Self { folder };
        made.write("root.pem", &authority.root_pem())?;
        made.write("server.pem", &server.chain.iter().map(|one| pem(one)).collect::<String>())?;
        made.write("server.key", server.key.expose())?;
        made.write("client.pem", &client.certificate)?;
        made.write("client.key", client.key.expose())?;
        Ok(made)
    }

    /// Where it all lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the load client connects with: no resumption, so that every connection is a new one as a restarted proxy's.
    ///
    /// # Errors
    /// When a file is not what it should be.
    pub fn client(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        for root in chain(&self.path("root.pem"))? {
            roots.add(root)?;
        }
        let key = PrivateKeyDer::from_pem_slice(read(&self.path("client.key"))?.as_bytes()).context("client.key")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
        let mut config = builder.with_root_certificates(roots).with_client_auth_cert(chain(&self.path("client.pem"))?, key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn write(&self, file: &str, text: &str) -> anyhow::Result<()> {
        std::fs::write(self.path(file), text).with_context(|| file.to_owned())
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn chain(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let text = read(path)?;
    CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().with_context(|| path.display().to_string())
}

/// RFC 7468.
fn pem(der: &CertificateDer<'_>) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
