//! The parameters of Envoys: our defaults, what their class says, what their Gateway says itself, field by field.

use std::borrow::Cow;

use serde_json::{Value, json};
use windrose_api::declared::backend::ObjectReference;
use windrose_api::declared::gateway::GatewayAddress;
use windrose_api::declared::{Gateway, Object};
use windrose_api::policy::{ExternalTraffic, GatewayParameters, PodParameters, Resources, ServiceParameters, ServiceType, Spread};
use windrose_api::scalar::Duration;
use windrose_kube::deploy::{Autoscaling, Parameters};
use windrose_vocab::{Kind, ObjectKey, Text};

use super::Place;
use crate::pipeline::Picture;

/// Percentage of the requested CPU that an autoscaler aims at.
const CPU_PERCENT: u32 = 70;

/// What holds for all Gateways of a class; nothing where it, or parameters that it names, are not there: our defaults could make an inner
/// Gateway a public one, so what runs stays as it is.
pub(super) fn of_class(class: &Text, picture: &Picture, place: &Place) -> Option<Parameters> {
    let mut parameters = Parameters::default();
    parameters.image = place.image.clone().unwrap_or(parameters.image);
    take(&mut parameters, &*said_by(class, picture)?);
    Some(parameters)
}

/// What holds for a Gateway under that class; nothing where its parameters are not there, or where they or it say what is not theirs to
/// say: the planner tells, and what runs stays as it is.
pub(super) fn of_gateway(gateway: &Object<Gateway>, class: &Text, picture: &Picture, place: &Place) -> Option<Parameters> {
    let mut parameters = of_class(class, picture, place)?;
    let of_class = said_by(class, picture)?;
    let own = match &gateway.spec.infrastructure.parameters_ref {
        Some(reference) => Cow::Borrowed(find(reference, Some(&gateway.meta.object.key.namespace), picture)?),
        None => Cow::default(),
    };
    let may_ask_for = |address: &GatewayAddress| match address {
        GatewayAddress::Ip(ip) => own.may_ask_for(&of_class, *ip),
        GatewayAddress::Hostname(_) | GatewayAddress::Other(..) => true,
    };
    let is_fit = own.of_class_alone().is_none() && own.kept_by(&of_class).is_none() && gateway.spec.addresses.iter().all(may_ask_for);
    is_fit.then(|| {
        take(&mut parameters, &own);
        // The plan let through none but `Cluster`.
        let is_inner = !gateway.spec.reach.is_empty();
        if is_inner {
            parameters.service_type = "ClusterIP".to_owned();
        }
        let has_external = !is_inner && gateway.spec.addresses.iter().any(|address| matches!(address, GatewayAddress::Ip(_)));
        keep_to_type(&mut parameters, has_external);
        parameters
    })
}

/// Leaves out what is not for a Service of that type: a class may say it for all, and the API server refuses it.
fn keep_to_type(parameters: &mut Parameters, has_external: bool) {
    if parameters.service_type != "LoadBalancer" {
        parameters.load_balancer_class = None;
    }
    if parameters.service_type == "ClusterIP" && !has_external {
        parameters.external_traffic_policy = None;
    }
}

/// What holds for Envoys that Gateways of these parameters share: as they are of its class, but no Pod is gone while the load balancer of one
/// of them, which is its own, may go to it. `acceptFor` is for its class to say.
pub(super) fn of_shared<'a>(of_class: Parameters, members: impl Iterator<Item = &'a Parameters>) -> Parameters {
    let policies = members.map(|member| member.external_traffic_policy.clone());
    let each = policies.map(|external_traffic_policy| Parameters { external_traffic_policy, ..of_class.clone() }.accept_seconds());
    let longest = each.fold(of_class.accept_seconds(), u64::max);
    Parameters { accept_for_seconds: u32::try_from(longest).ok(), ..of_class }
}

/// What a class says; nothing where it is not there, or what it names.
fn said_by<'a>(class: &Text, picture: &'a Picture) -> Option<Cow<'a, GatewayParameters>> {
    let class = picture.declared.gateway_classes.get(&ObjectKey::new("", class.clone()))?;
    match &class.spec.parameters_ref {
        Some(reference) => find(reference, None, picture).map(Cow::Borrowed),
        None => Some(Cow::default()),
    }
}

