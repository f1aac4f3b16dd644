//! What is typed for a Kubernetes cluster.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use windrose_kube::selector::{self, Selector};

use super::Common;

/// What there is to do with a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Serve what a Kubernetes cluster declares, and run the Envoys of its Gateways
    #[command(
        after_help = "Examples:\n  windrose controller                          in a Pod, as `windrose install` sets it up\n  KUBECONFIG=~/.kube/config windrose controller --namespace windrose-system\n\nAll replicas serve; the one that holds the Lease `windrose-leader` writes, and the others tell it what their proxies say.\nKeys live in the Secret `windrose-keys`; --state is a folder in memory that is filled from it."
    )]
    Controller(Box<Controller>),
    /// Print what puts Windrose into a Kubernetes cluster, for `kubectl apply`
    #[command(
        after_help = "Examples:\n  windrose check --pre                                         first: can it be installed here?\n  windrose install | kubectl apply --server-side -f -\n  windrose install --image registry.example/windrose:0.1.0 --replicas 3 | kubectl apply --server-side -f -\n  windrose install --definitions > windrose-crds.yaml          the definitions alone, for whoever may write them\n  windrose install --helm chart/                               the same as a Helm chart\n\nNothing is sent: what is printed is the whole truth, to be read, kept in Git and applied again.\nThen: kubectl -n windrose-system rollout status deployment/windrose && windrose check"
    )]
    Install(Install),
    /// Print the same for a cluster that has an older version, and say what changes
    #[command(
        after_help = "Examples:\n  windrose upgrade > /dev/null                                 say what would change (to standard error), and nothing more\n  windrose upgrade | kubectl apply --server-side -f -\n\nGive the options that the installation was made with: what is not given gets its default.\nThe cluster that kubectl uses is asked (dry run); where none answers, the objects are printed all the same.\nEnvoys go on while replicas are replaced one by one; nothing is sent to them again that they have."
    )]
    Upgrade(Upgrade),
    /// Print what takes Windrose out of a cluster, for `kubectl delete`
    #[command(
        after_help = "Examples:\n  windrose uninstall | kubectl delete --ignore-not-found --cascade=foreground -f -          first: the control plane\n  windrose uninstall --definitions | kubectl delete --ignore-not-found -f -                 then, if you want to: all policies\n\nTwo steps, in this order: a control plane that still runs would tell every Envoy that the policies are gone.\nEnvoys of Gateways that are still there go on with what they have, without a control plane, and go with their Gateways."
    )]
    Uninstall(Uninstall),
}

/// The part of `windrose check` that asks a cluster.
#[derive(Debug, Args)]
pub(crate) struct InCluster {
    /// Whether Windrose can be installed in the cluster.
    #[arg(long, conflicts_with = "paths", help_heading = "Cluster")]
    pub(crate) pre: bool,
    /// The namespace of the control plane.
    #[arg(long, default_value = windrose_kube::install::NAMESPACE, conflicts_with = "paths", value_name = "NAMESPACE", help_heading = "Cluster")]
    pub(crate) namespace: String,
}

/// `windrose controller`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Controller {
    /// Where Envoys connect. `[::]`, here and below, is every address of the Pod, of IPv6 and of IPv4.
    #[arg(long, default_value = "[::]:18000", value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// Where metrics and readiness are, and for who asks on the same machine the read-only HTTP API.
    #[arg(long, default_value = "[::]:18001", value_name = "ADDRESS:PORT")]
    pub(crate) admin: SocketAddr,
    /// Where the API server asks about objects before it stores them (HTTPS, path /validate).
    #[arg(long, default_value = "[::]:9443", value_name = "ADDRESS:PORT")]
    pub(crate) webhook: SocketAddr,
    /// Where other replicas tell this one, when it leads, what their proxies say.
    #[arg(long, default_value = "[::]:18002", value_name = "ADDRESS:PORT")]
    pub(crate) replicas: SocketAddr,
    /// The address by which other replicas reach this one; with none, no other can follow it.
    #[arg(long, env = "POD_IP", value_name = "ADDRESS")]
    pub(crate) replica_address: Option<IpAddr>,
    /// The namespace of the control plane: its Lease, its keys and its Service are there. Where it runs, if absent.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Namespaces whose objects count, by their labels, as kubectl writes selectors: `team=shop`, `env in (prod,stage)`, `!legacy`, with
    /// commas between them. All where empty. That of the control plane always counts, and so does what is in no namespace.
    #[arg(long, env = "WINDROSE_NAMESPACE_SELECTOR", default_value = "", value_parser = selector::parse, value_name = "LABELS")]
    pub(crate) namespace_selector: Selector,
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
    /// Labels of the namespaces whose objects count, such as `team=shop` or `env in (prod,stage)`; all where empty.
    #[arg(long, default_value = "", value_parser = selector::parse, value_name = "LABELS")]
    pub(crate) namespace_selector: Selector,
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
    #[arg(long, value_name = "DIR", conflicts_with_all = ["definitions", "namespace", "image", "replicas", "envoy_image", "trust_domain", "namespace_selector"])]
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        controller: Controller,
    }

    #[test]
    fn a_control_plane_in_a_pod_is_reached_by_either_family() {
        let given = Typed::parse_from(["controller"]).controller;
        for address in [given.listen, given.admin, given.webhook, given.replicas] {
            assert!(address.is_ipv6() && address.ip().is_unspecified(), "{address}");
        }
    }
}
