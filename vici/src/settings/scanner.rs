//! Characters of a settings file: names, values, include patterns, and what lies between them.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::error::{Position, SettingsError};
use crate::wiped;

/// A cursor over the octets of one file that knows its line and column.
pub(super) struct Scanner<'a> {
    file: Arc<Path>,
    octets: &'a [u8],
    offset: usize,
    line: u32,
    column: u32,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(file: &Path, octets: &'a [u8]) -> Self {
        let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets); // some editors sign UTF-8 files so
        Self { file: file.into(), octets, offset: 0, line: 1, column: 1 }
    }

    pub(super) fn position(&self) -> Position {
        Position { file: Arc::clone(&self.file), line: self.line, column: self.column }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.octets.get(self.offset).copied()
    }

    /// Steps over one octet.
    pub(super) fn step(&mut self) {
        let Some(octet) = self.peek() else { return };
        self.offset += 1;
        if octet == b'\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else if octet & 0xc0 != 0x80 {
            self.column = self.column.saturating_add(1); // the octets of one character count once
        }
    }

    /// Steps over `octet` if it is next.
    pub(super) fn skip(&mut self, octet: u8) -> bool {
        let is_next = self.peek() == Some(octet);
        if is_next {
            self.step();
        }
        is_next
    }

    /// Steps over blanks, up to the end of the line.
    pub(super) fn skip_blanks(&mut self) {
        self.take_while(is_blank);
    }

    /// Steps over blanks, line ends and comments.
    pub(super) fn skip_space(&mut self) {
        while let Some(octet) = self.peek() {
            match octet {
                b'#' => self.skip_comment(),
                octet if is_blank(octet) || octet == b'\n' => self.step(),
                _ => return,
            }
        }
    }

    /// Steps over a comment, up to the end of its line.
    fn skip_comment(&mut self) {
        self.take_while(|octet| octet != b'\n');
    }

    fn take_while(&mut self, mut is_wanted: impl FnMut(u8) -> bool) -> &'a [u8] {
        let start = self.offset;
        while self.peek().is_some_and(&mut is_wanted) {
            self.step();
        }
        self.octets.get(start..self.offset).unwrap_or_default()
    }

    /// The name of a key or section; empty if none starts here.
    pub(super) fn name(&mut self) -> Result<&'a str, SettingsError> {
        let start = self.position();
        let name = self.take_while(is_in_name);
        std::str::from_utf8(name).map_err(|_| SettingsError::Syntax {
            position: start,
            expected: "a name in UTF-8".into(),
            found: format!("'{}'", String::from_utf8_lossy(name).escape_debug()),
        })
    }

    /// Whether `include`, just read as a name, starts an include rather than a key of that name. Steps to the pattern.
    pub(super) fn is_include(&mut self) -> bool {
        if !matches!(self.peek(), Some(b' ' | b'\t')) {
            return false;
        }
        self.skip_blanks();
        self.peek() != Some(b'=')
    }

    /// The pattern of an include: quoted, or up to a blank, `#`, `}` or the end of the line, with `\c` for the
    /// character c itself. Octets, since the escape may have split a character.
    pub(super) fn pattern(&mut self) -> Result<Zeroizing<Vec<u8>>, SettingsError> {
        if self.peek() == Some(b'"') {
            return self.quoted();
        }
        let mut pattern = Zeroizing::new(Vec::new());
        while let Some(octet) = self.peek() {
            match octet {
                b'\n' | b'#' | b'}' => break,
                octet if is_blank(octet) => break,
                b'\\' => {
                    self.step();
                    let Some(escaped) = self.peek() else { break };
                    pattern.push(escaped);
                }
                octet => pattern.push(octet),
            }
            self.step();
        }
        if pattern.is_empty() {
            Err(self.expected("a file name pattern after 'include'"))
        } else {
            Ok(pattern)
        }
    }

    /// The value after a `=`: its words and quoted strings joined by one blank, or `None` if there are none.
    pub(super) fn value(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, SettingsError> {
        let mut value: Option<Zeroizing<Vec<u8>>> = None;
        loop {
            self.skip_blanks();
            let part = match self.peek() {
                None | Some(b'\n' | b'}') => return Ok(value),
                Some(b'#') => {
                    self.skip_comment();
                    return Ok(value);
                }
                Some(b'"') => self.quoted()?,
                Some(0) => return Err(self.expected("a value")),
                Some(_) => Zeroizing::new(self.take_while(is_in_word).to_vec()),
            };
            match &mut value {
                Some(value) => {
                    wiped::append(value, b" ");
                    wiped::append(value, &part);
                }
                None => value = Some(part),
            }
        }
    }

    /// A string in double quotes, which is next.
    fn quoted(&mut self) -> Result<Zeroizing<Vec<u8>>, SettingsError> {
        let opened = self.position();
        self.step();
        let mut string = Zeroizing::new(Vec::new());
        loop {
            wiped::append(&mut string, self.take_while(|octet| !matches!(octet, b'"' | b'\\' | b'\r')));
            let special = self.peek();
            self.step();
            let next = self.peek();
            match (special, next) {
                (None, _) | (Some(b'\\'), None) => {
                    return Err(SettingsError::Unclosed { opened, what: "the quoted string".into() });
                }
                (Some(b'"'), _) => return Ok(string),
                (Some(b'\\'), Some(escaped)) => {
                    self.step();
                    match escaped {
                        b'n' => wiped::append(&mut string, b"\n"),
                        b'r' => wiped::append(&mut string, b"\r"),
                        b't' => wiped::append(&mut string, b"\t"),
                        b'\n' => {}
                        b'\r' if self.skip(b'\n') => {}
                        other => wiped::append(&mut string, &[other]),
                    }
                }
                (Some(b'\r'), Some(b'\n')) => {} // a file with DOS line ends has the same strings
                (Some(other), _) => wiped::append(&mut string, &[other]),
            }
        }
    }

    /// The error that something else was expected here.
    pub(super) fn expected(&self, expected: impl Into<String>) -> SettingsError {
        SettingsError::Syntax { position: self.position(), expected: expected.into(), found: self.found() }
    }

    /// What stands here, in words.
    fn found(&self) -> String {
        const SHOWN: usize = 32;
        let rest = self.octets.get(self.offset..).unwrap_or_default();
        match self.peek() {
            None => "the end of the file".into(),
            Some(b'\n') => "the end of the line".into(),
            Some(b'"') => "a quoted string".into(), // its contents may be secret
            Some(octet) if !is_in_name(octet) => format!("'{}'", char::from(octet).escape_default()),
            Some(_) => {
                let length = rest.iter().take(SHOWN).take_while(|octet| is_in_name(**octet)).count();
                let word = String::from_utf8_lossy(rest.get(..length).unwrap_or_default());
                format!("'{}'", word.escape_debug())
            }
        }
    }
}

/// Between words: the carriage return too, so that DOS line ends do no harm.
fn is_blank(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r')
}

/// In an unquoted word of a value.
fn is_in_word(octet: u8) -> bool {
    !matches!(octet, b'#' | b'}' | b'"' | b'\n' | 0) && !is_blank(octet)
}

/// In the name of a key or section: anything printable, so also characters beyond ASCII, but the format's own signs.
fn is_in_name(octet: u8) -> bool {
    !matches!(octet, b'.' | b',' | b':' | b'{' | b'}' | b'=' | b'"' | b'#' | 0..=b' ' | 0x7f)
}
