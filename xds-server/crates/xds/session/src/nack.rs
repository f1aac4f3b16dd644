//! What a NACK says: which resources it names, whether the proxy's surroundings are to blame, and the text that may
//! be shown. Envoy's texts can contain a whole resource with its private key, so they are reduced here and nowhere
//! else are they kept.

use windrose_state::{Fault, Reason};
use windrose_vocab::ResourceKind;

use crate::limits;

/// One refused resource.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict<'a> {
    /// As the client calls it.
    pub(crate) name: &'a str,
    pub(crate) blame: Blame,
}

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blame {
    pub(crate) reason: Reason,
    pub(crate) cause: Cause,
}

/// What made the client refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The resource.
    Itself,
    /// The surroundings of that one proxy, such as a port that is taken: nobody else is concerned.
    Surroundings,
    /// Nobody said so: it was sent alone, and that was not answered. It may be slow for reasons of that one proxy.
    Silence,
}

impl Cause {
    /// What others need to know of it.
    pub(crate) fn fault(self) -> Fault {
        match self {
            Self::Itself => Fault::Content,
            Self::Surroundings | Self::Silence => Fault::Client,
        }
    }
}

/// The resources that `text` names, among those that `is_known` knows. Only CDS and LDS name any, and ECDS the Wasm plugin,
/// which has the name of its resource.
pub(crate) fn named<'a>(kind: ResourceKind, text: &'a str, is_known: impl Fn(&str) -> bool) -> Vec<Verdict<'a>> {
    let (intro, separator) = match kind {
        ResourceKind::Cluster => ("Error adding/updating cluster(s) ", ", "),
        ResourceKind::Listener => ("Error adding/updating listener(s) ", "\n"),
        ResourceKind::Extension => return plugin(text, is_known).into_iter().collect(),
        ResourceKind::Endpoints | ResourceKind::Secret | ResourceKind::ScopedRoutes | ResourceKind::Routes => return Vec::new(),
    };
    let text = bounded(text);
    let Some(start) = text.find(intro) else { return Vec::new() };
    let list = &text[start + intro.len()..];
    let mut entries: Vec<(&str, usize, usize)> = Vec::new();
    let mut at = 0;
    for part in list.split(separator) {
        let end = at + part.len();
        match entry_name(part, &is_known) {
            Some(name) => entries.push((name, at + name.len() + 2, end)),
            // The message itself contains the separator.
            None => entries.last_mut().map_or((), |last| last.2 = end),
        }
        at = end + separator.len();
    }
    entries.into_iter().map(|(name, from, to)| Verdict { name, blame: blame(kind, &list[from..to]) }).collect()
}

/// Tried alone it would not be found: Envoy accepts the same bytes the second time without loading them.
fn plugin(text: &str, is_known: impl Fn(&str) -> bool) -> Option<Verdict<'_>> {
    let name = text.strip_prefix("Unable to create Wasm plugin ")?.trim_end();
    is_known(name).then(|| Verdict { name, blame: blame(ResourceKind::Extension, text) })
}

/// Why a resource, or a whole response, was refused.
pub(crate) fn blame(kind: ResourceKind, text: &str) -> Blame {
    let text = bounded(text);
    let held = ["cannot bind", "Address already in use", "has duplicate address"].iter().any(|sign| text.contains(sign));
    let cause = if held { Cause::Surroundings } else { Cause::Itself };
    let reason = match kind {
        ResourceKind::Secret | ResourceKind::Extension => Reason::new(category(text)),
        ResourceKind::Cluster | ResourceKind::Endpoints | ResourceKind::Listener | ResourceKind::ScopedRoutes | ResourceKind::Routes => {
            reduced(text)
        }
    };
    Blame { reason, cause }
}

/// The name is what stands before a `: `; names may contain one.
fn entry_name<'a>(part: &'a str, is_known: &impl Fn(&str) -> bool) -> Option<&'a str> {
    part.match_indices(": ").map(|(at, _)| &part[..at]).take_while(|name| name.len() <= limits::NAME_BYTES).find(|name| is_known(name))
}

