//! Which policies the kernel has because of us, and who wants them.
//!
//! CHILD_SAs with equal selectors share one policy of the kernel: a rekeyed one and its successor, a trap and what it
//! brought up. It does what the user with the best priority wants; when that one goes, the next takes over in one step,
//! so that there is no moment without a policy in which packets would leave in clear.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ike::kernel::KernelError;
use netlink_packet_xfrm::XfrmMessage;
use strongswan::log;
use strongswan::sync::Mutex;

use super::policy::{Key, Policy, User};
use super::state::Unsupported;
use super::upkeep::is_held;
use crate::kernel::netlink::NetlinkError;

/// What becomes of the kernel's policy.
pub(super) enum Change<'a> {
    /// It is installed or replaced, to do what this user wants.
    Install(XfrmMessage, &'a User),
    /// It is removed.
    Remove(XfrmMessage),
}

/// Carries changes out. Called with the policy's lock held: changes of one policy happen one after the other, those of
/// others meanwhile.
pub(super) type Apply<'a> = &'a dyn Fn(&Policy, Change<'_>) -> Result<(), NetlinkError>;

/// The users of all policies.
#[derive(Default)]
pub(super) struct Policies {
    /// Locked for lookups only. An entry's lock may be held while this one is taken, never the other way round.
    entries: Mutex<HashMap<Key, Arc<Mutex<Entry>>>>,
}

#[derive(Default)]
struct Entry {
    /// The first one's wish is what is installed.
    users: Vec<User>,
    /// It is not in the table any more.
    removed: bool,
}

impl Policies {
    /// Adds a user.
    pub(super) fn add(&self, policy: &Policy, apply: Apply<'_>) -> Result<(), KernelError> {
        self.with_entry(&policy.key, |users| add(users, policy, apply))
    }

    /// Takes a user back.
    pub(super) fn remove(&self, policy: &Policy, apply: Apply<'_>) -> Result<(), KernelError> {
        self.with_entry(&policy.key, |users| remove(users, policy, apply))
    }

    /// Keeps a policy that a predecessor left in the kernel as one that drops, until somebody wants it or it is released.
    /// Its place among the kernel's policies stays what it was; among ours everybody precedes it.
    pub(super) fn hold(&self, policy: &Policy, apply: Apply<'_>) -> Result<(), KernelError> {
        let message = policy.install(&policy.user).map_err(unsupported)?;
        self.with_entry(&policy.key, |users| {
            apply(policy, Change::Install(XfrmMessage::UpdatePolicy(message), &policy.user)).map_err(|error| {
                log!(KNL, 1, "unable to update policy {policy}: {error}");
                failed(&error)
            })?;
            users.push(User { priority: u32::MAX, ..policy.user.clone() });
            Ok(())
        })
    }

    /// Removes what is held. Returns how many policies of the kernel went with it.
    pub(super) fn release(&self, apply: Apply<'_>) -> usize {
        let mut released = 0_usize;
        for key in self.keys() {
            self.with_entry(&key, |users| {
                let Some(held) = users.iter().find(|user| is_held(user)).cloned() else { return };
                let Some(policy) = Policy::of(key.clone(), held) else { return };
                released = released.saturating_add(usize::from(users.len() == 1));
                // An error is logged.
                let _gone = remove(users, &policy, apply);
            });
        }
        released
    }

    /// Installs those policies again that are not among those `present` in the kernel. Returns how many.
    pub(super) fn restore(&self, present: &HashSet<Key>, apply: Apply<'_>) -> usize {
        let mut restored = 0_usize;
        for key in self.keys().into_iter().filter(|key| !present.contains(key)) {
            self.with_entry(&key, |users| {
                let Some(first) = users.first() else { return };
                let Some(policy) = Policy::of(key.clone(), first.clone()) else { return };
                // Replacing installs as well, and one that came meanwhile does not mind.
                let result = policy.install(first).map_err(unsupported).and_then(|message| {
                    let change = Change::Install(XfrmMessage::UpdatePolicy(message), first);
                    apply(&policy, change).map_err(|error| failed(&error))
                });
                match result {
                    Ok(()) => restored = restored.saturating_add(1),
                    Err(error) => log!(KNL, 1, "unable to restore policy {policy}: {error}"),
                }
            });
        }
        restored
    }

    fn keys(&self) -> Vec<Key> {
        self.entries.lock().keys().cloned().collect()
    }

    /// Number of policies.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.lock().len()
    }

    fn with_entry<R>(&self, key: &Key, work: impl FnOnce(&mut Vec<User>) -> R) -> R {
        loop {
            let entry = Arc::clone(self.entries.lock().entry(key.clone()).or_default());
            let mut entry = entry.lock();
            if entry.removed {
                // Its last user left between the two locks; the table has no entry by now, or a new one.
                continue;
            }
            let result = work(&mut entry.users);
            if entry.users.is_empty() {
                entry.removed = true;
                self.entries.lock().remove(key);
            }
            return result;
        }
    }
}

/// Better ones first; among equals those that protect, then newer ones.
fn precedes(new: &User, old: &User) -> bool {
    let rank = |user: &User| (user.priority, user.computed, user.template.is_none());
    rank(new) <= rank(old)
}

