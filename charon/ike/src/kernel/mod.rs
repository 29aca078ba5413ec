//! What an IKE_SA asks of the data plane, synchronously: SPIs, SAs and policies.
//!
//! The daemon implements [`Kernel`] over netlink, over its own userspace ESP, and with a recording fake; the simulator
//! has one of its own. What the data plane reports by itself (acquires, expires) reaches an IKE_SA as an
//! [`Input`](crate::Input).

mod params;

pub use params::{
    Copying, Direction, Encap, KeyMaterial, PolicyAction, PolicyClass, PolicyParams, SaId, SaLifetimes, SaLimit,
    SaParams, SaUpdate, SaUsage,
};

use std::net::IpAddr;

use strongswan::crypto::Protocol;

use crate::attributes::Held;
use crate::ids::Spi;

bitflags::bitflags! {
    /// What a data plane can do.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Features: u32 {
        /// TFC padding of received packets is removed; without it ESP_TFC_PADDING_NOT_SUPPORTED is sent.
        const ESP_V3_TFC = 1;
        /// ESP only goes through UDP: a NAT is faked.
        const REQUIRE_UDP_ENCAPSULATION = 1 << 1;
        /// Policies need not be updated when addresses change.
        const NO_POLICY_UPDATES = 1 << 2;
        /// Outbound policies select their SA by SPI, so an outbound SA may be installed before it is used.
        const POLICY_SPI = 1 << 3;
        /// Acquires carry sequence numbers.
        const ACQUIRE_SEQ = 1 << 4;
        /// The time of last use is known per SA.
        const SA_USE_TIME = 1 << 5;
        /// Packets can be compressed (IPComp, DEFLATE).
        const IPCOMP = 1 << 6;
    }
}

/// Why the data plane refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// It cannot do this (an algorithm, a mode, an update in place).
    #[error("not supported")]
    NotSupported,
    /// There is no such SA or policy.
    #[error("not found")]
    NotFound,
    /// It exists already.
    #[error("already exists")]
    Exists,
    /// Anything else; details were logged by the implementation.
    #[error("{0}")]
    Failed(String),
}

/// The data plane.
///
/// Calls must not block for long. Policies with equal selectors may be added by several CHILD_SAs (a rekeyed one and its
/// successor); the implementation counts them and removes a policy when the last one is deleted.
pub trait Kernel: Send + Sync {
    /// What it can do.
    fn features(&self) -> Features;

    /// Reserves an SPI for an inbound SA from `src` (the peer) to `dst`.
    ///
    /// # Errors
    /// If none is left.
    fn allocate_spi(&self, protocol: Protocol, src: IpAddr, dst: IpAddr) -> Result<Spi, KernelError>;

    /// Reserves a CPI for compressed packets from `src` (the peer) to `dst`.
    ///
    /// # Errors
    /// If none is left, or nothing can be compressed.
    fn allocate_cpi(&self, _src: IpAddr, _dst: IpAddr) -> Result<u16, KernelError> {
        Err(KernelError::NotSupported)
    }

    /// Releases a CPI that was reserved and is in no SA.
    fn release_cpi(&self, _cpi: u16, _src: IpAddr, _dst: IpAddr) {}

    /// Installs an SA. An inbound one takes the place of its reserved SPI.
    ///
    /// # Errors
    /// If it cannot; nothing is left installed then.
    fn add_sa(&self, sa: &SaParams<'_>) -> Result<(), KernelError>;

    /// Moves an SA to new addresses.
    ///
    /// # Errors
    /// [`KernelError::NotSupported`] makes the caller rekey the CHILD_SA.
    fn update_sa(&self, update: &SaUpdate) -> Result<(), KernelError>;

    /// Counters of an SA.
    ///
    /// # Errors
    /// [`KernelError::NotFound`] if it expired meanwhile.
    fn query_sa(&self, id: &SaId) -> Result<SaUsage, KernelError>;

    /// Removes an SA or releases a reserved SPI.
    ///
    /// # Errors
    /// [`KernelError::NotFound`] if it is gone already.
    fn delete_sa(&self, id: &SaId) -> Result<(), KernelError>;

    /// Installs the policies of one direction: the cross product of the selectors, families matching.
    ///
    /// # Errors
    /// If one cannot be installed; those that were are removed again.
    fn add_policies(&self, policies: &PolicyParams<'_>) -> Result<(), KernelError>;

    /// Removes what [`add_policies`](Self::add_policies) with equal arguments installed.
    ///
    /// # Errors
    /// [`KernelError::NotFound`] if one is not there.
    fn delete_policies(&self, policies: &PolicyParams<'_>) -> Result<(), KernelError>;

    /// Our address towards `remote` outside of all tunnels: `preferred` if a route leads there from it, else that of the
    /// best route. `None` if there is no route.
    fn source_address(&self, _remote: IpAddr, _preferred: Option<IpAddr>) -> Option<IpAddr> {
        None
    }

    /// The addresses at which peers may reach us, best first: none of tunnels, of the loopback or the link alone, or of
    /// interfaces to leave alone.
    fn local_addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }

    /// Runs `work`, within which the calling thread may be told about ways and addresses as they were when it began.
    fn look_up_once(&self, work: &mut dyn FnMut()) {
        work();
    }

    /// Makes `address` one of this machine's until the result is dropped. `outer` is our address on the way to the peer
    /// that assigned it. An address may be installed several times.
    ///
    /// # Errors
    /// If it cannot.
    fn add_virtual_ip(&self, _address: IpAddr, _outer: IpAddr) -> Result<Box<dyn Held>, KernelError> {
        Err(KernelError::NotSupported)
    }
}
