//! What verified claims say: times, requirements, and the text in which a claim travels on.

use serde_json::{Map, Value};

use crate::config::{ClaimPath, ClaimRule, Requirement};
use crate::limits::TIME_MAX;
use crate::refusal::Refusal;

/// The claims of one token.
pub(crate) type Claims = Map<String, Value>;

/// When a token is good, in seconds since 1970, leeway included: from `from` to just before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime {
    from: u64,
    until: u64,
}

impl Lifetime {
    /// Reads `exp` (required), `nbf` and `iat` (RFC 7519, section 4.1). A time that is not a number, negative, or beyond
    /// the year 9999 is refused, also where it would not matter.
    pub(crate) fn of(claims: &Claims, leeway_seconds: u64) -> Result<Self, Refusal> {
        let exp = time(claims, "exp", f64::floor)?.ok_or(Refusal::TimeMalformed)?;
        let nbf = time(claims, "nbf", f64::ceil)?.unwrap_or(0);
        let iat = time(claims, "iat", f64::ceil)?.unwrap_or(0);
        Ok(Self { from: nbf.max(iat).saturating_sub(leeway_seconds), until: exp.saturating_add(leeway_seconds) })
    }

    /// Whether the token is good at this moment.
    pub(crate) fn check(self, now_seconds: u64) -> Result<(), Refusal> {
        if now_seconds >= self.until {
            Err(Refusal::Expired)
        } else if now_seconds < self.from {
            Err(Refusal::NotYetValid)
        } else {
            Ok(())
        }
    }
}

/// A `NumericDate`, which may have a fraction; `round` says to which side.
fn time(claims: &Claims, name: &str, round: fn(f64) -> f64) -> Result<Option<u64>, Refusal> {
    let seconds = match claims.get(name) {
        None => return Ok(None),
        Some(Value::Number(number)) => number.as_u64().or_else(|| number.as_f64().and_then(|seconds| whole_seconds(seconds, round))),
        Some(Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    seconds.filter(|seconds| *seconds <= TIME_MAX).map(Some).ok_or(Refusal::TimeMalformed)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked, and the value is whole")]
fn whole_seconds(seconds: f64, round: fn(f64) -> f64) -> Option<u64> {
    // 2^53: below it every whole number is exact. TIME_MAX is smaller.
    if (0.0..9_007_199_254_740_992.0).contains(&seconds) { Some(round(seconds) as u64) } else { None }
}

/// Whether the claims meet what every token must say and, where there are alternatives, at least one of them.
pub(crate) fn check(claims: &Claims, require: &Requirement, any_of: &[Requirement]) -> Result<(), Refusal> {
    meets(claims, require)?;
    let Some(first) = any_of.first() else { return Ok(()) };
    if any_of.iter().any(|requirement| meets(claims, requirement).is_ok()) { Ok(()) } else { meets(claims, first) }
}

fn meets(claims: &Claims, requirement: &Requirement) -> Result<(), Refusal> {
    if !requirement.claims.iter().all(|rule| says(claims, rule)) {
        return Err(Refusal::ClaimMissing);
    }
    if !requirement.scopes.iter().all(|scope| has_scope(claims, scope)) {
        return Err(Refusal::ScopeMissing);
    }
    Ok(())
}

fn says(claims: &Claims, rule: &ClaimRule) -> bool {
    match find(claims, &rule.claim) {
        Some(value) if rule.any_of.is_empty() => !value.is_null(),
        Some(Value::Array(values)) => values.iter().any(|value| is_one_of(value, &rule.any_of)),
        Some(value) => is_one_of(value, &rule.any_of),
        None => false,
    }
}

/// A number that may be another one than the token has equals nothing.
fn is_one_of(value: &Value, values: &[Value]) -> bool {
    is_exact(value) && values.contains(value)
}

/// Whether each number in it is what the token says: integers beyond 64 bits were read as floating point and lost digits.
/// Recurses as deep as a token may be nested.
fn is_exact(value: &Value) -> bool {
    /// -2^63 and 2^64: between them every integer was read as one.
    const ROUNDED: (f64, f64) = (-9_223_372_036_854_775_808.0, 18_446_744_073_709_551_616.0);
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) if number.is_f64() => number.as_f64().is_some_and(|float| ROUNDED.0 < float && float < ROUNDED.1),
        Value::Number(_) => true,
        Value::Array(values) => values.iter().all(is_exact),
        Value::Object(members) => members.values().all(is_exact),
    }
}

fn has_scope(claims: &Claims, scope: &str) -> bool {
    let listed = |name: &str| match claims.get(name) {
        Some(Value::String(scopes)) => scopes.split(' ').any(|given| given == scope),
        Some(Value::Array(scopes)) => scopes.iter().any(|given| given == scope),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    };
    listed("scope") || listed("scp")
}

/// The claim at a path.
pub(crate) fn find<'a>(claims: &'a Claims, path: &ClaimPath) -> Option<&'a Value> {
    let (first, rest) = path.0.split_first()?;
    rest.iter().try_fold(claims.get(first)?, |value, segment| value.as_object()?.get(segment))
}

