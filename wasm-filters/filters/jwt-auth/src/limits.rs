//! Every limit of this filter, with its unit and its reason.

/// Bytes of the longest token that is looked at. Identity providers stay below 4 KiB; Envoy takes 60 KiB of headers.
pub(crate) const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Levels of nesting in a token's header or claims, the outer object included.
pub(crate) const NESTING_MAX: usize = 32;

/// Seconds since 1970 of the last second of the year 9999: later times are nonsense, and break arithmetic elsewhere.
pub(crate) const TIME_MAX: u64 = 253_402_300_799;

/// Seconds of clock difference that a configuration may forgive.
pub(crate) const LEEWAY_SECONDS_MAX: u32 = 300;

/// Bits of the smallest RSA modulus (RFC 7518, section 3.3).
pub(crate) const RSA_BITS_MIN: usize = 2048;

/// Bits of the largest RSA modulus: verification is quadratic in it, and a request pays for it before anybody knows who
/// sent it. PSS, which is verified in the module, takes 0.7 ms at 2048 bits.
pub(crate) const RSA_BITS_MAX: usize = 4096;

/// Keys of one JWKS; more is a mistake, and each is parsed at load.
pub(crate) const KEYS_MAX: usize = 64;

/// Bytes of one JWKS document.
pub(crate) const JWKS_BYTES_MAX: usize = 256 * 1024;

/// Sets of the cache of verified tokens; a power of two.
pub(crate) const CACHE_SETS: usize = 256;

/// Entries of one set: a lookup compares at most this many tokens.
pub(crate) const CACHE_WAYS: usize = 4;

/// Bytes that the cached tokens and their claims may take in one filter: a worker's memory is finite.
pub(crate) const CACHE_BYTES_MAX: usize = 2 * 1024 * 1024;
