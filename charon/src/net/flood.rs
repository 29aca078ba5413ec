//! Who may start an IKE_SA with us: cookies and limits, before any state is kept.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ike::ids::IkeSpi;
use strongswan::clock::MonoTime;
use strongswan::crypto::Rng;
use strongswan::log;

use super::cookie::{COOKIE_LEN, Cookies};
use super::quiet::Quiet;
use crate::manager::{HalfOpen, HalfOpenEntry};

/// Once cookies were required they stay required until the threshold was not reached for this long.
const CALM_DOWN: Duration = Duration::from_secs(10);

/// For each half-open IKE_SA that `cookie_threshold` allows, so many requests are served within [`CALM_DOWN`] without a
/// cookie. Requests that are refused at once and repeated ones do not leave more IKE_SAs half open, but they cost work and
/// lines in the log, and none of them says where it comes from.
const SERVED_PER_HALF_OPEN: usize = 10;

/// Memory for addresses that reached the threshold; addresses share slots, at the price of a needless cookie.
const CALM_DOWN_SLOTS: usize = 32;

/// Settings of the protection against floods of IKE_SA_INIT requests; 0 switches a limit off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloodSettings {
    /// `dos_protection`: cookies and blocking at all.
    pub dos_protection: bool,
    /// `cookie_threshold`
    pub cookie_threshold: usize,
    /// `cookie_threshold_ip`
    pub cookie_threshold_ip: usize,
    /// `block_threshold`
    pub block_threshold: usize,
    /// `init_limit_half_open`
    pub init_limit_half_open: usize,
    /// `init_limit_job_load`
    pub init_limit_job_load: usize,
}

impl Default for FloodSettings {
    fn default() -> Self {
        Self {
            dos_protection: true,
            cookie_threshold: 30,
            cookie_threshold_ip: 3,
            block_threshold: 5,
            init_limit_half_open: 0,
            init_limit_job_load: 0,
        }
    }
}

/// What happens to a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is served, and counted while the entry lives.
    Serve(HalfOpenEntry),
    /// The initiator has to send it again with this cookie.
    Cookie([u8; COOKIE_LEN]),
    /// It is dropped.
    Drop,
}

/// Decides about IKE_SA_INIT requests.
pub(crate) struct FloodGuard {
    settings: FloodSettings,
    half_open: Arc<HalfOpen>,
    cookies: Cookies,
    last_cookie: Option<MonoTime>,
    last_cookie_ip: [Option<MonoTime>; CALM_DOWN_SLOTS],
    /// Requests served without a cookie, since when.
    served: (Option<MonoTime>, usize),
    quiet: Quiet,
}

impl FloodGuard {
    pub(crate) fn new(mut settings: FloodSettings, half_open: Arc<HalfOpen>, rng: &mut dyn Rng) -> Self {
        if !settings.dos_protection {
            settings.cookie_threshold = 0;
            settings.cookie_threshold_ip = 0;
            settings.block_threshold = 0;
        }
        // An address that is blocked before it has to return a cookie could be anybody's.
        let block = settings.block_threshold;
        if block > 0 && settings.cookie_threshold_ip >= block {
            settings.block_threshold = settings.cookie_threshold_ip.saturating_add(1);
            log!(
                NET,
                1,
                "increasing block threshold to {} due to per-IP cookie threshold of {}",
                settings.block_threshold,
                settings.cookie_threshold_ip
            );
        }
        Self {
            settings,
            half_open,
            cookies: Cookies::new(rng),
            last_cookie: None,
            last_cookie_ip: [None; CALM_DOWN_SLOTS],
            served: (None, 0),
            quiet: Quiet::default(),
        }
    }

    /// Decides about a request; `cookie` is the one it carries, `load` the number of queued jobs.
    pub(crate) fn judge(
        &mut self,
        from: SocketAddr,
        spi: IkeSpi,
        cookie: Option<&[u8]>,
        load: impl FnOnce() -> usize,
        now: MonoTime,
        rng: &mut dyn Rng,
    ) -> Verdict {
        let ip = from.ip();
        let half_open = self.half_open.responder();
        // Nothing is half open from anywhere: spare the look-up.
        let from_ip = if half_open == 0 { 0 } else { self.half_open.responder_from(ip) };
        let proven = cookie.is_some_and(|cookie| self.cookies.accepts(cookie, ip, spi, now));
        if self.wants_cookie(ip, half_open, from_ip, now) && !proven {
            log!(NET, 2, "received packet from {from}, sending COOKIE");
            return Verdict::Cookie(self.cookies.issue(ip, spi, now, rng));
        }
        let FloodSettings { block_threshold, init_limit_half_open, init_limit_job_load, .. } = self.settings;
        let reason = if reached(from_ip, block_threshold) {
            format!("per-IP half-open IKE_SA limit of {block_threshold} reached")
        } else if reached(half_open, init_limit_half_open) {
            format!("half-open IKE_SA limit of {init_limit_half_open} reached")
        } else {
            let load = if init_limit_job_load > 0 { load() } else { 0 };
            if load <= init_limit_job_load {
                if !proven {
                    self.count_served(now);
                }
                return Verdict::Serve(self.half_open.responding(from));
            }
            format!("job load of {load} exceeds limit of {init_limit_job_load}")
        };
        if self.quiet.tell(now) {
            log!(NET, 1, "ignoring IKE_SA setup from {ip}, {reason}");
        }
        Verdict::Drop
    }

