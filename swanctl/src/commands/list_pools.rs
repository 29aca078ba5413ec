//! `--list-pools`: address pools and their leases.

use vici::Message;

use crate::command::{Command, Failure, Given};
use crate::dump;
use crate::fields::needed;
use crate::getopt::Flag;
use crate::output::{Format, Output};
use crate::session::Session;

pub(crate) const COMMAND: Command = Command {
    name: "list-pools",
    short: 'A',
    description: "list loaded pool configurations",
    usage: &["[--leases] [--name <name>] [--raw|--pretty|--json]"],
    flags: &[
        Flag::switch("leases", 'l', "show the leases of each pool"),
        Flag::value("name", 'n', "show only this pool"),
    ],
    run,
};

fn run(session: &mut Session, given: &Given) -> Result<(), Failure> {
    let mut request = Message::new();
    if given.has('l') {
        request.push("leases", true);
    }
    request.push_some("name", given.value('n'));
    let answer = session.request("get-pools", &request)?;
    if !session.dump("get-pools reply", &answer) {
        match session.out.format {
            Format::Json => session.out.line(dump::named(&answer)),
            _ => print(&mut session.out, &answer),
        }
    }
    Ok(())
}

fn print(out: &mut Output, pools: &Message) {
    for (name, pool) in pools.sections() {
        let usage = format!("{} / {} / {}", needed(pool, "online"), needed(pool, "offline"), needed(pool, "size"));
        out.line(format_args!("{name:20} {:30} {usage:>16}", needed(pool, "base")));
        for (_, lease) in pool.section("leases").into_iter().flat_map(Message::sections) {
            let [address, status, identity] = ["address", "status", "identity"].map(|key| needed(lease, key));
            out.line(format_args!("  {address:30} {status:8} '{identity}'"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::capture;

    #[test]
    fn layout() {
        let lease = Message::new().with("address", "10.77.0.1").with("identity", "alice").with("status", "online");
        let pool = Message::new()
            .with("base", "10.77.0.1")
            .with("size", 254)
            .with("online", 1)
            .with("offline", 0)
            .with_section("leases", Message::new().with_section("0", lease));
        let (mut out, buffer) = capture::output(Format::Human);
        print(&mut out, &Message::new().with_section("vips", pool));
        assert_eq!(
            buffer.text(),
            "vips                 10.77.0.1                           1 / 0 / 254\n  10.77.0.1                      online   'alice'\n"
        );
    }
}
