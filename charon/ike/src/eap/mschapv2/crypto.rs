//! The computations of MS-CHAPv2 (RFC 2759 §8) and of its keys (RFC 3079 §3).

use strongswan::crypto::hash::{md4, sha1};
use strongswan::crypto::{CryptoError, Secret, des_encrypt};
use zeroize::Zeroizing;

pub(super) const HASH_LEN: usize = 16;
pub(super) const CHALLENGE_LEN: usize = 16;
pub(super) const RESPONSE_LEN: usize = 24;

/// A challenge of either side.
pub(super) type Challenge = [u8; CHALLENGE_LEN];

/// NtPasswordHash: MD4 of the password in UTF-16. What is no UTF-8 is taken as Latin-1.
pub(super) fn nt_password_hash(password: &[u8]) -> Secret {
    let mut unicode = Zeroizing::new(Vec::with_capacity(password.len().saturating_mul(2)));
    match std::str::from_utf8(password) {
        Ok(text) => text.encode_utf16().for_each(|unit| unicode.extend(unit.to_le_bytes())),
        Err(_) => password.iter().for_each(|byte| unicode.extend([*byte, 0])),
    }
    Secret::from(&md4(&[&unicode])[..])
}

/// ChallengeHash: the challenge that is answered in the end.
fn challenge_hash(peer: &Challenge, authenticator: &Challenge, user: &[u8]) -> [u8; 8] {
    let hash = sha1(&[peer, authenticator, without_domain(user)]);
    hash.first_chunk().copied().unwrap_or_default()
}

/// The user's name without the domain in front.
fn without_domain(user: &[u8]) -> &[u8] {
    user.iter().position(|byte| *byte == b'\\').and_then(|at| user.get(at.saturating_add(1)..)).unwrap_or(user)
}

/// GenerateNTResponse.
pub(super) fn nt_response(
    hash: &Secret,
    peer: &Challenge,
    authenticator: &Challenge,
    user: &[u8],
) -> Result<[u8; RESPONSE_LEN], CryptoError> {
    let challenge = challenge_hash(peer, authenticator, user);
    let mut padded = Zeroizing::new([0u8; 21]);
    padded.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    let mut response = [0; RESPONSE_LEN];
    for (key, out) in padded.chunks_exact(7).zip(response.chunks_exact_mut(8)) {
        let Some(key) = key.first_chunk() else { return Err(CryptoError::Library) };
        out.copy_from_slice(&des_encrypt(&challenge, key)?);
    }
    Ok(response)
}

/// GenerateAuthenticatorResponse, without the `S=` and the hexadecimal form.
pub(super) fn authenticator_response(
    hash: &Secret,
    response: &[u8; RESPONSE_LEN],
    peer: &Challenge,
    authenticator: &Challenge,
    user: &[u8],
) -> [u8; 20] {
    const MAGIC1: &[u8] = b"Magic server to client signing constant";
    const MAGIC2: &[u8] = b"Pad to make it do more than one iteration";
    let hash_hash = hash_hash(hash);
    let digest = sha1(&[hash_hash.as_bytes(), response, MAGIC1]);
    sha1(&[&digest, &challenge_hash(peer, authenticator, user), MAGIC2])
}

fn hash_hash(hash: &Secret) -> Secret {
    Secret::from(&md4(&[hash.as_bytes()])[..])
}

/// The MSK: what the server receives with, what it sends with, and zeros up to 64 bytes.
pub(super) fn msk(hash: &Secret, response: &[u8; RESPONSE_LEN]) -> Secret {
    const MAGIC1: &[u8] = b"This is the MPPE Master Key";
    const MAGIC2: &[u8] = b"On the client side, this is the send key; on the server side, it is the receive key.";
    const MAGIC3: &[u8] = b"On the client side, this is the receive key; on the server side, it is the send key.";
    let master = Zeroizing::new(sha1(&[hash_hash(hash).as_bytes(), response, MAGIC1]));
    let master = master.first_chunk::<16>().copied().map(Zeroizing::new).unwrap_or_default();
    let mut msk = Vec::with_capacity(64);
    for magic in [MAGIC2, MAGIC3] {
        let key = Zeroizing::new(sha1(&[master.as_slice(), &[0; 40], magic, &[0xf2; 40]]));
        msk.extend(key.iter().take(16));
    }
    msk.resize(64, 0);
    Secret::new(msk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        hex::decode(text.replace(' ', "")).unwrap().try_into().unwrap()
    }

    /// RFC 2759 §9.2, RFC 3079 §3.5.3.
    #[test]
    fn published_example() {
        let authenticator = bytes("5B 5D 7C 7D 7B 3F 2F 3E 3C 2C 60 21 32 26 26 28");
        let peer = bytes("21 40 23 24 25 5E 26 2A 28 29 5F 2B 3A 33 7C 7E");
        let hash = nt_password_hash(b"clientPass");
        assert_eq!(hex::encode_upper(hash.as_bytes()), "44EBBA8D5312B8D611474411F56989AE");
        let response = nt_response(&hash, &peer, &authenticator, b"User").unwrap();
        assert_eq!(hex::encode_upper(response), "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF");
        assert_eq!(nt_response(&hash, &peer, &authenticator, b"DOMAIN\\User").unwrap(), response);
        let proof = authenticator_response(&hash, &response, &peer, &authenticator, b"User");
        assert_eq!(hex::encode_upper(proof), "407A5589115FD0D6209F510FE9C04566932CDA56");
        let msk = msk(&hash, &response);
        assert_eq!(msk.len(), 64);
        // the send start key of the server is the second
        assert_eq!(hex::encode_upper(&msk.as_bytes()[16..32]), "8B7CDC149B993A1BA118CB153F56DCCB");
        assert!(msk.as_bytes()[32..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn passwords_in_unicode() {
        // UTF-16 of "é" is e9 00, in both notations of the password
        assert_eq!(nt_password_hash("é".as_bytes()), nt_password_hash(b"\xe9"));
        assert_ne!(nt_password_hash("é".as_bytes()), nt_password_hash(b"e"));
        assert_eq!(hex::encode(nt_password_hash(b"").as_bytes()), "31d6cfe0d16ae931b73c59d7e0c089c0");
    }
}
