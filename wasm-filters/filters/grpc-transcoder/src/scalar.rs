//! Scalar values between their text (in JSON, in a path, in a query) and the wire, by the proto3 JSON mapping.
//! Exact: no number goes through a floating point type that it was not declared as.

use crate::refusal::{Refusal, Result, shown};
use crate::schema::{Enum, Kind};
use crate::wire::{self, put_varint};

/// Appends the wire form (no tag) of a number given as text: `7`, `7.0`, `1e3`; for floats also `NaN` and `Infinity`.
///
/// # Errors
/// Not a number, not whole where it must be, or out of range.
pub fn put_number(out: &mut Vec<u8>, kind: Kind, text: &str) -> Result<()> {
    match kind {
        Kind::Int32 => put_varint(out, i64::from(ranged::<i32>(kind, text)?).cast_unsigned()),
        Kind::Sint32 => put_varint(out, wire::zigzag(i64::from(ranged::<i32>(kind, text)?))),
        Kind::Sfixed32 => out.extend(ranged::<i32>(kind, text)?.to_le_bytes()),
        Kind::Uint32 => put_varint(out, u64::from(ranged::<u32>(kind, text)?)),
        Kind::Fixed32 => out.extend(ranged::<u32>(kind, text)?.to_le_bytes()),
        Kind::Int64 => put_varint(out, ranged::<i64>(kind, text)?.cast_unsigned()),
        Kind::Sint64 => put_varint(out, wire::zigzag(ranged::<i64>(kind, text)?)),
        Kind::Sfixed64 => out.extend(ranged::<i64>(kind, text)?.to_le_bytes()),
        Kind::Uint64 => put_varint(out, ranged::<u64>(kind, text)?),
        Kind::Fixed64 => out.extend(ranged::<u64>(kind, text)?.to_le_bytes()),
        Kind::Double => out.extend(double(text)?.to_le_bytes()),
        Kind::Float => out.extend(float(text)?.to_le_bytes()),
        Kind::Bool | Kind::String | Kind::Bytes | Kind::Enum(_) | Kind::Message(_) => return Err(unexpected(kind, text)),
    }
    Ok(())
}

/// Appends the wire form (no tag) of a boolean given as text.
///
/// # Errors
/// Neither `true` nor `false`.
pub fn put_bool(out: &mut Vec<u8>, text: &str) -> Result<()> {
    match text {
        "true" => out.push(1),
        "false" => out.push(0),
        _ => return Err(unexpected(Kind::Bool, text)),
    }
    Ok(())
}

/// Appends the wire form (no tag) of an enum value's name.
///
/// # Errors
/// The enum has no such name.
pub fn put_enum_name(out: &mut Vec<u8>, enumeration: &Enum, name: &str) -> Result<()> {
    match enumeration.number_of(name) {
        Some(number) => put_varint(out, i64::from(number).cast_unsigned()),
        None => return Err(Refusal::new(format!("expected a value of {}, got \"{}\"", enumeration.name, shown(name)))),
    }
    Ok(())
}

/// Appends the wire form (no tag) of an enum value's number; numbers without a name are kept, as proto3 does.
///
/// # Errors
/// Not a whole number of 32 bits.
pub fn put_enum_number(out: &mut Vec<u8>, text: &str) -> Result<()> {
    put_number(out, Kind::Int32, text)
}

/// Appends the wire form (with length, no tag) of bytes given as base64.
///
/// # Errors
/// Not base64 in either alphabet.
pub fn put_base64(out: &mut Vec<u8>, text: &str) -> Result<()> {
    let start = wire::open_untagged(out);
    decode_base64(text.as_bytes(), out).ok_or_else(|| Refusal::new(format!("expected base64, got \"{}\"", shown(text))))?;
    wire::close(out, start);
    Ok(())
}

#[cold]
fn unexpected(kind: Kind, text: &str) -> Box<Refusal> {
    Refusal::new(format!("expected {}, got \"{}\"", kind.name(), shown(text)))
}

fn ranged<T: TryFrom<i128> + std::str::FromStr>(kind: Kind, text: &str) -> Result<T> {
    // The common case is plain digits; a leading `+` or zero is for the slow path to refuse.
    if !matches!(text.as_bytes(), [b'+', ..] | [b'0', _, ..] | [b'-', b'0', ..])
        && let Ok(number) = text.parse()
    {
        return Ok(number);
    }
    match whole(text) {
        Whole::Number(number) => T::try_from(number).map_err(|_| out_of_range(kind, text)),
        Whole::TooLarge => Err(out_of_range(kind, text)),
        Whole::Not => Err(unexpected(kind, text)),
    }
}

