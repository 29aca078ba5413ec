//! `--counters`: IKE events, counted.

use serde_json::json;
use vici::Message;

use crate::command::{Command, Failure, Given};
use crate::dump;
use crate::getopt::Flag;
use crate::output::{Format, Output};
use crate::session::Session;

pub(crate) const COMMAND: Command = Command {
    name: "counters",
    short: 'C',
    description: "list or reset IKE event counters",
    usage: &["[--name <name>|--all] [--reset]", "[--raw|--pretty|--json]"],
    flags: &[
        Flag::value("name", 'n', "counters of this connection, instead of the global ones"),
        Flag::switch("all", 'a', "counters of every connection"),
        Flag::switch("reset", 'R', "reset the counters"),
    ],
    run,
};

fn run(session: &mut Session, given: &Given) -> Result<(), Failure> {
    let mut request = Message::new();
    if given.has('a') {
        request.push("all", true);
    } else {
        request.push_some("name", given.value('n'));
    }
    let command = if given.has('R') { "reset-counters" } else { "get-counters" };
    let answer = session.request(command, &request)?;
    if session.dump("counters reply", &answer) {
        return Ok(());
    }
    let empty = Message::new();
    let counters = answer.section("counters").unwrap_or(&empty);
    if session.out.format == Format::Json {
        session.out.line(if given.has('R') { dump::json(&answer) } else { json!(as_json(counters)) });
    }
    if let Err(error) = answer.clone().into_result() {
        return Err(Failure::Failed(format!("{command} failed: {error}"), 1));
    }
    if session.out.format == Format::Human {
        if given.has('R') {
            session.out.line("reset-counters completed successfully");
        }
        print(&mut session.out, counters);
    }
    Ok(())
}

fn print(out: &mut Output, counters: &Message) {
    for (name, section) in counters.sections() {
        out.line(format_args!("{}:", if name.is_empty() { "global" } else { name }));
        for (counter, _) in section.scalars() {
            out.line(format_args!("  {counter:22}: {}", section.str(counter).unwrap_or_default()));
        }
    }
}

fn as_json(counters: &Message) -> Vec<serde_json::Value> {
    counters
        .sections()
        .map(|(name, section)| {
            let mut object = serde_json::Map::new();
            object.insert("name".to_owned(), if name.is_empty() { json!(null) } else { json!(name) });
            for (counter, _) in section.scalars() {
                object.insert(counter.to_owned(), json!(section.int(counter)));
            }
            serde_json::Value::Object(object)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::capture;

    #[test]
    fn layout() {
        let counters = Message::new()
            .with_section("", Message::new().with("ike-rekey-init", 0_u32).with("create-child-out-resp", 12_u32))
            .with_section("gw", Message::new().with("invalid", 3_u32));
        let (mut out, buffer) = capture::output(Format::Human);
        print(&mut out, &counters);
        assert_eq!(
            buffer.text(),
            "global:\n  ike-rekey-init        : 0\n  create-child-out-resp : 12\ngw:\n  invalid               : 3\n"
        );
        assert_eq!(
            json!(as_json(&counters)).to_string(),
            r#"[{"name":null,"ike-rekey-init":0,"create-child-out-resp":12},{"name":"gw","invalid":3}]"#
        );
    }
}
