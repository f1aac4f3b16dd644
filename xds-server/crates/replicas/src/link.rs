//! The two ends of a connection between replicas.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use windrose_state::Observed;

use crate::follower::Teller;
use crate::leader::{Mirror, Nonsense};
use crate::limits;
use crate::message::{self, Word};

/// What the leader refuses; the content is whatever the leader's end was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// For those who know how to read it; empty while there is nothing to say yet.
    pub content: Bytes,
    /// Some of it is being tried: whoever loses the leader forgets it.
    pub on_trial: bool,
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
    let mut words = framed(stream);
    let (mut changes, mut teller) = (observed.changes(), Teller::default());
    changes.mark_changed();
    let (mut heartbeat, mut heard) = (beats(), Instant::now());
    loop {
        tokio::select! {
            Ok(()) = changes.changed() => {
                while let Some(said) = teller.tell(&observed.snapshot()) {
                    say(&mut words, Word { said: Some(said), verdicts: None }).await?;
                }
                // News that come meanwhile are told together.
                sleep(limits::PAUSE).await;
            }
            word = words.next() => {
                heard = Instant::now();
                if let Some(message::Verdicts { content, on_trial }) = read(word)?.verdicts {
                    refused(Verdicts { content, on_trial });
                }
            }
            _ = heartbeat.tick() => beat(&mut words, heard).await?,
        }
    }
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
    let mut words = framed(stream);
    refused.mark_changed();
    let (mut heartbeat, mut heard) = (beats(), Instant::now());
    loop {
        tokio::select! {
            Ok(()) = refused.changed() => {
                let Verdicts { content, on_trial } = (**refused.borrow_and_update()).clone();
                if !content.is_empty() {
                    say(&mut words, Word { said: None, verdicts: Some(message::Verdicts { content, on_trial }) }).await?;
                }
            }
            Ok(()) = publications.changed() => mirror.look_again(),
            word = words.next() => {
                heard = Instant::now();
                if let Some(said) = read(word)?.said {
                    mirror.hear(&said)?;
                }
            }
            _ = heartbeat.tick() => beat(&mut words, heard).await?,
        }
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

async fn beat<S: AsyncRead + AsyncWrite + Unpin>(words: &mut Words<S>, heard: Instant) -> Result<(), Ended> {
    if heard.elapsed() > limits::SILENCE {
        return Err(Ended::Silent);
    }
    say(words, Word::default()).await
}

/// Whoever does not read is given up like one who does not speak.
async fn say<S: AsyncRead + AsyncWrite + Unpin>(words: &mut Words<S>, word: Word) -> Result<(), Ended> {
    let sent = timeout(limits::SILENCE, words.send(Bytes::from(word.encode_to_vec()))).await;
    Ok(sent.map_err(|_| Ended::Silent)??)
}

fn read(word: Option<std::io::Result<bytes::BytesMut>>) -> Result<Word, Ended> {
    Ok(Word::decode(word.ok_or(Ended::Closed)??.freeze())?)
}
