//! What one object may ask of the decoder. An object comes from a person, but also from a webhook, so everything has an end.

/// Problems told about one object, in number. More would bury the first ones, and one edit usually cures many.
pub const DIAGNOSTICS_MAX: usize = 100;

/// Characters of a value shown in a message. A longer one says nothing more, and may be a document of its own.
pub const VALUE_SHOWN_MAX: usize = 64;

/// Bytes of one value in a Secret, a ConfigMap, or a file that an object names: a large descriptor set, not a video.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes of the keys of one token issuer: some hundred RSA keys. Each proxy parses them.
pub const JWKS_BYTES_MAX: usize = 1024 * 1024;
