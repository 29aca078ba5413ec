//! IPComp (RFC 7296 §2.22): each side names the CPI for what it receives. DEFLATE only, which is what kernels do.

use strongswan::log;

use super::offer::OfferError;
use crate::env::Env;
use crate::kernel::Features;
use crate::sa::ChildSa;
use crate::v2::task::Outgoing;
use crate::wire::{Message, Notify, NotifyType};

/// `DEFLATE` in the registry of IPComp transforms.
const DEFLATE: u8 = 2;

/// Offers, or accepts, compression of what we receive. `false` if we cannot.
pub(super) fn announce(env: &Env<'_>, message: &mut Outgoing, child: &mut ChildSa) -> bool {
    if !env.kernel.features().contains(Features::IPCOMP) {
        log!(IKE, 1, "IPComp is not supported by kernel, IPComp disabled");
        return false;
    }
    let cpi = match child.cpi_in {
        Some(cpi) => cpi,
        None => match child.allocate_cpi(env) {
            Ok(cpi) => cpi,
            Err(error) => {
                log!(IKE, 1, "unable to allocate a CPI from kernel, IPComp disabled: {error}");
                return false;
            }
        },
    };
    message.push(Notify::ipcomp_supported(cpi, DEFLATE));
    true
}

/// The CPI that the peer offers for DEFLATE.
pub(super) fn offered(message: &Message) -> Option<u16> {
    message.notifies().filter_map(Notify::ipcomp).find(|(_, transform)| *transform == DEFLATE).map(|(cpi, _)| cpi)
}

/// What the peer makes of our offer.
pub(super) fn accept(env: &Env<'_>, message: &Message, child: &mut ChildSa) -> Result<(), OfferError> {
    let answered = message.has_notify(NotifyType::IpcompSupported);
    match (child.cpi_in.is_some(), answered.then(|| offered(message))) {
        (true, Some(Some(cpi))) => child.cpi_out = Some(cpi),
        (true, None) => {
            log!(IKE, 1, "peer didn't accept our proposed IPComp transforms, IPComp is disabled");
            child.release_cpi(env);
        }
        (true, Some(None)) => {
            log!(IKE, 1, "peer accepted an IPComp transform that we did not propose");
            return Err(OfferError::Unusable);
        }
        (false, Some(_)) => {
            log!(IKE, 1, "received an IPCOMP_SUPPORTED notify without requesting one");
            return Err(OfferError::Unusable);
        }
        (false, None) => {}
    }
    Ok(())
}
