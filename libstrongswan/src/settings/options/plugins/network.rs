//! Control socket, kernel, sockets and addresses.

use crate::settings::options::daemon::MISSING;
use crate::settings::options::values::Kind;
use crate::settings::options::{Group, OptionSpec, bool, int, other, section, text, time};

pub(super) const VICI: Group =
    Group { prefix: "charon.plugins.vici", file: "strongswan.d/charon/vici.conf", options: VICI_OPTIONS };

const VICI_OPTIONS: &[OptionSpec] = &[
    bool("load", "yes", "Offer the control socket.").inert("the daemon cannot do without"),
    text(
        "socket",
        "unix:///var/run/charon.vici",
        "Address of the control socket: unix://<path> or tcp://<address>:<port>. TCP has neither encryption nor authentication.",
    ),
];

pub(super) const KERNEL_NETLINK: Group = Group {
    prefix: "charon.plugins.kernel-netlink",
    file: "strongswan.d/charon/kernel-netlink.conf",
    options: KERNEL_NETLINK_OPTIONS,
};

const KERNEL_NETLINK_OPTIONS: &[OptionSpec] = &[
    bool("load", "yes", "Let the Linux kernel carry the traffic, if it has ESP.").shipped(),
    int("buflen", "8192", "Bytes read at once.").inert(MISSING),
    text("fwmark", "", "Mark that the rule for the routing table asks for: [!]mark[/mask]."),
    time(
        "hold_orphans",
        "30s",
        "Time for which policies of a daemon that crashed are kept, as such that drop, unless they are wanted again.",
    ),
    text("hw_offload_feature_interface", "lo", "Interface that tells whether offload is available.").inert(MISSING),
    bool("ignore_retransmit_errors", "no", "Ignore errors that retransmissions cause.").inert(MISSING),
    bool("install_routes_xfrmi", "no", "Install routes for CHILD_SAs with an interface id."),
    int("mss", "0", "Segment size on routes.").inert(MISSING),
    int("mtu", "0", "MTU on routes.").inert(MISSING),
    bool("parallel_route", "no", "Query routes in parallel.").inert(MISSING),
    bool("parallel_xfrm", "no", "Query SAs in parallel.").inert(MISSING),
    bool("policy_update", "no", "Always update policies instead of adding them."),
    bool("port_bypass", "no", "Exempt IKE by port and not by socket.").inert(MISSING),
    bool("process_rules", "no", "Act on changes of routing rules."),
    int("receive_buffer_size", "8388608", "Receive buffer of the event sockets."),
    int("retries", "0", "Retransmissions of a request.").inert(MISSING),
    int("timeout", "0", "Milliseconds before a retransmission.").inert(MISSING),
    bool("roam_events", "yes", "Act on changes of addresses and routes."),
    bool("set_proto_port_transport_sa", "no", "Put protocol and ports into SAs in transport mode."),
    int("spdh_thresh.ipv4.lbits", "32", "Threshold for hashing policies.").inert(MISSING),
    int("spdh_thresh.ipv4.rbits", "32", "Threshold for hashing policies.").inert(MISSING),
    int("spdh_thresh.ipv6.lbits", "128", "Threshold for hashing policies.").inert(MISSING),
    int("spdh_thresh.ipv6.rbits", "128", "Threshold for hashing policies.").inert(MISSING),
    int(
        "xfrm_acq_expires",
        "",
        "Seconds that a trap waits for its SA; as long as requests are retransmitted, 165 by default.",
    ),
];

pub(super) const KERNEL_LIBIPSEC: Group = Group {
    prefix: "charon.plugins.kernel-libipsec",
    file: "strongswan.d/charon/kernel-libipsec.conf",
    options: KERNEL_LIBIPSEC_OPTIONS,
};

const KERNEL_LIBIPSEC_OPTIONS: &[OptionSpec] = &[
    bool(
        "load",
        "yes",
        "Carry the traffic in the daemon, over a TUN device, where the kernel cannot. If this is set, yes prefers it to the kernel's IPsec and no excludes it.",
    ),
    bool(
        "allow_peer_ts",
        "no",
        "Accept selectors that contain the address of the peer itself; needs a route that keeps IKE and ESP out of the tunnel.",
    ),
    text("fwmark", "", "Mark on ESP packets, socket-default.fwmark if not set: mark[/mask]."),
    bool("raw_esp", "no", "Send ESP without UDP around it where no NAT requires it."),
];

pub(super) const SOCKET_DEFAULT: Group = Group {
    prefix: "charon.plugins.socket-default",
    file: "strongswan.d/charon/socket-default.conf",
    options: SOCKET_DEFAULT_OPTIONS,
};

