//! The client's side of EAP-TLS: it shows its certificate to the server that it expects, and to no other.

use strongswan::log;

use super::server::COMMITMENT;
use super::{Channel, Received, TLS};
use crate::eap::method::{ClientMethod, ClientStep, Context};
use crate::eap::packet::Packet;
use crate::eap::proof::Outcome;

pub(in crate::eap) fn create() -> Box<dyn ClientMethod> {
    Box::new(Client { channel: None, committed: false })
}

#[derive(Debug)]
struct Client {
    channel: Option<Channel>,
    /// With TLS 1.3: the server has said that there is no more to come.
    committed: bool,
}

impl ClientMethod for Client {
    fn process(&mut self, context: &mut Context<'_>, request: &Packet<'_>) -> ClientStep {
        let settings = &context.settings.eap_tls;
        let channel = self.channel.get_or_insert_with(|| Channel::client(TLS, settings));
        match channel.receive(context, request.data) {
            Ok(Received::Reply(packet)) => ClientStep::Respond(packet),
            Ok(Received::Start) => ClientStep::Respond(channel.flush()),
            Ok(Received::Data) => self.advance(),
            Err(broken) => broken.0.map_or(ClientStep::Failed, ClientStep::Respond),
            Ok(Received::Empty) => {
                log!(TLS, 1, "received unexpected {} packet", TLS.kind);
                ClientStep::Failed
            }
        }
    }
}

impl Client {
    fn advance(&mut self) -> ClientStep {
        let Some(channel) = &mut self.channel else { return ClientStep::Failed };
        let Some(session) = channel.session() else { return ClientStep::Failed };
        let plaintext = session.take_plaintext();
        if session.is_tls13() {
            match plaintext.as_slice() {
                [] => {}
                COMMITMENT if !self.committed => self.committed = true,
                _ => {
                    log!(TLS, 1, "received application data in {}", TLS.kind);
                    return ClientStep::Failed;
                }
            }
        } else if !plaintext.is_empty() {
            log!(TLS, 1, "received application data in {}", TLS.kind);
            return ClientStep::Failed;
        }
        // RFC 9190 §2.5: with TLS 1.3 success before the commitment is none
        let complete = session.is_established() && (self.committed || !session.is_tls13());
        let outcome = complete.then(|| {
            let (msk, key) = (session.msk(), session.peer().cloned());
            Box::new(Outcome { mutual: msk.is_some() && key.is_some(), msk, key, ..Outcome::default() })
        });
        let packet = channel.flush();
        match outcome.filter(|outcome| outcome.mutual && !channel.is_sending()) {
            Some(outcome) => ClientStep::Complete(packet, outcome),
            None => ClientStep::Respond(packet),
        }
    }
}
