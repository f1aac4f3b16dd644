//! Which binding a request path belongs to, and what its variables say. The most specific template wins: at each segment a
//! literal before `*` before `**`. Knows no messages; a binding is a number.

use crate::limits;
use crate::refusal::{Refusal, Result, shown};
use crate::template::{Segment, Span, Template, Variable};

/// All templates of one policy.
#[derive(Debug)]
pub struct Router {
    nodes: Vec<Node>,
    variables: Vec<Vec<Variable>>,
}

#[derive(Debug, Default)]
struct Node {
    /// Sorted.
    literals: Vec<(Box<str>, usize)>,
    one: Option<usize>,
    /// Templates that end in `**` here.
    many: Vec<Leaf>,
    /// Templates that end here.
    end: Vec<Leaf>,
}

impl Node {
    /// The node after a literal, or the place where it would stand.
    fn child(&self, literal: &str) -> std::result::Result<usize, usize> {
        let place = self.literals.binary_search_by(|(known, _)| (**known).cmp(literal))?;
        self.literals.get(place).map(|(_, child)| *child).ok_or(place)
    }
}

#[derive(Debug)]
struct Leaf {
    http_method: Box<str>,
    verb: Option<Box<str>>,
    binding: usize,
}

/// A request path that has a binding.
#[derive(Debug, PartialEq, Eq)]
pub struct Matched {
    /// The number that [`Router::add`] gave.
    pub binding: usize,
    /// The decoded value of each variable, in the order of the template.
    pub values: Vec<String>,
}

impl Default for Router {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], variables: Vec::new() }
    }
}

impl Router {
    /// Adds a template; gives the number of its binding, counted from 0.
    ///
    /// # Errors
    /// The number of the binding that has the same method and matches the same paths.
    pub fn add(&mut self, http_method: &str, template: Template) -> std::result::Result<usize, usize> {
        let binding = self.variables.len();
        let many = template.segments.last() == Some(&Segment::Many);
        let mut at = 0;
        for segment in &template.segments {
            at = match segment {
                Segment::Literal(literal) => self.literal(at, literal),
                Segment::One => self.one(at),
                Segment::Many => at,
            };
        }
        let Some(node) = self.nodes.get_mut(at) else { return Err(binding) };
        let leaves = if many { &mut node.many } else { &mut node.end };
        if let Some(same) = leaves.iter().find(|leaf| *leaf.http_method == *http_method && leaf.verb == template.verb) {
            return Err(same.binding);
        }
        leaves.push(Leaf { http_method: http_method.into(), verb: template.verb, binding });
        self.variables.push(template.variables);
        Ok(binding)
    }

    fn literal(&mut self, at: usize, literal: &str) -> usize {
        let new = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else { return at };
        let child = match node.child(literal) {
            Ok(child) => child,
            Err(place) => {
                node.literals.insert(place, (literal.into(), new));
                new
            }
        };
        self.grown_to(child)
    }

    fn one(&mut self, at: usize) -> usize {
        let new = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else { return at };
        let child = *node.one.get_or_insert(new);
        self.grown_to(child)
    }

    fn grown_to(&mut self, node: usize) -> usize {
        if node == self.nodes.len() {
            self.nodes.push(Node::default());
        }
        node
    }

    /// The binding of a request, from its method and its path without query. `None` when there is none.
    ///
    /// # Errors
    /// There is one, and a variable's value is not to be trusted.
    pub fn matched(&self, http_method: &str, path: &str) -> Result<Option<Matched>> {
        let Some(path) = path.strip_prefix('/') else { return Ok(None) };
        let segments: Vec<&str> = path.split('/').take(limits::PATH_SEGMENTS_MAX + 1).collect();
        if segments.len() > limits::PATH_SEGMENTS_MAX {
            return Err(Refusal::new(format!("the path has more than {} segments", limits::PATH_SEGMENTS_MAX)));
        }
        let Some((binding, segments)) = self.found(http_method, segments) else { return Ok(None) };
        let mut values = Vec::new();
        for variable in self.variables.get(binding).into_iter().flatten() {
            let value = captured(variable, &segments).map_err(|refusal| refusal.in_field(&variable.field_path))?;
            values.push(value);
        }
        Ok(Some(Matched { binding, values }))
    }

