//! `swanctl.conf`: connections, secrets, pools, authorities.

use super::values::Kind;
use super::{Group, OptionSpec, other, section, text};
use crate::crypto::Protocol;

pub(super) const GROUPS: &[Group] = &[
    Group { prefix: "connections.<conn>", file: "swanctl/swanctl.conf", options: CONNECTION },
    Group { prefix: "connections.<conn>.local*", file: "swanctl/swanctl.conf", options: LOCAL },
    Group { prefix: "connections.<conn>.remote*", file: "swanctl/swanctl.conf", options: REMOTE },
    Group { prefix: "connections.<conn>.children.<child>", file: "swanctl/swanctl.conf", options: CHILD },
    Group { prefix: "secrets", file: "swanctl/swanctl.conf", options: SECRETS },
    Group { prefix: "pools.<name>", file: "swanctl/swanctl.conf", options: POOL },
    Group { prefix: "authorities.<name>", file: "swanctl/swanctl.conf", options: AUTHORITY },
];

const U32: Kind = Kind::ViciUint { max: 0xffff_ffff };
const U64: Kind = Kind::ViciUint { max: u64::MAX };
const PORT: Kind = Kind::ViciUint { max: 65535 };
const ID: Kind = Kind::ViciIdentity { regex: true };
const PLAIN_ID: Kind = Kind::ViciIdentity { regex: false };
const MARK: Kind = Kind::ViciMark(&["%unique", "%unique-dir"]);
const SET_MARK: Kind = Kind::ViciMark(&["%same"]);
const NO_MEDIATION: &str = "mediation is left out, the daemon refuses it";

const fn flag(name: &'static str, default: &'static str, description: &'static str) -> OptionSpec {
    other(name, Kind::ViciBool, default, description)
}

const fn uint(name: &'static str, default: &'static str, description: &'static str) -> OptionSpec {
    other(name, U32, default, description)
}

const fn time(name: &'static str, default: &'static str, description: &'static str) -> OptionSpec {
    other(name, Kind::ViciTime, default, description)
}

const fn list(name: &'static str, default: &'static str, description: &'static str) -> OptionSpec {
    other(name, Kind::List, default, description)
}

const CONNECTION: &[OptionSpec] = &[
    other("version", Kind::ViciUint { max: 2 }, "0", "IKE version: 1, 2, or 0 to accept both and begin with 2."),
    list(
        "local_addrs",
        "%any",
        "Own addresses: the first single one to initiate from, any of them to answer on. Addresses, names, subnets, ranges, %any.",
    ),
    list(
        "remote_addrs",
        "%any",
        "Addresses of the peer, in the same notation. To initiate, one has to be a single address or a name.",
    ),
    other("local_port", PORT, "500", "Own UDP port; the daemon's port if not set."),
    other("remote_port", PORT, "500", "The peer's UDP port."),
    other("proposals", Kind::ViciProposals(Protocol::Ike), "default", "Algorithms for the IKE_SA, best first."),
    other("vips", Kind::ViciAddresses, "", "Virtual IP addresses to ask for; 0.0.0.0 or :: for any of a family."),
    flag("aggressive", "no", "IKEv1: use Aggressive Mode."),
    flag("pull", "yes", "IKEv1: the client asks for its configuration; with no the gateway pushes it."),
    other("dscp", Kind::ViciBits, "000000", "Differentiated services field of IKE packets, in binary."),
    flag("encap", "no", "Put ESP into UDP even without a NAT, by pretending there is one."),
    flag("mobike", "yes", "Let addresses change while the IKE_SA is up (RFC 4555)."),
    time("dpd_delay", "0s", "Time without a sign of the peer after which it is probed; 0 for never."),
    time(
        "dpd_timeout",
        "0s",
        "IKEv1: time without an answer after which the peer counts as gone. IKEv2 goes by retransmissions.",
    ),
    other(
        "fragmentation",
        Kind::ViciChoice(&["yes", "accept", "no", "force"]),
        "yes",
        "Fragment large IKE messages: offer and do it, only offer to receive fragments, neither, or IKEv1 without asking.",
    ),
    other(
        "childless",
        Kind::ViciChoice(&["allow", "prefer", "force", "never"]),
        "allow",
        "IKE_SAs without a first CHILD_SA (RFC 6023): as responder allow, as initiator prefer, demand in both roles, or never.",
    ),
    flag("send_certreq", "yes", "Say which CAs are trusted."),
    other("send_cert", Kind::ViciChoice(&["always", "never", "ifasked"]), "ifasked", "When to send certificates."),
    other(
        "ocsp",
        Kind::ViciChoice(&["reply", "request", "both", "never"]),
        "reply",
        "Exchange OCSP responses within IKE: only answer, only ask, both, or neither.",
    ),
    other("ppk_id", PLAIN_ID, "", "Identity of the post-quantum pre-shared key (RFC 8784) to use."),
    flag("ppk_required", "no", "Fail without a post-quantum pre-shared key."),
    uint("keyingtries", "1", "How often to try all retransmissions for the first message; 0 for ever."),
    other(
        "unique",
        Kind::ViciChoice(&["never", "no", "replace", "keep"]),
        "no",
        "A second IKE_SA with the same peer: never look, replace the first if the peer says it has none, replace it always, or keep it and refuse the second.",
    ),
    time("reauth_time", "0s", "Time until the peers authenticate again; 0 for never."),
    time("rekey_time", "4h", "Time until the IKE_SA gets new keys; 0 for never."),
    time("over_time", "", "Time after those until the IKE_SA is deleted for good; a tenth of the longer if not set."),
    time("rand_time", "", "Time within which the two are brought forward at random; over_time if not set."),
    list("pools", "", "Pools for virtual IP addresses and attributes of clients."),
    other(
        "if_id_in",
        Kind::ViciIfId,
        "0",
        "XFRM interface id of inbound CHILD_SAs that have none of their own; %unique for one per IKE_SA.",
    ),
    other("if_id_out", Kind::ViciIfId, "0", "The same outbound."),
    flag("mediation", "no", "Mediation connection.").inert(NO_MEDIATION),
    text("mediated_by", "", "Name of a mediation connection.").inert(NO_MEDIATION),
    text("mediation_peer", "", "Identity at the mediation server.").inert(NO_MEDIATION),
    section("local*", "A round in which we authenticate; with several, their names differ after the prefix."),
    section("remote*", "A round in which the peer authenticates."),
    section("children", "CHILD_SAs."),
];

