//! Sessions that keep their endpoint: a filter that does nothing by itself, and on each route that has sessions what they are known by.
//! A cookie or header names the endpoint. One that is gone, or takes no new requests, is passed over: the balancer picks another, which
//! the answer names.

use windrose_ir::Route;
use windrose_ir::route::{RouteAction, Session};

use crate::pb;
use pb::stateful_session::stateful_session_per_route::Override;
use pb::stateful_session::{StatefulSession, StatefulSessionPerRoute};

const NAME: &str = "envoy.filters.http.stateful_session";

pub(crate) fn filter() -> pb::hcm::HttpFilter {
    super::built_in(NAME, &StatefulSession::default())
}

/// How a route knows its sessions, where it does not hash.
pub(crate) fn per_route(route: &Route) -> Option<(String, pb::google::Any)> {
    let RouteAction::Forward(forward) = &route.action else { return None };
    let state = match forward.session.as_ref()? {
        Session::Hashed => return None,
        Session::Cookie { name, lifetime, path } => {
            let cookie =
                pb::http_types::Cookie { name: name.to_string(), ttl: pb::duration(*lifetime), path: path.to_string(), attributes: vec![] };
            pb::extension("envoy.http.stateful_session.cookie", &pb::session_cookie::CookieBasedSessionState { cookie: Some(cookie) })
        }
        Session::Header(name) => {
            pb::extension("envoy.http.stateful_session.header", &pb::session_header::HeaderBasedSessionState { name: name.to_string() })
        }
    };
    let session = StatefulSession { session_state: Some(state), ..Default::default() };
    let on = StatefulSessionPerRoute { r#override: Some(Override::StatefulSession(session)) };
    Some((NAME.to_owned(), pb::any(&on)))
}
