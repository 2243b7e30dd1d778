//! Subqueries in expressions: [`crate::plan::LogicalPlan::Apply`].
//!
//! | subquery | where | becomes |
//! |---|---|---|
//! | of the same value for all rows: `(SELECT …)`, `EXISTS` | anywhere | a scalar subquery, run once; 1242 for two rows |
//! | … `x IN`, `x > ALL`, `x > ANY` | anywhere | a join with the distinct values; minimum, maximum and counts |
//! | `EXISTS`, `x IN` | a conjunct of WHERE, possibly negated | semi or anti join (null-aware for NOT IN) |
//! | everything else | anywhere | a join with its answers ([`super::lower_correlated`]) |

use super::hints::Hints;
use super::lower::{Lowered, Lowerer, as_type, in_schema_order};
use super::lower_correlated::{Answer, answered, gives_one_row, needs_join, restricted};
use super::lower_expr::{Exprs, NamedColumn};
use super::single_row::single_row;
use crate::error::{Error, Result};
use crate::plan::{CompareOp, LogicalPlan, SortKey, Subquery, SubqueryKind};
use basalt_expr::expr::Expr;
use basalt_expr::func::Func;
use basalt_expr::types::FieldType;
use datafusion_common::{Column, Spans};
use datafusion_expr::expr::{Exists, InSubquery};
use datafusion_expr::logical_plan::builder::LogicalPlanBuilder;
use datafusion_expr::{Expr as DfExpr, LogicalPlan as DfPlan, Subquery as DfSubquery, lit, when};
use datafusion_functions_aggregate as df;
use std::sync::Arc;

/// `EXISTS` and `IN` within each other: DataFusion's checks of a plan look at each twice as often as at the one around it,
/// 90 ms for 14 of them.
const MEMBERSHIPS_MAX: usize = 16;

/// `IN` within each other where its value is calculated with: each stands in the plan twice as often as the one around it.
const CONTAINED_MAX: usize = 8;

