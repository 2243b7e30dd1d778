//! Window functions.

use super::lower::{Lowered, Lowerer, as_type, in_schema_order};
use super::lower_aggregate as aggregate;
use super::lower_expr::NamedColumn;
use crate::error::{Error, Result};
use crate::plan::{AggregateCall, FrameBound, OutputColumn, WindowCall, WindowFrame, WindowFunc};
use basalt_expr::expr::Expr;
use basalt_expr::types::FieldType;
use datafusion::functions_window as window;
use datafusion_common::ScalarValue;
use datafusion_expr::expr::{Sort, WindowFunction, WindowFunctionParams};
use datafusion_expr::logical_plan::builder::LogicalPlanBuilder;
use datafusion_expr::{
    Cast, Expr as DfExpr, WindowFrame as DfFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};

/// Adds one column a call to the input.
///
/// # Errors
/// As [`Lowerer::lower`].
pub fn lower(lowerer: &mut Lowerer<'_>, input: Lowered, calls: &[WindowCall]) -> Result<Lowered> {
    let mut plan = input.plan;
    let mut outputs: Vec<DfExpr> = input.columns.iter().map(|c| DfExpr::Column(c.column.clone())).collect();
    for call in calls {
        let parts = parts(lowerer, &input.columns, call)?;
        let names: Vec<_> = parts.calls.iter().map(|_| lowerer.column_name()).collect();
        // DataFusion's planner takes no aliased window expression; the columns are named by a projection above.
        let width = plan.schema().fields().len();
        let windowed = LogicalPlanBuilder::window_plan(plan, parts.calls)?;
        let columns = windowed.schema().columns().into_iter().enumerate().map(|(position, column)| {
            let column = DfExpr::Column(column);
            match position.checked_sub(width).and_then(|new| names.get(new)) {
                Some(name) => column.alias(name),
                None => column,
            }
        });
        let columns = columns.collect::<Vec<_>>();
        plan = LogicalPlanBuilder::from(windowed).project(columns)?.build()?;
        let all = in_schema_order(plan);
        let found = names.iter().map(|name| all.columns.iter().find(|c| c.column.name == *name).cloned());
        let found =
            found.collect::<Option<Vec<_>>>().ok_or_else(|| Error::Internal("a window without its column".into()))?;
        outputs.push(match &parts.result {
            Some(result) => {
                let column =
                    OutputColumn { name: String::new(), table: String::new(), origin: None, ty: call.ty.clone() };
                super::lower::computed(&lowerer.exprs(&found), result, &found, &column)?
            }
            None => in_type(&found[0], &call.ty),
        });
        plan = all.plan;
    }
    lowerer.projected(plan, outputs)
}

fn in_type(column: &NamedColumn, ty: &FieldType) -> DfExpr {
    let expr = DfExpr::Column(column.column.clone());
    let wanted = ty.arrow_type();
    if *column.field.data_type() == wanted { expr } else { DfExpr::Cast(Cast::new(Box::new(expr), wanted)) }
}

struct Parts {
    calls: Vec<DfExpr>,
    /// Over the calls' results; `None`: the only one's.
    result: Option<Expr>,
}

