//! `--version`: of the tool, or of the daemon.

use strongswan::VERSION;
use vici::Message;

use crate::command::{Command, Failure, Given};
use crate::dump;
use crate::fields::needed;
use crate::getopt::Flag;
use crate::output::Format;
use crate::session::Session;

pub(crate) const COMMAND: Command = Command {
    name: "version",
    short: 'V',
    description: "show version information",
    usage: &["[--daemon] [--raw|--pretty|--json]"],
    flags: &[Flag::switch("daemon", 'd', "ask the daemon for its version")],
    run,
};

fn run(session: &mut Session, given: &Given) -> Result<(), Failure> {
    if !given.has('d') {
        match session.out.format {
            Format::Json => session.out.line(dump::json(&Message::new().with("swanctl", VERSION))),
            _ => session.out.line(format_args!("strongSwan swanctl {VERSION}")),
        }
        return Ok(());
    }
    let answer = session.request("version", &Message::new())?;
    if session.dump("version reply", &answer) {
        return Ok(());
    }
    if session.out.format == Format::Json {
        // The version is text, though elsewhere the key of that name is a number.
        session.out.line(dump::json(&answer));
        return Ok(());
    }
    let [version, daemon, sysname, release, machine] =
        ["version", "daemon", "sysname", "release", "machine"].map(|key| needed(&answer, key));
    session.out.line(format_args!("strongSwan {version} {daemon} ({sysname}, {release}, {machine})"));
    Ok(())
}
