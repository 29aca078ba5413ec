//! `--list-certs`: the certificates and public keys that the daemon has.

use strongswan::calendar::Zone;
use vici::Message;

use crate::certs::{Listed, View};
use crate::command::{Command, Failure, Given};
use crate::dump;
use crate::getopt::Flag;
use crate::output::Output;
use crate::session::{Listing, Session};

pub(crate) const COMMAND: Command = Command {
    name: "list-certs",
    short: 'x',
    description: "list stored certificates",
    usage: &[
        "[--subject <dn|san>] [--type x509|x509_ac|x509_crl|ocsp_response|pubkey]",
        "[--flag none|ca|aa|ocsp|any] [--pem] [--short] [--utc]",
        "[--raw|--pretty|--json]",
    ],
    flags: &[
        Flag::value("subject", 's', "show only those with such a name"),
        Flag::value("type", 't', "show only those of this type"),
        Flag::value("flag", 'f', "show only X.509 certificates with this flag"),
        Flag::switch("pem", 'p', "print PEM"),
        Flag::switch("short", 'S', "leave out details"),
        Flag::switch("utc", 'U', "show times in UTC"),
    ],
    run,
};

fn run(session: &mut Session, given: &Given) -> Result<(), Failure> {
    let mut request = Message::new();
    request
        .push_some("subject", given.value('s'))
        .push_some("type", given.value('t'))
        .push_some("flag", given.value('f'));
    let zone = if given.has('U') { Zone::Utc } else { Zone::Local };
    let view = View { short: given.has('S'), zone, now: View::now() };
    let pem = given.has('p');
    let mut caption = "";
    let listing = Listing { command: "list-certs", event: "list-cert", label: "list-cert event", what: "certificates" };
    session.list(
        &listing,
        &request,
        |out, event| print(out, event, &view, pem, &mut caption),
        |event| vec![as_json(event, &view)],
    )
}

fn print(out: &mut Output, event: &Message, view: &View, pem: bool, caption: &mut &'static str) {
    let listed = match Listed::from_event(event) {
        Ok(listed) => listed,
        Err(error) => return out.error(error),
    };
    if pem {
        return out.write(listed.pem());
    }
    match listed.describe(view) {
        Ok(sheet) => {
            if *caption != listed.caption {
                *caption = listed.caption;
                out.line(format_args!("\nList of {caption}s"));
            }
            out.write(format_args!("\n{sheet}"));
        }
        Err(error) => out.error(error),
    }
}

/// What the daemon says, the description, and the encoding as PEM.
fn as_json(event: &Message, view: &View) -> serde_json::Value {
    let mut json = dump::json(event);
    if let (Some(object), Ok(listed)) = (json.as_object_mut(), Listed::from_event(event)) {
        object.remove("data");
        if let Ok(sheet) = listed.describe(view) {
            object.append(&mut sheet.json());
        }
        object.insert("pem".to_owned(), listed.pem().into());
    }
    json
}
