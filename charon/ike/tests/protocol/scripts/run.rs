//! Carrying out a script, and what has to be true afterwards.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ike::config::{PeerConfig, UniquePolicy};
use ike::ids::UniqueId;
use ike::kernel::{Direction, Kernel};
use ike::{ChildSaState, IkeSaState, InitiateChild, Input};
use strongswan::clock::MonoTime;

use super::extras;
use super::step::{Action, Step};
use super::variant::Variant;
use crate::sim::kernel::{Expired, Failures};
use crate::sim::net::{Conditions, Fate};
use crate::sim::{A, B, Sim};

/// Time for retransmissions, retries, liveness checks, forced deletions and what they start to come to an end.
const SETTLE: Duration = Duration::from_secs(300);
/// Time to find a moment at which nothing is going on: lifetimes may end at any time.
const REST: Duration = Duration::from_secs(900);

/// Datagrams and timeouts of one run; most take a few hundred.
const MOST_STEPS: u32 = 10_000;

/// A script under way.
pub struct Run<'a> {
    pub sim: Sim,
    variant: &'a Variant,
    /// Connections that are not loaded, and when they will be again.
    unloaded: [Option<(MonoTime, Arc<PeerConfig>)>; 2],
    blackout: Option<(MonoTime, Option<usize>)>,
    kernel_fails: [Option<MonoTime>; 2],
    /// Hosts without a route to the other one.
    lost_routes: [Option<MonoTime>; 2],
    steps: u32,
    /// A connection was loaded with other settings: IKE_SAs of the old one are another connection's.
    changed: bool,
}

/// What was left at the end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    pub ike_sas: usize,
    pub child_sas: usize,
}

impl<'a> Run<'a> {
    pub fn new(seed: u64, variant: &'a Variant, traced: bool) -> Self {
        let mut sim = Sim::with_seed(seed, traced);
        variant.apply(&mut sim);
        Self {
            sim,
            variant,
            unloaded: [None, None],
            blackout: None,
            kernel_fails: [None, None],
            lost_routes: [None, None],
            steps: 0,
            changed: false,
        }
    }

    /// Everything.
    pub fn all(&mut self, steps: &[Step]) -> Result<Outcome, String> {
        for step in steps {
            self.wait(step.pause)?;
            self.sim.trace.line(format_args!("=== {step}"));
            self.act(step.host, step.action);
        }
        self.heal()?;
        let outcome = self.check()?;
        self.clear()?;
        Ok(outcome)
    }

    /// Lets time pass, and what ends by itself end.
    fn wait(&mut self, duration: Duration) -> Result<(), String> {
        let end = self.sim.now + duration;
        loop {
            let next = [self.next_end(), Some(end)].into_iter().flatten().min().unwrap_or(end);
            let until = next.min(end);
            while self.sim.step(until) {
                self.steps += 1;
                if self.steps > MOST_STEPS {
                    return Err("goes on and on".into());
                }
            }
            self.sim.now = self.sim.now.max(until);
            self.end_what_is_due();
            if until >= end {
                return Ok(());
            }
        }
    }

    fn next_end(&self) -> Option<MonoTime> {
        let unloaded = self.unloaded.iter().flatten().map(|(at, _)| *at);
        let fails = self.kernel_fails.iter().flatten().copied();
        let routes = self.lost_routes.iter().flatten().copied();
        unloaded.chain(fails).chain(routes).chain(self.blackout.map(|(at, _)| at)).min()
    }

    fn end_what_is_due(&mut self) {
        let now = self.sim.now;
        for host in [A, B] {
            if let Some((_, peer)) = self.unloaded[host].take_if(|(at, _)| *at <= now) {
                self.sim.hosts[host].connections.0 = vec![peer];
            }
            if self.kernel_fails[host].take_if(|at| *at <= now).is_some() {
                self.sim.hosts[host].kernel.fail(Failures::default());
            }
            if self.lost_routes[host].take_if(|at| *at <= now).is_some() {
                self.set_reachable(host, true);
            }
        }
        if self.blackout.take_if(|(at, _)| *at <= now).is_some() {
            self.sim.net.unscript();
        }
    }

    /// An IKE_SA of a host, whatever its state.
    fn ike_sa(&self, host: usize, pick: u64) -> Option<UniqueId> {
        let sas = &self.sim.hosts[host].sas;
        let index = usize::try_from(pick).unwrap().checked_rem(sas.len())?;
        Some(sas[index].unique_id())
    }