fn bounded(text: &str) -> &str {
    let mut end = text.len().min(limits::ERROR_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// For kinds that carry keys and passwords only a category leaves the session.
fn category(text: &str) -> &'static str {
    const CATEGORIES: [(&str, &str); 11] = [
        ("Proto constraint validation failed", "constraint validation failed"),
        ("Unable to create Wasm plugin", "the Wasm plugin cannot be created"),
        ("registered implementation", "the extension is unknown to this proxy"),
        ("mismatch", "the private key does not match the certificate"),
        ("does not match", "the private key does not match the certificate"),
        ("private key", "the private key cannot be loaded"),
        ("certificate chain", "the certificate chain cannot be loaded"),
        ("trusted CA", "the trusted CA cannot be loaded"),
        ("certificate", "the certificate cannot be loaded"),
        ("nable to unpack", "cannot be decoded"),
        ("nable to parse", "cannot be decoded"),
    ];
    let known = CATEGORIES.iter().find(|(sign, _)| text.contains(sign));
    known.map_or("rejected; the text is withheld because it may contain a secret", |(_, category)| category)
}

/// What is before anything that looks like a dumped message or a secret.
fn reduced(text: &str) -> Reason {
    if let Some(constraint) = in_parentheses(text, "Proto constraint validation failed (") {
        return Reason::new(&without_tokens(constraint));
    }
    const DUMPS: [&str; 10] = ["{", "<inline", "\n", "\"", "-----BEGIN", "inline_", "private_key", "password", "secret:", "token:"];
    let trimmed = text.trim();
    let end = DUMPS.iter().filter_map(|sign| trimmed.find(sign)).min().unwrap_or(trimmed.len());
    let kept = trimmed[..end].trim_end();
    Reason::new(&without_tokens(if kept.is_empty() { "rejected; the text is withheld because it may contain a secret" } else { kept }))
}

fn in_parentheses<'a>(text: &'a str, opening: &str) -> Option<&'a str> {
    let rest = &text[text.find(opening)? + opening.len()..];
    let mut depth = 1_usize;
    for (at, c) in rest.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&rest[..at]);
        }
    }
    None
}

