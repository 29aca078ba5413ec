//! Numbers of RADIUS: packet codes, attributes, and those of vendors that matter to a VPN gateway.

strongswan::registry! {
    /// Packet codes (RFC 2865 §4, RFC 2866 §4, RFC 5176 §3).
    pub enum Code: u8 {
        1 => AccessRequest, "Access-Request";
        2 => AccessAccept, "Access-Accept";
        3 => AccessReject, "Access-Reject";
        4 => AccountingRequest, "Accounting-Request";
        5 => AccountingResponse, "Accounting-Response";
        11 => AccessChallenge, "Access-Challenge";
        40 => DisconnectRequest, "Disconnect-Request";
        41 => DisconnectAck, "Disconnect-ACK";
        42 => DisconnectNak, "Disconnect-NAK";
        43 => CoaRequest, "CoA-Request";
        44 => CoaAck, "CoA-ACK";
        45 => CoaNak, "CoA-NAK";
    }
}

strongswan::registry! {
    /// Attributes (RFC 2865 §5, RFC 2866 §5, RFC 2869 §5, RFC 3162, RFC 5176 §3.5, RFC 6911).
    pub enum AttributeType: u8 {
        1 => UserName, "User-Name";
        4 => NasIpAddress, "NAS-IP-Address";
        5 => NasPort, "NAS-Port";
        6 => ServiceType, "Service-Type";
        8 => FramedIpAddress, "Framed-IP-Address";
        9 => FramedIpNetmask, "Framed-IP-Netmask";
        11 => FilterId, "Filter-Id";
        24 => State, "State";
        25 => Class, "Class";
        26 => VendorSpecific, "Vendor-Specific";
        27 => SessionTimeout, "Session-Timeout";
        30 => CalledStationId, "Called-Station-Id";
        31 => CallingStationId, "Calling-Station-Id";
        32 => NasIdentifier, "NAS-Identifier";
        33 => ProxyState, "Proxy-State";
        40 => AcctStatusType, "Acct-Status-Type";
        42 => AcctInputOctets, "Acct-Input-Octets";
        43 => AcctOutputOctets, "Acct-Output-Octets";
        44 => AcctSessionId, "Acct-Session-Id";
        46 => AcctSessionTime, "Acct-Session-Time";
        47 => AcctInputPackets, "Acct-Input-Packets";
        48 => AcctOutputPackets, "Acct-Output-Packets";
        49 => AcctTerminateCause, "Acct-Terminate-Cause";
        52 => AcctInputGigawords, "Acct-Input-Gigawords";
        53 => AcctOutputGigawords, "Acct-Output-Gigawords";
        55 => EventTimestamp, "Event-Timestamp";
        61 => NasPortType, "NAS-Port-Type";
        64 => TunnelType, "Tunnel-Type";
        79 => EapMessage, "EAP-Message";
        80 => MessageAuthenticator, "Message-Authenticator";
        85 => AcctInterimInterval, "Acct-Interim-Interval";
        87 => NasPortId, "NAS-Port-Id";
        95 => NasIpv6Address, "NAS-IPv6-Address";
        101 => ErrorCause, "Error-Cause";
        168 => FramedIpv6Address, "Framed-IPv6-Address";
        169 => DnsServerIpv6Address, "DNS-Server-IPv6-Address";
    }
}

/// Microsoft's vendor number (RFC 2548).
pub(super) const MICROSOFT: u32 = 311;
/// The vendor number of Altiga, whose VPN 3000 became Cisco's.
pub(super) const CVPN3000: u32 = 3076;

strongswan::registry! {
    /// Microsoft's attributes (RFC 2548).
    pub enum MicrosoftType: u8 {
        16 => MppeSendKey, "MS-MPPE-Send-Key";
        17 => MppeRecvKey, "MS-MPPE-Recv-Key";
        28 => PrimaryDns, "MS-Primary-DNS-Server";
        29 => SecondaryDns, "MS-Secondary-DNS-Server";
        30 => PrimaryNbns, "MS-Primary-NBNS-Server";
        31 => SecondaryNbns, "MS-Secondary-NBNS-Server";
    }
}

strongswan::registry! {
    /// Attributes of the VPN 3000.
    pub enum Cvpn3000Type: u8 {
        5 => PrimaryDns, "CVPN3000-Primary-DNS";
        6 => SecondaryDns, "CVPN3000-Secondary-DNS";
        7 => PrimaryWins, "CVPN3000-Primary-WINS";
        8 => SecondaryWins, "CVPN3000-Secondary-WINS";
    }
}

