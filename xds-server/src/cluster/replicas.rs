//! The other replicas: followers tell the leader what their proxies say, and do without what the leader refuses.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use rustls_pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use windrose_files::Kept;
use windrose_kube::lease::Leadership;
use windrose_kube::source::{Good, World};
use windrose_kube::{Client, refused};
use windrose_pki::{NodeAuthority, SystemEntropy};
use windrose_replicas::{Ended, Known, Mirror, Verdicts, limits};
use windrose_state::Observed;
use windrose_vocab::ObjectVersion;

use super::Sight;
use crate::last_good::{LastGood, Remembered};
use crate::pipeline::Judge;

/// The name in a leader's certificate, whatever its address.
const NAME: &str = "windrose";
/// Connections at a time that have not proven to be a replica's.
const HANDSHAKES: usize = 256;
/// Between two tries to reach the leader, or to write.
const RETRY: Duration = Duration::from_secs(1);
/// Tries to read what was refused before, at the start: longer than an API server is away that only starts again.
const TRIES: usize = 15;

/// Takes in what followers tell, unless another replica leads.
pub(crate) async fn lead(
    listener: TcpListener,
    authority: Arc<NodeAuthority>,
    known: Known,
    told: Told,
    sight: Sight,
    end: CancellationToken,
) {
    let (mut followers, handshakes) = (JoinSet::new(), Arc::new(Semaphore::new(HANDSHAKES)));
    let mut leads = sight.leads.clone();
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    let leads = !matches!(*sight.leads.borrow(), Leadership::Others(_));
                    let Some(place) = handshakes.clone().try_acquire_owned().ok().filter(|_| leads) else { continue };
                    let (authority, known) = (authority.clone(), known.clone());
                    let (told, looks) = (told.clone(), sight.looks.clone());
                    followers.spawn(async move {
                        match admit(stream, &authority).await {
                            Ok(stream) => {
                                drop(place);
                                tracing::info!(%remote, "a replica follows");
                                let mirror = Mirror::new(known, &remote.ip().to_canonical().to_string());
                                let ended = windrose_replicas::lead(stream, mirror, told, looks).await;
                                tracing::info!(%remote, %ended, "a replica follows no longer");
                            }
                            Err(error) => tracing::debug!(%remote, error = format!("{error:#}"), "nobody that follows"),
                        }
                    });
                }
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

/// Only a replica gets through; whoever else knows the port has no certificate of one.
async fn admit(stream: TcpStream, authority: &NodeAuthority) -> anyhow::Result<TlsStream<TcpStream>> {
    let now = SystemTime::now();
    let made = authority.issue_server(&[NAME.to_owned()], now, &SystemEntropy)?;
    let acceptor = windrose_replicas::acceptor(made.chain, made.key.expose(), authority.root())?;
    let stream = timeout(limits::HANDSHAKE, acceptor.accept(stream)).await.context("the handshake takes too long")??;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    anyhow::ensure!(shown.is_some_and(|shown| authority.is_replica(shown, now)), "its certificate is no replica's");
    Ok(stream)
}

/// Follows whoever leads, until the end, and says who decides what is refused. While nobody can tell who leads all stays as it is.
pub(crate) async fn follow(
    authority: Arc<NodeAuthority>,
    observed: Arc<Observed>,
    judge: watch::Sender<Judge>,
    mut leads: watch::Receiver<Leadership>,
    end: CancellationToken,
) {
    let mut leader = None;
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            () = follow_one(leader, &authority, &observed, &judge) => {}
            changed = other_leader(&mut leads, leader, &judge) => match changed {
                Ok(other) => {
                    forget_trial(&judge);
                    leader = other;
                }
                Err(_) => return,
            }
        }
    }
}

/// Follows that leader for good; without one, nobody.
async fn follow_one(leader: Option<SocketAddr>, authority: &NodeAuthority, observed: &Observed, judge: &watch::Sender<Judge>) {
    let Some(leader) = leader else { return std::future::pending().await };
    let mut told = false;
    loop {
        let ended = reach(leader, authority, observed, judge).await;
        forget_trial(judge);
        match ended {
            Ok(ended) => {
                tracing::warn!(%leader, %ended, "the leader is not followed; trying again");
                told = true;
            }
            Err(error) if !told => {
                tracing::warn!(%leader, error = format!("{error:#}"), "the leader cannot be followed; trying again");
                told = true;
            }
            Err(_) => {}
        }
        sleep(RETRY).await;
    }
}

