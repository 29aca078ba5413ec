//! Sending away the clients of many IKE_SAs at once, of which only they themselves know whether they are meant.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ike::ids::UniqueId;
use ike::wire::Gateway;
use ike::{IkeSaSnapshot, Input};
use parking_lot::Mutex;
use strongswan::processing::{Priority, job};

use super::Controller;

/// Whether an IKE_SA is meant. Called where the IKE_SA is, so it must be quick.
pub type Fits = Arc<dyn Fn(&IkeSaSnapshot) -> bool + Send + Sync>;

/// Is told how many were meant.
type Done = Box<dyn FnOnce(usize) + Send>;

impl Controller {
    /// Sends the clients of those IKE_SAs to another gateway that `fits` agrees to, and tells how many these are once all
    /// were looked at. An IKE_SA that is being worked on shows itself when that is done; nobody waits for it.
    pub fn redirect(self: &Arc<Self>, ids: Vec<UniqueId>, fits: Fits, gateway: Gateway, done: Done) {
        let tally = Arc::new(Tally { matches: AtomicUsize::new(0), done: Mutex::new(Some(done)) });
        let controller = Arc::clone(self);
        self.manager.processor().queue(job(Priority::Medium, move || {
            for id in ids {
                let (controller, tally) = (Arc::clone(&controller), Arc::clone(&tally));
                let (fits, gateway) = (Arc::clone(&fits), gateway.clone());
                let manager = Arc::clone(&controller.manager);
                manager.show(id, move |ike| {
                    if fits(ike) {
                        tally.matches.fetch_add(1, Ordering::Relaxed);
                        controller.later(id, Input::Redirect(gateway));
                    }
                });
            }
        }));
    }
}

/// Counts. Every look that is still to be taken holds it, and so does the one that takes them all: the last one to let go,
/// whether or not the IKE_SA was still there, reports.
struct Tally {
    matches: AtomicUsize,
    done: Mutex<Option<Done>>,
}

impl Drop for Tally {
    fn drop(&mut self) {
        if let Some(done) = self.done.get_mut().take() {
            done(self.matches.load(Ordering::Relaxed));
        }
    }
}
