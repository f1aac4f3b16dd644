//! What a leader knows of another replica's streams is what that replica knows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use tokio::sync::watch;
use windrose_state::{
    Accepted, Desired, Fault, KindMap, KindStatus, Missing, Observation, Observed, Opened, Protocol, Reason, ResourceSet, Scope, StreamId,
};
use windrose_vocab::{Fingerprint, NodeClass, ProxyKey, Resource, ResourceId, ResourceKind, Text};

use crate::{Ended, Known, Mirror, Said, Teller, Verdicts, follow, lead, limits};

const KIND: ResourceKind = ResourceKind::Cluster;

fn scope() -> Scope {
    ProxyKey::gateway("shop", "edge").into()
}

fn opened(node: &str) -> Opened {
    let (since, credential_expires) = (at(1), at(1_000));
    Opened {
        node: node.into(),
        identity: format!("gateway/shop/edge#{node}").into(),
        scope: scope(),
        protocol: Protocol::Delta,
        since,
        credential_expires,
        replica: None,
        version: None,
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn resource(name: &str, version: u128) -> Arc<Resource> {
    let (id, version) = (ResourceId::new(KIND, name), Fingerprint::from_bits(version));
    Arc::new(Resource { id, version, bytes: Bytes::from_static(b"content"), refs: Arc::from([]) })
}

fn resources(all: &[(&str, u128)]) -> KindMap {
    all.iter().map(|(name, version)| (Text::from(*name), resource(name, *version))).collect()
}

/// A leader with what its proxies should have.
struct Leader {
    desired: Desired,
    known: Known,
}

impl Leader {
    fn serving(wanted: &[(&str, u128)]) -> Self {
        let mut desired = Desired::new();
        let known = Known { desired: desired.reader(), observed: Arc::default(), accepted: Arc::new(Accepted::new()) };
        publish(&mut desired, wanted);
        Self { desired, known }
    }

    fn mirror(&self) -> Mirror {
        Mirror::new(self.known.clone(), "10.0.0.2")
    }

    fn last(&self, name: &str) -> Option<u128> {
        let last = self.known.accepted.last(&scope(), &ResourceId::new(KIND, name))?;
        assert!(!last.bytes.is_empty(), "a repair would send nothing");
        Some(last.version.bits())
    }
}

fn publish(desired: &mut Desired, wanted: &[(&str, u128)]) {
    let mut set = ResourceSet::new();
    set.set_kind(KIND, resources(wanted));
    desired.publish(&scope(), &set, &KindMap::new()).unwrap();
}

/// Over the wire and back.
fn told(said: &Said) -> Said {
    Said::decode(said.encode_to_vec().as_slice()).unwrap()
}

fn tell_all(teller: &mut Teller, follower: &Observed, mirror: &mut Mirror) -> usize {
    let mut bytes = 0;
    while let Some(said) = teller.tell(&follower.snapshot()) {
        bytes += said.encoded_len();
        mirror.hear(&told(&said)).unwrap();
    }
    bytes
}

type Versions = Vec<(Text, Fingerprint)>;

/// What was sent and acknowledged, and all else.
type Shown = (Versions, Versions, KindStatus);

/// Names, versions and words of every stream, by node.
fn shown(observed: &Observed) -> BTreeMap<Text, [Shown; 7]> {
    let names = |map: &KindMap| map.iter().map(|(name, one)| (name.clone(), one.version)).collect();
    let of = |status: &KindStatus| {
        let rest = KindStatus { sent: KindMap::new(), acked: KindMap::new(), ..status.clone() };
        (names(&status.sent), names(&status.acked), rest)
    };
    let streams = observed.snapshot();
    streams.iter().map(|stream| (stream.opened.node.clone(), ResourceKind::ALL.map(|kind| of(stream.of_kind(kind))))).collect()
}

#[test]
fn what_the_leader_has_too_is_known_with_its_bytes_and_counts_as_accepted() {
    let leader = Leader::serving(&[("a", 1), ("b", 1)]);
    let (follower, mut teller, mut mirror) = (Observed::new(), Teller::default(), leader.mirror());
    let id = follower.open(opened("n")).unwrap();
    follower.record(id, [acked(&[("a", 1), ("b", 7)])], at(2));
    tell_all(&mut teller, &follower, &mut mirror);
    assert_eq!((leader.last("a"), leader.last("b")), (Some(1), None), "nobody here has the content of b in version 7");
    let streams = leader.known.observed.snapshot();
    assert_eq!(streams[0].opened.replica.as_deref(), Some("10.0.0.2"));
    assert_eq!(streams[0].behind(&leader.known.desired.current(&scope()).unwrap()).len(), 1);
    drop(mirror);
    assert!(leader.known.observed.is_empty(), "a replica that is gone has no streams");
}

#[test]
fn what_a_follower_planned_first_is_known_once_the_leader_has_planned_it() {
    let mut leader = Leader::serving(&[("a", 1)]);
    let (follower, mut teller, mut mirror) = (Observed::new(), Teller::default(), leader.mirror());
    let id = follower.open(opened("n")).unwrap();
    follower.record(id, [acked(&[("a", 2)])], at(2));
    tell_all(&mut teller, &follower, &mut mirror);
    assert_eq!(leader.last("a"), None);
    publish(&mut leader.desired, &[("a", 2)]);
    mirror.look_again();
    assert_eq!(leader.last("a"), Some(2));
    assert!(leader.known.observed.snapshot()[0].behind(&leader.known.desired.current(&scope()).unwrap()).is_empty());
}

#[test]
fn what_only_the_surroundings_of_a_followers_proxy_keep_out_is_held_against_nobody() {
    let leader = Leader::serving(&[("a", 2), ("b", 2)]);
    let (follower, mut teller, mut mirror) = (Observed::new(), Teller::default(), leader.mirror());
    let id = follower.open(opened("n")).unwrap();
    follower.record(id, [refused("a", 2, Fault::Client), refused("b", 2, Fault::Content)], at(2));
    tell_all(&mut teller, &follower, &mut mirror);
    let reason = |name: &str| leader.known.accepted.reason(&ResourceId::new(KIND, name), Fingerprint::from_bits(2));
    assert_eq!((reason("a"), reason("b")), (None, Some(Reason::new("no"))));
}

#[test]
fn a_change_costs_its_size_however_many_streams_and_resources_there_are() {
    let names: Vec<String> = (0..1_000).map(|n| format!("cluster-{n:04}")).collect();
    let wanted: Vec<(&str, u128)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let leader = Leader::serving(&wanted);
    let (follower, mut teller, mut mirror) = (Observed::new(), Teller::default(), leader.mirror());
    let all = resources(&wanted);
    let streams: Vec<StreamId> = (0..100).map(|n| follower.open(opened(&format!("n{n}"))).unwrap()).collect();
    let say = |map: &KindMap, seconds| {
        for stream in &streams {
            let (sent, acked) = (map.clone(), map.clone());
            follower.record(*stream, [Observation::Sent { kind: KIND, held: sent }, Observation::Acked { kind: KIND, acked }], at(seconds));
        }
    };
    say(&all, 2);
    let first = tell_all(&mut teller, &follower, &mut mirror);
    assert!(first < 80_000, "a thousand resources once, not a hundred times: {first} bytes");
    let mut changed = all.clone();
    changed.insert("cluster-0007".into(), resource("cluster-0007", 2));
    say(&changed, 3);
    let then = tell_all(&mut teller, &follower, &mut mirror);
    assert!(then < 100 * 120, "one resource, and a word of each stream: {then} bytes");
    assert_eq!(shown(&leader.known.observed), shown(&follower));
    assert_eq!(tell_all(&mut teller, &follower, &mut mirror), 0);
}

#[test]
fn what_one_stream_has_to_tell_is_split_by_its_size() {
    let leader = Leader::serving(&[]);
    let (follower, mut teller, mut mirror) = (Observed::new(), Teller::default(), leader.mirror());
    let id = follower.open(opened("n")).unwrap();
    let names: Vec<String> = (0..3_000).map(|n| format!("{n:01000}")).collect();
    let held = resources(&names.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>());
    let say = |map: &KindMap, seconds| {
        for kind in [ResourceKind::Cluster, ResourceKind::Endpoints] {
            let (held, acked) = (map.clone(), map.clone());
            follower.record(id, [Observation::Sent { kind, held }, Observation::Acked { kind, acked }], at(seconds));
        }
    };
    let mut hear_all = || {
        let mut messages = 0;
        while let Some(said) = teller.tell(&follower.snapshot()) {
            assert!(said.encoded_len() < 2 * limits::TOLD, "{} bytes", said.encoded_len());
            mirror.hear(&told(&said)).unwrap();
            messages += 1;
        }
        assert_eq!(shown(&leader.known.observed), shown(&follower));
        messages
    };
    say(&held, 2);
    assert_eq!(hear_all(), 3, "twice 3 MB by 2 MB, acknowledged for nothing");
    say(&resources(&[("0", 1)]), 3);
    assert_eq!(hear_all(), 3, "and to forget them costs as much");
}

#[test]
fn a_class_too_many_at_the_leader_costs_its_own_streams_and_not_the_connection() {
    let leader = Leader::serving(&[("a", 1)]);
    let (follower, mut teller, mut mirror) = (Observed::new(), Teller::default(), leader.mirror());
    let class = |n: usize| Scope::new(scope().proxy, NodeClass { modules: Some(format!("/{n}").into()), zone: None });
    let max = windrose_state::limits::CLASSES_PER_PROXY;
    let _own: Vec<_> = (0..max - 1).map(|n| leader.known.desired.subscribe(&class(n)).unwrap()).collect();
    let strange = follower.open(Opened { scope: class(99), ..opened("strange") }).unwrap();
    let set = resources(&[("a", 1)]);
    follower.record(strange, [Observation::Acked { kind: KIND, acked: set.clone() }], at(2));
    tell_all(&mut teller, &follower, &mut mirror);
    assert!(leader.known.observed.is_empty(), "there is no room for it");
    let good = follower.open(opened("good")).unwrap();
    follower.record(good, [Observation::Acked { kind: KIND, acked: set }], at(3));
    tell_all(&mut teller, &follower, &mut mirror);
    assert_eq!((leader.known.observed.len(), leader.last("a")), (1, Some(1)), "what it shares with the other is known");
    follower.close(strange);
    follower.record(good, [acked(&[("a", 1), ("b", 1)])], at(4));
    tell_all(&mut teller, &follower, &mut mirror);
    assert_eq!(shown(&leader.known.observed), shown(&follower));
}

#[test]
fn nonsense_is_no_news() {
    let leader = Leader::serving(&[]);
    let follower = Observed::new();
    let id = follower.open(opened("n")).unwrap();
    follower.record(id, [acked(&[("a", 1)])], at(2));
    let said = Teller::default().tell(&follower.snapshot()).unwrap();
    type Spoil = fn(&mut Said);
    let wrong: [(&str, Spoil); 6] = [
        ("a stream that was never opened", |said| said.opened.clear()),
        ("a set that was never told", |said| said.maps.clear()),
        ("a difference from nothing known", |said| said.maps[0].base = 77),
        ("an unknown type", |said| said.news[0].type_url = "type.example/x".into()),
        ("a stream twice", |said| said.opened.push(said.opened[0].clone())),
        ("a stream closed that was never open", |said| said.closed.push(9)),
    ];
    for (what, spoil) in wrong {
        let mut spoilt = said.clone();
        spoil(&mut spoilt);
        assert!(leader.mirror().hear(&spoilt).is_err(), "{what}");
        assert!(leader.known.observed.is_empty(), "{what}: its streams are gone with it");
    }
    leader.mirror().hear(&said).unwrap();
}

#[tokio::test(start_paused = true)]
async fn both_ends_hear_each_other_and_silence_ends_it() {
    let leader = Leader::serving(&[("a", 1)]);
    let (follower, (mine, theirs)) = (Arc::new(Observed::new()), tokio::io::duplex(1 << 16));
    let (telling, verdicts) = watch::channel(Arc::new(Verdicts { content: Bytes::from_static(b"one"), on_trial: true }));
    let (_published, publications) = watch::channel(());
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let led = tokio::spawn(lead(theirs, leader.mirror(), verdicts, publications));
    let (observed, into) = (follower.clone(), heard.clone());
    let follows = tokio::spawn(async move { follow(mine, &observed, |verdicts| into.lock().unwrap().push(verdicts)).await });

    let id = follower.open(opened("n")).unwrap();
    follower.record(id, [acked(&[("a", 1)])], at(2));
    until(|| shown(&leader.known.observed) == shown(&follower)).await;
    telling.send_replace(Arc::new(Verdicts { content: Bytes::from_static(b"two"), on_trial: false }));
    until(|| heard.lock().unwrap().len() == 2).await;
    assert_eq!(heard.lock().unwrap().iter().map(|one| one.on_trial).collect::<Vec<_>>(), [true, false]);

    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!led.is_finished() && !follows.is_finished(), "they have nothing to say, and hear that");
    follows.abort();
    assert!(matches!(led.await.unwrap(), Ended::Closed | Ended::Broken(_)));
    assert!(leader.known.observed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_end_that_says_nothing_is_given_up() {
    let leader = Leader::serving(&[]);
    let (_mine, theirs) = tokio::io::duplex(1 << 16);
    let (_telling, verdicts) = watch::channel(Arc::default());
    let (_published, publications) = watch::channel(());
    assert!(matches!(lead(theirs, leader.mirror(), verdicts, publications).await, Ended::Silent));
}

async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in ten seconds");
}

fn acked(all: &[(&str, u128)]) -> Observation {
    Observation::Acked { kind: KIND, acked: resources(all) }
}

fn refused(name: &str, version: u128, fault: Fault) -> Observation {
    let version = Fingerprint::from_bits(version);
    Observation::Rejected { kind: KIND, name: Some(name.into()), version, fault, reason: Reason::new("no") }
}

/// One thing that happens to the follower's streams.
#[derive(Clone, Debug)]
enum Deed {
    Open,
    Close(usize),
    Edit(usize, u8, u128),
    Remove(usize, u8),
    /// The stream is sent what it should have, and acknowledges.
    Send(usize),
    Ack(usize),
    Reject(usize, u8),
    Miss(usize, u8),
    Tell,
}

fn deed() -> impl Strategy<Value = Deed> {
    let (stream, name) = (0..4_usize, 0..6_u8);
    prop_oneof![
        2 => Just(Deed::Open),
        1 => stream.clone().prop_map(Deed::Close),
        4 => (0..2_usize, name.clone(), 1..5_u128).prop_map(|(set, name, version)| Deed::Edit(set, name, version)),
        2 => (0..2_usize, name.clone()).prop_map(|(set, name)| Deed::Remove(set, name)),
        6 => stream.clone().prop_map(Deed::Send),
        6 => stream.clone().prop_map(Deed::Ack),
        2 => (stream.clone(), name.clone()).prop_map(|(stream, name)| Deed::Reject(stream, name)),
        1 => (stream, name).prop_map(|(stream, name)| Deed::Miss(stream, name)),
        4 => Just(Deed::Tell),
    ]
}

proptest! {
    #[test]
    fn however_streams_come_speak_and_go_the_leader_knows_what_the_follower_knows(deeds in prop::collection::vec(deed(), 1..80)) {
        let leader = Leader::serving(&[("r0", 1), ("r1", 2), ("r2", 3)]);
        let (follower, mut teller, mut mirror) = (Observed::new(), Teller::default(), leader.mirror());
        let (mut open, mut sets, mut count) = (Vec::<StreamId>::new(), [KindMap::new(), KindMap::new()], 0);
        for (step, deed) in deeds.into_iter().enumerate() {
            let now = at(10 + step as u64);
            let say = |stream: usize, news: Observation| if let Some(id) = open.get(stream) { follower.record(*id, [news], now) };
            match deed {
                Deed::Open => { count += 1; open.push(follower.open(opened(&format!("n{count}"))).unwrap()); }
                Deed::Close(at) => if at < open.len() { follower.close(open.remove(at)); },
                Deed::Edit(set, name, version) => { let name = format!("r{name}"); sets[set].insert(name.as_str().into(), resource(&name, version)); }
                Deed::Remove(set, name) => { sets[set].remove(format!("r{name}").as_str()); }
                Deed::Send(stream) => say(stream, Observation::Sent { kind: KIND, held: sets[stream % 2].clone() }),
                Deed::Ack(stream) => say(stream, Observation::Acked { kind: KIND, acked: sets[stream % 2].clone() }),
                Deed::Reject(stream, name) => {
                    let fault = if name % 2 == 0 { Fault::Content } else { Fault::Client };
                    say(stream, refused(&format!("r{name}"), 9, fault));
                }
                Deed::Miss(stream, name) => {
                    let missing = Missing { count: 1, first: vec![format!("r{name}").as_str().into()] };
                    say(stream, Observation::Missing { kind: KIND, missing });
                }
                Deed::Tell => { tell_all(&mut teller, &follower, &mut mirror); }
            }
        }
        tell_all(&mut teller, &follower, &mut mirror);
        prop_assert_eq!(shown(&leader.known.observed), shown(&follower));
    }
}
