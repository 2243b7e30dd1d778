//! GROUP BY, WITH ROLLUP and DISTINCT.
//!
//! Rows are grouped by keys, strings by weight; what stands for a group's strings is the row that was met first, whole: of
//! `('a', 'X')` and `('A', 'x')` DISTINCT gives one or the other, never `('a', 'x')`.
//!
//! Keys get names of their own. Of one that keeps its name DataFusion believes what held below the groups to hold above
//! them: a column that determined others of its side of a join would determine every column of the groups.

use super::lower::{Lowered, Lowerer, computed, in_schema_order, with_arrow_type};
use super::lower_aggregate::{self as aggregate, Part};
use super::lower_expr::NamedColumn;
use crate::error::{Error, Result};
use crate::plan::{AggregateCall, OutputColumn};
use basalt_expr::datafusion::has_weight;
use basalt_expr::expr::Expr;
use basalt_expr::first_row::FirstRow;
use basalt_expr::types::FieldType;
use datafusion_common::Column;
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::logical_plan::Aggregate;
use datafusion_expr::logical_plan::builder::LogicalPlanBuilder;
use datafusion_expr::{Cast, Expr as DfExpr, GroupingSet, Operator, binary_expr, lit, when};

/// Where a result column comes from.
enum Output {
    /// A key, the first string of a key grouped by weight, or the number of ROLLUP.
    Key { name: String, position: usize, is_string: bool },
    /// Which keys ROLLUP has left out.
    GroupingId,
    /// An expression over these columns.
    Computed(Expr, Vec<String>),
}

/// Lowers an aggregate over its input.
///
/// # Errors
/// As [`Lowerer::lower`].
pub fn lower(
    lowerer: &mut Lowerer<'_>,
    input: Lowered,
    group_by: &[Expr],
    aggregates: &[AggregateCall],
    rollup: bool,
    output: &[OutputColumn],
) -> Result<Lowered> {
    let with = lowerer.exprs(&input.columns);
    let lowered = aggregates.iter().map(|call| aggregate::lower(call, &with)).collect::<Result<Vec<_>>>()?;
    let keys = group_by.iter().map(|expr| Ok((with.key(expr)?, with.value(expr)?))).collect::<Result<Vec<_>>>()?;
    let (mut groups, mut calls, mut results) = (Vec::new(), Vec::new(), Vec::new());
    for (position, (expr, (key, value))) in group_by.iter().zip(keys).enumerate() {
        let name = lowerer.column_name();
        groups.push(key.alias(&name));
        if has_weight(expr.ty()) && expr.ty().is_string() {
            let string = lowerer.column_name();
            calls.push(FirstRow::call(value).alias(&string));
            results.push(Output::Key { name: string, position, is_string: true });
        } else {
            results.push(Output::Key { name, position, is_string: false });
        }
    }
    if rollup {
        results.push(Output::GroupingId);
    }
    for call in lowered {
        let mut parts = Vec::with_capacity(call.parts.len());
        for part in call.parts {
            let name = lowerer.column_name();
            calls.push(aggregate_call(part).alias(&name));
            parts.push(name);
        }
        results.push(Output::Computed(call.result, parts));
    }
    if groups.is_empty() && calls.is_empty() {
        // One group and nothing asked of it: one row.
        return Ok(Lowered { plan: LogicalPlanBuilder::empty(true).build()?, columns: Vec::new() });
    }
    let count = groups.len();
    let groups = if rollup { vec![DfExpr::GroupingSet(GroupingSet::Rollup(groups))] } else { groups };
    let columns = in_schema_order(LogicalPlanBuilder::from(input.plan).aggregate(groups, calls)?.build()?);
    let exprs = results.iter().zip(output).map(|(result, column)| match result {
        Output::Key { name, position, is_string } => {
            let bit = (rollup && *is_string).then(|| count - 1 - position);
            key_of(&columns, name, bit, column)
        }
        Output::GroupingId => grouping_id(&columns, column),
        Output::Computed(expr, parts) => {
            let parts = parts.iter().map(|part| find(&columns, part)).collect::<Result<Vec<_>>>()?;
            computed(&lowerer.exprs(&parts), expr, &parts, column)
        }
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    lowerer.projected(columns.plan, exprs)
}

fn find(aggregated: &Lowered, name: &str) -> Result<NamedColumn> {
    let found = aggregated.columns.iter().find(|c| c.column.name == name);
    found.cloned().ok_or_else(|| Error::Internal(format!("no column {name} in an aggregate")))
}

/// A key; NULL where the bit says that the row is not grouped by it.
fn key_of(aggregated: &Lowered, name: &str, bit: Option<usize>, output: &OutputColumn) -> Result<DfExpr> {
    let found = find(aggregated, name)?;
    let key = with_arrow_type(DfExpr::Column(found.column), &found.field, output);
    let Some(bit) = bit else { return Ok(key) };
    let id = find(aggregated, Aggregate::INTERNAL_GROUPING_ID)?;
    let id = DfExpr::Cast(Cast::new(Box::new(DfExpr::Column(id.column)), arrow::datatypes::DataType::UInt64));
    let is_grouped = binary_expr(id, Operator::BitwiseAnd, lit(1u64 << bit)).eq(lit(0u64));
    Ok(when(is_grouped, key).end()?)
}

fn grouping_id(aggregated: &Lowered, output: &OutputColumn) -> Result<DfExpr> {
    let found = find(aggregated, Aggregate::INTERNAL_GROUPING_ID)?;
    Ok(with_arrow_type(DfExpr::Column(found.column), &found.field, output))
}

/// DataFusion's call of an aggregate part.
fn aggregate_call(part: Part) -> DfExpr {
    DfExpr::AggregateFunction(AggregateFunction::new_udf(
        part.function,
        part.args,
        part.distinct,
        None,
        part.order_by,
        None,
    ))
}

/// Each row once, strings by weight.
///
/// # Errors
/// As [`Lowerer::lower`].
pub fn first_rows(lowerer: &mut Lowerer<'_>, input: Lowered, types: &[FieldType]) -> Result<Lowered> {
    let (mut groups, mut strings, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (index, ty) in types.iter().enumerate() {
        let column = Expr::column(index, ty.clone());
        let with = lowerer.exprs(&input.columns);
        let (key, value) = (with.key(&column)?, with.value(&column)?);
        let name = lowerer.column_name();
        groups.push(key.alias(&name));
        if has_weight(ty) && ty.is_string() {
            let string = lowerer.column_name();
            strings.push(FirstRow::call(value).alias(&string));
            names.push(string);
        } else {
            names.push(name);
        }
    }
    let plan = LogicalPlanBuilder::from(input.plan).aggregate(groups, strings)?.build()?;
    let exprs = names.into_iter().map(|name| DfExpr::Column(Column::from_name(name))).collect();
    lowerer.projected(plan, exprs)
}
