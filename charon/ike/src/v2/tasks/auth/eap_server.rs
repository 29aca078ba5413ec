//! EAP rounds of a peer, as the side it authenticates itself to (RFC 7296 §2.16).
//!
//! The conversation comes between the message that leaves out AUTH and the one that has it, made with the key that the
//! conversation yields. Then it is our turn to show that we know that key.

use strongswan::credentials::AuthClass;
use strongswan::identity::Identity;
use strongswan::log;

use super::rounds::{authenticate_by_eap, material};
use crate::config::AuthRound;
use crate::eap::{Answer, Authenticator, Completed, Context, Reply};
use crate::env::Env;
use crate::sa::{IkeSa, Timer};
use crate::v2::auth::{Signer, VerifiedRound, verify_eap};
use crate::wire::{Auth, Eap, Id};

/// How far the round is.
#[derive(Debug, Default)]
enum Stage {
    /// There is none.
    #[default]
    Idle,
    /// Packets go back and forth.
    Talking(Authenticator),
    /// The client has to show its key.
    Proven(Box<Completed>),
    /// It did, and now we have to.
    Verified(Box<Completed>),
}

/// An EAP round of the peer.
#[derive(Debug, Default)]
pub(super) struct EapServer {
    stage: Stage,
    /// The peer's IDi payload of this round.
    id: Option<Id>,
    /// Who it says it is within EAP.
    identity: Option<Identity>,
    /// The packet for the response.
    packet: Option<Eap>,
    /// Something else has to happen before there is one.
    waiting: bool,
}

/// Both sides of a connection in an EAP round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides<'a> {
    /// Our identity.
    pub(super) me: &'a Identity,
    /// Our round.
    pub(super) local: &'a AuthRound,
    /// What is required of the peer.
    pub(super) remote: &'a AuthRound,
    /// We do not authenticate ourselves otherwise.
    pub(super) eap_only: bool,
}

/// What the conversation has come to.
#[derive(Debug)]
pub(super) enum Event {
    /// There is a packet to send, or something to wait for.
    Continues,
    /// The peer told who it is: a connection has to be found before the method begins.
    Identified,
    /// It failed, and the packet for the response says so.
    Failed,
}

impl EapServer {
    /// Packets are going back and forth.
    pub(super) fn is_talking(&self) -> bool {
        matches!(self.stage, Stage::Talking(_))
    }

    /// The peer still has to show the key.
    pub(super) fn is_proven(&self) -> bool {
        matches!(self.stage, Stage::Proven(_))
    }

    /// There is a round.
    pub(super) fn is_active(&self) -> bool {
        !matches!(self.stage, Stage::Idle)
    }

    /// It waits for something else than the peer.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Who the peer says it is within EAP.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The packet for the response.
    pub(super) fn take_packet(&mut self) -> Option<Eap> {
        self.packet.take()
    }

    /// The peer wants to do EAP: it is asked who it is, or the method begins at once.
    pub(super) fn begin(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, sides: Sides<'_>, id: &Id) -> Event {
        let mut first = [0];
        env.rng.fill(&mut first);
        let [first] = first;
        let mut authenticator = Authenticator::new(first);
        self.id = Some(id.clone());
        self.identity = None;
        if sides.remote.eap_id.is_some() {
            let reply = authenticator.ask_identity();
            self.stage = Stage::Talking(authenticator);
            return self.react(sa, sides, reply);
        }
        self.identity = Some(id.identity());
        self.stage = Stage::Talking(authenticator);
        self.start(sa, env, sides)
    }

    /// The peer is known and so is the connection: the method begins.
    pub(super) fn start(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, sides: Sides<'_>) -> Event {
        let AuthClass::Eap(wanted) = sides.remote.class else { return self.refuse() };
        self.converse(sa, env, sides, |authenticator, context| authenticator.start(context, wanted))
    }

