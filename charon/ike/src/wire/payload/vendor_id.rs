//! Vendor ID (RFC 7296 §3.12): opaque bytes that name an implementation or a private extension.

use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// A vendor ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorId(pub Vec<u8>);

/// Well-known vendor IDs of IKEv2 peers, by name.
const KNOWN: &[(&str, &[u8])] = &[
    ("strongSwan", b"\x88\x2f\xe5\x6d\x6f\xd2\x0d\xbc\x22\x51\x61\x3b\x2e\xbe\x5b\xeb"),
    ("FLEXVPN-SUPPORTED", b"FLEXVPN-SUPPORTED"),
    ("CISCO-DYNAMIC-ROUTE", b"CISCO-DYNAMIC-ROUTE"),
    ("Cisco Copyright", b"CISCO(COPYRIGHT)&Copyright (c) 2009 Cisco Systems, Inc."),
    ("Cisco Delete Reason", b"CISCO-DELETE-REASON"),
];

impl VendorId {
    /// strongSwan's: MD5 of its name. It enables private algorithm numbers.
    pub fn strongswan() -> Self {
        Self(b"\x88\x2f\xe5\x6d\x6f\xd2\x0d\xbc\x22\x51\x61\x3b\x2e\xbe\x5b\xeb".to_vec())
    }

    /// Cisco's FlexVPN, which some of its peers want to see.
    pub fn flexvpn() -> Self {
        Self(b"FLEXVPN-SUPPORTED".to_vec())
    }

    /// Whether the peer is a strongSwan (or one of us).
    pub fn is_strongswan(&self) -> bool {
        self.name() == Some("strongSwan")
    }

    /// The name of a known vendor ID.
    pub fn name(&self) -> Option<&'static str> {
        KNOWN.iter().find(|(_, bytes)| *bytes == self.0).map(|(name, _)| *name)
    }

    pub(super) fn parse(r: &mut Reader<'_>) -> Self {
        Self(r.rest().to_vec())
    }

    pub(super) fn emit(&self, w: &mut Writer) {
        w.bytes(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_payload;
    use super::*;
    use crate::wire::Payload;

    #[test]
    fn bytes() {
        check_payload(Payload::VendorId(VendorId(vec![1, 2])), &[1, 2]);
        check_payload(Payload::VendorId(VendorId(vec![])), &[]);
    }

    #[test]
    fn names() {
        assert!(VendorId::strongswan().is_strongswan());
        assert_eq!(VendorId::flexvpn().name(), Some("FLEXVPN-SUPPORTED"));
        assert_eq!(VendorId(vec![1]).name(), None);
    }
}
