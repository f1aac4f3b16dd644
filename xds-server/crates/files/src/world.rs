//! Everything that the files declare, with what is wrong in them and where each object stands.

use std::path::PathBuf;
use std::sync::Arc;

use windrose_api::Declared;
use windrose_vocab::Severity;

use crate::origin::{Finding, SourceMap};
use crate::reload::Reloader;

/// What a set of files declares.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The objects in effect.
    pub declared: Declared,
    /// What is wrong, by file and line.
    pub diagnostics: Vec<Finding>,
    /// Where objects stand.
    pub source_map: Arc<SourceMap>,
}

impl World {
    /// Whether anything is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|finding| finding.diagnostic.severity == Severity::Error)
    }
}

/// Reads files and folders once.
#[must_use]
pub fn load(paths: &[PathBuf]) -> World {
    Reloader::new(paths.to_vec()).into_world()
}
