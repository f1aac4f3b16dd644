//! gRPC messages out of an HTTP/2 request body, one at a time, within limits. Safe to cancel between frames.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use windrose_vocab::ProxyKey;

use crate::limits;
use crate::shares::{Share, Shares};

const PREFIX: usize = 5;

/// Bytes of which room for messages consists.
pub(crate) const UNIT: usize = 1 << 10;

/// Room for the large messages of all proxies, in units of [`UNIT`].
pub(crate) type Room = Arc<Shares<ProxyKey>>;

/// Something a client says.
pub(crate) trait Spoken: prost::Message + Default {
    /// Refuses what would take far more memory than it has bytes.
    ///
    /// # Errors
    /// The status that the stream ends with.
    fn check(bytes: &[u8]) -> Result<(), Status>;
}

/// The messages of one request.
pub(crate) struct Messages<B> {
    body: B,
    buffer: BytesMut,
    bytes_max: usize,
    /// Since when a message is there in part.
    begun: Option<Instant>,
    room: Option<(Room, ProxyKey)>,
    /// Room for the message that is there in part.
    held: Option<Share<ProxyKey>>,
}

impl<B> Messages<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    /// Messages of at most so many bytes each.
    pub(crate) fn new(body: B, bytes_max: usize) -> Self {
        Self { body, buffer: BytesMut::new(), bytes_max, begun: None, room: None, held: None }
    }

    /// The same, where large ones wait until there is room for them.
    pub(crate) fn within(self, room: Room, proxy: ProxyKey) -> Self {
        Self { room: Some((room, proxy)), ..self }
    }

    /// The next message, `None` when the client is done. Memory grows with what arrived, never with what was announced, and what began
    /// to arrive is there within [`limits::REQUEST_TIME`].
    ///
    /// # Errors
    /// The status that the stream ends with: framing, size, compression, time, not protobuf, or a connection that broke.
    pub(crate) async fn next<M: Spoken>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(length) = self.announced()? {
                if self.buffer.len() >= PREFIX + length {
                    let message = decode(self.split(length));
                    (self.begun, self.held) = (None, None);
                    return message.map(Some);
                }
                self.hold(length).await?;
            }
            match self.frame().await? {
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

    async fn frame(&mut self) -> Result<Option<Result<http_body::Frame<Bytes>, B::Error>>, Status> {
        match self.due() {
            Some(due) => timeout_at(due, self.body.frame()).await.map_err(|_| too_late()),
            None => Ok(self.body.frame().await),
        }
    }

    /// Waits until there is room for all of a large message: whoever waited for more room while it has some would wait for others
    /// that do the same.
    async fn hold(&mut self, length: usize) -> Result<(), Status> {
        let Some(due) = self.due() else { return Ok(()) };
        let (Some((room, proxy)), None, true) = (&self.room, &self.held, length > limits::REQUEST_FREE) else { return Ok(()) };
        let units = u32::try_from(length.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let taken = timeout_at(due, room.take(proxy.clone(), units, limits::LARGE_REQUESTS_OF_PROXY)).await;
        let too_many = || Status::resource_exhausted("too many large requests of one proxy at once");
        self.held = Some(taken.map_err(|_| too_late())?.ok_or_else(too_many)?);
        Ok(())
    }

    /// When what is there in part must be whole.
    fn due(&mut self) -> Option<Instant> {
        let begun = (!self.buffer.is_empty()).then(|| *self.begun.get_or_insert_with(Instant::now));
        begun.map(|begun| begun + limits::REQUEST_TIME)
    }

    /// The length of the message that begins.
    fn announced(&self) -> Result<Option<usize>, Status> {
        let Some(&[compressed, a, b, c, d]) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
        if compressed != 0 {
            return Err(Status::unimplemented("compressed messages are not taken"));
        }
        let (length, max) = (usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX), self.bytes_max);
        if length > max {
            return Err(Status::resource_exhausted(format!("a message of {length} bytes, at most {max} are taken")));
        }
        Ok(Some(length))
    }

    /// The bytes of a message that is all there.
    fn split(&mut self, length: usize) -> Bytes {
        self.buffer.advance(PREFIX);
        let message = self.buffer.split_to(length).freeze();
        if self.buffer.capacity() > limits::REQUEST_BUFFER_KEPT || self.buffer.is_empty() {
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        message
    }
}

fn too_late() -> Status {
    Status::deadline_exceeded("a request takes too long to arrive")
}

fn decode<M: Spoken>(bytes: Bytes) -> Result<M, Status> {
    M::check(&bytes)?;
    M::decode(bytes).map_err(|_| malformed())
}

/// The text of a decoding error can quote what was sent; the client learns only that it was wrong.
fn malformed() -> Status {
    Status::invalid_argument("the message is not the protobuf of this method")
}

/// Refuses a discovery request that names more than a request may, or whose node says more of itself than a node does: a name costs
/// 2 bytes on the wire and 24 in memory, an entry of metadata more.
///
/// # Errors
/// `RESOURCE_EXHAUSTED`, and `INVALID_ARGUMENT` for a node, and for what is no protobuf.
pub(crate) fn check_sizes(mut rest: &[u8], node: u32) -> Result<(), Status> {
    let (mut fields, mut node_bytes) = (0, 0);
    while rest.has_remaining() {
        let (number, wire_type) = decode_key(&mut rest).map_err(|_| malformed())?;
        let before = rest.len();
        if wire_type == WireType::LengthDelimited {
            let length = decode_varint(&mut rest).ok().and_then(|length| usize::try_from(length).ok());
            rest = length.and_then(|length| rest.get(length..)).ok_or_else(malformed)?;
        } else {
            skip_field(wire_type, number, &mut rest, DecodeContext::default()).map_err(|_| malformed())?;
        }
        fields += 1;
        node_bytes += if number == node { before - rest.len() } else { 0 };
        if fields > limits::REQUEST_FIELDS {
            return Err(Status::resource_exhausted(format!("a request of more than {} names", limits::REQUEST_FIELDS)));
        }
        if node_bytes > limits::NODE_BYTES {
            return Err(Status::invalid_argument(format!("a node of more than {} bytes", limits::NODE_BYTES)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use futures::FutureExt;
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

    impl Spoken for String {
        fn check(_: &[u8]) -> Result<(), Status> {
            Ok(())
        }
    }

    fn messages(bytes: &[u8], chunk: usize) -> Messages<Chunks> {
        Messages::new(Chunks(bytes.chunks(chunk).map(Bytes::copy_from_slice).collect()), limits::REQUEST_BYTES)
    }

    /// Says something, and no more.
    struct Stalled(Option<Bytes>);

    impl http_body::Body for Stalled {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
        }
    }

    fn stalled(bytes: &[u8]) -> Messages<Stalled> {
        Messages::new(Stalled(Some(Bytes::copy_from_slice(bytes))), limits::REQUEST_BYTES)
    }

    /// After how many seconds it ends, and how.
    async fn end(messages: &mut Messages<Stalled>) -> (u64, Code) {
        let began = Instant::now();
        // The stream waits for other things too, and comes back.
        while tokio::time::timeout(Duration::from_secs(7), messages.next::<String>()).await.is_err() {
            if began.elapsed() > Duration::from_secs(3_600) {
                return (3_600, Code::Ok);
            }
        }
        let status = messages.next::<String>().await.unwrap_err();
        (began.elapsed().as_secs(), status.code())
    }

    #[tokio::test(start_paused = true)]
    async fn what_began_to_arrive_arrives_in_time_or_ends_the_stream_and_silence_does_not() {
        for part in [&framed("cut")[..6], &[0, 0]] {
            assert_eq!(end(&mut stalled(part)).await, (limits::REQUEST_TIME.as_secs(), Code::DeadlineExceeded));
        }
        let mut messages = stalled(&framed("one"));
        assert_eq!(messages.next::<String>().await.unwrap().unwrap(), "one");
        assert_eq!(end(&mut messages).await, (3_600, Code::Ok), "it has nothing to say");
    }

    #[tokio::test(start_paused = true)]
    async fn large_messages_wait_for_room_which_is_given_back_with_them() {
        let room = Shares::new(1_024, 2_048);
        let proxy = |name: &str| ProxyKey::workload("shop", name);
        let large = framed(&"x".repeat(600 << 10));
        let whole = |name: &str| messages(&large, 64 << 10).within(room.clone(), proxy(name));
        let mut slow = stalled(&large[..20_000]).within(room.clone(), proxy("orders"));
        assert!(slow.next::<String>().now_or_never().is_none());
        assert!(whole("orders").next::<String>().now_or_never().is_none(), "there is no room for two of one proxy");
        assert!(whole("catalog").next::<String>().await.is_ok(), "another one has its own");
        let mut small = messages(&framed("small"), 3).within(room.clone(), proxy("orders"));
        assert!(small.next::<String>().await.is_ok(), "what is small asks nobody");
        drop(slow);
        let mut next = whole("orders");
        assert!(next.next::<String>().await.is_ok());
        assert!(whole("orders").next::<String>().await.is_ok(), "the room is free again, although the stream goes on");
    }

    impl Spoken for Vec<u8> {
        fn check(_: &[u8]) -> Result<(), Status> {
            Err(Status::resource_exhausted("too much"))
        }
    }

    #[tokio::test]
    async fn what_a_message_may_not_be_is_refused_before_it_is_decoded() {
        let no_protobuf = [0, 0, 0, 0, 1, 0xff];
        assert_eq!(messages(&no_protobuf, 6).next::<String>().await.unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(messages(&no_protobuf, 6).next::<Vec<u8>>().await.unwrap_err().code(), Code::ResourceExhausted);
    }

    #[test]
    fn what_is_larger_in_memory_than_on_the_wire_is_counted_before_it_is_decoded() {
        let code = |bytes: &[u8]| check_sizes(bytes, 2).map_err(|status| status.code());
        assert_eq!(code(&[0x1a, 0].repeat(limits::REQUEST_FIELDS)), Ok(()));
        assert_eq!(code(&[0x1a, 0].repeat(limits::REQUEST_FIELDS + 1)), Err(Code::ResourceExhausted), "empty names");
        let node = [&[0x12, 0x80, 0x80, 0x20][..], &vec![0; limits::NODE_BYTES / 2]].concat();
        assert_eq!(code(&node), Ok(()));
        assert_eq!(code(&node.repeat(2)), Err(Code::InvalidArgument), "a node in parts is one node");
        for cut in [&[0x1a, 1][..], &[0x1a], &[0x08], &[0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]] {
            assert_eq!(code(cut), Err(Code::InvalidArgument), "{cut:?}");
        }
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
