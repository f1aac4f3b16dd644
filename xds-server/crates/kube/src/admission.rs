//! What is said to an object before it is stored: the very diagnostics of `windrose check`. An answer never depends on another
//! object but its Namespace, which says whether it is ours to judge: others may come later, and the status tells. Only our own kinds
//! are refused; those of Gateway API may be another controller's, which understands what we do not, so about them we warn.

use serde_json::{Value, json};
use windrose_api::{Source, decode};
use windrose_vocab::{Code, Diagnostic, Kind, Severity, Text};

/// Bytes of a review: two objects as large as etcd takes them, with what is around them.
pub const REVIEW_BYTES_MAX: usize = 7 << 20;
/// The group whose objects are refused.
const OURS: &str = "windrose.dev/";
/// Problems that one answer names.
const TOLD_MAX: usize = 20;
/// Warnings of one answer; the API server cuts them off at 4,096 characters together.
const WARNINGS_MAX: usize = 16;
/// Characters of one warning: the API server cuts off what is longer.
const WARNING_MAX: usize = 256;

/// The answer to an `AdmissionReview`, as JSON. An object of a namespace that is left out passes without a word.
///
/// # Errors
/// When it is none.
pub fn review(body: &[u8], leaves_out: impl Fn(&Text) -> bool) -> Result<Vec<u8>, &'static str> {
    let mut review: Value = serde_json::from_slice(body).map_err(|_| "not JSON")?;
    if review["kind"] != "AdmissionReview" || review["apiVersion"] != "admission.k8s.io/v1" {
        return Err("not an AdmissionReview of admission.k8s.io/v1");
    }
    let request = review.get_mut("request").map(Value::take).unwrap_or_default();
    let uid = request["uid"].as_str().filter(|uid| !uid.is_empty()).ok_or("a review without `request.uid`")?.to_owned();
    // Parameters count wherever they are.
    let counts = request["kind"]["kind"] == Kind::GatewayParameters.as_str();
    let is_left_out = !counts && request["namespace"].as_str().is_some_and(|namespace| leaves_out(&namespace.into()));
    let (errors, warnings) = if is_left_out { Default::default() } else { judge(request) };
    let mut response = json!({"uid": uid, "allowed": errors.is_empty()});
    if !errors.is_empty() {
        response["status"] = json!({"code": 422, "reason": "Invalid", "message": errors.join("; ")});
    }
    if !warnings.is_empty() {
        response["warnings"] = warnings.into();
    }
    let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    serde_json::to_vec(&answer).map_err(|_| "no answer can be written")
}

/// Errors and warnings.
fn judge(mut request: Value) -> (Vec<String>, Vec<String>) {
    let is_write = matches!(request["operation"].as_str(), Some("CREATE" | "UPDATE"));
    let is_whole = request["subResource"].as_str().unwrap_or_default().is_empty();
    let object = request["object"].take();
    // What goes away, and what stays as it was, is held up by nothing: a finalizer must be able to go.
    let goes = !object["metadata"]["deletionTimestamp"].is_null();
    let stays = request["operation"] == "UPDATE" && object["spec"] == request["oldObject"]["spec"];
    if !is_write || !is_whole || goes || stays || !object.is_object() {
        return (Vec::new(), Vec::new());
    }
    let denies = object["apiVersion"].as_str().is_some_and(|version| version.starts_with(OURS));
    let told = decode(object, Source::Cluster).diagnostics;
    // A version that we do not know is a newer one: whoever installed it knows.
    let told: Vec<Diagnostic> = told.into_iter().filter(|one| one.code != Code::UnknownKind && one.severity != Severity::Info).collect();
    let (errors, warnings): (Vec<&Diagnostic>, Vec<&Diagnostic>) = told.iter().partition(|one| denies && one.severity == Severity::Error);
    (errors.into_iter().map(words).take(TOLD_MAX).collect(), warnings.into_iter().map(warning).take(WARNINGS_MAX).collect())
}

/// One line of a header: an object's own words may have characters that end it.
fn warning(diagnostic: &Diagnostic) -> String {
    words(diagnostic).chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(WARNING_MAX).collect()
}

