use serde_json::json;
use windrose_api::declared::AnyObject;
use windrose_api::declared::gateway::Reach;
use windrose_kube::deploy::{DeploymentMade, ServiceMade, Sweep};
use windrose_kube::source::Seen;
use windrose_plan::Addresses;
use windrose_vocab::{ObjectRef, TrustDomain};

use super::sweep::There;
use super::*;
use crate::judges;
use crate::test_world::declared;

/// Our class, and one whose Gateways share their Envoys.
const CLASSES: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: windrose }
spec: { controllerName: windrose.dev/gateway-controller }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: shared }
spec:
  controllerName: windrose.dev/gateway-controller
  parametersRef: { group: windrose.dev, kind: GatewayParameters, name: shared, namespace: ops }
---
apiVersion: windrose.dev/v1alpha1
kind: GatewayParameters
metadata: { name: shared, namespace: ops }
spec: { fleet: PerNamespace }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: foreign }
spec: { controllerName: other.example/controller }
";

/// Gateways with their classes, each with its name as its identity.
fn world(gateways: &[(&str, &str)]) -> (Picture, World) {
    let one = |(name, class): &(&str, &str)| {
        format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: {name}, namespace: shop }}\n\
             spec: {{ gatewayClassName: {class}, listeners: [{{ name: http, port: 80, protocol: HTTP }}] }}\n"
        )
    };
    let names: Vec<&str> = gateways.iter().map(|(name, _)| *name).collect();
    world_of(&(CLASSES.to_owned() + &gateways.iter().map(one).collect::<String>()), &names)
}

/// What is declared so, with the Gateways of these names.
fn world_of(text: &str, gateways: &[&str]) -> (Picture, World) {
    let declared = declared(text);
    let settings = judges::settings(TrustDomain::parse("windrose.local").unwrap()).with_addresses(Addresses::Assigned);
    let plan = windrose_plan::plan(&declared, &windrose_plan::Refused::default(), &settings);
    let shop = self::declared("apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n");
    let mut world = World { declared: shop, ..World::default() };
    for name in gateways {
        let mut seen = Seen::default();
        seen.uid = (*name).to_owned();
        world.seen.insert(ObjectRef::new(Kind::Gateway, "shop", *name), Arc::new(seen));
    }
    (Picture { declared, plan, ..Picture::default() }, world)
}

fn all_wanted(picture: &Picture, world: &World) -> Vec<Wanted> {
    let server = Server { host: "windrose".into(), port: 18000, name: "windrose".into(), trust: "".into() };
    wanted(picture, world, &Place { server, image: None, max_connections: 1 })
}

/// What the cluster made of what was wanted, running and reached.
fn made_of(wanted: &[Wanted]) -> Made {
    let mut made = Made::default();
    for one in wanted {
        let name = ObjectKey::new(one.namespace().clone(), one.name());
        let owner = one.owners.values().next().cloned();
        if one.service.is_some() {
            let addresses = [Text::from("192.0.2.1")].into();
            made.services.insert(name.clone(), ServiceMade { addresses, owner: owner.clone(), ..ServiceMade::default() });
        }
        if one.envoys.is_some() {
            made.bootstraps.insert(name.clone(), ());
            let mut deployment = DeploymentMade { available: 1, ..DeploymentMade::default() };
            match one.of {
                For::Fleet(_) => deployment.shared_by = one.owners.values().cloned().collect(),
                For::Gateway(_) | For::Member(_) => deployment.owner = owner,
            }
            made.deployments.insert(name, deployment);
        }
    }
    made
}

/// What is taken away, and what becomes of what was wanted before.
fn taken(before: &[(&str, &str)], now: &[(&str, &str)], edit: impl Fn(&mut Made), refuse: bool) -> (Vec<String>, Vec<&'static str>) {
    let (picture, world_before) = world(before);
    let former = all_wanted(&picture, &world_before);
    let (picture, world_now) = world(now);
    let all = all_wanted(&picture, &world_now);
    let (mut made, of_now) = (made_of(&former), made_of(&all));
    made.services.extend(of_now.services);
    made.deployments.extend(of_now.deployments);
    edit(&mut made);
    let problem = |one: &Wanted| (one.of.clone(), Problem { gateways: one.owners(), why: "no".to_owned() });
    let refused: Refused = all.iter().filter(|_| refuse).map(problem).collect();
    let there = There { all: &all, picture: &picture, world: &world_now, made: &made, refused: &refused };
    let left = there.left().map(|(name, what)| format!("{} {}", if what == Sweep::Service { "Service" } else { "Envoys" }, name.name));
    let gone = former.iter().filter(|made| !all.iter().any(|one| one.of == made.of));
    let fates = gone.map(|made| if is_left(made, &all, &refused, (&picture, &world_now)) { "forgotten" } else { "stays" });
    (left.collect(), fates.collect())
}

