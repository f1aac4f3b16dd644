//! What two fields say of each other, for the API server to refuse at once (Common Expression Language). The decoder says
//! the same of files, with better words; a test holds each rule against the schema it stands in.

use windrose_vocab::Kind;

/// Place, rule and message.
pub(super) type Rule = (&'static str, String, String);

/// Places where exactly one of several fields must be there.
const ONE_OF: &[(&str, &str, &[&str])] = &[
    ("AuthPolicy", "spec.jwt[].jwks", &["inline", "file", "object"]),
    ("AuthPolicy", "spec.jwt[].from[]", &["header", "query", "cookie"]),
    ("AuthorizationPolicy", "spec.rules[].from[]", &["identity", "namespace", "serviceAccount", "authenticated", "network"]),
    ("AuthorizationPolicy", "spec.rules[].paths[]", &["exact", "prefix"]),
    ("RateLimitPolicy", "spec.limits[].key[]", &["claim", "clientAddress", "header", "route"]),
    ("TranscodingPolicy", "spec.descriptors", &["file", "configMap", "inline"]),
    ("TrafficPolicy", "spec.healthCheck.probe", &["httpPath", "grpcService", "tcp"]),
    ("TrafficPolicy", "spec.loadBalancing.consistentHash.sources[]", &["header", "cookie", "sourceAddress"]),
];

/// Other rules.
const RULES: &[(&str, &str, &str, &str)] = &[
    (
        "GatewayParameters",
        "spec",
        "(has(self.fleet) ? self.fleet : 'PerGateway') == (has(oldSelf.fleet) ? oldSelf.fleet : 'PerGateway')",
        "`fleet` stays what it is, other Envoys would take over all at once: make another class with other parameters, and move Gateways one by one",
    ),
    (
        "GatewayParameters",
        "spec",
        "!(has(self.replicas) && has(self.autoscaling))",
        "`replicas` contradicts `autoscaling`, which decides the number",
    ),
    ("GatewayParameters", "spec.autoscaling", "self.minReplicas <= self.maxReplicas", "`minReplicas` is more than `maxReplicas`"),
    ("AuthPolicy", "spec.jwt[].from[]", "!has(self.prefix) || has(self.header)", "`prefix` belongs to `header`"),
    (
        "AuthPolicy",
        "spec",
        "!has(self.public) || !(has(self.jwt) || has(self.requiredClaims) || has(self.requiredScopes) || has(self.claimsToHeaders))",
        "`public` excludes `jwt`, `requiredClaims`, `requiredScopes` and `claimsToHeaders`",
    ),
    (
        "TrafficPolicy",
        "spec.loadBalancing",
        "has(self.consistentHash) == (has(self.type) && self.type == 'ConsistentHash')",
        "`consistentHash` belongs to `type: ConsistentHash`, which needs it",
    ),
    (
        "TrafficPolicy",
        "spec.outlierDetection",
        "!has(self.baseEjection) || !has(self.maxEjection) || duration(self.baseEjection) <= duration(self.maxEjection)",
        "`maxEjection` is less than `baseEjection`",
    ),
];

/// The rules of a kind.
pub(super) fn of(kind: Kind) -> Vec<Rule> {
    let one_of = ONE_OF.iter().filter(|(name, ..)| *name == kind.as_str()).map(|(_, path, fields)| {
        let has: Vec<String> = fields.iter().map(|field| format!("has(self.{field})")).collect();
        let names: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
        (*path, format!("[{}].exists_one(there, there)", has.join(", ")), format!("exactly one of {} must be there", names.join(", ")))
    });
    let others = RULES.iter().filter(|(name, ..)| *name == kind.as_str());
    one_of.chain(others.map(|(_, path, rule, message)| (*path, (*rule).to_owned(), (*message).to_owned()))).collect()
}
