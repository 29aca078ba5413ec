//! Vendor IDs: who we are, if wanted, and who the peer is.

use strongswan::log;

use crate::env::Env;
use crate::sa::{Extensions, IkeSa};
use crate::task::TaskType;
use crate::v2::task::{Incoming, Outgoing, Progress, Step, Task};
use crate::wire::{ExchangeType, VendorId};

/// Vendor IDs of both roles: one message each way.
#[derive(Debug)]
pub(crate) struct Vendor;

impl Task for Vendor {
    fn kind(&self) -> TaskType {
        TaskType::IkeVendor
    }

    fn build(&mut self, sa: &mut IkeSa, env: &mut Env<'_>, message: &mut Outgoing) -> Step {
        if message.exchange() == ExchangeType::IkeSaInit {
            if env.settings.send_vendor_id {
                message.push(VendorId::strongswan());
            }
            if env.settings.cisco_flexvpn {
                message.push(VendorId::flexvpn());
            }
        }
        Ok(if sa.id.role == crate::Role::Responder { Progress::Done } else { Progress::More })
    }

    fn process(&mut self, sa: &mut IkeSa, _env: &mut Env<'_>, incoming: &Incoming) -> Step {
        for vendor in incoming.message.vendor_ids() {
            match vendor.name() {
                Some(name) => log!(IKE, 1, "received {name} vendor ID"),
                None => log!(ENC, 1, "received unknown vendor ID: {}", Hex(&vendor.0)),
            }
            if vendor.is_strongswan() {
                sa.extensions |= Extensions::STRONGSWAN;
            }
        }
        // a COOKIE or INVALID_KE_PAYLOAD wants the same request again (RFC 7296 §2.6), this included
        let answered = sa.id.role == crate::Role::Initiator && incoming.message.sa().is_some();
        Ok(if answered { Progress::Done } else { Progress::More })
    }
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, byte)| write!(f, "{}{byte:02x}", if i == 0 { "" } else { ":" }))
    }
}
