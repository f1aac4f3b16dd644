//! Looks now and then at what decides how our classes are served beside what is declared.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use windrose_kube::Client;
use windrose_kube::lease::Leadership;
use windrose_kube::surroundings::{Surroundings, look};

/// Between two looks: definitions and installations change by hand.
const LOOK: Duration = Duration::from_secs(60);
/// Between two looks while the cluster does not answer.
const RETRY: Duration = Duration::from_secs(5);

/// Follows until the end; none is told before the first look.
pub(crate) async fn follow(
    client: Client,
    namespace: String,
    leads: watch::Receiver<Leadership>,
    telling: watch::Sender<Option<Arc<Surroundings>>>,
    end: CancellationToken,
) {
    let mut warned = Vec::new();
    loop {
        let Some(found) = end.run_until_cancelled(look(&client, &namespace)).await else { return };
        let pause = match found {
            Ok(found) => {
                if *leads.borrow() == Leadership::Ours && found.others != warned {
                    warned.clone_from(&found.others);
                    tell(&warned);
                }
                telling.send_if_modified(|former| {
                    let differs = former.as_deref() != Some(&found);
                    if differs {
                        *former = Some(Arc::new(found));
                    }
                    differs
                });
                LOOK
            }
            Err(error) => {
                tracing::warn!(error, "other installations cannot be seen; trying again");
                RETRY
            }
        };
        if end.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

fn tell(others: &[String]) {
    match others {
        [] => tracing::info!("no other installation is left"),
        others => tracing::error!(
            namespaces = others.join(", "),
            "Windrose is installed there too: both write the status of every Gateway, and what is cluster-wide is one for both"
        ),
    }
}
