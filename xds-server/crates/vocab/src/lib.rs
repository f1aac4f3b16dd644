//! The words every room may say: names, identities, diagnostics, and the resource as it travels.
//! Plain values only; nothing here knows YAML, Kubernetes, Envoy's messages, or the network.

pub mod canonical;
pub mod diagnostic;
pub mod hostname;
pub mod object;
pub mod proxy;
pub mod quantity;
pub mod resource;
pub mod sensitive;
pub mod spiffe;

pub use canonical::{Canonical, Fingerprint, Writer};
pub use diagnostic::{Code, Diagnostic, FieldPath, Segment, Severity};
pub use hostname::Hostname;
pub use object::{Kind, ObjectKey, ObjectRef, ObjectVersion};
pub use proxy::{NodeClass, ProxyKey, ProxyRole};
pub use quantity::{Duration, Port, Weight};
pub use resource::{Refs, Resource, ResourceId, ResourceKind};
pub use sensitive::Sensitive;
pub use spiffe::{SpiffeId, TrustDomain};

/// A short shared string: cloned in one atomic increment, compared by content.
pub type Text = std::sync::Arc<str>;
