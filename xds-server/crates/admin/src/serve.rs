//! Serving the API on a TCP address and on a Unix socket that only its owner can open.

use std::io;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use crate::{Source, routes};

/// Where the API is served; bound by the caller, who knows what to say when that fails.
#[derive(Debug)]
pub struct Listeners {
    /// For monitoring.
    pub tcp: TcpListener,
    /// For the CLI on the same machine.
    pub unix: Option<UnixListener>,
}

/// Serves until `end` is cancelled; requests under way are finished.
///
/// # Errors
/// When a listener fails for good.
pub async fn serve(listeners: Listeners, source: Arc<dyn Source>, end: CancellationToken) -> io::Result<()> {
    let router = routes::router(source);
    let tcp = axum::serve(listeners.tcp, router.clone()).with_graceful_shutdown(end.clone().cancelled_owned());
    match listeners.unix {
        None => tcp.await,
        Some(socket) => {
            let unix = axum::serve(socket, router).with_graceful_shutdown(end.cancelled_owned());
            tokio::try_join!(tcp, unix).map(|_| ())
        }
    }
}
