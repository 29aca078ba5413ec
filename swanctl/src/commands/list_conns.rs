//! `--list-conns`: the loaded connections.

use vici::Message;

use crate::command::{Command, Failure, Given};
use crate::fields::{has_list, joined, label, needed, number, optional};
use crate::output::Output;
use crate::session::{Listing, Session, sections_as_json};

pub(crate) const COMMAND: Command = Command {
    name: "list-conns",
    short: 'L',
    description: "list loaded configurations",
    usage: &["[--raw|--pretty|--json]"],
    flags: &[],
    run,
};

fn run(session: &mut Session, _given: &Given) -> Result<(), Failure> {
    let listing = Listing { command: "list-conns", event: "list-conn", label: "list-conn event", what: "connections" };
    session.list(&listing, &Message::new(), print, sections_as_json)
}

fn print(out: &mut Output, event: &Message) {
    for (name, connection) in event.sections() {
        print_connection(out, name, connection);
    }
}

fn print_connection(out: &mut Output, name: &str, connection: &Message) {
    let version = needed(connection, "version");
    let (reauth, rekey) = (number(connection, "reauth_time"), number(connection, "rekey_time"));
    let ikev1 = version == "IKEv1";
    // IKEv1 can only authenticate again, so its rekeying time means that.
    let reauth = if ikev1 && reauth == 0 { rekey } else { reauth };
    let mut line = format!("{name}: {version}, ");
    line += &if reauth == 0 { "no reauthentication".to_owned() } else { format!("reauthentication every {reauth}s") };
    if !ikev1 {
        line += &if rekey == 0 { ", no rekeying".to_owned() } else { format!(", rekeying every {rekey}s") };
    }
    let dpd = number(connection, "dpd_delay");
    if dpd != 0 {
        line += &format!(", dpd delay {dpd}s");
    }
    out.line(line);
    if connection.str("ppk_id").is_some() || connection.str("ppk_required").is_some() {
        let required = if connection.bool("ppk_required") == Some(true) { "" } else { "not " };
        out.line(format_args!("  ppk: {}{required}required", optional(connection, "ppk_id", |id| format!("{id}, "))));
    }
    for (title, list, port) in [("local: ", "local_addrs", "local_port"), ("remote:", "remote_addrs", "remote_port")] {
        for address in connection.strs(list) {
            // Versions before 6.0 do not tell the ports.
            out.line(format_args!("  {title} {address}{}", optional(connection, port, |port| format!("[{port}]"))));
        }
    }
    for (name, round) in connection.sections() {
        for side in ["local", "remote"] {
            if name.starts_with(side) {
                print_round(out, side, round);
            }
        }
    }
    for (name, child) in connection.section("children").into_iter().flat_map(Message::sections) {
        print_child(out, name, child, dpd != 0);
    }
}

fn print_round(out: &mut Output, side: &str, round: &Message) {
    let class = match round.str("class") {
        None => "unspecified",
        Some("EAP") => round.str("eap-type").unwrap_or("EAP"),
        Some(class) => class,
    };
    out.line(format_args!("  {side} {class} authentication:"));
    for (title, key) in
        [("id", "id"), ("ca_id", "ca_id"), ("eap_id", "eap_id"), ("xauth_id", "xauth_id"), ("aaa_id", "aaa_id")]
    {
        if let Some(value) = round.str(key) {
            out.line(format_args!("    {title}: {value}"));
        }
    }
    for (title, key) in
        [("groups", "groups"), ("cert policy", "cert_policy"), ("certs", "certs"), ("cacerts", "cacerts")]
    {
        let items = joined(round, key);
        if !items.is_empty() {
            out.line(format_args!("    {title}: {items}"));
        }
    }
}

