//! EAP rounds of ours (RFC 7296 §2.16): the conversation, our AUTH made with the key it yields, and the responder's.

use strongswan::credentials::EapMethod;
use strongswan::identity::Identity;
use strongswan::log;

use super::rounds::{authenticate_by_eap, material};
use crate::config::AuthRound;
use crate::eap::{Completed, Context, Supplicant, Turn};
use crate::env::Env;
use crate::sa::IkeSa;
use crate::v2::auth::{Signed, Signer, VerifiedRound, verify_eap};
use crate::wire::{Auth, Eap, Id};

/// How far the round is.
#[derive(Debug)]
enum Stage {
    /// Packets go back and forth.
    Talking(Supplicant),
    /// Our AUTH is due.
    Proven(Box<Completed>),
    /// The responder's is.
    Signed(Box<Completed>),
}

/// An EAP round of ours.
#[derive(Debug)]
pub(super) struct EapClient {
    stage: Stage,
    method: EapMethod,
    /// Our IDi payload of this round.
    id: Id,
    /// Who we are within EAP.
    identity: Identity,
    /// Whom the responder has to be within EAP, if that is configured.
    aaa: Option<Identity>,
    /// The responder has no other way to authenticate itself.
    eap_only: bool,
    /// The packet for the next request.
    packet: Option<Eap>,
}

/// Why a round did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The responder says so.
    Theirs,
    /// We say so.
    Ours,
}

impl EapClient {
    /// A round that begins with this IDi payload.
    pub(super) fn new(method: EapMethod, round: &AuthRound, id: Id) -> Self {
        let own = round.eap_id.as_ref().filter(|id| super::rounds::is_concrete(id));
        let identity = own.cloned().unwrap_or_else(|| id.identity());
        let stage = Stage::Talking(Supplicant::new(method, false));
        Self { stage, method, id, identity, aaa: round.aaa_id.clone(), eap_only: false, packet: None }
    }

    /// The responder left out its AUTH: only a method that authenticates it too will do.
    pub(super) fn require_mutual(&mut self) {
        self.eap_only = true;
        self.stage = Stage::Talking(Supplicant::new(self.method, true));
    }

    /// Packets are going back and forth.
    pub(super) fn is_talking(&self) -> bool {
        matches!(self.stage, Stage::Talking(_))
    }

    /// The packet for the next request.
    pub(super) fn take_packet(&mut self) -> Option<Eap> {
        self.packet.take()
    }

    /// A packet of the responder.
    pub(super) fn process(
        &mut self,
        env: &mut Env<'_>,
        (local, remote): (&AuthRound, &AuthRound),
        responder: &Identity,
        eap: &Eap,
    ) -> Result<(), Refusal> {
        let Stage::Talking(supplicant) = &mut self.stage else { return Err(Refusal::Ours) };
        let mut context = Context {
            rng: env.rng,
            wall: env.wall,
            credentials: env.credentials,
            settings: &env.settings.eap,
            server: self.aaa.as_ref().unwrap_or(responder),
            peer: &self.identity,
            local,
            remote,
        };
        match supplicant.process(&mut context, eap) {
            Turn::Response(packet) => {
                self.packet = Some(packet);
                Ok(())
            }
            Turn::Success(completed) if self.eap_only && !completed.is_mutual() => {
                log!(IKE, 1, "do not allow non-mutual EAP-only authentication");
                Err(Refusal::Ours)
            }
            Turn::Success(completed) => {
                if self.eap_only {
                    log!(IKE, 1, "allow mutual EAP-only authentication");
                }
                self.stage = Stage::Proven(completed);
                Ok(())
            }
            Turn::Refused => Err(Refusal::Theirs),
            Turn::Failed => Err(Refusal::Ours),
        }
    }

    /// Our AUTH, if it is due.
    pub(super) fn sign(&mut self, sa: &mut IkeSa) -> Option<Signed> {
        let Stage::Proven(completed) = &self.stage else { return None };
        let signed = authenticate_by_eap(sa, completed, &self.id)?;
        if let Stage::Proven(completed) =
            std::mem::replace(&mut self.stage, Stage::Talking(Supplicant::new(self.method, false)))
        {
            self.stage = Stage::Signed(completed);
        }
        Some(signed)
    }

    /// The responder's AUTH; a round of its own only if it did not authenticate itself otherwise.
    pub(super) fn verify(self, sa: &mut IkeSa, other: &Id, auth: &Auth) -> Option<Option<VerifiedRound>> {
        let Stage::Signed(completed) = &self.stage else { return None };
        let material = material(sa, Signer::Peer, other, true)?;
        let prf = sa.keys.as_ref()?.prf();
        let round = verify_eap(prf, completed, &other.identity(), None, &material, auth)?;
        Some(self.eap_only.then_some(round))
    }
}
