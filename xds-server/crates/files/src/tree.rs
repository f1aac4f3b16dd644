//! One YAML document as a tree in which every key and value knows its place.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{MessageFormatter as _, Spanned, UserMessageFormatter};
use windrose_vocab::{FieldPath, Segment};

use crate::limits;

/// A value and where it stands in the document.
pub struct Located {
    value: Tree,
    spot: Spot,
}

enum Tree {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Located>),
    Mapping(Vec<(Key, Located)>),
}

struct Key {
    name: String,
    spot: Spot,
}

/// A place in a document: line and column from 1, and the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

/// Why a text is not a YAML document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong.
    pub message: String,
    /// Line of the text, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Which part of a member is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Value,
}

impl fmt::Debug for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values may be secret.
        write!(f, "Located({}:{})", self.spot.line, self.spot.column)
    }
}

/// Reads one document, as YAML 1.2 says: `yes` is a text. `010`, which is ten there and eight to older readers, is a number but no
/// integer, so that a field that wants one refuses it. Keys may stand once; `<<` merges; aliases are bounded.
///
/// # Errors
/// When it is malformed, holds a number that JSON does not have, or is larger than the limits.
pub fn parse(text: &str) -> Result<Located, SyntaxError> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_events: limits::NODES_MAX * 2,
            max_nodes: limits::NODES_MAX,
            max_depth: limits::DEPTH_MAX,
            max_recorded_anchor_events: limits::ALIASED_NODES_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: limits::ALIASED_NODES_MAX },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax_error(&error))
}

fn syntax_error(error: &serde_saphyr::Error) -> SyntaxError {
    let location = error.location().filter(|location| location.line() > 0);
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let message = UserMessageFormatter.format_message(error.without_snippet()).trim_end_matches('.').to_owned();
    let (line, column) = location.map_or((1, 1), |location| (number(location.line()), number(location.column())));
    SyntaxError { message, line, column }
}

impl Located {
    /// The value without its places.
    #[must_use]
    pub fn to_node(&self) -> Value {
        match &self.value {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Number(number) => Value::Number(number.clone()),
            Tree::Text(text) => Value::String(text.clone()),
            Tree::List(items) => items.iter().map(Self::to_node).collect(),
            Tree::Mapping(members) => Value::Object(members.iter().map(|(key, value)| (key.name.clone(), value.to_node())).collect()),
        }
    }

    /// The place of `field`, or of the nearest thing above it that is there. A mapping or list is shown by its key.
    pub(crate) fn locate(&self, field: &FieldPath, part: Part) -> Spot {
        let mut value = self;
        let mut spot = self.spot;
        for segment in field.segments() {
            let Some((key, inner)) = value.member(segment) else { return spot };
            spot = match (key, part, inner.is_scalar()) {
                (Some(key), Part::Key, _) | (Some(key), Part::Value, false) => key.spot,
                (None, ..) | (Some(_), Part::Value, true) => inner.spot,
            };
            value = inner;
        }
        spot
    }

    fn member(&self, segment: &Segment) -> Option<(Option<&Key>, &Self)> {
        match (&self.value, segment) {
            (Tree::Mapping(members), Segment::Field(name)) => {
                members.iter().find(|(key, _)| *key.name == **name).map(|(key, value)| (Some(key), value))
            }
            (Tree::List(items), Segment::Index(index)) => items.get(*index).map(|item| (None, item)),
            _ => None,
        }
    }

    fn is_scalar(&self) -> bool {
        match &self.value {
            Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => true,
            Tree::Null | Tree::List(_) | Tree::Mapping(_) => false,
        }
    }
}

impl<T> From<&Spanned<T>> for Spot {
    fn from(spanned: &Spanned<T>) -> Self {
        let location = spanned.defined;
        let span = location.span();
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            line: number(location.line()),
            column: number(location.column()),
            offset: span.byte_offset().map_or(0, number),
            length: span.byte_len().map_or(0, number),
        }
    }
}

