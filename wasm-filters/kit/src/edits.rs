//! What a filter changes of the request's headers. When a Wasm filter changes one itself, Envoy chooses the route again by what is
//! there then, which is no longer what the client sent: a request would be judged by one route and served by another. So a
//! filter says what is to change, and a script of Envoy's own behind it, which leaves the route alone, changes it.

use crate::{Host, HostError};

/// What the property of a filter's edits is called before the filter's name.
const PROPERTY_PREFIX: &str = "windrose.edits.";

/// Changes of request headers, in order.
#[derive(Debug, Default)]
pub struct RequestEdits {
    /// A line for each: `=name value` or `-name`.
    lines: Vec<u8>,
    refused: bool,
}

impl RequestEdits {
    /// Sets a header to exactly one value, whatever is there. The name is lower case.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        self.line(b'=', name);
        self.refused |= value.iter().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n'));
        self.lines.push(b' ');
        self.lines.extend_from_slice(value);
        self.lines.push(b'\n');
    }

    /// Removes every value of a header. The name is lower case.
    pub fn remove(&mut self, name: &str) {
        self.line(b'-', name);
        self.lines.push(b'\n');
    }

    fn line(&mut self, edit: u8, name: &str) {
        self.refused |= name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic());
        self.lines.push(edit);
        self.lines.extend_from_slice(name.as_bytes());
    }

    /// Has them done before the next filter runs; where there are none, nothing is.
    ///
    /// # Errors
    /// Some name or value can be none of a header's, or the host did not take them. The request must not go on: it has what it
    /// should not have.
    pub fn hand_over(self, filter: &str, host: &dyn Host) -> Result<(), HostError> {
        match (self.refused, self.lines.is_empty()) {
            (true, _) => Err(HostError::BadArgument),
            (false, true) => Ok(()),
            (false, false) => host.set_property(&format!("{PROPERTY_PREFIX}{filter}"), &self.lines),
        }
    }
}

/// What stands behind a filter that hands edits over, as Envoy's own Lua filter with `clear_route_cache: false`. A request whose
/// edits cannot be done ends there.
#[must_use]
pub fn script(filter: &str) -> String {
    format!(
        r#"function envoy_on_request(request)
  local done = pcall(function()
    local edits = request:streamInfo():filterState():get("wasm.{PROPERTY_PREFIX}{filter}")
    if edits == nil then return end
    local headers = request:headers()
    for edit, name, value in string.gmatch(edits, "([-=])([^ \n]+) ?([^\n]*)\n") do
      if edit == "=" then headers:replace(name, value) else headers:remove(name) end
    end
  end)
  if not done then request:respond({{[":status"] = "500"}}, "") end
end
"#
    )
}

/// An edit: the name of a header, and its value where it is set.
type Edit<'a> = (&'a str, Option<&'a [u8]>);

/// The edits that a property carries, if it is one that does.
pub(crate) fn read<'a>(property: &str, lines: &'a [u8]) -> Option<Vec<Edit<'a>>> {
    property.strip_prefix(PROPERTY_PREFIX)?;
    let lines = lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let (edit, rest) = line.split_first()?;
        let mut parts = rest.splitn(2, |byte| *byte == b' ');
        let name = std::str::from_utf8(parts.next()?).ok()?;
        Some((name, (*edit == b'=').then(|| parts.next().unwrap_or_default())))
    });
    Some(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeaderMap;
    use crate::fake::FakeHost;

    #[test]
    fn edits_are_done_in_order_before_the_next_filter_runs() {
        let host = FakeHost::new().with_header("a", "1").with_header("a", "2").with_header("b", "3").with_header("c", "4");
        let mut edits = RequestEdits::default();
        edits.remove("a");
        edits.set("a", b" x \xff");
        edits.set("b", b"");
        edits.remove("c");
        assert_eq!(edits.hand_over("some", &host), Ok(()));
        assert_eq!(host.request_header("a"), [b" x \xff".to_vec()]);
        assert_eq!((host.request_header("b"), host.request_header("c")), (vec![Vec::new()], vec![]));
    }

    #[test]
    fn what_would_be_another_edit_is_refused_with_all_others() {
        for (name, value) in [("a", "x\n-b"), ("a", "x\r"), ("a", "\0"), ("a b", "x"), ("a\n-b", "x"), ("", "x")] {
            let host = FakeHost::new().with_header("b", "1");
            let mut edits = RequestEdits::default();
            edits.remove("b");
            edits.set(name, value.as_bytes());
            assert_eq!(edits.hand_over("some", &host), Err(HostError::BadArgument), "{name:?}: {value:?}");
            assert_eq!(host.request_header("b"), [b"1".to_vec()]);
        }
    }

    #[test]
    fn no_filter_changes_a_request_header_itself() {
        let host = FakeHost::new().with_header("a", "1");
        assert_eq!(host.set_header(HeaderMap::Request, "a", b"2"), Err(HostError::BadArgument));
        assert_eq!(host.remove_header(HeaderMap::Request, "a"), Err(HostError::BadArgument));
        assert_eq!(host.request_header("a"), [b"1".to_vec()]);
    }
}
