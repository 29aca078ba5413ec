//! The client's side: it answers one challenge and believes only a server that proves itself.

use strongswan::crypto::Secret;
use strongswan::log;
use subtle::ConstantTimeEq;

use super::crypto::{Challenge, authenticator_response, msk, nt_response};
use super::{message, nt_hash};
use crate::eap::identity;
use crate::eap::method::{ClientMethod, ClientStep, Context};
use crate::eap::packet::Packet;
use crate::eap::proof::Outcome;
use message::Message;

pub(in crate::eap) fn create() -> Box<dyn ClientMethod> {
    Box::new(Client { stage: Stage::Start })
}

#[derive(Debug)]
enum Stage {
    /// A challenge is due.
    Start,
    /// It was answered; the server has to show this.
    Answered { proof: [u8; 20], msk: Secret },
    /// It did, or failed.
    Done,
}

#[derive(Debug)]
struct Client {
    stage: Stage,
}

impl ClientMethod for Client {
    fn process(&mut self, context: &mut Context<'_>, request: &Packet<'_>) -> ClientStep {
        let Some(message) = Message::parse(request.data) else {
            log!(IKE, 1, "received invalid EAP-MS-CHAPv2 message");
            return ClientStep::Failed;
        };
        match (std::mem::replace(&mut self.stage, Stage::Done), message) {
            (Stage::Start, Message::Challenge { id, challenge, name: _ }) => self.answer(context, id, &challenge),
            (Stage::Answered { proof, msk }, Message::Success { text }) => {
                let fits = message::proof(text).is_some_and(|received| bool::from(received.ct_eq(&proof)));
                if !fits {
                    log!(IKE, 1, "EAP-MS-CHAPv2 verification failed");
                    return ClientStep::Failed;
                }
                let outcome = Outcome { msk: Some(msk), ..Outcome::default() };
                ClientStep::Complete(message::success_response(), Box::new(outcome))
            }
            (Stage::Answered { .. }, Message::Failure { text }) => {
                let (number, text) = message::reason(text);
                let number = number.unwrap_or_default();
                log!(IKE, 1, "EAP-MS-CHAPv2 failed with error {}: '{text}'", Reason(number));
                ClientStep::Failed
            }
            _ => {
                log!(IKE, 1, "received unexpected EAP-MS-CHAPv2 message");
                ClientStep::Failed
            }
        }
    }
}

impl Client {
    fn answer(&mut self, context: &mut Context<'_>, id: u8, challenge: &Challenge) -> ClientStep {
        let (me, other) = (context.peer, context.server);
        let Some(hash) = nt_hash(context, me, other) else {
            log!(IKE, 1, "no EAP key found for hosts '{me}' - '{other}'");
            return ClientStep::Failed;
        };
        let name = identity::emit(me);
        let mut own = Challenge::default();
        context.rng.fill(&mut own);
        let Ok(response) = nt_response(&hash, &own, challenge, &name) else { return ClientStep::Failed };
        let proof = authenticator_response(&hash, &response, &own, challenge, &name);
        self.stage = Stage::Answered { proof, msk: msk(&hash, &response) };
        ClientStep::Respond(message::response(id, &own, &response, &name))
    }
}

/// A number of RFC 2759 §6.
struct Reason(u32);

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.0 {
            646 => "ERROR_RESTRICTED_LOGON_HOURS",
            647 => "ERROR_ACCT_DISABLED",
            648 => "ERROR_PASSWD_EXPIRED",
            649 => "ERROR_NO_DIALIN_PERMISSION",
            691 => "ERROR_AUTHENTICATION_FAILURE",
            709 => "ERROR_CHANGING_PASSWORD",
            other => return write!(f, "({other})"),
        };
        f.write_str(name)
    }
}
