//! What a script may have beyond the basics of IKEv2: hosts that move about, with and without MOBIKE (RFC 4555), gateways
//! that redirect (RFC 5685), additional key exchanges (RFC 9370), PPKs (RFC 8784) and EAP.
//!
//! All of it comes from a sequence of its own, so that the rest of a seed stays what it was.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::config::{IkeConfig, PeerConfig};
use ike::wire::Gateway;
use strongswan::credentials::{SecretKind, SharedSecret};
use strongswan::crypto::{Rng, Secret};
use strongswan::identity::Identity;

use super::step::{Action, Step};
use super::variant::pick;
use crate::eap;
use crate::sim::rng::SimRng;
use crate::sim::{A, B, Sim};

/// The addresses that hosts may have; the first one is where their peer looks for them.
const PLACES: [[&str; 3]; 2] = [["192.0.2.1", "192.0.2.11", "192.0.2.12"], ["192.0.2.2", "192.0.2.21", "192.0.2.22"]];

/// Whether a host does additional key exchanges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Additional {
    No,
    Optional,
    Required,
}

impl Additional {
    /// What it adds to a proposal.
    pub fn keywords(self) -> &'static str {
        match self {
            Self::No => "",
            Self::Optional => "-ke1_mlkem512-ke1_none",
            Self::Required => "-ke1_mlkem512",
        }
    }
}

/// Whether a host has a PPK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ppk {
    No,
    Optional,
    Required,
}

/// Extensions in use.
#[derive(Clone)]
pub struct Extras {
    /// Hosts that move about, and whether they may use MOBIKE.
    pub moving: Option<([bool; 2], [bool; 2])>,
    /// The gateway has two addresses, and sends its client from one to the other.
    pub redirects: bool,
    pub additional: [Additional; 2],
    pub ppk: [Ppk; 2],
    /// The initiator proves itself with EAP-MSCHAPv2.
    pub eap: bool,
}

impl Extras {
    pub fn random(rng: &mut SimRng) -> Self {
        let moving = rng.chance(25).then(|| {
            let who = pick(rng, &[[true, false], [true, true], [true, true], [false, true]]);
            (who, pick(rng, &[[true, true], [true, true], [true, false], [false, true], [false, false]]))
        });
        let redirects = rng.chance(8) && moving.is_none();
        let (no, optional, required) = (Additional::No, Additional::Optional, Additional::Required);
        let additional = if rng.chance(12) {
            pick(
                rng,
                &[[required, required], [optional, optional], [optional, required], [optional, no], [no, optional]],
            )
        } else {
            [no, no]
        };
        let ppk = if rng.chance(10) {
            let (no, optional, required) = (Ppk::No, Ppk::Optional, Ppk::Required);
            pick(
                rng,
                &[[required, required], [optional, optional], [optional, required], [optional, no], [no, optional]],
            )
        } else {
            [Ppk::No, Ppk::No]
        };
        Self { moving, redirects, additional, ppk, eap: rng.chance(10) }
    }

    /// Whether only one of the hosts can initiate.
    pub fn one_initiator(&self) -> bool {
        self.eap || self.redirects
    }

    /// Puts what only happens with them at random places of a script.
    pub fn add_steps(&self, rng: &mut SimRng, steps: &mut Vec<Step>) {
        let mut add = |rng: &mut SimRng, host, action| {
            let longest = pick(rng, &[1, 50, 1000, 10_000, 60_000]);
            let pause = Duration::from_millis(rng.below(longest));
            // behind the weather and the first initiation
            let places = u64::try_from(steps.len()).unwrap() - 1;
            let at = 2 + usize::try_from(rng.below(places)).unwrap();
            steps.insert(at, Step { pause, host, action });
        };
        if let Some((who, _)) = self.moving {
            for _ in 0..1 + rng.below(5) {
                let movers: Vec<_> = [A, B].into_iter().filter(|host| who[*host]).collect();
                let host = pick(rng, &movers);
                let action = match rng.below(10) {
                    0 => Action::Roam { address: rng.chance(50) },
                    1..3 => Action::LoseRoute { seconds: 1 + rng.below(60) },
                    _ => Action::Move { first: rng.below(3), count: pick(rng, &[0, 1, 1, 1, 2, 2, 3]) },
                };
                add(rng, host, action);
            }
        }
        if self.redirects {
            for _ in 0..1 + rng.below(2) {
                let pick = rng.below(1000);
                add(rng, B, Action::Redirect { pick });
            }
        }
    }

    /// The connection of a host.
    pub fn connection(&self, host: usize, peer: &mut PeerConfig) {
        if let Some((who, mobike)) = self.moving {
            peer.mobike = mobike[host];
            if who[host] {
                peer.ike = Arc::new(IkeConfig { local_addrs: Vec::new(), ..IkeConfig::clone(&peer.ike) });
            }
        }
        if self.ppk[host] != Ppk::No {
            peer.ppk_id = Some(Identity::parse(PPK_ID));
            peer.ppk_required = self.ppk[host] == Ppk::Required;
        }
    }

    /// Prepares a simulation.
    pub fn apply(&self, sim: &mut Sim) {
        if self.eap {
            eap::prepare(sim, "eap-mschapv2", "eap-mschapv2");
        }
        if self.redirects {
            sim.hosts[B].kernel.set_addresses(&addresses(B, 0, 2));
        }
        for host in [A, B] {
            if self.ppk[host] != Ppk::No {
                let secret = Secret::from(&b"known to both"[..]);
                let secret = SharedSecret::new(SecretKind::Ppk, secret, vec![Identity::parse(PPK_ID)]);
                sim.hosts[host].credentials.add_secret(secret);
            }
        }
    }
}

const PPK_ID: &str = "ppk@example.org";

/// So many addresses of a host from the `first`th on.
pub fn addresses(host: usize, first: u64, count: u64) -> Vec<IpAddr> {
    let mut addresses = PLACES[host].map(|address| address.parse().unwrap()).to_vec();
    addresses.rotate_left(usize::try_from(first).unwrap());
    addresses.truncate(usize::try_from(count).unwrap());
    addresses
}

/// The other address of a gateway that redirects.
pub fn other_gateway(current: IpAddr) -> Gateway {
    let other = PLACES[B][..2].iter().find(|address| address.parse::<IpAddr>().unwrap() != current);
    Gateway::parse(other.unwrap()).unwrap()
}

impl fmt::Debug for Extras {
    /// Only what there is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Extras");
        if let Some((who, mobike)) = self.moving {
            text.field("moving", &who).field("mobike", &mobike);
        }
        if self.redirects {
            text.field("redirects", &true);
        }
        if self.additional != [Additional::No; 2] {
            text.field("additional", &self.additional);
        }
        if self.ppk != [Ppk::No; 2] {
            text.field("ppk", &self.ppk);
        }
        if self.eap {
            text.field("eap", &true);
        }
        text.finish()
    }
}
