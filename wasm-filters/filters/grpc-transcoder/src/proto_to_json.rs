//! One pass from protobuf bytes to JSON text, driven by the schema, without a tree between.
//! A message whose fields do not stand as writers put them is put in order first (`canonical`); that is rare.

mod forms;
mod scalar;

use std::ops::Range;

use self::forms::{field_mask, instant};
use crate::canonical;
use crate::limits;
use crate::order::sort;
use crate::schema::{Cardinality, Field, Form, Kind, MessageId, Schema};
use crate::seen::Seen;
use crate::well_known::{print_duration, print_timestamp};
use crate::wire::{Malformed, Reader, Value};

/// How a response is written; the options of the proto3 JSON mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Printing {
    /// Write fields without presence, repeated fields and maps also when they are empty.
    pub always_print_primitive_fields: bool,
    /// `unit_price`, not `unitPrice`.
    pub preserve_proto_field_names: bool,
    /// Enum values as numbers.
    pub enums_as_ints: bool,
}

/// Why a message of the upstream cannot be written as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unprintable {
    /// Not protobuf, or not of this type.
    Malformed,
    /// A string field that is not UTF-8.
    NotUtf8,
    /// Nested deeper than the limit.
    TooDeep,
    /// The text would be longer than the limit.
    TooLong,
    /// A time, duration or field mask outside what JSON can say.
    OutOfRange,
    /// `google.protobuf.Any` of a type that the schema does not have.
    UnknownType,
    /// Fields that must be merged or sorted first; never leaves this module.
    OutOfOrder,
}

impl std::fmt::Display for Unprintable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the response is not a message of its type",
            Self::NotUtf8 => "a string of the response is not UTF-8",
            Self::TooDeep => "the response is nested too deep",
            Self::TooLong => "the response is too long",
            Self::OutOfRange => "a time, duration or field mask of the response is out of range",
            Self::UnknownType => "the response holds a google.protobuf.Any of an unknown type",
            Self::OutOfOrder => "the fields of the response are out of order",
        })
    }
}

impl std::error::Error for Unprintable {}

impl From<Malformed> for Unprintable {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

type Result = std::result::Result<(), Unprintable>;

/// Appends one message as JSON; at most `bytes_max` are written.
///
/// # Errors
/// See [`Unprintable`]; what was appended by then is taken back.
pub fn print_message(schema: &Schema, printing: Printing, id: MessageId, bytes: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result {
    print(
        schema,
        printing,
        out,
        bytes_max,
        |printer, bytes| printer.message(id, bytes, 0),
        |depth| canonical::message(schema, id, bytes, depth),
        bytes,
    )
}

/// Appends one field of a message as JSON (`response_body`); an absent field as `null`.
///
/// # Errors
/// See [`Unprintable`]; what was appended by then is taken back.
pub fn print_field(
    schema: &Schema,
    printing: Printing,
    (id, number): (MessageId, u32),
    bytes: &[u8],
    out: &mut Vec<u8>,
    bytes_max: usize,
) -> Result {
    // The field alone is a message too: everything else is left out, and the braces and the name are taken off.
    let message = schema.message(id);
    let Some((_, field)) = message.by_number(number, 0) else { return Err(Unprintable::Malformed) };
    let only = canonical::only_field(bytes, number)?;
    let start = out.len();
    print(
        schema,
        printing,
        out,
        bytes_max,
        |printer, bytes| printer.present(id, bytes),
        |depth| canonical::message(schema, id, &only, depth),
        &only,
    )?;
    let prefix = if printing.preserve_proto_field_names { &field.name_prefix } else { &field.json_prefix };
    if out.len() == start + 2 {
        out.truncate(start);
        Printer { schema, printing, out, end: usize::MAX }.absent(field);
        return Ok(());
    }
    out.drain(start..start + 1 + prefix.len());
    out.pop();
    Ok(())
}

fn print(
    schema: &Schema,
    printing: Printing,
    out: &mut Vec<u8>,
    bytes_max: usize,
    one_pass: impl Fn(&mut Printer<'_>, &[u8]) -> Result,
    in_order: impl Fn(u32) -> std::result::Result<Vec<u8>, Unprintable>,
    bytes: &[u8],
) -> Result {
    let start = out.len();
    let end = start.saturating_add(bytes_max);
    let mut result = one_pass(&mut Printer { schema, printing, out, end }, bytes);
    if result == Err(Unprintable::OutOfOrder) {
        out.truncate(start);
        result = in_order(0).and_then(|ordered| one_pass(&mut Printer { schema, printing, out, end }, &ordered));
    }
    if result.is_err() {
        out.truncate(start);
    }
    result
}

struct Printer<'p> {
    schema: &'p Schema,
    printing: Printing,
    out: &'p mut Vec<u8>,
    /// `out` may not become longer than this.
    end: usize,
}

/// The array or map that the writer is in the middle of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Object,
    Array(usize),
    Map(usize),
}

impl<'p> Printer<'p> {
    fn message(&mut self, id: MessageId, bytes: &[u8], depth: u32) -> Result {
        if depth > limits::NESTING_MAX {
            return Err(Unprintable::TooDeep);
        }
        if self.out.len() > self.end {
            return Err(Unprintable::TooLong);
        }
        let schema = self.schema;
        let message = schema.message(id);
        match message.form {
            Form::Object | Form::HttpBody => self.object(id, bytes, depth),
            Form::Any => self.any(bytes, depth),
            Form::Timestamp => self.quoted(print_timestamp(instant(bytes)?)),
            Form::Duration => self.quoted(print_duration(instant(bytes)?)),
            Form::FieldMask => self.quoted(field_mask(bytes)?),
            Form::Struct => self.only_container(id, bytes, depth, b"{}"),
            Form::ListValue => self.only_container(id, bytes, depth, b"[]"),
            Form::Value => self.value(bytes, depth),
            Form::Wrapper => match message.fields.first() {
                Some(field) => match only_value(bytes)? {
                    Some(value) => self.scalar(field.kind, value),
                    None => {
                        self.default_of(field.kind);
                        Ok(())
                    }
                },
                None => Err(Unprintable::Malformed),
            },
        }
    }

