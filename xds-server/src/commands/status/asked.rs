//! Which objects of a status are asked for: as much of each one's id as somebody types.

use std::collections::BTreeSet;

use anyhow::Context;
use windrose_admin::report::{ObjectReport, StatusReport};
use windrose_api::decode::suggestion;
use windrose_vocab::Kind;

/// `[KIND/][NAMESPACE/]NAME`; what is left out may be any.
#[derive(Debug)]
pub(super) struct Asked {
    text: String,
    kind: Option<Kind>,
    namespace: Option<String>,
    name: String,
}

impl Asked {
    /// Reads what was typed. Of two words the first is a kind if there is one of that name, in any case of its letters.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let words: Vec<&str> = text.split('/').collect();
        let (kind, namespace, name) = match words[..] {
            [name] => (None, None, name),
            [first, name] => match kind(first) {
                Some(kind) => (Some(kind), None, name),
                None => (None, Some(first), name),
            },
            [first, namespace, name] => (Some(kind(first).with_context(|| no_kind(first))?), Some(namespace), name),
            _ => anyhow::bail!("`{text}` names no object: write it as [KIND/][NAMESPACE/]NAME"),
        };
        Ok(Self { text: text.to_owned(), kind, namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }

    fn is(&self, object: &ObjectReport) -> bool {
        self.name == object.name
            && self.kind.is_none_or(|kind| kind.as_str() == object.kind)
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == object.namespace)
    }

    /// What an object is called in as many words as were typed.
    fn called(&self, object: &ObjectReport) -> String {
        let kind = self.kind.map(|_| object.kind.as_str());
        let namespace = self.namespace.as_ref().map(|_| object.namespace.as_str());
        kind.into_iter().chain(namespace).chain([object.name.as_str()]).collect::<Vec<_>>().join("/")
    }

    /// Errs where none of `objects` is called so, with the name that was probably meant.
    fn must_be_one_of(&self, objects: &[ObjectReport]) -> anyhow::Result<()> {
        if objects.iter().any(|object| self.is(object)) {
            return Ok(());
        }
        let known: BTreeSet<String> = objects.iter().map(|object| self.called(object)).collect();
        let hint = suggestion(&self.text, known.iter().map(String::as_str)).unwrap_or_else(|| "`windrose status` lists them".to_owned());
        anyhow::bail!("no object `{}` ({hint})", self.text)
    }
}

fn kind(word: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(word))
}

fn no_kind(word: &str) -> String {
    let hint = suggestion(word, Kind::ALL.map(Kind::as_str)).unwrap_or_else(|| "`windrose schema` lists them".to_owned());
    format!("no kind `{word}` ({hint})")
}

/// The part of `report` that is about these objects; all of it where none is asked for.
///
/// # Errors
/// When one of them is not there.
pub(super) fn part(report: &StatusReport, asked: &[Asked]) -> anyhow::Result<StatusReport> {
    if asked.is_empty() {
        return Ok(report.clone());
    }
    asked.iter().try_for_each(|one| one.must_be_one_of(&report.objects))?;
    let objects: Vec<_> = report.objects.iter().filter(|object| asked.iter().any(|one| one.is(object))).cloned().collect();
    let ids: BTreeSet<String> = objects.iter().map(ObjectReport::id).collect();
    // What has neither object nor place is about the server, and so about each of them.
    let concerns = |object: &Option<String>, place: &Option<String>| match object {
        Some(object) => ids.contains(object),
        None => place.is_none(),
    };
    let diagnostics = report.diagnostics.iter().filter(|one| concerns(&one.object, &one.position)).cloned().collect();
    Ok(StatusReport { objects, diagnostics, certificates: Vec::new(), ..report.clone() })
}

#[cfg(test)]
mod tests {
    use windrose_admin::report::DiagnosticReport;

    use super::*;

    fn world() -> StatusReport {
        let object = |id: &str| {
            let words: Vec<&str> = id.split('/').collect();
            let namespace = if words.len() == 3 { words[1] } else { "" };
            let name = words[words.len() - 1];
            ObjectReport { kind: words[0].into(), namespace: namespace.into(), name: name.into(), ..ObjectReport::default() }
        };
        let told = |object: Option<&str>, position: Option<&str>| DiagnosticReport {
            object: object.map(str::to_owned),
            position: position.map(str::to_owned),
            ..DiagnosticReport::default()
        };
        let ids = ["GatewayClass/windrose", "HTTPRoute/shop/web", "HTTPRoute/bank/web", "Service/shop/web", "Service/shop/orders"];
        let diagnostics = vec![
            told(Some("Service/shop/web"), None),
            told(Some("HTTPRoute/shop/web"), None),
            told(None, Some("a.yaml:1:1")),
            told(None, None),
        ];
        StatusReport { objects: ids.map(object).into(), diagnostics, ..StatusReport::default() }
    }

    fn found(asked: &[&str]) -> Result<Vec<String>, String> {
        let asked = asked.iter().map(|text| Asked::parse(text)).collect::<anyhow::Result<Vec<_>>>().map_err(|error| error.to_string())?;
        let part = part(&world(), &asked).map_err(|error| error.to_string())?;
        Ok(part.objects.iter().map(ObjectReport::id).collect())
    }

    #[test]
    fn an_object_is_called_by_as_much_of_its_id_as_is_typed() {
        let cases: [(&[&str], &[&str]); 6] = [
            (&["web"], &["HTTPRoute/shop/web", "HTTPRoute/bank/web", "Service/shop/web"]),
            (&["httproute/web"], &["HTTPRoute/shop/web", "HTTPRoute/bank/web"]),
            (&["shop/web"], &["HTTPRoute/shop/web", "Service/shop/web"]),
            (&["HTTPRoute/bank/web"], &["HTTPRoute/bank/web"]),
            (&["GatewayClass/windrose", "orders"], &["GatewayClass/windrose", "Service/shop/orders"]),
            (&[], &["GatewayClass/windrose", "HTTPRoute/shop/web", "HTTPRoute/bank/web", "Service/shop/web", "Service/shop/orders"]),
        ];
        for (asked, expected) in cases {
            assert_eq!(found(asked).unwrap(), expected, "{asked:?}");
        }
    }

    #[test]
    fn a_name_that_nothing_has_is_refused_with_the_nearest_also_beside_one_that_is_there() {
        assert_eq!(found(&["web", "ordres"]).unwrap_err(), "no object `ordres` (did you mean `orders`?)");
        assert_eq!(found(&["service/shop/wbe"]).unwrap_err(), "no object `service/shop/wbe` (did you mean `Service/shop/web`?)");
        assert_eq!(found(&["Servic/shop/web"]).unwrap_err(), "no kind `Servic` (did you mean `Service`?)");
        assert!(found(&["a/b/c/d"]).unwrap_err().contains("[KIND/][NAMESPACE/]NAME"));
    }

    #[test]
    fn of_what_is_wrong_only_what_concerns_them_is_told() {
        let part = part(&world(), &[Asked::parse("Service/web").unwrap()]).unwrap();
        let told: Vec<_> = part.diagnostics.iter().map(|one| one.object.as_deref()).collect();
        assert_eq!(told, [Some("Service/shop/web"), None]);
    }
}
