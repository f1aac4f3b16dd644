//! The connection to a cluster.

use std::fmt;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

use crate::limits;

/// A cluster that answers.
#[derive(Clone)]
pub struct Cluster {
    /// Where to ask.
    pub client: Client,
    /// The namespace we run in, or the one that the kubeconfig names.
    pub namespace: String,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Connects as a Pod does, or as `KUBECONFIG` says.
///
/// # Errors
/// When neither is there, or what is there cannot be used.
pub async fn connect() -> Result<Cluster, Error> {
    let mut config = Config::infer().await.map_err(|cause| Error(format!("no cluster is configured: {cause}")))?;
    config.connect_timeout = Some(limits::REQUEST_TIME);
    config.read_timeout = Some(limits::SILENCE);
    let namespace = config.default_namespace.clone();
    let client = client(&config).map_err(|cause| Error(format!("the cluster cannot be used: {cause}")))?;
    Ok(Cluster { client, namespace })
}

/// A client that notices a dead path within seconds and tells every failure. kube's own asks again up to fifteen times, for minutes,
/// before it tells that an API server refuses: whoever asks would seem to be well, and be asleep when the server is back.
/// Each watch has a connection of its own (HTTP/1.1), so that nothing waits behind a large list.
fn client(config: &Config) -> Result<Client, kube::Error> {
    if let Some(proxy_url) = config.proxy_url.clone() {
        return Err(kube::Error::ProxyProtocolUnsupported { proxy_url });
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(limits::KEEPALIVE));
    connector.set_keepalive_interval(Some(limits::KEEPALIVE_RETRY));
    connector.set_keepalive_retries(Some(limits::KEEPALIVE_RETRIES));
    connector.set_tcp_user_timeout(Some(limits::UNACKNOWLEDGED));
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let client: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// Why a cluster cannot be used, in words for whoever started us.
#[derive(Debug)]
pub struct Error(pub(crate) String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// What a failed request says, as one line with its cure where there is one.
#[must_use]
pub fn explain(error: &kube::Error) -> String {
    match error {
        // A quota, an admission webhook and a namespace that goes away forbid as well; no right cures those.
        kube::Error::Api(status) if status.code == 403 && status.message.contains("User \"") => {
            format!("{} (grant it to the service account, or run `windrose install`)", status.message)
        }
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// The status code of a refused request.
#[must_use]
pub fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A server that has not answered anybody yet, and a client of it.
    pub(crate) async fn listening() -> (TcpListener, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        (listener, client(&Config::new(uri)).unwrap())
    }

    /// Reads a request and answers it with this status.
    async fn answer(stream: &mut TcpStream, status: &str) {
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        let answer = format!("HTTP/1.1 {status}\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nno");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_refuses_for_now_is_told_at_once() {
        for status in ["429 Too Many Requests", "503 Service Unavailable", "504 Gateway Timeout"] {
            let (listener, client) = listening().await;
            let asked = tokio::time::timeout(Duration::from_secs(5), client.apiserver_version());
            let answered = async { answer(&mut listener.accept().await.unwrap().0, status).await };
            let (told, ()) = tokio::join!(asked, answered);
            let error = told.expect("nobody sleeps over it").unwrap_err();
            assert_eq!(code(&error).map(|code| code.to_string()).as_deref(), status.get(..3), "{error}");
        }
    }

    /// What the kernel has set for the connection from `local`: the kind of its timer, and when it fires.
    fn timer(local: SocketAddr) -> (String, Duration) {
        let all = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        let port = format!(":{:04X}", local.port());
        // An older connection of that port may still be waited for.
        let established = |line: &Vec<&str>| line[1].ends_with(&port) && line[3] == "01";
        let line = all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(established);
        let (kind, ticks) = line.as_ref().and_then(|line| line[5].split_once(':')).unwrap();
        (kind.to_owned(), Duration::from_millis(u64::from_str_radix(ticks, 16).unwrap() * 10))
    }

    #[tokio::test]
    async fn a_connection_without_a_word_is_asked_whether_it_lives() {
        let (listener, client) = listening().await;
        let asked = tokio::spawn(async move { client.apiserver_version().await.map(drop) });
        let (mut stream, local) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        // The kernel's timer of the request itself may come first.
        let mut found = timer(local);
        for _ in 0..50 {
            if found.0 == "02" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            found = timer(local);
        }
        let (kind, fires) = found;
        assert_eq!(kind, "02", "the timer of keepalive");
        assert!(fires <= limits::KEEPALIVE, "{fires:?}");
        asked.abort();
    }

    #[test]
    fn only_a_missing_right_is_to_be_granted() {
        let forbidden = |why: &str| {
            let message = format!("deployments.apps \"edge\" is forbidden: {why}");
            explain(&kube::Error::Api(Box::new(kube::core::Status::failure(&message, "Forbidden").with_code(403))))
        };
        let missing = forbidden("User \"system:serviceaccount:a:b\" cannot patch resource \"deployments\" in API group \"apps\"");
        assert!(missing.ends_with("(grant it to the service account, or run `windrose install`)"), "{missing}");
        for other in ["exceeded quota: q", "unable to create new content in namespace a because it is being terminated"] {
            assert!(forbidden(other).ends_with(other), "{}", forbidden(other));
        }
    }
}
