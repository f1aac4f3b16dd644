//! Backends that a proxy of others may be told of. In a cluster whoever may attach a route declares Backends too, and what only the
//! proxy itself reaches (its sockets, Envoy's admin among them, its loopback, the metadata of its machine) is nobody's to ask for.

use std::net::IpAddr;

use windrose_api::declared::Backend;
use windrose_api::declared::backend::BackendEndpoint;
use windrose_vocab::{Code, ObjectRef};

use crate::reference::Problem;

/// Whether each endpoint of a Backend is the same place for whoever asks.
///
/// # Errors
/// The first that is not, with the reason for the condition ResolvedRefs.
pub(super) fn by_everybody(target: &ObjectRef, backend: &Backend) -> Result<(), Problem> {
    let Some(inward) = backend.endpoints.iter().find_map(inward) else { return Ok(()) };
    let message = format!("{target} names {inward}, which is the proxy's own: routes of others would reach it");
    Err(Problem::new("UnsupportedValue", Code::Unsupported, message).hint(Some("name an address that Pods reach, or a Service")))
}

fn inward(endpoint: &BackendEndpoint) -> Option<String> {
    match endpoint {
        BackendEndpoint::Unix(path) => Some(format!("the Unix socket `{path}`")),
        BackendEndpoint::Ip(ip, _) => is_own(ip.to_canonical()).then(|| format!("the address {ip}")),
        BackendEndpoint::Host(host, _) => {
            let last = host.rsplit('.').next();
            (last == Some("localhost")).then(|| format!("the host `{host}`"))
        }
    }
}

/// Unspecified ones lead to loopback, and link-local ones to what the machine tells about itself.
fn is_own(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    link_local || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use windrose_vocab::{Kind, Port};

    use super::*;

    fn refused(endpoint: BackendEndpoint) -> bool {
        let backend = Backend { endpoints: vec![endpoint], protocol: windrose_api::declared::backend::BackendProtocol::Http, tls: None };
        by_everybody(&ObjectRef::new(Kind::Backend, "shop", "x"), &backend).is_err()
    }

    #[test]
    fn what_only_the_proxy_reaches_is_refused() {
        let port = Port::new(80).unwrap();
        assert!(refused(BackendEndpoint::Unix("/run/windrose/envoy.sock".into())));
        for ip in ["127.0.0.1", "127.9.9.9", "0.0.0.0", "169.254.169.254", "224.0.0.1", "::1", "::", "fe80::1", "::ffff:127.0.0.1"] {
            assert!(refused(BackendEndpoint::Ip(ip.parse().unwrap(), port)), "{ip}");
        }
        for host in ["localhost", "a.localhost"] {
            assert!(refused(BackendEndpoint::Host(host.into(), port)), "{host}");
        }
    }

    #[test]
    fn what_is_the_same_place_for_everybody_is_taken() {
        let port = Port::new(80).unwrap();
        for ip in ["10.0.0.1", "192.0.2.1", "fd00::1", "2001:db8::1"] {
            assert!(!refused(BackendEndpoint::Ip(ip.parse().unwrap(), port)), "{ip}");
        }
        for host in ["db.example", "localhost.example"] {
            assert!(!refused(BackendEndpoint::Host(host.into(), port)), "{host}");
        }
    }
}
