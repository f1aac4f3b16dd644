//! `orders`: keeps orders in memory, newest last. Each one is reserved at the inventory first.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Response, Status};
use windrose_tests::proto;
use windrose_tests::proto::inventory::ReserveRequest;
use windrose_tests::proto::inventory::inventory_client::InventoryClient;
use windrose_tests::proto::orders::orders_server::{Orders, OrdersServer};
use windrose_tests::proto::orders::{CreateOrderRequest, GetOrderRequest, Order, OrderEvent, Reservation, WatchOrdersRequest};

use crate::{Common, Outcome, trace};

/// Orders kept in memory; more are refused.
const ORDERS_MAX: usize = 100_000;

/// Events that wait for a slow watcher; the stream stops reading orders when they are not taken.
const EVENTS_WAITING_MAX: usize = 16;

/// Settings of the command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    common: Common,
    /// Where the inventory is called, for example http://127.0.0.1:9090 (a sidecar's listener is one such place).
    #[arg(long)]
    inventory: Uri,
    /// The `:authority` of those calls, if not the address.
    #[arg(long)]
    inventory_authority: Option<String>,
}

/// Serves until SIGTERM.
pub(crate) async fn run(mut settings: Settings) -> Outcome {
    let (listener, stop) = settings.common.open("orders").await?;
    let mut endpoint = Endpoint::from(settings.inventory);
    if let Some(authority) = settings.inventory_authority {
        endpoint = endpoint.origin(format!("http://{authority}").parse()?);
    }
    let (count, _) = watch::channel(0);
    let book = Arc::new(Book { orders: Mutex::default(), count, ended: stop.clone() });
    // Lazy: the inventory may start later than its caller.
    let service = OrderService { book, inventory: InventoryClient::new(endpoint.connect_lazy()) };
    let reflection =
        tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(proto::DESCRIPTOR_SET).build_v1()?;
    Server::builder()
        .add_service(reflection)
        .add_service(OrdersServer::new(service))
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned())
        .await?;
    Ok(())
}

struct OrderService {
    book: Arc<Book>,
    inventory: InventoryClient<Channel>,
}

/// Every order, in the order of its coming, and how many there are for those who wait.
struct Book {
    orders: Mutex<Vec<Order>>,
    count: watch::Sender<usize>,
    ended: tokio_util::sync::CancellationToken,
}

#[tonic::async_trait]
impl Orders for OrderService {
    type WatchOrdersStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<OrderEvent, Status>> + Send>>;

    async fn create_order(&self, request: Request<CreateOrderRequest>) -> Result<Response<Order>, Status> {
        let (metadata, _, wanted) = request.into_parts();
        check(&wanted)?;
        let reserve = ReserveRequest { product: wanted.product.clone(), quantity: wanted.quantity };
        let reserved = self.inventory.clone().reserve(trace::continued(&metadata, reserve)).await?.into_inner();
        let reservation = Reservation { id: reserved.reservation_id, remaining: reserved.remaining, served_by: reserved.served_by };
        self.book.add(wanted, reservation).map(Response::new)
    }

    async fn get_order(&self, request: Request<GetOrderRequest>) -> Result<Response<Order>, Status> {
        let id = request.into_inner().id;
        let position = id.strip_prefix("o-").and_then(|number| number.parse::<usize>().ok());
        let order = position.and_then(|number| number.checked_sub(1)).map(|index| self.book.get(index)).transpose()?;
        match order.flatten() {
            Some(order) => Ok(Response::new(order)),
            None => Err(Status::not_found(format!("order {id}: not known"))),
        }
    }

    async fn watch_orders(&self, request: Request<WatchOrdersRequest>) -> Result<Response<Self::WatchOrdersStream>, Status> {
        let (events, receiver) = tokio::sync::mpsc::channel(EVENTS_WAITING_MAX);
        tokio::spawn(watch_book(self.book.clone(), request.into_inner(), events));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

fn check(wanted: &CreateOrderRequest) -> Result<(), Status> {
    if wanted.product.is_empty() {
        return Err(Status::invalid_argument("product: must not be empty"));
    }
    if wanted.quantity == 0 {
        return Err(Status::invalid_argument("quantity: must be at least 1"));
    }
    Ok(())
}

impl Book {
    fn lock(&self) -> Result<MutexGuard<'_, Vec<Order>>, Status> {
        self.orders.lock().map_err(|_| Status::internal("orders: a request before this one broke the book"))
    }

    fn get(&self, index: usize) -> Result<Option<Order>, Status> {
        Ok(self.lock()?.get(index).cloned())
    }

    fn add(&self, wanted: CreateOrderRequest, reservation: Reservation) -> Result<Order, Status> {
        let mut orders = self.lock()?;
        if orders.len() >= ORDERS_MAX {
            return Err(Status::resource_exhausted("orders: the book is full"));
        }
        let order = Order {
            id: format!("o-{}", orders.len() + 1),
            product: wanted.product,
            quantity: wanted.quantity,
            customer: wanted.customer,
            priority: wanted.priority,
            tags: wanted.tags,
            labels: wanted.labels,
            price_limit: wanted.price_limit,
            gift_note: wanted.gift_note,
            reservation: Some(reservation),
        };
        orders.push(order.clone());
        self.count.send_replace(orders.len());
        Ok(order)
    }
}

/// Sends what matches, then waits for more: until the limit, the client's leaving or the end of the service.
async fn watch_book(book: Arc<Book>, wanted: WatchOrdersRequest, events: tokio::sync::mpsc::Sender<Result<OrderEvent, Status>>) {
    let mut count = book.count.subscribe();
    let (mut index, mut sequence) = (0, 0);
    while wanted.limit == 0 || sequence < u64::from(wanted.limit) {
        let order = match book.get(index) {
            Ok(Some(order)) => order,
            Ok(None) => {
                tokio::select! {
                    changed = count.changed() => if changed.is_err() { return },
                    () = events.closed() => return,
                    () = book.ended.cancelled() => return,
                }
                continue;
            }
            Err(status) => return drop(events.send(Err(status)).await),
        };
        index += 1;
        if !wanted.product.is_empty() && wanted.product != order.product {
            continue;
        }
        sequence += 1;
        if events.send(Ok(OrderEvent { sequence, order: Some(order) })).await.is_err() {
            return;
        }
    }
}
