//! Takes out of a printed resource what must not be seen: keys, passwords, key sets of tokens; and what nobody reads, such
//! as compiled code.

use serde_json::Value as Scalar;

use super::tree::Tree;
use crate::limits::PRINTED_MAX;

/// Fields of SDS secrets whose whole content is secret.
const SECRET_FIELDS: [&str; 6] = ["private_key", "password", "pkcs12", "generic_secret", "session_ticket_keys", "private_key_provider"];

/// Replaces every secret in the tree of a resource of that type.
pub(super) fn secrets(type_url: &str, tree: &mut Tree) {
    match tree {
        Tree::Map(members) if !type_url.is_empty() => {
            for (name, value) in members {
                member(name, value);
            }
        }
        Tree::Map(_) | Tree::List(_) => {}
        // What is no message of its type was not understood: it is not shown.
        Tree::Scalar(_) => hide(tree),
    }
}

fn member(name: &str, value: &mut Tree) {
    match (name, &mut *value) {
        _ if SECRET_FIELDS.contains(&name) => hide(value),
        ("inline_bytes", Tree::Scalar(Scalar::String(text))) if text.len() > PRINTED_MAX => hide(value),
        ("configuration", Tree::Map(members)) => members.iter_mut().for_each(|(_, value)| configuration(value)),
        (_, Tree::Map(members)) => members.iter_mut().for_each(|(name, value)| member(name, value)),
        (_, Tree::List(items)) => items.iter_mut().for_each(|item| member("", item)),
        (_, Tree::Scalar(_)) => {}
    }
}

/// The table of a filter of ours: key sets can hold shared secrets.
fn configuration(value: &mut Tree) {
    let Tree::Scalar(Scalar::String(text)) = value else { return };
    if let Ok(mut json) = serde_json::from_str::<Scalar>(text) {
        hide_keys(&mut json);
        *text = json.to_string();
    }
}

fn hide_keys(json: &mut Scalar) {
    match json {
        Scalar::Object(members) => {
            for (name, value) in members.iter_mut() {
                match value {
                    Scalar::String(text) if name == "jwks" || text.len() > PRINTED_MAX => *value = size(text.len()).into(),
                    other => hide_keys(other),
                }
            }
        }
        Scalar::Array(items) => items.iter_mut().for_each(hide_keys),
        Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) | Scalar::String(_) => {}
    }
}

fn hide(value: &mut Tree) {
    *value = Tree::Scalar(size(length(value)).into());
}

fn length(tree: &Tree) -> usize {
    match tree {
        Tree::Scalar(Scalar::String(text)) => text.len(),
        Tree::Scalar(_) => 0,
        Tree::List(items) => items.iter().map(length).sum(),
        Tree::Map(members) => members.iter().map(|(_, value)| length(value)).sum(),
    }
}

fn size(bytes: usize) -> String {
    format!("[{bytes} characters, not shown]")
}
