//! Lifetimes of IKE_SAs and CHILD_SAs and the rules by which unset ones follow from those that are set.

use std::time::Duration;

use strongswan::crypto::Rng;

/// Lifetime of an IKE_SA; zero turns a limit off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IkeLifetimes {
    /// `rekey_time`: rekeying after this long.
    pub rekey: Duration,
    /// `reauth_time`: reauthentication after this long.
    pub reauth: Duration,
    /// `over_time`: closed this long after rekeying or reauthentication should have happened.
    pub over: Duration,
    /// `rand_time`: up to this much is subtracted from `rekey` and `reauth`.
    pub rand: Duration,
}

/// `rekey_time` if neither it nor `reauth_time` is given.
const DEFAULT_REKEY: Duration = Duration::from_secs(4 * 3600);

impl IkeLifetimes {
    /// Lifetimes from what the configuration gives, in whole seconds.
    pub fn from_config(
        rekey: Option<Duration>,
        reauth: Option<Duration>,
        over: Option<Duration>,
        rand: Option<Duration>,
    ) -> Self {
        let (rekey, reauth) = match (rekey, reauth) {
            (None, None) => (DEFAULT_REKEY, Duration::ZERO),
            (rekey, reauth) => (rekey.unwrap_or_default(), reauth.unwrap_or_default()),
        };
        let over = over.unwrap_or_else(|| seconds(rekey.max(reauth), 10));
        let smaller = if rekey.is_zero() || reauth.is_zero() { rekey.max(reauth) } else { rekey.min(reauth) };
        let rand = rand.unwrap_or_else(|| over.min(seconds(smaller, 2))).min(smaller);
        Self { rekey, reauth, over, rand }
    }

    /// `limit` minus a random part of less than `rand`, in whole seconds.
    pub fn jittered(&self, limit: Duration, rng: &mut dyn Rng) -> Duration {
        limit.saturating_sub(Duration::from_secs(rng.below(self.rand.as_secs())))
    }
}

impl Default for IkeLifetimes {
    fn default() -> Self {
        Self::from_config(None, None, None, None)
    }
}

/// `time / divisor`, truncated to seconds.
fn seconds(time: Duration, divisor: u64) -> Duration {
    Duration::from_secs(time.as_secs().checked_div(divisor).unwrap_or(0))
}

/// One limit of a CHILD_SA in seconds, bytes or packets; 0 turns a value off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    /// Soft limit: the SA is rekeyed.
    pub rekey: u64,
    /// Hard limit: the SA is closed.
    pub life: u64,
    /// Up to this much is subtracted from `rekey`.
    pub rand: u64,
}

impl Limit {
    /// The limit from what the configuration gives; `default_rekey` applies if neither `rekey` nor `life` is given.
    pub fn from_config(rekey: Option<u64>, life: Option<u64>, rand: Option<u64>, default_rekey: u64) -> Self {
        let rekey = rekey.unwrap_or_else(|| match life {
            // life / 1.1, truncated
            Some(life) => scale(life, 10, 11),
            None => default_rekey,
        });
        let life = life.unwrap_or_else(|| scale(rekey, 11, 10));
        let rand = rand.unwrap_or_else(|| life.saturating_sub(rekey.min(life)));
        Self { rekey, life, rand }
    }

    /// The soft limit of one SA: `rekey` minus a random part of up to `rand`; 0 if there is none.
    pub fn soft(&self, rng: &mut dyn Rng) -> u64 {
        let range = self.rand.saturating_add(1).min(self.rekey);
        self.rekey.saturating_sub(rng.below(range))
    }
}

/// `value * numerator / denominator` without intermediate overflow.
fn scale(value: u64, numerator: u64, denominator: u64) -> u64 {
    let product = u128::from(value).saturating_mul(u128::from(numerator));
    u64::try_from(product.checked_div(u128::from(denominator)).unwrap_or(0)).unwrap_or(u64::MAX)
}

/// The three limits of a CHILD_SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// `rekey_time`, `life_time`, `rand_time` in seconds.
    pub time: Limit,
    /// `rekey_bytes`, `life_bytes`, `rand_bytes`.
    pub bytes: Limit,
    /// `rekey_packets`, `life_packets`, `rand_packets`.
    pub packets: Limit,
}

impl Lifetimes {
    /// Default of `rekey_time` in seconds; bytes and packets default to no limit.
    pub const DEFAULT_REKEY_TIME: u64 = 3600;
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            time: Limit::from_config(None, None, None, Self::DEFAULT_REKEY_TIME),
            bytes: Limit::default(),
            packets: Limit::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongswan::crypto::SystemRng;

    const fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn ike_defaults() {
        let four_hours = IkeLifetimes { rekey: secs(14400), reauth: secs(0), over: secs(1440), rand: secs(1440) };
        assert_eq!(IkeLifetimes::default(), four_hours);
        let reauth = IkeLifetimes::from_config(None, Some(secs(3600)), None, None);
        assert_eq!(reauth, IkeLifetimes { rekey: secs(0), reauth: secs(3600), over: secs(360), rand: secs(360) });
        let both = IkeLifetimes::from_config(Some(secs(100)), Some(secs(3600)), None, None);
        assert_eq!(both.rand, secs(50));
        let clamped = IkeLifetimes::from_config(Some(secs(100)), None, None, Some(secs(500)));
        assert_eq!(clamped.rand, secs(100));
    }

    #[test]
    fn ike_jitter_stays_in_range() {
        let times = IkeLifetimes::default();
        for _ in 0..200 {
            let rekey = times.jittered(times.rekey, &mut SystemRng);
            assert!((secs(12961)..=secs(14400)).contains(&rekey));
        }
    }

    #[test]
    fn child_defaults() {
        assert_eq!(Lifetimes::default().time, Limit { rekey: 3600, life: 3960, rand: 360 });
        assert_eq!(Limit::from_config(None, Some(1100), None, 3600), Limit { rekey: 1000, life: 1100, rand: 100 });
        assert_eq!(Limit::from_config(Some(10), Some(5), None, 3600), Limit { rekey: 10, life: 5, rand: 0 });
        assert_eq!(Limit::from_config(Some(u64::MAX), None, None, 0).life, u64::MAX);
        assert_eq!(Limit::default().soft(&mut SystemRng), 0);
        let time = Lifetimes::default().time;
        assert!((0..200).all(|_| (3240..=3600).contains(&time.soft(&mut SystemRng))));
    }
}
