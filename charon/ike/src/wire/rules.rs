//! Which payloads an exchange may hold, how often, and where: one table per exchange and direction (RFC 7296 Appendix C).

use super::error::RuleViolation;
use super::header::Direction;
use super::message::Message;
use super::registry::{ExchangeType, PayloadType};

/// What one type of payload may do in an exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    payload: PayloadType,
    min: usize,
    max: usize,
    /// Its presence waives the minima of the rules behind it: an error notify needs no company.
    sufficient: bool,
}

/// Bounds for payloads that RFC 7296 allows in any number.
const NOTIFIES: usize = 20;
const DELETES: usize = 20;
const CERTS: usize = 8;
const VENDOR_IDS: usize = 20;
const CERTREQS: usize = 20;

const fn rule(payload: PayloadType, min: usize, max: usize) -> Rule {
    Rule { payload, min, max, sufficient: false }
}

const fn sufficient(payload: PayloadType, max: usize) -> Rule {
    Rule { payload, min: 0, max, sufficient: true }
}

const IKE_SA_INIT_REQUEST: &[Rule] = &[
    rule(PayloadType::Notify, 0, NOTIFIES),
    rule(PayloadType::Sa, 1, 1),
    rule(PayloadType::Ke, 1, 1),
    rule(PayloadType::Nonce, 1, 1),
    rule(PayloadType::VendorId, 0, VENDOR_IDS),
];

const IKE_SA_INIT_RESPONSE: &[Rule] = &[
    sufficient(PayloadType::Notify, NOTIFIES),
    rule(PayloadType::Sa, 1, 1),
    rule(PayloadType::Ke, 1, 1),
    rule(PayloadType::Nonce, 1, 1),
    rule(PayloadType::CertReq, 0, CERTREQS),
    rule(PayloadType::VendorId, 0, VENDOR_IDS),
];

const IKE_AUTH_REQUEST: &[Rule] = &[
    rule(PayloadType::Notify, 0, NOTIFIES),
    sufficient(PayloadType::Eap, 1),
    sufficient(PayloadType::Auth, 1),
    rule(PayloadType::IdI, 0, 1),
    rule(PayloadType::Cert, 0, CERTS),
    rule(PayloadType::CertReq, 0, CERTREQS),
    rule(PayloadType::IdR, 0, 1),
    rule(PayloadType::Sa, 0, 1),
    rule(PayloadType::TsI, 0, 1),
    rule(PayloadType::TsR, 0, 1),
    rule(PayloadType::Cp, 0, 1),
    rule(PayloadType::VendorId, 0, VENDOR_IDS),
];

const IKE_AUTH_RESPONSE: &[Rule] = &[
    sufficient(PayloadType::Notify, NOTIFIES),
    sufficient(PayloadType::Eap, 1),
    sufficient(PayloadType::Auth, 1),
    rule(PayloadType::Cert, 0, CERTS),
    rule(PayloadType::IdR, 0, 1),
    rule(PayloadType::Sa, 0, 1),
    rule(PayloadType::TsI, 0, 1),
    rule(PayloadType::TsR, 0, 1),
    rule(PayloadType::Cp, 0, 1),
    rule(PayloadType::VendorId, 0, VENDOR_IDS),
];

const INFORMATIONAL: &[Rule] = &[
    rule(PayloadType::Notify, 0, NOTIFIES),
    rule(PayloadType::Cp, 0, 1),
    rule(PayloadType::Delete, 0, DELETES),
    rule(PayloadType::VendorId, 0, VENDOR_IDS),
];

const CREATE_CHILD_SA_REQUEST: &[Rule] = &[
    rule(PayloadType::Notify, 0, NOTIFIES),
    rule(PayloadType::Sa, 1, 1),
    rule(PayloadType::Nonce, 1, 1),
    rule(PayloadType::Ke, 0, 1),
    rule(PayloadType::TsI, 0, 1),
    rule(PayloadType::TsR, 0, 1),
    rule(PayloadType::Cp, 0, 1),
    rule(PayloadType::VendorId, 0, VENDOR_IDS),
];

const CREATE_CHILD_SA_RESPONSE: &[Rule] = &[
    sufficient(PayloadType::Notify, NOTIFIES),
    rule(PayloadType::Sa, 1, 1),
    rule(PayloadType::Nonce, 1, 1),
    rule(PayloadType::Ke, 0, 1),
    rule(PayloadType::TsI, 0, 1),
    rule(PayloadType::TsR, 0, 1),
    rule(PayloadType::Cp, 0, 1),
    rule(PayloadType::VendorId, 0, VENDOR_IDS),
];

const IKE_INTERMEDIATE_REQUEST: &[Rule] =
    &[rule(PayloadType::Notify, 0, NOTIFIES), rule(PayloadType::Ke, 0, 1), rule(PayloadType::VendorId, 0, VENDOR_IDS)];

const IKE_INTERMEDIATE_RESPONSE: &[Rule] = &[
    sufficient(PayloadType::Notify, NOTIFIES),
    rule(PayloadType::Ke, 0, 1),
    rule(PayloadType::VendorId, 0, VENDOR_IDS),
];

