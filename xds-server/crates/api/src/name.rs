//! Names of objects as Kubernetes takes them (RFC 1123 and 1035, lower case).

/// Whether `text` is a DNS-1123 subdomain of at most 253 characters.
#[must_use]
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_word)
}

/// Whether `text` is a DNS-1123 label: one word of at most 63 characters.
#[must_use]
pub(crate) fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_word(text)
}

fn is_word(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}
