//! `--reload-settings`: lets the daemon read strongswan.conf again.

use vici::Message;

use crate::command::{Command, Failure, Given};
use crate::dump;
use crate::output::Format;
use crate::session::Session;

pub(crate) const COMMAND: Command = Command {
    name: "reload-settings",
    short: 'r',
    description: "reload daemon strongswan.conf",
    usage: &["[--raw|--pretty|--json]"],
    flags: &[],
    run,
};

fn run(session: &mut Session, _given: &Given) -> Result<(), Failure> {
    let answer = session.request("reload-settings", &Message::new())?;
    if session.dump("reload-settings reply", &answer) {
        return Ok(());
    }
    if session.out.format == Format::Json {
        session.out.line(dump::json(&answer));
    }
    // In human form success has nothing to say.
    answer.into_result().map(drop).map_err(|error| Failure::Failed(format!("reload-settings failed: {error}"), 1))
}