    /// The object of what is there: absent members are not written, those of members are.
    fn present(&mut self, id: MessageId, bytes: &[u8]) -> Result {
        self.out.push(b'{');
        self.members_present(id, bytes, 0, &mut true)?;
        self.out.push(b'}');
        Ok(())
    }

    fn object(&mut self, id: MessageId, bytes: &[u8], depth: u32) -> Result {
        self.out.push(b'{');
        self.members(id, bytes, depth, true)?;
        self.out.push(b'}');
        Ok(())
    }

    /// The members, without braces; `first` when nothing stands before them.
    fn members(&mut self, id: MessageId, bytes: &[u8], depth: u32, mut first: bool) -> Result {
        let seen = self.members_present(id, bytes, depth, &mut first)?;
        if self.printing.always_print_primitive_fields {
            let schema: &'p Schema = self.schema;
            self.absent_fields(&schema.message(id).fields, &seen, &mut first);
        }
        Ok(())
    }

    /// The members that are there, and which those are.
    fn members_present(&mut self, id: MessageId, bytes: &[u8], depth: u32, first: &mut bool) -> std::result::Result<Seen, Unprintable> {
        let schema: &'p Schema = self.schema;
        let message = schema.message(id);
        let mut reader = Reader::new(bytes);
        let mut seen = Seen::new(message.fields.len());
        let mut oneofs: Vec<u16> = Vec::new();
        let mut within = Within::Object;
        let mut keys: Vec<Range<usize>> = Vec::new();
        let mut hint = 0;
        while let Some((number, value)) = reader.next_field()? {
            let Some((index, field)) = message.by_number(number, hint) else { continue };
            if within != Within::Object && within != Within::Array(index) && within != Within::Map(index) {
                self.leave(&mut within, &mut keys)?;
            }
            let goes_on = within != Within::Object;
            if self.is_nothing(field, value) {
                // The last value holds, also where it is the one that is not written.
                if field.cardinality == Cardinality::Implicit && seen.has(index) {
                    return Err(Unprintable::OutOfOrder);
                }
                continue;
            }
            if !goes_on {
                if !seen.insert(index) {
                    return Err(Unprintable::OutOfOrder);
                }
                self.name(field, first);
            }
            match field.cardinality {
                Cardinality::Implicit | Cardinality::Explicit => {
                    hint = index + 1;
                    if let Some(oneof) = field.oneof {
                        if oneofs.contains(&oneof) {
                            return Err(Unprintable::OutOfOrder);
                        }
                        oneofs.push(oneof);
                    }
                    self.singular(field.kind, value, depth)?;
                }
                Cardinality::Repeated => {
                    hint = index;
                    self.out.push(if goes_on { b',' } else { b'[' });
                    within = Within::Array(index);
                    self.elements(field.kind, value, depth)?;
                }
                Cardinality::Map => {
                    hint = index;
                    self.out.push(if goes_on { b',' } else { b'{' });
                    within = Within::Map(index);
                    keys.push(self.entry(field, value, depth)?);
                }
            }
        }
        self.leave(&mut within, &mut keys)?;
        Ok(seen)
    }

    /// Whether a field on the wire says no more than its absence.
    #[inline]
    fn is_nothing(&self, field: &Field, value: Value<'_>) -> bool {
        match field.cardinality {
            Cardinality::Implicit => {
                !self.printing.always_print_primitive_fields
                    && matches!(value, Value::Varint(0) | Value::Fixed32(0) | Value::Fixed64(0) | Value::Bytes(&[]))
            }
            Cardinality::Repeated => field.kind.is_packable() && value == Value::Bytes(&[]),
            Cardinality::Explicit | Cardinality::Map => false,
        }
    }

