//! Names of headers: those that no policy may take for itself, and what can be one at all.

pub(crate) use windrose_api::header::is_reserved;

/// Whether a text can be the name of a header or a cookie at all (RFC 9110, section 5.6.2).
pub(crate) fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
