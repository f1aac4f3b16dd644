//! JSON text, read token by token and strictly by RFC 8259, and written. Knows no protobuf.
//! The reader never looks back and never builds a tree; the caller says what it expects next.

use std::borrow::Cow;

use crate::limits;
use crate::order::sort;
use crate::refusal::{Refusal, Result, shown};

/// A cursor over one JSON text.
#[derive(Clone, Debug)]
pub struct Json<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Json<'a> {
    /// Starts before the first value.
    ///
    /// # Errors
    /// The bytes are not UTF-8, or begin with a byte order mark.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| Refusal::new("the body is not UTF-8"))?;
        if text.starts_with('\u{feff}') {
            return Err(Refusal::new("the body begins with a byte order mark, which JSON does not allow"));
        }
        Ok(Self { text, at: 0 })
    }

    /// The first byte of the next token, not consumed; `None` at the end.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            let byte = *bytes.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Consumes one punctuation byte, or says what was there instead.
    ///
    /// # Errors
    /// Anything else comes next.
    #[inline]
    pub fn expect(&mut self, byte: u8) -> Result<()> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.unexpected(&format!("\"{}\"", char::from(byte))))
    }

    /// Consumes the byte if it comes next.
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Nothing but white space may follow.
    ///
    /// # Errors
    /// Something does.
    pub fn end(&mut self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.unexpected("the end of the body")) }
    }

    /// After one member or element: true when another follows, false when `close` ended the container.
    ///
    /// # Errors
    /// Neither, or a trailing comma.
    #[inline]
    pub fn more(&mut self, close: u8) -> Result<bool> {
        if self.take(b',') {
            if self.peek() == Some(close) {
                return Err(self.unexpected("a value after the comma"));
            }
            return Ok(true);
        }
        if self.take(close) {
            return Ok(false);
        }
        Err(self.unexpected(&format!("\",\" or \"{}\"", char::from(close))))
    }

    /// Opens a container: true when it has a first member or element.
    ///
    /// # Errors
    /// Another token comes next.
    #[inline]
    pub fn open(&mut self, open: u8, close: u8) -> Result<bool> {
        self.expect(open)?;
        Ok(!self.take(close))
    }

    /// A member's key and its colon.
    ///
    /// # Errors
    /// Not a string, or no colon.
    #[inline]
    pub fn key(&mut self) -> Result<Cow<'a, str>> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key in double quotes"));
        }
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    /// `true`, `false` or `null`, if that word comes next.
    #[inline]
    pub fn word(&mut self, word: &str) -> bool {
        self.peek();
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    /// A string; borrowed when it has no escapes.
    ///
    /// # Errors
    /// No string, an unknown escape, a lone surrogate, a raw control character, or no end.
    #[inline]
    pub fn string(&mut self) -> Result<Cow<'a, str>> {
        self.expect(b'"')?;
        let start = self.at;
        self.at += plain_run(self.rest().as_bytes());
        if self.text.as_bytes().get(self.at) == Some(&b'"') {
            let plain = self.text.get(start..self.at).unwrap_or_default();
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        self.escaped(start).map(Cow::Owned)
    }

    /// The text of a number, checked against the grammar.
    ///
    /// # Errors
    /// Not a number, or a very long one.
    #[inline]
    pub fn number(&mut self) -> Result<&'a str> {
        self.peek();
        let length = number_length(self.rest().as_bytes());
        match self.text.get(self.at..self.at + length) {
            Some(number) if length > 0 && length <= limits::NUMBER_CHARS_MAX => {
                self.at += length;
                Ok(number)
            }
            _ => Err(self.unexpected("a number")),
        }
    }

    /// Passes over one value of any type, checking all of it, duplicate keys included.
    ///
    /// # Errors
    /// Not JSON, or nested too deep.
    pub fn skip(&mut self, depth: u32) -> Result<()> {
        if depth > limits::NESTING_MAX {
            return Err(Refusal::too_deep());
        }
        match self.peek() {
            Some(b'{') => {
                let mut keys = Keys::default();
                let mut more = self.open(b'{', b'}')?;
                while more {
                    keys.push(self.key()?);
                    self.skip(depth + 1)?;
                    more = self.more(b'}')?;
                }
                keys.all_different()
            }
            Some(b'[') => {
                let mut more = self.open(b'[', b']')?;
                while more {
                    self.skip(depth + 1)?;
                    more = self.more(b']')?;
                }
                Ok(())
            }
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            _ if self.word("true") || self.word("false") || self.word("null") => Ok(()),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// A refusal that says what was expected and what is there.
    #[cold]
    #[must_use]
    pub fn unexpected(&mut self, expected: &str) -> Box<Refusal> {
        let got = match self.peek() {
            None => "the end".to_owned(),
            Some(b'{') => "an object".to_owned(),
            Some(b'[') => "an array".to_owned(),
            Some(b'"') => match self.clone().string() {
                Ok(text) => format!("\"{}\"", shown(&text)),
                Err(refusal) => return refusal,
            },
            Some(_) => {
                let stop = |letter: char| matches!(letter, ',' | '}' | ']' | ':') || letter.is_whitespace();
                let token = self.rest().split(stop).next().filter(|token| !token.is_empty());
                shown(token.or_else(|| self.rest().get(..1)).unwrap_or_default())
            }
        };
        Refusal::new(format!("expected {expected}, got {got}"))
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    #[cold]
    fn escaped(&mut self, start: usize) -> Result<String> {
        let mut out = self.text.get(start..self.at).unwrap_or_default().to_owned();
        loop {
            let run = plain_run(self.rest().as_bytes());
            out.push_str(self.rest().get(..run).unwrap_or_default());
            self.at += run;
            match self.next_byte() {
                Some(b'"') => return Ok(out),
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => return Err(Refusal::new("a string holds a control character that is not escaped")),
                None => return Err(Refusal::new("a string has no end")),
            }
        }
    }

    fn next_byte(&mut self) -> Option<u8> {
        let byte = self.text.as_bytes().get(self.at).copied();
        self.at += usize::from(byte.is_some());
        byte
    }

    fn escape(&mut self) -> Result<char> {
        Ok(match self.next_byte() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            // The byte may be the first of several; step back so that the cursor stays between characters.
            Some(_) => {
                self.at -= 1;
                return Err(Refusal::new("a string holds an unknown escape"));
            }
            None => return Err(Refusal::new("a string has no end")),
        })
    }

    fn unicode_escape(&mut self) -> Result<char> {
        let first = self.hex4()?;
        if !(0xd800..=0xdfff).contains(&first) {
            return char::from_u32(first).ok_or_else(lone_surrogate);
        }
        if first > 0xdbff || !self.rest().starts_with("\\u") {
            return Err(lone_surrogate());
        }
        self.at += 2;
        let second = self.hex4()?;
        if !(0xdc00..=0xdfff).contains(&second) {
            return Err(lone_surrogate());
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or_else(lone_surrogate)
    }

    fn hex4(&mut self) -> Result<u32> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += if value.is_some() { 4 } else { 0 };
        value.ok_or_else(|| Refusal::new("a string holds \\u without four hexadecimal digits"))
    }
}

fn lone_surrogate() -> Box<Refusal> {
    Refusal::new("a string holds a lone surrogate")
}

/// Keys of one object or map, compared when all are known.
#[derive(Debug, Default)]
pub struct Keys<'a>(Vec<Cow<'a, str>>);

