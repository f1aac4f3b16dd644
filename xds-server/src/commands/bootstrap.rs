//! `windrose bootstrap`: what one Envoy is started with, and the credential it shows.

mod made;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use windrose_admin::report::StatusReport;
use windrose_api::decode::suggestion;
use windrose_envoy::bootstrap::{self, AdminPages, Identity, Server, Settings};
use windrose_pki::{Directory, NodeAuthority, SystemEntropy};
use windrose_vocab::{Kind, ProxyKey, Text};

use crate::args::{self, IdentityKind};
use crate::client;
use crate::output::put;
use crate::state_folder::StateFolder;
use crate::{filters, output};

/// Connections of one Envoy, all listeners together.
const MAX_CONNECTIONS: u32 = 50_000;

/// Everything about one bootstrap, checked.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) proxy: ProxyKey,
    /// Where the files are written.
    pub(crate) folder: PathBuf,
    /// Where they will lie when Envoy reads them.
    pub(crate) installed: PathBuf,
    pub(crate) server: (Text, u16),
    pub(crate) server_name: Text,
    pub(crate) identity: IdentityKind,
    pub(crate) ttl: Duration,
    pub(crate) admin: Option<std::net::SocketAddr>,
    pub(crate) state_of_the_world: bool,
    /// Where the filter modules will lie; they are sent over xDS where absent.
    pub(crate) modules: Option<PathBuf>,
    /// Where it will run.
    pub(crate) zone: Option<Text>,
}

pub(crate) fn run(options: &args::Bootstrap) -> anyhow::Result<()> {
    let state = StateFolder::open(&options.common.state)?;
    let authority = state.node_authority(&options.common.trust_domain)?;
    let order = options.output_dir.as_deref().map(|folder| order(options, folder)).transpose()?;
    super::block_on(warn_undeclared(&client::Server::Unix(state.socket()), &proxy(options)?))?;
    if let Some(order) = &order {
        // First: whoever is refused has nothing revoked.
        if !options.renew && !options.force {
            refuse_to_overwrite(order, &authority, options.revoke)?;
        }
        Directory::open(&order.folder)?;
        Directory::open(order.folder.join(CREDENTIAL))?;
    }
    if options.revoke {
        let proxy = proxy(options)?;
        let end = state.revocations()?.revoke(&proxy, SystemTime::now())?;
        // The new credential must not be among those that are taken back.
        std::thread::sleep(end.duration_since(SystemTime::now()).unwrap_or_default());
        put(&format!("revoked every credential of {proxy} that was issued until now\n"))?;
    }
    let Some(mut order) = order else { return Ok(()) };
    if options.renew {
        write_credential(&order, &authority)?;
        return put(&format!("renewed the credential in {}; a running Envoy follows\n", order.folder.display()));
    }
    // Opened first: whatever makes it makes it for its owner alone.
    Directory::open(&order.folder)?;
    if !options.without_modules {
        let from = filters::folder(options.common.filters.as_deref())?;
        let name = filters::read(&from)?.folder_name();
        copy_modules(&from, &order.folder.join(&name))?;
        order.modules = Some(order.installed.join(name));
    }
    write(&order, &authority)?;
    let shown = order.installed.display();
    put(&format!("wrote {shown}\nstart: envoy -c {}\n", order.installed.join(bootstrap::BOOTSTRAP_FILE).display()))
}

/// Refuses to lose a file that is there.
fn refuse_to_overwrite(order: &Order, authority: &NodeAuthority, revoke: bool) -> anyhow::Result<()> {
    let folder = order.folder.display();
    let files = bootstrap::files(&settings(order, authority)?);
    let names = [CREDENTIAL].into_iter().chain(files.keys().copied());
    let there: Vec<&str> = names.filter(|name| order.folder.join(name).exists()).collect();
    let revoked = if revoke { "; nothing was revoked" } else { "" };
    let cure = format!("--renew makes a new credential alone, --force overwrites{revoked}");
    anyhow::ensure!(there.is_empty(), "{folder} has {} already ({cure})", there.join(", "));
    Ok(())
}

/// Warns where the server that runs here knows no such Gateway or Workload. Where none runs, nobody can know; and what is declared
/// later may have its bootstrap before.
async fn warn_undeclared(server: &client::Server, proxy: &ProxyKey) -> anyhow::Result<()> {
    let Ok(Some(answer)) = server.get::<StatusReport>("/v1/status", None).await else { return Ok(()) };
    if answer.report.generation > 0
        && let Some(warning) = undeclared(&answer.report, proxy)
    {
        output::tell(&format!("warning: {warning}"));
    }
    Ok(())
}

