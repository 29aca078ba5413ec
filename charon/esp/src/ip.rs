//! What ESP needs to know of the packets it carries: family, length, traffic class and the selector fields
//! (RFC 4301 §4.4.1.1), read from an IPv4 or IPv6 header without trusting a single length in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use strongswan::host::Family;
use thiserror::Error;

/// Extension headers that may precede the upper-layer header; a longer chain is not worth walking.
const MAX_EXTENSION_HEADERS: usize = 8;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const DCCP: u8 = 33;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// Why bytes are not an IP packet that could be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IpError {
    /// Neither IPv4 nor IPv6.
    #[error("IP version is neither 4 nor 6")]
    Version,
    /// A header or its length field reaches beyond the packet.
    #[error("IP packet is truncated")]
    Truncated,
    /// A header length is below its minimum.
    #[error("IP header is malformed")]
    Malformed,
    /// More extension headers than anyone sends.
    #[error("too many IPv6 extension headers")]
    TooManyHeaders,
}

/// The fields of a packet that selectors are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Upper-layer protocol.
    pub protocol: u8,
    /// Source and destination port, if the packet shows them: a fragment other than the first does not, and most
    /// protocols have none. For ICMP both are `type << 8 | code` (RFC 7296 §3.13.1).
    pub ports: Option<(u16, u16)>,
}

/// An IP packet's header, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Version.
    pub family: Family,
    /// Length of the packet by its own account, at most that of the bytes parsed.
    pub total_len: usize,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// IPv4: the don't-fragment flag. IPv6 packets are never fragmented on the way.
    pub dont_fragment: bool,
    /// Selector fields.
    pub flow: Flow,
}

impl Header {
    /// Parses the header of `packet`, which may be followed by padding.
    ///
    /// # Errors
    /// If it is no well-formed IP packet.
    pub fn parse(packet: &[u8]) -> Result<Self, IpError> {
        match packet.first().map(|first| first >> 4) {
            Some(4) => parse_v4(packet),
            Some(6) => parse_v6(packet),
            Some(_) => Err(IpError::Version),
            None => Err(IpError::Truncated),
        }
    }
}

fn parse_v4(packet: &[u8]) -> Result<Header, IpError> {
    let (fixed, _) = packet.split_first_chunk::<20>().ok_or(IpError::Truncated)?;
    let [version_ihl, traffic_class, len1, len0, _, _, frag1, frag0, _, protocol, _, _, addresses @ ..] = *fixed;
    let [s3, s2, s1, s0, d3, d2, d1, d0] = addresses;
    let header_len = usize::from(version_ihl & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([len1, len0]));
    if header_len < 20 || total_len < header_len {
        return Err(IpError::Malformed);
    }
    let payload = packet.get(header_len..total_len).ok_or(IpError::Truncated)?;
    let fragment = u16::from_be_bytes([frag1, frag0]);
    let flow = Flow {
        source: Ipv4Addr::new(s3, s2, s1, s0).into(),
        destination: Ipv4Addr::new(d3, d2, d1, d0).into(),
        protocol,
        ports: if fragment & 0x1fff == 0 { ports(protocol, payload) } else { None },
    };
    Ok(Header { family: Family::Ipv4, total_len, traffic_class, dont_fragment: fragment & 0x4000 != 0, flow })
}

fn parse_v6(packet: &[u8]) -> Result<Header, IpError> {
    let (fixed, rest) = packet.split_first_chunk::<40>().ok_or(IpError::Truncated)?;
    let [v0, v1, _, _, len1, len0, next, _, addresses @ ..] = *fixed;
    let (source, destination) = addresses.split_first_chunk::<16>().ok_or(IpError::Truncated)?;
    let destination = <[u8; 16]>::try_from(destination).map_err(|_| IpError::Truncated)?;
    let payload_len = usize::from(u16::from_be_bytes([len1, len0]));
    let payload = rest.get(..payload_len).ok_or(IpError::Truncated)?;
    let (protocol, ports) = upper_layer(next, payload)?;
    Ok(Header {
        family: Family::Ipv6,
        total_len: fixed.len().saturating_add(payload_len),
        traffic_class: (v0 << 4) | (v1 >> 4),
        dont_fragment: true,
        flow: Flow {
            source: Ipv6Addr::from(*source).into(),
            destination: Ipv6Addr::from(destination).into(),
            protocol,
            ports,
        },
    })
}

