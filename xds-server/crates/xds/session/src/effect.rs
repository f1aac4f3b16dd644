//! What a session tells beside its responses: news for `Observed`, and diagnoses for logs and people.

use std::fmt;

use windrose_state::{Observation, Reason};
use windrose_vocab::{Fingerprint, ResourceId, ResourceKind};

/// Something to pass on.
#[derive(Clone, Debug)]
pub enum Effect {
    /// For `Observed::record`.
    Observe(Observation),
    /// For the log and the metrics.
    Diagnose(Diagnosis),
}

/// Something a person may want to know about one stream. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    /// A resource waited too long for what it refers to and was sent without it.
    GateOpened {
        /// What was sent.
        resource: ResourceId,
        /// What it waited for.
        waiting_for: ResourceId,
    },
    /// A resource is kept back because a secret it needs is not served.
    Withheld {
        /// What is kept back.
        resource: ResourceId,
        /// What it needs.
        missing: ResourceId,
    },
    /// The client refused a version.
    Rejected {
        /// Of what.
        resource: ResourceId,
        /// Which.
        version: Fingerprint,
        /// In the client's words, reduced.
        reason: Reason,
    },
    /// The client refused a response without saying which resource of it; each is sent again alone.
    RejectedUnnamed {
        /// Of which kind.
        kind: ResourceKind,
        /// How many resources it held.
        resources: usize,
        /// In the client's words, reduced.
        reason: Reason,
    },
    /// The client does not answer a response.
    Unanswered {
        /// Of which kind.
        kind: ResourceKind,
        /// How many resources it held.
        resources: usize,
    },
    /// The client asked for a type that is not served.
    UnknownType,
    /// Clusters that this identity refused before are removed unasked, because it never asks for clusters.
    UnaskedRepair {
        /// How many.
        clusters: usize,
    },
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GateOpened { resource, waiting_for } => {
                write!(f, "{resource} is sent although {waiting_for} was not acknowledged in time")
            }
            Self::Withheld { resource, missing } => write!(f, "{resource} is kept back: {missing} is not served"),
            Self::Rejected { resource, version, reason } => write!(f, "{resource}@{version} was rejected: {reason}"),
            Self::RejectedUnnamed { kind, resources, reason } => {
                write!(f, "a {kind} response of {resources} was rejected without a name: {reason}")
            }
            Self::Unanswered { kind, resources } => write!(f, "a {kind} response of {resources} is not answered"),
            Self::UnknownType => f.write_str("the client asked for a type that is not served"),
            Self::UnaskedRepair { clusters } => write!(f, "{clusters} rejected clusters are repaired unasked"),
        }
    }
}
