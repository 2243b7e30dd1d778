//! Subqueries in ON of an outer join: they must be asked below the join, on the side whose columns they read.

use super::branches;
use super::pending::{self, Stage};
use super::scope::{Named, Relation};
use crate::error::{Error, Result};
use crate::plan::{LogicalPlan, OutputColumn, Subquery, as_outer_column, outer_column, walk};
use basalt_expr::expr::Expr;

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
    let mut sides = [(Stage::new(*left), 0, width), (Stage::new(*right), width, relation.columns.len())];
    let mut placed = vec![None; subqueries.len()];
    let guarded = branches::guarded(std::slice::from_ref(&condition), subqueries);
    for (at, (stage, first, end)) in sides.iter_mut().enumerate() {
        let mut here = subqueries.to_vec();
        let mut wanted = Vec::new();
        for (j, subquery) in here.iter_mut().enumerate() {
            let read = columns_read(subquery)?;
            if placed[j].is_none() && read.iter().all(|index| (*first..*end).contains(index)) {
                move_down(subquery, *first)?;
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
                None => return Err(Error::unsupported("subqueries over both sides in ON of an outer join")),
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
