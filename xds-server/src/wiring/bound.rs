//! The open ports, and the certificate that the server shows there.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;
use windrose_pki::{NodeAuthority, SystemEntropy};
use windrose_xds_serve::Tls;

use super::CLOCK;
use crate::args::ServerOptions;
use crate::state_folder::StateFolder;

/// The open ports.
pub(super) struct Bound {
    pub(super) xds: TcpListener,
    pub(super) admin: windrose_admin::Listeners,
    pub(super) csds: Option<TcpListener>,
}

impl Bound {
    pub(super) async fn open(options: &ServerOptions, state: &StateFolder) -> anyhow::Result<Self> {
        let xds = windrose_xds_serve::bind(options.listen).await.context("--listen")?;
        let tcp = windrose_xds_serve::bind(options.admin).await.context("--admin")?;
        let csds = match options.csds {
            Some(address) => Some(windrose_xds_serve::bind(address).await.context("--csds")?),
            None => None,
        };
        Ok(Self { xds, admin: windrose_admin::Listeners { tcp, unix: socket(state)? }, csds })
    }
}

/// The admin socket. The folder's lock is ours, so a socket that is there belongs to nobody.
fn socket(state: &StateFolder) -> anyhow::Result<Option<UnixListener>> {
    let path = state.socket();
    match std::fs::remove_file(&path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(cause).with_context(|| path.display().to_string()),
        Ok(()) | Err(_) => {}
    }
    match UnixListener::bind(&path) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "no admin socket; the command line needs --server");
            Ok(None)
        }
    }
}

fn server_names(options: &ServerOptions) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !options.listen.ip().is_unspecified() {
        names.push(options.listen.ip().to_string());
    }
    names.extend(options.names.iter().cloned());
    names.sort();
    names.dedup();
    names
}

pub(super) fn server_tls(options: &ServerOptions, authority: &NodeAuthority) -> anyhow::Result<Tls> {
    let made = authority.issue_server(&server_names(options), SystemTime::now(), &SystemEntropy).context("--name")?;
    Ok(Tls::new(made.chain, made.key.expose(), std::slice::from_ref(authority.root()))?)
}

pub(super) async fn renew_server_certificate(options: ServerOptions, authority: Arc<NodeAuthority>, tls: Tls, end: CancellationToken) {
    let (half_life, backdate) = (windrose_pki::limits::SERVER_LIFETIME / 2, windrose_pki::limits::BACKDATE);
    let mut made_at = SystemTime::now();
    while end.run_until_cancelled(tokio::time::sleep(CLOCK)).await.is_some() {
        // By the clock that clients go by: one that was set makes a certificate as old as time does.
        let now = SystemTime::now();
        if made_at <= now + backdate && now < made_at + half_life {
            continue;
        }
        let made = authority.issue_server(&server_names(&options), now, &SystemEntropy);
        let replaced =
            made.map_err(anyhow::Error::new).and_then(|made| tls.replace(made.chain, made.key.expose()).map_err(anyhow::Error::new));
        made_at = if replaced.is_ok() { now } else { made_at };
        if let Err(error) = replaced {
            tracing::error!(error = format!("{error:#}"), "the server's certificate cannot be renewed; the former one stays");
        }
    }
}