#[test]
fn an_address_within_the_cluster_is_that_of_a_service_within_it() {
    let (mut picture, world) = world(&[("a", "windrose")]);
    let service = |picture: &Picture| all_wanted(picture, &world)[0].parameters.service_type.clone();
    assert_eq!(service(&picture), "LoadBalancer");
    let mut gateway = (*picture.declared.gateways[&ObjectKey::new("shop", "a")]).clone();
    gateway.spec.reach = vec![Reach { position: 0, kind: "IPAddress".into(), value: None, from: Reach::CLUSTER.into() }];
    picture.declared.insert(AnyObject::Gateway(Arc::new(gateway)));
    assert_eq!(service(&picture), "ClusterIP");
}

#[test]
fn gateways_that_share_envoys_want_them_once_and_a_service_each() {
    let (picture, world) = world(&[("a", "shared"), ("b", "shared"), ("c", "windrose"), ("d", "foreign")]);
    let names: Vec<String> = all_wanted(&picture, &world).iter().map(|one| format!("{:?}", one.of)).collect();
    assert_eq!(names, ["Fleet(shop/shared)", "Member(shop/a)", "Member(shop/b)", "Gateway(shop/c)"]);
}

#[test]
fn shared_envoys_accept_as_long_as_the_load_balancer_of_any_of_their_gateways_needs() {
    let accepts = |of_class: &str, own: &str, member: &str| {
        let gateway = |name: &str, rest: &str| {
            format!(
                "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: {name}, namespace: shop }}\nspec:\n  \
                 gatewayClassName: {member}\n  listeners: [{{ name: http, port: 80, protocol: HTTP }}]\n{rest}"
            )
        };
        let refers = "  infrastructure: { parametersRef: { group: windrose.dev, kind: GatewayParameters, name: own } }\n";
        let parameters = format!(
            "---\napiVersion: windrose.dev/v1alpha1\nkind: GatewayParameters\nmetadata: {{ name: own, namespace: shop }}\nspec: {own}\n"
        );
        let classes = CLASSES.replace("fleet: PerNamespace", &format!("fleet: PerNamespace{of_class}"));
        let text = classes + &gateway("a", "") + &gateway("b", refers) + &parameters;
        let (picture, world) = world_of(&text, &["a", "b"]);
        let all = all_wanted(&picture, &world);
        all.iter().filter(|one| one.envoys.is_some()).map(|one| one.parameters.accept_seconds()).collect::<Vec<_>>()
    };
    let local = "{ service: { externalTrafficPolicy: Local } }";
    assert_eq!(accepts("", "{}", "shared"), [0]);
    assert_eq!(accepts("", local, "shared"), [30]);
    assert_eq!(accepts(", service: { externalTrafficPolicy: Local }", "{ service: { externalTrafficPolicy: Cluster } }", "shared"), [30]);
    assert_eq!(accepts(", acceptFor: 5s", local, "shared"), [5], "what is said holds");
    assert_eq!(accepts("", local, "windrose"), [0, 30], "those of its own are another matter");
}

