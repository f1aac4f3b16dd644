//! Single values as JSON: numbers, strings, bytes, enum values, and the defaults of all of them.

use super::{Printer, Result, Unprintable};
use crate::json::put_string;
use crate::scalar::encode_base64;
use crate::schema::{Enum, Kind};
use crate::wire::{Value, unzigzag};

impl Printer<'_> {
    pub(super) fn scalar(&mut self, kind: Kind, value: Value<'_>) -> Result {
        match (kind, value) {
            (Kind::String, Value::Bytes(bytes)) => {
                let text = std::str::from_utf8(bytes).map_err(|_| Unprintable::NotUtf8)?;
                put_string(self.out, text);
            }
            (Kind::Bytes, Value::Bytes(bytes)) => {
                self.out.push(b'"');
                encode_base64(bytes, self.out);
                self.out.push(b'"');
            }
            (Kind::Bool, Value::Varint(bits)) => self.out.extend_from_slice(if bits == 0 { b"false" } else { b"true" }),
            (Kind::Int32, Value::Varint(bits)) => self.signed(i64::from(low(bits).cast_signed())),
            (Kind::Uint32, Value::Varint(bits)) => self.unsigned(u64::from(low(bits))),
            (Kind::Sint32, Value::Varint(bits)) => self.signed(unzigzag(u64::from(low(bits)))),
            (Kind::Enum(id), Value::Varint(bits)) => self.enum_value(self.schema.enumeration(id), low(bits).cast_signed()),
            (Kind::Int64, Value::Varint(bits)) | (Kind::Sfixed64, Value::Fixed64(bits)) => self.in_quotes(|p| p.signed(bits.cast_signed())),
            (Kind::Sint64, Value::Varint(bits)) => self.in_quotes(|p| p.signed(unzigzag(bits))),
            (Kind::Uint64, Value::Varint(bits)) | (Kind::Fixed64, Value::Fixed64(bits)) => self.in_quotes(|p| p.unsigned(bits)),
            (Kind::Fixed32, Value::Fixed32(bits)) => self.unsigned(u64::from(bits)),
            (Kind::Sfixed32, Value::Fixed32(bits)) => self.signed(i64::from(bits.cast_signed())),
            (Kind::Double, Value::Fixed64(bits)) => self.double(f64::from_bits(bits)),
            (Kind::Float, Value::Fixed32(bits)) => self.float(f32::from_bits(bits)),
            _ => return Err(Unprintable::Malformed),
        }
        if self.out.len() > self.end { Err(Unprintable::TooLong) } else { Ok(()) }
    }

    pub(super) fn default_of(&mut self, kind: Kind) {
        match kind {
            Kind::String | Kind::Bytes => self.out.extend(b"\"\""),
            Kind::Bool => self.out.extend(b"false"),
            Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => self.out.extend(b"\"0\""),
            Kind::Enum(id) => self.enum_value(self.schema.enumeration(id), 0),
            Kind::Message(_) => self.out.extend(b"{}"),
            Kind::Double | Kind::Float | Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Fixed32 | Kind::Sfixed32 => self.out.push(b'0'),
        }
    }

    pub(super) fn enum_value(&mut self, enumeration: &Enum, number: i32) {
        match enumeration.name_of(number) {
            _ if enumeration.is_null_value => self.out.extend(b"null"),
            Some(name) if !self.printing.enums_as_ints => put_string(self.out, name),
            Some(_) | None => self.signed(i64::from(number)),
        }
    }

    fn in_quotes(&mut self, print: impl FnOnce(&mut Self)) {
        self.out.push(b'"');
        print(self);
        self.out.push(b'"');
    }

    fn signed(&mut self, number: i64) {
        if number < 0 {
            self.out.push(b'-');
        }
        self.unsigned(number.unsigned_abs());
    }

    fn unsigned(&mut self, mut number: u64) {
        let mut digits = [0u8; 20];
        let mut length = 0;
        for slot in digits.iter_mut().rev() {
            *slot = b'0' + (number % 10) as u8;
            length += 1;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.out.extend_from_slice(digits.get(digits.len() - length..).unwrap_or_default());
    }

    fn double(&mut self, number: f64) {
        match number {
            _ if !number.is_finite() => self.not_finite(number),
            _ => self.finite(zmij::Buffer::new().format_finite(number)),
        }
    }

    fn float(&mut self, number: f32) {
        match number {
            _ if !number.is_finite() => self.not_finite(f64::from(number)),
            _ => self.finite(zmij::Buffer::new().format_finite(number)),
        }
    }

    /// The shortest digits that read back the same; whole numbers without a fraction.
    fn finite(&mut self, digits: &str) {
        self.out.extend_from_slice(digits.strip_suffix(".0").unwrap_or(digits).as_bytes());
    }

    fn not_finite(&mut self, number: f64) {
        self.out.extend_from_slice(match number {
            _ if number.is_nan() => b"\"NaN\"".as_slice(),
            _ if number > 0.0 => b"\"Infinity\"",
            _ => b"\"-Infinity\"",
        });
    }
}

/// The low half of a varint: 32-bit fields are cut to it.
pub(super) fn low(bits: u64) -> u32 {
    let [a, b, c, d, ..] = bits.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