fn parts(lowerer: &Lowerer<'_>, columns: &[NamedColumn], call: &WindowCall) -> Result<Parts> {
    let with = lowerer.exprs(columns);
    let partition_by = call.partition_by.iter().map(|e| with.key(e)).collect::<Result<Vec<_>>>()?;
    let order_by = call.order_by.iter().map(|k| aggregate::sort(k, &with)).collect::<Result<Vec<_>>>()?;
    let frame = frame(call.frame.as_ref(), &order_by)?;
    let over = |fun: WindowFunctionDefinition, args: Vec<DfExpr>, distinct: bool| {
        let params = WindowFunctionParams {
            args,
            partition_by: partition_by.clone(),
            order_by: order_by.clone(),
            window_frame: frame.clone(),
            filter: None,
            null_treatment: None,
            distinct,
        };
        DfExpr::WindowFunction(Box::new(WindowFunction { fun, params }))
    };
    if let WindowFunc::Aggregate(func) = &call.func {
        let aggregate = AggregateCall {
            func: *func,
            args: call.args.clone(),
            distinct: false,
            order_by: Vec::new(),
            separator: None,
            ty: call.ty.clone(),
        };
        let lowered = aggregate::lower(&aggregate, &with)?;
        let calls = lowered.parts.into_iter();
        let calls =
            calls.map(|p| over(WindowFunctionDefinition::AggregateUDF(p.function), p.args, p.distinct)).collect();
        return Ok(Parts { calls, result: Some(lowered.result) });
    }
    let mut args = Vec::with_capacity(call.args.len());
    for (position, arg) in call.args.iter().enumerate() {
        args.push(match (&call.func, position) {
            // The value that stands for a missing row is of the column's type.
            (WindowFunc::Lag | WindowFunc::Lead, 0 | 2) => {
                let column =
                    OutputColumn { name: String::new(), table: String::new(), origin: None, ty: call.ty.clone() };
                with.value(&as_type(arg, &column))?
            }
            (WindowFunc::Ntile | WindowFunc::NthValue | WindowFunc::Lag | WindowFunc::Lead, _) if arg.is_constant() => {
                constant(lowerer, arg)?
            }
            _ => with.value(arg)?,
        });
    }
    let fun = match call.func {
        WindowFunc::RowNumber => window::row_number::row_number_udwf(),
        WindowFunc::Rank => window::rank::rank_udwf(),
        WindowFunc::DenseRank => window::rank::dense_rank_udwf(),
        WindowFunc::PercentRank => window::rank::percent_rank_udwf(),
        WindowFunc::CumeDist => window::cume_dist::cume_dist_udwf(),
        WindowFunc::Ntile => window::ntile::ntile_udwf(),
        WindowFunc::Lag => window::lead_lag::lag_udwf(),
        WindowFunc::Lead => window::lead_lag::lead_udwf(),
        WindowFunc::FirstValue => window::nth_value::first_value_udwf(),
        WindowFunc::LastValue => window::nth_value::last_value_udwf(),
        WindowFunc::NthValue => window::nth_value::nth_value_udwf(),
        WindowFunc::Aggregate(_) => return Err(Error::Internal("an aggregate is lowered above".to_string())),
    };
    Ok(Parts { calls: vec![over(WindowFunctionDefinition::WindowUDF(fun), args, false)], result: None })
}

/// A number that the function takes at planning.
fn constant(lowerer: &Lowerer<'_>, expr: &Expr) -> Result<DfExpr> {
    let value = basalt_expr::eval_scalar(expr, lowerer.context)?;
    match value.as_i64() {
        Some(number) => Ok(datafusion_expr::lit(number)),
        None => Ok(lowerer.exprs(&[]).value(expr)?),
    }
}

fn frame(frame: Option<&WindowFrame>, order_by: &[Sort]) -> Result<DfFrame> {
    let Some(frame) = frame else {
        return Ok(DfFrame::new(if order_by.is_empty() { None } else { Some(false) }));
    };
    let units = if frame.range { WindowFrameUnits::Range } else { WindowFrameUnits::Rows };
    let frame = DfFrame::new_bounds(units, bound(&frame.start, true), bound(&frame.end, false));
    if frame.units == WindowFrameUnits::Range && order_by.len() > 1 {
        return Err(Error::unsupported("RANGE frames over several ORDER BY expressions"));
    }
    Ok(frame)
}

fn bound(bound: &FrameBound, start: bool) -> WindowFrameBound {
    let rows = |n: &u64| ScalarValue::UInt64(Some(*n));
    match bound {
        FrameBound::UnboundedPreceding => WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        FrameBound::Preceding(n) => WindowFrameBound::Preceding(rows(n)),
        FrameBound::CurrentRow => WindowFrameBound::CurrentRow,
        FrameBound::Following(n) => WindowFrameBound::Following(rows(n)),
        FrameBound::UnboundedFollowing => {
            debug_assert!(!start, "a frame does not start after its last row");
            WindowFrameBound::Following(ScalarValue::UInt64(None))
        }
    }
}
