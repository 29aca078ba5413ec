//! Command line parsing as GNU `getopt_long` does it: clustered short options, `--name=value`, unambiguous prefixes of
//! long names, options after operands, `--` as the end of options.

use std::collections::VecDeque;

/// One option that may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flag {
    /// Long name, without hyphens.
    pub(crate) long: &'static str,
    /// Short name, which also identifies the option.
    pub(crate) short: char,
    /// Whether a value follows.
    pub(crate) takes_value: bool,
    /// Line in the usage.
    pub(crate) help: &'static str,
}

impl Flag {
    pub(crate) const fn switch(long: &'static str, short: char, help: &'static str) -> Self {
        Self { long, short, takes_value: false, help }
    }

    pub(crate) const fn value(long: &'static str, short: char, help: &'static str) -> Self {
        Self { long, short, takes_value: true, help }
    }
}

/// An argument that is no option, or not one of those asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bad {
    /// No such option.
    Unknown(String),
    /// A prefix of several.
    Ambiguous(String),
    /// Its value is missing.
    MissingValue(String),
    /// It takes no value.
    UnexpectedValue(String),
}

/// The arguments still to be parsed. What is accepted may change from one option to the next.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arguments {
    rest: VecDeque<String>,
    /// Short options left of a cluster like `-lr`.
    cluster: VecDeque<char>,
    /// `--` was seen.
    ended: bool,
}

impl Arguments {
    pub(crate) fn new(arguments: impl IntoIterator<Item = String>) -> Self {
        Self { rest: arguments.into_iter().collect(), ..Self::default() }
    }

    /// Puts further arguments in front of the rest.
    pub(crate) fn insert(&mut self, arguments: Vec<String>) {
        for argument in arguments.into_iter().rev() {
            self.rest.push_front(argument);
        }
    }

    /// The next option with its value; `None` when there is none left. Operands are passed over.
    pub(crate) fn next(&mut self, flags: &[Flag]) -> Result<Option<(Flag, Option<String>)>, Bad> {
        if let Some(letter) = self.cluster.pop_front() {
            return self.short(letter, flags).map(Some);
        }
        while !self.ended {
            let Some(argument) = self.rest.pop_front() else { break };
            if argument == "--" {
                self.ended = true;
            } else if let Some(long) = argument.strip_prefix("--") {
                return self.long(long, flags).map(Some);
            } else if let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                self.cluster = letters.chars().collect();
                if let Some(letter) = self.cluster.pop_front() {
                    return self.short(letter, flags).map(Some);
                }
            }
        }
        Ok(None)
    }

    fn short(&mut self, letter: char, flags: &[Flag]) -> Result<(Flag, Option<String>), Bad> {
        let Some(flag) = flags.iter().find(|flag| flag.short == letter) else {
            return Err(Bad::Unknown(format!("-{letter}")));
        };
        if !flag.takes_value {
            return Ok((*flag, None));
        }
        let value = if self.cluster.is_empty() {
            self.rest.pop_front().ok_or_else(|| Bad::MissingValue(format!("-{letter}")))?
        } else {
            self.cluster.drain(..).collect()
        };
        Ok((*flag, Some(value)))
    }

    fn long(&mut self, argument: &str, flags: &[Flag]) -> Result<(Flag, Option<String>), Bad> {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument, None),
        };
        let mut matching = flags.iter().filter(|flag| flag.long.starts_with(name));
        let flag = match (flags.iter().find(|flag| flag.long == name), matching.next(), matching.next()) {
            (Some(exact), _, _) => *exact,
            (None, Some(only), None) => *only,
            (None, Some(_), Some(_)) => return Err(Bad::Ambiguous(format!("--{name}"))),
            (None, None, _) => return Err(Bad::Unknown(format!("--{name}"))),
        };
        match (flag.takes_value, value) {
            (true, Some(value)) => Ok((flag, Some(value))),
            (true, None) => {
                let value = self.rest.pop_front().ok_or_else(|| Bad::MissingValue(format!("--{}", flag.long)))?;
                Ok((flag, Some(value)))
            }
            (false, None) => Ok((flag, None)),
            (false, Some(_)) => Err(Bad::UnexpectedValue(format!("--{}", flag.long))),
        }
    }
}

/// Cuts the text of an options file into arguments: separated by white space, quoted whole, `#` up to the end of line.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            _ if character.is_whitespace() => (),
            '#' => while characters.next_if(|character| *character != '\n').is_some() {},
            '"' | '\'' => {
                tokens.push(std::iter::from_fn(|| characters.next_if(|next| *next != character)).collect());
                characters.next();
            }
            _ => {
                let mut token = String::from(character);
                token.extend(std::iter::from_fn(|| characters.next_if(|next| !next.is_whitespace())));
                tokens.push(token);
            }
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::value("ike", 'i', ""),
        Flag::value("ike-id", 'I', ""),
        Flag::switch("noblock", 'n', ""),
        Flag::switch("list-sas", 'l', ""),
        Flag::switch("list-conns", 'L', ""),
    ];

    fn parse(arguments: &[&str]) -> Result<Vec<(char, Option<String>)>, Bad> {
        let mut arguments = Arguments::new(arguments.iter().map(|argument| (*argument).to_owned()));
        let mut found = Vec::new();
        while let Some((flag, value)) = arguments.next(FLAGS)? {
            found.push((flag.short, value));
        }
        Ok(found)
    }

    #[test]
    fn accepted() {
        let value = |text: &str| Some(text.to_owned());
        for (arguments, expected) in [
            (&["--ike", "a"][..], vec![('i', value("a"))]),
            (&["--ike=a"], vec![('i', value("a"))]),
            (&["--ike="], vec![('i', value(""))]),
            (&["-i", "a"], vec![('i', value("a"))]),
            (&["-ia"], vec![('i', value("a"))]),
            (&["-nia"], vec![('n', None), ('i', value("a"))]),
            (&["--nob"], vec![('n', None)]),
            (&["--list-s"], vec![('l', None)]),
            (&["--ike-"], vec![('I', None)]),
            (&["operand", "-n", "more"], vec![('n', None)]),
            (&["-n", "--", "-i"], vec![('n', None)]),
            (&["-i", "-n"], vec![('i', value("-n"))]),
            (&["-"], vec![]),
        ] {
            if arguments == ["--ike-"] {
                assert_eq!(parse(arguments), Err(Bad::MissingValue("--ike-id".into())));
            } else {
                assert_eq!(parse(arguments), Ok(expected), "{arguments:?}");
            }
        }
    }

    #[test]
    fn refused() {
        assert_eq!(parse(&["--list"]), Err(Bad::Ambiguous("--list".into())));
        assert_eq!(parse(&["--none"]), Err(Bad::Unknown("--none".into())));
        assert_eq!(parse(&["-nx"]), Err(Bad::Unknown("-x".into())));
        assert_eq!(parse(&["-i"]), Err(Bad::MissingValue("-i".into())));
        assert_eq!(parse(&["--noblock=1"]), Err(Bad::UnexpectedValue("--noblock".into())));
    }

    #[test]
    fn option_files() {
        assert_eq!(tokens("--ike 'a b' # comment\n\"c # d\"\n -n x#y"), ["--ike", "a b", "c # d", "-n", "x#y"]);
        assert_eq!(tokens("'open"), ["open"]);
    }
}
