//! Recognizes what the short path can run: a chain of operators over one table (or over no table), reading few rows.
//!
//! ```text
//! Limit                      Limit
//!   Sort                       Sort                      gone when the key is in that order
//!     Project          →         Project
//!       Filter                     TableRead { access, filter, limit }
//!         Scan
//! ```
//! "Few" is known at once (all columns of a unique key are fixed), or from the parameters' values when the statement runs
//! ([`crate::executor`] then decides between the plan and its fallback), or is what a LIMIT asks for. Rows of UPDATE, DELETE
//! and locking reads are read here however many they are.
//!
//! Joins, subqueries, windows, set operations, made-up tables and aggregates beyond the simple ones are the query path's.

use crate::plan::{AggregateCall, LogicalPlan, OutputColumn, Query, RowLimit, Scan, SortKey};
use crate::planner::access::{self, AccessPath, Choice};
use crate::planner::condition::Test;
use crate::planner::physical::{ShortOperator, ShortQuery, ShortSource, TableRead};
use crate::result_columns::{ResultColumns, arrow_schema};
use basalt_expr::aggregate::AggregateFunc;
use basalt_expr::expr::Expr;
use std::sync::{Arc, OnceLock};

/// Most rows that a SELECT reads on the short path.
pub const SHORT_ROWS_MAX: u64 = 1_000;

/// What rows are read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A result: many rows are better read by the query path.
    Select,
    /// To be changed or locked.
    Write,
}

/// Plans a query for the short path; `None` when it is not a matter for it.
pub fn plan(query: &Query, purpose: Purpose) -> Option<ShortQuery> {
    if !query.locks.is_empty() {
        return None;
    }
    let output = ResultColumns::from(query.root.output());
    let mut operators = Vec::new();
    let leaf = unchain(&query.root, &mut operators)?;
    operators.reverse();
    let short =
        |source, operators, fallback| ShortQuery { source, operators, output, locking: query.locking, fallback };
    let scan = match leaf {
        LogicalPlan::Values { rows, output: columns } => {
            return Some(short(ShortSource::Values(rows.clone(), columns.clone()), operators, None));
        }
        LogicalPlan::Scan(scan) => scan.clone(),
        _ => return None,
    };
    let (read, operators) = plan_read(scan, operators);
    let is_write = purpose == Purpose::Write || query.locking.is_some();
    if is_write || read.access.rows_max(&read.scan.table).is_some_and(|rows| rows as u64 <= SHORT_ROWS_MAX) {
        return Some(short(ShortSource::Table(read), operators, None));
    }
    let may_be_short = read.limit.is_some() || is_bounded(&read.access);
    may_be_short.then(|| short(ShortSource::Table(read), operators, Some(Arc::new(query.clone()))))
}

/// True for what the short path can run over a stored table.
pub fn is_chain(plan: &LogicalPlan) -> bool {
    matches!(unchain(plan, &mut Vec::new()), Some(LogicalPlan::Scan(_)))
}

/// Takes the chain apart, top first; returns its leaf.
fn unchain<'a>(plan: &'a LogicalPlan, operators: &mut Vec<ShortOperator>) -> Option<&'a LogicalPlan> {
    let input = match plan {
        LogicalPlan::Values { .. } | LogicalPlan::Scan(_) => return Some(plan),
        LogicalPlan::Filter { input, predicate } => {
            operators.push(ShortOperator::Filter(predicate.clone()));
            input
        }
        LogicalPlan::Project { input, exprs, output } => {
            operators.push(ShortOperator::Project(exprs.clone(), arrow_schema(output)));
            input
        }
        LogicalPlan::Aggregate { input, group_by, aggregates, rollup, output } => {
            if *rollup || !aggregates.iter().all(is_simple) {
                return None;
            }
            let (group_by, aggregates, output) = (group_by.clone(), aggregates.clone(), output.clone());
            operators.push(ShortOperator::Aggregate { group_by, aggregates, output });
            input
        }
        LogicalPlan::Sort { input, keys } => {
            operators.push(ShortOperator::Sort(keys.clone()));
            input
        }
        LogicalPlan::Limit { input, offset, count } => {
            operators.push(ShortOperator::Limit(RowLimit { offset: offset.clone(), count: count.clone() }));
            input
        }
        LogicalPlan::Distinct { input } => {
            operators.push(ShortOperator::Distinct);
            input
        }
        LogicalPlan::Rename { input, .. } => input,
        _ => return None,
    };
    unchain(input, operators)
}

