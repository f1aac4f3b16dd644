//! A file into its YAML documents, by bytes: one document that is malformed, or not UTF-8, takes no other with it.

/// One document of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Document<'a> {
    /// The line of the file it begins at, from 1.
    pub(crate) first_line: usize,
    /// Its bytes, from its `---` on.
    pub(crate) bytes: &'a [u8],
}

/// The documents of `bytes`, those without content left out. A line that begins with `---` begins a document, and one with `...` ends one:
/// YAML allows neither inside a scalar.
pub(crate) fn split(bytes: &[u8]) -> Vec<Document<'_>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut documents = Vec::new();
    let mut current = Document { first_line: 1, bytes: &[] };
    let (mut start, mut position, mut has_content) = (0, 0, false);
    for (index, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        let begins = is_marker(line, b"---");
        let ends = is_marker(line, b"...");
        if (begins && has_content) || ends {
            push(&mut documents, Document { bytes: bytes.get(start..position).unwrap_or_default(), ..current }, has_content);
            start = if ends { position + line.len() } else { position };
            current.first_line = if ends { index + 2 } else { index + 1 };
            has_content = false;
        }
        has_content |= !ends && is_content(line.strip_prefix(b"---").filter(|_| begins).unwrap_or(line));
        position += line.len();
    }
    push(&mut documents, Document { bytes: bytes.get(start..).unwrap_or_default(), ..current }, has_content);
    documents
}

fn push<'a>(documents: &mut Vec<Document<'a>>, document: Document<'a>, has_content: bool) {
    if has_content {
        documents.push(document);
    }
}

fn is_marker(line: &[u8], marker: &[u8]) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// Blank lines, comments and directives say nothing by themselves.
fn is_content(line: &[u8]) -> bool {
    let trimmed = line.trim_ascii();
    !(trimmed.is_empty() || trimmed.starts_with(b"#") || line.starts_with(b"%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Vec<(usize, String)> {
        split(text.as_bytes()).into_iter().map(|d| (d.first_line, String::from_utf8_lossy(d.bytes).replace('\n', "/"))).collect()
    }

    #[test]
    fn documents_know_their_first_line() {
        let cases: [(&str, &[(usize, &str)]); 9] = [
            ("", &[]),
            ("# only\n\n# comments\n", &[]),
            ("a: 1\n", &[(1, "a: 1/")]),
            ("a: 1\n---\nb: 2\n", &[(1, "a: 1/"), (2, "---/b: 2/")]),
            ("---\na: 1\n---\n---\nb: 2\n---\n", &[(1, "---/a: 1/"), (3, "---/---/b: 2/")]),
            ("%YAML 1.2\n---\na: 1\n...\n# x\nb: 2\n", &[(1, "%YAML 1.2/---/a: 1/"), (5, "# x/b: 2/")]),
            ("a: |\n  ---\n  text\n", &[(1, "a: |/  ---/  text/")]),
            ("---text\n", &[(1, "---text/")]),
            ("--- {a: 1}\r\n--- # b\r\nb: 2", &[(1, "--- {a: 1}\r/"), (2, "--- # b\r/b: 2")]),
        ];
        for (text, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
            assert_eq!(check(text), expected, "{text:?}");
        }
    }
}
