//! `--list-authorities`: the loaded certification authorities.

use vici::{Message, Value};

use crate::command::{Command, Failure, Given};
use crate::getopt::Flag;
use crate::output::Output;
use crate::session::{Listing, Session, sections_as_json};

pub(crate) const COMMAND: Command = Command {
    name: "list-authorities",
    short: 'B',
    description: "list loaded authority configurations",
    usage: &["[--name <name>] [--raw|--pretty|--json]"],
    flags: &[Flag::value("name", 'n', "show only this authority")],
    run,
};

fn run(session: &mut Session, given: &Given) -> Result<(), Failure> {
    let mut request = Message::new();
    request.push_some("name", given.value('n'));
    // The label is strongSwan's, though the event has another name.
    let listing = Listing {
        command: "list-authorities",
        event: "list-authority",
        label: "list-authorities event",
        what: "authorities",
    };
    session.list(&listing, &request, print, sections_as_json)
}

fn print(out: &mut Output, event: &Message) {
    for (name, authority) in event.sections() {
        out.line(format_args!("{name}:"));
        for item in authority.items() {
            match item.value() {
                Value::Scalar(_) => {
                    if let Some(value) = authority.str(item.name()) {
                        out.line(format_args!("  {}: {value}", item.name()));
                    }
                }
                Value::List(_) => {
                    for (index, uri) in authority.strs(item.name()).enumerate() {
                        // Only the first CRL URI has its title, every OCSP URI has.
                        let title = match item.name() {
                            "crl_uris" if index > 0 => "             ".to_owned(),
                            "crl_uris" => "  crl_uris:  ".to_owned(),
                            name => format!("  {name}: "),
                        };
                        out.line(format_args!("{title}{uri}"));
                    }
                }
                Value::Section(_) => (),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, capture};

    #[test]
    fn layout() {
        let authority = Message::new()
            .with("cacert", "C=CH, CN=ca")
            .with_list("crl_uris", ["http://a", "http://b"])
            .with_list("ocsp_uris", ["http://c", "http://d"])
            .with("cert_uri_base", "http://e");
        let (mut out, buffer) = capture::output(Format::Human);
        print(&mut out, &Message::new().with_section("ca", authority));
        assert_eq!(
            buffer.text(),
            "ca:\n  cacert: C=CH, CN=ca\n  crl_uris:  http://a\n             http://b\n  ocsp_uris: http://c\n  ocsp_uris: http://d\n  cert_uri_base: http://e\n"
        );
    }
}
