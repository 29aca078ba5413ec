//! Who answers what an IKE_SA asks an AAA server.

use std::net::SocketAddr;
use std::sync::Arc;

use ike::Input;
use ike::eap::{AaaAnswer, AaaRequest};
use ike::ids::UniqueId;
use strongswan::processing::{Priority, job};

use super::Manager;
use super::resident::Resident;

/// The IKE_SA that asks.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Its number.
    pub ike_sa: UniqueId,
    /// Its connection.
    pub connection: Arc<str>,
    /// Our address.
    pub local: SocketAddr,
    /// The client's address.
    pub remote: SocketAddr,
}

/// Takes the answer, from any thread.
pub type Answered = Box<dyn FnOnce(AaaAnswer) + Send>;

/// An AAA server. Asking must not block.
pub trait Aaa: Send + Sync {
    /// Asks; `answered` is called once, whatever happens.
    fn ask(&self, asker: Asker, request: AaaRequest, answered: Answered);

    /// Whoever asked is gone.
    fn forget(&self, ike_sa: UniqueId) {
        let _ = ike_sa;
    }
}

/// There is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAaa;

impl Aaa for NoAaa {
    fn ask(&self, _: Asker, _: AaaRequest, answered: Answered) {
        answered(AaaAnswer::Unavailable);
    }
}

impl Manager {
    /// Asks for an IKE_SA, and tells it the answer when there is one.
    pub(super) fn ask_aaa(self: &Arc<Self>, resident: &Resident, request: AaaRequest) {
        let ike = resident.sa.snapshot();
        let (id, connection) = (ike.unique_id, ike.name().into());
        let asker = Asker { ike_sa: id, connection, local: ike.local, remote: ike.remote };
        let manager = Arc::clone(self);
        let answered = move |answer| {
            let processor = Arc::clone(&manager.around.processor);
            processor.queue(job(Priority::High, move || {
                if !manager.input(id, Input::Aaa(answer)) {
                    manager.around.aaa.forget(id);
                }
            }));
        };
        self.around.aaa.ask(asker, request, Box::new(answered));
    }
}
