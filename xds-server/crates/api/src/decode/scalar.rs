//! Single values: type, range, length, pattern, choice and format.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use windrose_vocab::{Code, Hostname};

use super::nearest::choices;
use super::report::{Path, Report};
use crate::schema::{Limits, Type};

/// Whether `value` has that type.
pub(crate) fn has_type(expected: Type, value: &Value) -> bool {
    match expected {
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        Type::Integer => value.is_i64() || value.is_u64(),
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
        Type::IntOrString => value.is_i64() || value.is_u64() || value.is_string(),
    }
}

/// The type in a sentence.
pub(crate) fn name_of(expected: Type) -> &'static str {
    match expected {
        Type::Object => "a mapping",
        Type::Array => "a list",
        Type::String => "a string",
        Type::Integer => "an integer",
        Type::Number => "a number",
        Type::Boolean => "true or false",
        Type::IntOrString => "an integer or a string",
    }
}

/// What was found instead, with the value where it may be said.
pub(crate) fn describe(value: &Value, report: &Report) -> String {
    let shown = report.shown(value).to_string();
    let what = match value {
        Value::Null => return "nothing".to_owned(),
        Value::Bool(_) => "the boolean",
        Value::Number(_) => "the number",
        Value::String(_) => "the string",
        Value::Array(_) => return "a list".to_owned(),
        Value::Object(_) => return "a mapping".to_owned(),
    };
    if shown.starts_with('`') { format!("{what} {shown}") } else { what.replacen("the", "a", 1) }
}

/// What to write instead, where it is plain.
pub(crate) fn cure(expected: Type, value: &Value) -> Option<&'static str> {
    match (expected, value) {
        (Type::String, Value::Bool(_) | Value::Number(_)) => Some("put it in quotes"),
        (Type::Integer | Type::Number, Value::String(text)) if text.parse::<f64>().is_ok() => Some("write it without quotes"),
        (Type::Integer, Value::Number(_)) => Some("write it without a fraction, an exponent or a leading zero"),
        (Type::Boolean, Value::String(text)) if matches!(&*text.to_lowercase(), "yes" | "on" | "y" | "true") => Some("write `true`"),
        (Type::Boolean, Value::String(text)) if matches!(&*text.to_lowercase(), "no" | "off" | "n" | "false") => Some("write `false`"),
        (Type::Array, Value::Object(_) | Value::String(_)) => Some("begin the item with `- `"),
        _ => None,
    }
}

/// The same number with a unit, where that is what is missing.
pub(crate) fn missing_unit(limits: &Limits, text: &str) -> Option<String> {
    let pattern = limits.pattern.as_ref()?;
    let with_unit = format!("{text}s");
    (!pattern.matches(text) && pattern.text.contains("(h|m|s|ms)") && pattern.matches(&with_unit))
        .then(|| format!("write its unit: `{with_unit}` or `{text}ms`"))
}

/// Checks one scalar.
pub(crate) fn check(limits: &Limits, value: &Value, at: &Path<'_>, report: &mut Report) {
    if !limits.choices.is_empty() && !limits.choices.contains(value) {
        return choice(limits, value, at, report);
    }
    match value {
        Value::Number(number) => range(limits, number.as_f64().unwrap_or(f64::NAN), value, at, report),
        Value::String(text) => string(limits, text, value, at, report),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {}
    }
}

/// Checks how many there are of something.
pub(crate) fn check_count(count: usize, (least, most): (Option<usize>, Option<usize>), what: &str, at: &Path<'_>, report: &mut Report) {
    if let Some(least) = least.filter(|least| count < *least) {
        report.error(at, Code::OutOfRange, format!("{count} {what}, at least {least} must be there"));
    }
    if let Some(most) = most.filter(|most| count > *most) {
        report.error(at, Code::OutOfRange, format!("{count} {what}, at most {most} may be there"));
    }
}

fn choice(limits: &Limits, value: &Value, at: &Path<'_>, report: &mut Report) {
    let plain = |choice: &Value| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned);
    let known: Vec<String> = limits.choices.iter().map(plain).collect();
    let message = format!("{} is none of the allowed values", report.shown(value));
    match choices(&plain(value), known.iter().map(String::as_str).collect::<Vec<_>>()) {
        Some(hint) => report.error_with_hint(at, Code::OutOfRange, message, hint),
        None => report.error(at, Code::OutOfRange, message),
    }
}

