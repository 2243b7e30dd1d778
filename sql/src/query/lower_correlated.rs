//! Subqueries that are not plain values of the statement, as joins of the apply's input.
//!
//! Every kind is a question with one row for an answer, an aggregate over the subquery's rows: for a scalar its value and the
//! count of rows, for EXISTS the count, for `x op ANY` and `ALL` whether the comparison was true (false) or unknown for any
//! row. The answers for all bindings ([`super::unnest`]) are joined to the input. What is a conjunct of WHERE needs no answer
//! for each row and is a semi or anti join.

use super::lower_grouped::{Grouped, grouped};
use super::lower_subquery::inner_type;
use super::unnest::{Domain, conjunction, unnamed, unnest};
use crate::error::{Error, Result};
use crate::plan::extent::nested_subqueries;
use crate::plan::{
    AggregateCall, CompareOp, JoinKind, LogicalPlan, Subquery, SubqueryKind, as_outer_column, outer_column, walk,
};
use basalt_expr::aggregate::AggregateFunc;
use basalt_expr::expr::Expr;
use basalt_expr::func::{self, Func};
use basalt_expr::types::FieldType;

/// How the value of a subquery comes out of the columns that a join added.
pub enum Answer {
    /// An expression over the joined plan.
    Value(Expr),
    /// A column, and the column with the count of rows that it may stand for: 1242 above one.
    Checked(Expr, Expr),
}

/// Levels of scalar subqueries that DataFusion gets as such: its checks of a plan look into each level twice.
const NESTED_SCALARS_MAX: usize = 4;

/// Whether a subquery needs a join of its own: all that depend on the row, and comparisons that have no extreme to ask for
/// or whose sides are of different types.
pub fn needs_join(subquery: &Subquery) -> bool {
    let is_mixed =
        |operand: &Expr| inner_type(subquery).is_none_or(|inner| inner.arrow_type() != operand.ty().arrow_type());
    let unordered = match &subquery.kind {
        SubqueryKind::Quantified { op, all, operand } => {
            matches!((op, all), (CompareOp::Eq, true) | (CompareOp::Ne, false)) || is_mixed(operand)
        }
        SubqueryKind::InRows { .. } => true,
        // A constant meets no join that knows of NULLs.
        SubqueryKind::In { operand } => operand.columns().is_empty() || is_mixed(operand),
        // No row is NULL, whatever the column says of its values.
        SubqueryKind::Scalar => {
            let not_null = || subquery.plan.output().iter().any(|c| c.ty.not_null);
            nested_subqueries(&subquery.plan) > NESTED_SCALARS_MAX || !gives_one_row(&subquery.plan) && not_null()
        }
        SubqueryKind::AnyValue => true,
        SubqueryKind::Exists | SubqueryKind::Rows => false,
    };
    subquery.correlated || unordered
}

/// `joined`, an apply's `input` and more columns behind it, with a subquery's answer joined to it.
///
/// # Errors
/// 1235 for outer columns that change when they are read again.
pub fn answered(joined: LogicalPlan, input: &LogicalPlan, subquery: &Subquery) -> Result<(LogicalPlan, Answer)> {
    let first = joined.output().len();
    let question = question(subquery)?;
    if let Some(Grouped { plan, outer, results }) = grouped(&question)? {
        let results = results.into_iter().map(|e| e.map_columns(&|index| first + index)).collect();
        let mut equal = Vec::with_capacity(outer.len());
        for (i, (outer, key)) in outer.into_iter().zip(plan.output()).enumerate() {
            equal.push(Expr::call(Func::Eq, vec![outer, Expr::column(first + i, key.ty)])?);
        }
        let (left, right, condition) = (Box::new(joined), Box::new(plan), Some(conjunction(equal)?));
        let joined = LogicalPlan::Join { left, right, kind: JoinKind::Left, condition };
        return Ok((joined, answer(subquery, results)?));
    }
    let columns = question.output();
    let width = columns.len();
    let columns = columns.into_iter().enumerate().map(|(i, c)| Expr::column(first + i, c.ty.nullable())).collect();
    let answer = answer(subquery, columns)?;
    let (right, kind, condition) = match Domain::of(input, &question)? {
        None => (question, JoinKind::Inner, None),
        Some(domain) => {
            let condition = domain.matches(&input.output(), first + width)?;
            (unnest(question, &domain)?, JoinKind::Left, Some(condition))
        }
    };
    Ok((LogicalPlan::Join { left: Box::new(joined), right: Box::new(right), kind, condition }, answer))
}

