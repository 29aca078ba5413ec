//! Datagrams on their way in: which are accepted, and what becomes of the others (spec §2.4).

use std::net::SocketAddr;

use strongswan::crypto::hash::sha1;
use strongswan::log;

use super::admission::{self, Direction, Pending};
use super::exchanges::{Exchanges, Request};
use super::explain;
use super::task::{Failure, Incoming};
use crate::env::Env;
use crate::output::Alert;
use crate::sa::{Connection, IkeSa, IkeSaState, Role, Timer};
use crate::wire::{
    self, ExchangeType, Header, Message, MessageId, Notify, NotifyType, Progress, Protected, ProtectionError, Reaction,
    Reassembler, Received, WireError, covered,
};

impl IkeSa {
    /// A datagram arrived.
    pub(crate) fn receive(&mut self, env: &mut Env<'_>, local: SocketAddr, remote: SocketAddr, data: Vec<u8>) {
        let Ok((header, _)) = Header::parse(&data) else { return };
        if !self.is_for_us(&header) || !self.accepts_id(env, &header, local, remote, &data) {
            return;
        }
        if !self.admits(&header) {
            return;
        }
        // decryption works in place, so that this is the last chance
        let hash = if header.is_request() { sha1(&[&data]) } else { [0; 20] };
        let message = Message::new(header);
        let mut incoming = Incoming { message, datagram: data, covered: Vec::new(), local, remote };
        let parsed = match wire::parse(&incoming.datagram) {
            Ok(Received::Plain(message)) => Ok(Some(message)),
            Ok(Received::Protected(protected)) => self.open(env, &protected, &mut incoming, hash),
            Err(error) => Err(error),
        };
        match parsed {
            Ok(Some(message)) => {
                log!(ENC, 1, "parsed {}", message.notation());
                incoming.message = message;
            }
            Ok(None) => return,
            Err(error) => return self.parse_failed(env, &incoming, hash, error),
        }
        if header.is_request() { self.accept_request(env, incoming, hash) } else { self.accept_response(env, incoming) }
    }

    /// The SPIs and the sender's role fit this IKE_SA.
    fn is_for_us(&mut self, header: &Header) -> bool {
        let from_initiator = self.id.role == Role::Responder;
        if header.initiator_spi != self.id.initiator || header.from_initiator() != from_initiator {
            return false;
        }
        match (self.id.role, self.id.responder) {
            // as responder we know our SPI before the peer does
            (Role::Responder, own) => header.responder_spi.is_none() || header.responder_spi == own,
            (Role::Initiator, None) => true,
            (Role::Initiator, known) => header.responder_spi == known,
        }
    }

    /// The table has this message. What it does not have must not even be looked into: IKE_SA_INIT is not protected, and
    /// what is wrong with a message would be answered, and use up a message ID of the peer's.
    pub(super) fn admits(&self, header: &Header) -> bool {
        let Header { exchange, .. } = *header;
        let direction = if header.is_request() { Direction::Request } else { Direction::Response };
        let pending = Pending { key_exchange: self.due_key_exchange().is_some() };
        let due = |request: &Request| request.exchange == ExchangeType::IkeSaInit;
        let unprotected = direction == Direction::Response && exchange == ExchangeType::IkeSaInit;
        let admitted = admission::admits(self.state(), self.id.role, direction, exchange, pending)
            && (!unprotected || self.exchanges.request.as_deref().is_some_and(due));
        if !admitted {
            let half_open = matches!(self.state(), IkeSaState::Created | IkeSaState::Connecting);
            if exchange == ExchangeType::CreateChildSa && half_open && header.is_request() {
                log!(IKE, 1, "received CREATE_CHILD_SA request for unestablished IKE_SA, rejected");
            } else {
                log!(IKE, 1, "ignoring {exchange} in IKE_SA state {}", self.state());
            }
        }
        admitted
    }