fn find<'a>(reference: &ObjectReference, own: Option<&Text>, picture: &'a Picture) -> Option<&'a GatewayParameters> {
    let is_kind = *reference.group == *Kind::GatewayParameters.group() && *reference.kind == *Kind::GatewayParameters.as_str();
    let namespace = own.or(reference.namespace.as_ref()).filter(|_| is_kind)?;
    let key = ObjectKey::new(namespace.clone(), reference.name.clone());
    picture.declared.gateway_parameters.get(&key).map(|object| &object.spec)
}

fn take(parameters: &mut Parameters, said: &GatewayParameters) {
    // Whose they are and what they log follows from the plan, and who may say what is settled.
    let GatewayParameters {
        fleet: _,
        overridable: _,
        access_log: _,
        replicas,
        image,
        concurrency,
        accept_for,
        drain,
        resources,
        autoscaling,
        service,
        pod,
    } = said;
    if let Some(replicas) = replicas {
        (parameters.replicas, parameters.autoscaling) = (*replicas, None);
    }
    if let Some(image) = image {
        parameters.image.clone_from(image);
    }
    if let Some(concurrency) = concurrency {
        parameters.concurrency = *concurrency;
    }
    let seconds = |time: &Duration| u32::try_from(time.0.as_secs()).unwrap_or(u32::MAX);
    if let Some(accept_for) = accept_for {
        parameters.accept_for_seconds = Some(seconds(accept_for));
    }
    if let Some(drain) = drain {
        parameters.drain_seconds = seconds(drain);
    }
    if let Some(resources) = resources {
        parameters.resources = with_said(&parameters.resources, resources);
    }
    if let Some(scaling) = autoscaling {
        let cpu_percent = scaling.cpu_percent.unwrap_or(CPU_PERCENT);
        parameters.autoscaling = Some(Autoscaling { min: scaling.min_replicas, max: scaling.max_replicas, cpu_percent });
    }
    service.iter().for_each(|service| take_service(parameters, service));
    pod.iter().for_each(|pod| take_pod(parameters, pod));
}

/// What is said; a resource of which nothing is said stays what it was, as an autoscaler goes by the CPU that is requested.
fn with_said(known: &Value, said: &Resources) -> Value {
    let mut all = known.clone();
    for (list, said_there) in [("requests", &said.requests), ("limits", &said.limits)] {
        if let Some(amounts) = all[list].as_object_mut() {
            amounts.retain(|name, _| !said.requests.contains_key(name) && !said.limits.contains_key(name));
            amounts.extend(said_there.iter().map(|(name, amount)| (name.clone(), amount.clone().into())));
        }
    }
    all
}

fn take_service(parameters: &mut Parameters, said: &ServiceParameters) {
    if let Some(kind) = said.r#type {
        parameters.service_type = match kind {
            ServiceType::ClusterIP => "ClusterIP",
            ServiceType::NodePort => "NodePort",
            ServiceType::LoadBalancer => "LoadBalancer",
        }
        .to_owned();
    }
    parameters.service_annotations.extend(said.annotations.clone());
    if said.load_balancer_class.is_some() {
        parameters.load_balancer_class.clone_from(&said.load_balancer_class);
    }
    if let Some(policy) = said.external_traffic_policy {
        let word = match policy {
            ExternalTraffic::Cluster => "Cluster",
            ExternalTraffic::Local => "Local",
        };
        parameters.external_traffic_policy = Some(word.to_owned());
    }
}

fn take_pod(parameters: &mut Parameters, said: &PodParameters) {
    parameters.node_selector.extend(said.node_selector.clone());
    if !said.tolerations.is_empty() {
        parameters.tolerations = said.tolerations.iter().filter_map(|toleration| serde_json::to_value(toleration).ok()).collect();
    }
    if !said.topology_spread.is_empty() {
        parameters.topology_spread = said.topology_spread.iter().map(spread).collect();
    }
    if said.priority_class.is_some() {
        parameters.priority_class.clone_from(&said.priority_class);
    }
    if !said.image_pull_secrets.is_empty() {
        parameters.image_pull_secrets.clone_from(&said.image_pull_secrets);
    }
}

/// Without a selector: whoever makes the Pods knows their labels.
fn spread(said: &Spread) -> Value {
    let otherwise = if said.required { "DoNotSchedule" } else { "ScheduleAnyway" };
    json!({"topologyKey": said.topology_key, "maxSkew": said.max_skew.unwrap_or(1), "whenUnsatisfiable": otherwise})
}
