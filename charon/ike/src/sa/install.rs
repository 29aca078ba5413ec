//! Installation of a CHILD_SA's SAs and policies, and their removal.

use std::time::Duration;

use strongswan::crypto::{IntegrityAlgorithm, Protocol};

use super::child::{ChildSa, Endpoints, Installed, Tags};
use super::keys::{ChildKeys, DirectionKeys};
use crate::config::{ChildConfig, IfIdConfig, Limit, MarkConfig, MarkValue, SetMark, TfcPadding};
use crate::env::{Env, ReqidKey, UniqueIds};
use crate::ids::{IfId, Mark, Spi};
use crate::kernel::{
    Copying, Direction, Encap, Features, KernelError, KeyMaterial, PolicyAction, PolicyClass, PolicyParams,
    SaLifetimes, SaLimit, SaParams, SaUpdate, SaUsage,
};

/// Which step of an installation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InstallError {
    /// An SA.
    #[error("SAD: {0}")]
    Sa(KernelError),
    /// A policy.
    #[error("SPD: {0}")]
    Policy(KernelError),
}

impl Tags {
    /// The marks and interfaces a new CHILD_SA gets; `%unique` values are drawn here. Interfaces it has none of its own
    /// for are the IKE_SA's.
    pub(crate) fn allocate(ids: &dyn UniqueIds, inherited: Interfaces, child: &ChildConfig) -> Self {
        let (mark_in, mark_out) = marks(ids, child.mark_in, child.mark_out);
        let own = Interfaces::allocate(ids, child.if_id_in, child.if_id_out);
        let choose = |own: IfId, inherited| if own.is_none() { inherited } else { own };
        Self {
            mark_in,
            mark_out,
            if_id_in: choose(own.inbound, inherited.inbound),
            if_id_out: choose(own.outbound, inherited.outbound),
        }
    }
}

/// XFRM interfaces of both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Interfaces {
    pub(crate) inbound: IfId,
    pub(crate) outbound: IfId,
}

impl Interfaces {
    /// The configured interfaces, with `%unique` values drawn.
    pub(crate) fn allocate(ids: &dyn UniqueIds, inbound: IfIdConfig, outbound: IfIdConfig) -> Self {
        let mut shared = None;
        let mut draw = |config| match config {
            IfIdConfig::Fixed(id) => id,
            IfIdConfig::Unique => *shared.get_or_insert_with(|| ids.unique_if_id()),
            IfIdConfig::UniqueDir => ids.unique_if_id(),
        };
        Self { inbound: draw(inbound), outbound: draw(outbound) }
    }
}

fn marks(ids: &dyn UniqueIds, inbound: MarkConfig, outbound: MarkConfig) -> (Mark, Mark) {
    let mut shared = None;
    let mut mark = |config: MarkConfig| {
        let value = match config.value {
            MarkValue::Fixed(value) => value,
            MarkValue::Unique => *shared.get_or_insert_with(|| ids.unique_mark()),
            MarkValue::UniqueDir => ids.unique_mark(),
        };
        Mark { value: value & config.mask, mask: config.mask }
    };
    (mark(inbound), mark(outbound))
}

impl ChildSa {
    /// Reserves the inbound SPI.
    ///
    /// # Errors
    /// If the data plane has none.
    pub(crate) fn allocate_spi(&mut self, env: &Env<'_>, protocol: Protocol) -> Result<Spi, KernelError> {
        let (local, remote) = self.addresses();
        self.protocol = protocol;
        let spi = env.kernel.allocate_spi(protocol, remote, local)?;
        self.spi_in = Some(spi);
        self.installed |= Installed::SPI;
        Ok(spi)
    }

    /// Reserves the CPI for what we receive.
    ///
    /// # Errors
    /// If the data plane has none.
    pub(crate) fn allocate_cpi(&mut self, env: &Env<'_>) -> Result<u16, KernelError> {
        let (local, remote) = self.addresses();
        let cpi = env.kernel.allocate_cpi(remote, local)?;
        self.cpi_in = Some(cpi);
        self.installed |= Installed::CPI;
        Ok(cpi)
    }

    /// Gives it back: nothing will be compressed.
    pub(crate) fn release_cpi(&mut self, env: &Env<'_>) {
        let (local, remote) = self.addresses();
        if let Some(cpi) = self.cpi_in.take().filter(|_| self.installed.contains(Installed::CPI)) {
            env.kernel.release_cpi(cpi, remote, local);
        }
        self.installed -= Installed::CPI;
    }

