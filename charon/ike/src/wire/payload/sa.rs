//! Security Association (RFC 7296 §3.3): proposals, each with a number, an SPI and its transforms.
//!
//! ```text
//!  | Last (0 or 2) |   RESERVED    |         Proposal Length       |
//!  | Proposal Num  |  Protocol ID  |    SPI Size   |Num  Transforms|
//!  ~                        SPI (variable)                         ~
//!
//!  | Last (0 or 3) |   RESERVED    |        Transform Length       |
//!  |Transform Type |   RESERVED    |          Transform ID         |
//!  ~                      Transform Attributes                     ~
//! ```

use strongswan::crypto::proposal::Proposal;
use strongswan::crypto::transform::{Protocol, Transform, TransformType};

use super::spi::SpiField;
use crate::wire::error::Malformed;
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// The only attribute of IKEv2: Key Length, in the two-octet form (RFC 7296 §3.3.5).
const KEY_LENGTH: u16 = 14;
/// Bit of an attribute type that says "two octets of value instead of a length".
const SHORT_FORM: u16 = 0x8000;
/// Header of a proposal behind its first four octets.
const MORE_PROPOSALS: u8 = 2;
const MORE_TRANSFORMS: u8 = 3;
const LAST: u8 = 0;

/// Proposals of one payload that are kept; the proposal number has no room for more that differ.
const MAX_PROPOSALS: usize = 255;

/// A proposal as it is offered or chosen on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedProposal {
    /// Its number: 1, 2, 3 … in an offer, that of the chosen one in an answer.
    pub number: u8,
    /// The sender's inbound SPI; none for the first IKE_SA.
    pub spi: SpiField,
    /// Protocol and transforms.
    pub proposal: Proposal,
}

/// A list of proposals, in the sender's order of preference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sa {
    /// The proposals. None is left if each held something we do not understand.
    pub proposals: Vec<NumberedProposal>,
}

impl Sa {
    /// An offer of `proposals`, all under the same SPI.
    pub fn offer(proposals: impl IntoIterator<Item = Proposal>, spi: SpiField) -> Self {
        let proposals = (1..=u8::MAX).zip(proposals);
        let proposals = proposals.map(|(number, proposal)| NumberedProposal { number, spi: spi.clone(), proposal });
        Self { proposals: proposals.collect() }
    }

    /// The answer to an offer: its proposal `number`, reduced to what was chosen.
    pub fn choice(number: u8, proposal: Proposal, spi: SpiField) -> Self {
        Self { proposals: vec![NumberedProposal { number, spi, proposal }] }
    }

    pub(super) fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut proposals = Vec::new();
        let mut previous = 1;
        let mut count = 0_usize;
        let mut more = !r.is_empty();
        while more {
            count = count.saturating_add(1);
            if count > MAX_PROPOSALS {
                return Err(Malformed::CountMismatch);
            }
            let (last, mut body) = substructure(r)?;
            more = match last {
                MORE_PROPOSALS => true,
                LAST => false,
                _ => return Err(Malformed::SubstructureChain),
            };
            let number = body.u8()?;
            if number < previous {
                return Err(Malformed::ProposalNumber);
            }
            previous = number;
            if let Some(proposal) = parse_proposal(number, &mut body)? {
                proposals.push(proposal);
            }
        }
        // Something behind the last proposal, or nothing where another one was announced.
        if r.is_empty() { Ok(Self { proposals }) } else { Err(Malformed::SubstructureChain) }
    }

    pub(super) fn emit(&self, w: &mut Writer) {
        let mut proposals = self.proposals.iter().peekable();
        while let Some(NumberedProposal { number, spi, proposal }) = proposals.next() {
            let mark = w.begin(if proposals.peek().is_some() { MORE_PROPOSALS } else { LAST }, 0);
            w.bytes(&[*number, proposal.protocol().into()]);
            w.len8(spi.as_bytes().len());
            w.len8(proposal.transforms().len());
            w.bytes(spi.as_bytes());
            let mut transforms = proposal.transforms().iter().peekable();
            while let Some(transform) = transforms.next() {
                let mark = w.begin(if transforms.peek().is_some() { MORE_TRANSFORMS } else { LAST }, 0);
                w.bytes(&[transform.kind.into(), 0]);
                w.u16(transform.id);
                if let Some(bits) = transform.key_size {
                    w.u16(SHORT_FORM | KEY_LENGTH);
                    w.u16(bits);
                }
                w.end(mark);
            }
            w.end(mark);
        }
    }
}

