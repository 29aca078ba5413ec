//! What the configuration says about the userspace data plane.

use std::ops::RangeInclusive;

use strongswan::log;
use strongswan::settings::Settings;
use strongswan::settings::parse_int;

use crate::kernel::netlink::{InstallVirtualIps, InterfaceFilter};

/// Mark on our own packets if none is configured: the number of strongSwan's routing table.
const DEFAULT_MARK: u32 = 220;

/// Settings of the userspace data plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserspaceSettings {
    /// `kernel-libipsec.raw_esp`: ESP without UDP where no NAT requires it.
    pub raw_esp: bool,
    /// `kernel-libipsec.allow_peer_ts`: remote selectors may be the peer itself even if nothing keeps our own packets
    /// out of the tunnel.
    pub allow_peer_ts: bool,
    /// `install_routes`: lead what policies cover into the tunnel.
    pub install_routes: bool,
    /// `routing_table`: where routes go, 0 for the main table.
    pub routing_table: u32,
    /// `routing_table_prio`: priority of the rule that leads to that table.
    pub routing_table_prio: u32,
    /// `kernel-libipsec.fwmark` or `socket-default.fwmark`: value and mask of the mark on IKE and ESP packets, which
    /// therefore do not look our routing table up.
    pub fwmark: (u32, u32),
    /// `install_virtual_ip`, `install_virtual_ip_on`
    pub virtual_ips: InstallVirtualIps,
    /// `interfaces_use`, `interfaces_ignore`
    pub interfaces: InterfaceFilter,
    /// `spi_min` to `spi_max`
    pub spis: RangeInclusive<u32>,
}

impl Default for UserspaceSettings {
    fn default() -> Self {
        Self {
            raw_esp: false,
            allow_peer_ts: false,
            install_routes: true,
            routing_table: 220,
            routing_table_prio: 220,
            fwmark: (DEFAULT_MARK, u32::MAX),
            virtual_ips: InstallVirtualIps::default(),
            interfaces: InterfaceFilter::All,
            spis: 0xc000_0000..=0xcfff_ffff,
        }
    }
}

impl UserspaceSettings {
    /// Reads them from strongswan.conf.
    pub fn from_settings(settings: &Settings) -> Self {
        let default = Self::default();
        let marks = ["charon.plugins.kernel-libipsec.fwmark", "charon.plugins.socket-default.fwmark"];
        let (min, max) = (
            settings.get_int("charon.spi_min", *default.spis.start()),
            settings.get_int("charon.spi_max", *default.spis.end()),
        );
        Self {
            raw_esp: settings.get_bool("charon.plugins.kernel-libipsec.raw_esp", default.raw_esp),
            allow_peer_ts: settings.get_bool("charon.plugins.kernel-libipsec.allow_peer_ts", default.allow_peer_ts),
            install_routes: settings.get_bool("charon.install_routes", default.install_routes),
            routing_table: settings.get_int("charon.routing_table", default.routing_table),
            routing_table_prio: settings.get_int("charon.routing_table_prio", default.routing_table_prio),
            fwmark: marks.iter().find_map(|path| mark(settings, path)).unwrap_or(default.fwmark),
            virtual_ips: InstallVirtualIps::from_settings(settings),
            interfaces: InterfaceFilter::from_settings(settings),
            spis: if min <= max { min..=max } else { max..=min },
        }
    }
}

fn mark(settings: &Settings, path: &str) -> Option<(u32, u32)> {
    let text = settings.get_str(path)?.trim();
    let parsed = parse_mark(text);
    if parsed.is_none() {
        log!(KNL, 1, "invalid mark '{text}' in {path}, ignored");
    }
    parsed
}

/// Reads `mark[/mask]`.
fn parse_mark(text: &str) -> Option<(u32, u32)> {
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    Some((parse_int(value)?, parse_int(mask)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> UserspaceSettings {
        UserspaceSettings::from_settings(&Settings::parse_str(text).unwrap())
    }

    #[test]
    fn defaults_are_those_of_strongswan() {
        assert_eq!(read(""), UserspaceSettings::default());
    }

    #[test]
    fn every_setting_is_read() {
        let settings = read(
            "charon { install_routes = no\n routing_table = 7\n routing_table_prio = 8\n spi_min = 0x300\n spi_max = 0x200
             install_virtual_ip_on = lo
 interfaces_ignore = eth1
             plugins { kernel-libipsec { raw_esp = yes\n allow_peer_ts = yes\n fwmark = 0x10/0xf0\n } } }",
        );
        let expected = UserspaceSettings {
            raw_esp: true,
            allow_peer_ts: true,
            install_routes: false,
            routing_table: 7,
            routing_table_prio: 8,
            fwmark: (0x10, 0xf0),
            virtual_ips: InstallVirtualIps::On("lo".to_owned()),
            interfaces: InterfaceFilter::Ignore(vec!["eth1".to_owned()]),
            spis: 0x200..=0x300,
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn the_mark_of_the_ike_sockets_serves_too() {
        let with = |mark| read(&format!("charon {{ plugins {{ socket-default {{ fwmark = {mark}\n }} }} }}")).fwmark;
        assert_eq!(with("5"), (5, u32::MAX));
        assert_eq!(with("x"), (220, u32::MAX));
    }
}
