//! The server's end of a conversation (RFC 3748 §4): asks for a name, chooses a method, and says success or failure.

use strongswan::credentials::EapMethod;
use strongswan::identity::Identity;
use strongswan::log;

use super::identity;
use super::method::{Context, ServerMethod, ServerStep, available, find};
use super::packet::{self, MethodType, Packet};
use super::proof::Completed;
use super::relay::Relay;
use super::wait::{Answer, Wait};
use crate::wire::{Eap, EapCode, EapType};

/// Messages from a client, at most: a TLS handshake with long certificate chains in small fragments needs some dozens.
const MAX_MESSAGES: u32 = 128;

/// What a server does next.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Send a request.
    Request(Eap),
    /// The client told its name, or none: choose a connection and begin a method.
    Identity(Option<Identity>),
    /// Nothing, until the answer is there.
    Wait(Wait),
    /// Send the success; the client has proven what there is.
    Success(Eap, Box<Completed>),
    /// Send the failure, if there is a packet, and give up.
    Failure(Option<Eap>),
}

/// Where it stands.
#[derive(Debug)]
enum Stage {
    /// A method may begin.
    Open,
    /// The client was asked for its name.
    Identity,
    /// A method is under way.
    Method(Box<dyn ServerMethod>),
    /// It is over.
    Over,
}

/// The server's end of a conversation.
#[derive(Debug)]
pub(crate) struct Authenticator {
    stage: Stage,
    /// That of the last request.
    identifier: u8,
    messages: u32,
    /// Methods to try if the client does not want this one.
    alternatives: Vec<MethodType>,
}

impl Authenticator {
    /// A conversation that has not begun.
    pub(crate) fn new(identifier: u8) -> Self {
        Self { stage: Stage::Open, identifier, messages: 0, alternatives: Vec::new() }
    }

    /// Goes on after another identifier: that of packets that carry this conversation without its headers.
    pub(super) fn follow(&mut self, identifier: u8) {
        self.identifier = identifier;
    }

    /// Asks the client for its name.
    pub(crate) fn ask_identity(&mut self) -> Reply {
        self.stage = Stage::Identity;
        self.request(MethodType::ietf(EapType::Identity), &[])
    }

    /// Begins a method: the configured one, or what client and server agree on.
    pub(crate) fn start(&mut self, context: &mut Context<'_>, wanted: EapMethod) -> Reply {
        if !matches!(self.stage, Stage::Open) {
            return self.fail();
        }
        match wanted {
            EapMethod::Radius => self.begin(context, Box::new(Relay::new())),
            EapMethod::Dynamic => {
                self.alternatives = candidates(context);
                self.try_next(context, None)
            }
            EapMethod::Type { .. } | EapMethod::Any => match MethodType::configured(wanted) {
                Some(method) => self.try_method(context, method),
                None => {
                    log!(IKE, 1, "loading {} method failed", MethodType::ietf(EapType::Nak));
                    self.fail()
                }
            },
        }
    }

