//! The SAs we have in the kernel: what it does not remember for us, and what is compared with it when events were lost.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ike::ids::Spi;
use ike::kernel::{SaId, SaLifetimes, SaLimit, SaUsage};
use netlink_packet_xfrm::state::ModifyMessage;
use netlink_packet_xfrm::{Lifetime, XfrmAttrs};
use strongswan::clock::MonoTime;
use strongswan::crypto::Protocol;
use strongswan::sync::Mutex;

use crate::kernel::KernelEvent;

/// Our SAs.
#[derive(Debug, Default)]
pub(super) struct Sas {
    table: Mutex<HashMap<SaId, Tracked>>,
}

/// What is known about an SA that is being moved.
#[derive(Debug)]
pub(super) struct Moving(Tracked);

#[derive(Debug, Clone, Copy)]
struct Tracked {
    limits: SaLifetimes,
    /// CPI of the compression inside.
    cpi: Option<Spi>,
    /// The number of packets at the last look, and when it was first seen, if there were any.
    packets: u64,
    changed: Option<MonoTime>,
    /// A soft limit was reported by comparison.
    reported: bool,
}

impl Sas {
    /// An SA was installed.
    pub(super) fn insert(&self, id: SaId, limits: SaLifetimes, cpi: Option<Spi>) {
        let tracked = Tracked { limits, cpi, packets: 0, changed: None, reported: false };
        self.table.lock().insert(id, tracked);
    }

    /// An SA gets other addresses: while it is away nobody must miss it.
    pub(super) fn take(&self, id: &SaId) -> Option<Moving> {
        self.table.lock().remove(id).map(Moving)
    }

    /// It is back.
    pub(super) fn put(&self, id: SaId, moving: Moving) {
        self.table.lock().insert(id, moving.0);
    }

    /// The compression inside of an SA, by the name it has in the kernel.
    pub(super) fn compression(&self, id: &SaId) -> Option<SaId> {
        let spi = self.table.lock().get(id)?.cpi?;
        Some(SaId { spi, protocol: Protocol::IpComp, ..*id })
    }

    /// An SA was removed.
    pub(super) fn remove(&self, id: &SaId) {
        self.table.lock().remove(id);
    }

    /// All SAs.
    pub(super) fn all(&self) -> Vec<SaId> {
        self.table.lock().keys().copied().collect()
    }

    /// Counters of an SA as the kernel describes it. Older kernels do not tell when it was last used: that its counters
    /// changed between two looks is all that is known then.
    pub(super) fn usage(&self, id: &SaId, current: &ModifyMessage, now: MonoTime) -> SaUsage {
        let Lifetime { bytes, packets, .. } = current.user_sa_info.lifetime_cur;
        let last_used = current.nlas.iter().find_map(|attribute| match attribute {
            XfrmAttrs::LastUsed(seconds) => Some(*seconds),
            _ => None,
        });
        let idle = match last_used {
            Some(seconds) => since_unix(seconds),
            None => self.observe(id, packets, now).map(|changed| now.saturating_since(changed)),
        };
        SaUsage { bytes, packets, idle: idle.filter(|_| packets > 0) }
    }

    fn observe(&self, id: &SaId, packets: u64, now: MonoTime) -> Option<MonoTime> {
        let mut table = self.table.lock();
        let tracked = table.get_mut(id)?;
        if tracked.packets != packets {
            (tracked.packets, tracked.changed) = (packets, Some(now));
        }
        tracked.changed
    }

    /// What was missed about an SA: `current` is what the kernel says of it, `None` if it has no such SA.
    pub(super) fn missed(&self, id: &SaId, current: Option<&ModifyMessage>) -> Option<KernelEvent> {
        let mut table = self.table.lock();
        let tracked = table.get_mut(id)?;
        let hard = current.is_none();
        let due = current.is_none_or(|current| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
            is_soft_due(&tracked.limits, &current.user_sa_info.lifetime_cur, now)
        });
        if !due || (tracked.reported && !hard) {
            return None;
        }
        tracked.reported = true;
        if hard {
            table.remove(id);
        }
        Some(KernelEvent::Expire { protocol: id.protocol, spi: id.spi, destination: id.dst, hard })
    }
}

fn since_unix(seconds: u64) -> Option<Duration> {
    let then = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    // The clock may have been set back.
    Some(SystemTime::now().duration_since(then).unwrap_or_default())
}

fn is_soft_due(limits: &SaLifetimes, used: &Lifetime, now: u64) -> bool {
    let reached = |limit: SaLimit, value: u64| limit.soft != 0 && value >= limit.soft;
    reached(limits.bytes, used.bytes)
        || reached(limits.packets, used.packets)
        || reached(limits.time, now.saturating_sub(used.add_time))
}

#[cfg(test)]
mod tests {
    use ike::ids::{IfId, Mark};

    use super::*;

    fn id() -> SaId {
        SaId {
            spi: Spi::new(0xc000_0001).unwrap(),
            protocol: Protocol::Esp,
            src: [192, 0, 2, 1].into(),
            dst: [192, 0, 2, 2].into(),
            mark: Mark::NONE,
            if_id: IfId::NONE,
        }
    }

    fn counted(packets: u64) -> ModifyMessage {
        let mut message = ModifyMessage::default();
        message.user_sa_info.lifetime_cur.packets = packets;
        message.user_sa_info.lifetime_cur.bytes = packets * 100;
        message
    }

    #[test]
    fn an_old_kernels_sa_is_idle_since_its_counter_stopped() {
        let sas = Sas::default();
        sas.insert(id(), SaLifetimes::default(), None);
        let start = MonoTime::default();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(sas.usage(&id(), &counted(0), at(1)).idle, None);
        assert_eq!(sas.usage(&id(), &counted(5), at(2)).idle, Some(Duration::ZERO));
        assert_eq!(
            sas.usage(&id(), &counted(5), at(9)),
            SaUsage { bytes: 500, packets: 5, idle: Some(Duration::from_secs(7)) }
        );
        assert_eq!(sas.usage(&id(), &counted(6), at(10)).idle, Some(Duration::ZERO));
    }

    #[test]
    fn lost_events_are_made_up_for_once() {
        let sas = Sas::default();
        let soft = SaLimit { soft: 10, hard: 20 };
        sas.insert(id(), SaLifetimes { packets: soft, ..SaLifetimes::default() }, None);
        assert_eq!(sas.missed(&id(), Some(&counted(9))), None);
        let expire = |hard| KernelEvent::Expire { protocol: Protocol::Esp, spi: id().spi, destination: id().dst, hard };
        assert_eq!(sas.missed(&id(), Some(&counted(10))), Some(expire(false)));
        assert_eq!(sas.missed(&id(), Some(&counted(11))), None);
        assert_eq!(sas.missed(&id(), None), Some(expire(true)));
        assert_eq!(sas.missed(&id(), None), None);
        assert!(sas.all().is_empty());
    }
}
