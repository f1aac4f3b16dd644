//! Reads files again and again: only what changed is decoded again, what cannot be decoded keeps its last good version,
//! and a file that is half written keeps all its objects. The result depends on the files, their order and what was good before,
//! which may be before a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use windrose_api::declared::{AnyObject, Changed, SetAside};
use windrose_vocab::{Code, Diagnostic, FieldPath, Fingerprint, ObjectRef, Severity};

use crate::folder::{self, Listing, Problem};
use crate::kept::Kept;
use crate::limits;
use crate::origin::{Finding, Origin, Place, SourceMap};
use crate::values::{self, Seen};
use crate::world::World;

mod document;
mod keep;

use document::{Declaration, decode_file};
use keep::absolute;

/// Follows a set of files and folders.
#[derive(Debug)]
pub struct Reloader {
    paths: Vec<PathBuf>,
    files: BTreeMap<PathBuf, FileState>,
    in_effect: BTreeMap<ObjectRef, InEffect>,
    decoded: usize,
    world: World,
    /// What was good before a restart, until the first reading is over.
    remembered: BTreeMap<ObjectRef, Kept>,
    /// The version and file of each object that were handed out to be kept; nothing where nobody asks.
    kept: Option<BTreeMap<ObjectRef, (Fingerprint, Arc<Path>)>>,
}

/// What one file said when it was last read.
#[derive(Debug, Default)]
struct FileState {
    content: Option<Fingerprint>,
    declarations: Vec<Declaration>,
    /// Something in it could not even be named: what it declared before stays.
    holds_on: bool,
    /// It is a key set, and declares nothing.
    is_key_set: bool,
    findings: Vec<Finding>,
    values: Seen,
}

#[derive(Clone, Debug)]
struct InEffect {
    object: AnyObject,
    file: PathBuf,
}

