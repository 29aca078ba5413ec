//! `--rekey`: gives SAs new keys.

use vici::Message;

use crate::command::{Command, Failure, Given};
use crate::getopt::Flag;
use crate::session::Session;

pub(crate) const COMMAND: Command = Command {
    name: "rekey",
    short: 'R',
    description: "rekey an SA",
    usage: &["--child <name>|--ike <name>|--child-id <id>|--ike-id <id>", "[--reauth] [--raw|--pretty|--json]"],
    flags: &[
        Flag::value("child", 'c', "rekey CHILD_SAs of this name"),
        Flag::value("ike", 'i', "rekey IKE_SAs of this name"),
        Flag::value("child-id", 'C', "rekey the CHILD_SA of this number"),
        Flag::value("ike-id", 'I', "rekey the IKE_SA of this number"),
        Flag::switch("reauth", 'a', "reauthenticate instead (IKEv2)"),
    ],
    run,
};

fn run(session: &mut Session, given: &Given) -> Result<(), Failure> {
    let mut request = selector(given);
    if given.has('a') {
        request.push("reauth", true);
    }
    let answer = session.request("rekey", &request)?;
    session.conclude("rekey", &answer)
}

/// The keys that select SAs, as several commands have them.
pub(super) fn selector(given: &Given) -> Message {
    let mut request = Message::new();
    request.push_some("child", given.value('c')).push_some("ike", given.value('i'));
    request.push_some("child-id", given.number('C').filter(|id| *id != 0));
    request.push_some("ike-id", given.number('I').filter(|id| *id != 0));
    request
}
