//! Which filter and which stream a callback belongs to, and what its verdict means in the ABI. Whatever is unknown here
//! is answered closed: a request without a stream of ours never goes on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};

use windrose_filter_kit::{Caller, Denial, Filter, FilterContext, HeaderMap, Host, LogLevel, Verdict};

use crate::envoy::Envoy;

/// The ABI's "go on".
const CONTINUE: u32 = 0;
/// The ABI's "stop here"; for bodies also "and keep what came".
const STOP: u32 = 1;

/// One VM's filters and streams.
pub struct Shell<F: Filter> {
    filters: RefCell<BTreeMap<u32, Rc<F>>>,
    /// The one that was configured last.
    newest: RefCell<Weak<F>>,
    streams: RefCell<BTreeMap<u32, F::Context>>,
}

impl<F: Filter> fmt::Debug for Shell<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shell").finish_non_exhaustive()
    }
}

impl<F: Filter> Default for Shell<F> {
    fn default() -> Self {
        Self { filters: RefCell::default(), newest: RefCell::new(Weak::new()), streams: RefCell::default() }
    }
}

impl<F: Filter> Shell<F> {
    /// `proxy_on_configure`: 1 when the configuration is in force.
    pub fn on_configure(&self, filter: u32, len: usize) -> u32 {
        let configured = Envoy.plugin_configuration(len).map_err(|error| error.to_string());
        match configured.and_then(|bytes| F::configure(&bytes, &Envoy).map_err(|error| error.to_string())) {
            Ok(mut configured) => {
                let former = self.newest.borrow().upgrade();
                former.iter().for_each(|former| configured.succeed(former, &Envoy));
                let configured = Rc::new(configured);
                self.newest.replace(Rc::downgrade(&configured));
                self.filters.borrow_mut().insert(filter, configured);
                1
            }
            Err(reason) => {
                Envoy.log(LogLevel::Error, &format!("configuration refused: {reason}"));
                0
            }
        }
    }

    /// `proxy_on_context_create`. A stream whose filter is not configured gets no context, and is closed below.
    pub fn on_create(&self, id: u32, parent: u32) {
        let filter = self.filters.borrow().get(&parent).cloned();
        if let Some(filter) = filter {
            self.streams.borrow_mut().insert(id, F::context(&filter));
        }
    }

    /// `proxy_on_delete`, of a stream or of a filter.
    pub fn on_delete(&self, id: u32) {
        let stream = self.streams.borrow_mut().remove(&id);
        let filter = self.filters.borrow_mut().remove(&id);
        drop((stream, filter));
    }

    /// `proxy_on_request_headers`. The one callback that answers for a stream that has no context.
    pub fn on_request_headers(&self, stream: u32, end_of_stream: bool) -> u32 {
        self.run(stream, |context| context.on_request_headers(&Envoy, end_of_stream)).unwrap_or_else(|| {
            let denial = Denial::new(503, "filter_not_ready", "the filter of this route is not in force");
            act(Verdict::Reply(denial.into_reply(caller())))
        })
    }

    /// `proxy_on_request_body`.
    pub fn on_request_body(&self, stream: u32, size: usize, end_of_stream: bool) -> u32 {
        self.run(stream, |context| context.on_request_body(&Envoy, size, end_of_stream)).unwrap_or(STOP)
    }

    /// `proxy_on_request_trailers`.
    pub fn on_request_trailers(&self, stream: u32) -> u32 {
        self.run(stream, |context| context.on_request_trailers(&Envoy)).unwrap_or(STOP)
    }

    /// `proxy_on_response_headers`. Without a context the response is a local reply, ours or another's.
    pub fn on_response_headers(&self, stream: u32, end_of_stream: bool) -> u32 {
        self.run(stream, |context| context.on_response_headers(&Envoy, end_of_stream)).unwrap_or(CONTINUE)
    }

    /// `proxy_on_response_body`.
    pub fn on_response_body(&self, stream: u32, size: usize, end_of_stream: bool) -> u32 {
        self.run(stream, |context| context.on_response_body(&Envoy, size, end_of_stream)).unwrap_or(CONTINUE)
    }

    /// `proxy_on_response_trailers`.
    pub fn on_response_trailers(&self, stream: u32) -> u32 {
        self.run(stream, |context| context.on_response_trailers(&Envoy)).unwrap_or(CONTINUE)
    }

    /// Runs a callback with the stream taken out, so that a host call that comes back in finds no borrow; after a reply
    /// the stream stays out, because the reply passes the response callbacks of this same filter.
    fn run(&self, stream: u32, callback: impl FnOnce(&mut F::Context) -> Verdict) -> Option<u32> {
        let mut context = self.streams.borrow_mut().remove(&stream)?;
        let verdict = callback(&mut context);
        if !matches!(verdict, Verdict::Reply(_)) {
            self.streams.borrow_mut().insert(stream, context);
        }
        Some(act(verdict))
    }
}

fn act(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Continue => CONTINUE,
        Verdict::Pause => STOP,
        Verdict::Reply(reply) => {
            if let Err(error) = Envoy.reply(&reply) {
                Envoy.log(LogLevel::Error, &format!("local reply refused: {error}"));
            }
            STOP
        }
    }
}

fn caller() -> Caller {
    Envoy.headers(HeaderMap::Request).caller()
}
