//! The settings of EAP methods (`charon.plugins.eap-*`).

use super::packet::MethodType;
use super::tls::settings::{FramingSettings, TlsSettings, TunnelSettings};

/// What authenticates the password of EAP-GTC, `eap-gtc.backend`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum GtcBackend {
    /// `generic`: secrets in memory.
    Generic,
    /// Anything else, which there is not.
    #[default]
    Missing,
}

/// Settings of EAP methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EapSettings {
    /// `force_eap_only_authentication`: leave out our own AUTH where the connection says so, whether or not the client
    /// knows about it.
    pub force_eap_only: bool,
    /// Plugins with `load = no`.
    pub disabled: Vec<String>,
    /// `eap-dynamic.preferred`: what to try first.
    pub preferred: Vec<MethodType>,
    /// `eap-dynamic.prefer_user`: the client's order counts rather than ours.
    pub prefer_user: bool,
    /// `eap-gtc.backend`
    pub gtc_backend: GtcBackend,
    /// `charon.tls.*`
    pub tls: TlsSettings,
    /// `eap-tls.*`
    pub eap_tls: FramingSettings,
    /// `eap-ttls.*`
    pub ttls: TunnelSettings,
    /// `eap-peap.*`
    pub peap: TunnelSettings,
}

impl Default for EapSettings {
    fn default() -> Self {
        Self {
            force_eap_only: false,
            disabled: Vec::new(),
            preferred: Vec::new(),
            prefer_user: false,
            gtc_backend: GtcBackend::default(),
            tls: TlsSettings::default(),
            eap_tls: FramingSettings::default(),
            ttls: TunnelSettings::ttls(),
            peap: TunnelSettings::peap(),
        }
    }
}

#[cfg(any(test, fuzzing))]
impl EapSettings {
    /// Everything that can be on is on.
    pub(super) fn for_tests() -> Self {
        Self { gtc_backend: GtcBackend::Generic, ..Self::default() }
    }
}
