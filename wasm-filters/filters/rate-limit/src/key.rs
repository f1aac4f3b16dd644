//! What a limit counts apart: the limit and plan (the class), and a hash over them and the values of the key's parts, both
//! under the secret of this process. An absent value is a value of its own, so that leaving a header out is no way around
//! a limit; so is a repeated one, because nobody knows which of its values the service reads.

use std::cell::OnceCell;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use windrose_filter_kit::{HeaderMap, Headers, Host, HostError, policy};

use crate::config::{KeyPart, Limit};
use crate::secret::Secret;

/// Under what a request is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Whose limit it is: the namespace of its policy, whose keys fill no table but its own.
    pub(crate) owner: u64,
    /// The limit and the plan: all keys of a class have one quota.
    pub(crate) class: u64,
    /// Who is counted within the class; never 0.
    pub(crate) own: u64,
}

/// One request as keys see it; its headers are read once, when the first key asks.
pub(crate) struct Request<'a> {
    pub(crate) host: &'a dyn Host,
    headers: OnceCell<Headers>,
}

#[derive(Hash)]
enum Value {
    Absent,
    One(Vec<u8>),
    Repeated,
}

impl<'a> Request<'a> {
    pub(crate) fn new(host: &'a dyn Host) -> Self {
        Self { host, headers: OnceCell::new() }
    }

    /// Every request has pseudo headers, so an empty map is a host that failed.
    fn headers(&self) -> Result<&Headers, HostError> {
        let headers = self.headers.get_or_init(|| self.host.headers(HeaderMap::Request));
        if headers.is_empty() { Err(HostError::NotFound) } else { Ok(headers) }
    }
}

/// The key of this request under `limit`, in `plan`. The policy that the route names is no part of it: a limit of a Gateway
/// counts over all its routes, whatever else limits them.
///
/// # Errors
/// When the host does not say what a part is.
pub(crate) fn key(request: &Request<'_>, secret: Secret, limit: &Limit, plan: Option<&str>) -> Result<Key, HostError> {
    let class = secret.hash(&(&limit.name, plan));
    let values: Vec<Value> = limit.key.iter().map(|part| value(request, part)).collect::<Result<_, _>>()?;
    let owner = secret.hash(&limit.name.split('/').next());
    Ok(Key { owner, class, own: secret.hash(&(class, values)).max(1) })
}

fn value(request: &Request<'_>, part: &KeyPart) -> Result<Value, HostError> {
    let host = request.host;
    let found = match part {
        KeyPart::Claim(claim) => policy::verified_claim(host, claim)?,
        KeyPart::ClientAddress => host.property(&["source", "address"])?.map(|address| network(&address)),
        KeyPart::Header(name) => match request.headers()?.only(name) {
            Ok(found) => found.map(<[u8]>::to_vec),
            Err(_) => return Ok(Value::Repeated),
        },
        KeyPart::Route => host.property(&["xds", "route_name"])?,
    };
    Ok(found.map_or(Value::Absent, Value::One))
}

/// The address without its port; IPv6 by its /64, because one client has them all; IPv4 in IPv6 as IPv4.
fn network(address: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(address).unwrap_or_default();
    let ip = text.parse::<SocketAddr>().map(|socket| socket.ip()).or_else(|_| text.parse::<IpAddr>());
    match ip.map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(v4)) => v4.octets().to_vec(),
        Ok(IpAddr::V6(v6)) => prefix(v6),
        Err(_) => address.to_vec(),
    }
}

