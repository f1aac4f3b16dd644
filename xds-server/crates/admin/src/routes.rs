//! The paths and their answers.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, middleware};

use crate::{Source, limits};

type Shared = State<Arc<dyn Source>>;

/// All paths over `source`.
pub(crate) fn router(source: Arc<dyn Source>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .route("/v1/proxies", get(proxies))
        .with_state(source)
        .layer(middleware::from_fn(refuse_foreign_hosts))
        .layer(middleware::from_fn(time_out))
        .layer(tower::limit::GlobalConcurrencyLimitLayer::new(limits::CONCURRENT_REQUESTS))
}

async fn readyz(State(source): Shared) -> Response {
    match source.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response(),
    }
}

async fn metrics(State(source): Shared) -> Response {
    answer(
        move || source.metrics(),
        |text| ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response(),
    )
    .await
}

/// What part of the status is asked for.
#[derive(serde::Deserialize)]
struct Part {
    /// `KIND/NAMESPACE/NAME`.
    object: Option<String>,
}

async fn status(State(source): Shared, Query(part): Query<Part>, headers: HeaderMap) -> Response {
    report(source, &headers, move |source| source.status(part.object.as_deref())).await
}

async fn proxies(State(source): Shared, headers: HeaderMap) -> Response {
    report(source, &headers, |source| source.proxies()).await
}

/// The report, unless whoever asks has it already: one who watches costs next to nothing while nothing changes.
async fn report<T: serde::Serialize + Send + 'static>(
    source: Arc<dyn Source>,
    headers: &HeaderMap,
    ask: impl FnOnce(&dyn Source) -> T + Send + 'static,
) -> Response {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let asked = move || {
        let revision = format!("\"{}\"", source.revision());
        let fresh = (known.as_deref() != Some(&revision)).then(|| ask(&*source));
        (revision, fresh)
    };
    answer(asked, |(revision, fresh)| match fresh {
        Some(report) => ([(header::ETAG, revision)], Json(report)).into_response(),
        None => (StatusCode::NOT_MODIFIED, [(header::ETAG, revision)]).into_response(),
    })
    .await
}

/// Runs `ask` off the async threads.
async fn answer<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static, show: impl FnOnce(T) -> Response) -> Response {
    match tokio::task::spawn_blocking(ask).await {
        Ok(value) => show(value),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the report failed; see the log\n").into_response(),
    }
}

async fn time_out(request: axum::extract::Request, next: middleware::Next) -> Response {
    match tokio::time::timeout(limits::REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::GATEWAY_TIMEOUT, "took too long\n").into_response(),
    }
}

/// A page of somebody else's that was pointed at our loopback address (DNS rebinding) carries its own host name.
async fn refuse_foreign_hosts(request: axum::extract::Request, next: middleware::Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    if host.is_none_or(is_local) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "ask by address or as localhost\n").into_response()
    }
}

/// What a kubelet and a monitoring system ask for; it names no object.
const FOR_STRANGERS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Objects, and Envoy's words about them, are for this machine: in a Pod, for whoever may run a command there or forward a port.
pub(crate) async fn refuse_strangers(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: axum::extract::Request,
    next: middleware::Next,
) -> Response {
    if peer.ip().to_canonical().is_loopback() || FOR_STRANGERS.contains(&request.uri().path()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "ask on this machine: by its loopback address, or the socket\n").into_response()
    }
}

fn is_local(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(name, _)| name);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::report::{ProxyReport, StatusReport};

    struct Fixed(Result<(), String>);

    impl Source for Fixed {
        fn ready(&self) -> Result<(), String> {
            self.0.clone()
        }
        fn revision(&self) -> String {
            "7".into()
        }
        fn status(&self, only: Option<&str>) -> StatusReport {
            StatusReport { generation: 7, version: only.unwrap_or_default().into(), ..StatusReport::default() }
        }
        fn proxies(&self) -> Vec<ProxyReport> {
            vec![ProxyReport { proxy: "gateway/shop/edge".into(), ..ProxyReport::default() }]
        }
        fn metrics(&self) -> String {
            "windrose_up 1\n".into()
        }
    }

    async fn ask(source: Fixed, path: &str, host: &str) -> (StatusCode, String) {
        let request = Request::get(path).header("host", host).body(Body::empty()).unwrap();
        let response = router(Arc::new(source)).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn reports_are_json_and_metrics_are_text() {
        let (status, body) = ask(Fixed(Ok(())), "/v1/status", "127.0.0.1:18001").await;
        assert_eq!((status, serde_json::from_str::<StatusReport>(&body).unwrap().generation), (StatusCode::OK, 7));
        let (_, body) = ask(Fixed(Ok(())), "/v1/proxies", "localhost").await;
        assert_eq!(serde_json::from_str::<Vec<ProxyReport>>(&body).unwrap()[0].proxy, "gateway/shop/edge");
        assert_eq!(ask(Fixed(Ok(())), "/metrics", "[::1]:18001").await.1, "windrose_up 1\n");
    }

    #[tokio::test]
    async fn a_report_that_is_known_is_not_sent_again() {
        let ask = async |known: &str| {
            let request = Request::get("/v1/status").header("host", "localhost").header("if-none-match", known);
            let response = router(Arc::new(Fixed(Ok(())))).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            (response.status(), response.headers()["etag"].clone(), response.into_body().collect().await.unwrap().to_bytes().len())
        };
        assert_eq!(ask("\"7\"").await, (StatusCode::NOT_MODIFIED, "\"7\"".parse().unwrap(), 0));
        let (status, revision, length) = ask("\"6\"").await;
        assert_eq!((status, revision), (StatusCode::OK, "\"7\"".parse().unwrap()));
        assert!(length > 0);
    }

    #[tokio::test]
    async fn a_status_can_be_asked_for_one_object() {
        let (_, body) = ask(Fixed(Ok(())), "/v1/status?object=HTTPRoute/shop/a", "localhost").await;
        assert_eq!(serde_json::from_str::<StatusReport>(&body).unwrap().version, "HTTPRoute/shop/a");
    }

    #[tokio::test]
    async fn not_ready_says_why() {
        let (status, body) = ask(Fixed(Err("the first read is not done".into())), "/readyz", "localhost").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("the first read is not done"));
        assert_eq!(ask(Fixed(Ok(())), "/readyz", "localhost").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn whoever_asks_from_elsewhere_sees_health_and_metrics_alone() {
        let from = async |peer: &str, path: &str| {
            let mut request = Request::get(path).header("host", "10.0.0.9").body(Body::empty()).unwrap();
            request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 40000)));
            let router = router(Arc::new(Fixed(Ok(())))).layer(middleware::from_fn(refuse_strangers));
            router.oneshot(request).await.unwrap().status()
        };
        for path in ["/v1/status", "/v1/proxies", "/v1/status?object=Secret/a/b", "/"] {
            assert_eq!(from("10.0.0.1", path).await, StatusCode::FORBIDDEN, "{path}");
        }
        for path in FOR_STRANGERS {
            assert_eq!(from("10.0.0.1", path).await, StatusCode::OK, "{path}");
        }
        for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(from(peer, "/v1/status").await, StatusCode::OK, "{peer}");
        }
    }

    #[tokio::test]
    async fn a_foreign_host_name_is_refused_and_nothing_can_be_written() {
        assert_eq!(ask(Fixed(Ok(())), "/v1/status", "evil.example").await.0, StatusCode::FORBIDDEN);
        let post = Request::post("/v1/status").header("host", "localhost").body(Body::empty()).unwrap();
        let response = router(Arc::new(Fixed(Ok(())))).oneshot(post).await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
