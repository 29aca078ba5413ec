//! Socket options that no crate has: those of netlink sockets, and what makes the kernel treat IKE's UDP sockets apart
//! from other traffic (udp(7), RFC 3948; `XFRM_POLICY` is known from linux/in.h and linux/in6.h only).

use std::net::UdpSocket;

use netlink_packet_core::Emitable;
use netlink_packet_xfrm::constants::{
    AF_INET, AF_INET6, UDP_ENCAP_ESPINUDP, XFRM_POLICY_ALLOW, XFRM_POLICY_IN, XFRM_POLICY_OUT,
};
use netlink_packet_xfrm::{UserPolicyInfo, XFRM_USER_POLICY_INFO_LEN};
use nix::errno::Errno;
use nix::setsockopt_impl;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SetStruct;

/// Errors carry an explanation.
#[derive(Debug, Clone)]
pub(super) struct ExtAck;
setsockopt_impl!(ExtAck, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, i32, SetStruct<'_, i32>);

/// Errors do not repeat the request.
#[derive(Debug, Clone)]
pub(super) struct CapAck;
setsockopt_impl!(CapAck, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, i32, SetStruct<'_, i32>);

/// ESP in UDP that arrives goes to the kernel's SAs.
#[derive(Debug, Clone)]
struct UdpEncap;
setsockopt_impl!(UdpEncap, libc::SOL_UDP, libc::UDP_ENCAP, i32, SetStruct<'_, i32>);

type PolicyBytes = [u8; XFRM_USER_POLICY_INFO_LEN];

/// The socket's own policy.
#[derive(Debug, Clone)]
struct Ipv4Policy;
setsockopt_impl!(Ipv4Policy, libc::IPPROTO_IP, libc::IP_XFRM_POLICY, PolicyBytes, SetStruct<'_, PolicyBytes>);

/// The socket's own policy.
#[derive(Debug, Clone)]
struct Ipv6Policy;
setsockopt_impl!(Ipv6Policy, libc::IPPROTO_IPV6, libc::IPV6_XFRM_POLICY, PolicyBytes, SetStruct<'_, PolicyBytes>);

/// Exempts a socket from all policies, whatever they cover: IKE must get through.
pub(super) fn bypass(socket: &UdpSocket) -> Result<(), Errno> {
    let ipv6 = socket.local_addr().is_ok_and(|address| address.is_ipv6());
    for direction in [XFRM_POLICY_IN, XFRM_POLICY_OUT] {
        let mut policy = UserPolicyInfo { direction, action: XFRM_POLICY_ALLOW, ..UserPolicyInfo::default() };
        policy.selector.family = if ipv6 { AF_INET6 } else { AF_INET };
        let mut bytes = [0; XFRM_USER_POLICY_INFO_LEN];
        policy.emit(&mut bytes);
        if ipv6 {
            setsockopt(socket, Ipv6Policy, &bytes)?;
        } else {
            setsockopt(socket, Ipv4Policy, &bytes)?;
        }
    }
    Ok(())
}

/// Lets the kernel decrypt ESP that arrives on a socket.
pub(super) fn enable_udp_encap(socket: &UdpSocket) -> Result<(), Errno> {
    setsockopt(socket, UdpEncap, &i32::from(UDP_ENCAP_ESPINUDP))
}
