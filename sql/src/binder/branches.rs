//! Subqueries in parts of an expression that not every row reaches.
//!
//! A scalar subquery of several rows is an error (1242) where its value is asked for: `IF(FALSE, (SELECT id FROM t), 0)` asks
//! for none. Such a subquery gives the apply above it two columns, any of its values and the count of its rows, and the
//! expression looks at the count where it reads the value ([`Func::OnlyRow`]).

use super::pending::as_subquery;
use crate::error::Result;
use crate::plan::{LogicalPlan, OutputColumn, Subquery, SubqueryKind};
use basalt_expr::expr::Expr;
use basalt_expr::func::Func;
use basalt_expr::types::FieldType;
use std::collections::BTreeSet;

/// Which rows get to a part of an expression.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    All,
    /// Those for which what stands before it in an AND holds, or in a list differs.
    Holding,
    Some,
}

/// The pending columns of subqueries that some rows may not reach. One of the same value for all rows runs beforehand where
/// only an AND or a list stands over it, as a constant of the condition that an index may serve.
pub(super) fn guarded(exprs: &[Expr], subqueries: &[Subquery]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    exprs.iter().for_each(|expr| collect(expr, Reach::All, &mut found));
    let depends = |j: usize| subqueries.get(j).is_some_and(|subquery| subquery.correlated);
    let guarded = |(index, reach): &(usize, Reach)| *reach == Reach::Some || as_subquery(*index).is_some_and(depends);
    found.iter().filter(|found| guarded(found)).map(|(index, _)| *index).collect()
}

fn collect(expr: &Expr, reach: Reach, found: &mut BTreeSet<(usize, Reach)>) {
    match expr {
        Expr::Column { index, .. } => {
            if reach > Reach::All && as_subquery(*index).is_some() {
                found.insert((*index, reach));
            }
        }
        Expr::Call { func: func @ (Func::And | Func::Or | Func::Coalesce), args, .. } => {
            let behind = if *func == Func::And { Reach::Holding } else { Reach::Some };
            for (at, arg) in args.iter().enumerate() {
                collect(arg, if at > 0 { reach.max(behind) } else { reach }, found);
            }
        }
        Expr::Case { branches, otherwise, .. } => {
            for (at, (condition, result)) in branches.iter().enumerate() {
                collect(condition, if at > 0 { Reach::Some } else { reach }, found);
                collect(result, Reach::Some, found);
            }
            otherwise.iter().for_each(|otherwise| collect(otherwise, Reach::Some, found));
        }
        Expr::InList { expr, list, .. } => {
            collect(expr, reach, found);
            for (at, item) in list.iter().enumerate() {
                collect(item, if at > 0 { reach.max(Reach::Holding) } else { reach }, found);
            }
        }
        other => other.children().into_iter().for_each(|child| collect(child, reach, found)),
    }
}

/// Whether a subquery is a value, of which there may be several.
pub(super) fn may_have_rows(subquery: &Subquery) -> bool {
    matches!(subquery.kind, SubqueryKind::Scalar) && !crate::query::gives_one_row(&subquery.plan)
}

/// A scalar subquery as any of its values and the count of its rows.
pub(super) fn with_rows(subquery: Subquery) -> [Subquery; 2] {
    let ty = FieldType::bigint();
    let rows = Subquery {
        kind: SubqueryKind::Rows,
        plan: Box::new(LogicalPlan::Values { rows: vec![Vec::new()], output: Vec::new() }),
        correlated: false,
        output: OutputColumn { name: String::new(), table: String::new(), origin: None, ty },
    };
    [Subquery { kind: SubqueryKind::AnyValue, ..subquery }, rows]
}

/// A subquery's value where it is read: 1242 if the column `rows` says that there are several.
pub(super) fn checked(value: Expr, rows: usize) -> Result<Expr> {
    Ok(Expr::call(Func::OnlyRow, vec![value, Expr::column(rows, FieldType::bigint())])?)
}