impl Lowerer<'_> {
    /// An apply on its own: its input's columns and one a subquery.
    pub(super) fn apply(&mut self, input: &LogicalPlan, subqueries: &[Subquery], hints: &Hints) -> Result<Lowered> {
        let width = input.output().len();
        let (joined, mut answers) = joined(input.clone(), input, subqueries, &|_| true)?;
        let mut lowered = self.lower(&joined, hints.through_apply(width))?;
        let mut added = Vec::with_capacity(subqueries.len());
        for (index, subquery) in subqueries.iter().enumerate() {
            let (next, value) = self.value_of(lowered, subquery, width, answers.remove(&index))?;
            lowered = next;
            added.push(value);
        }
        let mut exprs: Vec<_> = lowered.columns[..width].iter().map(|c| DfExpr::Column(c.column.clone())).collect();
        exprs.extend(added);
        let applied = self.projected(lowered.plan, exprs)?;
        // The joins that subqueries become do not keep their input's order, which a sort below them was there for.
        match sorted_by(input) {
            Some(keys) => self.sorted(applied, keys),
            None => Ok(applied),
        }
    }

    /// A filter over an apply: subqueries that are conjuncts of it become joins.
    pub(super) fn filter_over_apply(
        &mut self,
        input: &LogicalPlan,
        subqueries: &[Subquery],
        predicate: &Expr,
        hints: Hints,
    ) -> Result<Lowered> {
        let width = input.output().len();
        let (mut memberships, mut rest) = (Vec::new(), Vec::new());
        for conjunct in predicate.clone().conjuncts() {
            match as_membership(&conjunct, width, subqueries) {
                Some(membership) => memberships.push(membership),
                None => rest.push(conjunct),
            }
        }
        let is_wanted = |index: usize| rest.iter().any(|c| c.columns().contains(&(width + index)));
        let (mut joined, mut answers) = joined(input.clone(), input, subqueries, &is_wanted)?;
        let mut apart = Vec::new();
        for (subquery, negated) in memberships {
            if subquery.correlated || matches!(subquery.kind, SubqueryKind::InRows { .. }) {
                joined = restricted(joined, input, subquery, negated)?;
            } else {
                apart.push((subquery, negated));
            }
        }
        let mut lowered = self.lower(&joined, hints.through_apply(width))?;
        let mut substitutes = std::collections::BTreeMap::new();
        for (index, subquery) in subqueries.iter().enumerate().filter(|(index, _)| is_wanted(*index)) {
            let (next, value) = self.value_of(lowered, subquery, width, answers.remove(&index))?;
            lowered = next;
            substitutes.insert(width + index, value);
        }
        let input_columns = lowered.columns[..width].to_vec();
        let mut predicates = Vec::with_capacity(rest.len() + apart.len());
        for conjunct in &rest {
            let exprs = Exprs { substitutes: substitutes.clone(), ..self.exprs(&input_columns) };
            predicates.push(exprs.predicate(conjunct)?);
        }
        for (subquery, negated) in apart {
            predicates.push(self.membership(&input_columns, subquery, negated)?);
        }
        let mut plan = lowered.plan;
        for predicate in predicates {
            plan = LogicalPlanBuilder::from(plan).filter(predicate)?.build()?;
        }
        // A select list may show what HAVING asked; nobody refers to what became a join.
        let mut exprs: Vec<_> = input_columns.iter().map(|c| DfExpr::Column(c.column.clone())).collect();
        for (index, subquery) in subqueries.iter().enumerate() {
            exprs.push(match substitutes.remove(&(width + index)) {
                Some(value) => value,
                None => basalt_expr::datafusion::literal(
                    &basalt_expr::value::Value::Null,
                    &subquery.output.ty.clone().nullable(),
                )?,
            });
        }
        self.projected(plan, exprs)
    }

    /// `EXISTS` or `IN` as a Boolean that DataFusion turns into a join.
    fn membership(&mut self, input: &[NamedColumn], subquery: &Subquery, negated: bool) -> Result<DfExpr> {
        self.check_nesting(MEMBERSHIPS_MAX)?;
        let operand = match &subquery.kind {
            SubqueryKind::In { operand } => Some(operand),
            _ => None,
        };
        let inner = self.subquery(subquery, input)?;
        let Some(operand) = operand else {
            let subquery = self.df_subquery(inner.plan)?;
            return Ok(DfExpr::Exists(Exists { subquery, negated }));
        };
        let inner = self.single_key(inner, subquery)?;
        let value = self.exprs(input).key(operand)?;
        let subquery = self.df_subquery(inner.plan)?;
        Ok(DfExpr::InSubquery(InSubquery::new(Box::new(value), subquery, negated)))
    }

    /// The subquery's only column as it is compared: strings by weight.
    fn single_key(&mut self, inner: Lowered, subquery: &Subquery) -> Result<Lowered> {
        let ty = inner_type(subquery).ok_or_else(|| Error::internal("a subquery without columns"))?;
        let key = self.exprs(&inner.columns).key(&Expr::column(0, ty))?;
        self.projected(inner.plan, vec![key])
    }

    fn df_subquery(&self, plan: DfPlan) -> Result<DfSubquery> {
        let outer_ref_columns = plan.all_out_ref_exprs();
        Ok(DfSubquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() })
    }

    /// The value of one subquery over `input`, which may have grown by a join: from the columns that hold its answer, or, of
    /// a subquery that is the same for all rows, from a plan of its own.
    fn value_of(
        &mut self,
        input: Lowered,
        subquery: &Subquery,
        width: usize,
        answer: Option<Answer>,
    ) -> Result<(Lowered, DfExpr)> {
        match answer {
            Some(Answer::Value(expr)) => {
                let value = self.exprs(&input.columns).value(&as_type(&expr, &subquery.output))?;
                return Ok((input, value));
            }
            Some(Answer::Checked(value, count)) => {
                let with = self.exprs(&input.columns);
                let value = with.value(&as_type(&value, &subquery.output))?;
                let checked = single_row(value, with.value(&count)?);
                return Ok((input, checked));
            }
            None => {}
        }
        let columns = input.columns[..width].to_vec();
        match &subquery.kind {
            SubqueryKind::Scalar => {
                let mut inner = self.subquery(subquery, &columns)?;
                // Without a row it is NULL, whatever DataFusion makes of its column.
                if let (false, Some(column)) = (gives_one_row(&subquery.plan), inner.columns.first()) {
                    let value = DfExpr::Column(column.column.clone());
                    inner = self.projected(inner.plan, vec![single_row(value, lit(1i64))])?;
                }
                Ok((input, DfExpr::ScalarSubquery(self.df_subquery(inner.plan)?)))
            }
            SubqueryKind::Exists => {
                let inner = self.subquery(subquery, &columns)?;
                let inner = LogicalPlanBuilder::from(inner.plan).limit(0, Some(1))?.build()?;
                let count = self.aggregate_of(inner, count(lit(1i64)))?;
                let exists = when(count.gt(lit(0i64)), lit(1i64)).otherwise(lit(0i64))?;
                Ok((input, exists))
            }
            SubqueryKind::In { operand } => self.contains(input, columns, subquery, operand),
            SubqueryKind::Quantified { operand, op, all } => match (op, all) {
                (CompareOp::Eq, false) => self.contains(input, columns, subquery, operand),
                (CompareOp::Ne, true) => {
                    let (input, found) = self.contains(input, columns, subquery, operand)?;
                    Ok((input, lit(1i64) - found))
                }
                _ => self.quantified(input, &columns, subquery, operand, *op, *all),
            },
            SubqueryKind::InRows { .. } | SubqueryKind::AnyValue | SubqueryKind::Rows => {
                Err(Error::internal("a subquery that is joined"))
            }
        }
    }

    /// A scalar subquery that aggregates `plan`.
    fn aggregate_of(&mut self, plan: DfPlan, aggregate: DfExpr) -> Result<DfExpr> {
        let name = self.column_name();
        let plan = LogicalPlanBuilder::from(plan).aggregate(Vec::<DfExpr>::new(), [aggregate.alias(name)])?.build()?;
        Ok(DfExpr::ScalarSubquery(self.df_subquery(plan)?))
    }

    /// `input` with aggregates over all of `plan` in each of its rows.
    fn beside_totals<const N: usize>(
        &mut self,
        input: Lowered,
        plan: DfPlan,
        aggregates: [DfExpr; N],
    ) -> Result<(Lowered, [DfExpr; N])> {
        let names = aggregates.each_ref().map(|_| self.column_name());
        let named = aggregates.into_iter().zip(&names).map(|(aggregate, name)| aggregate.alias(name));
        let totals = LogicalPlanBuilder::from(plan).aggregate(Vec::<DfExpr>::new(), named)?.build()?;
        // The one row is the side that a join keeps.
        let joined = LogicalPlanBuilder::from(totals).cross_join(input.plan)?.build()?;
        let totals = names.map(|name| DfExpr::Column(Column::from_name(name)));
        Ok((Lowered { columns: input.columns, ..in_schema_order(joined) }, totals))
    }

    fn check_nesting(&self, max: usize) -> Result<()> {
        if self.outer.len() >= max { Err(Error::select_nesting()) } else { Ok(()) }
    }

    /// `operand IN (subquery)` as 1, 0 or NULL.
    fn contains(
        &mut self,
        input: Lowered,
        columns: Vec<NamedColumn>,
        subquery: &Subquery,
        operand: &Expr,
    ) -> Result<(Lowered, DfExpr)> {
        self.check_nesting(CONTAINED_MAX)?;
        let inner = self.subquery(subquery, &columns)?;
        let inner = self.single_key(inner, subquery)?;
        let key = inner.columns[0].column.clone();
        let counts = [count(lit(1i64)), count(DfExpr::Column(key.clone()))];
        let (input, [rows, known]) = self.beside_totals(input, inner.plan.clone(), counts)?;
        let (found, hit) = (self.column_name(), self.column_name());
        let distinct = LogicalPlanBuilder::from(inner.plan)
            .aggregate([DfExpr::Column(key).alias(&found)], Vec::<DfExpr>::new())?
            .project([DfExpr::Column(Column::from_name(&found)), lit(true).alias(&hit)])?
            .build()?;
        let value = self.exprs(&columns).key(operand)?;
        let on = value.clone().eq(DfExpr::Column(Column::from_name(found)));
        let joined =
            LogicalPlanBuilder::from(input.plan).join_on(distinct, datafusion_expr::JoinType::Left, [on])?.build()?;
        let null = || lit(datafusion_common::ScalarValue::Int64(None));
        let result = when(DfExpr::Column(Column::from_name(hit)).is_true(), lit(1i64))
            .when(rows.clone().eq(lit(0i64)), lit(0i64))
            .when(value.is_null(), null())
            .when(known.lt(rows), null())
            .otherwise(lit(0i64))?;
        Ok((Lowered { columns: input.columns, ..in_schema_order(joined) }, result))
    }

    /// `operand op ANY/ALL (subquery)` for an order comparison, by the extreme that decides it.
    fn quantified(
        &mut self,
        input: Lowered,
        columns: &[NamedColumn],
        subquery: &Subquery,
        operand: &Expr,
        op: CompareOp,
        all: bool,
    ) -> Result<(Lowered, DfExpr)> {
        let inner = self.subquery(subquery, columns)?;
        let inner = self.single_key(inner, subquery)?;
        let key = DfExpr::Column(inner.columns[0].column.clone());
        let greater = matches!(op, CompareOp::Gt | CompareOp::Ge);
        let function = if greater == all { df::min_max::max_udaf() } else { df::min_max::min_udaf() };
        let totals = [count(lit(1i64)), count(key.clone()), function.call(vec![key])];
        let (input, [rows, known, extreme]) = self.beside_totals(input, inner.plan, totals)?;
        let value = self.exprs(columns).key(operand)?;
        let holds = match op {
            CompareOp::Gt => value.clone().gt(extreme),
            CompareOp::Ge => value.clone().gt_eq(extreme),
            CompareOp::Lt => value.clone().lt(extreme),
            _ => value.clone().lt_eq(extreme),
        };
        let null = || lit(datafusion_common::ScalarValue::Int64(None));
        let decided = if all { holds.clone().is_false() } else { holds.clone().is_true() };
        let result = when(rows.clone().eq(lit(0i64)), lit(i64::from(all)))
            .when(value.is_null(), null())
            .when(decided, lit(i64::from(!all)))
            .when(known.lt(rows), null())
            .otherwise(lit(i64::from(all)))?;
        Ok((input, result))
    }
}

