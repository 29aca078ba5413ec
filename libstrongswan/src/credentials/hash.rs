//! Hash algorithms by their IKEv2 numbers (RFC 7427 §7, RFC 8420), as announced in SIGNATURE_HASH_ALGORITHMS.

crate::registry! {
    /// A hash algorithm of a signature. Numbers from 1024 are private and never on the wire.
    pub enum HashAlgorithm: u16 {
        1 => Sha1, "HASH_SHA1";
        2 => Sha2_256, "HASH_SHA2_256";
        3 => Sha2_384, "HASH_SHA2_384";
        4 => Sha2_512, "HASH_SHA2_512";
        5 => Identity, "HASH_IDENTITY";
        1026 => Md4, "HASH_MD4";
        1027 => Md5, "HASH_MD5";
        1028 => Sha2_224, "HASH_SHA2_224";
        1029 => Sha3_224, "HASH_SHA3_224";
        1030 => Sha3_256, "HASH_SHA3_256";
        1031 => Sha3_384, "HASH_SHA3_384";
        1032 => Sha3_512, "HASH_SHA3_512";
    }
}

impl HashAlgorithm {
    /// What we accept in signatures of a peer that supports RFC 7427, in the order of the announcement.
    pub const ANNOUNCED: &'static [Self] = &[Self::Sha2_256, Self::Sha2_384, Self::Sha2_512, Self::Identity];

    /// The algorithm of that name in `auth` strings.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "md5" => Some(Self::Md5),
            "sha1" => Some(Self::Sha1),
            "sha224" => Some(Self::Sha2_224),
            "sha256" => Some(Self::Sha2_256),
            "sha384" => Some(Self::Sha2_384),
            "sha512" => Some(Self::Sha2_512),
            "sha3_224" => Some(Self::Sha3_224),
            "sha3_256" => Some(Self::Sha3_256),
            "sha3_384" => Some(Self::Sha3_384),
            "sha3_512" => Some(Self::Sha3_512),
            "identity" => Some(Self::Identity),
            _ => None,
        }
    }

    /// Length of the digest in bytes, which is also the length of a PSS salt; 0 for the identity.
    pub fn output_len(self) -> u16 {
        match self {
            Self::Md4 | Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha2_224 | Self::Sha3_224 => 28,
            Self::Sha2_256 | Self::Sha3_256 => 32,
            Self::Sha2_384 | Self::Sha3_384 => 48,
            Self::Sha2_512 | Self::Sha3_512 => 64,
            Self::Identity | Self::Unknown(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(HashAlgorithm::from(2).to_string(), "HASH_SHA2_256");
        assert_eq!(HashAlgorithm::from_name("sha256"), Some(HashAlgorithm::Sha2_256));
        assert_eq!(HashAlgorithm::from_name("SHA256"), None);
        assert_eq!(HashAlgorithm::Unknown(9).output_len(), 0);
    }
}
