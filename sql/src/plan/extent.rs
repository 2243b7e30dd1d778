//! How large a plan is, for those who must not take long over one.

use super::LogicalPlan;
use super::walk::below;
use basalt_expr::expr::Expr;

/// Levels of subqueries in expressions, one within the other.
pub fn nested_subqueries(plan: &LogicalPlan) -> usize {
    let (inputs, subqueries) = below(plan);
    let inner = subqueries.into_iter().map(|plan| 1 + nested_subqueries(plan));
    inputs.into_iter().map(nested_subqueries).chain(inner).max().unwrap_or(0)
}

/// Operators and nodes of expressions that a plan is made of, roughly.
pub fn weight(plan: &LogicalPlan) -> usize {
    fn nodes<'a>(exprs: impl IntoIterator<Item = &'a Expr>) -> usize {
        let mut count = 0;
        exprs.into_iter().for_each(|expr| expr.visit(&mut |_| count += 1));
        count
    }
    let own = match plan {
        LogicalPlan::Filter { predicate, .. } => nodes([predicate]),
        LogicalPlan::Project { exprs, .. } => nodes(exprs),
        LogicalPlan::Values { rows, .. } => rows.iter().map(Vec::len).sum(),
        LogicalPlan::Aggregate { group_by, aggregates, .. } => {
            nodes(group_by) + nodes(aggregates.iter().flat_map(|call| &call.args))
        }
        LogicalPlan::Window { calls, .. } => nodes(calls.iter().flat_map(|call| &call.args)) + calls.len(),
        LogicalPlan::Join { condition, .. } => nodes(condition),
        LogicalPlan::Sort { keys, .. } => nodes(keys.iter().map(|key| &key.expr)),
        _ => 0,
    };
    let (inputs, subqueries) = below(plan);
    1 + own + inputs.into_iter().chain(subqueries).map(weight).sum::<usize>()
}
