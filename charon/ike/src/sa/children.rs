//! The CHILD_SAs of an IKE_SA: finding them, changing their state, closing and rekeying them.

use std::sync::Arc;

use strongswan::crypto::Protocol;
use strongswan::log;

use super::{ChildSa, ChildSaState, IkeSa, Selectors};
use crate::env::Env;
use crate::ids::{Spi, UniqueId};
use crate::kernel::Direction;
use crate::output::Event;
use crate::v2::tasks;

impl IkeSa {
    /// The CHILD_SA with this number.
    pub(crate) fn child(&self, id: UniqueId) -> Option<&ChildSa> {
        self.children.iter().find(|child| child.unique_id == id)
    }

    /// The CHILD_SA with this number.
    pub(crate) fn child_mut(&mut self, id: UniqueId) -> Option<&mut ChildSa> {
        self.children.iter_mut().find(|child| child.unique_id == id)
    }

    /// The CHILD_SA with this inbound SPI.
    pub(crate) fn child_by_inbound(&self, protocol: Protocol, spi: Spi) -> Option<&ChildSa> {
        self.children.iter().find(|child| child.protocol == protocol && child.spi_in == Some(spi))
    }

    /// The CHILD_SA with this outbound SPI: how the peer names it.
    pub(crate) fn child_by_outbound(&self, protocol: Protocol, spi: Spi) -> Option<&ChildSa> {
        self.children.iter().find(|child| child.protocol == protocol && child.spi_out == Some(spi))
    }

    /// Changes a CHILD_SA's state and tells observers.
    pub(crate) fn set_child_state(&mut self, id: UniqueId, new: ChildSaState) {
        let Some(old) = self.child_mut(id).and_then(|child| child.change_state(new)) else { return };
        self.event(Event::ChildStateChange { child: id, old, new });
    }

    /// Takes a CHILD_SA in that was negotiated.
    pub(crate) fn adopt_child(&mut self, child: ChildSa) {
        // mostly there is one, and there may be a hundred thousand IKE_SAs
        self.children.reserve_exact(1);
        self.children.push(child);
    }

    /// Removes a CHILD_SA and all it has in the data plane.
    pub(crate) fn destroy_child(&mut self, env: &mut Env<'_>, id: UniqueId) {
        self.set_child_state(id, ChildSaState::Destroying);
        if let Some(index) = self.children.iter().position(|child| child.unique_id == id) {
            let child = self.children.remove(index);
            self.uninstall(env, child);
        }
    }

    /// Removes all that a CHILD_SA has in the data plane, and tells what it carried if somebody counts.
    pub(super) fn uninstall(&mut self, env: &Env<'_>, mut child: ChildSa) {
        if env.settings.accounting && child.installed_at.is_some() {
            let received = child.usage(env, Direction::In).unwrap_or_default();
            let sent =
                child.sent.take().map(|sent| *sent).or_else(|| child.usage(env, Direction::Out)).unwrap_or_default();
            self.event(Event::ChildUsed { child: child.unique_id, received, sent });
        }
        child.uninstall(env);
    }

    /// Tells observers that a CHILD_SA is up or down.
    pub(crate) fn report_child(&mut self, id: UniqueId, up: bool) {
        let Some(child) = self.child(id).map(ChildSa::snapshot) else { return };
        let ike = Arc::new(self.summary());
        self.event(Event::ChildUpDown { up, ike, child });
    }

    /// Tells observers that one CHILD_SA replaced another.
    pub(crate) fn report_child_rekey(&mut self, old: UniqueId, new: UniqueId) {
        let (Some(old), Some(new)) = (self.child(old).map(ChildSa::snapshot), self.child(new).map(ChildSa::snapshot))
        else {
            return;
        };
        let ike = Arc::new(self.summary());
        self.event(Event::ChildRekey { ike, old, new });
    }

