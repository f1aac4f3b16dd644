//! Every lifetime and size of this crate, with its reason.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How long a root of ours is valid. Rotating it touches every trust bundle, so it is rare and planned.
pub const ROOT_LIFETIME: Duration = Duration::from_secs(3650 * DAY);

/// How long an intermediate is valid. It is renewed at half life without anybody noticing.
pub const INTERMEDIATE_LIFETIME: Duration = Duration::from_secs(365 * DAY);

/// How long a workload certificate is valid: a stolen one is worth at most a day.
pub const WORKLOAD_LIFETIME: Duration = Duration::from_secs(24 * HOUR);

/// How long one workload certificate is served before the next: half its life, so that half a day of our absence is harmless.
pub const WORKLOAD_SLOT: Duration = Duration::from_secs(12 * HOUR);

/// How long a certificate of the xDS server is valid; a new one is made at every start and at half life.
pub const SERVER_LIFETIME: Duration = Duration::from_secs(90 * DAY);

/// How long a replica's certificate is valid: one is made for each connection.
pub const REPLICA_LIFETIME: Duration = Duration::from_secs(HOUR);

/// How long a node credential lives unless its owner says otherwise.
pub const NODE_LIFETIME: Duration = Duration::from_secs(90 * DAY);

/// The longest life a node credential may be given: a year of forgotten laptops is enough.
pub const NODE_LIFETIME_MAX: Duration = Duration::from_secs(366 * DAY);

/// The shortest life a node credential may be given; less expires before an Envoy has started.
pub const NODE_LIFETIME_MIN: Duration = Duration::from_secs(MINUTE);

/// How far back a validity begins, for machines whose clocks are behind ours.
pub const BACKDATE: Duration = Duration::from_secs(5 * MINUTE);

/// Bytes of randomness in a serial number; RFC 5280 allows 20 bytes and asks for a positive number.
pub const SERIAL_BYTES: usize = 16;

/// The most bytes of PEM we look at: far beyond any chain, far below what would hurt.
pub const PEM_BYTES_MAX: usize = 1 << 20;

/// The most certificates in one chain; TLS clients give up before.
pub const CHAIN_LENGTH_MAX: usize = 10;

/// The most certificates in one bundle of trusted roots: the public ones are about 150.
pub const BUNDLE_LENGTH_MAX: usize = 1_000;

/// The most bytes of a node token that are looked at; ours are below 700.
pub const TOKEN_BYTES_MAX: usize = 4_096;

/// The smallest RSA modulus in bits; Envoy refuses smaller ones.
pub const RSA_BITS_MIN: usize = 2_048;
