//! A tree as YAML in block style: texts plain where they cannot be misread, several lines as a literal block, else quoted.

use std::fmt::Write as _;

use serde_json::Value as Scalar;

use super::tree::Tree;

pub(super) fn write(tree: &Tree) -> String {
    let mut out = String::new();
    match tree {
        Tree::Map(members) if !members.is_empty() => map(members, 0, &mut out),
        Tree::List(items) if !items.is_empty() => list(items, 0, &mut out),
        Tree::Map(_) | Tree::List(_) | Tree::Scalar(_) => {
            inline(tree, 0, &mut out);
        }
    }
    out
}

fn map(members: &[(String, Tree)], indent: usize, out: &mut String) {
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            pad(indent, out);
        }
        out.push_str(&text(key));
        out.push(':');
        nested(value, indent, out);
    }
}

fn nested(value: &Tree, indent: usize, out: &mut String) {
    match value {
        Tree::Map(members) if !members.is_empty() => {
            out.push('\n');
            pad(indent + 2, out);
            map(members, indent + 2, out);
        }
        Tree::List(items) if !items.is_empty() => {
            out.push('\n');
            pad(indent, out);
            list(items, indent, out);
        }
        Tree::Map(_) | Tree::List(_) | Tree::Scalar(_) => {
            out.push(' ');
            inline(value, indent + 2, out);
        }
    }
}

fn list(items: &[Tree], indent: usize, out: &mut String) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            pad(indent, out);
        }
        out.push_str("- ");
        match item {
            Tree::Map(members) if !members.is_empty() => map(members, indent + 2, out),
            Tree::List(items) if !items.is_empty() => list(items, indent + 2, out),
            Tree::Map(_) | Tree::List(_) | Tree::Scalar(_) => inline(item, indent + 2, out),
        }
    }
}

fn inline(value: &Tree, indent: usize, out: &mut String) {
    match value {
        Tree::Map(_) => out.push_str("{}\n"),
        Tree::List(_) => out.push_str("[]\n"),
        Tree::Scalar(Scalar::String(value)) if is_block(value) => block(value, indent, out),
        Tree::Scalar(Scalar::String(value)) => _ = writeln!(out, "{}", text(value)),
        Tree::Scalar(value) => _ = writeln!(out, "{value}"),
    }
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Printable lines that end with a line break, none of which begins or ends with a space.
fn is_block(value: &str) -> bool {
    let plain = |line: &str| !line.starts_with(' ') && !line.ends_with(' ') && line.chars().all(|c| !c.is_control());
    value.ends_with('\n')
        && !value.ends_with("\n\n")
        && value.len() > 1
        && !value.starts_with('\n')
        && value.lines().all(plain)
        && !value.contains('\r')
}

fn block(value: &str, indent: usize, out: &mut String) {
    out.push_str("|\n");
    for line in value.lines() {
        if !line.is_empty() {
            pad(indent, out);
            out.push_str(line);
        }
        out.push('\n');
    }
}

/// A text as it stands where YAML takes it for itself, else in double quotes; JSON's escapes are YAML's.
fn text(value: &str) -> String {
    let first = value.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '_' | '.' | '^'));
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '-' | ':' | '^' | '$' | '(' | ')' | '+' | '=' | '*');
    let word = |c: char| inner(c) || c == ' ';
    let plain = first && value.chars().all(word) && !value.contains(": ") && !value.ends_with([':', ' ']);
    let read_otherwise = matches!(value.to_ascii_lowercase().as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n")
        || value.trim_start_matches('.').parse::<f64>().is_ok()
        || value.starts_with('.');
    if (plain && !read_otherwise) || is_quantity(value) { value.to_owned() } else { Scalar::from(value).to_string() }
}

/// `1.5s` and `127.0.0.1`: digits, but no number.
fn is_quantity(value: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let seconds = value.strip_suffix('s').is_some_and(|number| number.split('.').all(digits));
    seconds || (value.split('.').count() == 4 && value.split('.').all(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_yaml_would_read_otherwise_are_quoted() {
        for plain in ["edge", "a/b.c-d", "type.googleapis.com/a.B", "10s", "0.025s", "10.0.0.1"] {
            assert_eq!(text(plain), plain);
        }
        for quoted in [
            "", "10s a", "1.2.3", "^/a/?", "true", "No", "1e3", "10", ".5", "*", "a: b", "a:", "%REQ(X)%", "- a", "a #b", "{", "a\tb",
            "0x10", "nan", "inf",
        ] {
            assert!(text(quoted).starts_with('"'), "{quoted}");
        }
    }

    #[test]
    fn lines_become_a_block_and_nesting_is_by_two() {
        let scalar = |text: &str| Tree::Scalar(text.into());
        let tree = Tree::Map(vec![
            ("pem".into(), scalar("-----BEGIN\nabc\n")),
            ("list".into(), Tree::List(vec![Tree::Map(vec![("a".into(), scalar("x")), ("b".into(), Tree::List(vec![]))]), scalar("z")])),
            ("empty".into(), Tree::Map(vec![])),
        ]);
        assert_eq!(write(&tree), "pem: |\n  -----BEGIN\n  abc\nlist:\n- a: x\n  b: []\n- z\nempty: {}\n");
    }
}
