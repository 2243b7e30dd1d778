//! The parser's hands: looking at tokens, taking them, and the choice of a statement by its first word.

use super::ast::{Expr, ObjectName};
use super::lexer::{self, Kind, Token};
use super::statement::Statement;
use super::{IDENTIFIER_CHARS_MAX, is_reserved};
use crate::error::{Error, Result};
use basalt_common::stack;
use basalt_expr::charset::Charset;

/// What `sql_mode` changes about reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ParseOptions {
    /// ANSI_QUOTES: `"a"` is a name.
    pub ansi_quotes: bool,
    /// PIPES_AS_CONCAT: `||` is CONCAT, not OR.
    pub pipes_as_concat: bool,
    /// NO_BACKSLASH_ESCAPES: `\` is a character.
    pub no_backslash_escapes: bool,
    /// HIGH_NOT_PRECEDENCE: NOT binds as tightly as `!`.
    pub high_not_precedence: bool,
    /// REAL_AS_FLOAT: REAL is FLOAT, not DOUBLE.
    pub real_as_float: bool,
    /// What the client wrote the text in, before it became UTF-8.
    pub client: Charset,
}

impl ParseOptions {
    /// A string as the client wrote it, for literals that name their own character set.
    pub(super) fn in_client(&self, bytes: Vec<u8>) -> Vec<u8> {
        match std::str::from_utf8(&bytes) {
            Ok(text) if !self.client.is_utf8() => self.client.encode(text).into_owned(),
            _ => bytes,
        }
    }
}

/// One statement of a text.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The statement.
    pub statement: Statement,
    /// How many `?` it has.
    pub parameters: usize,
    /// Offset of its first byte in the text.
    pub start: usize,
    /// Offset of its end, without `;`.
    pub end: usize,
    /// Offset behind its `;`: where the next statement begins.
    pub next: usize,
}

/// Reads the first statement of `text`; `None` when there is nothing but blanks and comments.
///
/// # Errors
/// 1064 and its kin: tell the user.
pub fn parse_one(text: &[u8], options: ParseOptions) -> Result<Option<Parsed>> {
    let mut from = 0;
    loop {
        let rest = &text[from..];
        let (tokens, next) = lexer::tokenize(rest, options)?;
        if tokens.len() > 1 {
            let start = from + tokens[0].start;
            let end = from + tokens[tokens.len() - 2].end;
            let parameters = tokens.iter().filter(|t| matches!(t.kind, Kind::Parameter(_))).count();
            let mut parser = Parser::new(rest, tokens, options);
            let statement = parser.statement()?;
            parser.expect_end()?;
            // Whatever follows is not reached; a stored program holds `;` itself.
            let next = if matches!(statement, Statement::Unsupported(_)) { text.len() } else { from + next };
            return Ok(Some(Parsed { statement, parameters, start, end, next }));
        }
        if from + next >= text.len() {
            return Ok(None);
        }
        from += next;
    }
}

/// Reads a lone expression, such as a stored default.
///
/// # Errors
/// 1064 when `text` is not one expression.
pub fn parse_expression(text: &[u8]) -> Result<Expr> {
    let (tokens, _) = lexer::tokenize(text, ParseOptions::default())?;
    let mut parser = Parser::new(text, tokens, ParseOptions::default());
    let expr = parser.expr()?;
    parser.expect_end()?;
    Ok(expr)
}

