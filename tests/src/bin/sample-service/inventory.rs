//! `inventory`: the stock of each product, in memory. A reservation takes from it or is refused.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use windrose_tests::proto;
use windrose_tests::proto::inventory::inventory_server::{Inventory, InventoryServer};
use windrose_tests::proto::inventory::{ReserveReply, ReserveRequest};

use crate::{Common, Outcome};

/// Products that the stock tells apart, at most: whoever asks for a new one makes an entry.
const PRODUCTS_MAX: usize = 10_000;

/// Settings of the command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    common: Common,
    /// Pieces of each product at the start.
    #[arg(long, default_value_t = 1_000_000)]
    stock: i64,
}

/// Serves until SIGTERM.
pub(crate) async fn run(mut settings: Settings) -> Outcome {
    let (listener, stop) = settings.common.open("inventory").await?;
    let stock = Stock { instance: settings.common.instance, initial: settings.stock, shelves: Mutex::default() };
    let reflection =
        tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(proto::DESCRIPTOR_SET).build_v1()?;
    Server::builder()
        .add_service(reflection)
        .add_service(InventoryServer::new(stock))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned())
        .await?;
    Ok(())
}

struct Stock {
    instance: String,
    initial: i64,
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    remaining: BTreeMap<String, i64>,
    reservations: u64,
}

#[tonic::async_trait]
impl Inventory for Stock {
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<ReserveReply>, Status> {
        let request = request.into_inner();
        let mut shelves = self.shelves.lock().map_err(|_| Status::internal("stock: a request before this one broke it"))?;
        let full = shelves.remaining.len() >= PRODUCTS_MAX;
        if full && !shelves.remaining.contains_key(&request.product) {
            return Err(Status::resource_exhausted("product: too many different ones"));
        }
        let remaining = shelves.remaining.entry(request.product).or_insert(self.initial);
        let wanted = i64::from(request.quantity);
        if *remaining < wanted {
            return Err(Status::failed_precondition(format!("quantity: {wanted} wanted, {remaining} in stock")));
        }
        *remaining -= wanted;
        let remaining = *remaining;
        shelves.reservations += 1;
        Ok(Response::new(ReserveReply {
            reservation_id: format!("r-{}", shelves.reservations),
            remaining,
            served_by: self.instance.clone(),
        }))
    }
}
