//! The other replicas: followers tell the leader what their proxies say, and do without what the leader refuses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rustls_pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use windrose_kube::lease::Leadership;
use windrose_kube::{Client, refused};
use windrose_pki::{NodeAuthority, SystemEntropy};
use windrose_replicas::{Ended, Known, Mirror, Verdicts, limits};
use windrose_state::Observed;

use super::Sight;
use crate::last_good::{LastGood, Remembered, take};
use crate::pipeline::Judge;

/// The name in a leader's certificate, whatever its address.
pub(crate) const NAME: &str = "windrose";
/// Followers at a time; more are no replicas of ours.
const FOLLOWERS: usize = 64;
/// Between two tries to reach the leader, or to write.
const RETRY: Duration = Duration::from_secs(1);

/// Takes in what followers tell as long as this replica leads.
pub(crate) async fn lead(
    listener: TcpListener,
    authority: Arc<NodeAuthority>,
    known: Known,
    told: Told,
    sight: Sight,
    end: CancellationToken,
) {
    let mut followers = JoinSet::new();
    let mut leads = sight.leads.clone();
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) if sight.leads() && followers.len() < FOLLOWERS => {
                    let (authority, known) = (authority.clone(), known.clone());
                    let (told, looks) = (told.clone(), sight.looks.clone());
                    followers.spawn(async move {
                        match serve(stream, remote, &authority, known, told, looks).await {
                            Ok(ended) => tracing::info!(%remote, %ended, "a replica follows no longer"),
                            Err(error) => tracing::warn!(%remote, error = format!("{error:#}"), "nobody that follows"),
                        }
                    });
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, "replicas cannot be heard");
                    sleep(RETRY).await;
                }
            },
            Some(_) = followers.join_next() => {}
            Ok(()) = leads.changed() => if matches!(*leads.borrow_and_update(), Leadership::Others(_)) {
                followers.shutdown().await;
            }
        }
    }
}

/// What a leader tells its followers.
pub(crate) type Told = watch::Receiver<Arc<Verdicts>>;

async fn serve(
    stream: TcpStream,
    remote: SocketAddr,
    authority: &NodeAuthority,
    known: Known,
    told: Told,
    looks: watch::Receiver<()>,
) -> anyhow::Result<Ended> {
    let now = SystemTime::now();
    let made = authority.issue_server(&[NAME.to_owned()], now, &SystemEntropy)?;
    let acceptor = windrose_replicas::acceptor(made.chain, made.key.expose(), authority.root())?;
    let stream = timeout(limits::HANDSHAKE, acceptor.accept(stream)).await.context("the handshake takes too long")??;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    anyhow::ensure!(shown.is_some_and(|shown| authority.is_replica(shown, now)), "its certificate is no replica's");
    tracing::info!(%remote, "a replica follows");
    Ok(windrose_replicas::lead(stream, Mirror::new(known, &remote.ip().to_string()), told, looks).await)
}

/// Follows whoever leads, until the end, and says who decides what is refused. While nobody can tell who leads all stays as it is.
pub(crate) async fn follow(
    authority: Arc<NodeAuthority>,
    observed: Arc<Observed>,
    judge: watch::Sender<Judge>,
    mut leads: watch::Receiver<Leadership>,
    end: CancellationToken,
) {
    leads.mark_changed();
    let mut leader = None;
    loop {
        let following = async {
            let Some(leader) = leader else { return std::future::pending().await };
            match reach(leader, &authority, &observed, &judge).await {
                Ok(ended) => tracing::warn!(%leader, %ended, "the leader is not followed; trying again"),
                Err(error) => tracing::warn!(%leader, error = format!("{error:#}"), "the leader cannot be followed; trying again"),
            }
            sleep(RETRY).await;
        };
        tokio::select! {
            () = end.cancelled() => return,
            () = following => {}
            changed = leads.changed() => {
                if changed.is_err() {
                    return;
                }
                match *leads.borrow_and_update() {
                    Leadership::Ours => {
                        leader = None;
                        judge.send_replace(Judge::Ourselves);
                    }
                    Leadership::Others(at) => {
                        leader = at;
                        judge.send_if_modified(|judge| {
                            let was_ours = *judge == Judge::Ourselves;
                            if was_ours {
                                *judge = Judge::Another(None);
                            }
                            was_ours
                        });
                    }
                    Leadership::Unknown => {}
                }
            }
        }
    }
}

async fn reach(leader: SocketAddr, authority: &NodeAuthority, observed: &Observed, judge: &watch::Sender<Judge>) -> anyhow::Result<Ended> {
    let made = authority.issue_replica(SystemTime::now(), &SystemEntropy)?;
    let connector = windrose_replicas::connector(made.chain, made.key.expose(), authority.root())?;
    let shaken = async {
        let stream = TcpStream::connect(leader).await?;
        let _ = stream.set_nodelay(true);
        connector.connect(ServerName::try_from(NAME)?, stream).await.map_err(anyhow::Error::new)
    };
    let stream = timeout(limits::HANDSHAKE, shaken).await.context("no answer")??;
    tracing::info!(%leader, "following");
    let refused = |verdicts| drop(judge.send_replace(Judge::Another(Some(Arc::new(verdicts)))));
    Ok(windrose_replicas::follow(stream, observed, refused).await)
}

/// While this replica leads, tells what is refused to followers, and keeps it in the cluster once nothing of it is on trial.
pub(crate) async fn tell(
    mut sight: Sight,
    namespace: String,
    last_good: Arc<LastGood>,
    told: watch::Sender<Arc<Verdicts>>,
    end: CancellationToken,
) {
    let mut shown = None;
    let mut kept = None;
    let mut failed = false;
    loop {
        let due = async {
            tokio::select! {
                told = sight.changed() => told.is_ok(),
                () = sleep(RETRY), if failed => true,
            }
        };
        if end.run_until_cancelled(due).await != Some(true) {
            return;
        }
        let picture = sight.reports.picture.load_full();
        let now = (picture.refused.clone(), picture.on_trial);
        if picture.generation == 0 || !sight.leads() {
            (shown, kept, failed) = (None, None, false);
            told.send_if_modified(|told| !std::mem::take(told).content.is_empty());
            continue;
        }
        if shown.as_ref() != Some(&now) {
            let content = last_good.share(&picture.refused, refused::ROOM).into();
            told.send_replace(Arc::new(Verdicts { content, on_trial: picture.on_trial }));
            shown = Some(now);
        }
        let verdicts = told.borrow().clone();
        if verdicts.on_trial || kept.as_ref() == Some(&verdicts) {
            continue;
        }
        let written = refused::write(&sight.client, &namespace, &verdicts.content).await;
        failed = written.is_err();
        match written {
            Ok(()) => kept = Some(verdicts),
            Err(error) => tracing::warn!(error, "a replica that starts would not know what is refused; trying again"),
        }
    }
}

/// What the cluster remembers of what was refused, beside what we do.
pub(crate) async fn remember(client: &Client, namespace: &str, remembered: &mut Remembered) {
    match refused::read(client, namespace).await {
        Ok(Some(content)) => match take(&content, |_| None) {
            Some(refused) => remembered.refused.objects = refused.objects.union(remembered.refused.objects.clone()),
            None => tracing::error!("what was refused before cannot be read; it is tried again"),
        },
        Ok(None) => {}
        Err(error) => tracing::warn!(error, "what was refused before is tried again"),
    }
}
