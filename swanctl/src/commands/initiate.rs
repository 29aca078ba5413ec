//! `--initiate`: sets up a connection, showing what happens.

use serde_json::json;
use vici::Message;

use crate::command::{Command, Failure, Given};
use crate::dump;
use crate::fields::{needed, optional};
use crate::getopt::Flag;
use crate::output::{Format, Output};
use crate::session::{Session, dump_to};

pub(crate) const COMMAND: Command = Command {
    name: "initiate",
    short: 'i',
    description: "initiate a connection",
    usage: &[
        "--child <name>|--ike <name> [--child <name> --ike <name>]",
        "[--timeout <s>] [--loglevel <level>] [--raw|--pretty|--json]",
    ],
    flags: &[
        Flag::value("child", 'c', "initiate this CHILD_SA configuration"),
        Flag::value("ike", 'i', "initiate this IKE_SA, or the connection that has the child"),
        Flag::value("timeout", 't', "seconds to wait at most"),
        Flag::value("loglevel", 'l', "level of the messages to show, default 1"),
    ],
    run,
};

fn run(session: &mut Session, given: &Given) -> Result<(), Failure> {
    let mut request = Message::new();
    request.push_some("child", given.value('c')).push_some("ike", given.value('i'));
    push_control(&mut request, given);
    control(session, "initiate", &request)
}

/// Timeout and log level, as `initiate` and `terminate` have them.
pub(super) fn push_control(request: &mut Message, given: &Given) {
    let milliseconds = given.number('t').map(|seconds| seconds.saturating_mul(1000));
    request.push_some("timeout", milliseconds.filter(|timeout| *timeout != 0));
    request.push("loglevel", given.number('l').unwrap_or(1));
}

/// Runs a command that reports its progress, and says how it ended.
pub(super) fn control(session: &mut Session, command: &str, request: &Message) -> Result<(), Failure> {
    let mut lines = Vec::new();
    let mut answer = session.stream(command, "control-log", "log", request, |out, event| {
        if out.format == Format::Json {
            lines.push(dump::json(&event));
        } else {
            print(out, &event);
        }
        out.flush();
    })?;
    if session.out.format != Format::Json {
        return session.conclude(command, &answer).map_err(|failure| match failure {
            Failure::Failed(text, code) => Failure::Failed(text + &explained(&answer), code),
            other => other,
        });
    }
    let mut object = dump::json(&answer);
    if let Some(object) = object.as_object_mut() {
        object.insert("log".to_owned(), json!(lines));
    }
    session.out.line(object);
    session.out.format = Format::Human;
    answer = match answer.into_result() {
        Ok(_) => return Ok(()),
        Err(error) => Message::failure(error.errmsg),
    };
    session.conclude(command, &answer)
}

/// The lines that follow a failure: what failed, what did not fit, and what to change.
fn explained(answer: &Message) -> String {
    let Some(explanation) = answer.section("explanation") else { return String::new() };
    let mut lines = format!("\n{}", needed(explanation, "text"));
    for (_, mismatch) in explanation.section("mismatches").into_iter().flat_map(Message::sections) {
        lines.push_str(&format!("\n  {}: we have {}", needed(mismatch, "field"), needed(mismatch, "ours")));
        lines.push_str(&optional(mismatch, "theirs", |theirs| format!(", the peer has {theirs}")));
        lines.push_str(&optional(mismatch, "why", |why| format!(" ({why})")));
        lines.push_str(&format!("\n    {}", needed(mismatch, "advice")));
    }
    lines
}

fn print(out: &mut Output, event: &Message) {
    if !dump_to(out, "log", event) {
        out.line(format_args!("[{}] {}", needed(event, "group"), text(event)));
    }
}

/// The message of a log event, whatever bytes it has.
pub(super) fn text(event: &Message) -> String {
    event.get("msg").map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanations_follow_the_failure() {
        let mismatch = Message::new()
            .with("field", "connections.gw.children.net.local_ts")
            .with("ours", "10.1.0.0/16")
            .with("theirs", "10.3.0.0/16")
            .with("why", "because")
            .with("advice", "add 10.3.0.0/16 to connections.gw.children.net.local_ts");
        let explanation = Message::new()
            .with("text", "CHILD_SA with 192.0.2.2 failed, the peer refused it")
            .with_section("mismatches", Message::new().with_section("1", mismatch));
        let answer = Message::failure("establishing CHILD_SA 'net' failed").with_section("explanation", explanation);
        assert_eq!(
            explained(&answer),
            "\nCHILD_SA with 192.0.2.2 failed, the peer refused it\n  connections.gw.children.net.local_ts: we have \
             10.1.0.0/16, the peer has 10.3.0.0/16 (because)\n    add 10.3.0.0/16 to \
             connections.gw.children.net.local_ts"
        );
        assert_eq!(explained(&Message::failure("limits")), "");
    }
}