fn print_child(out: &mut Output, name: &str, child: &Message, dpd: bool) {
    let mode = needed(child, "mode");
    let limits: Vec<String> = [("rekey_time", "s"), ("rekey_bytes", " bytes"), ("rekey_packets", " packets")]
        .into_iter()
        .filter_map(|(key, unit)| child.str(key).filter(|limit| *limit != "0").map(|limit| format!("{limit}{unit}")))
        .collect();
    let shunt = matches!(mode, "PASS" | "DROP");
    let rekeying = if shunt || limits.is_empty() {
        "no rekeying".to_owned()
    } else {
        format!("rekeying every {}", limits.join(" or "))
    };
    let action =
        if dpd { optional(child, "dpd_action", |action| format!(", dpd action is {action}")) } else { String::new() };
    out.line(format_args!("  {name}: {mode}, {rekeying}{action}"));
    if let Some(label) = label(child) {
        out.line(format_args!("    label:  {label}"));
    }
    for (title, list) in [("local: ", "local-ts"), ("remote:", "remote-ts")] {
        if has_list(child, list) {
            out.line(format_args!("    {title} {}", joined(child, list)));
        }
    }
    for (title, key) in [("interface:", "interface"), ("priority:", "priority")] {
        if let Some(value) = child.str(key) {
            out.line(format_args!("    {title} {value}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, capture};

    #[test]
    fn layout() {
        let child = Message::new()
            .with("mode", "TUNNEL")
            .with("rekey_time", 3600)
            .with("rekey_bytes", 1_000_000)
            .with("rekey_packets", 0)
            .with("dpd_action", "trap | start")
            .with_list("local-ts", ["10.10.0.0/16"])
            .with_list("remote-ts", ["dynamic"]);
        let connection = Message::new()
            .with_list("local_addrs", ["192.0.2.1"])
            .with_list("remote_addrs", ["198.51.100.7"])
            .with("local_port", 500)
            .with("remote_port", 500)
            .with("version", "IKEv2")
            .with("reauth_time", 0)
            .with("rekey_time", 14400)
            .with("dpd_delay", 30)
            .with_section(
                "local-1",
                Message::new()
                    .with("class", "public key")
                    .with("id", "gw.example.org")
                    .with_list("certs", ["C=CH, O=Example, CN=gw"]),
            )
            .with_section(
                "remote-1",
                Message::new().with("class", "EAP").with("eap-type", "EAP_MSCHAPV2").with("eap_id", "%any"),
            )
            .with_section("children", Message::new().with_section("lan", child));
        let (mut out, buffer) = capture::output(Format::Human);
        print(&mut out, &Message::new().with_section("site-a", connection));
        assert_eq!(
            buffer.text(),
            "site-a: IKEv2, no reauthentication, rekeying every 14400s, dpd delay 30s\n  \
               local:  192.0.2.1[500]\n  \
               remote: 198.51.100.7[500]\n  \
               local public key authentication:\n    \
                 id: gw.example.org\n    \
                 certs: C=CH, O=Example, CN=gw\n  \
               remote EAP_MSCHAPV2 authentication:\n    \
                 eap_id: %any\n  \
               lan: TUNNEL, rekeying every 3600s or 1000000 bytes, dpd action is trap | start\n    \
                 local:  10.10.0.0/16\n    \
                 remote: dynamic\n"
        );
    }

    #[test]
    fn old_version_and_shunts() {
        let shunt = Message::new().with("mode", "PASS").with("rekey_time", 3600).with("priority", 5);
        let connection = Message::new()
            .with("version", "IKEv1")
            .with("rekey_time", 100)
            .with("ppk_required", "yes")
            .with_section("remote-1", Message::new())
            .with_section("children", Message::new().with_section("p", shunt));
        let (mut out, buffer) = capture::output(Format::Human);
        print(&mut out, &Message::new().with_section("a", connection));
        assert_eq!(
            buffer.text(),
            "a: IKEv1, reauthentication every 100s\n  ppk: required\n  remote unspecified authentication:\n  p: PASS, no rekeying\n    priority: 5\n"
        );
    }
}
