//! Traffic Selectors, TSi and TSr (RFC 7296 §3.13), with security labels (RFC 9478).
//!
//! ```text
//!  | Number of TSs |                 RESERVED                      |
//!  |   TS Type     |IP Protocol ID*|       Selector Length         |
//!  |           Start Port*         |           End Port*           |
//!  ~                         Starting Address*                     ~
//!  ~                         Ending Address*                       ~
//! ```

use std::net::IpAddr;

use strongswan::selectors::TrafficSelector;

use crate::wire::error::Malformed;
use crate::wire::reader::Reader;
use crate::wire::registry::TsType;
use crate::wire::writer::Writer;

/// The selectors of one end. Types we do not know are skipped on receipt: narrowing may leave them out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ts {
    /// Address, protocol and port ranges.
    pub selectors: Vec<TrafficSelector>,
    /// Security labels.
    pub labels: Vec<Vec<u8>>,
}

impl Ts {
    /// The payload counts its selectors in one byte.
    pub const MAX_SELECTORS: usize = 255;

    /// A payload of ranges alone.
    pub fn new(selectors: Vec<TrafficSelector>) -> Self {
        Self { selectors, labels: Vec::new() }
    }

    pub(super) fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = r.u8()?;
        r.take(3)?;
        let mut ts = Self::default();
        for _ in 0..count {
            let kind = TsType::from(r.u8()?);
            let protocol = r.u8()?;
            let len = usize::from(r.u16()?).checked_sub(4).ok_or(Malformed::LengthTooSmall)?;
            let mut body = r.sub(len)?;
            match kind {
                TsType::Ipv4AddrRange => ts.selectors.push(range::<4>(protocol, &mut body)?),
                TsType::Ipv6AddrRange => ts.selectors.push(range::<16>(protocol, &mut body)?),
                TsType::SecLabel if len == 0 => return Err(Malformed::InvalidLength),
                TsType::SecLabel => ts.labels.push(body.rest().to_vec()),
                TsType::FcAddrRange | TsType::Unknown(_) => {}
            }
        }
        r.expect_end().map_err(|_| Malformed::CountMismatch)?;
        Ok(ts)
    }

    pub(super) fn emit(&self, w: &mut Writer) {
        w.len8(self.selectors.len().saturating_add(self.labels.len()));
        w.bytes(&[0; 3]);
        for ts in &self.selectors {
            let kind = match ts.start() {
                IpAddr::V4(_) => TsType::Ipv4AddrRange,
                IpAddr::V6(_) => TsType::Ipv6AddrRange,
            };
            let mark = w.begin(kind.number(), ts.protocol());
            w.u16(ts.start_port());
            w.u16(ts.end_port());
            for address in [ts.start(), ts.end()] {
                match address {
                    IpAddr::V4(v4) => w.bytes(&v4.octets()),
                    IpAddr::V6(v6) => w.bytes(&v6.octets()),
                }
            }
            w.end(mark);
        }
        for label in &self.labels {
            let mark = w.begin(TsType::SecLabel.number(), 0);
            w.bytes(label);
            w.end(mark);
        }
    }
}

/// Ports and addresses of `N` bytes each.
fn range<const N: usize>(protocol: u8, r: &mut Reader<'_>) -> Result<TrafficSelector, Malformed>
where
    IpAddr: From<[u8; N]>,
{
    let (start_port, end_port) = (r.u16()?, r.u16()?);
    let (start, end) = (IpAddr::from(r.array()?), IpAddr::from(r.array()?));
    r.expect_end()?;
    TrafficSelector::new(protocol, start, end, start_port, end_port).map_err(|_| Malformed::InvertedRange)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_payload, parse_error};
    use super::*;
    use crate::wire::{Payload, PayloadType};

    fn error(bytes: &[u8]) -> Malformed {
        parse_error(PayloadType::TsI, bytes)
    }

    const V4: &[u8] = &[1, 0, 0, 0, 7, 6, 0, 16, 0, 80, 0, 80, 10, 1, 0, 0, 10, 1, 255, 255];

    fn changed(at: usize, value: u8) -> Vec<u8> {
        let mut bytes = V4.to_vec();
        bytes[at] = value;
        bytes
    }

    #[test]
    fn bytes() {
        let ts = Ts::new(vec![TrafficSelector::parse("10.1.0.0/16[tcp/80]").unwrap()]);
        check_payload(Payload::TsI(ts.clone()), V4);
        check_payload(Payload::TsR(ts), V4);
        let v6 = Ts::new(vec![TrafficSelector::parse("2001:db8::/32").unwrap()]);
        let mut bytes = vec![1, 0, 0, 0, 8, 0, 0, 40, 0, 0, 255, 255, 0x20, 0x01, 0x0d, 0xb8];
        bytes.resize(28, 0);
        bytes.extend([0x20, 0x01, 0x0d, 0xb8]);
        bytes.resize(44, 0xff);
        check_payload(Payload::TsI(v6), &bytes);
        let labelled = Ts { selectors: vec![], labels: vec![b"sys\0".to_vec()] };
        check_payload(Payload::TsR(labelled), &[1, 0, 0, 0, 10, 0, 0, 8, b's', b'y', b's', 0]);
    }

    #[test]
    fn opaque_ports_are_a_range_of_their_own() {
        let mut bytes = V4.to_vec();
        bytes[8..12].copy_from_slice(&[0xff, 0xff, 0, 0]);
        let ts = Ts::parse(&mut Reader::new(&bytes)).unwrap();
        assert_eq!((ts.selectors[0].start_port(), ts.selectors[0].end_port()), (65535, 0));
    }

    #[test]
    fn unknown_types_are_skipped() {
        assert_eq!(Ts::parse(&mut Reader::new(&[1, 0, 0, 0, 99, 0, 0, 5, 1])).unwrap(), Ts::default());
    }

    #[test]
    fn broken_structures_are_named() {
        assert_eq!(error(&V4[..3]), Malformed::Truncated);
        assert_eq!(error(&changed(0, 2)), Malformed::Truncated);
        assert_eq!(error(&changed(0, 0)), Malformed::CountMismatch);
        assert_eq!(error(&changed(7, 3)), Malformed::LengthTooSmall);
        assert_eq!(error(&changed(7, 15)), Malformed::Truncated);
        assert_eq!(error(&[V4, &[0]].concat()), Malformed::CountMismatch);
        let mut longer = [V4, &[0]].concat();
        longer[7] = 17;
        assert_eq!(error(&longer), Malformed::TrailingBytes);
        assert_eq!(error(&changed(9, 81)), Malformed::InvertedRange);
        assert_eq!(error(&changed(12, 11)), Malformed::InvertedRange);
        assert_eq!(error(&[1, 0, 0, 0, 10, 0, 0, 4]), Malformed::InvalidLength);
    }
}
