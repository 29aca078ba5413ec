//! Workers run requests and draw from listings.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam::channel::Receiver;

use super::connection::{Connection, Listing, RequestNumber, Room};
use super::responder::Responder;
use super::shared::{Shared, Work};
use super::{Notice, Request};
use crate::message::Message;
use crate::packet::Packet;

/// Items of a listing drawn before other work gets its turn.
const LISTING_BATCH: usize = 64;

pub(super) fn run(shared: &Arc<Shared>, work: &Receiver<Work>) {
    while let Ok(work) = work.recv() {
        let outcome = match work {
            Work::Stop => return,
            // A panic loses that request, which its responder answers while unwinding, and nothing else.
            Work::Request { connection, request, packet } => {
                catch_unwind(AssertUnwindSafe(|| run_request(shared, &connection, request, &packet)))
            }
            Work::List { connection, request, listing } => {
                let unwinding = Responder::new(Arc::clone(shared), Arc::clone(&connection), request);
                catch_unwind(AssertUnwindSafe(|| list(shared, &connection, request, listing, unwinding)))
            }
        };
        if let Err(panic) = outcome {
            shared.handler.notice(Notice::HandlerPanicked(panic_text(panic.as_ref())));
        }
    }
}

fn run_request(shared: &Arc<Shared>, connection: &Arc<Connection>, request: RequestNumber, packet: &[u8]) {
    let responder = Responder::new(Arc::clone(shared), Arc::clone(connection), request);
    if !connection.is_open() {
        return;
    }
    // only parsable command requests are submitted
    let Ok(Packet::CommandRequest { name, message }) = Packet::parse(packet) else { return };
    let (message, defect) = Message::decode_prefix(message);
    shared.handler.handle(Request { command: name.to_owned(), message, defect }, responder);
}

/// Draws a batch; `responder` answers with an error if that panics.
fn list(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    request: RequestNumber,
    mut listing: Listing,
    responder: Responder,
) {
    for _ in 0..LISTING_BATCH {
        listing = match connection.room(request, listing) {
            Room::Go(listing) => listing,
            Room::Gone(listing) => return responder.reply(&listing.answer),
            Room::Parked => {
                responder.hand_over();
                return shared.signal(connection);
            }
        };
        let Some(message) = listing.items.next() else { return responder.reply(&listing.answer) };
        if let Some(frame) = shared.encode_event(listing.event, &message) {
            connection.push_listed(listing.event, request, &frame);
        }
    }
    responder.hand_over();
    shared.signal(connection);
    shared.submit(Work::List { connection: Arc::clone(connection), request, listing });
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}
