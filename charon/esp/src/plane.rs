//! The path of a packet through both databases (RFC 4301 §5), for either direction.

use std::ops::Range;

use strongswan::clock::MonoTime;
use strongswan::crypto::Rng;
use thiserror::Error;

use crate::ids::{Reqid, SaKey, Spi};
use crate::inbound::{Arrival, DecapError, Decapsulated};
use crate::ip::{Flow, Header, IpError};
use crate::lifetime::Expiry;
use crate::outbound::{EncapError, Path};
use crate::packet::EspPacket;
use crate::sad::{Expired, Sad};
use crate::spd::{Action, Spd};

/// An ESP packet ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// Where in the buffer it is.
    pub range: Range<usize>,
    /// Where it goes.
    pub path: Path,
    /// DSCP and ECN for the outer header.
    pub traffic_class: u8,
    /// A limit that it reached.
    pub expired: Option<Expired>,
}

/// Why an IP packet was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OutboundDrop {
    /// It is no IP packet.
    #[error(transparent)]
    Ip(#[from] IpError),
    /// No policy covers it.
    #[error("no policy covers the packet")]
    NoPolicy(Flow),
    /// A policy says so; or it may go unprotected, but not through here.
    #[error("policy discards the packet")]
    Discard(Flow),
    /// There is no SA. `ask` tells whether to ask for one, which is not repeated for each packet.
    #[error("could not find an outbound IPsec SA for reqid {{{reqid}}}")]
    NoSa {
        /// The policy's reqid.
        reqid: Reqid,
        /// What the SA is needed for.
        flow: Flow,
        /// Whether to ask for it.
        ask: bool,
    },
    /// It is an IKE or ESP packet to the peer of the very tunnel it was routed into.
    #[error("packet belongs to the tunnel itself")]
    Loop,
    /// The SA could not take it.
    #[error("ESP encapsulation failed: {0}")]
    Encap(#[from] EncapError),
}

/// An IP packet that arrived through an SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The SA.
    pub spi: Spi,
    /// The packet, and what it brought about.
    pub decapsulated: Decapsulated,
    /// A limit that it reached.
    pub expired: Option<Expired>,
}

/// Why an ESP packet was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InboundDrop {
    /// It has no ESP header.
    #[error("ESP packet is too short")]
    Short,
    /// No SA has its SPI.
    #[error("no SA with SPI {0:08x}")]
    NoSa(u32),
    /// The SA refused it.
    #[error("SA {0} drops a packet: {1}")]
    Decap(Spi, DecapError),
}

/// Both databases.
#[derive(Debug, Default)]
pub struct Plane {
    /// Security associations.
    pub sad: Sad,
    /// Outbound policies.
    pub spd: Spd,
}

impl Plane {
    /// Encapsulates the IP packet at `packet` in `buf`, with room around it as
    /// [`Outbound::encap`](crate::outbound::Outbound::encap) needs it.
    ///
    /// # Errors
    /// If it must be dropped.
    pub fn encap(
        &self,
        buf: &mut [u8],
        packet: Range<usize>,
        now: MonoTime,
        rng: &mut impl Rng,
    ) -> Result<Departure, OutboundDrop> {
        let header = Header::parse(buf.get(packet.clone()).unwrap_or_default())?;
        let packet = packet.start..packet.start.saturating_add(header.total_len);
        let flow = header.flow;
        let bundle = match self.spd.lookup(&flow) {
            Some(Action::Protect(bundle)) => bundle,
            Some(Action::Bypass | Action::Discard) => return Err(OutboundDrop::Discard(flow)),
            None => return Err(OutboundDrop::NoPolicy(flow)),
        };
        let no_sa = || OutboundDrop::NoSa { reqid: bundle.reqid(), flow, ask: bundle.acquire(now) };
        let sa = bundle.current().ok_or_else(no_sa)?;
        let path = sa.path();
        if carries(&path, &flow) {
            return Err(OutboundDrop::Loop);
        }
        let sealed = match sa.encap(buf, packet, &header, now, rng) {
            Err(EncapError::Expired) => {
                bundle.reelect();
                return Err(no_sa());
            }
            result => result?,
        };
        if sealed.expiry == Some(Expiry::Hard) {
            bundle.reelect();
        }
        let expired = sealed.expiry.map(|expiry| Expired { key: sa.key(), reqid: sa.reqid(), expiry });
        Ok(Departure { range: sealed.range, path, traffic_class: sealed.traffic_class, expired })
    }