fn words(diagnostic: &Diagnostic) -> String {
    let field = diagnostic.field.to_string();
    let at = if field.is_empty() { String::new() } else { format!("{field}: ") };
    let hint = diagnostic.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{at}{}{hint}", diagnostic.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(operation: &str, object: &Value, former: &Value) -> Value {
        let asked = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "7", "operation": operation, "object": object, "oldObject": former, "namespace": object["metadata"]["namespace"],
            },
        });
        let answer = review(asked.to_string().as_bytes(), |namespace| &**namespace == "outside").unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["response"]["uid"], "7");
        answer["response"].clone()
    }

    fn policy(spec: Value) -> Value {
        json!({"apiVersion": "windrose.dev/v1alpha1", "kind": "MeshPolicy", "metadata": {"name": "p", "namespace": "shop"}, "spec": spec})
    }

    #[test]
    fn a_mistake_is_refused_in_the_words_of_check() {
        let answer = asked("CREATE", &policy(json!({"mtsl": "Strict"})), &Value::Null);
        assert_eq!(answer["allowed"], false);
        let message = answer["status"]["message"].as_str().unwrap();
        assert!(message.contains("spec") && message.contains("mtls"), "{message}");
        let mut good = policy(json!({"mtls": "Strict"}));
        good["metadata"]["managedFields"] = json!([{"manager": "kubectl", "fieldsV1": {"f:spec": {"f:mtls": {}}}}]);
        assert_eq!(asked("CREATE", &good, &Value::Null)["allowed"], true);
    }

    #[test]
    fn an_object_that_may_be_another_controllers_is_warned_about_and_never_refused() {
        let spec = json!({"parentRefs": [{"name": "theirs"}], "rules": [{"matches": [{"path": {"type": "RegularExpression", "value": "/(?=a)"}}], "nobody": 1}]});
        let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r", "namespace": "shop"}, "spec": spec});
        let answer = asked("CREATE", &route, &Value::Null);
        assert_eq!(answer["allowed"], true);
        let warnings = answer["warnings"].as_array().unwrap();
        assert!(warnings.iter().any(|one| one.as_str().unwrap().contains("nobody")), "{answer}");
    }

    #[test]
    fn a_namespace_that_is_left_out_is_not_judged() {
        let mut wrong = policy(json!({"mtsl": "Strict"}));
        assert_eq!(asked("CREATE", &wrong, &Value::Null)["allowed"], false);
        wrong["metadata"]["namespace"] = "outside".into();
        assert_eq!(asked("CREATE", &wrong, &Value::Null), json!({"uid": "7", "allowed": true}));
    }

    #[test]
    fn warnings_are_few_short_lines() {
        let unknown: serde_json::Map<String, Value> = (0..30).map(|n| (format!("un\r\nknown-{n}-{}", "x".repeat(400)), json!(1))).collect();
        let mut spec = json!({"parentRefs": [{"name": "theirs"}]});
        spec.as_object_mut().unwrap().extend(unknown);
        let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r", "namespace": "shop"}, "spec": spec});
        let warnings: Vec<String> = serde_json::from_value(asked("CREATE", &route, &Value::Null)["warnings"].clone()).unwrap();
        assert_eq!(warnings.len(), 16);
        assert!(warnings.iter().all(|one| one.chars().count() <= 256 && !one.contains(char::is_control)), "{warnings:?}");
    }

    #[test]
    fn what_goes_or_stays_as_it_was_is_held_up_by_nothing() {
        let wrong = policy(json!({"mtsl": "Strict"}));
        assert_eq!(asked("UPDATE", &wrong, &wrong)["allowed"], true);
        let mut going = policy(json!({"mtsl": "Permissive"}));
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(asked("UPDATE", &going, &wrong)["allowed"], true);
        assert_eq!(asked("DELETE", &Value::Null, &wrong)["allowed"], true);
        let mut newer = policy(json!({}));
        newer["apiVersion"] = json!("windrose.dev/v9");
        assert_eq!(asked("CREATE", &newer, &Value::Null)["allowed"], true);
    }

    #[test]
    fn what_is_no_review_gets_no_answer() {
        for body in [&b""[..], b"{", b"[]", b"{}", br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#] {
            assert!(review(body, |_| false).is_err());
        }
    }
}
