//! Joins.
//!
//! An ON belongs to the nearest join before it that has none: `a JOIN b JOIN c ON x ON y` is `a JOIN (b JOIN c ON x) ON y`. Tables
//! are operands and joins operators that wait for their condition; inner ones may go without, and are then joined from the
//! left: `a JOIN b LEFT JOIN c ON x` is `(a JOIN b) LEFT JOIN c ON x`.

use super::ast::{JoinConstraint, JoinKind, TableRef};
use super::core::Parser;
use crate::error::Result;

/// A table, with how many of the joins at its left edge were written without parentheses.
struct Operand {
    table: TableRef,
    open: usize,
}

impl Parser<'_> {
    /// A table with what is joined to it.
    pub fn table_ref(&mut self) -> Result<TableRef> {
        self.enter()?;
        let joined = self.joins();
        self.leave();
        joined
    }

    fn joins(&mut self) -> Result<TableRef> {
        let mut operands = vec![Operand { table: self.table_factor()?, open: 0 }];
        let mut waiting: Vec<JoinKind> = Vec::new();
        loop {
            if let Some((kind, natural)) = self.join_word()? {
                self.link()?;
                operands.push(Operand { table: self.table_factor()?, open: 0 });
                match natural {
                    true => reduce(&mut operands, kind, JoinConstraint::Natural),
                    false => waiting.push(kind),
                }
            } else if let Some(kind) = waiting.pop() {
                match self.join_constraint()? {
                    JoinConstraint::None if kind != JoinKind::Inner => return self.error(),
                    JoinConstraint::None => cross(&mut operands),
                    constraint => reduce(&mut operands, kind, constraint),
                }
            } else {
                break;
            }
        }
        match operands.pop() {
            Some(operand) if operands.is_empty() => Ok(operand.table),
            _ => self.error(),
        }
    }

    fn join_word(&mut self) -> Result<Option<(JoinKind, bool)>> {
        let natural = self.eat("NATURAL");
        if !natural && self.eat("STRAIGHT_JOIN") {
            return Ok(Some((JoinKind::Inner, false)));
        }
        let words: &[&str] = if natural { &["INNER", "LEFT", "RIGHT"] } else { &["INNER", "CROSS", "LEFT", "RIGHT"] };
        let kind = match self.eat_any(words) {
            Some("LEFT") => JoinKind::Left,
            Some("RIGHT") => JoinKind::Right,
            Some(_) => JoinKind::Inner,
            None if natural || self.is_word("JOIN") => JoinKind::Inner,
            None => return Ok(None),
        };
        if kind != JoinKind::Inner {
            self.eat("OUTER");
        }
        self.expect("JOIN")?;
        Ok(Some((kind, natural)))
    }

    fn join_constraint(&mut self) -> Result<JoinConstraint> {
        if self.eat("ON") {
            return Ok(JoinConstraint::On(self.expr()?));
        }
        if self.eat("USING") {
            return Ok(JoinConstraint::Using(self.parenthesized(|p| p.list(Self::identifier))?));
        }
        Ok(JoinConstraint::None)
    }
}

/// Joins the last two operands.
fn reduce(operands: &mut Vec<Operand>, kind: JoinKind, constraint: JoinConstraint) {
    let (Some(right), Some(left)) = (operands.pop(), operands.pop()) else { return };
    operands.push(Operand { open: left.open + 1, table: join(left.table, right.table, kind, constraint) });
}

/// Joins the last two operands without a condition, the left one to the first table of the right one.
fn cross(operands: &mut Vec<Operand>) {
    let (Some(right), Some(left)) = (operands.pop(), operands.pop()) else { return };
    let open = left.open + right.open + 1;
    operands.push(Operand { open, table: cross_first(left.table, right.table, right.open) });
}

fn cross_first(first: TableRef, table: TableRef, open: usize) -> TableRef {
    match table {
        TableRef::Join { left, right, kind, constraint } if open > 0 => {
            join(cross_first(first, *left, open - 1), *right, kind, constraint)
        }
        table => join(first, table, JoinKind::Inner, JoinConstraint::None),
    }
}

fn join(left: TableRef, right: TableRef, kind: JoinKind, constraint: JoinConstraint) -> TableRef {
    TableRef::Join { left: Box::new(left), right: Box::new(right), kind, constraint }
}