/// Who no longer hears the leader does not hear how its trial ended.
fn forget_trial(judge: &watch::Sender<Judge>) {
    judge.send_if_modified(|judge| {
        let is_trial = matches!(judge, Judge::Another(Some(told)) if told.on_trial);
        if is_trial {
            *judge = Judge::Another(None);
        }
        is_trial
    });
}

/// Returns when another one leads than the one that is followed: ourselves, or somebody at that address.
async fn other_leader(
    leads: &mut watch::Receiver<Leadership>,
    followed: Option<SocketAddr>,
    judge: &watch::Sender<Judge>,
) -> Result<Option<SocketAddr>, watch::error::RecvError> {
    loop {
        leads.changed().await?;
        let leader = match *leads.borrow_and_update() {
            Leadership::Ours => {
                judge.send_replace(Judge::Ourselves);
                None
            }
            Leadership::Others(at) => {
                if *judge.borrow() == Judge::Ourselves {
                    judge.send_replace(Judge::Another(None));
                }
                at
            }
            Leadership::Unknown => followed,
        };
        if leader != followed {
            return Ok(leader);
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

/// Tells followers what is refused as long as this replica decides that, and keeps it in the cluster while it leads, once nothing
/// of it is on trial.
pub(crate) async fn tell(
    mut sight: Sight,
    namespace: String,
    last_good: Arc<LastGood>,
    told: watch::Sender<Arc<Verdicts>>,
    end: CancellationToken,
) {
    let (mut shown, mut kept, mut held) = (None, None, Held::default());
    let mut writing: FuturesUnordered<BoxFuture<'static, Written>> = FuturesUnordered::new();
    let mut failed = false;
    loop {
        let due = async {
            tokio::select! {
                told = sight.changed() => told.map(|()| None),
                Some(written) = writing.next() => Ok(Some(written)),
                () = sleep(RETRY), if failed => Ok(None),
            }
        };
        let Some(Ok(written)) = end.run_until_cancelled(due).await else { return };
        if let Some((content, result)) = written {
            failed = result.is_err();
            match result {
                Ok(()) => kept = Some(content),
                Err(error) => tracing::warn!(error, "a replica that starts would not know what is refused; trying again"),
            }
        }
        if !sight.leads() {
            // Whoever leads now writes what it decided: ours would come after it.
            writing.clear();
        }
        let picture = sight.reports.picture.load_full();
        if picture.generation == 0 || !picture.judged_here {
            (shown, kept, failed) = (None, None, false);
            told.send_if_modified(|told| !std::mem::take(told).content.is_empty());
            continue;
        }
        let now = (picture.refused.clone(), picture.on_trial);
        if shown.as_ref() != Some(&now) {
            let content = last_good.share(&picture.refused, refused::ROOM).into();
            told.send_replace(Arc::new(Verdicts { content, on_trial: picture.on_trial }));
            shown = Some(now);
        }
        let verdicts = told.borrow().clone();
        if sight.leads() && !verdicts.on_trial && writing.is_empty() {
            let content = held.content(&sight.worlds.borrow(), &last_good, &verdicts);
            if let Some(content) = content.filter(|content| kept.as_ref() != Some(content)) {
                writing.push(write(sight.client.clone(), namespace.clone(), content).boxed());
            }
        }
    }
}

async fn write(client: Client, namespace: String, content: refused::Content) -> Written {
    let written = refused::write(&client, &namespace, &content).await;
    (content, written)
}

/// What was written, and whether it could be.
type Written = (refused::Content, Result<(), String>);

/// The last good versions that are in effect, as they are kept in the cluster.
#[derive(Default)]
struct Held {
    versions: BTreeSet<ObjectVersion>,
    room: usize,
    content: Vec<u8>,
}

impl Held {
    /// What a replica that starts should find, beside these verdicts; nothing before all has been read.
    fn content(&mut self, world: &World, last_good: &LastGood, verdicts: &Verdicts) -> Option<refused::Content> {
        if !world.complete {
            return None;
        }
        let (versions, room) = (world.held(), refused::ROOM.saturating_sub(verdicts.content.len()));
        if self.content.is_empty() || versions != self.versions || room != self.room {
            let content = last_good.share_held(&versions, room);
            *self = Self { versions, room, content };
        }
        Some(refused::Content { refused: verdicts.content.to_vec(), held: self.content.clone() })
    }
}

/// What the cluster remembers of what was refused, beside what we do; returns the last good versions of what could not be decoded.
///
/// # Errors
/// It cannot be read. Who leads without it would serve what was refused, and then write over what others remember.
pub(crate) async fn remember(
    client: &Client,
    namespace: &str,
    last_good: &LastGood,
    remembered: &mut Remembered,
) -> anyhow::Result<Vec<Good>> {
    let mut tries = 0;
    let found = loop {
        match refused::read(client, namespace).await {
            Ok(found) => break found.unwrap_or_default(),
            Err(error) if tries < TRIES => {
                tracing::warn!(error, "what was refused before cannot be read yet; trying again");
                tries += 1;
                sleep(RETRY).await;
            }
            Err(error) => anyhow::bail!("what was refused before is not known: {error}"),
        }
    };
    match last_good.take(&found.refused, |_| None) {
        Some(refused) => remembered.refused.objects = refused.objects.union(remembered.refused.objects.clone()),
        None if found.refused.is_empty() => {}
        None => tracing::error!("what was refused before cannot be read; it is tried again"),
    }
    let good = |kept: Kept| Some(Good { object: kept.object.clone(), version: Some((kept.version, kept.content()?)) });
    Ok(LastGood::take_held(&found.held).into_iter().filter_map(good).collect())
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    use windrose_pki::Directory;
    use windrose_vocab::{ProxyKey, TrustDomain};

    use super::*;

    fn authority(folder: &std::path::Path) -> NodeAuthority {
        let directory = Directory::open(folder.join("state")).unwrap();
        NodeAuthority::open(&directory, &TrustDomain::parse("windrose.local").unwrap(), SystemTime::now(), &SystemEntropy).unwrap()
    }

    #[tokio::test]
    async fn a_replica_gets_through_and_nobody_else_does() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (leader, follower, stranger) = (authority(ours.path()), authority(ours.path()), authority(theirs.path()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let admitted = async || admit(listener.accept().await.unwrap().0, &leader).await.map(drop).map_err(|error| format!("{error:#}"));
        let (observed, (judge, _)) = (Observed::new(), watch::channel(Judge::default()));

        let (admission, followed) = tokio::join!(admitted(), reach(at, &follower, &observed, &judge));
        assert_eq!(admission, Ok(()));
        assert!(followed.is_ok(), "it ended after it had begun");

        let (admission, followed) = tokio::join!(admitted(), reach(at, &stranger, &observed, &judge));
        assert!(admission.is_err() && followed.is_err(), "neither trusts the other");

        let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
        let proxy = leader.issue_certificate(&ProxyKey::gateway("shop", "edge"), day, now, &SystemEntropy).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(proxy.certificate.as_bytes()).unwrap()];
        let connector = windrose_replicas::connector(chain, proxy.key.expose(), leader.root()).unwrap();
        let shaken = async {
            let stream = TcpStream::connect(at).await.unwrap();
            connector.connect(ServerName::try_from(NAME).unwrap(), stream).await.map(drop)
        };
        let (admission, _) = tokio::join!(admitted(), shaken);
        assert_eq!(admission, Err("its certificate is no replica's".to_owned()));
    }

    #[tokio::test]
    async fn what_is_on_trial_is_forgotten_with_the_connection_and_what_is_decided_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(folder.path());
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (observed, told) = (Observed::new(), |on_trial| Judge::Another(Some(Arc::new(Verdicts { content: "{}".into(), on_trial }))));
        let judged = async |leaders: &[Leadership], said| {
            let (judge, _kept) = watch::channel(said);
            let (leading, mut leads) = watch::channel(Leadership::Unknown);
            let follow = async {
                tokio::select! {
                    () = follow_one(Some(gone), &authority, &observed, &judge) => {}
                    () = sleep(Duration::from_millis(200)) => {}
                }
            };
            follow.await;
            for leader in leaders {
                leading.send_replace(*leader);
                other_leader(&mut leads, Some(gone), &judge).await.unwrap();
                forget_trial(&judge);
            }
            judge.borrow().clone()
        };
        assert_eq!(judged(&[], told(true)).await, Judge::Another(None));
        assert_eq!(judged(&[], told(false)).await, told(false));
        let another = Leadership::Others(Some("192.0.2.1:1".parse().unwrap()));
        assert_eq!(judged(&[another], told(false)).await, told(false));
        assert_eq!(judged(&[Leadership::Ours], told(true)).await, Judge::Ourselves);
    }
}
