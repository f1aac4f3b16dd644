//! Workload: something with a sidecar that no cluster knows.

use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use windrose_vocab::{Code, Port};

use super::Enveloped;
use crate::declared::Meta;
use crate::declared::workload::{Calls, Serves};
use crate::decode::{Path, Report};
use crate::{declared, name};

/// A workload with a sidecar: who it is, where it is, what it serves and what it calls.
///
/// Its identity is `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`. Deleting it revokes the credential of its sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Service account: who it is. Its own name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account: Option<String>,
    /// The address its sidecar listens on for others.
    pub address: IpAddr,
    /// Zone, for routing that stays near. Unknown where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub zone: Option<String>,
    /// What it serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub serves: Vec<Serve>,
    /// What it calls; its sidecar is told of nothing else. Everything it may call where absent, nothing where empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub calls: Option<Vec<Call>>,
}

/// One port of a Service that a workload serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Serve {
    /// The Service it is an instance of, in its own namespace.
    #[schemars(length(min = 1, max = 63))]
    pub service: String,
    /// The Service's port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Where the sidecar listens, on the workload's address. The Service's port where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub listen: Option<u16>,
    /// Where the application itself listens: `127.0.0.1:8080`.
    #[schemars(extend("format" = "socket-address"))]
    pub application: SocketAddr,
}

/// One Service that a workload calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Call {
    /// Namespace of the Service. The workload's where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// The Service.
    #[schemars(length(min = 1, max = 63))]
    pub service: String,
    /// Its port. All of them where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Where the sidecar listens for the workload's own calls: `127.0.0.1:9001`. Needs `port`. Only with capture where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "socket-address"))]
    pub listen: Option<SocketAddr>,
}

pub(super) fn workload(written: Enveloped<Workload>, meta: &Meta, report: &mut Report) -> Option<declared::Workload> {
    let root = Path::ROOT;
    let at = root.field("spec");
    let spec = written.spec;
    let account = spec.service_account.unwrap_or_else(|| meta.object.key.name.to_string());
    if !name::is_subdomain(&account) {
        report.error(&at.field("serviceAccount"), Code::OutOfRange, "is not a DNS name: lower-case letters, digits and inner `-`");
    }
    if spec.address.is_unspecified() {
        report.error(&at.field("address"), Code::OutOfRange, "must be an address that others can reach");
    }
    unique_listen(&spec.serves, &at.field("serves"), report);
    Some(declared::Workload {
        account: account.into(),
        address: spec.address,
        zone: spec.zone.unwrap_or_default().into(),
        serves: numbered(spec.serves, |index, serve| serves(serve, &at.field("serves").index(index), report)),
        calls: spec.calls.map(|calls_| numbered(calls_, |index, call| calls(call, &at.field("calls").index(index), report))),
    })
}

fn numbered<T, U>(items: Vec<T>, mut convert: impl FnMut(usize, T) -> Option<U>) -> Vec<U> {
    items.into_iter().enumerate().filter_map(|(index, item)| convert(index, item)).collect()
}

fn unique_listen(serves: &[Serve], at: &Path<'_>, report: &mut Report) {
    let mut seen = std::collections::BTreeMap::new();
    for (index, serve) in serves.iter().enumerate() {
        let listen = serve.listen.unwrap_or(serve.port);
        if let Some(first) = seen.insert(listen, index) {
            let at = at.index(index);
            let field = if serve.listen.is_some() { "listen" } else { "port" };
            report.error_with_hint(
                &at.field(field),
                Code::Invalid,
                format!("item {first} listens on {listen} too"),
                "give it a `listen` of its own",
            );
        }
    }
}

fn port(number: u16, at: &Path<'_>, report: &mut Report) -> Option<Port> {
    let port = Port::new(i64::from(number));
    if port.is_none() {
        report.error(at, Code::OutOfRange, "port 0 is out of range: 1 to 65535");
    }
    port
}

fn serves(written: Serve, at: &Path<'_>, report: &mut Report) -> Option<Serves> {
    Some(Serves {
        service: written.service.into(),
        port: port(written.port, &at.field("port"), report)?,
        listen: port(written.listen.unwrap_or(written.port), &at.field("listen"), report)?,
        application: (written.application.ip(), port(written.application.port(), &at.field("application"), report)?),
    })
}

fn calls(written: Call, at: &Path<'_>, report: &mut Report) -> Option<Calls> {
    if written.listen.is_some() && written.port.is_none() {
        report.error(&at.field("port"), Code::MissingField, "required field `port` is missing: `listen` is for one port");
    }
    let listen = match written.listen {
        Some(address) => Some((address.ip(), port(address.port(), &at.field("listen"), report)?)),
        None => None,
    };
    Some(Calls {
        namespace: written.namespace.map(Into::into),
        service: written.service.into(),
        port: match written.port {
            Some(number) => Some(port(number, &at.field("port"), report)?),
            None => None,
        },
        listen,
    })
}
