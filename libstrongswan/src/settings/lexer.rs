//! Cuts the text of one or more files into tokens.
//!
//! Included files are spliced in as a stream of tokens: a section that one file opens may be closed by the next. What
//! a word may consist of depends on where it stands, so the parser says whether it wants a statement's token or a
//! value.

use std::collections::VecDeque;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::error::{Notice, NoticeKind, SyntaxError};
use super::glob::glob;
use super::origin::Origin;

/// Files that may be open within each other. strongSwan has no limit and runs out of descriptors; nobody nests deeper
/// than a few.
const MAX_INCLUDE_DEPTH: usize = 32;
/// Most bytes that all files of one load may have together, so that `include /dev/...` or a runaway pattern ends.
const MAX_TOTAL_BYTES: u64 = 256 << 20;
/// Longest include pattern (`PATH_MAX`).
const MAX_PATTERN: usize = 4096;

/// A token of a statement, values excepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Name(Vec<u8>),
    /// A quoted string, which no statement wants.
    String,
    OpenBrace,
    CloseBrace,
    Colon,
    Comma,
    Dot,
    Equals,
    /// `include` with its pattern.
    Include(Vec<u8>),
    /// End of all input.
    End,
}

/// The files that are open within each other, innermost first: to notice a file that includes itself.
#[derive(Debug)]
struct Chain {
    path: PathBuf,
    depth: usize,
    parent: Option<Arc<Self>>,
}

impl Chain {
    fn contains(&self, path: &Path) -> bool {
        let mut link = Some(self);
        while let Some(chain) = link {
            if chain.path == path {
                return true;
            }
            link = chain.parent.as_deref();
        }
        false
    }
}

/// One text being read.
#[derive(Debug)]
struct Input {
    file: Arc<str>,
    /// Where relative includes are looked up; `None` for the working directory.
    directory: Option<PathBuf>,
    chain: Option<Arc<Chain>>,
    /// There may be passwords in it.
    bytes: Zeroizing<Vec<u8>>,
    position: usize,
    line: u32,
    column: u32,
}

impl Input {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.position += 1;
        if byte == b'\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else if byte & 0xc0 != 0x80 {
            // The second and later bytes of a character in UTF-8 take no column.
            self.column = self.column.saturating_add(1);
        }
        Some(byte)
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.next();
        }
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> Vec<u8> {
        let mut taken = Vec::new();
        while let Some(byte) = self.peek().filter(|byte| accept(*byte)) {
            taken.push(byte);
            self.next();
        }
        taken
    }

    fn origin(&self) -> Origin {
        Origin { file: Arc::clone(&self.file), line: self.line, column: self.column }
    }
}

/// A file that is to be read when its turn comes.
#[derive(Debug)]
struct Pending {
    path: PathBuf,
    parent: Option<Arc<Chain>>,
    /// The statement that asked for it; `None` for what the load began with.
    origin: Option<Origin>,
}

/// The tokens of a file and all that it includes.
#[derive(Debug)]
pub(super) struct Lexer {
    /// Texts within each other; the last is being read.
    open: Vec<Input>,
    /// For each open text, and below all of them for the load itself, what is to be read before it goes on.
    pending: Vec<VecDeque<Pending>>,
    /// Where the latest token began.
    origin: Origin,
    total_bytes: u64,
    /// How many files have been read.
    pub(super) files_read: usize,
    /// Why the first of the files that the load began with could not be read.
    pub(super) open_error: Option<(PathBuf, io::Error)>,
    pub(super) notices: Vec<Notice>,
}

impl Lexer {
    /// Reads from memory.
    pub(super) fn from_text(name: &str, text: Vec<u8>) -> Self {
        let mut lexer = Self::new(name);
        lexer.open.push(Input {
            file: name.into(),
            directory: None,
            chain: None,
            bytes: text.into(),
            position: 0,
            line: 1,
            column: 1,
        });
        lexer.pending.push(VecDeque::new());
        lexer
    }

    /// Reads the files that match `pattern`, one after the other.
    pub(super) fn from_files(pattern: &Path) -> Self {
        let mut lexer = Self::new(&pattern.to_string_lossy());
        let files = lexer.expand(pattern, None, None);
        lexer.pending = vec![files.into_iter().map(|path| Pending { path, parent: None, origin: None }).collect()];
        lexer
    }

    fn new(name: &str) -> Self {
        Self {
            open: Vec::new(),
            pending: vec![VecDeque::new()],
            origin: Origin { file: name.into(), line: 1, column: 1 },
            total_bytes: 0,
            files_read: 0,
            open_error: None,
            notices: Vec::new(),
        }
    }

    /// Where the latest token began.
    pub(super) fn origin(&self) -> Origin {
        self.origin.clone()
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError { origin: self.origin(), message: message.into() }
    }

