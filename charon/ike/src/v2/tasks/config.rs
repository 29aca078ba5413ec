//! The configuration payload in IKE_AUTH (RFC 7296 §2.19, §3.15; spec §5.5): virtual IPs, and attributes that go with
//! them, for the side that initiates.
//!
//! The request is in the first IKE_AUTH message, the reply in the one that completes authentication: nobody gets an
//! address before it is known who asks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use strongswan::log;

use crate::attributes::Client;
use crate::config::IkeVersion;
use crate::env::Env;
use crate::output::Alert;
use crate::sa::IkeSa;
use crate::task::TaskType;
use crate::v2::explain;
use crate::v2::task::{Incoming, Outgoing, Progress, Step, Task};
use crate::wire::{Cp, CpAttribute, CpAttributeType, CpType, ExchangeType, Message, NotifyType};

/// Prefix length next to an IPv6 address, as strongSwan sends it.
const IPV6_PREFIX: u8 = 64;

/// Virtual IPs one IKE_SA may have: far more than the two that make sense, and a client must not empty a pool at once.
const MAX_VIRTUAL_IPS: usize = 16;

/// The attribute for an address; an unspecified one is sent without value and leaves the choice to the peer.
fn attribute(address: IpAddr) -> CpAttribute {
    match address {
        IpAddr::V4(v4) if v4.is_unspecified() => CpAttribute::new(CpAttributeType::InternalIp4Address, &[]),
        IpAddr::V4(v4) => CpAttribute::new(CpAttributeType::InternalIp4Address, &v4.octets()),
        IpAddr::V6(v6) if v6.is_unspecified() => CpAttribute::new(CpAttributeType::InternalIp6Address, &[]),
        IpAddr::V6(v6) => {
            let mut value = v6.octets().to_vec();
            value.push(IPV6_PREFIX);
            CpAttribute::new(CpAttributeType::InternalIp6Address, &value)
        }
    }
}

/// The address in an attribute, unspecified if it has no value; `None` if it is about something else.
fn address(attribute: &CpAttribute) -> Option<IpAddr> {
    match attribute.kind {
        CpAttributeType::InternalIp4Address => {
            let octets = attribute.value.first_chunk::<4>();
            Some(octets.map_or(Ipv4Addr::UNSPECIFIED, |octets| Ipv4Addr::from(*octets)).into())
        }
        CpAttributeType::InternalIp6Address => {
            let octets = attribute.value.first_chunk::<16>();
            Some(octets.map_or(Ipv6Addr::UNSPECIFIED, |octets| Ipv6Addr::from(*octets)).into())
        }
        _ => None,
    }
}

/// The configuration payload of a message, if it is of this kind.
fn payload(message: &Message, kind: CpType) -> Option<&Cp> {
    let payload = message.cp()?;
    if payload.kind != kind {
        log!(IKE, 1, "ignoring {} config payload", payload.kind);
        return None;
    }
    Some(payload)
}

/// Asks for virtual IPs, and puts to use what the peer assigns.
#[derive(Debug, Default)]
pub(crate) struct ConfigInitiator {
    /// The first IKE_AUTH message was built.
    built: bool,
    /// It asks for something.
    asked: bool,
}

impl ConfigInitiator {
    fn read(sa: &mut IkeSa, env: &Env<'_>, reply: &Cp) {
        let mut addresses = Vec::new();
        let mut handled = Vec::new();
        for attribute in &reply.attributes {
            match address(attribute) {
                Some(address) if address.is_unspecified() || addresses.len() >= MAX_VIRTUAL_IPS => {}
                Some(address) => addresses.push(address),
                None => match env.handlers.handle(attribute) {
                    Some(held) => handled.push(held),
                    None => log!(IKE, 1, "handling {} attribute failed", attribute.kind),
                },
            }
        }
        sa.set_local_vips(env, &addresses);
        if !handled.is_empty() {
            sa.assigned_mut().attributes = handled;
        }
    }
}

impl Task for ConfigInitiator {
    fn kind(&self) -> TaskType {
        TaskType::IkeConfig
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        if message.exchange() != ExchangeType::IkeAuth || self.built {
            return Ok(Progress::More);
        }
        self.built = true;
        // after reauthentication the same ones are wanted again
        let owned = sa.local_vips();
        let configured = sa.config().map(|config| config.vips.clone()).unwrap_or_default();
        let vips = if owned.is_empty() { configured } else { owned };
        if !vips.is_empty() {
            let mut attributes: Vec<_> = vips.iter().copied().map(attribute).collect();
            attributes.extend(env.handlers.requests(sa.name(), &vips));
            self.asked = true;
            message.push(Cp { kind: CpType::Request, attributes });
        }
        Ok(Progress::More)
    }

    fn process(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, incoming: &Incoming) -> Step {
        if incoming.message.header.exchange != ExchangeType::IkeAuth || !sa.is_authenticated() {
            return Ok(Progress::More);
        }
        match payload(&incoming.message, CpType::Reply) {
            Some(reply) if self.asked => Self::read(sa, env, reply),
            // a gateway does not change our addresses and name servers unless we want it to
            Some(reply) => log!(IKE, 1, "ignoring {} config payload", reply.kind),
            // whatever an earlier IKE_SA had is not ours
            None => sa.set_local_vips(env, &[]),
        }
        Ok(Progress::Done)
    }

