//! What happens and is not done on the spot: one job a file. A job looks up what it is about when it runs.

mod acquire;
mod expire;
mod mapping;
mod process_message;
mod roam;

use std::sync::{Arc, OnceLock, Weak};

use strongswan::processing::{Job, Processor};

use crate::kernel::{EventSink, KernelEvent};
use crate::manager::Manager;
use crate::traps::Traps;

use acquire::Acquire;
use expire::Expire;
use mapping::Mapping;
pub use process_message::ProcessMessage;
use roam::Roam;

/// Turns events of the data plane into jobs. The data plane exists before those who can handle its events, and what it
/// reports until then is about nothing they know.
#[derive(Default)]
pub struct KernelEvents {
    handlers: OnceLock<Handlers>,
}

struct Handlers {
    processor: Weak<Processor>,
    manager: Weak<Manager>,
    traps: Weak<Traps>,
}

impl KernelEvents {
    /// Says who handles events. Only the first call counts.
    pub fn handle_with(&self, manager: &Arc<Manager>, traps: &Arc<Traps>) {
        let handlers = Handlers {
            processor: Arc::downgrade(manager.processor()),
            manager: Arc::downgrade(manager),
            traps: Arc::downgrade(traps),
        };
        let _already = self.handlers.set(handlers);
    }

    /// The sink for a data plane.
    pub fn sink(self: &Arc<Self>) -> EventSink {
        let events = Arc::clone(self);
        Arc::new(move |event| events.queue(event))
    }

    fn queue(&self, event: KernelEvent) {
        let Some(Handlers { processor, manager, traps }) = self.handlers.get() else { return };
        let (Some(processor), Some(manager)) = (processor.upgrade(), manager.upgrade()) else { return };
        let job: Box<dyn Job> = match event {
            KernelEvent::Acquire { reqid, source, destination } => {
                let Some(traps) = traps.upgrade() else { return };
                Box::new(Acquire { traps, reqid, source, destination })
            }
            KernelEvent::Expire { protocol, spi, destination, hard } => {
                Box::new(Expire { manager, protocol, spi, destination, hard })
            }
            KernelEvent::Mapping { protocol, spi, destination, remote } => {
                Box::new(Mapping { manager, protocol, spi, destination, remote })
            }
            KernelEvent::Roam { address } => Box::new(Roam { manager, address }),
        };
        processor.queue(job);
    }
}
