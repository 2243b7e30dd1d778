//! Takes the literals out of a statement, so that statements that differ only in them share a plan.
//!
//! ```text
//! SELECT c FROM t WHERE id = 42 LIMIT 5   →   text    SELECT c FROM t WHERE id = ? LIMIT 5
//!                                             params  [42]
//! ```
//! One pass over the bytes, no tokens are built. The lexer knows only what it must to be safe, and where it is not sure it
//! gives up ([`lex`] returns `None`) and the statement takes the ordinary way:
//!
//! - Literals are taken out only where their value cannot change the plan's shape or the names of the result: in WHERE, in
//!   SET and in VALUES. Those of the select list, GROUP BY, ORDER BY and LIMIT stay in the text.
//! - A literal's type (integer, unsigned, decimal with its digits, double, string) is part of the key: implicit casts and result
//!   types depend on it.
//! - Calls are let through only for functions whose value depends on nothing but their arguments: the binder folds `NOW()`
//!   and `DATABASE()`, and folded values must not be cached.
//! - Comments, hints, variables, introducers, `?`, INTERVAL, COLLATE, a second SELECT, several statements: gives up.

use std::borrow::Cow;

/// Longest statement that is looked at; longer ones (bulk inserts) are not worth keeping.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Most literals taken out of one statement.
pub const PARAMS_MAX: usize = 256;

/// A literal as it stood in the text.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal<'a> {
    /// Fits BIGINT.
    Int(i64),
    /// `1.50`: digits as written.
    Decimal(&'a str),
    /// `1e3`.
    Double(f64),
    /// Text, unescaped.
    String(Cow<'a, str>),
}

impl Literal<'_> {
    /// One or more bytes that stand for the literal's type in the key.
    fn push_type(&self, key: &mut Vec<u8>) {
        match self {
            Literal::Int(_) => key.push(b'i'),
            Literal::Double(_) => key.push(b'f'),
            Literal::String(_) => key.push(b's'),
            Literal::Decimal(text) => {
                let scale = text.len() - text.find('.').map_or(text.len(), |dot| dot + 1);
                // The scale decides result types; the precision only how wide they are shown.
                key.extend_from_slice(&[b'd', scale as u8, text.len() as u8]);
            }
        }
    }
}

/// How sql_mode changes the lexer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LexMode {
    /// `"a"` is a name.
    pub ansi_quotes: bool,
    /// A backslash in a string is a backslash.
    pub no_backslash_escapes: bool,
}

/// A statement without its literals.
#[derive(Debug, PartialEq)]
pub struct Lexed<'a> {
    /// The literals, in order.
    pub params: Vec<Literal<'a>>,
}

/// Appends the statement's text with `?` for each literal to `text` and the literals' types to `types`. `None` when the
/// statement is not one whose plan may be kept; `text` and `types` hold rubbish then.
pub fn lex<'a>(sql: &'a str, mode: LexMode, text: &mut Vec<u8>, types: &mut Vec<u8>) -> Option<Lexed<'a>> {
    if sql.len() > TEXT_BYTES_MAX {
        return None;
    }
    let mut lexer = Lexer { sql, bytes: sql.as_bytes(), at: 0, mode, zone: Zone::Start, verb: Verb::Select };
    let mut params = Vec::new();
    while let Some(&byte) = lexer.bytes.get(lexer.at) {
        let start = lexer.at;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                lexer.at += 1;
                // White space of any kind and length is one space.
                if text.last().is_some_and(|&last| last != b' ') {
                    text.push(b' ');
                }
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'$' | 0x80.. => {
                lexer.word()?;
                text.extend_from_slice(&lexer.bytes[start..lexer.at]);
            }
            b'`' => {
                lexer.quoted_name()?;
                text.extend_from_slice(&lexer.bytes[start..lexer.at]);
            }
            b'0'..=b'9' | b'\'' | b'"' => {
                let literal = lexer.literal(byte)?;
                if !lexer.zone.takes_literals() || matches!(text.last(), Some(b'.')) {
                    text.extend_from_slice(&lexer.bytes[start..lexer.at]);
                } else if params.len() == PARAMS_MAX {
                    return None;
                } else {
                    literal.push_type(types);
                    params.push(literal);
                    text.push(b'?');
                }
            }
            b';' => {
                if !sql[start + 1..].trim().is_empty() {
                    return None;
                }
                break;
            }
            b'-' if matches!(lexer.bytes.get(start + 1), Some(b'-' | b'>')) => return None,
            b'/' if lexer.bytes.get(start + 1) == Some(&b'*') => return None,
            b'@' | b'?' | b'#' | b':' | b'\\' | b'{' | b'}' | b'[' | b']' | 0 => return None,
            b'.' if lexer.bytes.get(start + 1).is_some_and(u8::is_ascii_digit) => return None,
            _ => {
                text.push(byte);
                lexer.at += 1;
            }
        }
    }
    (lexer.zone != Zone::Start).then_some(Lexed { params })
}