fn prefix(address: Ipv6Addr) -> Vec<u8> {
    address.octets().into_iter().take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Quota;
    use windrose_filter_kit::fake::FakeHost;

    fn limit(key: Vec<KeyPart>) -> Limit {
        let default = Quota { requests: 1, window_ms: 1, burst: 1 };
        Limit { name: "l".into(), key, default, plans: None, shadow: false, headers: false }
    }

    fn secret() -> Secret {
        Secret::of_process(&FakeHost::new(), Secret::draw()).unwrap()
    }

    fn by_address(secret: Secret, address: &str) -> u64 {
        let host = FakeHost::new();
        host.put_property(&["source", "address"], address);
        key(&Request::new(&host), secret, &limit(vec![KeyPart::ClientAddress]), None).unwrap().own
    }

    #[test]
    fn addresses_are_the_same_without_port_by_64_and_out_of_their_mapping() {
        let secret = secret();
        let by_address = |address| by_address(secret, address);
        assert_eq!(by_address("10.0.0.1:1000"), by_address("10.0.0.1:2000"));
        assert_eq!(by_address("[::ffff:10.0.0.1]:1"), by_address("10.0.0.1:2"));
        assert_eq!(by_address("[2001:db8::1]:1"), by_address("[2001:db8::ffff:1]:2"));
        assert_ne!(by_address("[2001:db8::1]:1"), by_address("[2001:db8:0:1::1]:1"));
        assert_ne!(by_address("10.0.0.1:1"), by_address("10.0.0.2:1"));
    }

    /// The key of a request with these values of the headers `a` and `b`.
    fn by_headers(secret: Secret, pairs: &[(&str, &str)]) -> u64 {
        let host = pairs.iter().fold(FakeHost::new().with_header(":path", "/"), |host, (name, value)| host.with_header(name, value));
        let limit = limit(vec![KeyPart::Header("a".into()), KeyPart::Header("b".into())]);
        key(&Request::new(&host), secret, &limit, None).unwrap().own
    }

    #[test]
    fn values_cannot_move_between_parts_and_absent_is_not_empty() {
        let secret = secret();
        let of = |pairs: &[(&str, &str)]| by_headers(secret, pairs);
        assert_ne!(of(&[("a", "xy"), ("b", "z")]), of(&[("a", "x"), ("b", "yz")]));
        assert_ne!(of(&[("a", "")]), of(&[]));
        assert_ne!(of(&[("a", "x")]), of(&[("b", "x")]));
    }

    #[test]
    fn a_repeated_header_is_one_value_whatever_it_says() {
        let secret = secret();
        let of = |pairs: &[(&str, &str)]| by_headers(secret, pairs);
        let repeated = of(&[("a", "1"), ("a", "real")]);
        for other in [vec![("a", "2"), ("a", "real")], vec![("a", "real"), ("a", "real")], vec![("a", "1"), ("a", "2"), ("a", "3")]] {
            assert_eq!(of(&other), repeated, "{other:?}");
        }
        for single in [vec![("a", "1")], vec![("a", "real")], vec![("a", "1,real")], vec![]] {
            assert_ne!(of(&single), repeated, "{single:?}");
        }
    }

    #[test]
    fn what_the_host_does_not_say_has_no_key() {
        let host = FakeHost::new().with_header("a", "1");
        for path in [["source", "address"].as_slice(), &["xds", "route_name"], &["windrose.claim.sub"]] {
            host.fail_property(path, HostError::Other(10));
        }
        for part in [KeyPart::ClientAddress, KeyPart::Route, KeyPart::Claim("sub".into())] {
            assert!(key(&Request::new(&host), secret(), &limit(vec![part.clone()]), None).is_err(), "{part:?}");
        }
        let without_headers = FakeHost::new();
        assert!(key(&Request::new(&without_headers), secret(), &limit(vec![KeyPart::Header("a".into())]), None).is_err());
    }

    #[test]
    fn a_class_is_the_limit_and_the_plan() {
        let (secret, host) = (secret(), FakeHost::new());
        let class =
            |name: &str, plan| key(&Request::new(&host), secret, &Limit { name: name.into(), ..limit(vec![]) }, plan).unwrap().class;
        assert_eq!(class("l", Some("gold")), class("l", Some("gold")));
        assert_ne!(class("l", Some("gold")), class("l", None));
        assert_ne!(class("l", None), class("m", None));
    }
}
