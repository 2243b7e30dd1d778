//! Bytes to tokens.
//!
//! Works on bytes, because the text of a command need not be UTF-8: strings are handed on as bytes, only names must be
//! text. Reads up to the first `;` outside of strings and comments.

use super::PARAMETERS_MAX;
use super::core::ParseOptions;
use crate::error::{Error, Result};

/// What a token is. Words and numbers keep their text in the source, between the token's offsets.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A bare word: keyword or name.
    Word,
    /// A quoted name.
    Quoted(String),
    /// A string, escapes resolved.
    String(Vec<u8>),
    /// `N'…'`: a string that stands first in a literal and nowhere else.
    National(Vec<u8>),
    /// Digits only.
    Integer,
    /// Digits with a point.
    Decimal,
    /// With an exponent.
    Float,
    /// `x'…'`, `0x…`.
    Hex(Vec<u8>),
    /// `b'…'`, `0b…`.
    Bit(Vec<u8>),
    /// `?`, counted from 0.
    Parameter(usize),
    /// `@name`; empty for a bare `@` (before a host).
    UserVariable(String),
    /// `@@`.
    SystemVariable,
    /// Punctuation or an operator.
    Symbol(&'static str),
    /// The end of the statement.
    End,
}

/// A token and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Token {
    /// What it is.
    pub kind: Kind,
    /// Offset of its first byte.
    pub start: usize,
    /// Offset behind its last byte.
    pub end: usize,
}

/// Longest first.
const SYMBOLS: &[&str] = &[
    "->>", "<=>", "->", "<=", ">=", "<>", "!=", "<<", ">>", "&&", "||", ":=", "(", ")", ",", ".", "+", "-", "*", "/",
    "%", "=", "<", ">", "!", "~", "&", "|", "^", ";", ":", "{", "}",
];

pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    options: ParseOptions,
    in_version_comment: bool,
    parameters: usize,
}

/// Tokens after which the statement's memory is looked at.
const TOKENS_BETWEEN_CHECKS: usize = 1024;

