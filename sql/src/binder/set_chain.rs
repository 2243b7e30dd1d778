//! Chains of UNION, INTERSECT and EXCEPT: `a UNION b UNION ALL c …`, of hundreds and thousands of parts.
//!
//! The tree of such a chain leans left and is as deep as the chain is long, so its parts are taken one by one. The parts
//! that UNION puts side by side become one operator, whose columns have the types that all of them have in common:
//!
//! ```text
//! a UNION b UNION ALL c      UNION ALL ── UNION ─┬─ a
//!                                │               └─ b      the last UNION without ALL makes all before it distinct
//!                                └────── c
//! ```
//! Many parts that read nothing, `SELECT 1 UNION SELECT 2 …`, become the rows of one part.

use super::query::set_operation;
use crate::error::{Error, Result};
use crate::parser::ast::{QueryBody, SetOperator};
use crate::plan::{LogicalPlan, OutputColumn, SetKind};
use basalt_expr::expr::Expr;
use basalt_expr::func::{self, Func};

/// Fewer parts that read nothing stay operators of their own.
const CONSTANT_PARTS_MIN: usize = 16;

impl super::Binder<'_> {
    /// A set operation, with those to its left.
    pub(super) fn set_operations(&mut self, body: &QueryBody) -> Result<LogicalPlan> {
        let mut steps = Vec::new();
        let mut first = body;
        while let QueryBody::SetOperation { op, all, left, right } = first {
            steps.push((*op, *all, &**right));
            first = left;
        }
        let mut parts = vec![self.body(first)?];
        let mut alls = Vec::new();
        for (op, all, right) in steps.into_iter().rev() {
            crate::memory::check()?;
            let right = self.body(right)?;
            let kind = match op {
                SetOperator::Union => {
                    parts.push(right);
                    alls.push(all);
                    continue;
                }
                SetOperator::Intersect => SetKind::Intersect,
                SetOperator::Except => SetKind::Except,
            };
            let left = union(std::mem::take(&mut parts), &std::mem::take(&mut alls))?;
            parts = vec![set_operation(kind, all, vec![left, right])?];
        }
        union(parts, &alls)
    }
}

/// The parts, each but the first with whether UNION ALL stands before it.
fn union(mut parts: Vec<LogicalPlan>, alls: &[bool]) -> Result<LogicalPlan> {
    if parts.len() == 1 {
        return parts.pop().ok_or_else(|| Error::internal("a part was there"));
    }
    let LogicalPlan::SetOperation { mut inputs, output, .. } = set_operation(SetKind::Union, true, parts)? else {
        return Err(Error::internal("a union is a set operation"));
    };
    let distinct = alls.iter().rposition(|all| !all).map_or(0, |last| last + 2);
    let rest = inputs.split_off(distinct);
    let mut made = Vec::with_capacity(1 + rest.len());
    if distinct > 0 {
        made.push(side_by_side(inputs, false, &output));
    }
    made.extend(rest);
    Ok(match <[LogicalPlan; 1]>::try_from(made) {
        Ok([only]) => only,
        Err(made) => side_by_side(made, true, &output),
    })
}

fn side_by_side(parts: Vec<LogicalPlan>, all: bool, output: &[OutputColumn]) -> LogicalPlan {
    let inputs = merge_constants(parts, output);
    LogicalPlan::SetOperation { kind: SetKind::Union, all, inputs, output: output.to_vec() }
}

/// Runs of parts that read nothing become one part of many rows.
fn merge_constants(parts: Vec<LogicalPlan>, output: &[OutputColumn]) -> Vec<LogicalPlan> {
    if parts.len() < CONSTANT_PARTS_MIN || output.is_empty() {
        return parts;
    }
    let mut merged: Vec<LogicalPlan> = Vec::new();
    for part in parts {
        match (constants(&part), merged.last_mut()) {
            (Some(row), Some(LogicalPlan::Values { rows, output: of_rows })) if of_rows.len() == row.len() => {
                rows.push(row);
            }
            (Some(row), _) => merged.push(LogicalPlan::Values { rows: vec![row], output: output.to_vec() }),
            (None, _) => merged.push(part),
        }
    }
    merged
}

/// The values of a part that is one row of literals, in the types that its columns have.
fn constants(part: &LogicalPlan) -> Option<Vec<Expr>> {
    let LogicalPlan::Project { input, exprs, .. } = part else { return None };
    if matches!(&**input, LogicalPlan::Values { rows, .. } if matches!(&rows[..], [row] if row.is_empty())) {
        let literal = |expr: &Expr| matches!(expr, Expr::Literal(..)).then(|| expr.clone());
        return exprs.iter().map(literal).collect();
    }
    // The types that the parts have in common stand in a projection of their own.
    let below = constants(input)?;
    let value = |expr: &Expr| match expr {
        Expr::Column { index, .. } => below.get(*index).cloned(),
        Expr::Call { func: Func::Cast, args, ty } => match &args[..] {
            [Expr::Column { index, .. }] => below.get(*index).map(|value| func::cast(value.clone(), ty.clone())),
            _ => None,
        },
        _ => None,
    };
    exprs.iter().map(value).collect::<Option<Vec<_>>>().filter(|row| row.iter().all(is_literal))
}

fn is_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(..))
}
