//! Opening the port, with an error that says what to do.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

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

/// Opens `address` for connections.
///
/// # Errors
/// [`BindError`], by cause.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address, source },
        io::ErrorKind::PermissionDenied => BindError::NotPermitted { address, source },
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs { address, source },
        _ => BindError::Other { address, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
