//! A NAT changed the address that ESP comes from.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ike::Input;
use ike::ids::Spi;
use strongswan::crypto::Protocol;
use strongswan::log;
use strongswan::processing::{Job, Outcome};

use crate::manager::Manager;
use crate::net::Bracketed;

/// Tells the IKE_SA of an SA the peer's new address.
pub(super) struct Mapping {
    pub(super) manager: Arc<Manager>,
    pub(super) protocol: Protocol,
    pub(super) spi: Spi,
    pub(super) destination: IpAddr,
    pub(super) remote: SocketAddr,
}

impl Job for Mapping {
    fn execute(self: Box<Self>) -> Outcome {
        let Self { manager, protocol, spi, destination, remote } = *self;
        match manager.child_of_sa(protocol, spi, destination) {
            Some((ike_sa, _)) => {
                log!(
                    KNL,
                    1,
                    "NAT mappings of CHILD_SA {protocol}/0x{spi}/{destination} changed to {}, queuing update job",
                    Bracketed(remote)
                );
                manager.input(ike_sa, Input::MappingChanged { protocol, spi, remote });
            }
            None => log!(JOB, 1, "CHILD_SA {protocol}/0x{spi}/{destination} not found for update"),
        }
        Outcome::Done
    }
}
