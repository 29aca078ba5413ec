//! Builds the tree of sections from tokens.
//!
//! ```text
//! statements := ( section | setting | include )*
//! section    := NAME [ ":" REF ( "," REF )* ] "{" statements "}"
//! setting    := NAME "=" [ value ]
//! REF        := NAME ( "." NAME )*
//! ```
//!
//! After an error it goes on with the next line, so that one run names several mistakes. The tree of a text with
//! errors is never used.

use std::sync::Arc;

use super::error::{SyntaxError, SyntaxErrors};
use super::lexer::{Lexer, Token};
use super::origin::Origin;
use super::tree::{Reference, Section, Setting, Value};

/// Errors that are reported of one load; after so many the text is probably no configuration at all.
const MAX_ERRORS: usize = 20;
/// Sections within each other. The deepest path that any option has is seven.
const MAX_DEPTH: usize = 64;

/// Parses everything that `lexer` gives into `root`.
pub(super) fn parse(lexer: &mut Lexer, root: &mut Section) -> Result<(), SyntaxErrors> {
    let mut parser = Parser { lexer, root, path: Vec::new(), errors: Vec::new(), stray_brace: false };
    while parser.errors.len() < MAX_ERRORS {
        match parser.statement() {
            Ok(true) => (),
            Ok(false) => break,
            Err(error) => parser.recover(error),
        }
    }
    if parser.errors.is_empty() { Ok(()) } else { Err(SyntaxErrors(parser.errors)) }
}

struct Parser<'a> {
    lexer: &'a mut Lexer,
    root: &'a mut Section,
    /// Names of the open sections and where each was opened.
    path: Vec<(Arc<str>, Origin)>,
    errors: Vec<SyntaxError>,
    /// The token that could not stand where it did opens a section all the same.
    stray_brace: bool,
}

impl Parser<'_> {
    /// Parses one statement or closing brace; `false` at the end.
    fn statement(&mut self) -> Result<bool, SyntaxError> {
        match self.lexer.next(true)? {
            Token::End => {
                return match self.path.pop() {
                    None => Ok(false),
                    Some((name, opened)) => {
                        self.path.clear();
                        Err(self.error(format!(
                            "syntax error, unexpected end of file, expecting '}}' to close section '{name}' opened at {opened}"
                        )))
                    }
                };
            }
            Token::CloseBrace => {
                if self.path.pop().is_none() {
                    return Err(self.error(
                        "syntax error, unexpected '}', no section is open here; quote it if it belongs to a value",
                    ));
                }
            }
            Token::Include(pattern) => self.lexer.include(&pattern)?,
            Token::Name(name) => {
                let origin = self.lexer.origin();
                let name = self.name(name)?;
                self.named(name, origin)?;
            }
            Token::String => {
                return Err(
                    self.error("unexpected string detected, expecting a name; names are written without quotes")
                );
            }
            token => return Err(self.unexpected(&token, "a name or '}'")),
        }
        Ok(true)
    }

    /// Parses what follows the first name of a statement.
    fn named(&mut self, name: Arc<str>, origin: Origin) -> Result<(), SyntaxError> {
        match self.lexer.next(false)? {
            Token::Equals => {
                let (value, value_origin) = self.lexer.value()?;
                let setting = Setting { name, value: value.map(Value::from_bytes), origin, value_origin };
                if let Some(section) = self.section() {
                    section.set(setting);
                }
                Ok(())
            }
            Token::OpenBrace => self.open(name, origin, Vec::new()),
            Token::Colon => {
                let references = self.references()?;
                self.open(name, origin, references)
            }
            token @ (Token::Dot | Token::Comma) => Err(self.unexpected(&token, "'=', '{' or ':'")),
            Token::Name(next) => {
                let next = String::from_utf8_lossy(&next).into_owned();
                Err(self.error(format!(
                    "syntax error, unexpected name '{next}' after '{name}', expecting '=', '{{' or ':'"
                )))
            }
            token => Err(self.unexpected(&token, &format!("'=', '{{' or ':' after '{name}'"))),
        }
    }

    fn references(&mut self) -> Result<Vec<Reference>, SyntaxError> {
        let mut references = Vec::new();
        loop {
            let mut reference = Reference { path: Vec::new(), origin: self.lexer.origin() };
            loop {
                match self.lexer.next(false)? {
                    Token::Name(part) => {
                        if reference.path.is_empty() {
                            reference.origin = self.lexer.origin();
                        }
                        reference.path.push(self.name(part)?);
                    }
                    token => return Err(self.unexpected(&token, "the name of a section to inherit from")),
                }
                match self.lexer.next(false)? {
                    Token::Dot => (),
                    Token::Comma => break,
                    Token::OpenBrace => {
                        references.push(reference);
                        return Ok(references);
                    }
                    token => return Err(self.unexpected(&token, "'.', ',' or '{'")),
                }
            }
            references.push(reference);
        }
    }

    fn open(&mut self, name: Arc<str>, origin: Origin, references: Vec<Reference>) -> Result<(), SyntaxError> {
        if self.path.len() >= MAX_DEPTH {
            return Err(self.error(format!("sections are nested deeper than {MAX_DEPTH} levels")));
        }
        self.path.push((name, origin));
        if let Some(section) = self.section() {
            for reference in references {
                section.refer(reference);
            }
        }
        Ok(())
    }

    /// The innermost open section.
    fn section(&mut self) -> Option<&mut Section> {
        let mut section = &mut *self.root;
        for (name, origin) in &self.path {
            section = section.open(name, origin)?;
        }
        Some(section)
    }

    fn name(&self, bytes: Vec<u8>) -> Result<Arc<str>, SyntaxError> {
        match String::from_utf8(bytes) {
            Ok(name) => Ok(name.into()),
            Err(_) => Err(self.error("a name is not valid UTF-8; save the file in that encoding")),
        }
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError { origin: self.lexer.origin(), message: message.into() }
    }

    fn unexpected(&mut self, token: &Token, expected: &str) -> SyntaxError {
        self.stray_brace = *token == Token::OpenBrace;
        let remedy = match token {
            Token::Dot => "; names have no dots: write 'a { b = ... }' for a.b",
            _ => "",
        };
        let token = match token {
            Token::Name(name) => format!("name '{}'", String::from_utf8_lossy(name)),
            Token::String => "string".to_owned(),
            Token::OpenBrace => "'{'".to_owned(),
            Token::CloseBrace => "'}'".to_owned(),
            Token::Colon => "':'".to_owned(),
            Token::Comma => "','".to_owned(),
            Token::Dot => "'.'".to_owned(),
            Token::Equals => "'='".to_owned(),
            Token::Include(_) => "include".to_owned(),
            Token::End => "end of file".to_owned(),
        };
        self.error(format!("syntax error, unexpected {token}, expecting {expected}{remedy}"))
    }

    fn recover(&mut self, error: SyntaxError) {
        self.errors.push(error);
        let opened = std::mem::take(&mut self.stray_brace) || self.lexer.skip_line();
        if opened && self.path.len() < MAX_DEPTH {
            let origin = self.lexer.origin();
            self.path.push(("?".into(), origin));
        }
    }
}
