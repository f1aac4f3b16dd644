//! What a limit counts apart: a 64-bit hash of the limit and of the values of its key's parts. An absent value is a value
//! of its own, so that leaving a header out is no way around a limit.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use windrose_filter_kit::{HeaderMap, Host, policy};

use crate::config::{KeyPart, Limit};

/// The key of this request under `limit`, in `plan`. The policy that the route names is no part of it: a limit of a Gateway
/// counts over all its routes, whatever else limits them. SipHash: 64 bits that nobody steers onto another's key.
pub(crate) fn key(host: &dyn Host, limit: &Limit, plan: Option<&str>) -> u64 {
    let mut hash = DefaultHasher::new();
    (&limit.name, plan).hash(&mut hash);
    for part in &limit.key {
        value(host, part).hash(&mut hash);
    }
    hash.finish()
}

fn value(host: &dyn Host, part: &KeyPart) -> Option<Vec<u8>> {
    match part {
        KeyPart::Claim(claim) => policy::verified_claim(host, claim),
        KeyPart::ClientAddress => host.property(&["source", "address"]).map(|address| network(&address)),
        KeyPart::Header(name) => host.header(HeaderMap::Request, name),
        KeyPart::Route => host.property(&["xds", "route_name"]),
    }
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

    fn by_address(address: &str) -> u64 {
        let host = FakeHost::new();
        host.put_property(&["source", "address"], address);
        key(&host, &limit(vec![KeyPart::ClientAddress]), None)
    }

    #[test]
    fn addresses_are_the_same_without_port_by_64_and_out_of_their_mapping() {
        assert_eq!(by_address("10.0.0.1:1000"), by_address("10.0.0.1:2000"));
        assert_eq!(by_address("[::ffff:10.0.0.1]:1"), by_address("10.0.0.1:2"));
        assert_eq!(by_address("[2001:db8::1]:1"), by_address("[2001:db8::ffff:1]:2"));
        assert_ne!(by_address("[2001:db8::1]:1"), by_address("[2001:db8:0:1::1]:1"));
        assert_ne!(by_address("10.0.0.1:1"), by_address("10.0.0.2:1"));
    }

    #[test]
    fn values_cannot_move_between_parts_and_absent_is_not_empty() {
        let parts = || limit(vec![KeyPart::Header("a".into()), KeyPart::Header("b".into())]);
        let of = |a: Option<&str>, b: Option<&str>| {
            let host = FakeHost::new();
            a.iter().for_each(|value| host.push_header(HeaderMap::Request, "a", value));
            b.iter().for_each(|value| host.push_header(HeaderMap::Request, "b", value));
            key(&host, &parts(), None)
        };
        assert_ne!(of(Some("xy"), Some("z")), of(Some("x"), Some("yz")));
        assert_ne!(of(Some(""), None), of(None, None));
        assert_ne!(of(Some("x"), None), of(None, Some("x")));
    }
}
