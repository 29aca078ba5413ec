//! The client's end of a conversation (RFC 3748 §4): tells its name, agrees on a method, and believes in success when the
//! method does.

use strongswan::credentials::EapMethod;
use strongswan::log;

use super::identity;
use super::method::{ClientMethod, ClientStep, Context, Entry, available, find};
use super::packet::{self, MethodType, Packet};
use super::proof::{Completed, Outcome};
use crate::wire::{Eap, EapCode, EapType};

/// Requests of a server, at most.
const MAX_MESSAGES: u32 = 128;

/// What a client does next.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Send a response.
    Response(Eap),
    /// The server says that it is content, and so is the method.
    Success(Box<Completed>),
    /// The server is not content.
    Refused,
    /// Give up.
    Failed,
}

/// The method in use.
#[derive(Debug)]
struct Running {
    kind: MethodType,
    method: Box<dyn ClientMethod>,
    /// What it has to show, once it has nothing against success.
    outcome: Option<Box<Outcome>>,
}

/// The client's end of a conversation.
#[derive(Debug)]
pub(crate) struct Supplicant {
    wanted: EapMethod,
    /// The server does not authenticate itself otherwise.
    must_be_mutual: bool,
    running: Option<Running>,
    messages: u32,
}

impl Supplicant {
    /// A conversation about this method, or any. With `must_be_mutual` it has to authenticate the server too.
    pub(crate) fn new(wanted: EapMethod, must_be_mutual: bool) -> Self {
        Self { wanted, must_be_mutual, running: None, messages: 0 }
    }

    /// A packet of the server.
    pub(crate) fn process(&mut self, context: &mut Context<'_>, eap: &Eap) -> Turn {
        self.messages = self.messages.saturating_add(1);
        if self.messages > MAX_MESSAGES {
            log!(IKE, 1, "too many EAP messages");
            return Turn::Failed;
        }
        match eap.code() {
            EapCode::Request => match Packet::parse(eap) {
                Some(request) => self.request(context, &request),
                None => self.invalid(),
            },
            EapCode::Success => self.success(),
            EapCode::Failure => {
                log!(IKE, 1, "received EAP_FAILURE, EAP authentication failed");
                Turn::Refused
            }
            EapCode::Response | EapCode::Unknown(_) => self.invalid(),
        }
    }

    /// The method has nothing against success. Where success is said by other means, that is what counts.
    pub(super) fn is_satisfied(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.outcome.is_some())
    }

    fn invalid(&mut self) -> Turn {
        log!(IKE, 1, "received invalid EAP message");
        self.running = None;
        Turn::Failed
    }

    /// Success counts if the method has nothing against it (RFC 3748 §7.16: an early one is a forgery).
    fn success(&mut self) -> Turn {
        match self.running.take() {
            Some(Running { kind, outcome: Some(outcome), .. }) => {
                let established = if outcome.msk.is_some() { "MSK established" } else { "no MSK established" };
                log!(IKE, 1, "EAP method {kind} succeeded, {established}");
                Turn::Success(Box::new(Completed::new(kind, *outcome)))
            }
            _ => {
                log!(IKE, 1, "received unexpected EAP_SUCCESS");
                Turn::Failed
            }
        }
    }

    fn request(&mut self, context: &mut Context<'_>, request: &Packet<'_>) -> Turn {
        if request.method.is(EapType::Notification) {
            log!(IKE, 1, "received EAP notification of {} bytes", request.data.len());
            return respond(request, request.method, &[]);
        }
        if let Some(running) = &mut self.running {
            if running.kind != request.method {
                return self.invalid();
            }
            return self.advance(context, request);
        }
        if request.method.is(EapType::Identity) {
            log!(IKE, 1, "server requested EAP_IDENTITY (id 0x{:02X}), sending '{}'", request.identifier, context.peer);
            return respond(request, request.method, &identity::emit(context.peer));
        }
        log!(IKE, 1, "server requested {} authentication (id 0x{:02X})", request.method, request.identifier);
        self.choose(context, request)
    }

    /// Begins the method the server proposes, or says what it should be instead.
    fn choose(&mut self, context: &mut Context<'_>, request: &Packet<'_>) -> Turn {
        let wanted = MethodType::configured(self.wanted);
        if let Some(wanted) = wanted.filter(|wanted| *wanted != request.method) {
            log!(IKE, 1, "requesting {wanted} authentication, sending EAP_NAK");
            return packet::nak(request, &[wanted]).map_or(Turn::Failed, Turn::Response);
        }
        let Some(entry) = find(context.settings, request.method) else {
            log!(IKE, 1, "EAP method not supported, sending EAP_NAK");
            let fits = |entry: &&Entry| {
                (!self.must_be_mutual || entry.mutual) && wanted.is_none_or(|wanted| wanted == entry.method())
            };
            let supported: Vec<_> = available(context.settings).filter(fits).map(Entry::method).collect();
            return packet::nak(request, &supported).map_or(Turn::Failed, Turn::Response);
        };
        if self.must_be_mutual && !entry.mutual {
            let kind = request.method;
            log!(IKE, 1, "EAP-only authentication requires a mutual and MSK deriving EAP method, but {kind} is not");
            return Turn::Failed;
        }
        self.running = Some(Running { kind: request.method, method: (entry.client)(), outcome: None });
        self.advance(context, request)
    }

    fn advance(&mut self, context: &mut Context<'_>, request: &Packet<'_>) -> Turn {
        let Some(mut running) = self.running.take() else { return Turn::Failed };
        // whatever it had to show was not the end
        running.outcome = None;
        let data = match running.method.process(context, request) {
            ClientStep::Respond(data) => data,
            ClientStep::Complete(data, outcome) => {
                running.outcome = Some(outcome);
                data
            }
            ClientStep::Failed => {
                log!(IKE, 1, "{} method failed", running.kind);
                return Turn::Failed;
            }
        };
        self.running = Some(running);
        respond(request, request.method, &data)
    }
}

fn respond(request: &Packet<'_>, method: MethodType, data: &[u8]) -> Turn {
    packet::build(EapCode::Response, request.identifier, method, data).map_or(Turn::Failed, Turn::Response)
}
