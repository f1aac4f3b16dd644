//! The response body. A stream's body asks for one message at a time and passes it on piece by piece, so nothing is
//! prepared for a reader that does not read.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::task::AtomicWaker;
use http::HeaderMap;
use http_body::{Body, Frame as Part};
use tokio::sync::mpsc;
use tonic::Status;

use crate::frame::Frame;

/// What a gRPC response consists of.
pub(crate) enum ResponseBody {
    /// Headers said it all.
    Empty,
    /// One message, then its status.
    Unary { message: Option<Bytes> },
    /// Messages until the end.
    Stream(StreamBody),
    /// Framed messages, and a status where they end by an error.
    Answers(mpsc::Receiver<Result<Bytes, Status>>),
}

/// The transport's end of a stream.
pub(crate) struct StreamBody {
    slot: Arc<Slot>,
    current: Option<Frame>,
    ended: bool,
}

/// The stream's own end: it learns when the transport wants a message, and when it is gone.
pub(crate) struct Outbox {
    slot: Arc<Slot>,
}

/// Between the two: at most one message, put in when it was asked for, and a last word, which needs no asking.
#[derive(Default)]
struct Slot {
    held: Mutex<Held>,
    /// Woken when a message is wanted, or the transport is gone.
    stream: AtomicWaker,
    /// Woken when there is something to take.
    body: AtomicWaker,
}

#[derive(Default)]
struct Held {
    wanted: bool,
    message: Option<Frame>,
    last_word: Option<Status>,
    stream_gone: bool,
    body_gone: bool,
}

impl Slot {
    /// A panic of another thread leaves a slot that at worst lacks a message.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The transport broke while the stream ended.
#[derive(Debug, thiserror::Error)]
#[error("the stream was dropped")]
pub(crate) struct Dropped;

/// Both ends of a stream.
pub(crate) fn stream() -> (Outbox, StreamBody) {
    let slot = Arc::new(Slot::default());
    (Outbox { slot: Arc::clone(&slot) }, StreamBody { slot, current: None, ended: false })
}

impl Outbox {
    /// Waits until the transport has taken the last message and wants one; false when it is gone. Safe to cancel.
    pub(crate) async fn wanted(&self) -> bool {
        poll_fn(|cx| {
            self.slot.stream.register(cx.waker());
            let held = self.slot.held();
            if held.body_gone || held.wanted { Poll::Ready(!held.body_gone) } else { Poll::Pending }
        })
        .await
    }

    /// Hands over the message that was wanted.
    pub(crate) fn put(&self, frame: Frame) {
        let mut held = self.slot.held();
        held.wanted = false;
        held.message = Some(frame);
        drop(held);
        self.slot.body.wake();
    }

    /// Says the last word and waits until it was taken; never ends when the reader does not read.
    pub(crate) async fn end(self, status: Status) {
        self.slot.held().last_word = Some(status);
        self.slot.body.wake();
        poll_fn(|cx| {
            self.slot.stream.register(cx.waker());
            if self.slot.held().body_gone { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.slot.held().stream_gone = true;
        self.slot.body.wake();
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        self.leave();
    }
}

impl StreamBody {
    /// Tells the stream that nothing more is taken.
    fn leave(&self) {
        self.slot.held().body_gone = true;
        self.slot.stream.wake();
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Part<Bytes>, Dropped>>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            if let Some(piece) = self.current.as_mut().and_then(Frame::next_segment) {
                return Poll::Ready(Some(Ok(Part::data(piece))));
            }
            self.slot.body.register(cx.waker());
            let mut held = self.slot.held();
            self.current = held.message.take();
            if self.current.is_some() {
                continue;
            }
            let (last_word, gone) = (held.last_word.take(), held.stream_gone);
            let asks = !std::mem::replace(&mut held.wanted, true);
            drop(held);
            self.ended = last_word.is_some() || gone;
            match last_word {
                Some(status) => {
                    self.leave();
                    return Poll::Ready(Some(Ok(Part::trailers(trailers(&status)))));
                }
                None if gone => return Poll::Ready(Some(Err(Dropped))),
                None if asks => {
                    self.slot.stream.wake();
                    return Poll::Pending;
                }
                None => return Poll::Pending,
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Part<Bytes>, Dropped>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Unary { message } => match message.take() {
                Some(message) => Poll::Ready(Some(Ok(Part::data(message)))),
                None => {
                    *self = Self::Empty;
                    Poll::Ready(Some(Ok(Part::trailers(trailers(&Status::ok(""))))))
                }
            },
            Self::Stream(stream) => stream.poll_part(cx),
            Self::Answers(answers) => {
                let end = match ready!(answers.poll_recv(cx)) {
                    Some(Ok(message)) => return Poll::Ready(Some(Ok(Part::data(message)))),
                    Some(Err(status)) => status,
                    None => Status::ok(""),
                };
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Part::trailers(trailers(&end)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

/// A status as HTTP/2 trailers; ours hold only texts that can stand there.
pub(crate) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    let _ = status.add_header(&mut trailers);
    trailers
}
