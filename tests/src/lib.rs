//! What the tests that cross rooms share: a real Envoy, the real server, clients, echo servers, addresses of
//! their own. It knows no room: it starts programs and speaks HTTP to them.
#![expect(clippy::expect_used, clippy::panic, reason = "support code of tests: a step that fails ends the test, with its reason")]

pub mod address;
pub mod authority;
pub mod client;
pub mod echo;
pub mod envoy;
pub mod http_server;
pub mod load;
pub mod otlp;
pub mod places;
pub mod process;
pub mod proto;
pub mod sample;
pub mod server;
pub mod skip;
pub mod tls;
pub mod wait;