    fn reset(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>) {
        *self = Self::default();
    }
}

/// Assigns virtual IPs and attributes from the connection's pools.
#[derive(Debug, Default)]
pub(crate) struct ConfigResponder {
    /// Addresses the peer asks for.
    requested: Vec<IpAddr>,
    /// It sent a configuration payload.
    asked: bool,
}

impl ConfigResponder {
    /// Assigns an address for each one requested, as far as there are any.
    fn assign(&self, sa: &mut IkeSa, env: &Env<'_>, pools: &[String], client: &Client<'_>) -> Vec<IpAddr> {
        let mut leases = Vec::new();
        let mut addresses = Vec::new();
        for requested in &self.requested {
            log!(IKE, 1, "peer requested virtual IP {}", Any(*requested));
            match env.pools.acquire(pools, &Client { taken: &addresses, ..*client }, *requested) {
                Some(lease) => {
                    log!(IKE, 1, "assigning virtual IP {} to peer '{}'", lease.address(), client.identity);
                    addresses.push(lease.address());
                    leases.push(lease);
                }
                None => {
                    let requested = Any(*requested);
                    log!(IKE, 1, "no virtual IP found for {requested} requested by '{}'", client.identity);
                }
            }
        }
        if !leases.is_empty() {
            sa.assigned_mut().remote = leases;
        }
        addresses
    }
}

impl Task for ConfigResponder {
    fn kind(&self) -> TaskType {
        TaskType::IkeConfig
    }

    fn process(&mut self, _sa: &mut IkeSa, _env: &mut Env<'_>, incoming: &Incoming) -> Step {
        let message = &incoming.message;
        if message.header.exchange == ExchangeType::IkeAuth
            && !self.asked
            && let Some(request) = payload(message, CpType::Request)
        {
            self.asked = true;
            self.requested = request.attributes.iter().filter_map(address).take(MAX_VIRTUAL_IPS).collect();
        }
        Ok(Progress::More)
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        if message.exchange() != ExchangeType::IkeAuth || !sa.is_authenticated() {
            return Ok(Progress::More);
        }
        // RFC 5685 §6: the client gets its addresses from the other gateway
        if message.message.has_notify(NotifyType::Redirect) {
            return Ok(Progress::Done);
        }
        let (Some(config), Some(identity)) = (sa.config().cloned(), sa.peer_id().cloned()) else {
            return Ok(Progress::Done);
        };
        let client = Client {
            ike_sa: sa.unique_id(),
            identity: &identity,
            remote: sa.remote,
            taken: &[],
            version: IkeVersion::V2,
        };
        let addresses = self.assign(sa, env, &config.pools, &client);
        let failure = match (self.requested.is_empty(), addresses.is_empty()) {
            (false, true) => Some(NotifyType::InternalAddressFailure),
            (true, _) if !config.pools.is_empty() => Some(NotifyType::FailedCpRequired),
            _ => None,
        };
        if let Some(kind) = failure {
            match kind {
                NotifyType::FailedCpRequired => log!(IKE, 1, "expected a virtual IP request, sending {kind}"),
                _ => log!(IKE, 1, "no virtual IP found, sending {kind}"),
            }
            explain::child::virtual_ip(sa, env, &self.requested, kind);
            sa.alert(Alert::VipFailure);
            message.notify(kind);
            return Ok(Progress::Done);
        }
        let mut attributes: Vec<_> = addresses.iter().copied().map(attribute).collect();
        if self.asked {
            attributes.extend(env.pools.attributes(&config.pools, &client, &addresses));
        }
        if !attributes.is_empty() {
            message.push(Cp { kind: CpType::Reply, attributes });
        }
        Ok(Progress::Done)
    }
}

/// An address in log notation, `%any` if it is unspecified.
struct Any(IpAddr);

impl std::fmt::Display for Any {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ip if !ip.is_unspecified() => ip.fmt(f),
            IpAddr::V4(_) => f.write_str("%any"),
            IpAddr::V6(_) => f.write_str("%any6"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_attributes_and_back() {
        for (text, len) in [("10.3.0.1", 4), ("0.0.0.0", 0), ("fec3::1", 17), ("::", 0)] {
            let ip: IpAddr = text.parse().unwrap();
            let attribute = attribute(ip);
            assert_eq!(attribute.value.len(), len, "{text}");
            assert_eq!(address(&attribute), Some(ip));
        }
        let v6 = attribute("fec3::1".parse().unwrap());
        assert_eq!(v6.value.last(), Some(&64));
        assert_eq!(address(&CpAttribute::new(CpAttributeType::InternalIp4Dns, &[10, 0, 0, 1])), None);
    }

    #[test]
    fn unspecified_addresses_are_any() {
        assert_eq!(Any(Ipv4Addr::UNSPECIFIED.into()).to_string(), "%any");
        assert_eq!(Any(Ipv6Addr::UNSPECIFIED.into()).to_string(), "%any6");
        assert_eq!(Any([10, 0, 0, 1].into()).to_string(), "10.0.0.1");
    }
}
