//! What the configuration says about the kernel's data plane.

use std::path::{Path, PathBuf};
use std::time::Duration;

use strongswan::log;
use strongswan::settings::{PIDDIR, Settings, parse_int};

use super::upkeep::FlushOnStart;
use crate::kernel::netlink::{InstallVirtualIps, InterfaceFilter};

/// Settings of the kernel's data plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetlinkSettings {
    /// `spi_min` and `spi_max`
    pub spis: (u32, u32),
    /// `install_routes`: give packets for tunnels the right source address.
    pub install_routes: bool,
    /// `kernel-netlink.install_routes_xfrmi`: also for policies of XFRM interfaces.
    pub install_routes_xfrmi: bool,
    /// `routing_table`: where routes go, 0 for the main table.
    pub routing_table: u32,
    /// `routing_table_prio`: priority of the rule that leads to that table.
    pub routing_table_prio: u32,
    /// `kernel-netlink.fwmark`: the rule's mark.
    pub fwmark: Option<RuleMark>,
    /// `install_virtual_ip`, `install_virtual_ip_on`
    pub virtual_ips: InstallVirtualIps,
    /// `interfaces_use`, `interfaces_ignore`
    pub interfaces: InterfaceFilter,
    /// `kernel-netlink.receive_buffer_size`: bytes of events that the kernel keeps for us.
    pub receive_buffer: usize,
    /// `kernel-netlink.xfrm_acq_expires`: seconds that a reserved SPI, or a trap that was hit, waits for its SA.
    pub acquire_expires: u32,
    /// `kernel-netlink.set_proto_port_transport_sa`: SAs in transport mode refuse packets of other protocols and ports.
    pub ports_in_transport: bool,
    /// `kernel-netlink.policy_update`: replace policies that are there already without asking.
    pub policy_update: bool,
    /// Beside the PID file: the list of what is in the kernel because of us.
    pub journal: PathBuf,
    /// `flush_on_start`
    pub flush_on_start: FlushOnStart,
    /// `kernel-netlink.hold_orphans`: how long policies that a crash left behind go on dropping what they protected.
    pub hold_orphans: Duration,
}

/// Which packets a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleMark {
    /// Value of the mark.
    pub value: u32,
    /// Bits of it that count.
    pub mask: u32,
    /// Those without this mark.
    pub invert: bool,
}

impl Default for NetlinkSettings {
    fn default() -> Self {
        Self {
            spis: (0xc000_0000, 0xcfff_ffff),
            install_routes: true,
            install_routes_xfrmi: false,
            routing_table: 220,
            routing_table_prio: 220,
            fwmark: None,
            virtual_ips: InstallVirtualIps::default(),
            interfaces: InterfaceFilter::All,
            receive_buffer: 8 * 1024 * 1024,
            acquire_expires: 165,
            ports_in_transport: false,
            policy_update: false,
            journal: Path::new(PIDDIR).join("charon.xfrm"),
            flush_on_start: FlushOnStart::Own,
            hold_orphans: Duration::from_secs(30),
        }
    }
}

impl NetlinkSettings {
    /// Reads them from strongswan.conf.
    pub fn from_settings(settings: &Settings) -> Self {
        let default = Self::default();
        let own = |key: &str| format!("charon.plugins.kernel-netlink.{key}");
        let get_bool = |key: &str, default| settings.get_bool(&own(key), default);
        let (min, max) =
            (settings.get_int("charon.spi_min", default.spis.0), settings.get_int("charon.spi_max", default.spis.1));
        Self {
            spis: (min.min(max), min.max(max)),
            install_routes: settings.get_bool("charon.install_routes", default.install_routes),
            install_routes_xfrmi: get_bool("install_routes_xfrmi", default.install_routes_xfrmi),
            routing_table: settings.get_int("charon.routing_table", default.routing_table),
            routing_table_prio: settings.get_int("charon.routing_table_prio", default.routing_table_prio),
            fwmark: rule_mark(settings, &own("fwmark")),
            virtual_ips: InstallVirtualIps::from_settings(settings),
            interfaces: InterfaceFilter::from_settings(settings),
            receive_buffer: settings.get_int(&own("receive_buffer_size"), default.receive_buffer),
            acquire_expires: settings.get_int(&own("xfrm_acq_expires"), retransmitting(settings)),
            ports_in_transport: get_bool("set_proto_port_transport_sa", default.ports_in_transport),
            policy_update: get_bool("policy_update", default.policy_update),
            journal: settings
                .get_str("charon.pidfile")
                .map_or(default.journal, |pidfile| Path::new(pidfile).with_extension("xfrm")),
            flush_on_start: FlushOnStart::from_settings(settings),
            hold_orphans: settings.get_time(&own("hold_orphans"), default.hold_orphans),
        }
    }
}