/// Where in the statement the lexer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    /// Before the verb.
    Start,
    /// Select list, FROM, names of an INSERT.
    Head,
    /// WHERE, SET, VALUES.
    Values,
    /// GROUP BY, ORDER BY, LIMIT and what follows.
    Tail,
}

impl Zone {
    fn takes_literals(self) -> bool {
        self == Zone::Values
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Select,
    Insert,
    Update,
    Delete,
}

/// Functions that may be called: their value is one of their arguments' only.
const PURE_FUNCTIONS: &[&str] = &[
    "in",
    "values",
    "value",
    "and",
    "or",
    "not",
    "xor",
    "between",
    "when",
    "then",
    "else",
    "by",
    "as",
    "on",
    "using",
    "count",
    "sum",
    "min",
    "max",
    "avg",
    "abs",
    "length",
    "char_length",
    "concat",
    "upper",
    "lower",
    "ifnull",
    "coalesce",
    "if",
    "least",
    "greatest",
    "mod",
    "where",
    "key",
    "index",
    "update",
    "set",
    "distinct",
    "limit",
];

/// Words that the plan cache keeps away from.
const BAIL_WORDS: &[&str] = &[
    "interval",
    "cast",
    "convert",
    "collate",
    "escape",
    "binary",
    "current_timestamp",
    "current_date",
    "current_time",
    "current_user",
    "localtime",
    "localtimestamp",
    "utc_date",
    "utc_time",
    "utc_timestamp",
    "into",
    "union",
    "intersect",
    "except",
    "with",
    "window",
    "over",
    "procedure",
    "match",
    "row",
    "sql_calc_found_rows",
    "date",
    "time",
    "timestamp",
    "lateral",
    "exists",
];

struct Lexer<'a> {
    sql: &'a str,
    bytes: &'a [u8],
    at: usize,
    mode: LexMode,
    zone: Zone,
    verb: Verb,
}