    /// Installs the inbound SA with its policies, then the outbound half, unless `defer_outbound`: then only its
    /// keys are kept, and [`install_outbound`](Self::install_outbound) follows when the SA it replaces is deleted.
    ///
    /// # Errors
    /// If the data plane refuses; [`uninstall`](Self::uninstall) removes what was installed until then.
    pub(crate) fn install(
        &mut self,
        env: &mut Env<'_>,
        keys: ChildKeys,
        defer_outbound: bool,
    ) -> Result<(), InstallError> {
        self.local_ts.sort();
        self.remote_ts.sort();
        self.allocate_reqid(env);
        let (inbound, outbound) =
            if self.initiator { (keys.responder, keys.initiator) } else { (keys.initiator, keys.responder) };
        self.installed_at = Some(env.now);
        self.add_sa(env, Direction::In, &inbound)?;
        self.add_policies(env, Direction::In)?;
        self.registered = Some(Box::new(outbound));
        if defer_outbound { Ok(()) } else { self.install_outbound(env) }
    }

    /// Installs the outbound SA and policies whose keys were kept.
    ///
    /// # Errors
    /// As [`install`](Self::install).
    pub(crate) fn install_outbound(&mut self, env: &mut Env<'_>) -> Result<(), InstallError> {
        if let Some(keys) = self.registered.take() {
            self.add_sa(env, Direction::Out, &keys)?;
            self.add_policies(env, Direction::Out)?;
        }
        Ok(())
    }

    /// Removes the outbound SA and policies, or forgets their keys.
    pub(crate) fn remove_outbound(&mut self, env: &Env<'_>) {
        self.registered = None;
        self.remove_policies(env, Direction::Out);
        if self.installed.contains(Installed::OUTBOUND_SA) {
            self.installed -= Installed::OUTBOUND_SA;
            if env.settings.accounting {
                self.sent = self.usage(env, Direction::Out).map(Box::new);
            }
            // a SA that expired meanwhile is gone already
            let _ = self.outbound().map(|id| env.kernel.delete_sa(&id));
        }
    }

    /// Removes everything.
    pub(crate) fn uninstall(&mut self, env: &Env<'_>) {
        self.remove_outbound(env);
        self.remove_policies(env, Direction::In);
        if self.installed.intersects(Installed::SPI | Installed::INBOUND_SA) {
            self.installed -= Installed::SPI | Installed::INBOUND_SA;
            let _ = self.inbound().map(|id| env.kernel.delete_sa(&id));
        }
        self.release_cpi(env);
        if self.installed.contains(Installed::REQID) {
            self.installed -= Installed::REQID;
            if let Some(reqid) = self.reqid {
                env.ids.release_reqid(reqid);
            }
        }
    }

    /// Moves SAs and policies to new addresses, as far as the data plane can; what it loses on the way is taken out.
    ///
    /// # Errors
    /// If something could not be moved: the CHILD_SA has to be rekeyed. It is where it was if nothing could.
    pub(crate) fn update_endpoints(&mut self, env: &Env<'_>, endpoints: Endpoints) -> Result<(), KernelError> {
        let new = Self { endpoints, ..self.shell() };
        let mut failure = None;
        let mut moved = 0;
        for (flag, direction) in [(Installed::INBOUND_SA, Direction::In), (Installed::OUTBOUND_SA, Direction::Out)] {
            if !self.installed.contains(flag) {
                continue;
            }
            let (Some(old), Some(target)) = (self.sa_id(direction), new.sa_id(direction)) else { continue };
            let update = SaUpdate { id: old, src: target.src, dst: target.dst, encap: new.encap(direction) };
            match env.kernel.update_sa(&update) {
                Ok(()) => moved += 1,
                Err(KernelError::NotSupported) if moved == 0 && failure.is_none() => {
                    return Err(KernelError::NotSupported);
                }
                Err(error) => {
                    // nobody would look for it under its old addresses any more
                    let _ = env.kernel.delete_sa(&old);
                    self.installed -= if direction == Direction::In { flag | Installed::SPI } else { flag };
                    failure = Some(error);
                }
            }
        }
        if self.addresses() != new.addresses()
            && !env.kernel.features().contains(Features::NO_POLICY_UPDATES)
            && let Err(error) = self.move_policies(env, &endpoints)
        {
            failure = Some(error);
        }
        self.endpoints = endpoints;
        failure.map_or(Ok(()), Err)
    }

