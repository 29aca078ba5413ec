//! The kernel over netlink: routes, rules and addresses (rtnetlink(7)).

mod route;
mod socket;
#[cfg(test)]
mod tests;

pub use route::{LocalAddress, Network, Nexthop, Packets, Prefix, Route, RouteKind, Rule};
pub use socket::NetlinkError;
