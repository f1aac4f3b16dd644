//! From a plan to what the proxies of each scope should have: rendered, made whole with certificates, published.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use windrose_envoy::{Near, Rendered, Renderer};
use windrose_ir::Program;
use windrose_plan::Plan;
use windrose_state::{ResourceSet, Scope};
use windrose_vocab::{ProxyKey, ResourceKind};

use super::bugs::{self, Bug};
use super::standing::Fate;
use super::{Parts, Pipeline, is_known};

/// One scope as it was last rendered.
pub(super) struct Served {
    renderer: Renderer,
    program: Arc<Program>,
    rendered: Rendered,
    /// Of a zone, in place of what is rendered: all but its endpoints are those of its class anywhere.
    near: Near,
    pub(super) resources: ResourceSet,
    /// A bug keeps it as it was.
    stuck: bool,
}

impl Served {
    fn nothing(scope: &Scope, parts: &Parts) -> Self {
        Self {
            renderer: Renderer::new(scope.class.clone(), parts.modules.clone(), parts.version_key.clone()),
            program: Arc::default(),
            rendered: Rendered::default(),
            near: Near::default(),
            resources: ResourceSet::new(),
            stuck: false,
        }
    }
}

impl Pipeline {
    /// Renders and publishes the scopes of a proxy: the default class, and those that clients asked for.
    /// `before` is the plan that the former resources come from.
    pub(super) fn publish(&mut self, proxy: &ProxyKey, before: &Plan, now: SystemTime) {
        if !is_known(&self.plan, proxy) {
            match self.fate(proxy) {
                fate @ (Fate::Gone | Fate::HandedOver) => return self.withdraw(proxy, fate),
                Fate::Replaced | Fate::Kept => return,
                Fate::Closed => {}
            }
        }
        self.retire(proxy);
        let asked = self.reader.scopes_of(proxy);
        for scope in with_classes(asked.iter().chain([&Scope::from(proxy.clone())])) {
            self.publish_scope(&scope, before, now);
        }
    }

    pub(super) fn scopes_of(&self, proxy: &ProxyKey) -> Vec<Scope> {
        let first = Scope::from(proxy.clone());
        self.served.range(first..).map(|(scope, _)| scope).take_while(|scope| scope.proxy == *proxy).cloned().collect()
    }

    /// Forgets the zones that made room for others.
    pub(super) fn retire(&mut self, proxy: &ProxyKey) {
        let there: BTreeSet<Scope> = self.reader.scopes_of(proxy).into_iter().collect();
        for scope in self.scopes_of(proxy).into_iter().filter(|scope| scope.class.zone.is_some() && !there.contains(scope)) {
            self.served.remove(&scope);
            self.note_published(&scope, None);
            self.parts.desired.forget(&scope);
            self.parts.accepted.forget(&scope);
        }
    }

    fn withdraw(&mut self, proxy: &ProxyKey, fate: Fate) {
        for scope in self.scopes_of(proxy) {
            self.served.remove(&scope);
            self.note_published(&scope, None);
            if fate == Fate::HandedOver {
                self.parts.desired.hand_over(&scope);
            } else {
                self.parts.desired.withdraw(&scope);
            }
            self.parts.accepted.forget(&scope);
        }
        // Of some there is only the word that they cannot be rendered.
        Arc::make_mut(&mut self.unpublished).retain(|scope, _| scope.proxy != *proxy);
        self.carried.forget(proxy);
    }

    pub(super) fn publish_scope(&mut self, scope: &Scope, before: &Plan, now: SystemTime) {
        let planned = self.plan.programs.get(&scope.proxy).cloned();
        let Some(program) = planned.or_else(|| self.is_closed(&scope.proxy).then(|| Arc::clone(&self.nothing))) else { return };
        let rendered = match scope.class.zone {
            None => self.render(scope, program, before),
            Some(_) => self.render_near(scope, program, before),
        };
        match rendered {
            Ok(()) => self.publish_served(scope, now),
            Err(bug) => {
                // Of one that was never rendered there is nothing to keep, and an empty set would be taken for an answer.
                self.served.entry(scope.clone()).and_modify(|served| served.stuck = true);
                self.note_published(scope, Some(format!("a bug of the control plane {bug}")));
                self.stumbled = Some(bug);
            }
        }
    }

