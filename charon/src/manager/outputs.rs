//! Carrying out what an IKE_SA wants done, in order.

use std::sync::Arc;

use ike::ids::UniqueId;
use ike::{DuplicateAction, Event, IkeSa, Input, Output};
use strongswan::log;
use strongswan::processing::{Priority, job};

use super::Manager;
use super::index::Registration;
use super::resident::Resident;
use super::work::{Fate, key_of};

/// What outputs say about the IKE_SA.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Its CHILD_SAs have changed.
    pub(super) children: bool,
}

impl Manager {
    pub(super) fn carry_out(self: &Arc<Self>, resident: &mut Resident, changes: &mut Changes) -> Fate {
        let id = resident.sa.unique_id();
        while let Some(output) = resident.sa.poll_output() {
            match output {
                Output::Send(datagram) => self.around.sender.send(datagram),
                Output::Adopt(sa) => self.adopt(*sa),
                Output::Event(event) => {
                    changes.children |= matches!(
                        event,
                        Event::ChildStateChange { .. } | Event::ChildRekey { .. } | Event::ChildUpDown { .. }
                    );
                    self.around.bus.raise(&resident.sa, &event);
                }
                Output::Resolve(config) => self.resolve(id, &config),
                Output::Aaa(request) => self.ask_aaa(resident, request),
                Output::Inquire { queries, number } => self.inquire(id, queries, number),
                Output::Duplicate { id, action } => self.replace(id, action),
                Output::Trap(child) => {
                    if let (Some(install), Some(config)) = (self.traps.get(), resident.sa.config()) {
                        install(Arc::clone(config), child);
                    }
                }
                Output::Destroy => return Fate::Ends,
            }
        }
        Fate::Stays
    }

    /// Registers the successor of an IKE_SA.
    fn adopt(self: &Arc<Self>, sa: IkeSa) {
        let Some(spi) = sa.id().local() else { return };
        let key = key_of(spi);
        if !self.table.reserve(key) {
            // The SPI was chosen at random; its number of bits makes this a broken generator.
            log!(MGR, 0, "SPI {spi} of a new IKE_SA is in use, IKE_SA dropped");
            return;
        }
        self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let registration = Registration::new(&self.indexes, sa.unique_id(), key);
        let mut resident = Box::new(Resident::new(sa, registration));
        resident.registration.update(&resident.sa, true);
        self.settle(resident);
    }

    /// Tells another IKE_SA that it is replaced. Not on this worker: it has an IKE_SA checked out.
    fn replace(self: &Arc<Self>, id: UniqueId, action: DuplicateAction) {
        let manager = Arc::clone(self);
        self.around.processor.queue(job(Priority::Medium, move || {
            manager.input(id, Input::Replaced(action));
        }));
    }
}