const LOCAL: &[OptionSpec] = &[
    uint("round", "0", "Place among several rounds; those with equal numbers go by their order here."),
    list("certs", "", "Certificates to authenticate with: files in x509, or 0x... or 0s... inline."),
    section("cert*", "A certificate elsewhere."),
    text("cert*.file", "", "Absolute path of the certificate, read by the daemon."),
    text("cert*.handle", "", "CKA_ID of the certificate on a token, in hexadecimal."),
    uint("cert*.slot", "", "Slot of the token."),
    text("cert*.module", "", "Module of the token."),
    list("pubkeys", "", "Raw public key to authenticate with: a file in pubkey, or inline."),
    other("auth", Kind::ViciAuth, "pubkey", "Method: pubkey, psk, eap or xauth, with a type and constraints."),
    other("id", ID, "", "Own identity; that of the certificate or the address if not set."),
    other("eap_id", ID, "", "Own identity for EAP; that for IKE if not set."),
    other("aaa_id", ID, "", "Identity that the server has within EAP; its IKE identity if not set."),
    other("xauth_id", ID, "", "User name for XAuth; the IKE identity if not set."),
    other("ca_id", ID, "", "Has a meaning in remote sections only."),
    list("groups", "", "Has a meaning in remote sections only."),
    list("cert_policy", "", "Has a meaning in remote sections only."),
    list("cacerts", "", "Has a meaning in remote sections only."),
    section("cacert*", "Has a meaning in remote sections only."),
    text("cacert*.file", "", "See cert."),
    text("cacert*.handle", "", "See cert."),
    uint("cacert*.slot", "", "See cert."),
    text("cacert*.module", "", "See cert."),
    other(
        "revocation",
        Kind::ViciChoice(&["strict", "ifuri", "relaxed"]),
        "",
        "Has a meaning in remote sections only.",
    ),
];

const REMOTE: &[OptionSpec] = &[
    uint("round", "0", "Place among several rounds; those with equal numbers go by their order here."),
    other("id", ID, "%any", "Identity the peer must have; may contain wildcards."),
    other("eap_id", ID, "", "Identity the peer must have for EAP; %any to ask for one."),
    list("groups", "", "Groups of which the peer must belong to one."),
    list("cert_policy", "", "Policies (OIDs) that the peer's certificate must all have."),
    list("certs", "", "Certificates of which the peer must have one: files in x509, or inline."),
    section("cert*", "A certificate elsewhere."),
    text("cert*.file", "", "Absolute path of the certificate, read by the daemon."),
    text("cert*.handle", "", "CKA_ID of the certificate on a token, in hexadecimal."),
    uint("cert*.slot", "", "Slot of the token."),
    text("cert*.module", "", "Module of the token."),
    list("cacerts", "", "CAs of which one must be in the peer's chain: files in x509ca, or inline."),
    section("cacert*", "A CA certificate elsewhere."),
    text("cacert*.file", "", "Absolute path of the certificate, read by the daemon."),
    text("cacert*.handle", "", "CKA_ID of the certificate on a token, in hexadecimal."),
    uint("cacert*.slot", "", "Slot of the token."),
    text("cacert*.module", "", "Module of the token."),
    other("ca_id", ID, "", "Identity that one CA in the peer's chain must have."),
    list("pubkeys", "", "Raw public keys that the peer may have: files in pubkey, or inline."),
    other(
        "revocation",
        Kind::ViciChoice(&["strict", "ifuri", "relaxed"]),
        "relaxed",
        "What must be known about revocation: that nothing is revoked; the same unless certificates name no source; or only fail on what is revoked.",
    ),
    other("auth", Kind::ViciAuth, "pubkey", "Method the peer has to use, with constraints on its keys and signatures."),
    other("aaa_id", ID, "", "Has a meaning in local sections only."),
    other("xauth_id", ID, "", "Has a meaning in local sections only."),
];

