//! Walks over plans: a node's inputs, subqueries and expressions, for those who read them and those who rewrite them.

use super::{AggregateCall, LogicalPlan, SortKey, SubqueryKind, WindowCall, as_outer_column};
use crate::error::Result;
use basalt_expr::expr::Expr;
use basalt_expr::types::FieldType;
use std::collections::BTreeMap;

/// The inputs of a node, each as a reference like the one to the node: `iter` for shared ones, `iter_mut` for others.
macro_rules! inputs_of {
    ($plan:expr, $iter:ident) => {
        match $plan {
            LogicalPlan::Values { .. }
            | LogicalPlan::Scan(_)
            | LogicalPlan::Virtual(_)
            | LogicalPlan::WorkTable { .. } => Vec::new(),
            LogicalPlan::Filter { input, .. }
            | LogicalPlan::Project { input, .. }
            | LogicalPlan::Apply { input, .. }
            | LogicalPlan::Aggregate { input, .. }
            | LogicalPlan::Window { input, .. }
            | LogicalPlan::Sort { input, .. }
            | LogicalPlan::Limit { input, .. }
            | LogicalPlan::Distinct { input }
            | LogicalPlan::Rename { input, .. } => vec![input],
            LogicalPlan::Join { left, right, .. } => vec![left, right],
            LogicalPlan::SetOperation { inputs, .. } => inputs.$iter().collect(),
            LogicalPlan::RecursiveCte { base, step, .. } => vec![base, step],
        }
    };
}

/// The inputs of a node and the plans of its subqueries.
pub fn below(plan: &LogicalPlan) -> (Vec<&LogicalPlan>, Vec<&LogicalPlan>) {
    let subqueries = match plan {
        LogicalPlan::Apply { subqueries, .. } => subqueries.iter().map(|subquery| &*subquery.plan).collect(),
        _ => Vec::new(),
    };
    (inputs_of!(plan, iter), subqueries)
}

/// Calls `f` for every node of a plan, those of subqueries included, a node before what is below it.
pub fn visit<'a>(plan: &'a LogicalPlan, f: &mut dyn FnMut(&'a LogicalPlan)) {
    f(plan);
    let (inputs, subqueries) = below(plan);
    inputs.into_iter().chain(subqueries).for_each(|plan| visit(plan, f));
}

/// The inputs of a node; not the plans of its subqueries.
pub fn inputs(plan: &mut LogicalPlan) -> Vec<&mut LogicalPlan> {
    inputs_of!(plan, iter_mut)
}

/// Calls `f` for every expression of a node that is over its input.
pub fn for_each_expr(plan: &mut LogicalPlan, f: &mut dyn FnMut(&mut Expr) -> Result<()>) -> Result<()> {
    match plan {
        LogicalPlan::Values { rows, .. } => rows.iter_mut().flatten().try_for_each(f),
        LogicalPlan::Filter { predicate, .. } => f(predicate),
        LogicalPlan::Project { exprs, .. } => exprs.iter_mut().try_for_each(f),
        LogicalPlan::Apply { subqueries, .. } => {
            subqueries.iter_mut().flat_map(|s| operands(&mut s.kind)).try_for_each(f)
        }
        LogicalPlan::Aggregate { group_by, aggregates, .. } => {
            group_by.iter_mut().try_for_each(&mut *f)?;
            aggregates.iter_mut().try_for_each(|a| aggregate_exprs(a, f))
        }
        LogicalPlan::Window { calls, .. } => calls.iter_mut().try_for_each(|c| window_exprs(c, f)),
        LogicalPlan::Join { condition, .. } => condition.iter_mut().try_for_each(f),
        LogicalPlan::Sort { keys, .. } => keys.iter_mut().try_for_each(|k| f(&mut k.expr)),
        _ => Ok(()),
    }
}

/// What stands on the left of a subquery's comparison.
pub fn operands(kind: &mut SubqueryKind) -> Vec<&mut Expr> {
    match kind {
        SubqueryKind::In { operand } | SubqueryKind::Quantified { operand, .. } => vec![operand],
        SubqueryKind::InRows { operands } => operands.iter_mut().collect(),
        SubqueryKind::Scalar | SubqueryKind::AnyValue | SubqueryKind::Rows | SubqueryKind::Exists => Vec::new(),
    }
}

/// Calls `f` for every expression of an aggregate.
pub fn aggregate_exprs(call: &mut AggregateCall, f: &mut dyn FnMut(&mut Expr) -> Result<()>) -> Result<()> {
    call.args.iter_mut().try_for_each(&mut *f)?;
    call.order_by.iter_mut().try_for_each(|k| f(&mut k.expr))
}

/// Calls `f` for every expression of a window function.
pub fn window_exprs(call: &mut WindowCall, f: &mut dyn FnMut(&mut Expr) -> Result<()>) -> Result<()> {
    call.args.iter_mut().try_for_each(&mut *f)?;
    call.partition_by.iter_mut().try_for_each(&mut *f)?;
    call.order_by.iter_mut().try_for_each(|k: &mut SortKey| f(&mut k.expr))
}

/// Calls `f` for every expression of a plan and of the subqueries within, with the count of subqueries entered.
pub fn deep(plan: &mut LogicalPlan, level: u8, f: &mut dyn FnMut(&mut Expr, u8) -> Result<()>) -> Result<()> {
    for_each_expr(plan, &mut |expr| f(expr, level))?;
    if let LogicalPlan::Apply { subqueries, .. } = plan {
        for subquery in subqueries {
            deep(&mut subquery.plan, level + 1, f)?;
        }
    }
    inputs(plan).into_iter().try_for_each(|input| deep(input, level, f))
}

/// The columns of the enclosing apply's input that a subquery's plan reads, with their types.
pub fn outer_columns(plan: &LogicalPlan) -> Result<BTreeMap<usize, FieldType>> {
    let mut found = BTreeMap::new();
    deep(&mut plan.clone(), 0, &mut |expr, level| {
        expr.visit(&mut |e| {
            if let Expr::Column { index, ty } = e
                && let Some((depth, index)) = as_outer_column(*index)
                && depth == level
            {
                found.insert(index, ty.clone());
            }
        });
        Ok(())
    })?;
    Ok(found)
}
