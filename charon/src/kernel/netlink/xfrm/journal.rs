//! The list of what is in the kernel because of us, on disk, so that after a crash the next daemon knows what is its own.
//!
//! A file of lines: a header that names the running kernel and the network namespace, then what was added and removed, in
//! order. It only has to outlive the process, not the machine, whose SAs would be gone as well: nothing is synchronised to
//! the disk, and a line costs one write(2). An addition is written before the kernel is asked for it and a removal after
//! it, so that a crash in between leaves a line too many and never an SA too many. When most lines are history the file is
//! replaced by one without.
//!
//! ```text
//! charon-xfrm 1 <boot id> <network namespace>
//! +sa <spi> <protocol> <source> <destination> <mark> <mask> <interface>
//! -sa …
//! +policy <hook> <selector> <mark> <mask> <interface> <reqid> <priority>
//! -policy <hook> <selector> <mark> <mask> <interface>
//! ```

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ike::ids::{IfId, Mark, Spi};
use ike::kernel::SaId;
use netlink_packet_xfrm::XFRM_SELECTOR_LEN;
use strongswan::crypto::Protocol;
use strongswan::log;
use strongswan::sync::Mutex;

use super::policy::{Hook, Key};

/// A file is not read beyond this: 300,000 CHILD_SAs with all their lines have room.
const MAX_LEN: u64 = 512 << 20;

/// Lines that may be history before the file is replaced, next to as many as are not.
const MIN_HISTORY: usize = 4096;

/// Tells one policy of a selector from another one that somebody put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PolicyMark {
    /// The reqid of its SAs, 0 if it wants none.
    pub(super) reqid: u32,
    /// Its place.
    pub(super) priority: u32,
}

/// What is, or was, ours.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ours {
    pub(super) sas: std::collections::HashSet<SaId>,
    pub(super) policies: HashMap<Key, PolicyMark>,
    /// There was a list, so its writer did not end properly.
    pub(super) crashed: bool,
}

impl Ours {
    fn len(&self) -> usize {
        self.sas.len().saturating_add(self.policies.len())
    }
}

/// The file.
pub(super) struct Journal {
    path: PathBuf,
    /// A leaf lock.
    state: Mutex<State>,
}

struct State {
    /// `None` if it cannot be written: said once.
    file: Option<File>,
    live: Ours,
    lines: usize,
    /// Number of lines at which the file is replaced.
    limit: usize,
}

enum Line<'a> {
    AddSa(&'a SaId),
    RemoveSa(&'a SaId),
    AddPolicy(&'a Key, PolicyMark),
    RemovePolicy(&'a Key),
}

impl Journal {
    /// Takes the file over. Returns what a predecessor left in the kernel that still runs, which stays in the file until it
    /// is removed.
    pub(super) fn open(path: &Path) -> (Self, Ours) {
        let header = header();
        let mut left = Ours::default();
        match read(path, &header) {
            Ok(ours) => left = ours,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => log!(KNL, 1, "unable to read '{}': {error}", path.display()),
        }
        let live = Ours { sas: left.sas.clone(), policies: left.policies.clone(), crashed: false };
        let state = State { file: None, lines: 0, limit: limit(&live), live };
        let journal = Self { path: path.to_owned(), state: Mutex::new(state) };
        {
            let mut state = journal.state.lock();
            match rewrite(path, &header, &state.live) {
                Ok(file) => (state.file, state.lines) = (Some(file), state.live.len()),
                Err(error) => {
                    log!(
                        KNL,
                        1,
                        "unable to write '{}', nothing will be cleaned up after a crash: {error}",
                        path.display()
                    );
                }
            }
        }
        (journal, left)
    }

    /// An SA is about to be installed, or its SPI was reserved.
    pub(super) fn add_sa(&self, id: &SaId) {
        let mut state = self.state.lock();
        if state.live.sas.insert(*id) {
            self.append(&mut state, &Line::AddSa(id));
        }
    }

    /// An SA is gone.
    pub(super) fn remove_sa(&self, id: &SaId) {
        let mut state = self.state.lock();
        if state.live.sas.remove(id) {
            self.append(&mut state, &Line::RemoveSa(id));
        }
    }

    /// A policy is about to be installed or changed.
    pub(super) fn add_policy(&self, key: &Key, mark: PolicyMark) {
        let mut state = self.state.lock();
        if state.live.policies.insert(key.clone(), mark) != Some(mark) {
            self.append(&mut state, &Line::AddPolicy(key, mark));
        }
    }

    /// A policy is gone.
    pub(super) fn remove_policy(&self, key: &Key) {
        let mut state = self.state.lock();
        if state.live.policies.remove(key).is_some() {
            self.append(&mut state, &Line::RemovePolicy(key));
        }
    }

    /// Nothing more will be installed: an empty list needs no file.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        if state.file.take().is_some() && state.live.len() == 0 {
            // It would be found empty.
            let _ = fs::remove_file(&self.path);
        }
    }

    fn append(&self, state: &mut State, line: &Line<'_>) {
        let Some(file) = &mut state.file else { return };
        if let Err(error) = file.write_all(line.to_string().as_bytes()) {
            log!(
                KNL,
                1,
                "unable to write '{}', not everything will be cleaned up after a crash: {error}",
                self.path.display()
            );
            state.file = None;
            return;
        }
        state.lines = state.lines.saturating_add(1);
        if state.lines <= state.limit {
            return;
        }
        match rewrite(&self.path, &header(), &state.live) {
            Ok(file) => {
                (state.file, state.lines) = (Some(file), state.live.len());
                state.limit = limit(&state.live);
            }
            Err(error) => {
                // Without the rights to do so, for example: the file grows, slowly.
                log!(KNL, 2, "unable to replace '{}': {error}", self.path.display());
                state.limit = state.limit.saturating_mul(2);
            }
        }
    }
}

fn limit(live: &Ours) -> usize {
    live.len().saturating_mul(2).saturating_add(MIN_HISTORY)
}

/// What only this kernel and this network namespace have.
fn header() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/net").unwrap_or_default();
    format!("charon-xfrm 1 {} {}\n", boot.trim(), namespace.display())
}