/// The tokens of the first statement of `text` (the last is [`Kind::End`]) and the offset behind its `;`.
pub(super) fn tokenize(text: &[u8], options: ParseOptions) -> Result<(Vec<Token>, usize)> {
    let mut lexer = Lexer { text, at: 0, options, in_version_comment: false, parameters: 0 };
    let mut tokens = Vec::with_capacity(text.len().min(4096) / 4 + 4);
    loop {
        if tokens.len() % TOKENS_BETWEEN_CHECKS == 0 {
            crate::memory::check()?;
        }
        lexer.skip_blank()?;
        let start = lexer.at;
        if start >= text.len() {
            if lexer.in_version_comment {
                return lexer.error(start);
            }
            tokens.push(Token { kind: Kind::End, start: text.len(), end: text.len() });
            return Ok((tokens, text.len()));
        }
        let kind = lexer.next(tokens.last())?;
        if kind == Kind::Symbol(";") {
            tokens.push(Token { kind: Kind::End, start, end: start });
            return Ok((tokens, lexer.at));
        }
        tokens.push(Token { kind, start, end: lexer.at });
    }
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn starts_with(&self, what: &[u8]) -> bool {
        self.text.get(self.at..).is_some_and(|rest| rest.starts_with(what))
    }

    fn error<T>(&self, at: usize) -> Result<T> {
        Err(syntax_error(self.text, at))
    }

    /// Moves past white space and comments.
    fn skip_blank(&mut self) -> Result<()> {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.at += 1,
                0 if self.at < self.text.len() => self.at += 1,
                b'#' => self.skip_line(),
                b'-' if self.peek(1) == b'-' && (self.at + 2 >= self.text.len() || self.peek(2) <= b' ') => {
                    self.skip_line()
                }
                b'/' if self.peek(1) == b'*' => self.comment()?,
                b'*' if self.in_version_comment && self.peek(1) == b'/' => {
                    self.in_version_comment = false;
                    self.at += 2;
                }
                _ => return Ok(()),
            }
        }
    }

    fn skip_line(&mut self) {
        let rest = &self.text[self.at..];
        self.at += memchr::memchr(b'\n', rest).map_or(rest.len(), |i| i + 1);
    }

    /// Moves past a comment, or into one whose text counts.
    fn comment(&mut self) -> Result<()> {
        if self.peek(2) != b'!' {
            return self.skip_comment(2);
        }
        let digits = self.text[self.at + 3..].iter().take(6).take_while(|b| b.is_ascii_digit()).count();
        // Five digits, or six as in MariaDB's dumps, which are younger than every MySQL.
        let digits = if digits < 5 { 0 } else { digits };
        let number = &self.text[self.at + 3..self.at + 3 + digits];
        let version = number.iter().fold(0u32, |v, b| v * 10 + u32::from(b - b'0'));
        if version > crate::version::MYSQL_VERSION_ID {
            return self.skip_comment(3 + digits);
        }
        self.at += 3 + digits;
        self.in_version_comment = true;
        Ok(())
    }

    /// Moves past a comment whose text does not count and begins `from` bytes on. One that was for another version may hold
    /// comments.
    fn skip_comment(&mut self, from: usize) -> Result<()> {
        let start = self.at;
        let nests = self.peek(2) == b'!';
        let mut at = self.at + from;
        loop {
            let Some(end) = memchr::memmem::find(&self.text[at..], b"*/") else { return self.error(start) };
            let inner = if nests { memchr::memmem::find(&self.text[at..at + end], b"/*") } else { None };
            at += end + 2;
            let Some(_) = inner else {
                self.at = at;
                return Ok(());
            };
        }
    }

    fn next(&mut self, before: Option<&Token>) -> Result<Kind> {
        let byte = self.peek(0);
        match byte {
            b'\'' => self.string(b'\'').map(Kind::String),
            b'"' if self.options.ansi_quotes => self.quoted(b'"'),
            b'"' => self.string(b'"').map(Kind::String),
            b'`' => self.quoted(b'`'),
            b'?' => self.parameter(),
            b'@' => self.variable(),
            b'0'..=b'9' => self.number(before),
            b'.' if self.peek(1).is_ascii_digit() && !follows_name(before, self.at) => self.number(None),
            b'x' | b'X' if self.peek(1) == b'\'' => self.quoted_digits(16),
            b'b' | b'B' if self.peek(1) == b'\'' => self.quoted_digits(2),
            b'n' | b'N' if self.peek(1) == b'\'' => {
                self.at += 1;
                self.string(b'\'').map(Kind::National)
            }
            b'=' | b'<' | b'>' | b'!' => self.comparison(),
            _ if is_word_byte(byte) => {
                self.word();
                Ok(Kind::Word)
            }
            _ => match SYMBOLS.iter().find(|s| self.starts_with(s.as_bytes())) {
                Some(symbol) => {
                    self.at += symbol.len();
                    Ok(Kind::Symbol(symbol))
                }
                None => self.error(self.at),
            },
        }
    }

    /// Signs of comparison that stand together are one operator or none: `a =! b` is an error, `!! a` is `! a`.
    fn comparison(&mut self) -> Result<Kind> {
        let is_sign = |byte: u8| matches!(byte, b'=' | b'<' | b'>' | b'!');
        let mut len = 1 + usize::from(is_sign(self.peek(1)));
        if self.peek(0) == b'<' && len == 2 && matches!(self.peek(2), b'=' | b'>' | b'!') {
            len = 3;
        }
        let signs = &self.text[self.at..self.at + len];
        let found = SYMBOLS.iter().find(|s| s.as_bytes() == signs);
        let Some(symbol) = found.copied().or((self.peek(0) == b'!').then_some("!")) else { return self.error(self.at) };
        self.at += len;
        Ok(Kind::Symbol(symbol))
    }

    fn word(&mut self) {
        while self.at < self.text.len() && is_word_byte(self.text[self.at]) {
            self.at += 1;
        }
    }

    fn parameter(&mut self) -> Result<Kind> {
        if self.parameters == PARAMETERS_MAX {
            return Err(Error::too_many_placeholders());
        }
        self.at += 1;
        self.parameters += 1;
        Ok(Kind::Parameter(self.parameters - 1))
    }

    fn variable(&mut self) -> Result<Kind> {
        self.at += 1;
        if self.peek(0) == b'@' {
            self.at += 1;
            let named = is_word_byte(self.peek(0)) || self.peek(0) == b'`';
            return if named { Ok(Kind::SystemVariable) } else { self.error(self.at) };
        }
        let name = match self.peek(0) {
            quote @ (b'`' | b'\'' | b'"') => self.string_of(quote, quote != b'`')?,
            _ => {
                let start = self.at;
                while is_word_byte(self.peek(0)) || self.peek(0) == b'.' {
                    self.at += 1;
                }
                self.text[start..self.at].to_vec()
            }
        };
        String::from_utf8(name).map(Kind::UserVariable).or_else(|_| self.error(self.at))
    }

    /// A number, or a word that starts with digits (`1st_column`, and any digits behind a name's point).
    fn number(&mut self, before: Option<&Token>) -> Result<Kind> {
        let start = self.at;
        if before.is_some_and(|t| t.end == start && t.kind == Kind::Symbol(".")) {
            self.word();
            return Ok(Kind::Word);
        }
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'b') {
            let base = if self.peek(1) == b'x' { 16 } else { 2 };
            self.at += 2;
            self.word();
            if let Some(bytes) = digits_to_bytes(&self.text[start + 2..self.at], base, false) {
                return Ok(if base == 16 { Kind::Hex(bytes) } else { Kind::Bit(bytes) });
            }
            return Ok(Kind::Word);
        }
        let digits = |lexer: &mut Self| {
            while lexer.peek(0).is_ascii_digit() {
                lexer.at += 1;
            }
        };
        digits(self);
        let mut kind = Kind::Integer;
        if self.peek(0) == b'.' {
            self.at += 1;
            digits(self);
            kind = Kind::Decimal;
        }
        if matches!(self.peek(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                digits(self);
                kind = Kind::Float;
            } else if kind == Kind::Decimal {
                return self.error(start);
            }
        }
        if kind == Kind::Integer && is_word_byte(self.peek(0)) {
            self.word();
            return Ok(Kind::Word);
        }
        Ok(kind)
    }

    fn quoted_digits(&mut self, base: u32) -> Result<Kind> {
        let start = self.at;
        let body = self.at + 2;
        let Some(len) = self.text.get(body..).and_then(|rest| memchr::memchr(b'\'', rest)) else {
            return self.error(start);
        };
        self.at = body + len + 1;
        match digits_to_bytes(&self.text[body..body + len], base, true) {
            Some(bytes) if base == 16 => Ok(Kind::Hex(bytes)),
            Some(bytes) => Ok(Kind::Bit(bytes)),
            None => self.error(start),
        }
    }

    fn quoted(&mut self, quote: u8) -> Result<Kind> {
        let start = self.at;
        let bytes = self.string_of(quote, false)?;
        match String::from_utf8(bytes) {
            // An empty name is refused by whoever makes a thing of it, in its own words.
            Ok(name) => Ok(Kind::Quoted(name)),
            Err(_) => self.error(start),
        }
    }

    fn string(&mut self, quote: u8) -> Result<Vec<u8>> {
        self.string_of(quote, !self.options.no_backslash_escapes)
    }

    /// Reads what stands between quotes; a doubled quote is one of its characters.
    fn string_of(&mut self, quote: u8, escapes: bool) -> Result<Vec<u8>> {
        let start = self.at;
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(run) = (if escapes { memchr::memchr2(quote, b'\\', rest) } else { memchr::memchr(quote, rest) })
            else {
                return self.error(start);
            };
            out.extend_from_slice(&rest[..run]);
            self.at += run;
            if self.peek(0) == b'\\' && escapes {
                let Some(&escaped) = self.text.get(self.at + 1) else { return self.error(start) };
                unescape(&mut out, escaped);
                self.at += 2;
            } else if self.peek(1) == quote {
                out.push(quote);
                self.at += 2;
            } else {
                self.at += 1;
                return Ok(out);
            }
        }
    }
}

