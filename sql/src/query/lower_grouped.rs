//! The correlated subqueries of everyday, aggregates over `inner = outer`, without a look at the outer rows: the subquery is
//! grouped by its side of the equations, and each outer row finds its group by the other side.

use super::lower_correlated::peeled;
use super::unnest::{conjunction, of_nothing, unnamed};
use crate::error::{Error, Result};
use crate::plan::{AggregateCall, LogicalPlan, OutputColumn, as_outer_column, walk};
use basalt_expr::expr::Expr;
use basalt_expr::func::Func;

/// A question (one row whatever it reads) that is grouped by what ties it to the outer row.
pub struct Grouped {
    /// The groups: keys, then aggregates.
    pub plan: LogicalPlan,
    /// What the keys are equal to, over the outer plan.
    pub outer: Vec<Expr>,
    /// The question's columns over the groups; for an outer row without a group, over NULLs.
    pub results: Vec<Expr>,
}

/// Groups a question, when equations are all that ties it to the outer row.
///
/// # Errors
/// Those of typing.
pub fn grouped(question: &LogicalPlan) -> Result<Option<Grouped>> {
    let (exprs, aggregate) = match question {
        LogicalPlan::Project { input, exprs, .. } => (Some(exprs), &**input),
        other => (None, other),
    };
    let LogicalPlan::Aggregate { input, group_by, aggregates, output, .. } = aggregate else { return Ok(None) };
    if !group_by.is_empty() {
        return Ok(None);
    }
    let columns = input.output().into_iter().enumerate().map(|(i, c)| Expr::column(i, c.ty)).collect();
    let mut conditions = Vec::new();
    let Some((base, columns)) = peeled((**input).clone(), columns, &mut conditions, true)? else { return Ok(None) };
    let (mut local, mut keys, mut outer) = (Vec::new(), Vec::new(), Vec::new());
    for condition in conditions.into_iter().flat_map(Expr::conjuncts) {
        match as_key(&condition) {
            Some((of_outer, key)) => {
                outer.push(of_outer);
                keys.push(key);
            }
            None if is_local(&condition) => local.push(condition),
            None => return Ok(None),
        }
    }
    let mut calls = aggregates.clone();
    for call in &mut calls {
        walk::aggregate_exprs(call, &mut |e| {
            *e = over(e.clone(), &columns)?;
            Ok(())
        })?;
    }
    let mut is_tied = false;
    for call in &mut calls.clone() {
        walk::aggregate_exprs(call, &mut |e| {
            is_tied |= !is_local(e);
            Ok(())
        })?;
    }
    let is_tied = is_tied || exprs.is_some_and(|exprs| !exprs.iter().all(is_local));
    if keys.is_empty() || is_tied {
        return Ok(None);
    }
    let mut results = results_of(&calls, output, keys.len())?;
    if let Some(exprs) = exprs {
        results = exprs.iter().map(|e| over(e.clone(), &results)).collect::<Result<_>>()?;
    }
    let input = match local.is_empty() {
        true => base,
        false => LogicalPlan::Filter { input: Box::new(base), predicate: conjunction(local)? },
    };
    let columns: Vec<OutputColumn> =
        keys.iter().map(|k| unnamed(k.ty().clone())).chain(output.iter().cloned()).collect();
    let input = Box::new(input);
    let plan = LogicalPlan::Aggregate { input, group_by: keys, aggregates: calls, rollup: false, output: columns };
    Ok(Some(Grouped { plan, outer, results }))
}

/// The values of aggregates that start at column `first`, or are all NULL where there is no group.
fn results_of(calls: &[AggregateCall], output: &[OutputColumn], first: usize) -> Result<Vec<Expr>> {
    let mut results = Vec::with_capacity(output.len());
    for (i, (call, column)) in calls.iter().zip(output).enumerate() {
        let value = Expr::column(first + i, column.ty.clone().nullable());
        results.push(match of_nothing(call.func) {
            Some(default) => {
                let default = default.cast(column.ty.clone());
                Expr::call(Func::IfNull, vec![value, default])?.cast(column.ty.clone())
            }
            None => value,
        });
    }
    Ok(results)
}

/// `inner = outer`, as the outer side (over the outer plan) and the inner one.
fn as_key(condition: &Expr) -> Option<(Expr, Expr)> {
    let Expr::Call { func: Func::Eq, args, .. } = condition else { return None };
    let [left, right] = &args[..] else { return None };
    let (outer, inner) = if is_local(left) { (right, left) } else { (left, right) };
    let all_outer = outer.columns().into_iter().all(|index| as_outer_column(index).is_some());
    if !all_outer || is_local(outer) || !is_local(inner) || inner.columns().is_empty() {
        return None;
    }
    let outer = outer.clone().map_columns(&|index| as_outer_column(index).map_or(index, |(_, index)| index));
    Some((outer, inner.clone()))
}

/// Whether an expression reads no outer column.
fn is_local(expr: &Expr) -> bool {
    expr.columns().into_iter().all(|index| as_outer_column(index).is_none())
}

/// An expression with `columns` in place of its columns.
fn over(expr: Expr, columns: &[Expr]) -> Result<Expr> {
    expr.transform(&mut |e| match &e {
        Expr::Column { index, .. } if as_outer_column(*index).is_none() => {
            columns.get(*index).cloned().ok_or_else(|| Error::internal(format!("a subquery has no column {index}")))
        }
        _ => Ok(e),
    })
}
