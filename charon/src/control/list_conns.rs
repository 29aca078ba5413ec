//! `list-conns`: one `list-conn` event for each connection.

use std::sync::Arc;

use ike::config::{
    Action, AuthClass, AuthRound, ChildConfig, EapMethod, IkeVersion, PeerConfig, Revocation, UniquePolicy,
};
use strongswan::credentials::Certificate;
use strongswan::host::HostSpec;
use strongswan::identity::Identity;
use vici::{Message, Request, Responder};

use super::{Control, show};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let connections = match request.message.str("ike") {
        Some(name) => control.connections.get(name).into_iter().collect(),
        None => control.connections.all(),
    };
    let ike_port = control.connections.ike_port();
    let events = connections.into_iter().map(move |connection| event(&connection, ike_port));
    responder.stream("list-conn", events, Message::new());
}

fn event(connection: &PeerConfig, ike_port: u16) -> Message {
    let ike = &connection.ike;
    let mut block = Message::new();
    block.push_list("local_addrs", addresses(&ike.local_addrs));
    block.push_list("remote_addrs", addresses(&ike.remote_addrs));
    block.push("local_port", if ike.local_port == 0 { ike_port } else { ike.local_port });
    block.push("remote_port", ike.remote_port);
    block.push("version", version(ike.version));
    block.push("reauth_time", connection.lifetimes.reauth.as_secs());
    block.push("rekey_time", connection.lifetimes.rekey.as_secs());
    block.push("unique", unique(connection.unique));
    for (key, time) in [("dpd_delay", connection.dpd_delay), ("dpd_timeout", connection.dpd_timeout)] {
        block.push_some(key, Some(time.as_secs()).filter(|seconds| *seconds != 0));
    }
    block.push_some("ppk_id", connection.ppk_id.as_ref().map(Identity::to_string));
    block.push_some("ppk_required", connection.ppk_required.then_some(true));
    for (side, rounds) in [("local", &connection.local), ("remote", &connection.remote)] {
        for (index, round) in (1..).zip(rounds) {
            let index: usize = index;
            block.push_section(format!("{side}-{index}"), auth(round));
        }
    }
    let mut children = Message::new();
    for config in &connection.children {
        children.push_section(config.name.to_string(), child(config));
    }
    block.push_section("children", children);
    Message::new().with_section(connection.name.to_string(), block)
}

fn addresses(hosts: &[HostSpec]) -> Vec<String> {
    if hosts.is_empty() { vec!["%any".to_owned()] } else { hosts.iter().map(HostSpec::to_string).collect() }
}

fn version(version: IkeVersion) -> String {
    match version {
        IkeVersion::Any => "IKEv1/2".to_owned(),
        IkeVersion::V1 => "IKEv1".to_owned(),
        IkeVersion::V2 => "IKEv2".to_owned(),
        IkeVersion::Other(number) => format!("({number})"),
    }
}

fn unique(policy: UniquePolicy) -> &'static str {
    match policy {
        UniquePolicy::Never => "UNIQUE_NEVER",
        UniquePolicy::No => "UNIQUE_NO",
        UniquePolicy::Replace => "UNIQUE_REPLACE",
        UniquePolicy::Keep => "UNIQUE_KEEP",
    }
}

/// An authentication round: only what is configured, then the lists.
fn auth(round: &AuthRound) -> Message {
    let mut block = Message::new();
    if round.class != AuthClass::Any {
        block.push("class", format_args!("{}", round.class));
    }
    match &round.class {
        AuthClass::Any | AuthClass::Pubkey | AuthClass::Psk => {}
        AuthClass::Eap(method) => push_eap(&mut block, *method),
        AuthClass::Xauth(backend) => drop(block.push_some("xauth", backend.as_deref())),
    }
    for (key, id) in
        [("id", &round.id), ("aaa_id", &round.aaa_id), ("eap_id", &round.eap_id), ("xauth_id", &round.xauth_id)]
    {
        block.push_some(key, id.as_ref().map(Identity::to_string));
    }
    block.push_some(
        "revocation",
        match round.revocation {
            Revocation::Strict => Some("GOOD"),
            Revocation::IfUri => Some("SKIPPED"),
            Revocation::Relaxed => None,
        },
    );
    block.push_some("ca_id", round.ca_id.as_ref().map(Identity::to_string));
    block.push_list("groups", round.groups.iter().map(Identity::to_string));
    block.push_list("cert_policy", round.cert_policies.iter());
    block.push_list("certs", subjects(&round.certs));
    block.push_list("cacerts", subjects(&round.cacerts));
    block
}

fn subjects(certificates: &[Arc<Certificate>]) -> impl Iterator<Item = String> {
    certificates.iter().map(|certificate| certificate.subject().to_string())
}

