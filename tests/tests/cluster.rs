//! Stories told to a real Kubernetes cluster in which Windrose is installed: `WINDROSE_TEST_CLUSTER` names its kubeconfig, and
//! its addresses must be reachable from here. `make cluster-test` sees to both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a step of a test that fails ends the test")]

#[path = "cluster/cases.rs"]
mod cases;
#[path = "cluster/certificates.rs"]
mod certificates;
#[path = "cluster/checks.rs"]
mod checks;
#[path = "cluster/contradictions.rs"]
mod contradictions;
#[path = "cluster/fleets.rs"]
mod fleets;
#[path = "cluster/gateways.rs"]
mod gateways;
#[path = "cluster/lacking.rs"]
mod lacking;
#[path = "cluster/many.rs"]
mod many;
#[path = "cluster/namespaces.rs"]
mod namespaces;
#[path = "cluster/outage.rs"]
mod outage;
#[path = "cluster/refused.rs"]
mod refused;
#[path = "cluster/removal.rs"]
mod removal;
#[path = "pipeline/rendered.rs"]
mod rendered;
#[path = "cluster/replicas.rs"]
mod replicas;
#[path = "cluster/rights.rs"]
mod rights;
#[path = "cluster/stage.rs"]
mod stage;
#[path = "cluster/tokens.rs"]
mod tokens;
#[path = "cluster/truth.rs"]
mod truth;
#[path = "cluster/upgrade.rs"]
mod upgrade;
#[path = "cluster/used.rs"]
mod used;
#[path = "cluster/zones.rs"]
mod zones;
