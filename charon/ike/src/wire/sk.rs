//! Encrypted payloads (RFC 7296 §3.14) and encrypted fragments (RFC 7383 §2.5): where protection starts and ends.
//!
//! ```text
//!  | Next Payload  |C|  RESERVED   |         Payload Length        |
//!  |        Fragment Number*       |        Total Fragments*       |   * SKF only
//!  |                     Initialization Vector                     |
//!  ~  Encrypted IKE Payloads, Padding (0-255 octets), Pad Length   ~
//!  ~                    Integrity Checksum Data                    ~
//! ```
//!
//! Everything in front of the IV is additional authenticated data of AEADs (RFC 5282 §5.1). Messages are sealed and opened in
//! place: one buffer, no copy.

use strongswan::crypto::Rng;
use strongswan::crypto::cipher::Cipher;

use super::error::{EncodeError, FragmentError, Malformed, ProtectionError, WireError};
use super::header::{FIRST_PAYLOAD_AT, HEADER_LEN, Header};
use super::message::{GENERIC_LEN, Message, chain_type, emit_chain, read_link};
use super::payload::Payload;
use super::reader::Reader;
use super::registry::PayloadType;
use super::writer::Writer;

/// Fragment number and total of an SKF payload.
const NUMBERS_LEN: usize = 4;

/// The place of a fragment in its message: 1 ≤ number ≤ total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentNumber {
    /// Its number, from 1.
    pub number: u16,
    /// How many there are.
    pub total: u16,
}

/// A received message whose protected part is located but not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    header: Header,
    first: PayloadType,
    fragment: Option<FragmentNumber>,
    /// The octet that names the type of the encrypted payload.
    link: usize,
    /// Where the IV starts; the protected part extends to the end of the datagram.
    start: usize,
}

impl Protected {
    /// Walks the payloads in front of the encrypted one. `body` is the datagram behind its header.
    pub(super) fn locate(header: Header, first: PayloadType, body: &[u8]) -> Result<Self, ProtectionError> {
        let mut r = Reader::new(body);
        let mut kind = first;
        let mut named_at = FIRST_PAYLOAD_AT;
        loop {
            match kind {
                PayloadType::NoNext => return Err(ProtectionError::Missing),
                PayloadType::Encrypted | PayloadType::EncryptedFragment => break,
                PayloadType::Unknown(_) => {
                    named_at = HEADER_LEN.saturating_add(body.len()).saturating_sub(r.remaining());
                    let link = read_link(kind, &mut r)?;
                    if link.critical {
                        return Err(ProtectionError::NotEncrypted(kind));
                    }
                    kind = link.next;
                }
                _ => return Err(ProtectionError::NotEncrypted(kind)),
            }
        }
        let mut link = read_link(kind, &mut r)?;
        // Nothing may follow an encrypted payload: its "next payload" names the first one inside.
        r.expect_end()?;
        let fragment = if link.kind == PayloadType::EncryptedFragment {
            Some(FragmentNumber { number: link.body.u16()?, total: link.body.u16()? })
        } else {
            None
        };
        let start = HEADER_LEN.saturating_add(body.len()).saturating_sub(link.body.remaining());
        Ok(Self { header, first: link.next, fragment, link: named_at, start })
    }

    /// The header of the message.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Type of the first payload inside; of a fragment it only counts in the first one.
    pub const fn first(&self) -> PayloadType {
        self.first
    }

    /// Its place, if this is a fragment.
    pub const fn fragment(&self) -> Option<FragmentNumber> {
        self.fragment
    }

    /// Verifies and decrypts `datagram`, from which `self` was parsed, in place, and returns the payloads inside without
    /// padding.
    ///
    /// # Errors
    /// [`ProtectionError`] if the ICV is wrong, [`Malformed::InvalidLength`] if it is right but the padding is not.
    pub fn open<'a>(&self, cipher: &Cipher, datagram: &'a mut [u8]) -> Result<&'a [u8], WireError> {
        let parts = Parts::split(datagram, self.start, cipher).ok_or(ProtectionError::TooShort)?;
        let Parts { aad, iv, text, icv } = parts;
        if text.is_empty() || !text.len().is_multiple_of(cipher.block_len().max(1)) {
            return Err(ProtectionError::TooShort.into());
        }
        cipher.open(aad, iv, text, &[], icv).map_err(|_| ProtectionError::Integrity)?;
        let (pad_len, padded) = text.split_last().ok_or(ProtectionError::TooShort)?;
        let len = padded.len().checked_sub(usize::from(*pad_len));
        let content = len.and_then(|len| padded.get(..len));
        content.ok_or(WireError::Malformed { payload: PayloadType::Encrypted, why: Malformed::InvalidLength })
    }

    /// What is in front of the content of a message that is neither encrypted nor fragmented but otherwise the same: the
    /// IKE header, payloads outside of the encrypted one, and the generic header of that one. Its lengths count for
    /// nothing until [`covered`](super::covered) has set them.
    pub(crate) fn prefix(&self, datagram: &[u8]) -> Vec<u8> {
        let numbers = if self.fragment.is_some() { NUMBERS_LEN } else { 0 };
        let mut prefix = datagram.get(..self.start.saturating_sub(numbers)).unwrap_or_default().to_vec();
        if let Some(kind) = prefix.get_mut(self.link) {
            *kind = PayloadType::Encrypted.number();
        }
        prefix
    }

    /// Opens a message that is not a fragment and reads it.
    ///
    /// # Errors
    /// As [`Self::open`] and [`Message::parse_inner`].
    pub fn unprotect(&self, cipher: &Cipher, datagram: &mut [u8]) -> Result<Message, WireError> {
        if self.fragment.is_some() {
            return Err(FragmentError::InvalidNumber.into());
        }
        let plaintext = self.open(cipher, datagram)?;
        Message::parse_inner(self.header, self.first, plaintext)
    }
}

