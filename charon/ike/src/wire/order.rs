//! The order in which payloads are sent. RFC 7296 leaves it open, but peers have grown used to that of its Appendix C, and a
//! COOKIE must come first (§2.6).

use super::header::{Direction, Header};
use super::notify_type::NotifyType;
use super::payload::Payload;
use super::registry::{ExchangeType, PayloadType};

/// A place in a message.
enum Slot {
    P(PayloadType),
    N(NotifyType),
    /// Notifies without a place of their own, in the order in which they were added.
    OtherN,
}

use Slot::{N, OtherN, P};

const IKE_SA_INIT_REQUEST: &[Slot] = &[
    N(NotifyType::Cookie),
    P(PayloadType::Sa),
    P(PayloadType::Ke),
    P(PayloadType::Nonce),
    N(NotifyType::NatDetectionSourceIp),
    N(NotifyType::NatDetectionDestinationIp),
    OtherN,
    P(PayloadType::VendorId),
];

const IKE_SA_INIT_RESPONSE: &[Slot] = &[
    P(PayloadType::Sa),
    P(PayloadType::Ke),
    P(PayloadType::Nonce),
    N(NotifyType::NatDetectionSourceIp),
    N(NotifyType::NatDetectionDestinationIp),
    N(NotifyType::HttpCertLookupSupported),
    P(PayloadType::CertReq),
    OtherN,
    P(PayloadType::VendorId),
];

const IKE_AUTH_REQUEST: &[Slot] = &[
    P(PayloadType::IdI),
    P(PayloadType::Cert),
    N(NotifyType::InitialContact),
    N(NotifyType::HttpCertLookupSupported),
    P(PayloadType::CertReq),
    P(PayloadType::IdR),
    P(PayloadType::Auth),
    P(PayloadType::Eap),
    P(PayloadType::Cp),
    N(NotifyType::IpcompSupported),
    N(NotifyType::UseTransportMode),
    N(NotifyType::EspTfcPaddingNotSupported),
    N(NotifyType::NonFirstFragmentsAlso),
    P(PayloadType::Sa),
    P(PayloadType::TsI),
    P(PayloadType::TsR),
    N(NotifyType::MobikeSupported),
    N(NotifyType::AdditionalIp4Address),
    N(NotifyType::AdditionalIp6Address),
    N(NotifyType::NoAdditionalAddresses),
    OtherN,
    P(PayloadType::VendorId),
];

const IKE_AUTH_RESPONSE: &[Slot] = &[
    P(PayloadType::IdR),
    P(PayloadType::Cert),
    P(PayloadType::Auth),
    P(PayloadType::Eap),
    P(PayloadType::Cp),
    N(NotifyType::IpcompSupported),
    N(NotifyType::UseTransportMode),
    N(NotifyType::EspTfcPaddingNotSupported),
    N(NotifyType::NonFirstFragmentsAlso),
    P(PayloadType::Sa),
    P(PayloadType::TsI),
    P(PayloadType::TsR),
    N(NotifyType::AuthLifetime),
    N(NotifyType::MobikeSupported),
    N(NotifyType::AdditionalIp4Address),
    N(NotifyType::AdditionalIp6Address),
    N(NotifyType::NoAdditionalAddresses),
    OtherN,
    P(PayloadType::VendorId),
];

const INFORMATIONAL: &[Slot] = &[
    N(NotifyType::UpdateSaAddresses),
    N(NotifyType::NatDetectionSourceIp),
    N(NotifyType::NatDetectionDestinationIp),
    N(NotifyType::Cookie2),
    OtherN,
    P(PayloadType::Delete),
    P(PayloadType::Cp),
];

const CREATE_CHILD_SA: &[Slot] = &[
    N(NotifyType::RekeySa),
    N(NotifyType::IpcompSupported),
    N(NotifyType::UseTransportMode),
    N(NotifyType::EspTfcPaddingNotSupported),
    N(NotifyType::NonFirstFragmentsAlso),
    P(PayloadType::Sa),
    P(PayloadType::Nonce),
    P(PayloadType::Ke),
    P(PayloadType::TsI),
    P(PayloadType::TsR),
    N(NotifyType::AdditionalTsPossible),
    OtherN,
];

