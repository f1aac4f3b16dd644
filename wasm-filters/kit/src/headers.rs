//! Header pairs as bytes, in one buffer. Names come from Envoy in lower case; values may be anything, so nothing here
//! assumes UTF-8.

use std::ops::Range;

use crate::Caller;

/// An ordered list of header pairs. It never panics on any content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    buffer: Vec<u8>,
    pairs: Vec<(Range<usize>, Range<usize>)>,
}

impl Headers {
    /// Pairs that lie in one buffer; a range that does not fit reads as empty.
    pub fn from_parts(buffer: Vec<u8>, pairs: Vec<(Range<usize>, Range<usize>)>) -> Self {
        Self { buffer, pairs }
    }

    /// All pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs.iter().map(|(name, value)| (self.slice(name), self.slice(value)))
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The first value of a name (lower case).
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(n, _)| *n == name.as_bytes()).map(|(_, value)| value)
    }

    /// Every value of a name (lower case), in order.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.iter().filter(move |(n, _)| *n == name.as_bytes()).map(|(_, value)| value)
    }

    /// The value of a name that must come at most once: `Err` when it is repeated.
    pub fn only(&self, name: &str) -> Result<Option<&[u8]>, Repeated> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() { Err(Repeated) } else { Ok(first) }
    }

    /// The first value of a name, where it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.first(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// How the sender of these request headers wants to hear a refusal.
    pub fn caller(&self) -> Caller {
        match self.first("content-type") {
            Some(value) if is_grpc(value) => Caller::Grpc,
            Some(_) | None => Caller::Http,
        }
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.buffer.get(range.clone()).unwrap_or_default()
    }
}

/// A header came more than once where one is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

/// Collects pairs into [`Headers`].
#[derive(Clone, Debug, Default)]
pub struct HeadersBuilder {
    headers: Headers,
}

impl HeadersBuilder {
    /// Appends one pair.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let name = self.append(name);
        let value = self.append(value);
        self.headers.pairs.push((name, value));
    }

    /// The collected pairs.
    #[must_use]
    pub fn build(self) -> Headers {
        self.headers
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.headers.buffer.len();
        self.headers.buffer.extend_from_slice(bytes);
        start..self.headers.buffer.len()
    }
}

/// `application/grpc`, alone or followed by `+proto` and the like or parameters; not `application/grpc-web`, whose
/// callers Envoy does not answer with trailers only.
fn is_grpc(content_type: &[u8]) -> bool {
    match content_type.strip_prefix(b"application/grpc") {
        Some(rest) => matches!(rest.first(), None | Some(b'+' | b';' | b' ')),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &[u8])]) -> Headers {
        let mut builder = HeadersBuilder::default();
        for (name, value) in pairs {
            builder.push(name.as_bytes(), value);
        }
        builder.build()
    }

    #[test]
    fn values_need_not_be_utf8() {
        let headers = headers(&[("a", b"\xff\xfe"), ("b", b"x")]);
        assert_eq!(headers.first("a"), Some(b"\xff\xfe".as_slice()));
        assert_eq!((headers.text("a"), headers.text("b")), (None, Some("x")));
    }

    #[test]
    fn a_repeated_header_is_seen_as_repeated() {
        let headers = headers(&[("a", b"1"), ("b", b"2"), ("a", b"3")]);
        assert_eq!(headers.only("a"), Err(Repeated));
        assert_eq!(headers.only("b"), Ok(Some(b"2".as_slice())));
        assert_eq!(headers.only("c"), Ok(None));
    }

    #[test]
    fn a_range_outside_the_buffer_reads_as_empty() {
        let headers = Headers::from_parts(b"ab".to_vec(), vec![(0..1, 5..9)]);
        assert_eq!(headers.first("a"), Some(b"".as_slice()));
    }

    #[test]
    fn grpc_callers_are_known_by_content_type() {
        for grpc in ["application/grpc", "application/grpc+proto", "application/grpc;charset=x"] {
            assert_eq!(headers(&[("content-type", grpc.as_bytes())]).caller(), Caller::Grpc, "{grpc}");
        }
        for http in ["application/json", "application/grpc-web", "application/grpcx"] {
            assert_eq!(headers(&[("content-type", http.as_bytes())]).caller(), Caller::Http, "{http}");
        }
    }
}
