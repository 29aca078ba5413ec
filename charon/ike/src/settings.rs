//! The daemon-wide settings (`charon.*` of strongswan.conf) that IKE depends on, with their defaults.

use std::time::Duration;

use crate::eap::EapSettings;
use crate::wire::Gateway;

/// `charon.*`, as far as it concerns an IKE_SA. Read once at start and on reload; an IKE_SA sees it through
/// [`Env`](crate::Env).
#[derive(Debug, Clone, PartialEq)]
pub struct IkeSettings {
    /// `port`: the UDP port of the regular IKE socket.
    pub port: u16,
    /// `port_nat_t`: the UDP port of the socket for NAT traversal.
    pub port_nat_t: u16,
    /// When requests are sent again and for how long.
    pub retransmit: RetransmitSettings,
    /// `half_open_timeout`: a responder gives an unauthenticated IKE_SA this long.
    pub half_open_timeout: Duration,
    /// `keep_alive`: interval of NAT keepalives, zero for off.
    pub keep_alive: Duration,
    /// `keep_alive_dpd_margin`: a keepalive this much late becomes a liveness check, zero for off.
    pub keep_alive_dpd_margin: Duration,
    /// `fragment_size`, `fragment_size_v4`, `fragment_size_v6`.
    pub fragment_size: FragmentSize,
    /// `max_packet`: largest message reassembled from fragments.
    pub max_packet: usize,
    /// `prefer_configured_proposals`: our order counts rather than the peer's.
    pub prefer_configured_proposals: bool,
    /// `prefer_previous_dh_group`: rekeying proposes the key exchange method in use first.
    pub prefer_previous_dh_group: bool,
    /// `accept_private_algs`: negotiate private-use algorithms with anybody.
    pub accept_private_algs: bool,
    /// `send_vendor_id`: send strongSwan's vendor id.
    pub send_vendor_id: bool,
    /// `cisco_flexvpn`: send Cisco's FlexVPN vendor id.
    pub cisco_flexvpn: bool,
    /// `childsa_limit`: CHILD_SAs that a peer may create in one IKE_SA, zero for any number.
    pub childsa_limit: usize,
    /// `childsa_policy_limit`: pairs of traffic selectors that a peer may have in one CHILD_SA, unless as many are
    /// configured; zero for any number.
    pub childsa_policy_limit: usize,
    /// `signature_authentication`: RFC 7427.
    pub signature_authentication: bool,
    /// `rsa_pss`: prefer RSA-PSS signatures.
    pub rsa_pss: bool,
    /// `multiple_authentication`: RFC 4739.
    pub multiple_authentication: bool,
    /// `delete_rekeyed_delay`: an inbound SA lives on this long after its CHILD_SA was rekeyed.
    pub delete_rekeyed_delay: Duration,
    /// `close_ike_on_child_failure`: an IKE_SA whose first CHILD_SA fails is closed.
    pub close_ike_on_child_failure: bool,
    /// `inactivity_close_ike`: close the IKE_SA if its only CHILD_SA is inactive.
    pub inactivity_close_ike: bool,
    /// `replay_window`: default anti-replay window of CHILD_SAs, in packets.
    pub replay_window: u32,
    /// `follow_redirects`: go where a gateway sends us (RFC 5685).
    pub follow_redirects: bool,
    /// `make_before_break`: reauthenticate by creating the new IKE_SA first.
    pub make_before_break: bool,
    /// `ignore_acquire_ts`: do not propose the selectors of a triggering packet.
    pub ignore_acquire_ts: bool,
    /// `retry_initiate_interval`: retry resolving the peer's name after this long, zero for never.
    pub retry_initiate_interval: Duration,
    /// Somebody counts what CHILD_SAs carry: they tell when they are gone.
    pub accounting: bool,
    /// `check_current_path`: after a change of addresses or routes make sure that the path in use still works.
    pub check_current_path: bool,
    /// `prefer_best_path`: after a change of addresses or routes move to the best path even if the one in use works.
    pub prefer_best_path: bool,
    /// Settings of EAP methods.
    pub eap: EapSettings,
    /// `redirect`: clients are sent to another gateway.
    pub redirect: Option<RedirectSettings>,
}