#[cold]
fn out_of_range(kind: Kind, text: &str) -> Box<Refusal> {
    Refusal::new(format!("{} is out of range for {}", shown(text), kind.name()))
}

enum Whole {
    Number(i128),
    TooLarge,
    Not,
}

/// The exact value of a JSON number if it is whole (`1.50e1` is 15).
fn whole(text: &str) -> Whole {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let well_formed = !integer.is_empty()
        && digits(integer)
        && digits(fraction)
        && !(mantissa.contains('.') && fraction.is_empty())
        && (integer == "0" || !integer.starts_with('0'));
    let exponent_digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if !well_formed || exponent_digits.is_empty() || !digits(exponent_digits) {
        return Whole::Not;
    }
    let fraction = fraction.trim_end_matches('0');
    let significant = || integer.bytes().chain(fraction.bytes());
    if significant().all(|digit| digit == b'0') {
        return Whole::Number(0);
    }
    // An exponent of more than nine digits is far outside every range, in the direction of its sign.
    let exponent = match exponent.parse::<i64>() {
        Ok(exponent) if exponent.abs() < 1_000_000_000 => exponent,
        _ if exponent.starts_with('-') => return Whole::Not,
        _ => return Whole::TooLarge,
    };
    let trailing = if fraction.is_empty() { integer.bytes().rev().take_while(|digit| *digit == b'0').count() } else { 0 };
    let kept = integer.len() + fraction.len() - trailing;
    let scale = exponent + i64::try_from(trailing).unwrap_or(0) - i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    if scale < 0 {
        return Whole::Not;
    }
    let mut value = 0i128;
    let zeros = usize::try_from(scale).unwrap_or(usize::MAX);
    for digit in significant().take(kept).chain(std::iter::repeat_n(b'0', zeros)) {
        value = value * 10 + i128::from(digit - b'0');
        if value > i128::from(u64::MAX) {
            return Whole::TooLarge;
        }
    }
    Whole::Number(if negative { -value } else { value })
}

fn double(text: &str) -> Result<f64> {
    if let Some(special) = special(text) {
        return Ok(special);
    }
    match parsed::<f64>(text) {
        Some(number) if number.is_finite() => Ok(number),
        Some(_) => Err(out_of_range(Kind::Double, text)),
        None => Err(unexpected(Kind::Double, text)),
    }
}

fn float(text: &str) -> Result<f32> {
    match special(text) {
        Some(special) if special.is_nan() => return Ok(f32::NAN),
        Some(special) => return Ok(if special > 0.0 { f32::INFINITY } else { f32::NEG_INFINITY }),
        None => {}
    }
    match parsed::<f32>(text) {
        Some(number) if number.is_finite() => Ok(number),
        Some(_) => Err(out_of_range(Kind::Float, text)),
        None => Err(unexpected(Kind::Float, text)),
    }
}

fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Rust also takes `inf`, `nan`, `+1`, `.5` and `1.`, which JSON does not have.
fn parsed<T: std::str::FromStr>(text: &str) -> Option<T> {
    if crate::json::is_number(text) { text.parse().ok() } else { None }
}

/// Appends what a base64 text stands for: standard or url-safe alphabet, padded or not. `None` when it is neither.
pub fn decode_base64(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let text = match text {
        [body @ .., b'=', b'='] if text.len().is_multiple_of(4) => body,
        [body @ .., b'='] if text.len().is_multiple_of(4) => body,
        _ => text,
    };
    out.reserve(text.len() / 4 * 3 + 2);
    let mut groups = text.chunks_exact(4);
    for group in &mut groups {
        let bits = group.iter().try_fold(0u32, |bits, letter| Some(bits << 6 | sextet(*letter)?))?;
        let [_, first, second, third] = bits.to_be_bytes();
        out.extend([first, second, third]);
    }
    let rest = groups.remainder();
    let bits = rest.iter().try_fold(0u32, |bits, letter| Some(bits << 6 | sextet(*letter)?))?;
    match rest.len() {
        0 => {}
        2 => out.push((bits >> 4 & 0xff) as u8),
        3 => out.extend([(bits >> 10 & 0xff) as u8, (bits >> 2 & 0xff) as u8]),
        _ => return None,
    }
    Some(())
}