/// A plan of one row whatever it reads.
fn question(subquery: &Subquery) -> Result<LogicalPlan> {
    let plan = (*subquery.plan).clone();
    let aggregates = match &subquery.kind {
        SubqueryKind::Scalar if gives_one_row(&plan) => return Ok(plan),
        SubqueryKind::Scalar | SubqueryKind::AnyValue => {
            let column =
                plan.output().into_iter().next().ok_or_else(|| Error::internal("a subquery without columns"))?;
            let value = Expr::column(0, column.ty);
            let ty = value.ty().clone().nullable();
            vec![call(AggregateFunc::AnyValue, vec![value], ty), count()]
        }
        SubqueryKind::Exists => vec![count()],
        _ => {
            let holds = comparison(subquery, &plan, 0)?;
            let decides = if is_all(&subquery.kind) { Func::IsFalse } else { Func::IsTrue };
            vec![maximum(decides, holds.clone())?, maximum(Func::IsNull, holds)?]
        }
    };
    let output = aggregates.iter().map(|a| unnamed(a.ty.clone())).collect();
    Ok(LogicalPlan::Aggregate { input: Box::new(plan), group_by: Vec::new(), aggregates, rollup: false, output })
}

/// The answer from the question's columns.
fn answer(subquery: &Subquery, mut columns: Vec<Expr>) -> Result<Answer> {
    let last = if columns.len() > 1 { columns.pop() } else { None };
    let first = columns.pop().ok_or_else(|| Error::internal("a question without columns"))?;
    let is_true = |column: Expr| Expr::call(Func::IsTrue, vec![column]);
    Ok(match (&subquery.kind, last) {
        (SubqueryKind::Scalar | SubqueryKind::AnyValue, Some(count)) => Answer::Checked(first, count),
        (SubqueryKind::Scalar, None) => Answer::Value(first),
        (kind, Some(unknown)) => {
            let all = is_all(kind);
            let decided = (is_true(first)?, Expr::int(i64::from(!all)));
            let branches = vec![decided, (is_true(unknown)?, Expr::null())];
            Answer::Value(func::case(branches, Some(Expr::int(i64::from(all))))?)
        }
        (_, None) => Answer::Value(is_true(first)?),
    })
}

fn is_all(kind: &SubqueryKind) -> bool {
    matches!(kind, SubqueryKind::Quantified { all: true, .. })
}

/// The comparison of a subquery's operands with its rows. The rows' columns start at `first`; the operands are over the
/// apply's input, as outer columns.
fn comparison(subquery: &Subquery, plan: &LogicalPlan, first: usize) -> Result<Expr> {
    let mut kind = subquery.kind.clone();
    let op = match &kind {
        SubqueryKind::Quantified { op, .. } => match op {
            CompareOp::Eq => Func::Eq,
            CompareOp::Ne => Func::Ne,
            CompareOp::Lt => Func::Lt,
            CompareOp::Le => Func::Le,
            CompareOp::Gt => Func::Gt,
            CompareOp::Ge => Func::Ge,
        },
        _ => Func::Eq,
    };
    let mut all = Vec::new();
    for (i, (operand, column)) in walk::operands(&mut kind).into_iter().zip(plan.output()).enumerate() {
        let outer = operand.clone().map_columns(&|index| outer_column(0, index));
        all.push(Expr::call(op, vec![outer, Expr::column(first + i, column.ty)])?);
    }
    conjunction(all)
}

/// `joined` without the rows for which a conjunct of WHERE does not hold: an EXISTS or IN, possibly negated.
///
/// # Errors
/// As [`answered`].
pub fn restricted(joined: LogicalPlan, input: &LogicalPlan, subquery: &Subquery, negated: bool) -> Result<LogicalPlan> {
    let first = joined.output().len();
    let mut kind = subquery.kind.clone();
    let columns: Vec<Expr> = subquery
        .plan
        .output()
        .into_iter()
        .take(walk::operands(&mut kind).len())
        .enumerate()
        .map(|(i, c)| Expr::column(i, c.ty))
        .collect();
    let mut conditions = Vec::new();
    let (right, columns) = match peeled((*subquery.plan).clone(), columns.clone(), &mut conditions, false)? {
        Some((base, columns)) => (base, columns),
        None => {
            conditions.clear();
            let domain = Domain::of(input, &subquery.plan)?
                .ok_or_else(|| Error::internal("a correlated subquery that reads no outer column"))?;
            let width = subquery.plan.output().len();
            conditions.push(domain.matches(&input.output(), first + width)?);
            // What is over the joined plan already must not be moved again.
            return semi(joined, unnest((*subquery.plan).clone(), &domain)?, columns, conditions, subquery, negated);
        }
    };
    let conditions = conditions.into_iter().map(|c| over_join(c, first)).collect();
    semi(joined, right, columns, conditions, subquery, negated)
}

