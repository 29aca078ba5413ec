//! The numbers of the process, each handed out once: IKE_SAs, CHILD_SAs, local SPIs, reqids, unique marks.

use std::sync::atomic::{AtomicU32, Ordering};

use ike::ids::{IfId, IkeSpi, Reqid, UniqueId};
use ike::{ReqidKey, UniqueIds};
use strongswan::crypto::Rng;

use super::reqids::Reqids;

/// How numbers are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberSettings {
    /// `spi_mask`: the bits of local IKE SPIs that are not random.
    pub spi_mask: u64,
    /// `spi_label`: their values.
    pub spi_label: u64,
    /// `reqid_base`: the first dynamic reqid.
    pub reqid_base: u32,
}

impl Default for NumberSettings {
    fn default() -> Self {
        Self { spi_mask: 0, spi_label: 0, reqid_base: 1 }
    }
}

/// Hands numbers out.
pub struct Numbers {
    settings: NumberSettings,
    ike_sa: AtomicU32,
    child_sa: AtomicU32,
    mark: AtomicU32,
    if_id: AtomicU32,
    reqids: Reqids,
}

impl Numbers {
    /// Starts at one.
    pub fn new(settings: NumberSettings) -> Self {
        if settings.spi_mask != 0 {
            let NumberSettings { spi_mask, spi_label, .. } = settings;
            strongswan::log!(IKE, 1, "using SPI label 0x{spi_label:016x} and mask 0x{spi_mask:016x}");
        }
        Self {
            settings,
            ike_sa: AtomicU32::new(0),
            child_sa: AtomicU32::new(0),
            mark: AtomicU32::new(0),
            if_id: AtomicU32::new(0),
            reqids: Reqids::new(settings.reqid_base),
        }
    }
}

/// The next number, never 0.
fn next(counter: &AtomicU32) -> u32 {
    loop {
        let number = counter.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if number != 0 {
            return number;
        }
    }
}

fn next_id(counter: &AtomicU32) -> UniqueId {
    loop {
        if let Some(id) = UniqueId::new(next(counter)) {
            return id;
        }
    }
}

impl UniqueIds for Numbers {
    fn ike_sa_id(&self) -> UniqueId {
        next_id(&self.ike_sa)
    }

    fn child_sa_id(&self) -> UniqueId {
        next_id(&self.child_sa)
    }

    fn ike_spi(&self, rng: &mut dyn Rng, _previous: Option<IkeSpi>) -> IkeSpi {
        let NumberSettings { spi_mask, spi_label, .. } = self.settings;
        loop {
            let spi = (rng.next_u64() & !spi_mask) | (spi_label & spi_mask);
            if let Some(spi) = IkeSpi::new(spi.to_be_bytes()) {
                return spi;
            }
        }
    }

    fn allocate_reqid(&self, key: &ReqidKey) -> Option<Reqid> {
        self.reqids.allocate(key)
    }

    fn release_reqid(&self, reqid: Reqid) {
        self.reqids.release(reqid);
    }

    fn unique_mark(&self) -> u32 {
        next(&self.mark)
    }

    fn unique_if_id(&self) -> IfId {
        IfId(next(&self.if_id))
    }
}

#[cfg(test)]
mod tests {
    use strongswan::crypto::SystemRng;

    use super::*;

    #[test]
    fn zero_is_never_handed_out() {
        let counter = AtomicU32::new(u32::MAX - 1);
        assert_eq!([next(&counter), next(&counter)], [u32::MAX, 1]);
    }

    #[test]
    fn spis_carry_their_label() {
        let settings = NumberSettings { spi_mask: 0xff00, spi_label: 0x1234, ..NumberSettings::default() };
        let numbers = Numbers::new(settings);
        for _ in 0..50 {
            assert_eq!(numbers.ike_spi(&mut SystemRng, None).get() & 0xff00, 0x1200);
        }
    }
}
