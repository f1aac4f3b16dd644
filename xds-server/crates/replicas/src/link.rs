//! The two ends of a connection between replicas.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use windrose_state::Observed;

use crate::follower::Teller;
use crate::leader::{Mirror, Nonsense};
use crate::limits;
use crate::message::{self, Word};

/// What the leader refuses; the content is whatever the leader's end was given.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// For those who know how to read it; empty while there is nothing to say yet.
    pub content: Bytes,
    /// Some of it is being tried: whoever loses the leader forgets it.
    pub on_trial: bool,
}

impl fmt::Debug for Verdicts {
    /// Never the content: it may quote a Secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verdicts({} bytes, on trial: {})", self.content.len(), self.on_trial)
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The other end is gone.
    #[error("the other end closed the connection")]
    Closed,
    /// Nothing was heard for [`limits::SILENCE`].
    #[error("nothing was heard for {:?}", limits::SILENCE)]
    Silent,
    /// The connection broke.
    #[error(transparent)]
    Broken(#[from] std::io::Error),
    /// What was heard is no message.
    #[error("what was heard is no message")]
    Undecodable(#[from] prost::DecodeError),
    /// What was heard contradicts itself.
    #[error(transparent)]
    Nonsense(#[from] Nonsense),
}

type Words<S> = Framed<S, LengthDelimitedCodec>;
type Out<S> = SplitSink<Words<S>, Bytes>;
type In<S> = SplitStream<Words<S>>;

/// A follower's end: tells what its streams say until the connection ends, and hands on what the leader refuses.
pub async fn follow<S: AsyncRead + AsyncWrite + Unpin>(stream: S, observed: &Observed, refused: impl FnMut(Verdicts)) -> Ended {
    let Err(ended) = tell(stream, observed, refused).await;
    ended
}

/// The leader's end: takes in what a follower tells until the connection ends, and tells what is refused. `publications` says when
/// what is served changed.
pub async fn lead<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    mirror: Mirror,
    refused: watch::Receiver<Arc<Verdicts>>,
    publications: watch::Receiver<()>,
) -> Ended {
    let Err(ended) = hear(stream, mirror, refused, publications).await;
    ended
}

async fn tell<S>(stream: S, observed: &Observed, mut refused: impl FnMut(Verdicts)) -> Result<Infallible, Ended>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut out, mut words) = framed(stream).split();
    let writes = async {
        let (mut changes, mut teller, mut heartbeat) = (observed.changes(), Teller::default(), beats());
        changes.mark_changed();
        loop {
            tokio::select! {
                Ok(()) = changes.changed() => {
                    let streams = observed.snapshot();
                    while let Some(said) = teller.tell(&streams) {
                        say(&mut out, Word { said: Some(said), verdicts: None }).await?;
                    }
                    // News that come meanwhile are told together.
                    sleep(limits::PAUSE).await;
                }
                _ = heartbeat.tick() => say(&mut out, Word::default()).await?,
            }
        }
    };
    let reads = async {
        loop {
            if let Some(message::Verdicts { content, on_trial }) = read(&mut words).await?.verdicts {
                refused(Verdicts { content, on_trial });
            }
        }
    };
    either(writes, reads).await
}

async fn hear<S>(
    stream: S,
    mut mirror: Mirror,
    mut refused: watch::Receiver<Arc<Verdicts>>,
    mut publications: watch::Receiver<()>,
) -> Result<Infallible, Ended>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut out, mut words) = framed(stream).split();
    let writes = async {
        let mut heartbeat = beats();
        refused.mark_changed();
        loop {
            tokio::select! {
                Ok(()) = refused.changed() => {
                    let Verdicts { content, on_trial } = (**refused.borrow_and_update()).clone();
                    if !content.is_empty() {
                        say(&mut out, Word { said: None, verdicts: Some(message::Verdicts { content, on_trial }) }).await?;
                    }
                }
                _ = heartbeat.tick() => say(&mut out, Word::default()).await?,
            }
        }
    };
    let reads = async {
        let mut due = Instant::now() + limits::SILENCE;
        loop {
            tokio::select! {
                Ok(()) = publications.changed() => mirror.look_again(),
                word = read_until(&mut words, due) => {
                    due = Instant::now() + limits::SILENCE;
                    if let Some(said) = word?.said {
                        mirror.hear(&said)?;
                    }
                }
            }
        }
    };
    either(writes, reads).await
}

/// Both at once: whoever writes much goes on reading, or two ends that write would wait for each other.
async fn either(
    writes: impl Future<Output = Result<Infallible, Ended>>,
    reads: impl Future<Output = Result<Infallible, Ended>>,
) -> Result<Infallible, Ended> {
    tokio::select! {
        ended = writes => ended,
        ended = reads => ended,
    }
}

fn framed<S: AsyncRead + AsyncWrite>(stream: S) -> Words<S> {
    let codec = LengthDelimitedCodec::builder().max_frame_length(limits::MESSAGE).new_codec();
    Framed::new(stream, codec)
}

fn beats() -> tokio::time::Interval {
    let mut beats = interval(limits::HEARTBEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

/// Whoever does not read is given up like one who does not speak.
async fn say<S: AsyncRead + AsyncWrite + Unpin>(out: &mut Out<S>, word: Word) -> Result<(), Ended> {
    let sent = timeout(limits::SILENCE, out.send(Bytes::from(word.encode_to_vec()))).await;
    Ok(sent.map_err(|_| Ended::Silent)??)
}

async fn read<S: AsyncRead + AsyncWrite + Unpin>(words: &mut In<S>) -> Result<Word, Ended> {
    read_until(words, Instant::now() + limits::SILENCE).await
}

async fn read_until<S: AsyncRead + AsyncWrite + Unpin>(words: &mut In<S>, due: Instant) -> Result<Word, Ended> {
    let word = timeout_at(due, words.next()).await.map_err(|_| Ended::Silent)?;
    Ok(Word::decode(word.ok_or(Ended::Closed)??.freeze())?)
}
