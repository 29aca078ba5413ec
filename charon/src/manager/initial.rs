//! Which IKE_SA_INIT requests were seen, so that a retransmitted one finds the IKE_SA its first copy made instead of making
//! another.
//!
//! A request is known by its initiator's SPI and a keyed hash of all of it. The key is ours alone, so nobody can make two
//! requests of equal hash.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::sync::Arc;

use ike::ids::IkeSpi;
use parking_lot::Mutex;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct RequestKey {
    initiator: u64,
    hash: u64,
}

/// The requests that made the present IKE_SAs.
#[derive(Default)]
pub(crate) struct InitialRequests {
    key: RandomState,
    seen: Mutex<HashMap<RequestKey, IkeSpi>>,
}

/// What is known of a request.
pub(crate) enum Seen {
    /// It is new. It stays known while the claim lives.
    First(InitialClaim),
    /// The IKE_SA of this local SPI was made for it.
    Again(IkeSpi),
}

/// Keeps a request known.
pub(crate) struct InitialClaim {
    requests: Arc<InitialRequests>,
    key: RequestKey,
}

impl InitialRequests {
    /// Looks a request up; a new one becomes known as that of the IKE_SA with local SPI `spi`.
    pub(crate) fn claim(self: &Arc<Self>, initiator: IkeSpi, request: &[u8], spi: IkeSpi) -> Seen {
        let key = RequestKey { initiator: initiator.get(), hash: self.key.hash_one(request) };
        match self.seen.lock().entry(key) {
            Entry::Occupied(known) => Seen::Again(*known.get()),
            Entry::Vacant(new) => {
                new.insert(spi);
                Seen::First(InitialClaim { requests: Arc::clone(self), key })
            }
        }
    }
}

impl Drop for InitialClaim {
    fn drop(&mut self) {
        self.requests.seen.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_while_its_claim_lives() {
        let requests = Arc::new(InitialRequests::default());
        let spi = |n| IkeSpi::new([n; 8]).unwrap();
        let Seen::First(claim) = requests.claim(spi(1), b"request", spi(8)) else { panic!("it is new") };
        assert!(matches!(requests.claim(spi(1), b"request", spi(9)), Seen::Again(known) if known == spi(8)));
        assert!(matches!(requests.claim(spi(1), b"another", spi(9)), Seen::First(_)));
        drop(claim);
        assert!(matches!(requests.claim(spi(1), b"request", spi(9)), Seen::First(_)));
    }
}
