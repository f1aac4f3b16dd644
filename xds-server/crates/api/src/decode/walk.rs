//! A value walked against its schema: structure first, then single values, then the rules of places that are otherwise right,
//! in the order Kubernetes does it. Defaults are filled in on the way.

use serde_json::{Map, Value};
use windrose_vocab::{Code, Severity};

use super::nearest::suggestion;
use super::report::{Path, Report};
use super::scalar;
use crate::schema::{Additional, Limits, List, Schema, Subject, Type, Verdict};

/// What happens to a member that the schema does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It is an error, and taken out.
    Refused,
    /// It is a warning, and stays: the schema may be older than the object.
    Warned,
}

/// Walks `value`, tells every problem to `report`, and fills in defaults.
pub(crate) fn walk(schema: &Schema, value: &mut Value, unknown: Unknown, at: &Path<'_>, report: &mut Report) {
    if value.is_null() && schema.nullable {
        return;
    }
    if let Some(expected) = schema.types.filter(|expected| !scalar::has_type(*expected, value)) {
        return wrong_type(expected, &schema.limits, value, at, report);
    }
    let before = report.errors();
    match value {
        Value::Object(members) => object(schema, members, unknown, at, report),
        Value::Array(items) => array(schema, items, unknown, at, report),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => scalar::check(&schema.limits, value, at, report),
    }
    combinations(schema, value, at, report);
    if report.errors() == before {
        rules(schema, value, at, report);
    }
}

fn wrong_type(expected: Type, limits: &Limits, value: &Value, at: &Path<'_>, report: &mut Report) {
    let message = format!("expected {}, found {}", scalar::name_of(expected), scalar::describe(value, report));
    let unit = scalar::missing_unit(limits, &value.to_string());
    match unit.or_else(|| scalar::cure(expected, value).map(str::to_owned)) {
        Some(hint) => report.error_with_hint(at, Code::WrongType, message, hint),
        None => report.error(at, Code::WrongType, message),
    }
}

fn object(schema: &Schema, members: &mut Map<String, Value>, unknown: Unknown, at: &Path<'_>, report: &mut Report) {
    absent_and_default(schema, members);
    let names: Vec<String> = members.keys().cloned().collect();
    for name in names {
        let inner = match (schema.properties.get(name.as_str()), &schema.additional) {
            (Some(inner), _) => inner,
            (None, Additional::Each(inner)) => inner,
            (None, Additional::Any) => continue,
            (None, Additional::Refused) => {
                unknown_member(schema, members, &name, unknown, at, report);
                continue;
            }
        };
        if let Some(value) = members.get_mut(&name) {
            walk(inner, value, unknown, &at.field(&name), report);
        }
    }
    let missing: Vec<&str> = schema.required.iter().map(|name| &**name).filter(|name| !members.contains_key(*name)).collect();
    for name in missing {
        // Kubernetes' own programs write an empty list as null.
        if unknown == Unknown::Warned && schema.properties.get(name).is_some_and(|inner| inner.types == Some(Type::Array)) {
            members.insert(name.to_owned(), Value::Array(Vec::new()));
            continue;
        }
        report.error(&at.field(name), Code::MissingField, format!("required field `{name}` is missing"));
    }
    let limits = &schema.limits;
    scalar::check_count(members.len(), (limits.members_min, limits.members_max), "entries", at, report);
}

/// A member that is null is absent, and what is absent has its default, as in Kubernetes.
fn absent_and_default(schema: &Schema, members: &mut Map<String, Value>) {
    for (name, inner) in &schema.properties {
        if !inner.nullable && members.get(&**name).is_some_and(Value::is_null) {
            members.remove(&**name);
        }
        if let Some(default) = inner.default.as_ref().filter(|_| !members.contains_key(&**name)) {
            members.insert(name.to_string(), default.clone());
        }
    }
}

