//! CHILD_SA: what was negotiated, and what of it is installed in the data plane.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use strongswan::clock::MonoTime;
use strongswan::crypto::Protocol;
use strongswan::log;
use strongswan::selectors::TrafficSelector;

use super::keys::DirectionKeys;
use super::state::ChildSaState;
use crate::config::{ChildConfig, Mode};
use crate::ids::{IfId, Mark, Reqid, Spi, UniqueId};
use crate::kernel::{SaId, SaUsage};
use crate::snapshot::{Algorithms, ChildSaSnapshot};

bitflags::bitflags! {
    /// What a CHILD_SA has in the data plane and must take out again.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub(crate) struct Installed: u8 {
        /// The inbound SPI is reserved.
        const SPI = 1;
        /// The inbound SA.
        const INBOUND_SA = 1 << 1;
        /// The outbound SA.
        const OUTBOUND_SA = 1 << 2;
        /// Inbound (and forward) policies.
        const INBOUND_POLICIES = 1 << 3;
        /// Outbound policies.
        const OUTBOUND_POLICIES = 1 << 4;
        /// A reqid was allocated, not configured.
        const REQID = 1 << 5;
        /// The inbound CPI is reserved.
        const CPI = 1 << 6;
    }
}

/// The outer addresses of a CHILD_SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoints {
    /// Ours.
    pub(crate) local: SocketAddr,
    /// The peer's.
    pub(crate) remote: SocketAddr,
    /// ESP goes through UDP between them.
    pub(crate) encap: bool,
}

/// Marks and interfaces of both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tags {
    /// Inbound mark.
    pub(crate) mark_in: Mark,
    /// Outbound mark.
    pub(crate) mark_out: Mark,
    /// Inbound interface.
    pub(crate) if_id_in: IfId,
    /// Outbound interface.
    pub(crate) if_id_out: IfId,
}

/// What a CHILD_SA does when its own timer fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildTimer {
    /// Nothing is due.
    Off,
    /// See whether it is inactive.
    Inactivity(MonoTime),
    /// Remove the inbound SA of a CHILD_SA that is deleted.
    Destroy(MonoTime),
}

/// A CHILD_SA.
#[derive(Debug)]
pub(crate) struct ChildSa {
    /// Its number.
    pub(crate) unique_id: UniqueId,
    /// Its configuration.
    pub(crate) config: Arc<ChildConfig>,
    pub(super) state: ChildSaState,
    /// ESP or AH.
    pub(crate) protocol: Protocol,
    /// Negotiated mode.
    pub(crate) mode: Mode,
    /// Reqid, configured, inherited or allocated.
    pub(crate) reqid: Option<Reqid>,
    /// Outer addresses.
    pub(crate) endpoints: Endpoints,
    /// The inbound SA's SPI, chosen by our data plane.
    pub(crate) spi_in: Option<Spi>,
    /// The outbound SA's SPI, chosen by the peer.
    pub(crate) spi_out: Option<Spi>,
    /// CPI of what we receive compressed, chosen by our data plane.
    pub(crate) cpi_in: Option<u16>,
    /// CPI of what we send compressed, chosen by the peer. Only with both anything is.
    pub(crate) cpi_out: Option<u16>,
    /// Local selectors.
    pub(crate) local_ts: Vec<TrafficSelector>,
    /// Remote selectors.
    pub(crate) remote_ts: Vec<TrafficSelector>,
    /// Negotiated algorithms.
    pub(crate) algorithms: Algorithms,
    /// Marks and interfaces.
    pub(crate) tags: Tags,
    /// Whether we initiated the exchange that created it.
    pub(crate) initiator: bool,
    /// Whether the peer can handle TFC padding.
    pub(crate) tfc: bool,
    /// The CHILD_SA that replaces it, or that it replaces while the old one lives.
    pub(crate) rekey_partner: Option<UniqueId>,
    /// Keys of an outbound SA that is not installed yet.
    pub(super) registered: Option<Box<DirectionKeys>>,
    pub(super) installed: Installed,
    /// What its outbound SA has carried that is gone already.
    pub(super) sent: Option<Box<SaUsage>>,
    /// The endpoints that its policies name, if these could not be moved along.
    pub(super) policies_at: Option<Box<Endpoints>>,
    pub(super) installed_at: Option<MonoTime>,
    pub(super) rekey_at: Option<MonoTime>,
    pub(super) expire_at: Option<MonoTime>,
    /// Its own timer.
    pub(crate) timer: ChildTimer,
}

