//! Rules of DataFusion, kept away from where they give wrong answers: those that put inner joins together anew so that none is a
//! cross join and that make keys of equalities, from `<=>`; that which moves filters down, from aggregates without groups; that
//! which simplifies expressions, from lists of one nullable operand beside each other.
//!
//! The first gathers the keys of all inner joins below one another and forgets which of them take NULL for equal to NULL:
//! the pairs of two NULLs were lost as soon as a `<=>` join met another one.

use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{NullEquality, Result};
use datafusion_expr::utils::{merge_schema, split_binary, split_conjunction};
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use std::collections::HashSet;
use std::sync::Arc;

/// The rule, for plans without joins by `<=>`.
#[derive(Debug)]
pub struct NullSafeCrossJoins {
    /// DataFusion's.
    pub rule: Arc<dyn OptimizerRule + Send + Sync>,
}

impl OptimizerRule for NullSafeCrossJoins {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let mut guarded = false;
        plan.apply_with_subqueries(|node| {
            guarded |= is_null_safe(node);
            Ok(if guarded { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if guarded {
            return plan.map_children(|child| self.rewrite(child, config));
        }
        self.rule.rewrite(plan, config)
    }
}

/// A rule that leaves some nodes as they are.
#[derive(Debug)]
pub struct Guarded {
    rule: Arc<dyn OptimizerRule + Send + Sync>,
    leaves: fn(&LogicalPlan) -> bool,
}

impl Guarded {
    /// DataFusion's rule that makes keys of a join's equalities, kept away from joins by `<=>`: for those a key takes NULL for
    /// equal to NULL, which `=` does not. An equality that comes to such a join later stays a condition on its pairs.
    pub fn null_safe_keys(rule: Arc<dyn OptimizerRule + Send + Sync>) -> Guarded {
        Guarded { rule, leaves: is_null_safe }
    }

    /// DataFusion's rule that moves filters down, kept from moving them below an aggregate without groups: that gives a row of
    /// no rows as well, and a condition without columns, which the rule takes for one of the groups', would only empty its
    /// input.
    pub fn filters_above_totals(rule: Arc<dyn OptimizerRule + Send + Sync>) -> Guarded {
        Guarded { rule, leaves: filters_a_total }
    }

    /// DataFusion's rule that simplifies expressions, kept away from those with two lists of one nullable operand: of
    /// `k IN (4, 0) AND k IN (3, 5)` it makes FALSE, and TRUE of `k NOT IN (4, 0) OR k NOT IN (3, 5)`, which NULL is neither of.
    pub fn lists_apart(rule: Arc<dyn OptimizerRule + Send + Sync>) -> Guarded {
        Guarded { rule, leaves: joins_lists }
    }
}

impl OptimizerRule for Guarded {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if (self.leaves)(&plan) { Ok(Transformed::no(plan)) } else { self.rule.rewrite(plan, config) }
    }
}

fn is_null_safe(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull)
}

/// A filter over a total; the rule makes one of filters on each other before it looks below them.
fn filters_a_total(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Filter(filter) = plan else { return false };
    match &*filter.input {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        below => filters_a_total(below),
    }
}

/// Whether an expression of a node has two lists of one nullable operand that the rule may make one of. The parts of a WHERE
/// count each for itself: FALSE and NULL leave a row out alike.
fn joins_lists(plan: &LogicalPlan) -> bool {
    let joins = |expr: &Expr| {
        let mut operands = Vec::new();
        list_operands(expr, &mut operands);
        let mut seen = HashSet::new();
        operands.retain(|&operand| !seen.insert(operand));
        if operands.is_empty() {
            return false;
        }
        let schema = merge_schema(&plan.inputs());
        // What no type is known of may be NULL.
        operands.into_iter().any(|operand| operand.nullable(&schema).unwrap_or(true))
    };
    match plan {
        LogicalPlan::Filter(filter) => split_conjunction(&filter.predicate).into_iter().any(joins),
        _ => plan.expressions().iter().any(joins),
    }
}

/// The operand of each list, and of each equality that may become one. Lists joined by OR, and by AND those of NOT IN, count
/// once: one list of all their items is NULL where they are.
fn list_operands<'a>(expr: &'a Expr, operands: &mut Vec<&'a Expr>) {
    let Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::And | Operator::Or), .. }) = expr else {
        match list(expr) {
            Some((operand, _)) => operands.push(operand),
            None => {
                // Nothing below it fails.
                let _ = expr.apply_children(|child| {
                    list_operands(child, operands);
                    Ok(TreeNodeRecursion::Continue)
                });
            }
        }
        return;
    };
    let mut together = HashSet::new();
    for part in split_binary(expr, *op) {
        match list(part) {
            Some((operand, negated)) if negated == (*op == Operator::And) => {
                if together.insert(operand) {
                    operands.push(operand);
                }
            }
            _ => list_operands(part, operands),
        }
    }
}

/// The operand of a list, or of an equality of a column and a constant, and whether it is NOT IN.
fn list(expr: &Expr) -> Option<(&Expr, bool)> {
    match expr {
        Expr::InList(list) => Some((&list.expr, list.negated)),
        Expr::BinaryExpr(binary) if binary.op == Operator::Eq => match (&*binary.left, &*binary.right) {
            (column @ Expr::Column(_), Expr::Literal(..)) | (Expr::Literal(..), column @ Expr::Column(_)) => {
                Some((column, false))
            }
            _ => None,
        },
        _ => None,
    }
}