fn unknown_member(schema: &Schema, members: &mut Map<String, Value>, name: &str, unknown: Unknown, at: &Path<'_>, report: &mut Report) {
    let severity = match unknown {
        Unknown::Refused => Severity::Error,
        Unknown::Warned => Severity::Warning,
    };
    let free = schema.properties.keys().map(|known| &**known).filter(|known| !members.contains_key(*known));
    let hint = suggestion(name, free.collect::<Vec<_>>());
    report.tell(&at.field(name), severity, Code::UnknownField, format!("unknown field `{}`", name.escape_debug()), hint);
    if unknown == Unknown::Refused {
        members.remove(name);
    }
}

fn array(schema: &Schema, items: &mut [Value], unknown: Unknown, at: &Path<'_>, report: &mut Report) {
    let limits = &schema.limits;
    scalar::check_count(items.len(), (limits.items_min, limits.items_max), "items", at, report);
    if limits.items_max.is_some_and(|most| items.len() > most) {
        // The rules and comparisons below cost the square of what the limit allows.
        return;
    }
    if let Some(inner) = &schema.items {
        items.iter_mut().enumerate().for_each(|(index, item)| walk(inner, item, unknown, &at.index(index), report));
    }
    unique(&schema.list, items, at, report);
}

fn unique(list: &List, items: &[Value], at: &Path<'_>, report: &mut Report) {
    let identity = |item: &Value| match list {
        List::Atomic => None,
        List::Set => Some(item.to_string()),
        List::Map(keys) => Some(keys.iter().map(|key| item.get(&**key).unwrap_or(&Value::Null).to_string()).collect::<Vec<_>>().join(",")),
    };
    let mut seen = std::collections::BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let Some(identity) = identity(item) else { return };
        if let Some(first) = seen.insert(identity, index) {
            let message = match list {
                List::Atomic | List::Set => format!("is the same as item {first}"),
                List::Map(keys) => format!("has the same {} as item {first}", keys.join(" and ")),
            };
            report.error(&at.index(index), Code::Invalid, message);
        }
    }
}

fn combinations(schema: &Schema, value: &Value, at: &Path<'_>, report: &mut Report) {
    schema.all_of.iter().for_each(|inner| walk(inner, &mut value.clone(), Unknown::Warned, at, report));
    for alternatives in [&schema.any_of, &schema.one_of] {
        let attempts: Vec<Report> = alternatives.iter().map(|inner| attempt(inner, value, at, report)).collect();
        if attempts.iter().all(|attempt| attempt.errors() > 0)
            && let Some(first) = attempts.into_iter().next()
        {
            report.absorb(first);
        }
    }
    if schema.not.as_deref().is_some_and(|inner| attempt(inner, value, at, report).errors() == 0) {
        report.error(at, Code::Invalid, format!("{} is not allowed here", report.shown(value)));
    }
    let fitting = schema.one_of.iter().filter(|inner| attempt(inner, value, at, report).errors() == 0).count();
    if fitting > 1 {
        report.error(at, Code::Invalid, "fits more than one of the shapes that exclude each other");
    }
}

fn attempt(schema: &Schema, value: &Value, at: &Path<'_>, report: &Report) -> Report {
    let mut outcome = Report::new(report.object().clone());
    walk(schema, &mut value.clone(), Unknown::Warned, at, &mut outcome);
    outcome
}

fn rules(schema: &Schema, value: &Value, at: &Path<'_>, report: &mut Report) {
    if schema.rules.is_empty() {
        return;
    }
    let subject = Subject::new(schema, value);
    for rule in &schema.rules {
        match rule.judge(&subject) {
            Verdict::Holds | Verdict::NeedsEarlierObject => {}
            Verdict::Broken => report.error(at, Code::Invalid, &*rule.message),
            // A rule that cannot be asked is not taken for one that holds.
            Verdict::CannotRun => report.error(at, Code::Invalid, format!("cannot be checked: {}", rule.message)),
        }
    }
}
