//! The read-only HTTP API: health, readiness, metrics, and reports of what runs, for the CLI and for monitoring.
//! It asks a [`Source`] and changes nothing.

pub mod limits;
pub mod report;
mod routes;
mod serve;

use report::{ProxyReport, StatusReport};

pub use serve::{Listeners, serve};

/// Where the answers come from. Calls may take milliseconds; they run off the async threads.
pub trait Source: Send + Sync + 'static {
    /// `Ok` once the server may be sent traffic; else why not.
    ///
    /// # Errors
    /// The reason, as a person reads it.
    fn ready(&self) -> Result<(), String>;
    /// Equal as long as [`Self::status`] and [`Self::proxies`] would say the same; cheap to ask.
    fn revision(&self) -> String;
    /// Every declared object and what became of it; `only` the one of that id (`KIND/NAMESPACE/NAME`).
    fn status(&self, only: Option<&str>) -> StatusReport;
    /// Every connected proxy.
    fn proxies(&self) -> Vec<ProxyReport>;
    /// Metrics in the OpenMetrics text format 1.0.
    fn metrics(&self) -> String;
}