    /// The message ID is that of the exchange that is due. A repeated request is answered once more.
    fn accepts_id(
        &mut self,
        env: &Env<'_>,
        header: &Header,
        local: SocketAddr,
        remote: SocketAddr,
        data: &[u8],
    ) -> bool {
        let id = header.message_id;
        if header.is_response() {
            let expected = self.exchanges.request.as_ref().map(|request| request.id);
            if expected != Some(id) {
                let expected = expected.unwrap_or(self.exchanges.next_id);
                log!(IKE, 1, "received message ID {id}, expected {expected}, ignored");
            }
            let held = self.exchanges.held.as_ref().is_some_and(|held| !held.is_request());
            return expected == Some(id) && !held;
        }
        let expected = self.exchanges.expected_id;
        let held = self.exchanges.held.as_ref().is_some_and(|held| held.is_request());
        if id == expected && (held || self.exchanges.suspended.is_some()) {
            log!(IKE, 2, "request with ID {id} is being worked on, ignored");
            return false;
        }
        if id == expected {
            return true;
        }
        if id.next() == expected && id != MessageId(u32::MAX) {
            let authenticated = self.is_authenticated();
            let answered = self.exchanges.answered.as_mut().filter(|answered| answered.hash == sha1(&[data]));
            if let Some(packets) = answered.and_then(|answered| answered.again(authenticated)) {
                log!(IKE, 1, "received retransmit of request with ID {id}, retransmitting response");
                // no sign of life: anybody may have kept a copy
                self.alert(Alert::RetransmitReceive);
                self.transmit_to(env, local, remote, &packets);
                return false;
            }
        }
        if self.may_synchronise(header) {
            return true;
        }
        log!(IKE, 1, "received message ID {id}, expected {expected}, ignored");
        false
    }

    /// Decrypts a message; `None` if it is a fragment and others are missing.
    fn open(
        &mut self,
        env: &Env<'_>,
        protected: &Protected,
        incoming: &mut Incoming,
        hash: [u8; 20],
    ) -> Result<Option<Message>, WireError> {
        let header = *protected.header();
        let intermediate = header.exchange == ExchangeType::IkeIntermediate;
        let out_of_sequence = self.is_out_of_sequence(&header);
        let prefix = if intermediate { protected.prefix(&incoming.datagram) } else { Vec::new() };
        let datagram = &mut incoming.datagram;
        let Some(Ok(cipher)) = self.keys.as_mut().map(|keys| keys.inbound()) else {
            log!(ENC, 1, "found encrypted payload, but no transform set");
            return Err(WireError::Protection(ProtectionError::Missing));
        };
        let Some(place) = protected.fragment() else {
            let content = protected.open(cipher, datagram);
            if !out_of_sequence && !matches!(content, Err(WireError::Protection(_))) {
                // the peer sends in one piece what it had sent in fragments: those are of no use any more
                self.exchanges.drop_fragments(&header);
            }
            let content = content?;
            if intermediate {
                incoming.covered = covered(prefix, content);
            }
            return Message::parse_inner(header, protected.first(), content).map(Some);
        };
        if out_of_sequence {
            return Ok(None);
        }
        let content = protected.open(cipher, datagram)?;
        log!(ENC, 1, "parsed {}", place.notation(&header));
        if place.number == 1 && header.is_request() {
            self.exchanges.first_fragment = Some(Box::new(hash));
        }
        if place.number == 1 && intermediate {
            self.keep_prefix(prefix, env.settings.max_packet);
        }
        let Some(reassembler) = self.exchanges.reassembly.get_mut(Exchanges::slot(&header)) else { return Ok(None) };
        let buffer = reassembler.get_or_insert_with(|| Box::new(Reassembler::new(env.settings.max_packet)));
        match buffer.add(&header, place, protected.first(), content)? {
            Progress::Waiting => Ok(None),
            Progress::Complete(first, content) => {
                *reassembler = None;
                if intermediate {
                    incoming.covered = covered(self.take_prefix(), &content);
                }
                Message::parse_inner(header, first, &content).map(Some)
            }
        }
    }

