//! Process-wide numbers of one host, with reqids counted so that leaks show.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use ike::ids::{IfId, IkeSpi, Reqid, UniqueId};
use ike::{ReqidKey, UniqueIds};
use strongswan::crypto::Rng;

/// The numbers of one host.
#[derive(Debug, Default)]
pub struct Ids {
    ike: AtomicU32,
    child: AtomicU32,
    unique: AtomicU32,
    reqids: Mutex<Reqids>,
}

#[derive(Debug, Default)]
struct Reqids {
    next: u32,
    users: HashMap<ReqidKey, (Reqid, usize)>,
}

fn next(counter: &AtomicU32) -> u32 {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}

impl Ids {
    /// Loses all reqids.
    pub fn forget(&self) {
        self.reqids.lock().unwrap().users.clear();
    }

    /// Reqids in use.
    pub fn reqids(&self) -> usize {
        self.reqids.lock().unwrap().users.len()
    }
}

impl UniqueIds for Ids {
    fn ike_sa_id(&self) -> UniqueId {
        UniqueId::new(next(&self.ike)).unwrap()
    }

    fn child_sa_id(&self) -> UniqueId {
        UniqueId::new(next(&self.child)).unwrap()
    }

    fn ike_spi(&self, rng: &mut dyn Rng, _previous: Option<IkeSpi>) -> IkeSpi {
        IkeSpi::new((rng.next_u64() | 1).to_be_bytes()).unwrap()
    }

    fn allocate_reqid(&self, key: &ReqidKey) -> Option<Reqid> {
        let mut reqids = self.reqids.lock().unwrap();
        if let Some((reqid, users)) = reqids.users.get_mut(key) {
            *users += 1;
            return Some(*reqid);
        }
        reqids.next += 1;
        let reqid = Reqid::new(reqids.next)?;
        reqids.users.insert(key.clone(), (reqid, 1));
        Some(reqid)
    }

    fn release_reqid(&self, reqid: Reqid) {
        let mut reqids = self.reqids.lock().unwrap();
        for (_, users) in reqids.users.values_mut().filter(|(r, _)| *r == reqid) {
            *users -= 1;
        }
        reqids.users.retain(|_, (_, users)| *users > 0);
    }

    fn unique_mark(&self) -> u32 {
        next(&self.unique)
    }

    fn unique_if_id(&self) -> IfId {
        IfId(next(&self.unique))
    }
}
