//! `initiate`: establish an IKE_SA or a CHILD_SA, with log lines as `control-log` events.

use std::sync::Arc;

use vici::{Message, Request, Responder};

use super::log::progress;
use super::operations::{InitiateOutcome, Initiation, Wait};
use super::{Control, answer};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let initiation = match Named::find(control, &request.message) {
        Ok(initiation) => initiation,
        Err(errmsg) => return answer(responder, Err(errmsg)),
    };
    let (name, timeout) = (initiation.name, request.message.int("timeout").unwrap_or(0));
    let progress = progress(&request.message, initiation.what.wait, &responder);
    let done = move |outcome| answer(responder, judge(outcome, &name, timeout));
    control.operations.initiate(initiation.what, progress, Box::new(done));
}

fn judge(outcome: InitiateOutcome, name: &str, timeout: i64) -> Result<Message, String> {
    match outcome {
        InitiateOutcome::Established => Ok(Message::success()),
        InitiateOutcome::TimedOut => Err(format!("{name} not established after {timeout}ms")),
        InitiateOutcome::Limited => Err(format!("establishing {name} not possible at the moment due to limits")),
        InitiateOutcome::Failed => Err(format!("establishing {name} failed")),
    }
}

/// What to initiate and how answers call it.
struct Named {
    what: Initiation,
    name: String,
}

impl Named {
    fn find(control: &Control, message: &Message) -> Result<Self, String> {
        let (child, ike) = (message.str("child"), message.str("ike"));
        let (connection, child, name) = match (child, ike) {
            (None, None) => return Err("missing configuration name".to_owned()),
            (Some(name), ike) => {
                let found = control.connections.find_child(ike, name);
                let (connection, child) = found.ok_or_else(|| format!("CHILD_SA config '{name}' not found"))?;
                (connection, Some(child), format!("CHILD_SA '{name}'"))
            }
            (None, Some(name)) => {
                let found = control.connections.get(name);
                let connection = found.ok_or_else(|| format!("IKE_SA config '{name}' not found"))?;
                (connection, None, format!("IKE_SA '{name}'"))
            }
        };
        let what = Initiation {
            connection: Arc::clone(&connection),
            child,
            limits: message.bool("init-limits").unwrap_or(false),
            wait: Wait::from_millis(message.int("timeout").unwrap_or(0)),
        };
        Ok(Self { what, name })
    }
}
