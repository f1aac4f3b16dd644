//! Who the stream is. The fact comes from a client certificate or a bearer token, through a port; what the node says
//! of itself proves nothing.

use std::time::SystemTime;

use futures::future::BoxFuture;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;
use tonic::Status;
use windrose_vocab::{ProxyKey, Text};

/// An authenticated client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The proxy it is: decides which resources and secrets it gets.
    pub proxy: ProxyKey,
    /// The identity in full, for people and for the memory of rejections.
    pub identity: Text,
    /// Which credential it showed; no secret.
    pub credential: Text,
    /// When that credential was issued.
    pub issued_at: SystemTime,
    /// When the stream must end.
    pub expires_at: SystemTime,
    /// The zone that it is in, where that is known here. It counts before what the node says of itself.
    pub zone: Option<Text>,
}

/// Why a credential opens no stream. The text goes to the stranger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The credential is wrong.
    #[error("{0}")]
    Wrong(String),
    /// The credential is good no more: whoever shows it may have a newer one.
    #[error("{0}")]
    Outdated(String),
    /// Whoever could tell cannot be reached.
    #[error("the credential cannot be checked now")]
    Unavailable,
}

/// The port to whoever knows the credentials.
pub trait Identify: Send + Sync {
    /// Whom a client certificate names; the TLS layer has checked its chain already, and this checks all of it again.
    fn by_certificate<'a>(&'a self, certificate: &'a CertificateDer<'static>, now: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>>;

    /// Whom a bearer token names.
    fn by_token<'a>(&'a self, token: &'a str, now: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>>;

    /// Whether the credential was taken back since.
    fn is_revoked(&self, peer: &Peer) -> bool;

    /// Whether the client is about to end: its listeners are taken away, so that it finishes what it has and takes nothing new.
    fn is_leaving(&self, _peer: &Peer) -> bool {
        false
    }

    /// Changes whenever [`Self::is_revoked`] or [`Self::is_leaving`] may answer otherwise than before.
    fn revocations(&self) -> watch::Receiver<u64>;
}

/// Why nobody is believed.
#[derive(Debug)]
pub(crate) struct Unknown {
    pub(crate) status: Status,
    /// Another certificate may do.
    pub(crate) outdated: bool,
}

impl From<Status> for Unknown {
    fn from(status: Status) -> Self {
        Self { status, outdated: false }
    }
}

/// The peer that certificate and headers prove. When both are shown, both must prove the same proxy.
pub(crate) async fn authenticate(
    identify: &dyn Identify,
    certificate: Option<&CertificateDer<'static>>,
    headers: &HeaderMap,
    now: SystemTime,
) -> Result<Peer, Unknown> {
    let token = bearer(headers)?;
    let by_certificate = match certificate {
        Some(certificate) => {
            let of_certificate = |refusal| Unknown { outdated: matches!(refusal, Refusal::Outdated(_)), status: refused(refusal) };
            Some(identify.by_certificate(certificate, now).await.map_err(of_certificate)?)
        }
        None => None,
    };
    let by_token = match token {
        Some(token) => Some(identify.by_token(token, now).await.map_err(refused)?),
        None => None,
    };
    let is_over = |peer: &Peer| identify.is_revoked(peer) || peer.expires_at <= now;
    let of_certificate = by_certificate.as_ref().is_some_and(is_over);
    let peer = match (by_certificate, by_token) {
        (Some(peer), None) | (None, Some(peer)) => peer,
        (Some(one), Some(other)) => agreed(one, other)?,
        (None, None) => return Err(Status::unauthenticated("neither a client certificate nor a bearer token was shown").into()),
    };
    let outdated = |words: &str| Err(Unknown { status: Status::unauthenticated(words), outdated: of_certificate });
    if identify.is_revoked(&peer) {
        return outdated("the credential was revoked");
    }
    if peer.expires_at <= now { outdated("the credential has expired") } else { Ok(peer) }
}

fn agreed(one: Peer, other: Peer) -> Result<Peer, Status> {
    if one.proxy != other.proxy {
        return Err(Status::unauthenticated("the client certificate and the bearer token name different proxies"));
    }
    Ok(if one.expires_at <= other.expires_at { one } else { other })
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Status> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return if headers.contains_key(AUTHORIZATION) { Err(malformed()) } else { Ok(None) };
    };
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    let plain = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    if scheme.eq_ignore_ascii_case("bearer") && plain { Ok(Some(token)) } else { Err(malformed()) }
}

fn malformed() -> Status {
    Status::unauthenticated("the authorization header is not one bearer token")
}

fn refused(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Wrong(text) | Refusal::Outdated(text) => Status::unauthenticated(text),
        Refusal::Unavailable => Status::unavailable(refusal.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use tonic::Code;

    use super::*;

    struct Fixed;

    fn peer(name: &str, seconds: u64) -> Peer {
        Peer {
            proxy: ProxyKey::workload("shop", name),
            identity: name.into(),
            credential: name.into(),
            issued_at: SystemTime::UNIX_EPOCH,
            expires_at: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            zone: None,
        }
    }

    impl Identify for Fixed {
        fn by_certificate<'a>(&'a self, _: &'a CertificateDer<'static>, _: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>> {
            async { Ok(peer("orders", 100)) }.boxed()
        }
        fn by_token<'a>(&'a self, token: &'a str, _: SystemTime) -> BoxFuture<'a, Result<Peer, Refusal>> {
            async move { if token == "wrong" { Err(Refusal::Wrong("no".into())) } else { Ok(peer(token, 50)) } }.boxed()
        }
        fn is_revoked(&self, peer: &Peer) -> bool {
            &*peer.identity == "gone"
        }
        fn revocations(&self) -> watch::Receiver<u64> {
            watch::Sender::new(0).subscribe()
        }
    }

    async fn opened(certificate: bool, tokens: &[&str], at: u64) -> Result<Peer, Code> {
        let der = CertificateDer::from(vec![0]);
        let mut headers = HeaderMap::new();
        for token in tokens {
            headers.append(AUTHORIZATION, token.parse().unwrap());
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        authenticate(&Fixed, certificate.then_some(&der), &headers, now).await.map_err(|unknown| unknown.status.code())
    }

    #[tokio::test]
    async fn either_way_opens_and_both_must_agree() {
        assert_eq!(opened(true, &[], 1).await, Ok(peer("orders", 100)));
        assert_eq!(opened(false, &["Bearer catalog"], 1).await, Ok(peer("catalog", 50)));
        assert_eq!(opened(true, &["bearer orders"], 1).await, Ok(peer("orders", 50)), "the earlier end counts");
        assert_eq!(opened(true, &["Bearer catalog"], 1).await, Err(Code::Unauthenticated));
        assert_eq!(opened(true, &["Bearer wrong"], 1).await, Err(Code::Unauthenticated));
    }

    #[tokio::test]
    async fn nothing_wrong_or_two_is_unauthenticated() {
        let cases: [&[&str]; 8] = [
            &[],
            &["Bearer"],
            &["Bearer "],
            &["Basic a"],
            &["Bearer a b"],
            &["orders"],
            &["Bearer orders", "Bearer orders"],
            &["Bearer gone"],
        ];
        for tokens in cases {
            assert_eq!(opened(false, tokens, 1).await, Err(Code::Unauthenticated), "{tokens:?}");
        }
        assert_eq!(opened(false, &["Bearer orders"], 50).await, Err(Code::Unauthenticated), "expired");
    }
}
