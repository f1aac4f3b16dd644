//! Bytes that nobody thought of: no input panics, and no token passes that differs from a good one.

use proptest::prelude::*;

use super::*;
use crate::config::Location;

/// A filter that takes tokens from every kind of place, and what it says of these headers.
fn passes(filter: &Rc<JwtAuth>, headers: &[(&str, Vec<u8>)]) -> bool {
    let host = headers.iter().fold(FakeHost::new().with_policy("p"), |host, (name, value)| host.with_header(name, value));
    refusal(filter, &host).is_none()
}

fn everywhere() -> Rc<JwtAuth> {
    let mut policy = policy();
    policy.providers[0].from = vec![Location::bearer(), Location::Query { name: "t".into() }, Location::Cookie { name: "s".into() }];
    filter(policy)
}

/// One edit of a token: where, and what stands there instead of so many bytes.
fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, Vec<u8>, usize)>> {
    prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..4), 0_usize..4), 1..4)
}

/// A byte that stands in tokens: what is edited with these stays well formed more often.
fn token_byte() -> impl Strategy<Value = u8> {
    prop::sample::select(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.".to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_in_any_place_are_refused(
        authorization in prop::collection::vec(any::<u8>(), 0..200),
        path in prop::collection::vec(any::<u8>(), 0..200),
        cookie in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let filter = everywhere();
        prop_assert!(!passes(&filter, &[("authorization", authorization.clone()), (":path", path.clone()), ("cookie", cookie.clone())]));
        prop_assert!(!passes(&filter, &[("authorization", [b"Bearer ".as_slice(), &authorization].concat())]));
        prop_assert!(!passes(&filter, &[(":path", [b"/?t=".as_slice(), &path].concat())]));
        prop_assert!(!passes(&filter, &[("cookie", [b"s=".as_slice(), &cookie].concat())]));
    }

    #[test]
    fn any_json_under_a_good_signature_is_read_without_harm(header in "\\{\"alg\":\"HS256\"[,:\"a-z0-9{}\\[\\] ]{0,40}", claims in ".{0,200}") {
        prop_assert!(verdict_on(sign_text(&header, &claims)).is_some());
        let plain = verdict_on(sign_text(r#"{"alg":"HS256"}"#, &claims));
        prop_assert!(plain.is_some());
    }

    #[test]
    fn a_token_with_any_edit_is_refused(number in 0_usize..Algorithm::ALL.len(), edits in edits(), cached in any::<bool>()) {
        let good = vector(Algorithm::ALL[number].name()).into_bytes();
        let mut token = good.clone();
        for (index, bytes, len) in edits {
            let at = index.index(token.len() + 1);
            let end = (at + len).min(token.len());
            token.splice(at..end, bytes);
        }
        prop_assume!(token != good && !token.starts_with(b" "));
        let filter = everywhere();
        if cached {
            prop_assert!(passes(&filter, &[("authorization", [b"Bearer ".as_slice(), &good].concat())]));
        }
        prop_assert!(!passes(&filter, &[("authorization", [b"Bearer ".as_slice(), &token].concat())]));
    }

    #[test]
    fn a_token_with_one_other_letter_is_refused(number in 0_usize..Algorithm::ALL.len(), index in any::<prop::sample::Index>(), byte in token_byte()) {
        let good = vector(Algorithm::ALL[number].name()).into_bytes();
        let mut token = good.clone();
        token[index.index(good.len())] = byte;
        prop_assume!(token != good);
        prop_assert!(verdict_on(token).is_some());
    }
}
