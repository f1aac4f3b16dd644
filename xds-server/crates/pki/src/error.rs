//! What can go wrong with keys, certificates and the files they live in, told to the person who can fix it.

use std::path::PathBuf;

use crate::check::PairProblem;

/// Why an authority could not be opened, changed, or asked for a certificate. Never holds key material.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused: no space, no permission, not a directory.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried: `read`, `write`, `create`, `lock down`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says. It stands in the message, so it is not the source of the error as well.
        cause: std::io::Error,
    },
    /// A private file that others can read or write.
    #[error("{} can be read or written by others (mode {mode:04o}): chmod go-rwx it, and replace the key if others may have read it", path.display())]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file that does not hold what it should.
    #[error("{file}: {problem}")]
    Malformed {
        /// The file, or what stands for it.
        file: String,
        /// What is wrong with the certificates or the key in it.
        problem: PairProblem,
    },
    /// A key file that does not hold a key of ours.
    #[error("{file}: is not a key of {bytes} bytes in hexadecimal digits")]
    MalformedKey {
        /// The file.
        file: String,
        /// How long the key should be.
        bytes: usize,
    },
    /// A certificate and a key that do not belong together.
    #[error("{certificate}: its first certificate does not match the private key in {key}")]
    KeyMismatch {
        /// The certificate's file.
        certificate: String,
        /// The key's file.
        key: String,
    },
    /// A certificate whose time is over, or has not come.
    #[error("{file}: certificate `{subject}` is valid from {from} to {to}, and it is {now} now")]
    OutsideValidity {
        /// The file.
        file: String,
        /// The subject of the certificate.
        subject: String,
        /// Start of the validity, UTC.
        from: String,
        /// End of the validity, UTC.
        to: String,
        /// What our clock says, UTC.
        now: String,
    },
    /// A certificate that may not sign others.
    #[error("{file}: certificate `{subject}` is not a certificate authority (basic constraints CA, key usage certificate sign)")]
    NotAuthority {
        /// The file.
        file: String,
        /// The subject of the certificate.
        subject: String,
    },
    /// A chain that does not lead to a root we have.
    #[error("{file}: certificate `{subject}` was not issued by any certificate in {issuers}")]
    NotIssued {
        /// The file.
        file: String,
        /// The subject of the certificate.
        subject: String,
        /// Where the issuer should be.
        issuers: String,
    },
    /// An authority that was made for another trust domain.
    #[error("{file}: belongs to trust domain `{found}`, not `{wanted}`: use another state directory, or the former trust domain")]
    TrustDomain {
        /// The file.
        file: String,
        /// Its trust domain.
        found: String,
        /// The one we were asked to serve.
        wanted: String,
    },
    /// An identity that we may not vouch for.
    #[error("`{identity}` is not in trust domain `{trust_domain}`")]
    Foreign {
        /// The identity.
        identity: String,
        /// Our trust domain.
        trust_domain: String,
    },
    /// A rotation step that does not fit what is there.
    #[error("root rotation: {0}")]
    Rotation(&'static str),
    /// A lifetime outside the permitted range.
    #[error("a lifetime of {asked} s is outside {min} s to {max} s")]
    Lifetime {
        /// What was asked for, in seconds.
        asked: u64,
        /// The least, in seconds.
        min: u64,
        /// The most, in seconds.
        max: u64,
    },
    /// A name that cannot stand in a certificate or a node identity.
    #[error("`{0}` cannot be named in a certificate")]
    Name(String),
    /// The operating system gave no randomness.
    #[error("the operating system gives no randomness")]
    Entropy,
    /// The cryptographic library refused.
    #[error("cannot {action}: {cause}")]
    Crypto {
        /// What was tried.
        action: &'static str,
        /// What the library says.
        cause: rcgen::Error,
    },
}
