//! `--list-algs`: the algorithms the daemon has.

use vici::Message;

use crate::command::{Command, Failure, Given};
use crate::dump;
use crate::output::{Format, Output};
use crate::session::Session;

pub(crate) const COMMAND: Command = Command {
    name: "list-algs",
    short: 'g',
    description: "show loaded algorithms",
    usage: &["[--raw|--pretty|--json]"],
    flags: &[],
    run,
};

fn run(session: &mut Session, _given: &Given) -> Result<(), Failure> {
    let answer = session.request("get-algorithms", &Message::new())?;
    if !session.dump("get-algorithms reply", &answer) {
        match session.out.format {
            Format::Json => session.out.line(dump::json(&answer)),
            _ => print(&mut session.out, &answer),
        }
    }
    Ok(())
}

fn print(out: &mut Output, algorithms: &Message) {
    for (kind, section) in algorithms.sections() {
        out.line(format_args!("{kind}:"));
        for (algorithm, plugin) in section.scalars() {
            out.line(format_args!("  {algorithm}[{}]", String::from_utf8_lossy(plugin)));
        }
    }
}