/// A claim as text for a header or property: a string as it is, a number or boolean printed, an array or object as JSON.
/// `None` when it would be null, has a control character, which no header may carry, or a number that lost digits.
pub(crate) fn text(value: &Value) -> Option<String> {
    if !is_exact(value) {
        return None;
    }
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    if text.contains(char::is_control) { None } else { Some(text) }
}

/// A claim as the value of a header. `None` beside where there is no text when a reader could take it for another one:
/// white space at an end is trimmed on the way, and an empty header is to many an absent one.
pub(crate) fn header_text(value: &Value) -> Option<String> {
    text(value).filter(|text| !text.is_empty() && text.trim() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    fn check_at(value: Value, now: u64) -> Result<(), Refusal> {
        Lifetime::of(&claims(value), 60).and_then(|lifetime| lifetime.check(now))
    }

    #[test]
    fn exp_ends_at_leeway_to_the_second() {
        assert_eq!(check_at(json!({"exp": 1000}), 1059), Ok(()));
        assert_eq!(check_at(json!({"exp": 1000}), 1060), Err(Refusal::Expired));
        assert_eq!(check_at(json!({"exp": 1000}), 1061), Err(Refusal::Expired));
    }

    #[test]
    fn nbf_and_iat_begin_at_leeway_to_the_second() {
        for name in ["nbf", "iat"] {
            assert_eq!(check_at(json!({"exp": 9000, name: 1000}), 939), Err(Refusal::NotYetValid));
            assert_eq!(check_at(json!({"exp": 9000, name: 1000}), 940), Ok(()));
            assert_eq!(check_at(json!({"exp": 9000, name: 1000}), 941), Ok(()));
        }
    }

    #[test]
    fn what_is_not_a_time_up_to_the_year_9999_is_refused() {
        let strange = [json!(null), json!("1000"), json!(true), json!([1000]), json!(-1), json!(-0.5), json!(1e300), json!(TIME_MAX + 1)];
        for value in strange {
            for name in ["exp", "nbf", "iat"] {
                let mut claims = claims(json!({"exp": 9000}));
                claims.insert(name.to_owned(), value.clone());
                assert_eq!(Lifetime::of(&claims, 60), Err(Refusal::TimeMalformed), "{name} {value}");
            }
        }
        assert_eq!(Lifetime::of(&claims(json!({})), 60), Err(Refusal::TimeMalformed));
        assert_eq!(check_at(json!({"exp": TIME_MAX}), 1000), Ok(()));
    }

    #[test]
    fn fractions_never_lengthen_a_life() {
        assert_eq!(check_at(json!({"exp": 1000.9}), 1060), Err(Refusal::Expired));
        assert_eq!(check_at(json!({"exp": 9000, "nbf": 1000.1}), 940), Err(Refusal::NotYetValid));
    }

    #[test]
    fn a_rule_matches_a_value_or_a_member_of_an_array_exactly() {
        let rule = ClaimRule { claim: ClaimPath(vec!["realm".into(), "roles".into()]), any_of: vec![json!("admin"), json!(7)] };
        let require = Requirement { claims: vec![rule], scopes: Vec::new() };
        for good in [json!("admin"), json!(["x", "admin"]), json!(7)] {
            assert_eq!(check(&claims(json!({"realm": {"roles": good}})), &require, &[]), Ok(()));
        }
        for bad in [json!("admins"), json!("Admin"), json!(["adm"]), json!("7"), json!({"admin": true}), json!([["admin"]])] {
            assert_eq!(check(&claims(json!({"realm": {"roles": bad}})), &require, &[]), Err(Refusal::ClaimMissing), "{bad}");
        }
        assert_eq!(check(&claims(json!({"realm.roles": "admin"})), &require, &[]), Err(Refusal::ClaimMissing));
    }

    #[test]
    fn a_rule_without_values_wants_the_claim_and_takes_what_it_says() {
        let rule = ClaimRule { claim: ClaimPath(vec!["realm".into(), "tier".into()]), any_of: Vec::new() };
        let require = Requirement { claims: vec![rule], scopes: Vec::new() };
        for good in [json!("gold"), json!(0), json!(false), json!([]), json!({})] {
            assert_eq!(check(&claims(json!({"realm": {"tier": good}})), &require, &[]), Ok(()), "{good}");
        }
        for bad in [json!({"realm": {"tier": null}}), json!({"realm": {}}), json!({"tier": "gold"})] {
            assert_eq!(check(&claims(bad.clone()), &require, &[]), Err(Refusal::ClaimMissing), "{bad}");
        }
    }

    #[test]
    fn scopes_are_whole_words_of_scope_or_scp() {
        let require = Requirement { claims: Vec::new(), scopes: vec!["a:read".into(), "b".into()] };
        for good in [
            json!({"scope": "b a:read"}),
            json!({"scp": ["a:read", "b"]}),
            json!({"scp": "a:read b"}),
            json!({"scope": "b", "scp": ["a:read"]}),
        ] {
            assert_eq!(check(&claims(good), &require, &[]), Ok(()));
        }
        for bad in [json!({"scope": "a:reader b"}), json!({"scope": "a:read"}), json!({"scope": ["a:read,b"]}), json!({})] {
            assert_eq!(check(&claims(bad), &require, &[]), Err(Refusal::ScopeMissing));
        }
    }

    #[test]
    fn one_alternative_is_enough_and_none_is_not() {
        let scope = |scope: &str| Requirement { claims: Vec::new(), scopes: vec![scope.into()] };
        let any_of = [scope("a"), scope("b")];
        assert_eq!(check(&claims(json!({"scope": "b"})), &Requirement::default(), &any_of), Ok(()));
        assert_eq!(check(&claims(json!({"scope": "c"})), &Requirement::default(), &any_of), Err(Refusal::ScopeMissing));
    }

    #[test]
    fn a_header_says_exactly_what_the_claim_says() {
        for odd in ["", " ", " admin", "admin ", "\u{a0}admin", "admin\u{2003}", "ad\tmin", "admin\u{85}"] {
            assert_eq!(header_text(&json!(odd)), None, "{odd:?}");
        }
        for good in ["admin", "Doe, Jane", "Zoë"] {
            assert_eq!(header_text(&json!(good)).as_deref(), Some(good));
        }
        assert_eq!(header_text(&json!([" admin"])).as_deref(), Some(r#"[" admin"]"#));
    }

    #[test]
    fn an_integer_beyond_64_bits_equals_nothing_and_is_not_handed_on() {
        let rule =
            |value: Value| Requirement { claims: vec![ClaimRule { claim: ClaimPath::top("id"), any_of: vec![value] }], scopes: vec![] };
        for number in ["18446744073709551617", "-9223372036854775809", "123456789012345678901234567890"] {
            let id: Value = serde_json::from_str(number).unwrap();
            for said in [id.clone(), json!([id])] {
                assert_eq!(text(&said), None, "{said}");
                assert_eq!(check(&claims(json!({"id": said})), &rule(id.clone()), &[]), Err(Refusal::ClaimMissing), "{said}");
            }
            assert_eq!(text(&json!({"a": [{"b": id}]})), None, "{number}");
        }
        for exact in [json!(u64::MAX), json!(i64::MIN), json!(0.5), json!(-1.5e18)] {
            assert!(text(&exact).is_some(), "{exact}");
            assert_eq!(check(&claims(json!({"id": exact})), &rule(exact.clone()), &[]), Ok(()), "{exact}");
        }
    }

    #[test]
    fn text_of_a_claim_has_no_control_characters() {
        assert_eq!(text(&json!("a\r\nx-admin: 1")), None);
        assert_eq!(text(&json!(null)), None);
        assert_eq!(text(&json!(["a", "b"])).as_deref(), Some(r#"["a","b"]"#));
        assert_eq!(text(&json!(12_345_678_901_u64)).as_deref(), Some("12345678901"));
    }
}
