//! Traffic selectors as the kernel has them: one prefix, one protocol and one masked port for each end.

use std::net::IpAddr;

use netlink_packet_xfrm::constants::{AF_INET, AF_INET6};
use netlink_packet_xfrm::{Address, Selector};
use strongswan::host::AddressRange;
use strongswan::selectors::{PortRange, TrafficSelector};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The family's number.
pub(super) fn family(address: IpAddr) -> u16 {
    if address.is_ipv6() { AF_INET6 } else { AF_INET }
}

/// An address in the kernel's sixteen bytes.
pub(super) fn address(address: &Address, family: u16) -> IpAddr {
    if family == AF_INET6 { address.to_ipv6().into() } else { address.to_ipv4().into() }
}

/// The smallest selector of the kernel that covers packets between two traffic selectors. `interface` is an index, 0 for
/// any.
pub(super) fn selector(src: &TrafficSelector, dst: &TrafficSelector, interface: u32) -> Selector {
    let ((src_net, src_len), (dst_net, dst_len)) = (src.to_subnet(), dst.to_subnet());
    let proto = src.protocol().max(dst.protocol());
    let (sport, dport) = if proto == ICMP || proto == ICMPV6 { icmp(src, dst) } else { (port(src), port(dst)) };
    Selector {
        daddr: Address::from_ip(&dst_net),
        saddr: Address::from_ip(&src_net),
        dport: dport.0,
        dport_mask: dport.1,
        sport: sport.0,
        sport_mask: sport.1,
        family: family(src_net),
        prefixlen_d: dst_len,
        prefixlen_s: src_len,
        proto,
        ifindex: i32::try_from(interface).unwrap_or_default(),
        user: 0,
    }
}

/// Value and mask of the smallest power of two of ports that covers the range.
fn port(ts: &TrafficSelector) -> (u16, u16) {
    let (start, end) = (ts.start_port(), ts.end_port());
    if ts.ports() == PortRange::OPAQUE {
        // The kernel reads ports that it cannot see as 0.
        return (0, u16::MAX);
    }
    let differing = u32::from(start ^ end);
    let mask = u16::MAX.checked_shl(u32::BITS - differing.leading_zeros()).unwrap_or(0);
    (start & mask, mask)
}

/// For ICMP the kernel has the type in the place of the source port and the code in that of the destination port.
fn icmp(src: &TrafficSelector, dst: &TrafficSelector) -> ((u16, u16), (u16, u16)) {
    let ports = [src, dst].map(TrafficSelector::ports).into_iter().find(|ports| *ports != PortRange::ANY);
    let Some(ports) = ports else { return ((0, 0), (0, 0)) };
    let [kind, code] = ports.start().to_be_bytes();
    let exact = |value: u8| (u16::from(value), if value == 0 { 0 } else { u16::MAX });
    (exact(kind), exact(code))
}

/// The traffic selectors of source and destination that a selector of the kernel stands for.
pub(super) fn traffic_selectors(sel: &Selector) -> Option<(TrafficSelector, TrafficSelector)> {
    let end = |net: &Address, prefix_len, port: u16, mask: u16| {
        let range = AddressRange::subnet(address(net, sel.family), prefix_len);
        let (start_port, end_port) = if mask == 0 { (0, u16::MAX) } else { (port, port | !mask) };
        TrafficSelector::new(sel.proto, range.start(), range.end(), start_port, end_port).ok()
    };
    if sel.proto == ICMP || sel.proto == ICMPV6 {
        let code = if sel.dport_mask == 0 { (0, 255) } else { (sel.dport & 255, sel.dport & 255) };
        let (first, last) = if sel.sport_mask == 0 {
            (0, u16::MAX)
        } else {
            let kind = (sel.sport & 255) << 8;
            (kind | code.0, kind | code.1)
        };
        let end = |net: &Address, prefix_len| {
            let range = AddressRange::subnet(address(net, sel.family), prefix_len);
            TrafficSelector::new(sel.proto, range.start(), range.end(), first, last).ok()
        };
        return Some((end(&sel.saddr, sel.prefixlen_s)?, end(&sel.daddr, sel.prefixlen_d)?));
    }
    Some((
        end(&sel.saddr, sel.prefixlen_s, sel.sport, sel.sport_mask)?,
        end(&sel.daddr, sel.prefixlen_d, sel.dport, sel.dport_mask)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ts(text: &str) -> TrafficSelector {
        TrafficSelector::parse(text).unwrap()
    }

    fn ports(src: &str, dst: &str) -> [u16; 4] {
        let sel = selector(&ts(src), &ts(dst), 0);
        [sel.sport, sel.sport_mask, sel.dport, sel.dport_mask]
    }

    #[test]
    fn prefixes_and_protocol() {
        let sel = selector(&ts("10.1.0.0/16[tcp]"), &ts("10.2.0.1-10.2.0.6"), 3);
        assert_eq!((sel.saddr.to_ipv4().octets(), sel.prefixlen_s), ([10, 1, 0, 0], 16));
        assert_eq!((sel.daddr.to_ipv4().octets(), sel.prefixlen_d), ([10, 2, 0, 0], 29));
        assert_eq!((sel.family, sel.proto, sel.ifindex), (AF_INET, 6, 3));
        let sel = selector(&ts("fd01::/64"), &ts("fd02::1"), 0);
        assert_eq!((sel.family, sel.prefixlen_s, sel.prefixlen_d), (AF_INET6, 64, 128));
    }

    #[test]
    fn ports_become_value_and_mask() {
        assert_eq!(ports("10.0.0.1", "10.0.0.2"), [0, 0, 0, 0]);
        assert_eq!(ports("10.0.0.1[tcp/80]", "10.0.0.2[tcp]"), [80, 0xffff, 0, 0]);
        assert_eq!(ports("10.0.0.1[udp/1024-2047]", "10.0.0.2[udp/5000-5003]"), [1024, 0xfc00, 5000, 0xfffc]);
        assert_eq!(ports("10.0.0.1[tcp/opaque]", "10.0.0.2"), [0, 0xffff, 0, 0]);
    }

    #[test]
    fn icmp_has_type_and_code() {
        assert_eq!(ports("10.0.0.1[icmp]", "10.0.0.2[icmp]"), [0, 0, 0, 0]);
        assert_eq!(ports("10.0.0.1[icmp/8]", "10.0.0.2[icmp]"), [8, 0xffff, 0, 0]);
        assert_eq!(ports("10.0.0.1[icmp/3(1)]", "10.0.0.2[icmp]"), [3, 0xffff, 1, 0xffff]);
    }

    #[test]
    fn what_the_kernel_reports_is_read_back() {
        for (src, dst) in [
            ("10.1.0.5/32[tcp/80]", "10.2.0.6/32[tcp/40000]"),
            ("fd01::/64", "fd02::1/128"),
            ("10.1.0.0/16[udp/1024-2047]", "10.2.0.0/16[udp]"),
        ] {
            let (src, dst) = (ts(src), ts(dst));
            assert_eq!(traffic_selectors(&selector(&src, &dst, 0)), Some((src, dst)));
        }
        // The kernel masks type and code of a packet's selector fully.
        let (src, dst) = (ts("10.1.0.5[icmp/8(0)]"), ts("10.2.0.6[icmp/8(0)]"));
        let packet = Selector { sport_mask: u16::MAX, dport_mask: u16::MAX, ..selector(&src, &dst, 0) };
        assert_eq!(traffic_selectors(&packet), Some((src, dst)));
    }
}