const SOCKET_DEFAULT_OPTIONS: &[OptionSpec] = &[
    bool("load", "yes", "The sockets for IKE.").inert("the daemon cannot do without"),
    text("fwmark", "", "Mark on IKE packets: mark[/mask]."),
    bool("set_source", "yes", "Send from the address that belongs to the IKE_SA."),
    bool("set_sourceif", "no", "Send from the interface that belongs to the IKE_SA, too."),
    bool("use_ipv4", "yes", "Listen on IPv4."),
    bool("use_ipv6", "yes", "Listen on IPv6."),
];

pub(super) const ATTR: Group =
    Group { prefix: "charon.plugins.attr", file: "strongswan.d/charon/attr.conf", options: ATTR_OPTIONS };

const fn attribute(name: &'static str, description: &'static str) -> OptionSpec {
    other(name, Kind::List, "", description)
}

const ATTR_OPTIONS: &[OptionSpec] = &[
    bool("load", "yes", "Hand out the attributes of this section to every client that gets a virtual IP address.")
        .shipped(),
    attribute("address", "Addresses."),
    attribute("dhcp", "DHCP servers."),
    attribute("dns", "DNS servers."),
    attribute("nbns", "NBNS servers."),
    attribute("netmask", "Netmasks."),
    attribute("p-cscf", "P-CSCF servers."),
    attribute("server", "Servers for Windows clients."),
    attribute("split-exclude", "IKEv1: networks that are not for the tunnel."),
    attribute("split-include", "IKEv1: networks that are for the tunnel."),
    attribute("subnet", "Networks behind the gateway."),
    attribute("**", "Attributes by number: addresses, networks or text."),
];

pub(super) const RESOLVE: Group =
    Group { prefix: "charon.plugins.resolve", file: "strongswan.d/charon/resolve.conf", options: RESOLVE_OPTIONS };

const RESOLVE_OPTIONS: &[OptionSpec] = &[
    bool("load", "yes", "Use the DNS servers that a gateway assigns.").shipped(),
    text("file", "/etc/resolv.conf", "File that gets a line for each of them, unless resolvconf is used."),
    text("resolvconf.iface", "lo.ipsec", "Name of the interface that resolvconf is told."),
    text("resolvconf.iface_prefix", "", "Older name of resolvconf.iface."),
    text("resolvconf.path", "", "The resolvconf command; /sbin/resolvconf if that exists and no file is set."),
];

pub(super) const UPDOWN: Group = Group { prefix: "charon.plugins.updown", file: "", options: UPDOWN_OPTIONS };

const UPDOWN_OPTIONS: &[OptionSpec] = &[
    bool("load", "yes", "Run a CHILD_SA's updown script."),
    bool("dns_handler", "no", "Hand assigned DNS servers to the updown script, and to nobody else."),
    time("timeout", "60s", "Time after which an updown script is killed; 0 lets it run."),
];

pub(super) const OTHERS: Group = Group { prefix: "charon.plugins", file: "", options: OTHER_OPTIONS };

const fn absent(name: &'static str, description: &'static str) -> OptionSpec {
    other(name, Kind::Anything, "", description).inert(MISSING)
}

const OTHER_OPTIONS: &[OptionSpec] = &[
    absent("attr-sql.**", "Pools and attributes from a database."),
    absent("bypass-lan.**", "Exemptions for local networks."),
    absent("dhcp.**", "Virtual IP addresses from a DHCP server."),
    absent("farp.**", "ARP replies for virtual IP addresses."),
    absent("forecast.**", "Broadcasts and multicasts through tunnels."),
    absent("kernel-pfkey.**", "PF_KEY."),
    absent("kernel-pfroute.**", "PF_ROUTE."),
    bool("p-cscf.load", "yes", "Handle P-CSCF servers (SIP proxies) that a gateway assigns."),
    bool("p-cscf.enable.<connection>", "no", "Ask for P-CSCF servers on this connection."),
    absent("socket-dynamic.**", "Sockets opened on demand."),
    absent("sql.**", "Configurations from a database."),
    absent("unity.**", "Cisco Unity."),
    section("android_dns.**", "Android.").inert("other systems than Linux are left out"),
    section("android_log.**", "Android.").inert("other systems than Linux are left out"),
    section("osx-attr.**", "macOS.").inert("other systems than Linux are left out"),
    section("kernel-iph.**", "Windows.").inert("other systems than Linux are left out"),
    section("kernel-wfp.**", "Windows.").inert("other systems than Linux are left out"),
    section("socket-win.**", "Windows.").inert("other systems than Linux are left out"),
];