    /// Decapsulates the ESP packet in `esp`.
    ///
    /// # Errors
    /// If it must be dropped.
    pub fn decap(&self, esp: &mut [u8], arrival: &Arrival, now: MonoTime) -> Result<Delivery, InboundDrop> {
        let view = EspPacket::new(esp).ok_or(InboundDrop::Short)?;
        let spi = view.spi().ok_or_else(|| InboundDrop::NoSa(view.raw_spi()))?;
        let sa = self.sad.inbound(spi).ok_or_else(|| InboundDrop::NoSa(spi.get()))?;
        let decapsulated = sa.decap(esp, arrival, now).map_err(|error| InboundDrop::Decap(spi, error))?;
        let expired = decapsulated.expiry.map(|expiry| Expired { key: SaKey::Inbound(spi), reqid: sa.reqid(), expiry });
        Ok(Delivery { spi, decapsulated, expired })
    }
}

/// Whether a packet looks like one that goes along `path`: protecting it would produce the next such packet, for ever.
fn carries(path: &Path, flow: &Flow) -> bool {
    const UDP: u8 = 17;
    const ESP: u8 = 50;
    let own = if path.udp {
        flow.protocol == UDP && flow.ports == Some((path.local.port(), path.remote.port()))
    } else {
        flow.protocol == ESP
    };
    own && flow.destination == path.remote.ip() && flow.source == path.local.ip()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use strongswan::crypto::SystemRng;
    use strongswan::selectors::TrafficSelector;

    use super::*;
    use crate::inbound::{Inbound, InboundParams};
    use crate::ip::samples::udp4;
    use crate::lifetime::Limit;
    use crate::outbound::{Outbound, OutboundParams};
    use crate::spd::{Class, Policy};
    use crate::testing::{inbound, outbound, path, reqid, spi};
    use crate::{HEADROOM, TAILROOM};

    const NOW: MonoTime = MonoTime::ZERO;

    fn packet() -> Vec<u8> {
        udp4([10, 1, 0, 1], [10, 2, 0, 1], (1, 2), 100)
    }

    fn send(plane: &Plane, packet: &[u8]) -> Result<(Vec<u8>, Departure), OutboundDrop> {
        let mut buf = [&[0; HEADROOM], packet, &[0; TAILROOM]].concat();
        let departure = plane.encap(&mut buf, HEADROOM..HEADROOM + packet.len(), NOW, &mut SystemRng)?;
        Ok((buf[departure.range.clone()].to_vec(), departure))
    }

    fn receive(plane: &Plane, mut esp: Vec<u8>) -> Result<Vec<u8>, InboundDrop> {
        let arrival = Arrival { remote: path().remote, traffic_class: None };
        let range = plane.decap(&mut esp, &arrival, NOW)?.decapsulated.packet.unwrap();
        Ok(esp[range].to_vec())
    }

    fn protect(plane: &Plane, number: u32) {
        let parse = |text| TrafficSelector::parse(text).unwrap();
        plane.spd.insert(Policy {
            local: parse("10.1.0.0/16"),
            remote: parse("10.2.0.0/16"),
            action: Action::Protect(plane.sad.bundle(reqid(number))),
            class: Class::Default,
            priority: None,
        });
    }

    #[test]
    fn a_packet_crosses_two_planes() {
        let (a, b) = (Plane::default(), Plane::default());
        protect(&a, 1);
        a.sad.insert_outbound(Outbound::new(outbound(1, 0x1001)), NOW).unwrap();
        b.sad.insert_inbound(Inbound::new(inbound(7, 0x1001)), NOW).unwrap();
        let (esp, departure) = send(&a, &packet()).unwrap();
        assert_eq!(departure.path, path());
        assert_eq!(receive(&b, esp).unwrap(), packet());
        assert_eq!(a.sad.usage(SaKey::Outbound(spi(0x1001), path().remote.ip())).unwrap().bytes, 128);
        assert_eq!(b.sad.usage(SaKey::Inbound(spi(0x1001))).unwrap().bytes, 128);
    }

    #[test]
    fn without_policy_or_sa_nothing_leaves() {
        let plane = Plane::default();
        assert!(matches!(send(&plane, &packet()), Err(OutboundDrop::NoPolicy(_))));
        protect(&plane, 1);
        let asked = |result| matches!(result, Err(OutboundDrop::NoSa { ask: true, .. }));
        assert!(asked(send(&plane, &packet())));
        assert!(!asked(send(&plane, &packet())), "asked a moment ago");
        assert!(matches!(send(&plane, &[0x45, 0]), Err(OutboundDrop::Ip(_))));
    }

    #[test]
    fn the_tunnel_does_not_swallow_its_own_packets() {
        let plane = Plane::default();
        let all = TrafficSelector::parse("0.0.0.0/0").unwrap();
        let action = Action::Protect(plane.sad.bundle(reqid(1)));
        plane.spd.insert(Policy { local: all, remote: all, action, class: Class::Default, priority: None });
        plane.sad.insert_outbound(Outbound::new(outbound(1, 0x1001)), NOW).unwrap();
        let own = udp4([192, 0, 2, 1], [192, 0, 2, 2], (4500, 4500), 100);
        assert_eq!(send(&plane, &own).map(|(esp, _)| esp), Err(OutboundDrop::Loop));
        let other = udp4([192, 0, 2, 1], [192, 0, 2, 2], (4501, 4500), 100);
        assert!(send(&plane, &other).is_ok());
    }

    #[test]
    fn unknown_spis_are_named() {
        let plane = Plane::default();
        assert_eq!(receive(&plane, vec![0; 7]), Err(InboundDrop::Short));
        assert_eq!(receive(&plane, vec![0; 40]), Err(InboundDrop::NoSa(0)));
        assert_eq!(receive(&plane, vec![1; 40]), Err(InboundDrop::NoSa(0x0101_0101)));
    }

    #[test]
    fn rekeying_loses_no_packet() {
        let (a, b) = (Plane::default(), Plane::default());
        protect(&a, 1);
        let install = |number| {
            b.sad.insert_inbound(Inbound::new(inbound(1, number)), NOW).unwrap();
            a.sad.insert_outbound(Outbound::new(outbound(1, number)), NOW).unwrap();
        };
        install(0x1001);
        let (under_way, _) = send(&a, &packet()).unwrap();
        install(0x1002);
        protect(&a, 1);
        a.sad.remove(SaKey::Outbound(spi(0x1001), path().remote.ip()));
        assert_eq!(receive(&b, under_way).unwrap(), packet());
        let (esp, _) = send(&a, &packet()).unwrap();
        assert_eq!(esp[..4], 0x1002_u32.to_be_bytes());
        b.sad.remove(SaKey::Inbound(spi(0x1001)));
        assert_eq!(receive(&b, esp).unwrap(), packet());
    }

    #[test]
    fn an_sa_that_ends_hands_over_to_the_older_one() {
        let plane = Plane::default();
        protect(&plane, 1);
        plane.sad.insert_outbound(Outbound::new(outbound(1, 0x1001)), NOW).unwrap();
        let mut short = outbound(1, 0x1002);
        short.lifetime.packets = Limit { soft: None, hard: Some(1) };
        plane.sad.insert_outbound(Outbound::new(short), NOW).unwrap();
        let (_, departure) = send(&plane, &packet()).unwrap();
        assert_eq!(departure.expired.unwrap().expiry, Expiry::Hard);
        let (esp, _) = send(&plane, &packet()).unwrap();
        assert_eq!(esp[..4], 0x1001_u32.to_be_bytes());
    }

    #[test]
    fn threads_share_an_sa() {
        let (a, b) = (Plane::default(), Plane::default());
        protect(&a, 1);
        a.sad.insert_outbound(Outbound::new(OutboundParams { esn: true, ..outbound(1, 0x1001) }), NOW).unwrap();
        let params = InboundParams { esn: true, replay_window: 4096, ..inbound(1, 0x1001) };
        b.sad.insert_inbound(Inbound::new(params), NOW).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let (esp, _) = send(&a, &packet()).unwrap();
                        assert_eq!(receive(&b, esp.clone()).unwrap(), packet());
                        assert!(receive(&b, esp).is_err());
                    }
                });
            }
        });
        assert_eq!(b.sad.usage(SaKey::Inbound(spi(0x1001))).unwrap().packets, 2000);
    }

    #[test]
    fn expiry_by_volume_is_not_repeated_by_time() {
        let plane = Plane::default();
        protect(&plane, 1);
        let mut params = outbound(1, 0x1001);
        params.lifetime.packets.soft = Some(1);
        params.lifetime.time.soft = Some(Duration::from_secs(5));
        plane.sad.insert_outbound(Outbound::new(params), NOW).unwrap();
        assert!(send(&plane, &packet()).unwrap().1.expired.is_some());
        assert_eq!(plane.sad.expire(NOW + Duration::from_secs(6)), None);
    }
}