impl<'a> Lexer<'a> {
    /// Passes a name or keyword and follows the statement's zones.
    fn word(&mut self) -> Option<()> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(|&b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80)
        {
            self.at += 1;
        }
        let word = &self.sql[start..self.at];
        let is_qualified = start > 0 && self.bytes[start - 1] == b'.' || self.bytes.get(self.at) == Some(&b'.');
        if is_qualified {
            return Some(());
        }
        let mut lower = [0u8; 24];
        let Some(lower) = lower.get_mut(..word.len()) else { return self.check_call(false) };
        lower.copy_from_slice(word.as_bytes());
        lower.make_ascii_lowercase();
        let lower = std::str::from_utf8(lower).ok()?;
        self.keyword(lower)?;
        // Introducers and typed literals: `_utf8'a'`, `x'41'`, `n'a'`, `date'2020-01-01'`.
        if matches!(self.bytes.get(self.at), Some(b'\'' | b'"')) {
            return None;
        }
        self.check_call(PURE_FUNCTIONS.contains(&lower))
    }

    fn keyword(&mut self, word: &str) -> Option<()> {
        use Verb::*;
        use Zone::*;
        self.zone = match (self.zone, word) {
            (Start, "select") => self.verb_is(Select),
            (Start, "insert" | "replace") => self.verb_is(Insert),
            (Start, "update") => self.verb_is(Update),
            (Start, "delete") => self.verb_is(Delete),
            (Start, _) => return None,
            (_, "select") => return None,
            (_, "into") if self.verb == Insert => self.zone,
            (Head, "where") => Values,
            (Head, "values" | "value") if self.verb == Insert => Values,
            (Head, "set") if matches!(self.verb, Insert | Update) => Values,
            (_, "group" | "order" | "having" | "limit" | "for" | "lock") => Tail,
            (_, word) if BAIL_WORDS.contains(&word) => return None,
            (zone, _) => zone,
        };
        Some(())
    }

    fn verb_is(&mut self, verb: Verb) -> Zone {
        self.verb = verb;
        Zone::Head
    }

    /// Refuses a call of a function that is not known to be pure. The table's name before an INSERT's columns looks
    /// like a call as well.
    fn check_call(&self, pure: bool) -> Option<()> {
        let after = self.bytes[self.at..].iter().find(|b| !b.is_ascii_whitespace());
        let is_call = after == Some(&b'(');
        let names_columns = self.verb == Verb::Insert && self.zone == Zone::Head;
        (!is_call || pure || names_columns).then_some(())
    }

    fn quoted_name(&mut self) -> Option<()> {
        let length = self.bytes[self.at + 1..].iter().position(|&b| b == b'`')?;
        self.at += length + 2;
        self.check_call(false)
    }

    fn literal(&mut self, first: u8) -> Option<Literal<'a>> {
        if first.is_ascii_digit() { self.number() } else { self.string(first) }
    }

    fn number(&mut self) -> Option<Literal<'a>> {
        let start = self.at;
        let digits = |lexer: &mut Self| {
            while lexer.bytes.get(lexer.at).is_some_and(u8::is_ascii_digit) {
                lexer.at += 1;
            }
        };
        digits(self);
        let mut is_integer = true;
        let mut is_double = false;
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            digits(self);
            is_integer = false;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            digits(self);
            is_double = true;
        }
        // `0x1f`, `0b1`, `1abc`, `1e5x`: not a plain number.
        if self.bytes.get(self.at).is_some_and(|&b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80) {
            return None;
        }
        let text = &self.sql[start..self.at];
        if is_double {
            return text.parse().ok().filter(|v: &f64| v.is_finite()).map(Literal::Double);
        }
        if is_integer {
            return text.parse().ok().map(Literal::Int);
        }
        // Longer ones are doubles or errors, which the parser knows best.
        (text.len() <= 60 && !text.ends_with('.')).then_some(Literal::Decimal(text))
    }

    fn string(&mut self, quote: u8) -> Option<Literal<'a>> {
        if quote == b'"' && self.mode.ansi_quotes {
            return None;
        }
        let start = self.at + 1;
        let mut at = start;
        let mut is_plain = true;
        loop {
            match *self.bytes.get(at)? {
                b'\\' if self.mode.no_backslash_escapes => return None,
                b'\\' => {
                    is_plain = false;
                    at += 2;
                }
                byte if byte == quote => {
                    if self.bytes.get(at + 1) != Some(&quote) {
                        break;
                    }
                    is_plain = false;
                    at += 2;
                }
                _ => at += 1,
            }
        }
        let raw = self.sql.get(start..at)?;
        self.at = at + 1;
        let after = self.bytes[self.at..].iter().find(|b| !b.is_ascii_whitespace());
        if matches!(after, Some(b'\'' | b'"')) {
            return None; // 'a' 'b' is one string
        }
        Some(Literal::String(if is_plain { Cow::Borrowed(raw) } else { Cow::Owned(unescape(raw, quote as char)) }))
    }
}

