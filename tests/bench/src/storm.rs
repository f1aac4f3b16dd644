//! A whole fleet connects at once, and again when it has everything: how long until all have all, and how much is sent.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use serde::Serialize;

use crate::board::Wanted;
use crate::command::Command;
use crate::content;
use crate::credentials::Credentials;
use crate::fleet::{self, Coming, Fleet};
use crate::limits;
use crate::server::Server;
use crate::shape::{Reach, Shape};
use crate::side::Contender;

/// All sides in one shape.
#[derive(Clone, Debug, Serialize)]
pub struct Storm {
    /// The shape.
    pub shape: Shape,
    /// Ours first.
    pub sides: Vec<Weathered>,
}

/// One side.
#[derive(Clone, Debug, Serialize)]
pub struct Weathered {
    /// Who.
    pub name: &'static str,
    /// What it cost, each time.
    pub rounds: Vec<Gust>,
}

/// All proxies come, go, and come again.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Gust {
    /// Until the last one had everything, in seconds.
    pub seconds: f64,
    /// Bytes of all responses by then.
    pub bytes: u64,
    /// Bytes of all responses when they came again and said what they had.
    pub bytes_again: u64,
}

/// Measures one shape, the sides by turns.
///
/// # Errors
/// Anything that goes wrong voids the run.
pub async fn storm(
    shape: Shape,
    rounds: u32,
    contenders: &[Contender],
    credentials: &Credentials,
    say: &mut dyn FnMut(String),
) -> anyhow::Result<Storm> {
    let (mut servers, mut sides) = (Vec::new(), Vec::new());
    for contender in contenders {
        servers.push(Server::start(&contender.program, shape, credentials.folder()).await?);
        sides.push(Weathered { name: contender.name, rounds: Vec::new() });
    }
    for number in 1..=rounds {
        for (server, side) in servers.iter_mut().zip(&mut sides) {
            let gust = gust(server, shape, number, credentials).await.context(side.name)?;
            say(format!("storm {number}, {}: {:.2} s, {} bytes, again {}", side.name, gust.seconds, gust.bytes, gust.bytes_again));
            side.rounds.push(gust);
        }
    }
    for server in servers {
        server.end().await?;
    }
    Ok(Storm { shape, sides })
}

async fn gust(server: &mut Server, shape: Shape, number: u32, credentials: &Credentials) -> anyhow::Result<Gust> {
    let (address, tls) = (server.address, credentials.client()?);
    server.quiet().await?;
    let began = Instant::now();
    let first = Fleet::connect(address, tls.clone(), shape, &Coming::new(shape.proxies)).await?;
    let (seconds, bytes) = (began.elapsed().as_secs_f64(), first.board.first_bytes());
    first.board.check()?;
    drop(first);
    server.quiet().await?;
    let has = Arc::new(fleet::versions(address, tls.clone(), shape).await?);
    let second = Fleet::connect(address, tls, shape, &Coming { at_once: limits::CONNECTING, has }).await?;
    server.quiet().await?;
    let bytes_again = second.board.first_bytes();
    // That it was silent proves nothing: each must be there, and get what changes now and nothing else.
    let index = shape.changed(Reach::Everyone, number);
    second.board.expect(Wanted { name: content::name(index), mark: content::mark(number), proxies: shape.proxies });
    server.tell(Command::Change { index, revision: number }).await?;
    second.board.all_reached(limits::UPDATE_MAX).await.context("a change after the return")?;
    server.quiet().await?;
    second.board.check()?;
    Ok(Gust { seconds, bytes: bytes as u64, bytes_again: bytes_again as u64 })
}