impl Reloader {
    /// Reads `paths` for the first time.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self::start(paths, BTreeMap::new(), None)
    }

    /// Reads `paths` for the first time after a restart: what was good then stays for what cannot be read now.
    /// From here on [`Self::take_unkept`] says what to remember next time.
    #[must_use]
    pub fn remembering(paths: Vec<PathBuf>, remembered: Vec<Kept>) -> Self {
        let kept = remembered.iter().map(|kept| (kept.object.clone(), (kept.version, Arc::clone(&kept.file)))).collect();
        let remembered = remembered.into_iter().map(|kept| (kept.object.clone(), kept)).collect();
        Self::start(paths, remembered, Some(kept))
    }

    fn start(
        paths: Vec<PathBuf>,
        remembered: BTreeMap<ObjectRef, Kept>,
        kept: Option<BTreeMap<ObjectRef, (Fingerprint, Arc<Path>)>>,
    ) -> Self {
        let (files, in_effect, world) = (BTreeMap::new(), BTreeMap::new(), World::default());
        let mut reloader = Self { paths, files, in_effect, decoded: 0, world, remembered, kept };
        reloader.reload();
        reloader
    }

    /// What the files declare, as of the last reading.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The same, for one who reads once.
    #[must_use]
    pub fn into_world(self) -> World {
        self.world
    }

    /// Files decoded since the beginning, to see that an edit costs one.
    #[must_use]
    pub fn decoded(&self) -> usize {
        self.decoded
    }

    /// Files that objects take values from; they are followed like the declarations themselves.
    #[must_use]
    pub fn value_files(&self) -> BTreeSet<PathBuf> {
        self.files.values().flat_map(|file| file.values.keys().cloned()).collect()
    }

    /// Reads again what changed, and says which objects differ from before.
    pub fn reload(&mut self) -> Changed {
        let listing = folder::list(&self.paths);
        self.forget_removed(&listing);
        for path in &listing.files {
            self.read(path);
        }
        self.restore(&listing);
        self.merge(&listing)
    }

    /// A file that is gone takes its objects along, unless its folder cannot be looked into.
    fn forget_removed(&mut self, listing: &Listing) {
        let unreadable: Vec<&PathBuf> =
            listing.problems.iter().filter(|(_, problem)| *problem != Problem::Empty).map(|(path, _)| path).collect();
        self.files.retain(|path, _| listing.files.contains(path) || unreadable.iter().any(|folder| path.starts_with(folder)));
    }

    fn read(&mut self, path: &Path) {
        let before = self.files.get_mut(path);
        let content = match values::read_regular(path, limits::FILE_BYTES_MAX) {
            Ok(content) => content,
            Err(message) => {
                let state = self.files.entry(path.to_owned()).or_default();
                state.findings = vec![about_file(path, Severity::Error, message)];
                state.content = None;
                state.holds_on = true;
                return;
            }
        };
        let fingerprint = Some(values::fingerprint(&content));
        if before.is_some_and(|state| state.content == fingerprint && !values::any_changed(&state.values)) {
            return;
        }
        self.decoded += 1;
        let mut state = decode_file(path, &content, self.kept.is_some());
        state.content = fingerprint;
        // An editor empties a file before it writes it; a key set was written over it by mistake.
        state.holds_on |= (content.is_empty() || state.is_key_set) && self.held(path);
        if content.is_empty() && state.holds_on {
            let message = "is empty: what it declared before stays until it is deleted or says something else".to_owned();
            state.findings.push(about_file(path, Severity::Warning, message));
        }
        self.files.insert(path.to_owned(), state);
    }

    /// Whether objects of this file are in effect, or were before a restart.
    fn held(&self, path: &Path) -> bool {
        let remembered = || {
            let absolute = absolute(path);
            self.remembered.values().any(|kept| *kept.file == *absolute)
        };
        self.in_effect.values().any(|entry| entry.file == path) || remembered()
    }

    /// Puts the files together, in the order of their paths.
    fn merge(&mut self, listing: &Listing) -> Changed {
        let mut merged = Merged::default();
        // A file that an object takes a value from, such as a JWKS, is no declaration, whatever its name ends in.
        let values = self.value_files();
        for (path, file) in self.files.iter().filter(|(path, file)| !(file.declarations.is_empty() && values.contains(*path))) {
            merged.incomplete |= file.holds_on;
            merged.findings.extend(file.findings.iter().cloned());
            file.declarations.iter().for_each(|declaration| merged.declare(path, declaration, &self.in_effect));
        }
        // What a file declared that cannot be read now goes on, and nobody can say where it stands.
        let is_unread = |path: &PathBuf, file: &FileState| file.content.is_none() || !listing.files.contains(path);
        for declaration in self.files.iter().filter(|(path, file)| is_unread(path, file)).flat_map(|(_, file)| &file.declarations) {
            if merged.origins.get(&declaration.reference).is_some_and(|origin| Arc::ptr_eq(origin, &declaration.origin)) {
                merged.origins.remove(&declaration.reference);
            }
        }
        let named: BTreeSet<&PathBuf> = listing.problems.iter().map(|(path, _)| path).collect();
        let mut held: BTreeMap<&Path, Vec<&ObjectRef>> = BTreeMap::new();
        for (object, entry) in &self.in_effect {
            let holds_on = self.files.get(&entry.file).is_some_and(|file| file.holds_on || is_unread(&entry.file, file));
            if holds_on && !merged.origins.contains_key(object) {
                merged.in_effect.insert(object.clone(), entry.clone());
                // Of a folder that cannot be looked into one line says enough.
                if self.files.get(&entry.file).is_some_and(|file| file.holds_on) || named.contains(&entry.file) {
                    held.entry(&entry.file).or_default().push(object);
                }
            }
        }
        merged.findings.extend(held.into_iter().map(|(path, objects)| about_held(path, &objects)));
        merged.incomplete |= listing.problems.iter().any(|(_, problem)| *problem != Problem::Empty);
        merged.findings.extend(listing.problems.iter().map(|(path, problem)| about_path(path, problem)));
        if merged.findings.iter().any(|finding| finding.diagnostic.severity == Severity::Error) {
            // What cannot be read may name it.
            let is_key_set = |path: &Path| self.files.get(path).is_some_and(|file| file.is_key_set && file.declarations.is_empty());
            merged.findings.retain(|finding| finding.place.as_ref().is_none_or(|place| !is_key_set(&place.file)));
        }
        self.take(merged)
    }

    fn take(&mut self, merged: Merged) -> Changed {
        let mut changed = Changed::default();
        let declared = &mut self.world.declared;
        for object in self.in_effect.keys().filter(|object| !merged.in_effect.contains_key(object)) {
            declared.remove(object);
            changed.objects.insert(object.clone());
        }
        for (object, entry) in &merged.in_effect {
            if self.in_effect.get(object).is_none_or(|before| before.object != entry.object) {
                declared.insert(entry.object.clone());
                changed.objects.insert(object.clone());
            }
        }
        let before = std::mem::take(&mut declared.set_aside);
        let differs = |object: &&ObjectRef| before.get(*object) != merged.set_aside.get(*object);
        let both = before.keys().chain(merged.set_aside.keys());
        changed.objects.extend(both.filter(differs).cloned());
        declared.set_aside = merged.set_aside.into_iter().collect();
        declared.incomplete = merged.incomplete;

        let mut source_map = SourceMap::default();
        merged.origins.into_iter().for_each(|(object, origin)| source_map.insert(object, origin));
        self.world.source_map = Arc::new(source_map);
        self.world.diagnostics = merged.findings;
        self.world.diagnostics.sort_by_key(|finding| {
            let place = finding.place.as_ref();
            (place.map(|place| (Arc::clone(&place.file), place.line, place.column)), finding.diagnostic.severity)
        });
        self.in_effect = merged.in_effect;
        changed
    }
}

