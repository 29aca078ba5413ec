//! `initiate`: establish an IKE_SA or a CHILD_SA, with log lines as `control-log` events.

use std::sync::Arc;

use ike::config::{ChildConfig, PeerConfig};
use vici::{Message, Request, Responder};

use super::log::watch;
use super::operations::Wait;
use super::{Answer, Control, answer, show};
use crate::controller::Completion;

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let message = &request.message;
    let Found { connection, child, name } = match find(control, message) {
        Ok(found) => found,
        Err(errmsg) => return answer(responder, Err(errmsg)),
    };
    let limits = message.bool("init-limits").unwrap_or(false);
    let timeout = message.int("timeout").unwrap_or(0);
    let wait = Wait::from_millis(timeout);
    let watch = watch(message, wait, responder.emitter(), move |completion| {
        answer(responder, judge(completion, &name, timeout));
    });
    if wait == Wait::No {
        control.operations.start(connection, child, limits, watch);
    } else {
        control.operations.initiate(connection, child, limits, watch);
    }
}

fn judge(completion: Completion, name: &str, timeout: i64) -> Answer {
    match completion {
        Completion::Success => Ok(Message::success()),
        // the text is strongSwan's; clients that do not know the section ignore it
        Completion::Failed(Some(why)) => {
            let failure = Message::failure(format!("establishing {name} failed"));
            Ok(failure.with_section("explanation", show::explanation(&why)))
        }
        Completion::Timeout => Err(format!("{name} not established after {timeout}ms")),
        Completion::Limits => Err(format!("establishing {name} not possible at the moment due to limits")),
        Completion::Failed(None) => Err(format!("establishing {name} failed")),
    }
}

/// What to initiate and how answers call it.
struct Found {
    connection: Arc<PeerConfig>,
    child: Option<Arc<ChildConfig>>,
    name: String,
}

fn find(control: &Control, message: &Message) -> Result<Found, String> {
    match (message.str("child"), message.str("ike")) {
        (None, None) => Err("missing configuration name".to_owned()),
        (Some(name), ike) => {
            let found = control.connections.find_child(ike, name);
            let (connection, child) = found.ok_or_else(|| format!("CHILD_SA config '{name}' not found"))?;
            Ok(Found { connection, child: Some(child), name: format!("CHILD_SA '{name}'") })
        }
        (None, Some(name)) => {
            let found = control.connections.get(name);
            let connection = found.ok_or_else(|| format!("IKE_SA config '{name}' not found"))?;
            Ok(Found { connection, child: None, name: format!("IKE_SA '{name}'") })
        }
    }
}
