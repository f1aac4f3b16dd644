//! Last good versions over a restart: what to remember of each reading, and what was remembered put back, once, after the
//! first reading and before anything is put together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use windrose_vocab::ObjectRef;

use super::{FileState, InEffect, Reloader};
use crate::folder::{Listing, Problem};
use crate::kept::Kept;

impl Reloader {
    /// The objects whose version in effect changed since the last call: the new one, or nothing where the object is gone.
    pub fn take_unkept(&mut self) -> Vec<(ObjectRef, Option<Kept>)> {
        let Some(mut kept) = self.kept.take() else { return Vec::new() };
        let mut texts = self.take_texts();
        let mut unkept = Vec::new();
        for (object, entry) in &self.in_effect {
            let (version, file) = (entry.object.meta().version, absolute(&entry.file));
            if kept.get(object).is_some_and(|(known, at)| *known == version && **at == *file) {
                continue;
            }
            if let Some(text) = texts.remove(object) {
                let file: Arc<Path> = file.into();
                kept.insert(object.clone(), (version, Arc::clone(&file)));
                unkept.push((object.clone(), Some(Kept { object: object.clone(), version, file, text })));
            }
        }
        let gone: Vec<ObjectRef> = kept.keys().filter(|object| !self.in_effect.contains_key(*object)).cloned().collect();
        gone.iter().for_each(|object| drop(kept.remove(object)));
        unkept.extend(gone.into_iter().map(|object| (object, None)));
        self.kept = Some(kept);
        unkept
    }

    /// The texts of what was decoded since the last call and is in effect. A second declaration keeps its text: it may count later.
    fn take_texts(&mut self) -> BTreeMap<ObjectRef, Arc<str>> {
        let mut texts = BTreeMap::new();
        for (path, file) in &mut self.files {
            for declaration in &mut file.declarations {
                let counts = self.in_effect.get(&declaration.reference).is_some_and(|entry| entry.file == *path);
                if counts && let Some(text) = declaration.text.take() {
                    texts.entry(declaration.reference.clone()).or_insert(text);
                }
            }
        }
        texts
    }

    /// Puts back what is declared and cannot be decoded, and what a file held that cannot be read or named. What is gone stays gone.
    pub(super) fn restore(&mut self, listing: &Listing) {
        let remembered = std::mem::take(&mut self.remembered);
        if remembered.is_empty() {
            return;
        }
        self.hold_unreadable(&remembered, listing);
        let holding = self.files.iter().filter(|(_, file)| file.holds_on);
        let holding: BTreeMap<PathBuf, PathBuf> = holding.map(|(path, _)| (absolute(path), path.clone())).collect();
        let declared = self.declared_in();
        for (object, kept) in remembered {
            let file = match declared.get(&object) {
                Some((_, true)) => continue,
                Some((path, false)) => Some(path),
                None => holding.get(&*kept.file),
            };
            if let Some((path, decoded)) = file.and_then(|path| Some((path, kept.decode()?))) {
                self.world.declared.insert(decoded.clone());
                self.in_effect.insert(object, InEffect { object: decoded, file: path.clone() });
            }
        }
    }

    /// A file that is in a folder that cannot be read holds what it held.
    fn hold_unreadable(&mut self, remembered: &BTreeMap<ObjectRef, Kept>, listing: &Listing) {
        for (folder, _) in listing.problems.iter().filter(|(_, problem)| *problem != Problem::Empty) {
            let at = absolute(folder);
            for rest in remembered.values().filter_map(|kept| kept.file.strip_prefix(&at).ok()) {
                let path = if rest.as_os_str().is_empty() { folder.clone() } else { folder.join(rest) };
                self.files.entry(path).or_insert_with(|| FileState { holds_on: true, ..FileState::default() });
            }
        }
    }

    /// Where each object is declared first, and whether it could be decoded there.
    fn declared_in(&self) -> BTreeMap<ObjectRef, (PathBuf, bool)> {
        let mut all = BTreeMap::new();
        for (path, file) in &self.files {
            for declaration in &file.declarations {
                all.entry(declaration.reference.clone()).or_insert_with(|| (path.clone(), declaration.object.is_some()));
            }
        }
        all
    }
}

/// The same for every folder a server may be started in.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
