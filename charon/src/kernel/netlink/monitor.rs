//! Watches interfaces, addresses and routes, and reports what may concern the way to a peer (spec kernel.md §5.5).
//!
//! What we do ourselves does not: virtual IPs, the TUN device, routes of our own table. What comes in quick succession
//! is reported once.

use std::collections::HashMap;
use std::io::{PipeReader, PipeWriter};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteType};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use strongswan::log;
use strongswan::processing::monotonic;
use strongswan::settings::Settings;

use super::route::ip;
use super::socket::{EventSocket, Received};
use super::{NetlinkError, Outside};
use crate::kernel::settle::{Change, Settling};
use crate::kernel::{EventSink, KernelEvent};

/// Multicast groups of rtnetlink(7).
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV4_RULE: u32 = 8;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
const RTNLGRP_IPV6_ROUTE: u32 = 11;
const RTNLGRP_IPV6_RULE: u32 = 19;

/// The table of our own addresses.
const RT_TABLE_LOCAL: u32 = 255;

/// What the configuration says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) struct MonitorSettings {
    /// `kernel-netlink.roam_events`: anything at all.
    pub(in crate::kernel) roam_events: bool,
    /// `process_route`: routes.
    process_route: bool,
    /// `kernel-netlink.process_rules`: rules.
    process_rules: bool,
    /// `kernel-netlink.receive_buffer_size`
    receive_buffer: usize,
}

impl MonitorSettings {
    /// Reads it from strongswan.conf.
    pub(in crate::kernel) fn from_settings(settings: &Settings) -> Self {
        let own = |key: &str| format!("charon.plugins.kernel-netlink.{key}");
        Self {
            roam_events: settings.get_bool(&own("roam_events"), true),
            process_route: settings.get_bool("charon.process_route", true),
            process_rules: settings.get_bool(&own("process_rules"), false),
            receive_buffer: settings.get_int(&own("receive_buffer_size"), 8 * 1024 * 1024),
        }
    }

    fn groups(self) -> Vec<u32> {
        let mut groups = vec![RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR];
        if self.process_route {
            groups.extend([RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE]);
        }
        if self.process_rules {
            groups.extend([RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE]);
        }
        groups
    }
}

/// The thread that watches. It ends when this is dropped.
#[derive(Debug)]
pub(in crate::kernel) struct Monitor {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    /// Starts to watch.
    pub(in crate::kernel) fn start(
        settings: MonitorSettings,
        outside: Arc<Outside>,
        sink: EventSink,
    ) -> Result<Self, NetlinkError> {
        let socket = EventSocket::open(libc::NETLINK_ROUTE, &settings.groups(), settings.receive_buffer)?;
        let mut known = Known::default();
        // after the socket, so that nothing falls in between
        known.read(&outside)?;
        let (reader, writer) = std::io::pipe().map_err(NetlinkError::Socket)?;
        let run = move || Watch { outside, known, settling: Settling::default(), sink }.run(socket, &reader);
        let thread = std::thread::Builder::new().name("route-events".to_owned()).spawn(run);
        Ok(Self { stop: Some(writer), thread: Some(thread.map_err(NetlinkError::Socket)?) })
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log!(KNL, 1, "the thread that watches addresses and routes has panicked");
        }
    }
}

/// The network's side of it, to be asked which changes are our own.
trait Concern {
    /// Whether an interface is one that peers are reached by.
    fn has_interface(&self, index: u32) -> bool;
    /// Whether an address was given to us by a gateway.
    fn is_virtual(&self, address: IpAddr) -> bool;
    /// The routing table of tunnels.
    fn table(&self) -> u32;
}

impl Concern for Outside {
    fn has_interface(&self, index: u32) -> bool {
        Self::has_interface(self, index)
    }

    fn is_virtual(&self, address: IpAddr) -> bool {
        Self::is_virtual(self, address)
    }

    fn table(&self) -> u32 {
        Self::table(self)
    }
}

struct Watch {
    outside: Arc<Outside>,
    known: Known,
    settling: Settling,
    sink: EventSink,
}