    /// Puts policies for other endpoints in the place of those that are installed, without a moment without any.
    fn move_policies(&mut self, env: &Env<'_>, to: &Endpoints) -> Result<(), KernelError> {
        let directions = [Direction::In, Direction::Out];
        let installed =
            directions.into_iter().filter(|direction| self.installed.contains(Self::policy_flag(*direction)));
        let installed: Vec<_> = installed.collect();
        let from = self.policy_endpoints();
        for (index, direction) in installed.iter().enumerate() {
            if let Err(error) = self.with_policies_of(to, *direction, |p| env.kernel.add_policies(p)) {
                // those that are there stay: better a tunnel that leads nowhere than packets outside of it
                for done in installed.iter().take(index) {
                    let _ = self.with_policies_of(to, *done, |p| env.kernel.delete_policies(p));
                }
                self.policies_at = Some(Box::new(from));
                return Err(error);
            }
        }
        for direction in installed {
            let _ = self.with_policies_of(&from, direction, |p| env.kernel.delete_policies(p));
        }
        self.policies_at = None;
        Ok(())
    }

    /// The endpoints that installed policies name.
    fn policy_endpoints(&self) -> Endpoints {
        self.policies_at.as_deref().copied().unwrap_or(self.endpoints)
    }

    /// A copy without resources, to compute what identifiers would be.
    fn shell(&self) -> Self {
        Self {
            protocol: self.protocol,
            spi_in: self.spi_in,
            spi_out: self.spi_out,
            ..Self::new(self.unique_id, std::sync::Arc::clone(&self.config), self.endpoints, self.tags)
        }
    }

    /// Counters of one direction, if its SA is installed.
    pub(crate) fn usage(&self, env: &Env<'_>, direction: Direction) -> Option<SaUsage> {
        self.sa_id(direction).and_then(|id| env.kernel.query_sa(&id).ok())
    }

    fn sa_id(&self, direction: Direction) -> Option<crate::kernel::SaId> {
        match direction {
            Direction::In => self.inbound(),
            Direction::Out => self.outbound(),
        }
    }

    fn encap(&self, direction: Direction) -> Option<Encap> {
        let (local, remote) = (self.endpoints.local.port(), self.endpoints.remote.port());
        let (sport, dport) = match direction {
            Direction::In => (remote, local),
            Direction::Out => (local, remote),
        };
        self.endpoints.encap.then_some(Encap { sport, dport })
    }

    fn allocate_reqid(&mut self, env: &Env<'_>) {
        if self.config.reqid.is_some() || self.installed.contains(Installed::REQID) {
            return;
        }
        let key = ReqidKey {
            local_ts: self.local_ts.clone(),
            remote_ts: self.remote_ts.clone(),
            mark_in: self.tags.mark_in,
            mark_out: self.tags.mark_out,
            if_id_in: self.tags.if_id_in,
            if_id_out: self.tags.if_id_out,
        };
        if let Some(reqid) = env.ids.allocate_reqid(&key) {
            self.reqid = Some(reqid);
            self.installed |= Installed::REQID;
        }
    }

    /// Soft and hard limits of one SA, each with its own jitter.
    fn lifetimes(&mut self, env: &mut Env<'_>, direction: Direction) -> SaLifetimes {
        let configured = self.config.lifetimes;
        let mut limit = |limit: Limit| {
            // without jitter both SAs would ask for rekeying at once
            let soft = direction == Direction::In || limit.rand != 0;
            SaLimit { soft: if soft { limit.soft(env.rng) } else { 0 }, hard: limit.life }
        };
        let lifetimes = SaLifetimes {
            time: limit(configured.time),
            bytes: limit(configured.bytes),
            packets: limit(configured.packets),
        };
        let at = |seconds: u64| (seconds != 0).then(|| env.now + Duration::from_secs(seconds));
        if let Some(soft) = at(lifetimes.time.soft) {
            self.rekey_at = Some(self.rekey_at.map_or(soft, |earlier| earlier.min(soft)));
        }
        self.expire_at = at(lifetimes.time.hard);
        lifetimes
    }

