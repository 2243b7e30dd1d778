//! `sql_safe_updates`: an UPDATE or DELETE must say which rows by a key, or how many.

use super::physical::{PhysicalPlan, RowsPlan, ShortOperator, ShortSource};
use crate::catalog::model::Table;
use crate::plan::{LogicalPlan, walk};
use basalt_expr::expr::Expr;

/// Whether a plan changes rows that it finds without a key.
pub fn changes_without_key(plan: &PhysicalPlan) -> bool {
    match plan {
        PhysicalPlan::Update(plan) => finds_without_key(&plan.source, &plan.update.source),
        PhysicalPlan::Delete(plan) => finds_without_key(&plan.source, &plan.delete.source),
        _ => false,
    }
}

fn finds_without_key(rows: &RowsPlan, source: &LogicalPlan) -> bool {
    match rows {
        RowsPlan::Short(short) => match &short.source {
            ShortSource::Table(read) => {
                let is_limited =
                    read.limit.is_some() || short.operators.iter().any(|o| matches!(o, ShortOperator::Limit(_)));
                // A short table is read as a whole though a key would do.
                !is_limited && read.access.columns.is_empty() && asks_no_key(source)
            }
            ShortSource::Values(..) => false,
        },
        RowsPlan::Query(_) => asks_no_key(source),
    }
}

fn asks_no_key(source: &LogicalPlan) -> bool {
    let mut source = source.clone();
    let mut seen = Seen::default();
    seen.look(&mut source);
    !(seen.is_limited || seen.is_filtered && seen.asks_key)
}

/// What a plan of several tables says of its rows.
#[derive(Default)]
struct Seen {
    is_limited: bool,
    is_filtered: bool,
    asks_key: bool,
}

impl Seen {
    fn look(&mut self, plan: &mut LogicalPlan) {
        let condition = match plan {
            LogicalPlan::Limit { .. } => {
                self.is_limited = true;
                None
            }
            LogicalPlan::Filter { input, predicate } => {
                self.is_filtered = true;
                Some((input.output(), predicate.clone()))
            }
            LogicalPlan::Join { left, right, condition: Some(condition), .. } => {
                Some(([left.output(), right.output()].concat(), condition.clone()))
            }
            _ => None,
        };
        if let Some((columns, condition)) = condition {
            let tables = tables(plan);
            for conjunct in condition.conjuncts() {
                self.asks_key |= compared(&conjunct).is_some_and(|at| {
                    let origin = columns.get(at).and_then(|column| column.origin.as_ref());
                    origin.is_some_and(|origin| {
                        tables.iter().any(|table| table.name == origin.table && begins_key(table, &origin.column))
                    })
                });
            }
        }
        for input in walk::inputs(plan) {
            self.look(input);
        }
    }
}

/// The column that a conjunct compares with something.
fn compared(conjunct: &Expr) -> Option<usize> {
    let sides = conjunct.children();
    sides.into_iter().find_map(|side| match side {
        Expr::Column { index, .. } => Some(*index),
        _ => None,
    })
}

fn begins_key(table: &Table, column: &str) -> bool {
    let offset = table.column_offset(column);
    offset.is_some() && table.indexes.iter().any(|index| index.columns.first().map(|part| part.column) == offset)
}

fn tables(plan: &LogicalPlan) -> Vec<std::sync::Arc<Table>> {
    let mut found = Vec::new();
    super::visit_scans(plan, &mut |scan| found.push(scan.table.clone()));
    found
}
