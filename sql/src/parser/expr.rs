//! Expressions, by precedence climbing.
//!
//! MySQL's levels, weakest first: `:=` · OR `||` · XOR · AND `&&` · NOT · BETWEEN CASE · `= <=> >= > <= < <> IS LIKE REGEXP
//! IN` · `|` · `&` · `<< >>` · `- +` · `* / DIV % MOD` · `^` · `||` under PIPES_AS_CONCAT · unary `- ~` · `!` BINARY COLLATE. That
//! is the manual's table; the grammar (sql_yacc.yy) is finer where comparisons meet:
//!
//! ```text
//! bool_pri:  bool_pri IS [NOT] NULL | bool_pri comp_op predicate | bool_pri comp_op ANY|ALL (…) | predicate
//! predicate: bit_expr [NOT] IN (…) | bit_expr [NOT] BETWEEN bit_expr AND predicate
//!          | bit_expr [NOT] LIKE simple_expr [ESCAPE simple_expr] | bit_expr [NOT] REGEXP bit_expr | bit_expr SOUNDS LIKE bit_expr | bit_expr
//! ```
//! So `a = b IN (c)` is `a = (b IN (c))`, `a IN (b) IN (c)` is an error, and `a BETWEEN b AND c = d` is `(a BETWEEN b AND c) = d`.
//! A `simple_expr` has no operators but unary ones and `||` as CONCAT: `a LIKE b + c` is an error. `tests/slt/expressions` holds
//! every pair of operators with MySQL's answer.

use super::ast::{BinaryOp, ColumnName, Expr, IsWhat, Literal, TemporalKind, UnaryOp, VariableScope};
use super::core::Parser;
use super::lexer::Kind;
use crate::error::{Error, Result};
use basalt_expr::charset::Charset;

/// Precedence of `|`, the lowest an operand of a comparison-like operator may have.
const BIT_OR: u8 = 8;
const COMPARISON: u8 = 7;
/// `||` as CONCAT, the only operator with two operands within a `simple_expr`.
const CONCAT: u8 = 14;
/// Operands of unary operators: tighter than any operator that stands between two.
const UNARY: u8 = 15;