fn push_eap(block: &mut Message, method: EapMethod) {
    match method {
        EapMethod::Any => {}
        EapMethod::Dynamic => drop(block.push("eap-type", "EAP_DYNAMIC")),
        EapMethod::Radius => drop(block.push("eap-type", "EAP_RADIUS")),
        EapMethod::Type { kind, vendor: 0 } => drop(block.push("eap-type", eap_type(kind))),
        EapMethod::Type { kind, vendor } => drop(block.push("eap-type", kind).push("eap-vendor", vendor)),
    }
}

/// Name of an EAP method.
fn eap_type(kind: u32) -> String {
    let name = match kind {
        1 => "EAP_IDENTITY",
        2 => "EAP_NOTIFICATION",
        3 => "EAP_NAK",
        4 => "EAP_MD5",
        5 => "EAP_OTP",
        6 => "EAP_GTC",
        13 => "EAP_TLS",
        18 => "EAP_SIM",
        21 => "EAP_TTLS",
        23 => "EAP_AKA",
        25 => "EAP_PEAP",
        26 => "EAP_MSCHAPV2",
        33 => "EAP_MSTLV",
        38 => "EAP_TNC",
        54 => "EAP_PT_EAP",
        254 => "EAP_EXPANDED",
        255 => "EAP_EXPERIMENTAL",
        other => return format!("({other})"),
    };
    name.to_owned()
}

fn child(config: &ChildConfig) -> Message {
    let mut block = Message::new();
    block.push("mode", format_args!("{}", config.mode));
    block.push_some("label", config.label.as_deref().map(show::label));
    block.push("rekey_time", config.lifetimes.time.rekey);
    block.push("rekey_bytes", config.lifetimes.bytes.rekey);
    block.push("rekey_packets", config.lifetimes.packets.rekey);
    block.push("dpd_action", action(config.dpd_action));
    block.push("close_action", action(config.close_action));
    block.push_list("local-ts", config.local_ts.iter().map(ToString::to_string));
    block.push_list("remote-ts", config.remote_ts.iter().map(ToString::to_string));
    block.push_some("interface", config.interface.as_deref());
    block.push_some("priority", Some(config.priority).filter(|priority| *priority != 0));
    block
}

/// An action as messages have it; the configuration needs no blanks.
fn action(action: Action) -> &'static str {
    match (action.trap, action.start) {
        (false, false) => "none",
        (true, false) => "trap",
        (false, true) => "start",
        (true, true) => "trap | start",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongswan::credentials::AuthOptions;

    use crate::config;

    #[test]
    fn a_connection_is_listed_as_configured() {
        let local = Message::new().with("auth", "eap-mschapv2").with("eap_id", "alice").with("revocation", "strict");
        let net = Message::new()
            .with_list("local_ts", ["10.0.0.0/24"])
            .with("rekey_time", "10m")
            .with("dpd_action", "trap|start")
            .with("priority", "5")
            .with("label", "ab");
        let message = Message::new()
            .with("version", "2")
            .with_list("remote_addrs", ["192.0.2.1", "gw.example.org"])
            .with("dpd_delay", "30")
            .with("ppk_required", "yes")
            .with_section("local", local)
            .with_section("children", Message::new().with_section("net", net));
        let listed = event(&config::load("gw", &message, AuthOptions::default()).unwrap(), 500);
        let gw = listed.section("gw").unwrap();
        assert_eq!(gw.strs("local_addrs").collect::<Vec<_>>(), ["%any"]);
        assert_eq!(gw.strs("remote_addrs").collect::<Vec<_>>(), ["192.0.2.1", "gw.example.org"]);
        let scalars: Vec<_> = gw.scalars().map(|(key, value)| (key, std::str::from_utf8(value).unwrap())).collect();
        let expected = [
            ("local_port", "500"),
            ("remote_port", "500"),
            ("version", "IKEv2"),
            ("reauth_time", "0"),
            ("rekey_time", "14400"),
            ("unique", "UNIQUE_NO"),
            ("dpd_delay", "30"),
            ("ppk_required", "yes"),
        ];
        assert_eq!(scalars, expected);
        let local = gw.section("local-1").unwrap();
        assert_eq!(local.str("class"), Some("EAP"));
        assert_eq!(local.str("eap-type"), Some("EAP_MSCHAPV2"));
        assert_eq!((local.str("eap_id"), local.str("revocation")), (Some("alice"), Some("GOOD")));
        let lists: Vec<_> = gw.section("remote-1").unwrap().items().map(|item| item.name()).collect();
        assert_eq!(lists, ["groups", "cert_policy", "certs", "cacerts"]);
        let net = gw.section("children").unwrap().section("net").unwrap();
        assert_eq!((net.str("mode"), net.str("label")), (Some("TUNNEL"), Some("616200")));
        assert_eq!((net.str("rekey_time"), net.str("dpd_action")), (Some("600"), Some("trap | start")));
        assert_eq!((net.str("close_action"), net.str("priority")), (Some("none"), Some("5")));
        assert_eq!(net.strs("remote-ts").collect::<Vec<_>>(), ["dynamic"]);
    }
}
