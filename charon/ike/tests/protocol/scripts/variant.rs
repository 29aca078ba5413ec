//! What the two ends of a script are configured like.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::config::{
    Action, ChildConfig, Childless, IkeConfig, IkeLifetimes, Lifetimes, Limit, Mode, PeerConfig, UniquePolicy,
};
use ike::settings::RetransmitSettings;
use strongswan::crypto::Rng;
use strongswan::selectors::{PortRange, TrafficSelector};

use super::extras::Extras;
use crate::certificates;
use crate::sim::config::{End, child, esp_proposals, ike_proposals};
use crate::sim::net::Nat;
use crate::sim::rng::SimRng;
use crate::sim::{A, B, Sim};

/// The outside of the NAT.
const NAT_ADDRESS: &str = "203.0.113.1";

/// One kind of connection and its surroundings.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Only one side initiates, by command or by itself.
    pub one_initiator: bool,
    pub certificates: bool,
    pub unique: [UniquePolicy; 2],
    /// Addresses in the pool of the responder, if the initiator asks for one.
    pub pool: Option<u8>,
    pub small_fragments: bool,
    pub nat: bool,
    pub encap: bool,
    pub pfs: bool,
    /// The two ends prefer different key exchange methods.
    pub other_groups: bool,
    pub childless: [Childless; 2],
    pub transport: bool,
    pub second_child: bool,
    /// Lifetimes of CHILD_SAs: soft limit in seconds.
    pub child_rekey: Option<u64>,
    pub ike_rekey: Option<u64>,
    pub reauth: Option<u64>,
    pub close_action: [Action; 2],
    pub dpd_action: [Action; 2],
    pub keyingtries: u32,
    pub make_before_break: [bool; 2],
    pub cookies: bool,
    pub no_linger: bool,
    pub inactivity: bool,
    /// Calls of the data plane fail during the script.
    pub kernel_failures: bool,
    pub close_on_child_failure: bool,
    pub reuse: bool,
    pub extras: Extras,
}

pub fn pick<T: Copy>(rng: &mut SimRng, from: &[T]) -> T {
    from[usize::try_from(rng.below(from.len().try_into().unwrap())).unwrap()]
}

impl Variant {
    pub fn random(rng: &mut SimRng, extras: Extras) -> Self {
        let actions = [Action::NONE, Action::NONE, Action::TRAP, Action::START];
        let policies = [UniquePolicy::No, UniquePolicy::Replace, UniquePolicy::Never, UniquePolicy::Keep];
        let childless = [Childless::Allow, Childless::Allow, Childless::Prefer, Childless::Force];
        let transport = rng.chance(15);
        let lifetime = |rng: &mut SimRng, percent, from: u64, to: u64| {
            let value = from + rng.below(to - from);
            rng.chance(percent).then_some(value)
        };
        let mut variant = Self {
            one_initiator: rng.chance(60),
            certificates: rng.chance(8),
            unique: [pick(rng, &policies), pick(rng, &policies)],
            pool: (rng.chance(25) && !transport).then(|| u8::try_from(rng.below(4)).unwrap()),
            small_fragments: rng.chance(15),
            nat: rng.chance(25),
            encap: rng.chance(10),
            pfs: rng.chance(50),
            other_groups: rng.chance(10),
            childless: if rng.chance(30) { [pick(rng, &childless), pick(rng, &childless)] } else { Default::default() },
            transport,
            second_child: rng.chance(40),
            child_rekey: lifetime(rng, 50, 20, 120),
            ike_rekey: lifetime(rng, 40, 50, 200),
            reauth: lifetime(rng, 30, 60, 250),
            close_action: [pick(rng, &actions), pick(rng, &actions)],
            dpd_action: [pick(rng, &actions), pick(rng, &actions)],
            keyingtries: pick(rng, &[0, 1, 1, 3]),
            make_before_break: [rng.chance(60), rng.chance(60)],
            cookies: rng.chance(20),
            no_linger: rng.chance(20),
            inactivity: rng.chance(5),
            kernel_failures: rng.chance(10),
            close_on_child_failure: rng.chance(10),
            reuse: rng.chance(70),
            extras,
        };
        variant.one_initiator |= variant.extras.one_initiator();
        variant.extras.eap &= !variant.certificates;
        if let Some((_, mobike)) = &mut variant.extras.moving
            && variant.transport
        {
            // RFC 4555 §1: MOBIKE is for tunnel mode; selectors of transport mode are addresses that would have to change
            *mobike = [false; 2];
        }
        // without delay they live on until their hard lifetime ends, if there is one
        variant.no_linger &= variant.child_rekey.is_none();
        if variant.pool.is_some() || variant.nat {
            // the gateway cannot reach its clients by itself
            variant.one_initiator = true;
        }
        if variant.one_initiator && variant.close_action[A].start {
            // the gateway would recreate what expires, and the client what is closed
            variant.child_rekey = None;
        }
        for host in [A, B] {
            let may_start = host == A || !variant.one_initiator;
            // two IKE_SAs that have one CHILD_SA each: restarting the one that the peer's uniqueness policy closes with its
            // IKE_SA makes another IKE_SA, because of which the other one is closed, for ever
            let rivals = variant.unique.contains(&UniquePolicy::Replace) && variant.second_child;
            let may_restart = may_start && !rivals;
            if !may_restart {
                variant.close_action[host].start = false;
            }
            if !may_start {
                variant.dpd_action[host].start = false;
            }
        }
        variant
    }

