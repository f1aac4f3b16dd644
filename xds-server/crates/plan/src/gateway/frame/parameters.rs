//! Parameters of Gateways and their classes: objects that say more about the proxies than Gateway API does.

use windrose_api::declared::backend::ObjectReference;
use windrose_api::declared::gateway::Gateway;
use windrose_api::declared::{GatewayClass, Object};
use windrose_api::policy::GatewayParameters;
use windrose_vocab::{Code, Kind, ObjectRef};

use crate::plan::Condition;
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
    let Some(parameters) = judge(view, owner, gateway.spec.infrastructure.parameters_ref.as_ref(), PATH)? else { return Ok(()) };
    let said = &parameters.spec;
    let why = if said.fleet.is_some() {
        "say `fleet`, which only those of a GatewayClass can"
    } else if shared && *said != (GatewayParameters { service: said.service.clone(), ..GatewayParameters::default() }) {
        "say more than `service`, and its class shares its Envoys: all else is said by the parameters of the class"
    } else {
        return Ok(());
    };
    let message = format!("{} {why}", parameters.meta.object);
    view.error(owner, field(PATH), Code::Invalid, message.clone());
    Err(Condition::no(INVALID, message))
}

/// Judges `spec.parametersRef`.
///
/// # Errors
/// The condition of a class whose parameters cannot be used.
pub(super) fn of_class(view: &View<'_>, class: &Object<GatewayClass>) -> Result<(), Condition> {
    judge(view, &class.meta.object, class.spec.parameters_ref.as_ref(), "spec.parametersRef").map(drop)
}

/// Where we do not deploy the proxies, nobody could follow parameters.
fn judge<'a>(
    view: &View<'a>,
    owner: &ObjectRef,
    reference: Option<&ObjectReference>,
    path: &str,
) -> Result<Option<&'a Parameters>, Condition> {
    let Some(reference) = reference else { return Ok(None) };
    match view.settings().addresses {
        Addresses::Bind => {
            view.warn(owner, field(path), Code::Unsupported, "parameters are not supported and left out");
            Ok(None)
        }
        Addresses::Assigned => found(view, owner, reference).map(Some).map_err(|problem| {
            view.tell(problem.at(owner, field(path)));
            Condition::no(problem.reason, problem.message.clone())
        }),
    }
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