impl<'de> Deserialize<'de> for Located {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Tree>::deserialize(deserializer)?;
        Ok(Self { spot: Spot::from(&spanned), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Number(number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Tree, E> {
        serde_json::Number::from_f64(number).map(Tree::Number).ok_or_else(|| E::custom("a number that is infinite or none at all"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Tree, E> {
        Ok(Tree::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = access.next_key::<Spanned<Option<String>>>()? {
            let spot = Spot::from(&key);
            let name = key.value.ok_or_else(|| A::Error::custom("a key must be a text"))?;
            members.push((Key { name, spot }, access.next_value()?));
        }
        Ok(Tree::Mapping(members))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_have_the_types_that_yaml_says() {
        let text =
            "a: 010\nb: 0o10\nc: 0x1f\nd: '010'\ne: 1e3\nf: yes\ng: ~\nh:\ni: 18446744073709551615\nj: !!str 12\nk: true\n1: x\nl: -7\n";
        let expected = json!({"a": 10.0, "b": 8, "c": 31, "d": "010", "e": 1000.0, "f": "yes", "g": null, "h": null,
            "i": 18_446_744_073_709_551_615_u64, "j": "12", "k": true, "1": "x", "l": -7});
        assert_eq!(parse(text).unwrap().to_node(), expected);
    }

    #[test]
    fn anchors_and_merge_keys_are_followed_to_where_they_are_defined() {
        let tree = parse("base: &b\n  x: 1\n  y: [1, 2]\nd:\n  <<: *b\n  x: 9\ne: *b\n").unwrap();
        assert_eq!(tree.to_node(), json!({"base": {"x": 1, "y": [1, 2]}, "d": {"x": 9, "y": [1, 2]}, "e": {"x": 1, "y": [1, 2]}}));
        let place = |path: &str| {
            let spot = tree.locate(&FieldPath::parse(path), Part::Value);
            (spot.line, spot.column)
        };
        assert_eq!([place("d.x"), place("d.y[1]"), place("e.x")], [(6, 6), (3, 10), (2, 6)]);
    }

    #[test]
    fn places_are_those_of_key_value_and_the_nearest_parent() {
        let tree = parse("spec:\n  rules:\n  - matches: []\n    name: a\n").unwrap();
        let place = |path: &str, part| {
            let spot = tree.locate(&FieldPath::parse(path), part);
            (spot.line, spot.column, spot.length)
        };
        assert_eq!(place("spec.rules[0].name", Part::Value), (4, 11, 1));
        assert_eq!(place("spec.rules[0].name", Part::Key), (4, 5, 4));
        assert_eq!(place("spec.rules[0].matches", Part::Value), (3, 5, 7));
        assert_eq!(place("spec.rules[1].name", Part::Value), (2, 3, 5));
    }

    #[test]
    fn what_is_no_yaml_says_where_and_why() {
        let cases = [
            ("a:\n\tb: 1\n", (2, 2), "tab"),
            ("a: 1\na: 2\n", (2, 1), "duplicate"),
            ("a: [1,2\nb: c\n", (2, 2), "':'"),
            ("a: *nope\n", (1, 4), "unknown"),
            ("a: .inf\n", (1, 4), "inf"),
            ("? [a, b]\n: c\n", (1, 3), ""),
            ("null: x\n", (1, 1), "key"),
            ("a: 'x", (1, 4), "quote"),
        ];
        for (text, place, word) in cases {
            let error = parse(text).unwrap_err();
            assert_eq!((error.line, error.column), place, "{text:?}: {}", error.message);
            assert!(error.message.contains(word), "{text:?}: {}", error.message);
        }
    }

    #[test]
    fn an_alias_bomb_and_a_deep_nest_are_refused() {
        let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for (name, inner) in ('b'..='i').zip('a'..) {
            bomb.push_str(&format!("{name}: &{name} [*{inner},*{inner},*{inner},*{inner},*{inner},*{inner},*{inner},*{inner},*{inner}]\n"));
        }
        assert!(parse(&bomb).is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
    }
}
