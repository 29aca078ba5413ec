//! `--list-sas`: the IKE_SAs and their CHILD_SAs.

use vici::Message;

use crate::command::{Command, Failure, Given};
use crate::fields::{has_list, joined, label, needed, optional};
use crate::getopt::Flag;
use crate::output::Output;
use crate::session::{Listing, Session, sections_as_json};

pub(crate) const COMMAND: Command = Command {
    name: "list-sas",
    short: 'l',
    description: "list currently active IKE_SAs",
    usage: &["[--ike <name>|--ike-id <id>] [--child <name>|--child-id <id>]", "[--noblock] [--raw|--pretty|--json]"],
    flags: &[
        Flag::value("child", 'c', "show only CHILD_SAs of this name"),
        Flag::value("ike", 'i', "show only IKE_SAs of this name"),
        Flag::value("child-id", 'C', "show only the CHILD_SA of this number"),
        Flag::value("ike-id", 'I', "show only the IKE_SA of this number"),
        Flag::switch("noblock", 'n', "do not wait for IKE_SAs that are in use"),
    ],
    run,
};

fn run(session: &mut Session, given: &Given) -> Result<(), Failure> {
    let mut request = super::rekey::selector(given);
    if given.has('n') {
        request.push("noblock", true);
    }
    let listing = Listing { command: "list-sas", event: "list-sa", label: "list-sa event", what: "SAs" };
    session.list(&listing, &request, print, sections_as_json)
}

/// Prints an event with IKE_SAs and their CHILD_SAs.
pub(super) fn print(out: &mut Output, event: &Message) {
    for (name, ike_sa) in event.sections() {
        print_ike_sa(out, name, ike_sa);
        for (_, child_sa) in ike_sa.section("child-sas").into_iter().flat_map(Message::sections) {
            print_child_sa(out, child_sa);
        }
    }
}

fn print_ike_sa(out: &mut Output, name: &str, sa: &Message) {
    let initiator = sa.bool("initiator") == Some(true);
    let star = |ours| if ours { "*" } else { "" };
    out.line(format_args!(
        "{name}: #{}, {}, IKEv{}, {}_i{} {}_r{}",
        needed(sa, "uniqueid"),
        needed(sa, "state"),
        needed(sa, "version"),
        needed(sa, "initiator-spi"),
        star(initiator),
        needed(sa, "responder-spi"),
        star(!initiator)
    ));
    let addresses = |list| if has_list(sa, list) { format!(" [{}]", joined(sa, list)) } else { String::new() };
    out.line(format_args!(
        "  local  '{}' @ {}[{}]{}",
        needed(sa, "local-id"),
        needed(sa, "local-host"),
        needed(sa, "local-port"),
        addresses("local-vips")
    ));
    out.line(format_args!(
        "  remote '{}' @ {}[{}]{}{}{}",
        needed(sa, "remote-id"),
        needed(sa, "remote-host"),
        needed(sa, "remote-port"),
        optional(sa, "remote-eap-id", |id| format!(" EAP: '{id}'")),
        optional(sa, "remote-xauth-id", |id| format!(" XAuth: '{id}'")),
        addresses("remote-vips")
    ));
    if sa.str("encr-alg").is_some() {
        let mut line = format!("  {}", needed(sa, "encr-alg"));
        line += &optional(sa, "encr-keysize", |size| format!("-{size}"));
        line += &optional(sa, "integ-alg", |algorithm| format!("/{algorithm}"));
        line += &optional(sa, "integ-keysize", |size| format!("-{size}"));
        line += &format!("/{}/{}", needed(sa, "prf-alg"), needed(sa, "dh-group"));
        line += &additional_key_exchanges(sa);
        if sa.bool("ppk") == Some(true) {
            line += "/PPK";
        }
        out.line(line);
    }
    if sa.str("established").is_some() {
        out.line(format_args!(
            "  established {}s ago{}{}{}",
            needed(sa, "established"),
            optional(sa, "rekey-time", |seconds| format!(", rekeying in {seconds}s")),
            optional(sa, "reauth-time", |seconds| format!(", reauth in {seconds}s")),
            optional(sa, "life-time", |seconds| format!(", expires in {seconds}s"))
        ));
    }
    for (title, list) in [("queued: ", "tasks-queued"), ("active: ", "tasks-active"), ("passive:", "tasks-passive")] {
        if has_list(sa, list) {
            out.line(format_args!("  {title} {}", joined(sa, list)));
        }
    }
}

