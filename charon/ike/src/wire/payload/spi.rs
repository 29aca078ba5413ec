//! The SPI field of proposals and notifies: its size is on the wire and depends on the protocol.

use smallvec::SmallVec;

use crate::ids::{IkeSpi, Spi};

/// An SPI of 0 (none), 2 (IPComp CPI), 4 (ESP, AH) or 8 (IKE) bytes; other sizes are kept as they came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpiField(SmallVec<[u8; 8]>);

impl SpiField {
    /// No SPI.
    pub const NONE: Self = Self(SmallVec::new_const());

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is no SPI.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// The SPI of a CHILD_SA.
    pub fn child(&self) -> Option<Spi> {
        Spi::from_bytes(&self.0)
    }

    /// The SPI of an IKE_SA.
    pub fn ike(&self) -> Option<IkeSpi> {
        IkeSpi::from_bytes(&self.0)
    }
}

impl From<&[u8]> for SpiField {
    fn from(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }
}

impl From<Spi> for SpiField {
    fn from(spi: Spi) -> Self {
        Self::from(&spi.to_bytes()[..])
    }
}

impl From<IkeSpi> for SpiField {
    fn from(spi: IkeSpi) -> Self {
        Self::from(&spi.to_bytes()[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_decides_what_it_is() {
        let child = Spi::new(0xc000_0001).unwrap();
        let ike = IkeSpi::new([1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert_eq!((SpiField::from(child).child(), SpiField::from(child).ike()), (Some(child), None));
        assert_eq!((SpiField::from(ike).child(), SpiField::from(ike).ike()), (None, Some(ike)));
        assert!(SpiField::NONE.is_none());
        assert_eq!(SpiField::from(&[0, 0, 0, 1][..]).child(), None);
    }
}
