//! The peer's exchanges: which tasks serve a request and how the response is built (spec §2.3, §2.4).

use strongswan::crypto::Protocol;
use strongswan::log;

use super::exchanges::Answered;
use super::task::{Failure, Incoming, Outgoing, Progress, Task, takes_part};
use super::tasks;
use crate::env::Env;
use crate::sa::{IkeSa, IkeSaState};
use crate::wire::{Delete, ExchangeType, Header, Message, Notify, NotifyType, Payload};

impl IkeSa {
    /// Runs tasks over a request and answers it. `hash` identifies the request's datagram.
    pub(super) fn process_request(&mut self, env: &mut Env<'_>, incoming: &Incoming, hash: [u8; 20]) {
        let Header { exchange, message_id, .. } = incoming.message.header;
        if exchange == ExchangeType::IkeAuth {
            self.note_auth_exchange(message_id);
        }
        if matches!(exchange, ExchangeType::IkeSaInit | ExchangeType::IkeIntermediate | ExchangeType::IkeAuth) {
            return self.serve(env, incoming, hash);
        }
        if exchange == ExchangeType::IkeFollowupKe {
            if !self.expects_follow_up(&incoming.message) {
                log!(IKE, 1, "received IKE_FOLLOWUP_KE request that belongs to nothing, sending STATE_NOT_FOUND");
                return self.answer_with(env, incoming, hash, Notify::new(NotifyType::StateNotFound));
            }
            self.serve(env, incoming, hash);
            return self.await_follow_up(env);
        }
        if exchange == ExchangeType::CreateChildSa {
            self.drop_pending(env);
        }
        // the tasks of an unfinished handshake serve no other exchange: what they do there is for authenticated peers
        let mut waiting = std::mem::take(&mut self.exchanges.passive);
        self.serve(env, incoming, hash);
        if self.is_finished() {
            waiting.iter_mut().for_each(|task| task.abandon(self, env));
        } else {
            self.exchanges.passive.append(&mut waiting);
            if exchange == ExchangeType::CreateChildSa {
                self.await_follow_up(env);
            }
        }
    }

    fn serve(&mut self, env: &mut Env<'_>, incoming: &Incoming, hash: [u8; 20]) {
        if self.exchanges.passive.is_empty() {
            let Some(tasks) = self.tasks_for(&incoming.message) else { return };
            self.exchanges.passive = tasks;
        }
        let mut tasks = std::mem::take(&mut self.exchanges.passive);
        if tasks.iter_mut().any(|task| task.pre_process(self, incoming).is_err()) {
            let exchange = incoming.message.header.exchange;
            log!(IKE, 1, "ignore invalid {exchange} request");
            match exchange {
                ExchangeType::IkeSaInit => self.close(env, Failure::Destroy),
                ExchangeType::IkeIntermediate | ExchangeType::IkeAuth => self.exchanges.passive = tasks,
                _ => tasks.into_iter().for_each(|mut task| task.abandon(self, env)),
            }
            return;
        }
        let mut tasks = tasks.into_iter();
        let mut failure = None;
        for mut task in tasks.by_ref() {
            if !takes_part(&*task, incoming.message.header.exchange) {
                self.exchanges.passive.push(task);
                continue;
            }
            match task.process(self, env, incoming) {
                Ok(Progress::Done) => {}
                Ok(Progress::More | Progress::Restart) => self.exchanges.passive.push(task),
                Err(why) => {
                    task.abandon(self, env);
                    failure = Some(why);
                    break;
                }
            }
        }
        self.exchanges.passive.extend(tasks);
        match failure {
            Some(failure) => self.close(env, failure),
            None => self.respond_or_wait(env, incoming, hash),
        }
    }

    pub(super) fn build_response(&mut self, env: &mut Env<'_>, incoming: &Incoming, hash: [u8; 20]) {
        let mut outgoing = Outgoing { message: Message::new(incoming.message.header.reply()), cancelled: false };
        outgoing.message.header.responder_spi = self.id.responder;
        let mut failure = None;
        let mut tasks = std::mem::take(&mut self.exchanges.passive).into_iter();
        for mut task in tasks.by_ref() {
            if !takes_part(&*task, outgoing.exchange()) {
                self.exchanges.passive.push(task);
                continue;
            }
            match task.build(self, env, &mut outgoing) {
                Ok(Progress::Done) => {}
                Ok(Progress::More | Progress::Restart) => self.exchanges.passive.push(task),
                Err(why) => {
                    task.abandon(self, env);
                    failure = Some(why);
                    break;
                }
            }
        }
        self.exchanges.passive.extend(tasks);
        if failure.is_some() && outgoing.exchange() == ExchangeType::IkeSaInit {
            // there is no IKE_SA the peer could refer to
            outgoing.message.header.responder_spi = None;
        }
        self.answer(env, incoming, hash, outgoing.message);
        if let Some(failure) = failure {
            self.close(env, failure);
        }
    }

