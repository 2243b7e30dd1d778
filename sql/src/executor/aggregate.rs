//! Groups and simple aggregates over few rows: COUNT, SUM, MIN, MAX, AVG.
//!
//! The query path's aggregates are `basalt_expr::aggregate`'s; these give the same values and types: SUM and AVG of
//! integers and decimals are exact, of anything else double; AVG has the scale that its type says.

use crate::error::{Error, Result};
use crate::executor::project::batch_of;
use crate::executor::sort::values;
use crate::plan::{AggregateCall, OutputColumn};
use crate::result_columns::arrow_schema;
use arrow::record_batch::RecordBatch;
use basalt_expr::aggregate::AggregateFunc;
use basalt_expr::convert::array_of;
use basalt_expr::decimal::Decimal;
use basalt_expr::error::EvalError;
use basalt_expr::expr::Expr;
use basalt_expr::func::compare;
use basalt_expr::key::encode_value;
use basalt_expr::types::{EvalType, FieldType};
use basalt_expr::{EvalContext, Value, eval};
use std::cmp::Ordering;
use std::collections::HashMap;

/// Aggregates all rows of a batch. Groups come in the order in which they were first seen.
///
/// # Errors
/// When an expression cannot be calculated, or a sum has no place in its type.
pub fn aggregate(
    batch: &RecordBatch,
    group_by: &[Expr],
    calls: &[AggregateCall],
    output: &[OutputColumn],
    ctx: &EvalContext,
) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let column = |expr: &Expr| values(&eval(expr, batch, ctx)?.into_array(expr.ty(), rows)?, expr.ty());
    let keys = group_by.iter().map(column).collect::<Result<Vec<_>>>()?;
    let args = calls.iter().map(|c| c.args.first().map(column).transpose()).collect::<Result<Vec<_>>>()?;
    let mut groups = Groups::default();
    if group_by.is_empty() {
        groups.push(Vec::new(), calls);
    }
    for row in 0..rows {
        let group = match group_by.is_empty() {
            true => 0,
            false => {
                let mut key = Vec::new();
                for (values, expr) in keys.iter().zip(group_by) {
                    encode_value(&mut key, &values[row], expr.ty())?;
                }
                groups.of(key, || keys.iter().map(|values| values[row].clone()).collect(), calls)
            }
        };
        for ((accumulator, call), arg) in groups.accumulators[group].iter_mut().zip(calls).zip(&args) {
            accumulator.add(call, arg.as_ref().map(|values| &values[row]))?;
        }
    }
    groups.finish(group_by.len(), calls, output)
}

/// The aggregates of no rows at all: one row without GROUP BY, none with it.
///
/// # Errors
/// [`Error::Internal`] when output and calls do not fit.
pub fn empty(group_by: &[Expr], calls: &[AggregateCall], output: &[OutputColumn]) -> Result<RecordBatch> {
    let mut groups = Groups::default();
    if group_by.is_empty() {
        groups.push(Vec::new(), calls);
    }
    groups.finish(group_by.len(), calls, output)
}

#[derive(Default)]
struct Groups {
    by_key: HashMap<Vec<u8>, usize>,
    keys: Vec<Vec<Value>>,
    accumulators: Vec<Vec<Accumulator>>,
}

impl Groups {
    fn of(&mut self, key: Vec<u8>, values: impl FnOnce() -> Vec<Value>, calls: &[AggregateCall]) -> usize {
        if let Some(&group) = self.by_key.get(&key) {
            return group;
        }
        self.by_key.insert(key, self.keys.len());
        self.push(values(), calls)
    }

    fn push(&mut self, values: Vec<Value>, calls: &[AggregateCall]) -> usize {
        self.keys.push(values);
        self.accumulators.push(calls.iter().map(|_| Accumulator::default()).collect());
        self.keys.len() - 1
    }