    /// Closes a CHILD_SA because someone asked for it.
    pub(crate) fn terminate_child(&mut self, env: &mut Env<'_>, id: UniqueId) {
        if self.child(id).is_some_and(|child| child.spi_in.is_some()) {
            self.queue(env, Box::new(tasks::ChildDeleteInitiator::new(id, false)));
        }
    }

    /// Rekeys a CHILD_SA, unless something else is being done with it.
    pub(crate) fn rekey_child(&mut self, env: &mut Env<'_>, id: UniqueId) {
        if self.child(id).is_some_and(|child| child.state() == ChildSaState::Installed)
            && !self.exchanges.queued.iter().any(|queued| queued.task.concerns(id))
        {
            self.queue(env, Box::new(tasks::ChildRekeyInitiator::new(id)));
        }
    }

    /// The data plane says that an SA reached a limit.
    pub(super) fn expire_child(&mut self, env: &mut Env<'_>, protocol: Protocol, spi: Spi, hard: bool) {
        let found = self.child_by_inbound(protocol, spi).or_else(|| self.child_by_outbound(protocol, spi));
        let Some((id, state)) = found.map(|child| (child.unique_id, child.state())) else { return };
        match (hard, state) {
            (false, _) => self.rekey_child(env, id),
            // protocol-wise gone already: nobody needs to be told
            (true, ChildSaState::Deleted) => self.destroy_child(env, id),
            (true, ChildSaState::Rekeyed) => {
                // traffic waits for the peer's DELETE to move over, and there is nothing left that it could stay with
                self.conclude_rekeying(env, id);
                self.destroy_child(env, id);
            }
            (true, ChildSaState::Deleting) => {}
            (true, _) => self.queue(env, Box::new(tasks::ChildDeleteInitiator::new(id, true))),
        }
    }

    /// Writes the line that says a CHILD_SA closes, with what it carried.
    pub(crate) fn log_closing(&self, env: &Env<'_>, id: UniqueId, expired: bool) {
        let Some(child) = self.child(id) else { return };
        let bytes = |direction| child.usage(env, direction).map_or(0, |usage| usage.bytes);
        log!(
            IKE,
            0,
            "closing {}CHILD_SA {child} with SPIs {}_i ({} bytes) {}_o ({} bytes) and TS {}",
            if expired { "expired " } else { "" },
            SpiText(child.spi_in),
            bytes(Direction::In),
            SpiText(child.spi_out),
            bytes(Direction::Out),
            Selectors(&child.local_ts, &child.remote_ts)
        );
    }

    /// Writes the line that says a CHILD_SA is established, or one half of it.
    pub(crate) fn log_established(&self, id: UniqueId, half: &str) {
        let Some(child) = self.child(id) else { return };
        log!(
            IKE,
            0,
            "{half}CHILD_SA {child} established with SPIs {}_i {}_o and TS {}",
            SpiText(child.spi_in),
            SpiText(child.spi_out),
            Selectors(&child.local_ts, &child.remote_ts)
        );
    }

    /// Writes the line that says one CHILD_SA replaced another.
    pub(crate) fn log_rekeyed(&self, old: UniqueId, new: UniqueId) {
        if let (Some(old), Some(new)) = (self.child(old), self.child(new)) {
            log!(
                IKE,
                0,
                "rekeyed CHILD_SA {old} with SPIs {}_i {}_o with {new} with SPIs {}_i {}_o",
                SpiText(old.spi_in),
                SpiText(old.spi_out),
                SpiText(new.spi_in),
                SpiText(new.spi_out)
            );
        }
    }
}

impl std::fmt::Display for ChildSa {
    /// `name{id}`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{{{}}}", self.config.name, self.unique_id)
    }
}

/// An SPI in log notation, zero while unknown.
pub(crate) struct SpiText(pub(crate) Option<Spi>);

impl std::fmt::Display for SpiText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0.map_or(0, Spi::get))
    }
}