    /// A CHILD_SA of a host with its IKE_SA.
    fn child_sa(&self, host: usize, pick: u64) -> Option<(UniqueId, Arc<ike::ChildSaSnapshot>)> {
        let snapshots = self.sim.hosts[host].snapshots();
        let children: Vec<_> = snapshots
            .iter()
            .flat_map(|ike| ike.children.iter().map(|child| (ike.unique_id, Arc::clone(child))))
            .collect();
        let index = usize::try_from(pick).unwrap().checked_rem(children.len())?;
        Some(children[index].clone())
    }

    fn act(&mut self, host: usize, action: Action) {
        let now = self.sim.now;
        let fate = matches!(action, Action::Weather(_) | Action::Blackout { .. } | Action::RestartNat);
        if self.sim.hosts[host].is_asleep(now) && !fate {
            return;
        }
        match action {
            Action::Initiate { child } => self.initiate(host, Some(child)),
            Action::InitiateIkeSa => self.initiate(host, None),
            Action::RekeyChild { pick } => self.rekey_child(host, pick),
            Action::CollideChild { pick, later } => {
                self.rekey_child(host, pick);
                self.sim.run_for(later);
                self.rekey_child(1 - host, pick);
            }
            Action::RekeyIkeSa { pick } => self.on_ike_sa(host, pick, Input::RekeyIke),
            Action::CollideIkeSa { later } => {
                self.on_ike_sa(host, 0, Input::RekeyIke);
                self.sim.run_for(later);
                self.on_ike_sa(1 - host, 0, Input::RekeyIke);
            }
            Action::Reauthenticate { pick } => self.on_ike_sa(host, pick, Input::ReauthIke),
            Action::DeleteChild { pick } => {
                if let Some((ike, child)) = self.child_sa(host, pick) {
                    self.sim.input_to(host, ike, Input::TerminateChild { child: child.unique_id });
                }
            }
            Action::DeleteIkeSa { pick, force } => self.on_ike_sa(host, pick, Input::TerminateIke { force }),
            Action::Reboot => self.sim.forget(host),
            Action::Shutdown => {
                let ids: Vec<_> = self.sim.hosts[host].sas.iter().map(ike::IkeSa::unique_id).collect();
                for id in ids {
                    self.sim.input_to(host, id, Input::Shutdown);
                }
            }
            Action::Reload => self.sim.configure_host(host, |_| {}),
            Action::ReloadChanged => self.reload_changed(host),
            Action::Unload { seconds } => self.unload(host, seconds),
            Action::Expire { pick, inbound, hard } => self.expire(host, pick, inbound, hard),
            Action::Acquire { pick } => self.acquire(host, pick),
            Action::RestartNat => {
                if let Some(nat) = &mut self.sim.net.nat {
                    nat.restart();
                }
            }
            Action::Weather(weather) => self.sim.net.conditions = weather.into(),
            Action::Blackout { seconds, both } => {
                let silent = (!both).then(|| self.sim.hosts[host].address);
                self.blackout = Some((now + Duration::from_secs(seconds), (!both).then_some(host)));
                self.sim.net.script(move |datagram| {
                    if silent.is_none_or(|address| address == datagram.from.ip()) { Fate::Drop } else { Fate::Pass }
                });
            }
            Action::Suspend { seconds, counted } => {
                self.sim.hosts[host].sleep(now, Duration::from_secs(seconds), counted);
            }
            Action::SetClock { seconds } => self.sim.hosts[host].wall_offset += seconds,
            Action::FailKernel { call, seconds } => {
                let mut failures = Failures::default();
                match call % 5 {
                    0 => failures.allocate_spi = true,
                    1 => failures.add_sa = true,
                    2 => failures.add_policies = true,
                    3 => failures.update_sa = true,
                    _ => failures.add_virtual_ip = true,
                }
                self.sim.hosts[host].kernel.fail(failures);
                self.kernel_fails[host] = Some(now + Duration::from_secs(seconds));
            }
            Action::Move { first, count } => self.move_to(host, first, count),
            Action::Roam { address } => self.sim.roam(host, address),
            Action::LoseRoute { seconds } => {
                self.lost_routes[host] = Some(now + Duration::from_secs(seconds));
                self.set_reachable(host, false);
            }
            Action::Redirect { pick } => {
                let Some(id) = self.ike_sa(B, pick) else { return };
                let here = self.sim.hosts[B].sas.iter().find(|sa| sa.unique_id() == id).unwrap().local().ip();
                self.sim.input_to(B, id, Input::Redirect(extras::other_gateway(here)));
            }
        }
    }

    /// Gives a host so many addresses.
    fn move_to(&mut self, host: usize, first: u64, count: u64) {
        let addresses = extras::addresses(host, first, count);
        self.sim.hosts[host].kernel.set_addresses(&addresses);
        if let Some(first) = addresses.first() {
            self.sim.hosts[host].address = *first;
        }
        self.sim.roam(host, true);
    }