fn range(limits: &Limits, number: f64, value: &Value, at: &Path<'_>, report: &mut Report) {
    let low = limits.minimum.is_some_and(|minimum| number < minimum);
    let high = limits.maximum.is_some_and(|maximum| number > maximum);
    if !(low || high || number.is_nan()) {
        return;
    }
    let allowed = match (limits.minimum, limits.maximum) {
        (Some(minimum), Some(maximum)) => format!("{minimum} to {maximum}"),
        (Some(minimum), None) => format!("{minimum} or more"),
        (None, Some(maximum)) => format!("{maximum} or less"),
        (None, None) => "a number".to_owned(),
    };
    report.error(at, Code::OutOfRange, format!("{} is out of range: {allowed}", report.shown(value)));
}

fn string(limits: &Limits, text: &str, value: &Value, at: &Path<'_>, report: &mut Report) {
    let length = text.chars().count();
    if let Some(least) = limits.length_min.filter(|least| length < *least) {
        let message = if length == 0 { "is empty".to_owned() } else { format!("has {length} characters, at least {least} are needed") };
        return report.error(at, Code::OutOfRange, message);
    }
    if let Some(most) = limits.length_max.filter(|most| length > *most) {
        return report.error(at, Code::OutOfRange, format!("has {length} characters, at most {most} are allowed"));
    }
    if let Some(pattern) = limits.pattern.as_ref().filter(|pattern| !pattern.matches(text)) {
        let message = format!("{} {}", report.shown(value), explain(&pattern.text, text));
        return match missing_unit(limits, text) {
            Some(hint) => report.error_with_hint(at, Code::OutOfRange, message, hint),
            None => report.error(at, Code::OutOfRange, message),
        };
    }
    if let Some(what) = limits.format.as_deref().and_then(|format| misses(format, text)) {
        report.error(at, Code::OutOfRange, format!("{} is not {what}", report.shown(value)));
    }
}

/// The patterns that people meet most, in words.
const EXPLAINED: [(&str, &str); 8] = [
    (
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "is not a DNS name: lower-case letters, digits, inner `-` and `.`",
    ),
    (r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "is not a DNS label: lower-case letters, digits and inner `-`"),
    (r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", "is not an API group: a DNS name, or empty"),
    (r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$", "is not the name of a kind: letters, digits and inner `-`"),
    (r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$", "is not the name of a header"),
    (r"^[!-~]+([\t ]?[!-~]+)*$", "is not a value that a header can have: visible ASCII, single spaces within"),
    (r"^[ !#-\[\]-~]+$", "is not printable ASCII without quotes and backslashes"),
    ("^([0-9]{1,5}(h|m|s|ms)){1,4}$", "is not a duration such as `1h30m`, `10s` or `500ms`"),
];

fn explain(pattern: &str, text: &str) -> String {
    const HOST: &str = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
    let explained = EXPLAINED.iter().find(|(known, _)| *known == pattern);
    match (explained, Hostname::parse(text)) {
        (Some((_, words)), _) => (*words).to_owned(),
        (None, Err(error)) if pattern == HOST => error.to_string(),
        (None, _) => format!("does not match {pattern}"),
    }
}

/// What the text should have been, if it is not. Formats of Kubernetes, and one of ours; others say nothing.
fn misses(format: &str, text: &str) -> Option<&'static str> {
    match format {
        "ipv4" | "ipv6" | "ip" => text.parse::<IpAddr>().is_err().then_some("an IP address"),
        "socket-address" => text.parse::<SocketAddr>().is_err().then_some("an address with a port such as `127.0.0.1:8080`"),
        "date-time" => (!is_date_time(text)).then_some("a time such as `2026-01-31T12:00:00Z`"),
        "byte" => STANDARD.decode(text.split_ascii_whitespace().collect::<String>()).is_err().then_some("base64"),
        _ => None,
    }
}

fn is_date_time(text: &str) -> bool {
    serde_json::from_value::<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>(text.into()).is_ok()
}
