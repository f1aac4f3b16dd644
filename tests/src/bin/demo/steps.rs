//! The walk: what the gateway does for strangers, what the mesh does inside, and what happens when things change or break.

mod change;
mod gateway;
mod mesh;

use windrose_tests::client::Reply;

use crate::Failure;
use crate::stage::Stage;
use crate::tell::Teller;

/// One step after the other; the first wrong answer ends the walk.
pub(crate) async fn walk(stage: &mut Stage, tell: &Teller) -> Result<(), Failure> {
    gateway::tokens(stage, tell).await?;
    gateway::plans(stage, tell).await?;
    gateway::transcoding(stage, tell).await?;
    gateway::canary(stage, tell).await?;
    mesh::identities(stage, tell).await?;
    mesh::plain_text(stage, tell).await?;
    mesh::retries_and_ejection(stage, tell).await?;
    mesh::circuit_breaker(stage, tell).await?;
    change::live_edit(stage, tell).await?;
    change::broken_file(stage, tell).await?;
    change::refused_by_envoy(stage, tell).await
}

/// The promise of a step.
fn expect(holds: bool, promise: &str, seen: impl std::fmt::Display) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(format!("expected: {promise}\n  seen: {seen}").into()) }
}

/// Status and body of an answer, shortened.
fn shown(reply: &Reply) -> String {
    let body: String = reply.text().chars().take(300).collect();
    format!("{} {body}", reply.status)
}
