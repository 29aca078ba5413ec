//! `--log`: the daemon's log as it is written.

use crate::command::{Command, Failure, Given};
use crate::dump;
use crate::fields::{needed, number};
use crate::output::{Format, Output};
use crate::session::{Session, dump_to};
use crate::signals::follow;

pub(crate) const COMMAND: Command = Command {
    name: "log",
    short: 'T',
    description: "trace logging output",
    usage: &["[--raw|--pretty|--json]"],
    flags: &[],
    run,
};

fn run(session: &mut Session, _given: &Given) -> Result<(), Failure> {
    session.client()?.subscribe("log").map_err(|error| Failure::protocol("registering for log", &error))?;
    follow(session, |out, event| print(out, &event.message))
}

fn print(out: &mut Output, event: &vici::Message) {
    if dump_to(out, "log", event) {
        return;
    }
    if out.format == Format::Json {
        out.line(dump::json(event));
        return;
    }
    for line in super::initiate::text(event).lines() {
        out.line(format_args!("{:02}[{}] {line}", number(event, "thread"), needed(event, "group")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::capture;

    #[test]
    fn every_line_has_its_prefix() {
        let (mut out, buffer) = capture::output(Format::Human);
        print(
            &mut out,
            &vici::Message::new().with("group", "IKE").with("level", 1).with("thread", 9).with("msg", "one\ntwo"),
        );
        assert_eq!(buffer.text(), "09[IKE] one\n09[IKE] two\n");
    }
}
