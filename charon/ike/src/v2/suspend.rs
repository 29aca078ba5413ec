//! Requests that cannot be answered yet: a task waits for somebody else, and the IKE_SA is free for other things meanwhile.

use super::task::{Incoming, Progress};
use crate::eap::{Answer, Wait};
use crate::env::Env;
use crate::output::Output;
use crate::sa::{IkeSa, Timer};
use crate::wire::Message;

/// A request whose tasks have read it, and whose response is not built yet.
#[derive(Debug)]
pub(crate) struct Suspended {
    /// Header and addresses of it.
    incoming: Incoming,
    /// SHA-1 of its datagram.
    hash: [u8; 20],
}

impl IkeSa {
    /// Answers a request, now or when what a task waits for is there.
    pub(super) fn respond_or_wait(&mut self, env: &mut Env<'_>, incoming: &Incoming, hash: [u8; 20]) {
        let Some(wait) = self.exchanges.wait.take() else { return self.build_response(env, incoming, hash) };
        match wait {
            Wait::For(time) => self.timers.set(Timer::Resume, env.now + time),
            Wait::Aaa(request) => self.push(Output::Aaa(request)),
        }
        let message = Message::new(incoming.message.header);
        let (local, remote) = (incoming.local, incoming.remote);
        let incoming = Incoming { message, datagram: Vec::new(), covered: Vec::new(), local, remote };
        self.exchanges.suspended = Some(Box::new(Suspended { incoming, hash }));
    }

    /// What a request had to wait for is there.
    pub(crate) fn resume(&mut self, env: &mut Env<'_>, answer: Answer) {
        let Some(suspended) = self.exchanges.suspended.take() else { return };
        let mut tasks = std::mem::take(&mut self.exchanges.passive);
        let waiting = tasks.iter_mut().find(|task| task.waits());
        let step = waiting.map_or(Ok(Progress::More), |task| task.resume(self, env, answer));
        self.exchanges.passive = tasks;
        match step {
            Err(failure) => self.close(env, failure),
            Ok(_) => self.respond_or_wait(env, &suspended.incoming, suspended.hash),
        }
    }
}
