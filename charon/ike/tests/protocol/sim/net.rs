//! The network between the hosts: delay, loss, duplication, reordering, a NAT, and whatever a test scripts.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ike::wire::{Header, PayloadType};
use strongswan::clock::MonoTime;
use strongswan::crypto::Rng;

use super::rng::SimRng;

/// A datagram under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub data: Vec<u8>,
}

impl Datagram {
    /// Its IKE header, if it has one.
    pub fn header(&self) -> Option<Header> {
        Header::parse(&self.data).ok().map(|(header, _)| header)
    }
}

impl fmt::Display for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, data } = self;
        write!(f, "{from} > {to} {} bytes ", data.len())?;
        match Header::parse(data) {
            Ok((header, first)) => {
                let Header { exchange, message_id, initiator_spi, .. } = header;
                let fragment = if first == PayloadType::EncryptedFragment { " fragment" } else { "" };
                write!(f, "{exchange} {} {message_id}{fragment}, SA {initiator_spi}", header.direction())
            }
            Err(error) => write!(f, "{error}"),
        }
    }
}

/// What happens to a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives as the conditions want it.
    Pass,
    /// It is lost.
    Drop,
    /// It arrives twice.
    Duplicate,
    /// It takes this much longer.
    Delay(Duration),
}

/// How good the network is.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// Loss in percent.
    pub loss: u64,
    /// Duplicates in percent.
    pub duplication: u64,
    /// Datagrams that are followed by a copy with one byte changed, in percent.
    pub corruption: u64,
    /// Shortest delay.
    pub delay: Duration,
    /// What is randomly added to it; more than the distance of two datagrams reorders them.
    pub jitter: Duration,
}

impl Conditions {
    /// Nothing is lost, everything takes 10 ms.
    pub const PERFECT: Self =
        Self { loss: 0, duplication: 0, corruption: 0, delay: Duration::from_millis(10), jitter: Duration::ZERO };

    /// 20 % loss, duplicates, and delays that reorder.
    pub const BAD: Self = Self {
        loss: 20,
        duplication: 10,
        corruption: 0,
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(300),
    };
}

type Filter = Box<dyn FnMut(&Datagram) -> Fate>;

/// The network.
pub struct Network {
    pub conditions: Conditions,
    pub nat: Option<Nat>,
    rng: SimRng,
    filter: Option<Filter>,
    sequence: u64,
    in_flight: BTreeMap<(MonoTime, u64), Datagram>,
}

impl Network {
    pub fn new(rng: SimRng) -> Self {
        Self { conditions: Conditions::PERFECT, nat: None, rng, filter: None, sequence: 0, in_flight: BTreeMap::new() }
    }

    /// Lets `filter` decide about each datagram that is sent from now on, before chance does.
    pub fn script(&mut self, filter: impl FnMut(&Datagram) -> Fate + 'static) {
        self.filter = Some(Box::new(filter));
    }

    /// Ends [`Self::script`].
    pub fn unscript(&mut self) {
        self.filter = None;
    }

    /// Accepts a datagram; returns what becomes of it.
    pub fn send(&mut self, now: MonoTime, datagram: Datagram) -> &'static str {
        let fate = match &mut self.filter {
            Some(filter) => filter(&datagram),
            None => Fate::Pass,
        };
        let Some(datagram) = (match &mut self.nat {
            Some(nat) => nat.translate(datagram),
            None => Some(datagram),
        }) else {
            return "no NAT mapping";
        };
        if fate == Fate::Drop || self.rng.chance(self.conditions.loss) {
            return "lost";
        }
        let extra = if let Fate::Delay(extra) = fate { extra } else { Duration::ZERO };
        let twice = fate == Fate::Duplicate || self.rng.chance(self.conditions.duplication);
        for _ in 0..if twice { 2 } else { 1 } {
            self.enqueue(now + extra, datagram.clone());
        }
        if self.rng.chance(self.conditions.corruption) {
            let mut corrupted = datagram;
            let at = usize::try_from(self.rng.below(corrupted.data.len().try_into().unwrap())).unwrap();
            corrupted.data[at] ^= u8::try_from(1 + self.rng.below(255)).unwrap();
            self.enqueue(now + extra, corrupted);
        }
        if twice { "duplicated" } else { "sent" }
    }

    fn enqueue(&mut self, now: MonoTime, datagram: Datagram) {
        let jitter = self.rng.below(u64::try_from(self.conditions.jitter.as_micros()).unwrap_or(0));
        let arrival = now + self.conditions.delay + Duration::from_micros(jitter);
        self.sequence += 1;
        self.in_flight.insert((arrival, self.sequence), datagram);
    }

    /// Loses everything that is under way.
    pub fn clear(&mut self) {
        self.in_flight.clear();
    }

    /// When the next datagram arrives.
    pub fn next_arrival(&self) -> Option<MonoTime> {
        self.in_flight.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next datagram that has arrived by `now`.
    pub fn receive(&mut self, now: MonoTime) -> Option<Datagram> {
        let first = self.in_flight.first_entry()?;
        if first.key().0 > now { None } else { Some(first.remove()) }
    }
}

/// A NAT in front of one host.
#[derive(Debug, Clone)]
pub struct Nat {
    inside: IpAddr,
    outside: IpAddr,
    next_port: u16,
    /// Inner port to outer port.
    mappings: HashMap<u16, u16>,
}

impl Nat {
    pub fn new(inside: IpAddr, outside: IpAddr) -> Self {
        Self { inside, outside, next_port: 20_000, mappings: HashMap::new() }
    }

    /// Forgets its mappings, as a restarted router does.
    pub fn restart(&mut self) {
        self.mappings.clear();
    }

    fn translate(&mut self, mut datagram: Datagram) -> Option<Datagram> {
        if datagram.from.ip() == self.inside {
            let port = *self.mappings.entry(datagram.from.port()).or_insert_with(|| {
                self.next_port += 1;
                self.next_port
            });
            datagram.from = SocketAddr::new(self.outside, port);
        } else if datagram.to.ip() == self.outside {
            let (inner, _) = self.mappings.iter().find(|(_, outer)| **outer == datagram.to.port())?;
            datagram.to = SocketAddr::new(self.inside, *inner);
        } else if datagram.to.ip() == self.inside {
            // Not reachable from outside.
            return None;
        }
        Some(datagram)
    }
}
