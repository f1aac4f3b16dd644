//! gRPC messages out of an HTTP/2 request body, one at a time, within limits. Safe to cancel between frames.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use tonic::Status;

use crate::limits;

const PREFIX: usize = 5;

/// The messages of one request.
pub(crate) struct Messages<B> {
    body: B,
    buffer: BytesMut,
}

impl<B> Messages<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    pub(crate) fn new(body: B) -> Self {
        Self { body, buffer: BytesMut::new() }
    }

    /// The next message, `None` when the client is done. Memory grows with what arrived, never with what was announced.
    ///
    /// # Errors
    /// The status that the stream ends with: framing, size, compression, not protobuf, or a connection that broke.
    pub(crate) async fn next<M: prost::Message + Default>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = self.complete()? {
                return decode(message).map(Some);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.take_in(frame),
                Some(Err(error)) => return Err(Status::cancelled(error.to_string())),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Status::invalid_argument("the request ends within a message")),
            }
        }
    }

    /// Reads and forgets until the client is done or gone.
    pub(crate) async fn discard(&mut self) {
        while let Some(Ok(_)) = self.body.frame().await {}
    }

    fn take_in(&mut self, frame: http_body::Frame<Bytes>) {
        let Ok(chunk) = frame.into_data() else { return };
        self.buffer.extend_from_slice(&chunk);
    }

    /// The bytes of a message that is all there.
    fn complete(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(&[compressed, a, b, c, d]) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
        if compressed != 0 {
            return Err(Status::unimplemented("compressed messages are not taken"));
        }
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > limits::REQUEST_BYTES {
            return Err(Status::resource_exhausted(format!("a message of {length} bytes, at most {} are taken", limits::REQUEST_BYTES)));
        }
        if self.buffer.len() < PREFIX + length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        let message = self.buffer.split_to(length).freeze();
        if self.buffer.capacity() > limits::REQUEST_BUFFER_KEPT || self.buffer.is_empty() {
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        Ok(Some(message))
    }
}

/// The text of a decoding error can quote what was sent; the client learns only that it was wrong.
fn decode<M: prost::Message + Default>(bytes: Bytes) -> Result<M, Status> {
    M::decode(bytes).map_err(|_| Status::invalid_argument("the message is not the protobuf of this method"))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http_body::Frame;
    use prost::Message;
    use tonic::Code;

    use super::*;

    struct Chunks(VecDeque<Bytes>);

    impl http_body::Body for Chunks {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
        }
    }

    fn messages(bytes: &[u8], chunk: usize) -> Messages<Chunks> {
        Messages::new(Chunks(bytes.chunks(chunk).map(Bytes::copy_from_slice).collect()))
    }

    fn framed(text: &str) -> Vec<u8> {
        let body = text.to_owned().encode_to_vec();
        let mut all = vec![0];
        all.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        all.extend_from_slice(&body);
        all
    }

    #[tokio::test]
    async fn messages_arrive_whole_however_they_are_cut() {
        let bytes = [framed("one"), framed(""), framed(&"x".repeat(5_000))].concat();
        for chunk in [1, 2, 5, 7, 4_096, bytes.len()] {
            let mut messages = messages(&bytes, chunk);
            for expected in ["one".to_owned(), String::new(), "x".repeat(5_000)] {
                assert_eq!(messages.next::<String>().await.unwrap(), Some(expected));
            }
            assert_eq!(messages.next::<String>().await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn what_is_wrong_ends_in_a_status() {
        let huge = [&[0][..], &u32::MAX.to_be_bytes()].concat();
        let cases = [
            (huge, Code::ResourceExhausted),
            (vec![1, 0, 0, 0, 1, 0], Code::Unimplemented),
            (vec![9, 0, 0, 0, 1, 0], Code::Unimplemented),
            (framed("cut")[..6].to_vec(), Code::InvalidArgument),
            (vec![0, 0, 0], Code::InvalidArgument),
            (vec![0, 0, 0, 0, 3, 0x0a, 1, 0xff], Code::InvalidArgument),
        ];
        for (bytes, code) in cases {
            assert_eq!(messages(&bytes, 3).next::<String>().await.unwrap_err().code(), code, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_large_message_leaves_no_large_buffer() {
        let bytes = [framed(&"x".repeat(1 << 20)), framed("y")].concat();
        let mut messages = messages(&bytes, 8_192);
        messages.next::<String>().await.unwrap();
        messages.next::<String>().await.unwrap();
        assert!(messages.buffer.capacity() <= limits::REQUEST_BUFFER_KEPT);
    }
}
