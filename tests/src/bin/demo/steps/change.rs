//! What happens when configuration changes, is wrong, or is refused by Envoy itself.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::Value;
use windrose_tests::client::Connection;

use super::{expect, shown};
use crate::Failure;
use crate::stage::{EDGE, Stage};
use crate::tell::Teller;

/// Time in which a change must show, on a machine that is busy with this demonstration.
const CHANGE_MAX: Duration = Duration::from_secs(5);

/// From save to the first changed answer.
pub(super) async fn live_edit(stage: &Stage, tell: &Teller) -> Result<(), Failure> {
    tell.step(9, "One file edited live").await;
    let file = stage.config("3-routes.yaml");
    let before = std::fs::read_to_string(&file)?;
    let call = stage.get("/v2/whoami").bearer(&stage.token(&["--audience", "shop", "--claim", "plan=gold"])?);
    let mut connection = Connection::open(&call).await?;
    let first = connection.send(&call).await?;
    expect(first.status != 200, "no such route before", shown(&first))?;
    tell.command("sed -i 's|value: /whoami|value: /v2/whoami|' 3-routes.yaml");
    let saved = Instant::now();
    std::fs::write(&file, before.replace("value: /whoami", "value: /v2/whoami"))?;
    let reply = loop {
        let reply = connection.send(&call).await?;
        if reply.status == 200 || saved.elapsed() > CHANGE_MAX {
            break reply;
        }
    };
    let took = saved.elapsed();
    tell.answer(&format!("{} after {} ms", reply.status, took.as_millis()));
    expect(reply.status == 200, "the new path answers", shown(&reply))?;
    std::fs::write(&file, before)?;
    wait_for(stage, "/whoami").await?;
    tell.why("From the save to the first changed answer: the file is read, planned, rendered and acknowledged by Envoy; no connection was closed.");
    Ok(())
}

/// A typing error hurts nobody.
pub(super) async fn broken_file(stage: &Stage, tell: &Teller) -> Result<(), Failure> {
    tell.step(10, "One file broken on purpose").await;
    let file = stage.config("3-routes.yaml");
    let before = std::fs::read_to_string(&file)?;
    tell.command("sed -i '0,/backendRefs/s//backendRfes/' 3-routes.yaml && windrose status");
    std::fs::write(&file, before.replacen("backendRefs", "backendRfes", 1))?;
    let found = wait_for_status(stage, |status| {
        status["diagnostics"].as_array().and_then(|all| all.iter().find(|one| one["code"] == "UnknownField").cloned())
    })
    .await?;
    tell.answer(&format!(
        "{}: {}[{}]: {} ({})",
        text(&found["position"]),
        text(&found["severity"]),
        text(&found["code"]),
        text(&found["message"]),
        text(&found["hint"])
    ));
    expect(text(&found["position"]).contains("3-routes.yaml:"), "file, line and column", &found)?;
    expect(found.to_string().contains("backendRefs"), "the nearest word", &found)?;
    let token = stage.token(&["--audience", "shop", "--subject", "ann"])?;
    let order = stage.post("/v1/orders", r#"{"product":"chart","quantity":1,"customer":"ann"}"#).bearer(&token).send().await?;
    let other = stage.get("/v1/products").send().await?;
    tell.answer(&format!("meanwhile: POST /v1/orders {}, GET /v1/products {}", order.status, other.status));
    expect(order.status == 200 && other.status == 200, "traffic untouched", shown(&order))?;
    std::fs::write(&file, before)?;
    tell.why("The object keeps its last good version, and nothing else waits for it.");
    Ok(())
}

/// Envoy's own words on the object that caused them.
pub(super) async fn refused_by_envoy(stage: &Stage, tell: &Teller) -> Result<(), Failure> {
    tell.step(11, "A configuration that Envoy itself refuses: a port that another process holds").await;
    let _held = TcpListener::bind("127.0.0.1:8081")?;
    let file = stage.config("1-gateway.yaml");
    let before = std::fs::read_to_string(&file)?;
    let line = "  - { name: http, port: 8080, protocol: HTTP }\n";
    tell.command("nc -l 127.0.0.1 8081 &  # then a second listener on port 8081, and: windrose status Gateway/shop/edge");
    let saved = Instant::now();
    std::fs::write(&file, before.replace(line, &format!("{line}  - {{ name: taken, port: 8081, protocol: HTTP }}\n")))?;
    let refusal = wait_for_status(stage, |status| {
        let gateway = status["objects"].as_array()?.iter().find(|object| object["kind"] == "Gateway")?;
        gateway["programmed"]["refused"].as_array()?.first().cloned()
    })
    .await?;
    let took = saved.elapsed();
    tell.answer(&format!(
        "{} refused {}: {}\nafter {} ms",
        text(&refusal["proxy"]),
        text(&refusal["resource"]),
        text(&refusal["reason"]),
        took.as_millis()
    ));
    expect(text(&refusal["reason"]).contains("bind"), "Envoy's own words", &refusal)?;
    let other = stage.get("/v1/products").send().await?;
    expect(other.status == 200, "all else goes on", shown(&other))?;
    std::fs::write(&file, before)?;
    tell.why("What is accepted is running, and what is not running says why, in Envoy's words, on the object that caused it.");
    Ok(())
}

async fn wait_for(stage: &Stage, path: &str) -> Result<(), Failure> {
    let call = stage.get(path).bearer(&stage.token(&["--audience", "shop", "--subject", "waiting", "--claim", "plan=gold"])?);
    let begun = Instant::now();
    while call.send().await?.status != 200 {
        expect(begun.elapsed() < CHANGE_MAX, &format!("{path} on {EDGE} answers again"), "it does not")?;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn wait_for_status(stage: &Stage, find: impl Fn(&Value) -> Option<Value>) -> Result<Value, Failure> {
    let begun = Instant::now();
    loop {
        let asked = stage.ask(&["status", "-o", "json"])?;
        let status: Value = serde_json::from_slice(&asked.stdout).map_err(|_| String::from_utf8_lossy(&asked.stderr).into_owned())?;
        if let Some(found) = find(&status) {
            return Ok(found);
        }
        expect(begun.elapsed() < CHANGE_MAX, "the status tells it", &status["diagnostics"])?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
