//! Who may open a stream in a cluster: the Pods that were made for a Gateway, by the token of their service account; and
//! whoever has a credential of our own authority, such as a machine outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use futures::FutureExt;
use futures::future::BoxFuture;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use windrose_kube::tokens::{self, Problem, Shown};
use windrose_kube::zones::Zones;
use windrose_kube::{Client, names};
use windrose_vocab::{ObjectKey, ProxyKey, ProxyRole, Text};
use windrose_xds_serve::{Identify, Peer, Refusal};

use crate::identities::Nodes;
use crate::pipeline::Picture;

/// Which service account belongs to which proxy.
pub(crate) type Accounts = BTreeMap<ObjectKey, ProxyKey>;

/// What tasks tell about Pods.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    /// Which service account belongs to which proxy.
    pub(crate) accounts: Arc<ArcSwap<Accounts>>,
    /// Pods whose listeners are withdrawn.
    pub(crate) leaving: Arc<ArcSwap<BTreeSet<ObjectKey>>>,
    /// Pods that were there and are not, and since when.
    pub(crate) gone: Arc<ArcSwap<Gone>>,
}

/// Pods that were there and are not, and since when: a token of before that is nobody's.
pub(crate) type Gone = BTreeMap<ObjectKey, SystemTime>;

impl Shared {
    /// Follows what is planned. Who goes on without a program comes also by the account that it had: its class may be another one by now,
    /// or it cannot be read.
    pub(crate) fn keep_accounts(&self, picture: &Picture) {
        let (former, mut now) = (self.accounts.load(), accounts(picture));
        for (account, proxy) in former.iter().filter(|(_, proxy)| picture.standing.contains(*proxy)) {
            now.entry(account.clone()).or_insert_with(|| proxy.clone());
        }
        if **former != now {
            self.accounts.store(Arc::new(now));
        }
    }
}

/// How long the first Pods wait until the zones of nodes are known: a list of them takes less.
const ZONES_AWAITED: Duration = Duration::from_secs(3);

/// The zones of nodes; none before they were listed.
pub(crate) type Zoned = watch::Receiver<Option<Arc<Zones>>>;

/// The credentials that are good in a cluster.
pub(crate) struct Tokens {
    client: Client,
    nodes: Arc<Nodes>,
    zones: Zoned,
    accounts: Arc<ArcSwap<Accounts>>,
    leaving: Arc<ArcSwap<BTreeSet<ObjectKey>>>,
    gone: Arc<ArcSwap<Gone>>,
}

impl Tokens {
    pub(crate) fn new(client: Client, nodes: Arc<Nodes>, zones: Zoned, shared: &Shared) -> Self {
        let Shared { accounts, leaving, gone } = shared.clone();
        Self { client, nodes, zones, accounts, leaving, gone }
    }

    async fn review(&self, token: &str) -> Result<Peer, Refusal> {
        let accounts = self.accounts.load_full();
        let is_ours = |namespace: &str, name: &str| accounts.contains_key(&ObjectKey::new(namespace, name));
        let shown = tokens::review(&self.client, token, is_ours).await.map_err(|problem| match problem {
            Problem::Wrong(why) => Refusal::Wrong(why.to_owned()),
            Problem::Busy => Refusal::Unavailable,
            Problem::Unavailable(why) => {
                tracing::warn!(why, "tokens of proxies cannot be reviewed");
                Refusal::Unavailable
            }
        })?;
        let zone = zone(self.zones.clone(), shown.node.as_deref()).await;
        self.peer(shown, zone)
    }

    fn peer(&self, shown: Shown, zone: Option<Text>) -> Result<Peer, Refusal> {
        let account = ObjectKey::new(shown.namespace.clone(), shown.account);
        let Some(proxy) = self.accounts.load().get(&account).cloned() else {
            return Err(Refusal::Wrong(format!("service account {account} belongs to no Gateway")));
        };
        let pod = ObjectKey::new(shown.namespace, shown.pod);
        Ok(Peer {
            identity: Text::from(format!("{proxy}#pod/{pod}")),
            proxy,
            credential: format!("pod/{pod}").into(),
            issued_at: shown.issued_at,
            expires_at: shown.expires_at,
            zone,
        })
    }
}

/// The zone of a node, once zones are known; a stream keeps the one that it began with.
async fn zone(mut zones: Zoned, node: Option<&str>) -> Option<Text> {
    let known = tokio::time::timeout(ZONES_AWAITED, zones.wait_for(Option::is_some)).await.ok()?.ok()?;
    known.as_ref()?.get(node?).cloned()
}

/// Whether the Pod that its token was made for is no more. One of the same name that came since has a newer token.
fn is_gone(gone: &Gone, peer: &Peer) -> bool {
    let since = pod(&peer.identity).and_then(|pod| gone.get(&pod));
    since.is_some_and(|since| peer.issued_at <= *since)
}

