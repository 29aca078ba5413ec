//! What the kernel reports by itself: packets that need an SA, SAs at the end of their lives, moved NAT mappings; and what
//! others do to its tables.

use std::io::{PipeReader, PipeWriter};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ike::ids::{Reqid, Spi};
use netlink_packet_xfrm::constants::{
    XFRM_MSG_DELPOLICY, XFRM_MSG_DELSA, XFRM_MSG_FLUSHPOLICY, XFRM_MSG_FLUSHSA, XFRM_MSG_NEWPOLICY, XFRM_MSG_NEWSA,
    XFRM_MSG_UPDPOLICY, XFRM_MSG_UPDSA, XFRMNLGRP_ACQUIRE, XFRMNLGRP_EXPIRE, XFRMNLGRP_MAPPING, XFRMNLGRP_POLICY,
    XFRMNLGRP_SA,
};
use netlink_packet_xfrm::{AcquireMessage, UserExpire, UserMapping, XfrmAttrs, XfrmMessage};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockFilter;
use strongswan::crypto::Protocol;
use strongswan::log;

use super::message::Message;
use super::selector::{address, family, traffic_selectors};
use super::upkeep::Suspects;
use crate::kernel::netlink::NetlinkError;
use crate::kernel::netlink::socket::{EventSocket, Received};
use crate::kernel::{EventSink, KernelEvent};

/// Groups that are listened to.
const GROUPS: [u32; 5] = [XFRMNLGRP_ACQUIRE, XFRMNLGRP_EXPIRE, XFRMNLGRP_MAPPING, XFRMNLGRP_SA, XFRMNLGRP_POLICY];

/// The least time between two comparisons: somebody may remove policies one by one.
const PAUSE: Duration = Duration::from_millis(100);

/// The thread that receives events. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Events {
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Events {
    /// Starts to listen. `check` is called when others removed something, and when events were thrown away because they came
    /// too fast. `own` names the sender of our own requests.
    pub(super) fn start(
        receive_buffer: usize,
        own: u32,
        sink: EventSink,
        check: impl Fn(Suspects) + Send + 'static,
    ) -> Result<Self, NetlinkError> {
        let socket = EventSocket::open(libc::NETLINK_XFRM, &GROUPS, receive_buffer)?;
        if let Err(error) = socket.filter(&filter(own)) {
            // Then each of our own changes is looked at, for nothing.
            log!(KNL, 2, "unable to filter XFRM events: {error}");
        }
        let (reader, writer) = std::io::pipe().map_err(NetlinkError::Socket)?;
        let run = move || run(socket, &reader, &sink, &check);
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

/// A program of the packet filter that accepts what we did not do ourselves. Whatever is added comes with its keys, and is
/// no concern of ours.
fn filter(own: u32) -> Vec<SockFilter> {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const TYPE: u32 = 4;
    const SENDER: u32 = 12;
    // The filter takes numbers for those of the network, which those of netlink are not.
    let kind = |kind: u16| u32::from(kind.to_be());
    let equal = |value, then, otherwise| SockFilter::new(JUMP_IF_EQUAL, then, otherwise, value);
    vec![
        SockFilter::new(LOAD_HALF, 0, 0, TYPE),
        equal(kind(XFRM_MSG_NEWSA), 8, 0),
        equal(kind(XFRM_MSG_UPDSA), 7, 0),
        equal(kind(XFRM_MSG_NEWPOLICY), 6, 0),
        equal(kind(XFRM_MSG_UPDPOLICY), 5, 0),
        equal(kind(XFRM_MSG_DELSA), 1, 0),
        equal(kind(XFRM_MSG_DELPOLICY), 0, 2),
        SockFilter::new(LOAD_WORD, 0, 0, SENDER),
        equal(own.to_be(), 1, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// What a message says may be missing.
fn suspects(message: &XfrmMessage) -> Suspects {
    let kind = message.message_type();
    Suspects {
        sas: matches!(kind, XFRM_MSG_FLUSHSA | XFRM_MSG_DELSA),
        policies: matches!(kind, XFRM_MSG_FLUSHPOLICY | XFRM_MSG_DELPOLICY),
    }
}

fn run(mut socket: EventSocket, stop: &PipeReader, sink: &EventSink, check: &dyn Fn(Suspects)) {
    let mut pending = Suspects::default();
    let mut not_before = Instant::now();
    loop {
        let now = Instant::now();
        let mut wait = PollTimeout::NONE;
        if pending != Suspects::default() {
            if now >= not_before {
                check(std::mem::take(&mut pending));
                not_before = Instant::now() + PAUSE;
            } else {
                wait = PollTimeout::try_from(not_before.saturating_duration_since(now)).unwrap_or(PollTimeout::ZERO);
            }
        }
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN), PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, wait) {
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
            Ok(message) => {
                let Suspects { sas, policies } = suspects(message.get());
                pending = Suspects { sas: pending.sas || sas, policies: pending.policies || policies };
                event(message.get()).into_iter().for_each(|event| sink(event));
            }
            Err(error) => log!(KNL, 1, "ignoring XFRM event: {error}"),
        });
        match received {
            Ok(Received::All) => {}
            Ok(Received::Lost) => {
                log!(KNL, 1, "XFRM events were lost");
                pending = Suspects { sas: true, policies: true };
            }
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

pub(super) fn protocol(number: u8) -> Option<Protocol> {
    match number {
        50 => Some(Protocol::Esp),
        51 => Some(Protocol::Ah),
        _ => None,
    }
}
