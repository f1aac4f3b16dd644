//! Everything that the rooms under test logged in this process, at every level.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracing_subscriber::EnvFilter;

static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Keep;

impl Write for Keep {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        written().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn written() -> MutexGuard<'static, Vec<u8>> {
    WRITTEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what is logged from now on.
pub(crate) fn keep() {
    static KEPT: OnceLock<()> = OnceLock::new();
    KEPT.get_or_init(|| {
        let levels = EnvFilter::new("windrose_xds_serve=trace,windrose_xds_session=trace,windrose_state=trace,windrose_pki=trace");
        tracing_subscriber::fmt().with_env_filter(levels).with_ansi(false).with_writer(|| Keep).init();
    });
}

/// All of it.
pub(crate) fn all() -> String {
    String::from_utf8_lossy(&written()).into_owned()
}