/// The common head of proposals and transforms: "last" octet and the bounded content.
fn substructure<'a>(r: &mut Reader<'a>) -> Result<(u8, Reader<'a>), Malformed> {
    let last = r.u8()?;
    r.u8()?;
    let len = usize::from(r.u16()?).checked_sub(4).ok_or(Malformed::LengthTooSmall)?;
    Ok((last, r.sub(len)?))
}

/// The proposal behind its number. `None` if all transforms of some type were unacceptable: it cannot be chosen.
fn parse_proposal(number: u8, r: &mut Reader<'_>) -> Result<Option<NumberedProposal>, Malformed> {
    let protocol = Protocol::from(r.u8()?);
    let spi_len = r.u8()?;
    let count = usize::from(r.u8()?);
    let length_valid = match protocol {
        Protocol::Ike => matches!(spi_len, 0 | 8),
        Protocol::Ah | Protocol::Esp => spi_len == 4,
        Protocol::IpComp => matches!(spi_len, 2 | 4),
        Protocol::None | Protocol::Unknown(_) => true,
    };
    if !length_valid {
        return Err(Malformed::InvalidLength);
    }
    let spi = SpiField::from(r.take(spi_len.into())?);
    let mut transforms = Vec::with_capacity(count);
    let mut refused: Vec<TransformType> = Vec::new();
    for index in 1..=count {
        let (last, mut body) = substructure(r)?;
        let expected = if index == count { LAST } else { MORE_TRANSFORMS };
        if last != expected {
            return Err(Malformed::SubstructureChain);
        }
        let (transform, understood) = parse_transform(&mut body)?;
        if understood {
            transforms.push(transform);
        } else {
            refused.push(transform.kind);
        }
    }
    r.expect_end().map_err(|_| Malformed::CountMismatch)?;
    // RFC 7296 §3.3.6: a transform with an attribute we do not understand is unacceptable. If a type has no other
    // transform left, nothing of that type can be chosen, and leaving it out would not be the peer's offer.
    if refused.iter().any(|kind| !transforms.iter().any(|t: &Transform| t.kind == *kind)) {
        return Ok(None);
    }
    Ok(Some(NumberedProposal { number, spi, proposal: Proposal::from_transforms(protocol, transforms) }))
}

