//! Who may speak as whom: the mesh's authority and its short-lived workload certificates, and, apart from it,
//! the authority that lets proxies open an xDS stream. Clock and randomness are arguments; the only I/O is [`store`].

pub mod authority;
pub mod bundle;
pub mod check;
pub mod entropy;
pub mod error;
pub mod facts;
pub mod given;
mod issuer;
pub mod keyed;
pub mod limits;
pub mod node;
pub mod secret;
pub mod server;
pub mod store;
mod template;
pub mod token;
pub mod workload;

pub use authority::Authority;
pub use bundle::TrustBundle;
pub use check::{PairProblem, check_bundle, check_pair, other_names};
pub use entropy::{Entropy, SystemEntropy};
pub use error::Error;
pub use facts::{CertificateFacts, Key};
pub use given::Given;
pub use keyed::SecretVersions;
pub use node::{CredentialProblem, NodeAuthority, NodeIdentity};
pub use secret::SecretText;
pub use server::ServerCertificate;
pub use store::Directory;
pub use token::TokenKey;
pub use workload::{Slot, WorkloadCertificate, renewal_slot};
