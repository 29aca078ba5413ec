//! Notify (RFC 7296 §3.10): errors, statuses and the data that goes with them.
//!
//! ```text
//!  |  Protocol ID  |   SPI Size    |      Notify Message Type      |
//!  ~                Security Parameter Index (SPI)                 ~
//!  ~                       Notification Data                       ~
//! ```

use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;
use strongswan::crypto::transform::{KeyExchangeMethod, Protocol};

use super::spi::SpiField;
use crate::ids::Spi;
use crate::wire::error::Malformed;
use crate::wire::notify_type::NotifyType;
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// A notify payload. Its data fits its type where the type prescribes a length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// What `spi` belongs to; `None` for the IKE_SA or nothing in particular.
    pub protocol: Protocol,
    /// The SA it is about, if any.
    pub spi: SpiField,
    /// The message.
    pub kind: NotifyType,
    /// Its data.
    pub data: SmallVec<[u8; 24]>,
}

impl Notify {
    /// A notify without data.
    pub fn new(kind: NotifyType) -> Self {
        Self::with_data(kind, &[])
    }

    /// A notify with data.
    pub fn with_data(kind: NotifyType, data: &[u8]) -> Self {
        Self { protocol: Protocol::None, spi: SpiField::NONE, kind, data: SmallVec::from_slice(data) }
    }

    /// A notify about a CHILD_SA: REKEY_SA, CHILD_SA_NOT_FOUND.
    pub fn about_child(kind: NotifyType, protocol: Protocol, spi: Spi) -> Self {
        Self { protocol, spi: spi.into(), kind, data: SmallVec::new() }
    }

    /// INVALID_KE_PAYLOAD with the method that would be accepted (RFC 7296 §1.3).
    pub fn invalid_ke(method: KeyExchangeMethod) -> Self {
        Self::with_data(NotifyType::InvalidKePayload, &u16::from(method).to_be_bytes())
    }

    /// SIGNATURE_HASH_ALGORITHMS (RFC 7427 §4).
    pub fn signature_hashes(algorithms: impl IntoIterator<Item = u16>) -> Self {
        let mut notify = Self::new(NotifyType::SignatureHashAlgorithms);
        notify.data.extend(algorithms.into_iter().flat_map(u16::to_be_bytes));
        notify
    }

