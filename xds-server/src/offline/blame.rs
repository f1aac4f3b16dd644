//! Which objects Envoy refuses a proxy's configuration for, found as the server finds it, by a trial; here Envoy is asked at once.

use std::collections::BTreeSet;

use windrose_ir::Program;
use windrose_plan::{Plan, Refusal, Refused, RefusedBy};
use windrose_vocab::{ObjectVersion, ProxyKey};

use super::Offline;
use crate::refusals::can_be_left_out;
use crate::refusals::trial::{Answer, Trial};

impl Offline {
    /// The objects without which Envoy accepts what the proxy gets, and all others with which it does; none where it refuses the
    /// rest too. `accepts` asks Envoy: once, and for one among n objects up to 2·log₂ n times more.
    ///
    /// # Errors
    /// When Envoy cannot be asked.
    pub(crate) fn to_blame(
        &self,
        plan: &Plan,
        proxy: &ProxyKey,
        words: &str,
        mut accepts: impl FnMut(&Program) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Refused> {
        let mut trial = Trial::new(suspects(plan, proxy), false);
        while !trial.is_over() {
            let rest = windrose_plan::plan(&self.world.declared, &refused(trial.aside(), words), &self.settings);
            let accepted = rest.programs.get(proxy).map_or(Ok(true), |program| accepts(program))?;
            trial.take(if accepted { Answer::Accepted } else { Answer::Refused });
        }
        Ok(refused(trial.guilty().clone(), words))
    }
}

fn suspects(plan: &Plan, proxy: &ProxyKey) -> BTreeSet<ObjectVersion> {
    let carried = plan.sources.get(proxy).into_iter().flat_map(|resources| resources.values()).flat_map(|sources| sources.iter());
    carried.filter(|version| can_be_left_out(version.object.kind)).cloned().collect()
}

fn refused(objects: BTreeSet<ObjectVersion>, words: &str) -> Refused {
    let refusal = Refusal { by: RefusedBy::Envoy, reason: words.to_owned(), last_good: None };
    Refused { objects: objects.into_iter().map(|version| (version, refusal.clone())).collect() }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use windrose_vocab::Severity;

    use super::*;
    use crate::test_world::{SHOP, route};

    const EDGE: &str = "gateway/shop/edge";

    /// What is told of the objects to blame where Envoy refuses each configuration that mentions this word.
    fn blamed(world: &str, word: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("shop.yaml"), world).unwrap();
        let offline = Offline::load(&[folder.path().to_owned()], "windrose.local").unwrap();
        let plan = windrose_plan::plan(&offline.world.declared, &Refused::default(), &offline.settings);
        let proxy = ProxyKey::parse(EDGE).unwrap();
        let refused = offline.to_blame(&plan, &proxy, "no such word", |program| Ok(!format!("{program:?}").contains(word))).unwrap();
        let told = offline.findings(&plan, &refused, SystemTime::now()).into_iter();
        let errors = told.filter(|one| one.diagnostic.severity == Severity::Error);
        errors.map(|one| format!("{} {}", one.place.and_then(|place| place.line).unwrap_or(0), one.diagnostic)).collect()
    }

    #[test]
    fn the_one_that_is_refused_among_many_is_named_with_its_place_and_nobody_else() {
        let routes: String = (0..20).map(|n| route(&format!("r{n}"), &format!("/path-{n}-"))).collect();
        let told = blamed(&[SHOP, &routes].concat(), "path-13-");
        assert_eq!(told.len(), 1, "{told:?}");
        let line = SHOP.lines().count() + route("r", "/").lines().count() * 13 + 2;
        assert!(told[0].starts_with(&format!("{line} error[RefusedByEnvoy]: HTTPRoute/shop/r13: ")), "{told:?}");
        assert!(told[0].contains("no such word"), "{told:?}");
    }

    #[test]
    fn where_the_rest_is_refused_too_nobody_is_blamed() {
        assert_eq!(blamed(&[SHOP, &route("web", "/web")].concat(), "8080"), Vec::<String>::new());
    }
}
