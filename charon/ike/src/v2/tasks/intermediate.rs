//! IKE_INTERMEDIATE (RFC 9242) as the carrier of additional key exchanges (RFC 9370 §2.2.2): the part of the IKE_INIT task
//! that comes after IKE_SA_INIT. One exchange for each; what AUTH covers of them and how keys follow from them is in
//! [`sa::Intermediate`](crate::sa).

use strongswan::crypto::{KeyExchange, Proposal, ke};
use strongswan::log;

use crate::Role;
use crate::sa::{Extensions, IkeSa};
use crate::v2::task::{Failure, Incoming, Outgoing, Progress, Step};
use crate::wire::{Ke, NotifyType};

/// Prepares what IKE_SA_INIT agreed on. A peer that did not announce the exchange cannot carry any out, and going on without
/// is out of the question.
pub(super) fn prepare(sa: &mut IkeSa, proposal: &Proposal) -> Result<Progress, Failure> {
    let methods: Vec<_> = proposal.additional_key_exchanges().map(|(_, method)| method).collect();
    if methods.is_empty() {
        return Ok(Progress::Done);
    }
    if !sa.extensions.contains(Extensions::INTERMEDIATE) {
        let doing = if sa.id.role == Role::Initiator { "accepting" } else { "proposing" };
        let notify = NotifyType::IntermediateExchangeSupported;
        log!(IKE, 1, "peer didn't send {notify} while {doing} multiple key exchanges");
        return Err(Failure::Failed);
    }
    if let Some(handshake) = sa.handshake() {
        handshake.intermediate.expect(methods.into_iter());
    }
    Ok(Progress::More)
}

/// The initiator's half of the key exchange that is due.
pub(super) fn offer(sa: &IkeSa, message: &mut Outgoing) -> Result<KeyExchange, Failure> {
    let method = sa.due_key_exchange().ok_or(Failure::Failed)?;
    let own = KeyExchange::generate(method).map_err(|error| {
        log!(IKE, 1, "additional key exchange failed: {error}");
        Failure::Failed
    })?;
    message.push(Ke { method, data: own.public_value().to_vec() });
    Ok(own)
}

/// The responder's half, as the initiator gets it.
pub(super) fn complete(sa: &mut IkeSa, own: Option<KeyExchange>, incoming: &Incoming) -> Step {
    if let Some(notify) = incoming.message.error_notify() {
        log!(IKE, 1, "received {} notify error", notify.kind);
        return Err(Failure::Failed);
    }
    sa.cover(Role::Responder, &incoming.covered)?;
    let (Some(own), Some(theirs)) = (own, incoming.message.ke()) else {
        log!(IKE, 1, "KE payload missing in message");
        return Err(Failure::Failed);
    };
    if theirs.method != own.method() {
        log!(IKE, 1, "received KE payload of {} instead of {}", theirs.method, own.method());
        return Err(Failure::Failed);
    }
    let shared = own.agree(&theirs.data).map_err(|error| {
        log!(IKE, 1, "additional key exchange failed: {error}");
        Failure::Failed
    })?;
    sa.stir_in(&shared)?;
    sa.roll_keys();
    Ok(if sa.due_key_exchange().is_some() { Progress::More } else { Progress::Done })
}

/// Takes the initiator's half.
pub(super) fn read(sa: &mut IkeSa, incoming: &Incoming) -> Result<Option<Ke>, Failure> {
    sa.cover(Role::Initiator, &incoming.covered)?;
    Ok(incoming.message.ke().cloned())
}

/// The responder's half of the key exchange that is due.
pub(super) fn answer(sa: &mut IkeSa, theirs: Option<Ke>, message: &mut Outgoing) -> Step {
    let method = sa.due_key_exchange().ok_or(Failure::Failed)?;
    let Some(theirs) = theirs else {
        log!(IKE, 1, "KE payload missing in message");
        message.notify(NotifyType::InvalidSyntax);
        return Err(Failure::Failed);
    };
    let agreed = if theirs.method == method { ke::respond(method, &theirs.data).ok() } else { None };
    let Some((public, shared)) = agreed else {
        log!(IKE, 1, "applying received public value of {} failed, expected {method}", theirs.method);
        message.notify(NotifyType::NoProposalChosen);
        return Err(Failure::Failed);
    };
    message.push(Ke { method, data: public });
    sa.stir_in(&shared)?;
    Ok(Progress::More)
}
