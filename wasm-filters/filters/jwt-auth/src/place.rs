//! Where a token lies in a request, and how it is taken out again before the upstream sees it. More than one token, in
//! whatever places and however its name is written, is refused: two readers could choose differently.

use windrose_filter_kit::{Headers, RequestEdits};

use crate::config::Location;
use crate::refusal::Refusal;
use crate::table::is_token_byte;

/// A token and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    pub(crate) location: &'a Location,
    pub(crate) token: &'a [u8],
}

/// The one token of the request in these places.
pub(crate) fn find<'a>(headers: &'a Headers, locations: &'a [Location]) -> Result<Found<'a>, Refusal> {
    let mut found = None;
    for location in locations {
        for token in candidates(headers, location)? {
            if found.replace(Found { location, token }).is_some() {
                return Err(Refusal::Ambiguous);
            }
        }
    }
    found.ok_or(Refusal::Missing)
}

/// Takes the token out, with every repetition of its name.
pub(crate) fn remove(edits: &mut RequestEdits, headers: &Headers, location: &Location) {
    match location {
        Location::Header { name, .. } => edits.remove(name),
        Location::Query { name } => {
            if let Some(path) = headers.first(":path") {
                edits.set(":path", &without_parameter(path, name));
            }
        }
        Location::Cookie { name } => {
            let kept: Vec<&[u8]> = cookies(headers).filter(|cookie| !is_named(cookie, name)).collect();
            if kept.is_empty() {
                edits.remove("cookie");
            } else {
                edits.set("cookie", &kept.join(b"; ".as_slice()));
            }
        }
    }
}

/// What some reader could take for a token in this place. A header whose name comes twice is refused whatever it says:
/// readers differ in which value they take, and in what they take for the scheme.
fn candidates<'a>(headers: &'a Headers, location: &'a Location) -> Result<Vec<&'a [u8]>, Refusal> {
    match location {
        Location::Header { name, scheme } => {
            let value = headers.only(name).map_err(|_| Refusal::Ambiguous)?;
            Ok(value.and_then(|value| after_scheme(value, scheme.as_deref())).into_iter().collect())
        }
        Location::Query { name } => {
            let path = headers.first(":path").unwrap_or_default();
            // To some readers `;` separates parameters too; what only they would find is a token nobody can verify.
            let hidden = parameters(path).flat_map(|pair| pair.split(|byte| *byte == b';').skip(1)).filter(|pair| is_named(pair, name));
            Ok(parameters(path).filter(|pair| is_named(pair, name)).map(value).chain(hidden.map(|_| b"".as_slice())).collect())
        }
        Location::Cookie { name } => Ok(cookies(headers).filter(|pair| is_named(pair, name)).map(value).collect()),
    }
}

/// The credentials after `scheme 1*SP` (RFC 9110, section 11.4), the scheme in any case; an empty rest is an (empty)
/// token, another scheme is none. What follows the scheme otherwise (a tab) stays in the token, which is then none.
fn after_scheme<'a>(value: &'a [u8], scheme: Option<&str>) -> Option<&'a [u8]> {
    let Some(scheme) = scheme else { return Some(value) };
    let (given, rest) = value.split_at_checked(scheme.len())?;
    if !given.eq_ignore_ascii_case(scheme.as_bytes()) || rest.first().is_some_and(|byte| is_token_byte(*byte)) {
        return None;
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    rest.get(spaces..)
}

fn parameters(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    split_once(before_fragment(path), b'?').1.unwrap_or_default().split(|byte| *byte == b'&')
}

