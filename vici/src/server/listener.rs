//! The listening socket and accepted sockets, Unix or TCP.

use std::io::{self, IoSlice, Read, Write};
use std::net::ToSocketAddrs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket as RawSocket, Type};

use super::{Permissions, ServerError};
use crate::endpoint::Endpoint;

/// Mode of a Unix socket: owner and group may connect.
const MODE: u32 = 0o660;

/// Connections the kernel completes before we accept them.
const BACKLOG: i32 = 128;

#[derive(Debug)]
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    pub(super) fn bind(endpoint: &Endpoint, permissions: Permissions) -> Result<Self, ServerError> {
        let failed = |error| ServerError::Bind { endpoint: endpoint.clone(), error };
        match endpoint {
            Endpoint::Unix(path) => {
                remove_stale(path).map_err(failed)??;
                bind_unix(path, permissions).map(Self::Unix).map_err(failed)
            }
            Endpoint::Tcp { host, port } => bind_tcp(host, *port).map(Self::Tcp).map_err(failed),
        }
    }

    pub(super) fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Unix(listener) => Ok(Socket::Unix(listener.accept()?.0)),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Unix(listener) => listener.register(registry, token, Interest::READABLE),
            Self::Tcp(listener) => listener.register(registry, token, Interest::READABLE),
        }
    }
}

/// Removes the socket a dead process left; a living one's, or anything but a socket, is not ours to remove.
fn remove_stale(path: &Path) -> io::Result<Result<(), ServerError>> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(())),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Ok(Err(ServerError::NotASocket(path.to_owned())));
        }
        Ok(_) => {}
    }
    if StdUnixStream::connect(path).is_ok() {
        return Ok(Err(ServerError::InUse(path.to_owned())));
    }
    std::fs::remove_file(path).map(Ok)
}

fn bind_unix(path: &Path, permissions: Permissions) -> io::Result<UnixListener> {
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    // Linux creates the file with the socket's mode, reduced by the umask: set before bind, nobody else can connect in between.
    fchmod(&socket, Mode::from_bits_truncate(MODE))?;
    socket.bind(&SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
    if permissions != Permissions::default() {
        chown(path, permissions.owner, permissions.group)?;
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(UnixListener::from_std(socket.into()))
}

fn bind_tcp(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, format!("'{host}' has no address"));
    for address in (host, port).to_socket_addrs()? {
        // sets SO_REUSEADDR
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// An accepted, non-blocking connection.
#[derive(Debug)]
pub(super) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Socket {
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Unix(stream) => stream.register(registry, token, interest),
            Self::Tcp(stream) => stream.register(registry, token, interest),
        }
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }

    pub(super) fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write_vectored(buffers),
            Self::Tcp(stream) => stream.write_vectored(buffers),
        }
    }
}
