//! Reqids: equal selectors, marks and interfaces get the same one.

use std::collections::{HashMap, VecDeque};

use ike::ReqidKey;
use ike::ids::Reqid;
use parking_lot::Mutex;

#[derive(Default)]
struct State {
    by_key: HashMap<ReqidKey, (Reqid, usize)>,
    keys: HashMap<Reqid, ReqidKey>,
    /// Released ones, the oldest first.
    free: VecDeque<Reqid>,
    next: u32,
}

/// Reqids in use with their users counted.
pub(crate) struct Reqids(Mutex<State>);

impl Reqids {
    /// The first is `base`, or 1 if that is 0.
    pub(crate) fn new(base: u32) -> Self {
        Self(Mutex::new(State { next: base.max(1), ..State::default() }))
    }

    /// The reqid of `key`, with one more user; `None` if none is left.
    pub(crate) fn allocate(&self, key: &ReqidKey) -> Option<Reqid> {
        let mut state = self.0.lock();
        if let Some((reqid, users)) = state.by_key.get_mut(key) {
            *users = users.saturating_add(1);
            return Some(*reqid);
        }
        let reqid = match state.free.pop_front() {
            Some(reqid) => reqid,
            None => {
                let reqid = Reqid::new(state.next)?;
                // After the last one follows 0, which is none.
                state.next = state.next.wrapping_add(1);
                reqid
            }
        };
        state.by_key.insert(key.clone(), (reqid, 1));
        state.keys.insert(reqid, key.clone());
        Some(reqid)
    }

    /// One user less. Reqids of the configuration are not known here and ignored.
    pub(crate) fn release(&self, reqid: Reqid) {
        let mut state = self.0.lock();
        let State { by_key, keys, free, .. } = &mut *state;
        let Some(key) = keys.get(&reqid) else { return };
        if let Some((_, users)) = by_key.get_mut(key) {
            *users = users.saturating_sub(1);
            if *users == 0 {
                by_key.remove(key);
                keys.remove(&reqid);
                free.push_back(reqid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ike::ids::{IfId, Mark};
    use strongswan::selectors::TrafficSelector;

    use super::*;

    fn key(remote: &str) -> ReqidKey {
        ReqidKey {
            local_ts: vec![TrafficSelector::parse("10.1.0.0/16").unwrap()],
            remote_ts: vec![TrafficSelector::parse(remote).unwrap()],
            mark_in: Mark::NONE,
            mark_out: Mark::NONE,
            if_id_in: IfId::NONE,
            if_id_out: IfId::NONE,
        }
    }

    #[test]
    fn equal_keys_share_and_released_ones_are_used_again() {
        let reqids = Reqids::new(0);
        let [a, b] = [key("10.2.0.0/16"), key("10.3.0.0/16")];
        let one = reqids.allocate(&a).unwrap();
        assert_eq!(one.get(), 1);
        assert_eq!(reqids.allocate(&a), Some(one));
        let two = reqids.allocate(&b).unwrap();
        assert_eq!(two.get(), 2);
        reqids.release(one);
        assert_eq!(reqids.allocate(&key("10.4.0.0/16")).map(Reqid::get), Some(3));
        reqids.release(one);
        assert_eq!(reqids.allocate(&key("10.5.0.0/16")), Some(one));
        reqids.release(Reqid::new(77).unwrap());
    }

    #[test]
    fn they_run_out() {
        let reqids = Reqids::new(u32::MAX);
        assert!(reqids.allocate(&key("10.2.0.0/16")).is_some());
        assert_eq!(reqids.allocate(&key("10.3.0.0/16")), None);
    }
}
