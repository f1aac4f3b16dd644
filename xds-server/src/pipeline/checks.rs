//! What is wrong with the newest version of an object although it can be read, and its former version goes on. Only of files: of a cluster,
//! what one replica has seen another one has not.

use std::collections::BTreeSet;

use windrose_api::declared::Changed;
use windrose_plan::{Addresses, Refusal, RefusedBy};
use windrose_vocab::{Kind, ObjectRef, ObjectVersion};

use super::Pipeline;

impl Pipeline {
    /// Judges what changed, and again what was judged before: what it waits for may be there.
    pub(super) fn check(&mut self, changed: &Changed) {
        // Of an endpoint nothing is judged, and no policy names one.
        let of_cluster = self.parts.settings.addresses == Addresses::Assigned;
        if of_cluster || changed.objects.iter().all(|object| object.kind == Kind::EndpointSlice) {
            return;
        }
        let before = self.checks.objects.keys().map(|version| &version.object);
        let named: BTreeSet<&ObjectRef> = changed.objects.iter().chain(before).collect();
        self.checks.objects = named.into_iter().filter_map(|object| self.wrong(object)).collect();
    }

    /// Takes note of what is declared, and is judged by that. What a cluster declares is kept otherwise.
    pub(crate) fn note_judged(&self) {
        if self.parts.settings.addresses == Addresses::Bind {
            self.note_refused();
        }
    }

    /// Takes note of what is refused, and of the versions in whose place former ones go on: both outlive a restart.
    pub(super) fn note_refused(&self) {
        let former = |version| Some((version, self.refusals.last_good(version)?.meta().version));
        self.parts.last_good.note_refused(&self.settled, self.checks.objects.keys().filter_map(former), &self.declared);
    }

    fn wrong(&self, object: &ObjectRef) -> Option<(ObjectVersion, Refusal)> {
        match object.kind {
            Kind::Secret => self.pair_in_place(object),
            _ => self.target_in_place(object),
        }
    }

    /// A policy that names what is not there lets go of nothing meanwhile. While what it let go of is away itself it is waited for.
    fn target_in_place(&self, object: &ObjectRef) -> Option<(ObjectVersion, Refusal)> {
        let newest = self.declared.get(object).filter(|_| windrose_plan::protects(object.kind))?;
        let version = newest.meta().identity();
        let (held, of) = windrose_plan::held(&self.declared, &newest, self.refusals.last_good(&version)?)?;
        let reason = match of.join(", ") {
            none if none.is_empty() => none,
            of => format!("it goes on holding for {of}, as its former version does, until all that it names is there"),
        };
        Some((version, Refusal { by: RefusedBy::Target, reason, last_good: Some(held) }))
    }
}

#[cfg(test)]
mod tests {
    use windrose_plan::Coverage;
    use windrose_vocab::Code;

    use super::super::tests::Stage;
    use super::*;
    use crate::test_world::{SHOP, route};

    /// A policy that lets nobody pass, on these routes.
    fn policy(on: &[&str]) -> String {
        let targets = on.iter().map(|on| format!("{{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: {on} }}"));
        let targets = targets.collect::<Vec<_>>().join(", ");
        format!(
            "---
apiVersion: windrose.dev/v1alpha1
kind: RateLimitPolicy
metadata: {{ name: p, namespace: shop }}
spec: {{ targetRefs: [{targets}], limits: [{{ name: none, quota: {{ requests: 0, window: 1s }} }}] }}
"
        )
    }

    fn world(routes: &[&str], on: &[&str]) -> String {
        let routes = routes.iter().map(|name| route(name, &format!("/{name}"))).collect::<String>();
        format!("{SHOP}{routes}{}", policy(on))
    }

    /// The routes that the policy holds for.
    fn limited(stage: &Stage) -> Vec<String> {
        let plan = &stage.picture.load().plan;
        let of_policy = plan.verdicts.iter().filter(|(subject, _)| subject.object.kind == Kind::RateLimitPolicy);
        let accepted = of_policy.filter(|(_, verdict)| {
            verdict.conditions.get(windrose_plan::ConditionType::Accepted).is_some_and(|condition| condition.status)
        });
        accepted.filter_map(|(subject, _)| Some(subject.parent.as_ref()?.target.name.to_string())).collect()
    }

    fn told(stage: &Stage) -> Vec<String> {
        let of_targets = |one: &&std::sync::Arc<windrose_vocab::Diagnostic>| matches!(one.code, Code::TargetNotFound | Code::LastGood);
        stage.picture.load().plan.diagnostics.iter().filter(of_targets).map(|one| one.message.clone()).collect()
    }

    fn held(of: &str) -> String {
        format!("it goes on holding for {of}, as its former version does, until all that it names is there")
    }