fn is_simple(call: &AggregateCall) -> bool {
    use AggregateFunc::{Avg, Count, Max, Min, Sum};
    matches!(call.func, Count | Sum | Min | Max | Avg) && !call.distinct && call.order_by.is_empty()
}

/// True when the path has both ends of its ranges, so that their width can be told from the parameters.
fn is_bounded(access: &AccessPath) -> bool {
    match access.columns.last() {
        None => false,
        Some(last) => {
            let all_points = access.point_columns() == access.columns.len();
            all_points || last.tests.iter().any(Test::is_bounded) || Test::All(last.tests.clone()).is_bounded()
        }
    }
}

/// Chooses the access path for the filters at the bottom of the chain, drops columns that nobody reads, and lets the key
/// do the sorting and the limiting where it can. `operators` come from the scan upwards.
fn plan_read(mut scan: Scan, mut operators: Vec<ShortOperator>) -> (TableRead, Vec<ShortOperator>) {
    let filters = operators.iter().take_while(|o| matches!(o, ShortOperator::Filter(_))).count();
    let mut conjuncts = Vec::new();
    for operator in operators.drain(..filters) {
        if let ShortOperator::Filter(predicate) = operator {
            conjuncts.extend(predicate.conjuncts());
        }
    }
    let order = wanted_order(&scan, &operators);
    let needed = needed_columns(&scan, &operators, &conjuncts);
    let needed_offsets: Vec<usize> = needed.iter().map(|&at| scan.columns[at]).collect();
    let choice = Choice {
        table: &scan.table,
        columns: &scan.columns,
        needed: &needed_offsets,
        hints: &scan.hints,
        order: if order.is_limited { &order.keys } else { &[] },
    };
    let (access, residual) = access::choose(choice, conjuncts);
    let reverse = access.gives_order(&scan.table, &order.keys);
    if reverse.is_some() {
        operators.remove(order.sort_at);
    }
    // Which columns the filter needs is known only now: conditions that the key answers are gone from it.
    let kept = needed_columns(&scan, &operators, &residual);
    prune(&mut scan, &mut operators, &kept);
    let position = |at: usize| kept.iter().position(|&k| k == at).unwrap_or(at);
    let residual = residual.into_iter().map(|e| e.map_columns(&position));
    let filter = residual.reduce(and);
    let limit = if filter.is_none() { pushed_limit(&operators) } else { None };
    (TableRead { scan, access, filter, reverse: reverse.unwrap_or(false), limit, layout: OnceLock::new() }, operators)
}

/// `a AND b`, of predicates.
fn and(a: Expr, b: Expr) -> Expr {
    let ty = basalt_expr::types::FieldType::boolean();
    Expr::Call { func: basalt_expr::func::Func::And, args: vec![a, b], ty }
}

#[derive(Default)]
struct WantedOrder {
    /// Offsets in the table, descending or not; empty when the sort is of anything but columns.
    keys: Vec<(usize, bool)>,
    /// Position of the sort among the operators.
    sort_at: usize,
    is_limited: bool,
}

