//! Filter configurations: the entries that routes name, each once however many routes name it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use windrose_ir::Extension;
use windrose_ir::extension::{AuthRule, JwtRule, JwtTable, KeyPart, RateLimit, RateLimitTable, TokenSource, TranscoderTable};
use windrose_vocab::{Kind, ObjectVersion, ProxyKey, ResourceId, ResourceKind, Text};

use super::Assembly;
use crate::plan::Sources;
use crate::policy::{ExtensionEntry, auth};
use crate::proxy::extension_name;
use crate::route::{Rules, RulesKey};
use crate::world::{Delta, Filter, Output};

/// One configuration as it is being put together.
#[derive(Debug, Default)]
pub(super) struct ExtensionState {
    entries: BTreeMap<Text, (u32, ExtensionEntry)>,
    sources: Sources,
    pub(super) users: BTreeSet<ProxyKey>,
}

impl Assembly {
    pub(super) fn entries_changed(&mut self, delta: &Delta<RulesKey, Rules>) {
        // Most edits of a route are of other things: what is made of all policies of the port is made anew for those alone.
        if let (Some(old), Some(new)) = (&delta.old, &delta.new)
            && old.value.entries == new.value.entries
            && policies(old).eq(policies(new))
        {
            return;
        }
        let scope = Text::from(delta.key.table.scope());
        for (output, up) in delta.sides() {
            self.count_entries(&scope, output, up);
        }
    }

    fn count_entries(&mut self, scope: &Text, output: &Output<Rules>, up: bool) {
        let mut filters = BTreeSet::new();
        for ((filter, id), entry) in &output.value.entries {
            let state = self.extensions.entry((scope.clone(), *filter)).or_default();
            let known = state.entries.entry(id.clone()).or_insert_with(|| (0, entry.clone()));
            if up {
                *known = (known.0 + 1, entry.clone());
            } else {
                known.0 = known.0.saturating_sub(1);
            }
            if known.0 == 0 {
                state.entries.remove(id);
            }
            filters.insert(*filter);
        }
        for filter in filters {
            let state = self.extensions.entry((scope.clone(), filter)).or_default();
            for version in output.sources.iter().filter(|version| concerns(filter, version)) {
                if up { state.sources.add(version) } else { state.sources.remove(version) }
            }
            self.touched.extensions.insert((scope.clone(), filter));
            // Which claims are shared follows from the limits of the same listener.
            self.touched.extensions.insert((scope.clone(), Filter::JwtAuth));
        }
    }

