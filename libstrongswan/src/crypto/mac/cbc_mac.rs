//! AES-CMAC (RFC 4493) and AES-XCBC-MAC (RFC 3566): a CBC-MAC whose last block is masked by one of two subkeys,
//! depending on whether it was complete. They differ in where the keys come from.

use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::CryptoError;

const BLOCK: usize = 16;
type Block = [u8; BLOCK];

/// How much is handed to AES at once: it chains a run of blocks several times as fast as one by one.
const RUN: usize = 16 * BLOCK;

/// The keys of a CMAC or XCBC-MAC.
pub(in crate::crypto) struct CbcMac {
    key: EncryptingKey,
    complete: Zeroizing<Block>,
    incomplete: Zeroizing<Block>,
}

fn aes(key: &[u8]) -> Result<EncryptingKey, CryptoError> {
    if key.len() != BLOCK {
        return Err(CryptoError::KeyLength { expected: BLOCK, actual: key.len() });
    }
    Ok(EncryptingKey::cbc(UnboundCipherKey::new(&AES_128, key)?)?)
}

/// Encrypts `blocks` in place, chained to `state`, which becomes the last of them.
fn chain(key: &EncryptingKey, state: &mut Block, blocks: &mut [u8]) -> Result<(), CryptoError> {
    key.less_safe_encrypt(blocks, EncryptionContext::Iv128(FixedLength::from(*state)))?;
    if let Some(last) = blocks.last_chunk() {
        *state = *last;
    }
    Ok(())
}

/// Encrypts a single block.
fn encrypt(key: &EncryptingKey, block: &mut Block) -> Result<(), CryptoError> {
    chain(key, &mut [0; BLOCK], block)
}

/// Multiplication by x in GF(2^128) (RFC 4493 §2.3), without branching on the key.
fn double(block: &Block) -> Zeroizing<Block> {
    let value = u128::from_be_bytes(*block);
    let carry = (value >> 127).wrapping_neg() & 0x87;
    Zeroizing::new(((value << 1) ^ carry).to_be_bytes())
}

fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

fn xor(to: &mut Block, from: &Block) {
    for (to, from) in to.iter_mut().zip(from) {
        *to ^= from;
    }
}

impl CbcMac {
    /// AES-CMAC with a key of 16 bytes.
    pub(in crate::crypto) fn cmac(key: &[u8]) -> Result<Self, CryptoError> {
        let key = aes(key)?;
        let mut zero = Zeroizing::new([0; BLOCK]);
        encrypt(&key, &mut zero)?;
        let complete = double(&zero);
        let incomplete = double(&complete);
        Ok(Self { key, complete, incomplete })
    }

    /// AES-XCBC-MAC with a key of 16 bytes.
    pub(in crate::crypto) fn xcbc(key: &[u8]) -> Result<Self, CryptoError> {
        let key = aes(key)?;
        let derive = |constant| -> Result<Zeroizing<Block>, CryptoError> {
            let mut block = Zeroizing::new([constant; BLOCK]);
            encrypt(&key, &mut block)?;
            Ok(block)
        };
        Ok(Self { key: aes(&*derive(1)?)?, complete: derive(2)?, incomplete: derive(3)? })
    }

    /// Begins a message.
    pub(in crate::crypto) fn start(&self) -> CbcMacContext<'_> {
        CbcMacContext { mac: self, state: [0; BLOCK], pending: [0; BLOCK], filled: 0 }
    }
}

/// A message being authenticated. The last block is held back until it is known to be the last.
pub(in crate::crypto) struct CbcMacContext<'a> {
    mac: &'a CbcMac,
    state: Block,
    pending: Block,
    filled: usize,
}

impl CbcMacContext<'_> {
    /// Adds data.
    pub(in crate::crypto) fn update(&mut self, data: &[u8]) -> Result<(), CryptoError> {
        let room = self.pending.get_mut(self.filled..).unwrap_or_default();
        let taken = room.len().min(data.len());
        let (head, mut data) = data.split_at_checked(taken).unwrap_or_default();
        copy(room, head);
        self.filled += taken;
        if data.is_empty() {
            return Ok(());
        }
        chain(&self.mac.key, &mut self.state, &mut self.pending)?;
        let mut run = [0; RUN];
        while data.len() > BLOCK {
            // At least one octet stays behind: this may be all there is.
            let len = ((data.len() - 1) / BLOCK * BLOCK).min(RUN);
            let (now, later) = data.split_at_checked(len).unwrap_or_default();
            let blocks = run.get_mut(..len).unwrap_or_default();
            copy(blocks, now);
            chain(&self.mac.key, &mut self.state, blocks)?;
            data = later;
        }
        copy(&mut self.pending, data);
        self.filled = data.len();
        Ok(())
    }

    /// The tag.
    pub(in crate::crypto) fn finish(mut self) -> Result<Zeroizing<Block>, CryptoError> {
        let padding = self.pending.get_mut(self.filled..).unwrap_or_default();
        if let Some((first, rest)) = padding.split_first_mut() {
            *first = 0x80;
            rest.fill(0);
            xor(&mut self.state, &self.mac.incomplete);
        } else {
            xor(&mut self.state, &self.mac.complete);
        }
        xor(&mut self.state, &self.pending);
        let mut tag = Zeroizing::new(self.state);
        encrypt(&self.mac.key, &mut tag)?;
        Ok(tag)
    }
}

impl Drop for CbcMacContext<'_> {
    fn drop(&mut self) {
        self.state.zeroize();
        self.pending.zeroize();
    }
}
