//! Netlink sockets: requests with their answers, and events that the kernel sends by itself (netlink(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use nix::errno::Errno;
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce};
use nix::sys::socket::{MsgFlags, NetlinkAddr, bind, getsockname, recv, setsockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use strongswan::sync::Mutex;
use zeroize::{Zeroize, Zeroizing};

use super::options::{CapAck, ExtAck};

/// The kernel fills at most this much of a dump into one datagram.
const RECEIVE_BUFFER: usize = 32 * 1024;

/// The kernel answers at once; a lost answer must not hang a worker.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket failed.
    #[error("netlink socket: {0}")]
    Socket(#[source] io::Error),
    /// The kernel refused the request.
    #[error("received netlink error: {error}{}", Explained(.reason))]
    Refused {
        /// What the kernel returned.
        #[source]
        error: io::Error,
        /// What the kernel has to say about it.
        reason: Option<String>,
    },
    /// The answer does not parse.
    #[error("malformed netlink message: {0}")]
    Malformed(String),
}

struct Explained<'a>(&'a Option<String>);

impl std::fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|reason| write!(f, " ({reason})"))
    }
}

impl NetlinkError {
    /// The kernel's error number, if it refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { error, .. } => error.raw_os_error(),
            Self::Socket(_) | Self::Malformed(_) => None,
        }
    }

    /// Whether the kernel says that the object exists already.
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(libc::EEXIST)
    }

    /// Whether the kernel says that there is no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(self.errno(), Some(libc::ESRCH | libc::ENOENT))
    }
}

/// A socket of one netlink family. Requests are serialised.
#[derive(Debug)]
pub(super) struct NetlinkSocket {
    /// A leaf lock, held for the round trip to the kernel.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
    /// Our address, if requests should bear it.
    port: u32,
}

fn open_raw(family: i32) -> io::Result<Socket> {
    Socket::new_raw(Domain::from(libc::AF_NETLINK), Type::RAW.cloexec(), Some(Protocol::from(family)))
}

impl NetlinkSocket {
    /// Opens a socket for `family`, such as `libc::NETLINK_ROUTE`.
    pub(super) fn open(family: i32) -> Result<Self, NetlinkError> {
        let open = || {
            let socket = open_raw(family)?;
            socket.set_read_timeout(Some(TIMEOUT))?;
            // Errors come with an explanation and without the request, which may hold keys. Old kernels do neither.
            let _unexplained = setsockopt(&socket, ExtAck, &1).and_then(|()| setsockopt(&socket, CapAck, &1));
            Ok(socket)
        };
        let socket = open().map_err(NetlinkError::Socket)?;
        Ok(Self { state: Mutex::new(State { socket, sequence: 0, buffer: vec![0; RECEIVE_BUFFER], port: 0 }) })
    }

    /// Signs requests from now on: returns the address by which the kernel names their sender in what it tells others.
    pub(super) fn sign(&self) -> Result<u32, NetlinkError> {
        let mut state = self.state.lock();
        let address = || -> Result<NetlinkAddr, Errno> {
            // It has one only once it is bound; binding it again to the same one is fine.
            let fd = state.socket.as_raw_fd();
            let current: NetlinkAddr = getsockname(fd)?;
            if current.pid() == 0 {
                bind(fd, &NetlinkAddr::new(0, 0))?;
            }
            getsockname(fd)
        };
        let address = address().map_err(|error| NetlinkError::Socket(error.into()))?;
        state.port = address.pid();
        Ok(state.port)
    }

    /// Sends a request and collects what the kernel answers until it acknowledges, refuses, or a dump is complete.
    ///
    /// Nothing of what was sent and received remains in memory: both may hold keys.
    pub(super) fn request<M>(&self, message: M, flags: u16) -> Result<Vec<M>, NetlinkError>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        let mut state = self.state.lock();
        let State { socket, sequence, buffer, port } = &mut *state;
        *sequence = sequence.wrapping_add(1);
        let bytes = encode(message, *sequence, flags, *port);
        socket.send(&bytes).map_err(NetlinkError::Socket)?;

