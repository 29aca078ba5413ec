//! The messages of MS-CHAPv2 within EAP.

use super::crypto::{CHALLENGE_LEN, Challenge, RESPONSE_LEN};

const CHALLENGE: u8 = 1;
const RESPONSE: u8 = 2;
const SUCCESS: u8 = 3;
const FAILURE: u8 = 4;

/// Length of peer challenge, eight reserved bytes, response and flags.
const RESPONSE_VALUE_LEN: u8 = 49;

/// The longest name: that of an EAP-Identity.
const MAX_NAME: usize = 1024;

/// The longest text of a success or failure that is looked at.
const MAX_TEXT: usize = 1024;

/// A message. Success and failure are requests with a text, and responses without.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    Challenge { id: u8, challenge: Challenge, name: &'a [u8] },
    Response { id: u8, peer: Challenge, response: [u8; RESPONSE_LEN], name: &'a [u8] },
    Success { text: &'a [u8] },
    Failure { text: &'a [u8] },
}

impl<'a> Message<'a> {
    /// Reads what follows the EAP type. Whatever does not add up is no message.
    pub(super) fn parse(data: &'a [u8]) -> Option<Self> {
        let (opcode, rest) = data.split_first()?;
        // responses to success and failure are nothing but their code
        if rest.is_empty() {
            return match *opcode {
                SUCCESS => Some(Self::Success { text: &[] }),
                FAILURE => Some(Self::Failure { text: &[] }),
                _ => None,
            };
        }
        let ([id, len @ ..], body) = rest.split_first_chunk::<3>()?;
        if usize::from(u16::from_be_bytes(*len)) != data.len() {
            return None;
        }
        match *opcode {
            CHALLENGE => {
                let (size, rest) = body.split_first()?;
                let (challenge, name) = rest.split_first_chunk::<CHALLENGE_LEN>()?;
                let fits = usize::from(*size) == CHALLENGE_LEN && name.len() <= MAX_NAME;
                fits.then_some(Self::Challenge { id: *id, challenge: *challenge, name })
            }
            RESPONSE => {
                let (size, rest) = body.split_first()?;
                let (peer, rest) = rest.split_first_chunk::<CHALLENGE_LEN>()?;
                let (_reserved, rest) = rest.split_first_chunk::<8>()?;
                let (response, rest) = rest.split_first_chunk::<RESPONSE_LEN>()?;
                let (_flags, name) = rest.split_first()?;
                let fits = *size == RESPONSE_VALUE_LEN && name.len() <= MAX_NAME;
                fits.then_some(Self::Response { id: *id, peer: *peer, response: *response, name })
            }
            SUCCESS if body.len() <= MAX_TEXT => Some(Self::Success { text: body }),
            FAILURE if body.len() <= MAX_TEXT => Some(Self::Failure { text: body }),
            _ => None,
        }
    }
}

/// A challenge request.
pub(super) fn challenge(id: u8, challenge: &Challenge, name: &[u8]) -> Vec<u8> {
    with_header(CHALLENGE, id, &[&[16], challenge, name])
}

/// The response to it.
pub(super) fn response(id: u8, peer: &Challenge, response: &[u8; RESPONSE_LEN], name: &[u8]) -> Vec<u8> {
    with_header(RESPONSE, id, &[&[RESPONSE_VALUE_LEN], peer, &[0; 8], response, &[0], name])
}

/// The server's proof, and a text for the user.
pub(super) fn success(id: u8, proof: &[u8; 20], text: &str) -> Vec<u8> {
    let text = format!("S={} M={text}", Upper(proof));
    with_header(SUCCESS, id, &[text.as_bytes()])
}

/// What a client says to a success.
pub(super) fn success_response() -> Vec<u8> {
    vec![SUCCESS]
}

/// The password was wrong; another may be tried with this challenge.
pub(super) fn failure(id: u8, challenge: &Challenge) -> Vec<u8> {
    let text = format!("E=691 R=1 C={} V=3", Upper(challenge));
    with_header(FAILURE, id, &[text.as_bytes()])
}

/// Bytes in hexadecimal capitals.
struct Upper<'a>(&'a [u8]);

impl std::fmt::Display for Upper<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

fn with_header(opcode: u8, id: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    // names and texts are bounded far below
    let len = u16::try_from(body.len().saturating_add(4)).unwrap_or(u16::MAX);
    let mut message = vec![opcode, id];
    message.extend(len.to_be_bytes());
    message.extend(body);
    message
}

/// The server's proof in the text of a success: `S=` and forty hexadecimal digits, in front.
pub(super) fn proof(text: &[u8]) -> Option<[u8; 20]> {
    let digits = text.strip_prefix(b"S=")?.first_chunk::<40>()?;
    let mut proof = [0; 20];
    for (byte, pair) in proof.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    digits.iter().all(u8::is_ascii_hexdigit).then_some(proof)
}

/// What a server says about a failure: its number, and its text as far as it can be shown.
pub(super) fn reason(text: &[u8]) -> (Option<u32>, String) {
    let text: String = String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect();
    let field = |name: &str| text.split(' ').find_map(|token| token.strip_prefix(name));
    let number = field("E=").and_then(|number| number.parse().ok());
    let message = text.split_once("M=").map(|(_, message)| message.to_owned());
    (number, message.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive() {
        let challenge_message = challenge(5, &[7; 16], b"server");
        let expected = Message::Challenge { id: 5, challenge: [7; 16], name: b"server" };
        assert_eq!(Message::parse(&challenge_message), Some(expected));
        let message = response(5, &[7; 16], &[9; 24], b"user");
        let expected = Message::Response { id: 5, peer: [7; 16], response: [9; 24], name: b"user" };
        assert_eq!(Message::parse(&message), Some(expected));
        assert_eq!(Message::parse(&success_response()), Some(Message::Success { text: &[] }));
        let message = success(5, &[0xab; 20], "hello");
        let Some(Message::Success { text }) = Message::parse(&message) else { panic!() };
        assert_eq!(proof(text), Some([0xab; 20]));
        let message = failure(5, &[1; 16]);
        let Some(Message::Failure { text }) = Message::parse(&message) else { panic!() };
        assert_eq!(reason(text).0, Some(691));
    }

    #[test]
    fn every_cut_and_wrong_length_is_refused() {
        let messages = [
            challenge(5, &[7; 16], b""),
            response(5, &[7; 16], &[9; 24], b""),
            success(5, &[0xab; 20], ""),
            failure(5, &[1; 16]),
        ];
        for message in messages {
            for len in 0..message.len() {
                let short = Message::parse(&message[..len]);
                // one byte is a response to a success or a failure
                assert!(short.is_none() || len == 1 && message[0] >= 3, "{len}: {short:?}");
            }
            for at in 2..4 {
                let mut wrong = message.clone();
                wrong[at] ^= 1;
                assert_eq!(Message::parse(&wrong), None);
            }
        }
        let mut wrong_size = challenge(5, &[7; 16], b"");
        wrong_size[4] = 15;
        assert_eq!(Message::parse(&wrong_size), None);
        assert_eq!(Message::parse(&with_header(FAILURE, 0, &[&[b'x'; MAX_TEXT + 1]])), None);
    }

    #[test]
    fn proofs_and_reasons_of_any_shape() {
        for text in
            ["", "S=", "S", "S=ab", "S=zz", &format!("S={}", "0".repeat(39)), &format!("S={}+1", "0".repeat(38))]
        {
            assert_eq!(proof(text.as_bytes()), None, "{text}");
        }
        for text in ["", "E=", "E=x", "E=99999999999999", "C=", "M=", "E=691", " E=691  R= C=0 V=3 M="] {
            reason(text.as_bytes());
        }
        assert_eq!(reason(b"E=648 R=0 M=password\x07 expired"), (Some(648), "password expired".into()));
        assert_eq!(reason(b"\xff\xfe").0, None);
    }
}