    /// Counts a request that is served without a cookie.
    fn count_served(&mut self, now: MonoTime) {
        let (since, count) = &mut self.served;
        if since.is_none_or(|since| now.saturating_since(since) >= CALM_DOWN) {
            (*since, *count) = (Some(now), 0);
        }
        *count = count.saturating_add(1);
    }

    fn wants_cookie(&mut self, ip: IpAddr, half_open: usize, from_ip: usize, now: MonoTime) -> bool {
        let recent = |last: Option<MonoTime>| last.is_some_and(|last| now.saturating_since(last) < CALM_DOWN);
        let mut wanted = false;
        let threshold = self.settings.cookie_threshold;
        let busy = recent(self.served.0) && reached(self.served.1, threshold.saturating_mul(SERVED_PER_HALF_OPEN));
        if busy || reached(half_open, threshold) {
            self.last_cookie = Some(now);
            wanted = true;
        } else if recent(self.last_cookie) {
            wanted = true;
        }
        if let Some(last) = self.last_cookie_ip.get_mut(slot(ip)) {
            if reached(from_ip, self.settings.cookie_threshold_ip) {
                *last = Some(now);
                wanted = true;
            } else if recent(*last) {
                wanted = true;
            }
        }
        wanted
    }
}

fn reached(count: usize, threshold: usize) -> bool {
    threshold > 0 && count >= threshold
}

fn slot(ip: IpAddr) -> usize {
    let bytes = match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    };
    let folded = bytes ^ (bytes >> 64) ^ (bytes >> 32) ^ (bytes >> 16) ^ (bytes >> 8);
    usize::try_from(folded & 31).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use strongswan::crypto::SystemRng;

    use super::*;

    struct Flood {
        guard: FloodGuard,
        half_open: Vec<HalfOpenEntry>,
    }

    impl Flood {
        fn new(settings: FloodSettings) -> Self {
            Self { guard: FloodGuard::new(settings, HalfOpen::new(), &mut SystemRng), half_open: Vec::new() }
        }

        /// 's'erved, 'c'ookie or 'd'ropped.
        fn request(&mut self, from: &str, seconds: u64, with_cookie: bool) -> char {
            let from: SocketAddr = from.parse().unwrap();
            let (spi, now) = (IkeSpi::new([1; 8]).unwrap(), MonoTime::from_duration(Duration::from_secs(seconds)));
            let cookie = with_cookie.then(|| self.guard.cookies.issue(from.ip(), spi, now, &mut SystemRng));
            let cookie = cookie.as_ref().map(|c| &c[..]);
            match self.guard.judge(from, spi, cookie, || 0, now, &mut SystemRng) {
                Verdict::Serve(entry) => {
                    self.half_open.push(entry);
                    's'
                }
                Verdict::Cookie(_) => 'c',
                Verdict::Drop => 'd',
            }
        }
    }

    #[test]
    fn cookies_are_required_beyond_the_threshold_and_until_it_is_calm() {
        let mut flood = Flood::new(FloodSettings { cookie_threshold: 2, ..FloodSettings::default() });
        assert_eq!(flood.request("192.0.2.1:1", 1, false), 's');
        assert_eq!(flood.request("192.0.2.2:1", 1, false), 's');
        assert_eq!(flood.request("192.0.2.3:1", 2, false), 'c');
        assert_eq!(flood.request("192.0.2.3:1", 2, true), 's');
        flood.half_open.clear();
        assert_eq!(flood.request("192.0.2.4:1", 11, false), 'c');
        assert_eq!(flood.request("192.0.2.4:1", 12, false), 's');
    }

    #[test]
    fn one_address_has_to_return_a_cookie_and_is_then_blocked() {
        let mut flood = Flood::new(FloodSettings::default());
        for _ in 0..3 {
            assert_eq!(flood.request("192.0.2.1:1", 1, false), 's');
        }
        assert_eq!(flood.request("192.0.2.1:1", 1, false), 'c');
        assert_eq!(flood.request("192.0.2.2:1", 1, false), 's');
        assert_eq!(flood.request("192.0.2.1:2", 1, true), 's');
        assert_eq!(flood.request("192.0.2.1:3", 1, true), 's');
        assert_eq!(flood.request("192.0.2.1:4", 1, true), 'd');
    }

    #[test]
    fn blocking_starts_only_after_cookies() {
        let flood = Flood::new(FloodSettings { cookie_threshold_ip: 7, ..FloodSettings::default() });
        assert_eq!(flood.guard.settings.block_threshold, 8);
    }

    #[test]
    fn requests_that_leave_nothing_half_open_count_too() {
        let mut flood = Flood::new(FloodSettings { cookie_threshold: 2, ..FloodSettings::default() });
        let mut served = |seconds, with_cookie| {
            let served = flood.request("192.0.2.1:1", seconds, with_cookie);
            flood.half_open.clear();
            served
        };
        let first: String = (0..25).map(|_| served(1, false)).collect();
        assert_eq!(first, "s".repeat(20) + "ccccc");
        assert_eq!(served(5, true), 's');
        assert_eq!((served(10, false), served(20, false), served(30, false)), ('c', 's', 's'));
    }

    #[test]
    fn limits_hold_without_dos_protection() {
        let settings = FloodSettings { dos_protection: false, init_limit_half_open: 6, ..FloodSettings::default() };
        let mut flood = Flood::new(settings);
        let served: String = (0..8).map(|_| flood.request("192.0.2.1:1", 1, false)).collect();
        assert_eq!(served, "ssssssdd");
    }
}
