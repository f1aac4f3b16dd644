//! The benchmarks of the control plane: a load client that speaks gRPC like many proxies, a server of our own rooms and
//! a peer that takes the same commands, and what is measured on both side by side; and what needs no server, such as one
//! edit of many routes. Nothing here is part of the product.

pub mod board;
pub mod cluster;
pub mod command;
pub mod content;
pub mod credentials;
pub mod fleet;
pub mod limits;
pub mod machine;
pub mod measure;
pub mod plan;
pub mod reader;
pub mod report;
pub mod request;
pub mod round;
pub mod server;
pub mod shape;
pub mod side;
pub mod spread;
pub mod storm;
pub mod table;
