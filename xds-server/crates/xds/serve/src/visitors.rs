//! Connections by where they come from: what one address may have open, and how much of that before it has proven who it is. Who
//! connects from the machine itself is not counted.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits;
use crate::shares::{Share, Shares};

/// What addresses have open.
#[derive(Clone, Debug)]
pub(crate) struct Visitors {
    connections: Arc<Shares<IpAddr>>,
    strangers: Arc<Shares<IpAddr>>,
    checks: Arc<Shares<IpAddr>>,
}

/// One connection, as long as it lasts.
pub(crate) struct Visit {
    /// None where it is not counted.
    from: Option<IpAddr>,
    visitors: Visitors,
    _place: Option<Share<IpAddr>>,
    /// Held until a stream has proven whose it is.
    stranger: Mutex<Option<Share<IpAddr>>>,
}

/// The address has all that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowded;

impl Visitors {
    pub(crate) fn new() -> Self {
        Self {
            connections: Shares::new(limits::CONNECTIONS_OF_ADDRESS, limits::CONNECTIONS),
            strangers: Shares::new(limits::STRANGERS_OF_ADDRESS, limits::CONNECTIONS),
            checks: Shares::new(limits::CHECKS_OF_ADDRESS, limits::CONNECTIONS),
        }
    }

    /// A place for a connection.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<Visit, Crowded> {
        let from = counted(address);
        let take = |shares: &Arc<Shares<IpAddr>>| from.map(|from| shares.try_take(from).ok_or(Crowded)).transpose();
        let (place, stranger) = (take(&self.connections)?, take(&self.strangers)?);
        Ok(Visit { from, visitors: self.clone(), _place: place, stranger: Mutex::new(stranger) })
    }
}

impl Visit {
    /// A place among those whose credentials are being checked.
    pub(crate) fn check(&self) -> Result<Option<Share<IpAddr>>, Crowded> {
        self.from.map(|from| self.visitors.checks.try_take(from).ok_or(Crowded)).transpose()
    }

    /// One of its streams has proven whose it is.
    pub(crate) fn is_known(&self) {
        self.stranger.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// By what an address is counted. A machine has a whole network of IPv6 addresses to choose from.
fn counted(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    if address.is_loopback() {
        return None;
    }
    Some(match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(long) => {
            let [a, b, c, d, ..] = long.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(visitors: &Visitors, address: &str) -> Result<Visit, Crowded> {
        visitors.admit(address.parse().unwrap())
    }

    #[test]
    fn who_has_proven_nothing_has_few_places_of_an_address_and_takes_none_of_others() {
        let visitors = Visitors::new();
        let strangers: Vec<_> = (0..limits::STRANGERS_OF_ADDRESS).map(|_| admit(&visitors, "192.0.2.1").unwrap()).collect();
        assert!(admit(&visitors, "192.0.2.1").is_err());
        assert!(admit(&visitors, "::ffff:192.0.2.1").is_err(), "the same address in other words");
        assert!(admit(&visitors, "192.0.2.2").is_ok());
        strangers[0].is_known();
        let next = admit(&visitors, "192.0.2.1");
        assert!(next.is_ok() && admit(&visitors, "192.0.2.1").is_err(), "one of them is a stranger no longer");
        drop(strangers);
        assert!(admit(&visitors, "192.0.2.1").is_ok());
    }

    #[test]
    fn known_ones_of_an_address_are_bounded_too() {
        let visitors = Visitors::new();
        let known = |_| admit(&visitors, "2001:db8::1").inspect(Visit::is_known);
        let all: Result<Vec<_>, _> = (0..limits::CONNECTIONS_OF_ADDRESS).map(known).collect();
        assert!(all.is_ok() && admit(&visitors, "2001:db8::ffff").is_err(), "one network is one address");
        assert!(admit(&visitors, "2001:db8:0:1::1").is_ok());
    }

    #[test]
    fn the_machine_itself_is_not_counted() {
        let visitors = Visitors::new();
        let all: Result<Vec<_>, _> = (0..=limits::CONNECTIONS_OF_ADDRESS).map(|_| admit(&visitors, "127.0.0.1")).collect();
        assert!(all.is_ok_and(|all| all[0].check().is_ok_and(|share| share.is_none())));
    }

    #[test]
    fn few_credentials_of_an_address_are_checked_at_a_time() {
        let visitors = Visitors::new();
        let visit = admit(&visitors, "192.0.2.1").unwrap();
        let checks: Vec<_> = (0..limits::CHECKS_OF_ADDRESS).map(|_| visit.check().unwrap()).collect();
        assert!(visit.check().is_err());
        drop(checks);
        assert!(visit.check().is_ok());
    }
}
