//! Label selectors as kubectl writes them: text in, kube's own selector out, or what is wrong with the text.

use std::collections::BTreeSet;

use kube::core::Expression;
pub use kube::core::Selector;

/// The longest name of a label, and the longest value.
const LABEL_MAX: usize = 63;
/// The longest prefix of a label's key: a DNS name.
const PREFIX_MAX: usize = 253;

/// Reads `team=shop`, `tier!=test`, `env in (prod,stage)`, `env notin (dev)`, `windrose` and `!legacy`, with commas between them, all of
/// which must hold. Nothing at all selects everything.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Selector, String> {
    let parts = split(text)?;
    if let [only] = &*parts
        && only.is_empty()
    {
        return Ok(Selector::default());
    }
    parts.into_iter().map(requirement).collect()
}

/// Parts between commas that stand in no parentheses.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut first, mut is_inside) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' if is_inside => return Err(format!("`{text}`: a `(` within parentheses")),
            '(' => is_inside = true,
            ')' if !is_inside => return Err(format!("`{text}`: a `)` that closes nothing")),
            ')' => is_inside = false,
            ',' if !is_inside => {
                parts.push(text[first..at].trim());
                first = at + 1;
            }
            _ => {}
        }
    }
    if is_inside {
        return Err(format!("`{text}`: a `(` that nothing closes"));
    }
    parts.push(text[first..].trim());
    Ok(parts)
}

fn requirement(text: &str) -> Result<Expression, String> {
    if text.is_empty() {
        return Err("an empty part: one comma too many".to_owned());
    }
    if let Some((set, values)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        return of_set(text, set, values);
    }
    if let Some((name, text)) = text.split_once("!=") {
        return Ok(Expression::NotEqual(key(name)?, value(text)?));
    }
    if let Some((name, text)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Expression::Equal(key(name)?, value(text)?));
    }
    match text.strip_prefix('!') {
        Some(name) => Ok(Expression::DoesNotExist(key(name)?)),
        None => Ok(Expression::Exists(key(text)?)),
    }
}

/// `env in (prod,stage)`, split at the parenthesis.
fn of_set(whole: &str, set: &str, values: &str) -> Result<Expression, String> {
    let values = values.split(',').map(value).collect::<Result<BTreeSet<String>, String>>()?;
    match &*set.split_whitespace().collect::<Vec<_>>() {
        [name, "in"] => Ok(Expression::In(key(name)?, values)),
        [name, "notin"] => Ok(Expression::NotIn(key(name)?, values)),
        _ => Err(format!("`{whole}`: write it as `key in (a,b)` or `key notin (a,b)`")),
    }
}

/// A label's key, as Kubernetes takes it: `name`, or `dns.prefix/name`.
fn key(text: &str) -> Result<String, String> {
    let text = text.trim();
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let is_prefix = |prefix: &str| {
        let is_part = |part: &str| is_word(part) && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        prefix.len() <= PREFIX_MAX && prefix.split('.').all(is_part)
    };
    if !is_word(name) || !prefix.is_none_or(is_prefix) {
        return Err(format!("`{text}` is not the key of a label: write `key=value`, `key!=value`, `key in (a,b)`, `key` or `!key`"));
    }
    Ok(text.to_owned())
}

fn value(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || is_word(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is not the value of a label: letters, digits, `-`, `_` and `.`, at most {LABEL_MAX}, with a letter or digit at both ends"
    ))
}

fn is_word(text: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    bytes.len() <= LABEL_MAX && is_end(bytes.first()) && is_end(bytes.last()) && bytes.iter().all(is_inner)
}

#[cfg(test)]
mod tests {
    use kube::core::SelectorExt;

    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn every_word_of_kubectl_is_read() {
        let shop = [("team", "shop"), ("env", "prod"), ("example.com/tier", "")];
        for (selector, expected) in [
            ("", true),
            ("team=shop", true),
            (" team == shop , env!=dev ", true),
            ("team=shop,env=dev", false),
            ("absent!=x", true),
            ("env in (prod, stage)", true),
            ("env in(dev),team=shop", false),
            ("env notin (dev,test),team", true),
            ("absent notin (x)", true),
            ("absent in (x)", false),
            ("!team", false),
            ("! absent", true),
            ("example.com/tier", true),
            ("example.com/tier=", true),
        ] {
            assert_eq!(matches(selector, &shop), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_named() {
        for (selector, word) in [
            ("team=shop,", "comma"),
            (",", "comma"),
            ("env in (a", "nothing closes"),
            ("env in a)", "closes nothing"),
            ("env in ((a))", "within"),
            ("env within (a)", "write it as"),
            ("env > 3", "`env > 3`"),
            ("=x", "``"),
            ("team=sh op", "`sh op`"),
            ("Example.com/tier", "key of a label"),
            ("a/b/c", "key of a label"),
            ("-team", "key of a label"),
        ] {
            let told = parse(selector).unwrap_err();
            assert!(told.contains(word), "{selector}: {told}");
        }
        assert!(parse(&format!("team={}", "x".repeat(64))).is_err());
    }

    #[test]
    fn a_selector_is_written_as_it_is_read() {
        let text = "!legacy,env in (prod,stage),team=shop";
        assert_eq!(parse(text).unwrap().to_string(), text);
    }
}
