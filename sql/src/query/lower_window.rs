//! Window functions: what DataFusion is to partition and sort by, and the columns that [`WindowFunction`] works on.

use super::lower::{Lowered, Lowerer, as_type, in_schema_order};
use super::lower_aggregate as aggregate;
use super::lower_expr::{Exprs, NamedColumn};
use super::window_function::{Spec, WindowFunction};
use crate::error::{Error, Result};
use crate::plan::{Bound, Frame, Offset, OutputColumn, WindowCall, WindowFunc};
use basalt_expr::expr::Expr;
use basalt_expr::types::FieldType;
use datafusion_common::ScalarValue;
use datafusion_expr::expr::{WindowFunction as DfWindowFunction, WindowFunctionParams};
use datafusion_expr::logical_plan::builder::LogicalPlanBuilder;
use datafusion_expr::{
    Expr as DfExpr, WindowFrame as DfFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, WindowUDF,
};
use std::sync::Arc;

/// Adds one column a call to the input.
///
/// # Errors
/// As [`Lowerer::lower`].
pub fn lower(lowerer: &mut Lowerer<'_>, input: Lowered, calls: &[WindowCall]) -> Result<Lowered> {
    let mut plan = input.plan;
    let mut outputs: Vec<DfExpr> = input.columns.iter().map(|c| DfExpr::Column(c.column.clone())).collect();
    for call in calls {
        let windowed = window(lowerer, &input.columns, call)?;
        let name = lowerer.column_name();
        // DataFusion's planner takes no aliased window expression; the column is named by a projection above.
        let windowed = LogicalPlanBuilder::window_plan(plan, vec![windowed])?;
        let width = windowed.schema().fields().len();
        let columns = windowed.schema().columns().into_iter().enumerate().map(|(position, column)| {
            let column = DfExpr::Column(column);
            if position + 1 == width { column.alias(&name) } else { column }
        });
        let columns = columns.collect::<Vec<_>>();
        let all = in_schema_order(LogicalPlanBuilder::from(windowed).project(columns)?.build()?);
        let found = all.columns.iter().find(|c| c.column.name == name);
        let found = found.ok_or_else(|| Error::Internal("a window without its column".into()))?;
        outputs.push(DfExpr::Column(found.column.clone()));
        plan = all.plan;
    }
    lowerer.projected(plan, outputs)
}

fn window(lowerer: &Lowerer<'_>, columns: &[NamedColumn], call: &WindowCall) -> Result<DfExpr> {
    let with = lowerer.exprs(columns);
    let partition_by = call.partition_by.iter().map(|e| with.key(e)).collect::<Result<Vec<_>>>()?;
    let order_by = call.order_by.iter().map(|k| aggregate::sort(k, &with)).collect::<Result<Vec<_>>>()?;
    let frame = match &call.frame {
        Some(frame) => frame.resolve(lowerer.context)?,
        // Up to the current row and its peers; without ORDER BY all rows are peers.
        None => Frame { range: true, start: Bound::Unbounded, end: Bound::Current },
    };
    let (mut args, arg) = arguments(&with, call)?;
    let arg_columns = args.len();
    args.extend(order_by.iter().map(|key| key.expr.clone()));
    let order = match (&call.order_by[..], needs_values(&frame)) {
        ([key], true) => {
            args.push(with.value(&key.expr)?);
            Some((key.expr.ty().clone(), key.descending))
        }
        _ => None,
    };
    let count = match call.func.count_argument().and_then(|at| call.args.get(at)) {
        Some(count) => call.func.count(count, lowerer.context)?,
        None => 1,
    };
    let spec = Spec {
        func: call.func,
        arg,
        count: usize::try_from(count).unwrap_or(usize::MAX),
        args: arg_columns,
        keys: order_by.len(),
        frame,
        order,
        ty: call.ty.clone(),
        context: lowerer.context.clone(),
    };
    let params = WindowFunctionParams {
        args,
        partition_by,
        order_by,
        window_frame: whole_partition(),
        filter: None,
        null_treatment: None,
        distinct: false,
    };
    let fun = WindowFunctionDefinition::WindowUDF(Arc::new(WindowUDF::new_from_impl(WindowFunction::new(spec))));
    Ok(DfExpr::WindowFunction(Box::new(DfWindowFunction { fun, params })))
}

/// The columns that the function's arguments are, and the first one's type. Numbers that are the same for all rows are none.
fn arguments(with: &Exprs<'_>, call: &WindowCall) -> Result<(Vec<DfExpr>, FieldType)> {
    let arg = call.args.first().map_or_else(FieldType::null, |arg| arg.ty().clone());
    let values: Vec<Expr> = match call.func {
        WindowFunc::Aggregate(_) => call.args.clone(),
        WindowFunc::Ntile => Vec::new(),
        // The value that stands for a missing row is of the column's type.
        _ => {
            let column = OutputColumn { name: String::new(), table: String::new(), origin: None, ty: call.ty.clone() };
            let count = call.func.count_argument();
            let args = call.args.iter().enumerate().filter(|(at, _)| Some(*at) != count);
            args.map(|(_, arg)| as_type(arg, &column)).collect()
        }
    };
    Ok((values.iter().map(|value| with.value(value)).collect::<Result<_>>()?, arg))
}

/// Whether the frame is found by the values of ORDER BY.
fn needs_values(frame: &Frame) -> bool {
    let by_value = |bound: &Bound| match bound {
        Bound::Preceding(offset) | Bound::Following(offset) => !matches!(offset, Offset::Rows(_)),
        _ => false,
    };
    by_value(&frame.start) || by_value(&frame.end)
}

/// What DataFusion is told of frames: nothing.
fn whole_partition() -> DfFrame {
    let unbounded = ScalarValue::UInt64(None);
    DfFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(unbounded.clone()),
        WindowFrameBound::Following(unbounded),
    )
}
