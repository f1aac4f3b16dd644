//! A Kubernetes cluster as the place that declares, and in which Gateways' Envoys run: what `windrose controller` does
//! beside what every server does. Deciding is `plan`'s and serving is the session's, as for a folder.

pub(crate) mod admission;
pub(crate) mod deploy;
pub(crate) mod gates;
pub(crate) mod identity;
pub(crate) mod keys;
pub(crate) mod leaving;
pub(crate) mod replicas;
pub(crate) mod source;
pub(crate) mod status;
pub(crate) mod surroundings;
pub(crate) mod trust;

use std::sync::Arc;

use tokio::sync::watch;
use windrose_kube::Client;
use windrose_kube::deploy::Made;
use windrose_kube::lease::Leadership;
use windrose_kube::source::World;
use windrose_kube::surroundings::Surroundings;

use crate::report::Reports;
use deploy::Problems;

/// What the tasks of a cluster look at.
#[derive(Clone)]
pub(crate) struct Sight {
    pub(crate) client: Client,
    /// What is declared there.
    pub(crate) worlds: watch::Receiver<Arc<World>>,
    /// What is planned, served and acknowledged.
    pub(crate) reports: Arc<Reports>,
    /// Changes after each publication and, paced, with what proxies answer.
    pub(crate) looks: watch::Receiver<()>,
    /// What the cluster made of our Deployments.
    pub(crate) made: watch::Receiver<Arc<Made>>,
    /// Why Envoys of Gateways could not be put there.
    pub(crate) problems: watch::Receiver<Arc<Problems>>,
    /// What else decides how our classes are served; none before it was looked at.
    pub(crate) surroundings: watch::Receiver<Option<Arc<Surroundings>>>,
    /// Whether this replica leads.
    pub(crate) leads: watch::Receiver<Leadership>,
}

impl Sight {
    /// Returns when anything may have changed; an error when nothing will any more.
    async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        tokio::select! {
            told = self.worlds.changed() => told,
            told = self.looks.changed() => told,
            told = self.made.changed() => told,
            told = self.problems.changed() => told,
            told = self.surroundings.changed() => told,
            told = self.leads.changed() => told,
        }
    }

    fn leads(&self) -> bool {
        *self.leads.borrow() == Leadership::Ours
    }
}

/// Writes as long as this replica leads: nothing of it is begun once it does not.
async fn while_leading<T>(mut leads: watch::Receiver<Leadership>, write: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        _ = leads.wait_for(|leads| *leads != Leadership::Ours) => None,
        done = write => Some(done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_ends_with_the_leadership() {
        let (leading, leads) = watch::channel(Leadership::Ours);
        assert_eq!(while_leading(leads.clone(), async { 1 }).await, Some(1));
        let lost = async {
            leading.send_replace(Leadership::Unknown);
            tokio::task::yield_now().await;
            unreachable!("another one may lead by now");
        };
        assert_eq!(while_leading(leads.clone(), lost).await, None::<()>);
        assert_eq!(while_leading(leads, async { unreachable!("nothing is begun") }).await, None::<()>);
    }
}
