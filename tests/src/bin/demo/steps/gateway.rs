//! The gateway's part: tokens, billing plans, REST to gRPC, a canary.

use super::{expect, shown};
use crate::Failure;
use crate::stage::{EDGE, Stage};
use crate::tell::Teller;

/// No token, a token for somebody else, a good one.
pub(super) async fn tokens(stage: &Stage, tell: &Teller) -> Result<(), Failure> {
    tell.step(1, "Nobody comes in without a token").await;
    tell.command(&format!("curl http://{EDGE}/whoami"));
    let none = stage.get("/whoami").send().await?;
    tell.answer(&shown(&none));
    expect(none.status == 401, "401 without a token", shown(&none))?;

    let foreign = stage.token(&["--audience", "somebody-else"])?;
    tell.command(&format!("curl -H \"authorization: Bearer $(windrose token --audience somebody-else)\" http://{EDGE}/whoami"));
    let wrong = stage.get("/whoami").bearer(&foreign).send().await?;
    tell.answer(&shown(&wrong));
    expect(wrong.status == 401, "401 for a token of another audience", shown(&wrong))?;

    let good = stage.token(&["--audience", "shop", "--subject", "ann", "--claim", "plan=gold"])?;
    tell.command(&format!(
        "curl -H \"authorization: Bearer $(windrose token --audience shop --subject ann)\" -H 'x-user: root' http://{EDGE}/whoami"
    ));
    let right = stage.get("/whoami").bearer(&good).header("x-user", "root").send().await?;
    let user = right.json()["headers"]["x-user"][0].clone();
    tell.answer(&format!("{} x-user at the service: {user}", right.status));
    expect(right.status == 200 && user == "ann", "200, and the service sees x-user: ann", shown(&right))?;
    tell.why("The token is verified inside Envoy; the service gets the claim as a header, and what the client wrote there is gone.");
    Ok(())
}

/// Bronze runs out, gold goes on.
pub(super) async fn plans(stage: &Stage, tell: &Teller) -> Result<(), Failure> {
    tell.step(2, "Billing plans: bronze has 5 requests in 10 seconds, gold a thousand").await;
    let plan = |user, plan: &str| stage.token(&["--audience", "shop", "--subject", user, "--claim", &format!("plan={plan}")]);
    let (bronze, gold) = (plan("bob", "bronze")?, plan("eve", "gold")?);
    tell.command(&format!("for i in 1 2 3 4 5 6; do curl -H \"authorization: Bearer $BRONZE\" http://{EDGE}/whoami; done"));
    let mut statuses = Vec::new();
    let mut last = None;
    for _ in 0..6 {
        let reply = stage.get("/whoami").bearer(&bronze).send().await?;
        statuses.push(reply.status);
        last = Some(reply);
    }
    let Some(refused) = last else { return Ok(()) };
    tell.answer(&format!("{statuses:?}\nratelimit: {}\nretry-after: {}", refused.header("ratelimit"), refused.header("retry-after")));
    expect(statuses == [200, 200, 200, 200, 200, 429], "five answers and a 429", format!("{statuses:?}"))?;
    expect(
        !refused.header("ratelimit").is_empty() && !refused.header("retry-after").is_empty(),
        "RateLimit and Retry-After",
        shown(&refused),
    )?;
    for _ in 0..10 {
        let reply = stage.get("/whoami").bearer(&gold).send().await?;
        expect(reply.status == 200, "gold goes on", shown(&reply))?;
    }
    tell.answer("gold: 10 × 200");
    tell.why("Counted by the verified claims `sub` and `plan`, exactly over all of Envoy's workers.");
    Ok(())
}

/// JSON in, gRPC inside, JSON out.
pub(super) async fn transcoding(stage: &Stage, tell: &Teller) -> Result<(), Failure> {
    tell.step(3, "REST outside, gRPC inside").await;
    let token = stage.token(&["--audience", "shop", "--subject", "ann"])?;
    let order = r#"{"product":"compass","quantity":2,"customer":"ann"}"#;
    tell.command(&format!(
        "curl -H \"authorization: Bearer $TOKEN\" -H 'content-type: application/json' -d '{order}' http://{EDGE}/v1/orders"
    ));
    let made = stage.post("/v1/orders", order).bearer(&token).send().await?;
    tell.answer(&shown(&made));
    expect(made.status == 200, "200 for a good order", shown(&made))?;
    let json = made.json();
    expect(json["product"] == "compass" && json["quantity"] == 2, "the order comes back as JSON", shown(&made))?;
    expect(json["reservation"]["servedBy"] == "inventory", "orders called inventory through both sidecars", shown(&made))?;

    let path = format!("/v1/orders/{}", json["id"].as_str().unwrap_or_default());
    tell.command(&format!("curl -H \"authorization: Bearer $TOKEN\" http://{EDGE}{path}"));
    let read = stage.get(&path).bearer(&token).send().await?;
    tell.answer(&shown(&read));
    expect(read.status == 200 && read.json()["product"] == "compass", "the order is read by its id", shown(&read))?;

    let wrong = r#"{"product":"compass","quantity":"many"}"#;
    tell.command(&format!("curl … -d '{wrong}' http://{EDGE}/v1/orders"));
    let refused = stage.post("/v1/orders", wrong).bearer(&token).send().await?;
    tell.answer(&shown(&refused));
    expect(refused.status == 400 && refused.text().contains("quantity"), "400 that names the field", shown(&refused))?;
    tell.why("The descriptor says what the JSON means; the service speaks gRPC only, and never sees a bad request.");
    Ok(())
}

/// Nine to one.
pub(super) async fn canary(stage: &Stage, tell: &Teller) -> Result<(), Failure> {
    tell.step(4, "A canary: one request in ten goes to version 2").await;
    tell.command(&format!("for i in $(seq 300); do curl -s http://{EDGE}/v1/products | jq -r .version; done | sort | uniq -c"));
    let mut second = 0;
    for _ in 0..300 {
        let reply = stage.get("/v1/products").send().await?;
        expect(reply.status == 200, "200", shown(&reply))?;
        second += u32::from(reply.json()["version"] == "v2");
    }
    tell.answer(&format!("{} v1\n{second} v2", 300 - second));
    expect((10..=60).contains(&second), "about 30 of 300 from version 2", second)?;
    tell.why("Weights of the HTTPRoute; the catalogue is public, because a policy says so and names who approved it.");
    Ok(())
}
