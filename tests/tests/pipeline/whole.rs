//! The same program with its tables taken whole wherever listeners take them by host: both renderings of a table are
//! judged on every such case, whichever the planner chooses.

use std::sync::Arc;

use windrose_ir::http::RouteSource;
use windrose_ir::{Handler, Listener, Program};

/// The program with whole tables; none where they are whole already.
pub(crate) fn whole(program: &Program) -> Option<Program> {
    let mut result = program.clone();
    for (name, listener) in &program.listeners {
        result.listeners.insert(name.clone(), Arc::new(with_tables(listener)));
    }
    (result != *program).then_some(result)
}

fn with_tables(listener: &Listener) -> Listener {
    let mut listener = listener.clone();
    for chain in &mut listener.chains {
        if let Handler::Http(http) = &mut chain.handler
            && let RouteSource::Scoped(table) = &http.routes
        {
            http.routes = RouteSource::Table(table.clone());
        }
    }
    listener
}
