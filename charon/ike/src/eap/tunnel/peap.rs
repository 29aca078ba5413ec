//! Packets within EAP-PEAP version 0 (draft-kamath-pppext-peapv0 §1.1, §2): without their header, except for the
//! extensions, in which both ends tell each other the result.
//!
//! ```text
//!  |M|R|        TLV Type           |            Length             |
//!  |  Value ...
//! ```

use crate::eap::packet::{self, MethodType};
use crate::wire::{Eap, EapCode, EapType};

use super::Inside;

/// Length of code, identifier and length.
const HEADER: usize = 4;

const MANDATORY: u16 = 0x8000;
const TYPE: u16 = 0x3fff;

/// The Result TLV.
const RESULT: u16 = 3;
const SUCCESS: u16 = 1;
const FAILURE: u16 = 2;

/// A packet without its header.
pub(super) fn encode(packet: &Eap) -> Vec<u8> {
    packet.as_bytes().get(HEADER..).unwrap_or_default().to_vec()
}

/// The result, as a packet with its header.
pub(super) fn result(code: EapCode, identifier: u8, success: bool) -> Vec<u8> {
    let value = if success { SUCCESS } else { FAILURE };
    let [[t0, t1], [l0, l1], [v0, v1]] = [(MANDATORY | RESULT).to_be_bytes(), 2u16.to_be_bytes(), value.to_be_bytes()];
    let built = packet::build(code, identifier, MethodType::ietf(EapType::MsTlv), &[t0, t1, l0, l1, v0, v1]);
    built.map(|packet| packet.as_bytes().to_vec()).unwrap_or_default()
}

/// A packet with its header again, or the result.
pub(super) fn decode(data: &[u8], code: EapCode, identifier: u8) -> Option<Inside> {
    let extensions = Eap::new(data.to_vec())
        .filter(|packet| packet.code() == code && packet.as_bytes().get(HEADER) == Some(&EapType::MsTlv.number()));
    if let Some(packet) = extensions {
        let tlvs = packet.as_bytes().get(HEADER.saturating_add(1)..)?;
        return read_result(tlvs).map(|success| Inside::Result { success });
    }
    let (kind, data) = data.split_first()?;
    packet::build(code, identifier, MethodType { vendor: 0, kind: (*kind).into() }, data).map(Inside::Packet)
}

/// The result in a list of TLVs, which holds exactly one, and nothing else that has to be understood.
fn read_result(mut tlvs: &[u8]) -> Option<bool> {
    let mut result = None;
    while !tlvs.is_empty() {
        let (kind, rest) = tlvs.split_first_chunk::<2>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let kind = u16::from_be_bytes(*kind);
        match (kind & TYPE, value) {
            (RESULT, [high, low]) if result.is_none() => {
                result = match u16::from_be_bytes([*high, *low]) {
                    SUCCESS => Some(true),
                    FAILURE => Some(false),
                    _ => return None,
                };
            }
            (RESULT, _) => return None,
            _ if kind & MANDATORY != 0 => return None,
            _ => {}
        }
        tlvs = rest;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_lose_their_header_and_get_it_back() {
        let packet = Eap::new(vec![2, 9, 0, 8, 26, 1, 2, 3]).unwrap();
        assert_eq!(encode(&packet), [26, 1, 2, 3]);
        assert_eq!(decode(&[26, 1, 2, 3], EapCode::Response, 9), Some(Inside::Packet(packet)));
        let identity = Eap::new(vec![1, 5, 0, 5, 1]).unwrap();
        assert_eq!(decode(&[1], EapCode::Request, 5), Some(Inside::Packet(identity)));
    }

    #[test]
    fn results() {
        for success in [true, false] {
            for code in [EapCode::Request, EapCode::Response] {
                let packet = result(code, 3, success);
                assert_eq!(packet.len(), 11);
                assert_eq!(decode(&packet, code, 0), Some(Inside::Result { success }));
            }
        }
        assert_eq!(result(EapCode::Request, 3, true), [1, 3, 0, 11, 33, 0x80, 3, 0, 2, 0, 1]);
    }

    #[test]
    fn hostile() {
        assert_eq!(decode(&[], EapCode::Request, 1), None);
        let with = |tlvs: &[u8]| {
            let length = u8::try_from(5 + tlvs.len()).unwrap();
            decode(&[&[1, 1, 0, length, 33], tlvs].concat(), EapCode::Request, 1)
        };
        for tlvs in [
            &[][..],
            &[0x80],
            &[0x80, 3],
            &[0x80, 3, 0],
            &[0x80, 3, 0, 0],
            &[0x80, 3, 0, 1, 1],
            &[0x80, 3, 0, 2, 0],
            &[0x80, 3, 0, 2, 0, 0],
            &[0x80, 3, 0, 2, 0, 3],
            &[0x80, 3, 0, 3, 0, 1, 1],
            &[0x80, 3, 0xff, 0xff, 0, 1],
            &[0x80, 3, 0, 2, 0, 2, 0x80, 3, 0, 2, 0, 1],
            &[0x80, 3, 0, 2, 0, 1, 0x80, 12, 0, 0],
            &[0, 7, 0, 0],
        ] {
            assert_eq!(with(tlvs), None, "{tlvs:?}");
        }
        // what is optional may be there
        assert_eq!(with(&[0x80, 3, 0, 2, 0, 1, 0, 7, 0, 1, 9]), Some(Inside::Result { success: true }));
        // an answer is no request
        let answer = result(EapCode::Response, 1, true);
        assert!(!matches!(decode(&answer, EapCode::Request, 1), Some(Inside::Result { .. })));
    }
}
