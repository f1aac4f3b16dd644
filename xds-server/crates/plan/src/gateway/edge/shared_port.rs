//! What only a whole port can have, where listeners with EdgePolicies of their own share it: one of them decides, and the others are told.

use windrose_vocab::{Code, Diagnostic, Kind};

use super::{At, BoundListener, Spoken};
use crate::policy::edge::{EdgeLimits, effective, own_policies};
use crate::policy::winner;
use crate::reference::field;

impl At<'_, '_> {
    /// What holds for the port: as the first listener by name says whose own policy says anything of it, else as the Gateway says. A listener
    /// of another namespace has a say where no other is at the port.
    pub(super) fn of_port(self, listeners: &[&BoundListener]) -> EdgeLimits {
        let limits = |one: &BoundListener| effective(self.view, self.gateway, Some(&one.id));
        let general = effective(self.view, self.gateway, None);
        let mut sorted = listeners.to_vec();
        sorted.sort_by(|a, b| a.id.cmp(&b.id));
        let has_a_say = |one: &BoundListener| {
            one.id.owner.key.namespace == self.gateway.key.namespace || sorted.iter().all(|other| other.id.owner == one.id.owner)
        };
        let differs = |one: &BoundListener| !limits(one).differ_at_one_port(&general, one.spoken == Spoken::Http).is_empty();
        let decides = sorted.iter().find(|one| has_a_say(one) && differs(one)).copied();
        let decided = decides.map_or_else(|| general.clone(), limits);
        for one in sorted.iter().filter(|one| decides.is_none_or(|decides| one.id != decides.id)) {
            let fields = limits(one).differ_at_one_port(&decided, one.spoken == Spoken::Http);
            if !fields.is_empty() {
                self.tell_not_in_force(one, decides, &fields);
            }
        }
        decided
    }

    fn tell_not_in_force(self, one: &BoundListener, decides: Option<&BoundListener>, fields: &[&str]) {
        let policy = |listener: &BoundListener| own_policies(self.view, &listener.id).next();
        let own = policy(one).or_else(|| winner(self.view, Kind::EdgePolicy, self.gateway, None));
        let (fields, port) = (fields.join(", "), self.port);
        let message = match (&own, decides) {
            (Some(_), Some(decides)) => {
                format!(
                    "{fields} at listener `{}` is as listener `{}` has it: they share port {port}, which has it once",
                    one.id, decides.id
                )
            }
            (Some(_), None) => {
                format!(
                    "{fields} at listener `{}` is as the Gateway has it: listeners of others share port {port}, which has it once",
                    one.id
                )
            }
            (None, _) => format!("{fields} holds at listener `{}` too: they share port {port}", one.id),
        };
        let Some(object) = own.or_else(|| policy(decides?)) else { return };
        let told = Diagnostic::warning(object, field("spec"), Code::Conflicted, message);
        self.view.tell(told.hint("say it in a policy of the Gateway, or give the listeners ports of their own"));
    }
}