impl Watch {
    fn run(mut self, mut socket: EventSocket, stop: &PipeReader) {
        loop {
            let wait = self.settling.wait(monotonic());
            // rounded up, or the last fraction of a millisecond would be spent going round
            let wait = wait.map(|wait| u16::try_from(wait.as_millis().saturating_add(1)).unwrap_or(u16::MAX));
            let wait = wait.map_or(PollTimeout::NONE, PollTimeout::from);
            let mut fds =
                [PollFd::new(socket.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, wait) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => {
                    log!(KNL, 1, "waiting for changes of addresses and routes failed: {error}");
                    return;
                }
            }
            let [_, stop] = fds;
            if stop.revents().is_some_and(|revents| !revents.is_empty()) {
                return;
            }
            if let Err(error) = self.receive(&mut socket) {
                log!(KNL, 1, "receiving changes of addresses and routes failed: {error}");
                return;
            }
            if let Some(change) = self.settling.take(monotonic()) {
                (self.sink)(KernelEvent::Roam { address: change == Change::Address });
            }
        }
    }

    fn receive(&mut self, socket: &mut EventSocket) -> Result<(), NetlinkError> {
        let mut changes = Vec::new();
        let received = socket.receive(|message| match message {
            Ok(message) => changes.extend(self.known.note(&message, &*self.outside)),
            Err(error) => log!(KNL, 2, "ignoring a change of addresses or routes: {error}"),
        })?;
        if received == Received::Lost {
            // whatever it was: how things are now is what counts
            self.known.read(&self.outside)?;
            changes.push(Change::Address);
        }
        changes.into_iter().for_each(|change| self.settling.note(change, monotonic()));
        Ok(())
    }
}

/// Interfaces and addresses as they were last seen.
#[derive(Debug, Default)]
struct Known {
    /// Names, and whether they are up.
    links: HashMap<u32, (String, bool)>,
    /// Usable addresses.
    addresses: HashMap<(u32, IpAddr), AddressHeaderFlags>,
}

impl Known {
    /// Asks the kernel for everything.
    fn read(&mut self, outside: &Outside) -> Result<(), NetlinkError> {
        *self = Self::default();
        let requests = [
            RouteNetlinkMessage::GetLink(LinkMessage::default()),
            RouteNetlinkMessage::GetAddress(AddressMessage::default()),
        ];
        for request in requests {
            for answer in outside.network().request(request, NLM_F_DUMP)? {
                match &answer {
                    RouteNetlinkMessage::NewLink(link) => drop(self.link(link, outside)),
                    RouteNetlinkMessage::NewAddress(address) => drop(self.address(address, outside, Quiet(true))),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Takes a message of the kernel in; what it changes, if that concerns us.
    fn note(&mut self, message: &RouteNetlinkMessage, outside: &dyn Concern) -> Option<Change> {
        match message {
            RouteNetlinkMessage::NewLink(link) => {
                let (name, up) = self.link(link, outside)?;
                log!(KNL, 1, "interface {name} {}", if up { "activated" } else { "deactivated" });
                Some(Change::Address)
            }
            RouteNetlinkMessage::DelLink(link) if link.header.interface_family != AddressFamily::Bridge => {
                let (name, _) = self.links.remove(&link.header.index)?;
                self.addresses.retain(|(interface, _), _| *interface != link.header.index);
                log!(KNL, 1, "interface {name} deleted");
                Some(Change::Address)
            }
            RouteNetlinkMessage::NewAddress(address) => self.address(address, outside, Quiet(false)),
            RouteNetlinkMessage::DelAddress(address) => {
                let (interface, address) = (address.header.index, local_of(address)?);
                self.addresses.remove(&(interface, address))?;
                log!(KNL, 1, "{address} disappeared from {}", self.name(interface));
                Some(Change::Address)
            }
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
                concerns(route, outside).then_some(Change::Route)
            }
            RouteNetlinkMessage::NewRule(rule) | RouteNetlinkMessage::DelRule(rule) => {
                (rule_table(rule) != outside.table()).then_some(Change::Route)
            }
            _ => None,
        }
    }

    /// Notes an interface; its name and whether it is up, if that is new.
    fn link(&mut self, link: &LinkMessage, outside: &dyn Concern) -> Option<(String, bool)> {
        let index = link.header.index;
        let loopback = link.header.flags.contains(LinkFlags::Loopback);
        if link.header.interface_family == AddressFamily::Bridge || loopback || !outside.has_interface(index) {
            return None;
        }
        let name = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.clone()),
            _ => None,
        })?;
        let up = link.header.flags.contains(LinkFlags::Up);
        let before = self.links.insert(index, (name.clone(), up));
        let was_up = before.is_some_and(|(_, up)| up);
        (was_up != up).then_some((name, up))
    }

