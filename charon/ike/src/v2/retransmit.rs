//! When a request is sent again, and when the peer is given up (spec §2.5).

use std::time::Duration;

use strongswan::crypto::Rng;
use strongswan::log;

use crate::env::Env;
use crate::output::Alert;
use crate::sa::{Conditions, Host, IkeSa, IkeSaState, Path, Timer};
use crate::settings::RetransmitSettings;

/// Jitter above this share of the wait is not useful.
const MAX_JITTER: u8 = 20;
/// Paths are tried again after this long while none has answered (spec §9.3).
const PROBE_INTERVAL: Duration = Duration::from_millis(2500);
/// And so often after the first time.
const MAX_PROBES: u32 = 10;
/// A request that was sent so often without an answer goes over other paths as well: the peer's address, or a link
/// that we do not see, may have failed (RFC 4555 §3.12).
const SPREAD_AFTER: u32 = 2;

/// Tries that count for the total: more make it no number of use.
const MAX_TRIES: usize = 1000;

impl RetransmitSettings {
    /// How long a peer has to answer a request before it is given up.
    pub fn total(&self) -> Duration {
        struct NoJitter;
        impl Rng for NoJitter {
            fn fill(&mut self, bytes: &mut [u8]) {
                bytes.fill(0);
            }
        }
        let waits = (0..=self.tries).take(MAX_TRIES).map(|n| self.wait(n, &mut NoJitter));
        waits.fold(Duration::ZERO, Duration::saturating_add)
    }

    /// The wait after the transmission with number `n`, from 0.
    pub(crate) fn wait(&self, n: u32, rng: &mut dyn Rng) -> Duration {
        let first = self.timeout.as_secs_f64() * 1000.0;
        let grown = first * self.base.powf(f64::from(n));
        let mut millis = if grown.is_finite() { grown.min(f64::from(u32::MAX)) } else { f64::from(u32::MAX) };
        if !self.limit.is_zero() {
            millis = millis.min(self.limit.as_secs_f64() * 1000.0);
        }
        let wait = Duration::from_secs_f64(millis.max(0.0) / 1000.0);
        let percent = self.jitter.min(MAX_JITTER);
        if percent == 0 {
            return wait;
        }
        let share = f64::from(percent) / 100.0 * f64::from(rng.next_u32()) / (f64::from(u32::MAX) + 1.0);
        wait.saturating_sub(wait.mul_f64(share))
    }
}

impl IkeSa {
    /// Sends the request in the air, the first time or again, and sets the timer for the next time.
    pub(super) fn send_request(&mut self, env: &mut Env<'_>) {
        let Some(mut request) = self.exchanges.request.take() else { return };
        let probing = self.mobility.as_ref().is_some_and(|mobility| mobility.probing);
        let spread = request.sent >= SPREAD_AFTER && self.conditions.contains(Conditions::ORIGINAL_INITIATOR);
        let paths = if probing || (spread && self.uses_mobike()) { self.paths(env) } else { Vec::new() };
        let wait = match (probing, paths.is_empty()) {
            (true, true) => {
                log!(IKE, 1, "no route found to reach peer, path probing deferred");
                self.set_stale(env, true);
                if !matches!(self.state(), IkeSaState::Deleting | IkeSaState::Rekeyed) {
                    request.sent = 0;
                    self.exchanges.request = Some(request);
                    return self.timers.stop(Timer::Retransmit);
                }
                // what is closed, or about to be, does not wait for a way to say so any longer than for an answer
                PROBE_INTERVAL
            }
            (true, false) => PROBE_INTERVAL,
            (false, _) => env.settings.retransmit.wait(request.sent, env.rng),
        };
        for Path { local, remote } in &paths {
            log!(IKE, 1, "checking path {} - {}", Host(*local), Host(*remote));
            self.transmit_to(env, *local, *remote, &request.packets);
        }
        if paths.is_empty() && !probing {
            self.transmit(env, &request.packets);
        }
        for path in paths {
            if !request.paths.contains(&path) {
                request.paths.push(path);
            }
        }
        self.timers.set(Timer::Retransmit, env.now + wait);
        request.sent = request.sent.saturating_add(1);
        self.exchanges.request = Some(request);
    }

    /// Sends the request in the air, if there is one, as if it was the first time.
    pub(crate) fn send_again(&mut self, env: &mut Env<'_>) {
        if let Some(request) = &mut self.exchanges.request {
            request.sent = 0;
            self.send_request(env);
        }
    }

    /// The peer has not answered in time.
    pub(crate) fn retransmit(&mut self, env: &mut Env<'_>) {
        let Some(request) = self.exchanges.request.as_ref() else { return };
        let (id, sent) = (request.id, request.sent);
        let probing = self.mobility.as_ref().is_some_and(|mobility| mobility.probing);
        if sent > if probing { MAX_PROBES } else { env.settings.retransmit.tries } {
            let what = if probing { "path probings" } else { "retransmits" };
            log!(IKE, 1, "giving up after {} {what}", sent.saturating_sub(1));
            self.alert(Alert::RetransmitSendTimeout);
            self.peer_unresponsive(env);
            return;
        }
        if probing {
            log!(IKE, 1, "path probing attempt {sent}");
        } else {
            log!(IKE, 1, "retransmit {sent} of request with message ID {id}");
        }
        self.alert(Alert::RetransmitSend);
        self.send_request(env);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongswan::crypto::SystemRng;

    #[test]
    fn default_waits() {
        let settings = RetransmitSettings::default();
        let waits: Vec<u128> = (0..6).map(|n| settings.wait(n, &mut SystemRng).as_millis()).collect();
        assert_eq!(waits, [4000, 7200, 12960, 23328, 41990, 75582]);
        assert_eq!(settings.total().as_secs(), 165);
        assert!(RetransmitSettings { tries: u32::MAX, ..settings }.total().as_secs() > 1 << 30);
    }

    #[test]
    fn waits_are_bounded_and_jittered() {
        let limited = RetransmitSettings { limit: Duration::from_secs(10), ..RetransmitSettings::default() };
        assert_eq!(limited.wait(5, &mut SystemRng), Duration::from_secs(10));
        assert_eq!(limited.wait(u32::MAX, &mut SystemRng), Duration::from_secs(10));
        let endless = RetransmitSettings::default().wait(5000, &mut SystemRng);
        assert_eq!(endless.as_millis(), u128::from(u32::MAX));
        let jittered = RetransmitSettings { jitter: 90, ..RetransmitSettings::default() };
        for _ in 0..100 {
            let wait = jittered.wait(0, &mut SystemRng);
            assert!(wait > Duration::from_millis(3199) && wait <= Duration::from_secs(4), "{wait:?}");
        }
    }
}