    /// Gives a host a way to the other one, or takes it.
    fn set_reachable(&mut self, host: usize, reachable: bool) {
        for address in extras::addresses(1 - host, 0, 3) {
            self.sim.hosts[host].kernel.set_reachable(address, reachable);
        }
        self.sim.roam(host, false);
    }

    /// Hosts that move about return to where their peer looks for them; who alone initiates needs not.
    fn go_home(&mut self) -> Result<(), String> {
        let Some((who, _)) = self.variant.extras.moving else { return Ok(()) };
        for host in [A, B] {
            if let Some(left) = self.sim.hosts[host].asleep_until.map(|at| at.saturating_since(self.sim.now)) {
                self.wait(left)?;
            }
            let homeless = self.sim.hosts[host].kernel.local_addresses().is_empty();
            if who[host] && (host == B || !self.variant.one_initiator || homeless) {
                self.move_to(host, 0, 1);
            }
        }
        Ok(())
    }

    fn on_ike_sa(&mut self, host: usize, pick: u64, input: Input) {
        if let Some(id) = self.ike_sa(host, pick) {
            self.sim.input_to(host, id, input);
        }
    }

    fn initiate(&mut self, host: usize, child: Option<u64>) {
        let Some(peer) = self.sim.hosts[host].connections.0.first().cloned() else { return };
        let child = child.and_then(|pick| {
            let index = usize::try_from(pick).unwrap().checked_rem(peer.children.len())?;
            peer.children.get(index).cloned()
        });
        self.sim.initiate_from(host, &peer, child.map(InitiateChild::new));
    }

    fn acquire(&mut self, host: usize, pick: u64) {
        let Some(peer) = self.sim.hosts[host].connections.0.first().cloned() else { return };
        let traps = &self.sim.hosts[host].traps;
        let Some(index) = usize::try_from(pick).unwrap().checked_rem(traps.len()) else { return };
        let child = Arc::clone(&traps[index]);
        self.sim.initiate_from(host, &peer, Some(InitiateChild::new(child)));
    }

    fn rekey_child(&mut self, host: usize, pick: u64) {
        if let Some((ike, child)) = self.child_sa(host, pick) {
            self.sim.input_to(host, ike, Input::RekeyChild { child: child.unique_id });
        }
    }

    /// What the daemon does when a connection changed: SAs keep what they have, the next ones get the new one.
    fn reload_changed(&mut self, host: usize) {
        if self.sim.hosts[host].connections.0.is_empty() {
            return;
        }
        self.changed = true;
        self.sim.configure_host(host, |peer| {
            peer.lifetimes.over += Duration::from_secs(1);
            for child in &mut peer.children {
                let child = Arc::make_mut(child);
                child.lifetimes.time.life += u64::from(child.lifetimes.time.life != 0);
            }
        });
    }

    /// What the daemon does when a connection with `start_action = start` goes.
    fn unload(&mut self, host: usize, seconds: u64) {
        let hosts = &mut self.sim.hosts[host];
        let Some(peer) = hosts.connections.0.pop() else { return };
        self.unloaded[host] = Some((self.sim.now + Duration::from_secs(seconds), Arc::clone(&peer)));
        let children: Vec<_> = peer.children.iter().map(|child| Arc::clone(&child.name)).collect();
        let ids: Vec<_> = hosts.sas.iter().filter(|sa| sa.config().is_some()).map(ike::IkeSa::unique_id).collect();
        for id in ids {
            self.sim.input_to(host, id, Input::Withdraw { children: children.clone(), close_ike: true });
        }
    }

    fn expire(&mut self, host: usize, pick: u64, inbound: bool, hard: bool) {
        let Some((_, child)) = self.child_sa(host, pick) else { return };
        let (sa, direction) = if inbound { (child.inbound, Direction::In) } else { (child.outbound, Direction::Out) };
        let Some(sa) = sa else { return };
        let expired = Expired { protocol: sa.protocol, spi: sa.spi, direction, hard };
        let installed = self.sim.hosts[host].kernel.sas();
        if !installed.iter().any(|other| other.id.spi == sa.spi && other.direction == direction) {
            return;
        }
        if hard {
            self.sim.hosts[host].kernel.drop_sa(&expired);
        }
        self.sim.expired(host, expired);
    }