    /// First as if the last segment ended in a verb, then as it stands.
    fn found<'p>(&self, http_method: &str, mut segments: Vec<&'p str>) -> Option<(usize, Vec<&'p str>)> {
        if let Some((name, verb)) = segments.last().and_then(|last| last.rsplit_once(':')) {
            let mut without = segments.clone();
            if let Some(last) = without.last_mut() {
                *last = name;
            }
            if let Some(binding) = self.walk(0, &without, &Wanted { http_method, verb: Some(verb) }) {
                return Some((binding, without));
            }
        }
        let binding = self.walk(0, &segments, &Wanted { http_method, verb: None })?;
        segments.shrink_to_fit();
        Some((binding, segments))
    }

    /// Depth first, most specific first. A node is reached by one way only, so no more nodes are visited than there are.
    fn walk(&self, at: usize, segments: &[&str], wanted: &Wanted<'_>) -> Option<usize> {
        let node = self.nodes.get(at)?;
        let Some((first, rest)) = segments.split_first() else {
            return wanted.leaf(&node.end).or_else(|| wanted.leaf(&node.many));
        };
        let literal = node.child(first).ok().and_then(|child| self.walk(child, rest, wanted));
        let one = || node.one.filter(|_| !first.is_empty()).and_then(|child| self.walk(child, rest, wanted));
        let many = || wanted.leaf(&node.many).filter(|_| segments.iter().all(|segment| !segment.is_empty()));
        literal.or_else(one).or_else(many)
    }
}

struct Wanted<'r> {
    http_method: &'r str,
    verb: Option<&'r str>,
}

impl Wanted<'_> {
    fn leaf(&self, leaves: &[Leaf]) -> Option<usize> {
        let fits = |method: &str| {
            let mut found = leaves.iter().filter(|leaf| leaf.verb.as_deref() == self.verb);
            found.find(|leaf| *leaf.http_method == *method).map(|leaf| leaf.binding)
        };
        fits(self.http_method).or_else(|| fits("*"))
    }
}

/// The value of a variable: percent-decoded once; in several segments an escaped slash stays escaped, as the rule says.
fn captured(variable: &Variable, segments: &[&str]) -> Result<String> {
    let spanned = segments.get(variable.start..).unwrap_or_default();
    let length = match variable.span {
        Span::One => return one_segment(spanned.first().copied().unwrap_or_default()),
        Span::Several(length) => length,
        Span::Rest => spanned.len(),
    };
    let parts: Vec<String> = spanned.iter().take(length).map(|segment| of_several(segment)).collect::<Result<_>>()?;
    Ok(parts.join("/"))
}

fn one_segment(raw: &str) -> Result<String> {
    let value = checked(raw)?;
    if value.contains('/') {
        return Err(Refusal::new("an escaped slash is not allowed here"));
    }
    Ok(value)
}

