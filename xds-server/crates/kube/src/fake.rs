//! An API server for tests: it answers by what a test says, and notes what it was asked.

use std::sync::{Arc, Mutex};

use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request: method, path with query, body.
pub(crate) type Asked = (String, String, Value);

/// What was asked, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Asked>>>);

impl Log {
    /// Methods with the last part of the path, without the query.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |(method, path, _): &Asked| {
            let path = path.split('?').next().unwrap_or_default();
            format!("{method} {}", path.rsplit('/').next().unwrap_or_default())
        };
        self.all().iter().map(line).collect()
    }

    pub(crate) fn all(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }
}

/// A client of a cluster that answers so: a status and a body. Status 0 is no answer at all.
pub(crate) async fn cluster(answer: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> (Client, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (log, answer) = (Log::default(), Arc::new(answer));
    let noted = log.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (noted, answer) = (noted.clone(), answer.clone());
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                while let Some(asked) = read(&mut stream).await {
                    noted.0.lock().unwrap().push(asked.clone());
                    let (status, value) = answer(&asked);
                    if status == 0 {
                        return std::future::pending().await;
                    }
                    let body = value.to_string();
                    let head = format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
                    stream.write_all((head + &body).as_bytes()).await.unwrap();
                }
            });
        }
    });
    let config = Config::new(format!("http://{at}").parse().unwrap());
    (Client::try_from(config).unwrap(), log)
}

/// What an API server says where it refuses.
pub(crate) fn failure(code: u16, reason: &str) -> (u16, Value) {
    (code, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason, "code": code}))
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let length = lines.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length:").map(|length| length.trim().parse()));
    let mut body = vec![0; length.map_or(0, |length: Result<usize, _>| length.unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    let mut first = lines.first()?.split(' ').map(str::to_owned);
    Some((first.next()?, first.next()?, serde_json::from_slice(&body).unwrap_or_default()))
}
