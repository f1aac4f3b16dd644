//! Who a proxy is, by the token of its service account: the API server judges it (TokenReview), for our audience alone.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};

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
    /// Too many others ask.
    Busy,
}

/// Asks the API server about a token of one of the accounts that `is_ours` knows, by namespace and name.
///
/// # Errors
/// When it is no good, or nobody can tell.
pub async fn review(client: &Client, token: &str, is_ours: impl Fn(&str, &str) -> bool) -> Result<Shown, Problem> {
    let times = worth_asking(token, SystemTime::now(), is_ours)?;
    let _turn = turn(&REVIEWS, limits::REVIEW_WAIT).await?;
    let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![AUDIENCE.to_owned()]) };
    let review = TokenReview { spec, ..TokenReview::default() };
    let parameters = PostParams::default();
    let api: Api<TokenReview> = Api::all(client.clone());
    let asked = tokio::time::timeout(limits::REQUEST_TIME, api.create(&parameters, &review)).await;
    let answer = asked.map_err(|_| Problem::Unavailable("no answer in time".into()))?;
    let answer = answer.map_err(|error| Problem::Unavailable(explain(&error)))?;
    named(answer.status.unwrap_or_default(), times)
}

/// Nobody makes us ask who cannot be right anyway, and whoever only writes the name of an account of ours has to wait with all others.
fn worth_asking(token: &str, now: SystemTime, is_ours: impl Fn(&str, &str) -> bool) -> Result<Times, Problem> {
    let claimed = Some(token).filter(|token| token.len() <= TOKEN_BYTES_MAX).and_then(claimed).filter(|claimed| claimed.times.1 > now);
    let Claimed { subject, times } = claimed.ok_or(Problem::Wrong("not a service account's token for us that is still good"))?;
    let (namespace, name) = account(&subject).ok_or(Problem::Wrong("not a service account's token"))?;
    if is_ours(namespace, name) { Ok(times) } else { Err(Problem::Wrong("its service account belongs to no Gateway")) }
}

async fn turn(reviews: &Semaphore, wait_max: Duration) -> Result<SemaphorePermit<'_>, Problem> {
    let turn = tokio::time::timeout(wait_max, reviews.acquire()).await;
    turn.map_err(|_| Problem::Busy)?.map_err(|_| Problem::Unavailable("ending".into()))
}

/// From when to when a token is good.
type Times = (SystemTime, SystemTime);

fn named(status: TokenReviewStatus, (issued_at, expires_at): Times) -> Result<Shown, Problem> {
    if status.authenticated != Some(true) {
        return Err(Problem::Wrong("the cluster does not know this token"));
    }
    if !status.audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE) {
        return Err(Problem::Wrong("the token is for another audience"));
    }
    let user = status.user.unwrap_or_default();
    let name = user.username.unwrap_or_default();
    let (namespace, account) = account(&name).ok_or(Problem::Wrong("not a service account's token"))?;
    let mut extra = user.extra.unwrap_or_default();
    let mut bound_to = |what: &str| extra.remove(&format!("authentication.kubernetes.io/{what}-name"))?.into_iter().next();
    let pod = bound_to("pod").ok_or(Problem::Wrong("the token is bound to no Pod"))?;
    let node = bound_to("node");
    Ok(Shown { namespace: namespace.to_owned(), account: account.to_owned(), pod, node, issued_at, expires_at })
}

/// Namespace and name of a service account by its user name.
fn account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':')
}

/// What a token says of itself. Believed only after the API server vouched for it.
#[derive(Debug, PartialEq, Eq)]
struct Claimed {
    subject: String,
    times: Times,
}

fn claimed(token: &str) -> Option<Claimed> {
    #[derive(Deserialize)]
    struct Claims {
        iat: u64,
        exp: u64,
        aud: Vec<String>,
        sub: String,
    }
    let payload = token.split('.').nth(1)?;
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    if !claims.aud.iter().any(|audience| audience == AUDIENCE) {
        return None;
    }
    let at = |seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    Some(Claimed { subject: claims.sub, times: (at(claims.iat)?, at(claims.exp)?) })
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

    fn token(account: &str, audience: &str, end: u64) -> String {
        let claims = format!(r#"{{"iat":1,"exp":{end},"aud":["{audience}"],"sub":"{account}"}}"#);
        format!("a.{}.c", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn who_cannot_be_right_asks_nobody() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        let is_ours = |namespace: &str, name: &str| (namespace, name) == ("shop", "edge-windrose");
        let good = "system:serviceaccount:shop:edge-windrose";
        assert!(worth_asking(&token(good, AUDIENCE, 3601), now, is_ours).is_ok());
        let wrong = [
            ("no token", String::new()),
            ("no token", "a".to_owned()),
            ("no base64", "a.b.c".to_owned()),
            ("no claims", "a.e30.c".to_owned()),
            ("too long", token(&"x".repeat(TOKEN_BYTES_MAX), AUDIENCE, 3601)),
            ("for somebody else", token(good, "https://kubernetes.default.svc", 3601)),
            ("over", token(good, AUDIENCE, 10)),
            ("a user", token("jane", AUDIENCE, 3601)),
            ("another account", token("system:serviceaccount:shop:default", AUDIENCE, 3601)),
        ];
        for (what, token) in wrong {
            assert!(matches!(worth_asking(&token, now, is_ours), Err(Problem::Wrong(_))), "{what}");
        }
    }

    #[tokio::test]
    async fn who_waits_for_others_too_long_is_told() {
        let (reviews, wait) = (Semaphore::const_new(1), Duration::from_millis(10));
        let first = turn(&reviews, wait).await.unwrap();
        assert_eq!(turn(&reviews, wait).await.err(), Some(Problem::Busy));
        drop(first);
        assert!(turn(&reviews, wait).await.is_ok());
    }
}