/// The order of the first sort above the scan, when only projections are between.
fn wanted_order(scan: &Scan, operators: &[ShortOperator]) -> WantedOrder {
    let mut mapping: Vec<Option<usize>> = scan.columns.iter().map(|&offset| Some(offset)).collect();
    for (at, operator) in operators.iter().enumerate() {
        match operator {
            ShortOperator::Project(exprs, _) => {
                let through = |e: &Expr| match e {
                    Expr::Column { index, .. } => mapping.get(*index).copied().flatten(),
                    _ => None,
                };
                mapping = exprs.iter().map(through).collect();
            }
            ShortOperator::Sort(keys) => {
                let key = |k: &SortKey| match &k.expr {
                    Expr::Column { index, .. } => Some((mapping.get(*index).copied().flatten()?, k.descending)),
                    _ => None,
                };
                let Some(keys) = keys.iter().map(key).collect() else { return WantedOrder::default() };
                let is_projection = |o: &&ShortOperator| matches!(o, ShortOperator::Project(..));
                let next = operators[at + 1..].iter().find(|o| !is_projection(o));
                let is_limited = matches!(next, Some(ShortOperator::Limit(_)));
                return WantedOrder { keys, sort_at: at, is_limited };
            }
            _ => break,
        }
    }
    WantedOrder::default()
}

/// The limit, when nothing between it and the scan drops or reorders rows.
fn pushed_limit(operators: &[ShortOperator]) -> Option<RowLimit> {
    match operators.iter().find(|o| !matches!(o, ShortOperator::Project(..))) {
        Some(ShortOperator::Limit(limit)) => Some(limit.clone()),
        _ => None,
    }
}

/// Positions of the scan's columns that the operators and predicates read, ascending.
fn needed_columns(scan: &Scan, operators: &[ShortOperator], predicates: &[Expr]) -> Vec<usize> {
    let mut needed: Vec<usize> = predicates.iter().flat_map(Expr::columns).collect();
    let mut is_all = true;
    for operator in operators {
        match operator {
            ShortOperator::Filter(predicate) => needed.extend(predicate.columns()),
            ShortOperator::Sort(keys) => needed.extend(keys.iter().flat_map(|k| k.expr.columns())),
            ShortOperator::Limit(_) => {}
            ShortOperator::Project(exprs, _) => {
                needed.extend(exprs.iter().flat_map(Expr::columns));
                is_all = false;
                break;
            }
            ShortOperator::Aggregate { group_by, aggregates, .. } => {
                needed.extend(group_by.iter().chain(aggregates.iter().flat_map(|a| &a.args)).flat_map(Expr::columns));
                is_all = false;
                break;
            }
            ShortOperator::Distinct => break,
        }
    }
    if is_all {
        return (0..scan.columns.len()).collect();
    }
    needed.sort_unstable();
    needed.dedup();
    needed
}

/// Leaves only the columns at `kept` in the scan, and renumbers the operators that see them.
fn prune(scan: &mut Scan, operators: &mut [ShortOperator], kept: &[usize]) {
    if kept.len() == scan.columns.len() {
        return;
    }
    scan.columns = kept.iter().map(|&at| scan.columns[at]).collect();
    scan.output = kept.iter().map(|&at| scan.output[at].clone()).collect::<Vec<OutputColumn>>();
    let position = |at: usize| kept.iter().position(|&k| k == at).unwrap_or(at);
    let renumber = |expr: &mut Expr| *expr = std::mem::replace(expr, Expr::null()).map_columns(&position);
    for operator in operators {
        match operator {
            ShortOperator::Filter(predicate) => renumber(predicate),
            ShortOperator::Sort(keys) => keys.iter_mut().for_each(|k| renumber(&mut k.expr)),
            ShortOperator::Limit(_) => {}
            ShortOperator::Project(exprs, _) => return exprs.iter_mut().for_each(renumber),
            ShortOperator::Aggregate { group_by, aggregates, .. } => {
                let args = aggregates.iter_mut().flat_map(|a| a.args.iter_mut());
                return group_by.iter_mut().chain(args).for_each(renumber);
            }
            ShortOperator::Distinct => return,
        }
    }
}
