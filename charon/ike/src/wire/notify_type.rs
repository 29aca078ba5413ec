//! The notify registry: errors (1..=16383) and statuses (RFC 7296 §3.10.1 and the IANA registry), and the private numbers
//! strongSwan uses.

use super::registry::registry;

registry! {
    /// Notify message types.
    pub enum NotifyType: u16 {
        1 => UnsupportedCriticalPayload, "UNSUPPORTED_CRITICAL_PAYLOAD", "CRIT";
        4 => InvalidIkeSpi, "INVALID_IKE_SPI", "INVAL_IKE_SPI";
        5 => InvalidMajorVersion, "INVALID_MAJOR_VERSION", "INVAL_MAJOR";
        7 => InvalidSyntax, "INVALID_SYNTAX", "INVAL_SYN";
        9 => InvalidMessageId, "INVALID_MESSAGE_ID", "INVAL_MID";
        11 => InvalidSpi, "INVALID_SPI", "INVAL_SPI";
        14 => NoProposalChosen, "NO_PROPOSAL_CHOSEN", "NO_PROP";
        17 => InvalidKePayload, "INVALID_KE_PAYLOAD", "INVAL_KE";
        24 => AuthenticationFailed, "AUTHENTICATION_FAILED", "AUTH_FAILED";
        34 => SinglePairRequired, "SINGLE_PAIR_REQUIRED", "SINGLE_PAIR";
        35 => NoAdditionalSas, "NO_ADDITIONAL_SAS", "NO_ADD_SAS";
        36 => InternalAddressFailure, "INTERNAL_ADDRESS_FAILURE", "INT_ADDR_FAIL";
        37 => FailedCpRequired, "FAILED_CP_REQUIRED", "FAIL_CP_REQ";
        38 => TsUnacceptable, "TS_UNACCEPTABLE", "TS_UNACCEPT";
        39 => InvalidSelectors, "INVALID_SELECTORS", "INVAL_SEL";
        40 => UnacceptableAddresses, "UNACCEPTABLE_ADDRESSES", "UNACCEPT_ADDR";
        41 => UnexpectedNatDetected, "UNEXPECTED_NAT_DETECTED", "UNEXPECT_NAT";
        42 => UseAssignedHoA, "USE_ASSIGNED_HoA", "ASSIGNED_HoA";
        43 => TemporaryFailure, "TEMPORARY_FAILURE", "TEMP_FAIL";
        44 => ChildSaNotFound, "CHILD_SA_NOT_FOUND", "NO_CHILD_SA";
        47 => StateNotFound, "STATE_NOT_FOUND", "NO_STATE";
        48 => TsMaxQueue, "TS_MAX_QUEUE", "MAX_QUEUE";
        16384 => InitialContact, "INITIAL_CONTACT", "INIT_CONTACT";
        16385 => SetWindowSize, "SET_WINDOW_SIZE", "SET_WINSIZE";
        16386 => AdditionalTsPossible, "ADDITIONAL_TS_POSSIBLE", "ADD_TS_POSS";
        16387 => IpcompSupported, "IPCOMP_SUPPORTED", "IPCOMP_SUP";
        16388 => NatDetectionSourceIp, "NAT_DETECTION_SOURCE_IP", "NATD_S_IP";
        16389 => NatDetectionDestinationIp, "NAT_DETECTION_DESTINATION_IP", "NATD_D_IP";
        16390 => Cookie, "COOKIE", "COOKIE";
        16391 => UseTransportMode, "USE_TRANSPORT_MODE", "USE_TRANSP";
        16392 => HttpCertLookupSupported, "HTTP_CERT_LOOKUP_SUPPORTED", "HTTP_CERT_LOOK";
        16393 => RekeySa, "REKEY_SA", "REKEY_SA";
        16394 => EspTfcPaddingNotSupported, "ESP_TFC_PADDING_NOT_SUPPORTED", "ESP_TFC_PAD_N";
        16395 => NonFirstFragmentsAlso, "NON_FIRST_FRAGMENTS_ALSO", "NON_FIRST_FRAG";
        16396 => MobikeSupported, "MOBIKE_SUPPORTED", "MOBIKE_SUP";
        16397 => AdditionalIp4Address, "ADDITIONAL_IP4_ADDRESS", "ADD_4_ADDR";
        16398 => AdditionalIp6Address, "ADDITIONAL_IP6_ADDRESS", "ADD_6_ADDR";
        16399 => NoAdditionalAddresses, "NO_ADDITIONAL_ADDRESSES", "NO_ADD_ADDR";
        16400 => UpdateSaAddresses, "UPDATE_SA_ADDRESSES", "UPD_SA_ADDR";
        16401 => Cookie2, "COOKIE2", "COOKIE2";
        16402 => NoNatsAllowed, "NO_NATS_ALLOWED", "NO_NATS";
        16403 => AuthLifetime, "AUTH_LIFETIME", "AUTH_LFT";
        16404 => MultipleAuthSupported, "MULTIPLE_AUTH_SUPPORTED", "MULT_AUTH";
        16405 => AnotherAuthFollows, "ANOTHER_AUTH_FOLLOWS", "AUTH_FOLLOWS";
        16406 => RedirectSupported, "REDIRECT_SUPPORTED", "REDIR_SUP";
        16407 => Redirect, "REDIRECT", "REDIR";
        16408 => RedirectedFrom, "REDIRECTED_FROM", "REDIR_FROM";
        16417 => EapOnlyAuthentication, "EAP_ONLY_AUTHENTICATION", "EAP_ONLY";
        16418 => ChildlessIkev2Supported, "CHILDLESS_IKEV2_SUPPORTED", "CHDLESS_SUP";
        16420 => Ikev2MessageIdSyncSupported, "IKEV2_MESSAGE_ID_SYNC_SUPPORTED", "MSG_ID_SYN_SUP";
        16421 => IpsecReplayCounterSyncSupported, "IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED", "RPL_CTR_SYN_SUP";
        16422 => Ikev2MessageIdSync, "IKEV2_MESSAGE_ID_SYNC", "MSG_ID_SYN";
        16423 => IpsecReplayCounterSync, "IPSEC_REPLAY_COUNTER_SYNC", "RPL_CTR_SYN";
        16430 => FragmentationSupported, "FRAGMENTATION_SUPPORTED", "FRAG_SUP";
        16431 => SignatureHashAlgorithms, "SIGNATURE_HASH_ALGORITHMS", "HASH_ALG";
        16435 => UsePpk, "USE_PPK", "USE_PPK";
        16436 => PpkIdentity, "PPK_IDENTITY", "PPK_ID";
        16437 => NoPpkAuth, "NO_PPK_AUTH", "NO_PPK";
        16438 => IntermediateExchangeSupported, "INTERMEDIATE_EXCHANGE_SUPPORTED", "IKE_INT_SUP";
        16441 => AdditionalKeyExchange, "ADDITIONAL_KEY_EXCHANGE", "ADD_KE";
        16442 => UseAggfrag, "USE_AGGFRAG", "AGGFRAG";
        16444 => SaResourceInfo, "SA_RESOURCE_INFO", "RES_INFO";
        // Status that Windows sends when it gives up (private use, RFC 7296 leaves 12345 unassigned).
        12345 => MsNotifyStatus, "MS_NOTIFY_STATUS", "MS_STATUS";
        40961 => UseBeetMode, "USE_BEET_MODE", "BEET_MODE";
        40962 => MeMediation, "ME_MEDIATION", "ME_MED";
        40963 => MeEndpoint, "ME_ENDPOINT", "ME_EP";
        40964 => MeCallback, "ME_CALLBACK", "ME_CB";
        40965 => MeConnectId, "ME_CONNECTID", "ME_CID";
        40966 => MeConnectKey, "ME_CONNECTKEY", "ME_CKEY";
        40967 => MeConnectAuth, "ME_CONNECTAUTH", "ME_CAUTH";
        40968 => MeResponse, "ME_RESPONSE", "ME_R";
        40969 => RadiusAttribute, "RADIUS_ATTRIBUTE", "RADIUS";
    }
}

