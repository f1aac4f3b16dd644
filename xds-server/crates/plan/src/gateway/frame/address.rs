//! The addresses of a Gateway: what its proxies bind, and whether what it asks for can be given.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use windrose_api::declared::Object;
use windrose_api::declared::gateway::{Gateway, GatewayAddress, Reach};
use windrose_vocab::{Code, Diagnostic};

use crate::plan::Condition;
use crate::reference::field;
use crate::settings::Addresses;
use crate::world::View;

/// Addresses to bind, all where empty.
///
/// # Errors
/// The condition of a Gateway that cannot be served at the addresses it declares.
pub(super) fn addresses(view: &View<'_>, gateway: &Object<Gateway>) -> Result<Vec<IpAddr>, Condition> {
    match view.settings().addresses {
        Addresses::Bind => bound(view, gateway),
        Addresses::Assigned => assigned(view, gateway),
    }
}

/// Those of no use are left out; it is refused where none is left.
fn bound(view: &View<'_>, gateway: &Object<Gateway>) -> Result<Vec<IpAddr>, Condition> {
    let mut usable = BTreeSet::new();
    for (index, address) in gateway.spec.addresses.iter().enumerate() {
        match address {
            GatewayAddress::Ip(ip) => _ = usable.insert(*ip),
            GatewayAddress::Hostname(name) => {
                refuse(view, gateway, index, format!("host name `{name}` cannot be bound"), "use type IPAddress")
            }
            GatewayAddress::Other(kind, _) => {
                refuse(view, gateway, index, format!("addresses of type `{kind}` cannot be bound"), "use type IPAddress");
            }
        }
    }
    for Reach { position, from, .. } in &gateway.spec.reach {
        refuse(view, gateway, *position, format!("routability `{from}` means nothing here"), "name the IP address to bind");
    }
    if usable.is_empty() && !(gateway.spec.addresses.is_empty() && gateway.spec.reach.is_empty()) {
        return Err(Condition::no("UnsupportedAddress", "none of the addresses can be bound"));
    }
    Ok(usable.into_iter().collect())
}

/// All of the machine, IPv4 too. Whether one that is asked for can be had is known by whoever assigns it.
fn assigned(view: &View<'_>, gateway: &Object<Gateway>) -> Result<Vec<IpAddr>, Condition> {
    let mut problem = None;
    for (index, address) in gateway.spec.addresses.iter().enumerate() {
        let message = match address {
            GatewayAddress::Ip(_) | GatewayAddress::Hostname(_) => continue,
            GatewayAddress::Other(kind, value) if &**kind == "IPAddress" => format!("`{value}` is not an IP address"),
            GatewayAddress::Other(kind, _) => format!("addresses of type `{kind}` are not supported"),
        };
        refuse(view, gateway, index, message.clone(), "use type IPAddress or Hostname");
        problem.get_or_insert(Condition::no("UnsupportedAddress", message));
    }
    for reach in &gateway.spec.reach {
        if let Some((message, hint)) = beyond(reach, !gateway.spec.addresses.is_empty()) {
            refuse(view, gateway, reach.position, message.clone(), hint);
            problem.get_or_insert(Condition::no("UnsupportedAddress", message));
        }
    }
    problem.map_or_else(|| Ok(vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)]), Err)
}

/// What is wrong with an address that is to be reached from somewhere: one Service leads to a Gateway, and the cluster chooses its own
/// address for it.
fn beyond(Reach { kind, value, from, .. }: &Reach, others: bool) -> Option<(String, &'static str)> {
    match (&**from, &**kind, value) {
        (Reach::CLUSTER, "IPAddress", None) if !others => None,
        (Reach::CLUSTER, "IPAddress", None) => {
            Some(("an address within the cluster cannot be had beside others".to_owned(), "declare a Gateway for each"))
        }
        (Reach::CLUSTER, "IPAddress", Some(value)) => {
            Some((format!("`{value}` cannot be chosen: the cluster assigns the address within it"), "leave `value` out"))
        }
        (Reach::CLUSTER, kind, _) => Some((format!("an address of type `{kind}` is none within the cluster"), "use type IPAddress")),
        (other, ..) => Some((format!("routability `{other}` is not supported"), "leave it out, or use `Cluster`")),
    }
}

fn refuse(view: &View<'_>, gateway: &Object<Gateway>, index: usize, message: String, hint: &str) {
    let told = Diagnostic::error(gateway.meta.object.clone(), field(&format!("spec.addresses[{index}]")), Code::Unsupported, message);
    view.tell(told.hint(hint));
}
