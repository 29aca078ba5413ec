//! Our exchanges: which tasks start, what the request carries, what the response means (spec §2.3).

use strongswan::log;

use super::exchanges::{Queued, Request};
use super::task::{Failure, Incoming, Outgoing, Progress, Task, takes_part};
use crate::env::Env;
use crate::output::Alert;
use crate::sa::{Extensions, IkeSa, IkeSaState, Timer};
use crate::task::TaskType;
use crate::wire::{ExchangeType, Message, MessageId, NotifyType};

/// The tasks of the first exchanges, in the order in which they run; all that are queued start together.
const INITIAL: [TaskType; 11] = [
    TaskType::IkeVendor,
    TaskType::IkeInit,
    TaskType::IkeNatd,
    TaskType::IkeCertPre,
    TaskType::IkeAuth,
    TaskType::IkeCertPost,
    TaskType::IkeConfig,
    TaskType::IkeAuthLifetime,
    TaskType::IkeMobike,
    TaskType::IkeEstablish,
    TaskType::ChildCreate,
];

/// What goes first on an established IKE_SA; one task an exchange.
const ESTABLISHED: [TaskType; 10] = [
    TaskType::IkeMobike,
    TaskType::IkeDelete,
    TaskType::IkeRedirect,
    TaskType::ChildDelete,
    TaskType::ChildCreate,
    TaskType::ChildRekey,
    TaskType::IkeRekey,
    TaskType::IkeDpd,
    TaskType::IkeAuthLifetime,
    TaskType::IkeReauthComplete,
];

/// What became of an attempt to send a request.
enum Attempt {
    Sent,
    /// There was nothing to say; the next task may try.
    Cancelled,
    Closed,
}

impl IkeSa {
    /// Queues a task; it starts when its turn comes.
    pub(crate) fn queue(&mut self, env: &Env<'_>, task: Box<dyn Task>) {
        self.queue_at(env.now, task);
    }

    /// Queues a task that starts at `due` at the earliest.
    pub(crate) fn queue_at(&mut self, due: strongswan::clock::MonoTime, task: Box<dyn Task>) {
        log!(IKE, 2, "queueing {} task", task.kind());
        self.exchanges.queued.push(Queued { task, due });
    }

    /// Starts the next exchange if none is under way and a task is due.
    pub(crate) fn start_exchange(&mut self, env: &mut Env<'_>) {
        while !self.is_finished() {
            if let Some(request) = &self.exchanges.request {
                if !self.exchanges.queued.is_empty() {
                    log!(IKE, 2, "delaying task initiation, {} exchange in progress", request.exchange);
                }
                return;
            }
            let Some(exchange) = self.activate(env) else { break };
            match self.build_request(env, exchange) {
                Attempt::Cancelled => {}
                Attempt::Sent | Attempt::Closed => return,
            }
        }
        match self.exchanges.next_due().filter(|_| self.state() == IkeSaState::Established) {
            Some(due) if due > env.now => self.timers.set(Timer::Queue, due),
            _ => self.timers.stop(Timer::Queue),
        }
    }

    /// Moves tasks from the queue into the exchange; returns its type.
    fn activate(&mut self, env: &Env<'_>) -> Option<ExchangeType> {
        if self.exchanges.active.is_empty() {
            match self.state() {
                // until the peer's name is resolved there is nowhere to send anything
                IkeSaState::Created if self.remote.ip().is_unspecified() => {}
                IkeSaState::Created if self.exchanges.is_queued(TaskType::IkeInit) => {
                    let tasks = INITIAL.into_iter().filter_map(|kind| self.exchanges.take_queued(kind, env.now));
                    self.exchanges.active = tasks.collect();
                }
                IkeSaState::Established => {
                    let task = ESTABLISHED.into_iter().find_map(|kind| self.exchanges.take_queued(kind, env.now));
                    self.exchanges.active.extend(task);
                }
                IkeSaState::Rekeying | IkeSaState::Rekeyed => {
                    let task = self.exchanges.take_queued(TaskType::IkeDelete, env.now);
                    self.exchanges.active.extend(task);
                }
                IkeSaState::Created
                | IkeSaState::Connecting
                | IkeSaState::Passive
                | IkeSaState::Deleting
                | IkeSaState::Destroying => {}
            }
        }
        self.exchanges.active.iter().find_map(|task| task.exchange())
    }

