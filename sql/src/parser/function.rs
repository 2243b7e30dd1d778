//! Words that begin an expression and are not columns, and calls whose arguments have a grammar of their own.

use super::ast::{AggregateCall, ColumnName, DataType, Expr, Literal, OrderItem, TemporalKind, TrimSide};
use super::core::Parser;
use super::lexer::Kind;
use crate::error::{Error, Result};

/// Functions that may be called without parentheses, reserved or not.
const BARE_FUNCTIONS: &[&str] = &[
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "UTC_DATE",
    "UTC_TIME",
    "UTC_TIMESTAMP",
    "CURRENT_USER",
];

/// Reserved words that are also functions.
const RESERVED_FUNCTIONS: &[&str] = &[
    "IF",
    "LEFT",
    "RIGHT",
    "REPLACE",
    "INSERT",
    "REPEAT",
    "MOD",
    "DATABASE",
    "SCHEMA",
    "CHAR",
    "TRUNCATE",
    "FORMAT",
    "ROW_NUMBER",
    "RANK",
    "DENSE_RANK",
    "PERCENT_RANK",
    "CUME_DIST",
    "NTILE",
    "LAG",
    "LEAD",
    "FIRST_VALUE",
    "LAST_VALUE",
    "NTH_VALUE",
    "GROUPING",
    "INTERVAL",
];

const AGGREGATES: &[&str] = &[
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "group_concat",
    "bit_and",
    "bit_or",
    "bit_xor",
    "std",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "variance",
    "var_pop",
    "var_samp",
    "json_arrayagg",
    "json_objectagg",
];

