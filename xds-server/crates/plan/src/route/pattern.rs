//! Regular expressions as RE2 takes them, judged before a proxy refuses a whole table for one of them.

mod re2;

use regex_syntax::ast::Ast;
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
    let ast = regex_syntax::ast::parse::ParserBuilder::new().nest_limit(limits::PATTERN_NESTING_MAX).build().parse(pattern);
    let ast = ast.map_err(|error| malformed(&error.to_string()))?;
    re2::check(pattern, &ast)?;
    // In RE2 `\w` and its kin are ASCII, as they are here without Unicode; what needs Unicode is read with it.
    let meant = translate(pattern, &ast, false).or_else(|_| translate(pattern, &ast, true))?;
    let size = size(&meant);
    if size > limits::PATTERN_SIZE_MAX {
        return Err(format!("makes a program of about {size} instructions, more than {}", limits::PATTERN_SIZE_MAX));
    }
    Ok(())
}

fn translate(pattern: &str, ast: &Ast, unicode: bool) -> Result<Hir, String> {
    let mut builder = regex_syntax::hir::translate::TranslatorBuilder::new();
    builder.unicode(unicode).utf8(false).build().translate(pattern, ast).map_err(|error| malformed(&error.to_string()))
}

/// The first lines of the parser's message draw the pattern; the last says what is wrong.
fn malformed(message: &str) -> String {
    let last = message.lines().last().unwrap_or_default();
    format!("is not a regular expression: {}", last.trim_start_matches("error: "))
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
            ("/a{1,1001}", "more than 1000 times, `{1,1001}`"),
            ("/(?x)a", "a flag besides i, m, s and U, `(?x)`"),
            ("/(?u:a)", "a flag"),
            (r"/\u0041", r"an escape besides `\x`, `\u0041`"),
            (r"/[\U00000041]", "an escape"),
            (r"/\p{Emoji}", r"a class besides general categories and scripts, `\p{Emoji}`"),
            (r"/\p{Letter}", "a class"),
            (r"/[\p{greek}]", "a class"),
            (r"/\p{Grek}", "a class"),
            (r"/\p{Script=Greek}", "a class"),
            (r"/\pl", "a class"),
            (r"/\b{start}a", "a word boundary"),
            (r"/\<a", "a word boundary"),
            ("/[a[bc]]", "a class within a class, `[bc]`"),
            ("/[a~~b]", "a set operation"),
            ("/a**", "a repetition of a repetition, `a**`"),
            ("/a{2}{3}", "a repetition of a repetition"),
            ("/a{,5}", "quantifier"),
            ("/(?P<a.b>c)", "a name besides"),
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
            r"\p{Old_Persian}\p{Thai}\p{Yi}",
            r"\pN\PZ[\p{Sc}]",
            r"(?i-s)\x{41}\x41\%\_",
            "(?P<id>a)(?<other>b)(?:a*)*",
            "[a-z0-9.-]+",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }
}