    /// ADDITIONAL_IP4_ADDRESS or ADDITIONAL_IP6_ADDRESS (RFC 4555 §4.2.2).
    pub fn additional_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::with_data(NotifyType::AdditionalIp4Address, &v4.octets()),
            IpAddr::V6(v6) => Self::with_data(NotifyType::AdditionalIp6Address, &v6.octets()),
        }
    }

    /// AUTH_LIFETIME in seconds (RFC 4478 §3).
    pub fn auth_lifetime(lifetime: Duration) -> Self {
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        Self::with_data(NotifyType::AuthLifetime, &seconds.to_be_bytes())
    }

    /// IPCOMP_SUPPORTED with a CPI and a transform (RFC 7296 §3.10.1).
    pub fn ipcomp_supported(cpi: u16, transform: u8) -> Self {
        let [high, low] = cpi.to_be_bytes();
        Self::with_data(NotifyType::IpcompSupported, &[high, low, transform])
    }

    /// Method asked for by INVALID_KE_PAYLOAD.
    pub fn requested_ke(&self) -> Option<KeyExchangeMethod> {
        self.data_of(NotifyType::InvalidKePayload).map(|bytes| u16::from_be_bytes(bytes).into())
    }

    /// Hash algorithms of SIGNATURE_HASH_ALGORITHMS.
    pub fn hash_algorithms(&self) -> impl Iterator<Item = u16> {
        let data = if self.kind == NotifyType::SignatureHashAlgorithms { self.data.as_slice() } else { &[] };
        data.chunks_exact(2).filter_map(|pair| pair.first_chunk().copied().map(u16::from_be_bytes))
    }

    /// Hash of NAT_DETECTION_SOURCE_IP or NAT_DETECTION_DESTINATION_IP.
    pub fn nat_detection_hash(&self) -> Option<[u8; 20]> {
        self.data_of(NotifyType::NatDetectionSourceIp).or_else(|| self.data_of(NotifyType::NatDetectionDestinationIp))
    }

    /// Address of ADDITIONAL_IP4_ADDRESS or ADDITIONAL_IP6_ADDRESS.
    pub fn address(&self) -> Option<IpAddr> {
        let v4 = self.data_of::<4>(NotifyType::AdditionalIp4Address).map(IpAddr::from);
        v4.or_else(|| self.data_of::<16>(NotifyType::AdditionalIp6Address).map(IpAddr::from))
    }

    /// Time left by AUTH_LIFETIME.
    pub fn lifetime(&self) -> Option<Duration> {
        self.data_of(NotifyType::AuthLifetime).map(|bytes| Duration::from_secs(u32::from_be_bytes(bytes).into()))
    }

    /// CPI and transform of IPCOMP_SUPPORTED.
    pub fn ipcomp(&self) -> Option<(u16, u8)> {
        self.data_of(NotifyType::IpcompSupported).map(|[high, low, id]| (u16::from_be_bytes([high, low]), id))
    }

    fn data_of<const N: usize>(&self, kind: NotifyType) -> Option<[u8; N]> {
        if self.kind == kind { self.data.as_slice().try_into().ok() } else { None }
    }

    pub(super) fn parse(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let protocol = Protocol::from(r.u8()?);
        if !matches!(protocol, Protocol::None | Protocol::Ike | Protocol::Ah | Protocol::Esp) {
            return Err(Malformed::InvalidProtocol);
        }
        let spi_len = r.u8()?.into();
        let kind = r.u16()?.into();
        let spi = SpiField::from(r.take(spi_len)?);
        let notify = Self { protocol, spi, kind, data: SmallVec::from_slice(r.rest()) };
        if notify.kind.data_length_valid(notify.data.len()) { Ok(notify) } else { Err(Malformed::InvalidLength) }
    }

    pub(super) fn emit(&self, w: &mut Writer) {
        w.u8(self.protocol.into());
        w.len8(self.spi.as_bytes().len());
        w.u16(self.kind.number());
        w.bytes(self.spi.as_bytes());
        w.bytes(&self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_payload, parse_error};
    use super::*;
    use crate::wire::{Payload, PayloadType};

    #[test]
    fn bytes() {
        check_payload(Payload::Notify(Notify::new(NotifyType::InitialContact)), &[0, 0, 0x40, 0x00]);
        let rekey = Notify::about_child(NotifyType::RekeySa, Protocol::Esp, Spi::new(0xc001_0203).unwrap());
        check_payload(Payload::Notify(rekey), &[3, 4, 0x40, 0x09, 0xc0, 1, 2, 3]);
        let unknown = Notify::with_data(NotifyType::Unknown(50000), &[1]);
        check_payload(Payload::Notify(unknown), &[0, 0, 0xc3, 0x50, 1]);
    }

    #[test]
    fn typed_data() {
        let ke = Notify::invalid_ke(KeyExchangeMethod::from(31));
        assert_eq!(ke.requested_ke(), Some(KeyExchangeMethod::from(31)));
        assert_eq!(ke.lifetime(), None);
        let hashes = Notify::signature_hashes([2, 5]);
        assert_eq!(hashes.hash_algorithms().collect::<Vec<_>>(), [2, 5]);
        assert_eq!(ke.hash_algorithms().count(), 0);
        for address in ["192.0.2.1", "2001:db8::1"] {
            let address = address.parse().unwrap();
            assert_eq!(Notify::additional_address(address).address(), Some(address));
        }
        assert_eq!(Notify::auth_lifetime(Duration::from_secs(70)).lifetime(), Some(Duration::from_secs(70)));
        assert_eq!(Notify::ipcomp_supported(0x1234, 2).ipcomp(), Some((0x1234, 2)));
        let hash = Notify::with_data(NotifyType::NatDetectionDestinationIp, &[9; 20]);
        assert_eq!(hash.nat_detection_hash(), Some([9; 20]));
    }

    #[test]
    fn wrong_lengths_and_protocols_are_refused() {
        let error = |bytes: &[u8]| parse_error(PayloadType::Notify, bytes);
        assert_eq!(error(&[0, 0, 0x40]), Malformed::Truncated);
        assert_eq!(error(&[3, 4, 0x40, 0x09, 1, 2, 3]), Malformed::Truncated);
        assert_eq!(error(&[4, 0, 0x40, 0]), Malformed::InvalidProtocol);
        for (kind, lengths) in [
            (NotifyType::InvalidKePayload, &[1, 3][..]),
            (NotifyType::NatDetectionSourceIp, &[19, 21]),
            (NotifyType::NatDetectionDestinationIp, &[0]),
            (NotifyType::InvalidSyntax, &[1]),
            (NotifyType::NoProposalChosen, &[1]),
            (NotifyType::Cookie, &[0, 65]),
            (NotifyType::AdditionalIp4Address, &[3, 16]),
            (NotifyType::AdditionalIp6Address, &[4]),
            (NotifyType::SignatureHashAlgorithms, &[3]),
            (NotifyType::AuthLifetime, &[0]),
            (NotifyType::IpcompSupported, &[2]),
            (NotifyType::UseAggfrag, &[0]),
        ] {
            for &len in lengths {
                let mut bytes = vec![0, 0];
                bytes.extend(kind.number().to_be_bytes());
                bytes.resize(4 + len, 0);
                assert_eq!(error(&bytes), Malformed::InvalidLength, "{kind} {len}");
            }
        }
    }
}
