//! Traffic selectors on the packet path (RFC 4301 §4.4.1.1).

use smallvec::SmallVec;
use strongswan::selectors::{PortRange, TrafficSelector};

use crate::ip::Flow;

/// What an SA may carry: any of the local selectors at our end together with any of the remote ones at the peer's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selectors {
    /// Our end.
    pub local: SmallVec<[TrafficSelector; 1]>,
    /// The peer's end.
    pub remote: SmallVec<[TrafficSelector; 1]>,
}

impl Selectors {
    /// Whether a packet from the peer with these fields belongs here.
    pub fn accept_inbound(&self, flow: &Flow) -> bool {
        self.remote.iter().any(|selector| matches_source(selector, flow))
            && self.local.iter().any(|selector| matches_destination(selector, flow))
    }
}

pub(crate) fn matches_source(selector: &TrafficSelector, flow: &Flow) -> bool {
    selector.matches(flow.source, flow.protocol, port(flow.ports.map(|ports| ports.0)))
}

pub(crate) fn matches_destination(selector: &TrafficSelector, flow: &Flow) -> bool {
    selector.matches(flow.destination, flow.protocol, port(flow.ports.map(|ports| ports.1)))
}

/// A packet that shows no port might have any: it matches all ports or OPAQUE, never a range.
fn port(shown: Option<u16>) -> PortRange {
    shown.map_or(PortRange::OPAQUE, PortRange::single)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(text: &str) -> TrafficSelector {
        TrafficSelector::parse(text).unwrap()
    }

    fn flow(protocol: u8, ports: Option<(u16, u16)>) -> Flow {
        Flow { source: [10, 1, 0, 1].into(), destination: [10, 2, 0, 1].into(), protocol, ports }
    }

    #[test]
    fn each_side_is_checked_in_its_direction() {
        let selectors = Selectors {
            local: [selector("10.1.0.0/24")].into_iter().collect(),
            remote: [selector("10.2.0.0/24")].into_iter().collect(),
        };
        let out = flow(6, Some((1, 2)));
        let back = Flow { source: out.destination, destination: out.source, ..out };
        assert!(selectors.accept_inbound(&back) && !selectors.accept_inbound(&out));
        assert!(!Selectors::default().accept_inbound(&back), "nothing negotiated, nothing accepted");
    }

    #[test]
    fn protocol_and_ports_restrict() {
        let web = selector("10.2.0.0/24[tcp/80-81]");
        assert!(matches_destination(&web, &flow(6, Some((999, 80)))));
        assert!(!matches_destination(&web, &flow(6, Some((80, 999)))));
        assert!(!matches_destination(&web, &flow(17, Some((999, 80)))));
        assert!(!matches_destination(&web, &flow(6, None)), "a fragment may belong to any port");
    }

    #[test]
    fn opaque_takes_only_packets_without_ports() {
        let opaque = selector("10.2.0.0/24[tcp/opaque]");
        assert!(matches_destination(&opaque, &flow(6, None)));
        assert!(!matches_destination(&opaque, &flow(6, Some((1, 2)))));
    }

    #[test]
    fn families_do_not_mix() {
        let (all4, all6) = (selector("0.0.0.0/0"), selector("::/0"));
        let four = flow(6, None);
        assert!(matches_source(&all4, &four) && !matches_source(&all6, &four));
    }
}
