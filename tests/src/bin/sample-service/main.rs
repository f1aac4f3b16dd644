//! The three services of the demo and of the tests, in one binary: `orders` and `inventory` speak gRPC, `catalog`
//! speaks HTTP. Real services with state of their own; they know nothing of Windrose.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;

use clap::{Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use windrose_tests::proto;

mod catalog;
mod inventory;
mod orders;
mod trace;

/// Sample services for a gateway and a mesh.
#[derive(Debug, Parser)]
#[command(name = "sample-service", version)]
struct Arguments {
    #[command(subcommand)]
    service: Service,
}

#[derive(Debug, Subcommand)]
enum Service {
    /// gRPC: takes orders, and reserves the goods at the inventory.
    Orders(orders::Settings),
    /// gRPC: counts the stock.
    Inventory(inventory::Settings),
    /// HTTP: lists products; can be told to fail and to be slow.
    Catalog(catalog::Settings),
    /// Writes the descriptor set of the gRPC services to standard output.
    Descriptor,
}

/// What every service is told.
#[derive(Debug, clap::Args)]
struct Common {
    /// Address to listen on.
    #[arg(long)]
    listen: SocketAddr,
    /// Name of this instance, told in every answer.
    #[arg(long, default_value = "")]
    instance: String,
    /// Where spans go: zipkin=IP:PORT, or otlp=IP:PORT for OTLP over gRPC. `catalog` tells one for each request.
    #[arg(long)]
    traces: Option<trace::Collector>,
}

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome {
    match Arguments::parse().service {
        Service::Orders(settings) => orders::run(settings).await,
        Service::Inventory(settings) => inventory::run(settings).await,
        Service::Catalog(settings) => catalog::run(settings).await,
        Service::Descriptor => Ok(std::io::stdout().lock().write_all(proto::DESCRIPTOR_SET)?),
    }
}

impl Common {
    /// Binds the address, says so on standard error, and cancels the token at SIGTERM or Ctrl-C.
    async fn open(&mut self, service: &str) -> Result<(TcpListener, CancellationToken), Box<dyn Error + Send + Sync>> {
        if self.instance.is_empty() {
            self.instance = format!("{service}@{}", self.listen);
        }
        let listener =
            TcpListener::bind(self.listen).await.map_err(|cause| format!("{service}: cannot listen on {}: {cause}", self.listen))?;
        writeln!(std::io::stderr(), "{} listening on {}", self.instance, listener.local_addr()?)?;
        let stop = CancellationToken::new();
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stopping = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => (),
                _ = interrupt.recv() => (),
            }
            stopping.cancel();
        });
        Ok((listener, stop))
    }
}