const IKE_FOLLOWUP_KE_REQUEST: &[Rule] = &[rule(PayloadType::Notify, 0, NOTIFIES), rule(PayloadType::Ke, 1, 1)];

const IKE_FOLLOWUP_KE_RESPONSE: &[Rule] = &[sufficient(PayloadType::Notify, NOTIFIES), rule(PayloadType::Ke, 1, 1)];

/// The rules of an exchange.
///
/// Encrypted payloads have none: a fragment is not looked into before its message is complete, and every exchange but
/// IKE_SA_INIT must be encrypted as a whole.
pub(super) fn of(exchange: ExchangeType, direction: Direction) -> Result<&'static [Rule], RuleViolation> {
    use Direction::{Request, Response};
    Ok(match (exchange, direction) {
        (ExchangeType::IkeSaInit, Request) => IKE_SA_INIT_REQUEST,
        (ExchangeType::IkeSaInit, Response) => IKE_SA_INIT_RESPONSE,
        (ExchangeType::IkeAuth, Request) => IKE_AUTH_REQUEST,
        (ExchangeType::IkeAuth, Response) => IKE_AUTH_RESPONSE,
        (ExchangeType::CreateChildSa, Request) => CREATE_CHILD_SA_REQUEST,
        (ExchangeType::CreateChildSa, Response) => CREATE_CHILD_SA_RESPONSE,
        (ExchangeType::Informational, Request | Response) => INFORMATIONAL,
        (ExchangeType::IkeIntermediate, Request) => IKE_INTERMEDIATE_REQUEST,
        (ExchangeType::IkeIntermediate, Response) => IKE_INTERMEDIATE_RESPONSE,
        (ExchangeType::IkeFollowupKe, Request) => IKE_FOLLOWUP_KE_REQUEST,
        (ExchangeType::IkeFollowupKe, Response) => IKE_FOLLOWUP_KE_RESPONSE,
        (ExchangeType::IkeSessionResume | ExchangeType::Unknown(_), _) => {
            return Err(RuleViolation::UnsupportedExchange);
        }
    })
}

/// Counts the payloads of a message against the rules of its exchange. Their order is irrelevant (RFC 7296 §3.2), and types
/// without a rule are left to whoever may want them.
pub(super) fn check(message: &Message) -> Result<(), RuleViolation> {
    let mut complete = false;
    for rule in of(message.header.exchange, message.header.direction())? {
        let Rule { payload, min, max, sufficient } = *rule;
        let count = message.payloads.iter().filter(|p| p.kind() == payload).count();
        if count > max {
            return Err(RuleViolation::TooMany { payload, max, count });
        }
        if count < min && !complete {
            return Err(RuleViolation::TooFew { payload, min, count });
        }
        complete |= sufficient && count > 0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::header;
    use crate::wire::{Notify, NotifyType, Payload, VendorId};

    fn message(exchange: ExchangeType, direction: Direction, payloads: Vec<Payload>) -> Message {
        Message { header: header(exchange, direction), payloads }
    }

    fn notifies(count: usize) -> Vec<Payload> {
        vec![Notify::new(NotifyType::TemporaryFailure).into(); count]
    }

    #[test]
    fn minima_and_maxima() {
        let init = |payloads| check(&message(ExchangeType::IkeSaInit, Direction::Request, payloads));
        let too_few = RuleViolation::TooFew { payload: PayloadType::Sa, min: 1, count: 0 };
        assert_eq!(init(vec![]), Err(too_few));
        assert_eq!(
            init(notifies(21)),
            Err(RuleViolation::TooMany { payload: PayloadType::Notify, max: 20, count: 21 })
        );
        let informational = |payloads| check(&message(ExchangeType::Informational, Direction::Request, payloads));
        assert_eq!(informational(notifies(20)), Ok(()));
        let vendor_ids = vec![VendorId(vec![]).into(); 21];
        assert_eq!(
            informational(vendor_ids).unwrap_err().to_string(),
            "payload of type VENDOR_ID more than 20 times (21) occurred in current message"
        );
        assert_eq!(too_few.to_string(), "payload of type SECURITY_ASSOCIATION not occurred 1 times (0)");
    }

    #[test]
    fn a_notify_alone_answers_a_request() {
        for exchange in [ExchangeType::IkeSaInit, ExchangeType::CreateChildSa, ExchangeType::IkeFollowupKe] {
            assert_eq!(check(&message(exchange, Direction::Response, notifies(1))), Ok(()));
            assert!(check(&message(exchange, Direction::Request, notifies(1))).is_err());
            assert!(check(&message(exchange, Direction::Response, vec![])).is_err());
        }
    }

    #[test]
    fn known_exchanges_without_rules_are_refused() {
        let resume = message(ExchangeType::IkeSessionResume, Direction::Request, vec![]);
        assert_eq!(check(&resume), Err(RuleViolation::UnsupportedExchange));
    }
}
