//! Routes, rules and addresses (rtnetlink(7)).

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage, RulePortRange};
use netlink_packet_route::{AddressFamily, IpProtocol, RouteNetlinkMessage};
use strongswan::host::Family;

use super::socket::{NetlinkError, NetlinkSocket};

/// A network: address and prefix length.
pub type Prefix = (IpAddr, u8);

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// Sends packets out of an interface.
    Unicast {
        /// Index of the interface.
        interface: u32,
        /// Router, if the destination is not on link.
        gateway: Option<IpAddr>,
        /// Source address for packets that have none yet.
        source: Option<IpAddr>,
    },
    /// Lets the lookup go on with the next rule.
    Throw,
}

/// A route in some table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The network it is for.
    pub destination: Prefix,
    /// Routing table.
    pub table: u32,
    /// What it does.
    pub kind: RouteKind,
}

/// A rule that has one routing table looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Family of the packets.
    pub family: Family,
    /// The table.
    pub table: u32,
    /// Its place among the rules.
    pub priority: u32,
    /// Packets with this mark (value, mask) do not look the table up.
    pub except_mark: Option<(u32, u32)>,
    /// Only packets with this mark (value, mask) look the table up.
    pub only_mark: Option<(u32, u32)>,
    /// Only these packets do.
    pub only: Option<Packets>,
}

/// Packets that a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packets {
    /// Network of the source.
    pub source: Prefix,
    /// Network of the destination.
    pub destination: Prefix,
    /// Upper-layer protocol, 0 for any.
    pub protocol: u8,
    /// First and last source port.
    pub source_ports: Option<(u16, u16)>,
    /// First and last destination port.
    pub destination_ports: Option<(u16, u16)>,
}

/// How the kernel would reach a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nexthop {
    /// Index of the outgoing interface.
    pub interface: u32,
    /// Router, if any.
    pub gateway: Option<IpAddr>,
    /// Source address.
    pub source: Option<IpAddr>,
}

/// An address of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalAddress {
    /// The address.
    pub address: IpAddr,
    /// Length of the prefix of its network.
    pub prefix_len: u8,
    /// Index of its interface.
    pub interface: u32,
    /// It reaches further than the link and this host.
    pub global: bool,
}

/// The network configuration of this namespace.
#[derive(Debug)]
pub struct Network {
    socket: NetlinkSocket,
}