#[inline]
fn sextet(letter: u8) -> Option<u32> {
    Some(u32::from(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    }))
}

/// Appends standard base64 with padding.
pub fn encode_base64(bytes: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |bits: u32| ALPHABET.get((bits & 63) as usize).copied().unwrap_or(b'=');
    out.reserve(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let mut letters = [letter(bits >> 18), letter(bits >> 12), letter(bits >> 6), letter(bits)];
        for padding in letters.iter_mut().skip(group.len() + 1) {
            *padding = b'=';
        }
        out.extend(letters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(kind: Kind, text: &str) -> std::result::Result<Vec<u8>, String> {
        let mut out = Vec::new();
        put_number(&mut out, kind, text).map(|()| out).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn whole_numbers_are_exact_in_every_spelling() {
        for (text, number) in
            [("7", 7u64), ("7.0", 7), ("0.7e1", 7), ("70e-1", 7), ("1e3", 1000), ("0e999999999999", 0), ("-0", 0), ("0.00", 0)]
        {
            let mut expected = Vec::new();
            put_varint(&mut expected, number);
            assert_eq!(written(Kind::Uint64, text), Ok(expected), "{text}");
        }
        let mut largest = Vec::new();
        put_varint(&mut largest, u64::MAX);
        assert_eq!(written(Kind::Uint64, "18446744073709551615"), Ok(largest.clone()));
        assert_eq!(written(Kind::Uint64, "1844674407370955161.5e1"), Ok(largest));
        assert_eq!(written(Kind::Int64, "-9223372036854775808").map(|bytes| bytes.len()), Ok(10));
    }

    #[test]
    fn doubles_and_floats_are_read_to_the_last_bit() {
        for text in ["-1.1460160178512247e158", "0.1", "5e-324", "1.7976931348623157e308", "123456789.123456789"] {
            assert_eq!(written(Kind::Double, text), Ok(text.parse::<f64>().unwrap().to_le_bytes().to_vec()), "{text}");
        }
        assert_eq!(written(Kind::Float, "16777217"), Ok(16_777_216f32.to_le_bytes().to_vec()));
    }

    #[test]
    fn ranges_fractions_and_words_are_refused() {
        for (kind, text) in [
            (Kind::Int32, "2147483648"),
            (Kind::Int32, "-2147483649"),
            (Kind::Uint32, "-1"),
            (Kind::Uint64, "18446744073709551616"),
            (Kind::Int64, "1e999999999999"),
            (Kind::Float, "1e39"),
            (Kind::Double, "1e309"),
        ] {
            assert!(written(kind, text).unwrap_err().contains("out of range"), "{text}");
        }
        for text in ["1.5", "", "x", "+1", "01", "-01", " 1", "1 ", "1.", ".5", "1e", "1e-1", "0x1", "1_0", "1e-999999999999", "٣"] {
            assert!(written(Kind::Int32, text).is_err(), "{text}");
        }
        for text in ["inf", "nan", "infinity", "+1", ".5", "1.", "-NaN", ""] {
            assert!(written(Kind::Double, text).is_err(), "{text}");
        }
    }

    #[test]
    fn base64_in_both_alphabets() {
        for (text, bytes) in
            [("", &b""[..]), ("-_8=", &[0xfb, 0xff]), ("+/8", &[0xfb, 0xff]), ("AA==", &[0]), ("AA", &[0]), ("AAAA", &[0, 0, 0])]
        {
            let mut out = Vec::new();
            assert_eq!(decode_base64(text.as_bytes(), &mut out), Some(()), "{text}");
            assert_eq!(out, bytes);
        }
        for text in ["A", "A===", "AA=", "=", "AA==AA==", "A A=", "é"] {
            assert_eq!(decode_base64(text.as_bytes(), &mut Vec::new()), None, "{text}");
        }
        for length in 0..8u8 {
            let bytes: Vec<u8> = (0..length).map(|at| at.wrapping_mul(97)).collect();
            let (mut text, mut back) = (Vec::new(), Vec::new());
            encode_base64(&bytes, &mut text);
            decode_base64(&text, &mut back).unwrap();
            assert_eq!(back, bytes);
        }
    }
}