/// One attribute: its type and the value that follows.
#[derive(Clone, PartialEq, Eq)]
pub struct Attribute {
    /// What it is.
    pub kind: AttributeType,
    value: Vec<u8>,
}

/// Longest value of an attribute: its length is an octet that counts type and length, too.
pub(super) const MAX_VALUE: usize = 253;

impl Attribute {
    /// An attribute; `None` if the value is too long for one.
    pub fn new(kind: AttributeType, value: &[u8]) -> Option<Self> {
        (value.len() <= MAX_VALUE).then(|| Self { kind, value: value.to_vec() })
    }

    /// Its value.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Its value as a number.
    pub fn number(&self) -> Option<u32> {
        self.value.as_slice().try_into().ok().map(u32::from_be_bytes)
    }

    /// The attributes of `vendor` within it. What is left over when a length is wrong is not looked at: the ones before
    /// count.
    pub fn of_vendor(&self, vendor: u32) -> impl Iterator<Item = (u8, &[u8])> {
        let ours = (self.kind == AttributeType::VendorSpecific).then_some(self.value.as_slice());
        let data = ours.and_then(|value| value.split_first_chunk());
        let data = data.filter(|(id, _)| u32::from_be_bytes(**id) == vendor).map_or(&[][..], |(_, data)| data);
        Attributes { rest: data }.map_while(Result::ok)
    }
}

impl std::fmt::Debug for Attribute {
    /// Without the value: some are secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({} bytes)", self.kind, self.value.len())
    }
}

/// A sequence of type, length and value.
///
/// ```text
///  0                   1                   2
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
/// |     Type      |    Length     |  Value ...
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
/// ```
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    pub(super) rest: &'a [u8],
}

/// The length of an attribute counts less than its own header, or reaches beyond the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidLength;

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u8, &'a [u8]), InvalidLength>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = || {
            let ([kind, len], after) = self.rest.split_first_chunk()?;
            let (value, rest) = after.split_at_checked(usize::from(*len).checked_sub(2)?)?;
            Some((*kind, value, rest))
        };
        let Some((kind, value, rest)) = read() else {
            self.rest = &[];
            return Some(Err(InvalidLength));
        };
        self.rest = rest;
        Some(Ok((kind, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Result<(u8, &[u8]), InvalidLength>> {
        Attributes { rest: bytes }.collect()
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(read(&[]), []);
        assert_eq!(read(&[1, 3, b'a', 2, 2]), [Ok((1, &b"a"[..])), Ok((2, &[][..]))]);
        for wrong in [&[1][..], &[1, 0], &[1, 1], &[1, 3], &[1, 255, 0], &[1, 0, 1, 2]] {
            assert_eq!(read(wrong), [Err(InvalidLength)], "{wrong:?}");
        }
        assert_eq!(read(&[1, 2, 1, 1]), [Ok((1, &[][..])), Err(InvalidLength)]);
    }

    #[test]
    fn attributes_of_vendors() {
        let vsa = |value: &[u8]| Attribute::new(AttributeType::VendorSpecific, value).unwrap();
        let of = |value: &[u8]| {
            vsa(value).of_vendor(MICROSOFT).map(|(kind, value)| (kind, value.to_vec())).collect::<Vec<_>>()
        };
        assert_eq!(of(&[0, 0, 1, 55, 16, 3, 9, 17, 2]), [(16, vec![9]), (17, vec![])]);
        assert_eq!(of(&[0, 0, 1, 55, 16, 3, 9, 17, 1]), [(16, vec![9])]);
        for none in [
            &[][..],
            &[0, 0, 1],
            &[0, 0, 1, 55],
            &[0, 0, 1, 55, 16],
            &[0, 0, 1, 55, 16, 9, 9],
            &[0, 0, 12, 4, 16, 3, 9],
        ] {
            assert_eq!(of(none), [], "{none:?}");
        }
        let other = Attribute::new(AttributeType::State, &[0, 0, 1, 55, 16, 3, 9]).unwrap();
        assert_eq!(other.of_vendor(MICROSOFT).count(), 0);
        assert!(Attribute::new(AttributeType::State, &[0; 254]).is_none());
        assert_eq!(format!("{:?}", vsa(&[1])), "Vendor-Specific(1 bytes)");
    }
}
