//! Options of features that do not exist yet. A connection that relies on one must not come up without it: it is refused,
//! with the reason.
//!
//! What only some data planes can do (modes, marks, interfaces, offloading) is not known here; these refuse the CHILD_SA.
//! Options that only mean something to IKEv1 (`aggressive`, `pull`, `dpd_timeout`, `xauth_id`) or to EAP (`eap_id`,
//! `aaa_id`) are without effect on an IKEv2 connection with other authentication, as in strongSwan.

use ike::config::{AuthClass, AuthRound, ChildConfig, IkeVersion, Mode, PeerConfig, PerCpuSas};

use super::LoadError;

/// Refuses a connection that relies on what there is not.
///
/// # Errors
/// The first option that cannot be honoured.
pub fn check_supported(peer: &PeerConfig) -> Result<(), LoadError> {
    let refused = connection(peer).or_else(|| peer.children.iter().find_map(|child| self::child(child)));
    if let Some((key, reason)) = refused {
        return Err(LoadError::Unsupported { key, reason });
    }
    Ok(())
}

type Refusal = (&'static str, &'static str);

fn connection(peer: &PeerConfig) -> Option<Refusal> {
    match peer.ike.version {
        IkeVersion::Any | IkeVersion::V2 => {}
        IkeVersion::V1 => return Some(("version", "IKEv1 is not supported")),
        IkeVersion::Other(_) => return Some(("version", "there is no such IKE version")),
    }
    peer.local.iter().chain(&peer.remote).find_map(round)
}

fn round(round: &AuthRound) -> Option<Refusal> {
    match round.class {
        AuthClass::Any | AuthClass::Pubkey | AuthClass::Psk => None,
        AuthClass::Eap(method) if !ike::eap::is_supported(method) => Some(("auth", "this EAP method is not supported")),
        AuthClass::Eap(_) => None,
        AuthClass::Xauth(_) => Some(("auth", "XAuth is not supported")),
    }
}

fn child(child: &ChildConfig) -> Option<Refusal> {
    if child.mode == Mode::Iptfs {
        return Some(("mode", "IP-TFS is not supported"));
    }
    if child.label.is_some() {
        return Some(("label", "security labels are not supported"));
    }
    if child.per_cpu_sas != PerCpuSas::No {
        return Some(("per_cpu_sas", "SAs per CPU are not supported"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;
    use strongswan::credentials::AuthOptions;
    use vici::Message;

    fn check(section: Message) -> String {
        let peer = load("gw", &section, AuthOptions::default()).unwrap();
        check_supported(&peer).err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn child(section: Message) -> String {
        check(Message::new().with_section("children", Message::new().with_section("net", section)))
    }

    #[test]
    fn what_there_is_passes() {
        assert_eq!(check(Message::new()), "");
        let psk = Message::new().with("auth", "psk").with("eap_id", "nobody");
        assert_eq!(check(Message::new().with("version", "2").with("aggressive", "yes").with_section("local", psk)), "");
        for method in ["eap", "eap-md5", "eap-mschapv2", "eap-gtc", "eap-dynamic", "eap-radius"] {
            assert_eq!(check(Message::new().with_section("remote", Message::new().with("auth", method))), "");
        }
        assert_eq!(child(Message::new().with("mode", "transport").with("mark_in", "42").with("ipcomp", "yes")), "");
        assert_eq!(check(Message::new().with("ppk_required", "yes").with("ocsp", "both")), "");
        let hybrid = || ["aes256-sha384-x25519-ke1_mlkem1024-ke2_ecp384-ke2_none"];
        assert_eq!(check(Message::new().with_list("proposals", hybrid())), "");
        assert_eq!(child(Message::new().with_list("esp_proposals", hybrid())), "");
    }

    #[test]
    fn what_there_is_not_is_refused_with_the_reason() {
        let refused = |key, reason| format!("invalid value for: {key}, config discarded: {reason} not supported");
        let auth = |method| Message::new().with("auth", method);
        for (section, key, reason) in [
            (Message::new().with("version", "1"), "version", "IKEv1 is"),
            (Message::new().with_section("remote", auth("eap-otp")), "auth", "this EAP method is"),
            (Message::new().with_section("local-2", auth("xauth")), "auth", "XAuth is"),
        ] {
            assert_eq!(check(section), refused(key, reason));
        }
        for (section, key, reason) in [
            (Message::new().with("mode", "iptfs"), "mode", "IP-TFS is"),
            (Message::new().with("label", "system_u:object_r:ipsec_spd_t:s0"), "label", "security labels are"),
            (Message::new().with("per_cpu_sas", "encap"), "per_cpu_sas", "SAs per CPU are"),
        ] {
            assert_eq!(child(section), refused(key, reason));
        }
        assert_eq!(
            check(Message::new().with("version", "7")),
            "invalid value for: version, config discarded: there is no such IKE version"
        );
    }
}
