//! What the table promises: no key ever gets more than its quota, whatever else is counted, and memory has an end.

use std::collections::BTreeMap;

use proptest::prelude::*;
use windrose_filter_kit::fake::FakeHost;

use super::*;
use crate::secret::Secret;

const QUOTA: Quota = Quota { requests: 5, window_ms: 60_000, burst: 5 };
const LONG: Quota = Quota { requests: 1_000, window_ms: 86_400_000, burst: 1_000 };
const HOT: Key = Key { owner: 1, class: 1, own: 7 };

/// A key of this class that shares the bucket of [`HOT`].
fn beside(class: u64, number: u64) -> Key {
    Key { owner: 1, class, own: HOT.own + limits::BUCKETS * (1 + number) }
}

fn admitted(host: &FakeHost, key: Key, quota: &Quota) -> bool {
    matches!(take(host, key, quota, host.monotonic_ns()), Outcome::Admitted { .. })
}

fn bytes(host: &FakeHost) -> usize {
    host.shared_data("rate/1/7").unwrap().bytes.len()
}

#[test]
fn a_key_gets_its_quota_and_no_more() {
    let host = FakeHost::new();
    assert_eq!((0..8).filter(|_| admitted(&host, HOT, &QUOTA)).count(), 5);
}

#[test]
fn keys_of_a_longer_window_in_the_same_bucket_do_not_reset_a_key() {
    for used in 1..=5 {
        let host = FakeHost::new();
        (0..used).for_each(|_| assert!(admitted(&host, HOT, &QUOTA)));
        for other in 0..1_000 {
            admitted(&host, beside(2, other), &LONG);
        }
        assert_eq!((0..9).filter(|_| admitted(&host, HOT, &QUOTA)).count(), 5 - used);
        assert!(bytes(&host) <= ENTRY * (limits::SLOTS + limits::RESTS));
    }
}

#[test]
fn keys_of_its_own_class_do_not_reset_a_key() {
    for used in 1..=5 {
        let host = FakeHost::new();
        (0..used).for_each(|_| assert!(admitted(&host, HOT, &QUOTA)));
        for other in 0..1_000 {
            admitted(&host, beside(1, other), &QUOTA);
        }
        assert!((0..9).filter(|_| admitted(&host, HOT, &QUOTA)).count() <= 5 - used);
        assert!(!admitted(&host, beside(1, 1_000), &QUOTA), "who comes new where all are at their limit is refused");
        host.advance(std::time::Duration::from_secs(60));
        assert!(admitted(&host, beside(1, 1_000), &QUOTA), "and let in when they are not");
    }
}

#[test]
fn a_flood_at_the_limits_of_one_namespace_closes_no_limit_of_another() {
    let host = FakeHost::new();
    let flood = |owner: u64, class: u64, number: u64| Key { owner, ..beside(class, number) };
    for class in 2..50 {
        for number in 0..20 {
            admitted(&host, flood(2, class, number), &LONG);
        }
    }
    assert!(!admitted(&host, flood(2, 50, 0), &LONG), "its own table is full");
    assert!(admitted(&host, flood(1, 50, 0), &LONG));
}

#[test]
fn sixty_five_thousand_keys_over_the_whole_table_do_not_touch_a_hot_one() {
    let (host, secret) = (FakeHost::new(), Secret::draw());
    let key = |class: &str, value: u32| Key { owner: 1, class: secret.hash(&class), own: secret.hash(&(class, value)) };
    while admitted(&host, key("login", 0), &QUOTA) {}
    for tenant in 0..65_536 {
        admitted(&host, key("tenant", tenant), &LONG);
    }
    assert!(!admitted(&host, key("login", 0), &QUOTA));
    let others = (1..500).filter(|other| admitted(&host, key("login", *other), &QUOTA)).count();
    assert!(others > 450, "other clients of that limit still come in: {others}");
}

#[test]
fn more_limits_than_a_bucket_can_remember_refuse_who_comes_new() {
    let host = FakeHost::new();
    while admitted(&host, HOT, &QUOTA) {}
    for class in 2..100 {
        for number in 0..9 {
            admitted(&host, beside(class, number), &QUOTA);
        }
    }
    assert!(!admitted(&host, HOT, &QUOTA));
    assert!(!admitted(&host, beside(100, 0), &QUOTA));
    assert!(bytes(&host) <= ENTRY * (limits::SLOTS + limits::RESTS));
}

