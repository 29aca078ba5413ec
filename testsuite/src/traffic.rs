//! What goes through a tunnel: pings, a transfer with a checksum, and a stream in which every datagram counts.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Result;
use crate::lab::Host;

/// Sends `count` echo requests from `source` on `from` to `target`, five a second, and returns the replies.
///
/// # Errors
/// If ping cannot run.
pub fn ping(from: &Host, source: IpAddr, target: IpAddr, count: u32) -> Result<u32> {
    if count == 0 {
        return Ok(0);
    }
    let line = format!("ping -c {count} -i 0.2 -W 1 -I {source} {target} || true");
    let text = from.run(&["sh", "-c", &line])?;
    let received = text.split(" received").next().and_then(|head| head.rsplit(' ').next()).unwrap_or("0");
    received.parse().map_err(|_| format!("ping: {text}").into())
}

/// Sends `bytes` pseudo-random bytes over TCP from `from` to `to` and compares the checksums.
///
/// # Errors
/// If the connection fails, takes over a minute, or what arrived differs.
pub fn tcp_transfer(from: (&Host, IpAddr), to: (&Host, IpAddr), bytes: usize) -> Result<()> {
    let listener = to.0.inside(|| Ok(TcpListener::bind((to.1, 0))?))?;
    let target = listener.local_addr()?;
    let receiver = std::thread::spawn(move || -> Result<(usize, u64)> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let (mut buffer, mut total, mut sum) = (vec![0; 65536], 0, Checksum::default());
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok((total, sum.0)),
                n => {
                    sum.update(buffer.get(..n).unwrap_or_default());
                    total += n;
                }
            }
        }
    });
    let sent = from.0.inside(|| {
        let mut stream = connect_from(from.1, target)?;
        stream.set_write_timeout(Some(Duration::from_secs(20)))?;
        let (mut left, mut sum, mut state) = (bytes, Checksum::default(), 0x9e37_79b9_u32);
        while left > 0 {
            let chunk: Vec<u8> = (0..left.min(16384))
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state.to_be_bytes()[0]
                })
                .collect();
            stream.write_all(&chunk)?;
            sum.update(&chunk);
            left -= chunk.len();
        }
        Ok(sum.0)
    })?;
    let (total, received) = receiver.join().map_err(|_| "receiver panicked")??;
    if (total, received) == (bytes, sent) {
        Ok(())
    } else {
        Err(format!("sent {bytes} bytes with checksum {sent:x}, received {total} with {received:x}").into())
    }
}

/// Connects to `target` with `source` as the local address. The sockets of `std` cannot bind before connecting, but a
/// route through the tunnel may prefer another source.
fn connect_from(source: IpAddr, target: SocketAddr) -> Result<TcpStream> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};
    use std::os::fd::AsRawFd;
    let family = if target.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(target))?;
    Ok(TcpStream::from(fd))
}

/// FNV-1a, enough to see a changed, lost or doubled byte.
struct Checksum(u64);

impl Default for Checksum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Checksum {
    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// A numbered datagram every two milliseconds in one direction, counted at the far end.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u32>,
    receiver: JoinHandle<u32>,
}

/// The balance of a [`Stream`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    pub sent: u32,
    /// Distinct datagrams that arrived.
    pub received: u32,
}

impl Stream {
    /// Starts the stream.
    ///
    /// # Errors
    /// If the sockets cannot be made.
    pub fn start(from: (&Host, IpAddr), to: (&Host, IpAddr)) -> Result<Self> {
        let receiving = to.0.inside(|| Ok(UdpSocket::bind((to.1, 0))?))?;
        let sending = from.0.inside(|| Ok(UdpSocket::bind((from.1, 0))?))?;
        receiving.set_read_timeout(Some(Duration::from_millis(100)))?;
        let target = receiving.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let sender = std::thread::spawn(move || {
            let mut sent = 0u32;
            while !flag.load(Ordering::Relaxed) {
                // A datagram that the host refuses to send is a lost one: it counts as sent.
                let _ = sending.send_to(&sent.to_be_bytes(), target);
                sent += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
            sent
        });
        let flag = Arc::clone(&stop);
        let receiver = std::thread::spawn(move || {
            let (mut seen, mut buffer) = (HashSet::new(), [0; 4]);
            let mut last = Instant::now();
            loop {
                if receiving.recv(&mut buffer).is_ok() {
                    seen.insert(u32::from_be_bytes(buffer));
                    last = Instant::now();
                } else if flag.load(Ordering::Relaxed) && last.elapsed() > Duration::from_millis(500) {
                    return u32::try_from(seen.len()).unwrap_or(u32::MAX);
                }
            }
        });
        Ok(Self { stop, sender, receiver })
    }

    /// Ends the stream, waits for the last datagrams and counts.
    ///
    /// # Errors
    /// If a thread of the stream failed.
    pub fn finish(self) -> Result<Balance> {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().map_err(|_| "sender panicked")?;
        let received = self.receiver.join().map_err(|_| "receiver panicked")?;
        Ok(Balance { sent, received })
    }
}