    /// Notes an address; what that changes.
    fn address(&mut self, message: &AddressMessage, outside: &dyn Concern, quiet: Quiet) -> Option<Change> {
        let (interface, address) = (message.header.index, local_of(message)?);
        let narrow = matches!(message.header.scope, AddressScope::Link | AddressScope::Host | AddressScope::Nowhere);
        let unusable = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
        if narrow
            || address.is_loopback()
            || message.header.flags.intersects(unusable)
            || !outside.has_interface(interface)
            || outside.is_virtual(address)
        {
            return None;
        }
        let before = self.addresses.insert((interface, address), message.header.flags);
        match before {
            _ if quiet.0 => return None,
            Some(flags) if flags == message.header.flags => return None,
            Some(_) => log!(KNL, 1, "flags changed for {address} on {}", self.name(interface)),
            None => log!(KNL, 1, "{address} appeared on {}", self.name(interface)),
        }
        Some(Change::Address)
    }

    fn name(&self, interface: u32) -> String {
        self.links.get(&interface).map_or_else(|| format!("interface {interface}"), |(name, _)| name.clone())
    }
}

/// Nothing is logged: it was there before.
#[derive(Debug, Clone, Copy)]
struct Quiet(bool);

/// Our address in a message about one.
fn local_of(message: &AddressMessage) -> Option<IpAddr> {
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    // on a point-to-point link the other attribute is the peer's
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    local.or_else(|| {
        find(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })
    })
}

/// Whether a route may lead to a peer.
fn concerns(route: &RouteMessage, outside: &dyn Concern) -> bool {
    let mut table = u32::from(route.header.table);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Table(wide) => table = *wide,
            RouteAttribute::Oif(interface) if !outside.has_interface(*interface) => return false,
            RouteAttribute::PrefSource(source) if ip(source).is_some_and(|source| outside.is_virtual(source)) => {
                return false;
            }
            _ => {}
        }
    }
    let elsewhere =
        table == outside.table() || table == RT_TABLE_LOCAL || route.header.flags.contains(RouteFlags::Cloned);
    let reaches = !matches!(
        route.header.kind,
        RouteType::Local | RouteType::Broadcast | RouteType::Anycast | RouteType::Multicast
    );
    !elsewhere && reaches
}

