//! How a case runs: configure, fail, read, change, succeed.

use std::time::Duration;

use ike::explain::{Explanation, Mismatch, Topic};
use strongswan::clock::MonoTime;

use super::config::Config;
use super::host::{Datagram, Host};

/// Options and their values.
pub type Changes = &'static [(&'static str, &'static str)];

/// A side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one that initiates.
    Left = 0,
    /// The one that responds.
    Right = 1,
}

/// What makes the next attempt succeed.
#[derive(Debug, Clone, Copy)]
pub enum Remedy {
    /// The suggested change, made as suggested.
    Follow,
    /// What the suggestion describes in words: changes of the left side and of the right side.
    Changes(Changes, Changes),
    /// Nothing that a test could do.
    None,
}

/// A negotiation that fails.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// How the sides differ from [`Config::gateway`].
    pub left: Changes,
    pub right: Changes,
    /// The child to initiate, or the IKE_SA alone.
    pub child: Option<&'static str>,
    /// Who explains.
    pub by: Side,
    /// What it says went wrong.
    pub text: &'static str,
    /// What the first mismatch is about, and all of it.
    pub topic: Topic,
    pub line: &'static str,
    pub remedy: Remedy,
}

impl Case {
    /// What most cases have.
    pub const BASE: Self = Self {
        left: &[],
        right: &[],
        child: Some("net"),
        by: Side::Right,
        text: "",
        topic: Topic::Policy,
        line: "",
        remedy: Remedy::Follow,
    };

    /// Runs it.
    #[track_caller]
    pub fn check(&self) {
        let mut left = Config::gateway("left", "right");
        let mut right = Config::gateway("right", "left");
        left.change(self.left);
        right.change(self.right);
        let mut world = World::new(&left, &right);
        world.attempt(self.child);
        let explanation = world.explanation(self.by);
        let first = explanation.mismatches.first().expect("a mismatch");
        assert_eq!(explanation.to_string(), self.text);
        assert_eq!(first.to_string(), self.line);
        assert_eq!(first.field.topic, self.topic);
        let config = if self.by == Side::Left { &mut left } else { &mut right };
        assert!(config.has_section(&first.field), "{} is not in the configuration", first.field);
        assert!(!first.to_string().contains("a secret of"), "a secret is shown");
        match self.remedy {
            Remedy::Follow => assert!(config.follow(first), "no change to follow: {first}"),
            Remedy::Changes(of_left, of_right) => {
                left.change(of_left);
                right.change(of_right);
            }
            Remedy::None => return,
        }
        let mut world = World::new(&left, &right);
        world.attempt(self.child);
        world.assert_success(self.child.is_some());
    }
}

/// Two hosts with a wire between them.
pub struct World {
    pub now: MonoTime,
    pub hosts: [Host; 2],
    /// Datagrams that get lost.
    pub loses: fn(&Datagram) -> bool,
}

impl World {
    pub fn new(left: &Config, right: &Config) -> Self {
        let hosts = [Host::new("192.0.2.1", left), Host::new("192.0.2.2", right)];
        Self { now: MonoTime::from_duration(Duration::from_secs(1000)), hosts, loses: |_| false }
    }

    /// Lets the left side initiate, and goes on until everything is over.
    pub fn attempt(&mut self, child: Option<&str>) {
        self.hosts[0].initiate(self.now, child);
        self.run(Duration::from_secs(600));
    }

    /// Carries datagrams and lets time pass.
    pub fn run(&mut self, limit: Duration) {
        let end = self.now + limit;
        for _ in 0..10_000 {
            while let Some(datagram) = self.hosts.iter_mut().find_map(Host::sends) {
                if (self.loses)(&datagram) {
                    continue;
                }
                if let Some(host) = self.hosts.iter_mut().find(|host| host.address == datagram.to.ip()) {
                    host.receive(self.now, datagram);
                }
            }
            let Some(next) = self.hosts.iter().filter_map(Host::next_timeout).min().filter(|at| *at <= end) else {
                return;
            };
            self.now = self.now.max(next);
            self.hosts.iter_mut().for_each(|host| host.timeouts(self.now));
        }
        panic!("this does not come to an end");
    }

    /// The first explanation of a side.
    #[track_caller]
    pub fn explanation(&self, by: Side) -> std::sync::Arc<Explanation> {
        let [left, right] = &self.hosts;
        let host = if by == Side::Left { left } else { right };
        host.explanations.first().cloned().unwrap_or_else(|| {
            panic!("no explanation by {by:?}; left: {:#?}, right: {:#?}", left.explanations, right.explanations)
        })
    }

    /// All mismatches of the first explanation of a side.
    #[track_caller]
    pub fn mismatches(&self, by: Side) -> Vec<String> {
        self.explanation(by).mismatches.iter().map(Mismatch::to_string).collect()
    }

    #[track_caller]
    pub fn assert_success(&self, child: bool) {
        let wanted = (1, usize::from(child));
        for host in &self.hosts {
            let explanations: Vec<_> = host.explanations.iter().map(|e| (e.to_string(), &e.mismatches)).collect();
            assert_eq!(host.established(), wanted, "the change did not help: {explanations:#?}");
            assert!(host.explanations.is_empty(), "success needs no explanation: {explanations:#?}");
        }
    }
}

/// Declares a test for each case.
macro_rules! cases {
    ($($(#[$meta:meta])* $name:ident: { $($field:ident: $value:expr),* $(,)? })*) => {
        $($(#[$meta])*
        #[test]
        fn $name() {
            $crate::case::Case { $($field: $value,)* ..$crate::case::Case::BASE }.check();
        })*
    };
}