    /// Answers a request that no task got to see.
    pub(super) fn answer_with(&mut self, env: &mut Env<'_>, incoming: &Incoming, hash: [u8; 20], notify: Notify) {
        let mut message = Message::new(incoming.message.header.reply());
        message.push(notify);
        self.answer(env, incoming, hash, message);
    }

    /// Sends a response to where the request came from and keeps it for when the request comes again.
    fn answer(&mut self, env: &mut Env<'_>, incoming: &Incoming, hash: [u8; 20], mut message: Message) {
        let packets = match self.encode(env, &mut message) {
            Ok(packets) => packets,
            Err(error) => {
                log!(ENC, 1, "generating response failed: {error}");
                return self.close(env, Failure::Failed);
            }
        };
        self.keep_init(message.header.exchange, &packets);
        self.roll_keys();
        // nobody knows whose address the request came from: a refusal must not be more than was asked with
        let refusal = message.header.exchange == ExchangeType::IkeSaInit && message.sa().is_none();
        if !refusal || packets.iter().map(Vec::len).sum::<usize>() <= incoming.datagram.len() {
            self.transmit_to(env, incoming.local, incoming.remote, &packets);
        }
        self.exchanges.answered = Some(Box::new(Answered::new(hash, packets)));
        self.exchanges.expected_id = self.exchanges.expected_id.next();
    }

    /// The tasks that serve a request; none if it is not served.
    fn tasks_for(&mut self, request: &Message) -> Option<Vec<Box<dyn Task>>> {
        match request.header.exchange {
            ExchangeType::IkeSaInit => Some(tasks::serving_initial()),
            ExchangeType::CreateChildSa => {
                let rekeyed = request.notify(NotifyType::RekeySa);
                let rekeyed = rekeyed.filter(|notify| matches!(notify.protocol, Protocol::Ah | Protocol::Esp));
                let task: Box<dyn Task> = match (request.ts_i().is_some() || request.ts_r().is_some(), rekeyed) {
                    (true, Some(notify)) => Box::new(tasks::ChildRekeyResponder::new(notify)),
                    (true, None) => Box::new(tasks::ChildCreateResponder::default()),
                    (false, _) => Box::new(tasks::IkeRekeyResponder::default()),
                };
                Some(vec![task])
            }
            ExchangeType::Informational => Some(vec![self.informational_task(request)]),
            ExchangeType::IkeAuth
            | ExchangeType::IkeSessionResume
            | ExchangeType::IkeIntermediate
            | ExchangeType::IkeFollowupKe
            | ExchangeType::Unknown(_) => None,
        }
    }

    /// The first payload that means something decides what an INFORMATIONAL request is about.
    fn informational_task(&self, request: &Message) -> Box<dyn Task> {
        let found = request.payloads.iter().find_map(|payload| -> Option<Box<dyn Task>> {
            match payload {
                Payload::Notify(notify) if self.state() == IkeSaState::Rekeyed => {
                    log!(IKE, 1, "received unexpected notify {} for rekeyed IKE_SA, ignored", notify.kind);
                    None
                }
                Payload::Notify(notify) => match notify.kind {
                    NotifyType::InvalidSyntax | NotifyType::AuthenticationFailed => {
                        Some(Box::new(tasks::IkeDeleteResponder::default()))
                    }
                    NotifyType::AdditionalIp4Address
                    | NotifyType::AdditionalIp6Address
                    | NotifyType::NoAdditionalAddresses
                    | NotifyType::UpdateSaAddresses
                    | NotifyType::NoNatsAllowed
                    | NotifyType::UnacceptableAddresses
                    | NotifyType::UnexpectedNatDetected
                    | NotifyType::Cookie2
                    | NotifyType::NatDetectionSourceIp
                    | NotifyType::NatDetectionDestinationIp => Some(Box::new(tasks::MobikeResponder::default())),
                    NotifyType::AuthLifetime => Some(Box::new(tasks::AuthLifetimeResponder)),
                    NotifyType::Redirect => Some(Box::new(tasks::RedirectResponder)),
                    _ => None,
                },
                Payload::Delete(Delete::Ike) => Some(Box::new(tasks::IkeDeleteResponder::default())),
                Payload::Delete(Delete::Child { .. }) => Some(Box::new(tasks::ChildDeleteResponder::default())),
                _ => None,
            }
        });
        found.unwrap_or_else(|| Box::new(tasks::DpdResponder))
    }
}
