//! What people declare: Gateway API kinds and the policies of `windrose.dev`, decoded into one world of our own words.
//! Wire types end in this crate; it knows neither files nor clusters, and decides nothing that needs two objects.

mod check;
pub mod declared;
pub mod decode;
pub mod header;
pub mod limits;
mod name;
pub mod policy;
pub mod reference;
pub mod scalar;
pub mod schema;
pub mod wire;

pub use declared::{Declared, Meta, Object};
pub use decode::{Decoded, Node, Source, ValueFiles, decode};
pub use schema::schema;