    fn expand(&mut self, pattern: &Path, base: Option<&Path>, origin: Option<&Origin>) -> Vec<PathBuf> {
        let matches = glob(pattern, base);
        for (path, error) in &matches.errors {
            let message =
                format!("expanding file pattern '{}' failed at '{}': {error}", pattern.display(), path.display());
            self.notices.push(Notice { kind: NoticeKind::Pattern, origin: origin.cloned(), message });
        }
        if matches.paths.is_empty() && origin.is_some() {
            let shown =
                base.filter(|_| !pattern.is_absolute()).map_or_else(PathBuf::new, Path::to_path_buf).join(pattern);
            let message = format!("no files found matching '{}'", shown.display());
            self.notices.push(Notice { kind: NoticeKind::Pattern, origin: origin.cloned(), message });
        }
        matches.paths
    }

    /// Queues the files of an `include` statement, to be read before the rest of the current text.
    pub(super) fn include(&mut self, pattern: &[u8]) -> Result<(), SyntaxError> {
        let origin = self.origin();
        if pattern.is_empty() || pattern.len() > MAX_PATTERN {
            let message =
                if pattern.is_empty() { "empty include pattern, ignored" } else { "include pattern too long, ignored" };
            self.notices.push(Notice { kind: NoticeKind::Pattern, origin: Some(origin), message: message.to_owned() });
            return Ok(());
        }
        let (base, parent) =
            self.open.last().map_or((None, None), |input| (input.directory.clone(), input.chain.clone()));
        if parent.as_ref().is_some_and(|chain| chain.depth >= MAX_INCLUDE_DEPTH) {
            return Err(
                self.error(format!("includes are nested deeper than {MAX_INCLUDE_DEPTH} files; include fewer levels"))
            );
        }
        let pattern = Path::new(std::ffi::OsStr::from_bytes(pattern));
        // The directory is part of the name, not of the pattern.
        let base = base.map(|base| if base.as_os_str().is_empty() { PathBuf::from(".") } else { base });
        let files = self.expand(pattern, base.as_deref(), Some(&origin));
        if let Some(queue) = self.pending.last_mut() {
            queue.extend(files.into_iter().map(|path| Pending {
                path,
                parent: parent.clone(),
                origin: Some(origin.clone()),
            }));
        }
        Ok(())
    }

    /// Opens the next queued file, if there is one. Files that cannot be read are passed over.
    fn open_pending(&mut self) -> Result<bool, SyntaxError> {
        while let Some(pending) = self.pending.last_mut().and_then(VecDeque::pop_front) {
            if self.open_file(&pending)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn open_file(&mut self, pending: &Pending) -> Result<bool, SyntaxError> {
        let Pending { path, parent, origin } = pending;
        let resolved = path.canonicalize().unwrap_or_else(|_| path.clone());
        if parent.as_ref().is_some_and(|chain| chain.contains(&resolved)) {
            let message = format!("'{}' includes itself; remove this include", path.display());
            return Err(SyntaxError { origin: origin.clone().unwrap_or_else(|| self.origin()), message });
        }
        let bytes = match self.read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let message = format!("failed to open config file '{}': {error}", path.display());
                let other = path.metadata().is_ok_and(|found| !found.is_file());
                let kind = if other { NoticeKind::NotAFile } else { NoticeKind::Unreadable };
                self.notices.push(Notice { kind, origin: origin.clone(), message });
                if origin.is_none() && self.open_error.is_none() {
                    self.open_error = Some((path.clone(), error));
                }
                return Ok(false);
            }
        };
        self.files_read += 1;
        let depth = parent.as_ref().map_or(0, |chain| chain.depth) + 1;
        self.open.push(Input {
            file: path.to_string_lossy().into(),
            directory: path.parent().map(Path::to_path_buf),
            chain: Some(Arc::new(Chain { path: resolved, depth, parent: parent.clone() })),
            bytes: bytes.into(),
            position: 0,
            line: 1,
            column: 1,
        });
        self.pending.push(VecDeque::new());
        Ok(true)
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let metadata = path.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        self.total_bytes = self.total_bytes.saturating_add(metadata.len());
        if self.total_bytes > MAX_TOTAL_BYTES {
            return Err(io::Error::other("configuration is larger than 256 MiB"));
        }
        std::fs::read(path)
    }

    /// The text to read from, after whatever has to be read first; `None` at the end of everything.
    fn current(&mut self) -> Result<Option<&mut Input>, SyntaxError> {
        loop {
            if self.open_pending()? {
                continue;
            }
            match self.open.last() {
                None => return Ok(None),
                Some(input) if input.peek().is_none() => {
                    self.origin = input.origin();
                    self.open.pop();
                    self.pending.pop();
                }
                Some(_) => return Ok(self.open.last_mut()),
            }
        }
    }

