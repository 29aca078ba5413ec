//! An SA reached a limit.

use std::net::IpAddr;
use std::sync::Arc;

use ike::Input;
use ike::ids::Spi;
use strongswan::crypto::Protocol;
use strongswan::log;
use strongswan::processing::{Job, Outcome};

use crate::manager::Manager;

/// Rekeys the CHILD_SA of an SA, or deletes it if the SA is gone.
pub(super) struct Expire {
    pub(super) manager: Arc<Manager>,
    pub(super) protocol: Protocol,
    pub(super) spi: Spi,
    pub(super) destination: IpAddr,
    pub(super) hard: bool,
}

impl Job for Expire {
    fn execute(self: Box<Self>) -> Outcome {
        let Self { manager, protocol, spi, destination, hard } = *self;
        let wanted = if hard { "delete" } else { "rekey" };
        match manager.child_of_sa(protocol, spi, destination) {
            Some((ike_sa, _)) => {
                log!(KNL, 1, "creating {wanted} job for CHILD_SA {protocol}/0x{spi}/{destination}");
                manager.input(ike_sa, Input::ExpireChild { protocol, spi, hard });
            }
            None => log!(JOB, 1, "CHILD_SA {protocol}/0x{spi}/{destination} not found for {wanted}"),
        }
        Outcome::Done
    }
}