fn rule_table(rule: &RuleMessage) -> u32 {
    let wide = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Table(table) => Some(*table),
        _ => None,
    });
    wide.unwrap_or_else(|| u32::from(rule.header.table))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interface 9 is a tunnel, 10.3.0.1 a virtual IP, table 220 ours.
    struct Lab;

    impl Concern for Lab {
        fn has_interface(&self, index: u32) -> bool {
            index != 9
        }

        fn is_virtual(&self, address: IpAddr) -> bool {
            address == IpAddr::from([10, 3, 0, 1])
        }

        fn table(&self) -> u32 {
            220
        }
    }

    fn address(interface: u32, address: &str, flags: AddressHeaderFlags) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = interface;
        message.header.flags = flags;
        message.attributes.push(AddressAttribute::Local(address.parse().unwrap()));
        message
    }

    fn link(index: u32, up: bool) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        message.attributes.push(LinkAttribute::IfName(format!("eth{index}")));
        message
    }

    fn route(table: u8, interface: u32, source: Option<&str>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.table = table;
        message.header.kind = RouteType::Unicast;
        message.attributes.push(RouteAttribute::Oif(interface));
        let source: Option<IpAddr> = source.map(|source| source.parse().unwrap());
        message.attributes.extend(source.map(|source| RouteAttribute::PrefSource(source.into())));
        message
    }

    #[test]
    fn addresses_count_when_they_come_change_and_go() {
        let mut known = Known::default();
        let none = AddressHeaderFlags::empty();
        let mut come = |interface, text: &str, flags| {
            known.note(&RouteNetlinkMessage::NewAddress(address(interface, text, flags)), &Lab)
        };
        assert_eq!(come(2, "192.0.2.1", none), Some(Change::Address));
        assert_eq!(come(2, "192.0.2.1", none), None, "a renewed lease");
        assert_eq!(come(2, "192.0.2.1", AddressHeaderFlags::Deprecated), Some(Change::Address));
        assert_eq!(come(2, "10.3.0.1", none), None, "a virtual IP");
        assert_eq!(come(9, "192.0.2.5", none), None, "a tunnel's");
        assert_eq!(come(2, "2001:db8::1", AddressHeaderFlags::Tentative), None, "not usable yet");
        assert_eq!(come(2, "2001:db8::1", none), Some(Change::Address));
        let mut go = |text: &str| known.note(&RouteNetlinkMessage::DelAddress(address(2, text, none)), &Lab);
        assert_eq!(go("192.0.2.1"), Some(Change::Address));
        assert_eq!(go("192.0.2.1"), None);
        assert_eq!(go("10.3.0.1"), None);
    }

    #[test]
    fn interfaces_count_when_they_come_up_and_go_down() {
        let mut known = Known::default();
        let mut see = |index, up| known.note(&RouteNetlinkMessage::NewLink(link(index, up)), &Lab);
        assert_eq!(see(2, false), None);
        assert_eq!(see(2, true), Some(Change::Address));
        assert_eq!(see(2, true), None);
        assert_eq!(see(2, false), Some(Change::Address));
        assert_eq!(see(9, true), None, "a tunnel");
        assert_eq!(known.note(&RouteNetlinkMessage::DelLink(link(2, false)), &Lab), Some(Change::Address));
        assert_eq!(known.note(&RouteNetlinkMessage::DelLink(link(2, false)), &Lab), None);
        assert_eq!(known.note(&RouteNetlinkMessage::DelLink(link(9, false)), &Lab), None);
    }

    #[test]
    fn routes_count_unless_they_are_ours() {
        let mut known = Known::default();
        let mut see = |message: RouteMessage| known.note(&RouteNetlinkMessage::NewRoute(message), &Lab);
        assert_eq!(see(route(254, 2, None)), Some(Change::Route));
        assert_eq!(see(route(220, 2, None)), None, "our table");
        assert_eq!(see(route(255, 2, None)), None, "an address of ours");
        assert_eq!(see(route(254, 9, None)), None, "into a tunnel");
        assert_eq!(see(route(254, 2, Some("10.3.0.1"))), None, "from a virtual IP");
        let mut cloned = route(254, 2, None);
        cloned.header.flags = RouteFlags::Cloned;
        assert_eq!(see(cloned), None);
        let mut wide = route(0, 2, None);
        wide.attributes.push(RouteAttribute::Table(220));
        assert_eq!(see(wide), None);
    }

    #[test]
    fn settings_choose_what_is_watched() {
        let read = |text: &str| MonitorSettings::from_settings(&Settings::parse_str(text).unwrap());
        let default = read("");
        assert!(default.roam_events && default.process_route && !default.process_rules);
        assert_eq!(default.groups().len(), 5);
        let other = read(
            "charon { process_route = no\n plugins { kernel-netlink { roam_events = no\n process_rules = yes\n } } }",
        );
        assert!(!other.roam_events);
        assert_eq!(other.groups().len(), 5);
    }
}