    /// The next token of a statement. `include` is special only where a statement may start.
    pub(super) fn next(&mut self, statement_start: bool) -> Result<Token, SyntaxError> {
        loop {
            let Some(input) = self.current()? else { return Ok(Token::End) };
            let origin = input.origin();
            let Some(byte) = input.peek() else { continue };
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {
                    input.next();
                    continue;
                }
                b'#' => {
                    input.take_while(|byte| byte != b'\n');
                    continue;
                }
                _ => (),
            }
            let token = Self::statement_token(input, byte, statement_start);
            self.origin = origin;
            return token.map_err(|message| self.error(message));
        }
    }

    fn statement_token(input: &mut Input, byte: u8, statement_start: bool) -> Result<Token, &'static str> {
        let single = match byte {
            b'{' => Some(Token::OpenBrace),
            b'}' => Some(Token::CloseBrace),
            b':' => Some(Token::Colon),
            b',' => Some(Token::Comma),
            b'.' => Some(Token::Dot),
            b'=' => Some(Token::Equals),
            _ => None,
        };
        if let Some(token) = single {
            input.next();
            return Ok(token);
        }
        if byte == b'"' {
            return quoted(input).map(|_| Token::String);
        }
        if statement_start && let Some(blanks) = include_blanks(input.rest()) {
            input.skip(INCLUDE.len() + blanks);
            return include_pattern(input).map(Token::Include);
        }
        let name = input.take_while(is_name);
        if name.contains(&0) {
            return Err("unexpected NUL byte; this is not a text file");
        }
        Ok(Token::Name(name))
    }

    /// The value of a setting, up to what ends it; `None` if nothing is assigned. Returns where it began, too.
    pub(super) fn value(&mut self) -> Result<(Option<Vec<u8>>, Origin), SyntaxError> {
        // The end of its file ends a value, so the stack of texts is left alone here.
        let Some(input) = self.open.last_mut() else { return Ok((None, self.origin.clone())) };
        let mut value: Option<Vec<u8>> = None;
        let mut start = None;
        loop {
            let origin = input.origin();
            let part = match input.peek() {
                None | Some(b'\n' | b'#' | b'}') => break,
                Some(b' ' | b'\t' | b'\r') => {
                    input.next();
                    continue;
                }
                Some(b'"') => quoted(input),
                Some(_) => {
                    let word = input.take_while(is_word);
                    if word.contains(&0) { Err("unexpected NUL byte; this is not a text file") } else { Ok(word) }
                }
            };
            let part = part.map_err(|message| SyntaxError { origin: origin.clone(), message: message.to_owned() })?;
            match &mut value {
                Some(value) => {
                    value.push(b' ');
                    value.extend(part);
                }
                None => {
                    start = Some(origin);
                    value = Some(part);
                }
            }
        }
        let end = input.origin();
        Ok((value, start.unwrap_or(end)))
    }

    /// After an error, passes over the rest of the line. Returns whether the line leaves a section open.
    pub(super) fn skip_line(&mut self) -> bool {
        let Some(input) = self.open.last_mut() else { return false };
        let mut opened = false;
        loop {
            match input.peek() {
                None | Some(b'\n') => return opened,
                // What comes after a brace is complete statements again.
                Some(b'}') if !opened => return false,
                Some(b'#') => drop(input.take_while(|byte| byte != b'\n')),
                Some(byte) => {
                    opened = match byte {
                        b'{' => true,
                        b' ' | b'\t' | b'\r' => opened,
                        _ => false,
                    };
                    input.next();
                    if opened {
                        return true;
                    }
                }
            }
        }
    }
}

const INCLUDE: &[u8] = b"include";

/// The number of blanks after the word `include` if an include statement starts here. `include = x` with at most one
/// blank sets a key of that name.
fn include_blanks(text: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(INCLUDE)?;
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match (blanks, rest.get(blanks)) {
        (0, _) | (1, Some(b'=')) => None,
        _ => Some(blanks),
    }
}

fn include_pattern(input: &mut Input) -> Result<Vec<u8>, &'static str> {
    if input.peek() == Some(b'"') {
        return quoted(input);
    }
    let mut pattern = Vec::new();
    loop {
        match input.peek() {
            None | Some(b' ' | b'\t' | b'\r' | b'\n' | b'#' | b'}') => return Ok(pattern),
            Some(b'\\') => {
                input.next();
                match input.peek() {
                    Some(byte @ (b'"' | b'#' | b'}' | b' ')) => {
                        pattern.push(byte);
                        input.next();
                    }
                    _ => pattern.push(b'\\'),
                }
            }
            Some(byte) => {
                pattern.push(byte);
                input.next();
            }
        }
    }
}

/// Reads a string whose opening quote is next.
fn quoted(input: &mut Input) -> Result<Vec<u8>, &'static str> {
    const UNTERMINATED: &str = "unterminated string detected; add the closing '\"'";
    input.next();
    let mut text = Vec::new();
    loop {
        match input.next().ok_or(UNTERMINATED)? {
            b'"' => return Ok(text),
            b'\r' => (),
            b'\\' => match input.next().ok_or(UNTERMINATED)? {
                b'n' => text.push(b'\n'),
                b'r' => text.push(b'\r'),
                b't' => text.push(b'\t'),
                b'\n' => (),
                b'\r' if input.peek() == Some(b'\n') => drop(input.next()),
                byte => text.push(byte),
            },
            byte => text.push(byte),
        }
    }
}

fn is_name(byte: u8) -> bool {
    !matches!(byte, b'#' | b'{' | b'}' | b':' | b'.' | b',' | b'=' | b'"' | b'\r' | b'\n' | b'\t' | b' ')
}

fn is_word(byte: u8) -> bool {
    !matches!(byte, b'#' | b'}' | b'"' | b'\r' | b'\n' | b'\t' | b' ')
}
