//! The server's side: TLS first, then an authenticator of its own for what runs within.

use strongswan::credentials::EapMethod;
use strongswan::identity::Identity;
use strongswan::log;

use super::{Inside, Kind, inner, peap as format, within};
use crate::eap::authenticator::{Authenticator, Reply};
use crate::eap::method::{Context, ServerMethod, ServerStep};
use crate::eap::packet::{MethodType, Packet};
use crate::eap::proof::{Completed, Outcome};
use crate::eap::settings::EapSettings;
use crate::eap::tls::{Channel, Received};
use crate::eap::wait::Answer;
use crate::wire::{Eap, EapCode};

/// EAP-TTLS.
pub(in crate::eap) fn ttls(context: &Context<'_>) -> Option<Box<dyn ServerMethod>> {
    create(context, Kind::Ttls)
}

/// EAP-PEAP.
pub(in crate::eap) fn peap(context: &Context<'_>) -> Option<Box<dyn ServerMethod>> {
    create(context, Kind::Peap)
}

fn create(context: &Context<'_>, kind: Kind) -> Option<Box<dyn ServerMethod>> {
    let settings = kind.settings(context.settings);
    let method = kind.flavor().kind;
    let Some(wanted) = settings.phase2_method.filter(|wanted| !matches!(wanted, EapMethod::Any | EapMethod::Radius))
    else {
        log!(CFG, 1, "{method} phase2 method not supported");
        return None;
    };
    let channel = Channel::server(context, kind.flavor(), &settings.framing, settings.request_peer_auth)?;
    let piggyback = settings.phase2_piggyback;
    let settings = within(context.settings);
    let stage = Stage::Handshake;
    Some(Box::new(Server { kind, channel, settings, wanted, piggyback, peer: None, outer: 0, stage }))
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// Nothing has come through TLS yet.
    Handshake,
    /// A method runs within.
    Inner(Box<Authenticator>),
    /// The client has to acknowledge the result.
    Result(Option<Box<Outcome>>),
    /// It is over.
    Over,
}

#[derive(Debug)]
struct Server {
    kind: Kind,
    channel: Channel,
    /// Those for what runs within.
    settings: EapSettings,
    wanted: EapMethod,
    piggyback: bool,
    /// Who the client says it is within.
    peer: Option<Identity>,
    /// The identifier of the last response.
    outer: u8,
    stage: Stage,
}

impl ServerMethod for Server {
    fn method(&self) -> MethodType {
        MethodType::ietf(self.kind.flavor().kind)
    }

    fn start(&mut self, _context: &mut Context<'_>) -> ServerStep {
        ServerStep::Request(Channel::start())
    }

    fn process(&mut self, context: &mut Context<'_>, response: &Packet<'_>) -> ServerStep {
        self.outer = response.identifier;
        match self.channel.receive(context, response.data) {
            Ok(Received::Reply(packet)) => ServerStep::Request(packet),
            Ok(Received::Data) => self.advance(context),
            Ok(Received::Empty) => self.acknowledged(context),
            Err(broken) => broken.0.map_or(ServerStep::Failed, ServerStep::Request),
            Ok(Received::Start) => ServerStep::Failed,
        }
    }

    fn answered(&mut self, context: &mut Context<'_>, answer: Answer) -> ServerStep {
        self.converse(context, |authenticator, context| authenticator.answered(context, answer))
    }
}

impl Server {
    /// The client has nothing to say: if TLS is there, it is asked who it is.
    fn acknowledged(&mut self, context: &mut Context<'_>) -> ServerStep {
        let established = self.channel.session().is_some_and(|session| session.is_established());
        match self.stage {
            Stage::Handshake if established => self.ask_identity(context),
            _ => {
                log!(TLS, 1, "received unexpected {} acknowledgement", self.kind.flavor().kind);
                ServerStep::Failed
            }
        }
    }

    fn advance(&mut self, context: &mut Context<'_>) -> ServerStep {
        let Some(session) = self.channel.session() else { return ServerStep::Failed };
        if !session.is_established() {
            return ServerStep::Request(self.channel.flush());
        }
        let plaintext = session.take_plaintext();
        let tls13 = session.is_tls13();
        match &self.stage {
            // with TLS 1.3 the handshake ends with a message of the client: PEAP's server is next
            Stage::Handshake if plaintext.is_empty() && (self.piggyback || (tls13 && self.kind == Kind::Peap)) => {
                self.ask_identity(context)
            }
            Stage::Handshake if plaintext.is_empty() => ServerStep::Request(self.channel.flush()),
            _ => self.receive(context, &plaintext),
        }
    }

    fn receive(&mut self, context: &mut Context<'_>, plaintext: &[u8]) -> ServerStep {
        let Some(inside) = self.kind.decode(plaintext, EapCode::Response, self.outer) else {
            log!(IKE, 1, "received invalid packet within {}", self.kind.flavor().kind);
            return ServerStep::Failed;
        };
        match (&mut self.stage, inside) {
            (Stage::Inner(authenticator), Inside::Packet(packet)) => {
                // PEAP's packets have no identifier of their own, and EAP-MD5 depends on it
                if self.kind == Kind::Peap {
                    authenticator.follow(self.outer);
                }
                self.converse(context, |authenticator, context| authenticator.process(context, &packet))
            }
            // RFC 5281 §11.2.1: the client tells who it is as if it had been asked
            (Stage::Handshake, Inside::Packet(packet)) if self.kind == Kind::Ttls => {
                let mut authenticator = Authenticator::new(packet.identifier().wrapping_sub(1));
                drop(authenticator.ask_identity());
                self.stage = Stage::Inner(Box::new(authenticator));
                self.converse(context, |authenticator, context| authenticator.process(context, &packet))
            }
            (Stage::Result(outcome), Inside::Result { success }) => match outcome.take().filter(|_| success) {
                Some(outcome) => ServerStep::Success(outcome),
                None => ServerStep::Failed,
            },
            _ => {
                log!(IKE, 1, "received unexpected packet within {}", self.kind.flavor().kind);
                ServerStep::Failed
            }
        }
    }

