//! The few rules of the protobuf wire format that an envelope around finished bytes needs.

use bytes::{BufMut, BytesMut};

/// The length of `value` as a varint.
pub(crate) fn varint_len(value: usize) -> usize {
    prost::encoding::encoded_len_varint(value as u64)
}

/// The length of a length-delimited field with a number below 16.
pub(crate) fn field_len(length: usize) -> usize {
    1 + varint_len(length) + length
}

/// Opens a length-delimited field (number below 16) of `length` bytes; the caller writes them next.
pub(crate) fn open_field(out: &mut BytesMut, number: u8, length: usize) {
    out.put_u8(number << 3 | 2);
    prost::encoding::encode_varint(length as u64, out);
}

/// Writes a text or bytes field (number below 16).
pub(crate) fn put_field(out: &mut BytesMut, number: u8, value: &[u8]) {
    open_field(out, number, value.len());
    out.put_slice(value);
}