    fn finish(self, key_columns: usize, calls: &[AggregateCall], output: &[OutputColumn]) -> Result<RecordBatch> {
        let rows = self.keys.len();
        let mut columns: Vec<Vec<Value>> = vec![Vec::with_capacity(rows); output.len()];
        for (keys, accumulators) in self.keys.into_iter().zip(self.accumulators) {
            for (at, value) in keys.into_iter().enumerate() {
                columns[at].push(value);
            }
            for (at, (accumulator, call)) in accumulators.into_iter().zip(calls).enumerate() {
                columns[key_columns + at].push(accumulator.finish(call)?);
            }
        }
        let arrays = columns.iter().zip(output).map(|(values, column)| Ok(array_of(&column.ty, values)?));
        batch_of(arrow_schema(output), arrays.collect::<Result<_>>()?, rows)
    }
}

/// One aggregate of one group.
#[derive(Default)]
struct Accumulator {
    count: u64,
    integer: i128,
    double: f64,
    decimal: Option<Decimal>,
    best: Option<Value>,
}

impl Accumulator {
    /// `value` is `None` for COUNT(*).
    fn add(&mut self, call: &AggregateCall, value: Option<&Value>) -> Result<()> {
        let Some(value) = value else {
            self.count += 1;
            return Ok(());
        };
        if value.is_null() {
            return Ok(());
        }
        self.count += 1;
        let ty = call.args.first().map_or(&call.ty, Expr::ty);
        match call.func {
            AggregateFunc::Sum | AggregateFunc::Avg => self.add_number(value, ty)?,
            AggregateFunc::Min => self.keep(value, ty, Ordering::Less),
            AggregateFunc::Max => self.keep(value, ty, Ordering::Greater),
            _ => {}
        }
        Ok(())
    }

    fn add_number(&mut self, value: &Value, ty: &FieldType) -> Result<()> {
        match (value, ty.eval_type()) {
            (Value::Int(_) | Value::UInt(_), _) => self.integer += value.as_i128().unwrap_or(0),
            (Value::Decimal(v), _) => {
                self.decimal = Some(match self.decimal.take() {
                    Some(sum) => sum.add(v).ok_or_else(out_of_range)?,
                    None => *v,
                });
            }
            _ => self.double += basalt_expr::cast::to_f64_quiet(value),
        }
        Ok(())
    }

    fn keep(&mut self, value: &Value, ty: &FieldType, wanted: Ordering) {
        let is_better = self.best.as_ref().is_none_or(|best| compare(value, best, ty) == wanted);
        if is_better {
            self.best = Some(value.clone());
        }
    }

    fn finish(self, call: &AggregateCall) -> Result<Value> {
        let is_decimal = call.ty.eval_type() == EvalType::Decimal;
        Ok(match call.func {
            AggregateFunc::Count => Value::Int(self.count as i64),
            AggregateFunc::Min | AggregateFunc::Max => self.best.unwrap_or_default(),
            AggregateFunc::Sum | AggregateFunc::Avg if self.count == 0 => Value::Null,
            AggregateFunc::Sum if is_decimal => Value::Decimal(self.sum()?),
            AggregateFunc::Sum => Value::Double(self.double),
            AggregateFunc::Avg if is_decimal => {
                let average = self.sum()?.divide(&Decimal::new(i128::from(self.count), 0), call.ty.decimals);
                Value::Decimal(average.ok_or_else(out_of_range)?)
            }
            AggregateFunc::Avg => Value::Double(self.double / self.count as f64),
            other => return Err(Error::Internal(format!("{other:?} on the short path"))),
        })
    }

    fn sum(&self) -> Result<Decimal> {
        let integers = Decimal::new(self.integer, 0);
        match &self.decimal {
            Some(decimals) => decimals.add(&integers).ok_or_else(out_of_range),
            None => Ok(integers),
        }
    }
}

fn out_of_range() -> Error {
    EvalError::ResultOutOfRange { kind: "DECIMAL", expression: "sum".into() }.into()
}
