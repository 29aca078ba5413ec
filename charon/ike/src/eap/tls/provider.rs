//! What TLS may use, from the settings: versions, cipher suites, groups, schemes of signatures.

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{CipherSuite, NamedGroup, SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion, version};

use super::certificates;
use super::settings::{TlsSettings, TlsVersion};

/// A suite in the words of the settings: keywords of the cipher, hash, how keys are agreed on (TLS 1.2), name of the IANA.
struct Words {
    cipher: &'static str,
    mac: &'static str,
    key_exchange: Option<&'static str>,
    name: &'static str,
}

fn words(suite: CipherSuite) -> Option<Words> {
    const AES128: (&str, &str) = ("aes128gcm16", "sha256");
    const AES256: (&str, &str) = ("aes256gcm16", "sha384");
    const CHACHA: (&str, &str) = ("chacha20poly1305", "sha256");
    const ECDSA: Option<&str> = Some("ecdhe-ecdsa");
    const RSA: Option<&str> = Some("ecdhe-rsa");
    let ((cipher, mac), key_exchange, name) = match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => (AES128, None, "TLS_AES_128_GCM_SHA256"),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => (AES256, None, "TLS_AES_256_GCM_SHA384"),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => (CHACHA, None, "TLS_CHACHA20_POLY1305_SHA256"),
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => {
            (AES128, ECDSA, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => {
            (AES256, ECDSA, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")
        }
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => {
            (CHACHA, ECDSA, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")
        }
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => (AES128, RSA, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => (AES256, RSA, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
            (CHACHA, RSA, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")
        }
        _ => return None,
    };
    Some(Words { cipher, mac, key_exchange, name })
}

/// Whether a list allows something that goes by any of these names.
fn allows(list: &[String], names: &[&str]) -> bool {
    list.is_empty() || list.iter().any(|word| names.iter().any(|name| word.eq_ignore_ascii_case(name)))
}

fn allows_suite(settings: &TlsSettings, suite: &SupportedCipherSuite) -> bool {
    let Some(words) = words(suite.suite()) else { return false };
    // strongSwan's keywords leave out the tag's length now and then
    let ciphers = [words.cipher, words.cipher.trim_end_matches("16")];
    allows(&settings.cipher, &ciphers)
        && allows(&settings.mac, &[words.mac])
        && words.key_exchange.is_none_or(|kind| allows(&settings.key_exchange, &[kind]))
        && allows(&settings.suites, &[words.name])
}

fn allows_group(settings: &TlsSettings, group: &dyn SupportedKxGroup) -> bool {
    let names: &[&str] = match group.name() {
        NamedGroup::X25519 => &["curve25519", "x25519"],
        NamedGroup::secp256r1 => &["ecp256"],
        NamedGroup::secp384r1 => &["ecp384"],
        NamedGroup::secp521r1 => &["ecp521"],
        // hybrids and finite fields have no keyword
        _ => return settings.ke_group.is_empty(),
    };
    allows(&settings.ke_group, names)
}

fn allows_scheme(settings: &TlsSettings, scheme: SignatureScheme) -> bool {
    let name = match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => "ECDSA_SHA256",
        SignatureScheme::ECDSA_NISTP384_SHA384 => "ECDSA_SHA384",
        SignatureScheme::ECDSA_NISTP521_SHA512 => "ECDSA_SHA512",
        SignatureScheme::ED25519 => "ED25519",
        SignatureScheme::RSA_PSS_SHA256 => "RSA_PSS_RSAE_SHA256",
        SignatureScheme::RSA_PSS_SHA384 => "RSA_PSS_RSAE_SHA384",
        SignatureScheme::RSA_PSS_SHA512 => "RSA_PSS_RSAE_SHA512",
        SignatureScheme::RSA_PKCS1_SHA256 => "RSA_PKCS1_SHA256",
        SignatureScheme::RSA_PKCS1_SHA384 => "RSA_PKCS1_SHA384",
        SignatureScheme::RSA_PKCS1_SHA512 => "RSA_PKCS1_SHA512",
        _ => return false,
    };
    allows(&settings.signature, &[name])
}

/// What TLS may use.
pub(super) struct Allowed {
    pub(super) provider: CryptoProvider,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    pub(super) schemes: Vec<SignatureScheme>,
}

/// What the settings leave over.
pub(super) fn allowed(settings: &TlsSettings) -> Allowed {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| allows_suite(settings, suite));
    provider.kx_groups.retain(|group| allows_group(settings, *group));
    let schemes = certificates::schemes().filter(|scheme| allows_scheme(settings, *scheme)).collect();
    let max = settings.version_max;
    // a minimum above the maximum is lowered to it
    let min = settings.version_min.min(max);
    let mut versions = Vec::new();
    if max >= TlsVersion::V13 {
        versions.push(&version::TLS13);
    }
    if min <= TlsVersion::V12 && max >= TlsVersion::V12 {
        versions.push(&version::TLS12);
    }
    // a version without a suite is none
    versions.retain(|version| provider.cipher_suites.iter().any(|suite| suite.version() == *version));
    Allowed { provider, versions, schemes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    fn suites(settings: &TlsSettings) -> usize {
        allowed(settings).provider.cipher_suites.len()
    }

    #[test]
    fn lists_restrict() {
        let all = TlsSettings::default;
        assert_eq!(suites(&all()), 9);
        assert_eq!(suites(&TlsSettings { cipher: list("aes256gcm16"), ..all() }), 3);
        assert_eq!(suites(&TlsSettings { cipher: list("aes128"), ..all() }), 0);
        assert_eq!(suites(&TlsSettings { mac: list("sha384"), ..all() }), 3);
        assert_eq!(suites(&TlsSettings { key_exchange: list("ecdhe-rsa"), ..all() }), 6);
        assert_eq!(suites(&TlsSettings { suites: list("tls_aes_128_gcm_sha256"), ..all() }), 1);
        let groups = allowed(&TlsSettings { ke_group: list("ecp384 curve25519"), ..all() }).provider.kx_groups;
        assert_eq!(groups.iter().map(|group| group.name()).collect::<Vec<_>>().len(), 2);
        let schemes = allowed(&TlsSettings { signature: list("ed25519 RSA_PSS_RSAE_SHA256"), ..all() }).schemes;
        assert_eq!(schemes, [SignatureScheme::ED25519, SignatureScheme::RSA_PSS_SHA256]);
    }

    #[test]
    fn versions() {
        use TlsVersion::{Older, V12, V13};
        let versions = |version_min, version_max| {
            allowed(&TlsSettings { version_min, version_max, ..TlsSettings::default() }).versions.len()
        };
        for (min, max, expected) in
            [(V12, V12, 1), (V12, V13, 2), (V13, V13, 1), (Older, V12, 1), (Older, Older, 0), (V13, V12, 1)]
        {
            assert_eq!(versions(min, max), expected, "{min:?} {max:?}");
        }
        let no_suite = TlsSettings { suites: list("TLS_AES_128_GCM_SHA256"), ..TlsSettings::default() };
        assert!(allowed(&no_suite).versions.is_empty());
    }
}
