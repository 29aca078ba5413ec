//! NAT detection (RFC 7296 §2.23): hashes of the addresses a message was sent from and to.

use std::net::{IpAddr, SocketAddr};

use strongswan::crypto::hash::sha1;
use strongswan::log;

use crate::env::Env;
use crate::ids::IkeSpi;
use crate::sa::{Conditions, Extensions, IkeSa, Path};
use crate::task::TaskType;
use crate::v2::task::{Incoming, Outgoing, Progress, Step, Task};
use crate::wire::{ExchangeType, Notify, NotifyType};

/// NAT detection in IKE_SA_INIT, either role.
#[derive(Debug, Default)]
pub(crate) struct NatDetection {
    /// The peer's hashes were there (as responder: so ours are expected).
    seen: bool,
    /// Our address was not known when the hashes were sent: the peer sees a NAT that may not be there.
    faked: bool,
}

/// The hash of one end; a responder SPI that is not known yet counts as zero.
fn hash(initiator: IkeSpi, responder: Option<IkeSpi>, host: SocketAddr) -> [u8; 20] {
    let port = host.port().to_be_bytes();
    let spis = (initiator.to_bytes(), responder.map_or([0; 8], IkeSpi::to_bytes));
    match host.ip() {
        IpAddr::V4(v4) => sha1(&[&spis.0, &spis.1, &v4.octets(), &port]),
        IpAddr::V6(v6) => sha1(&[&spis.0, &spis.1, &v6.octets(), &port]),
    }
}

/// Adds the hashes of the path in use.
pub(super) fn add_hashes(sa: &IkeSa, env: &mut Env<'_>, message: &mut Outgoing) {
    add_hashes_for(sa, env, message, sa.path());
}

/// Adds the hashes of a path.
pub(super) fn add_hashes_for(sa: &IkeSa, env: &mut Env<'_>, message: &mut Outgoing, path: Path) {
    let header = message.message.header;
    let hash = |host| hash(header.initiator_spi, header.responder_spi, host);
    let source = if sa.forces_encap(env) {
        // an address that cannot match makes the peer see a NAT
        let mut bogus = [0; 20];
        env.rng.fill(&mut bogus);
        bogus
    } else {
        hash(path.local)
    };
    message.push(Notify::with_data(NotifyType::NatDetectionSourceIp, &source));
    message.push(Notify::with_data(NotifyType::NatDetectionDestinationIp, &hash(path.remote)));
}

/// Reads the peer's hashes, and what they say about NATs on the path that the message took. False if there are none.
pub(super) fn read_hashes(sa: &mut IkeSa, env: &Env<'_>, incoming: &Incoming) -> bool {
    let header = incoming.message.header;
    let (mut sources, mut destinations, mut source_ok, mut destination_ok) = (false, false, false, false);
    let expect = |host| hash(header.initiator_spi, header.responder_spi, host);
    let (local, remote) = (expect(incoming.local), expect(incoming.remote));
    for notify in incoming.message.notifies() {
        match notify.kind {
            NotifyType::NatDetectionSourceIp => {
                sources = true;
                source_ok |= notify.data.as_slice() == remote;
            }
            NotifyType::NatDetectionDestinationIp => {
                destinations = true;
                destination_ok |= notify.data.as_slice() == local;
            }
            _ => {}
        }
    }
    if sources && destinations {
        sa.extensions |= Extensions::NATT;
        sa.set_nat(env, !destination_ok, !source_ok);
    }
    sources && destinations
}

impl NatDetection {
    /// Begins the detection. An address that is not known matches nothing, which a NAT would explain; IPv6 has none.
    fn offer(&mut self, sa: &IkeSa, env: &mut Env<'_>, message: &mut Outgoing) {
        self.faked = sa.local.ip().is_unspecified();
        match (self.faked, sa.remote.is_ipv6()) {
            (true, true) => {
                log!(IKE, 1, "unable to determine source address, disabling NAT-D");
                return;
            }
            (true, false) => log!(IKE, 1, "unable to determine source address, faking NAT situation"),
            (false, _) => {}
        }
        add_hashes(sa, env, message);
    }
}

impl Task for NatDetection {
    fn kind(&self) -> TaskType {
        TaskType::IkeNatd
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        match sa.id.role {
            crate::Role::Initiator => {
                if message.exchange() == ExchangeType::IkeSaInit {
                    self.offer(sa, env, message);
                }
                Ok(Progress::More)
            }
            crate::Role::Responder => {
                // an error response refers to no IKE_SA whose path would matter
                if self.seen && message.message.sa().is_some() {
                    add_hashes(sa, env, message);
                }
                Ok(Progress::Done)
            }
        }
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        self.seen |= read_hashes(sa, env, incoming);
        match sa.id.role {
            crate::Role::Responder => Ok(Progress::More),
            crate::Role::Initiator => {
                if self.faked && self.seen && !sa.conditions.nat_any() {
                    // the peer encapsulates, so we have to; MOBIKE ends it once our address is known
                    sa.conditions |= Conditions::NAT_FAKE;
                }
                // with MOBIKE the path may lead through a NAT later
                let mobike = sa.config().is_some_and(|config| config.mobike);
                if sa.conditions.nat_any() || (mobike && self.seen) {
                    sa.float_ports(env);
                }
                Ok(Progress::Done)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_depend_on_every_part() {
        let spi = |n| IkeSpi::new([n; 8]).unwrap();
        let host = SocketAddr::from(([192, 0, 2, 1], 500));
        let base = hash(spi(1), None, host);
        assert_eq!(base, sha1(&[&[1; 8], &[0; 8], &[192, 0, 2, 1], &[1, 0xf4]]));
        assert_ne!(base, hash(spi(2), None, host));
        assert_ne!(base, hash(spi(1), Some(spi(2)), host));
        assert_ne!(base, hash(spi(1), None, SocketAddr::from(([192, 0, 2, 1], 501))));
    }
}
