//! JSON as tokens must be: no member twice at any depth, no deeper than [`NESTING_MAX`], an object at the top. RFC 7519
//! lets parsers differ on duplicates, and where two parsers differ there is an attack.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::limits::NESTING_MAX;

/// Reads a whole JSON object strictly. Linear in the input; the error says nothing of its content.
pub(crate) fn parse_object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { levels_left: NESTING_MAX }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    match value {
        Value::Object(members) => Some(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}

#[derive(Clone, Copy)]
struct Strict {
    levels_left: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let levels_left = self.levels_left.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { levels_left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if values.insert(name, value).is_some() {
                return Err(A::Error::custom("member given twice"));
            }
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "{\"a\":".repeat(levels - 1) + "{}", "}".repeat(levels - 1))
    }

    #[test]
    fn duplicate_members_are_refused_at_every_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"b":2}}"#, r#"{"a":[{"b":1,"b":1}]}"#, r#"{"a":1,"\u0061":2}"#] {
            assert_eq!(parse_object(text.as_bytes()), None, "{text}");
        }
        assert!(parse_object(br#"{"a":{"b":1},"b":{"b":1}}"#).is_some());
    }

    #[test]
    fn nesting_ends_at_32_levels() {
        assert!(parse_object(nested(NESTING_MAX).as_bytes()).is_some());
        assert_eq!(parse_object(nested(NESTING_MAX + 1).as_bytes()), None);
        let arrays = format!("{{\"a\":{}{}}}", "[".repeat(NESTING_MAX), "]".repeat(NESTING_MAX));
        assert_eq!(parse_object(arrays.as_bytes()), None);
    }

    #[test]
    fn only_one_whole_object_is_taken() {
        for text in ["", "[]", "1", "null", "{} {}", "{}x", "\u{feff}{}", "{\"a\":1e999}", "{'a':1}", "{\"a\":1,}", "{\"a\":NaN}"] {
            assert_eq!(parse_object(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}"), None);
        assert!(parse_object(b" {} ").is_some());
    }
}
