//! PEM around DER (RFC 7468), read as leniently as OpenSSL does: text around the blocks and any line length.
//!
//! Legacy encryption headers (RFC 1421 `DEK-Info`) are handed out, not interpreted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::crypto::Secret;

/// One block between `-----BEGIN …-----` and `-----END …-----`. It may hold a private key, so it is wiped on drop.
#[derive(Debug)]
pub struct Block {
    /// What it says it is, e.g. `CERTIFICATE`.
    pub label: String,
    /// Header lines such as `DEK-Info: AES-128-CBC,…`.
    pub headers: Vec<(String, String)>,
    /// The decoded contents.
    pub data: Secret,
}

impl Block {
    /// The value of a header line.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.0 == name).map(|header| header.1.as_str())
    }
}

/// Whether `data` looks like PEM rather than DER.
pub fn is_pem(data: &[u8]) -> bool {
    data.windows(BEGIN.len()).any(|window| window == BEGIN.as_bytes())
}

const BEGIN: &str = "-----BEGIN ";

/// The well-formed blocks in order; what is between and what is malformed is skipped.
pub fn blocks(data: &[u8]) -> Vec<Block> {
    let Ok(text) = std::str::from_utf8(data) else { return Vec::new() };
    let mut rest = text;
    let mut blocks = Vec::new();
    while let Some((_, after)) = rest.split_once(BEGIN) {
        rest = after;
        let Some((label, body)) = after.split_once("-----") else { break };
        let end = format!("-----END {label}-----");
        let Some((body, after)) = body.split_once(&end) else { continue };
        rest = after;
        blocks.extend(block(label, body));
    }
    blocks
}

/// The contents of the first block with one of these labels, or the data itself if it is not PEM.
pub fn der_of(data: &[u8], labels: &[&str]) -> Option<Secret> {
    if !is_pem(data) {
        return Some(Secret::from(data));
    }
    blocks(data).into_iter().find(|block| labels.contains(&block.label.as_str())).map(|block| block.data)
}

fn block(label: &str, body: &str) -> Option<Block> {
    let mut headers = Vec::new();
    let mut base64 = zeroize::Zeroizing::new(String::with_capacity(body.len()));
    for line in body.lines() {
        match line.split_once(':') {
            Some((name, value)) => headers.push((name.trim().to_owned(), value.trim().to_owned())),
            None => base64.extend(line.chars().filter(|c| !c.is_ascii_whitespace())),
        }
    }
    let data = STANDARD.decode(base64.as_bytes()).ok()?;
    Some(Block { label: label.to_owned(), headers, data: Secret::new(data) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
subject=CN=x
-----BEGIN A B-----\r
Proc-Type: 4,ENCRYPTED\r
DEK-Info: AES-128-CBC,00\r
\r
AQID\r
BAU=\r
-----END A B-----
-----BEGIN C-----
!!!!
-----END C-----
-----BEGIN D-----
-----BEGIN E-----
Bg==-----END E-----
-----BEGIN F-----";

    #[test]
    fn finds_the_blocks() {
        let blocks = blocks(TEXT.as_bytes());
        assert_eq!(blocks.iter().map(|block| block.label.as_str()).collect::<Vec<_>>(), ["A B", "E"]);
        assert_eq!(blocks[0].data.as_bytes(), [1, 2, 3, 4, 5]);
        assert_eq!(blocks[0].header("DEK-Info"), Some("AES-128-CBC,00"));
        assert_eq!(blocks[1].data.as_bytes(), [6]);
        assert!(is_pem(TEXT.as_bytes()) && !is_pem(b"\x30\x00"));
        assert_eq!(der_of(TEXT.as_bytes(), &["E"]).unwrap().as_bytes(), [6]);
        assert_eq!(der_of(TEXT.as_bytes(), &["X"]), None);
        assert_eq!(der_of(b"\x30\x00", &["X"]).unwrap().as_bytes(), b"\x30\x00");
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "(-----|BEGIN |END |X|\n|:|A|=){0,40}") {
            blocks(text.as_bytes());
        }
    }
}