/// That it is not declared, with the name that was probably meant.
fn undeclared(report: &StatusReport, proxy: &ProxyKey) -> Option<String> {
    let (kind, name) = (if proxy.role.is_edge() { Kind::Gateway } else { Kind::Workload }, proxy.object.to_string());
    let same = report.objects.iter().filter(|object| object.kind == kind.as_str());
    let known: Vec<String> = same.map(|object| format!("{}/{}", object.namespace, object.name)).collect();
    if known.contains(&name) {
        return None;
    }
    let hint = suggestion(&name, known.iter().map(String::as_str)).map(|hint| format!(" ({hint})")).unwrap_or_default();
    Some(format!("no {kind} `{name}` is declared, and an Envoy with this bootstrap gets nothing until it is{hint}"))
}

/// Writes the bootstrap, the trust and a new credential into the folder, all for its owner alone.
pub(crate) fn write(order: &Order, authority: &NodeAuthority) -> anyhow::Result<()> {
    let folder = Directory::open(&order.folder)?;
    write_credential(order, authority)?;
    for (name, text) in bootstrap::files(&settings(order, authority)?) {
        folder.write(name, &text, &SystemEntropy)?;
    }
    remove(
        order,
        match order.identity {
            IdentityKind::Certificate => &[TOKEN],
            IdentityKind::Token => &[CHAIN, KEY],
        },
    )
}

fn write_credential(order: &Order, authority: &NodeAuthority) -> anyhow::Result<()> {
    // A folder of its own: Envoy watches it for renames, and nothing else happens in it.
    let folder = Directory::open(order.folder.join(CREDENTIAL))?;
    let now = SystemTime::now();
    match order.identity {
        IdentityKind::Certificate => {
            let made = authority.issue_certificate(&order.proxy, order.ttl, now, &SystemEntropy)?;
            folder.write(KEY, made.key.expose(), &SystemEntropy)?;
            folder.write(CHAIN, &made.certificate, &SystemEntropy)?;
        }
        IdentityKind::Token => {
            let token = authority.issue_token(&order.proxy, order.ttl, now, &SystemEntropy)?;
            folder.write(TOKEN, token.expose(), &SystemEntropy)?;
        }
    }
    Ok(())
}

