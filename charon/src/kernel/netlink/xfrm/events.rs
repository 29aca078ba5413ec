//! What the kernel reports by itself: packets that need an SA, SAs at the end of their lives, moved NAT mappings.

use std::io::{PipeReader, PipeWriter};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread::JoinHandle;

use ike::ids::{Reqid, Spi};
use netlink_packet_xfrm::constants::{XFRMNLGRP_ACQUIRE, XFRMNLGRP_EXPIRE, XFRMNLGRP_MAPPING};
use netlink_packet_xfrm::{AcquireMessage, UserExpire, UserMapping, XfrmAttrs, XfrmMessage};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use strongswan::crypto::Protocol;
use strongswan::log;

use super::message::Message;
use super::selector::{address, family, traffic_selectors};
use crate::kernel::netlink::NetlinkError;
use crate::kernel::netlink::socket::{EventSocket, Received};
use crate::kernel::{EventSink, KernelEvent};

/// Groups that are listened to.
const GROUPS: [u32; 3] = [XFRMNLGRP_ACQUIRE, XFRMNLGRP_EXPIRE, XFRMNLGRP_MAPPING];

/// The thread that receives events. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Events {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Events {
    /// Starts to listen. `lost` is called when events were thrown away because they came too fast.
    pub(super) fn start(
        receive_buffer: usize,
        sink: EventSink,
        lost: impl Fn() + Send + 'static,
    ) -> Result<Self, NetlinkError> {
        let socket = EventSocket::open(libc::NETLINK_XFRM, &GROUPS, receive_buffer)?;
        let (reader, writer) = std::io::pipe().map_err(NetlinkError::Socket)?;
        let run = move || run(socket, &reader, &sink, &lost);
        let thread = std::thread::Builder::new().name("xfrm-events".to_owned()).spawn(run);
        let thread = thread.map_err(NetlinkError::Socket)?;
        Ok(Self { stop: Some(writer), thread: Some(thread) })
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log!(KNL, 1, "the thread that receives XFRM events has panicked");
        }
    }
}

fn run(mut socket: EventSocket, stop: &PipeReader, sink: &EventSink, lost: &dyn Fn()) {
    loop {
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                log!(KNL, 1, "waiting for XFRM events failed: {error}");
                return;
            }
        }
        let [_, stop] = fds;
        if stop.revents().is_some_and(|revents| !revents.is_empty()) {
            return;
        }
        let received = socket.receive(|message: Result<Message, _>| match message {
            Ok(message) => event(message.get()).into_iter().for_each(|event| sink(event)),
            Err(error) => log!(KNL, 1, "ignoring XFRM event: {error}"),
        });
        match received {
            Ok(Received::All) => {}
            Ok(Received::Lost) => lost(),
            Err(error) => {
                log!(KNL, 1, "receiving XFRM events failed: {error}");
                return;
            }
        }
    }
}

/// What a message of the kernel means to us, if anything.
pub(super) fn event(message: &XfrmMessage) -> Option<KernelEvent> {
    match message {
        XfrmMessage::Acquire(acquire) => acquired(acquire),
        XfrmMessage::Expire(expire) => expired(&expire.expire),
        XfrmMessage::Mapping(mapping) => mapped(&mapping.map),
        _ => None,
    }
}

fn acquired(message: &AcquireMessage) -> Option<KernelEvent> {
    let acquire = &message.acquire;
    let reqid = message.nlas.iter().find_map(|attribute| match attribute {
        XfrmAttrs::Template(templates) => templates.first().and_then(|template| Reqid::new(template.reqid)),
        _ => None,
    });
    protocol(acquire.id.proto).or_else(|| (acquire.id.proto == 0).then_some(Protocol::Esp))?;
    let Some(reqid) = reqid else {
        log!(KNL, 2, "received a XFRM_MSG_ACQUIRE without reqid, ignored");
        return None;
    };
    let mut selector = acquire.selector;
    if selector.family == 0 {
        selector.family = acquire.policy.selector.family;
    }
    let (source, destination) = traffic_selectors(&selector)?;
    Some(KernelEvent::Acquire { reqid, source, destination })
}

fn expired(expire: &UserExpire) -> Option<KernelEvent> {
    let state = &expire.state;
    Some(KernelEvent::Expire {
        protocol: protocol(state.id.proto)?,
        // A larval SA that nobody came to install has an SPI too, if one was asked for.
        spi: Spi::new(state.id.spi)?,
        destination: address(&state.id.daddr, state.family),
        hard: expire.hard != 0,
    })
}

fn mapped(mapping: &UserMapping) -> Option<KernelEvent> {
    if mapping.old_sport == 0 {
        // Any port was right.
        return None;
    }
    let destination = address(&mapping.id.daddr, mapping.id.family);
    Some(KernelEvent::Mapping {
        protocol: protocol(mapping.id.proto)?,
        spi: Spi::new(mapping.id.spi)?,
        destination,
        remote: SocketAddr::new(address(&mapping.new_saddr, family(destination)), mapping.new_sport),
    })
}

fn protocol(number: u8) -> Option<Protocol> {
    match number {
        50 => Some(Protocol::Esp),
        51 => Some(Protocol::Ah),
        _ => None,
    }
}
