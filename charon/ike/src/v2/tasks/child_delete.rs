//! Closing CHILD_SAs (RFC 7296 §1.4.1), and the end of those that were rekeyed.

use strongswan::crypto::Protocol;
use strongswan::log;

use super::child_create::ChildCreateInitiator;
use crate::config::ChildConfig;
use crate::env::Env;
use crate::ids::{Spi, UniqueId};
use crate::input::InitiateChild;
use crate::output::Output;
use crate::sa::{ChildSa, ChildSaState, ChildTimer, IkeSa};
use crate::task::TaskType;
use crate::v2::task::{Collision, Incoming, Outgoing, Progress, Step, Task, Verdict};
use crate::wire::Delete;

/// Asks the peer to close a CHILD_SA.
#[derive(Debug)]
pub(crate) struct ChildDeleteInitiator {
    /// The CHILD_SA, unless it never came to be on our side.
    child: Option<UniqueId>,
    protocol: Protocol,
    spi: Option<Spi>,
    /// Its hard lifetime ended.
    expired: bool,
    /// It was rekeyed: it goes quietly, and its inbound SA lingers.
    rekeyed: bool,
}

impl ChildDeleteInitiator {
    pub(crate) fn new(child: UniqueId, expired: bool) -> Self {
        Self { child: Some(child), protocol: Protocol::Esp, spi: None, expired, rekeyed: false }
    }

    /// Deletes what our rekeying replaced, or what it created in vain.
    pub(super) fn rekeyed(child: UniqueId) -> Self {
        Self { rekeyed: true, ..Self::new(child, false) }
    }

    /// Takes back what the peer installed although we cannot use it.
    pub(super) fn unusable(child: &ChildSa) -> Option<Self> {
        let spi = Some(child.spi_in?);
        Some(Self { child: None, protocol: child.protocol, spi, expired: false, rekeyed: false })
    }

    fn find(&mut self, sa: &IkeSa) -> Option<(UniqueId, ChildSaState)> {
        let child = sa.child(self.child?)?;
        self.protocol = child.protocol;
        self.spi = child.spi_in;
        Some((child.unique_id, child.state()))
    }
}

impl Task for ChildDeleteInitiator {
    fn kind(&self) -> TaskType {
        TaskType::ChildDelete
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        if self.child.is_some() {
            let Some((id, state)) = self.find(sa) else {
                message.cancelled = true;
                return Ok(Progress::Done);
            };
            match state {
                ChildSaState::Deleting | ChildSaState::Deleted => {
                    message.cancelled = true;
                    return Ok(Progress::Done);
                }
                // the peer has replaced it meanwhile, and deletes it when it knows that it did
                ChildSaState::Rekeyed if !self.rekeyed => {
                    message.cancelled = true;
                    return Ok(Progress::Done);
                }
                _ => {}
            }
            sa.log_closing(env, id, self.expired);
            sa.set_child_state(id, ChildSaState::Deleting);
        }
        let Some(spi) = self.spi else {
            message.cancelled = true;
            return Ok(Progress::Done);
        };
        log!(IKE, 1, "sending DELETE for {} CHILD_SA with SPI {spi}", self.protocol);
        message.push(Delete::Child { protocol: self.protocol, spis: vec![spi] });
        Ok(Progress::More)
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, _incoming: &Incoming) -> Step {
        let Some((id, _)) = self.find(sa) else { return Ok(Progress::Done) };
        if self.rekeyed {
            sa.retire_child(env, id);
            return Ok(Progress::Done);
        }
        let config = sa.child(id).map(|child| std::sync::Arc::clone(&child.config));
        sa.close_child(env, id);
        if let Some(config) = config.filter(|_| self.expired) {
            log!(IKE, 1, "queue CHILD_SA recreate after hard expire");
            sa.queue(env, Box::new(ChildCreateInitiator::new(InitiateChild::new(config))));
        }
        Ok(Progress::Done)
    }

    fn concerns(&self, child: UniqueId) -> bool {
        self.child == Some(child)
    }
}

/// The peer closes CHILD_SAs.
#[derive(Debug, Default)]
pub(crate) struct ChildDeleteResponder {
    /// Ours to confirm.
    confirm: Vec<(Protocol, Spi)>,
}

