//! The mesh's part: identities, strictness, failing and overloaded services.

use std::time::{Duration, Instant};

use windrose_tests::client::raw;

use super::{expect, shown};
use crate::Failure;
use crate::stage::{EDGE, Stage, address};
use crate::tell::Teller;

const V1: &str = "127.0.1.3:9000";
const V2: &str = "127.0.1.4:9000";

/// The edge proves who it is, and so does the service.
pub(super) async fn identities(stage: &Stage, tell: &Teller) -> Result<(), Failure> {
    tell.step(5, "From the edge to the service: mutual TLS, with an identity at both ends").await;
    let token = stage.token(&["--audience", "shop", "--subject", "ann", "--claim", "plan=gold"])?;
    tell.command(&format!("curl -H \"authorization: Bearer $TOKEN\" http://{EDGE}/whoami | jq '.headers.\"x-forwarded-client-cert\"[0]'"));
    let reply = stage.get("/whoami").bearer(&token).send().await?;
    let seen = reply.json()["headers"]["x-forwarded-client-cert"][0].as_str().unwrap_or_default().to_owned();
    tell.answer(&seen);
    expect(seen.contains("URI=spiffe://windrose.local/ns/shop/sa/edge"), "the caller is the edge", &seen)?;
    expect(seen.contains("By=spiffe://windrose.local/ns/shop/sa/catalog"), "the service is the catalogue", &seen)?;
    tell.why("Certificates of 24 hours, made by Windrose's own authority, pushed over SDS and renewed at half their life.");
    Ok(())
}

/// Who speaks plain text to a strict sidecar is cut off.
pub(super) async fn plain_text(_: &Stage, tell: &Teller) -> Result<(), Failure> {
    tell.step(6, "Plain text to a sidecar is refused").await;
    tell.command("curl http://127.0.1.3:15080/v1/products");
    let answer = raw(address("127.0.1.3:15080"), b"GET /v1/products HTTP/1.1\r\nhost: catalog\r\n\r\n", Duration::from_secs(3)).await;
    let bytes = answer.unwrap_or_default();
    tell.answer(if bytes.is_empty() { "curl: (52) Empty reply from server" } else { "an answer!" });
    expect(bytes.is_empty(), "not one byte", String::from_utf8_lossy(&bytes))?;
    tell.why("The MeshPolicy says Strict (so does no policy at all): a caller without a certificate of the mesh is nobody.");
    Ok(())
}

/// A failing instance is covered by retries, then ejected.
pub(super) async fn retries_and_ejection(stage: &Stage, tell: &Teller) -> Result<(), Failure> {
    tell.step(7, "A failing instance: retried within a budget, then ejected").await;
    tell.command(&format!("curl -X POST 'http://{V2}/control?failRate=1'      # every second instance now answers 503"));
    stage.control(V2, "failRate=1").await?;
    tell.command(&format!("for i in $(seq 60); do curl http://{EDGE}/mixed; done"));
    let mut good = 0;
    for _ in 0..60 {
        good += u32::from(stage.get("/mixed").send().await?.status == 200);
    }
    let before = stage.control(V2, "").await?["requests"].as_u64().unwrap_or_default();
    for _ in 0..60 {
        good += u32::from(stage.get("/mixed").send().await?.status == 200);
    }
    let after = stage.control(V2, "").await?["requests"].as_u64().unwrap_or_default();
    tell.answer(&format!("{good} of 120 answered 200; the failing instance was asked {} times during the last 60", after - before));
    stage.control(V2, "failRate=0").await?;
    expect(good == 120, "no caller sees a failure", good)?;
    expect(after - before <= 5, "the failing instance is out", after - before)?;
    tell.why(
        "Retries are at most 25 % of the requests under way; after five failures in a row the instance is left alone for ten seconds.",
    );
    Ok(())
}

/// An overloaded service fails fast for those over the limit.
pub(super) async fn circuit_breaker(stage: &Stage, tell: &Teller) -> Result<(), Failure> {
    tell.step(8, "An overloaded service: the circuit breaker fails fast").await;
    tell.command(&format!("curl -X POST 'http://{V1}/control?delayMs=800'; for i in $(seq 20); do curl http://{EDGE}/reports & done"));
    stage.control(V1, "delayMs=800").await?;
    let begun = Instant::now();
    let calls = (0..20).map(|_| {
        tokio::spawn({
            let call = stage.get("/reports");
            async move { call.send().await.map(|reply| (reply.status, begun.elapsed())) }
        })
    });
    let mut answers = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        answers.push(call.await??);
    }
    stage.control(V1, "delayMs=0").await?;
    let served = answers.iter().filter(|(status, _)| *status == 200).count();
    let refused: Vec<_> = answers.iter().filter(|(status, _)| *status == 503).map(|(_, time)| *time).collect();
    let slowest = refused.iter().max().copied().unwrap_or_default();
    tell.answer(&format!("{served} × 200, {} × 503, the slowest refusal after {} ms", refused.len(), slowest.as_millis()));
    expect(served >= 4 && served + refused.len() == 20 && !refused.is_empty(), "a few answers, the rest refused", served)?;
    expect(slowest < Duration::from_millis(600), "refused at once", format!("{slowest:?}"))?;
    let after = stage.get("/reports").send().await?;
    expect(after.status == 200, "and well again", shown(&after))?;
    tell.why("At most 4 requests under way to this service: it is protected, and those over it know at once.");
    Ok(())
}
