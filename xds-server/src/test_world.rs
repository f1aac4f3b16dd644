//! The shop that tests of this crate begin with: a gateway, and a service with one endpoint.

/// Everything but routes.
pub(crate) const SHOP: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge, namespace: shop }
spec: { gatewayClassName: windrose, listeners: [{ name: http, port: 8080, protocol: HTTP }] }
---
apiVersion: v1
kind: Service
metadata: { name: one, namespace: shop }
spec: { ports: [{ port: 80 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: one-1, namespace: shop, labels: { kubernetes.io/service-name: one } }
addressType: IPv4
ports: [{ port: 9001 }]
endpoints: [{ addresses: [127.0.0.1] }]
";

/// A route of the gateway to the service.
pub(crate) fn route(name: &str, path: &str) -> String {
    route_of("{ name: edge }", name, path)
}

/// A route of that parent to the service.
pub(crate) fn route_of(parent: &str, name: &str, path: &str) -> String {
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: {name}, namespace: shop }}
spec:
  parentRefs: [{parent}]
  rules: [{{ matches: [{{ path: {{ value: {path} }} }}], backendRefs: [{{ name: one, port: 80 }}] }}]
"
    )
}

/// A workload that calls the service at that port.
pub(crate) fn workload(name: &str, port: u16) -> String {
    format!(
        "---
apiVersion: windrose.dev/v1alpha1
kind: Workload
metadata: {{ name: {name}, namespace: shop }}
spec: {{ serviceAccount: {name}, address: 127.0.0.1, calls: [{{ service: one, port: 80, listen: \"127.0.0.1:{port}\" }}] }}
"
    )
}

/// Gateways with a certificate each, and its Secret.
pub(crate) fn with_certificates(names: &[&str]) -> String {
    let one = |name: &&str| {
        format!(
            "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{ name: {name}, namespace: shop }}
spec:
  gatewayClassName: windrose
  listeners: [{{ name: tls, port: 8443, protocol: HTTPS, tls: {{ certificateRefs: [{{ name: {name} }}] }} }}]
---
apiVersion: v1
kind: Secret
metadata: {{ name: {name}, namespace: shop }}
stringData: {{ tls.crt: a, tls.key: b }}
"
        )
    };
    names.iter().map(one).collect()
}

/// What a text declares.
pub(crate) fn declared(text: &str) -> windrose_api::Declared {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("all.yaml"), text).unwrap();
    let read = windrose_files::load(&[folder.path().to_owned()]);
    assert!(!read.has_errors(), "{:?}", read.diagnostics);
    read.declared
}
