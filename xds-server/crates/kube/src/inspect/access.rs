//! Who may do what: the API server is asked, for ourselves or for a service account.

use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::client::explain;
use crate::limits;

/// One thing to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Deed {
    pub(super) verb: String,
    pub(super) group: String,
    /// With its subresource.
    pub(super) resource: String,
    /// Empty for what is in no namespace, and for all of them.
    pub(super) namespace: String,
    pub(super) name: String,
}

impl std::fmt::Display for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        if self.namespace.is_empty() { Ok(()) } else { write!(f, " in {}", self.namespace) }
    }
}

impl Deed {
    fn attributes(&self) -> ResourceAttributes {
        let (resource, subresource) = self.resource.split_once('/').map_or((self.resource.as_str(), None), |(of, sub)| (of, Some(sub)));
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ResourceAttributes {
            verb: some(&self.verb),
            group: some(&self.group),
            resource: some(resource),
            subresource: subresource.map(str::to_owned),
            namespace: some(&self.namespace),
            name: some(&self.name),
            ..ResourceAttributes::default()
        }
    }
}

/// Which of these deeds whoever asks may not do.
pub(super) async fn denied_to_me(client: &Client, deeds: Vec<Deed>) -> Result<Vec<Deed>, String> {
    denied(deeds, async |deed| {
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(deed.attributes()), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
        Ok(api.create(&PostParams::default(), &review).await?.status.is_some_and(|status| status.allowed))
    })
    .await
}

/// Which of these deeds a user may not do.
pub(super) async fn denied_to(client: &Client, user: &str, deeds: Vec<Deed>) -> Result<Vec<Deed>, String> {
    denied(deeds, async |deed| {
        let spec =
            SubjectAccessReviewSpec { user: Some(user.to_owned()), resource_attributes: Some(deed.attributes()), ..Default::default() };
        let review = SubjectAccessReview { spec, ..Default::default() };
        let api: Api<SubjectAccessReview> = Api::all(client.clone());
        Ok(api.create(&PostParams::default(), &review).await?.status.is_some_and(|status| status.allowed))
    })
    .await
}

async fn denied(deeds: Vec<Deed>, may: impl AsyncFn(&Deed) -> Result<bool, kube::Error>) -> Result<Vec<Deed>, String> {
    let may = &may;
    let asked = stream::iter(deeds).map(async |deed| may(&deed).await.map(|allowed| (!allowed).then_some(deed)));
    let answers: Vec<_> = asked.buffered(limits::READS_AT_ONCE).collect().await;
    let mut denied = Vec::new();
    for answer in answers {
        denied.extend(answer.map_err(|error| explain(&error))?);
    }
    Ok(denied)
}

/// A list for people, not longer than they read.
pub(super) fn listed(deeds: &[Deed]) -> String {
    const SHOWN: usize = 6;
    let mut shown: Vec<String> = deeds.iter().take(SHOWN).map(ToString::to_string).collect();
    if deeds.len() > SHOWN {
        shown.push(format!("and {} more", deeds.len() - SHOWN));
    }
    shown.join(", ")
}
