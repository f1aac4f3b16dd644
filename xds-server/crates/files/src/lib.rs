//! YAML files into the declared world: documents with their positions, folders that are followed, last good versions that stay.
//! It knows what an object is called and where it stands, and leaves what it means to `api`.

pub mod folder;
mod kept;
pub mod limits;
pub mod origin;
pub mod print;
mod reload;
mod split;
mod tree;
mod values;
pub mod watch;
mod world;

pub use kept::Kept;
pub use origin::{Finding, Origin, Place, SourceMap};
pub use reload::Reloader;
pub use tree::{Located, SyntaxError, parse};
pub use watch::{Wake, Watch};
pub use world::{World, load};
