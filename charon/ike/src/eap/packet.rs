//! EAP packets beyond their header (RFC 3748 §4, §5.7): methods of the IETF and of vendors, and building packets.
//!
//! ```text
//!  |     Code      | Identifier    |           Length              |
//!  |     Type      | Type-Data ...                                 |
//!
//!  |   254         |               Vendor-Id                       |
//!  |                          Vendor-Type                          |
//!  | Vendor data ...
//! ```

use std::fmt;

use strongswan::credentials::EapMethod;

use crate::wire::{Eap, EapCode, EapType};

/// Length of code, identifier and length.
const HEADER: usize = 4;

/// A method: a type of the IETF, or of a vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MethodType {
    /// Private enterprise number, 0 for the IETF.
    pub vendor: u32,
    /// The type.
    pub kind: u32,
}

impl MethodType {
    /// A method of the IETF.
    pub fn ietf(kind: EapType) -> Self {
        Self { vendor: 0, kind: kind.number().into() }
    }

    /// The method a configuration names, if it names one.
    pub fn configured(method: EapMethod) -> Option<Self> {
        match method {
            EapMethod::Type { kind, vendor } => Some(Self { vendor, kind }),
            EapMethod::Any | EapMethod::Dynamic | EapMethod::Radius => None,
        }
    }

    /// As a configuration names it.
    pub fn as_configured(self) -> EapMethod {
        EapMethod::Type { kind: self.kind, vendor: self.vendor }
    }

    /// The IETF's name for it.
    pub fn ietf_type(self) -> Option<EapType> {
        u8::try_from(self.kind).ok().filter(|_| self.vendor == 0).map(EapType::from)
    }

    /// Whether it is this one of the IETF.
    pub fn is(self, kind: EapType) -> bool {
        self == Self::ietf(kind)
    }

    fn emit(self, out: &mut Vec<u8>) {
        match u8::try_from(self.kind) {
            Ok(kind) if self.vendor == 0 => out.push(kind),
            _ => self.emit_expanded(out),
        }
    }

    fn emit_expanded(self, out: &mut Vec<u8>) {
        let [_, vendor @ ..] = self.vendor.to_be_bytes();
        out.push(EapType::Expanded.number());
        out.extend(vendor);
        out.extend(self.kind.to_be_bytes());
    }
}

impl fmt::Display for MethodType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ietf_type() {
            Some(kind) => kind.fmt(f),
            None => write!(f, "EAP vendor type {}-{}", self.kind, self.vendor),
        }
    }
}

/// A request or a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) identifier: u8,
    pub(super) method: MethodType,
    /// What follows the type.
    pub(super) data: &'a [u8],
    /// The packet as it came.
    pub(super) whole: &'a [u8],
    /// The type is in the expanded form, whoever's it is.
    pub(super) expanded: bool,
}

impl<'a> Packet<'a> {
    /// What a request or a response says; `None` for anything without a complete type.
    pub(super) fn parse(eap: &'a Eap) -> Option<Self> {
        let whole = eap.as_bytes();
        let (kind, data) = whole.get(HEADER..)?.split_first()?;
        let identifier = eap.identifier();
        if !matches!(eap.code(), EapCode::Request | EapCode::Response) {
            return None;
        }
        if *kind != EapType::Expanded.number() {
            let method = MethodType { vendor: 0, kind: (*kind).into() };
            return Some(Self { identifier, method, data, whole, expanded: false });
        }
        let (head, data) = data.split_first_chunk::<7>()?;
        let [v0, v1, v2, kind @ ..] = *head;
        let method = MethodType { vendor: u32::from_be_bytes([0, v0, v1, v2]), kind: u32::from_be_bytes(kind) };
        Some(Self { identifier, method, data, whole, expanded: true })
    }

    /// The methods that a Nak asks for instead; `None` if it is no Nak. Zero stands for no alternative.
    pub(super) fn nak(&self) -> Option<Vec<MethodType>> {
        if !self.method.is(EapType::Nak) {
            return None;
        }
        if !self.expanded {
            let wanted = self.data.iter().filter(|kind| **kind != 0);
            return Some(wanted.map(|kind| MethodType { vendor: 0, kind: (*kind).into() }).collect());
        }
        let entries = self.data.chunks_exact(8).filter_map(|entry| match *entry {
            [254, v0, v1, v2, k0, k1, k2, k3] => Some(MethodType {
                vendor: u32::from_be_bytes([0, v0, v1, v2]),
                kind: u32::from_be_bytes([k0, k1, k2, k3]),
            }),
            _ => None,
        });
        Some(entries.filter(|method| method.kind != 0).collect())
    }
}

/// A request or a response; `None` if it is too long for its length field.
pub(super) fn build(code: EapCode, identifier: u8, method: MethodType, data: &[u8]) -> Option<Eap> {
    let mut body = Vec::with_capacity(data.len().saturating_add(8));
    method.emit(&mut body);
    body.extend(data);
    assemble(code, identifier, &body)
}

