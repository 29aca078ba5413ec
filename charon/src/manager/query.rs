//! Finding IKE_SAs and looking at them, and their end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use ike::ids::{Spi, UniqueId};
use ike::{IkeSaSnapshot, Input};
use strongswan::crypto::Protocol;
use strongswan::processing::{Priority, job, monotonic};

use super::Manager;
use super::resident::Work;
use super::table::Look;

/// How often it is looked whether all IKE_SAs have ended.
const FLUSH_INTERVAL: Duration = Duration::from_millis(2);

/// What a look at an IKE_SA found.
#[derive(Debug, Clone)]
pub enum Snapshot {
    /// The IKE_SA as it is.
    Taken(Box<IkeSaSnapshot>),
    /// It is being worked on.
    Busy,
    /// It does not exist any more.
    Gone,
}

impl Manager {
    /// All IKE_SAs, the oldest first.
    pub fn ike_sas(&self) -> Vec<UniqueId> {
        self.indexes.all()
    }

    /// Whether there is such an IKE_SA.
    pub fn exists(&self, id: UniqueId) -> bool {
        self.indexes.key(id).is_some()
    }

    /// The IKE_SAs of a connection, the oldest first.
    pub fn ike_sas_named(&self, name: &str) -> Vec<UniqueId> {
        self.indexes.by_name(name)
    }

    /// The IKE_SA of a CHILD_SA.
    pub fn ike_sa_of_child(&self, child: UniqueId) -> Option<UniqueId> {
        self.indexes.of_child(child)
    }

    /// The CHILD_SAs of a name, the oldest first.
    pub fn child_sas_named(&self, name: &str) -> Vec<UniqueId> {
        self.indexes.children_by_name(name)
    }

    /// The CHILD_SA that has an SA in the data plane, and its IKE_SA.
    pub fn child_of_sa(
        &self,
        protocol: Protocol,
        spi: Spi,
        destination: std::net::IpAddr,
    ) -> Option<(UniqueId, UniqueId)> {
        let child = self.indexes.child_of_sa(protocol, spi, destination)?;
        Some((self.indexes.of_child(child)?, child))
    }

    /// Looks at an IKE_SA. One that is being worked on is waited for up to `wait`: it shows itself when it is checked in.
    pub fn snapshot(self: &Arc<Self>, id: UniqueId, wait: Duration) -> Snapshot {
        let Some(key) = self.indexes.key(id) else { return Snapshot::Gone };
        match self.table.look(key, |resident| Box::new(resident.sa.snapshot())) {
            Look::Resting(snapshot) => return Snapshot::Taken(snapshot),
            Look::Gone => return Snapshot::Gone,
            Look::Busy if wait.is_zero() => return Snapshot::Busy,
            Look::Busy => {}
        }
        let (show, shown) = mpsc::sync_channel(1);
        let posted = self.post(
            key,
            Work::Look(Box::new(move |sa| {
                // The one who asked may have stopped waiting.
                let _late = show.try_send(Box::new(sa.snapshot()));
            })),
        );
        if !posted {
            return Snapshot::Gone;
        }
        match shown.recv_timeout(wait) {
            Ok(snapshot) => Snapshot::Taken(snapshot),
            Err(mpsc::RecvTimeoutError::Timeout) => Snapshot::Busy,
            Err(mpsc::RecvTimeoutError::Disconnected) => Snapshot::Gone,
        }
    }

    /// Shows an IKE_SA to `look`, at once if nobody works on it, else when that is over. If it does not exist, or ends before
    /// its turn comes, `look` is dropped.
    pub fn show(self: &Arc<Self>, id: UniqueId, look: impl FnOnce(&IkeSaSnapshot) + Send + 'static) {
        let Some(key) = self.indexes.key(id) else { return };
        match self.table.look(key, |resident| Box::new(resident.sa.snapshot())) {
            Look::Resting(snapshot) => look(&snapshot),
            Look::Gone => {}
            Look::Busy => {
                self.post(key, Work::Look(Box::new(move |sa| look(&sa.snapshot()))));
            }
        }
    }

    /// Ends all IKE_SAs: DELETEs are sent, answers not waited for. New ones are refused from here on. Returns the number of
    /// IKE_SAs that are still being worked on after `patience`.
    pub fn flush(self: &Arc<Self>, patience: Duration) -> usize {
        self.closing.store(true, Ordering::Release);
        let deadline = monotonic() + patience;
        // Each job that is not done holds a share of it.
        let told = Arc::new(());
        loop {
            // Again if there are new ones: an IKE_SA that was being rekeyed may have left a successor.
            if Arc::strong_count(&told) == 1 {
                for id in self.ike_sas() {
                    let (manager, told) = (Arc::clone(self), Arc::clone(&told));
                    // On the workers, so that one IKE_SA that hangs does not keep the others.
                    self.around.processor.queue(job(Priority::High, move || {
                        manager.input(id, Input::Shutdown);
                        drop(told);
                    }));
                }
            }
            let now = monotonic();
            if self.is_empty() || now >= deadline {
                return self.len();
            }
            std::thread::sleep(FLUSH_INTERVAL.min(deadline.saturating_since(now)));
        }
    }
}
