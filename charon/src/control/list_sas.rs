//! `list-sas`: one `list-sa` event for each IKE_SA.

use std::sync::Arc;
use std::time::Duration;

use ike::IkeSaSnapshot;
use strongswan::processing::monotonic;
use vici::{Message, Request, Responder};

use super::Control;
use super::operations::Operations;
use super::selector::Selector;
use super::show::{child_sa, ike_sa};

/// How long an IKE_SA that is being worked on is waited for; work on one takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// `noblock` asks to skip IKE_SAs that are being worked on.
pub(super) fn run(control: &Control, request: Request, responder: Responder) {
    let selector = Selector::from_message(&request.message);
    let wait = if request.message.flag("noblock") { Duration::ZERO } else { PATIENCE };
    let operations = Arc::clone(&control.operations);
    let events = selector.ike_sas(&*operations).into_iter().filter_map(move |id| {
        let ike = operations.snapshot(id, wait)?;
        Some(event(&*operations, &ike, &selector))
    });
    responder.stream("list-sa", events, Message::new());
}

/// The IKE_SA with those of its CHILD_SAs that are asked for.
fn event(operations: &dyn Operations, ike: &IkeSaSnapshot, selector: &Selector) -> Message {
    let now = monotonic();
    let mut children = Message::new();
    for child in ike.children.iter().filter(|child| selector.fits_child(child)) {
        let name = format!("{}-{}", child.config.name, child.unique_id);
        children.push_section(name, child_sa(child, now, |id| operations.usage(id)));
    }
    let mut block = ike_sa(ike, now);
    block.push_section("child-sas", children);
    Message::new().with_section(ike.name().to_owned(), block)
}
