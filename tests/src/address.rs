//! Loopback addresses that one test has for itself, so that tests run side by side on fixed, readable ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// The port whose listener marks an address as taken. Below the ephemeral range, so that no client has it by chance.
const GUARD_PORT: u16 = 1999;

/// Addresses to try from: 127.0.1.1 to 127.0.250.250.
const BLOCKS: u32 = 250;

/// An address of 127.0.0.0/16 that no other test of this machine has while this value lives.
///
/// Its ports 1024 to 32767 are free except the guard's (1999): nothing else binds this address.
#[derive(Debug)]
pub struct Loopback {
    ip: Ipv4Addr,
    _guard: TcpListener,
}

impl Loopback {
    /// Takes the next free address.
    ///
    /// # Panics
    /// When all are taken.
    pub fn claim() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Processes start at different places, so that the first try mostly succeeds.
        let start = std::process::id().wrapping_mul(97);
        for _ in 0..BLOCKS * BLOCKS {
            let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % (BLOCKS * BLOCKS);
            let ip = Ipv4Addr::from_bits(0x7f00_0000 | ((number / BLOCKS + 1) << 8) | (number % BLOCKS + 1));
            if let Ok(guard) = TcpListener::bind((ip, GUARD_PORT)) {
                return Self { ip, _guard: guard };
            }
        }
        panic!("no loopback address is free");
    }

    /// The address.
    pub fn ip(&self) -> IpAddr {
        self.ip.into()
    }

    /// The address with a port, 1024 to 32767.
    pub fn port(&self, port: u16) -> SocketAddr {
        assert!((1024..32_768).contains(&port) && port != GUARD_PORT, "port {port} is not one of a test's own");
        SocketAddr::new(self.ip(), port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_claims_differ_and_a_dropped_one_is_free_again() {
        let (one, other) = (Loopback::claim(), Loopback::claim());
        assert_ne!(one.ip(), other.ip());
        let guard = one.port(1024).ip();
        assert!(TcpListener::bind((guard, GUARD_PORT)).is_err());
        drop(one);
        assert!(TcpListener::bind((guard, GUARD_PORT)).is_ok());
    }
}
