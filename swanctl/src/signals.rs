//! Following events until the user has seen enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use vici::{ClientError, Event};

use crate::command::{CONNECTION_RESET, Failure};
use crate::output::Output;
use crate::session::Session;

/// How long a wait for an event lasts before it looks for a signal again.
const POLL: Duration = Duration::from_millis(200);

/// Calls `each` for every event until SIGINT or SIGTERM, or until the daemon closes the connection.
pub(crate) fn follow(session: &mut Session, mut each: impl FnMut(&mut Output, &Event)) -> Result<(), Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|error| Failure::Failed(format!("registering for signals failed: {error}"), 1))?;
    }
    loop {
        if interrupted.load(Ordering::Relaxed) {
            session.out.error("disconnecting...");
            return Ok(());
        }
        match session.client()?.next_event(Some(POLL)) {
            Ok(Some(event)) => {
                each(&mut session.out, &event);
                session.out.flush();
            }
            Ok(None) => (),
            Err(ClientError::Closed) => {
                session.out.error("connection closed");
                return Err(Failure::Exit(CONNECTION_RESET));
            }
            Err(error) => return Err(Failure::protocol("receiving events", &error)),
        }
        if session.out.is_closed() {
            return Ok(());
        }
    }
}