#[test]
fn what_is_not_a_gateways_to_say_leaves_all_as_it_is() {
    let wanted = |addresses: &str, parameters: &str| {
        let gateway = format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: a, namespace: shop }}\nspec:\n  \
             gatewayClassName: windrose\n  listeners: [{{ name: http, port: 80, protocol: HTTP }}]\n  addresses: {addresses}\n  \
             infrastructure: {{ parametersRef: {{ group: windrose.dev, kind: GatewayParameters, name: own }} }}\n\
             ---\napiVersion: windrose.dev/v1alpha1\nkind: GatewayParameters\nmetadata: {{ name: own, namespace: shop }}\n\
             spec: {parameters}\n"
        );
        let (picture, world) = world_of(&(CLASSES.to_owned() + &gateway), &["a"]);
        let all = all_wanted(&picture, &world);
        let (before, world_before) = self::world(&[("a", "windrose")]);
        let had = all_wanted(&before, &world_before).remove(0);
        assert!(!all.is_empty() || !is_left(&had, &all, &Refused::new(), (&picture, &world)), "what it had is not taken away");
        all.into_iter().next()
    };
    assert_eq!(wanted("[]", "{ replicas: 3 }").unwrap().parameters.replicas, 3);
    assert!(wanted("[]", "{ image: evil }").is_none());
    assert!(wanted("[]", "{ fleet: PerNamespace }").is_none());
    assert!(wanted("[]", "{ overridable: [image] }").is_none());
    let outer = wanted("[{ value: 8.8.8.8 }]", "{}").unwrap();
    assert_eq!(outer.service.unwrap().addresses.len(), 1, "a load balancer gives what it has");
    let inner = "{ service: { type: ClusterIP } }";
    assert_eq!(wanted("[]", inner).unwrap().parameters.service_type, "ClusterIP");
    assert!(wanted("[{ value: 8.8.8.8 }]", inner).is_none());
}

#[test]
fn what_is_not_said_of_resources_is_asked_for_as_ever() {
    let asks = |said: &str| {
        let classes = CLASSES.replace("fleet: PerNamespace", &format!("resources: {said}"));
        let gateway = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: a, namespace: shop }\n\
                       spec: { gatewayClassName: shared, listeners: [{ name: http, port: 80, protocol: HTTP }] }\n";
        let (picture, world) = world_of(&(classes + gateway), &["a"]);
        all_wanted(&picture, &world).remove(0).parameters.resources
    };
    let memory = asks("{ requests: { memory: 2Gi } }");
    assert_eq!(memory, json!({"requests": {"cpu": "50m", "memory": "2Gi"}, "limits": {}}), "an autoscaler goes by the CPU");
    let cpu = asks("{ requests: { cpu: '2' } }");
    assert_eq!(cpu, json!({"requests": {"cpu": "2", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}));
    let limits = asks("{ limits: { cpu: '1', memory: 32Mi } }");
    assert_eq!(limits, json!({"requests": {}, "limits": {"cpu": "1", "memory": "32Mi"}}), "Kubernetes asks for what is the limit");
    let own = "---\napiVersion: windrose.dev/v1alpha1\nkind: GatewayParameters\nmetadata: { name: own, namespace: shop }\n";
    let of_class = CLASSES.replace("fleet: PerNamespace", "fleet: PerGateway, resources: { requests: { cpu: '2' } }");
    let gateway = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: a, namespace: shop }\n\
                   spec:\n  gatewayClassName: shared\n  listeners: [{ name: http, port: 80, protocol: HTTP }]\n  \
                   infrastructure: { parametersRef: { group: windrose.dev, kind: GatewayParameters, name: own } }\n";
    let (picture, world) = world_of(&format!("{of_class}{gateway}{own}spec: {{ resources: {{ limits: {{ memory: 2Gi }} }} }}\n"), &["a"]);
    let both = all_wanted(&picture, &world).remove(0).parameters.resources;
    assert_eq!(both, json!({"requests": {"cpu": "2"}, "limits": {"memory": "2Gi"}}), "the class has said it");
    let other = asks("{ limits: { example.com/nic: '1' } }");
    assert_eq!(other["requests"]["cpu"], "50m");
    assert_eq!(other["limits"], json!({"memory": "1Gi", "example.com/nic": "1"}));
}

#[test]
fn a_service_has_nothing_that_its_type_does_not_take() {
    let of_class = "fleet: PerGateway, service: { loadBalancerClass: mine, externalTrafficPolicy: Local, externalAddresses: [8.8.8.0/24] }";
    let classes = CLASSES.replace("fleet: PerNamespace", of_class);
    let has = |kind: &str, addresses: &str| {
        let gateway = format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: a, namespace: shop }}\nspec:\n  \
             gatewayClassName: shared\n  listeners: [{{ name: http, port: 80, protocol: HTTP }}]\n  addresses: {addresses}\n  \
             infrastructure: {{ parametersRef: {{ group: windrose.dev, kind: GatewayParameters, name: own }} }}\n\
             ---\napiVersion: windrose.dev/v1alpha1\nkind: GatewayParameters\nmetadata: {{ name: own, namespace: shop }}\n\
             spec: {{ service: {{ type: {kind} }} }}\n"
        );
        let (picture, world) = world_of(&(classes.clone() + &gateway), &["a"]);
        let objects = windrose_kube::deploy::objects(&all_wanted(&picture, &world)[0]);
        let service = objects.into_iter().find(|object| object.kind == "Service").unwrap().value;
        ["type", "loadBalancerClass", "externalTrafficPolicy"].map(|field| service["spec"][field].as_str().unwrap_or("none").to_owned())
    };
    assert_eq!(has("LoadBalancer", "[]"), ["LoadBalancer", "mine", "Local"]);
    assert_eq!(has("NodePort", "[]"), ["NodePort", "none", "Local"]);
    assert_eq!(has("ClusterIP", "[]"), ["ClusterIP", "none", "none"]);
    assert_eq!(has("ClusterIP", "[{ value: 8.8.8.8 }]"), ["ClusterIP", "none", "Local"], "with external addresses");
}