const CHILD: &[OptionSpec] = &[
    other("ah_proposals", Kind::ViciProposals(Protocol::Ah), "", "Algorithms for AH, best first."),
    other(
        "esp_proposals",
        Kind::ViciProposals(Protocol::Esp),
        "default",
        "Algorithms for ESP, best first. A key exchange is done on rekeying, not for the first CHILD_SA.",
    ),
    flag("sha256_96", "no", "Cut HMAC-SHA-256 to 96 bits, as some old kernels do."),
    other(
        "local_ts",
        Kind::ViciSelectors,
        "dynamic",
        "Own side of the traffic: dynamic for the virtual IP or IKE address, or networks, each with [protocol/port].",
    ),
    other("remote_ts", Kind::ViciSelectors, "dynamic", "The peer's side of the traffic."),
    time("rekey_time", "1h", "Time until the CHILD_SA gets new keys; 0 for never."),
    time("life_time", "", "Time until it is deleted; rekey_time and a tenth if not set."),
    time(
        "rand_time",
        "",
        "Time within which rekeying is brought forward at random; life_time - rekey_time if not set.",
    ),
    other("rekey_bytes", Kind::ViciBytes, "0", "The same by volume: bytes until new keys."),
    other("life_bytes", Kind::ViciBytes, "", "Bytes until it is deleted."),
    other("rand_bytes", Kind::ViciBytes, "", "Bytes within which rekeying is brought forward."),
    other("rekey_packets", U64, "0", "The same by packets until new keys."),
    other("life_packets", U64, "", "Packets until it is deleted."),
    other("rand_packets", U64, "", "Packets within which rekeying is brought forward."),
    text("updown", "", "Command to run when the CHILD_SA comes up or goes down."),
    flag("hostaccess", "no", "Told to the updown command."),
    other(
        "mode",
        Kind::ViciChoice(&["tunnel", "transport", "transport_proxy", "iptfs", "beet", "pass", "drop"]),
        "tunnel",
        "Kind of CHILD_SA; pass and drop are policies without one.",
    ),
    flag("policies", "yes", "Install policies."),
    flag("policies_fwd_out", "no", "Install outbound forward policies, too."),
    other(
        "dpd_action",
        Kind::ViciAction,
        "clear",
        "When the peer is gone: clear, trap to wait for traffic, or start anew.",
    ),
    flag("ipcomp", "no", "Offer compression."),
    time("inactivity", "0s", "Time without traffic after which the CHILD_SA is closed; 0 for never."),
    uint("reqid", "0", "Fixed reqid; 0 for one of the daemon's choice."),
    uint("priority", "0", "Fixed priority of policies; 0 for one by how specific they are."),
    text("interface", "", "Interface that policies are restricted to."),
    other("mark_in", MARK, "0/0x00000000", "Mark that inbound policies and SAs ask for; %unique for one per CHILD_SA."),
    flag("mark_in_sa", "no", "Put it on the inbound SA, too."),
    other("mark_out", MARK, "0/0x00000000", "Mark that outbound policies and SAs ask for."),
    other("set_mark_in", SET_MARK, "0/0x00000000", "Mark to put on packets after they came in; %same for mark_in."),
    other("set_mark_out", SET_MARK, "0/0x00000000", "Mark to put on packets before they go out; %same for mark_out."),
    other("if_id_in", Kind::ViciIfId, "0", "XFRM interface id inbound; that of the connection if 0."),
    other("if_id_out", Kind::ViciIfId, "0", "XFRM interface id outbound."),
    text("label", "", "Security label."),
    other("label_mode", Kind::ViciChoice(&["system", "simple", "selinux"]), "system", "How the label is used."),
    other("tfc_padding", Kind::ViciChoiceOrUint(&["mtu"]), "0", "Size to pad packets to; mtu for the path's."),
    uint(
        "replay_window",
        "32",
        "Packets that may be overtaken before they are dropped as replayed; 0 for no check. That of the daemon if not set.",
    ),
    other(
        "per_cpu_sas",
        Kind::ViciChoiceOrBool(&["encap"]),
        "no",
        "One CHILD_SA per processor (RFC 9611); encap for different UDP ports as well.",
    ),
    other(
        "hw_offload",
        Kind::ViciChoice(&["no", "yes", "crypto", "packet", "auto"]),
        "no",
        "Let the network interface do the work.",
    ),
    flag("copy_df", "yes", "Copy the Don't Fragment bit to the outer header."),
    flag("copy_ecn", "yes", "Copy congestion marks to the outer header."),
    other(
        "copy_dscp",
        Kind::ViciChoice(&["out", "in", "yes", "no"]),
        "out",
        "Copy the differentiated services field outwards, inwards, both or neither.",
    ),
    flag("icmp", "no", "Let ICMP errors about tunnelled traffic through."),
    other(
        "start_action",
        Kind::ViciAction,
        "none",
        "When the configuration is loaded: none, trap to wait for traffic, start, or trap|start.",
    ),
    other("close_action", Kind::ViciAction, "none", "The same when the peer closed the CHILD_SA."),
];

