//! The arguments of [`Kernel`](ike::kernel::Kernel) in the terms of crate `esp`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use esp::ecn::Copying;
use esp::ids::{SaKey, Spi};
use esp::inbound::InboundParams;
use esp::lifetime::{Lifetime, Limit};
use esp::outbound::{OutboundParams, Path};
use esp::plane::Plane;
use esp::selector::Selectors;
use esp::spd::{Action, Class, Policy};
use ike::config::{CopyDscp, HwOffload, Mode, TfcPadding};
use ike::kernel::{
    Encap, Features, KernelError, PolicyAction, PolicyClass, PolicyParams, SaLifetimes, SaLimit, SaParams,
};
use strongswan::crypto::{Cipher, Protocol};
use strongswan::log;
use strongswan::selectors::TrafficSelector;

use super::tun::MTU;

/// What is wrong with an SA for this data plane, if anything is.
pub(super) fn unsupported(sa: &SaParams<'_>, features: Features) -> Option<&'static str> {
    let udp_only = features.contains(Features::REQUIRE_UDP_ENCAPSULATION);
    match sa {
        sa if sa.id.protocol != Protocol::Esp || sa.keys.encryption.is_none() => {
            Some("IPsec SA: protocol not supported")
        }
        sa if sa.mode != Mode::Tunnel => Some("unsupported mode, only tunnel mode is"),
        sa if sa.encap.is_none() && udp_only => Some("only UDP encapsulation is supported"),
        sa if !sa.id.mark.is_none() || !sa.set_mark.is_none() => Some("marks are not supported"),
        sa if !sa.id.if_id.is_none() => Some("XFRM interfaces are not supported"),
        sa if matches!(sa.hw_offload, HwOffload::Crypto | HwOffload::Packet) => {
            Some("hardware offloading is not supported")
        }
        _ => None,
    }
}

/// What is wrong with policies for this data plane, if anything is.
pub(super) fn unsupported_policy(policies: &PolicyParams<'_>) -> Option<&'static str> {
    match policies {
        p if p.action == PolicyAction::Ipsec && p.mode != Mode::Tunnel => Some("unsupported mode, only tunnel mode is"),
        p if p.action == PolicyAction::Ipsec && p.reqid.is_none() => Some("a policy needs a reqid"),
        p if !p.mark.is_none() => Some("marks are not supported"),
        p if !p.if_id.is_none() => Some("XFRM interfaces are not supported"),
        p if p.interface.is_some() => Some("policies for one interface are not supported"),
        _ => None,
    }
}

/// The path between two outer addresses as one of our SAs sees it.
pub(super) fn path(src: IpAddr, dst: IpAddr, encap: Option<Encap>, inbound: bool) -> Path {
    let (sport, dport) = encap.map_or((0, 0), |encap| (encap.sport, encap.dport));
    let (source, destination) = (SocketAddr::new(src, sport), SocketAddr::new(dst, dport));
    let (local, remote) = if inbound { (destination, source) } else { (source, destination) };
    Path { local, remote, udp: encap.is_some() }
}

pub(super) fn inbound(sa: &SaParams<'_>) -> Result<InboundParams, KernelError> {
    let (remote, local) = (sa.src_ts.iter().copied().collect(), sa.dst_ts.iter().copied().collect());
    Ok(InboundParams {
        spi: sa.id.spi,
        reqid: sa.reqid,
        cipher: cipher(sa)?,
        esn: sa.keys.esn,
        replay_window: sa.replay_window,
        selectors: Selectors { local, remote },
        path: path(sa.id.src, sa.id.dst, sa.encap, true),
        copying: copying(sa),
        lifetime: lifetime(&sa.lifetimes),
    })
}

pub(super) fn outbound(sa: &SaParams<'_>) -> Result<OutboundParams, KernelError> {
    Ok(OutboundParams {
        spi: sa.id.spi,
        reqid: sa.reqid,
        cipher: cipher(sa)?,
        esn: sa.keys.esn,
        path: path(sa.id.src, sa.id.dst, sa.encap, false),
        copying: copying(sa),
        tfc: match sa.tfc {
            TfcPadding::None => 0,
            TfcPadding::Size(size) => u16::try_from(size).unwrap_or(MTU).min(MTU),
            TfcPadding::Mtu => MTU,
        },
        lifetime: lifetime(&sa.lifetimes),
    })
}

fn cipher(sa: &SaParams<'_>) -> Result<Cipher, KernelError> {
    let keys = &sa.keys;
    let encryption = keys.encryption.ok_or(KernelError::NotSupported)?;
    let (key, integrity_key) = (keys.encryption_key.as_bytes(), keys.integrity_key.as_bytes());
    Cipher::new(encryption, keys.integrity, key, integrity_key).map_err(|error| {
        log!(KNL, 1, "failed to create ESP context: {error}");
        KernelError::NotSupported
    })
}

fn copying(sa: &SaParams<'_>) -> Copying {
    let dscp = sa.copying.dscp;
    Copying {
        dscp_out: matches!(dscp, CopyDscp::Out | CopyDscp::Yes),
        dscp_in: matches!(dscp, CopyDscp::In | CopyDscp::Yes),
        ecn: sa.copying.ecn,
    }
}

fn lifetime(lifetimes: &SaLifetimes) -> Lifetime {
    let limit = |limit: SaLimit| Limit {
        soft: (limit.soft != 0).then_some(limit.soft),
        hard: (limit.hard != 0).then_some(limit.hard),
    };
    let time = limit(lifetimes.time);
    Lifetime {
        time: Limit { soft: time.soft.map(Duration::from_secs), hard: time.hard.map(Duration::from_secs) },
        bytes: limit(lifetimes.bytes),
        packets: limit(lifetimes.packets),
    }
}

/// The pairs of selectors that make a policy each.
pub(super) fn pairs<'a>(
    policies: &'a PolicyParams<'_>,
) -> impl Iterator<Item = (&'a TrafficSelector, &'a TrafficSelector)> {
    policies.local_ts.iter().flat_map(move |local| {
        let fits = move |remote: &&TrafficSelector| {
            let (a, b) = (local.protocol(), remote.protocol());
            remote.family() == local.family() && (a == 0 || b == 0 || a == b)
        };
        policies.remote_ts.iter().filter(fits).map(move |remote| (local, remote))
    })
}

/// What policies do with packets; `None` if they lack the reqid for it.
pub(super) fn action(plane: &Plane, policies: &PolicyParams<'_>) -> Option<Action> {
    match policies.action {
        PolicyAction::Ipsec => Some(Action::Protect(plane.sad.bundle(policies.reqid?))),
        PolicyAction::Drop => Some(Action::Discard),
        PolicyAction::Pass => Some(Action::Bypass),
    }
}

/// The policy for one pair of selectors.
pub(super) fn policy(
    policies: &PolicyParams<'_>,
    local: &TrafficSelector,
    remote: &TrafficSelector,
    action: Action,
) -> Policy {
    Policy {
        local: *local,
        remote: *remote,
        action,
        class: match policies.class {
            PolicyClass::Pass => Class::Pass,
            PolicyClass::Default => Class::Default,
            PolicyClass::Routed => Class::Routed,
            PolicyClass::Fallback => Class::Fallback,
        },
        priority: (policies.priority != 0).then_some(policies.priority),
    }
}

/// The SA of an event, as IKE names it: SPI, and where its packets go by now.
pub(super) fn expired(plane: &Plane, key: SaKey) -> Option<(Spi, IpAddr)> {
    match key {
        SaKey::Inbound(spi) => Some((spi, plane.sad.inbound(spi)?.path().local.ip())),
        SaKey::Outbound(spi, installed) => {
            let moved = plane.sad.outbound(key).map(|sa| sa.path().remote.ip());
            Some((spi, moved.unwrap_or(installed)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ike::ids::{IfId, Mark};
    use ike::kernel::{Copying, Direction, KeyMaterial, SaId};
    use strongswan::crypto::{EncryptionAlgorithm, Secret};

    /// What is wrong with an ordinary SA that `change` has changed.
    fn problem(change: impl FnOnce(&mut SaParams<'_>)) -> Option<&'static str> {
        let key = Secret::from(&[0; 20][..]);
        let address = IpAddr::from([192, 0, 2, 1]);
        let spi = Spi::new(0xc000_0001).unwrap();
        let mut sa = SaParams {
            id: SaId { spi, protocol: Protocol::Esp, src: address, dst: address, mark: Mark::NONE, if_id: IfId::NONE },
            direction: Direction::Out,
            reqid: ike::ids::Reqid::new(1).unwrap(),
            mode: Mode::Tunnel,
            cpi: None,
            keys: KeyMaterial {
                encryption: Some((EncryptionAlgorithm::AesGcm16, Some(128))),
                encryption_key: &key,
                integrity: None,
                integrity_key: &key,
                esn: false,
            },
            replay_window: 32,
            encap: Some(Encap { sport: 4500, dport: 4500 }),
            lifetimes: SaLifetimes::default(),
            src_ts: &[],
            dst_ts: &[],
            tfc: TfcPadding::None,
            copying: Copying { df: true, ecn: true, dscp: CopyDscp::Out },
            set_mark: Mark::NONE,
            hw_offload: HwOffload::No,
            icmp: false,
            initiator: true,
        };
        change(&mut sa);
        unsupported(&sa, Features::REQUIRE_UDP_ENCAPSULATION)
    }

    #[test]
    fn what_only_the_kernel_can_do_is_refused() {
        let mark = Mark { value: 42, mask: u32::MAX };
        assert_eq!(problem(|_| ()), None);
        assert_eq!(problem(|sa| sa.hw_offload = HwOffload::Auto), None);
        for offload in [HwOffload::Crypto, HwOffload::Packet] {
            assert_eq!(problem(|sa| sa.hw_offload = offload), Some("hardware offloading is not supported"));
        }
        assert_eq!(problem(|sa| sa.mode = Mode::Transport), Some("unsupported mode, only tunnel mode is"));
        assert_eq!(problem(|sa| sa.id.protocol = Protocol::Ah), Some("IPsec SA: protocol not supported"));
        assert_eq!(problem(|sa| sa.encap = None), Some("only UDP encapsulation is supported"));
        assert_eq!(problem(|sa| sa.set_mark = mark), Some("marks are not supported"));
        assert_eq!(problem(|sa| sa.id.mark = mark), Some("marks are not supported"));
    }
}
