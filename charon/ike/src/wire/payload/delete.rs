//! Delete (RFC 7296 §3.11): the IKE_SA itself, or the sender's inbound SPIs of CHILD_SAs.
//!
//! ```text
//!  | Protocol ID   |   SPI Size    |          Num of SPIs          |
//!  ~               Security Parameter Index(es) (SPI)              ~
//! ```

use strongswan::crypto::transform::Protocol;

use crate::ids::Spi;
use crate::wire::error::Malformed;
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// What the sender deletes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delete {
    /// The IKE_SA the message belongs to, with all its CHILD_SAs.
    Ike,
    /// CHILD_SAs. Reserved SPIs on the wire, which can name no SA, are dropped.
    Child {
        /// ESP or AH.
        protocol: Protocol,
        /// The sender's inbound SPIs.
        spis: Vec<Spi>,
    },
}

impl Delete {
    pub(super) fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let protocol = Protocol::from(r.u8()?);
        let spi_len = r.u8()?;
        let count = usize::from(r.u16()?);
        match (protocol, spi_len) {
            // The number of SPIs is meaningless here; some peers send 1 with an SPI size of 0.
            (Protocol::Ike, 0) => r.expect_end().map(|()| Self::Ike),
            (Protocol::Ah | Protocol::Esp, 4) => {
                if count.checked_mul(4) != Some(r.remaining()) {
                    return Err(Malformed::CountMismatch);
                }
                let spis = r.rest().chunks_exact(4).filter_map(Spi::from_bytes).collect();
                Ok(Self::Child { protocol, spis })
            }
            (Protocol::Ike | Protocol::Ah | Protocol::Esp, _) => Err(Malformed::InvalidLength),
            (Protocol::None | Protocol::IpComp | Protocol::Unknown(_), _) => Err(Malformed::InvalidProtocol),
        }
    }

    pub(super) fn emit(&self, w: &mut Writer) {
        match self {
            Self::Ike => w.bytes(&[Protocol::Ike.into(), 0, 0, 0]),
            Self::Child { protocol, spis } => {
                w.bytes(&[(*protocol).into(), 4]);
                w.len16(spis.len());
                for spi in spis {
                    w.bytes(&spi.to_bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_payload, parse_error};
    use super::*;
    use crate::wire::{Payload, PayloadType};

    #[test]
    fn bytes() {
        check_payload(Payload::Delete(Delete::Ike), &[1, 0, 0, 0]);
        let spis = vec![Spi::new(0xc000_0001).unwrap(), Spi::new(0xc000_0002).unwrap()];
        let delete = Delete::Child { protocol: Protocol::Esp, spis };
        check_payload(Payload::Delete(delete), &[3, 4, 0, 2, 0xc0, 0, 0, 1, 0xc0, 0, 0, 2]);
    }

    #[test]
    fn wrong_counts_and_protocols_are_refused() {
        let error = |bytes: &[u8]| parse_error(PayloadType::Delete, bytes);
        assert_eq!(error(&[3, 4, 0]), Malformed::Truncated);
        assert_eq!(error(&[3, 4, 0, 2, 1, 2, 3, 4]), Malformed::CountMismatch);
        assert_eq!(error(&[3, 8, 0, 0]), Malformed::InvalidLength);
        assert_eq!(error(&[1, 8, 0, 0]), Malformed::InvalidLength);
        assert_eq!(error(&[1, 0, 0, 0, 0]), Malformed::TrailingBytes);
        assert_eq!(error(&[9, 4, 0, 0]), Malformed::InvalidProtocol);
    }

    #[test]
    fn reserved_spis_are_dropped() {
        let delete = Delete::parse(&mut Reader::new(&[3, 4, 0, 2, 0, 0, 0, 1, 0xc0, 0, 0, 2])).unwrap();
        let spis = vec![Spi::new(0xc000_0002).unwrap()];
        assert_eq!(delete, Delete::Child { protocol: Protocol::Esp, spis });
    }
}