fn semi(
    joined: LogicalPlan,
    right: LogicalPlan,
    columns: Vec<Expr>,
    mut conditions: Vec<Expr>,
    subquery: &Subquery,
    negated: bool,
) -> Result<LogicalPlan> {
    let first = joined.output().len();
    let mut kind = subquery.kind.clone();
    let mut equal = Vec::new();
    for (operand, column) in walk::operands(&mut kind).into_iter().zip(columns) {
        equal.push(Expr::call(Func::Eq, vec![operand.clone(), over_join(column, first)])?);
    }
    if !equal.is_empty() {
        let equal = conjunction(equal)?;
        // NOT IN is true only where every comparison is false.
        let unknown = negated && !equal.ty().not_null;
        conditions.push(if unknown { Expr::call(Func::IsNotFalse, vec![equal])? } else { equal });
    }
    Ok(LogicalPlan::Join {
        left: Box::new(joined),
        right: Box::new(right),
        kind: if negated { JoinKind::Anti } else { JoinKind::Semi },
        condition: Some(conjunction(conditions)?),
    })
}

/// An expression over a subquery's plan as one over a join: own columns start at `first`, outer ones are the input's.
fn over_join(expr: Expr, first: usize) -> Expr {
    expr.map_columns(&|index| match as_outer_column(index) {
        Some((_, index)) => index,
        None => first + index,
    })
}

/// The part of a subquery below its filters, when only they and its columns read outer columns: then they can stand in the
/// join's condition. `columns` come back as expressions over that part. With `counts` it matters how often a row comes.
///
/// # Errors
/// Those of typing.
pub fn peeled(
    plan: LogicalPlan,
    columns: Vec<Expr>,
    conditions: &mut Vec<Expr>,
    counts: bool,
) -> Result<Option<(LogicalPlan, Vec<Expr>)>> {
    if walk::outer_columns(&plan)?.is_empty() {
        return Ok(Some((plan, columns)));
    }
    match plan {
        LogicalPlan::Project { input, exprs, .. } => {
            let over_input = |e: Expr| {
                e.transform::<Error>(&mut |e| match &e {
                    Expr::Column { index, .. } if as_outer_column(*index).is_none() => Ok(exprs[*index].clone()),
                    _ => Ok(e),
                })
            };
            let columns = columns.into_iter().map(over_input).collect::<Result<_>>()?;
            for condition in conditions.iter_mut() {
                *condition = over_input(condition.clone())?;
            }
            peeled(*input, columns, conditions, counts)
        }
        LogicalPlan::Filter { input, predicate } => {
            conditions.push(predicate);
            peeled(*input, columns, conditions, counts)
        }
        LogicalPlan::Distinct { .. } if counts => Ok(None),
        LogicalPlan::Rename { input, .. } | LogicalPlan::Sort { input, .. } | LogicalPlan::Distinct { input } => {
            peeled(*input, columns, conditions, counts)
        }
        _ => Ok(None),
    }
}

fn call(func: AggregateFunc, args: Vec<Expr>, ty: FieldType) -> AggregateCall {
    AggregateCall { func, args, distinct: false, order_by: Vec::new(), separator: None, ty }
}

fn count() -> AggregateCall {
    call(AggregateFunc::Count, Vec::new(), FieldType::bigint().required())
}

fn maximum(of: Func, holds: Expr) -> Result<AggregateCall> {
    let asked = Expr::call(of, vec![holds])?;
    let ty = AggregateFunc::Max.result_type(std::slice::from_ref(&asked))?;
    Ok(call(AggregateFunc::Max, vec![asked], ty))
}

/// True when the plan gives exactly one row whatever its input: an aggregate without groups.
pub fn gives_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate { group_by, .. } => group_by.is_empty(),
        LogicalPlan::Values { rows, .. } => rows.len() == 1,
        LogicalPlan::Project { input, .. } | LogicalPlan::Rename { input, .. } | LogicalPlan::Sort { input, .. } => {
            gives_one_row(input)
        }
        _ => false,
    }
}
