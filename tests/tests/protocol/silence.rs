//! A connection that is half open: neither side hears the other, and no packet says so.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use windrose_state::Protocol;
use windrose_tests::echo::EchoServer;
use windrose_tests::wait::wait_until;
use windrose_vocab::ResourceKind;

use crate::stage::{Stage, XDS_PORT};
use crate::unit::Unit;

/// What the rule gives both sides, and a busy machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(40 + 20);

/// Hands on what passes until it is told to be silent; connections that come later are handed on again.
struct Relay {
    silence: CancellationToken,
    _end: DropGuard,
}

impl Relay {
    async fn start(at: SocketAddr, to: SocketAddr) -> Self {
        let (listener, silence, end) = (TcpListener::bind(at).await.unwrap(), CancellationToken::new(), CancellationToken::new());
        tokio::spawn(end.clone().run_until_cancelled_owned(accept(listener, to, silence.clone(), end.clone())));
        Self { silence, _end: end.drop_guard() }
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, silence: CancellationToken, end: CancellationToken) {
    while let Ok((near, _)) = listener.accept().await {
        let silence = if silence.is_cancelled() { CancellationToken::new() } else { silence.clone() };
        tokio::spawn(end.clone().run_until_cancelled_owned(hand_on(near, to, silence)));
    }
}

async fn hand_on(mut near: TcpStream, to: SocketAddr, silence: CancellationToken) {
    let Ok(mut far) = TcpStream::connect(to).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
        // Both stay open: nobody is told anything.
        () = silence.cancelled() => std::future::pending().await,
    }
}

#[tokio::test]
async fn rule_43_both_sides_notice_a_half_open_connection_within_40_seconds() {
    let mut stage = Stage::set(Protocol::Delta).await;
    let back = EchoServer::start("back", stage.home.port(9_000)).await;
    let mut unit = Unit::with(ResourceKind::Routes, "alpha", stage.home.port(8_001), back.address());
    stage.publish(unit.resources());
    let relay = Relay::start(stage.home.port(18_100), stage.home.port(XDS_PORT)).await;
    let envoy = stage.envoy_by(&stage.proxy, 18_100).await;
    unit.runs(ResourceKind::Routes, "one").await;
    stage.in_sync().await;
    let former = stage.observed.snapshot().remove(0).id;

    let began = Instant::now();
    relay.silence.cancel();
    unit.tell(ResourceKind::Routes, "two");
    stage.publish(unit.resources());
    wait_until(NOTICED_WITHIN, "the proxy to come back on another connection", async || {
        let back = stage.observed.snapshot().iter().any(|stream| stream.id != former);
        if back { Ok(()) } else { Err(format!("silence for {:?}", began.elapsed())) }
    })
    .await;
    wait_until(NOTICED_WITHIN.saturating_sub(began.elapsed()), "the server to end the former stream", async || {
        if stage.observed.stream(former).is_none() { Ok(()) } else { Err(format!("it is open after {:?}", began.elapsed())) }
    })
    .await;
    unit.runs(ResourceKind::Routes, "two").await;
    assert_eq!(envoy.stat("cluster.windrose/xds.http2.keepalive_timeout").await, 1);
    assert_eq!(stage.observed.len(), 1);
}
