//! The server's side of EAP-TLS: clients have certificates that are good for the names they gave.

use strongswan::log;

use super::{Channel, Received, TLS};
use crate::eap::method::{Context, ServerMethod, ServerStep};
use crate::eap::packet::{MethodType, Packet};
use crate::eap::proof::Outcome;

/// RFC 9190 §2.5: the server has sent its last handshake message.
pub(super) const COMMITMENT: &[u8] = &[0];

pub(in crate::eap) fn create(context: &Context<'_>) -> Option<Box<dyn ServerMethod>> {
    let channel = Channel::server(context, TLS, &context.settings.eap_tls, true)?;
    Some(Box::new(Server { channel, finished: false }))
}

#[derive(Debug)]
struct Server {
    channel: Channel,
    /// Everything is said, and the client has to acknowledge it.
    finished: bool,
}

impl ServerMethod for Server {
    fn method(&self) -> MethodType {
        MethodType::ietf(TLS.kind)
    }

    fn start(&mut self, _context: &mut Context<'_>) -> ServerStep {
        ServerStep::Request(Channel::start())
    }

    fn process(&mut self, context: &mut Context<'_>, response: &Packet<'_>) -> ServerStep {
        match self.channel.receive(context, response.data) {
            Ok(Received::Reply(packet)) => ServerStep::Request(packet),
            Ok(Received::Empty) if self.finished => self.succeed(),
            Ok(Received::Data) if !self.finished => self.advance(),
            Err(broken) => broken.0.map_or(ServerStep::Failed, ServerStep::Request),
            Ok(Received::Start | Received::Empty | Received::Data) => {
                log!(TLS, 1, "received unexpected {} packet", TLS.kind);
                ServerStep::Failed
            }
        }
    }
}

impl Server {
    fn advance(&mut self) -> ServerStep {
        let Some(session) = self.channel.session() else { return ServerStep::Failed };
        if session.is_established() {
            if !session.take_plaintext().is_empty() {
                log!(TLS, 1, "received application data in {}", TLS.kind);
                return ServerStep::Failed;
            }
            if session.is_tls13() {
                session.write(COMMITMENT);
            }
            self.finished = true;
        }
        ServerStep::Request(self.channel.flush())
    }

    fn succeed(&mut self) -> ServerStep {
        let Some(session) = self.channel.session() else { return ServerStep::Failed };
        // both are there if the handshake is complete; without either nobody is let in
        let (Some(msk), Some(key)) = (session.msk(), session.peer().cloned()) else { return ServerStep::Failed };
        let outcome = Outcome { msk: Some(msk), key: Some(key), mutual: true, ..Outcome::default() };
        ServerStep::Success(Box::new(outcome))
    }
}
