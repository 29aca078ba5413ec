//! Between which addresses a trap is, and what `dynamic` means in its selectors.

use std::net::{IpAddr, ToSocketAddrs};

use ike::config::{ChildConfig, Mode, PeerConfig};
use ike::kernel::Kernel;
use strongswan::host::{AddressRange, Family, HostSpec};
use strongswan::log;
use strongswan::selectors::{self, TrafficSelector};

use super::TrapError;
use crate::net::source_address;

/// Where a trap goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) local: IpAddr,
    pub(super) remote: IpAddr,
    pub(super) local_ts: Vec<TrafficSelector>,
    pub(super) remote_ts: Vec<TrafficSelector>,
    /// The peer is whoever a packet goes to.
    pub(super) wildcard: bool,
}

/// Whether finding the place may take as long as DNS does.
pub(super) fn has_names(connection: &PeerConfig) -> bool {
    connection.ike.remote_addrs.iter().chain(&connection.ike.local_addrs).any(|host| host.name().is_some())
}

impl Place {
    /// Finds the place of a trap; looks names up.
    pub(super) fn find(kernel: &dyn Kernel, connection: &PeerConfig, child: &ChildConfig) -> Result<Self, TrapError> {
        let Some(remote) = connection.ike.remote_addrs.iter().flat_map(addresses).next() else {
            return Self::anywhere(connection, child);
        };
        let same_family = |local: &IpAddr| local.is_ipv6() == remote.is_ipv6();
        let local = connection.ike.local_addrs.iter().flat_map(addresses).find(same_family);
        let local = local.or_else(|| source_address(kernel, remote)).ok_or(TrapError::RemoteUnknown)?;
        Ok(Self {
            local,
            remote,
            local_ts: selectors::resolve(&child.local_ts, &[local]),
            remote_ts: selectors::resolve(&child.remote_ts, &[remote]),
            wildcard: false,
        })
    }

    /// A trap for any peer: in transport mode a packet itself says who that is.
    fn anywhere(connection: &PeerConfig, child: &ChildConfig) -> Result<Self, TrapError> {
        let remotes = &connection.ike.remote_addrs;
        let any = |host: &HostSpec| match host {
            HostSpec::Any(family) => Some(*family),
            HostSpec::Address(_) | HostSpec::Range(_) | HostSpec::Name(_) => None,
        };
        let family = if remotes.is_empty() { Some(None) } else { remotes.iter().find_map(any) };
        let Some(family) = family.filter(|_| child.mode == Mode::Transport) else {
            let dynamic = child.remote_ts.iter().any(TrafficSelector::is_dynamic);
            return Err(if dynamic { TrapError::RemoteUnknownDynamic } else { TrapError::RemoteUnknown });
        };
        let mut locals = connection.ike.local_addrs.iter().flat_map(addresses);
        let local = locals.find(|local| family.is_none_or(|family| Family::of(*local) == family));
        let family = family.or_else(|| local.map(Family::of)).unwrap_or(Family::Ipv4);
        let everyone = AddressRange::all(family);
        Ok(Self {
            local: local.unwrap_or_else(|| family.unspecified()),
            remote: family.unspecified(),
            local_ts: selectors::resolve_ranges(&child.local_ts, &[local.map_or(everyone, AddressRange::host)]),
            remote_ts: selectors::resolve_ranges(&child.remote_ts, &[everyone]),
            wildcard: true,
        })
    }
}

/// The addresses of an item of the configuration, looked up if it is a name.
fn addresses(host: &HostSpec) -> Vec<IpAddr> {
    match (host.address(), host.name()) {
        (Some(address), _) => vec![address],
        (None, Some(name)) => match (name, 0).to_socket_addrs() {
            Ok(addresses) => addresses.map(|address| address.ip()).collect(),
            Err(error) => {
                log!(LIB, 1, "resolving '{name}' failed: {error}");
                Vec::new()
            }
        },
        (None, None) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ike::config::IkeConfig;
    use strongswan::selectors::PortRange;

    use super::*;
    use crate::kernel::fake::FakeKernel;

    fn place(mode: Mode, local: &[&str], remote: &[&str]) -> Result<Place, TrapError> {
        let hosts = |hosts: &[&str]| hosts.iter().map(|host| HostSpec::parse(host)).collect();
        let ike = IkeConfig { local_addrs: hosts(local), remote_addrs: hosts(remote), ..IkeConfig::default() };
        let connection = PeerConfig::new("gw", Arc::new(ike));
        let dynamic = vec![TrafficSelector::dynamic(0, PortRange::ANY)];
        let (local_ts, remote_ts) = (dynamic.clone(), dynamic);
        let child = ChildConfig { mode, local_ts, remote_ts, ..ChildConfig::new("net") };
        Place::find(&FakeKernel::announced(), &connection, &child)
    }

    fn found(mode: Mode, local: &[&str], remote: &[&str]) -> String {
        match place(mode, local, remote) {
            Ok(Place { local, remote, local_ts, remote_ts, wildcard }) => {
                format!("{local}..{remote} {}==={} {wildcard}", local_ts[0], remote_ts[0])
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_first_address_of_the_peer_counts() {
        let tunnel = |local: &[&str], remote: &[&str]| found(Mode::Tunnel, local, remote);
        assert_eq!(
            tunnel(&["192.0.2.1"], &["%any", "192.0.2.2", "192.0.2.3"]),
            "192.0.2.1..192.0.2.2 192.0.2.1/32===192.0.2.2/32 false"
        );
        assert_eq!(
            tunnel(&["2001:db8::1", "127.0.0.1"], &["localhost"]).contains("127.0.0.1..127.0.0.1"),
            !tunnel(&["::1"], &["localhost"]).contains("::1..::1"),
            "whichever localhost is"
        );
    }

    #[test]
    fn an_unknown_peer_is_for_transport_mode_only() {
        let unknown = "installing trap failed, remote address unknown with dynamic traffic selector";
        assert_eq!(found(Mode::Tunnel, &["192.0.2.1"], &["%any"]), unknown);
        assert_eq!(found(Mode::Tunnel, &["192.0.2.1"], &["no-such-name.invalid"]), unknown);
        assert_eq!(found(Mode::Transport, &["192.0.2.1"], &["no-such-name.invalid"]), unknown);
        assert_eq!(found(Mode::Transport, &["192.0.2.1"], &[]), "192.0.2.1..0.0.0.0 192.0.2.1/32===0.0.0.0/0 true");
        assert_eq!(found(Mode::Transport, &[], &["%any6"]), "::..:: ::/0===::/0 true");
        assert_eq!(found(Mode::Transport, &["2001:db8::1"], &["%any"]), "2001:db8::1..:: 2001:db8::1/128===::/0 true");
    }
}
