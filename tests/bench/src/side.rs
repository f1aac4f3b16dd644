//! One of the two that are compared, with its fleet connected: changes go in, and it is told what they cost.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::board::Wanted;
use crate::command::Command;
use crate::content;
use crate::credentials::Credentials;
use crate::fleet::{Coming, Fleet};
use crate::limits;
use crate::round::Round;
use crate::server::Server;
use crate::shape::{Reach, Shape};
use crate::spread::Spread;

/// Who is measured.
#[derive(Clone, Debug)]
pub struct Contender {
    /// How it is called.
    pub name: &'static str,
    /// Its program.
    pub program: PathBuf,
}

/// One running.
#[derive(Debug)]
pub struct Side {
    /// How it is called.
    pub name: &'static str,
    /// What it says of itself.
    pub about: String,
    /// Memory before the first proxy connected, in bytes.
    pub empty: u64,
    /// Changes so far.
    pub changes: u32,
    /// How long the changes take until the server is quiet again, as last seen.
    pub pace: Duration,
    shape: Shape,
    server: Server,
    fleet: Fleet,
}

impl Side {
    /// Starts the server and connects its fleet.
    ///
    /// # Errors
    /// Anything that goes wrong voids the run.
    pub async fn start(contender: &Contender, shape: Shape, credentials: &Credentials) -> anyhow::Result<Self> {
        let mut server = Server::start(&contender.program, shape, credentials.folder()).await?;
        let about = server.tell(Command::About).await?;
        server.tell(Command::Collect).await?;
        server.quiet().await?;
        let empty = server.memory()?;
        let fleet = Fleet::connect(server.address, credentials.client()?, shape, &Coming::new(limits::CONNECTING)).await?;
        let mut side = Self { name: contender.name, about, empty, changes: 0, pace: Duration::ZERO, shape, server, fleet };
        side.quiet().await?;
        Ok(side)
    }

    /// Makes one change and returns how long it took to the last proxy, and the bytes of all responses.
    ///
    /// # Errors
    /// Anything that goes wrong voids the run.
    pub async fn change(&mut self, reach: Reach) -> anyhow::Result<(Duration, usize)> {
        self.changes += 1;
        let index = self.shape.changed(reach, self.changes);
        let proxies = self.shape.concerned(reach);
        self.fleet.board.expect(Wanted { name: content::name(index), mark: content::mark(self.changes), proxies });
        let (command, told) = (Command::Change { index, revision: self.changes }, Instant::now());
        self.server.say(command).await?;
        let arrival = self.fleet.board.all_reached(limits::UPDATE_MAX).await.with_context(|| format!("change {}", self.changes))?;
        self.server.heard(command).await?;
        Ok((arrival.at.duration_since(told), arrival.bytes))
    }

    /// Makes one change and waits until the server has taken all acknowledgements.
    ///
    /// # Errors
    /// Anything that goes wrong voids the run.
    pub async fn change_and_rest(&mut self, reach: Reach) -> anyhow::Result<(Duration, usize)> {
        let began = Instant::now();
        let made = self.change(reach).await?;
        self.quiet().await?;
        self.pace = began.elapsed();
        Ok(made)
    }

    /// Some changes one after the other, and what they cost.
    ///
    /// # Errors
    /// Anything that goes wrong voids the run.
    pub async fn round(&mut self, reach: Reach, changes: u32) -> anyhow::Result<Round> {
        let before = self.server.cpu().await?;
        let (mut times, mut bytes) = (Vec::new(), 0);
        for _ in 0..changes {
            let (time, sent) = self.change_and_rest(reach).await?;
            times.push(time.as_secs_f64() * 1e3);
            bytes += sent;
        }
        let used = self.server.cpu().await?.saturating_sub(before);
        Ok(Round {
            changes,
            cpu_us: used.as_secs_f64() * 1e6 / f64::from(changes),
            last_ms: Spread::of(times).median,
            bytes: bytes as u64 / u64::from(changes),
        })
    }

    /// Memory now, in bytes: as it is, and after the server gave back what it does not use.
    ///
    /// # Errors
    /// Anything that goes wrong voids the run.
    pub async fn memory(&mut self) -> anyhow::Result<(u64, u64)> {
        self.quiet().await?;
        let as_it_is = self.server.memory()?;
        self.server.tell(Command::Collect).await?;
        self.quiet().await?;
        Ok((as_it_is, self.server.memory()?))
    }

    /// Ends the fleet, then the server.
    ///
    /// # Errors
    /// When a proxy failed, or the server did not live until now.
    pub async fn end(self) -> anyhow::Result<()> {
        self.fleet.board.check()?;
        drop(self.fleet);
        self.server.end().await
    }

    async fn quiet(&mut self) -> anyhow::Result<()> {
        self.server.quiet().await?;
        self.fleet.board.check()
    }
}