/// The parts of a protected datagram.
struct Parts<'a> {
    aad: &'a [u8],
    iv: &'a mut [u8],
    text: &'a mut [u8],
    icv: &'a mut [u8],
}

impl<'a> Parts<'a> {
    fn split(datagram: &'a mut [u8], start: usize, cipher: &Cipher) -> Option<Self> {
        let (aad, protected) = datagram.split_at_mut_checked(start)?;
        let (iv, rest) = protected.split_at_mut_checked(cipher.iv_len())?;
        let (text, icv) = rest.split_at_mut_checked(rest.len().checked_sub(cipher.icv_len())?)?;
        Some(Self { aad, iv, text, icv })
    }
}

/// Explicit IVs of one sender under one key: a counter where only uniqueness counts (AEAD, CTR), random bytes where the IV
/// must be unpredictable (CBC, RFC 7296 §3.14).
#[derive(Debug, Clone, Default)]
pub struct IvSource {
    next: u64,
}

impl IvSource {
    fn fill(&mut self, cipher: &Cipher, rng: &mut dyn Rng, iv: &mut [u8]) -> Result<(), EncodeError> {
        if cipher.block_len() > 1 {
            rng.fill(iv);
            return Ok(());
        }
        let counter = self.next.to_be_bytes();
        self.next = self.next.checked_add(1).ok_or(EncodeError::Cipher)?;
        iv.fill(0);
        for (byte, counter) in iv.iter_mut().rev().zip(counter.iter().rev()) {
            *byte = *counter;
        }
        Ok(())
    }
}

/// What protecting needs: keys, IVs, entropy.
pub struct Sealer<'a> {
    /// Keys of our direction.
    pub cipher: &'a Cipher,
    /// IVs used so far under these keys.
    pub ivs: &'a mut IvSource,
    /// For random IVs.
    pub rng: &'a mut dyn Rng,
}

impl Sealer<'_> {
    /// Padding that makes `len` bytes and the pad length octet fill whole blocks.
    fn padding(&self, len: usize) -> usize {
        let block = self.cipher.block_len().max(1);
        let used = len.saturating_add(1).checked_rem(block).unwrap_or(0);
        if used == 0 { 0 } else { block.saturating_sub(used) }
    }

    /// Bytes that an encrypted payload (an encrypted fragment, if `fragment`) adds to `len` bytes of content.
    pub(super) fn overhead(&self, len: usize, fragment: bool) -> usize {
        let fixed = HEADER_LEN + GENERIC_LEN + 1 + if fragment { NUMBERS_LEN } else { 0 };
        [self.cipher.iv_len(), self.padding(len), self.cipher.icv_len()].iter().fold(fixed, |a, b| a.saturating_add(*b))
    }

    /// How many bytes of content fit a protected fragment of at most `limit` bytes.
    pub(super) fn fragment_room(&self, limit: usize) -> Option<usize> {
        let fixed = HEADER_LEN + GENERIC_LEN + NUMBERS_LEN;
        let text = limit.checked_sub(fixed)?.checked_sub(self.cipher.iv_len())?.checked_sub(self.cipher.icv_len())?;
        let partial = text.checked_rem(self.cipher.block_len().max(1))?;
        text.checked_sub(partial)?.checked_sub(1).filter(|room| *room > 0)
    }

    /// Seals one datagram: `content` writes the payloads (or a part of them) that start with type `first`.
    pub(super) fn seal(
        &mut self,
        header: &Header,
        first: PayloadType,
        fragment: Option<FragmentNumber>,
        capacity: usize,
        content: impl FnOnce(&mut Writer),
    ) -> Result<Vec<u8>, EncodeError> {
        let kind = if fragment.is_some() { PayloadType::EncryptedFragment } else { PayloadType::Encrypted };
        let mut w = Writer::with_capacity(capacity);
        header.emit(kind, &mut w);
        let mark = w.begin(first.number(), 0);
        if let Some(FragmentNumber { number, total }) = fragment {
            w.u16(number);
            w.u16(total);
        }
        let start = w.len();
        w.zeros(self.cipher.iv_len());
        let text_start = w.len();
        content(&mut w);
        let padding = self.padding(w.len().saturating_sub(text_start));
        w.zeros(padding);
        w.len8(padding);
        w.zeros(self.cipher.icv_len());
        w.end(mark);
        let len = w.len();
        Header::set_length(&mut w, len);
        let mut datagram = w.finish()?;
        let Parts { aad, iv, text, icv } =
            Parts::split(&mut datagram, start, self.cipher).ok_or(EncodeError::Cipher)?;
        self.ivs.fill(self.cipher, self.rng, iv)?;
        self.cipher.seal(aad, iv, text, &[], icv).map_err(|_| EncodeError::Cipher)?;
        Ok(datagram)
    }

    /// Protects content that is encoded already, or never was a message.
    ///
    /// # Errors
    /// If it is too long, or the cipher fails.
    pub(crate) fn protect_content(
        &mut self,
        header: &Header,
        first: PayloadType,
        content: &[u8],
    ) -> Result<Vec<u8>, EncodeError> {
        let capacity = content.len().saturating_add(self.overhead(content.len(), false));
        self.seal(header, first, None, capacity, |w| w.bytes(content))
    }

    /// Encodes and protects a message as one datagram, whatever its size.
    ///
    /// # Errors
    /// If a payload outgrows its length field, or the cipher fails.
    pub fn protect(&mut self, header: &Header, payloads: &[Payload]) -> Result<Vec<u8>, EncodeError> {
        self.seal(header, chain_type(payloads.first()), None, 512, |w| emit_chain(payloads, w))
    }
}
