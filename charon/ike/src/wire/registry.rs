//! The registries of IKEv2: number, name, spelling in log lines and, where payload lists use one, an abbreviation.

/// Declares a registry through [`strongswan::registry!`] and adds `number()` and, where the table has a third column,
/// `short()`: the abbreviation in the list of a message's payloads.
macro_rules! registry {
    (
        $(#[$meta:meta])*
        pub enum $name:ident: $raw:ty {
            $($number:literal => $variant:ident, $text:literal, $short:literal;)+
        }
    ) => {
        registry! {
            $(#[$meta])*
            pub enum $name: $raw { $($number => $variant, $text;)+ }
        }

        impl $name {
            /// The abbreviation in the list of a message's payloads, if there is one.
            pub const fn short(self) -> Option<&'static str> {
                match self { $(Self::$variant => Some($short),)+ Self::Unknown(_) => None }
            }
        }
    };
    (
        $(#[$meta:meta])*
        pub enum $name:ident: $raw:ty {
            $($number:literal => $variant:ident, $text:literal;)+
        }
    ) => {
        strongswan::registry! {
            $(#[$meta])*
            pub enum $name: $raw { $($number => $variant, $text;)+ }
        }

        impl $name {
            /// The registered number.
            pub const fn number(self) -> $raw {
                match self { $(Self::$variant => $number,)+ Self::Unknown(number) => number }
            }
        }
    };
}
pub(crate) use registry;

registry! {
    /// Payload types of IKEv2 (RFC 7296 §3.2, RFC 7383).
    pub enum PayloadType: u8 {
        0 => NoNext, "NO_PAYLOAD", "NONE";
        33 => Sa, "SECURITY_ASSOCIATION", "SA";
        34 => Ke, "KEY_EXCHANGE", "KE";
        35 => IdI, "ID_INITIATOR", "IDi";
        36 => IdR, "ID_RESPONDER", "IDr";
        37 => Cert, "CERTIFICATE", "CERT";
        38 => CertReq, "CERTIFICATE_REQUEST", "CERTREQ";
        39 => Auth, "AUTH", "AUTH";
        40 => Nonce, "NONCE", "No";
        41 => Notify, "NOTIFY", "N";
        42 => Delete, "DELETE", "D";
        43 => VendorId, "VENDOR_ID", "V";
        44 => TsI, "TS_INITIATOR", "TSi";
        45 => TsR, "TS_RESPONDER", "TSr";
        46 => Encrypted, "ENCRYPTED", "E";
        47 => Cp, "CONFIGURATION", "CP";
        48 => Eap, "EXTENSIBLE_AUTHENTICATION", "EAP";
        53 => EncryptedFragment, "ENCRYPTED_FRAGMENT", "EF";
    }
}

registry! {
    /// Exchange types of IKEv2 (RFC 7296 §3.1, RFC 5723, RFC 9242, RFC 9370).
    pub enum ExchangeType: u8 {
        34 => IkeSaInit, "IKE_SA_INIT";
        35 => IkeAuth, "IKE_AUTH";
        36 => CreateChildSa, "CREATE_CHILD_SA";
        37 => Informational, "INFORMATIONAL";
        38 => IkeSessionResume, "IKE_SESSION_RESUME";
        43 => IkeIntermediate, "IKE_INTERMEDIATE";
        44 => IkeFollowupKe, "IKE_FOLLOWUP_KE";
    }
}

registry! {
    /// Authentication methods of the AUTH payload (RFC 7296 §3.8, RFC 4754, RFC 7427).
    pub enum AuthMethod: u8 {
        1 => RsaSignature, "RSA signature";
        2 => SharedKey, "pre-shared key";
        3 => DssSignature, "DSS signature";
        9 => Ecdsa256, "ECDSA-256 signature";
        10 => Ecdsa384, "ECDSA-384 signature";
        11 => Ecdsa521, "ECDSA-521 signature";
        12 => GenericSecurePassword, "secure password method";
        13 => Null, "NULL authentication";
        14 => DigitalSignature, "digital signature";
    }
}

registry! {
    /// Certificate encodings of CERT and CERTREQ payloads (RFC 7296 §3.6).
    pub enum CertEncoding: u8 {
        1 => Pkcs7WrappedX509, "ENC_PKCS7_WRAPPED_X509";
        2 => Pgp, "ENC_PGP";
        3 => DnsSignedKey, "ENC_DNS_SIGNED_KEY";
        4 => X509Signature, "ENC_X509_SIGNATURE";
        5 => X509KeyExchange, "ENC_X509_KEY_EXCHANGE";
        6 => KerberosTokens, "ENC_KERBEROS_TOKENS";
        7 => Crl, "ENC_CRL";
        8 => Arl, "ENC_ARL";
        9 => Spki, "ENC_SPKI";
        10 => X509Attribute, "ENC_X509_ATTRIBUTE";
        11 => RawRsaKey, "ENC_RAW_RSA_KEY";
        12 => HashAndUrl, "ENC_X509_HASH_AND_URL";
        13 => HashAndUrlBundle, "ENC_X509_HASH_AND_URL_BUNDLE";
        14 => OcspContent, "ENC_OCSP_CONTENT";
        15 => RawPublicKey, "ENC_RAW_PUBLIC_KEY";
    }
}

registry! {
    /// Kinds of configuration payloads (RFC 7296 §3.15).
    pub enum CpType: u8 {
        1 => Request, "CFG_REQUEST", "CPRQ";
        2 => Reply, "CFG_REPLY", "CPRP";
        3 => Set, "CFG_SET", "CPS";
        4 => Ack, "CFG_ACK", "CPA";
    }
}

registry! {
    /// Configuration attributes (RFC 7296 §3.15.1 and the IANA registry).
    pub enum CpAttributeType: u16 {
        1 => InternalIp4Address, "INTERNAL_IP4_ADDRESS", "ADDR";
        2 => InternalIp4Netmask, "INTERNAL_IP4_NETMASK", "MASK";
        3 => InternalIp4Dns, "INTERNAL_IP4_DNS", "DNS";
        4 => InternalIp4Nbns, "INTERNAL_IP4_NBNS", "NBNS";
        5 => InternalAddressExpiry, "INTERNAL_ADDRESS_EXPIRY", "EXP";
        6 => InternalIp4Dhcp, "INTERNAL_IP4_DHCP", "DHCP";
        7 => ApplicationVersion, "APPLICATION_VERSION", "VER";
        8 => InternalIp6Address, "INTERNAL_IP6_ADDRESS", "ADDR6";
        9 => InternalIp6Netmask, "INTERNAL_IP6_NETMASK", "MASK6";
        10 => InternalIp6Dns, "INTERNAL_IP6_DNS", "DNS6";
        11 => InternalIp6Nbns, "INTERNAL_IP6_NBNS", "NBNS6";
        12 => InternalIp6Dhcp, "INTERNAL_IP6_DHCP", "DHCP6";
        13 => InternalIp4Subnet, "INTERNAL_IP4_SUBNET", "SUBNET";
        14 => SupportedAttributes, "SUPPORTED_ATTRIBUTES", "SUP";
        15 => InternalIp6Subnet, "INTERNAL_IP6_SUBNET", "SUBNET6";
        16 => Mip6HomePrefix, "MIP6_HOME_PREFIX", "MIP6";
        17 => InternalIp6Link, "INTERNAL_IP6_LINK", "LINK6";
        18 => InternalIp6Prefix, "INTERNAL_IP6_PREFIX", "PFX6";
        19 => HomeAgentAddress, "HOME_AGENT_ADDRESS", "HOA";
        20 => PCscfIp4Address, "P_CSCF_IP4_ADDRESS", "PCSCF4";
        21 => PCscfIp6Address, "P_CSCF_IP6_ADDRESS", "PCSCF6";
        22 => FtTimeout, "FTT_KAT", "FTT";
        23 => ExternalSourceIp4NatInfo, "EXTERNAL_SOURCE_IP4_NAT_INFO", "EXTNAT";
        24 => TimeoutPeriodForLivenessCheck, "TIMEOUT_PERIOD_FOR_LIVENESS_CHECK", "LIVE";
        25 => InternalDnsDomain, "INTERNAL_DNS_DOMAIN", "DNSDOM";
        26 => InternalDnssecTa, "INTERNAL_DNSSEC_TA", "DNSSEC";
        // Microsoft's private attribute of a Windows client.
        23456 => InternalIp4Server, "INTERNAL_IP4_SERVER", "SRV";
        // Microsoft's private attribute of a Windows client.
        23457 => InternalIp6Server, "INTERNAL_IP6_SERVER", "SRV6";
        28672 => UnityBanner, "UNITY_BANNER", "U_BANNER";
        28673 => UnitySavePasswd, "UNITY_SAVE_PASSWD", "U_SAVEPWD";
        28674 => UnityDefDomain, "UNITY_DEF_DOMAIN", "U_DEFDOM";
        28675 => UnitySplitdnsName, "UNITY_SPLITDNS_NAME", "U_SPLITDNS";
        28676 => UnitySplitInclude, "UNITY_SPLIT_INCLUDE", "U_SPLITINC";
        28677 => UnityNattPort, "UNITY_NATT_PORT", "U_NATTPORT";
        28678 => UnityLocalLan, "UNITY_LOCAL_LAN", "U_LOCALLAN";
        28679 => UnityPfs, "UNITY_PFS", "U_PFS";
        28680 => UnityFwType, "UNITY_FW_TYPE", "U_FWTYPE";
        28681 => UnityBackupServers, "UNITY_BACKUP_SERVERS", "U_BKPSRV";
        28682 => UnityDdnsHostname, "UNITY_DDNS_HOSTNAME", "U_DDNSHOST";
    }
}

registry! {
    /// Traffic selector types (RFC 7296 §3.13.1, RFC 9478).
    pub enum TsType: u8 {
        7 => Ipv4AddrRange, "TS_IPV4_ADDR_RANGE";
        8 => Ipv6AddrRange, "TS_IPV6_ADDR_RANGE";
        9 => FcAddrRange, "TS_FC_ADDR_RANGE";
        10 => SecLabel, "TS_SECLABEL";
    }
}

registry! {
    /// Gateway identities of REDIRECT and REDIRECTED_FROM (RFC 5685 §6).
    pub enum GatewayType: u8 {
        1 => Ipv4, "IPv4";
        2 => Ipv6, "IPv6";
        3 => Fqdn, "FQDN";
    }
}

registry! {
    /// EAP packet codes (RFC 3748 §4).
    pub enum EapCode: u8 {
        1 => Request, "EAP_REQUEST", "REQ";
        2 => Response, "EAP_RESPONSE", "RES";
        3 => Success, "EAP_SUCCESS", "SUCC";
        4 => Failure, "EAP_FAILURE", "FAIL";
    }
}

registry! {
    /// EAP methods (the IANA registry), with strongSwan's spellings.
    pub enum EapType: u8 {
        1 => Identity, "EAP_IDENTITY", "ID";
        2 => Notification, "EAP_NOTIFICATION", "NTF";
        3 => Nak, "EAP_NAK", "NAK";
        4 => Md5, "EAP_MD5", "MD5";
        5 => Otp, "EAP_OTP", "OTP";
        6 => Gtc, "EAP_GTC", "GTC";
        13 => Tls, "EAP_TLS", "TLS";
        18 => Sim, "EAP_SIM", "SIM";
        21 => Ttls, "EAP_TTLS", "TTLS";
        23 => Aka, "EAP_AKA", "AKA";
        25 => Peap, "EAP_PEAP", "PEAP";
        26 => MsChapV2, "EAP_MSCHAPV2", "MSCHAPV2";
        33 => MsTlv, "EAP_MSTLV", "MSTLV";
        38 => Tnc, "EAP_TNC", "TNC";
        54 => PtEap, "EAP_PT_EAP", "PT";
        254 => Expanded, "EAP_EXPANDED", "EXP";
        255 => Experimental, "EAP_EXPERIMENTAL", "XP";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives_a_round_trip() {
        for number in 0..=u8::MAX {
            assert_eq!(PayloadType::from(number).number(), number);
            assert_eq!(ExchangeType::from(number).number(), number);
            assert_eq!(AuthMethod::from(number).number(), number);
            assert_eq!(CertEncoding::from(number).number(), number);
            assert_eq!(TsType::from(number).number(), number);
            assert_eq!(EapType::from(number).number(), number);
        }
        for number in 0..=u16::MAX {
            assert_eq!(u16::from(CpAttributeType::from(number)), number);
        }
    }

    #[test]
    fn unknown_numbers_print_in_parentheses() {
        assert_eq!(PayloadType::from(200).to_string(), "(200)");
        assert_eq!(ExchangeType::IkeSaInit.to_string(), "IKE_SA_INIT");
        assert_eq!(PayloadType::Nonce.short(), Some("No"));
        assert_eq!(PayloadType::Unknown(1).short(), None);
    }
}
