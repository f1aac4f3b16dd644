//! Opening the port, with an error that says what to do.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};

use crate::limits;

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process, perhaps another windrose, has it.
    #[error("{address} is in use by another process: stop it, or choose another address")]
    InUse {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// Ports below 1024 need a privilege.
    #[error("{address} is not permitted to this user: choose a port of 1024 or above")]
    NotPermitted {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The address belongs to another machine.
    #[error("{address} is not an address of this machine")]
    NotOurs {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// Anything else.
    #[error("{address} cannot be opened")]
    Other {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
}

/// Opens `address` for connections. `[::]` is every address of the machine, those of IPv4 too, whatever the machine's default is; on one
/// without IPv6 it is `0.0.0.0`.
///
/// # Errors
/// [`BindError`], by cause.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    open(address, TcpSocket::new_v6).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address, source },
        io::ErrorKind::PermissionDenied => BindError::NotPermitted { address, source },
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs { address, source },
        _ => BindError::Other { address, source },
    })
}

async fn open(address: SocketAddr, ipv6: impl FnOnce() -> io::Result<TcpSocket>) -> io::Result<TcpListener> {
    if address.ip() != IpAddr::from(Ipv6Addr::UNSPECIFIED) {
        return TcpListener::bind(address).await;
    }
    match ipv6() {
        Ok(socket) => {
            SockRef::from(&socket).set_only_v6(false)?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(limits::BACKLOG)
        }
        // The kernel has no IPv6; what else may be wrong, IPv4 says too.
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    const EVERYWHERE: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

    #[tokio::test]
    async fn all_addresses_are_those_of_both_families() {
        let port = bind(EVERYWHERE).await.unwrap().local_addr().unwrap().port();
        let listener = bind(SocketAddr::new(EVERYWHERE.ip(), port)).await.unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        if listener.local_addr().unwrap().is_ipv6() {
            assert!(!SockRef::from(&listener).only_v6().unwrap(), "whatever the machine's default is");
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
        }
        assert!(matches!(bind(SocketAddr::new(EVERYWHERE.ip(), port)).await, Err(BindError::InUse { .. })));
    }

    #[tokio::test]
    async fn without_ipv6_all_addresses_are_those_of_ipv4() {
        let listener = open(EVERYWHERE, || Err(io::ErrorKind::Unsupported.into())).await.unwrap();
        assert_eq!(listener.local_addr().unwrap().ip(), Ipv4Addr::UNSPECIFIED);
    }

    #[tokio::test]
    async fn an_address_that_is_given_is_that_one_alone() {
        for given in ["127.0.0.1:0", "0.0.0.0:0"] {
            let given: SocketAddr = given.parse().unwrap();
            assert_eq!(bind(given).await.unwrap().local_addr().unwrap().ip(), given.ip());
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_told_apart() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address).await.unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }));
        assert_eq!(error.to_string(), format!("{address} is in use by another process: stop it, or choose another address"));
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_told_apart() {
        let error = bind("192.0.2.1:0".parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, BindError::NotOurs { .. }), "{error}");
    }
}