    /// Claims that the limits of this scope read.
    fn claims(&self, scope: &Text) -> Vec<Text> {
        let state = self.extensions.get(&(scope.clone(), Filter::RateLimit));
        let limits = state.iter().flat_map(|state| state.entries.values()).flat_map(|(_, entry)| match entry {
            ExtensionEntry::RateLimit(limits) => limits.as_slice(),
            ExtensionEntry::Auth(_) | ExtensionEntry::Transcoder(_) => &[],
        });
        limits.flat_map(claims_of).collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(super) fn settle_extensions(&mut self) {
        for key in std::mem::take(&mut self.touched.extensions) {
            let Some(state) = self.extensions.get(&key) else { continue };
            let built = Arc::new(state.build(key.1, &self.claims(&key.0)));
            let name = extension_name(&key.0, key.1);
            for proxy in &state.users {
                let Some(user) = self.proxies.get_mut(proxy) else { continue };
                if user.program.extensions.get(&name).is_none_or(|known| **known != *built) {
                    user.program.extensions.insert(name.clone(), Arc::clone(&built));
                }
                user.sources.insert(ResourceId::new(ResourceKind::Extension, name.clone()), state.sources.clone());
                self.touched.proxies.insert(proxy.clone());
            }
            if state.users.is_empty() && state.entries.is_empty() {
                self.extensions.remove(&key);
            }
        }
    }
}

/// Claims that a limit is counted by, or that name a plan.
fn claims_of(limit: &RateLimit) -> impl Iterator<Item = Text> {
    let keys = limit.key.iter().filter_map(|part| match part {
        KeyPart::Claim(claim) => Some(claim.clone()),
        KeyPart::ClientAddress | KeyPart::Header(_) | KeyPart::Route => None,
    });
    keys.chain(limit.plans.iter().map(|plans| plans.claim.clone()))
}

/// The versions of all that the tables are made of beside the routes.
fn policies(output: &Output<Rules>) -> impl Iterator<Item = &ObjectVersion> {
    output
        .sources
        .iter()
        .filter(|version| [Filter::JwtAuth, Filter::RateLimit, Filter::Transcoder].iter().any(|filter| concerns(*filter, version)))
}

fn concerns(filter: Filter, version: &ObjectVersion) -> bool {
    match version.object.kind {
        Kind::AuthPolicy => filter == Filter::JwtAuth,
        Kind::RateLimitPolicy => filter == Filter::RateLimit,
        Kind::TranscodingPolicy => filter == Filter::Transcoder,
        Kind::Secret => filter == Filter::JwtAuth,
        Kind::ConfigMap => filter != Filter::RateLimit,
        _ => false,
    }
}

impl ExtensionState {
    /// Headers in which some policy of the table looks for tokens.
    fn token_headers(&self) -> BTreeSet<Text> {
        let rules = self.entries.values().filter_map(|(_, entry)| match entry {
            ExtensionEntry::Auth(AuthRule::Jwt(rule)) => Some(rule),
            ExtensionEntry::Auth(_) | ExtensionEntry::RateLimit(_) | ExtensionEntry::Transcoder(_) => None,
        });
        let sources = rules.flat_map(|rule| &rule.providers).flat_map(|provider| &provider.sources);
        sources
            .filter_map(|source| match source {
                TokenSource::Header(name, _) => Some(name.clone()),
                TokenSource::Query(_) | TokenSource::Cookie(_) => None,
            })
            .collect()
    }

    fn build(&self, filter: Filter, shared_claims: &[Text]) -> Extension {
        let entries = || self.entries.iter().map(|(id, (_, entry))| (id.clone(), entry));
        match filter {
            Filter::JwtAuth => {
                let places = self.token_headers();
                let rules = entries().filter_map(|(id, entry)| match entry {
                    // The filter takes such headers off on every route: the token would go with them. It refuses the whole table.
                    ExtensionEntry::Auth(AuthRule::Jwt(rule))
                        if rule.claims_to_headers.iter().any(|(_, header)| places.contains(header)) =>
                    {
                        Some((id, AuthRule::Deny { taken_off: rule.claims_to_headers.iter().map(|(_, header)| header.clone()).collect() }))
                    }
                    ExtensionEntry::Auth(AuthRule::Jwt(rule)) => {
                        Some((id, AuthRule::Jwt(JwtRule { shared_claims: shared_claims.to_vec(), ..rule.clone() })))
                    }
                    ExtensionEntry::Auth(rule) => Some((id, rule.clone())),
                    ExtensionEntry::RateLimit(_) | ExtensionEntry::Transcoder(_) => None,
                });
                // Answers of the listener's own name it, whether a route does or not.
                let open = (Text::from(auth::OPEN), AuthRule::Public);
                Extension::JwtAuth(JwtTable { policies: rules.chain([open]).collect() })
            }
            Filter::RateLimit => {
                let limits = entries().filter_map(|(id, entry)| match entry {
                    ExtensionEntry::RateLimit(limits) => Some((id, limits.clone())),
                    ExtensionEntry::Auth(_) | ExtensionEntry::Transcoder(_) => None,
                });
                Extension::RateLimit(RateLimitTable { policies: limits.collect() })
            }
            Filter::Transcoder => {
                let mut table = TranscoderTable::default();
                for (id, entry) in entries() {
                    if let ExtensionEntry::Transcoder(usable) = entry {
                        table.descriptors.extend(usable.iter().map(|(descriptors, rule)| (rule.descriptor.clone(), descriptors.clone())));
                        table.policies.insert(id, usable.as_ref().map(|(_, rule)| rule.clone()));
                    }
                }
                Extension::Transcoder(table)
            }
        }
    }
}