#[test]
fn nothing_that_is_wanted_is_taken_away() {
    let both = [("a", "shared"), ("b", "shared"), ("c", "windrose")];
    assert_eq!(taken(&both, &both, |_| (), false), (Vec::new(), Vec::new()));
    // The other one is enough for the fleet to stay.
    assert_eq!(taken(&both, &[("b", "shared"), ("c", "windrose")], |_| (), false).0, [""; 0]);
}

#[test]
fn what_a_gateway_had_goes_once_what_it_has_now_runs() {
    let (before, now) = ([("a", "shared")], [("a", "windrose")]);
    let (left, fates) = taken(&before, &now, |_| (), false);
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0] == "Service a-shared" && left[1].starts_with("Envoys shared-fleet-"), "{left:?}");
    assert_eq!(fates, ["forgotten", "forgotten"]);
    let starts = |made: &mut Made| made.deployments.get_mut(&ObjectKey::new("shop", "a-windrose")).unwrap().available = 0;
    assert_eq!(taken(&before, &now, starts, false).0, [""; 0]);
    let unreached = |made: &mut Made| made.services.get_mut(&ObjectKey::new("shop", "a-windrose")).unwrap().addresses.clear();
    assert_eq!(
        taken(&before, &now, unreached, false).0,
        [taken(&before, &now, |_| (), false).0[1].clone()],
        "no Service that clients come by"
    );
    let (left, fates) = taken(&now, &before, |_| (), false);
    assert_eq!((left, fates), (vec!["Service a-windrose".to_owned(), "Envoys a-windrose".to_owned()], vec!["forgotten"]));
}

#[test]
fn what_somebody_deleted_is_missed() {
    let (picture, world) = world(&[("a", "windrose")]);
    let all = all_wanted(&picture, &world);
    let there = made_of(&all);
    let name = ObjectKey::new("shop", "a-windrose");
    let is_missed = |edit: fn(&mut Made, &ObjectKey), former: &Made| {
        let mut made = there.clone();
        edit(&mut made, &name);
        lacks(&all[0], former, &made)
    };
    assert!(!is_missed(|_, _| (), &there));
    assert!(is_missed(|made, name| drop(made.services.remove(name)), &there));
    assert!(is_missed(|made, name| drop(made.deployments.remove(name)), &there));
    assert!(is_missed(|made, name| made.bootstraps.retain(|known, ()| known != name), &there));
    let halts = |made: &mut Made, name: &ObjectKey| {
        made.deployments.get_mut(name).unwrap().problem = Some("serviceaccount \"a-windrose\" not found".to_owned());
    };
    assert!(is_missed(halts, &there), "something that nobody may watch may be gone");
    let mut halted = there.clone();
    halts(&mut halted, &name);
    assert!(!is_missed(halts, &halted), "which is looked for once");
}

#[test]
fn what_cannot_be_replaced_stays() {
    let before = [("a", "shared")];
    assert_eq!(taken(&before, &[("a", "windrose")], |_| (), true), (Vec::new(), vec!["stays", "stays"]));
    assert_eq!(taken(&before, &[("a", "typo")], |_| (), false), (Vec::new(), vec!["stays", "stays"]));
    assert_eq!(taken(&[("a", "windrose")], &[("a", "typo")], |_| (), false), (Vec::new(), vec!["stays"]));
}