    /// A message that cannot be used. Only requests are answered, and only if the peer can be held responsible.
    fn parse_failed(&mut self, env: &mut Env<'_>, incoming: &Incoming, hash: [u8; 20], error: WireError) {
        let header = &incoming.message.header;
        log!(ENC, 1, "{error}");
        // the message may still become complete: a fragment that comes twice, say, is nothing unusual
        if matches!(error, WireError::Fragment(_)) {
            return;
        }
        if matches!(error, WireError::UnsupportedCritical(_)) {
            log!(IKE, 1, "critical unknown payloads found");
        }
        log!(
            IKE,
            1,
            "{} {} with message ID {} processing failed",
            header.exchange,
            header.direction(),
            header.message_id
        );
        self.alert(Alert::ParseErrorBody);
        if header.is_response() || self.is_out_of_sequence(header) {
            return;
        }
        let created = self.state() == IkeSaState::Created;
        match error.reaction() {
            Reaction::Ignore | Reaction::Stateless(_) => {
                if created {
                    self.close(env, Failure::Destroy);
                }
            }
            Reaction::Reply(notify) => {
                let hash = self.exchanges.first_fragment.take().map_or(hash, |first| *first);
                let fatal = notify.kind == NotifyType::InvalidSyntax && header.exchange != ExchangeType::IkeSaInit;
                if header.exchange == ExchangeType::IkeSaInit || self.keys.is_some() {
                    self.answer_with(env, incoming, hash, notify);
                }
                if created {
                    self.close(env, Failure::Destroy);
                } else if fatal {
                    let silent = matches!(self.state(), IkeSaState::Connecting | IkeSaState::Rekeyed);
                    self.close(env, if silent { Failure::Destroy } else { Failure::Failed });
                }
            }
        }
    }

    fn accept_request(&mut self, env: &mut Env<'_>, incoming: Incoming, hash: [u8; 20]) {
        let header = incoming.message.header;
        if self.synchronise(env, &incoming) {
            return;
        }
        if self.is_out_of_sequence(&header) {
            let (id, expected) = (header.message_id, self.exchanges.expected_id);
            log!(IKE, 1, "received message ID {id}, expected {expected}, ignored");
            return;
        }
        let first_fragment = self.exchanges.first_fragment.take();
        let hash = first_fragment.map_or(hash, |first| *first);
        if matches!(self.connection, Connection::Unknown) && !self.find_ike_config(env, &incoming) {
            let (local, remote) = (incoming.local, incoming.remote);
            log!(IKE, 1, "no IKE config found for {}...{}, sending NO_PROPOSAL_CHOSEN", local.ip(), remote.ip());
            explain::init::no_connection(self, env, local, remote);
            let mut reply = Message::new(header.reply());
            reply.push(Notify::new(NotifyType::NoProposalChosen));
            if let Ok(packets) = self.encode(env, &mut reply) {
                self.transmit_to(env, local, remote, &packets);
            }
            return self.close(env, Failure::Destroy);
        }
        if header.exchange == ExchangeType::IkeSaInit
            && let Some(mut answer) = self.redirect_initial(env, &incoming)
        {
            if let Ok(packets) = self.encode(env, &mut answer) {
                self.transmit_to(env, incoming.local, incoming.remote, &packets);
            }
            return self.close(env, Failure::Destroy);
        }
        self.last_inbound = env.now;
        // the first protected message of a handshake comes from the ports for NAT traversal, maybe (RFC 7296 §2.23)
        let forced = header.message_id == MessageId(1) && self.handshake().is_some();
        self.update_hosts(env, incoming.local, incoming.remote, forced, forced);
        self.report_message(&header, true);
        let Some(incoming) = self.put_aside(env, incoming, hash) else { return };
        self.process_request(env, &incoming, hash);
    }

    /// The configuration by which a new responder answers IKE_SA_INIT.
    fn find_ike_config(&mut self, env: &Env<'_>, incoming: &Incoming) -> bool {
        let configs = env.config.ike_configs(incoming.local, incoming.remote, 2);
        let Some(config) = configs.into_iter().next() else { return false };
        self.connection = Connection::Ike(config);
        self.timers.set(Timer::HalfOpen, env.now + env.settings.half_open_timeout);
        true
    }

    fn accept_response(&mut self, env: &mut Env<'_>, incoming: Incoming) {
        let header = incoming.message.header;
        let initial = header.message_id == MessageId::ZERO && header.exchange == ExchangeType::IkeSaInit;
        self.last_inbound = env.now;
        self.update_hosts(env, incoming.local, incoming.remote, initial, false);
        let tried = self.exchanges.request.as_mut().map(|request| std::mem::take(&mut request.paths));
        self.path_answered(env, incoming.path(), &tried.unwrap_or_default());
        self.report_message(&header, true);
        let Some(incoming) = self.put_aside(env, incoming, [0; 20]) else { return };
        self.process_response(env, &incoming);
    }
}
