//! `eap-radius`: the conversation is an AAA server's, and its packets pass through here as they are.

use strongswan::log;

use super::identity;
use super::method::{Context, ServerMethod, ServerStep};
use super::packet::{self, MethodType, Packet};
use super::proof::Outcome;
use super::wait::{AaaAccept, AaaAnswer, AaaRequest, Answer, Wait};
use crate::wire::{Eap, EapCode, EapType};

/// A conversation of an AAA server.
#[derive(Debug)]
pub(super) struct Relay {
    /// The method of the server's last request.
    method: Option<MethodType>,
    state: Vec<u8>,
}

impl Relay {
    pub(super) fn new() -> Self {
        Self { method: None, state: Vec::new() }
    }

    fn ask(&self, context: &Context<'_>, packet: Vec<u8>) -> ServerStep {
        let (identity, first) = (context.peer.clone(), self.method.is_none());
        ServerStep::Wait(Wait::Aaa(AaaRequest { first, identity, packet, state: self.state.clone() }))
    }

    fn accept(&self, context: &Context<'_>, accept: AaaAccept) -> ServerStep {
        let peer = context.peer;
        // an access server that lets anybody in without having asked for proof is not to be believed
        if self.method.is_none() {
            log!(IKE, 1, "RADIUS authentication of '{peer}' failed");
            return ServerStep::Failed;
        }
        log!(IKE, 1, "RADIUS authentication of '{peer}' successful");
        let mutual = self.method.is_some_and(|method| method.is(EapType::Sim) || method.is(EapType::Aka));
        let AaaAccept { msk, identity, groups, session_timeout } = accept;
        ServerStep::Success(Box::new(Outcome { msk, identity, groups, session_timeout, mutual, key: None }))
    }
}

impl ServerMethod for Relay {
    fn method(&self) -> MethodType {
        self.method.unwrap_or_else(|| MethodType::ietf(EapType::Identity))
    }

    /// The client has told its identity already; the AAA server hears it as if it had asked.
    fn start(&mut self, context: &mut Context<'_>) -> ServerStep {
        let name = identity::emit(context.peer);
        match packet::build(EapCode::Response, 0, MethodType::ietf(EapType::Identity), &name) {
            Some(eap) => self.ask(context, eap.as_bytes().to_vec()),
            None => ServerStep::Failed,
        }
    }

    fn process(&mut self, context: &mut Context<'_>, response: &Packet<'_>) -> ServerStep {
        self.ask(context, response.whole.to_vec())
    }

    fn answered(&mut self, context: &mut Context<'_>, answer: Answer) -> ServerStep {
        match answer {
            Answer::Aaa(AaaAnswer::Challenge { packet, state }) => {
                let method = Eap::new(packet.clone()).and_then(|eap| {
                    Packet::parse(&eap).filter(|_| eap.code() == EapCode::Request).map(|packet| packet.method)
                });
                let Some(method) = method else {
                    log!(IKE, 1, "received invalid EAP message from RADIUS server");
                    return ServerStep::Failed;
                };
                self.method = Some(method);
                self.state = state;
                ServerStep::Relay(packet)
            }
            Answer::Aaa(AaaAnswer::Accept(accept)) => self.accept(context, *accept),
            Answer::Aaa(AaaAnswer::Reject) => {
                log!(IKE, 1, "RADIUS authentication of '{}' failed", context.peer);
                ServerStep::Failed
            }
            Answer::Aaa(AaaAnswer::Unavailable) | Answer::Elapsed => ServerStep::Failed,
        }
    }

    fn is_relay(&self) -> bool {
        true
    }
}