impl<'a> Keys<'a> {
    /// Keeps a key.
    pub fn push(&mut self, key: Cow<'a, str>) {
        self.0.push(key);
    }

    /// Sorts and compares: no more than n log n, whatever the keys are.
    ///
    /// # Errors
    /// Two are equal.
    pub fn all_different(mut self) -> Result<()> {
        if self.0.len() < 2 {
            return Ok(());
        }
        sort(&mut self.0, |a, b| a < b);
        for pair in self.0.windows(2) {
            if let [first, second] = pair
                && first == second
            {
                return Err(Refusal::new(format!("the key \"{}\" is given twice", shown(first))));
            }
        }
        Ok(())
    }
}

/// Whether the whole text is a number by the grammar of RFC 8259.
#[must_use]
pub fn is_number(text: &str) -> bool {
    !text.is_empty() && number_length(text.as_bytes()) == text.len()
}

/// Length of the number at the start of the text by the grammar of RFC 8259; 0 when there is none.
fn number_length(text: &[u8]) -> usize {
    let digits = |from: usize| text.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(text.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && text.get(at) == Some(&b'0')) {
        return 0;
    }
    at += whole;
    if text.get(at) == Some(&b'.') {
        match digits(at + 1) {
            0 => return 0,
            fraction => at += 1 + fraction,
        }
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        match digits(at + 1 + sign) {
            0 => return 0,
            exponent => at += 1 + sign + exponent,
        }
    }
    match text.get(at) {
        Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'-') => 0,
        _ => at,
    }
}

/// How many bytes from the start need no escape: eight at a time.
#[inline]
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let found = control | zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c));
        if found != 0 {
            return index * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    words.len() * 8 + tail.iter().take_while(|byte| !matches!(byte, 0..=0x1f | b'"' | b'\\')).count()
}

/// Appends a JSON string with its quotes.
#[inline]
pub fn put_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at_checked(plain_run(rest)).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { break };
        put_escape(out, byte);
        rest = after;
    }
    out.push(b'"');
}

#[cold]
fn put_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let letter = match byte {
        b'"' | b'\\' => byte,
        8 => b'b',
        12 => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            out.extend([digit(byte >> 4), digit(byte & 15)]);
            return;
        }
    };
    out.extend([b'\\', letter]);
}

/// A JSON string with its quotes.
#[must_use]
pub fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    put_string(&mut out, text);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(text: &str) -> Result<()> {
        let mut json = Json::new(text.as_bytes())?;
        json.skip(0)?;
        json.end()
    }

    #[test]
    fn json_is_what_rfc_8259_says() {
        for good in ["null", " [1, -0, 1.5e+3, 0.1]\n", r#"{"a":{"b":[true,false,""]}}"#, r#""\ud83d\ude00\u0041\/""#] {
            assert!(skip(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "{",
            "[1,]",
            r#"{"a":1,}"#,
            "{'a':1}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "0x10",
            "1e",
            "NaN",
            "nul",
            "[1 2]",
            "\"\t\"",
            r#""\x""#,
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83dx""#,
            "\"abc",
            "1 1",
            "// a\n1",
            "\u{feff}1",
            r#"{"a":1,"a":2}"#,
            "\"\\\u{e9}\"",
        ] {
            assert!(skip(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |depth: usize| skip(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        assert!(nested(100).is_ok());
        assert!(nested(102).is_err());
    }

    #[test]
    fn written_strings_are_read_back() {
        for text in ["", "plain and longer than eight", "\"\\\n\r\t\u{8}\u{c}\u{1}\u{7f}é😀", "1234567\"", "12345678\\"] {
            let bytes = quoted(text);
            assert_eq!(Json::new(&bytes).and_then(|mut json| json.string()).unwrap(), text);
            assert_eq!(serde_json::from_slice::<String>(&bytes).unwrap(), text);
        }
    }
}
