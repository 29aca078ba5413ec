//! Whether this kernel has ESP, and lets us use it: it says so only when it is given an SA.

use std::net::IpAddr;

use ike::config::{CopyDscp, HwOffload, Mode, TfcPadding};
use ike::ids::{IfId, Mark, Reqid};
use ike::kernel::{Copying, Direction, KeyMaterial, SaId, SaLifetimes, SaParams};
use strongswan::crypto::{EncryptionAlgorithm, IntegrityAlgorithm, Protocol, Rng, Secret, SystemRng};

use super::{AddError, Shared};
use crate::kernel::netlink::NetlinkError;

/// No packet comes from there.
const NOWHERE: [IpAddr; 2] = [IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)];

/// The kernel may have been built without one of these, but not without all.
const CIPHERS: [(EncryptionAlgorithm, u16, usize, Option<IntegrityAlgorithm>); 2] = [
    (EncryptionAlgorithm::AesGcm16, 128, 20, None),
    (EncryptionAlgorithm::AesCbc, 128, 16, Some(IntegrityAlgorithm::HmacSha2_256_128)),
];

/// Installs an SA with a random key on loopback and removes it.
pub(super) fn esp(shared: &Shared) -> Result<(), NetlinkError> {
    let mut result = Ok(());
    for cipher in CIPHERS {
        result = install(shared, cipher, None).map_err(|error| match error {
            AddError::Netlink(error) => error,
            other => NetlinkError::Malformed(other.to_string()),
        });
        // Without the algorithm the kernel does not get as far as looking for ESP.
        if result.as_ref().err().and_then(NetlinkError::errno) != Some(libc::ENOSYS) {
            break;
        }
    }
    result
}

/// Whether the kernel can compress: like [`esp`], with compression inside.
pub(super) fn ipcomp(shared: &Shared) -> bool {
    let [src, dst] = NOWHERE;
    let allocated = shared.allocate(Protocol::IpComp, (src, dst), (0x100, 0xefff));
    let cpi = allocated.ok().flatten().and_then(|spi| u16::try_from(spi.get()).ok());
    CIPHERS.into_iter().any(|cipher| cpi.is_some() && install(shared, cipher, cpi).is_ok())
}

fn install(
    shared: &Shared,
    (encryption, bits, key_len, integrity): (EncryptionAlgorithm, u16, usize, Option<IntegrityAlgorithm>),
    cpi: Option<u16>,
) -> Result<(), AddError> {
    const SPIS: (u32, u32) = (0xc000_0000, 0xcfff_ffff);
    let [src, dst] = NOWHERE;
    let reqid = Reqid::new(u32::MAX);
    let (Some(spi), Some(reqid)) = (shared.allocate(Protocol::Esp, (src, dst), SPIS)?, reqid) else {
        return Err(AddError::Netlink(NetlinkError::Malformed("no SPI in the answer".to_owned())));
    };
    let random = |len| {
        let mut key = vec![0; len];
        SystemRng.fill(&mut key);
        Secret::new(key)
    };
    let (encryption_key, integrity_key) = (random(key_len), random(if integrity.is_some() { 32 } else { 0 }));
    let id = SaId { spi, protocol: Protocol::Esp, src, dst, mark: Mark::NONE, if_id: IfId::NONE };
    let sa = SaParams {
        id,
        direction: Direction::In,
        reqid,
        mode: Mode::Tunnel,
        cpi,
        keys: KeyMaterial {
            encryption: Some((encryption, Some(bits))),
            encryption_key: &encryption_key,
            integrity,
            integrity_key: &integrity_key,
            esn: false,
        },
        replay_window: 0,
        encap: None,
        lifetimes: SaLifetimes::default(),
        src_ts: &[],
        dst_ts: &[],
        tfc: TfcPadding::None,
        copying: Copying { df: true, ecn: true, dscp: CopyDscp::Out },
        set_mark: Mark::NONE,
        hw_offload: HwOffload::No,
        icmp: false,
        initiator: false,
    };
    let added = shared.add(&sa, None, false);
    let deleted = shared.delete(&id);
    added.and(deleted)
}
