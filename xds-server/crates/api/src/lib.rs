//! What people declare: Gateway API kinds and the policies of `windrose.dev`, decoded into one world of our own words.
//! Wire types end in this crate; it knows neither files nor clusters, and decides nothing that needs two objects.

pub mod declared;
pub mod policy;
pub mod scalar;

pub use declared::{Declared, Meta, Object};