fn add(users: &mut Vec<User>, policy: &Policy, apply: Apply<'_>) -> Result<(), KernelError> {
    let place = users.iter().position(|old| precedes(&policy.user, old)).unwrap_or(users.len());
    if place > 0 {
        users.insert(place, policy.user.clone());
        log!(KNL, 2, "not updating policy {policy} [priority {}, refcount {}]", policy.user.priority, users.len());
        return Ok(());
    }
    let old = users.first();
    if let (Some(old), Some(new)) = (old.and_then(|user| user.template.as_ref()), policy.user.template.as_ref())
        && old.reqid != new.reqid
    {
        log!(CFG, 1, "updating reqid for policy {policy} from {} to {}", old.reqid, new.reqid);
    }
    let install = |message| apply(policy, Change::Install(message, &policy.user));
    let message = || policy.install(&policy.user).map_err(unsupported);
    let result = if old.is_some() {
        install(XfrmMessage::UpdatePolicy(message()?))
    } else {
        match install(XfrmMessage::AddPolicy(message()?)) {
            Err(error) if error.is_exists() => {
                log!(KNL, 1, "policy {policy} already exists, try to update it");
                install(XfrmMessage::UpdatePolicy(message()?))
            }
            result => result,
        }
    };
    if let Err(error) = result {
        log!(KNL, 1, "unable to {} policy {policy}: {error}", if old.is_some() { "update" } else { "add" });
        return Err(failed(&error));
    }
    users.insert(0, policy.user.clone());
    Ok(())
}

fn remove(users: &mut Vec<User>, policy: &Policy, apply: Apply<'_>) -> Result<(), KernelError> {
    let Some(place) = users.iter().position(|user| *user == policy.user) else {
        log!(KNL, 1, "deleting policy {policy} failed, not found");
        return Err(KernelError::NotFound);
    };
    users.remove(place);
    if place > 0 {
        log!(KNL, 2, "policy {policy} still used by another CHILD_SA, not removed");
        return Ok(());
    }
    let (what, result) = match users.first() {
        Some(next) => {
            let message = XfrmMessage::UpdatePolicy(policy.install(next).map_err(unsupported)?);
            ("update", apply(policy, Change::Install(message, next)))
        }
        None => ("delete", apply(policy, Change::Remove(XfrmMessage::DeletePolicy(policy.remove())))),
    };
    result.map_err(|error| {
        log!(KNL, 1, "unable to {what} policy {policy}: {error}");
        failed(&error)
    })
}

fn unsupported(error: Unsupported) -> KernelError {
    log!(KNL, 1, "{error}");
    KernelError::NotSupported
}

