//! Parameters of Gateways and their classes: objects that say more about the proxies than Gateway API does.

use windrose_api::declared::backend::ObjectReference;
use windrose_api::declared::gateway::Gateway;
use windrose_api::declared::{GatewayClass, Object};
use windrose_vocab::{Code, ObjectRef};

use crate::plan::Condition;
use crate::reference::{field, wrong_kind};
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

/// Where we do not deploy the proxies, nobody could follow parameters; where we do, there is no kind of them yet.
fn judge(view: &View<'_>, owner: &ObjectRef, reference: Option<&ObjectReference>, path: &str) -> Result<(), Condition> {
    let Some(reference) = reference else { return Ok(()) };
    match view.settings().addresses {
        Addresses::Bind => {
            view.warn(owner, field(path), Code::Unsupported, "parameters are not supported and left out");
            Ok(())
        }
        Addresses::Assigned => {
            let problem = wrong_kind(reference, "InvalidParameters", "no parameters: there is no kind of them yet");
            view.tell(problem.at(owner, field(path)));
            Err(Condition::no(problem.reason, problem.message))
        }
    }
}
