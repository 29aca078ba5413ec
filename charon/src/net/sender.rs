//! Sending IKE messages.
//!
//! There is no queue and no thread behind it: the worker that produced a message writes it to the socket itself, which costs less
//! than waking somebody to do so, and an error is logged in the context of its IKE_SA.

use std::sync::Arc;

use ike::wire::Header;
use strongswan::log;

use super::delay::DelaySettings;
use super::sockets::Sockets;
use super::{Bracketed, Transmit};

/// Sends through the daemon's sockets.
#[derive(Debug, Clone)]
pub struct Sender {
    sockets: Arc<Sockets>,
    delay: DelaySettings,
}

impl Sender {
    /// A sender over these sockets that delays messages as the settings say.
    pub fn new(sockets: Arc<Sockets>, delay: DelaySettings) -> Self {
        Self { sockets, delay }
    }

    /// The sockets.
    pub fn sockets(&self) -> &Arc<Sockets> {
        &self.sockets
    }

    /// Sends a datagram. Errors are logged.
    pub fn send(&self, datagram: Transmit) {
        if !datagram.keepalive {
            let Transmit { local, remote, data, .. } = &datagram;
            log!(NET, 1, "sending packet: from {} to {} ({} bytes)", Bracketed(*local), Bracketed(*remote), data.len());
            if !self.delay.delay.is_zero() {
                self.wait(data);
            }
        }
        self.sockets.send(&datagram);
    }

    /// Sends a datagram without a line in the log, at once.
    pub(crate) fn send_quietly(&self, datagram: &Transmit) {
        self.sockets.send(datagram);
    }

    /// The delay holds the calling thread up, as strongSwan's does: it is for tests of one IKE_SA.
    fn wait(&self, message: &[u8]) {
        let delay = Header::parse(message).ok().and_then(|(header, _)| self.delay.of(&header));
        if let Some(delay) = delay {
            log!(NET, 1, "using send delay: {}ms", delay.as_millis());
            std::thread::sleep(delay);
        }
    }
}
