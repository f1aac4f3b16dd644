//! The protobuf wire format, read and written without knowing any type.
//! Refuses truncated fields, field number 0, over-long varints and unbalanced groups.

use crate::limits::NESTING_MAX;

/// The bytes are not protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// One field's value as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1, little endian.
    Fixed64(u64),
    /// Wire type 2: string, bytes, message or packed scalars.
    Bytes(&'a [u8]),
    /// Wire types 3 and 4, skipped.
    Group,
    /// Wire type 5, little endian.
    Fixed32(u32),
}

/// A cursor over the fields of one message.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first field.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// True when nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field number and value; `None` at the end.
    ///
    /// # Errors
    /// The bytes are not protobuf.
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.tag()?;
        let value = match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.fixed64()?),
            2 => Value::Bytes(self.bytes()?),
            3 => self.group(number)?,
            5 => Value::Fixed32(self.fixed32()?),
            _ => return Err(Malformed),
        };
        Ok(Some((number, value)))
    }

    fn tag(&mut self) -> Result<(u32, u8), Malformed> {
        let tag = u32::try_from(self.varint()?).map_err(|_| Malformed)?;
        let number = tag >> 3;
        if number == 0 {
            return Err(Malformed);
        }
        Ok((number, (tag & 7) as u8))
    }

    /// A base-128 varint of at most ten bytes.
    ///
    /// # Errors
    /// Truncated or longer than 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            if index == 9 && byte > 1 {
                return Err(Malformed);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// Eight bytes, little endian.
    ///
    /// # Errors
    /// Truncated.
    pub fn fixed64(&mut self) -> Result<u64, Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<8>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*head))
    }

    /// Four bytes, little endian.
    ///
    /// # Errors
    /// Truncated.
    pub fn fixed32(&mut self) -> Result<u32, Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<4>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*head))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        let (head, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    fn group(&mut self, opened: u32) -> Result<Value<'a>, Malformed> {
        let mut open = vec![opened];
        while let Some(&innermost) = open.last() {
            let (number, wire_type) = self.tag()?;
            match wire_type {
                0 => drop(self.varint()?),
                1 => drop(self.fixed64()?),
                2 => drop(self.bytes()?),
                3 if open.len() < NESTING_MAX as usize => open.push(number),
                4 if number == innermost => drop(open.pop()),
                5 => drop(self.fixed32()?),
                _ => return Err(Malformed),
            }
        }
        Ok(Value::Group)
    }
}

/// Appends a varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Appends a length-delimited field: tag, length, bytes.
pub fn put_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    put_varint(out, u64::from(tag));
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The tag of a length-delimited field.
#[must_use]
pub const fn tag_of_bytes(number: u32) -> u32 {
    number << 3 | 2
}

/// Appends a tag and opens a length-delimited field whose length is not known yet; [`close`] takes the result.
#[inline]
pub fn open(out: &mut Vec<u8>, tag: u32) -> usize {
    put_varint(out, u64::from(tag));
    open_untagged(out)
}

/// The same for a value whose tag is written already.
#[inline]
pub fn open_untagged(out: &mut Vec<u8>) -> usize {
    out.push(0);
    out.len()
}

/// Writes the length of what was appended since [`open`], moving it when one byte is not enough.
#[inline]
pub fn close(out: &mut Vec<u8>, start: usize) {
    let length = out.len().saturating_sub(start);
    let slot = start.checked_sub(1).and_then(|at| out.get_mut(at));
    if let (Ok(short @ 0..0x80), Some(slot)) = (u8::try_from(length), slot) {
        *slot = short;
        return;
    }
    let mut prefix = Vec::with_capacity(10);
    put_varint(&mut prefix, length as u64);
    let end = out.len();
    out.resize(end + prefix.len().saturating_sub(1), 0);
    out.copy_within(start..end, start + prefix.len().saturating_sub(1));
    for (slot, byte) in out.iter_mut().skip(start.saturating_sub(1)).zip(prefix) {
        *slot = byte;
    }
}

/// `sint32` and `sint64`: small negative numbers become small varints.
#[must_use]
pub const fn zigzag(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

/// The inverse of [`zigzag`].
#[must_use]
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_field_gets_a_long_length() {
        let mut out = Vec::new();
        let start = open(&mut out, tag_of_bytes(1));
        out.extend(std::iter::repeat_n(7, 300));
        close(&mut out, start);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.next_field(), Ok(Some((1, Value::Bytes(&[7; 300])))));
        assert!(reader.is_empty());
    }

    #[test]
    fn varints_and_zigzag_round_trip() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(Reader::new(&out).varint(), Ok(value));
            assert_eq!(zigzag(unzigzag(value)), value);
        }
    }

    #[test]
    fn truncated_overlong_and_unbalanced_are_malformed() {
        for bytes in [
            &[0x80][..],
            &[0x0a, 5, 1],
            &[0x00, 1],
            &[0x0c],
            &[0x0b, 0x14],
            &[0x0f],
            &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
        ] {
            assert_eq!(Reader::new(bytes).next_field(), Err(Malformed), "{bytes:?}");
        }
        assert_eq!(Reader::new(&[0x0b, 0x10, 1, 0x0c]).next_field(), Ok(Some((1, Value::Group))));
    }
}
