//! `--list-pols`: installed trap and shunt policies.

use vici::Message;

use crate::command::{Command, Failure, Given};
use crate::fields::{joined, label, needed};
use crate::getopt::Flag;
use crate::output::Output;
use crate::session::{Listing, Session, sections_as_json};

pub(crate) const COMMAND: Command = Command {
    name: "list-pols",
    short: 'P',
    description: "list currently installed policies",
    usage: &["[--child <name>] [--trap] [--drop] [--pass] [--raw|--pretty|--json]"],
    flags: &[
        Flag::value("child", 'c', "show only policies of this CHILD_SA configuration"),
        Flag::switch("trap", 't', "show trap policies"),
        Flag::switch("drop", 'd', "show drop policies"),
        Flag::switch("pass", 'p', "show bypass policies"),
    ],
    run,
};

fn run(session: &mut Session, given: &Given) -> Result<(), Failure> {
    let mut request = Message::new();
    request.push_some("child", given.value('c'));
    let kinds = [('t', "trap"), ('d', "drop"), ('p', "pass")];
    let all = !kinds.iter().any(|(short, _)| given.has(*short));
    for (short, kind) in kinds {
        if all || given.has(short) {
            request.push(kind, true);
        }
    }
    let listing =
        Listing { command: "list-policies", event: "list-policy", label: "list-policy event", what: "policies" };
    session.list(&listing, &request, print, sections_as_json)
}

fn print(out: &mut Output, event: &Message) {
    for (name, policy) in event.sections() {
        out.line(format_args!("{name}, reqid {}, {}", needed(policy, "reqid"), needed(policy, "mode")));
        if let Some(label) = label(policy) {
            out.line(format_args!("  label:  {label}"));
        }
        out.line(format_args!("  local:  {}", joined(policy, "local-ts")));
        out.line(format_args!("  remote: {}", joined(policy, "remote-ts")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, capture};

    #[test]
    fn layout() {
        let trap = Message::new()
            .with("reqid", 1)
            .with("mode", "TUNNEL")
            .with_list("local-ts", ["10.0.0.0/24"])
            .with_list("remote-ts", ["10.1.0.0/24", "10.2.0.0/24"]);
        let shunt =
            Message::new().with("mode", "PASS").with_list("local-ts", ["::/0"]).with_list("remote-ts", ["::/0"]);
        let (mut out, buffer) = capture::output(Format::Human);
        print(&mut out, &Message::new().with_section("site-a/lan", trap).with_section("bypass", shunt));
        assert_eq!(
            buffer.text(),
            "site-a/lan, reqid 1, TUNNEL\n  local:  10.0.0.0/24\n  remote: 10.1.0.0/24 10.2.0.0/24\n\
             bypass, reqid (null), PASS\n  local:  ::/0\n  remote: ::/0\n"
        );
    }
}
