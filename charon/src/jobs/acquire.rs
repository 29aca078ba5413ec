//! A packet hit a trap.

use std::sync::Arc;

use ike::ids::Reqid;
use strongswan::processing::{Job, Outcome};
use strongswan::selectors::TrafficSelector;

use crate::traps::Traps;

/// Initiates the CHILD_SA of a trap.
pub(super) struct Acquire {
    pub(super) traps: Arc<Traps>,
    pub(super) reqid: Reqid,
    pub(super) source: TrafficSelector,
    pub(super) destination: TrafficSelector,
}

impl Job for Acquire {
    fn execute(self: Box<Self>) -> Outcome {
        let Self { traps, reqid, source, destination } = *self;
        traps.acquire(reqid, source, destination);
        Outcome::Done
    }
}
