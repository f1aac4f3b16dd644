//! How kinds are called in the API, and what things of ours are called in a cluster.

use windrose_vocab::Kind;

/// The lower-case plural of a kind, as it stands in URLs and roles.
#[must_use]
pub fn plural(kind: Kind) -> String {
    plural_of(kind.as_str())
}

/// The same of any kind, also of those that nobody declares things in.
#[must_use]
pub fn plural_of(kind: &str) -> String {
    let name = kind.to_ascii_lowercase();
    match name.strip_suffix('y') {
        Some(stem) if !name.ends_with("ay") => format!("{stem}ies"),
        // A plural already.
        _ if name.ends_with("parameters") => name,
        _ if name.ends_with("ss") => format!("{name}es"),
        _ => format!("{name}s"),
    }
}

/// The longest name of a Service or of a label's value.
const LABEL_MAX: usize = 63;

/// What is made for a Gateway: `<gateway>-<class>` (GEP-1762), with a fingerprint where that is no name of a Service (RFC 1035: it begins
/// with a letter) or could be another pair.
#[must_use]
pub fn of_gateway(gateway: &str, class: &str) -> String {
    let whole = format!("{gateway}-{class}").replace('.', "-");
    let begins_with_letter = whole.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_plain = begins_with_letter && !gateway.contains('.') && !class.contains(['.', '-']);
    if is_plain && whole.len() <= LABEL_MAX {
        return whole;
    }
    let fingerprint = windrose_vocab::Fingerprint::of("name", &(gateway.to_owned(), class.to_owned())).to_string();
    let tail = fingerprint.get(..10).unwrap_or(&fingerprint);
    let letter = if begins_with_letter { "" } else { "g" };
    let head: String = letter.chars().chain(whole.chars()).take(LABEL_MAX - tail.len() - 1).collect();
    format!("{}-{tail}", head.trim_end_matches('-'))
}

/// What is made for the Gateways of a class that share their Envoys in a namespace: no class ends in a dot, so no Gateway has that name.
#[must_use]
pub fn of_fleet(class: &str) -> String {
    of_gateway(class, "fleet.")
}

/// A label's value that stands for a name which may be longer than a value can be.
#[must_use]
pub fn label_value(name: &str) -> String {
    if name.len() <= LABEL_MAX { name.to_owned() } else { of_gateway(name, "x") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plurals_are_those_of_the_definitions() {
        let expected = [
            (Kind::GatewayClass, "gatewayclasses"),
            (Kind::Gateway, "gateways"),
            (Kind::HTTPRoute, "httproutes"),
            (Kind::BackendTLSPolicy, "backendtlspolicies"),
            (Kind::EndpointSlice, "endpointslices"),
            (Kind::AuthPolicy, "authpolicies"),
            (Kind::ListenerSet, "listenersets"),
            (Kind::GatewayParameters, "gatewayparameters"),
        ];
        for (kind, name) in expected {
            assert_eq!(plural(kind), name);
        }
        assert_eq!(plural_of("GatewayParameters"), "gatewayparameters");
        assert_eq!(plural_of("PodDisruptionBudget"), "poddisruptionbudgets");
    }

    #[test]
    fn names_are_labels_and_tell_gateways_apart() {
        assert_eq!(of_gateway("edge", "windrose"), "edge-windrose");
        let long = "g".repeat(253);
        let names = [
            of_gateway(&long, "windrose"),
            of_gateway(&long, "other"),
            of_gateway("a.b", "c"),
            of_gateway("a-b", "c"),
            of_gateway("a", "b-c"),
            of_gateway("2nd", "windrose"),
            of_gateway("g2nd", "windrose"),
            of_gateway(&"9".repeat(253), "windrose"),
        ];
        for name in &names {
            assert!(name.len() <= 63 && !name.contains('.') && !name.ends_with('-'), "{name}");
            assert!(name.starts_with(|first: char| first.is_ascii_lowercase()), "{name} is the name of a Service");
        }
        assert_ne!(names[5], names[6]);
        assert_ne!(names[0], names[1]);
        assert_ne!(names[2], names[3], "a dot and a dash are two names");
        assert_ne!(of_fleet("windrose"), of_gateway("windrose", "fleet"));
        assert!(of_fleet("windrose").starts_with("windrose-fleet-"), "{}", of_fleet("windrose"));
        assert_ne!(of_gateway("a", "b-c"), of_gateway("a-b", "c"));
    }
}
