//! Certificates, keys and trust that people declared.

use windrose_vocab::{Sensitive, Text, canonical};

/// One secret, under the name that listeners and clusters refer to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Secret {
    /// A certificate chain (PEM) with its private key (PEM).
    Certificate {
        /// Leaf first.
        chain: Text,
        /// The key.
        key: Sensitive,
    },
    /// CA certificates (PEM) to check a peer by.
    Trust {
        /// One or more certificates.
        bundle: Text,
    },
}

/// Name of the secret that holds the SVID of whoever asks; the authority makes it for the stream's identity.
pub const WORKLOAD_SVID: &str = "windrose/svid";
/// Name of the secret that holds the mesh's trust bundle.
pub const MESH_TRUST: &str = "windrose/mesh-trust";

canonical!(enum Secret { Certificate { chain, key }, Trust { bundle } });
