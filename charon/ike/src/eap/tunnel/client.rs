//! The client's side: not a word about itself before TLS shows that the server is the expected one.

use strongswan::credentials::EapMethod;
use strongswan::log;

use super::{Inside, Kind, inner, peap as format, within};
use crate::eap::identity;
use crate::eap::method::{ClientMethod, ClientStep, Context};
use crate::eap::packet::{self, MethodType, Packet};
use crate::eap::proof::Outcome;
use crate::eap::settings::EapSettings;
use crate::eap::supplicant::{Supplicant, Turn};
use crate::eap::tls::{Channel, Received};
use crate::wire::{Eap, EapCode, EapType};

/// EAP-TTLS.
pub(in crate::eap) fn ttls() -> Box<dyn ClientMethod> {
    Box::new(Client::new(Kind::Ttls))
}

/// EAP-PEAP.
pub(in crate::eap) fn peap() -> Box<dyn ClientMethod> {
    Box::new(Client::new(Kind::Peap))
}

/// What was set up with the first packet.
#[derive(Debug)]
struct Running {
    channel: Channel,
    /// Those for what runs within.
    settings: EapSettings,
}

#[derive(Debug)]
struct Client {
    kind: Kind,
    running: Option<Running>,
    supplicant: Supplicant,
    /// Something was said within.
    begun: bool,
    /// The method within is satisfied, and so is the server.
    completed: bool,
}

impl ClientMethod for Client {
    fn process(&mut self, context: &mut Context<'_>, request: &Packet<'_>) -> ClientStep {
        let framing = &self.kind.settings(context.settings).framing;
        let running = self.running.get_or_insert_with(|| Running {
            channel: Channel::client(self.kind.flavor(), framing),
            settings: within(context.settings),
        });
        match running.channel.receive(context, request.data) {
            Ok(Received::Reply(packet)) => self.conclude(packet),
            Ok(Received::Start) => ClientStep::Respond(running.channel.flush()),
            Ok(Received::Data | Received::Empty) => self.advance(context, request.identifier),
            Err(broken) => broken.0.map_or(ClientStep::Failed, ClientStep::Respond),
        }
    }
}

impl Client {
    fn new(kind: Kind) -> Self {
        let supplicant = Supplicant::new(EapMethod::Any, false);
        Self { kind, running: None, supplicant, begun: false, completed: false }
    }

    fn advance(&mut self, context: &mut Context<'_>, identifier: u8) -> ClientStep {
        let Some(Running { channel, settings }) = &mut self.running else { return ClientStep::Failed };
        let Some(session) = channel.session() else { return ClientStep::Failed };
        if !session.is_established() {
            return ClientStep::Respond(channel.flush());
        }
        let plaintext = session.take_plaintext();
        if plaintext.is_empty() {
            if self.kind == Kind::Ttls && !self.begun {
                // RFC 5281 §11.2.1: the client begins
                let name = identity::emit(context.peer);
                if let Some(packet) = packet::build(EapCode::Response, 0, MethodType::ietf(EapType::Identity), &name) {
                    log!(IKE, 1, "sending tunneled EAP-{} AVP '{}'", "Response/Identity", context.peer);
                    session.write(&self.kind.encode(&packet));
                }
                self.begun = true;
            }
            let packet = channel.flush();
            return self.conclude(packet);
        }
        self.begun = true;
        let inside = self.kind.decode(&plaintext, EapCode::Request, identifier);
        let turn = match inside {
            Some(Inside::Packet(packet)) => {
                // whatever was complete is not any more
                self.completed = false;
                let peer = context.peer;
                self.supplicant.process(&mut inner(context, settings, peer), &packet)
            }
            Some(Inside::Result { success }) => return self.read_result(identifier, success),
            None => {
                log!(IKE, 1, "received invalid packet within {}", self.kind.flavor().kind);
                return ClientStep::Failed;
            }
        };
        match turn {
            Turn::Response(packet) => self.respond(&packet),
            // TTLS says it outside alone, but to say it within does not hurt
            Turn::Success(_) => {
                self.completed = true;
                let packet = channel.flush();
                self.conclude(packet)
            }
            Turn::Refused | Turn::Failed => {
                log!(IKE, 1, "{} phase2 authentication failed", self.kind.flavor().kind);
                ClientStep::Failed
            }
        }
    }

    fn respond(&mut self, packet: &Eap) -> ClientStep {
        let Some(Running { channel, .. }) = &mut self.running else { return ClientStep::Failed };
        let Some(session) = channel.session() else { return ClientStep::Failed };
        session.write(&self.kind.encode(packet));
        // TTLS: the server may find this enough, if the method does
        self.completed = self.kind == Kind::Ttls && self.supplicant.is_satisfied();
        let packet = channel.flush();
        self.conclude(packet)
    }

    /// PEAP: the server's verdict, which is answered in kind. Success before the method is satisfied is none.
    fn read_result(&mut self, identifier: u8, success: bool) -> ClientStep {
        let Some(Running { channel, .. }) = &mut self.running else { return ClientStep::Failed };
        let Some(session) = channel.session() else { return ClientStep::Failed };
        if success && !self.supplicant.is_satisfied() {
            log!(IKE, 1, "received unexpected success within {}", self.kind.flavor().kind);
            return ClientStep::Failed;
        }
        self.completed = success;
        session.write(&format::result(EapCode::Response, identifier, success));
        let packet = channel.flush();
        self.conclude(packet)
    }

    /// Sends a packet, after which success outside counts if everything within is done.
    fn conclude(&mut self, packet: Vec<u8>) -> ClientStep {
        let Some(Running { channel, .. }) = &mut self.running else { return ClientStep::Failed };
        if !self.completed || channel.is_sending() {
            return ClientStep::Respond(packet);
        }
        let Some(session) = channel.session() else { return ClientStep::Failed };
        match (session.msk(), session.peer().cloned()) {
            (Some(msk), Some(key)) => {
                let outcome = Outcome { msk: Some(msk), key: Some(key), mutual: true, ..Outcome::default() };
                ClientStep::Complete(packet, Box::new(outcome))
            }
            _ => ClientStep::Failed,
        }
    }
}