/// The error of a request as IKE sees it.
pub(super) fn failed(error: &NetlinkError) -> KernelError {
    match error.errno() {
        Some(libc::EEXIST) => KernelError::Exists,
        Some(libc::ESRCH | libc::ENOENT) => KernelError::NotFound,
        Some(libc::ENOSYS | libc::EPROTONOSUPPORT | libc::EOPNOTSUPP) => KernelError::NotSupported,
        _ => KernelError::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use ike::config::{HwOffload, Mode};
    use ike::ids::{IfId, Mark, Reqid, Spi};
    use ike::kernel::{Direction, PolicyAction, PolicyClass, PolicyParams};
    use strongswan::crypto::Protocol;
    use strongswan::selectors::TrafficSelector;

    use super::super::policy::{Hook, policies};
    use super::*;

    fn ts(text: &str) -> [TrafficSelector; 1] {
        [TrafficSelector::parse(text).unwrap()]
    }

    struct Wish {
        action: PolicyAction,
        class: PolicyClass,
        priority: u32,
        reqid: u32,
        spi: u32,
    }

    const CHILD: Wish =
        Wish { action: PolicyAction::Ipsec, class: PolicyClass::Default, priority: 0, reqid: 1, spi: 0xc000_0001 };

    fn policy_of(direction: Direction, mode: Mode, wish: &Wish) -> Vec<Policy> {
        let (local_ts, remote_ts) = (ts("10.1.0.0/16"), ts("10.2.0.0/16"));
        let params = PolicyParams {
            ipcomp: false,
            direction,
            action: wish.action,
            class: wish.class,
            priority: wish.priority,
            local: [192, 0, 2, 1].into(),
            remote: [192, 0, 2, 2].into(),
            local_ts: &local_ts,
            remote_ts: &remote_ts,
            reqid: Reqid::new(wish.reqid),
            spi: Spi::new(wish.spi),
            protocol: Protocol::Esp,
            mode,
            mark: Mark::NONE,
            if_id: IfId::NONE,
            interface: None,
            fwd_out: false,
            hw_offload: HwOffload::No,
        };
        policies(&params, 0).collect()
    }

    fn out(wish: &Wish) -> Policy {
        policy_of(Direction::Out, Mode::Tunnel, wish).remove(0)
    }

    /// The kernel, as a list of what it was told.
    #[derive(Default)]
    struct Told(RefCell<Vec<String>>);

    impl Told {
        fn apply(&self, change: &Change<'_>) {
            let text = match change {
                Change::Install(message, user) => {
                    let what = if matches!(message, XfrmMessage::AddPolicy(_)) { "add" } else { "update" };
                    let spi = user.template.as_ref().and_then(|template| template.spi);
                    format!("{what} {:?} {}", user.action, spi.map_or_else(|| "-".to_owned(), |spi| spi.to_string()))
                }
                Change::Remove(_) => "delete".to_owned(),
            };
            self.0.borrow_mut().push(text);
        }

        fn take(&self) -> Vec<String> {
            self.0.take()
        }
    }

    #[test]
    fn priorities_are_strongswans() {
        let of = |class| out(&Wish { class, ..CHILD }).user.priority;
        // 32 bits of prefixes
        assert_eq!(of(PolicyClass::Pass), 200_000 - 32 * 512 - 1);
        assert_eq!(of(PolicyClass::Default), 400_000 - 32 * 512 - 1);
        assert_eq!(of(PolicyClass::Routed), 400_000 - 32 * 512);
        assert_eq!(of(PolicyClass::Fallback), 600_000 - 32 * 512 - 1);
        assert_eq!(out(&Wish { priority: 7, ..CHILD }).user.priority, 7);
    }

    #[test]
    fn forwarded_traffic_has_policies_except_in_transport_mode() {
        let hooks = |direction, mode| -> Vec<Hook> {
            policy_of(direction, mode, &CHILD).into_iter().map(|policy| policy.hook).collect()
        };
        assert_eq!(hooks(Direction::In, Mode::Tunnel), [Hook::In, Hook::Forward]);
        assert_eq!(hooks(Direction::In, Mode::Transport), [Hook::In]);
        assert_eq!(hooks(Direction::Out, Mode::Tunnel), [Hook::Out]);
    }

    #[test]
    fn a_successor_takes_over_in_one_step() {
        let (policies, told) = (Policies::default(), Told::default());
        let apply: Apply<'_> = &|_, change| {
            told.apply(&change);
            Ok(())
        };
        let (old, new) = (out(&CHILD), out(&Wish { spi: 0xc000_0002, ..CHILD }));
        policies.add(&old, apply).unwrap();
        policies.add(&new, apply).unwrap();
        assert_eq!(told.take(), ["add Ipsec c0000001", "update Ipsec c0000002"]);
        policies.remove(&old, apply).unwrap();
        assert_eq!(told.take(), [""; 0]);
        assert_eq!(policies.remove(&old, apply), Err(KernelError::NotFound));
        policies.remove(&new, apply).unwrap();
        assert_eq!(told.take(), ["delete"]);
        assert_eq!(policies.len(), 0);
    }

    #[test]
    fn a_trap_waits_behind_and_comes_back() {
        let (policies, told) = (Policies::default(), Told::default());
        let apply: Apply<'_> = &|_, change| {
            told.apply(&change);
            Ok(())
        };
        let trap = out(&Wish { class: PolicyClass::Routed, spi: 0, ..CHILD });
        let child = out(&CHILD);
        policies.add(&child, apply).unwrap();
        policies.add(&trap, apply).unwrap();
        assert_eq!(told.take(), ["add Ipsec c0000001"], "the trap's priority is worse");
        policies.remove(&child, apply).unwrap();
        assert_eq!(told.take(), ["update Ipsec -"]);
        policies.remove(&trap, apply).unwrap();
        assert_eq!(told.take(), ["delete"]);
    }

    #[test]
    fn what_protects_precedes_what_does_not() {
        let (policies, told) = (Policies::default(), Told::default());
        let apply: Apply<'_> = &|_, change| {
            told.apply(&change);
            Ok(())
        };
        let equal = Wish { priority: 5, ..CHILD };
        policies.add(&out(&equal), apply).unwrap();
        policies.add(&out(&Wish { action: PolicyAction::Drop, ..equal }), apply).unwrap();
        assert_eq!(told.take(), ["add Ipsec c0000001"]);
    }

    #[test]
    fn a_refused_policy_leaves_nothing_behind() {
        let policies = Policies::default();
        let refuse: Apply<'_> = &|_, _| {
            let error = std::io::Error::from_raw_os_error(libc::ENOMEM);
            Err(NetlinkError::Refused { error, reason: None })
        };
        assert!(matches!(policies.add(&out(&CHILD), refuse), Err(KernelError::Failed(_))));
        assert_eq!(policies.len(), 0);
    }

    #[test]
    fn somebody_elses_policy_is_taken_over() {
        let (policies, told) = (Policies::default(), Told::default());
        let apply: Apply<'_> = &|_, change| {
            told.apply(&change);
            match change {
                Change::Install(XfrmMessage::AddPolicy(_), _) => {
                    let error = std::io::Error::from_raw_os_error(libc::EEXIST);
                    Err(NetlinkError::Refused { error, reason: None })
                }
                _ => Ok(()),
            }
        };
        policies.add(&out(&CHILD), apply).unwrap();
        assert_eq!(told.take(), ["add Ipsec c0000001", "update Ipsec c0000001"]);
    }
}
