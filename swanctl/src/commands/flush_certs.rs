//! `--flush-certs`: forgets cached certificates.

use vici::Message;

use crate::command::{Command, Failure, Given};
use crate::dump;
use crate::getopt::Flag;
use crate::output::Format;
use crate::session::Session;

pub(crate) const COMMAND: Command = Command {
    name: "flush-certs",
    short: 'f',
    description: "flush cached certificates",
    usage: &["[--type x509|x509_ac|x509_crl|ocsp_response|pubkey]", "[--raw|--pretty|--json]"],
    flags: &[Flag::value("type", 't', "flush only certificates of this type")],
    run,
};

fn run(session: &mut Session, given: &Given) -> Result<(), Failure> {
    let mut request = Message::new();
    request.push_some("type", given.value('t'));
    let answer = session.request("flush-certs", &request)?;
    if !session.dump("flush-certs reply", &answer) {
        match session.out.format {
            Format::Json => session.out.line(dump::json(&answer)),
            // Failure leaves the exit code alone, as scripts expect, but it is no secret.
            _ => {
                if let Err(error) = answer.into_result() {
                    session.out.error(format_args!("flush-certs failed: {error}"));
                }
            }
        }
    }
    Ok(())
}
