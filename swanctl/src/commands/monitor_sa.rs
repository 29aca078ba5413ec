//! `--monitor-sa`: SAs as they come and go.

use super::list_sas;
use crate::command::{Command, Failure, Given};
use crate::dump;
use crate::output::Format;
use crate::session::{Session, dump_to};
use crate::signals::follow;

pub(crate) const COMMAND: Command = Command {
    name: "monitor-sa",
    short: 'm',
    description: "monitor for IKE_SA and CHILD_SA changes",
    usage: &["[--raw|--pretty|--json]"],
    flags: &[],
    run,
};

fn run(session: &mut Session, _given: &Given) -> Result<(), Failure> {
    for (event, what) in [("ike-updown", "IKE_SAs"), ("child-updown", "CHILD_SAs")] {
        session
            .client()?
            .subscribe(event)
            .map_err(|error| Failure::protocol(&format!("registering for {what}"), &error))?;
    }
    follow(session, |out, event| {
        if dump_to(out, &format!("{} event", event.name), &event.message) {
            return;
        }
        match out.format {
            Format::Json => {
                let mut object = serde_json::Map::new();
                object.insert("event".to_owned(), event.name.as_str().into());
                object.insert("up".to_owned(), (event.message.bool("up") == Some(true)).into());
                object.insert("ike-sas".to_owned(), dump::named(&event.message));
                out.line(serde_json::Value::Object(object));
            }
            // An IKE_SA alone is not shown in human form: its CHILD_SAs follow.
            _ if event.name == "child-updown" => list_sas::print(out, &event.message),
            _ => (),
        }
    })
}