    fn build_request(&mut self, env: &mut Env<'_>, exchange: ExchangeType) -> Attempt {
        let id = self.exchanges.next_id;
        let message = Message::new(self.request_header(exchange, id));
        let mut outgoing = Outgoing { message, cancelled: false };
        if exchange == ExchangeType::IkeAuth {
            self.note_auth_exchange(id);
        }
        let mut failure = None;
        let mut tasks = std::mem::take(&mut self.exchanges.active).into_iter();
        for mut task in tasks.by_ref() {
            if !takes_part(&*task, exchange) {
                self.exchanges.active.push(task);
                continue;
            }
            match task.build(self, env, &mut outgoing) {
                Ok(Progress::Done) => {}
                Ok(Progress::More | Progress::Restart) => self.exchanges.active.push(task),
                Err(why) => {
                    task.abandon(self, env);
                    failure = Some(why);
                    break;
                }
            }
        }
        self.exchanges.active.extend(tasks);
        if let Some(failure) = failure {
            self.close(env, failure);
            return Attempt::Closed;
        }
        if outgoing.cancelled {
            return Attempt::Cancelled;
        }
        match self.encode(env, &mut outgoing.message) {
            Ok(packets) => {
                self.keep_init(exchange, &packets);
                let exchange = outgoing.exchange();
                let message = Some(outgoing.message).filter(|_| self.extensions.contains(Extensions::MESSAGE_ID_SYNC));
                let paths = Vec::new();
                self.exchanges.request = Some(Box::new(Request { id, exchange, packets, sent: 0, paths, message }));
                self.send_request(env);
                Attempt::Sent
            }
            Err(error) => {
                log!(ENC, 1, "generating {exchange} request {id} failed: {error}");
                self.close(env, Failure::Failed);
                Attempt::Closed
            }
        }
    }

    /// Runs our tasks over the response to our request.
    pub(super) fn process_response(&mut self, env: &mut Env<'_>, incoming: &Incoming) {
        let Some(request) = self.exchanges.request.as_ref() else { return };
        let received = incoming.message.header.exchange;
        if received != request.exchange {
            log!(IKE, 1, "received {received} response, but expected {}", request.exchange);
            return self.close(env, Failure::Failed);
        }
        let sent = request.sent;
        if matches!(received, ExchangeType::CreateChildSa | ExchangeType::IkeFollowupKe | ExchangeType::Informational)
            && incoming.message.has_notify(NotifyType::InvalidSyntax)
        {
            log!(IKE, 1, "received INVALID_SYNTAX notify error, destroying IKE_SA");
            return self.close(env, Failure::Failed);
        }
        let mut tasks = std::mem::take(&mut self.exchanges.active);
        let vetoed = tasks.iter_mut().any(|task| task.pre_process(self, incoming).is_err());
        if vetoed {
            log!(IKE, 1, "ignore invalid {received} response");
            self.exchanges.active = tasks;
            return;
        }
        if sent > 1 {
            self.alert(Alert::RetransmitSendCleared);
        }
        self.timers.stop(Timer::Retransmit);
        self.exchanges.request = None;
        self.exchanges.next_id = self.exchanges.next_id.next();

        let mut tasks = tasks.into_iter();
        let mut failure = None;
        let mut restart = false;
        for mut task in tasks.by_ref() {
            if !takes_part(&*task, received) {
                self.exchanges.active.push(task);
                continue;
            }
            match task.process(self, env, incoming) {
                Ok(Progress::Done) => {}
                Ok(Progress::More) => self.exchanges.active.push(task),
                Ok(Progress::Restart) => {
                    self.exchanges.active.push(task);
                    restart = true;
                    break;
                }
                Err(why) => {
                    task.abandon(self, env);
                    failure = Some(why);
                    break;
                }
            }
        }
        self.exchanges.active.extend(tasks);
        if let Some(failure) = failure {
            self.close(env, failure);
        } else if restart {
            self.restart(env);
        }
    }

    /// Starts again with IKE_SA_INIT under the same SPI: after COOKIE and INVALID_KE_PAYLOAD.
    fn restart(&mut self, env: &mut Env<'_>) {
        if self.is_redirect_pending() {
            return self.restart_elsewhere(env);
        }
        let mut tasks = std::mem::take(&mut self.exchanges.active);
        tasks.iter_mut().for_each(|task| task.reset(self, env));
        let tasks = tasks.into_iter().map(|task| Queued { task, due: env.now });
        self.exchanges.queued.splice(..0, tasks);
        self.exchanges.request = None;
        self.exchanges.next_id = MessageId::ZERO;
        self.exchanges.expected_id = MessageId::ZERO;
        self.timers.stop(Timer::Retransmit);
        self.forget_peer();
    }
}
