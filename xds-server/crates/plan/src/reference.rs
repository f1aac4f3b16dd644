//! References from one object to another: whether the target is there, is of a usable kind, and may be named from where it is named.

use windrose_api::declared::backend::ObjectReference;
use windrose_vocab::{Code, Diagnostic, FieldPath, Kind, ObjectKey, ObjectRef, Text};

use crate::world::{Index, View};

/// Why a reference cannot be used, in the words of a condition and of a diagnostic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Gateway API's reason.
    pub(crate) reason: &'static str,
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(reason: &'static str, code: Code, message: impl Into<String>) -> Self {
        Self { reason, code, message: message.into(), hint: None }
    }

    pub(crate) fn hint(self, hint: Option<impl Into<String>>) -> Self {
        Self { hint: hint.map(Into::into), ..self }
    }

    /// The problem at a field of an object.
    pub(crate) fn at(&self, object: &ObjectRef, field: FieldPath) -> Diagnostic {
        let diagnostic = Diagnostic::error(object.clone(), field, self.code, self.message.clone());
        match &self.hint {
            Some(hint) => diagnostic.hint(hint.clone()),
            None => diagnostic,
        }
    }
}

/// The field that `text` spells, from the object down.
pub(crate) fn field(text: &str) -> FieldPath {
    FieldPath::parse(text)
}

/// The kind that a reference names, if it is one of ours.
pub(crate) fn kind_of(reference: &ObjectReference) -> Option<Kind> {
    Kind::parse(&reference.kind).filter(|kind| kind.group() == &*reference.group)
}

/// Namespace and name that a reference made in `namespace` points to.
pub(crate) fn key_of(reference: &ObjectReference, namespace: &Text) -> ObjectKey {
    ObjectKey::new(reference.namespace.as_ref().unwrap_or(namespace).clone(), reference.name.clone())
}

/// Whether `from` may refer to `to`: in its own namespace always, elsewhere by a ReferenceGrant there.
///
/// # Errors
/// The problem with reason `RefNotPermitted`.
pub(crate) fn permitted(view: &View<'_>, from: &ObjectRef, to: &ObjectRef) -> Result<(), Problem> {
    if from.key.namespace == to.key.namespace || granted(view, from, to) {
        return Ok(());
    }
    if view.leaves_out(&to.key.namespace) {
        return Err(left_out("RefNotPermitted", Code::RefNotPermitted, to));
    }
    let message = format!("{to} is in another namespace, and no ReferenceGrant of `{}` allows it", to.key.namespace);
    let hint = format!("declare a ReferenceGrant in `{}` from {} of `{}` to {}", to.key.namespace, from.kind, from.key.namespace, to.kind);
    Err(Problem::new("RefNotPermitted", Code::RefNotPermitted, message).hint(Some(hint)))
}

fn granted(view: &View<'_>, from: &ObjectRef, to: &ObjectRef) -> bool {
    let grants = view.index(Index::Grants(to.key.namespace.clone()));
    let grants: Vec<_> = grants.iter().filter_map(|grant| view.grant(&grant.key)).collect();
    grants.iter().any(|grant| {
        let who = grant
            .spec
            .from
            .iter()
            .any(|who| *who.group == *from.kind.group() && *who.kind == *from.kind.as_str() && who.namespace == from.key.namespace);
        let what = grant.spec.to.iter().any(|what| {
            let named = what.name.as_ref().is_none_or(|name| *name == to.key.name);
            *what.group == *to.kind.group() && *what.kind == *to.kind.as_str() && named
        });
        who && what
    })
}

/// The problem of a target that is not there, with the nearest name as a hint.
pub(crate) fn missing(view: &View<'_>, reason: &'static str, target: &ObjectRef) -> Problem {
    if view.is_unread(target) {
        let message = format!("{} `{}` cannot be read", target.kind, target.key.name);
        return Problem::new(reason, Code::RefNotFound, message).hint(Some("mend it: it says what is wrong"));
    }
    let message = if target.kind.is_cluster_scoped() {
        format!("no {} `{}`", target.kind, target.key.name)
    } else if view.leaves_out(&target.key.namespace) {
        return left_out(reason, Code::RefNotFound, target);
    } else {
        format!("no {} `{}` in namespace `{}`", target.kind, target.key.name, target.key.namespace)
    };
    Problem::new(reason, Code::RefNotFound, message).hint(view.nearest(target.kind, &target.key.namespace, &target.key.name))
}

/// The problem of a target in a namespace that is not selected: whether it is there is not said.
fn left_out(reason: &'static str, code: Code, target: &ObjectRef) -> Problem {
    let message = format!("{target}: namespace `{}` is not selected by this control plane", target.key.namespace);
    Problem::new(reason, code, message).hint(Some("label the Namespace as `--namespace-selector` of `windrose controller` wants it"))
}

/// The problem of a kind that cannot be used where it is named.
pub(crate) fn wrong_kind(reference: &ObjectReference, reason: &'static str, usable: &str) -> Problem {
    let group = if reference.group.is_empty() { String::new() } else { format!("{}/", reference.group) };
    Problem::new(reason, Code::InvalidKind, format!("{group}{} cannot be used here", reference.kind)).hint(Some(format!("use {usable}")))
}