/// Walks IPv6 extension headers to the protocol that selectors are about, and its ports.
fn upper_layer(mut protocol: u8, mut payload: &[u8]) -> Result<(u8, Option<(u16, u16)>), IpError> {
    for _ in 0..=MAX_EXTENSION_HEADERS {
        let len = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => extension_len(payload)?.saturating_add(1).saturating_mul(8),
            AUTHENTICATION => extension_len(payload)?.saturating_add(2).saturating_mul(4),
            FRAGMENT => {
                let &[next, _, offset1, offset0, _, _, _, _, ..] = payload else { return Err(IpError::Truncated) };
                if u16::from_be_bytes([offset1, offset0]) & 0xfff8 != 0 {
                    // What follows is the middle of something: its protocol is all that is known.
                    return Ok((next, None));
                }
                8
            }
            _ => return Ok((protocol, ports(protocol, payload))),
        };
        protocol = *payload.first().ok_or(IpError::Truncated)?;
        payload = payload.get(len..).ok_or(IpError::Truncated)?;
    }
    Err(IpError::TooManyHeaders)
}

fn extension_len(header: &[u8]) -> Result<usize, IpError> {
    header.get(1).map(|len| usize::from(*len)).ok_or(IpError::Truncated)
}

fn ports(protocol: u8, payload: &[u8]) -> Option<(u16, u16)> {
    match (protocol, payload) {
        (TCP | UDP | UDP_LITE | SCTP | DCCP, &[s1, s0, d1, d0, ..]) => {
            Some((u16::from_be_bytes([s1, s0]), u16::from_be_bytes([d1, d0])))
        }
        (ICMP | ICMPV6, &[kind, code, ..]) => {
            let both = u16::from_be_bytes([kind, code]);
            Some((both, both))
        }
        _ => None,
    }
}

/// Writes DSCP and ECN of an IP packet and keeps an IPv4 header checksum right.
pub(crate) fn set_traffic_class(packet: &mut [u8], class: u8) {
    match packet {
        [version, old, ..] if *version >> 4 == 4 => {
            let before = u16::from_be_bytes([*version, *old]);
            let after = u16::from_be_bytes([*version, class]);
            *old = class;
            if let Some([c1, c0]) = packet.get_mut(10..12) {
                [*c1, *c0] = adjusted(u16::from_be_bytes([*c1, *c0]), before, after).to_be_bytes();
            }
        }
        [v0, v1, ..] if *v0 >> 4 == 6 => {
            *v0 = (*v0 & 0xf0) | (class >> 4);
            *v1 = (*v1 & 0x0f) | (class << 4);
        }
        _ => {}
    }
}

/// The Internet checksum after one word of the data changed (RFC 1624, equation 3).
fn adjusted(sum: u16, before: u16, after: u16) -> u16 {
    !fold(u32::from(!sum) + u32::from(!before) + u32::from(after))
}

fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    !fold(words.sum())
}

#[cfg(test)]
pub(crate) mod samples {
    //! Packets for the tests of this crate.

    /// A UDP packet over IPv4 with correct lengths and `payload` bytes.
    pub(crate) fn udp4(source: [u8; 4], destination: [u8; 4], ports: (u16, u16), payload: usize) -> Vec<u8> {
        let len = u16::try_from(28 + payload).unwrap();
        let mut packet = vec![0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, 17, 0, 0];
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        packet.extend_from_slice(&source);
        packet.extend_from_slice(&destination);
        let sum = super::checksum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet.extend_from_slice(&ports.0.to_be_bytes());
        packet.extend_from_slice(&ports.1.to_be_bytes());
        packet.extend_from_slice(&(len - 20).to_be_bytes());
        packet.extend_from_slice(&[0, 0]);
        packet.extend((0..payload).map(|i| u8::try_from(i % 251).unwrap()));
        packet
    }

    /// A UDP packet over IPv6.
    pub(crate) fn udp6(source: u128, destination: u128, ports: (u16, u16), payload: usize) -> Vec<u8> {
        let len = u16::try_from(8 + payload).unwrap();
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, 17, 64];
        packet[4..6].copy_from_slice(&len.to_be_bytes());
        packet.extend_from_slice(&source.to_be_bytes());
        packet.extend_from_slice(&destination.to_be_bytes());
        packet.extend_from_slice(&ports.0.to_be_bytes());
        packet.extend_from_slice(&ports.1.to_be_bytes());
        packet.extend_from_slice(&len.to_be_bytes());
        packet.extend_from_slice(&[0, 0]);
        packet.extend((0..payload).map(|i| u8::try_from(i % 251).unwrap()));
        packet
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::samples::{udp4, udp6};
    use super::*;