    /// A packet of the peer.
    pub(super) fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, sides: Sides<'_>, eap: &Eap) -> Event {
        self.converse(sa, env, sides, |authenticator, context| authenticator.process(context, eap))
    }

    /// What was waited for.
    pub(super) fn answered(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, sides: Sides<'_>, answer: Answer) -> Event {
        self.waiting = false;
        self.converse(sa, env, sides, |authenticator, context| authenticator.answered(context, answer))
    }

    /// Ends the conversation with a failure.
    pub(super) fn refuse(&mut self) -> Event {
        if let Stage::Talking(authenticator) = &mut self.stage
            && let Reply::Failure(packet) = authenticator.fail()
        {
            self.packet = packet;
        }
        self.stage = Stage::Idle;
        Event::Failed
    }

    fn converse(
        &mut self,
        sa: &mut IkeSa,
        env: &mut Env<'_>,
        sides: Sides<'_>,
        step: impl FnOnce(&mut Authenticator, &mut Context<'_>) -> Reply,
    ) -> Event {
        let Stage::Talking(authenticator) = &mut self.stage else { return Event::Failed };
        let any = Identity::any();
        let mut context = Context {
            rng: env.rng,
            wall: env.wall,
            credentials: env.credentials,
            settings: &env.settings.eap,
            server: sides.local.aaa_id.as_ref().unwrap_or(sides.me),
            peer: self.identity.as_ref().unwrap_or(&any),
            local: sides.local,
            remote: sides.remote,
        };
        let reply = step(authenticator, &mut context);
        self.react(sa, sides, reply)
    }

    fn react(&mut self, sa: &mut IkeSa, sides: Sides<'_>, reply: Reply) -> Event {
        match reply {
            Reply::Request(packet) => {
                self.packet = Some(packet);
                Event::Continues
            }
            Reply::Identity(identity) => {
                let other = self.id.as_ref().map_or_else(Identity::any, Id::identity);
                if identity.is_none() {
                    log!(IKE, 1, "client did not send an EAP identity, assume IKE identity '{other}'");
                }
                self.identity = Some(identity.unwrap_or(other));
                Event::Identified
            }
            Reply::Wait(wait) => {
                sa.exchanges.wait = Some(wait);
                self.waiting = true;
                Event::Continues
            }
            Reply::Success(_, completed) if sides.eap_only && !completed.is_mutual() => {
                let method = completed.method();
                log!(
                    IKE,
                    1,
                    "EAP-only authentication requires a mutual and MSK deriving EAP method, but {method} is not"
                );
                self.refuse()
            }
            Reply::Success(packet, completed) => {
                self.packet = Some(packet);
                self.stage = Stage::Proven(completed);
                Event::Continues
            }
            Reply::Failure(packet) => {
                self.packet = packet;
                self.stage = Stage::Idle;
                Event::Failed
            }
        }
    }

    /// The peer's AUTH, made with the key.
    pub(super) fn verify(&mut self, sa: &mut IkeSa, env: &Env<'_>, auth: &Auth) -> Option<VerifiedRound> {
        let Stage::Proven(completed) = std::mem::take(&mut self.stage) else { return None };
        let id = self.id.clone()?;
        let material = material(sa, Signer::Peer, &id, true)?;
        let prf = sa.keys.as_ref()?.prf();
        let round = verify_eap(prf, &completed, &id.identity(), self.identity.as_ref(), &material, auth)?;
        if let Some(timeout) = completed.session_timeout() {
            sa.timers.set_earlier(Timer::Reauth, env.now + timeout);
        }
        self.stage = Stage::Verified(completed);
        Some(round)
    }

    /// Our AUTH, made with the key, once the peer has shown that it knows it.
    pub(super) fn sign(&mut self, sa: &mut IkeSa, own: &Id) -> Option<Option<Auth>> {
        if !matches!(self.stage, Stage::Verified(_)) {
            return Some(None);
        }
        let Stage::Verified(completed) = std::mem::take(&mut self.stage) else { return Some(None) };
        authenticate_by_eap(sa, &completed, own).map(|signed| Some(signed.auth))
    }
}
