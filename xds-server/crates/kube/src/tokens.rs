//! Who a proxy is, by the token of its service account: the API server judges it (TokenReview), for our audience alone.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::client::explain;
use crate::deploy::AUDIENCE;
use crate::limits;

/// Bytes of a token: the largest of a service account has about 2,000.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Reviews at a time: strangers must not use up what we may ask of the API server.
static REVIEWS: Semaphore = Semaphore::const_new(16);

/// Whom a token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Namespace of the service account.
    pub namespace: String,
    /// Its name.
    pub account: String,
    /// The Pod that the token was made for.
    pub pod: String,
    /// The node that the Pod is on, where the cluster says it.
    pub node: Option<String>,
    /// When it was issued.
    pub issued_at: SystemTime,
    /// When it ends.
    pub expires_at: SystemTime,
}

/// Why a token proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is no good; for the stranger.
    Wrong(&'static str),
    /// The API server cannot be asked; for the log.
    Unavailable(String),
}

/// Asks the API server about a token.
///
/// # Errors
/// When it is no good, or nobody can tell.
pub async fn review(client: &Client, token: &str) -> Result<Shown, Problem> {
    // Nobody makes us ask who cannot be right anyway.
    let times = times(token).filter(|(_, end)| *end > SystemTime::now() && token.len() <= TOKEN_BYTES_MAX);
    let times = times.ok_or(Problem::Wrong("not a service account's token for us that is still good"))?;
    let _turn = REVIEWS.acquire().await.map_err(|_| Problem::Unavailable("ending".into()))?;
    let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![AUDIENCE.to_owned()]) };
    let review = TokenReview { spec, ..TokenReview::default() };
    let parameters = PostParams::default();
    let api: Api<TokenReview> = Api::all(client.clone());
    let asked = tokio::time::timeout(limits::REQUEST_TIME, api.create(&parameters, &review)).await;
    let answer = asked.map_err(|_| Problem::Unavailable("no answer in time".into()))?;
    let answer = answer.map_err(|error| Problem::Unavailable(explain(&error)))?;
    named(answer.status.unwrap_or_default(), times)
}

fn named(status: TokenReviewStatus, (issued_at, expires_at): (SystemTime, SystemTime)) -> Result<Shown, Problem> {
    if status.authenticated != Some(true) {
        return Err(Problem::Wrong("the cluster does not know this token"));
    }
    if !status.audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE) {
        return Err(Problem::Wrong("the token is for another audience"));
    }
    let user = status.user.unwrap_or_default();
    let name = user.username.unwrap_or_default();
    let account = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let (namespace, account) = account.ok_or(Problem::Wrong("not a service account's token"))?;
    let mut extra = user.extra.unwrap_or_default();
    let mut bound_to = |what: &str| extra.remove(&format!("authentication.kubernetes.io/{what}-name"))?.into_iter().next();
    let pod = bound_to("pod").ok_or(Problem::Wrong("the token is bound to no Pod"))?;
    let node = bound_to("node");
    Ok(Shown { namespace: namespace.to_owned(), account: account.to_owned(), pod, node, issued_at, expires_at })
}

/// From when to when it says it is good. Believed only after the API server vouched for it.
fn times(token: &str) -> Option<(SystemTime, SystemTime)> {
    #[derive(Deserialize)]
    struct Claims {
        iat: u64,
        exp: u64,
        aud: Vec<String>,
    }
    let payload = token.split('.').nth(1)?;
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    if !claims.aud.iter().any(|audience| audience == AUDIENCE) {
        return None;
    }
    let at = |seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    Some((at(claims.iat)?, at(claims.exp)?))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    const TIMES: (SystemTime, SystemTime) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH);

    fn status(name: &str, audience: &str, pod: Option<&str>) -> TokenReviewStatus {
        let bound = |what: &str, name: &str| (format!("authentication.kubernetes.io/{what}-name"), vec![name.to_owned()]);
        let extra = pod.into_iter().flat_map(|pod| [bound("pod", pod), bound("node", "one")]).collect();
        let user = UserInfo { username: Some(name.to_owned()), extra: Some(extra), ..UserInfo::default() };
        TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(vec![audience.to_owned()]),
            user: Some(user),
            ..TokenReviewStatus::default()
        }
    }

    #[test]
    fn only_a_pods_token_for_us_names_anybody() {
        let good = named(status("system:serviceaccount:shop:edge-windrose", AUDIENCE, Some("edge-1")), TIMES).unwrap();
        assert_eq!((good.namespace.as_str(), good.account.as_str(), good.pod.as_str()), ("shop", "edge-windrose", "edge-1"));
        assert_eq!(good.node.as_deref(), Some("one"));
        let wrong = [
            status("system:serviceaccount:shop:edge", "https://kubernetes.default.svc", Some("edge-1")),
            status("system:node:one", AUDIENCE, Some("edge-1")),
            status("system:serviceaccount:shop:edge", AUDIENCE, None),
            TokenReviewStatus { authenticated: Some(false), ..status("system:serviceaccount:shop:edge", AUDIENCE, Some("edge-1")) },
        ];
        for status in wrong {
            assert!(named(status, TIMES).is_err());
        }
    }

    #[test]
    fn what_is_no_token_asks_nobody() {
        for text in ["", "a", "a.b.c", "a.e30.c"] {
            assert_eq!(times(text), None, "{text}");
        }
        let payload = URL_SAFE_NO_PAD.encode(r#"{"iat":1,"exp":3601,"aud":["windrose.dev/xds"]}"#);
        assert!(times(&format!("a.{payload}.c")).is_some());
        let foreign = URL_SAFE_NO_PAD.encode(r#"{"iat":1,"exp":3601,"aud":["https://kubernetes.default.svc"]}"#);
        assert_eq!(times(&format!("a.{foreign}.c")), None, "for somebody else");
    }
}
