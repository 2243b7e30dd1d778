//! Subqueries in ON of an outer join: they must be asked below the join, on the side whose columns they read.
//!
//! One that reads both sides has a value for a pair of rows only, so there is no place for it below the join. Then the join
//! is taken apart into the pairs that match and the rows of the kept side for which there is none:
//!
//! ```text
//! L LEFT JOIN R ON p(L, R)  =  σ p (L × R)  ∪ ALL  π L, NULL … (σ NOT EXISTS (σ p R) L)
//! ```

use super::branches;
use super::pending::{self, Stage};
use super::scope::{Named, Relation};
use crate::error::{Error, Result};
use crate::plan::{
    JoinKind, LogicalPlan, OutputColumn, SetKind, Subquery, SubqueryKind, as_outer_column, outer_column, walk,
};
use basalt_expr::expr::Expr;
use basalt_expr::func::Func;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use std::ops::Range;

/// Puts `condition`, which refers to `subqueries`, into the join of `relation`, whose left side has `width` columns.
pub(super) fn join_with_subqueries(
    relation: Relation,
    width: usize,
    condition: Expr,
    subqueries: &[Subquery],
) -> Result<Relation> {
    let LogicalPlan::Join { left, right, kind, .. } = relation.plan else {
        return Err(Error::internal("a join is a join"));
    };
    let read = subqueries.iter().map(columns_read).collect::<Result<Vec<_>>>()?;
    let is_within = |read: &[usize], side: Range<usize>| read.iter().all(|index| side.contains(index));
    let all = relation.columns.len();
    if read.iter().any(|read| !is_within(read, 0..width) && !is_within(read, width..all)) {
        let apart = Apart { left: *left, right: *right, width, condition, subqueries };
        let output: Vec<OutputColumn> = relation.columns.iter().map(Named::output).collect();
        return Ok(Relation { plan: apart.join(kind, output)?, ..relation });
    }
    let mut sides = [(Stage::new(*left), 0..width), (Stage::new(*right), width..all)];
    let mut placed = vec![None; subqueries.len()];
    let guarded = branches::guarded(std::slice::from_ref(&condition), subqueries);
    for (at, (stage, side)) in sides.iter_mut().enumerate() {
        let mut here = subqueries.to_vec();
        let mut wanted = Vec::new();
        for (j, subquery) in here.iter_mut().enumerate() {
            if placed[j].is_none() && is_within(&read[j], side.clone()) {
                move_down(subquery, side.start)?;
                let ty = subquery.output.ty.clone();
                wanted.push((j, Expr::Column { index: pending::subquery(j), ty }));
            }
        }
        let (positions, exprs): (Vec<usize>, Vec<Expr>) = wanted.into_iter().unzip();
        for (j, expr) in positions.into_iter().zip(stage.settle_guarded(exprs, &here, &guarded)?) {
            placed[j] = Some((at, expr));
        }
    }
    let [(left, ..), (right, ..)] = sides;
    let (left_width, added) = (left.width, left.width - width);
    let condition = pending::rewrite(condition, &mut |e| {
        let Expr::Column { index, ty } = e else { return Ok(None) };
        let index = match pending::as_subquery(*index) {
            Some(j) => match &placed[j] {
                Some((0, value)) => return Ok(Some(value.clone())),
                Some((_, value)) => return Ok(Some(value.clone().map_columns(&|index| index + left_width))),
                None => return Err(Error::internal("a subquery that stands on neither side")),
            },
            None if *index < width || as_outer_column(*index).is_some() => return Ok(None),
            None => index + added,
        };
        Ok(Some(Expr::Column { index, ty: ty.clone() }))
    })?;
    let joined =
        LogicalPlan::Join { left: Box::new(left.plan), right: Box::new(right.plan), kind, condition: Some(condition) };
    let number = |i: usize| if i < width { i } else { i + added };
    let exprs = relation.columns.iter().enumerate().map(|(i, c)| Expr::column(number(i), c.ty.clone())).collect();
    let output: Vec<OutputColumn> = relation.columns.iter().map(Named::output).collect();
    Ok(Relation { plan: LogicalPlan::Project { input: Box::new(joined), exprs, output }, ..relation })
}

/// An outer join on a condition with subqueries over both sides.
struct Apart<'a> {
    left: LogicalPlan,
    right: LogicalPlan,
    /// Columns of `left`.
    width: usize,
    /// Over both sides' columns and `subqueries`.
    condition: Expr,
    subqueries: &'a [Subquery],
}