/// `\%` and `\_` keep their backslash, for LIKE.
fn unescape(out: &mut Vec<u8>, escaped: u8) {
    match escaped {
        b'0' => out.push(0),
        b'b' => out.push(8),
        b'n' => out.push(b'\n'),
        b'r' => out.push(b'\r'),
        b't' => out.push(b'\t'),
        b'Z' => out.push(26),
        b'%' | b'_' => out.extend_from_slice(&[b'\\', escaped]),
        other => out.push(other),
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// `t.1` and `t.1e5` name columns: a point right behind a name does not start a number.
fn follows_name(before: Option<&Token>, at: usize) -> bool {
    before.is_some_and(|t| t.end == at && matches!(t.kind, Kind::Word | Kind::Quoted(_)))
}

/// Digits of base 2 or 16 to bytes, leading zero bits added. `even`: an odd number of hex digits is refused.
fn digits_to_bytes(digits: &[u8], base: u32, even: bool) -> Option<Vec<u8>> {
    let (per_byte, bits) = if base == 16 { (2, 4) } else { (8, 1) };
    if (digits.is_empty() && !even) || (base == 16 && even && digits.len() % 2 == 1) {
        return None;
    }
    let mut out = vec![0u8; digits.len().div_ceil(per_byte)];
    let len = out.len();
    for (i, digit) in digits.iter().rev().enumerate() {
        let value = (*digit as char).to_digit(base)? as u8;
        out[len - 1 - i / per_byte] |= value << (i % per_byte * bits);
    }
    Some(out)
}

/// Holds the 80 characters that an error shows.
const NEAR_BYTES_MAX: usize = 400;

/// 1064 at an offset of the text.
pub(super) fn syntax_error(text: &[u8], at: usize) -> Error {
    // MySQL cuts off the blanks around a text before it reads it.
    let end = text.iter().rposition(|b| !b.is_ascii_whitespace() && *b != b';').map_or(0, |last| last + 1);
    let at = at.min(end);
    let begin = text[..at].iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(at);
    let line = 1 + memchr::memchr_iter(b'\n', &text[begin..at]).count();
    Error::syntax(&String::from_utf8_lossy(&text[at..end.min(at + NEAR_BYTES_MAX)]), line)
}
