//! Regular expressions as RE2 takes them, judged before a proxy refuses a whole table for one of them.

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::limits;

/// Whether RE2 would take it, and take it small enough.
///
/// # Errors
/// Why not, in words for the one who wrote it.
pub(crate) fn check(pattern: &str) -> Result<(), String> {
    if pattern.len() > limits::PATTERN_BYTES_MAX {
        return Err(format!("is longer than {} bytes", limits::PATTERN_BYTES_MAX));
    }
    // In RE2 `\w` and its kin are ASCII, as they are here without Unicode; what needs Unicode is read with it.
    let parsed = parse(pattern, false).or_else(|_| parse(pattern, true))?;
    // What this syntax has and RE2 does not.
    if ["&&", "--", "~~"].iter().any(|operator| pattern.contains(operator)) && pattern.contains('[') {
        return Err("has a set operation in a class, which RE2 does not know".to_owned());
    }
    let size = size(&parsed);
    if size > limits::PATTERN_SIZE_MAX {
        return Err(format!("makes a program of about {size} instructions, more than {}", limits::PATTERN_SIZE_MAX));
    }
    Ok(())
}

fn parse(pattern: &str, unicode: bool) -> Result<Hir, String> {
    let mut builder = regex_syntax::ParserBuilder::new();
    let mut parser = builder.nest_limit(limits::PATTERN_NESTING_MAX).unicode(unicode).utf8(false).build();
    parser.parse(pattern).map_err(|error| {
        // The first lines of the message draw the pattern; the last says what is wrong.
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        format!("is not a regular expression: {}", last.trim_start_matches("error: "))
    })
}

/// About how many instructions a program of it has; repetitions are written out.
fn size(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(Class::Unicode(class)) => 2 * class.ranges().len() as u64,
        HirKind::Class(Class::Bytes(class)) => class.ranges().len() as u64,
        HirKind::Look(_) => 1,
        HirKind::Capture(capture) => size(&capture.sub).saturating_add(2),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min.saturating_add(1));
            size(&repetition.sub).saturating_add(1).saturating_mul(u64::from(times))
        }
        HirKind::Concat(parts) => parts.iter().map(size).fold(0, u64::saturating_add),
        HirKind::Alternation(parts) => parts.iter().map(|part| size(part).saturating_add(1)).fold(0, u64::saturating_add),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_re2_would_refuse_is_refused_with_its_reason() {
        let cases = [
            ("/a(", "unclosed group"),
            ("(?=x)", "look-around"),
            (r"(a)\1", "backreferences"),
            ("/[a-z&&[^b]]", "set operation"),
            ("(a{1,1000}){1,1000}", "instructions"),
            ("/a{1,1001}", "instructions"),
        ];
        for (pattern, expected) in cases {
            let why = check(pattern).unwrap_err();
            assert!(why.contains(expected), "{pattern}: {why}");
        }
    }

    #[test]
    fn usual_patterns_pass() {
        for pattern in [
            "/v[0-9]+/orders/[^/]+",
            "(?i)/A|/b",
            "/x{1,60}",
            ".*",
            r"/\d+",
            r"/\w+/\w+-\w+",
            "/\u{e9}[\u{e9}\u{ea}]",
            r"\p{Greek}+",
            "[a-z0-9.-]+",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }
}