        let mut answers = Vec::new();
        loop {
            let received = receive(socket.as_fd(), buffer, MsgFlags::empty()).map_err(NetlinkError::Socket)?;
            let datagram = buffer.get_mut(..received).ok_or_else(|| NetlinkError::Malformed("truncated".to_owned()))?;
            let done = collect(datagram, *sequence, &mut answers);
            datagram.zeroize();
            if done? {
                return Ok(answers);
            }
        }
    }
}

fn encode<M: NetlinkSerializable>(message: M, sequence: u32, flags: u16, port: u32) -> Zeroizing<Vec<u8>> {
    let mut message = NetlinkMessage::new(Default::default(), NetlinkPayload::InnerMessage(message));
    message.header.sequence_number = sequence;
    // Comes back in what the kernel tells others about it.
    message.header.port_number = port;
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    message.finalize();
    let mut bytes = Zeroizing::new(vec![0; message.buffer_len()]);
    message.serialize(&mut bytes);
    bytes
}

/// Adds the answers to request `sequence` from a datagram. Returns whether they are complete.
fn collect<M: NetlinkDeserializable>(
    datagram: &[u8],
    sequence: u32,
    answers: &mut Vec<M>,
) -> Result<bool, NetlinkError> {
    for message in messages(datagram) {
        let message: NetlinkMessage<M> = message?;
        if message.header.sequence_number != sequence {
            // The late answer to a request that timed out.
            continue;
        }
        match message.payload {
            NetlinkPayload::InnerMessage(answer) => answers.push(answer),
            NetlinkPayload::Error(error) if error.code.is_some() => {
                let reason = explanation(message.header.flags, &error.header);
                return Err(NetlinkError::Refused { error: error.to_io(), reason });
            }
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

/// The messages in a datagram. The first malformed one is the last.
fn messages<M: NetlinkDeserializable>(
    mut datagram: &[u8],
) -> impl Iterator<Item = Result<NetlinkMessage<M>, NetlinkError>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let message = NetlinkMessage::<M>::deserialize(datagram);
        let length = message.as_ref().map_or(usize::MAX, |message| {
            // Checked against the datagram by the parser.
            usize::try_from(message.header.length).unwrap_or(usize::MAX).saturating_add(3) & !3
        });
        datagram = datagram.get(length..).unwrap_or_default();
        Some(message.map_err(|error| NetlinkError::Malformed(error.to_string())))
    })
}

/// The text of an extended acknowledgement: `error` is what follows the error number.
fn explanation(flags: u16, error: &[u8]) -> Option<String> {
    const NLM_F_CAPPED: u16 = 0x100;
    const NLM_F_ACK_TLVS: u16 = 0x200;
    const NLMSGERR_ATTR_MSG: u16 = 1;
    const HEADER_LEN: usize = 16;

    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let skip = if flags & NLM_F_CAPPED != 0 {
        HEADER_LEN
    } else {
        usize::try_from(u32::from_ne_bytes(*error.first_chunk()?)).ok()?.checked_next_multiple_of(4)?
    };
    let text = NlasIterator::new(error.get(skip..)?).flatten().find(|nla| nla.kind() == NLMSGERR_ATTR_MSG)?;
    let text = String::from_utf8_lossy(text.value());
    Some(text.trim_end_matches('\0').to_owned())
}

/// Like recv(2), but returns the length of the datagram even if the buffer is shorter.
fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: MsgFlags) -> io::Result<usize> {
    loop {
        match recv(fd.as_raw_fd(), buffer, flags | MsgFlags::MSG_TRUNC) {
            Err(Errno::EINTR) => {}
            result => return result.map_err(Into::into),
        }
    }
}