#[test]
fn what_is_another_controllers_or_gone_is_left_to_nobody() {
    let (left, fates) = taken(&[("a", "windrose")], &[("a", "foreign")], |_| (), false);
    assert_eq!((left, fates), (vec!["Service a-windrose".to_owned(), "Envoys a-windrose".to_owned()], vec!["forgotten"]));
    let (left, fates) = taken(&[("a", "shared")], &[("a", "foreign")], |_| (), false);
    assert_eq!((left.len(), fates), (2, vec!["forgotten", "forgotten"]));
    assert!(left[0] == "Service a-shared" && left[1].starts_with("Envoys shared-fleet-"), "{left:?}");
    assert_eq!(taken(&[("a", "shared")], &[], |_| (), false).1, ["forgotten", "forgotten"]);
}

#[test]
fn envoys_in_a_namespace_that_is_left_out_are_nobodys_here_to_take_away() {
    let (picture, before) = world(&[("a", "shared"), ("b", "windrose")]);
    let former = all_wanted(&picture, &before);
    let made = made_of(&former);
    let (picture, mut now) = world(&[]);
    let refused = Refused::new();
    let left = |now: &World| There { all: &[], picture: &picture, world: now, made: &made, refused: &refused }.left().count();
    assert_eq!(left(&now), 1, "Envoys that nobody shares any more go");
    now.kept.insert(Kind::AuthPolicy);
    assert_eq!(left(&now), 0, "what is here may be older than who shares them");
    now.kept.clear();
    Arc::make_mut(now.declared.namespaces.get_mut(&ObjectKey::new("", "shop")).unwrap()).spec.left_out = true;
    assert_eq!(left(&now), 0);
    let known = std::mem::take(&mut now.declared.namespaces);
    assert_eq!(left(&now), 0, "a namespace that is not known yet");
    now.declared.namespaces = known;
    assert!(former.iter().all(|made| is_left(made, &[], &refused, (&picture, &now))), "and nothing of it is kept in mind");
}

#[test]
fn an_object_in_another_namespace_is_nothing_of_a_gateway_whatever_it_says() {
    // A copy of a namespace brings labels and owners along; a stranger writes them.
    let copied = |made: &mut Made| {
        let service = made.services[&ObjectKey::new("shop", "a-windrose")].clone();
        made.services.insert(ObjectKey::new("evil", "a-windrose"), service);
        let deployment = made.deployments[&ObjectKey::new("shop", "a-windrose")].clone();
        made.deployments.insert(ObjectKey::new("evil", "b-windrose"), deployment);
    };
    let now = [("a", "windrose")];
    assert_eq!(taken(&now, &now, copied, false).0, [""; 0]);
    let left = taken(&now, &[("a", "foreign")], copied, false).0;
    assert_eq!(left, ["Service a-windrose", "Envoys a-windrose"]);
}

#[test]
fn a_gateway_that_is_being_deleted_has_nothing_made_again() {
    let (picture, mut world) = world(&[("a", "shared"), ("b", "shared"), ("c", "windrose")]);
    let former = all_wanted(&picture, &world);
    let before = Basis::of(&picture, &world);
    for name in ["a", "c"] {
        delete(&mut world, name);
    }
    assert!(Basis::of(&picture, &world) != before, "it is looked at");
    let now = all_wanted(&picture, &world);
    let names: Vec<String> = now.iter().map(|one| format!("{:?} of {:?}", one.of, one.owners.keys().collect::<Vec<_>>())).collect();
    assert_eq!(names, ["Fleet(shop/shared) of [\"b\"]", "Member(shop/b) of [\"b\"]"]);
    let refused = Refused::new();
    let unwanted = former.iter().filter(|made| !now.iter().any(|one| one.of == made.of));
    let left: Vec<String> =
        unwanted.filter(|made| is_left(made, &now, &refused, (&picture, &world))).map(|made| format!("{:?}", made.of)).collect();
    assert_eq!(left, ["Member(shop/a)", "Gateway(shop/c)"]);
    // What is shared goes with the last of them, or stays if it is to be left: that is the cluster's to do.
    delete(&mut world, "b");
    let made = made_of(&former);
    let all = all_wanted(&picture, &world);
    assert_eq!(There { all: &all, picture: &picture, world: &world, made: &made, refused: &refused }.left().count(), 0);
}

fn delete(world: &mut World, name: &str) {
    let object = ObjectRef::new(Kind::Gateway, "shop", name);
    let mut seen = (*world.seen[&object]).clone();
    seen.deleting = true;
    world.seen.insert(object, Arc::new(seen));
}
