//! Changes to headers. Envoy takes off first and adds then, as the changes mean it.

use windrose_ir::route::HeaderChanges;
use windrose_vocab::Text;

use crate::pb;
use pb::core::header_value_option::HeaderAppendAction;
use pb::core::{HeaderValue, HeaderValueOption};

/// The changes of one route or backend in Envoy's fields.
pub(super) struct Changes {
    pub(super) request_add: Vec<HeaderValueOption>,
    pub(super) request_remove: Vec<String>,
    pub(super) response_add: Vec<HeaderValueOption>,
    pub(super) response_remove: Vec<String>,
    /// `host` set as a header: Envoy changes it by a rewrite only.
    pub(super) host: Option<String>,
}

impl Changes {
    pub(super) fn of(request: &HeaderChanges, response: &HeaderChanges) -> Self {
        let host = request.set.iter().chain(&request.add).find(|(name, _)| name.eq_ignore_ascii_case("host"));
        Self {
            request_add: additions(request),
            request_remove: removals(request),
            response_add: additions(response),
            response_remove: removals(response),
            host: host.map(|(_, value)| value.to_string()),
        }
    }
}

fn additions(changes: &HeaderChanges) -> Vec<HeaderValueOption> {
    let set = changes.set.iter().map(|header| (header, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = changes.add.iter().map(|header| (header, HeaderAppendAction::AppendIfExistsOrAdd));
    set.chain(add).filter(|((name, _), _)| is_changeable(name)).map(|(header, action)| addition(header, action)).collect()
}

fn addition((name, value): &(Text, Text), action: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        // Envoy reads `%` as the begin of a command of its log language.
        header: Some(HeaderValue { key: name.to_string(), value: value.replace('%', "%%"), raw_value: vec![] }),
        append_action: action as i32,
        keep_empty_value: true,
        ..Default::default()
    }
}

fn removals(changes: &HeaderChanges) -> Vec<String> {
    changes.remove.iter().filter(|name| is_changeable(name)).map(ToString::to_string).collect()
}

/// Envoy refuses a whole table that changes one of the others.
fn is_changeable(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(':') && !name.eq_ignore_ascii_case("host")
}
