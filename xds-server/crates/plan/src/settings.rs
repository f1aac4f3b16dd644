//! What a plan depends on besides what is declared: who we are, how certificates are checked, and what Envoy refused.

use std::fmt;
use std::sync::Arc;

use imbl::OrdMap;
use windrose_api::declared::AnyObject;
use windrose_ir::Extension;
use windrose_vocab::{Code, ObjectVersion, Text, TrustDomain};

/// Fixed for the life of a planner.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The trust domain of every identity we give.
    pub trust_domain: TrustDomain,
    /// The DNS suffix of Services (`orders.shop.svc.<this>`).
    pub cluster_domain: Text,
    /// Whether a certificate with its key, or a bundle, can be used.
    pub certificates: Arc<dyn CertificateCheck>,
    /// Whether the filters would take a configuration; taken as yes where nobody judges.
    pub filters: Option<Arc<dyn FilterCheck>>,
    /// What a Gateway's addresses are.
    pub addresses: Addresses,
}

/// What `spec.addresses` of a Gateway are, which depends on where its proxies run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// What the proxies bind: they run on a machine that has these addresses.
    Bind,
    /// What somebody in front of the proxies is asked for (the Service of a cluster); the proxies bind all addresses they have.
    /// Whoever deploys the proxies also reads `infrastructure` and the parameters.
    Assigned,
}

impl Settings {
    /// Settings for this trust domain: `cluster.local`, certificates as `certificates` judges them, filters unjudged, addresses bound.
    #[must_use]
    pub fn new(trust_domain: TrustDomain, certificates: Arc<dyn CertificateCheck>) -> Self {
        Self { trust_domain, cluster_domain: "cluster.local".into(), certificates, filters: None, addresses: Addresses::Bind }
    }

    /// Whether a folder is read: all in it is meant for us, and its proxies bind what it declares. In a cluster there may be other controllers.
    pub(crate) fn is_folder(&self) -> bool {
        self.addresses == Addresses::Bind
    }

    /// The same, with somebody who judges filter configurations.
    #[must_use]
    pub fn with_filters(self, filters: Arc<dyn FilterCheck>) -> Self {
        Self { filters: Some(filters), ..self }
    }

    /// The same, with this meaning of addresses.
    #[must_use]
    pub fn with_addresses(self, addresses: Addresses) -> Self {
        Self { addresses, ..self }
    }
}

/// Judges filter configurations as the filters themselves would: Envoy gives no reason when a module refuses one.
/// A port to the renderer, which knows how tables become configurations and which this crate cannot see.
pub trait FilterCheck: fmt::Debug + Send + Sync {
    /// The ids of the table that would be refused, each with the filter's reason; never key material.
    fn refused(&self, extension: &Extension) -> Vec<(String, String)>;
}

/// Judges PEM texts without a clock: equal texts, equal judgement. A port to the authority, which this crate cannot see.
pub trait CertificateCheck: fmt::Debug + Send + Sync {
    /// Checks a chain (leaf first) with its key.
    ///
    /// # Errors
    /// Why it cannot be used, in words for the one who declared it; never key material.
    fn pair(&self, chain_pem: &str, key_pem: &str) -> Result<(), String>;

    /// For which hosts the first certificate of a chain is, in words, where it is for none of `hostname` (RFC 6125).
    fn other_names(&self, chain_pem: &str, hostname: &str) -> Option<String>;

    /// Checks a bundle of CA certificates.
    ///
    /// # Errors
    /// Why it cannot be used, in words for the one who declared it.
    fn bundle(&self, bundle_pem: &str) -> Result<(), String>;
}

/// Versions of objects that are not to be planned: the one input that comes from the return lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// What to do instead, by refused version. An entry whose version is no longer declared has no effect.
    pub objects: OrdMap<ObjectVersion, Refusal>,
}

impl Refused {
    /// What proxies do not accept: it is so for every replica and after a restart, until it is edited. A bug of ours may be mended by then.
    pub fn by_envoy(&self) -> impl Iterator<Item = (&ObjectVersion, &Refusal)> {
        self.objects.iter().filter(|(_, refusal)| refusal.by == RefusedBy::Envoy)
    }
}

/// Why a version was refused and what is planned in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who cannot take it.
    pub by: RefusedBy,
    /// Envoy's words, reduced to what may be shown, or where a bug of ours shows, or what is wrong with a certificate or a target.
    pub reason: String,
    /// The last version of the same object that was accepted; the object is left out where there is none.
    pub last_good: Option<AnyObject>,
}

/// Who cannot take an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedBy {
    /// A proxy does not accept what was made of it.
    Envoy,
    /// We fail on it, which is a bug.
    Ourselves,
    /// Whoever checks certificates: a Secret's cannot be used with its key, and the former pair, which can be, goes on.
    Check,
    /// What it attaches to is not there, and in its place stands the same, attached also to what its former version names.
    Target,
}

impl Refusal {
    /// What kind of refusal it is, for conditions and machines.
    #[must_use]
    pub fn code(&self) -> Code {
        match self.by {
            RefusedBy::Envoy => Code::RefusedByEnvoy,
            RefusedBy::Ourselves => Code::InternalError,
            RefusedBy::Check => Code::InvalidCertificate,
            RefusedBy::Target => Code::LastGood,
        }
    }

    /// What happened, for people.
    #[must_use]
    pub fn says(&self) -> String {
        match self.by {
            RefusedBy::Envoy => format!("Envoy refused what was made of it: {}", self.reason),
            RefusedBy::Ourselves => format!("the control plane fails on it, which is a bug to report ({})", self.reason),
            RefusedBy::Check | RefusedBy::Target => self.reason.clone(),
        }
    }
}
