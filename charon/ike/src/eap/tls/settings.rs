//! Settings of TLS (`charon.tls.*`) and of the methods that are based on it.

use strongswan::credentials::EapMethod;

use crate::wire::EapType;

/// A version of TLS, as far as there is anything that speaks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.0 and 1.1, which nothing here speaks.
    Older,
    /// 1.2
    V12,
    /// 1.3
    V13,
}

/// What TLS may do. Empty lists allow everything there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// `tls.version_min`
    pub version_min: TlsVersion,
    /// `tls.version_max`
    pub version_max: TlsVersion,
    /// `tls.cipher`: keywords of encryption algorithms.
    pub cipher: Vec<String>,
    /// `tls.mac`: hashes of cipher suites.
    pub mac: Vec<String>,
    /// `tls.key_exchange`: how suites of TLS 1.2 agree on keys.
    pub key_exchange: Vec<String>,
    /// `tls.suites`: names of the IANA.
    pub suites: Vec<String>,
    /// `tls.ke_group`: keywords of groups.
    pub ke_group: Vec<String>,
    /// `tls.signature`: schemes of signatures.
    pub signature: Vec<String>,
    /// `tls.send_certreq_authorities`: tell clients which CAs are known here.
    pub send_certreq_authorities: bool,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            version_min: TlsVersion::V12,
            version_max: TlsVersion::V12,
            cipher: Vec::new(),
            mac: Vec::new(),
            key_exchange: Vec::new(),
            suites: Vec::new(),
            ke_group: Vec::new(),
            signature: Vec::new(),
            send_certreq_authorities: true,
        }
    }
}

/// How TLS is cut into EAP packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FramingSettings {
    /// `fragment_size`: bytes of an EAP packet, at most.
    pub fragment_size: usize,
    /// `max_message_count`: packets of the other side, at most; 0 for no limit but that of all methods.
    pub max_message_count: u32,
    /// `include_length`: say how long a message is even if it fits into one packet.
    pub include_length: bool,
}

impl Default for FramingSettings {
    fn default() -> Self {
        Self { fragment_size: 1024, max_message_count: 32, include_length: true }
    }
}

/// A method that runs another one within TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelSettings {
    /// Packets.
    pub framing: FramingSettings,
    /// `phase2_method`: what a server runs within; `None` for a word that is no method.
    pub phase2_method: Option<EapMethod>,
    /// `phase2_piggyback`: a server asks for the identity along with the end of the TLS handshake.
    pub phase2_piggyback: bool,
    /// `request_peer_auth`: a server wants a certificate of the client too.
    pub request_peer_auth: bool,
}

impl TunnelSettings {
    fn with_method(kind: EapType) -> Self {
        Self {
            framing: FramingSettings::default(),
            phase2_method: Some(EapMethod::Type { kind: kind.number().into(), vendor: 0 }),
            phase2_piggyback: false,
            request_peer_auth: false,
        }
    }

    /// The defaults of EAP-TTLS.
    pub fn ttls() -> Self {
        Self::with_method(EapType::Md5)
    }

    /// The defaults of EAP-PEAP.
    pub fn peap() -> Self {
        let mut settings = Self::with_method(EapType::MsChapV2);
        settings.framing.include_length = false;
        settings
    }
}
