//! Subqueries in expressions: [`crate::plan::LogicalPlan::Apply`].
//!
//! | subquery | where | becomes |
//! |---|---|---|
//! | `(SELECT …)` | anywhere | a scalar subquery: a left join when correlated, otherwise run once; 1242 for two rows |
//! | `EXISTS`, `x IN` | a conjunct of WHERE, possibly negated | semi or anti join (null-aware for NOT IN) |
//! | `EXISTS` | elsewhere | `(SELECT COUNT(*) …) > 0` |
//! | `x IN` | elsewhere | a join with the distinct values, and two counts that tell NULL from 0 |
//! | `x > ALL`, `x > ANY` | anywhere | comparisons with minimum, maximum and counts |
//!
//! Decorrelation itself is DataFusion's. What it cannot take apart (a correlation that is not an equality below an
//! aggregate, for instance) ends in error 1235 when the plan is made.

use super::hints::Hints;
use super::lower::{Lowered, Lowerer, in_schema_order};
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

impl Lowerer<'_> {
    /// An apply on its own: its input's columns and one a subquery.
    pub(super) fn apply(&mut self, input: &LogicalPlan, subqueries: &[Subquery], hints: &Hints) -> Result<Lowered> {
        let width = input.output().len();
        let mut lowered = self.lower(input, hints.through_apply(width))?;
        let mut added = Vec::with_capacity(subqueries.len());
        for subquery in subqueries {
            let (next, value) = self.value_of(lowered, subquery, width)?;
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
        let mut lowered = self.lower(input, hints.through_apply(width))?;
        let conjuncts = predicate.clone().conjuncts();
        let mut joined = Vec::new();
        let mut rest = Vec::new();
        for conjunct in conjuncts {
            match as_membership(&conjunct, width, subqueries) {
                Some((subquery, negated)) => joined.push((subquery, negated)),
                None => rest.push(conjunct),
            }
        }
        let mut substitutes = std::collections::BTreeMap::new();
        for (index, subquery) in subqueries.iter().enumerate() {
            if rest.iter().any(|c| c.columns().contains(&(width + index))) {
                let (next, value) = self.value_of(lowered, subquery, width)?;
                lowered = next;
                substitutes.insert(width + index, value);
            }
        }
        let input_columns = lowered.columns[..width].to_vec();
        let mut predicates = Vec::with_capacity(rest.len() + joined.len());
        for conjunct in &rest {
            let exprs = Exprs { substitutes: substitutes.clone(), ..self.exprs(&input_columns) };
            predicates.push(exprs.predicate(conjunct)?);
        }
        for (subquery, negated) in joined {
            predicates.push(self.membership(&input_columns, subquery, negated)?);
        }
        let mut plan = lowered.plan;
        for predicate in predicates {
            plan = LogicalPlanBuilder::from(plan).filter(predicate)?.build()?;
        }
        // The filter's output has the subqueries' columns, which nobody above refers to but the types promise.
        let mut exprs: Vec<_> = input_columns.iter().map(|c| DfExpr::Column(c.column.clone())).collect();
        for (index, subquery) in subqueries.iter().enumerate() {
            exprs.push(match substitutes.remove(&(width + index)) {
                Some(value @ DfExpr::Column(_)) => value,
                _ => basalt_expr::datafusion::literal(
                    &basalt_expr::value::Value::Null,
                    &subquery.output.ty.clone().nullable(),
                )?,
            });
        }
        self.projected(plan, exprs)
    }

    /// `EXISTS` or `IN` as a Boolean that DataFusion turns into a join.
    fn membership(&mut self, input: &[NamedColumn], subquery: &Subquery, negated: bool) -> Result<DfExpr> {
        let operand = match &subquery.kind {
            SubqueryKind::In { operand } => Some(operand),
            _ => None,
        };
        let inner = self.subquery(subquery, input)?;
        let Some(operand) = operand else {
            let subquery = self.df_subquery(inner.plan)?;
            return Ok(DfExpr::Exists(Exists { subquery, negated }));
        };
        let (inner, key) = self.single_key(inner, subquery)?;
        let value = self.exprs(input).key(&operand_as(operand, &key))?;
        let subquery = self.df_subquery(inner.plan)?;
        Ok(DfExpr::InSubquery(InSubquery::new(Box::new(value), subquery, negated)))
    }

    /// The subquery's only column as it is compared: strings by weight.
    fn single_key(&mut self, inner: Lowered, subquery: &Subquery) -> Result<(Lowered, FieldType)> {
        let ty = inner_type(subquery)?;
        let key = self.exprs(&inner.columns).key(&Expr::column(0, ty.clone()))?;
        Ok((self.projected(inner.plan, vec![key])?, ty))
    }

    fn df_subquery(&self, plan: DfPlan) -> Result<DfSubquery> {
        let outer_ref_columns = plan.all_out_ref_exprs();
        Ok(DfSubquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::new() })
    }

    /// The value of one subquery over `input`, which may have grown by a join.
    fn value_of(&mut self, input: Lowered, subquery: &Subquery, width: usize) -> Result<(Lowered, DfExpr)> {
        let columns = input.columns[..width].to_vec();
        match &subquery.kind {
            SubqueryKind::Scalar => {
                let value = self.scalar(&columns, subquery)?;
                Ok((input, value))
            }
            SubqueryKind::Exists => {
                let inner = self.subquery(subquery, &columns)?;
                let inner = match subquery.correlated {
                    true => inner.plan,
                    false => LogicalPlanBuilder::from(inner.plan).limit(0, Some(1))?.build()?,
                };
                let count = self.aggregate_of(inner, df::count::count_udaf().call(vec![lit(1i64)]))?;
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
                (CompareOp::Eq, true) | (CompareOp::Ne, false) => {
                    Err(Error::unsupported("= ALL and <> ANY with a subquery"))
                }
                _ => {
                    let value = self.quantified(&columns, subquery, operand, *op, *all)?;
                    Ok((input, value))
                }
            },
        }
    }

    fn scalar(&mut self, input: &[NamedColumn], subquery: &Subquery) -> Result<DfExpr> {
        let inner = self.subquery(subquery, input)?;
        let plan = match subquery.correlated && !gives_one_row(&subquery.plan) {
            false => inner.plan,
            true => {
                // A join per row: several rows must be noticed, not multiply the outer row.
                let column = DfExpr::Column(inner.columns[0].column.clone());
                let (value, count) = (self.column_name(), self.column_name());
                let aggregates = [
                    df::first_last::first_value_udaf().call(vec![column]).alias(&value),
                    df::count::count_udaf().call(vec![lit(1i64)]).alias(&count),
                ];
                let plan = LogicalPlanBuilder::from(inner.plan).aggregate(Vec::<DfExpr>::new(), aggregates)?;
                let checked =
                    single_row(DfExpr::Column(Column::from_name(value)), DfExpr::Column(Column::from_name(count)));
                plan.project([checked.alias(self.column_name())])?.build()?
            }
        };
        Ok(DfExpr::ScalarSubquery(self.df_subquery(plan)?))
    }

    /// A scalar subquery that aggregates `plan`.
    fn aggregate_of(&mut self, plan: DfPlan, aggregate: DfExpr) -> Result<DfExpr> {
        let name = self.column_name();
        let plan = LogicalPlanBuilder::from(plan).aggregate(Vec::<DfExpr>::new(), [aggregate.alias(name)])?.build()?;
        Ok(DfExpr::ScalarSubquery(self.df_subquery(plan)?))
    }

    /// `operand IN (subquery)` as 1, 0 or NULL.
    fn contains(
        &mut self,
        input: Lowered,
        columns: Vec<NamedColumn>,
        subquery: &Subquery,
        operand: &Expr,
    ) -> Result<(Lowered, DfExpr)> {
        if subquery.correlated {
            return Err(Error::unsupported("correlated IN outside of WHERE's conjuncts"));
        }
        let inner = self.subquery(subquery, &columns)?;
        let (inner, ty) = self.single_key(inner, subquery)?;
        let key = inner.columns[0].column.clone();
        let rows = self.aggregate_of(inner.plan.clone(), df::count::count_udaf().call(vec![lit(1i64)]))?;
        let known =
            self.aggregate_of(inner.plan.clone(), df::count::count_udaf().call(vec![DfExpr::Column(key.clone())]))?;
        let (found, hit) = (self.column_name(), self.column_name());
        let distinct = LogicalPlanBuilder::from(inner.plan)
            .distinct()?
            .project([DfExpr::Column(key).alias(&found), lit(true).alias(&hit)])?
            .build()?;
        let value = self.exprs(&columns).key(&operand_as(operand, &ty))?;
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
        columns: &[NamedColumn],
        subquery: &Subquery,
        operand: &Expr,
        op: CompareOp,
        all: bool,
    ) -> Result<DfExpr> {
        if subquery.correlated {
            return Err(Error::unsupported("correlated ANY and ALL"));
        }
        let inner = self.subquery(subquery, columns)?;
        let (inner, ty) = self.single_key(inner, subquery)?;
        let key = DfExpr::Column(inner.columns[0].column.clone());
        let greater = matches!(op, CompareOp::Gt | CompareOp::Ge);
        let function = if greater == all { df::min_max::max_udaf() } else { df::min_max::min_udaf() };
        let rows = self.aggregate_of(inner.plan.clone(), df::count::count_udaf().call(vec![lit(1i64)]))?;
        let known = self.aggregate_of(inner.plan.clone(), df::count::count_udaf().call(vec![key.clone()]))?;
        let extreme = self.aggregate_of(inner.plan, function.call(vec![key]))?;
        let value = self.exprs(columns).key(&operand_as(operand, &ty))?;
        let holds = match op {
            CompareOp::Gt => value.clone().gt(extreme),
            CompareOp::Ge => value.clone().gt_eq(extreme),
            CompareOp::Lt => value.clone().lt(extreme),
            _ => value.clone().lt_eq(extreme),
        };
        let null = || lit(datafusion_common::ScalarValue::Int64(None));
        let decided = if all { holds.clone().is_false() } else { holds.clone().is_true() };
        Ok(when(rows.clone().eq(lit(0i64)), lit(i64::from(all)))
            .when(value.is_null(), null())
            .when(decided, lit(i64::from(!all)))
            .when(known.lt(rows), null())
            .otherwise(lit(i64::from(all)))?)
    }
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
            matches!(subquery.kind, SubqueryKind::Exists | SubqueryKind::In { .. }).then_some((subquery, false))
        }
        Expr::Call { func: Func::Not, args, .. } => {
            let (subquery, negated) = as_membership(args.first()?, width, subqueries)?;
            Some((subquery, !negated))
        }
        _ => None,
    }
}

fn inner_type(subquery: &Subquery) -> Result<FieldType> {
    let output = subquery.plan.output();
    let first = output.into_iter().next();
    Ok(first.ok_or_else(|| Error::Internal("a subquery without columns".to_string()))?.ty)
}

/// The operand in the subquery's type, which the binder has made equal up to what conversions of width mean.
fn operand_as(operand: &Expr, ty: &FieldType) -> Expr {
    if operand.ty().arrow_type() == ty.arrow_type() { operand.clone() } else { operand.clone().cast(ty.clone()) }
}

/// True when the plan gives exactly one row whatever its input: an aggregate without groups.
fn gives_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate { group_by, .. } => group_by.is_empty(),
        LogicalPlan::Project { input, .. } | LogicalPlan::Rename { input, .. } | LogicalPlan::Sort { input, .. } => {
            gives_one_row(input)
        }
        _ => false,
    }
}