const SECRETS: &[OptionSpec] = &[
    section("ike*", "Pre-shared key for IKE."),
    text("ike*.secret", "", "The key: text, 0x... in hexadecimal or 0s... in Base64."),
    other("ike*.id*", ID, "", "Identities it is for, one per key beginning with id; any if there is none."),
    section("eap*", "Password for EAP or XAuth."),
    text("eap*.secret", "", "The password, in the same notation."),
    other("eap*.id*", ID, "", "Identities it is for."),
    section("xauth*", "The same under another name."),
    text("xauth*.secret", "", "The password."),
    other("xauth*.id*", ID, "", "Identities it is for."),
    section("ntlm*", "Hash of a password for EAP-MSCHAPv2."),
    text("ntlm*.secret", "", "The NT hash, as 0x... or 0s..."),
    other("ntlm*.id*", ID, "", "Identities it is for."),
    section("ppk*", "Post-quantum pre-shared key."),
    text("ppk*.secret", "", "The key, 32 bytes or more."),
    other("ppk*.id*", ID, "", "PPK_IDs it is for."),
    section("private*", "Passphrase of a file in private."),
    text("private*.file", "", "Name of the file."),
    text("private*.secret*", "", "The passphrase, as it is; several are tried in turn."),
    section("rsa*", "Passphrase of a file in rsa."),
    text("rsa*.file", "", "Name of the file."),
    text("rsa*.secret*", "", "The passphrase."),
    section("ecdsa*", "Passphrase of a file in ecdsa."),
    text("ecdsa*.file", "", "Name of the file."),
    text("ecdsa*.secret*", "", "The passphrase."),
    section("pkcs8*", "Passphrase of a file in pkcs8."),
    text("pkcs8*.file", "", "Name of the file."),
    text("pkcs8*.secret*", "", "The passphrase."),
    section("pkcs12*", "Passphrase of a file in pkcs12."),
    text("pkcs12*.file", "", "Name of the file."),
    text("pkcs12*.secret*", "", "The passphrase."),
    section("token*", "Key on a token."),
    text("token*.handle", "", "CKA_ID of the key, in hexadecimal."),
    uint("token*.slot", "", "Slot of the token; any if not set."),
    text("token*.module", "", "Module of the token; any if not set."),
    text("token*.pin", "", "PIN; asked for if not set."),
];

const POOL: &[OptionSpec] = &[
    text("addrs", "", "Addresses to assign: a network or from-to."),
    list("address", "", "Attribute for clients: internal address."),
    list("dns", "", "Attribute for clients: DNS servers."),
    list("nbns", "", "Attribute for clients: NBNS servers."),
    list("dhcp", "", "Attribute for clients: DHCP servers."),
    list("netmask", "", "Attribute for clients: netmask."),
    list("server", "", "Attribute for clients: servers."),
    list("subnet", "", "Attribute for clients: protected networks."),
    list("p_cscf", "", "Attribute for clients: P-CSCF servers."),
    list("split_include", "", "Attribute for clients: networks to send through the tunnel."),
    list("split_exclude", "", "Attribute for clients: networks to keep out of it."),
    list("<number>", "", "Attribute of any type, by its number."),
];

const AUTHORITY: &[OptionSpec] = &[
    text("cacert", "", "Certificate of the CA: a file in x509ca."),
    text("file", "", "Absolute path of the certificate, read by the daemon."),
    text("handle", "", "CKA_ID of the certificate on a token, in hexadecimal."),
    uint("slot", "", "Slot of the token."),
    text("module", "", "Module of the token."),
    list("crl_uris", "", "Where to fetch CRLs."),
    list("ocsp_uris", "", "OCSP responders."),
    text("cert_uri_base", "", "Base of the URLs under which certificates can be fetched by their hash."),
];