    #[test]
    fn a_policy_that_misspells_its_target_goes_on_protecting_the_former_one_until_it_names_what_is_there() {
        let mut stage = Stage::set("shop.test");
        stage.declare(&world(&["web"], &["web"]));
        for misspelt in ["wbe", "webb"] {
            stage.declare(&world(&["web"], &[misspelt]));
            assert_eq!(limited(&stage), ["web"]);
            let missed = format!("no HTTPRoute `{misspelt}` in namespace `shop`");
            assert_eq!(told(&stage), [held("HTTPRoute/shop/web"), missed]);
        }
        // What it waits for comes, and nobody touches the policy.
        stage.declare(&world(&["web", "webb"], &["webb"]));
        assert_eq!((limited(&stage), told(&stage)), (vec!["webb".to_owned()], Vec::new()));
    }

    #[test]
    fn what_the_newest_version_says_holds_at_once_wherever_it_is_attached() {
        let mut stage = Stage::set("shop.test");
        stage.declare(&world(&["web", "api"], &["web", "api"]).replace("requests: 0", "requests: 1000"));
        stage.declare(&world(&["web", "api"], &["web", "ap"]));
        assert_eq!(limited(&stage), ["api", "web"]);
        assert_eq!(told(&stage)[0], held("HTTPRoute/shop/api"));
        let printed = windrose_plan::print(&stage.picture.load().plan);
        assert!(printed.contains("0 per 1s") && !printed.contains("1000 per"), "{printed}");
    }

    #[test]
    fn what_still_names_all_that_it_named_is_no_matter() {
        let mut stage = Stage::set("shop.test");
        stage.declare(&world(&["web"], &["web"]));
        stage.declare(&world(&["web"], &["web", "later"]));
        assert!(stage.picture.load().refused.objects.is_empty());
        assert_eq!((limited(&stage), told(&stage).len()), (vec!["web".to_owned()], 1));
        // And then it does not, and still names what is not there.
        stage.declare(&world(&["web"], &["wbe", "later"]));
        assert_eq!(limited(&stage), ["web"]);
    }

    #[test]
    fn what_is_away_for_a_moment_is_held_when_it_is_back() {
        let mut stage = Stage::set("shop.test");
        stage.declare(&world(&["web", "other"], &["web"]));
        stage.declare(&world(&["web", "other"], &["wbe"]));
        stage.declare(&world(&["other"], &["wbe"]));
        assert!(limited(&stage).is_empty());
        assert_eq!(told(&stage).len(), 1, "nothing is held: {:?}", told(&stage));
        stage.declare(&world(&["other"], &["web2"]));
        stage.declare(&world(&["web", "other"], &["web2"]));
        assert_eq!(limited(&stage), ["web"]);
    }

    #[test]
    fn a_public_policy_opens_nothing_that_it_no_longer_names() {
        let mut stage = Stage::set("shop.test");
        let public = |on: &str| {
            let spec = world(&["web", "api"], &[on]).replace("RateLimitPolicy", "AuthPolicy");
            spec.replace("limits: [{ name: none, quota: { requests: 0, window: 1s } }]", "public: { reason: r, approvedBy: b }")
        };
        stage.declare(&public("web"));
        stage.declare(&public("ap"));
        assert!(stage.picture.load().plan.coverage.values().all(|coverage| *coverage == Coverage::Open), "by nobody's word");
    }

    #[test]
    fn a_policy_that_becomes_public_where_it_is_misspelt_lets_go_of_nothing() {
        let mut stage = Stage::set("shop.test");
        let of = |on: &str, says: &str| {
            let spec = world(&["web"], &[on]).replace("RateLimitPolicy", "AuthPolicy");
            spec.replace("limits: [{ name: none, quota: { requests: 0, window: 1s } }]", says)
        };
        let closed = |stage: &Stage| stage.picture.load().plan.coverage.values().all(|coverage| matches!(coverage, Coverage::Denied(_)));
        stage.declare(&of("web", "requiredScopes: [a]"));
        assert!(closed(&stage));
        for says in ["public: { reason: r, approvedBy: b }", "requiredScopes: [b]"] {
            stage.declare(&of("wbe", says));
            assert!(closed(&stage), "{says}: {:?}", stage.picture.load().plan.coverage);
        }
    }

    #[test]
    fn what_held_for_a_namespace_holds_until_what_it_is_narrowed_to_is_there() {
        let mut stage = Stage::set("shop.test");
        let of = |targets: &str| {
            format!(
                "{SHOP}---\napiVersion: windrose.dev/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {{ name: p, namespace: shop }}\nspec: {{ action: Deny, rules: [{{}}]{targets} }}\n"
            )
        };
        stage.declare(&of(""));
        stage.declare(&of(", targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: edgee }]"));
        assert_eq!(told(&stage), [held("namespace shop")]);
        stage.declare(&of(", targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }]"));
        assert!(told(&stage).is_empty() && stage.picture.load().refused.objects.is_empty());
    }

    #[test]
    fn in_a_cluster_a_policy_is_taken_as_it_is() {
        let mut stage = Stage::in_a_cluster("shop.test");
        stage.declare(&world(&["web"], &["web"]));
        stage.declare(&world(&["web"], &["wbe"]));
        assert!(stage.picture.load().refused.objects.is_empty());
    }
}
