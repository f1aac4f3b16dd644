//! The two traits that a filter's logic implements: the configured filter, and its view of one stream.

use std::rc::Rc;

use crate::{Host, Verdict};

/// Why a configuration was refused: one sentence that names the place and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl ConfigError {
    /// An error from anything that reads as a sentence.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// A configured filter: one per plugin configuration and worker.
pub trait Filter: Sized + 'static {
    /// The filter's view of one stream.
    type Context: FilterContext;

    /// Reads the plugin configuration. An error makes Envoy reject it and keep what served before.
    fn configure(configuration: &[u8], host: &dyn Host) -> Result<Self, ConfigError>;

    /// Takes over from the configuration that served before in this VM, before any request.
    fn succeed(&mut self, _former: &Self, _host: &dyn Host) {}

    /// The view of a new stream; it keeps the `Rc`, so that a stream ends under the configuration it began with.
    fn context(filter: &Rc<Self>) -> Self::Context;
}

/// One stream. Every callback may look at the host and decides; none may panic. `size` is the number of body bytes
/// buffered now, `end_of_stream` says that nothing follows in this direction. Response callbacks can come without a
/// request callback before them: another filter's local reply passes the whole chain.
pub trait FilterContext: 'static {
    /// Request headers are here.
    fn on_request_headers(&mut self, _host: &dyn Host, _end_of_stream: bool) -> Verdict {
        Verdict::Continue
    }

    /// A piece of the request body is here, with all that an earlier `Pause` kept.
    fn on_request_body(&mut self, _host: &dyn Host, _size: usize, _end_of_stream: bool) -> Verdict {
        Verdict::Continue
    }

    /// Request trailers are here.
    fn on_request_trailers(&mut self, _host: &dyn Host) -> Verdict {
        Verdict::Continue
    }

    /// Response headers are here.
    fn on_response_headers(&mut self, _host: &dyn Host, _end_of_stream: bool) -> Verdict {
        Verdict::Continue
    }

    /// A piece of the response body is here, with all that an earlier `Pause` kept.
    fn on_response_body(&mut self, _host: &dyn Host, _size: usize, _end_of_stream: bool) -> Verdict {
        Verdict::Continue
    }

    /// Response trailers are here.
    fn on_response_trailers(&mut self, _host: &dyn Host) -> Verdict {
        Verdict::Continue
    }
}
