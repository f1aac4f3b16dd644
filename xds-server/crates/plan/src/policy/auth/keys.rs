//! Where a provider's keys come from, and whether they can be keys at all (RFC 7517).

use windrose_api::policy::{KeyObject, KeySource, check_key_set};
use windrose_vocab::{Code, Diagnostic, Kind, ObjectRef, Sensitive};

use crate::reference::{field, missing};
use crate::world::View;

const DEFAULT_KEY: &str = "jwks.json";

/// The JWKS document, or none: then the reason is told.
pub(super) fn jwks(view: &View<'_>, policy: &ObjectRef, path: &str, source: &KeySource) -> Option<Sensitive> {
    let found = match (&source.inline, &source.file, &source.object) {
        // Files are read by whoever reads the declaration; what was read stands in `inline`.
        (Some(document), _, None) => Some(Sensitive::new(document.clone().into_bytes())),
        (None, None, Some(object)) => from_object(view, policy, path, object),
        (None, Some(file), None) => {
            view.error(
                policy,
                field(&format!("{path}.file")),
                Code::File,
                format!("file `{file}` was not read; tokens of this provider are refused"),
            );
            None
        }
        _ => {
            view.error(
                policy,
                field(path),
                Code::Invalid,
                "keys come from exactly one of inline, file and object; tokens of this provider are refused",
            );
            None
        }
    }?;
    if let Err(why) = check_key_set(found.expose()).and_then(|()| check_types(found.expose())) {
        view.error(policy, field(path), Code::Invalid, format!("the key set {why}; tokens of this provider are refused"));
        return None;
    }
    Some(found)
}

/// Whether each key says of which type it is; the filter itself judges the rest.
fn check_types(document: &[u8]) -> Result<(), String> {
    let parsed: serde_json::Value = serde_json::from_slice(document).unwrap_or_default();
    let typed = |key: &serde_json::Value| key.get("kty").is_some_and(serde_json::Value::is_string);
    let all = parsed.get("keys").and_then(serde_json::Value::as_array).is_none_or(|keys| keys.iter().all(typed));
    if all { Ok(()) } else { Err("has a key without `kty`".to_owned()) }
}

fn from_object(view: &View<'_>, policy: &ObjectRef, path: &str, object: &KeyObject) -> Option<Sensitive> {
    let namespace = &policy.key.namespace;
    let kind = Kind::parse(&object.kind).filter(|kind| matches!(kind, Kind::Secret | Kind::ConfigMap));
    let Some(kind) = kind else {
        let told = Diagnostic::error(
            policy.clone(),
            field(&format!("{path}.object.kind")),
            Code::InvalidKind,
            format!("{} cannot hold keys", object.kind),
        );
        view.tell(told.hint("use Secret or ConfigMap"));
        return None;
    };
    let target = ObjectRef::new(kind, namespace.clone(), object.name.as_str());
    let name = object.key.as_deref().unwrap_or(DEFAULT_KEY);
    let value = if kind == Kind::Secret {
        view.secret(&target.key).map(|secret| secret.spec.data.get(name).cloned())
    } else {
        view.config_map(&target.key).map(|map| map.spec.data.get(name).map(|bytes| Sensitive::new(bytes.clone())))
    };
    match value {
        Some(Some(value)) => Some(value),
        Some(None) => {
            view.error(
                policy,
                field(&format!("{path}.object.key")),
                Code::RefNotFound,
                format!("{target} has no key `{name}`; tokens of this provider are refused"),
            );
            None
        }
        None => {
            view.tell(missing(view, "RefNotFound", &target).at(policy, field(&format!("{path}.object.name"))));
            None
        }
    }
}
