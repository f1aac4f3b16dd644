//! What could not be read of objects that are read otherwise, and what planning says for that alone: one mistake is told once.

use std::collections::BTreeMap;

use windrose_vocab::{Code, Diagnostic, FieldPath, ObjectRef, Severity};

/// The fields that could not be read.
#[derive(Debug, Default)]
pub(crate) struct ReadErrors(BTreeMap<ObjectRef, Vec<FieldPath>>);

impl<'a> FromIterator<&'a Diagnostic> for ReadErrors {
    fn from_iter<I: IntoIterator<Item = &'a Diagnostic>>(told: I) -> Self {
        let mut fields = BTreeMap::<_, Vec<_>>::new();
        for one in told.into_iter().filter(|one| one.severity == Severity::Error) {
            if let Some(object) = &one.object {
                fields.entry(object.clone()).or_default().push(one.field.clone());
            }
        }
        Self(fields)
    }
}

impl ReadErrors {
    /// Whether planning misses only what reading said of a part of the same field.
    pub(crate) fn explain(&self, planned: &Diagnostic) -> bool {
        let fields = planned.object.as_ref().and_then(|object| self.0.get(object));
        matches!(planned.code, Code::Invalid | Code::MissingField)
            && fields.is_some_and(|fields| fields.iter().any(|field| field.is_within(&planned.field)))
    }
}

#[cfg(test)]
mod tests {
    use windrose_vocab::Kind;

    use super::*;

    #[test]
    fn what_is_missing_because_it_could_not_be_read_is_no_second_mistake() {
        let object = ObjectRef::new(Kind::AuthPolicy, "shop", "a");
        let told = |object: &ObjectRef, field: &str, code| Diagnostic::error(object.clone(), FieldPath::parse(field), code, "");
        let read = [told(&object, "spec.jwt[0].jwks.file", Code::File)];
        let errors: ReadErrors = read.iter().collect();
        assert!(errors.explain(&told(&object, "spec", Code::Invalid)));
        assert!(!errors.explain(&told(&object, "spec.public", Code::Invalid)), "another field");
        assert!(!errors.explain(&told(&object, "spec", Code::Conflicted)), "another mistake");
        assert!(!errors.explain(&told(&ObjectRef::new(Kind::AuthPolicy, "shop", "b"), "spec", Code::Invalid)), "another object");
    }
}
