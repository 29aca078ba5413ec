//! Steps of a script. A step carries everything chance decided about it, so that it means the same without its neighbours.

use std::fmt;
use std::time::Duration;

use strongswan::crypto::Rng;

use super::variant::Variant;
use crate::sim::net::Conditions;
use crate::sim::rng::SimRng;
use crate::sim::{A, B};

/// What happens, and how long before it nothing does.
#[derive(Debug, Clone)]
pub struct Step {
    pub pause: Duration,
    pub host: usize,
    pub action: Action,
}

/// What an operator, a timer, the data plane or fate may do. Numbers choose one of what there is.
#[derive(Debug, Clone, Copy)]
pub enum Action {
    Initiate {
        child: u64,
    },
    InitiateIkeSa,
    RekeyChild {
        pick: u64,
    },
    /// Both sides rekey the same CHILD_SA, the other one so much later.
    CollideChild {
        pick: u64,
        later: Duration,
    },
    RekeyIkeSa {
        pick: u64,
    },
    CollideIkeSa {
        later: Duration,
    },
    Reauthenticate {
        pick: u64,
    },
    DeleteChild {
        pick: u64,
    },
    DeleteIkeSa {
        pick: u64,
        force: bool,
    },
    /// Everything is lost but the configuration.
    Reboot,
    /// DELETEs are sent, nothing is awaited.
    Shutdown,
    /// Connections are loaded again, as they were.
    Reload,
    /// They are loaded with other lifetimes, so that they are others.
    ReloadChanged,
    /// The connection is gone for so long.
    Unload {
        seconds: u64,
    },
    Expire {
        pick: u64,
        inbound: bool,
        hard: bool,
    },
    /// A packet hits a trap.
    Acquire {
        pick: u64,
    },
    RestartNat,
    Weather(Weather),
    /// Nothing gets through in this direction (`both`: in either).
    Blackout {
        seconds: u64,
        both: bool,
    },
    Suspend {
        seconds: u64,
        counted: bool,
    },
    SetClock {
        seconds: i64,
    },
    FailKernel {
        call: u64,
        seconds: u64,
    },
    /// The host has so many of its addresses from then on, from this one on.
    Move {
        first: u64,
        count: u64,
    },
    /// The kernel says that addresses or routes changed.
    Roam {
        address: bool,
    },
    /// No route leads to the peer for so long.
    LoseRoute {
        seconds: u64,
    },
    /// The gateway sends a client to its other address.
    Redirect {
        pick: u64,
    },
}

/// Quality of the network.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub loss: u64,
    pub duplication: u64,
    pub corruption: u64,
    pub delay: u64,
    pub jitter: u64,
}

impl Weather {
    pub fn random(rng: &mut SimRng) -> Self {
        Self {
            loss: [0, 0, 10, 20, 40][usize::try_from(rng.below(5)).unwrap()],
            duplication: [0, 0, 10, 50][usize::try_from(rng.below(4)).unwrap()],
            corruption: [0, 0, 0, 10][usize::try_from(rng.below(4)).unwrap()],
            delay: [5, 10, 200, 900][usize::try_from(rng.below(4)).unwrap()],
            jitter: [0, 20, 300, 3000][usize::try_from(rng.below(4)).unwrap()],
        }
    }
}

impl From<Weather> for Conditions {
    fn from(weather: Weather) -> Self {
        let Weather { loss, duplication, corruption, delay, jitter } = weather;
        let (delay, jitter) = (Duration::from_millis(delay), Duration::from_millis(jitter));
        Self { loss, duplication, corruption, delay, jitter }
    }
}

/// Longest script.
const MAX_STEPS: u64 = 14;

/// A random script.
pub fn script(rng: &mut SimRng, variant: &Variant) -> Vec<Step> {
    let count = 2 + rng.below(MAX_STEPS);
    let mut steps = vec![Step { pause: Duration::ZERO, host: A, action: Action::Weather(Weather::random(rng)) }];
    steps.push(Step { pause: Duration::ZERO, host: A, action: Action::Initiate { child: 0 } });
    for _ in 0..count {
        // often at once, sometimes in the midst of an exchange, sometimes at leisure
        let longest = [1, 50, 1000, 10_000, 60_000][usize::try_from(rng.below(5)).unwrap()];
        let pause = Duration::from_millis(rng.below(longest));
        let host = if rng.chance(50) { A } else { B };
        let action = Action::random(rng, variant);
        let initiates = matches!(action, Action::Initiate { .. } | Action::InitiateIkeSa | Action::Acquire { .. });
        // a CHILD_SA whose time is over is created again by whose data plane says so
        let asymmetric = matches!(action, Action::Reauthenticate { .. } | Action::Expire { hard: true, .. });
        let host = if variant.one_initiator && (initiates || asymmetric) { A } else { host };
        steps.push(Step { pause, host, action });
    }
    if rng.chance(60) {
        // something that survives is worth more
        let pause = Duration::from_millis(rng.below(20_000));
        steps.push(Step { pause, host: A, action: Action::Initiate { child: 0 } });
    }
    steps
}

impl Action {
    fn random(rng: &mut SimRng, variant: &Variant) -> Self {
        let pick = rng.below(1000);
        let later = Duration::from_millis(rng.below(40));
        let seconds = 1 + rng.below(60);
        match rng.below(100) {
            0..12 => Self::Initiate { child: pick },
            12..14 => Self::InitiateIkeSa,
            14..24 => Self::RekeyChild { pick },
            24..32 => Self::CollideChild { pick, later },
            32..40 => Self::RekeyIkeSa { pick },
            40..44 => Self::CollideIkeSa { later },
            44..49 => Self::Reauthenticate { pick },
            49..54 => Self::DeleteChild { pick },
            54..58 => Self::DeleteIkeSa { pick, force: rng.chance(25) },
            58..62 => Self::Reboot,
            62..64 => Self::Shutdown,
            64..66 => Self::Reload,
            66..68 => Self::ReloadChanged,
            68..71 => Self::Unload { seconds },
            71..78 => Self::Expire { pick, inbound: rng.chance(60), hard: rng.chance(40) },
            78..81 => Self::Acquire { pick },
            81..83 if variant.nat => Self::RestartNat,
            81..88 => Self::Weather(Weather::random(rng)),
            88..91 => Self::Blackout { seconds, both: rng.chance(50) },
            91..94 => Self::Suspend {
                seconds: seconds * [1, 4, 20][usize::try_from(pick % 3).unwrap()],
                counted: rng.chance(50),
            },
            94..96 => Self::SetClock { seconds: i64::try_from(pick).unwrap() * 1000 - 500_000 },
            _ if variant.kernel_failures => Self::FailKernel { call: pick, seconds },
            _ => Self::RekeyChild { pick },
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = ["moon", "sun"][self.host];
        write!(f, "after {:?} {host}: {:?}", self.pause, self.action)
    }
}