/// As long as a peer has to answer a request: after that nobody waits for the SA any more.
fn retransmitting(settings: &Settings) -> u32 {
    u32::try_from(crate::settings::ike(settings).retransmit.total().as_secs()).unwrap_or(u32::MAX)
}

fn rule_mark(settings: &Settings, path: &str) -> Option<RuleMark> {
    let text = settings.get_str(path)?.trim();
    let parsed = parse_rule_mark(text);
    if parsed.is_none() && !text.is_empty() {
        log!(KNL, 1, "invalid mark '{text}' in {path}, ignored");
    }
    parsed
}

/// Reads `[!]mark[/mask]`.
fn parse_rule_mark(text: &str) -> Option<RuleMark> {
    let (mark, invert) = text.strip_prefix('!').map_or((text, false), |mark| (mark, true));
    let (value, mask) = mark.split_once('/').unwrap_or((mark, "0xffffffff"));
    Some(RuleMark { value: parse_int(value)?, mask: parse_int(mask)?, invert })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> NetlinkSettings {
        NetlinkSettings::from_settings(&Settings::parse_str(text).unwrap())
    }

    #[test]
    fn defaults_are_those_of_strongswan() {
        assert_eq!(read(""), NetlinkSettings::default());
        assert_eq!(
            read("charon { retransmit_tries = 1\n retransmit_timeout = 10\n retransmit_base = 2\n }").acquire_expires,
            30
        );
    }

    #[test]
    fn every_setting_is_read() {
        let settings = read(
            "charon { install_routes = no\n interfaces_use = eth0, eth1\n install_virtual_ip = no\n pidfile = /run/a.pid\n flush_on_start = all\n routing_table = 7\n routing_table_prio = 8\n spi_min = 0x300\n spi_max = 0x200
             plugins { kernel-netlink { fwmark = !0x10/0xf0\n install_routes_xfrmi = yes\n receive_buffer_size = 4096
             xfrm_acq_expires = 30\n set_proto_port_transport_sa = yes\n hold_orphans = 5\n policy_update = yes\n } } }",
        );
        let expected = NetlinkSettings {
            spis: (0x200, 0x300),
            install_routes: false,
            install_routes_xfrmi: true,
            routing_table: 7,
            routing_table_prio: 8,
            fwmark: Some(RuleMark { value: 0x10, mask: 0xf0, invert: true }),
            virtual_ips: InstallVirtualIps::No,
            interfaces: InterfaceFilter::Use(vec!["eth0".to_owned(), "eth1".to_owned()]),
            receive_buffer: 4096,
            acquire_expires: 30,
            ports_in_transport: true,
            policy_update: true,
            journal: "/run/a.xfrm".into(),
            flush_on_start: FlushOnStart::All,
            hold_orphans: Duration::from_secs(5),
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn marks_may_be_plain_or_useless() {
        let with = |mark| read(&format!("charon {{ plugins {{ kernel-netlink {{ fwmark = {mark}\n }} }} }}")).fwmark;
        assert_eq!(with("5"), Some(RuleMark { value: 5, mask: u32::MAX, invert: false }));
        assert_eq!(with("five"), None);
    }
}
