//! Addresses of this machine, or the ways to others, changed.

use std::sync::Arc;

use ike::Input;
use strongswan::log;
use strongswan::processing::{Job, Outcome};

use crate::manager::Manager;

/// Has every IKE_SA see whether it still reaches its peer.
pub(super) struct Roam {
    pub(super) manager: Arc<Manager>,
    pub(super) address: bool,
}

impl Job for Roam {
    fn execute(self: Box<Self>) -> Outcome {
        let Self { manager, address } = *self;
        let ids = manager.ike_sas();
        let what = if address { "address/link" } else { "route" };
        log!(KNL, 2, "roaming {} IKE_SAs due to {what} change", ids.len());
        // an IKE_SA that is being worked on is told later, and asks for itself
        manager.kernel().look_up_once(&mut || {
            for id in &ids {
                manager.input(*id, Input::Roam { address });
            }
        });
        Outcome::Done
    }
}
