//! The response body. A stream's body asks for one message at a time and passes it on piece by piece, so nothing is
//! prepared for a reader that does not read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
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
    demand: mpsc::Sender<()>,
    messages: mpsc::Receiver<Outgoing>,
    current: Option<Frame>,
    asked: bool,
    ended: bool,
}

/// The stream's own end: it learns when the transport wants a message, and when it is gone.
pub(crate) struct Outbox {
    demand: mpsc::Receiver<()>,
    messages: mpsc::Sender<Outgoing>,
}

enum Outgoing {
    Message(Box<Frame>),
    End(Status),
}

/// The transport broke while the stream ended.
#[derive(Debug, thiserror::Error)]
#[error("the stream was dropped")]
pub(crate) struct Dropped;

/// Both ends of a stream.
pub(crate) fn stream() -> (Outbox, StreamBody) {
    let (ask, demand) = mpsc::channel(1);
    // One message is asked for at a time, and the end needs no asking.
    let (put, messages) = mpsc::channel(2);
    (Outbox { demand, messages: put }, StreamBody { demand: ask, messages, current: None, asked: false, ended: false })
}

impl Outbox {
    /// Waits until the transport has taken the last message and wants one; false when it is gone. Safe to cancel.
    pub(crate) async fn wanted(&mut self) -> bool {
        self.demand.recv().await.is_some()
    }

    /// Hands over the message that was wanted.
    pub(crate) fn put(&self, frame: Frame) {
        let _ = self.messages.try_send(Outgoing::Message(Box::new(frame)));
    }

    /// Says the last word and waits until it was taken; never ends when the reader does not read.
    pub(crate) async fn end(self, status: Status) {
        let _ = self.messages.try_send(Outgoing::End(status));
        self.messages.closed().await;
    }
}

impl StreamBody {
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outgoing>> {
        if !self.asked {
            self.asked = self.demand.try_send(()).is_ok();
        }
        let message = ready!(self.messages.poll_recv(cx));
        self.asked = false;
        Poll::Ready(message)
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Part<Bytes>, Dropped>>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            if let Some(piece) = self.current.as_mut().and_then(Frame::next_segment) {
                return Poll::Ready(Some(Ok(Part::data(piece))));
            }
            self.current = None;
            match ready!(self.poll_message(cx)) {
                Some(Outgoing::Message(frame)) => self.current = Some(*frame),
                Some(Outgoing::End(status)) => {
                    self.ended = true;
                    self.messages.close();
                    return Poll::Ready(Some(Ok(Part::trailers(trailers(&status)))));
                }
                None => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(Dropped)));
                }
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
