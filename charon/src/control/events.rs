//! What happens to SAs, as vici events.

use ike::kernel::{SaId, SaUsage};
use ike::{ChildSaSnapshot, Event, IkeSaSnapshot};
use strongswan::processing::monotonic;
use vici::{Broadcaster, Message};

use super::show::{child_sa, host, ike_sa};

/// Raises vici events for what observers are told about IKE_SAs.
#[derive(Debug, Clone)]
pub struct Events {
    broadcaster: Broadcaster,
}

impl Events {
    pub(super) fn new(broadcaster: Broadcaster) -> Self {
        Self { broadcaster }
    }

    /// Raises the vici event for `event`, if there is one and anybody subscribed to it. `ike` is the IKE_SA of events
    /// that do not carry it themselves; `usage` asks the data plane for the counters of an SA.
    pub fn raise(&self, event: &Event, ike: Option<&IkeSaSnapshot>, usage: impl Fn(&SaId) -> Option<SaUsage>) {
        match event {
            Event::IkeStateChange { .. } | Event::ChildStateChange { .. } | Event::ChildFailed { .. } => {}
            Event::IkeUpDown { up, ike } => self.broadcaster.emit("ike-updown", || {
                let mut message = up_down(*up);
                message.push_section(ike.name().to_owned(), ike_sa(ike, monotonic()));
                message
            }),
            Event::IkeRekey { old, new } => self.broadcaster.emit("ike-rekey", || {
                let now = monotonic();
                let both = Message::new().with_section("old", ike_sa(old, now)).with_section("new", ike_sa(new, now));
                Message::new().with_section(new.name().to_owned(), both)
            }),
            Event::IkeUpdate { ike, local, remote } => self.broadcaster.emit("ike-update", || {
                Message::new()
                    .with("local-host", host(*local))
                    .with("local-port", local.port())
                    .with("remote-host", host(*remote))
                    .with("remote-port", remote.port())
                    .with_section(ike.name().to_owned(), ike_sa(ike, monotonic()))
            }),
            Event::ChildUpDown { up, ike, child } => self.broadcaster.emit("child-updown", || {
                let name = format!("{}-{}", child.config.name, child.unique_id);
                let block = child_sa(child, monotonic(), usage);
                let mut message = up_down(*up);
                message.append(with_children(ike, Message::new().with_section(name, block)));
                message
            }),
            Event::ChildRekey { ike, old, new } => {
                self.broadcaster.emit("child-rekey", || child_rekey(ike, old, new, usage))
            }
            Event::Alert(alert) => self.broadcaster.emit("alert", || {
                let mut message = Message::new().with("type", alert.name());
                if let Some(ike) = ike {
                    let section = Message::new().with_section(ike.name().to_owned(), ike_sa(ike, monotonic()));
                    message.push_section("ike-sa", section);
                }
                message
            }),
        }
    }

    /// Raises the alert that announces the end of the daemon.
    pub fn shutdown(&self) {
        self.broadcaster.emit("alert", || Message::new().with("type", "shutdown-signal"));
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
    let block = ike_sa(ike, monotonic()).with_section("child-sas", children);
    Message::new().with_section(ike.name().to_owned(), block)
}

/// Here the child's section is named without its number.
fn child_rekey(
    ike: &IkeSaSnapshot,
    old: &ChildSaSnapshot,
    new: &ChildSaSnapshot,
    usage: impl Fn(&SaId) -> Option<SaUsage>,
) -> Message {
    let now = monotonic();
    let both =
        Message::new().with_section("old", child_sa(old, now, &usage)).with_section("new", child_sa(new, now, &usage));
    with_children(ike, Message::new().with_section(new.config.name.to_string(), both))
}
