//! Messages on their way out: header, order of payloads, protection, fragments.

use std::net::SocketAddr;
use std::sync::Arc;

use strongswan::log;

use crate::config::Fragmentation;
use crate::env::Env;
use crate::output::{Event, Output, Transmit};
use crate::sa::{Extensions, IkeSa, Role};
use crate::wire::{
    EncodeError, ExchangeType, Header, HeaderFlags, Message, MessageId, Notify, NotifyType, Sealer, covered_by_us,
    message_limit,
};

impl IkeSa {
    /// The header of a request of ours.
    pub(super) fn request_header(&self, exchange: ExchangeType, message_id: MessageId) -> Header {
        let flags = match self.id.role {
            Role::Initiator => HeaderFlags::INITIATOR,
            Role::Responder => HeaderFlags::empty(),
        };
        Header { initiator_spi: self.id.initiator, responder_spi: self.id.responder, exchange, flags, message_id }
    }

    /// Encodes a message; a protected one may take several datagrams.
    pub(super) fn encode(&mut self, env: &mut Env<'_>, message: &mut Message) -> Result<Vec<Vec<u8>>, EncodeError> {
        message.sort();
        log!(ENC, 1, "generating {}", message.notation());
        self.report_message(&message.header, false);
        if message.header.exchange == ExchangeType::IkeSaInit {
            return Ok(vec![message.encode_plain()?]);
        }
        let limit = if self.may_fragment() {
            let datagram = env.settings.fragment_size.towards(self.remote.ip());
            message_limit(datagram, self.remote.ip(), self.uses_marker(env))
        } else {
            usize::MAX
        };
        if message.header.exchange == ExchangeType::IkeIntermediate {
            self.cover(self.id.role, &covered_by_us(message)?).map_err(|_| EncodeError::Cipher)?;
        }
        let keys = self.keys.as_mut().ok_or(EncodeError::Cipher)?;
        let (cipher, ivs) = keys.outbound().map_err(|_| EncodeError::Cipher)?;
        Sealer { cipher, ivs, rng: env.rng }.protect_fragmented(message, limit)
    }

    /// A message is on its way, in or out.
    pub(super) fn report_message(&mut self, header: &Header, incoming: bool) {
        let connection = self.config().map(|config| Arc::clone(&config.name));
        let (exchange, request) = (header.exchange, header.is_request());
        self.event(Event::Message { connection, exchange, incoming, request });
    }

    fn may_fragment(&self) -> bool {
        match self.ike_config().map(|config| config.fragmentation) {
            Some(Fragmentation::Force) => true,
            Some(Fragmentation::Yes) => self.extensions.contains(Extensions::FRAGMENTATION),
            Some(Fragmentation::Accept | Fragmentation::No) | None => false,
        }
    }

    /// Whether messages between these ports carry a non-ESP marker.
    fn uses_marker(&self, env: &Env<'_>) -> bool {
        self.remote.port() != 500 && self.local.port() != env.settings.port
    }

    /// Keeps our IKE_SA_INIT message, which our AUTH payload covers byte by byte (RFC 7296 §2.15).
    pub(super) fn keep_init(&mut self, exchange: ExchangeType, packets: &[Vec<u8>]) {
        if exchange == ExchangeType::IkeSaInit
            && let (Some(handshake), Some(datagram)) = (self.handshake(), packets.first())
        {
            handshake.init_sent.clone_from(datagram);
        }
    }

    /// Tells a responder that we could not authenticate it. It thinks that the exchange is over, so this is a request of
    /// its own, sent once (spec §5.3).
    pub(crate) fn send_auth_failed(&mut self, env: &mut Env<'_>) {
        let mut message = Message::new(self.request_header(ExchangeType::Informational, self.exchanges.next_id));
        message.push(Notify::new(NotifyType::AuthenticationFailed));
        if let Ok(packets) = self.encode(env, &mut message) {
            self.transmit(env, &packets);
        }
    }

    /// Sends datagrams to the peer's current address.
    pub(super) fn transmit(&mut self, env: &Env<'_>, packets: &[Vec<u8>]) {
        let (local, remote) = (self.local, self.remote);
        self.transmit_to(env, local, remote, packets);
    }

    /// Sends datagrams between given addresses: responses go back to where the request came from.
    pub(super) fn transmit_to(&mut self, env: &Env<'_>, local: SocketAddr, remote: SocketAddr, packets: &[Vec<u8>]) {
        let dscp = self.ike_config().map_or(0, |config| config.dscp);
        for data in packets {
            self.push(Output::Send(Transmit { local, remote, data: data.clone(), keepalive: false, dscp }));
        }
        self.last_outbound = env.now;
    }
}