    fn leave(&mut self, within: &mut Within, keys: &mut Vec<Range<usize>>) -> Result {
        match std::mem::replace(within, Within::Object) {
            Within::Object => {}
            Within::Array(_) => self.out.push(b']'),
            Within::Map(_) => {
                self.out.push(b'}');
                self.all_different(std::mem::take(keys))?;
            }
        }
        Ok(())
    }

    /// Writers do not repeat a key; readers take the last one.
    fn all_different(&self, keys: Vec<Range<usize>>) -> Result {
        if keys.len() < 2 {
            return Ok(());
        }
        let mut keys: Vec<&[u8]> = keys.into_iter().filter_map(|key| self.out.get(key)).collect();
        sort(&mut keys, |a, b| a < b);
        if keys.windows(2).any(|pair| matches!(pair, [first, second] if first == second)) {
            return Err(Unprintable::OutOfOrder);
        }
        Ok(())
    }

    #[inline]
    fn name(&mut self, field: &Field, first: &mut bool) {
        if !std::mem::replace(first, false) {
            self.out.push(b',');
        }
        let prefix = if self.printing.preserve_proto_field_names { &field.name_prefix } else { &field.json_prefix };
        self.out.extend_from_slice(prefix);
    }

    fn absent_fields(&mut self, fields: &[Field], seen: &Seen, first: &mut bool) {
        for (index, field) in fields.iter().enumerate() {
            if field.cardinality != Cardinality::Explicit && !seen.has(index) {
                self.name(field, first);
                self.absent(field);
            }
        }
    }

    fn absent(&mut self, field: &Field) {
        match field.cardinality {
            Cardinality::Repeated => self.out.extend(b"[]"),
            Cardinality::Map => self.out.extend(b"{}"),
            Cardinality::Implicit => self.default_of(field.kind),
            Cardinality::Explicit => self.out.extend(b"null"),
        }
    }

    #[inline]
    fn singular(&mut self, kind: Kind, value: Value<'_>, depth: u32) -> Result {
        match (kind, value) {
            (Kind::Message(id), Value::Bytes(bytes)) => self.message(id, bytes, depth + 1),
            (Kind::Message(_), _) => Err(Unprintable::Malformed),
            (_, value) => self.scalar(kind, value),
        }
    }

    /// One element, or several that are packed.
    fn elements(&mut self, kind: Kind, value: Value<'_>, depth: u32) -> Result {
        let (true, Value::Bytes(packed)) = (kind.is_packable(), value) else {
            return self.singular(kind, value, depth);
        };
        if packed.len() > self.end.saturating_sub(self.out.len()) {
            return Err(Unprintable::TooLong);
        }
        let mut reader = Reader::new(packed);
        let mut first = true;
        while !reader.is_empty() {
            if !std::mem::replace(&mut first, false) {
                self.out.push(b',');
            }
            let value = match kind.wire_type() {
                1 => Value::Fixed64(reader.fixed64()?),
                5 => Value::Fixed32(reader.fixed32()?),
                _ => Value::Varint(reader.varint()?),
            };
            self.scalar(kind, value)?;
        }
        Ok(())
    }

    /// One entry of a map; gives where its key stands in the text.
    fn entry(&mut self, field: &Field, value: Value<'_>, depth: u32) -> std::result::Result<Range<usize>, Unprintable> {
        let (Kind::Message(id), Value::Bytes(bytes)) = (field.kind, value) else { return Err(Unprintable::Malformed) };
        let entry = self.schema.message(id);
        let (Some((_, key_field)), Some((_, value_field))) = (entry.by_number(1, 0), entry.by_number(2, 1)) else {
            return Err(Unprintable::Malformed);
        };
        let (key, value) = key_and_value(bytes)?;
        let start = self.out.len();
        let quotes = !matches!(key_field.kind, Kind::String | Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64);
        if quotes {
            self.out.push(b'"');
        }
        match key {
            Some(key) => self.scalar(key_field.kind, key)?,
            None => self.default_of(key_field.kind),
        }
        if quotes {
            self.out.push(b'"');
        }
        let range = start..self.out.len();
        self.out.push(b':');
        match (value, value_field.kind) {
            (Some(value), kind) => self.singular(kind, value, depth)?,
            (None, Kind::Message(id)) => self.message(id, &[], depth + 1)?,
            (None, kind) => self.default_of(kind),
        }
        Ok(range)
    }
}

/// The last value of field 1.
fn only_value(bytes: &[u8]) -> std::result::Result<Option<Value<'_>>, Unprintable> {
    Ok(key_and_value(bytes)?.0)
}

/// Fields 1 and 2, which must not be repeated.
fn key_and_value(bytes: &[u8]) -> std::result::Result<(Option<Value<'_>>, Option<Value<'_>>), Unprintable> {
    let (mut key, mut found) = (None, None);
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.next_field()? {
        let slot = match number {
            1 => &mut key,
            2 => &mut found,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(Unprintable::OutOfOrder);
        }
    }
    Ok((key, found))
}