    fn ask_identity(&mut self, context: &mut Context<'_>) -> ServerStep {
        self.stage = Stage::Inner(Box::new(Authenticator::new(self.outer)));
        self.converse(context, |authenticator, _| authenticator.ask_identity())
    }

    /// Lets the authenticator within do something, and sends what it says.
    fn converse(
        &mut self,
        context: &mut Context<'_>,
        step: impl FnOnce(&mut Authenticator, &mut Context<'_>) -> Reply,
    ) -> ServerStep {
        let reply = self.step(context, step);
        self.react(context, reply)
    }

    fn step(
        &mut self,
        context: &mut Context<'_>,
        step: impl FnOnce(&mut Authenticator, &mut Context<'_>) -> Reply,
    ) -> Reply {
        let Stage::Inner(authenticator) = &mut self.stage else { return Reply::Failure(None) };
        let peer = self.peer.as_ref().unwrap_or(context.peer);
        step(authenticator, &mut inner(context, &self.settings, peer))
    }

    fn react(&mut self, context: &mut Context<'_>, reply: Reply) -> ServerStep {
        match reply {
            Reply::Request(packet) => self.request(&packet),
            Reply::Identity(identity) => {
                self.peer = Some(identity.unwrap_or_else(|| context.peer.clone()));
                let wanted = self.wanted;
                let reply = self.step(context, |authenticator, context| authenticator.start(context, wanted));
                self.react(context, reply)
            }
            Reply::Wait(wait) => ServerStep::Wait(wait),
            Reply::Success(packet, completed) => self.succeed(context, &packet, &completed),
            Reply::Failure(_) => self.fail(),
        }
    }

    fn request(&mut self, packet: &Eap) -> ServerStep {
        let plaintext = self.kind.encode(packet);
        self.send(&plaintext)
    }

    fn send(&mut self, plaintext: &[u8]) -> ServerStep {
        let Some(session) = self.channel.session() else { return ServerStep::Failed };
        session.write(plaintext);
        ServerStep::Request(self.channel.flush())
    }

    fn fail(&mut self) -> ServerStep {
        log!(IKE, 1, "{} phase2 authentication failed", self.kind.flavor().kind);
        match self.kind {
            Kind::Ttls => {
                self.stage = Stage::Over;
                ServerStep::Failed
            }
            Kind::Peap => {
                self.stage = Stage::Result(None);
                self.send(&format::result(EapCode::Request, 0, false))
            }
        }
    }

    fn succeed(&mut self, context: &Context<'_>, packet: &Eap, completed: &Completed) -> ServerStep {
        let method = self.kind.flavor().kind;
        let Some(session) = self.channel.session() else { return ServerStep::Failed };
        let (msk, key) = (session.msk(), session.peer().cloned());
        let identity = completed.identity().or(self.peer.as_ref()).unwrap_or(context.peer).clone();
        if msk.is_none() || !is_bound(context, &identity) {
            return self.fail();
        }
        log!(IKE, 1, "{method} phase2 authentication of '{identity}' with {} successful", completed.method());
        let groups = completed.groups().to_vec();
        let session_timeout = completed.session_timeout();
        let outcome = Outcome { msk, identity: Some(identity), key, groups, mutual: true, session_timeout };
        match self.kind {
            // RFC 5281 §11.2.1: success is said outside alone
            Kind::Ttls => {
                self.stage = Stage::Over;
                ServerStep::Success(Box::new(outcome))
            }
            Kind::Peap => {
                self.stage = Stage::Result(Some(Box::new(outcome)));
                self.send(&format::result(EapCode::Request, packet.identifier(), true))
            }
        }
    }
}

/// Whether the connection may be used by who was authenticated within. If it names EAP identities, IKE_AUTH compares
/// them, and may find another connection. If it names IKE identities alone, that is where the client has come in: who
/// proves to be somebody else does not get in by that name.
fn is_bound(context: &Context<'_>, identity: &Identity) -> bool {
    if context.remote.eap_id.is_some() || identity == context.peer {
        return true;
    }
    match context.remote.id.as_ref().filter(|id| !id.is_any()) {
        Some(wanted) if !identity.matches(wanted).is_match() => {
            log!(CFG, 1, "constraint check failed: EAP identity '{wanted}' required, not matched by '{identity}'");
            false
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::EapType;

    #[test]
    fn a_tunnel_within_a_tunnel_is_none() {
        let settings = within(&EapSettings::default());
        let inside = |kind| crate::eap::method::find(&settings, MethodType::ietf(kind)).is_some();
        assert!(!inside(EapType::Ttls) && !inside(EapType::Peap) && inside(EapType::Md5) && inside(EapType::Tls));
    }
}