fn of_several(raw: &str) -> Result<String> {
    checked(raw)?;
    let mut pieces = Vec::new();
    let mut rest = raw;
    while let Some((at, slash)) =
        rest.match_indices('%').map(|(at, _)| (at, rest.get(at..at + 3))).find(|(_, three)| is_escaped_slash(*three))
    {
        pieces.push(decoded(rest.get(..at).unwrap_or_default())?);
        pieces.push(slash.unwrap_or_default().to_owned());
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    pieces.push(decoded(rest)?);
    Ok(pieces.concat())
}

fn is_escaped_slash(three: Option<&str>) -> bool {
    three.is_some_and(|three| three.eq_ignore_ascii_case("%2f"))
}

/// The decoded text, if no server behind could read it as another path.
fn checked(raw: &str) -> Result<String> {
    let value = decoded(raw)?;
    if value.chars().any(char::is_control) {
        return Err(Refusal::new("control characters are not allowed in a path"));
    }
    let is_dots = |part: &str| matches!(part.split(';').next().map(str::trim), Some("." | ".."));
    if value.split(['/', '\\']).any(is_dots) {
        return Err(Refusal::new("dot segments are not allowed"));
    }
    Ok(value)
}

/// Percent-decoded once.
///
/// # Errors
/// A `%` without two hexadecimal digits, `%00`, or bytes that are not UTF-8.
pub fn decoded(raw: &str) -> Result<String> {
    if !raw.contains('%') {
        return Ok(raw.to_owned());
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        match escaped_byte(bytes.next(), bytes.next()) {
            Some(0) => return Err(Refusal::new("%00 is not allowed")),
            Some(byte) => out.push(byte),
            None => return Err(Refusal::new(format!("\"{}\" has a % without two hexadecimal digits", shown(raw)))),
        }
    }
    String::from_utf8(out).map_err(|_| Refusal::new(format!("\"{}\" is not UTF-8 when decoded", shown(raw))))
}

/// The byte of two hexadecimal digits.
pub(crate) fn escaped_byte(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let nibble = |digit: Option<u8>| char::from(digit?).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
    Some(nibble(high)? << 4 | nibble(low)?)
}

/// The parameters of a query (`a=1&b=%20x+y`), decoded, in order.
///
/// # Errors
/// Too many, or one that does not decode.
pub fn query_parameters(query: &str) -> Result<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if parameters.len() >= limits::QUERY_PARAMETERS_MAX {
            return Err(Refusal::new(format!("more than {} query parameters", limits::QUERY_PARAMETERS_MAX)));
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decoded(&key.replace('+', " "))?;
        let value = decoded(&value.replace('+', " ")).map_err(|refusal| refusal.in_field(&key))?;
        parameters.push((key, value));
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(templates: &[&str]) -> Router {
        let mut router = Router::default();
        for template in templates {
            let (method, template) = template.split_once(' ').unwrap();
            router.add(method, Template::parse(template).unwrap()).unwrap();
        }
        router
    }

    fn values(template: &str, path: &str) -> std::result::Result<Option<Vec<String>>, String> {
        let matched = router(&[&format!("GET {template}")]).matched("GET", path);
        matched.map(|matched| matched.map(|matched| matched.values)).map_err(|refusal| refusal.reason().to_owned())
    }

    #[test]
    fn the_most_specific_template_wins_in_any_order() {
        let templates =
            ["GET /v1/**", "GET /v1/{a}", "GET /v1/x", "GET /v1/{a}/y", "GET /v1/x/{b}", "GET /v1/{a}:go", "* /v1/any", "POST /v1/any"];
        for reversed in [false, true] {
            let mut order = templates.to_vec();
            if reversed {
                order.reverse();
            }
            let router = router(&order);
            let found = |method: &str, path: &str| router.matched(method, path).unwrap().map(|matched| order[matched.binding]);
            assert_eq!(found("GET", "/v1/x"), Some("GET /v1/x"));
            assert_eq!(found("GET", "/v1/z"), Some("GET /v1/{a}"));
            assert_eq!(found("GET", "/v1/x/y"), Some("GET /v1/x/{b}"));
            assert_eq!(found("GET", "/v1/z/y"), Some("GET /v1/{a}/y"));
            assert_eq!(found("GET", "/v1/z/q"), Some("GET /v1/**"));
            assert_eq!(found("GET", "/v1"), Some("GET /v1/**"));
            assert_eq!(found("GET", "/v1/z:go"), Some("GET /v1/{a}:go"));
            assert_eq!(found("GET", "/v1/z:stop"), Some("GET /v1/{a}"));
            assert_eq!(found("POST", "/v1/any"), Some("POST /v1/any"));
            assert_eq!(found("PUT", "/v1/any"), Some("* /v1/any"));
            assert_eq!(found("PUT", "/v1/x"), None);
            assert_eq!(found("GET", "/v2"), None);
            assert_eq!(found("GET", "/v1/"), None);
            assert_eq!(found("GET", "/v1/a//b"), None);
        }
    }

    #[test]
    fn the_same_template_twice_is_refused() {
        let mut router = router(&["GET /v1/{a}"]);
        assert_eq!(router.add("GET", Template::parse("/v1/{b=*}").unwrap()), Err(0));
        assert_eq!(router.add("PUT", Template::parse("/v1/{b=*}").unwrap()), Ok(1));
    }

    #[test]
    fn variables_are_decoded_once() {
        assert_eq!(values("/v1/{a}", "/v1/%252F%20x"), Ok(Some(vec!["%2F x".to_owned()])));
        assert_eq!(values("/v1/{a=s/*}/{b}", "/v1/s/%C3%A9/2"), Ok(Some(vec!["s/é".to_owned(), "2".to_owned()])));
        assert_eq!(values("/v1/{a=**}", "/v1/a/b%2fc%2Fd/%41"), Ok(Some(vec!["a/b%2fc%2Fd/A".to_owned()])));
        assert_eq!(values("/v1/{a=**}", "/v1"), Ok(Some(vec![String::new()])));
        assert_eq!(values("/v1/{a}", "/v1/..."), Ok(Some(vec!["...".to_owned()])));
    }

    #[test]
    fn values_that_could_be_another_path_are_refused() {
        for value in ["a%2Fb", "a%2fb"] {
            assert!(values("/v1/{a}", &format!("/v1/{value}")).is_err(), "{value}");
        }
        for value in [
            ".",
            "..",
            "%2e%2e",
            "%2E.",
            "..;",
            "..;x=1",
            "%2e%2e%3b",
            "..%2f",
            "..%5c",
            "x%2f..",
            "x%5c..%5cy",
            "%zz",
            "%",
            "%1",
            "%00",
            "%ff",
            "%0d%0a",
            "%c3%28",
            "%2e%2e%20",
        ] {
            assert!(values("/v1/{a}", &format!("/v1/{value}")).is_err(), "{value}");
            assert!(values("/v1/{a=**}", &format!("/v1/x/{value}/y")).is_err(), "{value}");
        }
    }

    #[test]
    fn a_deep_path_is_refused_before_it_is_walked() {
        assert!(values("/v1/{a=**}", &"/v1/x".repeat(100)).is_err());
    }

    #[test]
    fn queries_are_forms() {
        let parsed = |query: &str| query_parameters(query).ok();
        assert_eq!(
            parsed("a=1&&b=x+y%2B&c"),
            Some(vec![("a".into(), "1".into()), ("b".into(), "x y+".into()), ("c".into(), String::new())])
        );
        for query in ["a=%zz", "%00=1", "a=%ff", &"a=1&".repeat(257)] {
            assert_eq!(parsed(query), None, "{query}");
        }
    }
}