impl Parser<'_> {
    /// An expression.
    pub fn expr(&mut self) -> Result<Expr> {
        self.enter()?;
        let expr = self.disjunction();
        self.leave();
        expr
    }

    /// OR and AND chains are collected and built balanced, so that a thousand terms do not make a thousand levels.
    fn disjunction(&mut self) -> Result<Expr> {
        let mut terms = vec![self.exclusive()?];
        while self.eat("OR") || (!self.options.pipes_as_concat && self.eat_symbol("||")) {
            terms.push(self.exclusive()?);
        }
        Ok(balanced(BinaryOp::Or, terms))
    }

    fn exclusive(&mut self) -> Result<Expr> {
        let mut left = self.conjunction()?;
        while self.eat("XOR") {
            self.link()?;
            left = binary(BinaryOp::Xor, left, self.conjunction()?);
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Expr> {
        let mut terms = vec![self.negation()?];
        while self.eat("AND") || self.eat_symbol("&&") {
            terms.push(self.negation()?);
        }
        Ok(balanced(BinaryOp::And, terms))
    }

    /// `bool_pri` with or without NOT before it: what AND, OR and XOR join.
    pub fn negation(&mut self) -> Result<Expr> {
        let mut nots = 0;
        while !self.options.high_not_precedence && self.eat("NOT") {
            nots += 1;
        }
        self.enter()?;
        let expr = self.comparisons();
        self.leave();
        // The third NOT undoes the second: what is left of many is one or two.
        let nots = if nots > 2 { 2 - nots % 2 } else { nots };
        Ok((0..nots).fold(expr?, |expr, _| Expr::Unary(UnaryOp::Not, Box::new(expr))))
    }

    /// `bool_pri`: predicates side by side with comparisons and IS between them, from the left. Behind IS TRUE
    /// and IS UNKNOWN nothing of this level follows.
    fn comparisons(&mut self) -> Result<Expr> {
        let mut left = self.predicate()?;
        loop {
            if self.eat("IS") {
                let negated = self.eat("NOT");
                let (what, ends) = match self.eat_any(&["NULL", "UNKNOWN", "TRUE", "FALSE"]) {
                    Some("TRUE") => (IsWhat::True, true),
                    Some("FALSE") => (IsWhat::False, true),
                    Some("UNKNOWN") => (IsWhat::Null, true),
                    Some(_) => (IsWhat::Null, false),
                    None => return self.error(),
                };
                left = Expr::Is { expr: Box::new(left), what, negated };
                if ends {
                    return Ok(left);
                }
            } else if let Some((op, COMPARISON)) = self.binary_operator() {
                if op == BinaryOp::NullSafeEq && ["ANY", "SOME", "ALL"].iter().any(|w| self.is_word_at(1, w)) {
                    return self.error();
                }
                self.advance();
                left = match self.eat_any(&["ANY", "SOME", "ALL"]).map(|w| w == "ALL") {
                    Some(all) => Expr::Quantified { expr: Box::new(left), op, all, query: Box::new(self.subquery()?) },
                    None => binary(op, left, self.predicate()?),
                };
            } else {
                return Ok(left);
            }
            self.link()?;
        }
    }

    /// `predicate`: an operand, and at most one of IN, LIKE, BETWEEN, REGEXP, SOUNDS LIKE behind it.
    fn predicate(&mut self) -> Result<Expr> {
        let left = self.operators(BIT_OR)?;
        if *self.kind() != Kind::Word {
            return Ok(left);
        }
        if self.is_words(&["SOUNDS", "LIKE"]) {
            self.advance();
            self.advance();
            return Ok(binary(BinaryOp::SoundsLike, left, self.operators(BIT_OR)?));
        }
        let negated = self.is_word("NOT");
        let ahead = usize::from(negated);
        if !["IN", "LIKE", "BETWEEN", "REGEXP", "RLIKE", "MEMBER"].iter().any(|w| self.is_word_at(ahead, w)) {
            return Ok(left);
        }
        if negated {
            self.advance();
        }
        let expr = Box::new(left);
        Ok(match self.any_word()?.as_str() {
            "IN" if self.is_subquery_at(0) => Expr::InSubquery { expr, query: Box::new(self.subquery()?), negated },
            "IN" => Expr::InList { expr, list: self.parenthesized(|p| p.list(Self::expr))?, negated },
            "LIKE" => {
                let pattern = Box::new(self.operators(CONCAT)?);
                let escape = if self.eat("ESCAPE") { Some(Box::new(self.operators(CONCAT)?)) } else { None };
                Expr::Like { expr, pattern, escape, negated }
            }
            "BETWEEN" => {
                let low = Box::new(self.operators(BIT_OR)?);
                self.expect("AND")?;
                self.enter()?;
                let high = self.predicate();
                self.leave();
                Expr::Between { expr, low, high: Box::new(high?), negated }
            }
            "MEMBER" => return Err(Error::unsupported("MEMBER OF")),
            _ => Expr::Regexp { expr, pattern: Box::new(self.operators(BIT_OR)?), negated },
        })
    }

    /// Operators that bind at least as tightly as `min`, which is [`BIT_OR`] or more.
    pub fn operators(&mut self, min: u8) -> Result<Expr> {
        self.enter()?;
        let expr = self.operators_inner(min);
        self.leave();
        expr
    }

    fn operators_inner(&mut self, min: u8) -> Result<Expr> {
        let mut left = self.unary()?;
        while let Some((op, precedence)) = self.binary_operator().filter(|(_, precedence)| *precedence >= min) {
            self.advance();
            left = self.right_side(op, precedence, left)?;
            self.link()?;
        }
        Ok(left)
    }

    fn right_side(&mut self, op: BinaryOp, precedence: u8, left: Expr) -> Result<Expr> {
        if matches!(op, BinaryOp::Add | BinaryOp::Subtract) && self.is_interval() && !self.is_interval_function() {
            let (value, unit) = self.interval()?;
            let subtract = op == BinaryOp::Subtract;
            return Ok(Expr::DateArithmetic { date: Box::new(left), value: Box::new(value), unit, subtract });
        }
        Ok(binary(op, left, self.operators(precedence + 1)?))
    }

    fn binary_operator(&self) -> Option<(BinaryOp, u8)> {
        let found = match self.kind() {
            Kind::Symbol(symbol) => match *symbol {
                "=" => (BinaryOp::Eq, COMPARISON),
                "<=>" => (BinaryOp::NullSafeEq, COMPARISON),
                "<>" | "!=" => (BinaryOp::Ne, COMPARISON),
                "<" => (BinaryOp::Lt, COMPARISON),
                "<=" => (BinaryOp::Le, COMPARISON),
                ">" => (BinaryOp::Gt, COMPARISON),
                ">=" => (BinaryOp::Ge, COMPARISON),
                "|" => (BinaryOp::BitOr, BIT_OR),
                "&" => (BinaryOp::BitAnd, 9),
                "<<" => (BinaryOp::ShiftLeft, 10),
                ">>" => (BinaryOp::ShiftRight, 10),
                "+" => (BinaryOp::Add, 11),
                "-" => (BinaryOp::Subtract, 11),
                "*" => (BinaryOp::Multiply, 12),
                "/" => (BinaryOp::Divide, 12),
                "%" => (BinaryOp::Modulo, 12),
                "^" => (BinaryOp::BitXor, 13),
                "||" if self.options.pipes_as_concat => (BinaryOp::Concat, CONCAT),
                "->" => (BinaryOp::JsonExtract, 16),
                "->>" => (BinaryOp::JsonUnquote, 16),
                _ => return None,
            },
            Kind::Word if self.is_word("DIV") => (BinaryOp::IntegerDivide, 12),
            Kind::Word if self.is_word("MOD") => (BinaryOp::Modulo, 12),
            _ => return None,
        };
        Some(found)
    }

    fn unary(&mut self) -> Result<Expr> {
        let op = match self.kind() {
            Kind::Symbol("-") => UnaryOp::Minus,
            Kind::Symbol("+") => UnaryOp::Plus,
            Kind::Symbol("~") => UnaryOp::BitNot,
            Kind::Symbol("!") => UnaryOp::Not,
            Kind::Word if self.options.high_not_precedence && self.is_word("NOT") => UnaryOp::Not,
            _ => return self.postfix(),
        };
        self.advance();
        self.enter()?;
        let operand = self.operators(UNARY);
        self.leave();
        Ok(match (op, operand?) {
            // `-9223372036854775808` is one number.
            (UnaryOp::Minus, Expr::Literal(Literal::Decimal(digits))) if !digits.starts_with('-') => {
                Expr::Literal(Literal::Decimal(format!("-{digits}")))
            }
            (UnaryOp::Plus, operand) => operand,
            (op, operand) => Expr::Unary(op, Box::new(operand)),
        })
    }

    fn postfix(&mut self) -> Result<Expr> {
        let mut expr = self.primary()?;
        while self.eat("COLLATE") {
            self.link()?;
            let name = self.charset_name()?;
            expr = Expr::Collate(Box::new(expr), name);
        }
        Ok(expr)
    }

    /// A charset's or collation's name, lower-cased; `binary` is a reserved word and one of them.
    pub fn charset_name(&mut self) -> Result<String> {
        if self.eat("BINARY") {
            return Ok("binary".to_string());
        }
        Ok(self.identifier_or_string()?.to_lowercase())
    }

    fn primary(&mut self) -> Result<Expr> {
        crate::memory::check()?;
        let expr = match self.kind() {
            Kind::Integer => number(self.token_text()),
            Kind::Decimal => Literal::Decimal(self.token_text().to_string()),
            Kind::Float => Literal::Float(self.token_text().to_string()),
            Kind::Hex(bytes) => Literal::Hex(bytes.clone()),
            Kind::Bit(bytes) => Literal::Bit(bytes.clone()),
            Kind::String(_) | Kind::National(_) => return self.strings(None),
            Kind::Parameter(index) => {
                let index = *index;
                self.advance();
                return Ok(Expr::Parameter(index));
            }
            Kind::UserVariable(name) => {
                let name = name.clone();
                self.advance();
                // Everything behind `:=` is the value, whatever stands before the variable.
                if self.eat_symbol(":=") {
                    return Ok(Expr::AssignVariable(name, Box::new(self.expr()?)));
                }
                return Ok(Expr::UserVariable(name));
            }
            Kind::SystemVariable => return self.system_variable(),
            Kind::Symbol("(") => return self.parentheses(),
            Kind::Symbol("{") => return self.odbc(),
            Kind::Symbol(".") | Kind::Quoted(_) => return self.column_or_function(),
            Kind::Word => return self.word_expression(),
            _ => return self.error(),
        };
        self.advance();
        Ok(Expr::Literal(expr))
    }

    /// A string and those right behind it, which continue it.
    fn strings(&mut self, charset: Option<String>) -> Result<Expr> {
        let mut bytes = Vec::new();
        let mut charset = charset;
        if let Kind::National(first) = self.kind() {
            bytes.extend_from_slice(first);
            charset = Some("utf8mb3".to_string());
            self.advance();
        }
        while let Kind::String(part) = self.kind() {
            bytes.extend_from_slice(part);
            self.advance();
        }
        if charset.is_some() {
            bytes = self.options.in_client(bytes);
        }
        Ok(Expr::Literal(Literal::String { bytes, charset }))
    }

    /// `{d '2020-01-01'}`, `{fn f(x)}`: the word counts before a string only.
    fn odbc(&mut self) -> Result<Expr> {
        self.advance();
        let kind = self.any_word()?;
        let temporal = match kind.as_str() {
            "D" => Some(TemporalKind::Date),
            "T" => Some(TemporalKind::Time),
            "TS" => Some(TemporalKind::Timestamp),
            _ => None,
        };
        let expr = match temporal {
            Some(kind) if matches!(self.kind(), Kind::String(_)) => {
                Expr::Literal(Literal::Temporal(kind, self.string()?))
            }
            _ => self.expr()?,
        };
        self.expect_symbol("}")?;
        Ok(expr)
    }

    fn parentheses(&mut self) -> Result<Expr> {
        if self.is_subquery_at(0) {
            return Ok(Expr::Subquery(Box::new(self.subquery()?)));
        }
        // A pair right around another pair says nothing, and is no level.
        let mut pairs = 0;
        while self.is_symbol_at(1, "(")
            && self.closing_at(0).is_some()
            && self.closing_at(0) == self.closing_at(1).map(|at| at + 1)
        {
            self.advance();
            pairs += 1;
        }
        let mut items = self.parenthesized(|p| p.list(Self::expr))?;
        (0..pairs).try_for_each(|_| self.expect_symbol(")"))?;
        match items.pop() {
            Some(only) if items.is_empty() => Ok(only),
            Some(last) => {
                items.push(last);
                Ok(Expr::Row(items))
            }
            None => self.error(),
        }
    }

    fn system_variable(&mut self) -> Result<Expr> {
        self.advance();
        let scope = self.variable_scope_point();
        let mut name = self.variable_name()?;
        while self.eat_symbol(".") {
            name = format!("{name}.{}", self.variable_name()?);
        }
        Ok(Expr::SystemVariable { scope, name })
    }

    /// `global.` and its kin.
    pub fn variable_scope_point(&mut self) -> Option<VariableScope> {
        if !self.is_symbol_at(1, ".") {
            return None;
        }
        let scope = match self.eat_any(&["GLOBAL", "SESSION", "LOCAL", "PERSIST", "PERSIST_ONLY"])? {
            "GLOBAL" => VariableScope::Global,
            "PERSIST" => VariableScope::Persist,
            "PERSIST_ONLY" => VariableScope::PersistOnly,
            _ => VariableScope::Session,
        };
        self.advance();
        Some(scope)
    }

    /// A variable's name, lower-cased; reserved words are allowed.
    pub fn variable_name(&mut self) -> Result<String> {
        let name = match self.kind() {
            Kind::Word if !self.token_text().is_empty() => self.token_text().to_ascii_lowercase(),
            Kind::Quoted(name) if !name.is_empty() => name.to_lowercase(),
            _ => return self.error(),
        };
        self.advance();
        Ok(name)
    }

    /// `a`, `t.a`, `d.t.a`, `.t.a`, or a call.
    pub fn column_or_function(&mut self) -> Result<Expr> {
        if self.is_identifier() && self.is_symbol_at(1, "(") {
            return self.function_call();
        }
        self.column_name().map(Expr::Column)
    }

    /// A column's name with what qualifies it.
    pub fn column_name(&mut self) -> Result<ColumnName> {
        self.eat_symbol(".");
        let mut parts = vec![self.identifier()?];
        while parts.len() < 3 && self.is_symbol(".") && !self.is_symbol_at(1, "*") {
            self.advance();
            parts.push(self.identifier()?);
        }
        let name = parts.pop().unwrap_or_default();
        let table = parts.pop();
        Ok(ColumnName { database: parts.pop(), table, name })
    }

    fn word_expression(&mut self) -> Result<Expr> {
        let text = self.token_text();
        if let Some(charset) = text.strip_prefix('_')
            && matches!(self.kind_at(1), Kind::String(_) | Kind::Hex(_) | Kind::Bit(_))
            && let charset = charset.to_ascii_lowercase()
            && (Charset::from_name(&charset).is_some() || Charset::is_not_done(&charset))
        {
            if Charset::is_not_done(&charset) {
                return Err(Error::unsupported(format!("character set {charset}")));
            }
            self.advance();
            return match self.kind() {
                Kind::String(_) => self.strings(Some(charset)),
                Kind::Hex(bytes) | Kind::Bit(bytes) => {
                    let bytes = bytes.clone();
                    self.advance();
                    Ok(Expr::Literal(Literal::String { bytes, charset: Some(charset) }))
                }
                _ => self.error(),
            };
        }
        if let Some(expr) = self.special_word()? {
            return Ok(expr);
        }
        self.column_or_function()
    }

    pub fn is_interval(&self) -> bool {
        self.is_word("INTERVAL")
    }

    /// Whether INTERVAL here is the function: more than one argument tells. A look at the tokens is enough; to read the
    /// arguments and go back would double the work with every level.
    pub fn is_interval_function(&mut self) -> bool {
        self.is_symbol_at(1, "(") && self.has_comma_at(1) && !self.is_subquery_at(1)
    }

    /// `INTERVAL value unit`.
    pub fn interval(&mut self) -> Result<(Expr, String)> {
        self.expect("INTERVAL")?;
        let value = self.expr()?;
        Ok((value, self.unit()?))
    }

    /// A unit of time, upper-cased.
    pub fn unit(&mut self) -> Result<String> {
        const UNITS: &[&str] = &[
            "MICROSECOND",
            "SECOND",
            "MINUTE",
            "HOUR",
            "DAY",
            "WEEK",
            "MONTH",
            "QUARTER",
            "YEAR",
            "SECOND_MICROSECOND",
            "MINUTE_MICROSECOND",
            "MINUTE_SECOND",
            "HOUR_MICROSECOND",
            "HOUR_SECOND",
            "HOUR_MINUTE",
            "DAY_MICROSECOND",
            "DAY_SECOND",
            "DAY_MINUTE",
            "DAY_HOUR",
            "YEAR_MONTH",
        ];
        let word = self.token_text().to_ascii_uppercase();
        let word = word.strip_prefix("SQL_TSI_").unwrap_or(&word).to_string();
        if *self.kind() != Kind::Word || !UNITS.contains(&word.as_str()) {
            return self.error();
        }
        self.advance();
        Ok(word)
    }
}

fn number(text: &str) -> Literal {
    text.parse().map_or_else(|_| Literal::Decimal(text.to_string()), Literal::Integer)
}

fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    Expr::Binary(op, Box::new(left), Box::new(right))
}

/// Joins terms by an associative operator, keeping their order, in a tree of logarithmic depth.
fn balanced(op: BinaryOp, mut terms: Vec<Expr>) -> Expr {
    while terms.len() > 1 {
        let mut next = Vec::with_capacity(terms.len().div_ceil(2));
        let mut iter = terms.into_iter();
        while let Some(left) = iter.next() {
            next.push(match iter.next() {
                Some(right) => binary(op, left, right),
                None => left,
            });
        }
        terms = next;
    }
    terms.pop().unwrap_or(Expr::Literal(Literal::Null))
}
