//! The connection to a cluster.

use std::fmt;

use kube::{Client, Config};

use crate::limits;

/// A cluster that answers.
#[derive(Clone)]
pub struct Cluster {
    /// Where to ask.
    pub client: Client,
    /// The namespace we run in, or the one that the kubeconfig names.
    pub namespace: String,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Connects as a Pod does, or as `KUBECONFIG` says.
///
/// # Errors
/// When neither is there, or what is there cannot be used.
pub async fn connect() -> Result<Cluster, Error> {
    let mut config = Config::infer().await.map_err(|cause| Error(format!("no cluster is configured: {cause}")))?;
    config.connect_timeout = Some(limits::REQUEST_TIME);
    config.read_timeout = Some(limits::SILENCE);
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).map_err(|cause| Error(format!("the cluster cannot be used: {cause}")))?;
    Ok(Cluster { client, namespace })
}

/// Why a cluster cannot be used, in words for whoever started us.
#[derive(Debug)]
pub struct Error(pub(crate) String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// What a failed request says, as one line with its cure where there is one.
#[must_use]
pub fn explain(error: &kube::Error) -> String {
    match error {
        // A quota, an admission webhook and a namespace that goes away forbid as well; no right cures those.
        kube::Error::Api(status) if status.code == 403 && status.message.contains("User \"") => {
            format!("{} (grant it to the service account, or run `windrose install`)", status.message)
        }
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// The status code of a refused request.
#[must_use]
pub fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_right_is_to_be_granted() {
        let forbidden = |why: &str| {
            let message = format!("deployments.apps \"edge\" is forbidden: {why}");
            explain(&kube::Error::Api(Box::new(kube::core::Status::failure(&message, "Forbidden").with_code(403))))
        };
        let missing = forbidden("User \"system:serviceaccount:a:b\" cannot patch resource \"deployments\" in API group \"apps\"");
        assert!(missing.ends_with("(grant it to the service account, or run `windrose install`)"), "{missing}");
        for other in ["exceeded quota: q", "unable to create new content in namespace a because it is being terminated"] {
            assert!(forbidden(other).ends_with(other), "{}", forbidden(other));
        }
    }
}
