//! What a script is told about a CHILD_SA: verb and variables of FreeS/WAN's `_updown`, as strongSwan has them.

use std::net::IpAddr;

use ike::ids::{IfId, Mark};
use ike::{ChildSaSnapshot, IkeSaSnapshot};
use strongswan::crypto::Protocol;
use strongswan::identity::Identity;
use strongswan::selectors::{PortRange, TrafficSelector};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The pairs of selectors a script is run for: those for which there are policies.
pub(super) fn pairs(child: &ChildSaSnapshot) -> impl Iterator<Item = (&TrafficSelector, &TrafficSelector)> {
    let all = child.local_ts.iter().flat_map(|local| child.remote_ts.iter().map(move |remote| (local, remote)));
    all.filter(|(local, remote)| {
        let protocols = [local.protocol(), remote.protocol()];
        local.family() == remote.family() && (protocols.contains(&0) || local.protocol() == remote.protocol())
    })
}

/// All variables but `PATH` and `PLUTO_INTERFACE`.
pub(super) fn variables(
    up: bool,
    ike: &IkeSaSnapshot,
    child: &ChildSaSnapshot,
    (local_ts, remote_ts): (&TrafficSelector, &TrafficSelector),
) -> Vec<(String, String)> {
    let mut all = Variables(Vec::with_capacity(32));
    let (me, peer) = (ike.local.ip(), ike.remote.ip());
    all.set("VERSION", "1.1");
    all.set("VERB", verb(up, me, local_ts));
    all.set("CONNECTION", &child.config.name);
    all.set("REQID", child.reqid.map_or(0, |reqid| reqid.get()));
    all.set("PROTO", if child.protocol == Protocol::Ah { "ah" } else { "esp" });
    all.set("UNIQUEID", ike.unique_id);
    all.set("ME", me);
    all.set("MY_ID", identity(ike.local_id.as_ref()));
    all.set("MY_CLIENT", client(local_ts));
    all.set("MY_PORT", port(local_ts, true));
    all.set("MY_PROTOCOL", local_ts.protocol());
    all.set("PEER", peer);
    all.set("PEER_ID", identity(ike.remote_id.as_ref()));
    all.set("PEER_CLIENT", client(remote_ts));
    all.set("PEER_PORT", port(remote_ts, false));
    all.set("PEER_PROTOCOL", remote_ts.protocol());
    if let Some(eap) = &ike.remote_eap_id {
        all.set("XAUTH_ID", eap);
    }
    all.addresses("MY_SOURCEIP", &ike.local_vips, true);
    all.addresses("PEER_SOURCEIP", &ike.remote_vips, true);
    all.mark("MARK_IN", child.mark_in);
    all.mark("MARK_OUT", child.mark_out);
    all.if_id("IF_ID_IN", child.if_id_in);
    all.if_id("IF_ID_OUT", child.if_id_out);
    if ike.nat.local || ike.nat.remote || ike.nat.fake {
        all.set("UDP_ENC", ike.remote.port());
    }
    if child.cpis.is_some() {
        all.set("IPCOMP", 1);
    }
    all.addresses("DNS", &ike.dns_servers, false);
    if child.config.hostaccess {
        all.set("HOST_ACCESS", 1);
    }
    all.0
}

struct Variables(Vec<(String, String)>);

impl Variables {
    fn set(&mut self, name: &str, value: impl ToString) {
        // A value with a NUL byte cannot be handed over; an identity of a peer may have one.
        let value = value.to_string().replace('\0', "");
        self.0.push((format!("PLUTO_{name}"), value));
    }

    fn addresses(&mut self, name: &str, addresses: &[IpAddr], first: bool) {
        if let Some(address) = addresses.first().filter(|_| first) {
            self.set(name, address);
        }
        for family in [4, 6] {
            for (number, address) in (1u32..).zip(addresses.iter().filter(|address| address.is_ipv4() == (family == 4)))
            {
                self.set(&format!("{name}{family}_{number}"), address);
            }
        }
    }

    fn mark(&mut self, name: &str, mark: Mark) {
        if mark.value != 0 {
            self.set(name, format_args!("{}/0x{:08x}", mark.value, mark.mask));
        }
    }

    fn if_id(&mut self, name: &str, if_id: IfId) {
        if !if_id.is_none() {
            self.set(name, if_id.0);
        }
    }
}

fn verb(up: bool, me: IpAddr, local: &TrafficSelector) -> String {
    let (what, v6) = if local.is_host(Some(me)) { ("host", me.is_ipv6()) } else { ("client", local.start().is_ipv6()) };
    format!("{}-{what}{}", if up { "up" } else { "down" }, if v6 { "-v6" } else { "" })
}

fn identity(identity: Option<&Identity>) -> String {
    identity.map(ToString::to_string).unwrap_or_default()
}

fn client(ts: &TrafficSelector) -> String {
    let (network, prefix) = ts.to_subnet();
    format!("{network}/{prefix}")
}

/// A port or a range of them. For ICMP, its type stands on our side and its code on the other.
fn port(ts: &TrafficSelector, ours: bool) -> String {
    let (from, to) = (ts.start_port(), ts.end_port());
    if ts.ports() == PortRange::ANY {
        return "0".to_owned();
    }
    if matches!(ts.protocol(), ICMP | ICMPV6) {
        let [kind, code] = from.to_be_bytes();
        return if ours { kind } else { code }.to_string();
    }
    if from == to { from.to_string() } else { format!("{from}:{to}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ts(text: &str) -> TrafficSelector {
        TrafficSelector::parse(text).unwrap()
    }

    #[test]
    fn the_verb_tells_hosts_from_networks_and_families() {
        let (v4, v6) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        assert_eq!(verb(true, v4, &ts("192.0.2.1/32")), "up-host");
        assert_eq!(verb(false, v4, &ts("192.0.2.9/32")), "down-client");
        assert_eq!(verb(false, v6, &ts("2001:db8::1/128[tcp]")), "down-host-v6");
        assert_eq!(verb(true, v4, &ts("fd01::/64")), "up-client-v6");
    }

    #[test]
    fn ports_are_one_a_range_or_any() {
        for (selector, ours, theirs) in [
            ("10.0.0.0/8", "0", "0"),
            ("10.0.0.0/8[tcp/80]", "80", "80"),
            ("10.0.0.0/8[udp/1000-2000]", "1000:2000", "1000:2000"),
            ("10.0.0.0/8[icmp/2053]", "8", "5"),
        ] {
            assert_eq!((port(&ts(selector), true).as_str(), port(&ts(selector), false).as_str()), (ours, theirs));
        }
        assert_eq!(client(&ts("10.0.0.1-10.0.0.6")), "10.0.0.0/29");
    }
}
