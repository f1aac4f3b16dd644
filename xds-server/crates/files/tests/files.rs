//! Files into the declared world, through the whole of `api` and `files`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "files/official.rs"]
mod official;
#[path = "files/printing.rs"]
mod printing;
#[path = "files/reloading.rs"]
mod reloading;
#[path = "files/remembering.rs"]
mod remembering;
#[path = "files/watching.rs"]
mod watching;
