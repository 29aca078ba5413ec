//! One netlink socket: requests and their answers (netlink(7)).

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};
use strongswan::sync::Mutex;

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
    #[error("received netlink error: {0}")]
    Refused(#[source] io::Error),
    /// The answer does not parse.
    #[error("malformed netlink message: {0}")]
    Malformed(String),
}

impl NetlinkError {
    /// Whether the kernel says that the object exists already.
    pub fn is_exists(&self) -> bool {
        matches!(self, Self::Refused(error) if error.raw_os_error() == Some(libc::EEXIST))
    }

    /// Whether the kernel says that there is no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)))
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
}

impl NetlinkSocket {
    /// Opens a socket for `family`, such as `libc::NETLINK_ROUTE`.
    pub(super) fn open(family: i32) -> Result<Self, NetlinkError> {
        let open = || {
            let socket =
                Socket::new_raw(Domain::from(libc::AF_NETLINK), Type::RAW.cloexec(), Some(Protocol::from(family)))?;
            socket.set_read_timeout(Some(TIMEOUT))?;
            Ok(socket)
        };
        let socket = open().map_err(NetlinkError::Socket)?;
        Ok(Self { state: Mutex::new(State { socket, sequence: 0, buffer: vec![0; RECEIVE_BUFFER] }) })
    }

    /// Sends a request and collects what the kernel answers until it acknowledges, refuses, or a dump is complete.
    pub(super) fn request<M>(&self, message: M, flags: u16) -> Result<Vec<M>, NetlinkError>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        let mut state = self.state.lock();
        let State { socket, sequence, buffer } = &mut *state;
        *sequence = sequence.wrapping_add(1);

        let mut message = NetlinkMessage::new(Default::default(), NetlinkPayload::InnerMessage(message));
        message.header.sequence_number = *sequence;
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        socket.send(&bytes).map_err(NetlinkError::Socket)?;

        let mut answers = Vec::new();
        loop {
            let received = recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC)
                .map_err(|errno| NetlinkError::Socket(errno.into()))?;
            let mut rest = buffer.get(..received).ok_or_else(|| NetlinkError::Malformed("truncated".to_owned()))?;
            while !rest.is_empty() {
                let message = NetlinkMessage::<M>::deserialize(rest)
                    .map_err(|error| NetlinkError::Malformed(error.to_string()))?;
                let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
                rest = rest.get(length.next_multiple_of(4).min(rest.len())..).unwrap_or_default();
                if message.header.sequence_number != *sequence {
                    // The late answer to a request that timed out.
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(NetlinkError::Refused(error.to_io()));
                    }
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answers),
                    _ => {}
                }
            }
        }
    }
}