    /// A packet of the client.
    pub(crate) fn process(&mut self, context: &mut Context<'_>, eap: &Eap) -> Reply {
        self.messages = self.messages.saturating_add(1);
        if self.messages > MAX_MESSAGES {
            log!(IKE, 1, "too many EAP messages, sending EAP_FAILURE");
            return self.fail();
        }
        if eap.code() != EapCode::Response {
            log!(IKE, 1, "received {}, sending {}", eap.code(), EapCode::Failure);
            return self.fail();
        }
        let response = Packet::parse(eap).filter(|response| response.identifier == self.identifier);
        let Some(response) = response else {
            log!(IKE, 1, "received invalid EAP response, sending EAP_FAILURE");
            return self.fail();
        };
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Identity if response.method.is(EapType::Identity) => self.read_identity(&response),
            Stage::Method(method) if method.is_relay() => self.advance(context, method, &response),
            Stage::Method(method) => match response.nak() {
                Some(wanted) => {
                    log!(IKE, 2, "client does not want {}", method.method());
                    self.try_next(context, Some(&wanted))
                }
                None if response.method == method.method() => self.advance(context, method, &response),
                None => self.invalid(&response),
            },
            Stage::Identity | Stage::Open | Stage::Over => self.invalid(&response),
        }
    }

    /// What was waited for is there.
    pub(crate) fn answered(&mut self, context: &mut Context<'_>, answer: Answer) -> Reply {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Method(mut method) => {
                let step = method.answered(context, answer);
                self.carry_out(context, method, step)
            }
            Stage::Identity | Stage::Open | Stage::Over => self.fail(),
        }
    }

    /// The way out for whoever finds a reason of its own.
    pub(crate) fn fail(&mut self) -> Reply {
        self.stage = Stage::Over;
        Reply::Failure(packet::verdict(EapCode::Failure, self.identifier))
    }

    fn invalid(&mut self, response: &Packet<'_>) -> Reply {
        if response.nak().is_some() {
            log!(IKE, 1, "received EAP_NAK, sending EAP_FAILURE");
        } else {
            log!(IKE, 1, "received invalid EAP response, sending EAP_FAILURE");
        }
        self.fail()
    }

    fn read_identity(&mut self, response: &Packet<'_>) -> Reply {
        self.stage = Stage::Open;
        if response.data.is_empty() {
            return Reply::Identity(None);
        }
        match identity::parse(response.data) {
            Some(identity) => {
                log!(IKE, 1, "received EAP identity '{identity}'");
                Reply::Identity(Some(identity))
            }
            None => {
                log!(IKE, 1, "received EAP identity that names nobody");
                self.fail()
            }
        }
    }

    /// The next method to try, after a Nak one that the client names.
    fn try_next(&mut self, context: &mut Context<'_>, wanted: Option<&[MethodType]>) -> Reply {
        if let Some(wanted) = wanted {
            self.alternatives.retain(|method| wanted.contains(method));
            if context.settings.prefer_user {
                self.alternatives.sort_by_key(|method| wanted.iter().position(|other| other == method));
            }
        }
        while let Some(method) = (!self.alternatives.is_empty()).then(|| self.alternatives.remove(0)) {
            if let Some(created) = find(context.settings, method).and_then(|entry| (entry.server)(context)) {
                return self.begin(context, created);
            }
        }
        log!(IKE, 1, "received EAP_NAK, sending EAP_FAILURE");
        self.fail()
    }

    fn try_method(&mut self, context: &mut Context<'_>, method: MethodType) -> Reply {
        match find(context.settings, method).and_then(|entry| (entry.server)(context)) {
            Some(created) => self.begin(context, created),
            None => {
                log!(IKE, 1, "loading {method} method failed");
                self.fail()
            }
        }
    }

    fn begin(&mut self, context: &mut Context<'_>, mut method: Box<dyn ServerMethod>) -> Reply {
        let relay = method.is_relay();
        let kind = method.method();
        let step = method.start(context);
        if matches!(step, ServerStep::Failed) {
            log!(IKE, 1, "initiating {kind} method failed");
            return self.fail();
        }
        let reply = self.carry_out(context, method, step);
        if relay {
            log!(IKE, 1, "initiating EAP_RADIUS method");
        } else {
            log!(IKE, 1, "initiating {kind} method (id 0x{:02X})", self.identifier);
        }
        reply
    }

    fn advance(
        &mut self,
        context: &mut Context<'_>,
        mut method: Box<dyn ServerMethod>,
        response: &Packet<'_>,
    ) -> Reply {
        let step = method.process(context, response);
        self.carry_out(context, method, step)
    }

    fn carry_out(&mut self, context: &Context<'_>, method: Box<dyn ServerMethod>, step: ServerStep) -> Reply {
        let kind = method.method();
        match step {
            ServerStep::Request(data) => {
                self.stage = Stage::Method(method);
                self.request(kind, &data)
            }
            ServerStep::Relay(bytes) => match Eap::new(bytes) {
                Some(eap) => {
                    self.identifier = eap.identifier();
                    self.stage = Stage::Method(method);
                    Reply::Request(eap)
                }
                None => self.fail(),
            },
            ServerStep::Wait(wait) => {
                self.stage = Stage::Method(method);
                Reply::Wait(wait)
            }
            ServerStep::Success(outcome) => {
                self.stage = Stage::Over;
                let established = if outcome.msk.is_some() { "MSK established" } else { "no MSK established" };
                log!(IKE, 1, "EAP method {kind} succeeded, {established}");
                match packet::verdict(EapCode::Success, self.identifier) {
                    Some(eap) => Reply::Success(eap, Box::new(Completed::new(kind, *outcome))),
                    None => self.fail(),
                }
            }
            ServerStep::Failed => {
                log!(IKE, 1, "EAP method {kind} failed for peer {}", context.peer);
                self.fail()
            }
        }
    }

    fn request(&mut self, method: MethodType, data: &[u8]) -> Reply {
        self.identifier = self.identifier.wrapping_add(1);
        match packet::build(EapCode::Request, self.identifier, method, data) {
            Some(eap) => Reply::Request(eap),
            None => self.fail(),
        }
    }
}

/// What to offer a client that may choose: what is preferred, then everything else.
fn candidates(context: &Context<'_>) -> Vec<MethodType> {
    let preferred = context.settings.preferred.iter().copied();
    let mut list: Vec<MethodType> = Vec::new();
    for method in preferred.chain(available(context.settings).map(super::method::Entry::method)) {
        if !list.contains(&method) {
            list.push(method);
        }
    }
    list
}