/// The Pod of an identity, if it is one.
pub(crate) fn pod(identity: &str) -> Option<ObjectKey> {
    let (namespace, name) = identity.split_once("#pod/")?.1.split_once('/')?;
    Some(ObjectKey::new(namespace, name))
}

impl Identify for Tokens {
    fn by_certificate<'a>(&'a self, certificate: &'a CertificateDer<'static>, now: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>> {
        self.nodes.by_certificate(certificate, now)
    }

    fn by_token<'a>(&'a self, token: &'a str, now: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>> {
        async move {
            match self.nodes.by_token(token, now).await {
                Ok(peer) => Ok(peer),
                Err(_) => self.review(token).await,
            }
        }
        .boxed()
    }

    fn is_revoked(&self, peer: &Peer) -> bool {
        self.nodes.is_revoked(peer) || is_gone(&self.gone.load(), peer)
    }

    fn is_leaving(&self, peer: &Peer) -> bool {
        pod(&peer.identity).is_some_and(|pod| self.leaving.load().contains(&pod))
    }

    fn revocations(&self) -> watch::Receiver<u64> {
        self.nodes.revocations()
    }
}

/// The accounts of all Gateways that are served, of those that are shared, and of those that go on without a program.
fn accounts(picture: &Picture) -> Accounts {
    let account = |proxy: &ProxyKey| {
        let name = match proxy.role {
            ProxyRole::Gateway => names::of_gateway(&proxy.object.name, &picture.declared.gateways.get(&proxy.object)?.spec.class),
            ProxyRole::Fleet => names::of_fleet(&proxy.object.name),
            ProxyRole::Workload => return None,
        };
        Some((ObjectKey::new(proxy.object.namespace.clone(), name), proxy.clone()))
    };
    picture.standing.iter().chain(picture.plan.programs.keys()).filter_map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_a_pod_that_is_gone_is_nobodys_and_one_of_a_new_pod_of_that_name_is() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let peer = |identity: &str, issued_at| Peer {
            proxy: ProxyKey::gateway("shop", "edge"),
            identity: identity.into(),
            credential: identity.into(),
            issued_at,
            expires_at: at(3_600),
            zone: None,
        };
        let gone = Gone::from([(ObjectKey::new("shop", "edge-1"), at(10))]);
        assert!(is_gone(&gone, &peer("gateway/shop/edge#pod/shop/edge-1", at(5))));
        assert!(!is_gone(&gone, &peer("gateway/shop/edge#pod/shop/edge-1", at(11))));
        assert!(!is_gone(&gone, &peer("gateway/shop/edge#pod/shop/edge-2", at(5))));
        assert!(!is_gone(&gone, &peer("gateway/shop/edge#certificate", at(5))), "a machine outside has no Pod");
    }

    #[test]
    fn who_goes_on_without_a_program_keeps_its_account() {
        let (shared, edge) = (Shared::default(), ProxyKey::gateway("shop", "edge"));
        let account = ObjectKey::new("shop", "edge-own");
        shared.accounts.store(Arc::new(BTreeMap::from([(account.clone(), edge.clone())])));
        let standing = Picture { standing: Arc::new([edge.clone()].into()), ..Picture::default() };
        shared.keep_accounts(&standing);
        assert_eq!(shared.accounts.load().get(&account), Some(&edge));
        shared.keep_accounts(&Picture::default());
        assert!(shared.accounts.load().is_empty(), "it is gone");
    }

    #[test]
    fn who_goes_on_without_a_program_has_an_account_by_what_is_declared_also_where_nobody_knew_it() {
        let (edge, fleet) = (ProxyKey::gateway("shop", "edge"), ProxyKey::fleet("shop", "windrose"));
        let standing = Arc::new([edge.clone(), fleet.clone()].into());
        let shared = Shared::default();
        shared.keep_accounts(&Picture { declared: crate::test_world::declared(crate::test_world::SHOP), standing, ..Picture::default() });
        let account = |name: String| ObjectKey::new("shop", name);
        let expected = [(account(names::of_gateway("edge", "windrose")), edge), (account(names::of_fleet("windrose")), fleet)];
        assert_eq!(**shared.accounts.load(), Accounts::from(expected));
    }

    #[tokio::test]
    async fn a_pod_is_in_the_zone_of_its_node_and_waits_until_that_is_known() {
        let (telling, zones) = watch::channel(None);
        let asked = tokio::spawn(zone(zones.clone(), Some("one")));
        tokio::task::yield_now().await;
        assert!(!asked.is_finished());
        telling.send_replace(Some(Arc::new(Zones::from([("one".into(), "a".into())]))));
        assert_eq!(asked.await.unwrap().as_deref(), Some("a"));
        assert_eq!(zone(zones.clone(), Some("two")).await, None);
        assert_eq!(zone(zones, None).await, None);
    }
}