    /// The connection of a host.
    fn connection(&self, host: usize, peer: &mut PeerConfig, rng: &mut SimRng) {
        let groups = match (self.other_groups, host) {
            (false, _) => "x25519",
            (true, A) => "x25519-ecp256",
            (true, _) => "ecp256-x25519",
        };
        let additional = self.extras.additional[host].keywords();
        peer.ike = Arc::new(IkeConfig {
            proposals: ike_proposals(&format!("aes128gcm16-prfsha256-{groups}{additional}")),
            childless: self.childless[host],
            encap: self.encap,
            ..IkeConfig::clone(&peer.ike)
        });
        self.extras.connection(host, peer);
        peer.unique = self.unique[host];
        peer.keyingtries = if host == A || !self.one_initiator { self.keyingtries } else { 1 };
        peer.dpd_delay = Duration::from_secs(20 + rng.below(40));
        let seconds = |time: Option<u64>| Duration::from_secs(time.unwrap_or(0));
        peer.lifetimes = IkeLifetimes {
            rekey: seconds(self.ike_rekey),
            reauth: if host == A || !self.one_initiator { seconds(self.reauth) } else { Duration::ZERO },
            over: Duration::from_secs(40),
            rand: Duration::from_secs(20),
        };
        if self.pool.is_some() {
            if host == A {
                peer.vips = vec!["0.0.0.0".parse().unwrap()];
            } else {
                peer.pools = vec!["rw".into()];
            }
        }
        let esp = if self.pfs { format!("aes128gcm16-{groups}{additional}") } else { "aes128gcm16".to_owned() };
        let (mine, theirs) = if host == A { (NETS[0], NETS[1]) } else { (NETS[1], NETS[0]) };
        let names = if self.second_child { &["net", "net2"][..] } else { &["net"] };
        peer.children = names
            .iter()
            .enumerate()
            .map(|(i, name)| {
                let (mine, theirs) = (mine[i], theirs[i]);
                Arc::new(self.child(host, name, &esp, (mine, theirs)))
            })
            .collect();
    }

    fn child(&self, host: usize, name: &str, esp: &str, (mine, theirs): (&'static str, &'static str)) -> ChildConfig {
        let end = |subnet| End { id: "", address: "", subnet };
        let mut config = child(name, &end(mine), &end(theirs));
        config.proposals = esp_proposals(esp);
        let rekey = self.child_rekey.unwrap_or(0);
        let life = if rekey == 0 { 0 } else { rekey + 40 };
        config.lifetimes = Lifetimes { time: Limit { rekey, life, rand: 15.min(rekey) }, ..config.lifetimes };
        config.close_action = self.close_action[host];
        config.dpd_action = self.dpd_action[host];
        if self.inactivity {
            config.inactivity = Duration::from_secs(90);
        }
        let dynamic = || vec![TrafficSelector::dynamic(0, PortRange::ANY)];
        if self.transport {
            config.mode = Mode::Transport;
            let port = |number| PortRange::new(number, number).unwrap();
            let ts = |port| vec![TrafficSelector::dynamic(17, port)];
            let number = if name == "net" { 1000 } else { 2000 };
            (config.local_ts, config.remote_ts) = (ts(port(number)), ts(port(number)));
        }
        if self.pool.is_some() {
            if host == A { config.local_ts = dynamic() } else { config.remote_ts = dynamic() }
        }
        config
    }

    /// Prepares a simulation.
    pub fn apply(&self, sim: &mut Sim) {
        if self.certificates {
            certificates::prepare(sim, A, &certificates::ED25519, &certificates::RSA, true);
            certificates::prepare(sim, B, &certificates::RSA, &certificates::ED25519, true);
        }
        if self.nat {
            sim.net.nat = Some(Nat::new(sim.hosts[A].address, NAT_ADDRESS.parse().unwrap()));
        }
        self.extras.apply(sim);
        let mut rng = sim.rng.fork();
        for host in [A, B] {
            sim.configure_host(host, |peer| self.connection(host, peer, &mut rng));
            let host_rng = &mut rng;
            let end = &mut sim.hosts[host];
            end.settings.make_before_break = self.make_before_break[host];
            end.settings.retransmit =
                RetransmitSettings { timeout: Duration::from_secs(2), tries: 4, jitter: 10, ..Default::default() };
            end.settings.close_ike_on_child_failure = self.close_on_child_failure;
            end.settings.inactivity_close_ike = self.inactivity && host_rng.chance(50);
            end.demand_cookies = self.cookies && host == B;
            end.enforce_lifetimes = true;
            end.reuse_equal = self.reuse;
            if self.small_fragments {
                end.settings.fragment_size.default = 250;
            }
            if self.no_linger {
                end.settings.delete_rekeyed_delay = Duration::ZERO;
            }
        }
        if let Some(count) = self.pool {
            sim.hosts[B].pools.addresses = (1..=count).map(|last| IpAddr::from([10, 77, 0, last])).collect();
        }
    }
}

/// Networks behind the two hosts.
const NETS: [[&str; 2]; 2] = [["10.1.0.0/16", "10.3.0.0/16"], ["10.2.0.0/16", "10.4.0.0/16"]];

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
