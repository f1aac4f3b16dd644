//! Parameters of Gateways and their classes: objects that say more about the proxies than Gateway API does.

use windrose_api::declared::backend::ObjectReference;
use windrose_api::declared::gateway::{Gateway, GatewayAddress};
use windrose_api::declared::{GatewayClass, Object};
use windrose_api::policy::{AccessLog, GatewayParameters};
use windrose_vocab::{Code, Diagnostic, Kind, ObjectKey, ObjectRef};

use crate::plan::Condition;
use crate::policy::telemetry::judge_log;
use crate::reference::{Problem, field, missing, wrong_kind};
use crate::settings::Addresses;
use crate::world::View;

/// Gateway API's reason where parameters cannot be used.
const INVALID: &str = "InvalidParameters";

type Parameters = Object<GatewayParameters>;

/// Judges `spec.infrastructure.parametersRef`.
///
/// # Errors
/// The condition of a Gateway whose parameters cannot be used.
pub(super) fn of_gateway(view: &View<'_>, gateway: &Object<Gateway>, shared: bool) -> Result<(), Condition> {
    const PATH: &str = "spec.infrastructure.parametersRef";
    let owner = &gateway.meta.object;
    let own = judge(view, owner, gateway.spec.infrastructure.parameters_ref.as_ref(), PATH)?;
    let class = class_of(view, gateway);
    if let Some((why, hint)) = own.and_then(|own| unfit(&own.spec, class.as_ref(), shared)) {
        let message = format!("{} {why}", own.map(|own| own.meta.object.to_string()).unwrap_or_default());
        view.tell(Diagnostic::error(owner.clone(), field(PATH), Code::Invalid, message.clone()).hint(hint));
        return Err(Condition::no(INVALID, message));
    }
    match view.settings().addresses {
        Addresses::Bind => Ok(()),
        Addresses::Assigned => lent(view, gateway, own.map(|own| &own.spec), class.as_ref()),
    }
}

/// What the parameters of a Gateway say that they cannot, and the cure.
fn unfit(said: &GatewayParameters, class: Option<&GatewayParameters>, shared: bool) -> Option<(String, &'static str)> {
    if let Some(alone) = said.of_class_alone() {
        return Some((format!("say `{alone}`, which only those of a GatewayClass can"), "let the parameters of the class say it"));
    }
    if shared && *said != (GatewayParameters { service: said.service.clone(), ..GatewayParameters::default() }) {
        let why = "say more than `service`, and its class shares its Envoys: all else is said by the parameters of the class";
        return Some((why.to_owned(), "let the parameters of the class say it"));
    }
    let kept = said.kept_by(class?)?;
    let why = format!("say `{}`, which its class does not leave to Gateways", kept.as_str());
    Some((why, "leave it out, or let the parameters of the class name it in `overridable`"))
}

/// Judges addresses that no load balancer gives: nodes would take what is sent to them, wherever they belong.
fn lent(
    view: &View<'_>,
    gateway: &Object<Gateway>,
    own: Option<&GatewayParameters>,
    class: Option<&GatewayParameters>,
) -> Result<(), Condition> {
    let (ours, Some(class)) = (GatewayParameters::default(), class) else { return Ok(()) };
    let own = own.unwrap_or(&ours);
    let foreign = |address: &GatewayAddress| match address {
        GatewayAddress::Ip(ip) => (!own.may_ask_for(class, *ip)).then_some(*ip),
        GatewayAddress::Hostname(_) | GatewayAddress::Other(..) => None,
    };
    let mut addresses = gateway.spec.addresses.iter().enumerate();
    let Some((index, ip)) = addresses.find_map(|(index, address)| Some((index, foreign(address)?))) else { return Ok(()) };
    let message = format!("no load balancer gives {ip}, and the class lends no network that it is in");
    let path = field(&format!("spec.addresses[{index}]"));
    let told = Diagnostic::error(gateway.meta.object.clone(), path, Code::Unsupported, message.clone());
    view.tell(told.hint("leave it out, or let the parameters of the class name its network in `service.externalAddresses`"));
    Err(Condition::no("UnsupportedAddress", message))
}

/// What the parameters of a Gateway, where they are `fit`, or else those of its class say of its access log.
pub(super) fn access_log(view: &View<'_>, gateway: &Object<Gateway>, fit: bool) -> Option<AccessLog> {
    let own = gateway.spec.infrastructure.parameters_ref.as_ref().filter(|_| fit);
    let own = own.and_then(|reference| found(view, &gateway.meta.object, reference).ok()).and_then(|own| own.spec.access_log.clone());
    own.or_else(|| class_of(view, gateway)?.access_log)
}

/// What the class of a Gateway says; none where nobody knows.
fn class_of(view: &View<'_>, gateway: &Object<Gateway>) -> Option<GatewayParameters> {
    let Some(class) = view.gateway_class(&ObjectKey::new("", gateway.spec.class.clone())) else {
        return Some(GatewayParameters::default());
    };
    match &class.spec.parameters_ref {
        Some(reference) => found(view, &class.meta.object, reference).ok().map(|parameters| parameters.spec.clone()),
        None => Some(GatewayParameters::default()),
    }
}

/// Judges `spec.parametersRef`.
///
/// # Errors
/// The condition of a class whose parameters cannot be used.
pub(super) fn of_class(view: &View<'_>, class: &Object<GatewayClass>) -> Result<(), Condition> {
    judge(view, &class.meta.object, class.spec.parameters_ref.as_ref(), "spec.parametersRef").map(drop)
}

/// Where we do not deploy the proxies, what is said of their deployment is left out.
fn judge<'a>(
    view: &View<'a>,
    owner: &ObjectRef,
    reference: Option<&ObjectReference>,
    path: &str,
) -> Result<Option<&'a Parameters>, Condition> {
    let Some(reference) = reference else { return Ok(None) };
    let warn = |message: String| view.warn(owner, field(path), Code::Unsupported, message);
    let found = match (found(view, owner, reference), view.settings().addresses) {
        (Ok(found), Addresses::Assigned) => found,
        (Ok(found), Addresses::Bind) => {
            if found.spec.says_how_to_deploy() {
                warn(format!("of {} only `accessLog` counts: nobody deploys proxies here", found.meta.object));
            }
            found
        }
        (Err(problem), Addresses::Bind) => {
            warn(format!("parameters are left out: {}", problem.message));
            return Ok(None);
        }
        (Err(problem), Addresses::Assigned) => {
            view.tell(problem.at(owner, field(path)));
            return Err(Condition::no(problem.reason, problem.message));
        }
    };
    found.spec.access_log.iter().for_each(|log| judge_log(view, &found.meta.object, log));
    Ok(Some(found))
}

/// The parameters that are named, or what is wrong with the name.
pub(in crate::gateway) fn found<'a>(view: &View<'a>, owner: &ObjectRef, reference: &ObjectReference) -> Result<&'a Parameters, Problem> {
    let kind = Kind::GatewayParameters;
    if *reference.group != *kind.group() || *reference.kind != *kind.as_str() {
        return Err(wrong_kind(reference, INVALID, "GatewayParameters (group `windrose.dev`)"));
    }
    let namespace = reference.namespace.clone().unwrap_or_else(|| owner.key.namespace.clone());
    let target = ObjectRef::new(kind, namespace, reference.name.clone());
    match view.gateway_parameters(&target.key) {
        Some(parameters) => Ok(parameters),
        None => Err(missing(view, INVALID, &target)),
    }
}