/// MySQL's escapes.
fn unescape(raw: &str, quote: char) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c == quote {
            chars.next();
            out.push(quote);
            continue;
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('0') => out.push('\0'),
            Some('b') => out.push('\u{8}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('Z') => out.push('\u{1a}'),
            // Kept for LIKE.
            Some(c @ ('%' | '_')) => out.extend(['\\', c]),
            Some(c) => out.push(c),
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(sql: &str) -> Option<(String, String, usize)> {
        let (mut text, mut types) = (Vec::new(), Vec::new());
        let lexed = lex(sql, LexMode::default(), &mut text, &mut types)?;
        let types = types.iter().map(|&b| if b.is_ascii_graphic() { b as char } else { '.' }).collect();
        Some((String::from_utf8(text).unwrap(), types, lexed.params.len()))
    }

    fn text_of(sql: &str) -> String {
        digest(sql).map_or("-".to_string(), |(text, _, _)| text)
    }

    #[test]
    fn literals_leave_where_set_and_values_only() {
        let cases = [
            ("SELECT c FROM t WHERE id=42", "SELECT c FROM t WHERE id=?"),
            (
                "select  c, 1\n from t where a = 'x''y' and b in (1, 2.5) order by 1 limit 10",
                "select c, 1 from t where a = ? and b in (?, ?) order by 1 limit 10",
            ),
            ("INSERT INTO t (a, b) VALUES (1, 'a'), (-2, NULL);", "INSERT INTO t (a, b) VALUES (?, ?), (-?, NULL)"),
            (
                "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = values(a) + 1",
                "INSERT INTO t VALUES (?) ON DUPLICATE KEY UPDATE a = values(a) + ?",
            ),
            ("UPDATE t SET k=k+1 WHERE id=7", "UPDATE t SET k=k+? WHERE id=?"),
            ("DELETE FROM sbtest1 WHERE id=7", "DELETE FROM sbtest1 WHERE id=?"),
            ("SELECT SUM(k) FROM t1 WHERE id BETWEEN 1 AND 100", "SELECT SUM(k) FROM t1 WHERE id BETWEEN ? AND ?"),
            ("SELECT `a 1` FROM `t` WHERE `b``c` = 1", "SELECT `a 1` FROM `t` WHERE `b``c` = ?"),
        ];
        for (sql, expected) in cases {
            assert_eq!(text_of(sql), expected, "{sql}");
        }
        assert_eq!(digest("SELECT a FROM t WHERE a = 1.50 AND b = 'x' AND c = 1e2").unwrap().1, "d..sf");
    }

    #[test]
    fn what_is_not_sure_is_left_alone() {
        for sql in [
            "SELECT 1; SELECT 2",
            "SELECT a FROM t WHERE a = NOW()",
            "SELECT a FROM t WHERE a = @x",
            "SELECT a FROM t WHERE a = ?",
            "SELECT /*+ x */ a FROM t",
            "SELECT a FROM t WHERE a = _utf8'x'",
            "SELECT a FROM t WHERE a = x'41'",
            "SELECT a FROM t WHERE a = 0x41",
            "SELECT a FROM t WHERE d > DATE '2020-01-01'",
            "SELECT a FROM t WHERE d > CURRENT_DATE",
            "SELECT a FROM t WHERE a = 'x' 'y'",
            "SELECT a FROM t WHERE a = (SELECT 1)",
            "SELECT a FROM t WHERE a = 18446744073709551615",
            "SHOW TABLES",
            "",
        ] {
            assert_eq!(text_of(sql), "-", "{sql}");
        }
    }

    #[test]
    fn strings_are_unescaped() {
        let (mut text, mut types) = (Vec::new(), Vec::new());
        let lexed = lex(r"SELECT a FROM t WHERE a = 'a\'b\n\%'", LexMode::default(), &mut text, &mut types).unwrap();
        assert_eq!(lexed.params, [Literal::String("a'b\n\\%".into())]);
    }
}
