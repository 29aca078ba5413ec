//! Questions of IKE_SAs about certificates: others are asked on threads that have time for it, and no worker waits.

use std::sync::Arc;

use ike::Input;
use ike::ids::UniqueId;
use strongswan::credentials::revocation::StatusQuery;
use strongswan::crypto::SystemRng;
use strongswan::processing::{Priority, job};

use super::Manager;
use super::work::wall_clock;

impl Manager {
    /// Finds out what an IKE_SA wants to know, and tells it when that is done.
    pub(super) fn inquire(self: &Arc<Self>, id: UniqueId, queries: Vec<StatusQuery>, number: u64) {
        let manager = Arc::clone(self);
        let accepted = self.around.fetcher.run(move |fetcher| {
            for query in &queries {
                manager.around.credentials.ask(query, fetcher, &mut SystemRng, wall_clock());
            }
            let processor = Arc::clone(&manager.around.processor);
            processor.queue(job(Priority::Medium, move || {
                manager.input(id, Input::Inquired { number });
            }));
        });
        if !accepted {
            // The IKE_SA is checked out by this very worker, who finds the answer in the mailbox.
            self.input(id, Input::Inquired { number });
        }
    }
}
