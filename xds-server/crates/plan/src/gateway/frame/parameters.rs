//! Parameters of Gateways and their classes: objects that say more about the proxies than Gateway API does.

use windrose_api::declared::backend::ObjectReference;
use windrose_api::declared::gateway::Gateway;
use windrose_api::declared::{GatewayClass, Object};
use windrose_vocab::{Code, Kind, ObjectRef};

use crate::plan::Condition;
use crate::reference::{Problem, field, missing, wrong_kind};
use crate::settings::Addresses;
use crate::world::View;

/// Judges `spec.infrastructure.parametersRef`.
///
/// # Errors
/// The condition of a Gateway whose parameters cannot be used.
pub(super) fn of_gateway(view: &View<'_>, gateway: &Object<Gateway>) -> Result<(), Condition> {
    judge(view, &gateway.meta.object, gateway.spec.infrastructure.parameters_ref.as_ref(), "spec.infrastructure.parametersRef")
}

/// Judges `spec.parametersRef`.
///
/// # Errors
/// The condition of a class whose parameters cannot be used.
pub(super) fn of_class(view: &View<'_>, class: &Object<GatewayClass>) -> Result<(), Condition> {
    judge(view, &class.meta.object, class.spec.parameters_ref.as_ref(), "spec.parametersRef")
}

/// Where we do not deploy the proxies, nobody could follow parameters.
fn judge(view: &View<'_>, owner: &ObjectRef, reference: Option<&ObjectReference>, path: &str) -> Result<(), Condition> {
    let Some(reference) = reference else { return Ok(()) };
    match view.settings().addresses {
        Addresses::Bind => {
            view.warn(owner, field(path), Code::Unsupported, "parameters are not supported and left out");
            Ok(())
        }
        Addresses::Assigned => found(view, owner, reference).map_err(|problem| {
            view.tell(problem.at(owner, field(path)));
            Condition::no(problem.reason, problem.message.clone())
        }),
    }
}

fn found(view: &View<'_>, owner: &ObjectRef, reference: &ObjectReference) -> Result<(), Problem> {
    const INVALID: &str = "InvalidParameters";
    let kind = Kind::GatewayParameters;
    if *reference.group != *kind.group() || *reference.kind != *kind.as_str() {
        return Err(wrong_kind(reference, INVALID, "GatewayParameters (group `windrose.dev`)"));
    }
    let namespace = reference.namespace.clone().unwrap_or_else(|| owner.key.namespace.clone());
    let target = ObjectRef::new(kind, namespace, reference.name.clone());
    match view.gateway_parameters(&target.key) {
        Some(_) => Ok(()),
        None => Err(missing(view, INVALID, &target)),
    }
}