impl Apart<'_> {
    fn join(self, kind: JoinKind, output: Vec<OutputColumn>) -> Result<LogicalPlan> {
        let all = output.len();
        let kept = if kind == JoinKind::Right { self.width..all } else { 0..self.width };
        let alone = self.alone(kind, kept, &output)?;
        let pairs = LogicalPlan::Join {
            left: Box::new(self.left),
            right: Box::new(self.right),
            kind: JoinKind::Inner,
            condition: None,
        };
        let mut stage = Stage::new(pairs);
        let predicate = stage.settle_one(self.condition, self.subqueries)?;
        let matching = LogicalPlan::Filter { input: Box::new(stage.plan), predicate };
        let exprs = output.iter().enumerate().map(|(i, c)| Expr::column(i, c.ty.clone())).collect();
        let matching = LogicalPlan::Project { input: Box::new(matching), exprs, output: output.clone() };
        Ok(LogicalPlan::SetOperation { kind: SetKind::Union, all: true, inputs: vec![matching, alone], output })
    }

    /// Rows of the kept side that match none of the other's, with NULL for its columns.
    fn alone(&self, kind: JoinKind, kept: Range<usize>, output: &[OutputColumn]) -> Result<LogicalPlan> {
        let (this, other) = if kind == JoinKind::Right { (&self.right, &self.left) } else { (&self.left, &self.right) };
        let first = if kind == JoinKind::Right { 0 } else { self.width };
        let inward = Inward { kept: kept.clone(), first };
        let mut other = other.clone();
        inward.plan(&mut other, false)?;
        let mut subqueries = self.subqueries.to_vec();
        for subquery in &mut subqueries {
            inward.plan(&mut subquery.plan, true)?;
            for operand in walk::operands(&mut subquery.kind) {
                *operand = inward.expr(operand.clone());
            }
            subquery.correlated = true;
        }
        let mut stage = Stage::new(other);
        let predicate = stage.settle_one(inward.expr(self.condition.clone()), &subqueries)?;
        let matching = LogicalPlan::Filter { input: Box::new(stage.plan), predicate };
        let exists = super::expr::subquery(SubqueryKind::Exists, matching, true, FieldType::boolean());
        let input = LogicalPlan::Apply { input: Box::new(this.clone()), subqueries: vec![exists] };
        let found = Expr::column(kept.len(), FieldType::boolean());
        let predicate = Expr::call(Func::Not, vec![found])?;
        let alone = LogicalPlan::Filter { input: Box::new(input), predicate };
        let exprs = output.iter().enumerate().map(|(i, column)| match kept.contains(&i) {
            true => Expr::column(i - kept.start, column.ty.clone()),
            false => Expr::Literal(Value::Null, column.ty.clone().nullable()),
        });
        Ok(LogicalPlan::Project { exprs: exprs.collect(), input: Box::new(alone), output: output.to_vec() })
    }
}

/// Numbers of columns, as they are one block further in: what was a pair of rows is a row of the other side there, and the
/// kept row is that of the enclosing block.
struct Inward {
    /// The kept side's columns in the join.
    kept: Range<usize>,
    /// The first of the other side's.
    first: usize,
}

impl Inward {
    /// A column of the join, as it is called within `depth` blocks.
    fn column(&self, depth: Option<u8>, index: usize) -> usize {
        match (self.kept.contains(&index), depth) {
            (true, None) => outer_column(0, index - self.kept.start),
            (true, Some(depth)) => outer_column(depth + 1, index - self.kept.start),
            (false, None) => index - self.first,
            (false, Some(depth)) => outer_column(depth, index - self.first),
        }
    }

    /// An expression over the pairs.
    fn expr(&self, expr: Expr) -> Expr {
        expr.map_columns(&|index| match as_outer_column(index) {
            Some((depth, index)) => outer_column(depth + 1, index),
            None if pending::is_pending(index) => index,
            None => self.column(None, index),
        })
    }

    /// A plan: that of a subquery over the pairs, or one that stands beside them.
    fn plan(&self, plan: &mut LogicalPlan, of_pairs: bool) -> Result<()> {
        walk::deep(plan, 0, &mut |expr, level| {
            *expr = expr.clone().map_columns(&|index| match as_outer_column(index) {
                Some((depth, index)) if depth == level && of_pairs => self.column(Some(depth), index),
                Some((depth, index)) if depth >= level => outer_column(depth + 1, index),
                _ => index,
            });
            Ok(())
        })
    }
}

/// The columns of the join that a subquery and its operands read.
fn columns_read(subquery: &Subquery) -> Result<Vec<usize>> {
    let mut read: Vec<usize> = walk::outer_columns(&subquery.plan)?.into_keys().collect();
    for operand in walk::operands(&mut subquery.kind.clone()) {
        read.extend(operand.columns().into_iter().filter(|&index| as_outer_column(index).is_none()));
    }
    Ok(read)
}

/// Numbers a subquery's columns of the join as those of the side that starts at `first`.
fn move_down(subquery: &mut Subquery, first: usize) -> Result<()> {
    walk::deep(&mut subquery.plan, 0, &mut |expr, level| {
        *expr = expr.clone().map_columns(&|index| match as_outer_column(index) {
            Some((depth, index)) if depth == level => outer_column(depth, index - first),
            _ => index,
        });
        Ok(())
    })?;
    for operand in walk::operands(&mut subquery.kind) {
        *operand = operand.clone().map_columns(&|index| match as_outer_column(index) {
            None if index >= first && pending::as_subquery(index).is_none() => index - first,
            _ => index,
        });
    }
    Ok(())
}