fn count(of: DfExpr) -> DfExpr {
    df::count::count_udaf().call(vec![of])
}

/// `plan`, which starts with the columns of `input`, with the answers of the wanted subqueries that need a join.
fn joined(
    plan: LogicalPlan,
    input: &LogicalPlan,
    subqueries: &[Subquery],
    is_wanted: &dyn Fn(usize) -> bool,
) -> Result<(LogicalPlan, std::collections::BTreeMap<usize, Answer>)> {
    let mut joined = plan;
    let mut answers = std::collections::BTreeMap::new();
    for (index, subquery) in subqueries.iter().enumerate().filter(|(index, _)| is_wanted(*index)) {
        if needs_join(subquery) {
            let (next, answer) = answered(joined, input, subquery)?;
            joined = next;
            match (&subquery.kind, answer) {
                (SubqueryKind::AnyValue, Answer::Checked(value, rows)) => {
                    answers.insert(index, Answer::Value(value));
                    answers.insert(index + 1, Answer::Value(rows));
                }
                (_, answer) => {
                    answers.insert(index, answer);
                }
            }
        }
    }
    Ok((joined, answers))
}

/// What the rows of a plan are in the order of: a sort, possibly cut off by a limit.
fn sorted_by(plan: &LogicalPlan) -> Option<&[SortKey]> {
    match plan {
        LogicalPlan::Sort { keys, .. } => Some(keys),
        LogicalPlan::Limit { input, .. } | LogicalPlan::Rename { input, .. } => sorted_by(input),
        _ => None,
    }
}

/// A conjunct that is an EXISTS or IN subquery, or NOT one.
fn as_membership<'a>(conjunct: &Expr, width: usize, subqueries: &'a [Subquery]) -> Option<(&'a Subquery, bool)> {
    match conjunct {
        Expr::Column { index, .. } => {
            let subquery = subqueries.get(index.checked_sub(width)?)?;
            let is_membership = match &subquery.kind {
                SubqueryKind::Exists | SubqueryKind::InRows { .. } => true,
                SubqueryKind::In { .. } => subquery.correlated || !needs_join(subquery),
                SubqueryKind::Scalar
                | SubqueryKind::AnyValue
                | SubqueryKind::Rows
                | SubqueryKind::Quantified { .. } => false,
            };
            is_membership.then_some((subquery, false))
        }
        Expr::Call { func: Func::Not, args, .. } => {
            let (subquery, negated) = as_membership(args.first()?, width, subqueries)?;
            Some((subquery, !negated))
        }
        _ => None,
    }
}

/// Type of the subquery's first column.
pub fn inner_type(subquery: &Subquery) -> Option<FieldType> {
    subquery.plan.output().into_iter().next().map(|column| column.ty)
}
