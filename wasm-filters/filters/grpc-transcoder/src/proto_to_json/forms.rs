//! The well-known types that have a JSON form of their own: times, masks, Struct and Value, Any.

use super::scalar::low;
use super::{Printer, Result, Unprintable, key_and_value};
use crate::json::put_string;
use crate::limits;
use crate::schema::{Cardinality, Form, Kind, MessageId};
use crate::well_known::{Instant, print_mask_path};
use crate::wire::{Reader, Value};

impl Printer<'_> {
    pub(super) fn quoted(&mut self, text: Option<String>) -> Result {
        put_string(self.out, &text.ok_or(Unprintable::OutOfRange)?);
        Ok(())
    }

    /// Struct and ListValue: the message is its only field.
    pub(super) fn only_container(&mut self, id: MessageId, bytes: &[u8], depth: u32, empty: &[u8; 2]) -> Result {
        let Some(field) = self.schema.message(id).fields.first() else { return Err(Unprintable::Malformed) };
        let [opening, closing] = *empty;
        let mut keys = Vec::new();
        let mut first = true;
        let mut reader = Reader::new(bytes);
        self.out.push(opening);
        while let Some((number, value)) = reader.next_field()? {
            if number != field.number {
                continue;
            }
            if !std::mem::replace(&mut first, false) {
                self.out.push(b',');
            }
            match field.cardinality {
                Cardinality::Map => keys.push(self.entry(field, value, depth)?),
                Cardinality::Repeated | Cardinality::Implicit | Cardinality::Explicit => self.singular(field.kind, value, depth)?,
            }
        }
        self.out.push(closing);
        self.all_different(keys)
    }

    pub(super) fn value(&mut self, bytes: &[u8], depth: u32) -> Result {
        let mut reader = Reader::new(bytes);
        let Some((number, value)) = reader.next_field()? else {
            self.out.extend(b"null");
            return Ok(());
        };
        if !reader.is_empty() {
            return Err(Unprintable::OutOfOrder);
        }
        match (number, value) {
            (1, Value::Varint(_)) => self.out.extend(b"null"),
            (2, Value::Fixed64(bits)) if !f64::from_bits(bits).is_finite() => return Err(Unprintable::OutOfRange),
            (2, value) => self.scalar(Kind::Double, value)?,
            (3, value) => self.scalar(Kind::String, value)?,
            (4, value) => self.scalar(Kind::Bool, value)?,
            (5, value) => self.well_known("google.protobuf.Struct", value, depth)?,
            (6, value) => self.well_known("google.protobuf.ListValue", value, depth)?,
            _ => return Err(Unprintable::OutOfOrder),
        }
        Ok(())
    }

    fn well_known(&mut self, name: &str, value: Value<'_>, depth: u32) -> Result {
        let id = self.schema.message_named(name).ok_or(Unprintable::Malformed)?;
        self.singular(Kind::Message(id), value, depth)
    }

    pub(super) fn any(&mut self, bytes: &[u8], depth: u32) -> Result {
        let (url, value) = key_and_value(bytes)?;
        let (Some(Value::Bytes(url)), value) = (url, value.unwrap_or(Value::Bytes(&[]))) else {
            // Neither type nor value: the empty Any.
            self.out.extend(b"{}");
            return if value.is_none() { Ok(()) } else { Err(Unprintable::UnknownType) };
        };
        let url = std::str::from_utf8(url).map_err(|_| Unprintable::NotUtf8)?;
        let name = url.rsplit('/').next().unwrap_or_default();
        let id = self.schema.message_named(name).ok_or(Unprintable::UnknownType)?;
        let Value::Bytes(value) = value else { return Err(Unprintable::Malformed) };
        if depth >= limits::NESTING_MAX {
            return Err(Unprintable::TooDeep);
        }
        self.out.extend(b"{\"@type\":");
        put_string(self.out, url);
        match self.schema.message(id).form {
            Form::Object | Form::HttpBody => self.members(id, value, depth + 1, false)?,
            _ => {
                self.out.extend(b",\"value\":");
                self.message(id, value, depth + 1)?;
            }
        }
        self.out.push(b'}');
        Ok(())
    }
}

pub(super) fn instant(bytes: &[u8]) -> std::result::Result<Instant, Unprintable> {
    let mut instant = Instant::default();
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.next_field()? {
        match (number, value) {
            (1, Value::Varint(bits)) => instant.seconds = bits.cast_signed(),
            (2, Value::Varint(bits)) => instant.nanos = low(bits).cast_signed(),
            _ => {}
        }
    }
    Ok(instant)
}

pub(super) fn field_mask(bytes: &[u8]) -> std::result::Result<Option<String>, Unprintable> {
    let mut paths: Vec<String> = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.next_field()? {
        if let (1, Value::Bytes(path)) = (number, value) {
            let path = std::str::from_utf8(path).map_err(|_| Unprintable::NotUtf8)?;
            paths.push(print_mask_path(path).ok_or(Unprintable::OutOfRange)?);
        }
    }
    Ok(Some(paths.join(",")))
}
