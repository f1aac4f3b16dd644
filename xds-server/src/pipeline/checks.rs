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
        if self.parts.settings.addresses == Addresses::Assigned {
            return;
        }
        let before = self.checks.objects.keys().map(|version| &version.object);
        let named: BTreeSet<&ObjectRef> = changed.objects.iter().chain(before).collect();
        self.checks.objects = named.into_iter().filter_map(|object| self.wrong(object)).collect();
        self.note_refused();
    }

    /// Takes note of what is refused, and of the versions in whose place former ones go on: both outlive a restart.
    pub(super) fn note_refused(&self) {
        let former = |version| Some((version, self.refusals.last_good(version)?.meta().version));
        self.parts.last_good.note_refused(&self.settled, self.checks.objects.keys().filter_map(former));
    }

    fn wrong(&self, object: &ObjectRef) -> Option<(ObjectVersion, Refusal)> {
        match object.kind {
            Kind::Secret => self.pair_in_place(object),
            _ => self.target_in_place(object),
        }
    }

    /// A policy that protects and names what is not there lets go of nothing that its former version protects and it does not name.
    fn target_in_place(&self, object: &ObjectRef) -> Option<(ObjectVersion, Refusal)> {
        let newest = self.declared.get(object)?;
        let (index, reason) = windrose_plan::absent_target(&self.declared, &newest)?;
        let version = newest.meta().identity();
        let former = self.refusals.last_good(&version)?;
        if windrose_plan::absent_target(&self.declared, former).is_some() || !windrose_plan::lets_go(&newest, former) {
            return None;
        }
        Some((version, Refusal { by: RefusedBy::Target(index), reason, last_good: Some(former.clone()) }))
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
        let diagnostics = &stage.picture.load().plan.diagnostics;
        diagnostics.iter().filter(|one| one.code == Code::TargetNotFound).map(|one| format!("{}: {}", one.field, one.message)).collect()
    }

    #[test]
    fn a_policy_that_misspells_its_target_goes_on_protecting_the_former_one_until_it_names_what_is_there() {
        let mut stage = Stage::set("shop.test");
        stage.declare(&world(&["web"], &["web"]));
        for misspelt in ["wbe", "webb"] {
            stage.declare(&world(&["web"], &[misspelt]));
            assert_eq!(limited(&stage), ["web"]);
            let said = format!(
                "spec.targetRefs[0]: namespace `shop` has no HTTPRoute `{misspelt}` (did you mean `web`?); its last good version stays in force"
            );
            assert_eq!(told(&stage), [said]);
        }
        // What it waits for comes, and nobody touches the policy.
        stage.declare(&world(&["web", "webb"], &["webb"]));
        assert_eq!((limited(&stage), told(&stage)), (vec!["webb".to_owned()], Vec::new()));
    }

    #[test]
    fn what_still_names_all_that_it_named_holds_as_it_is_written() {
        let mut stage = Stage::set("shop.test");
        stage.declare(&world(&["web"], &["web"]));
        stage.declare(&world(&["web"], &["web", "later"]));
        assert!(stage.picture.load().refused.objects.is_empty());
        assert_eq!(limited(&stage), ["web"]);
        assert!(told(&stage)[0].starts_with("spec.targetRefs[1]: no HTTPRoute `later`"), "{:?}", told(&stage));
    }

    #[test]
    fn a_former_target_that_is_gone_too_keeps_nothing() {
        let mut stage = Stage::set("shop.test");
        stage.declare(&world(&["web"], &["web"]));
        stage.declare(&world(&["web"], &["wbe"]));
        stage.declare(&world(&["other"], &["wbe"]));
        assert!(stage.picture.load().refused.objects.is_empty());
        assert!(limited(&stage).is_empty());
        let open = stage.picture.load().plan.coverage.values().all(|coverage| *coverage == Coverage::Open);
        assert!(open, "a policy for something else");
    }

    #[test]
    fn in_a_cluster_a_policy_is_taken_as_it_is() {
        let mut stage = Stage::in_a_cluster("shop.test");
        stage.declare(&world(&["web"], &["web"]));
        stage.declare(&world(&["web"], &["wbe"]));
        assert!(stage.picture.load().refused.objects.is_empty());
    }
}
