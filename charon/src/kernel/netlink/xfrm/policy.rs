//! Policies as messages to the kernel, and which of them wins.

use std::net::IpAddr;

use ike::config::Mode;
use ike::ids::{IfId, Mark, Reqid, Spi};
use ike::kernel::{Direction, PolicyAction, PolicyClass, PolicyParams};
use netlink_packet_core::Emitable;
use netlink_packet_xfrm::constants::{
    XFRM_INF, XFRM_MODE_TRANSPORT, XFRM_POLICY_ALLOW, XFRM_POLICY_BLOCK, XFRM_POLICY_FWD, XFRM_POLICY_IN,
    XFRM_POLICY_OUT, XFRM_SHARE_ANY,
};
use netlink_packet_xfrm::policy::{DelGetMessage, ModifyMessage};
use netlink_packet_xfrm::{
    LifetimeConfig, Selector, UserPolicyId, UserPolicyInfo, UserTemplate, XFRM_SELECTOR_LEN, XfrmAttrs,
};
use strongswan::crypto::Protocol;
use strongswan::selectors::TrafficSelector;

use super::journal::PolicyMark;
use super::selector::{address, family, selector, traffic_selectors};
use super::state::{self, Unsupported};
use super::upkeep::tags;

/// Which packets a policy of the kernel looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Hook {
    /// Those for this machine.
    In,
    /// Those that leave.
    Out,
    /// Those that pass through.
    Forward,
}

impl Hook {
    fn number(self) -> u8 {
        match self {
            Self::In => XFRM_POLICY_IN,
            Self::Out => XFRM_POLICY_OUT,
            Self::Forward => XFRM_POLICY_FWD,
        }
    }
}

impl std::fmt::Display for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Forward => "fwd",
        })
    }
}

/// What makes two policies the same one to the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) hook: Hook,
    pub(super) selector: [u8; XFRM_SELECTOR_LEN],
    pub(super) mark: Mark,
    pub(super) if_id: IfId,
}

impl Key {
    /// The network that packets go to.
    pub(super) fn destination(&self) -> Option<(IpAddr, u8)> {
        let selector = Selector::parse(&self.selector).ok()?;
        Some((address(&selector.daddr, selector.family), selector.prefixlen_d))
    }
}

/// A policy that is in the kernel.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// What it looks at; what it does is not known beyond its place.
    pub(super) policy: Policy,
    /// What tells whose it is.
    pub(super) mark: PolicyMark,
}

/// What somebody wants such a policy to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    /// The policy's place: smaller wins.
    pub(super) priority: u32,
    /// The computed priority, which orders equal configured ones.
    pub(super) computed: u32,
    /// What it does.
    pub(super) action: PolicyAction,
    /// The SAs it wants, if it wants any.
    pub(super) template: Option<Template>,
}

/// The SAs that a policy wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) reqid: Reqid,
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) protocol: Protocol,
    pub(super) mode: Mode,
    /// Compression comes first.
    pub(super) ipcomp: bool,
    /// Tells CHILD_SAs that share a policy apart; outbound it also chooses the SA.
    pub(super) spi: Option<Spi>,
}

/// One policy of the kernel with what one user wants it to do.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) key: Key,
    pub(super) user: User,
    pub(super) hook: Hook,
    pub(super) src: TrafficSelector,
    pub(super) dst: TrafficSelector,
    selector: Selector,
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} === {} {}", self.src, self.dst, self.hook)
    }
}

/// All policies that a call asks for. `interface` is the index of the one they are restricted to, 0 for none.
pub(super) fn policies<'a>(params: &'a PolicyParams<'_>, interface: u32) -> impl Iterator<Item = Policy> + 'a {
    let pairs = params.local_ts.iter().flat_map(move |local| {
        let fits = move |remote: &&TrafficSelector| {
            let (a, b) = (local.protocol(), remote.protocol());
            remote.family() == local.family() && (a == 0 || b == 0 || a == b)
        };
        params.remote_ts.iter().filter(fits).map(move |remote| (*local, *remote))
    });
    pairs.flat_map(move |(local, remote)| {
        let main = |hook, src, dst| Policy::new(params, hook, (src, dst), interface, true);
        match params.direction {
            Direction::In => {
                let tunneled = !matches!(params.mode, Mode::Transport | Mode::TransportProxy);
                [Some(main(Hook::In, remote, local)), tunneled.then(|| main(Hook::Forward, remote, local))]
            }
            Direction::Out => {
                let forwarded = params.fwd_out && params.action == PolicyAction::Ipsec;
                let forward = || Policy::new(params, Hook::Forward, (local, remote), interface, false);
                [Some(main(Hook::Out, local, remote)), forwarded.then(forward)]
            }
        }
        .into_iter()
        .flatten()
    })
}

impl Policy {
    /// Without `protect`, packets may pass that an outbound policy will catch after forwarding.
    fn new(
        params: &PolicyParams<'_>,
        hook: Hook,
        (src, dst): (TrafficSelector, TrafficSelector),
        interface: u32,
        protect: bool,
    ) -> Self {
        let interface = if hook == Hook::Out || params.action != PolicyAction::Ipsec { interface } else { 0 };
        let selector = selector(&src, &dst, interface);
        let class = if protect { params.class } else { PolicyClass::Routed };
        let computed = priority(class, &selector);
        let endpoints = match params.direction {
            Direction::In => (params.remote, params.local),
            Direction::Out => (params.local, params.remote),
        };
        let template = params.reqid.filter(|_| protect && params.action == PolicyAction::Ipsec).map(|reqid| Template {
            reqid,
            src: endpoints.0,
            dst: endpoints.1,
            protocol: params.protocol,
            mode: params.mode,
            ipcomp: params.ipcomp,
            spi: params.spi,
        });
        let mut bytes = [0; XFRM_SELECTOR_LEN];
        selector.emit(&mut bytes);
        Self {
            key: Key { hook, selector: bytes, mark: params.mark, if_id: params.if_id },
            user: User {
                priority: if params.priority == 0 { computed } else { params.priority },
                computed,
                action: params.action,
                template,
            },
            hook,
            src,
            dst,
            selector,
        }
    }