impl Default for IkeSettings {
    fn default() -> Self {
        Self {
            port: 500,
            port_nat_t: 4500,
            retransmit: RetransmitSettings::default(),
            half_open_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(20),
            keep_alive_dpd_margin: Duration::ZERO,
            fragment_size: FragmentSize::default(),
            max_packet: 10_000,
            prefer_configured_proposals: true,
            prefer_previous_dh_group: true,
            accept_private_algs: false,
            send_vendor_id: false,
            cisco_flexvpn: false,
            childsa_limit: 1000,
            childsa_policy_limit: 1000,
            signature_authentication: true,
            rsa_pss: false,
            multiple_authentication: true,
            delete_rekeyed_delay: Duration::from_secs(5),
            close_ike_on_child_failure: false,
            inactivity_close_ike: false,
            replay_window: 32,
            follow_redirects: true,
            make_before_break: true,
            ignore_acquire_ts: false,
            retry_initiate_interval: Duration::ZERO,
            accounting: false,
            check_current_path: false,
            prefer_best_path: false,
            eap: EapSettings::default(),
            redirect: None,
        }
    }
}

/// `redirect`: where clients are sent to that support it (RFC 5685), and which.
#[derive(Debug, Clone, PartialEq)]
pub struct RedirectSettings {
    /// The other gateway.
    pub gateway: Gateway,
    /// With which exchange they are told.
    pub when: RedirectWhen,
    /// Names of the connections whose clients are sent away, or all if there are none.
    pub connections: Vec<String>,
}

impl RedirectSettings {
    /// Whether a connection is among those named.
    pub fn lists(&self, connection: &str) -> bool {
        self.connections.iter().any(|name| name == connection)
    }
}

/// With which exchange clients are sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectWhen {
    /// IKE_SA_INIT: no state is kept, and nobody knows who they are.
    Init,
    /// IKE_AUTH: they are known to be clients.
    Auth,
}

/// `retransmit_*`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetransmitSettings {
    /// `retransmit_timeout`: wait after the first transmission.
    pub timeout: Duration,
    /// `retransmit_base`: factor from one wait to the next.
    pub base: f64,
    /// `retransmit_tries`: copies sent after the first.
    pub tries: u32,
    /// `retransmit_jitter`: random reduction of a wait in percent, at most 20.
    pub jitter: u8,
    /// `retransmit_limit`: longest wait, zero for no limit.
    pub limit: Duration,
}

impl Default for RetransmitSettings {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(4), base: 1.8, tries: 5, jitter: 0, limit: Duration::ZERO }
    }
}

/// Size of the IP datagrams large messages are split into; 0 is the minimum every node of the family must accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentSize {
    /// `fragment_size`
    pub default: u16,
    /// `fragment_size_v4`
    pub v4: Option<u16>,
    /// `fragment_size_v6`
    pub v6: Option<u16>,
}

impl FragmentSize {
    /// The size towards a peer.
    pub fn towards(&self, remote: std::net::IpAddr) -> usize {
        let (specific, minimum) = if remote.is_ipv6() { (self.v6, 1280) } else { (self.v4, 576) };
        match specific.unwrap_or(self.default) {
            0 => minimum,
            size => usize::from(size),
        }
    }
}

impl Default for FragmentSize {
    fn default() -> Self {
        Self { default: 1280, v4: None, v6: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn fragment_sizes_by_family() {
        let size = FragmentSize { default: 0, v4: None, v6: Some(1400) };
        assert_eq!(size.towards(Ipv4Addr::LOCALHOST.into()), 576);
        assert_eq!(size.towards(Ipv6Addr::LOCALHOST.into()), 1400);
        assert_eq!(FragmentSize::default().towards(Ipv4Addr::LOCALHOST.into()), 1280);
    }
}