#[test]
fn what_is_given_back_can_be_taken_again() {
    let host = FakeHost::new();
    while admitted(&host, HOT, &QUOTA) {}
    give_back(&host, HOT, &QUOTA, host.monotonic_ns());
    assert!(admitted(&host, HOT, &QUOTA));
    assert!(!admitted(&host, HOT, &QUOTA));
}

#[test]
fn giving_back_to_a_key_that_has_no_entry_changes_nothing() {
    let host = FakeHost::new();
    for other in 0..8 {
        while admitted(&host, beside(1, other), &QUOTA) {}
    }
    let before = host.shared_data("rate/1/7").unwrap();
    give_back(&host, HOT, &QUOTA, host.monotonic_ns());
    assert_eq!(host.shared_data("rate/1/7").unwrap(), before);
}

#[test]
fn a_quota_with_a_shorter_window_does_not_keep_the_old_debt() {
    let host = FakeHost::new();
    while admitted(&host, HOT, &LONG) {}
    let ten_a_second = Quota { requests: 10, window_ms: 1_000, burst: 10 };
    assert!(!admitted(&host, HOT, &ten_a_second), "who was at the limit still is");
    host.advance(std::time::Duration::from_millis(500));
    assert_eq!((0..9).filter(|_| admitted(&host, HOT, &ten_a_second)).count(), 5);
}

#[test]
fn a_quota_of_zero_that_comes_and_goes_gives_nothing_back() {
    let host = FakeHost::new();
    while admitted(&host, HOT, &QUOTA) {}
    assert!(!admitted(&host, HOT, &Quota { requests: 0, window_ms: 1, burst: 0 }));
    assert!(!admitted(&host, HOT, &QUOTA));
}

#[test]
fn looking_alone_lets_go_of_the_old_debt_too() {
    let host = FakeHost::new();
    while admitted(&host, HOT, &LONG) {}
    let ten_a_second = Quota { requests: 10, window_ms: 1_000, burst: 10 };
    let room = || matches!(peek(&host, HOT, &ten_a_second, host.monotonic_ns()), Outcome::Admitted { .. });
    assert!(!room());
    host.advance(std::time::Duration::from_millis(500));
    assert!(room());
}

#[test]
fn the_rest_of_a_class_lets_go_of_the_old_debt_too() {
    let host = FakeHost::new();
    for other in 0..20 {
        while admitted(&host, beside(1, other), &LONG) {}
    }
    let ten_a_second = Quota { requests: 10, window_ms: 1_000, burst: 10 };
    assert!(!admitted(&host, HOT, &ten_a_second));
    host.advance(std::time::Duration::from_secs(1));
    assert!(admitted(&host, HOT, &ten_a_second));
}

#[test]
fn damaged_shared_data_is_read_as_far_as_it_goes() {
    assert_eq!(Bucket::read(&[1, 2, 3]).0, []);
    assert_eq!(Bucket::read(&[0; 60]).0.len(), 2);
    assert_eq!(Bucket::read(&[1; 24 * 1_000]).0.len(), limits::SLOTS + limits::RESTS);
}

#[test]
fn an_entry_reads_back_as_it_was_written() {
    let entries = vec![Entry { class: 1, own: 2, full_at: 3 }, Entry { class: u64::MAX, own: REST, full_at: 5 }];
    assert_eq!(Bucket::read(&Bucket(entries.clone()).bytes()).0, entries);
}

proptest! {
    /// Beside a table without an end, in one bucket: what that refuses is refused here.
    #[test]
    fn nobody_gets_more_than_a_table_without_an_end_would_give(
        steps in prop::collection::vec((0_u64..4, 0_u64..12, 0_u64..3_000), 1..400),
    ) {
        let host = FakeHost::new();
        let quotas: Vec<Quota> = (1..=4).map(|class| Quota { requests: 2 * class, window_ms: 5_000 << (2 * class), burst: class + 1 }).collect();
        let mut endless: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        for (class, number, pause_ms) in steps {
            let quota = quotas.get(usize::try_from(class).unwrap()).unwrap();
            host.advance(std::time::Duration::from_millis(pause_ms));
            let (key, now) = (beside(class, number), host.monotonic_ns());
            if admitted(&host, key, quota) {
                let level = endless.entry((class, number)).or_default();
                let Outcome::Admitted { full_at, .. } = gcra::admit(quota, *level, now) else { panic!("{class} {number} got too much") };
                *level = full_at;
            }
            prop_assert!(bytes(&host) <= ENTRY * (limits::SLOTS + limits::RESTS));
        }
    }
}
