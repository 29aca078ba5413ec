//! `version`: who we are and what we run on.

use nix::sys::utsname::uname;
use vici::{Message, Request, Responder};

use super::Control;

pub(super) fn run(_control: &Control, _request: Request, responder: Responder) {
    let mut message = Message::new().with("daemon", "charon").with("version", strongswan::VERSION);
    match uname() {
        Ok(name) => {
            message.push("sysname", name.sysname().to_string_lossy());
            message.push("release", name.release().to_string_lossy());
            message.push("machine", name.machine().to_string_lossy());
        }
        Err(_) => {
            message.push("sysname", std::env::consts::OS).push("release", "").push("machine", std::env::consts::ARCH);
        }
    }
    responder.reply(&message);
}