/// Receives what the kernel tells to multicast groups.
#[derive(Debug)]
pub(super) struct EventSocket {
    socket: Socket,
    buffer: Vec<u8>,
}

/// How receiving events ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// Nothing is left.
    All,
    /// The kernel had to throw events away.
    Lost,
}

impl EventSocket {
    /// Listens to groups of `family`, by number, with a receive buffer of that many bytes if we may.
    pub(super) fn open(family: i32, groups: &[u32], receive_buffer: usize) -> Result<Self, NetlinkError> {
        let mask = groups.iter().fold(0, |mask, group| mask | 1_u32.checked_shl(group.wrapping_sub(1)).unwrap_or(0));
        let open = || {
            let socket = open_raw(family)?;
            if setsockopt(&socket, RcvBufForce, &receive_buffer).is_err() {
                // Not more than the system's limit, then.
                setsockopt(&socket, RcvBuf, &receive_buffer)?;
            }
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, mask))?;
            Ok(socket)
        };
        Ok(Self { socket: open().map_err(NetlinkError::Socket)?, buffer: vec![0; RECEIVE_BUFFER] })
    }

    /// Has the kernel leave out what a program of the packet filter does not accept.
    pub(super) fn filter(&self, program: &[SockFilter]) -> Result<(), NetlinkError> {
        self.socket.attach_filter(program).map_err(NetlinkError::Socket)
    }

    /// Hands out every event that has arrived. What does not parse is handed out as an error.
    ///
    /// # Errors
    /// If the socket fails.
    pub(super) fn receive<M>(&mut self, mut each: impl FnMut(Result<M, NetlinkError>)) -> Result<Received, NetlinkError>
    where
        M: NetlinkDeserializable,
    {
        loop {
            let received = match receive(self.socket.as_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::All),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(Received::Lost),
                Err(error) => return Err(NetlinkError::Socket(error)),
            };
            let Some(datagram) = self.buffer.get_mut(..received) else {
                each(Err(NetlinkError::Malformed("truncated".to_owned())));
                continue;
            };
            for message in messages(datagram) {
                match message.map(|message| message.payload) {
                    Ok(NetlinkPayload::InnerMessage(event)) => each(Ok(event)),
                    Ok(_) => {}
                    Err(error) => each(Err(error)),
                }
            }
            datagram.zeroize();
        }
    }
}

impl AsFd for EventSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::RouteNetlinkMessage;

    use super::*;

    /// `ip xfrm state add … enc "cbc(nonsense)"`: ENOSYS, explained, without the request.
    #[test]
    fn an_error_tells_why() {
        let mut error = vec![0; 16];
        error.extend([26, 0, 1, 0]);
        error.extend(b"Requested COMP algorit");
        error.extend([0, 0]);
        assert_eq!(explanation(0x300, &error).as_deref(), Some("Requested COMP algorit"));
        assert_eq!(explanation(0x100, &error), None);
        for len in 0..error.len() {
            let _no_panic = explanation(0x300, &error[..len]);
            let _no_panic = explanation(0x200, &error[..len]);
        }
        let refused = NetlinkError::Refused {
            error: io::Error::from_raw_os_error(libc::ESRCH),
            reason: Some("no such thing".to_owned()),
        };
        assert_eq!(refused.to_string(), "received netlink error: No such process (os error 3) (no such thing)");
        assert!(refused.is_not_found() && !refused.is_exists());
    }

    #[test]
    fn a_truncated_datagram_is_an_error() {
        let ack = [20, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(collect::<RouteNetlinkMessage>(&ack, 7, &mut Vec::new()).unwrap());
        assert!(!collect::<RouteNetlinkMessage>(&ack, 8, &mut Vec::new()).unwrap());
        for len in 1..ack.len() {
            assert!(collect::<RouteNetlinkMessage>(&ack[..len], 7, &mut Vec::new()).is_err());
        }
    }
}