fn print_child_sa(out: &mut Output, sa: &Message) {
    let mut line = format!("  {}: #{}, reqid {}", needed(sa, "name"), needed(sa, "uniqueid"), needed(sa, "reqid"));
    if sa.bool("per-cpu-sas") == Some(true) {
        line += &format!(", cpu {}", sa.str("cpu").unwrap_or("-"));
    }
    line += &format!(", {}, {}", needed(sa, "state"), needed(sa, "mode"));
    if sa.bool("encap") == Some(true) {
        line += "-in-UDP";
    }
    line += &format!(", {}:", needed(sa, "protocol"));
    line += &optional(sa, "encr-alg", str::to_owned);
    line += &optional(sa, "encr-keysize", |size| format!("-{size}"));
    if sa.str("encr-alg").is_some() && sa.str("integ-alg").is_some() {
        line += "/";
    }
    line += &optional(sa, "integ-alg", str::to_owned);
    line += &optional(sa, "integ-keysize", |size| format!("-{size}"));
    line += &optional(sa, "prf-alg", |algorithm| format!("/{algorithm}"));
    line += &optional(sa, "dh-group", |group| format!("/{group}"));
    line += &additional_key_exchanges(sa);
    if sa.str("esn").is_some_and(|esn| esn == "1") {
        line += "/ESN";
    }
    out.line(line);

    out.line(format_args!(
        "    installed {}s ago{}{}",
        needed(sa, "install-time"),
        optional(sa, "rekey-time", |seconds| format!(", rekeying in {seconds}s")),
        optional(sa, "life-time", |seconds| format!(", expires in {seconds}s"))
    ));
    print_direction(
        out,
        sa,
        "in ",
        ["spi-in", "cpi-in", "mark-in", "mark-mask-in", "if-id-in", "bytes-in", "packets-in", "use-in"],
    );
    print_direction(
        out,
        sa,
        "out",
        ["spi-out", "cpi-out", "mark-out", "mark-mask-out", "if-id-out", "bytes-out", "packets-out", "use-out"],
    );
    if let Some(label) = label(sa) {
        out.line(format_args!("    label  {label}"));
    }
    out.line(format_args!("    local  {}", joined(sa, "local-ts")));
    out.line(format_args!("    remote {}", joined(sa, "remote-ts")));
}

fn print_direction(out: &mut Output, sa: &Message, title: &str, keys: [&str; 8]) {
    let [spi, cpi, mark, mask, if_id, bytes, packets, used] = keys;
    let mut line = format!("    {title} {}", needed(sa, spi));
    line += &optional(sa, cpi, |cpi| format!("/{cpi}"));
    if sa.str(mark).is_some() || sa.str(if_id).is_some() {
        line += " (";
        match sa.str(mark) {
            Some(mark) => {
                line += &format!("0x{mark}");
                line += &optional(sa, mask, |mask| format!("/0x{mask}"));
            }
            None => line += "-",
        }
        line += &optional(sa, if_id, |id| format!("|0x{id}"));
        line += ")";
    }
    line += &format!(", {:>6} bytes, {:>5} packets", needed(sa, bytes), needed(sa, packets));
    line += &optional(sa, used, |seconds| format!(", {seconds:>5}s ago"));
    out.line(line);
}