    #[test]
    fn reads_udp_over_ipv4() {
        let mut packet = udp4([10, 1, 0, 5], [10, 2, 0, 9], (4000, 53), 4);
        packet.extend_from_slice(&[0; 9]);
        let header = Header::parse(&packet).unwrap();
        assert_eq!((header.family, header.total_len, header.traffic_class), (Family::Ipv4, 32, 0));
        assert!(header.dont_fragment);
        assert_eq!(header.flow.source, IpAddr::from([10, 1, 0, 5]));
        assert_eq!(header.flow.destination, IpAddr::from([10, 2, 0, 9]));
        assert_eq!((header.flow.protocol, header.flow.ports), (17, Some((4000, 53))));
    }

    #[test]
    fn later_fragments_have_no_ports() {
        let mut packet = udp4([10, 1, 0, 5], [10, 2, 0, 9], (4000, 53), 4);
        packet[6..8].copy_from_slice(&[0x00, 0x01]);
        assert_eq!(Header::parse(&packet).unwrap().flow.ports, None);
        packet[6..8].copy_from_slice(&[0x20, 0x00]);
        assert_eq!(Header::parse(&packet).unwrap().flow.ports, Some((4000, 53)));
    }

    #[test]
    fn icmp_type_and_code_stand_for_ports() {
        let mut packet = udp4([10, 1, 0, 5], [10, 2, 0, 9], (0x0800, 0), 4);
        packet[9] = 1;
        assert_eq!(Header::parse(&packet).unwrap().flow.ports, Some((0x0800, 0x0800)));
    }

    #[test]
    fn walks_ipv6_extension_headers() {
        let mut packet = udp6(1, 2, (5, 6), 0);
        packet[6] = HOP_BY_HOP;
        packet[5] = 8 + 16;
        // Hop-by-hop of 16 bytes, then UDP.
        let mut options = vec![UDP, 1];
        options.resize(16, 0);
        packet.splice(40..40, options);
        assert_eq!(Header::parse(&packet).unwrap().flow.ports, Some((5, 6)));
        // The same header as a fragment header that is not the first.
        packet[6] = FRAGMENT;
        packet[42..44].copy_from_slice(&[0, 8]);
        let flow = Header::parse(&packet).unwrap().flow;
        assert_eq!((flow.protocol, flow.ports), (UDP, None));
    }

    #[test]
    fn an_endless_chain_is_refused() {
        let mut packet = udp6(1, 2, (5, 6), 0);
        packet[6] = DESTINATION_OPTIONS;
        packet.truncate(40);
        packet.extend([DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0].repeat(20));
        packet[5] = 160;
        assert_eq!(Header::parse(&packet), Err(IpError::TooManyHeaders));
    }

    #[test]
    fn lengths_are_not_trusted() {
        let packet = udp4([1, 1, 1, 1], [2, 2, 2, 2], (1, 2), 0);
        for len in 0..packet.len() {
            assert_eq!(Header::parse(&packet[..len]), Err(IpError::Truncated), "{len}");
        }
        let mut short = packet.clone();
        short[0] = 0x44;
        assert_eq!(Header::parse(&short), Err(IpError::Malformed));
        short[0] = 0x55;
        assert_eq!(Header::parse(&short), Err(IpError::Version));
        let mut small = packet;
        small[3] = 19;
        assert_eq!(Header::parse(&small), Err(IpError::Malformed));
    }

    #[test]
    fn ecn_is_set_and_the_checksum_follows() {
        let mut packet = udp4([10, 1, 0, 5], [10, 2, 0, 9], (4000, 53), 0);
        packet[1] = 0x2a;
        packet[10..12].copy_from_slice(&[0, 0]);
        let sum = checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        set_traffic_class(&mut packet, 0x2b);
        assert_eq!(packet[1], 0x2b);
        assert_eq!(checksum(&packet[..20]), 0);

        let mut packet = udp6(1, 2, (5, 6), 0);
        set_traffic_class(&mut packet, 0xb9);
        assert_eq!(Header::parse(&packet).unwrap().traffic_class, 0xb9);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), six in any::<bool>()) {
            if let Some(first) = bytes.first_mut() {
                *first = if six { 0x60 } else { 0x40 | (*first & 0x0f) };
            }
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert!(header.total_len <= bytes.len());
            }
            set_traffic_class(&mut bytes, 3);
        }
    }
}