/// Success or failure.
pub(super) fn verdict(code: EapCode, identifier: u8) -> Option<Eap> {
    assemble(code, identifier, &[])
}

/// What a client says to a method it does not want (RFC 3748 §5.3): what it would do instead, in the form in which it
/// was asked.
pub(super) fn nak(request: &Packet<'_>, instead: &[MethodType]) -> Option<Eap> {
    let mut body = Vec::new();
    if request.expanded && request.method.vendor != 0 {
        let none = [MethodType { vendor: 0, kind: 0 }];
        MethodType::ietf(EapType::Nak).emit_expanded(&mut body);
        let list = if instead.is_empty() { none.as_slice() } else { instead };
        list.iter().for_each(|method| method.emit_expanded(&mut body));
    } else {
        body.push(EapType::Nak.number());
        let legacy = |method: &MethodType| method.ietf_type().unwrap_or(EapType::Expanded).number();
        let mut list: Vec<_> = instead.iter().map(legacy).collect();
        list.dedup();
        if list.is_empty() {
            list.push(0);
        }
        body.extend(list);
    }
    assemble(EapCode::Response, request.identifier, &body)
}

fn assemble(code: EapCode, identifier: u8, body: &[u8]) -> Option<Eap> {
    let length = u16::try_from(body.len().checked_add(HEADER)?).ok()?;
    let mut packet = vec![code.number(), identifier];
    packet.extend(length.to_be_bytes());
    packet.extend(body);
    Eap::new(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(bytes: &[u8]) -> Eap {
        Eap::new(bytes.to_vec()).unwrap()
    }

    #[test]
    fn types_of_both_forms() {
        let plain = packet(&[1, 7, 0, 6, 4, 9]);
        let parsed = Packet::parse(&plain).unwrap();
        assert_eq!((parsed.identifier, parsed.method.to_string().as_str(), parsed.data), (7, "EAP_MD5", &[9][..]));
        let vendor = packet(&[2, 1, 0, 13, 254, 0, 0x90, 0x2a, 0, 0, 0, 5, 3]);
        let parsed = Packet::parse(&vendor).unwrap();
        assert_eq!((parsed.method, parsed.data), (MethodType { vendor: 36906, kind: 5 }, &[3][..]));
        assert_eq!(parsed.method.to_string(), "EAP vendor type 5-36906");
        // an expanded type of the IETF is that type (RFC 3748 §5.7)
        let expanded = packet(&[1, 1, 0, 12, 254, 0, 0, 0, 0, 0, 0, 4]);
        assert!(Packet::parse(&expanded).unwrap().method.is(EapType::Md5));
        for short in [&[1u8, 1, 0, 4][..], &[3, 1, 0, 4], &[1, 1, 0, 11, 254, 0, 0, 0, 0, 0, 0], &[9, 1, 0, 5, 4]] {
            assert_eq!(Packet::parse(&packet(short)), None);
        }
    }

    #[test]
    fn built_packets_parse() {
        for method in
            [MethodType::ietf(EapType::Md5), MethodType { vendor: 9, kind: 1 }, MethodType { vendor: 0, kind: 300 }]
        {
            let built = build(EapCode::Request, 3, method, b"data").unwrap();
            let parsed = Packet::parse(&built).unwrap();
            assert_eq!((parsed.identifier, parsed.method, parsed.data), (3, method, &b"data"[..]));
        }
        assert_eq!(verdict(EapCode::Success, 9).unwrap().as_bytes(), [3, 9, 0, 4]);
        assert_eq!(build(EapCode::Request, 3, MethodType::ietf(EapType::Md5), &[0; 65_531]), None);
    }

    #[test]
    fn naks_in_the_form_of_the_request() {
        let md5 = MethodType::ietf(EapType::Md5);
        let vendor = MethodType { vendor: 9, kind: 1 };
        for (asked, instead, expected) in [
            (md5, vec![md5, vendor], vec![md5, MethodType::ietf(EapType::Expanded)]),
            (vendor, vec![md5, vendor], vec![md5, vendor]),
            (md5, vec![], vec![]),
            (vendor, vec![], vec![]),
        ] {
            let request = build(EapCode::Request, 8, asked, &[]).unwrap();
            let response = nak(&Packet::parse(&request).unwrap(), &instead).unwrap();
            let response = Packet::parse(&response).unwrap();
            assert_eq!((response.identifier, response.nak().unwrap()), (8, expected));
        }
        let other = build(EapCode::Response, 8, md5, &[3]).unwrap();
        assert_eq!(Packet::parse(&other).unwrap().nak(), None);
        // rubbish at the end of an expanded one is no entry
        let odd = packet(&[2, 1, 0, 15, 254, 0, 0, 0, 0, 0, 0, 3, 254, 0, 0]);
        assert_eq!(Packet::parse(&odd).unwrap().nak(), Some(vec![]));
    }
}