/// Puts a new file in the place of the old one, in one step.
fn rewrite(path: &Path, header: &str, live: &Ours) -> io::Result<File> {
    let mut text = header.to_owned();
    for id in &live.sas {
        text.push_str(&Line::AddSa(id).to_string());
    }
    for (key, mark) in &live.policies {
        text.push_str(&Line::AddPolicy(key, *mark).to_string());
    }
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // Left behind by a crash, or somebody's link.
    let _not_there = fs::remove_file(&new);
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&new, path)?;
    Ok(file)
}

fn read(path: &Path, header: &str) -> io::Result<Ours> {
    let mut text = String::new();
    // Nor one that others can write: it says what may be deleted.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    file.take(MAX_LEN).read_to_string(&mut text)?;
    // Of another kernel's life, or another namespace: nothing of it exists here.
    Ok(text.strip_prefix(header).map(|lines| Ours { crashed: true, ..parse(lines) }).unwrap_or_default())
}

/// Carries out all lines. What does not parse, such as half a line at the end, is none.
fn parse(text: &str) -> Ours {
    let mut ours = Ours::default();
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let mut words = line.split(' ');
        let _done = apply(&mut ours, &mut words);
    }
    ours
}

fn apply<'a>(ours: &mut Ours, words: &mut impl Iterator<Item = &'a str>) -> Option<()> {
    match words.next()? {
        "+sa" => {
            ours.sas.insert(sa(words)?);
        }
        "-sa" => {
            ours.sas.remove(&sa(words)?);
        }
        "+policy" => {
            let key = policy(words)?;
            let mark = PolicyMark { reqid: number(words)?, priority: number(words)? };
            ours.policies.insert(key, mark);
        }
        "-policy" => {
            ours.policies.remove(&policy(words)?);
        }
        _ => {}
    }
    Some(())
}

fn number<'a, T: FromStr>(words: &mut impl Iterator<Item = &'a str>) -> Option<T> {
    words.next()?.parse().ok()
}

fn sa<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<SaId> {
    let spi = Spi::new(u32::from_str_radix(words.next()?, 16).ok()?)?;
    let protocol = match words.next()? {
        "esp" => Protocol::Esp,
        "ah" => Protocol::Ah,
        "comp" => Protocol::IpComp,
        _ => return None,
    };
    let (src, dst) = (number(words)?, number(words)?);
    let mark = Mark { value: number(words)?, mask: number(words)? };
    Some(SaId { spi, protocol, src, dst, mark, if_id: IfId(number(words)?) })
}