    fn add_sa(&mut self, env: &mut Env<'_>, direction: Direction, keys: &DirectionKeys) -> Result<(), InstallError> {
        let (Some(id), Some(reqid)) = (self.sa_id(direction), self.reqid) else {
            return Err(InstallError::Sa(KernelError::Failed("no SPI or reqid".to_owned())));
        };
        let lifetimes = self.lifetimes(env, direction);
        let config = &*self.config;
        let inbound = direction == Direction::In;
        let (src_ts, dst_ts) =
            if inbound { (&self.remote_ts, &self.local_ts) } else { (&self.local_ts, &self.remote_ts) };
        let (set_mark, own_mark) =
            if inbound { (config.set_mark_in, self.tags.mark_in) } else { (config.set_mark_out, self.tags.mark_out) };
        let integrity = self.algorithms.integrity.map(|algorithm| match algorithm {
            IntegrityAlgorithm::HmacSha2_256_128 if config.sha256_96 => IntegrityAlgorithm::HmacSha2_256_96,
            other => other,
        });
        let params = SaParams {
            id,
            direction,
            reqid,
            mode: self.mode,
            cpi: self.cpis().map(|(cpi_in, cpi_out)| if inbound { cpi_in } else { cpi_out }),
            keys: KeyMaterial {
                encryption: self.algorithms.encryption,
                encryption_key: &keys.encryption,
                integrity,
                integrity_key: &keys.integrity,
                esn: self.algorithms.esn,
            },
            replay_window: config.replay_window.unwrap_or(env.settings.replay_window),
            encap: self.encap(direction),
            lifetimes,
            src_ts,
            dst_ts,
            tfc: if inbound || !self.tfc { TfcPadding::None } else { config.tfc_padding },
            copying: Copying { df: config.copy_df, ecn: config.copy_ecn, dscp: config.copy_dscp },
            set_mark: match set_mark {
                SetMark::None => Mark::NONE,
                SetMark::Fixed(mark) => mark,
                SetMark::Same { mask } => Mark { value: own_mark.value & mask, mask },
            },
            hw_offload: config.hw_offload,
            icmp: config.icmp,
            initiator: self.initiator,
        };
        let params_cpi = params.cpi;
        env.kernel.add_sa(&params).map_err(InstallError::Sa)?;
        self.installed |= if inbound { Installed::INBOUND_SA } else { Installed::OUTBOUND_SA };
        if inbound && params_cpi.is_some() {
            // it goes with its SA
            self.installed -= Installed::CPI;
        }
        Ok(())
    }

    fn with_policies<R>(&self, direction: Direction, call: impl FnOnce(&PolicyParams<'_>) -> R) -> R {
        self.with_policies_of(&self.policy_endpoints(), direction, call)
    }

    fn with_policies_of<R>(
        &self,
        endpoints: &Endpoints,
        direction: Direction,
        call: impl FnOnce(&PolicyParams<'_>) -> R,
    ) -> R {
        let (local, remote) = (endpoints.local.ip(), endpoints.remote.ip());
        let inbound = direction == Direction::In;
        call(&PolicyParams {
            direction,
            action: PolicyAction::Ipsec,
            class: PolicyClass::Default,
            priority: self.config.priority,
            local,
            remote,
            local_ts: &self.local_ts,
            remote_ts: &self.remote_ts,
            reqid: self.reqid,
            spi: if inbound { self.spi_in } else { self.spi_out },
            protocol: self.protocol,
            mode: self.mode,
            ipcomp: self.cpis().is_some(),
            mark: if inbound { self.tags.mark_in } else { self.tags.mark_out },
            if_id: if inbound { self.tags.if_id_in } else { self.tags.if_id_out },
            interface: self.config.interface.as_deref(),
            fwd_out: self.config.policies_fwd_out,
            hw_offload: self.config.hw_offload,
        })
    }

    fn policy_flag(direction: Direction) -> Installed {
        match direction {
            Direction::In => Installed::INBOUND_POLICIES,
            Direction::Out => Installed::OUTBOUND_POLICIES,
        }
    }

    fn add_policies(&mut self, env: &Env<'_>, direction: Direction) -> Result<(), InstallError> {
        if self.config.policies {
            self.with_policies(direction, |p| env.kernel.add_policies(p)).map_err(InstallError::Policy)?;
            self.installed |= Self::policy_flag(direction);
        }
        Ok(())
    }

    fn remove_policies(&mut self, env: &Env<'_>, direction: Direction) {
        let flag = Self::policy_flag(direction);
        if self.installed.contains(flag) {
            self.installed -= flag;
            let _ = self.with_policies(direction, |p| env.kernel.delete_policies(p));
        }
    }
}