pub(super) struct Parser<'a> {
    pub text: &'a [u8],
    tokens: Vec<Token>,
    at: usize,
    /// Where the recursion began.
    stack: stack::Place,
    /// Levels of the highest tree read within the innermost [`Parser::enter`], at most.
    height: usize,
    /// The same of those around it.
    around: Vec<usize>,
    /// Subqueries around the current token.
    pub nested_selects: usize,
    pub options: ParseOptions,
    /// By the position of each opening parenthesis, that of its closing one; made when first asked for.
    closings: Option<Vec<u32>>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a [u8], tokens: Vec<Token>, options: ParseOptions) -> Parser<'a> {
        let (stack, height, around) = (stack::Place::here(), 0, Vec::new());
        Parser { text, tokens, at: 0, stack, height, around, nested_selects: 0, options, closings: None }
    }

    pub fn token(&self) -> &Token {
        // The last token is always `End`, and `advance` never moves past it.
        &self.tokens[self.at]
    }

    pub fn kind(&self) -> &Kind {
        &self.token().kind
    }

    pub fn kind_at(&self, ahead: usize) -> &Kind {
        &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)].kind
    }

    pub fn advance(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    pub fn rewind(&mut self, position: usize) {
        self.at = position;
    }

    /// Offset of the current token in the text.
    pub fn offset(&self) -> usize {
        self.token().start
    }

    /// The text from `start` to the end of the token taken last.
    pub fn text_from(&self, start: usize) -> String {
        let end = self.at.checked_sub(1).map_or(0, |i| self.tokens[i].end);
        String::from_utf8_lossy(self.text.get(start..end).unwrap_or_default()).into_owned()
    }

    fn bytes_at(&self, ahead: usize) -> &'a [u8] {
        let token = &self.tokens[(self.at + ahead).min(self.tokens.len() - 1)];
        &self.text[token.start..token.end]
    }

    /// The current token's text.
    pub fn token_text(&self) -> &'a str {
        std::str::from_utf8(self.bytes_at(0)).unwrap_or("")
    }

    pub fn error<T>(&self) -> Result<T> {
        Err(lexer::syntax_error(self.text, self.offset()))
    }

    /// Begins one level of nesting; pair with [`Parser::leave`].
    pub fn enter(&mut self) -> Result<()> {
        crate::memory::check()?;
        if self.stack.is_spent() {
            return Err(Error::too_deep());
        }
        self.around.push(std::mem::take(&mut self.height));
        Ok(())
    }

    pub fn leave(&mut self) {
        let inside = self.height + 1;
        self.height = self.around.pop().unwrap_or_default().max(inside);
    }

    /// Counts one more operator of a chain `a - b - c`, whose tree is as high as it is long.
    pub fn link(&mut self) -> Result<()> {
        self.height += 1;
        if self.height > stack::levels_max() { Err(Error::too_deep()) } else { Ok(()) }
    }

    // ---- words ----

    pub fn is_word(&self, word: &str) -> bool {
        self.is_word_at(0, word)
    }

    pub fn is_word_at(&self, ahead: usize, word: &str) -> bool {
        *self.kind_at(ahead) == Kind::Word && self.bytes_at(ahead).eq_ignore_ascii_case(word.as_bytes())
    }

    pub fn is_words(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, w)| self.is_word_at(i, w))
    }

    pub fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|w| self.is_word(w))
    }

    pub fn eat(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    pub fn eat_words(&mut self, words: &[&str]) -> bool {
        let found = self.is_words(words);
        if found {
            words.iter().for_each(|_| self.advance());
        }
        found
    }

    /// Takes the one of `words` that stands here.
    pub fn eat_any<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        let found = words.iter().find(|w| self.is_word(w)).copied();
        if found.is_some() {
            self.advance();
        }
        found
    }

    pub fn expect(&mut self, word: &str) -> Result<()> {
        if self.eat(word) { Ok(()) } else { self.error() }
    }

    pub fn expect_words(&mut self, words: &[&str]) -> Result<()> {
        words.iter().try_for_each(|w| self.expect(w))
    }

    /// Takes any word, upper-cased.
    pub fn any_word(&mut self) -> Result<String> {
        if *self.kind() != Kind::Word {
            return self.error();
        }
        let word = self.token_text().to_ascii_uppercase();
        self.advance();
        Ok(word)
    }

    // ---- symbols ----

    pub fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.kind(), Kind::Symbol(s) if *s == symbol)
    }

    pub fn eat_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    pub fn expect_symbol(&mut self, symbol: &str) -> Result<()> {
        if self.eat_symbol(symbol) { Ok(()) } else { self.error() }
    }

    pub fn is_symbol_at(&self, ahead: usize, symbol: &str) -> bool {
        matches!(self.kind_at(ahead), Kind::Symbol(s) if *s == symbol)
    }

    /// Position of the parenthesis that closes the one `ahead`.
    pub fn closing_at(&mut self, ahead: usize) -> Option<usize> {
        let tokens = &self.tokens;
        let closings = self.closings.get_or_insert_with(|| closings(tokens));
        closings.get(self.at + ahead).map(|&at| at as usize).filter(|&at| at > 0)
    }

    /// Whether a comma stands within the parentheses that open `ahead`, and in none that are within them.
    pub fn has_comma_at(&mut self, ahead: usize) -> bool {
        let Some(end) = self.closing_at(ahead) else { return false };
        let mut at = ahead + 1;
        while self.at + at < end {
            if self.is_symbol_at(at, ",") {
                return true;
            }
            at = self.closing_at(at).map_or(at, |closing| closing - self.at) + 1;
        }
        false
    }

    pub fn is_symbol_after(&self, position: usize, symbol: &str) -> bool {
        matches!(self.tokens.get(position + 1), Some(Token { kind: Kind::Symbol(s), .. }) if *s == symbol)
    }

    pub fn is_word_after(&self, position: usize, word: &str) -> bool {
        self.tokens
            .get(position + 1)
            .is_some_and(|t| t.kind == Kind::Word && self.text[t.start..t.end].eq_ignore_ascii_case(word.as_bytes()))
    }

    pub fn is_end(&self) -> bool {
        *self.kind() == Kind::End
    }

    pub fn expect_end(&self) -> Result<()> {
        if self.is_end() { Ok(()) } else { self.error() }
    }

    /// Reads past the rest of the statement.
    pub fn skip_rest(&mut self) {
        self.at = self.tokens.len() - 1;
    }

    /// Reads past a balanced pair of parentheses.
    pub fn skip_parentheses(&mut self) -> Result<()> {
        self.expect_symbol("(")?;
        let mut open = 1;
        while open > 0 {
            match self.kind() {
                Kind::Symbol("(") => open += 1,
                Kind::Symbol(")") => open -= 1,
                Kind::End => return self.error(),
                _ => {}
            }
            self.advance();
        }
        Ok(())
    }

    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat_symbol(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub fn parenthesized<T>(&mut self, item: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.expect_symbol("(")?;
        let item = item(self)?;
        self.expect_symbol(")")?;
        Ok(item)
    }

    // ---- names and numbers ----

    /// A name: quoted, or a word that is not reserved.
    pub fn identifier(&mut self) -> Result<String> {
        let after_point = self.at > 0 && matches!(self.tokens[self.at - 1].kind, Kind::Symbol("."));
        let name = match self.kind() {
            Kind::Quoted(name) => name.clone(),
            Kind::Word if after_point || !is_reserved(self.token_text()) => self.token_text().to_string(),
            _ => return self.error(),
        };
        if name.is_empty() {
            return self.error();
        }
        if name.chars().count() > IDENTIFIER_CHARS_MAX {
            return Err(Error::name_too_long(name));
        }
        self.advance();
        Ok(name)
    }

    /// Whether a name stands here.
    pub fn is_identifier(&self) -> bool {
        match self.kind() {
            Kind::Quoted(_) => true,
            Kind::Word => !is_reserved(self.token_text()),
            _ => false,
        }
    }

    /// A name or a string.
    pub fn identifier_or_string(&mut self) -> Result<String> {
        if let Kind::String(_) = self.kind() { self.string() } else { self.identifier() }
    }

    /// An alias of the select list: a name, which may be empty and of any length, or a string.
    pub fn alias(&mut self) -> Result<String> {
        let Kind::Quoted(name) = self.kind() else { return self.identifier_or_string() };
        let name = name.clone();
        self.advance();
        Ok(name)
    }

    /// A string that must be text.
    pub fn string(&mut self) -> Result<String> {
        let Kind::String(bytes) = self.kind() else { return self.error() };
        let Ok(text) = String::from_utf8(bytes.clone()) else { return self.error() };
        self.advance();
        Ok(text)
    }

    /// `name`, `database.name`, `.name`.
    pub fn object_name(&mut self) -> Result<ObjectName> {
        self.eat_symbol(".");
        let first = self.identifier()?;
        if self.eat_symbol(".") {
            let name = self.identifier()?;
            return Ok(ObjectName { database: Some(first), name });
        }
        Ok(ObjectName { database: None, name: first })
    }

    /// An integer without sign.
    pub fn integer(&mut self) -> Result<u64> {
        let Kind::Integer = self.kind() else { return self.error() };
        let Ok(value) = self.token_text().parse() else { return self.error() };
        self.advance();
        Ok(value)
    }

    /// An integer below 2^32.
    pub fn small_integer(&mut self) -> Result<u32> {
        let start = self.at;
        let value = self.integer()?;
        u32::try_from(value).or_else(|_| {
            self.at = start;
            self.error()
        })
    }

    pub fn if_not_exists(&mut self) -> Result<bool> {
        if !self.eat("IF") {
            return Ok(false);
        }
        self.expect_words(&["NOT", "EXISTS"])?;
        Ok(true)
    }

    pub fn if_exists(&mut self) -> Result<bool> {
        if !self.eat("IF") {
            return Ok(false);
        }
        self.expect("EXISTS")?;
        Ok(true)
    }

    // ---- statements ----

    pub fn statement(&mut self) -> Result<Statement> {
        if self.is_symbol("(") {
            return Ok(Statement::Query(Box::new(self.query()?)));
        }
        if *self.kind() != Kind::Word {
            return self.error();
        }
        let mut word = [0u8; 16];
        let text = self.token_text().as_bytes();
        let len = text.len().min(word.len());
        word[..len].copy_from_slice(&text[..len]);
        word.make_ascii_uppercase();
        match &word[..len] {
            b"WITH" => self.with_statement(),
            b"SELECT" | b"VALUES" | b"TABLE" => Ok(Statement::Query(Box::new(self.query()?))),
            b"INSERT" | b"REPLACE" => Ok(Statement::Insert(Box::new(self.insert()?))),
            b"UPDATE" => Ok(Statement::Update(Box::new(self.update()?))),
            b"DELETE" => Ok(Statement::Delete(Box::new(self.delete()?))),
            b"BEGIN" | b"START" | b"COMMIT" | b"ROLLBACK" | b"SAVEPOINT" | b"RELEASE" => self.transaction(),
            b"SET" => self.set(),
            b"SHOW" => self.show(),
            b"DESCRIBE" | b"DESC" | b"EXPLAIN" => self.explain(),
            b"CREATE" => self.create(),
            b"DROP" => self.drop_statement(),
            b"ALTER" => self.alter(),
            b"TRUNCATE" | b"RENAME" => self.truncate_or_rename(),
            b"USE" | b"KILL" | b"PREPARE" | b"EXECUTE" | b"DEALLOCATE" | b"LOCK" | b"UNLOCK" | b"FLUSH" | b"DO" => {
                self.administer()
            }
            b"ANALYZE" | b"CHECK" | b"OPTIMIZE" | b"CHECKSUM" | b"REPAIR" => self.maintain(),
            b"ADMIN" => self.admin_check(),
            b"SPLIT" => self.split(),
            b"GRANT" | b"REVOKE" => self.grant(),
            b"RESET" if self.is_words(&["RESET", "PERSIST"]) => self.reset_persist(),
            b"CALL" | b"LOAD" | b"HANDLER" | b"XA" | b"SIGNAL" | b"RESIGNAL" | b"GET" | b"RESET" | b"PURGE"
            | b"CHANGE" | b"STOP" | b"INSTALL" | b"UNINSTALL" | b"IMPORT" | b"CLONE" | b"RESTART" | b"SHUTDOWN"
            | b"BINLOG" | b"HELP" | b"CACHE" => self.unsupported_from(self.at),
            _ => self.error(),
        }
    }
}

/// For each token that opens a parenthesis, the one that closes it; 0 for others.
fn closings(tokens: &[Token]) -> Vec<u32> {
    let mut closings = vec![0; tokens.len()];
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Symbol("(") => open.push(at),
            Kind::Symbol(")") => {
                if let Some(opening) = open.pop() {
                    closings[opening] = at as u32;
                }
            }
            _ => {}
        }
    }
    closings
}
