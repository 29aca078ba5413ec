//! Properties of all channels; published vectors are in `crypto/vectors`.

use super::*;

/// Every supported channel, with keys of the right length.
fn channels() -> Vec<(String, Cipher)> {
    let mut channels = Vec::new();
    for encryption in EncryptionAlgorithm::ALL {
        for key_size in [None, Some(128), Some(192), Some(256)] {
            for integrity in [None].into_iter().chain(IntegrityAlgorithm::ALL.iter().copied().map(Some)) {
                let Some(lengths) = Cipher::key_lengths((*encryption, key_size), integrity) else { continue };
                if encryption.is_aead() && integrity.is_some()
                    || *encryption == EncryptionAlgorithm::Null && integrity.is_none()
                {
                    continue;
                }
                let key = |len: usize| (0..=255u8).cycle().take(len).collect::<Vec<u8>>();
                let cipher =
                    Cipher::new((*encryption, key_size), integrity, &key(lengths.encryption), &key(lengths.integrity));
                channels.push((format!("{encryption} {key_size:?} {integrity:?}"), cipher.expect("supported")));
            }
        }
    }
    channels
}

#[test]
fn opens_what_it_sealed_and_nothing_else() {
    let channels = channels();
    assert!(channels.len() > 100);
    for (name, cipher) in channels {
        let (aad, tail) = ([1, 2, 3, 4, 5, 6, 7, 8], [9, 9, 9, 9]);
        let iv = vec![7; cipher.iv_len()];
        for blocks in [0, 1, 2, 5, 90] {
            let plain: Vec<u8> = (0..=255).cycle().take(blocks * cipher.block_len()).collect();
            let (mut text, mut icv) = (plain.clone(), vec![0; cipher.icv_len()]);
            cipher.seal(&aad, &iv, &mut text, &tail, &mut icv).unwrap();
            let mut opened = text.clone();
            cipher.open(&aad, &iv, &mut opened, &tail, &icv).expect(&name);
            assert_eq!(opened, plain, "{name}");
            if cipher.icv_len() == 0 {
                continue;
            }
            let fails = |aad: &[u8], iv: &[u8], text: &[u8], tail: &[u8], icv: &[u8]| {
                assert_eq!(cipher.open(aad, iv, &mut text.to_vec(), tail, icv), Err(CryptoError::Integrity), "{name}");
            };
            let flip = |bytes: &[u8], at: usize| {
                let mut bytes = bytes.to_vec();
                bytes[at] ^= 0x80;
                bytes
            };
            fails(&flip(&aad, 7), &iv, &text, &tail, &icv);
            fails(&aad[1..], &iv, &text, &tail, &icv);
            if !iv.is_empty() {
                fails(&aad, &flip(&iv, 0), &text, &tail, &icv);
            }
            if !text.is_empty() {
                fails(&aad, &iv, &flip(&text, text.len() - 1), &tail, &icv);
            }
            if !cipher.is_aead() {
                fails(&aad, &iv, &text, &flip(&tail, 0), &icv);
            }
            for at in [0, icv.len() - 1] {
                fails(&aad, &iv, &text, &tail, &flip(&icv, at));
            }
        }
    }
}

#[test]
fn wrong_lengths_are_refused() {
    for (name, cipher) in channels() {
        let (iv, icv) = (vec![0; cipher.iv_len()], vec![0; cipher.icv_len()]);
        let what = |iv: &[u8], text: usize, icv: &[u8]| {
            let error = cipher.open(&[], iv, &mut vec![0; text], &[], icv).unwrap_err();
            assert_eq!(cipher.seal(&[], iv, &mut vec![0; text], &[], &mut icv.to_vec()).unwrap_err(), error, "{name}");
            let CryptoError::Length { what, .. } = error else { panic!("{name}: {error}") };
            what
        };
        assert_eq!(what(&[0; 13], 0, &icv), "IV");
        assert_eq!(what(&iv, 0, &[0; 11]), "ICV");
        if cipher.block_len() > 1 {
            assert_eq!(what(&iv, cipher.block_len() + 1, &icv), "text");
        }
    }
}

#[test]
fn keys_must_have_the_right_length() {
    let gcm = (EncryptionAlgorithm::AesGcm16, Some(128));
    assert_eq!(Cipher::key_lengths(gcm, None), Some(KeyLengths { encryption: 20, integrity: 0 }));
    for len in [0, 16, 19, 21] {
        let error = Cipher::new(gcm, None, &vec![0; len], &[]).unwrap_err();
        assert_eq!(error, CryptoError::KeyLength { expected: 20, actual: len });
    }
    let (cbc, sha) = ((EncryptionAlgorithm::AesCbc, Some(256)), Some(IntegrityAlgorithm::HmacSha2_512_256));
    assert_eq!(Cipher::key_lengths(cbc, sha), Some(KeyLengths { encryption: 32, integrity: 64 }));
    let error = Cipher::new(cbc, sha, &[0; 32], &[0; 63]).unwrap_err();
    assert_eq!(error, CryptoError::KeyLength { expected: 64, actual: 63 });
}

#[test]
fn what_is_not_supported_is_named() {
    let error = Cipher::new((EncryptionAlgorithm::CamelliaCbc, Some(128)), None, &[0; 16], &[]).unwrap_err();
    assert_eq!(error, CryptoError::UnsupportedEncryption(EncryptionAlgorithm::CamelliaCbc, Some(128)));
    let error = Cipher::new((EncryptionAlgorithm::AesCbc, Some(512)), None, &[0; 64], &[]).unwrap_err();
    assert_eq!(error, CryptoError::UnsupportedEncryption(EncryptionAlgorithm::AesCbc, Some(512)));
    let cbc = (EncryptionAlgorithm::AesCbc, Some(128));
    let error = Cipher::new(cbc, Some(IntegrityAlgorithm::DesMac), &[0; 16], &[0; 16]).unwrap_err();
    assert_eq!(error, CryptoError::UnsupportedIntegrity(IntegrityAlgorithm::DesMac));
    // RFC 4301 §4.2: at least one of the two services.
    let error = Cipher::new((EncryptionAlgorithm::Null, None), None, &[], &[]).unwrap_err();
    assert_eq!(error, CryptoError::UnsupportedIntegrity(IntegrityAlgorithm::None));
}

#[test]
fn a_cipher_is_shared_between_threads() {
    fn assert_shared<T: Send + Sync>() {}
    assert_shared::<Cipher>();
}

/// Every SA holds two of these: growth should be noticed.
#[test]
fn sizes_are_what_they_were() {
    assert_eq!((size_of::<Cipher>(), size_of::<crate::crypto::Prf>()), (112, 40));
}
