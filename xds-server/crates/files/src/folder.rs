//! Which files a path stands for: itself, or the YAML and JSON files of a folder and the folders in it, in the order of their names.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::limits;

/// The files found, and what could not be looked into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Files, sorted; each once.
    pub files: BTreeSet<PathBuf>,
    /// What is wrong, by path.
    pub problems: Vec<(PathBuf, Problem)>,
}

/// Why a path gave no files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is not there, or may not be read: what it held before may still be there.
    Unreadable(String),
    /// There is nothing to read in it.
    Empty,
    /// There is more than the limits allow.
    TooMuch(String),
}

/// Finds the files of `paths`. Names that begin with a dot are left out, so that the `..data` of a mounted ConfigMap counts once,
/// as the links that point into it. Links are followed; a folder is entered once.
#[must_use]
pub fn list(paths: &[PathBuf]) -> Listing {
    let mut listing = Listing::default();
    for path in paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let before = (listing.files.len(), listing.problems.len());
                enter(path, 0, &mut BTreeSet::new(), &mut listing);
                if (listing.files.len(), listing.problems.len()) == before {
                    listing.problems.push((path.clone(), Problem::Empty));
                }
            }
            Ok(_) => drop(listing.files.insert(path.clone())),
            Err(error) => listing.problems.push((path.clone(), Problem::Unreadable(error.to_string()))),
        }
    }
    listing
}

fn enter(folder: &Path, depth: usize, entered: &mut BTreeSet<PathBuf>, listing: &mut Listing) {
    if depth > limits::FOLDER_DEPTH_MAX {
        listing.problems.push((folder.to_owned(), Problem::TooMuch("folders are too deep".to_owned())));
        return;
    }
    let entries = fs::canonicalize(folder).and_then(|real| if entered.insert(real) { fs::read_dir(folder).map(Some) } else { Ok(None) });
    let entries = match entries {
        Ok(Some(entries)) => entries,
        Ok(None) => return,
        Err(error) => return listing.problems.push((folder.to_owned(), Problem::Unreadable(error.to_string()))),
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| !is_hidden(path)).collect();
    paths.sort();
    for path in paths {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => enter(&path, depth + 1, entered, listing),
            Ok(_) if is_declaration(&path) && listing.files.len() < limits::FILES_MAX => drop(listing.files.insert(path)),
            Ok(_) if is_declaration(&path) => {
                let message = format!("there are more than {} files", limits::FILES_MAX);
                return listing.problems.push((path, Problem::TooMuch(message)));
            }
            Ok(_) => {}
            Err(error) if is_declaration(&path) => listing.problems.push((path, Problem::Unreadable(error.to_string()))),
            // An editor's file that is gone by now, or a broken link to something that is none of ours.
            Err(_) => {}
        }
    }
}

pub(crate) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

pub(crate) fn is_declaration(path: &Path) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|extension| matches!(extension, "yaml" | "yml" | "json"))
}
