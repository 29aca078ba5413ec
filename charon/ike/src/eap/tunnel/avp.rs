//! Attributes within EAP-TTLS (RFC 5281 §10.1): those of Diameter, of which EAP-Message is the only one of use here.
//!
//! ```text
//!  |                           AVP Code                            |
//!  |V M r r r r r r|                  AVP Length                   |
//!  |                        Vendor-ID (if V)                       |
//!  |    Data, and padding up to four bytes ...
//! ```

use thiserror::Error;

/// EAP-Message.
const EAP_MESSAGE: u32 = 79;

const VENDOR: u8 = 0x80;
const MANDATORY: u8 = 0x40;

const HEADER: usize = 8;
const ALIGNMENT: usize = 4;

/// What is wrong with attributes.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub(super) enum AvpError {
    /// One is longer than what there is, or shorter than its header.
    #[error("AVP length does not match")]
    Length,
    /// One that has to be understood is not.
    #[error("mandatory AVP {0} not supported")]
    Mandatory(u32),
    /// There is no EAP-Message.
    #[error("no EAP-Message AVP")]
    Missing,
}

/// An EAP-Message with a packet.
pub(super) fn encode(packet: &[u8]) -> Vec<u8> {
    let length = packet.len().saturating_add(HEADER);
    let mut out = EAP_MESSAGE.to_be_bytes().to_vec();
    // a packet has a length of two bytes of its own, so this fits into three
    let [_, low @ ..] = u32::try_from(length).unwrap_or(0).to_be_bytes();
    out.push(MANDATORY);
    out.extend(low);
    out.extend(packet);
    out.resize(length.next_multiple_of(ALIGNMENT), 0);
    out
}

/// The packet in the EAP-Messages of `data`. Others that need not be understood are left out.
pub(super) fn decode(mut data: &[u8]) -> Result<Vec<u8>, AvpError> {
    let mut packet = Vec::new();
    while !data.is_empty() {
        let (code, rest) = data.split_first_chunk::<4>().ok_or(AvpError::Length)?;
        let (flags, rest) = rest.split_first().ok_or(AvpError::Length)?;
        let (length, _) = rest.split_first_chunk::<3>().ok_or(AvpError::Length)?;
        let [l0, l1, l2] = *length;
        let length = usize::try_from(u32::from_be_bytes([0, l0, l1, l2])).map_err(|_| AvpError::Length)?;
        let body = data.get(HEADER..length).ok_or(AvpError::Length)?;
        let (vendor, body) = match flags & VENDOR {
            0 => (0, body),
            _ => {
                let (vendor, body) = body.split_first_chunk::<4>().ok_or(AvpError::Length)?;
                (u32::from_be_bytes(*vendor), body)
            }
        };
        let code = u32::from_be_bytes(*code);
        if code == EAP_MESSAGE && vendor == 0 {
            packet.extend(body);
        } else if flags & MANDATORY != 0 {
            return Err(AvpError::Mandatory(code));
        }
        // the last one is not always padded
        data = data.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    if packet.is_empty() { Err(AvpError::Missing) } else { Ok(packet) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        for len in 1..20u8 {
            let packet: Vec<u8> = (0..len).collect();
            let encoded = encode(&packet);
            assert_eq!(encoded.len() % 4, 0);
            assert_eq!(decode(&encoded), Ok(packet));
        }
        assert_eq!(encode(b"abcde"), *b"\0\0\0\x4f\x40\0\0\x0dabcde\0\0\0");
        assert_eq!(decode(b"\0\0\0\x4f\x40\0\0\x0dabcde"), Ok(b"abcde".to_vec()), "without padding");
        let two = [encode(b"abc"), b"\0\0\0\x01\0\0\0\x09x\0\0\0".to_vec(), encode(b"de")].concat();
        assert_eq!(decode(&two), Ok(b"abcde".to_vec()), "in parts, with something else between them");
        assert_eq!(decode(b"\0\0\0\x4f\xc0\0\0\x0d\0\0\0\0x"), Ok(b"x".to_vec()), "the IETF as vendor");
    }

    #[test]
    fn hostile() {
        for (data, error) in [
            (&b""[..], AvpError::Missing),
            (b"\0", AvpError::Length),
            (b"\0\0\0\x4f", AvpError::Length),
            (b"\0\0\0\x4f\x40", AvpError::Length),
            (b"\0\0\0\x4f\x40\0\0", AvpError::Length),
            (b"\0\0\0\x4f\x40\0\0\0", AvpError::Length),
            (b"\0\0\0\x4f\x40\0\0\x01", AvpError::Length),
            (b"\0\0\0\x4f\x40\0\0\x07", AvpError::Length),
            (b"\0\0\0\x4f\x40\0\0\x08", AvpError::Missing),
            (b"\0\0\0\x4f\x40\0\0\x09", AvpError::Length),
            (b"\0\0\0\x4f\x40\xff\xff\xffx", AvpError::Length),
            (b"\0\0\0\x4f\xc0\0\0\x08", AvpError::Length),
            (b"\0\0\0\x4f\xc0\0\0\x0b\0\0\0", AvpError::Length),
            (b"\0\0\0\x4f\xc0\0\0\x0d\0\0\0\x09x", AvpError::Mandatory(79)),
            (b"\0\0\0\x4f\x80\0\0\x0d\0\0\0\x09x", AvpError::Missing),
            (b"\0\0\0\x02\x40\0\0\x09x\0\0\0", AvpError::Mandatory(2)),
            (b"\0\0\0\x4f\x40\0\0\x09x\0\0\0\0", AvpError::Length),
        ] {
            assert_eq!(decode(data), Err(error), "{data:?}");
        }
    }
}
