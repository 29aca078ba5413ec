//! What happens to SAs, as vici events.

use std::sync::Arc;

use ike::kernel::Kernel;
use ike::{ChildSaSnapshot, Event, IkeSa, IkeSaSnapshot};
use strongswan::clock::MonoTime;
use strongswan::processing::monotonic;
use vici::{Broadcaster, Message};

use super::show::{self, host};
use crate::bus::{DaemonAlert, Listener};

/// Raises vici events for what observers are told. Events nobody subscribed to cost one look at a counter.
#[derive(Clone)]
pub struct Events {
    broadcaster: Broadcaster,
    /// Knows the counters of SAs.
    kernel: Arc<dyn Kernel>,
}

impl Events {
    pub(super) fn new(broadcaster: Broadcaster, kernel: Arc<dyn Kernel>) -> Arc<Self> {
        Arc::new(Self { broadcaster, kernel })
    }

    fn child_sa(&self, child: &ChildSaSnapshot, now: MonoTime) -> Message {
        show::child_sa(child, now, |id| self.kernel.query_sa(id).ok())
    }

    /// Here the child's section is named without its number.
    fn child_rekey(&self, ike: &IkeSaSnapshot, old: &ChildSaSnapshot, new: &ChildSaSnapshot) -> Message {
        let now = monotonic();
        let both =
            Message::new().with_section("old", self.child_sa(old, now)).with_section("new", self.child_sa(new, now));
        with_children(ike, Message::new().with_section(new.config.name.to_string(), both))
    }
}

impl Listener for Events {
    fn event(&self, ike_sa: &IkeSa, event: &Event) {
        match event {
            Event::IkeStateChange { .. }
            | Event::IkeRedirect { .. }
            | Event::Message { .. }
            | Event::ChildStateChange { .. }
            | Event::ChildUsed { .. }
            | Event::ChildFailed { .. } => {}
            Event::IkeUpDown { up, ike } => self.broadcaster.emit("ike-updown", || {
                let mut message = up_down(*up);
                message.push_section(ike.name().to_owned(), show::ike_sa(ike, monotonic()));
                message
            }),
            Event::IkeRekey { old, new } => self.broadcaster.emit("ike-rekey", || {
                let now = monotonic();
                let both = Message::new()
                    .with_section("old", show::ike_sa(old, now))
                    .with_section("new", show::ike_sa(new, now));
                Message::new().with_section(new.name().to_owned(), both)
            }),
            Event::IkeUpdate { ike, local, remote } => self.broadcaster.emit("ike-update", || {
                Message::new()
                    .with("local-host", host(*local))
                    .with("local-port", local.port())
                    .with("remote-host", host(*remote))
                    .with("remote-port", remote.port())
                    .with_section(ike.name().to_owned(), show::ike_sa(ike, monotonic()))
            }),
            Event::ChildUpDown { up, ike, child } => self.broadcaster.emit("child-updown", || {
                let name = format!("{}-{}", child.config.name, child.unique_id);
                let block = self.child_sa(child, monotonic());
                let mut message = up_down(*up);
                message.append(with_children(ike, Message::new().with_section(name, block)));
                message
            }),
            Event::ChildRekey { ike, old, new } => {
                self.broadcaster.emit("child-rekey", || self.child_rekey(ike, old, new));
            }
            Event::Explained(_) => {}
            Event::Alert(alert) => self.broadcaster.emit("alert", || {
                let shown = ike_sa.snapshot();
                let section = Message::new().with_section(shown.name().to_owned(), show::ike_sa(&shown, monotonic()));
                Message::new().with("type", alert.name()).with_section("ike-sa", section)
            }),
        }
    }

    fn alert(&self, alert: &DaemonAlert) {
        if !matches!(alert, DaemonAlert::ShutdownSignal | DaemonAlert::RadiusNotResponding) {
            // whoever sends us rubbish could fill the queues of all clients with these
            return;
        }
        self.broadcaster.emit("alert", || Message::new().with("type", alert.name()));
    }
}

/// `up = yes`, or nothing.
fn up_down(up: bool) -> Message {
    let mut message = Message::new();
    if up {
        message.push("up", true);
    }
    message
}

/// The section of an IKE_SA with a `child-sas` section.
fn with_children(ike: &IkeSaSnapshot, children: Message) -> Message {
    let block = show::ike_sa(ike, monotonic()).with_section("child-sas", children);
    Message::new().with_section(ike.name().to_owned(), block)
}
