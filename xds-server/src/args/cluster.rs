//! What is typed for a Kubernetes cluster.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::Common;

/// `windrose controller`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Controller {
    /// Where Envoys connect.
    #[arg(long, default_value = "0.0.0.0:18000", value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// Where the read-only HTTP API, metrics and readiness are.
    #[arg(long, default_value = "0.0.0.0:18001", value_name = "ADDRESS:PORT")]
    pub(crate) admin: SocketAddr,
    /// Where the API server asks about objects before it stores them (HTTPS, path /validate).
    #[arg(long, default_value = "0.0.0.0:9443", value_name = "ADDRESS:PORT")]
    pub(crate) webhook: SocketAddr,
    /// Where other replicas tell this one, when it leads, what their proxies say.
    #[arg(long, default_value = "0.0.0.0:18002", value_name = "ADDRESS:PORT")]
    pub(crate) replicas: SocketAddr,
    /// The address by which other replicas reach this one; with none, no other can follow it.
    #[arg(long, env = "POD_IP", value_name = "ADDRESS")]
    pub(crate) replica_address: Option<IpAddr>,
    /// The namespace of the control plane: its Lease, its keys and its Service are there. Where it runs, if absent.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// What this replica is called in the Lease.
    #[arg(long, env = "POD_NAME", default_value = "windrose", value_name = "NAME")]
    pub(crate) name: String,
    /// The Service by which Envoys reach the control plane.
    #[arg(long, default_value = "windrose", value_name = "NAME")]
    pub(crate) service: String,
    /// The address by which Envoys reach it instead, as HOST:PORT; for a control plane that runs outside the cluster.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Option<String>,
    /// The image of the Envoys that Gateways run; the tested one where absent.
    #[arg(long, env = "WINDROSE_ENVOY_IMAGE", value_name = "IMAGE")]
    pub(crate) envoy_image: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What one installation has in another way than the next.
#[derive(Clone, Debug, Args)]
pub(crate) struct Setup {
    /// The namespace of the control plane.
    #[arg(long, default_value = windrose_kube::install::NAMESPACE, value_name = "NAMESPACE")]
    pub(crate) namespace: String,
    /// Its image.
    #[arg(long, default_value = windrose_kube::install::IMAGE, value_name = "IMAGE")]
    pub(crate) image: String,
    /// How many of it: all serve, one leads.
    #[arg(long, default_value = "2", value_parser = clap::value_parser!(u32).range(1..=64), value_name = "NUMBER")]
    pub(crate) replicas: u32,
    /// The image of the Envoys that Gateways run.
    #[arg(long, default_value = windrose_kube::deploy::IMAGE, value_name = "IMAGE")]
    pub(crate) envoy_image: String,
    /// Trust domain of the identities that it issues.
    #[arg(long, default_value = "windrose.local", value_name = "NAME")]
    pub(crate) trust_domain: String,
}

/// `windrose install`.
#[derive(Debug, Args)]
pub(crate) struct Install {
    #[command(flatten)]
    pub(crate) setup: Setup,
    /// Print the definitions of windrose.dev alone.
    #[arg(long)]
    pub(crate) definitions: bool,
    /// Write a Helm chart into this folder instead; what the other options say are its values then.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["definitions", "namespace", "image", "replicas", "envoy_image", "trust_domain"])]
    pub(crate) helm: Option<PathBuf>,
}

/// `windrose upgrade`.
#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    #[command(flatten)]
    pub(crate) setup: Setup,
}

/// `windrose uninstall`.
#[derive(Debug, Args)]
pub(crate) struct Uninstall {
    /// The namespace of the control plane.
    #[arg(long, default_value = windrose_kube::install::NAMESPACE, value_name = "NAMESPACE")]
    pub(crate) namespace: String,
    /// The definitions of windrose.dev instead of the control plane, and with them everything that was declared.
    #[arg(long)]
    pub(crate) definitions: bool,
}