    /// Better times.
    fn heal(&mut self) -> Result<(), String> {
        self.sim.trace.line("=== better times");
        self.sim.net.conditions = Conditions::PERFECT;
        self.go_home()?;
        self.wait(SETTLE)?;
        while let Some(at) = self.next_end() {
            let left = at.saturating_since(self.sim.now);
            self.wait(left)?;
        }
        for host in [A, B] {
            if let Some(left) = self.sim.hosts[host].asleep_until.map(|at| at.saturating_since(self.sim.now)) {
                self.wait(left)?;
            }
        }
        self.wait(SETTLE)?;
        // with lifetimes that end all the time there must be a moment between two of them
        let end = self.sim.now + REST;
        while let Err(why) = self.at_rest() {
            self.steps += 1;
            if self.steps > MOST_STEPS || !self.sim.step(end) {
                return Err(format!("does not come to rest: {why}"));
            }
        }
        Ok(())
    }

    /// Nothing is going on.
    fn at_rest(&self) -> Result<(), String> {
        if self.sim.net.next_arrival().is_some() {
            return Err("datagrams under way".into());
        }
        for host in &self.sim.hosts {
            for ike in host.snapshots() {
                let busy = [&ike.tasks_active, &ike.tasks_queued, &ike.tasks_passive];
                if ike.state != IkeSaState::Established || busy.iter().any(|tasks| !tasks.is_empty()) {
                    return Err(format!("{} [{}] {} {busy:?}", host.name, ike.unique_id, ike.state));
                }
                if let Some(child) = ike.children.iter().find(|child| child.state != ChildSaState::Installed) {
                    return Err(format!("{} {{{}}} {}", host.name, child.unique_id, child.state));
                }
            }
        }
        Ok(())
    }

    /// What has to be true when nothing is going on.
    fn check(&self) -> Result<Outcome, String> {
        self.sim.agreement()?;
        self.sim.traffic()?;
        for host in &self.sim.hosts {
            host.check_kernel()?;
        }
        self.same_path()?;
        self.no_duplicates()?;
        let snapshots = self.sim.hosts[A].snapshots();
        Ok(Outcome { ike_sas: snapshots.len(), child_sas: snapshots.iter().map(|ike| ike.children.len()).sum() })
    }

    /// Both ends of an SA are where the other one believes them to be.
    fn same_path(&self) -> Result<(), String> {
        if self.sim.net.nat.is_some() {
            return Ok(());
        }
        for (host, peer) in [(A, B), (B, A)] {
            for sa in self.sim.hosts[host].kernel.sas().iter().filter(|sa| sa.direction == Direction::Out) {
                let other = self.sim.hosts[peer].kernel.inbound(sa.id.protocol, sa.id.spi);
                if other.is_some_and(|other| (other.id.src, other.id.dst) != (sa.id.src, sa.id.dst)) {
                    return Err(format!("{} sends from {} to {}", self.sim.hosts[host].name, sa.id.src, sa.id.dst));
                }
            }
        }
        Ok(())
    }

    /// One IKE_SA of a connection and one CHILD_SA of a child, where only one side initiates and no policy or reload
    /// asks for more.
    fn no_duplicates(&self) -> Result<(), String> {
        for host in &self.sim.hosts {
            let snapshots = host.snapshots();
            for ike in &snapshots {
                let mut names: HashMap<_, usize> = HashMap::new();
                for child in &ike.children {
                    *names.entry((&child.config.name, &child.local_ts, &child.remote_ts)).or_default() += 1;
                }
                let most = if self.variant.one_initiator && !self.changed { 1 } else { 2 };
                if let Some(((name, ..), count)) = names.into_iter().find(|(_, count)| *count > most) {
                    return Err(format!("{}: {count} CHILD_SAs {name} in IKE_SA [{}]", host.name, ike.unique_id));
                }
            }
            let unique = self.variant.unique[B] == UniquePolicy::Replace && self.variant.one_initiator && !self.changed;
            if unique && snapshots.len() > 1 {
                return Err(format!("{}: {} IKE_SAs", host.name, snapshots.len()));
            }
        }
        Ok(())
    }

    /// Everything is closed from both sides: nothing is left.
    fn clear(&mut self) -> Result<(), String> {
        self.sim.trace.line("=== everything is closed");
        for host in [A, B] {
            for ike in self.sim.hosts[host].snapshots() {
                self.sim.input_to(host, ike.unique_id, Input::TerminateIke { force: false });
            }
        }
        self.sim.run_for(Duration::from_secs(60));
        for host in &self.sim.hosts {
            if !host.sas.is_empty() {
                return Err(format!("{} has IKE_SAs left", host.name));
            }
            if !host.kernel.is_empty() {
                return Err(format!("{}: {} left in the data plane", host.name, host.kernel.describe()));
            }
            if host.next_timeout().is_some() {
                return Err(format!("{} has a timer left", host.name));
            }
        }
        self.sim.agreement()?;
        match self.sim.net.next_arrival() {
            Some(_) => Err("datagrams are still sent".into()),
            None => Ok(()),
        }
    }
}