fn cookies(headers: &Headers) -> impl Iterator<Item = &[u8]> {
    let pairs = headers.all("cookie").flat_map(|header| header.split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

/// Whether a pair `name=value`, or a name alone, has this name, as a reader sees it who decodes and trims.
fn is_named(pair: &[u8], name: &str) -> bool {
    decoded(split_once(pair, b'=').0).trim_ascii() == name.as_bytes()
}

fn value(pair: &[u8]) -> &[u8] {
    split_once(pair, b'=').1.unwrap_or_default()
}

/// Percent-encoding and `+` undone; what is not encoded well stays as it is.
fn decoded(mut text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        let byte = if *first == b'%' { rest.first_chunk::<2>().and_then(encoded_byte) } else { None };
        decoded.push(byte.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        text = if byte.is_some() { rest.get(2..).unwrap_or_default() } else { rest };
    }
    decoded
}

fn encoded_byte(digits: &[u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

fn without_parameter(path: &[u8], name: &str) -> Vec<u8> {
    let kept: Vec<&[u8]> = parameters(path).filter(|pair| !is_named(pair, name)).collect();
    let mut rewritten = split_once(before_fragment(path), b'?').0.to_vec();
    if !kept.is_empty() {
        rewritten.push(b'?');
        rewritten.extend_from_slice(&kept.join(b"&".as_slice()));
    }
    rewritten
}

fn before_fragment(path: &[u8]) -> &[u8] {
    split_once(path, b'#').0
}

fn split_once(bytes: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    let mut parts = bytes.splitn(2, |byte| *byte == at);
    (parts.next().unwrap_or_default(), parts.next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use windrose_filter_kit::fake::FakeHost;
    use windrose_filter_kit::{HeaderMap, Host};

    fn everywhere() -> Vec<Location> {
        vec![Location::bearer(), Location::Query { name: "t".into() }, Location::Cookie { name: "s".into() }]
    }

    fn token_of(pairs: &[(&str, &str)]) -> Result<String, Refusal> {
        let host = pairs.iter().fold(FakeHost::new(), |host, (name, value)| host.with_header(name, value));
        let headers = host.headers(HeaderMap::Request);
        find(&headers, &everywhere()).map(|found| String::from_utf8(found.token.to_vec()).unwrap())
    }

    #[test]
    fn bearer_takes_any_case_and_any_number_of_spaces_and_nothing_else() {
        for good in ["Bearer x", "bearer x", "BEARER x", "bEaReR    x"] {
            assert_eq!(token_of(&[("authorization", good)]), Ok("x".into()), "{good}");
        }
        for other in ["Bearerx", "Bearer-x", "Basic x", "x", "", "Bear x"] {
            assert_eq!(token_of(&[("authorization", other)]), Err(Refusal::Missing), "{other}");
        }
        assert_eq!(token_of(&[("authorization", "Bearer")]), Ok(String::new()));
        assert_eq!(token_of(&[("authorization", "Bearer\tx")]), Ok("\tx".into()), "which is no token");
    }

    #[test]
    fn a_token_is_found_in_query_and_cookie() {
        assert_eq!(token_of(&[(":path", "/a?x=1&t=x.y.z&b=2#t=q")]), Ok("x.y.z".into()));
        assert_eq!(token_of(&[("cookie", "a=b; s=x.y.z"), ("cookie", "c")]), Ok("x.y.z".into()));
        assert_eq!(token_of(&[(":path", "/t=x?tt=1&T=2"), ("cookie", "ss=1")]), Err(Refusal::Missing));
    }

    #[test]
    fn more_than_one_token_is_ambiguous_wherever_they_are() {
        let twice = [
            vec![("authorization", "Bearer x"), ("authorization", "Bearer x")],
            vec![("authorization", "Bearer x"), (":path", "/?t=x")],
            vec![("authorization", "Bearer x"), ("cookie", "s=x")],
            vec![(":path", "/?t=x&t=y")],
            vec![("cookie", "s=x"), ("cookie", "s=x")],
            vec![("authorization", "Bearer x"), ("authorization", "Bearer\ty")],
            vec![("authorization", "Bearer x"), ("authorization", "Basic y")],
            vec![("authorization", "Basic y"), ("authorization", "Token y")],
            vec![("authorization", "Bearer\ty"), (":path", "/?t=x")],
            vec![(":path", "/?t=x&%74=y")],
            vec![(":path", "/?%74=y&t=x")],
            vec![(":path", "/?t=x&t")],
            vec![(":path", "/?t=x&+t=y")],
            vec![(":path", "/?a=1;t=y&t=x")],
            vec![(":path", "/?t=x&a=1;%74=y")],
            vec![("cookie", "s=x; s =y")],
            vec![("cookie", "s=x; %73=y")],
        ];
        for headers in twice {
            assert_eq!(token_of(&headers), Err(Refusal::Ambiguous), "{headers:?}");
        }
        assert_eq!(token_of(&[("authorization", "Basic q"), ("cookie", "s=x")]), Ok("x".into()));
    }

    #[test]
    fn a_name_is_found_and_taken_out_however_it_is_encoded() {
        let host = FakeHost::new().with_header(":path", "/a?x=1&%74=x.y.z&%zz=2&%7");
        let headers = host.headers(HeaderMap::Request);
        let location = Location::Query { name: "t".into() };
        assert_eq!(find(&headers, std::slice::from_ref(&location)).map(|found| found.token), Ok(b"x.y.z".as_slice()));
        let mut edits = RequestEdits::default();
        remove(&mut edits, &headers, &location);
        edits.hand_over("test", &host).unwrap();
        assert_eq!(host.request_header(":path"), [b"/a?x=1&%zz=2&%7".to_vec()]);
    }

    #[test]
    fn what_only_some_readers_find_is_no_token() {
        assert_eq!(token_of(&[(":path", "/?a=1;t=x")]), Ok(String::new()));
        assert_eq!(token_of(&[(":path", "/?t=x;y")]), Ok("x;y".into()));
    }

    #[test]
    fn the_token_is_taken_out_and_the_rest_stays() {
        let host =
            FakeHost::new().with_header(":path", "/a?x=1&t=x.y.z&b=2").with_header("cookie", "a=b; s=x").with_header("cookie", "c=d");
        let taken_out = |host: &FakeHost| {
            let headers = host.headers(HeaderMap::Request);
            let mut edits = RequestEdits::default();
            everywhere().iter().for_each(|location| remove(&mut edits, &headers, location));
            edits.hand_over("test", host).unwrap();
        };
        taken_out(&host);
        assert_eq!(host.request_header(":path"), [b"/a?x=1&b=2".to_vec()]);
        assert_eq!(host.request_header("cookie"), [b"a=b; c=d".to_vec()]);
        let alone = FakeHost::new().with_header(":path", "/a?t=x").with_header("cookie", "s=x");
        taken_out(&alone);
        assert_eq!((alone.request_header(":path"), alone.request_header("cookie")), (vec![b"/a".to_vec()], vec![]));
    }
}
