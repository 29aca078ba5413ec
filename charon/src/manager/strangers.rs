//! How much the log says about peers that do not get in.
//!
//! A host that returns cookies can have us work on as many requests as it sends, each of which writes a dozen lines and
//! fails. Those that fail are counted by where they come from; beyond a bound what else comes from there is worked on in
//! silence until it is authenticated, so that the log has room for the others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;
use strongswan::clock::MonoTime;
use strongswan::log;

/// IKE_SAs of one address that may fail within [`INTERVAL`] with all their lines in the log: more than somebody makes who
/// tries whether a new secret works.
const TOLD_EACH: u32 = 20;

/// And of all addresses together; it also bounds how many are remembered.
const TOLD: u32 = 100;

/// After this long they are told about again.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts IKE_SAs that ended before their peers were authenticated.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    since: Option<MonoTime>,
    failed: u32,
    by_origin: HashMap<IpAddr, u32>,
    untold: u64,
}

impl Strangers {
    /// Whether to tell what happens to an IKE_SA of somebody at this address.
    pub(super) fn tell(&self, ip: IpAddr, now: MonoTime) -> bool {
        let mut counts = self.0.lock();
        let untold = counts.begin(now);
        let tell = counts.tells(origin(ip));
        drop(counts);
        if untold > 0 {
            log!(IKE, 1, "{untold} more IKE_SAs of unknown peers have failed");
        }
        tell
    }

    /// An IKE_SA of somebody at this address has ended without authentication.
    pub(super) fn failed(&self, ip: IpAddr, now: MonoTime) {
        let mut counts = self.0.lock();
        let untold = counts.begin(now);
        let origin = origin(ip);
        if counts.tells(origin) {
            counts.failed = counts.failed.saturating_add(1);
            let count = counts.by_origin.entry(origin).or_default();
            *count = count.saturating_add(1);
        } else {
            counts.untold = counts.untold.saturating_add(1);
        }
        let (all, this) = (counts.failed >= TOLD, counts.by_origin.get(&origin).is_some_and(|n| *n >= TOLD_EACH));
        let first = counts.untold == 0;
        drop(counts);
        if untold > 0 {
            log!(IKE, 1, "{untold} more IKE_SAs of unknown peers have failed");
        }
        match (first && all, first && this) {
            (true, _) => {
                log!(IKE, 1, "too many IKE_SAs of unknown peers fail, not logging them for {}s", INTERVAL.as_secs());
            }
            (_, true) => log!(IKE, 1, "too many IKE_SAs from {ip} fail, not logging them for {}s", INTERVAL.as_secs()),
            (false, false) => {}
        }
    }
}

impl Counts {
    /// Begins a new interval if it is time; how many were not told about in the one before.
    fn begin(&mut self, now: MonoTime) -> u64 {
        if self.since.is_some_and(|since| now.saturating_since(since) < INTERVAL) {
            return 0;
        }
        std::mem::replace(self, Self { since: Some(now), ..Self::default() }).untold
    }

    fn tells(&self, origin: IpAddr) -> bool {
        self.failed < TOLD && self.by_origin.get(&origin).is_none_or(|count| *count < TOLD_EACH)
    }
}

/// What one host has at most: an address, or a network of IPv6.
fn origin(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> MonoTime {
        MonoTime::from_duration(Duration::from_secs(seconds))
    }

    #[test]
    fn one_host_fills_its_share_only() {
        let strangers = Strangers::default();
        let [noisy, same, other] =
            ["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        for _ in 0..TOLD_EACH {
            assert!(strangers.tell(noisy, at(1)));
            strangers.failed(noisy, at(1));
        }
        assert!(!strangers.tell(noisy, at(10)) && !strangers.tell(same, at(10)) && strangers.tell(other, at(10)));
        for _ in 0..1000 {
            strangers.failed(same, at(10));
        }
        assert!(strangers.tell(other, at(10)));
        assert_eq!(strangers.0.lock().untold, 1000);
        assert!(strangers.tell(noisy, at(11)));
        assert_eq!(strangers.0.lock().untold, 0);
    }

    #[test]
    fn many_hosts_fill_little_memory() {
        let strangers = Strangers::default();
        for host in 0..10_000_u32 {
            strangers.failed(IpAddr::V4(host.into()), at(1));
        }
        assert_eq!(strangers.0.lock().by_origin.len(), usize::try_from(TOLD).unwrap());
        assert!(!strangers.tell("192.0.2.1".parse().unwrap(), at(2)));
    }
}