/// The files put together so far.
#[derive(Debug, Default)]
struct Merged {
    in_effect: BTreeMap<ObjectRef, InEffect>,
    origins: BTreeMap<ObjectRef, Arc<Origin>>,
    set_aside: BTreeMap<ObjectRef, SetAside>,
    incomplete: bool,
    findings: Vec<Finding>,
}

impl Merged {
    /// The first declaration of an object counts, whether it is good or not; a second one is an error that names both.
    fn declare(&mut self, path: &Path, declaration: &Declaration, before: &BTreeMap<ObjectRef, InEffect>) {
        let object = &declaration.reference;
        if let Some(first) = self.origins.get(object) {
            let message = format!("{object} is declared twice: the one at {} counts", first.display());
            let diagnostic = Diagnostic::error(object.clone(), FieldPath::parse("metadata.name"), Code::Duplicate, message);
            self.findings.push(declaration.origin.find(diagnostic));
            return;
        }
        self.origins.insert(object.clone(), Arc::clone(&declaration.origin));
        self.findings.extend(declaration.findings.iter().cloned());
        match (&declaration.object, before.get(object)) {
            (Some(decoded), _) => drop(self.in_effect.insert(object.clone(), InEffect { object: decoded.clone(), file: path.to_owned() })),
            (None, Some(last_good)) => {
                let last_good = InEffect { file: path.to_owned(), ..last_good.clone() };
                self.in_effect.insert(object.clone(), last_good);
                let message = format!("the last good version of {object} stays in effect");
                let diagnostic = Diagnostic::warning(object.clone(), FieldPath::root(), Code::LastGood, message);
                self.findings.push(declaration.origin.find(diagnostic));
            }
            (None, None) => drop(self.set_aside.insert(object.clone(), declaration.aside.clone())),
        }
    }
}

fn about_path(path: &Path, problem: &Problem) -> Finding {
    match problem {
        Problem::Unreadable(why) => about_file(path, Severity::Error, format!("cannot read `{}`: {why}", path.display())),
        Problem::Empty => {
            let message = format!("`{}` has no .yaml, .yml or .json file", path.display());
            about_file(path, Severity::Warning, message)
        }
        Problem::TooMuch(why) => about_file(path, Severity::Error, format!("`{}`: {why}", path.display())),
    }
}

/// Objects that a file kept although it does not name them now; a person recognises it by the first few.
fn about_held(path: &Path, objects: &[&ObjectRef]) -> Finding {
    let first = objects.iter().take(limits::HELD_SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let more = match objects.len().saturating_sub(limits::HELD_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let mut finding = about_file(path, Severity::Warning, format!("the last good versions of {first}{more} stay in effect"));
    finding.diagnostic.code = Code::LastGood;
    finding
}

fn about_file(path: &Path, severity: Severity, message: String) -> Finding {
    let diagnostic = Diagnostic { object: None, field: FieldPath::root(), severity, code: Code::File, message, hint: None };
    Finding { diagnostic, place: Some(Place { file: path.into(), line: None, column: 1, excerpt: None }) }
}
