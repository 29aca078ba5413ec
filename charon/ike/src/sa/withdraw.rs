//! CHILD_SAs whose configuration was withdrawn, as when a connection is unloaded that had started them.

use std::sync::Arc;

use super::{ChildSaState, IkeSa, IkeSaState};
use crate::env::Env;

impl IkeSa {
    /// Closes the CHILD_SAs of these names and stops creating them. If `close_ike` allows it, and nothing else is left
    /// that needs it, the IKE_SA is closed instead.
    pub(super) fn withdraw(&mut self, env: &mut Env<'_>, names: &[Arc<str>], close_ike: bool) {
        if matches!(self.state, IkeSaState::Deleting | IkeSaState::Destroying | IkeSaState::Rekeyed) {
            return;
        }
        let mut needed = false;
        for task in &mut self.exchanges.active {
            match task.initiation() {
                Some(request) if names.contains(&request.config.name) => task.withdraw(),
                Some(_) => needed = true,
                None => {}
            }
        }
        for mut queued in std::mem::take(&mut self.exchanges.queued) {
            match queued.task.initiation().filter(|request| names.contains(&request.config.name)) {
                Some(request) => {
                    queued.task.abandon(self, env);
                    self.report_child_failed(&request.config);
                }
                None => {
                    needed |= queued.task.initiation().is_some();
                    self.exchanges.queued.push(queued);
                }
            }
        }
        let going = [ChildSaState::Deleting, ChildSaState::Deleted, ChildSaState::Destroying];
        let staying = self.children.iter().filter(|child| !going.contains(&child.state()));
        let (mut withdrawn, mut others) = (Vec::new(), false);
        for child in staying {
            if names.contains(&child.config.name) {
                withdrawn.push(child.unique_id);
            } else {
                others = true;
            }
        }
        if close_ike && !needed && !others {
            return self.terminate(env, false);
        }
        for id in withdrawn {
            self.terminate_child(env, id);
        }
    }
}
