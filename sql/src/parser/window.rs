//! Windows: what stands behind OVER and in WINDOW, and the arguments that only window functions have.

use super::ast::{Bound, Expr, Frame, Literal, WindowSpec};
use super::core::Parser;
use super::lexer::Kind;
use crate::error::{Error, Result};

impl Parser<'_> {
    /// What stands between the parentheses of a window function: the numbers among them are no expressions.
    pub fn window_arguments(&mut self, name: &str) -> Result<Vec<Expr>> {
        let mut args = Vec::new();
        match name {
            "ntile" => args.push(self.stable_integer()?),
            "first_value" | "last_value" => args.push(self.expr()?),
            "nth_value" => {
                args.push(self.expr()?);
                self.expect_symbol(",")?;
                args.push(self.operators(15)?);
            }
            "lag" | "lead" => {
                args.push(self.expr()?);
                if self.eat_symbol(",") {
                    args.push(self.stable_integer()?);
                    if self.eat_symbol(",") {
                        args.push(self.expr()?);
                    }
                }
            }
            _ => {}
        }
        Ok(args)
    }

    /// An integer that is the same for all rows: a literal, a parameter, a variable.
    fn stable_integer(&mut self) -> Result<Expr> {
        match self.kind() {
            Kind::Word | Kind::Quoted(_) if self.is_identifier() => Err(Error::undeclared_variable(self.identifier()?)),
            _ => {
                let start = self.position();
                let value = self.operators(15)?;
                let stable =
                    matches!(value, Expr::Literal(Literal::Integer(_)) | Expr::Parameter(_) | Expr::UserVariable(_));
                if stable {
                    return Ok(value);
                }
                self.rewind(start);
                self.error()
            }
        }
    }

    /// FROM FIRST and RESPECT NULLS are the default; their opposites are refused, as MySQL does.
    pub fn null_treatment(&mut self, name: &str) -> Result<()> {
        if name == "nth_value" {
            if self.eat_words(&["FROM", "LAST"]) {
                return Err(Error::unsupported("FROM LAST"));
            }
            self.eat_words(&["FROM", "FIRST"]);
        }
        if matches!(name, "lag" | "lead" | "first_value" | "last_value" | "nth_value") {
            if self.eat_words(&["IGNORE", "NULLS"]) {
                return Err(Error::unsupported("IGNORE NULLS"));
            }
            self.eat_words(&["RESPECT", "NULLS"]);
        }
        Ok(())
    }

    /// What follows OVER: a name, or a specification.
    pub fn over(&mut self) -> Result<WindowSpec> {
        if self.is_symbol("(") {
            return self.window_spec();
        }
        Ok(WindowSpec { name: Some(self.identifier()?), is_reference: true, ..WindowSpec::default() })
    }

    /// `([name] [PARTITION BY …] [ORDER BY …] [frame])`.
    pub fn window_spec(&mut self) -> Result<WindowSpec> {
        self.parenthesized(|p| {
            let mut spec = WindowSpec::default();
            if p.is_identifier() {
                spec.name = Some(p.identifier()?);
            }
            if p.eat_words(&["PARTITION", "BY"]) {
                spec.partition_by = p.list(Self::expr)?;
            }
            spec.order_by = p.order_by()?;
            if let Some(kind) = p.eat_any(&["ROWS", "RANGE", "GROUPS"]) {
                spec.frame = Some(p.frame(kind)?);
            }
            Ok(spec)
        })
    }

    fn frame(&mut self, kind: &str) -> Result<Frame> {
        let (start, end) = if self.eat("BETWEEN") {
            let start = self.bound(true)?;
            self.expect("AND")?;
            (start, self.bound(true)?)
        } else {
            (self.bound(false)?, Bound::CurrentRow)
        };
        let excludes = self.is_word("EXCLUDE");
        match (kind, excludes) {
            ("GROUPS", _) => Err(Error::unsupported("GROUPS")),
            (_, true) => Err(Error::unsupported("EXCLUDE")),
            (kind, false) => Ok(Frame { range: kind == "RANGE", start, end }),
        }
    }

    /// A bound; FOLLOWING only between BETWEEN and the end.
    fn bound(&mut self, following: bool) -> Result<Bound> {
        if self.eat_words(&["CURRENT", "ROW"]) {
            return Ok(Bound::CurrentRow);
        }
        let value = if self.eat("UNBOUNDED") {
            None
        } else if self.is_interval() {
            let (value, unit) = self.interval()?;
            Some((value, Some(unit)))
        } else {
            let start = self.position();
            let value = self.operators(15)?;
            let number = matches!(
                value,
                Expr::Literal(Literal::Integer(_) | Literal::Decimal(_) | Literal::Float(_)) | Expr::Parameter(_)
            );
            if !number {
                self.rewind(start);
                return self.error();
            }
            Some((value, None))
        };
        if self.eat("PRECEDING") {
            return Ok(value.map_or(Bound::UnboundedPreceding, |(n, unit)| Bound::Preceding(n, unit)));
        }
        if following && self.eat("FOLLOWING") {
            return Ok(value.map_or(Bound::UnboundedFollowing, |(n, unit)| Bound::Following(n, unit)));
        }
        self.error()
    }
}