/// Takes away what a proxy no longer proves itself by: it would be good for as long as it was made for.
fn remove(order: &Order, names: &[&str]) -> anyhow::Result<()> {
    for path in names.iter().map(|name| order.folder.join(CREDENTIAL).join(name)) {
        match std::fs::remove_file(&path) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(cause).with_context(|| path.display().to_string()),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

const CREDENTIAL: &str = "credential";
const CHAIN: &str = "node.pem";
const KEY: &str = "node.key";
const TOKEN: &str = "token";

fn settings(order: &Order, authority: &NodeAuthority) -> anyhow::Result<Settings> {
    let at = |name: &str| -> anyhow::Result<Text> { text(&order.installed.join(CREDENTIAL).join(name)) };
    let directory = text(&order.installed.join(CREDENTIAL))?;
    let identity = match order.identity {
        IdentityKind::Certificate => Identity::Certificate { chain: at(CHAIN)?, key: at(KEY)?, directory },
        IdentityKind::Token => Identity::Token { file: at(TOKEN)?, directory },
    };
    let mut metadata = BTreeMap::from([(Text::from("proxy"), Text::from(order.proxy.to_string()))]);
    if let Some(modules) = &order.modules {
        metadata.insert("modules".into(), text(modules)?);
    }
    let admin = match order.admin {
        Some(address) => AdminPages::Socket(address),
        None => AdminPages::Unix(text(&order.installed.join("envoy-admin.sock"))?),
    };
    Ok(Settings {
        node_id: Text::from(format!("{}/{}", order.proxy, host_name())),
        node_cluster: order.proxy.object.name.clone(),
        metadata,
        zone: order.zone.clone(),
        server: Server {
            host: order.server.0.clone(),
            port: order.server.1,
            name: order.server_name.clone(),
            trust: authority.root_pem().into(),
        },
        identity,
        state_of_the_world: order.state_of_the_world,
        folder: text(&order.installed)?,
        admin,
        max_connections: MAX_CONNECTIONS,
    })
}

fn order(options: &args::Bootstrap, folder: &Path) -> anyhow::Result<Order> {
    let folder = std::path::absolute(folder).with_context(|| format!("-O {}", folder.display()))?;
    let installed = options.at.clone().unwrap_or_else(|| folder.clone());
    anyhow::ensure!(installed.is_absolute(), "--at {}: an absolute path is needed, Envoy takes no other", installed.display());
    let server = host_and_port(&options.server)?;
    let server_name = options.server_name.as_deref().map_or_else(|| server.0.clone(), Text::from);
    let proxy = proxy(options)?;
    let identity = match options.renew {
        true => made::identity(&folder, &proxy, options.identity)?,
        false => options.identity.unwrap_or(IdentityKind::Certificate),
    };
    Ok(Order {
        proxy,
        folder,
        installed,
        server,
        server_name,
        identity,
        ttl: ttl(&options.ttl)?,
        admin: options.envoy_admin,
        state_of_the_world: options.state_of_the_world,
        modules: None,
        zone: options.zone.as_deref().map(Text::from),
    })
}

fn ttl(text: &str) -> anyhow::Result<Duration> {
    let ttl = super::parse_ttl("--ttl", text)?;
    let (min, max) = (windrose_pki::limits::NODE_LIFETIME_MIN, windrose_pki::limits::NODE_LIFETIME_MAX);
    let (minutes, days) = (min.as_secs() / 60, max.as_secs() / 86_400);
    anyhow::ensure!((min..=max).contains(&ttl), "--ttl {text}: at least {minutes}m and at most {days}d");
    Ok(ttl)
}

fn proxy(options: &args::Bootstrap) -> anyhow::Result<ProxyKey> {
    let (role, name) = match (&options.gateway, &options.workload) {
        (Some(name), _) => ("gateway", name),
        (None, Some(name)) => ("workload", name),
        (None, None) => bail!("name a --gateway or a --workload"),
    };
    let full = if name.contains('/') { name.clone() } else { format!("default/{name}") };
    ProxyKey::parse(&format!("{role}/{full}")).with_context(|| format!("--{role} {name}: write it as NAMESPACE/NAME"))
}

fn host_and_port(text: &str) -> anyhow::Result<(Text, u16)> {
    let split = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok().filter(|port| *port > 0)?)));
    let (host, port) = split.with_context(|| format!("--server {text}: write it as HOST:PORT"))?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    anyhow::ensure!(!bare.is_empty(), "--server {text}: write it as HOST:PORT");
    Ok((bare.into(), port))
}

/// Copies the filter modules beside the bootstrap, so that they are not sent over the stream.
fn copy_modules(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for name in filters::NAMES {
        let (source, target) = (filters::file(from, name), filters::file(to, name));
        // Renamed into place: a full disk leaves no half of a module for Envoy to find.
        let draft = to.join(format!(".{name}.new"));
        let copied = std::fs::copy(&source, &draft).and_then(|_| std::fs::rename(&draft, &target));
        let copied = copied.inspect_err(|_| drop(std::fs::remove_file(&draft)));
        copied.with_context(|| format!("{} to {}", source.display(), target.display()))?;
    }
    Ok(())
}

fn text(path: &Path) -> anyhow::Result<Text> {
    path.to_str().map(Text::from).with_context(|| format!("{}: not UTF-8", path.display()))
}

/// For people only: it tells two proxies of one fleet apart.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_else(|_| {
        output::tell("this machine has no host name; the node is called `envoy`");
        "envoy".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_lives_a_minute_to_a_year() {
        assert_eq!(ttl("90d").unwrap(), Duration::from_secs(90 * 86_400));
        for wrong in ["1s", "367d"] {
            assert_eq!(ttl(wrong).unwrap_err().to_string(), format!("--ttl {wrong}: at least 1m and at most 366d"));
        }
    }

    #[test]
    fn a_server_is_a_host_and_a_port() {
        assert_eq!(host_and_port("xds.example:18000").unwrap(), ("xds.example".into(), 18000));
        assert_eq!(host_and_port("[::1]:18000").unwrap(), ("::1".into(), 18000));
        for wrong in ["xds.example", "xds.example:0", ":18000", "xds.example:port"] {
            assert!(host_and_port(wrong).unwrap_err().to_string().contains(wrong), "{wrong}");
        }
    }
}
