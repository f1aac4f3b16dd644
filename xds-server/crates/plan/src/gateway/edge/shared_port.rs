//! What only a whole port can have, where listeners with EdgePolicies of their own share it: one of them decides, and the others are told.

use windrose_vocab::{Code, Diagnostic, Kind};

use super::{At, BoundListener, Spoken};
use crate::policy::edge::{EdgeLimits, effective, own_policies};
use crate::policy::winner;
use crate::reference::field;

impl At<'_, '_> {
    /// What holds for the port: as the first listener by name says whose own policy says anything of it, else as the Gateway says.
    pub(super) fn of_port(self, listeners: &[&BoundListener]) -> EdgeLimits {
        let limits = |one: &BoundListener| effective(self.view, self.gateway, Some(&one.id));
        let general = effective(self.view, self.gateway, None);
        let mut sorted = listeners.to_vec();
        sorted.sort_by(|a, b| a.id.cmp(&b.id));
        let Some(decides) = sorted.iter().find(|one| !limits(one).differ_at_one_port(&general, one.spoken == Spoken::Http).is_empty())
        else {
            return general;
        };
        let decided = limits(decides);
        for one in sorted.iter().filter(|one| one.id != decides.id) {
            let fields = limits(one).differ_at_one_port(&decided, one.spoken == Spoken::Http);
            if !fields.is_empty() {
                self.tell_not_in_force(one, decides, &fields);
            }
        }
        decided
    }

    fn tell_not_in_force(self, one: &BoundListener, decides: &BoundListener, fields: &[&str]) {
        let policy = |listener: &BoundListener| own_policies(self.view, &listener.id).next();
        let own = policy(one).or_else(|| winner(self.view, Kind::EdgePolicy, self.gateway, None));
        let message = match &own {
            Some(_) => format!(
                "{} at listener `{}` is as listener `{}` has it: they share port {}, which has it once",
                fields.join(", "),
                one.id,
                decides.id,
                self.port
            ),
            None => format!("{} holds at listener `{}` too: they share port {}", fields.join(", "), one.id, self.port),
        };
        let Some(object) = own.or_else(|| policy(decides)) else { return };
        let told = Diagnostic::warning(object, field("spec"), Code::Conflicted, message);
        self.view.tell(told.hint("say it in a policy of the Gateway, or give the listeners ports of their own"));
    }
}
