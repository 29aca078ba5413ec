//! File name patterns as POSIX `glob()` has them: `*`, `?`, `[...]` and backslash escapes within one path component,
//! a leading dot matched only by a dot, results sorted.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Most files that one pattern may match; a pattern such as `/*/*/*` ends in an error, not in the machine's memory.
const MAX_MATCHES: usize = 100_000;

/// Files and directories that match, and what could not be looked at on the way.
#[derive(Debug, Default)]
pub(super) struct Matches {
    pub(super) paths: Vec<PathBuf>,
    pub(super) errors: Vec<(PathBuf, io::Error)>,
}

/// Expands `pattern`. A relative pattern is taken from `base`.
pub(super) fn glob(pattern: &Path, base: Option<&Path>) -> Matches {
    let bytes = pattern.as_os_str().as_bytes();
    let start = match base {
        Some(base) if !pattern.is_absolute() => base.to_path_buf(),
        _ if pattern.is_absolute() => PathBuf::from("/"),
        _ => PathBuf::new(),
    };
    let mut matches = Matches { paths: vec![start], errors: Vec::new() };
    for component in bytes.split(|byte| *byte == b'/').filter(|component| !component.is_empty()) {
        let mut next = Vec::new();
        for path in &matches.paths {
            if !has_wildcards(component) {
                let path = path.join(OsStr::from_bytes(&unescape(component)));
                if path.symlink_metadata().is_ok() {
                    next.push(path);
                }
                continue;
            }
            let mut found = list(path, component, &mut matches.errors);
            found.sort();
            next.append(&mut found);
            if next.len() > MAX_MATCHES {
                matches.errors.push((pattern.to_path_buf(), io::Error::other("too many matches")));
                next.clear();
                break;
            }
        }
        matches.paths = next;
    }
    if bytes.is_empty() {
        matches.paths.clear();
    }
    matches
}

fn list(directory: &Path, pattern: &[u8], errors: &mut Vec<(PathBuf, io::Error)>) -> Vec<PathBuf> {
    let open = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let entries = match open.read_dir() {
        Ok(entries) => entries,
        Err(error) => {
            if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
                errors.push((open.to_path_buf(), error));
            }
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) if matches(pattern, entry.file_name().as_bytes()) => {
                found.push(directory.join(entry.file_name()))
            }
            Ok(_) => (),
            Err(error) => errors.push((open.to_path_buf(), error)),
        }
    }
    found
}

/// Whether `pattern` needs a directory listing.
fn has_wildcards(pattern: &[u8]) -> bool {
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => (),
        }
    }
    false
}

fn unescape(pattern: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.as_slice().first()) {
            (b'\\', Some(next)) => {
                plain.push(*next);
                bytes.next();
            }
            _ => plain.push(*byte),
        }
    }
    plain
}

/// Whether one file name matches one component of a pattern.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    // On a mismatch it is enough to let the latest star swallow one byte more: what came before that star has matched,
    // and its shortest match leaves the most for the rest.
    let (mut pattern, mut name) = (pattern, name);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', rest)) = pattern.split_first() {
            retry = Some((rest, name));
            pattern = rest;
            continue;
        }
        match name.split_first() {
            None if pattern.is_empty() => return true,
            None => return false,
            Some((byte, name_rest)) => {
                if let Some(rest) = match_one(pattern, *byte) {
                    (pattern, name) = (rest, name_rest);
                    continue;
                }
            }
        }
        let Some((after_star, from)) = retry else { return false };
        let Some((_, from)) = from.split_first() else { return false };
        retry = Some((after_star, from));
        (pattern, name) = (after_star, from);
    }
}

/// Matches one byte against the head of a pattern; returns the rest of the pattern.
fn match_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (head, rest) = pattern.split_first()?;
    match head {
        b'?' => Some(rest),
        b'[' => match bracket(rest, byte) {
            Some((true, rest)) => Some(rest),
            Some((false, _)) => None,
            // Without a closing bracket it stands for itself.
            None => (byte == b'[').then_some(rest),
        },
        b'\\' => match rest.split_first() {
            Some((escaped, rest)) => (*escaped == byte).then_some(rest),
            None => (byte == b'\\').then_some(rest),
        },
        _ => (*head == byte).then_some(rest),
    }
}

/// Evaluates a bracket expression whose `[` is already consumed; `None` if it never ends.
fn bracket(pattern: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match pattern.split_first() {
        Some((b'!' | b'^', rest)) => (true, rest),
        _ => (false, pattern),
    };
    let (mut found, mut first) = (false, true);
    loop {
        let (low, after) = match rest {
            [b']', after @ ..] if !first => return Some((found != negated, after)),
            [b'\\', low, after @ ..] => (*low, after),
            [low, after @ ..] => (*low, after),
            [] => return None,
        };
        first = false;
        let (high, after) = match after {
            [b'-', high, after @ ..] if *high != b']' => (*high, after),
            _ => (low, after),
        };
        found |= (low..=high).contains(&byte);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*", "a", true),
            ("*", "", true),
            ("*", ".a", false),
            (".*", ".a", true),
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.dpkg-old", false),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("?.conf", "a.conf", true),
            ("?.conf", ".conf", false),
            ("[a-c].conf", "b.conf", true),
            ("[a-c].conf", "d.conf", false),
            ("[!a-c]", "d", true),
            ("[^a-c]", "a", false),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[\\]]", "]", true),
            ("a", "b", false),
            ("*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} against {name}");
        }
    }

    #[test]
    fn expansion_is_sorted_and_relative_to_the_base() {
        let dir = std::env::temp_dir().join(format!("strongswan-glob-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("d")).unwrap();
        for name in ["b.conf", "a.conf", "c.txt", ".hidden.conf", "d/x.conf", "[z].conf"] {
            std::fs::write(dir.join(name), "").unwrap();
        }
        let expand = |pattern: &str| {
            glob(Path::new(pattern), Some(&dir))
                .paths
                .into_iter()
                .map(|path| path.strip_prefix(&dir).unwrap().to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(expand("*.conf"), ["[z].conf", "a.conf", "b.conf"]);
        assert_eq!(expand("?/*"), ["d/x.conf"]);
        assert_eq!(expand("c.txt"), ["c.txt"]);
        assert_eq!(expand("\\[z].conf"), ["[z].conf"]);
        assert!(expand("missing*/x").is_empty());
        assert!(glob(Path::new(""), Some(&dir)).paths.is_empty());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