impl ChildSa {
    /// A CHILD_SA that is about to be negotiated.
    pub(crate) fn new(unique_id: UniqueId, config: Arc<ChildConfig>, endpoints: Endpoints, tags: Tags) -> Self {
        Self {
            unique_id,
            state: ChildSaState::Created,
            protocol: config.proposals.first().map_or(Protocol::Esp, strongswan::crypto::Proposal::protocol),
            mode: config.mode,
            reqid: config.reqid,
            config,
            endpoints,
            spi_in: None,
            spi_out: None,
            cpi_in: None,
            cpi_out: None,
            local_ts: Vec::new(),
            remote_ts: Vec::new(),
            algorithms: Algorithms::default(),
            tags,
            initiator: false,
            tfc: true,
            rekey_partner: None,
            registered: None,
            installed: Installed::empty(),
            sent: None,
            policies_at: None,
            installed_at: None,
            rekey_at: None,
            expire_at: None,
            timer: ChildTimer::Off,
        }
    }

    /// State.
    pub(crate) fn state(&self) -> ChildSaState {
        self.state
    }

    /// Whether the outbound SA and its policies carry traffic.
    pub(crate) fn outbound_installed(&self) -> bool {
        self.installed.contains(Installed::OUTBOUND_SA)
    }

    /// When its own timer is due.
    pub(crate) fn due(&self) -> Option<MonoTime> {
        match self.timer {
            ChildTimer::Off => None,
            ChildTimer::Inactivity(due) | ChildTimer::Destroy(due) => Some(due),
        }
    }

    /// When its hard lifetime ends.
    pub(crate) fn expire_at(&self) -> Option<MonoTime> {
        self.expire_at
    }

    /// When it was installed.
    pub(crate) fn installed_at(&self) -> Option<MonoTime> {
        self.installed_at
    }

    /// The inbound SA.
    pub(crate) fn inbound(&self) -> Option<SaId> {
        let (local, remote) = self.addresses();
        self.spi_in.map(|spi| SaId {
            spi,
            protocol: self.protocol,
            src: remote,
            dst: local,
            // inbound packets carry no mark yet unless mark_in_sa says so
            mark: if self.config.mark_in_sa { self.tags.mark_in } else { Mark::NONE },
            if_id: self.tags.if_id_in,
        })
    }

    /// The outbound SA.
    pub(crate) fn outbound(&self) -> Option<SaId> {
        let (local, remote) = self.addresses();
        self.spi_out.map(|spi| SaId {
            spi,
            protocol: self.protocol,
            src: local,
            dst: remote,
            mark: self.tags.mark_out,
            if_id: self.tags.if_id_out,
        })
    }

    /// CPIs in and out, if packets are compressed.
    pub(crate) fn cpis(&self) -> Option<(u16, u16)> {
        self.cpi_in.zip(self.cpi_out)
    }

    /// Outer addresses without ports.
    pub(crate) fn addresses(&self) -> (IpAddr, IpAddr) {
        (self.endpoints.local.ip(), self.endpoints.remote.ip())
    }

    /// The state of the moment, for observers.
    pub(crate) fn snapshot(&self) -> Arc<ChildSaSnapshot> {
        Arc::new(ChildSaSnapshot {
            unique_id: self.unique_id,
            config: Arc::clone(&self.config),
            reqid: self.reqid,
            state: self.state,
            mode: self.mode,
            protocol: self.protocol,
            encap: self.endpoints.encap,
            inbound: self.inbound(),
            outbound: self.outbound(),
            cpis: self.cpis(),
            mark_in: self.tags.mark_in,
            mark_out: self.tags.mark_out,
            if_id_in: self.tags.if_id_in,
            if_id_out: self.tags.if_id_out,
            algorithms: self.algorithms.clone(),
            installed: self.installed_at,
            rekey: self.rekey_at,
            expire: self.expire_at,
            local_ts: self.local_ts.clone(),
            remote_ts: self.remote_ts.clone(),
        })
    }

    /// It is negotiated and goes into the data plane. Nobody but its task knows it yet.
    pub(crate) fn begin_installing(&mut self) {
        self.change_state(ChildSaState::Installing);
    }

    /// Changes the state; `None` if it is that already.
    ///
    /// A transition the table does not know is a bug of ours: it is logged and made, because refusing it would leave
    /// the data plane and the state apart.
    pub(super) fn change_state(&mut self, new: ChildSaState) -> Option<ChildSaState> {
        let old = self.state;
        if old == new {
            return None;
        }
        debug_assert!(old.may_become(new), "CHILD_SA state {old} => {new}");
        log!(CHD, 2, "CHILD_SA {}{{{}}} state change: {old} => {new}", self.config.name, self.unique_id);
        self.state = new;
        Some(old)
    }
}

/// `TS === TS` of log lines.
pub(crate) struct Selectors<'a>(pub(crate) &'a [TrafficSelector], pub(crate) &'a [TrafficSelector]);

impl std::fmt::Display for Selectors<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |f: &mut std::fmt::Formatter<'_>, selectors: &[TrafficSelector]| {
            for (i, ts) in selectors.iter().enumerate() {
                write!(f, "{}{ts}", if i == 0 { "" } else { " " })?;
            }
            Ok(())
        };
        list(f, self.0)?;
        f.write_str(" === ")?;
        list(f, self.1)
    }
}