impl Network {
    /// Opens the socket.
    ///
    /// # Errors
    /// If the system has no netlink for us.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self { socket: NetlinkSocket::open(libc::NETLINK_ROUTE)? })
    }

    pub(super) fn request(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.socket.request(message, flags)
    }

    /// Adds a route.
    ///
    /// # Errors
    /// As the kernel reports, for example that there is one for the same destination.
    pub fn add_route(&self, route: &Route) -> Result<(), NetlinkError> {
        let message = RouteNetlinkMessage::NewRoute(route_message(route));
        self.socket.request(message, NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Adds a route, in the place of one for the same destination in the same table.
    ///
    /// # Errors
    /// As the kernel reports.
    pub fn replace_route(&self, route: &Route) -> Result<(), NetlinkError> {
        let message = RouteNetlinkMessage::NewRoute(route_message(route));
        self.socket.request(message, NLM_F_CREATE | NLM_F_REPLACE).map(drop)
    }

    /// Removes a route.
    ///
    /// # Errors
    /// As the kernel reports.
    pub fn delete_route(&self, route: &Route) -> Result<(), NetlinkError> {
        self.socket.request(RouteNetlinkMessage::DelRoute(route_message(route)), 0).map(drop)
    }

    /// Deletes whatever route there is to a destination in a table.
    ///
    /// # Errors
    /// As the kernel reports: not found, if there is none.
    pub fn delete_route_to(&self, destination: Prefix, table: u32) -> Result<(), NetlinkError> {
        let mut message = route_message(&Route { destination, table, kind: RouteKind::Throw });
        message.header.kind = RouteType::Unspec;
        message.header.scope = RouteScope::NoWhere;
        message.header.protocol = RouteProtocol::Unspec;
        self.socket.request(RouteNetlinkMessage::DelRoute(message), 0).map(drop)
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// As the kernel reports.
    pub fn add_rule(&self, rule: &Rule) -> Result<(), NetlinkError> {
        let message = RouteNetlinkMessage::NewRule(rule_message(rule));
        self.socket.request(message, NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Removes a rule.
    ///
    /// # Errors
    /// As the kernel reports.
    pub fn delete_rule(&self, rule: &Rule) -> Result<(), NetlinkError> {
        self.socket.request(RouteNetlinkMessage::DelRule(rule_message(rule)), 0).map(drop)
    }

    /// How the kernel would send a packet with `mark` to `destination`, from `source` if given. `None` if it would not.
    ///
    /// # Errors
    /// As the kernel reports.
    pub fn nexthop(
        &self,
        destination: IpAddr,
        source: Option<IpAddr>,
        mark: u32,
    ) -> Result<Option<Nexthop>, NetlinkError> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(destination);
        message.header.destination_prefix_length = Family::of(destination).bits();
        message.attributes.push(RouteAttribute::Destination(destination.into()));
        if let Some(source) = source {
            message.header.source_prefix_length = Family::of(source).bits();
            message.attributes.push(RouteAttribute::Source(source.into()));
        }
        if mark != 0 {
            message.attributes.push(RouteAttribute::Mark(mark));
        }
        match self.socket.request(RouteNetlinkMessage::GetRoute(message), 0) {
            Ok(answers) => Ok(answers.into_iter().find_map(|answer| match answer {
                RouteNetlinkMessage::NewRoute(route) if route.header.kind == RouteType::Unicast => nexthop(&route),
                _ => None,
            })),
            Err(error) if is_unreachable(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every address of this machine that can be used.
    ///
    /// # Errors
    /// As the kernel reports.
    pub fn addresses(&self) -> Result<Vec<LocalAddress>, NetlinkError> {
        let answers = self.socket.request(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP)?;
        let addresses = answers.into_iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(address) => local_address(&address),
            _ => None,
        });
        Ok(addresses.collect())
    }

    /// Adds a virtual IP to an interface.
    ///
    /// # Errors
    /// As the kernel reports.
    pub fn add_address(&self, interface: u32, address: Prefix) -> Result<(), NetlinkError> {
        let message = RouteNetlinkMessage::NewAddress(address_message(interface, address));
        self.socket.request(message, NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Removes an address from an interface.
    ///
    /// # Errors
    /// As the kernel reports.
    pub fn delete_address(&self, interface: u32, address: Prefix) -> Result<(), NetlinkError> {
        self.socket.request(RouteNetlinkMessage::DelAddress(address_message(interface, address)), 0).map(drop)
    }
}

fn is_unreachable(error: &NetlinkError) -> bool {
    matches!(error.errno(), Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL))
}

fn family(address: IpAddr) -> AddressFamily {
    family_of(Family::of(address))
}

pub(super) fn family_of(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

fn route_message(route: &Route) -> RouteMessage {
    let (network, prefix_len) = route.destination;
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(network),
        destination_prefix_length: prefix_len,
        // A table above 255 goes into the attribute only.
        table: u8::try_from(route.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
        protocol: RouteProtocol::Static,
        scope: RouteScope::Universe,
        kind: match route.kind {
            RouteKind::Unicast { .. } => RouteType::Unicast,
            RouteKind::Throw => RouteType::Throw,
        },
        ..RouteHeader::default()
    };
    message.attributes.push(RouteAttribute::Table(route.table));
    message.attributes.push(RouteAttribute::Destination(network.into()));
    if let RouteKind::Unicast { interface, gateway, source } = route.kind {
        message.attributes.extend(gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())));
        message.attributes.push(RouteAttribute::Oif(interface));
        message.attributes.extend(source.map(|source| RouteAttribute::PrefSource(source.into())));
    }
    message
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family_of(rule.family);
    message.header.action = RuleAction::ToTable;
    message.header.table = u8::try_from(rule.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    message.attributes.push(RuleAttribute::Table(rule.table));
    message.attributes.push(RuleAttribute::Priority(rule.priority));
    message.attributes.push(RuleAttribute::Protocol(RouteProtocol::Boot));
    if rule.except_mark.is_some() {
        message.header.flags |= RuleFlags::Invert;
    }
    if let Some((mark, mask)) = rule.except_mark.or(rule.only_mark) {
        message.attributes.push(RuleAttribute::FwMark(mark));
        message.attributes.push(RuleAttribute::FwMask(mask));
    }
    if let Some(packets) = &rule.only {
        (message.header.src_len, message.header.dst_len) = (packets.source.1, packets.destination.1);
        // The kernel takes a network of length 0 as malformed: it is all packets anyhow.
        let network = |prefix: Prefix| (prefix.1 != 0).then_some(prefix.0);
        message.attributes.extend(network(packets.source).map(RuleAttribute::Source));
        message.attributes.extend(network(packets.destination).map(RuleAttribute::Destination));
        if packets.protocol != 0 {
            message.attributes.push(RuleAttribute::IpProtocol(IpProtocol::from(i32::from(packets.protocol))));
        }
        let range = |(start, end)| RulePortRange { start, end };
        message.attributes.extend(packets.source_ports.map(range).map(RuleAttribute::SourcePortRange));
        message.attributes.extend(packets.destination_ports.map(range).map(RuleAttribute::DestinationPortRange));
    }
    message
}

fn nexthop(route: &RouteMessage) -> Option<Nexthop> {
    nexthop_attributes(&route.attributes)
}

/// The next hop that attributes describe, the first of several.
pub(super) fn nexthop_attributes(attributes: &[RouteAttribute]) -> Option<Nexthop> {
    let mut hop = Nexthop { interface: 0, gateway: None, source: None };
    for attribute in attributes {
        match attribute {
            RouteAttribute::Oif(interface) => hop.interface = *interface,
            RouteAttribute::Gateway(gateway) => hop.gateway = ip(gateway),
            RouteAttribute::PrefSource(source) => hop.source = ip(source),
            RouteAttribute::MultiPath(hops) => {
                if let Some(first) = hops.first() {
                    hop.interface = first.interface_index;
                    hop.gateway = first.attributes.iter().find_map(|attribute| match attribute {
                        RouteAttribute::Gateway(gateway) => ip(gateway),
                        _ => None,
                    });
                }
            }
            _ => {}
        }
    }
    (hop.interface != 0).then_some(hop)
}

pub(super) fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn local_address(message: &AddressMessage) -> Option<LocalAddress> {
    let unusable = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    if message.header.flags.intersects(unusable) {
        return None;
    }
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            // On a point-to-point link the other attribute is the peer's.
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            _ => {}
        }
    }
    Some(LocalAddress {
        address: local.or(address)?,
        prefix_len: message.header.prefix_len,
        interface: message.header.index,
        global: matches!(message.header.scope, AddressScope::Universe | AddressScope::Site),
    })
}

fn address_message(interface: u32, (address, prefix_len): Prefix) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix_len;
    message.header.index = interface;
    message.header.scope = AddressScope::Universe;
    if address.is_ipv6() {
        // A virtual IP is ours alone; waiting for duplicates would only delay its use.
        message.header.flags = AddressHeaderFlags::Nodad;
        // Deprecated from the start: it is the source of what a route says, and of nothing else.
        let mut lifetime = CacheInfo::default();
        (lifetime.ifa_preferred, lifetime.ifa_valid) = (0, u32::MAX);
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    message
}
