//! A sample service as a process of its own.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::places;
use crate::process::Process;
use crate::wait::wait_until;

/// How long a sample service may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A running sample service; dropping it kills it.
#[derive(Debug)]
pub struct SampleService {
    process: Process,
    address: SocketAddr,
    _folder: TempDir,
}

impl SampleService {
    /// Starts `orders`, `catalog` or `inventory` at an address, with more arguments, and waits until it listens.
    ///
    /// # Panics
    /// When it does not.
    pub async fn start(service: &str, address: SocketAddr, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = Command::new(places::sample_service());
        command.arg(service).args(["--listen", &address.to_string()]).args(arguments);
        let mut process = Process::start(service, command, &folder.path().join("log"));
        wait_until(START_TIMEOUT, service, async || {
            if let Some(status) = process.ended() {
                panic!("{service} ended with {status}");
            }
            TcpStream::connect(address).await.map(drop).map_err(|cause| cause.to_string())
        })
        .await;
        Self { process, address, _folder: folder }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process: its log, signals, end.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}
