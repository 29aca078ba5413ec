//! `--redirect`: sends clients to another gateway.

use vici::Message;

use crate::command::{Command, Failure, Given};
use crate::getopt::Flag;
use crate::session::Session;

pub(crate) const COMMAND: Command = Command {
    name: "redirect",
    short: 'd',
    description: "redirect an IKE_SA",
    usage: &[
        "--ike <name>|--ike-id <id>|--peer-ip <ip|subnet|range>|--peer-id <id|wildcards>",
        "--gateway <ip|fqdn> [--raw|--pretty|--json]",
    ],
    flags: &[
        Flag::value("ike", 'i', "redirect IKE_SAs of this name"),
        Flag::value("ike-id", 'I', "redirect the IKE_SA of this number"),
        Flag::value("peer-ip", 'p', "redirect clients with such an address"),
        Flag::value("peer-id", 'd', "redirect clients with such an identity"),
        Flag::value("gateway", 'g', "where to"),
    ],
    run,
};

fn run(session: &mut Session, given: &Given) -> Result<(), Failure> {
    let mut request = Message::new();
    request.push_some("ike", given.value('i'));
    request.push_some("ike-id", given.number('I').filter(|id| *id != 0));
    request.push_some("peer-ip", given.value('p')).push_some("peer-id", given.value('d'));
    request.push_some("gateway", given.value('g'));
    let answer = session.request("redirect", &request)?;
    session.conclude("redirect", &answer)
}