fn policy<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Key> {
    let hook = match words.next()? {
        "in" => Hook::In,
        "out" => Hook::Out,
        "fwd" => Hook::Forward,
        _ => return None,
    };
    let selector: [u8; XFRM_SELECTOR_LEN] = hex::decode(words.next()?).ok()?.try_into().ok()?;
    let mark = Mark { value: number(words)?, mask: number(words)? };
    Some(Key { hook, selector, mark, if_id: IfId(number(words)?) })
}

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AddSa(id) | Self::RemoveSa(id) => {
                let sign = if matches!(self, Self::AddSa(_)) { '+' } else { '-' };
                let protocol = match id.protocol {
                    Protocol::Ah => "ah",
                    Protocol::IpComp => "comp",
                    _ => "esp",
                };
                let SaId { spi, src, dst, mark, if_id, .. } = id;
                writeln!(f, "{sign}sa {spi} {protocol} {src} {dst} {} {} {}", mark.value, mark.mask, if_id.0)
            }
            Self::AddPolicy(key, mark) => {
                writeln!(f, "+policy {} {} {}", PolicyText(key), mark.reqid, mark.priority)
            }
            Self::RemovePolicy(key) => writeln!(f, "-policy {}", PolicyText(key)),
        }
    }
}

struct PolicyText<'a>(&'a Key);

impl std::fmt::Display for PolicyText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Key { hook, selector, mark, if_id } = self.0;
        write!(f, "{hook} {} {} {} {}", hex::encode(selector), mark.value, mark.mask, if_id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(spi: u32) -> SaId {
        SaId {
            spi: Spi::new(spi).unwrap(),
            protocol: Protocol::Esp,
            src: "2001:db8::1".parse().unwrap(),
            dst: "2001:db8::2".parse().unwrap(),
            mark: Mark { value: 5, mask: 255 },
            if_id: IfId(7),
        }
    }

    fn key(byte: u8) -> Key {
        Key { hook: Hook::Forward, selector: [byte; XFRM_SELECTOR_LEN], mark: Mark::NONE, if_id: IfId::NONE }
    }

    const MARK: PolicyMark = PolicyMark { reqid: 3, priority: 4 };

    struct TestFile(PathBuf);

    impl TestFile {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("charon-journal-{}-{name}", std::process::id()));
            let _not_there = fs::remove_file(&path);
            Self(path)
        }
    }

    impl Drop for TestFile {
        fn drop(&mut self) {
            let _gone = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn what_was_not_removed_is_found_again() {
        let file = TestFile::new("again");
        let (journal, left) = Journal::open(&file.0);
        assert_eq!(left, Ours::default());
        for spi in 0x1000..0x1005 {
            journal.add_sa(&id(spi));
        }
        journal.remove_sa(&id(0x1002));
        journal.add_policy(&key(1), MARK);
        journal.add_policy(&key(2), MARK);
        journal.add_policy(&key(2), PolicyMark { reqid: 9, ..MARK });
        journal.remove_policy(&key(1));
        drop(journal);
        let (journal, left) = Journal::open(&file.0);
        assert_eq!(left.sas, [0x1000, 0x1001, 0x1003, 0x1004].map(id).into());
        assert_eq!(left.policies, [(key(2), PolicyMark { reqid: 9, ..MARK })].into());
        left.sas.iter().for_each(|id| journal.remove_sa(id));
        journal.remove_policy(&key(2));
        journal.close();
        assert!(!file.0.exists());
    }

    #[test]
    fn half_a_line_and_rubbish_are_ignored() {
        let text = format!(
            "{}nonsense\n+sa zz\n+policy in 00 0 0 0 1 1\n{}",
            Line::AddSa(&id(0x1000)),
            Line::AddSa(&id(0x2000))
        );
        let whole = parse(&text);
        assert_eq!(whole.sas, [id(0x1000), id(0x2000)].into());
        for len in 0..text.len() {
            assert!(parse(&text[..len]).sas.len() <= 1);
        }
    }

    #[test]
    fn another_kernels_file_is_nothing_to_us() {
        let file = TestFile::new("other");
        fs::write(&file.0, format!("charon-xfrm 1 another-boot net:[1]\n{}", Line::AddSa(&id(0x1000)))).unwrap();
        assert_eq!(Journal::open(&file.0).1, Ours::default());
        let (_, left) = Journal::open(Path::new("/nowhere/charon.xfrm"));
        assert_eq!(left, Ours::default());
    }

    #[test]
    fn history_is_forgotten() {
        let file = TestFile::new("history");
        let (journal, _) = Journal::open(&file.0);
        journal.add_sa(&id(0x999));
        for round in 0..3 * MIN_HISTORY {
            let spi = 0x1000 + u32::try_from(round).unwrap();
            journal.add_sa(&id(spi));
            journal.remove_sa(&id(spi));
        }
        drop(journal);
        let lines = fs::read_to_string(&file.0).unwrap().lines().count();
        assert!(lines <= MIN_HISTORY + 4, "{lines} lines");
        assert_eq!(Journal::open(&file.0).1.sas, [id(0x999)].into());
    }
}