    fn render(&mut self, scope: &Scope, program: Arc<Program>, before: &Plan) -> Result<(), Bug> {
        let nothing = Served::nothing(scope, &self.parts);
        let former = self.served.get(scope).unwrap_or(&nothing);
        let rendered = bugs::caught(|| former.renderer.update(&former.rendered, &former.program, &program))
            .or_else(|_| bugs::caught(|| former.renderer.update(&Rendered::default(), &Program::default(), &program)))?;
        let served = self.served.entry(scope.clone()).or_insert(nothing);
        for kind in ResourceKind::ALL {
            self.carried.follow((&scope.proxy, before), served.rendered.of_kind(kind), rendered.of_kind(kind));
            served.resources.set_kind(kind, rendered.of_kind(kind).clone());
        }
        if let Some(there) = self.plan.sources.get(&scope.proxy) {
            self.carried.tidy(&scope.proxy, there);
        }
        (served.rendered, served.program, served.stuck) = (rendered, program, false);
        Ok(())
    }

    /// A zone's resources are those of its class, which was rendered before it, but for endpoints that it sees otherwise.
    fn render_near(&mut self, scope: &Scope, program: Arc<Program>, before: &Plan) -> Result<(), Bug> {
        let rendered = self.served.get(&scope.anywhere()).filter(|class| Arc::ptr_eq(&class.program, &program));
        let Some(class) = rendered.map(|class| class.resources.clone()) else { return Ok(()) };
        let nothing = Served::nothing(scope, &self.parts);
        let former = self.served.get(scope).unwrap_or(&nothing);
        let endpoints = class.of_kind(ResourceKind::Endpoints);
        let near = bugs::caught(|| former.renderer.near(&former.near, &former.program, (&program, endpoints)))
            .or_else(|_| bugs::caught(|| former.renderer.near(&Near::default(), &Program::default(), (&program, endpoints))))?;
        let served = self.served.entry(scope.clone()).or_insert(nothing);
        // Else all that changed is the class' own.
        if !served.near.own().is_empty() || !near.own().is_empty() {
            self.carried.follow((&scope.proxy, before), served.near.endpoints(), near.endpoints());
        }
        served.resources = class;
        served.resources.set_kind(ResourceKind::Endpoints, near.endpoints().clone());
        (served.near, served.program, served.stuck) = (near, program, false);
        Ok(())
    }

    pub(super) fn publish_served(&mut self, scope: &Scope, now: SystemTime) {
        let secrets = self.secrets(&scope.proxy, now);
        let Some(served) = self.served.get(scope) else { return };
        let stuck = served.stuck;
        let Err(error) = self.parts.desired.publish(scope, &served.resources, &secrets) else {
            if !stuck {
                self.note_published(scope, None);
            }
            return;
        };
        self.note_published(scope, Some(error.to_string()));
        if let Err(error) = self.parts.desired.publish_secrets(scope, &secrets) {
            tracing::error!(proxy = %scope.proxy, %error, "certificates cannot be published; the former ones stay");
        }
    }

    pub(super) fn note_published(&mut self, scope: &Scope, error: Option<String>) {
        if self.unpublished.get(scope) == error.as_ref() {
            return;
        }
        let unpublished = Arc::make_mut(&mut self.unpublished);
        match error {
            Some(error) => {
                tracing::error!(proxy = %scope.proxy, error, "the new configuration is not complete in itself; the former one stays");
                unpublished.insert(scope.clone(), error);
            }
            None => drop(unpublished.remove(scope)),
        }
    }

    fn secrets(&mut self, proxy: &ProxyKey, now: SystemTime) -> windrose_state::KindMap {
        match self.plan.identities.get(proxy) {
            Some(identity) => self.parts.svids.of(identity, now),
            None => windrose_state::KindMap::new(),
        }
    }
}

/// These scopes and those of their classes anywhere, in an order in which a class comes before its zones.
pub(super) fn with_classes<'a>(scopes: impl IntoIterator<Item = &'a Scope>) -> BTreeSet<Scope> {
    scopes.into_iter().flat_map(|scope| [scope.anywhere(), scope.clone()]).collect()
}
