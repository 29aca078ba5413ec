//! A TLS connection over EAP packets.

use strongswan::log;

use super::Flavor;
use super::framing::{Frame, Framing};
use super::session::{Session, TlsError};
use super::settings::FramingSettings;
use crate::eap::method::Context;

/// What a packet led to.
#[derive(Debug)]
pub(in crate::eap) enum Received {
    /// Send this: the transfer goes on.
    Reply(Vec<u8>),
    /// The connection begins; there is something to send.
    Start,
    /// The other side has everything and nothing to say.
    Empty,
    /// TLS went on.
    Data,
}

/// It is over. There may be a last packet, an alert.
#[derive(Debug)]
pub(in crate::eap) struct Broken(pub(in crate::eap) Option<Vec<u8>>);

/// A TLS connection over EAP packets.
#[derive(Debug)]
pub(in crate::eap) struct Channel {
    flavor: Flavor,
    framing: Framing,
    /// A client has none before the server begins, and nobody after a failure.
    session: Option<Session>,
    established: bool,
}

impl Channel {
    /// The client's end.
    pub(in crate::eap) fn client(flavor: Flavor, framing: &FramingSettings) -> Self {
        let framing = Framing::client(flavor.kind, framing.clone());
        Self { flavor, framing, session: None, established: false }
    }

    /// The server's end, if it has a key.
    pub(in crate::eap) fn server(
        context: &Context<'_>,
        flavor: Flavor,
        framing: &FramingSettings,
        peer_auth: bool,
    ) -> Option<Self> {
        let session = Session::server(context, flavor, peer_auth)?;
        let framing = Framing::server(flavor.kind, framing.clone());
        Some(Self { flavor, framing, session: Some(session), established: false })
    }

    /// The first packet of a server.
    pub(in crate::eap) fn start() -> Vec<u8> {
        Framing::start()
    }

    /// The connection, once there is one.
    pub(in crate::eap) fn session(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    /// What follows the type of a received packet.
    pub(in crate::eap) fn receive(&mut self, context: &Context<'_>, data: &[u8]) -> Result<Received, Broken> {
        let frame = match self.framing.receive(data) {
            Ok(frame) => frame,
            Err(error) => {
                log!(TLS, 1, "received invalid {} packet: {error}", self.flavor.kind);
                self.session = None;
                return Err(Broken(None));
            }
        };
        match frame {
            Frame::Reply(packet) => Ok(Received::Reply(packet)),
            Frame::Start => {
                self.session = Session::client(context, self.flavor);
                if self.session.is_some() { Ok(Received::Start) } else { Err(Broken(None)) }
            }
            Frame::Empty if self.session.is_some() => Ok(Received::Empty),
            Frame::Empty => Err(Broken(None)),
            Frame::Message(message) => self.feed(context, &message),
        }
    }

    fn feed(&mut self, context: &Context<'_>, message: &[u8]) -> Result<Received, Broken> {
        let Some(session) = &mut self.session else { return Err(Broken(None)) };
        let result = session.feed(context, message);
        if !self.established && session.is_established() {
            self.established = true;
            session.log_established();
        }
        match result {
            Ok(()) => Ok(Received::Data),
            Err(error) => {
                self.session = None;
                Err(match error {
                    TlsError::Alert(alert) if !alert.is_empty() => Broken(Some(self.framing.send(alert))),
                    TlsError::Alert(_) | TlsError::Untrusted | TlsError::Closed => Broken(None),
                })
            }
        }
    }

    /// Everything that TLS has to send, as the next packet; an empty one if that is nothing.
    pub(in crate::eap) fn flush(&mut self) -> Vec<u8> {
        match self.session.as_mut().map(Session::output).filter(|out| !out.is_empty()) {
            Some(out) => self.framing.send(out),
            None => Framing::empty(),
        }
    }

    /// There is more to send than fits into the last packet.
    pub(in crate::eap) fn is_sending(&self) -> bool {
        self.framing.is_sending()
    }
}
