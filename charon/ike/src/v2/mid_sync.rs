//! Synchronising message IDs (RFC 6311) with a peer that is a cluster: a member that takes over does not know exactly how far
//! the exchanges of the one that failed had come. It asks in an INFORMATIONAL exchange with message ID 0, outside of the
//! sequence. We answer; we are no cluster, and so never ask.

use strongswan::log;

use super::exchanges::{Request, Synchronised};
use super::task::{Failure, Incoming};
use crate::env::Env;
use crate::sa::{Extensions, IkeSa, IkeSaState};
use crate::wire::{ExchangeType, Header, Message, MessageId, MessageIdSync, Notify, NotifyType, Payload};

/// So often a cluster may fail without having sent a request in between.
const MAX_FAILURES: usize = 16;

impl IkeSa {
    /// A request that may ask to synchronise message IDs: whatever is due, its own is 0.
    pub(super) fn may_synchronise(&self, header: &Header) -> bool {
        header.is_request()
            && header.exchange == ExchangeType::Informational
            && header.message_id == MessageId::ZERO
            // a failure does not wait for a rekeying to end
            && matches!(self.state(), IkeSaState::Established | IkeSaState::Rekeying)
            && self.extensions.contains(Extensions::MESSAGE_ID_SYNC)
    }

    /// Whether a request has to be one for synchronisation, as its message ID is not due.
    pub(super) fn is_out_of_sequence(&self, header: &Header) -> bool {
        header.is_request() && header.message_id != self.exchanges.expected_id
    }

    /// Carries out what a request for synchronisation asks for; `false` if it is none.
    pub(super) fn synchronise(&mut self, env: &mut Env<'_>, incoming: &Incoming) -> bool {
        let header = &incoming.message.header;
        let Some(sync) = Some(&incoming.message).filter(|_| self.may_synchronise(header)).and_then(read) else {
            return false;
        };
        if let Some(packets) = self.exchanges.synchronised.iter().find_map(|earlier| earlier.answer_to(&sync)) {
            // the answer was lost, or somebody plays it again: nothing must happen twice
            let packets = packets.to_vec();
            self.transmit_to(env, incoming.local, incoming.remote, &packets);
            return true;
        }
        let (next, expected) = (self.exchanges.next_id, self.exchanges.expected_id);
        if sync.send < expected {
            log!(IKE, 1, "received MID sync for message ID {}, expected {expected}, ignored", sync.send);
            return true;
        }
        // what is older is refused for that
        self.exchanges.synchronised.retain(|earlier| earlier.asked.send >= expected);
        if self.exchanges.synchronised.len() >= MAX_FAILURES {
            log!(IKE, 1, "received MID sync {MAX_FAILURES} times since the last request, ignored");
            return true;
        }
        self.last_inbound = env.now;
        // nobody knows whether the request in the air was received
        let unused = if self.exchanges.request.is_some() { next.next() } else { next };
        let (initiating, responding) = (sync.receive.max(unused), sync.send);
        log!(
            IKE,
            1,
            "responder requested MID sync: initiating {initiating}[{next}], responding {responding}[{expected}]"
        );
        let mut reply = Message::new(header.reply());
        reply.push(Notify::message_id_sync(&MessageIdSync { send: initiating, receive: responding, ..sync }));
        let Ok(packets) = self.encode(env, &mut reply) else {
            self.close(env, Failure::Failed);
            return true;
        };
        self.transmit_to(env, incoming.local, incoming.remote, &packets);
        self.exchanges.synchronised.push(Synchronised { asked: sync, packets });
        if responding != expected {
            self.exchanges.expected_id = responding;
            self.exchanges.answered = None;
        }
        self.exchanges.next_id = initiating;
        self.repeat_request(env);
        true
    }

    /// Sends the request in the air again, under the message ID that is due now.
    fn repeat_request(&mut self, env: &mut Env<'_>) {
        let Some(request) = self.exchanges.request.take() else { return };
        let Request { exchange, message: Some(mut message), paths, .. } = *request else { return };
        let id = self.exchanges.next_id;
        message.header.message_id = id;
        let Ok(packets) = self.encode(env, &mut message) else { return self.close(env, Failure::Failed) };
        self.exchanges.request =
            Some(Box::new(Request { id, exchange, packets, sent: 0, paths, message: Some(message) }));
        self.send_request(env);
    }
}

/// What a request asks for that contains nothing but synchronisation (RFC 6311 §5.1).
fn read(message: &Message) -> Option<MessageIdSync> {
    let only = message.payloads.iter().all(|payload| match payload {
        Payload::Notify(notify) => {
            matches!(notify.kind, NotifyType::Ikev2MessageIdSync | NotifyType::IpsecReplayCounterSync)
        }
        _ => false,
    });
    message.notify(NotifyType::Ikev2MessageIdSync).filter(|_| only)?.read_message_id_sync()
}
