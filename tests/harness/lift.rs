//! Takes the literals out of a statement, for the ways that send them as parameters.
//!
//! Only literals that MySQL lets be parameters and whose place does not need a constant: not those of types, of GROUP BY and
//! ORDER BY, of aliases, typed literals (`DATE '…'`), strings side by side. Where a statement groups, the same expression stands
//! in two places and two parameters are not the same expression: there only WHERE gives its literals up.

/// A literal as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// Digits only.
    Integer(String),
    /// With a point or an exponent.
    Number(String),
    /// With its quotes.
    Text(String),
}

impl Literal {
    /// As SQL.
    pub fn sql(&self) -> &str {
        match self {
            Literal::Integer(text) | Literal::Number(text) | Literal::Text(text) => text,
        }
    }
}

/// The statement with `?` for its literals; `None` when it has none that can be taken, or is of another kind.
pub fn lift(sql: &str, wanted: impl Fn(&Literal) -> bool) -> Option<(String, Vec<Literal>)> {
    let tokens = tokens(sql)?;
    let verb = tokens.iter().find(|t| t.kind == Kind::Word)?.text.to_ascii_uppercase();
    if !["SELECT", "INSERT", "REPLACE", "UPDATE", "DELETE", "WITH"].contains(&verb.as_str()) {
        return None;
    }
    let has = |word: &str| tokens.iter().any(|t| t.is(word));
    let only_where = has("GROUP") || has("DISTINCT") || has("OVER") || has("WINDOW") || has("UNION");
    let (mut out, mut literals) = (String::new(), Vec::new());
    let mut state = State::default();
    for (at, token) in tokens.iter().enumerate() {
        state.pass(&tokens, at);
        let literal = match token.kind {
            Kind::Integer => Some(Literal::Integer(token.text.to_string())),
            Kind::Number => Some(Literal::Number(token.text.to_string())),
            Kind::Text => Some(Literal::Text(token.text.to_string())),
            _ => None,
        };
        match literal {
            Some(literal) if state.takes(&tokens, at, only_where) && wanted(&literal) => {
                out.push('?');
                literals.push(literal);
            }
            _ => out.push_str(token.text),
        }
    }
    (!literals.is_empty()).then_some((out, literals))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    Word,
    Integer,
    Number,
    Text,
    Symbol,
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    kind: Kind,
    text: &'a str,
}

impl Token<'_> {
    fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }
}

/// The statement's tokens; `None` for what this lexer does not know (comments, variables, unfinished strings).
fn tokens(sql: &str) -> Option<Vec<Token<'_>>> {
    let bytes = sql.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let run = |mut at: usize, more: &dyn Fn(u8) -> bool| {
            while at < bytes.len() && more(bytes[at]) {
                at += 1;
            }
            at
        };
        let kind = match bytes[at] {
            b if b.is_ascii_whitespace() => {
                at = run(at, &|b| b.is_ascii_whitespace());
                Kind::Space
            }
            b if b.is_ascii_alphabetic() || b == b'_' || b >= 0x80 => {
                at = run(at, &|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80);
                Kind::Word
            }
            b'0'..=b'9' | b'.' if bytes[at] != b'.' || bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => {
                at = run(at, &|b| b.is_ascii_digit());
                let mut kind = Kind::Integer;
                if bytes.get(at) == Some(&b'.') {
                    at = run(at + 1, &|b| b.is_ascii_digit());
                    kind = Kind::Number;
                }
                if matches!(bytes.get(at), Some(b'e' | b'E')) {
                    let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
                    if bytes.get(at + 1 + sign).is_some_and(u8::is_ascii_digit) {
                        at = run(at + 1 + sign, &|b| b.is_ascii_digit());
                        kind = Kind::Number;
                    }
                }
                if bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_') {
                    // `0x1F`, `0b01`, `1st`.
                    at = run(at, &|b| b.is_ascii_alphanumeric() || b == b'_');
                    kind = Kind::Word;
                }
                kind
            }
            quote @ (b'\'' | b'"' | b'`') => {
                at += 1;
                loop {
                    match *bytes.get(at)? {
                        b'\\' if quote != b'`' => at += 2,
                        b if b == quote && bytes.get(at + 1) == Some(&quote) => at += 2,
                        b if b == quote => break,
                        _ => at += 1,
                    }
                }
                at += 1;
                if quote == b'`' { Kind::Word } else { Kind::Text }
            }
            b'#' | b'@' | b'?' => return None,
            b'-' if sql[at..].starts_with("--") => return None,
            b'/' if sql[at..].starts_with("/*") => return None,
            _ => {
                at += 1;
                Kind::Symbol
            }
        };
        out.push(Token { kind, text: sql.get(start..at)? });
    }
    Some(out)
}

/// Where in the statement a token stands.
#[derive(Default)]
struct State {
    /// Depth of parentheses.
    depth: usize,
    /// Behind GROUP BY or ORDER BY, at this depth or deeper.
    by: Option<usize>,
    /// In WHERE, at this depth or deeper.
    filter: Option<usize>,
    /// In the parentheses of CAST, CONVERT and calls whose arguments are constants.
    fixed: Option<usize>,
}

