//! How much anybody can make us write into the log without an IKE_SA.

use std::time::Duration;

use strongswan::clock::MonoTime;
use strongswan::log;

/// Messages that are told about one by one in each [`INTERVAL`]: more than an administrator reads, and few enough that a
/// flood does not fill a disk.
const TOLD: u32 = 100;

/// After this long messages are told about again, and how many were not.
const INTERVAL: Duration = Duration::from_secs(10);

/// Decides which messages of strangers are worth their lines in the log.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    since: Option<MonoTime>,
    told: u32,
    untold: u64,
}

impl Quiet {
    /// Whether to tell about a message. The caller tells in more than one line at most about as many as this allows.
    pub(crate) fn tell(&mut self, now: MonoTime) -> bool {
        if self.since.is_none_or(|since| now.saturating_since(since) >= INTERVAL) {
            if self.untold > 0 {
                log!(NET, 1, "{} more messages of unknown peers were answered or ignored", self.untold);
            }
            *self = Self { since: Some(now), ..Self::default() };
        }
        if self.told < TOLD {
            self.told = self.told.saturating_add(1);
            return true;
        }
        if self.untold == 0 {
            log!(NET, 1, "too many messages of unknown peers, not logging them for {}s", INTERVAL.as_secs());
        }
        self.untold = self.untold.saturating_add(1);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_about_once() {
        let mut quiet = Quiet::default();
        let at = |millis| MonoTime::from_duration(Duration::from_millis(millis));
        let told = |quiet: &mut Quiet, millis: u64| (0..1000).filter(|_| quiet.tell(at(millis))).count();
        assert_eq!(told(&mut quiet, 5_000), 100);
        assert_eq!(told(&mut quiet, 14_999), 0);
        assert_eq!((quiet.told, quiet.untold), (100, 1900));
        assert_eq!(told(&mut quiet, 15_000), 100);
        assert_eq!(quiet.untold, 900);
    }
}
