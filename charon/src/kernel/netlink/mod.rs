//! The kernel over netlink: routes, rules and addresses (rtnetlink(7)), and its IPsec ([`xfrm`]).

mod lookup;
mod monitor;
mod options;
mod outside;
mod route;
mod socket;
#[cfg(test)]
mod tests;
mod virtual_ips;
mod xfrm;

pub(in crate::kernel) use lookup::look_up_once;
pub(in crate::kernel) use monitor::{Monitor, MonitorSettings};
pub use outside::InterfaceFilter;
pub(in crate::kernel) use outside::Outside;
pub use route::{LocalAddress, Network, Nexthop, Packets, Prefix, Route, RouteKind, Rule};
pub use socket::NetlinkError;
pub use virtual_ips::InstallVirtualIps;
pub(in crate::kernel) use virtual_ips::VirtualIps;
pub use xfrm::{FlushOnStart, Netlink, NetlinkSettings, RuleMark};
