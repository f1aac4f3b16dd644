//! Connections by where they come from: what one address may have open, and how much of that before it has proven who it is. Who
//! connects from the machine itself is not counted.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::timeout;

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
    /// A place among those whose credentials are being checked; waited for a while, as a fleet behind one address comes back at once.
    pub(crate) async fn check(&self) -> Result<Option<Share<IpAddr>>, Crowded> {
        let Some(from) = self.from else { return Ok(None) };
        let place = timeout(limits::CHECK_WAIT, self.visitors.checks.take(from, 1, limits::CONNECTIONS_OF_ADDRESS)).await;
        place.ok().flatten().map(Some).ok_or(Crowded)
    }

    /// One of its streams has proven whose it is.
    pub(crate) fn is_known(&self) {
        self.stranger.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// By what an address is counted. Not by its network: in clusters of IPv6 that is the one of all Pods.
fn counted(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    (!address.is_loopback()).then_some(address)
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
        assert!(all.is_ok() && admit(&visitors, "2001:db8::1").is_err());
        assert!(admit(&visitors, "2001:db8::2").is_ok(), "all Pods of a cluster may be in one network");
    }

    #[tokio::test]
    async fn the_machine_itself_is_not_counted() {
        let visitors = Visitors::new();
        let all: Result<Vec<_>, _> = (0..=limits::CONNECTIONS_OF_ADDRESS).map(|_| admit(&visitors, "127.0.0.1")).collect();
        assert!(all.unwrap()[0].check().await.is_ok_and(|share| share.is_none()));
    }

    #[tokio::test(start_paused = true)]
    async fn few_credentials_of_an_address_are_checked_at_a_time_and_others_wait_for_a_while() {
        let visitors = Visitors::new();
        let visit = admit(&visitors, "192.0.2.1").unwrap();
        let mut checks = Vec::new();
        for _ in 0..limits::CHECKS_OF_ADDRESS {
            checks.push(visit.check().await.unwrap());
        }
        assert!(visit.check().await.is_err(), "nobody is done in time");
        let (next, ()) = tokio::join!(visit.check(), async { drop(checks.pop()) });
        assert!(next.is_ok());
    }
}
