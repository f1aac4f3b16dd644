//! One HTTP path template of `google.api.http`, read: `/v1/{name=shelves/*}/books/{book}:publish`.
//! Refuses what no request could match or what two readers would match differently.

use crate::limits;

/// One segment of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// This text, byte by byte.
    Literal(Box<str>),
    /// `*`: one segment that is not empty.
    One,
    /// `**`: any number of segments; only at the end.
    Many,
}

/// A variable and the segments it spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// `book.name`
    pub field_path: Box<str>,
    /// Index of its first segment.
    pub start: usize,
    /// What it spans.
    pub span: Span,
}

/// What a variable spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// One segment, whatever it is (`{id}`).
    One,
    /// A pattern of so many segments (`{name=shelves/*}`).
    Several(usize),
    /// A pattern that goes on to the end of the path (`{path=files/**}`).
    Rest,
}

/// A template, in segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// At least one.
    pub segments: Vec<Segment>,
    /// In the order in which they stand.
    pub variables: Vec<Variable>,
    /// What follows the last `:`.
    pub verb: Option<Box<str>>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A sentence about what is wrong with it, without its text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.strip_prefix('/').ok_or("a template begins with \"/\"")?;
        let mut template = Self { segments: Vec::new(), variables: Vec::new(), verb: None };
        loop {
            rest = template.part(rest)?;
            match rest.split_at_checked(1) {
                None => break,
                Some(("/", after)) => rest = after,
                Some((":", verb)) => {
                    template.verb = Some(checked_literal(verb)?.into());
                    break;
                }
                Some(_) => return Err("a \"/\" is missing between two segments".to_owned()),
            }
        }
        template.check()?;
        Ok(template)
    }

    /// Reads one segment or variable; gives what follows it.
    fn part<'t>(&mut self, text: &'t str) -> Result<&'t str, String> {
        if let Some(variable) = text.strip_prefix('{') {
            let (inside, rest) = variable.split_once('}').ok_or("a variable has no \"}\"")?;
            self.variable(inside)?;
            return Ok(rest);
        }
        let end = text.find(['/', ':', '{']).unwrap_or(text.len());
        let (segment, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        self.segments.push(segment_of(segment)?);
        Ok(rest)
    }

    fn variable(&mut self, inside: &str) -> Result<(), String> {
        let (field_path, pattern) = inside.split_once('=').unwrap_or((inside, "*"));
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
        };
        if !field_path.split('.').all(is_name) {
            return Err(format!("\"{field_path}\" is not the path of a field"));
        }
        let start = self.segments.len();
        for segment in pattern.split('/') {
            self.segments.push(segment_of(segment)?);
        }
        let span = match self.segments.get(start..) {
            Some([Segment::One]) => Span::One,
            _ if self.segments.last() == Some(&Segment::Many) => Span::Rest,
            _ => Span::Several(self.segments.len() - start),
        };
        self.variables.push(Variable { field_path: field_path.into(), start, span });
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        if self.segments.len() > limits::PATH_SEGMENTS_MAX {
            return Err(format!("more than {} segments", limits::PATH_SEGMENTS_MAX));
        }
        if self.variables.len() > limits::VARIABLES_MAX {
            return Err(format!("more than {} variables", limits::VARIABLES_MAX));
        }
        if self.segments.iter().rev().skip(1).any(|segment| *segment == Segment::Many) {
            return Err("\"**\" must be the last segment".to_owned());
        }
        Ok(())
    }
}

fn segment_of(text: &str) -> Result<Segment, String> {
    match text {
        "*" => Ok(Segment::One),
        "**" => Ok(Segment::Many),
        _ => Ok(Segment::Literal(checked_literal(text)?.into())),
    }
}

/// Literals are compared with the path as it came, so they must be what an unescaped path can hold.
fn checked_literal(text: &str) -> Result<&str, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;=@".contains(&byte);
    match text {
        "" => Err("a segment is empty".to_owned()),
        "." | ".." => Err("dot segments match nothing".to_owned()),
        _ if text.bytes().all(allowed) => Ok(text),
        _ => Err(format!("\"{text}\" has a character that a literal segment cannot have")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_span_their_segments() {
        let template = Template::parse("/v1/{name=shelves/*}/books/{book.id}:publish").unwrap();
        assert_eq!(template.segments.len(), 5);
        assert_eq!(template.variables[0], Variable { field_path: "name".into(), start: 1, span: Span::Several(2) });
        assert_eq!(template.variables[1], Variable { field_path: "book.id".into(), start: 4, span: Span::One });
        assert_eq!(template.verb.as_deref(), Some("publish"));
    }

    #[test]
    fn what_no_request_could_match_is_refused() {
        for text in [
            "",
            "v1",
            "/",
            "/v1/",
            "/v1//x",
            "/{",
            "/{}",
            "/{a..b}",
            "/{1a}",
            "/{a=}",
            "/{a=**}/x",
            "/**/x",
            "/x{a}",
            "/{a}x",
            "/{a}{b}",
            "/x:",
            "/../x",
            "/a%2Fb",
            "/a b",
            "/a?b",
            "/{a=x{b}}",
            "/x:y:z",
            "/é",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        for text in ["/v1", "/**", "/{a=**}", "/{a=x/**}:go", "/v1/*/x", "/v1:go"] {
            assert!(Template::parse(text).is_ok(), "{text}");
        }
    }
}
