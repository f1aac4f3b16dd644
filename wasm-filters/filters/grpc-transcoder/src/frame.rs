//! gRPC's framing of messages: one byte of flags, four bytes of length, the message; many in a chunk, one over many chunks.

/// Bytes before each message.
pub const HEADER_BYTES: usize = 5;

/// Opens a frame at the end of `out`; [`close`] takes the result.
pub fn open(out: &mut Vec<u8>) -> usize {
    out.extend([0; HEADER_BYTES]);
    out.len()
}

/// Writes the length of what was appended since [`open`]; false when it does not fit into 32 bits.
pub fn close(out: &mut [u8], start: usize) -> bool {
    let Ok(length) = u32::try_from(out.len().saturating_sub(start)) else { return false };
    let header = start.checked_sub(4).and_then(|at| out.get_mut(at..start));
    header.is_some_and(|header| {
        header.copy_from_slice(&length.to_be_bytes());
        true
    })
}

/// Why frames cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenFrame {
    /// A compressed message; none was asked for.
    Compressed,
    /// Flags that gRPC does not have.
    Flags,
    /// A message that says it is longer than the limit.
    TooLong,
}

impl std::fmt::Display for BrokenFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Compressed => "the upstream compressed a message although no encoding was accepted",
            Self::Flags => "the upstream sent a frame with unknown flags",
            Self::TooLong => "the upstream sent a message that is longer than the limit",
        })
    }
}

/// Takes messages out of chunks; holds at most one unfinished message.
#[derive(Debug)]
pub struct Deframer {
    bytes: Vec<u8>,
    at: usize,
    message_bytes_max: usize,
}

impl Deframer {
    /// For messages of at most so many bytes.
    #[must_use]
    pub fn new(message_bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), at: 0, message_bytes_max }
    }

    /// Takes the next chunk.
    pub fn push(&mut self, chunk: Vec<u8>) {
        if self.is_empty() {
            self.bytes = chunk;
        } else {
            self.bytes.drain(..self.at);
            self.bytes.extend_from_slice(&chunk);
        }
        self.at = 0;
    }

    /// The next whole message, if it is here.
    ///
    /// # Errors
    /// A frame that cannot be read; nothing after it can.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, BrokenFrame> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(([flags, length @ ..], rest)) = rest.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        match flags {
            0 => {}
            1 => return Err(BrokenFrame::Compressed),
            _ => return Err(BrokenFrame::Flags),
        }
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > self.message_bytes_max {
            return Err(BrokenFrame::TooLong);
        }
        let Some(message) = rest.get(..length) else { return Ok(None) };
        self.at += HEADER_BYTES + length;
        Ok(Some(message))
    }

    /// Whether every byte was part of a message that was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in messages {
            let start = open(&mut out);
            out.extend_from_slice(message);
            assert!(close(&mut out, start));
        }
        out
    }

    fn read_in_chunks(bytes: &[u8], size: usize) -> Result<Vec<Vec<u8>>, BrokenFrame> {
        let mut deframer = Deframer::new(1000);
        let mut messages = Vec::new();
        for chunk in bytes.chunks(size) {
            deframer.push(chunk.to_vec());
            while let Some(message) = deframer.next_message()? {
                messages.push(message.to_vec());
            }
        }
        assert!(deframer.is_empty());
        Ok(messages)
    }

    #[test]
    fn messages_come_out_however_the_bytes_are_cut() {
        let messages: &[&[u8]] = &[b"", b"one", &[7; 300], b"", b"last"];
        let bytes = framed(messages);
        for size in 1..=bytes.len() {
            assert_eq!(read_in_chunks(&bytes, size).unwrap(), messages);
        }
    }

    #[test]
    fn a_length_that_lies_is_not_waited_for() {
        assert_eq!(read_in_chunks(&[0, 0, 0, 0x10, 0, 1], 10), Err(BrokenFrame::TooLong));
        assert_eq!(read_in_chunks(&[0, 0xff, 0xff, 0xff, 0xff], 10), Err(BrokenFrame::TooLong));
        assert_eq!(read_in_chunks(&[1, 0, 0, 0, 0], 10), Err(BrokenFrame::Compressed));
        assert_eq!(read_in_chunks(&[0x80, 0, 0, 0, 0], 10), Err(BrokenFrame::Flags));
        let mut deframer = Deframer::new(10);
        deframer.push(vec![0, 0, 0, 0, 9, 1]);
        assert_eq!(deframer.next_message(), Ok(None));
        assert!(!deframer.is_empty());
    }
}