impl NotifyType {
    /// Whether the number announces an error rather than a status (RFC 7296 §3.10.1).
    pub const fn is_error(self) -> bool {
        self.number() <= 16383
    }

    /// Length rule of the notification data (spec: RFC 7296 §3.10.1 and the RFCs that define each type).
    pub(crate) const fn data_length_valid(self, len: usize) -> bool {
        match self {
            Self::InvalidKePayload => len == 2,
            Self::NatDetectionSourceIp | Self::NatDetectionDestinationIp => len == 20,
            Self::InvalidSyntax | Self::InvalidMajorVersion | Self::NoProposalChosen => len == 0,
            Self::Cookie => len >= 1 && len <= 64,
            Self::AdditionalIp4Address | Self::AuthLifetime => len == 4,
            Self::AdditionalIp6Address => len == 16,
            Self::SignatureHashAlgorithms => len.is_multiple_of(2),
            Self::IpcompSupported => len == 3,
            Self::UseAggfrag => len == 1,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for number in 0..=u16::MAX {
            assert_eq!(NotifyType::from(number).number(), number);
        }
    }

    #[test]
    fn errors_end_at_16383() {
        assert!(NotifyType::Unknown(16383).is_error());
        assert!(!NotifyType::InitialContact.is_error());
    }
}
