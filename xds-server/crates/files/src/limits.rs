//! How much a folder may hold. The files are their owner's, so these are against accidents, and against aliases that explode.

use std::time::Duration;

/// Bytes of one YAML or JSON file. Ten megabytes are known to happen; sixty-four are a mistake.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Files in all folders together.
pub const FILES_MAX: usize = 100_000;

/// Folders within folders.
pub const FOLDER_DEPTH_MAX: usize = 32;

/// Scalars, lists and mappings in one document, aliases followed: some hundred bytes each in memory.
pub const NODES_MAX: usize = 4_000_000;

/// Nodes that aliases may bring in again, in one document. An alias bomb of nine by nine levels wants 387 million.
pub const ALIASED_NODES_MAX: usize = 200_000;

/// Mappings and lists within each other. Official kinds need 14; deeper than this the stack is at stake.
pub const DEPTH_MAX: usize = 64;

/// Silence after the last event before files are read again: an editor's write, rename and chmod are over by then.
pub const QUIET: Duration = Duration::from_millis(50);

/// The same after one of which another may follow: editors remove a file before they write it again, and a key comes after its certificate.
pub const QUIET_LONGER: Duration = Duration::from_millis(400);

/// After the first event, files are read at the latest then, however busy the folder is.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks at the files although nothing was reported: network file systems report nothing.
pub const POLL: Duration = Duration::from_secs(30);

/// The same where the system cannot report changes at all.
pub const POLL_ALONE: Duration = Duration::from_secs(1);

/// Lines shown above and below the one that is wrong.
pub const CONTEXT_LINES: usize = 1;

/// Objects named in the message about a file that keeps them.
pub const HELD_SHOWN: usize = 5;
