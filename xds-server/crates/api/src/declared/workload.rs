//! A proxied workload outside Kubernetes: who it is, where it is, what it serves and what it calls.

use std::net::IpAddr;

use windrose_vocab::{Port, Text};

/// A workload with a sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Service account: its identity is `spiffe://<trust domain>/ns/<namespace>/sa/<account>`.
    pub account: Text,
    /// The address its sidecar listens on for others.
    pub address: IpAddr,
    /// Zone; empty where unknown.
    pub zone: Text,
    /// What it serves.
    pub serves: Vec<Serves>,
    /// What it calls; everything it may where absent.
    pub calls: Option<Vec<Calls>>,
}

/// One port that a workload serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serves {
    /// The Service it is an instance of, in the workload's namespace.
    pub service: Text,
    /// The Service's port.
    pub port: Port,
    /// Where the sidecar listens, on the workload's address.
    pub listen: Port,
    /// Where the application itself listens.
    pub application: (IpAddr, Port),
}

/// One Service that a workload calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Namespace of the Service; the workload's where absent.
    pub namespace: Option<Text>,
    /// The Service.
    pub service: Text,
    /// Its port; all where absent.
    pub port: Option<Port>,
    /// Where the sidecar listens for the workload's own calls, usually on 127.0.0.1.
    pub listen: Option<(IpAddr, Port)>,
}
