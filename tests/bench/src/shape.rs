//! What one measurement is about: how many resources of which kind, how many proxies, and who is concerned by a change.

use serde::Serialize;

use crate::content::{self, Content};

/// With names, this part of the resources is subscribed by every proxy; the rest belongs to groups.
const SHARED: usize = 2;

/// Groups of proxies, each with names of its own: a change in one concerns 1 % of the proxies.
const GROUPS: usize = 100;

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Of which kind the resources are, and so how they are subscribed.
    pub content: Content,
    /// How many there are; with endpoints a multiple of 200: half are shared, the rest belongs to 100 groups.
    pub resources: usize,
    /// How many proxies.
    pub proxies: usize,
}

/// Whom a change concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// All proxies.
    Everyone,
    /// One group of a hundred.
    Hundredth,
}

impl Shape {
    /// What the proxy subscribes to.
    #[must_use]
    pub fn names(&self, proxy: usize) -> Vec<String> {
        match self.content {
            Content::Clusters => vec!["*".into()],
            Content::Endpoints => (0..self.shared()).chain(self.group(proxy % GROUPS)).map(content::name).collect(),
        }
    }

    /// How many resources each proxy has when it has all it asked for.
    #[must_use]
    pub fn resources_per_proxy(&self) -> usize {
        match self.content {
            Content::Clusters => self.resources,
            Content::Endpoints => self.shared() + self.group(0).len(),
        }
    }

    /// Which resource gets that revision: another one every time, all over the names.
    #[must_use]
    pub fn changed(&self, reach: Reach, revision: u32) -> usize {
        let spread = revision as usize * 7_919;
        match (self.content, reach) {
            (Content::Clusters, _) => spread % self.resources,
            (Content::Endpoints, Reach::Everyone) => spread % self.shared(),
            (Content::Endpoints, Reach::Hundredth) => self.group(spread % GROUPS).start,
        }
    }

    /// How many proxies a change concerns.
    #[must_use]
    pub fn concerned(&self, reach: Reach) -> usize {
        match reach {
            Reach::Everyone => self.proxies,
            Reach::Hundredth => self.proxies / GROUPS,
        }
    }

    fn shared(&self) -> usize {
        self.resources / SHARED
    }

    fn group(&self, group: usize) -> std::ops::Range<usize> {
        let each = (self.resources - self.shared()) / GROUPS;
        let first = self.shared() + group * each;
        first..first + each
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_concerns_as_many_proxies_as_it_says() {
        let shape = Shape { content: Content::Endpoints, resources: 1_000, proxies: 200 };
        for (reach, revision) in [(Reach::Everyone, 1), (Reach::Everyone, 9), (Reach::Hundredth, 1), (Reach::Hundredth, 42)] {
            let name = content::name(shape.changed(reach, revision));
            let subscribed = (0..shape.proxies).filter(|&proxy| shape.names(proxy).contains(&name)).count();
            assert_eq!(subscribed, shape.concerned(reach), "{reach:?} {revision}");
        }
        assert_eq!(shape.names(7).len(), shape.resources_per_proxy());
    }
}