/// A transform, and whether all of its attributes are understood.
fn parse_transform(r: &mut Reader<'_>) -> Result<(Transform, bool), Malformed> {
    let kind = r.u8()?.into();
    r.u8()?;
    let mut transform = Transform { kind, id: r.u16()?, key_size: None };
    let mut understood = true;
    while !r.is_empty() {
        let kind = r.u16()?;
        let value = r.u16()?;
        if kind == SHORT_FORM | KEY_LENGTH {
            transform.key_size = Some(value);
            continue;
        }
        understood = false;
        if kind & SHORT_FORM == 0 {
            r.take(value.into())?;
        }
    }
    Ok((transform, understood))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_payload, parse_error};
    use super::*;
    use crate::ids::{IkeSpi, Spi};
    use crate::wire::{Payload, PayloadType};

    const IKE: &[u8] = &[
        0, 0, 0, 36, 1, 1, 0, 3, // proposal 1, IKE, no SPI, three transforms
        3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 1, 0, // AES_GCM_16_256
        3, 0, 0, 8, 2, 0, 0, 5, // PRF_HMAC_SHA2_256
        0, 0, 0, 8, 4, 0, 0, 31, // CURVE_25519
    ];

    fn parse(bytes: &[u8]) -> Sa {
        Sa::parse(&mut Reader::new(bytes)).unwrap()
    }

    fn error(bytes: &[u8]) -> Malformed {
        parse_error(PayloadType::Sa, bytes)
    }

    /// `IKE` with `bytes[at]` changed.
    fn changed(at: usize, value: u8) -> Vec<u8> {
        let mut bytes = IKE.to_vec();
        bytes[at] = value;
        bytes
    }

    #[test]
    fn an_ike_proposal() {
        let proposal = Proposal::parse(Protocol::Ike, "aes256gcm16-prfsha256-x25519").unwrap();
        check_payload(Payload::Sa(Sa::offer([proposal], SpiField::NONE)), IKE);
    }

    #[test]
    fn two_child_proposals() {
        let spi = Spi::new(0xc001_0203).unwrap();
        let proposals = ["aes128gcm16", "aes128-sha256"].map(|text| Proposal::parse(Protocol::Esp, text).unwrap());
        let sa = Sa::offer(proposals, spi.into());
        assert_eq!(
            sa.proposals.iter().map(|p| (p.number, p.spi.child())).collect::<Vec<_>>(),
            [(1, Some(spi)), (2, Some(spi))]
        );
        check_payload(
            Payload::Sa(sa),
            &[
                2, 0, 0, 32, 1, 3, 4, 2, 0xc0, 1, 2, 3, // proposal 1, ESP
                3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 0, 128, // AES_GCM_16_128
                0, 0, 0, 8, 5, 0, 0, 0, // NO_EXT_SEQ
                0, 0, 0, 40, 2, 3, 4, 3, 0xc0, 1, 2, 3, // proposal 2, ESP
                3, 0, 0, 12, 1, 0, 0, 12, 0x80, 14, 0, 128, // AES_CBC_128
                3, 0, 0, 8, 3, 0, 0, 12, // HMAC_SHA2_256_128
                0, 0, 0, 8, 5, 0, 0, 0, // NO_EXT_SEQ
            ],
        );
    }

    #[test]
    fn a_rekeyed_ike_sa_has_an_spi() {
        let spi = IkeSpi::new([1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        let proposal = Proposal::parse(Protocol::Ike, "aes256gcm16-prfsha256-x25519").unwrap();
        let sa = Sa::choice(3, proposal, spi.into());
        let mut w = Writer::default();
        sa.emit(&mut w);
        let back = parse(&w.finish().unwrap());
        assert_eq!(back, sa);
        assert_eq!((back.proposals[0].number, back.proposals[0].spi.ike()), (3, Some(spi)));
    }

    #[test]
    fn broken_structures_are_named() {
        assert_eq!(error(&IKE[..35]), Malformed::Truncated);
        assert_eq!(error(&changed(3, 3)), Malformed::LengthTooSmall);
        assert_eq!(error(&changed(0, 2)), Malformed::Truncated);
        assert_eq!(error(&changed(0, 1)), Malformed::SubstructureChain);
        assert_eq!(error(&[IKE, &[0]].concat()), Malformed::SubstructureChain);
        assert_eq!(error(&changed(4, 0)), Malformed::ProposalNumber);
        assert_eq!(error(&changed(6, 4)), Malformed::InvalidLength);
        assert_eq!(error(&changed(7, 4)), Malformed::SubstructureChain);
        assert_eq!(error(&changed(7, 2)), Malformed::SubstructureChain);
        assert_eq!(error(&changed(20, 0)), Malformed::SubstructureChain);
        let mut fewer = changed(7, 2);
        fewer[20] = 0;
        assert_eq!(error(&fewer), Malformed::CountMismatch);
        let mut descending = [changed(0, 2), changed(4, 1)].concat();
        descending[4] = 2;
        assert_eq!(error(&descending), Malformed::ProposalNumber);
        let esp_without_spi = changed(5, 3);
        assert_eq!(error(&esp_without_spi), Malformed::InvalidLength);
        let many: Vec<u8> = [2, 0, 0, 8, 1, 1, 0, 0].repeat(256);
        assert_eq!(error(&many), Malformed::CountMismatch);
    }

    #[test]
    fn transforms_with_unknown_attributes_cannot_be_chosen() {
        // Attribute type 15 instead of Key Length, on the only encryption transform.
        assert_eq!(parse(&changed(17, 15)).proposals, []);
        // With a second encryption transform the proposal survives without the first one.
        let mut both = IKE.to_vec();
        both.splice(8..8, [3, 0, 0, 14, 1, 0, 0, 12, 0, 15, 0, 2, 0xaa, 0xbb]);
        both[3] = 50;
        both[7] = 4;
        assert_eq!(parse(&both).proposals[0].proposal, parse(IKE).proposals[0].proposal);
    }

    #[test]
    fn no_proposal_is_nothing_to_choose_from() {
        check_payload(Payload::Sa(Sa { proposals: vec![] }), &[]);
    }
}
