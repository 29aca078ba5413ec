//! Messages as the `generating` and `parsed` lines of the log show them, e.g.
//! `IKE_SA_INIT request 0 [ SA KE No N(NATD_S_IP) N(NATD_D_IP) ]`. Nothing is formatted unless someone reads it.

use std::fmt;

use super::header::Header;
use super::message::Message;
use super::notify_type::NotifyType;
use super::payload::{Cp, Eap, Notify, Payload};
use super::sk::FragmentNumber;

/// `Display` of a message.
#[derive(Debug, Clone, Copy)]
pub struct Notation<'a> {
    header: &'a Header,
    content: Content<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Content<'a> {
    Payloads(&'a [Payload]),
    Fragment(FragmentNumber),
}

impl Message {
    /// The message in log notation.
    pub fn notation(&self) -> Notation<'_> {
        Notation { header: &self.header, content: Content::Payloads(&self.payloads) }
    }
}

impl FragmentNumber {
    /// A fragment of the message with `header` in log notation.
    pub fn notation(self, header: &Header) -> Notation<'_> {
        Notation { header, content: Content::Fragment(self) }
    }
}

impl fmt::Display for Notation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Header { exchange, message_id, .. } = self.header;
        write!(f, "{exchange} {} {message_id} [", self.header.direction())?;
        match self.content {
            Content::Payloads(payloads) => {
                for payload in payloads {
                    f.write_str(" ")?;
                    fmt_payload(payload, f)?;
                }
            }
            Content::Fragment(FragmentNumber { number, total }) => write!(f, " EF({number}/{total})")?,
        }
        f.write_str(" ]")
    }
}

fn fmt_payload(payload: &Payload, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match payload {
        Payload::Notify(notify) => fmt_notify(notify, f),
        Payload::Cp(cp) => fmt_cp(cp, f),
        Payload::Eap(eap) => fmt_eap(eap, f),
        other => match other.kind().short() {
            Some(name) => f.write_str(name),
            None => write!(f, "({})", other.kind().number()),
        },
    }
}

fn fmt_notify(notify: &Notify, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (notify.kind, notify.data.first_chunk()) {
        (NotifyType::MsNotifyStatus, Some(status)) => write!(f, "N(MS_STATUS({}))", u32::from_be_bytes(*status)),
        (kind, _) => match kind.short() {
            Some(name) => write!(f, "N({name})"),
            None => write!(f, "N(({}))", kind.number()),
        },
    }
}

fn fmt_cp(cp: &Cp, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match cp.kind.short() {
        Some(name) => f.write_str(name)?,
        None => write!(f, "CP({})", cp.kind.number())?,
    }
    let mut separator = "(";
    for attribute in &cp.attributes {
        f.write_str(separator)?;
        match attribute.kind.short() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "({})", attribute.kind.number())?,
        }
        separator = " ";
    }
    if cp.attributes.is_empty() { Ok(()) } else { f.write_str(")") }
}

fn fmt_eap(eap: &Eap, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match eap.code().short() {
        Some(name) => write!(f, "EAP/{name}")?,
        None => write!(f, "EAP/({})", eap.code().number())?,
    }
    match eap.method().map(|method| (method.short(), method.number())) {
        Some((Some(name), _)) => write!(f, "/{name}"),
        Some((None, number)) => write!(f, "/({number})"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::header;
    use crate::wire::{CpAttribute, CpAttributeType, CpType, Direction, ExchangeType, PayloadType, Unknown};

    fn notation(payloads: Vec<Payload>) -> String {
        Message { header: header(ExchangeType::IkeAuth, Direction::Response), payloads }.notation().to_string()
    }

    #[test]
    fn an_empty_message() {
        assert_eq!(notation(vec![]), "IKE_AUTH response 1 [ ]");
    }

    #[test]
    fn details_in_parentheses() {
        let cp = |kind, kinds: &[CpAttributeType]| {
            Payload::from(Cp { kind, attributes: kinds.iter().map(|kind| CpAttribute::new(*kind, &[])).collect() })
        };
        let payloads = vec![
            cp(CpType::Request, &[CpAttributeType::InternalIp4Address, CpAttributeType::InternalIp4Dns]),
            cp(CpType::Reply, &[CpAttributeType::Unknown(999)]),
            cp(CpType::Unknown(9), &[]),
            Notify::with_data(NotifyType::MsNotifyStatus, &[0, 0, 3, 0xe8]).into(),
            Notify::new(NotifyType::Unknown(50000)).into(),
            Eap::new(vec![1, 1, 0, 5, 4]).unwrap().into(),
            Eap::new(vec![2, 1, 0, 5, 199]).unwrap().into(),
            Eap::new(vec![3, 1, 0, 4]).unwrap().into(),
            Unknown { kind: PayloadType::Unknown(200), data: vec![] }.into(),
        ];
        assert_eq!(
            notation(payloads),
            "IKE_AUTH response 1 [ CPRQ(ADDR DNS) CPRP((999)) CP(9) N(MS_STATUS(1000)) N((50000)) EAP/REQ/MD5 \
             EAP/RES/(199) EAP/SUCC (200) ]"
        );
    }

    #[test]
    fn fragments() {
        let header = header(ExchangeType::IkeAuth, Direction::Request);
        let place = FragmentNumber { number: 2, total: 3 };
        assert_eq!(place.notation(&header).to_string(), "IKE_AUTH request 1 [ EF(2/3) ]");
    }
}