/// Long words that mix cases and digits are keys or tokens; our names are lower case, Envoy's types say so.
fn without_tokens(text: &str) -> String {
    const TOKEN_BYTES: usize = 24;
    let is_token = |word: &str| {
        let any = |test: fn(char) -> bool| word.chars().any(test);
        let mixed = any(|c| c.is_ascii_uppercase()) && any(|c| c.is_ascii_lowercase()) && any(|c| c.is_ascii_digit());
        word.len() >= TOKEN_BYTES && mixed && !word.contains("envoy.") && !word.contains("ValidationError")
    };
    let words = text.split(' ').map(|word| if is_token(word) { "[…]" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(kind: ResourceKind, text: &str, known: &[&str]) -> Vec<(String, String)> {
        let verdicts = named(kind, text, |name| known.contains(&name));
        verdicts.into_iter().map(|one| (one.name.to_owned(), one.blame.reason.to_string())).collect()
    }

    fn pair(name: &str, reason: &str) -> (String, String) {
        (name.to_owned(), reason.to_owned())
    }

    #[test]
    fn rule_05a_the_text_of_cds_and_lds_names_the_bad_ones() {
        let clusters = "Error adding/updating cluster(s) shop/a: no hosts, none at all, shop/b: ring hash min > max";
        let expected = [pair("shop/a", "no hosts, none at all"), pair("shop/b", "ring hash min > max")];
        assert_eq!(names(ResourceKind::Cluster, clusters, &["shop/a", "shop/b", "shop/c"]), expected);
        let listeners = "Error adding/updating listener(s) a: cannot bind '127.0.0.1:80': Address already in use\nb:1: bad\n";
        let expected = [pair("a", "cannot bind '127.0.0.1:80': Address already in use"), pair("b:1", "bad")];
        assert_eq!(names(ResourceKind::Listener, listeners, &["a", "b:1"]), expected);
    }

    #[test]
    fn a_text_without_a_known_name_names_nothing() {
        assert_eq!(names(ResourceKind::Cluster, "Unable to decode: negative duration", &["a"]), []);
        assert_eq!(names(ResourceKind::Cluster, "Error adding/updating cluster(s) x: bad", &["a"]), []);
        assert_eq!(names(ResourceKind::Routes, "Error adding/updating cluster(s) a: bad", &["a"]), []);
    }

    #[test]
    fn rule_05a_the_text_of_ecds_names_the_plugin() {
        let text = "Unable to create Wasm plugin windrose.jwt";
        let expected = [pair("windrose.jwt", "the Wasm plugin cannot be created")];
        assert_eq!(names(ResourceKind::Extension, text, &["windrose.jwt", "windrose.limit"]), expected);
        assert_eq!(names(ResourceKind::Extension, text, &["windrose.limit"]), []);
    }

    #[test]
    fn a_port_that_is_taken_is_the_environments_fault() {
        let cause = |text| blame(ResourceKind::Listener, text).cause;
        assert_eq!(cause("cannot bind '127.0.0.1:80': Address already in use"), Cause::Surroundings);
        // Another listener leaves the port in the same moment.
        assert_eq!(cause("error adding listener: 'a' has duplicate address '[::]:80' as existing listener"), Cause::Surroundings);
        assert_eq!(cause("no filter chains"), Cause::Itself);
    }

    #[test]
    fn rule_49_of_a_failed_constraint_only_the_constraint_is_kept() {
        let text = "Error: Proto constraint validation failed (ListenerValidationError.Name: value (length) is 0): name: \"x\" \
                    private_key { inline_string: \"-----BEGIN PRIVATE KEY-----\\nMIIEvQ\" } password: \"hunter2\"";
        let reason = blame(ResourceKind::Listener, text).reason;
        assert_eq!(reason.as_str(), "ListenerValidationError.Name: value (length) is 0");
    }

    #[test]
    fn rule_49_no_key_and_no_password_leaves_whatever_the_kind_and_the_text() {
        let key = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7";
        let texts = [
            format!("bad secret: private_key: -----BEGIN PRIVATE KEY-----\n{key} password: hunter2"),
            format!("Proto constraint validation failed (unbalanced: {key} password: hunter2"),
            format!("cannot use {key}, password \"hunter2\""),
            format!("{{\"password\":\"hunter2\",\"key\":\"{key}\"}}"),
            format!("Failed to load private key from <inline>: {key} hunter2"),
        ];
        for (kind, text) in ResourceKind::ALL.into_iter().flat_map(|kind| texts.iter().map(move |text| (kind, text))) {
            let reason = blame(kind, text).reason;
            assert!(!reason.as_str().contains(key), "{kind}: {reason}");
            let only_a_category = matches!(kind, ResourceKind::Secret | ResourceKind::Extension);
            assert!(!only_a_category || !reason.as_str().contains("hunter2"), "{kind}: {reason}");
        }
    }

    #[test]
    fn rule_49_a_reason_has_512_characters_at_most() {
        let reason = blame(ResourceKind::Routes, &"wide ".repeat(10_000)).reason;
        assert!(reason.as_str().len() <= windrose_state::limits::REASON_BYTES);
    }

    #[test]
    fn what_helps_a_person_is_kept() {
        let unknown = "Didn't find a registered implementation for 'envoy.filters.http.x' with type URL: 'envoy.extensions.V3'";
        assert_eq!(blame(ResourceKind::Listener, unknown).reason.as_str(), unknown);
        let wasm = "Unable to create Wasm plugin windrose.jwt";
        assert_eq!(blame(ResourceKind::Extension, wasm).reason.as_str(), "the Wasm plugin cannot be created");
    }
}