/// Calls whose arguments must be literals, or whose result's type is made from one.
const FIXED_CALLS: &[&str] = &[
    "CAST",
    "CONVERT",
    "NOW",
    "CURTIME",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "SYSDATE",
    "UTC_TIME",
    "UTC_TIMESTAMP",
    "ROUND",
    "TRUNCATE",
    "FORMAT",
    "GROUP_CONCAT",
    "NTILE",
    "LAG",
    "LEAD",
    "NTH_VALUE",
    "CHAR",
    "DECIMAL",
    "VARCHAR",
    "BINARY",
    "WEIGHT_STRING",
    "GET_FORMAT",
    "JSON_TABLE",
    "JSON_VALUE",
    "MATCH",
];

impl State {
    fn pass(&mut self, tokens: &[Token<'_>], at: usize) {
        let token = &tokens[at];
        match token.text {
            "(" => {
                let before = tokens[..at].iter().rev().find(|t| t.kind != Kind::Space);
                self.depth += 1;
                if self.fixed.is_none() && before.is_some_and(|t| FIXED_CALLS.iter().any(|call| t.is(call))) {
                    self.fixed = Some(self.depth);
                }
            }
            ")" => {
                for zone in [&mut self.by, &mut self.filter, &mut self.fixed] {
                    if zone.is_some_and(|depth| depth >= self.depth) {
                        *zone = None;
                    }
                }
                self.depth = self.depth.saturating_sub(1);
            }
            _ => {}
        }
        if token.is("BY") {
            self.by = self.by.or(Some(self.depth));
        }
        if token.is("LIMIT") || token.is("HAVING") {
            self.by = self.by.filter(|depth| *depth < self.depth);
        }
        if token.is("WHERE") {
            self.filter = self.filter.or(Some(self.depth));
        }
        if ["GROUP", "HAVING", "ORDER", "LIMIT", "UNION", "SELECT"].iter().any(|word| token.is(word)) {
            self.filter = self.filter.filter(|depth| *depth < self.depth);
        }
    }

    fn takes(&self, tokens: &[Token<'_>], at: usize, only_where: bool) -> bool {
        if self.by.is_some() || self.fixed.is_some() || (only_where && self.filter.is_none()) {
            return false;
        }
        let adjacent = at.checked_sub(1).map(|before| &tokens[before]);
        // `x'41'`, `_utf8mb4'a'`, `t.1`.
        if adjacent.is_some_and(|t| t.kind == Kind::Word || t.text == ".") {
            return false;
        }
        let before = tokens[..at].iter().rev().find(|t| t.kind != Kind::Space);
        let behind = tokens[at + 1..].iter().find(|t| t.kind != Kind::Space);
        const TYPED: &[&str] =
            &["DATE", "TIME", "TIMESTAMP", "AS", "COLLATE", "ESCAPE", "SEPARATOR", "BINARY", "INTERVAL", "IS", "ROWS"];
        let is_typed = before.is_some_and(|t| TYPED.iter().any(|word| t.is(word)) || t.text.starts_with('_'));
        let is_arrow = before.is_some_and(|t| t.text == ">") && is_json_arrow(tokens, at);
        let is_text = |t: Option<&Token<'_>>| t.is_some_and(|t| t.kind == Kind::Text);
        let is_pair = tokens[at].kind == Kind::Text && (is_text(before) || is_text(behind));
        // A select item's alias without AS.
        let is_alias = tokens[at].kind == Kind::Text
            && before.is_some_and(|t| t.text == ")" || matches!(t.kind, Kind::Integer | Kind::Number));
        !(is_typed || is_arrow || is_pair || is_alias)
    }
}

/// `->'$.a'` and `->>'$.a'`.
fn is_json_arrow(tokens: &[Token<'_>], at: usize) -> bool {
    let text: String =
        tokens[..at].iter().rev().take(4).map(|t| t.text).collect::<Vec<_>>().into_iter().rev().collect();
    text.trim_end().ends_with("->") || text.trim_end().ends_with("->>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifted(sql: &str) -> String {
        lift(sql, |_| true).map_or_else(|| sql.to_string(), |(text, _)| text)
    }

    #[test]
    fn literals_are_taken_where_they_may_be_parameters() {
        for (sql, expected) in [
            (
                "SELECT a FROM t WHERE b = 5 AND c > 1.5 ORDER BY 1 LIMIT 3",
                "SELECT a FROM t WHERE b = ? AND c > ? ORDER BY 1 LIMIT ?",
            ),
            (
                "SELECT CAST('1' AS CHAR(3)), DATE '2020-01-01', 'a' 'b', x'41'",
                "SELECT CAST('1' AS CHAR(3)), DATE '2020-01-01', 'a' 'b', x'41'",
            ),
            (
                "SELECT a + 1, COUNT(*) FROM t WHERE b <> 'it''s' GROUP BY a + 1 HAVING a > 2",
                "SELECT a + 1, COUNT(*) FROM t WHERE b <> ? GROUP BY a + 1 HAVING a > 2",
            ),
            ("DELETE FROM t WHERE id = '9007199254740993'", "DELETE FROM t WHERE id = ?"),
            ("CREATE TABLE t (a INT DEFAULT 1)", "CREATE TABLE t (a INT DEFAULT 1)"),
        ] {
            assert_eq!(lifted(sql), expected);
        }
    }
}
