//! `--terminate`: closes SAs, showing what happens.

use super::{initiate, rekey};
use crate::command::{Command, Failure, Given};
use crate::getopt::Flag;
use crate::session::Session;

pub(crate) const COMMAND: Command = Command {
    name: "terminate",
    short: 't',
    description: "terminate a connection",
    usage: &[
        "--child <name>|--ike <name>|--child-id <id>|--ike-id <id>",
        "[--force] [--timeout <s>] [--loglevel <level>] [--raw|--pretty|--json]",
    ],
    flags: &[
        Flag::value("child", 'c', "terminate CHILD_SAs of this name"),
        Flag::value("ike", 'i', "terminate IKE_SAs of this name"),
        Flag::value("child-id", 'C', "terminate the CHILD_SA of this number"),
        Flag::value("ike-id", 'I', "terminate the IKE_SA of this number"),
        Flag::switch("force", 'f', "do not wait for the peer to agree, unless a timeout is given"),
        Flag::value("timeout", 't', "seconds to wait at most"),
        Flag::value("loglevel", 'l', "level of the messages to show, default 1"),
    ],
    run,
};

fn run(session: &mut Session, given: &Given) -> Result<(), Failure> {
    let mut request = rekey::selector(given);
    if given.has('f') {
        request.push("force", true);
    }
    initiate::push_control(&mut request, given);
    initiate::control(session, "terminate", &request)
}
