//! `list-policies`: one `list-policy` event for each trap and shunt policy.

use ike::config::Mode;
use vici::{Message, Request, Responder};

use super::Control;
use crate::traps::{Installed, PolicyKind};

pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let request = request.message;
    let mut policies = control.operations.policies();
    policies.retain(|policy| {
        let kind = match policy.kind {
            PolicyKind::Trap(_) => "trap",
            PolicyKind::Pass => "pass",
            PolicyKind::Drop => "drop",
        };
        request.flag(kind)
            && request.str("child").is_none_or(|name| name == &*policy.child.name)
            && request.str("ike").is_none_or(|name| name == &*policy.connection.name)
    });
    responder.stream("list-policy", policies.into_iter().map(|policy| event(&policy)), Message::new());
}

fn event(policy: &Installed) -> Message {
    let child = &policy.child;
    let mut block = Message::new();
    block.push("child", &*child.name);
    let mode = match policy.kind {
        PolicyKind::Trap(reqid) => {
            block.push("reqid", reqid.get());
            child.mode
        }
        PolicyKind::Pass => Mode::Pass,
        PolicyKind::Drop => Mode::Drop,
    };
    block.push("ike", &*policy.connection.name);
    block.push("mode", format_args!("{mode}"));
    block.push_some("label", child.label.as_deref().map(super::show::label));
    block.push_list("local-ts", policy.local_ts.iter().map(ToString::to_string));
    block.push_list("remote-ts", policy.remote_ts.iter().map(ToString::to_string));
    Message::new().with_section(format!("{}/{}", policy.connection.name, child.name), block)
}