const KE_ONLY: &[Slot] = &[P(PayloadType::Ke), OtherN];

fn slots(exchange: ExchangeType, direction: Direction) -> &'static [Slot] {
    match (exchange, direction) {
        (ExchangeType::IkeSaInit, Direction::Request) => IKE_SA_INIT_REQUEST,
        (ExchangeType::IkeSaInit, Direction::Response) => IKE_SA_INIT_RESPONSE,
        (ExchangeType::IkeAuth, Direction::Request) => IKE_AUTH_REQUEST,
        (ExchangeType::IkeAuth, Direction::Response) => IKE_AUTH_RESPONSE,
        (ExchangeType::CreateChildSa, _) => CREATE_CHILD_SA,
        (ExchangeType::IkeIntermediate | ExchangeType::IkeFollowupKe, _) => KE_ONLY,
        (ExchangeType::Informational | ExchangeType::IkeSessionResume | ExchangeType::Unknown(_), _) => INFORMATIONAL,
    }
}

/// The position of a payload; what has none goes to the end.
fn position(slots: &[Slot], payload: &Payload) -> usize {
    let own = slots.iter().position(|slot| match (slot, payload) {
        (N(kind), Payload::Notify(notify)) => *kind == notify.kind,
        (P(kind), _) => *kind == payload.kind(),
        (N(_) | OtherN, _) => false,
    });
    let other = || match payload {
        Payload::Notify(_) => slots.iter().position(|slot| matches!(slot, OtherN)),
        _ => None,
    };
    own.or_else(other).unwrap_or(slots.len())
}

/// Sorts the payloads of a message for transmission; equals keep their order.
pub(super) fn sort(header: &Header, payloads: &mut [Payload]) {
    let slots = slots(header.exchange, header.direction());
    payloads.sort_by_key(|payload| position(slots, payload));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::header;
    use crate::wire::{Delete, Message, Nonce, Notify, Ts, VendorId};

    fn sorted(exchange: ExchangeType, direction: Direction, payloads: Vec<Payload>) -> String {
        let mut message = Message { header: header(exchange, direction), payloads };
        message.sort();
        message.notation().to_string()
    }

    fn n(kind: NotifyType) -> Payload {
        Notify::new(kind).into()
    }

    #[test]
    fn a_cookie_comes_first() {
        let payloads = vec![
            VendorId(vec![]).into(),
            n(NotifyType::FragmentationSupported),
            n(NotifyType::RedirectSupported),
            n(NotifyType::NatDetectionDestinationIp),
            n(NotifyType::NatDetectionSourceIp),
            Nonce::new(&[0; 32]).unwrap().into(),
            n(NotifyType::Cookie),
        ];
        assert_eq!(
            sorted(ExchangeType::IkeSaInit, Direction::Request, payloads),
            "IKE_SA_INIT request 1 [ N(COOKIE) No N(NATD_S_IP) N(NATD_D_IP) N(FRAG_SUP) N(REDIR_SUP) V ]"
        );
    }

    #[test]
    fn create_child_sa_and_informational() {
        let payloads = vec![
            n(NotifyType::AdditionalTsPossible),
            Payload::TsR(Ts::default()),
            Payload::TsI(Ts::default()),
            n(NotifyType::RekeySa),
        ];
        assert_eq!(
            sorted(ExchangeType::CreateChildSa, Direction::Response, payloads),
            "CREATE_CHILD_SA response 1 [ N(REKEY_SA) TSi TSr N(ADD_TS_POSS) ]"
        );
        let payloads = vec![Delete::Ike.into(), n(NotifyType::MobikeSupported), n(NotifyType::Cookie2)];
        assert_eq!(
            sorted(ExchangeType::Informational, Direction::Request, payloads),
            "INFORMATIONAL request 1 [ N(COOKIE2) N(MOBIKE_SUP) D ]"
        );
    }
}
