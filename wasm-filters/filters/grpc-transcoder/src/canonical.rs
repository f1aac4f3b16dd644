//! A message put in the order in which writers put it: one value per singular field (the last; messages merged), repeated
//! values and map entries together, one entry per key, unknown fields gone. Any reader takes both forms for equal.

use crate::limits;
use crate::order::sort;
use crate::proto_to_json::Unprintable;
use crate::schema::{Cardinality, Field, Kind, Message, MessageId, Schema};
use crate::wire::{Reader, Value, put_bytes, put_varint, tag_of_bytes};

type Result<T> = std::result::Result<T, Unprintable>;

/// The ordered form of one message, and of all messages in it.
///
/// # Errors
/// Malformed, or nested deeper than the limit.
pub(crate) fn message(schema: &Schema, id: MessageId, bytes: &[u8], depth: u32) -> Result<Vec<u8>> {
    if depth > limits::NESTING_MAX {
        return Err(Unprintable::TooDeep);
    }
    let message = schema.message(id);
    let mut fields = read(message, bytes)?;
    drop_replaced_oneofs(message, &mut fields);
    sort(&mut fields, |a, b| a.0 < b.0);
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = fields.as_slice();
    while let Some(&(index, _)) = rest.first() {
        let same = rest.iter().take_while(|(at, _)| *at == index).count();
        let (group, after) = rest.split_at_checked(same).unwrap_or((rest, &[]));
        rest = after;
        if let Some(field) = message.fields.get(index) {
            write(schema, field, group, depth, &mut out)?;
        }
    }
    Ok(out)
}

/// What a message says about one field, in the order in which it says it.
///
/// # Errors
/// Malformed.
pub(crate) fn only_field(bytes: &[u8], wanted: u32) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.next_field()? {
        if number == wanted {
            put(&mut out, number, value);
        }
    }
    Ok(out)
}

fn read<'a>(message: &Message, bytes: &'a [u8]) -> Result<Vec<(usize, Value<'a>)>> {
    let mut fields = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.next_field()? {
        if let Some((index, _)) = message.by_number(number, 0) {
            fields.push((index, value));
        }
    }
    Ok(fields)
}

/// Setting one field of a oneof unsets the others that came before.
fn drop_replaced_oneofs(message: &Message, fields: &mut Vec<(usize, Value<'_>)>) {
    let oneof = |index: usize| message.fields.get(index).and_then(|field| field.oneof);
    let mut last: Vec<(u16, usize)> = Vec::new();
    for (index, _) in fields.iter().rev() {
        if let Some(oneof) = oneof(*index)
            && !last.iter().any(|(known, _)| *known == oneof)
        {
            last.push((oneof, *index));
        }
    }
    fields.retain(|(index, _)| oneof(*index).is_none_or(|oneof| last.contains(&(oneof, *index))));
}

fn write(schema: &Schema, field: &Field, values: &[(usize, Value<'_>)], depth: u32, out: &mut Vec<u8>) -> Result<()> {
    match (field.cardinality, field.kind) {
        (Cardinality::Map, Kind::Message(entry)) => return write_map(schema, field, entry, values, depth, out),
        (Cardinality::Repeated, Kind::Message(id)) => {
            for (_, value) in values {
                let ordered = message(schema, id, bytes_of(*value)?, depth + 1)?;
                put_bytes(out, tag_of_bytes(field.number), &ordered);
            }
        }
        (_, Kind::Message(id)) => {
            let mut merged = Vec::new();
            for (_, value) in values {
                merged.extend_from_slice(bytes_of(*value)?);
            }
            let ordered = message(schema, id, &merged, depth + 1)?;
            put_bytes(out, tag_of_bytes(field.number), &ordered);
        }
        (Cardinality::Repeated, _) => values.iter().for_each(|(_, value)| put(out, field.number, *value)),
        _ => values.iter().rev().take(1).for_each(|(_, value)| put(out, field.number, *value)),
    }
    Ok(())
}

fn write_map(schema: &Schema, field: &Field, entry: MessageId, values: &[(usize, Value<'_>)], depth: u32, out: &mut Vec<u8>) -> Result<()> {
    let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for (_, value) in values {
        let ordered = message(schema, entry, bytes_of(*value)?, depth + 1)?;
        entries.push((only_field(&ordered, 1)?, ordered));
    }
    sort(&mut entries, |a, b| a.0 < b.0);
    // Of equal keys the last stays.
    let mut rest = entries.iter().peekable();
    while let Some((key, ordered)) = rest.next() {
        if rest.peek().is_none_or(|(next, _)| next != key) {
            put_bytes(out, tag_of_bytes(field.number), ordered);
        }
    }
    Ok(())
}

fn bytes_of(value: Value<'_>) -> Result<&[u8]> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        Value::Varint(_) | Value::Fixed64(_) | Value::Fixed32(_) | Value::Group => Err(Unprintable::Malformed),
    }
}

fn put(out: &mut Vec<u8>, number: u32, value: Value<'_>) {
    match value {
        Value::Varint(bits) => {
            put_varint(out, u64::from(number << 3));
            put_varint(out, bits);
        }
        Value::Fixed64(bits) => {
            put_varint(out, u64::from(number << 3 | 1));
            out.extend(bits.to_le_bytes());
        }
        Value::Bytes(bytes) => put_bytes(out, tag_of_bytes(number), bytes),
        Value::Fixed32(bits) => {
            put_varint(out, u64::from(number << 3 | 5));
            out.extend(bits.to_le_bytes());
        }
        // A group belongs to no field that this schema has.
        Value::Group => {}
    }
}