const WINDOW_FUNCTIONS: &[&str] = &[
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

impl Parser<'_> {
    /// What the word here begins, if it is not a plain name.
    pub fn special_word(&mut self) -> Result<Option<Expr>> {
        let word = self.token_text().to_ascii_uppercase();
        let call = self.is_symbol_at(1, "(");
        let expr = match word.as_str() {
            "NULL" => self.literal(Literal::Null),
            "TRUE" => self.literal(Literal::Bool(true)),
            "FALSE" => self.literal(Literal::Bool(false)),
            "DATE" | "TIME" | "TIMESTAMP" if matches!(self.kind_at(1), Kind::String(_)) => self.temporal(&word)?,
            "CASE" => self.case()?,
            "EXISTS" => {
                self.advance();
                Expr::Exists(Box::new(self.subquery()?))
            }
            "BINARY" => {
                self.advance();
                let operand = self.operators(15)?;
                Expr::Cast(Box::new(operand), DataType { name: "binary".to_string(), ..DataType::default() })
            }
            "INTERVAL" if !call => self.interval_before()?,
            "INTERVAL" => self.interval_or_function()?,
            "ROW" => {
                self.advance();
                Expr::Row(self.row_of_two()?)
            }
            "DEFAULT" => {
                self.advance();
                Expr::DefaultOf(self.parenthesized(Self::column_name)?)
            }
            "VALUES" if call => {
                self.advance();
                Expr::Values(self.parenthesized(Self::column_name)?)
            }
            "CAST" if call => self.cast()?,
            "CONVERT" if call => self.convert()?,
            "EXTRACT" if call => self.extract()?,
            "TRIM" if call => self.trim()?,
            "POSITION" if call => self.position_call()?,
            "SUBSTRING" | "SUBSTR" | "MID" if call => self.substring()?,
            "DATE_ADD" | "DATE_SUB" | "ADDDATE" | "SUBDATE" if call => self.date_add(&word)?,
            "TIMESTAMPADD" | "TIMESTAMPDIFF" if call => self.unit_function(&word)?,
            "GET_FORMAT" if call => return Err(Error::unsupported("GET_FORMAT")),
            "MATCH" => {
                self.advance();
                if !self.is_symbol("(") && !self.is_identifier() {
                    return self.error();
                }
                return Err(Error::unsupported("MATCH … AGAINST"));
            }
            "CHAR" if call => self.char_call()?,
            "WEIGHT_STRING" if call => return Err(Error::unsupported("WEIGHT_STRING")),
            "GROUP_CONCAT" if call => self.group_concat()?,
            _ if BARE_FUNCTIONS.contains(&word.as_str()) => self.bare_function(&word)?,
            _ if call && RESERVED_FUNCTIONS.contains(&word.as_str()) => self.function_call()?,
            _ => return Ok(None),
        };
        Ok(Some(expr))
    }

    fn literal(&mut self, literal: Literal) -> Expr {
        self.advance();
        Expr::Literal(literal)
    }

    fn temporal(&mut self, word: &str) -> Result<Expr> {
        self.advance();
        let kind = match word {
            "DATE" => TemporalKind::Date,
            "TIME" => TemporalKind::Time,
            _ => TemporalKind::Timestamp,
        };
        Ok(Expr::Literal(Literal::Temporal(kind, self.string()?)))
    }

    /// `INTERVAL(n, a, b, …)` compares; `INTERVAL (1) DAY + d` is a date. The comma decides.
    fn interval_or_function(&mut self) -> Result<Expr> {
        if !self.is_interval_function() {
            return self.interval_before();
        }
        self.advance();
        let args = self.parenthesized(|p| p.list(Self::expr))?;
        Ok(Expr::Function { name: "interval".to_string(), args })
    }

    /// `INTERVAL value unit + date`. The date is all that follows up to AND, OR and XOR, comparisons included.
    fn interval_before(&mut self) -> Result<Expr> {
        let (value, unit) = self.interval()?;
        self.expect_symbol("+")?;
        let date = Box::new(self.negation()?);
        Ok(Expr::DateArithmetic { date, value: Box::new(value), unit, subtract: false })
    }

    /// Behind ROW: at least two values.
    fn row_of_two(&mut self) -> Result<Vec<Expr>> {
        self.parenthesized(|p| {
            let first = p.expr()?;
            p.expect_symbol(",")?;
            let mut items = vec![first];
            items.extend(p.list(Self::expr)?);
            Ok(items)
        })
    }

    /// A value of INSERT or UPDATE, where DEFAULT may stand for one.
    pub fn value_or_default(&mut self) -> Result<Expr> {
        if self.is_word("DEFAULT") && !self.is_symbol_at(1, "(") {
            self.advance();
            return Ok(Expr::Default);
        }
        self.expr()
    }

    fn case(&mut self) -> Result<Expr> {
        self.advance();
        let operand = if self.is_word("WHEN") { None } else { Some(Box::new(self.expr()?)) };
        let mut branches = Vec::new();
        while self.eat("WHEN") {
            let when = self.expr()?;
            self.expect("THEN")?;
            branches.push((when, self.expr()?));
        }
        if branches.is_empty() {
            return self.error();
        }
        let otherwise = if self.eat("ELSE") { Some(Box::new(self.expr()?)) } else { None };
        self.expect("END")?;
        Ok(Expr::Case { operand, branches, otherwise })
    }

    fn cast(&mut self) -> Result<Expr> {
        self.advance();
        self.parenthesized(|p| {
            let expr = Box::new(p.expr()?);
            p.expect("AS")?;
            Ok(Expr::Cast(expr, p.cast_type()?))
        })
    }

    fn convert(&mut self) -> Result<Expr> {
        self.advance();
        self.parenthesized(|p| {
            let expr = Box::new(p.expr()?);
            if p.eat("USING") {
                return Ok(Expr::ConvertUsing(expr, p.charset_name()?));
            }
            p.expect_symbol(",")?;
            Ok(Expr::Cast(expr, p.cast_type()?))
        })
    }

    fn extract(&mut self) -> Result<Expr> {
        self.advance();
        self.parenthesized(|p| {
            let unit = p.unit()?;
            p.expect("FROM")?;
            Ok(Expr::UnitFunction { name: "extract".to_string(), unit, args: vec![p.expr()?] })
        })
    }

    fn trim(&mut self) -> Result<Expr> {
        self.advance();
        self.parenthesized(|p| {
            let side = match p.eat_any(&["BOTH", "LEADING", "TRAILING"]) {
                Some("LEADING") => Some(TrimSide::Leading),
                Some("TRAILING") => Some(TrimSide::Trailing),
                Some(_) => Some(TrimSide::Both),
                None => None,
            };
            if side.is_some() && p.eat("FROM") {
                let expr = Box::new(p.expr()?);
                return Ok(Expr::Trim { side: side.unwrap_or(TrimSide::Both), what: None, expr });
            }
            let first = Box::new(p.expr()?);
            let side = side.unwrap_or(TrimSide::Both);
            if p.eat("FROM") {
                let expr = Box::new(p.expr()?);
                return Ok(Expr::Trim { side, what: Some(first), expr });
            }
            Ok(Expr::Trim { side, what: None, expr: first })
        })
    }

    fn position_call(&mut self) -> Result<Expr> {
        self.advance();
        self.parenthesized(|p| {
            let what = p.operators(8)?;
            p.expect("IN")?;
            Ok(Expr::Function { name: "locate".to_string(), args: vec![what, p.expr()?] })
        })
    }

    fn substring(&mut self) -> Result<Expr> {
        self.advance();
        self.parenthesized(|p| {
            let mut args = vec![p.expr()?];
            let by_words = p.eat("FROM");
            if !by_words {
                p.expect_symbol(",")?;
            }
            args.push(p.expr()?);
            if if by_words { p.eat("FOR") } else { p.eat_symbol(",") } {
                args.push(p.expr()?);
            }
            Ok(Expr::Function { name: "substring".to_string(), args })
        })
    }

    fn date_add(&mut self, word: &str) -> Result<Expr> {
        self.advance();
        let subtract = matches!(word, "DATE_SUB" | "SUBDATE");
        self.parenthesized(|p| {
            let date = Box::new(p.expr()?);
            p.expect_symbol(",")?;
            let (value, unit) = match p.is_interval() {
                true => p.interval()?,
                false if matches!(word, "ADDDATE" | "SUBDATE") => (p.expr()?, "DAY".to_string()),
                false => return p.error(),
            };
            Ok(Expr::DateArithmetic { date, value: Box::new(value), unit, subtract })
        })
    }

    fn unit_function(&mut self, word: &str) -> Result<Expr> {
        self.advance();
        self.parenthesized(|p| {
            let unit = p.unit()?;
            p.expect_symbol(",")?;
            let mut args = vec![p.expr()?];
            p.expect_symbol(",")?;
            args.push(p.expr()?);
            Ok(Expr::UnitFunction { name: word.to_ascii_lowercase(), unit, args })
        })
    }

    fn char_call(&mut self) -> Result<Expr> {
        self.advance();
        self.parenthesized(|p| {
            let args = p.list(Self::expr)?;
            let call = Expr::Function { name: "char".to_string(), args };
            if p.eat("USING") { Ok(Expr::ConvertUsing(Box::new(call), p.charset_name()?)) } else { Ok(call) }
        })
    }

    fn bare_function(&mut self, word: &str) -> Result<Expr> {
        self.advance();
        let mut args = Vec::new();
        if self.eat_symbol("(") {
            if !self.is_symbol(")") {
                let digits = u64::from(self.small_integer()?);
                args.push(Expr::Literal(Literal::Integer(digits)));
            }
            self.expect_symbol(")")?;
        }
        Ok(Expr::Function { name: word.to_ascii_lowercase(), args })
    }

    /// `name(…)`, with DISTINCT and OVER where they may be.
    pub fn function_call(&mut self) -> Result<Expr> {
        let name = match self.kind() {
            Kind::Quoted(name) => name.to_lowercase(),
            _ => self.token_text().to_lowercase(),
        };
        // A word that is not text.
        if name.is_empty() {
            return self.error();
        }
        self.advance();
        self.expect_symbol("(")?;
        let aggregate = AGGREGATES.contains(&name.as_str());
        let mut distinct = false;
        if aggregate {
            distinct = self.eat("DISTINCT");
            if !distinct {
                self.eat("ALL");
            }
        }
        let mut args = Vec::new();
        if name == "count" && self.is_symbol("*") && !distinct {
            self.advance();
        } else if aggregate {
            args.push(self.expr()?);
            let several = name == "json_objectagg" || (name == "count" && distinct);
            while several && self.eat_symbol(",") {
                args.push(self.expr()?);
            }
        } else if WINDOW_FUNCTIONS.contains(&name.as_str()) {
            args = self.window_arguments(&name)?;
        } else if !self.is_symbol(")") {
            args = self.list(Self::expr)?;
        }
        self.expect_symbol(")")?;
        self.finish_call(AggregateCall { name, args, distinct, order_by: Vec::new(), separator: None, over: None })
    }

    fn finish_call(&mut self, mut call: AggregateCall) -> Result<Expr> {
        let window = WINDOW_FUNCTIONS.contains(&call.name.as_str());
        self.null_treatment(&call.name)?;
        if self.is_word("OVER") && call.name == "any_value" {
            return self.error();
        }
        if self.eat("OVER") {
            call.over = Some(self.over()?);
        } else if window {
            return self.error();
        }
        if call.over.is_some() || AGGREGATES.contains(&call.name.as_str()) {
            return Ok(Expr::Aggregate(Box::new(call)));
        }
        Ok(Expr::Function { name: call.name, args: call.args })
    }

    fn group_concat(&mut self) -> Result<Expr> {
        self.advance();
        self.expect_symbol("(")?;
        let distinct = self.eat("DISTINCT");
        let args = self.list(Self::expr)?;
        let order_by = self.order_by()?;
        let separator = if self.eat("SEPARATOR") { Some(self.separator()?) } else { None };
        self.expect_symbol(")")?;
        self.finish_call(AggregateCall {
            name: "group_concat".to_string(),
            args,
            distinct,
            order_by,
            separator,
            over: None,
        })
    }

    fn separator(&mut self) -> Result<String> {
        if let Kind::Hex(bytes) | Kind::Bit(bytes) = self.kind()
            && let Ok(text) = String::from_utf8(bytes.clone())
        {
            self.advance();
            return Ok(text);
        }
        self.string()
    }

    /// ORDER BY, or nothing.
    pub fn order_by(&mut self) -> Result<Vec<OrderItem>> {
        if !self.eat_words(&["ORDER", "BY"]) {
            return Ok(Vec::new());
        }
        self.list(|p| {
            let expr = p.expr()?;
            let descending = p.eat("DESC");
            if !descending {
                p.eat("ASC");
            }
            Ok(OrderItem { expr, descending })
        })
    }

    /// A column's name in parentheses or alone, for assignments.
    pub fn assignment(&mut self) -> Result<(ColumnName, Expr)> {
        let column = self.column_name()?;
        if !self.eat_symbol("=") {
            self.expect_symbol(":=")?;
        }
        Ok((column, self.value_or_default()?))
    }
}