impl ChildDeleteResponder {
    fn delete(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, protocol: Protocol, spi: Spi) {
        let found = sa.child_by_outbound(protocol, spi).map(|child| (child.unique_id, child.state(), child.spi_in));
        log!(
            IKE,
            1,
            "received DELETE for {}{protocol} CHILD_SA with SPI {spi}",
            if found.is_some() { "" } else { "unknown " }
        );
        let child = found.map(|(id, ..)| id);
        if let Verdict::Taken = sa.collide(env, Collision::ChildDeleted { child, spi }) {
            self.confirm.extend(found.and_then(|(.., spi_in)| Some((protocol, spi_in?))));
            return;
        }
        let Some((id, state, spi_in)) = found else { return };
        match state {
            // both sides delete at once: ours is in the air and needs no confirmation (RFC 7296 §1.4.1)
            ChildSaState::Deleting => return,
            ChildSaState::Deleted => return,
            ChildSaState::Rekeyed => {
                sa.log_closing(env, id, false);
                sa.conclude_rekeying(env, id);
                sa.set_child_state(id, ChildSaState::Deleting);
                sa.retire_child(env, id);
            }
            _ => {
                sa.log_closing(env, id, false);
                sa.set_child_state(id, ChildSaState::Deleting);
                let config = sa.child(id).map(|child| std::sync::Arc::clone(&child.config));
                sa.close_child(env, id);
                if let Some(config) = config {
                    after_close(sa, env, config);
                }
            }
        }
        self.confirm.extend(spi_in.map(|spi| (protocol, spi)));
    }
}

/// The peer has closed a CHILD_SA: its close action.
pub(super) fn after_close(sa: &mut IkeSa, env: &mut Env<'_>, config: std::sync::Arc<ChildConfig>) {
    if config.close_action.trap {
        sa.push(Output::Trap(std::sync::Arc::clone(&config)));
    }
    if config.close_action.start {
        sa.queue(env, Box::new(ChildCreateInitiator::new(InitiateChild::new(config))));
    }
}

impl Task for ChildDeleteResponder {
    fn kind(&self) -> TaskType {
        TaskType::ChildDelete
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        for delete in incoming.message.deletes() {
            if let Delete::Child { protocol, spis } = delete {
                for spi in spis {
                    self.delete(sa, env, *protocol, *spi);
                }
            }
        }
        Ok(Progress::More)
    }

    fn build(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        for protocol in [Protocol::Esp, Protocol::Ah] {
            let spis: Vec<Spi> =
                self.confirm.iter().filter(|(other, _)| *other == protocol).map(|(_, spi)| *spi).collect();
            for spi in &spis {
                log!(IKE, 1, "sending DELETE for {protocol} CHILD_SA with SPI {spi}");
            }
            if !spis.is_empty() {
                message.push(Delete::Child { protocol, spis });
            }
        }
        Ok(Progress::Done)
    }
}

/// SPIs the peer deleted that we did not know, while a request of ours is in the air: the answer on its way may have
/// created what they belong to.
#[derive(Debug, Default)]
pub(super) struct DeletedSpis(Vec<Spi>);

/// SPIs that are remembered; a peer has no business deleting more while one request is unanswered.
const MAX_DELETED_SPIS: usize = 8;

impl DeletedSpis {
    pub(super) fn add(&mut self, spi: Spi) {
        if self.0.len() < MAX_DELETED_SPIS {
            self.0.push(spi);
        }
    }

    pub(super) fn contains(&self, spi: Option<Spi>) -> bool {
        spi.is_some_and(|spi| self.0.contains(&spi))
    }
}

impl IkeSa {
    /// A CHILD_SA is closed on both sides.
    pub(super) fn close_child(&mut self, env: &mut Env<'_>, id: UniqueId) {
        if let Some(child) = self.child(id) {
            log!(IKE, 1, "CHILD_SA {child} closed");
        }
        self.report_child(id, false);
        self.destroy_child(env, id);
    }

    /// A rekeyed CHILD_SA is deleted on both sides; its inbound SA stays for packets that are still on their way.
    pub(super) fn retire_child(&mut self, env: &mut Env<'_>, id: UniqueId) {
        let delay = env.settings.delete_rekeyed_delay;
        let now = env.now;
        let Some(child) = self.child_mut(id) else { return };
        child.remove_outbound(env);
        let expire = child.expire_at().filter(|expire| *expire > now);
        let until = now + delay;
        let linger = if !delay.is_zero() && expire.is_none_or(|expire| until < expire) {
            log!(IKE, 1, "delay closing of inbound CHILD_SA {child} for {}s", delay.as_secs());
            Some(until)
        } else if let Some(expire) = expire {
            let left = expire.saturating_since(now).as_secs();
            log!(IKE, 1, "let rekeyed inbound CHILD_SA {child} expire naturally in {left}s");
            Some(expire)
        } else {
            None
        };
        match linger {
            Some(at) => {
                child.timer = ChildTimer::Destroy(at);
                self.set_child_state(id, ChildSaState::Deleted);
            }
            None => {
                log!(IKE, 1, "CHILD_SA {child} closed");
                self.destroy_child(env, id);
            }
        }
    }
}
