//! `catalog`: lists products over HTTP, in one of two versions. It shows the request headers it got, and can be told
//! to fail and to be slow, at the start and while it runs.
//!
//! `GET /v1/products`, `GET /v1/products/{id}`, `GET /debug/headers`, `GET /healthz`,
//! `GET /control` (what is set, and how many product requests came), `POST /control?failRate=0.5&delayMs=20`.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use windrose_tests::http_server::{self, Answer, Received};

use crate::trace::{Collector, Span};
use crate::{Common, Outcome};

/// Id, name and price in cents of what the shop sells.
const PRODUCTS: [(&str, &str, u32); 3] = [("compass", "Compass", 4_900), ("sextant", "Sextant", 18_900), ("chart", "Sea chart", 1_200)];

/// Settings of the command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    common: Common,
    /// The version that it tells, `v1` or `v2`; `v2` also tells the currency.
    #[arg(long, default_value = "v1", value_parser = ["v1", "v2"])]
    version: String,
    /// Share of the product requests that are answered by 503, 0 to 1, evenly spread.
    #[arg(long, default_value_t = 0.0, value_parser = rate)]
    fail_rate: f64,
    /// Milliseconds before each product answer.
    #[arg(long, default_value_t = 0)]
    delay: u64,
}

/// Serves until SIGTERM.
pub(crate) async fn run(mut settings: Settings) -> Outcome {
    let (listener, stop) = settings.common.open("catalog").await?;
    let behaviour = Behaviour { fail_rate: settings.fail_rate, delay_ms: settings.delay, ..Behaviour::default() };
    let collector = settings.common.traces;
    let catalog = Arc::new(Catalog { instance: settings.common.instance, version: settings.version, behaviour: Mutex::new(behaviour) });
    http_server::serve(listener, None, stop, move |received| {
        let catalog = catalog.clone();
        async move {
            let name = format!("{} {}", received.request.method(), received.request.uri().path());
            let span = Span::begin("catalog", name, received.request.headers());
            let answer = catalog.answer(received).await;
            if let (Some(span), Some(collector)) = (span, collector) {
                tokio::spawn(tell(span, collector));
            }
            answer
        }
    })
    .await?;
    Ok(())
}

/// A collector that is away costs the span and no request.
async fn tell(span: Span, collector: Collector) {
    if let Err(cause) = span.end(collector).await {
        let _ = writeln!(std::io::stderr(), "catalog: span not taken: {cause}");
    }
}

struct Catalog {
    instance: String,
    version: String,
    behaviour: Mutex<Behaviour>,
}

/// What can be changed by `/control`.
#[derive(Debug, Default, Clone)]
struct Behaviour {
    fail_rate: f64,
    delay_ms: u64,
    requests: u64,
    failed: u64,
    /// Grows by the rate with each request; at 1 one fails. Even and repeatable, where chance would be neither.
    owed: f64,
}

impl Catalog {
    async fn answer(&self, received: Received) -> Answer {
        let request = &received.request;
        let path = request.uri().path();
        let mut answer = match (request.method(), path) {
            (&Method::GET, "/healthz") => self.health(),
            (&Method::GET, "/debug/headers") => http_server::json(StatusCode::OK, &self.seen(&received)),
            (&Method::GET | &Method::POST, "/control") => self.control(request.uri().query().unwrap_or_default()),
            (&Method::GET, "/v1/products") => self.products(None).await,
            (&Method::GET, _) => match path.strip_prefix("/v1/products/") {
                Some(id) => self.products(Some(id)).await,
                None => not_found(path),
            },
            _ => not_found(path),
        };
        if let Ok(instance) = self.instance.parse() {
            answer.headers_mut().insert("x-served-by", instance);
        }
        answer
    }

    fn health(&self) -> Answer {
        let failing = self.with_behaviour(|behaviour| behaviour.fail_rate >= 1.0);
        let status = if failing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        http_server::json(status, &json!({ "healthy": !failing }))
    }

    fn seen(&self, received: &Received) -> Value {
        json!({
            "servedBy": self.instance,
            "version": self.version,
            "peer": received.peer.to_string(),
            "headers": http_server::headers_json(received.request.headers()),
        })
    }

    fn control(&self, query: &str) -> Answer {
        let changed: Result<Value, String> = self.with_behaviour(|behaviour| {
            let mut next = behaviour.clone();
            for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                next.set(pair)?;
            }
            *behaviour = next;
            Ok(json!({
                "failRate": behaviour.fail_rate,
                "delayMs": behaviour.delay_ms,
                "requests": behaviour.requests,
                "failed": behaviour.failed,
            }))
        });
        match changed {
            Ok(now) => http_server::json(StatusCode::OK, &now),
            Err(reason) => http_server::json(StatusCode::BAD_REQUEST, &json!({ "error": reason })),
        }
    }

    async fn products(&self, id: Option<&str>) -> Answer {
        let (fails, delay) = self.with_behaviour(Behaviour::next);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if fails {
            let body = json!({ "error": "told to fail", "servedBy": self.instance });
            return http_server::json(StatusCode::SERVICE_UNAVAILABLE, &body);
        }
        let listed: Vec<Value> =
            PRODUCTS.iter().filter(|(known, _, _)| id.is_none_or(|id| id == *known)).map(|product| self.product(product)).collect();
        match (id, listed.as_slice()) {
            (Some(id), []) => not_found(id),
            _ => http_server::json(StatusCode::OK, &json!({ "version": self.version, "servedBy": self.instance, "products": listed })),
        }
    }

    fn product(&self, (id, name, cents): &(&str, &str, u32)) -> Value {
        let mut product = json!({ "id": id, "name": name, "cents": cents });
        if self.version == "v2" {
            product["currency"] = json!("EUR");
        }
        product
    }

    fn with_behaviour<T>(&self, look: impl FnOnce(&mut Behaviour) -> T) -> T {
        // Counters stay meaningful whatever a request before did to them.
        look(&mut self.behaviour.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Behaviour {
    /// Counts one product request: does it fail, and how long does it take?
    fn next(&mut self) -> (bool, Duration) {
        self.requests += 1;
        self.owed += self.fail_rate;
        let fails = self.owed >= 1.0;
        if fails {
            self.owed -= 1.0;
            self.failed += 1;
        }
        (fails, Duration::from_millis(self.delay_ms))
    }

    fn set(&mut self, pair: &str) -> Result<(), String> {
        match pair.split_once('=') {
            Some(("failRate", value)) => self.fail_rate = rate(value)?,
            Some(("delayMs", value)) => {
                self.delay_ms = value.parse().map_err(|cause| format!("delayMs {value}: {cause}"))?;
            }
            _ => return Err(format!("{pair}: known are failRate=0..1 and delayMs=N")),
        }
        Ok(())
    }
}

fn rate(value: &str) -> Result<f64, String> {
    match value.parse() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err(format!("{value}: a rate is a number from 0 to 1")),
    }
}

fn not_found(what: &str) -> Answer {
    http_server::json(StatusCode::NOT_FOUND, &json!({ "error": format!("{what}: not found") }))
}
