//! The same program with scoped routes wherever all hosts of a table are exact: what SRDS renders is judged on every
//! such case, whether or not the planner takes routes whole there.

use std::sync::Arc;

use windrose_ir::http::RouteSource;
use windrose_ir::route::RouteTable;
use windrose_ir::{Handler, Listener, Program};
use windrose_vocab::{Hostname, Text};

/// The program with scoped routes; none where no listener can take them.
pub(crate) fn scoped(program: &Program) -> Option<Program> {
    let mut result = program.clone();
    for (name, listener) in &program.listeners {
        result.listeners.insert(name.clone(), Arc::new(with_scopes(listener, program)));
    }
    (result != *program).then_some(result)
}

fn with_scopes(listener: &Listener, program: &Program) -> Listener {
    let mut listener = listener.clone();
    for chain in &mut listener.chains {
        let Handler::Http(http) = &mut chain.handler else { continue };
        if let RouteSource::Table(table) = &http.routes
            && is_exact(program, table)
        {
            http.routes = RouteSource::Scoped(table.clone());
        }
    }
    listener
}

fn is_exact(program: &Program, table: &Text) -> bool {
    let exact =
        |table: &Arc<RouteTable>| !table.hosts.is_empty() && table.hosts.iter().all(|host| host.hosts.iter().all(Hostname::is_exact));
    program.routes.get(table).is_some_and(exact)
}
