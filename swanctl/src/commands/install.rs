//! `--install` and `--uninstall`: trap and shunt policies.

use vici::Message;

use crate::command::{Command, Failure, Given};
use crate::getopt::Flag;
use crate::session::Session;

const FLAGS: &[Flag] = &[
    Flag::value("child", 'c', "name of the CHILD_SA configuration"),
    Flag::value("ike", 'i', "name of the connection that has it"),
];

const USAGE: &[&str] = &["--child <name> [--ike <name>] [--raw|--pretty|--json]"];

pub(crate) const INSTALL: Command = Command {
    name: "install",
    short: 'p',
    description: "install a trap or shunt policy",
    usage: USAGE,
    flags: FLAGS,
    run: |session, given| run(session, given, "install"),
};

pub(crate) const UNINSTALL: Command = Command {
    name: "uninstall",
    short: 'U',
    description: "uninstall a trap or shunt policy",
    usage: USAGE,
    flags: FLAGS,
    run: |session, given| run(session, given, "uninstall"),
};

fn run(session: &mut Session, given: &Given, command: &str) -> Result<(), Failure> {
    let mut request = Message::new();
    request.push_some("child", given.value('c')).push_some("ike", given.value('i'));
    let answer = session.request(command, &request)?;
    session.conclude(command, &answer)
}