    /// The policy for these packets, for somebody who wants `user` of it. `None` if these are no packets.
    pub(super) fn of(key: Key, user: User) -> Option<Self> {
        let selector = Selector::parse(&key.selector).ok()?;
        let (src, dst) = traffic_selectors(&selector)?;
        Some(Self { hook: key.hook, key, user, src, dst, selector })
    }

    /// A policy as the kernel describes it, unless it is that of a socket.
    pub(super) fn found(message: &ModifyMessage) -> Option<Found> {
        let info = &message.user_policy_info;
        let hook = match info.direction {
            XFRM_POLICY_IN => Hook::In,
            XFRM_POLICY_OUT => Hook::Out,
            XFRM_POLICY_FWD => Hook::Forward,
            _ => return None,
        };
        let reqid = message.nlas.iter().find_map(|attribute| match attribute {
            XfrmAttrs::Template(templates) => templates.first().map(|template| template.reqid),
            _ => None,
        });
        let (mark, if_id) = tags(&message.nlas);
        let mut selector = [0; XFRM_SELECTOR_LEN];
        info.selector.emit(&mut selector);
        let user = User { priority: info.priority, computed: u32::MAX, action: PolicyAction::Drop, template: None };
        let policy = Self::of(Key { hook, selector, mark, if_id }, user)?;
        Some(Found { policy, mark: PolicyMark { reqid: reqid.unwrap_or(0), priority: info.priority } })
    }

    /// Whether it is for no XFRM interface.
    pub(super) fn is_plain(&self) -> bool {
        self.key.if_id.is_none()
    }

    /// The message that installs it the way `user` wants it.
    pub(super) fn install(&self, user: &User) -> Result<ModifyMessage, Unsupported> {
        let lifetime_cfg = LifetimeConfig {
            soft_byte_limit: XFRM_INF,
            hard_byte_limit: XFRM_INF,
            soft_packet_limit: XFRM_INF,
            hard_packet_limit: XFRM_INF,
            ..LifetimeConfig::default()
        };
        let user_policy_info = UserPolicyInfo {
            selector: self.selector,
            lifetime_cfg,
            priority: user.priority,
            direction: self.hook.number(),
            action: if user.action == PolicyAction::Drop { XFRM_POLICY_BLOCK } else { XFRM_POLICY_ALLOW },
            share: XFRM_SHARE_ANY,
            ..UserPolicyInfo::default()
        };
        let mut nlas = Vec::new();
        if let Some(template) = &user.template {
            nlas.push(XfrmAttrs::Template(self.templates(template)?));
        }
        nlas.extend(state::tags(self.key.mark, self.key.if_id));
        Ok(ModifyMessage { user_policy_info, nlas })
    }

    /// With compression that carries the mode, optional for what we receive: small packets are not compressed.
    fn templates(&self, wanted: &Template) -> Result<Vec<UserTemplate>, Unsupported> {
        if !wanted.ipcomp {
            return Ok(vec![self.template(wanted)?]);
        }
        let mut compression = self.template(&Template { protocol: Protocol::IpComp, spi: None, ..wanted.clone() })?;
        compression.optional = u8::from(self.hook != Hook::Out);
        let inside = self.template(&Template { mode: Mode::Transport, ..wanted.clone() })?;
        Ok(vec![compression, inside])
    }

    fn template(&self, wanted: &Template) -> Result<UserTemplate, Unsupported> {
        let mut template = UserTemplate {
            family: family(wanted.src),
            reqid: wanted.reqid.get(),
            mode: state::mode(wanted.mode)?,
            ..UserTemplate::default()
        };
        template.id.proto = state::protocol(wanted.protocol)?;
        if template.mode != XFRM_MODE_TRANSPORT {
            template.source(&wanted.src);
            template.destination(&wanted.dst);
        }
        if self.hook == Hook::Out {
            template.id.spi = wanted.spi.map_or(0, |spi| spi.get());
        }
        Ok(template)
    }

    /// The message that removes it.
    pub(super) fn remove(&self) -> DelGetMessage {
        let user_policy_id =
            UserPolicyId { selector: self.selector, direction: self.hook.number(), ..UserPolicyId::default() };
        DelGetMessage { user_policy_id, nlas: state::tags(self.key.mark, self.key.if_id).collect() }
    }
}

/// strongSwan's order: classes first, then narrower selectors.
fn priority(class: PolicyClass, selector: &Selector) -> u32 {
    const BASE: u32 = 200_000;
    let class_base = match class {
        PolicyClass::Pass => BASE,
        PolicyClass::Default | PolicyClass::Routed => 2 * BASE,
        PolicyClass::Fallback => 3 * BASE,
    };
    let prefixes = u32::from(selector.prefixlen_s) + u32::from(selector.prefixlen_d);
    let ports = selector.sport_mask.count_ones() + selector.dport_mask.count_ones();
    let narrower = prefixes * 512
        + if selector.proto == 0 { 0 } else { 256 }
        + ports * 4
        + if selector.ifindex == 0 { 0 } else { 2 }
        + u32::from(class != PolicyClass::Routed);
    class_base - narrower
}