fn additional_key_exchanges(sa: &Message) -> String {
    (1..=7).map(|round| optional(sa, &format!("ake{round}"), |method| format!("/KE{round}_{method}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, capture};

    #[test]
    fn layout() {
        let child = Message::new()
            .with("name", "lan")
            .with("uniqueid", 7)
            .with("reqid", 2)
            .with("state", "INSTALLED")
            .with("mode", "TUNNEL")
            .with("protocol", "ESP")
            .with("encap", "yes")
            .with("spi-in", "c1d2e3f4")
            .with("spi-out", "0a0b0c0d")
            .with("if-id-in", "0000002a")
            .with("if-id-out", "0000002a")
            .with("encr-alg", "AES_CBC")
            .with("encr-keysize", 128)
            .with("integ-alg", "HMAC_SHA2_256_128")
            .with("dh-group", "ECP_256")
            .with("esn", 1)
            .with("bytes-in", 1176)
            .with("packets-in", 14)
            .with("use-in", 3)
            .with("bytes-out", 1176)
            .with("packets-out", 14)
            .with("rekey-time", 3190)
            .with("life-time", 3865)
            .with("install-time", 95)
            .with_list("local-ts", ["10.9.8.7/32"])
            .with_list("remote-ts", ["10.20.0.0/16", "10.21.0.0/16[tcp/https]"]);
        let sa = Message::new()
            .with("uniqueid", 3)
            .with("version", 2)
            .with("state", "ESTABLISHED")
            .with("local-host", "192.0.2.1")
            .with("local-port", 4500)
            .with("local-id", "gw.example.org")
            .with("remote-host", "198.51.100.7")
            .with("remote-port", 4500)
            .with("remote-id", "C=CH, O=Example, CN=peer")
            .with("remote-eap-id", "alice")
            .with("initiator", "yes")
            .with("initiator-spi", "0123456789abcdef")
            .with("responder-spi", "fedcba9876543210")
            .with("encr-alg", "AES_GCM_16")
            .with("encr-keysize", 256)
            .with("prf-alg", "PRF_HMAC_SHA2_384")
            .with("dh-group", "CURVE_25519")
            .with("ake1", "ML_KEM_768")
            .with("established", 95)
            .with("rekey-time", 13211)
            .with_list("local-vips", ["10.9.8.7"])
            .with_list("tasks-active", ["IKE_DPD", "IKE_MOBIKE"])
            .with_section("child-sas", Message::new().with_section("lan-7", child));
        let (mut out, buffer) = capture::output(Format::Human);
        print(&mut out, &Message::new().with_section("site-a", sa));
        assert_eq!(
            buffer.text(),
            "site-a: #3, ESTABLISHED, IKEv2, 0123456789abcdef_i* fedcba9876543210_r\n  \
               local  'gw.example.org' @ 192.0.2.1[4500] [10.9.8.7]\n  \
               remote 'C=CH, O=Example, CN=peer' @ 198.51.100.7[4500] EAP: 'alice'\n  \
               AES_GCM_16-256/PRF_HMAC_SHA2_384/CURVE_25519/KE1_ML_KEM_768\n  \
               established 95s ago, rekeying in 13211s\n  \
               active:  IKE_DPD IKE_MOBIKE\n  \
               lan: #7, reqid 2, INSTALLED, TUNNEL-in-UDP, ESP:AES_CBC-128/HMAC_SHA2_256_128/ECP_256/ESN\n    \
                 installed 95s ago, rekeying in 3190s, expires in 3865s\n    \
                 in  c1d2e3f4 (-|0x0000002a),   1176 bytes,    14 packets,     3s ago\n    \
                 out 0a0b0c0d (-|0x0000002a),   1176 bytes,    14 packets\n    \
                 local  10.9.8.7/32\n    \
                 remote 10.20.0.0/16 10.21.0.0/16[tcp/https]\n"
        );
    }

    #[test]
    fn marks_labels_and_gaps() {
        let child = Message::new()
            .with("name", "a")
            .with("state", "UPDATING")
            .with("mark-in", "0000002a")
            .with("mark-mask-in", "000000ff")
            .with("cpi-in", "0001")
            .with("label", "73797300");
        let (mut out, buffer) = capture::output(Format::Human);
        print_child_sa(&mut out, &child);
        let text = buffer.text();
        assert!(text.starts_with("  a: #(null), reqid (null), UPDATING, (null), (null):\n"), "{text}");
        assert!(text.contains("    in  (null)/0001 (0x0000002a/0x000000ff), (null) bytes, (null) packets\n"), "{text}");
        assert!(text.contains("    out (null), (null) bytes, (null) packets\n    label  sys\n    local  \n"), "{text}");
    }
}
