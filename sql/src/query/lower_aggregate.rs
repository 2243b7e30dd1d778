//! Aggregates with MySQL's types, on DataFusion's accumulators.
//!
//! One MySQL aggregate becomes one or two of DataFusion's over converted arguments, and an expression of ours over their
//! results:
//!
//! | MySQL | DataFusion | then |
//! |---|---|---|
//! | COUNT(x), COUNT(*) | count | |
//! | COUNT(DISTINCT s) | count(distinct weight(s)) | |
//! | COUNT(DISTINCT a, b) | count(distinct a text of both) | |
//! | SUM(integer or decimal) | sum over a decimal that cannot overflow | cast to the result's type |
//! | SUM(of anything else) | [`SumInOrder`] of doubles | |
//! | AVG | sum, count | sum / count, of decimals with four digits more |
//! | MIN, MAX of a string | min, max; by weight when the collation is not binary | |
//! | BIT_AND, BIT_OR, BIT_XOR | bit_and … | value of no rows |
//! | GROUP_CONCAT | [`GroupConcat`] | |
//!
//! The sums and counts are partial aggregates like any other, so all of them are pushed into storage.

use super::bit_bytes::BitBytes;
use super::group_concat::{GroupConcat, Spec};
use super::lower_expr::Exprs;
use crate::error::{Error, Result};
use crate::plan::{AggregateCall, SortKey};
use basalt_expr::Decimal;
use basalt_expr::aggregate::{AggregateFunc, of_bytes};
use basalt_expr::datafusion::has_weight;
use basalt_expr::expr::Expr;
use basalt_expr::func::{self, Func};
use basalt_expr::sum_in_order::SumInOrder;
use basalt_expr::temporal::DateTime;
use basalt_expr::types::{EvalType, FieldType, TypeKind};
use basalt_expr::value::Value;
use datafusion_expr::expr::Sort;
use datafusion_expr::{AggregateUDF, Cast, Expr as DfExpr, lit};
use datafusion_functions_aggregate as df;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// One of DataFusion's aggregates.
pub struct Part {
    /// The function.
    pub function: Arc<AggregateUDF>,
    /// Its arguments.
    pub args: Vec<DfExpr>,
    /// DISTINCT.
    pub distinct: bool,
    /// Order in which it takes rows.
    pub order_by: Vec<Sort>,
    /// Type of its result, as ours.
    pub ty: FieldType,
}

/// What a MySQL aggregate becomes.
pub struct Lowered {
    /// The parts, in order.
    pub parts: Vec<Part>,
    /// The result over the parts' results as columns 0, 1.
    pub result: Expr,
}

/// Digits that sums are calculated with: DataFusion adds ten to the argument's, up to 38 (76).
const SUM_DIGITS_SHORT: u32 = 28;

/// Lowers one call whose arguments are over the columns of `exprs`.
///
/// # Errors
/// 1235 for what is not done.
pub fn lower(call: &AggregateCall, exprs: &Exprs<'_>) -> Result<Lowered> {
    let arg = call.args.first();
    match (call.func, arg) {
        (AggregateFunc::Count, None) => {
            Ok(single(part(df::count::count_udaf(), vec![lit(1i64)], count_type()), &call.ty))
        }
        (AggregateFunc::Count | AggregateFunc::CountDistinct, Some(arg)) => count(call, arg, exprs),
        (AggregateFunc::Sum, Some(arg)) => {
            let (sum, ty) = sum_argument(arg, exprs)?;
            Ok(single(sum_part(sum, ty, call.distinct), &call.ty))
        }
        (AggregateFunc::Avg, Some(arg)) => average(call, arg, exprs),
        (AggregateFunc::Min | AggregateFunc::Max, Some(arg)) => extreme(call, arg, exprs),
        (AggregateFunc::AnyValue, Some(arg)) => {
            let function = df::first_last::first_value_udaf();
            Ok(single(part(function, vec![exprs.value(arg)?], arg.ty().clone()), &call.ty))
        }
        (AggregateFunc::BitAnd | AggregateFunc::BitOr | AggregateFunc::BitXor, Some(arg)) => bits(call, arg, exprs),
        (AggregateFunc::GroupConcat, Some(_)) => group_concat(call, exprs),
        (func, Some(arg)) => {
            let function = match func {
                AggregateFunc::StddevPop => df::stddev::stddev_pop_udaf(),
                AggregateFunc::StddevSamp => df::stddev::stddev_udaf(),
                AggregateFunc::VarPop => df::variance::var_pop_udaf(),
                AggregateFunc::VarSamp => df::variance::var_samp_udaf(),
                other => return Err(Error::unsupported(format!("{other:?}"))),
            };
            let arg = exprs.value(&arg.clone().cast(FieldType::double()))?;
            Ok(single(part(function, vec![arg], FieldType::double()), &call.ty))
        }
        (func, None) => Err(Error::Internal(format!("{func:?} without argument"))),
    }
}

fn count_type() -> FieldType {
    FieldType::bigint().required()
}

fn part(function: Arc<AggregateUDF>, args: Vec<DfExpr>, ty: FieldType) -> Part {
    Part { function, args, distinct: false, order_by: Vec::new(), ty }
}

fn single(part: Part, ty: &FieldType) -> Lowered {
    let result = converted(Expr::column(0, part.ty.clone()), ty);
    Lowered { parts: vec![part], result }
}

fn converted(expr: Expr, ty: &FieldType) -> Expr {
    if expr.ty().arrow_type() == ty.arrow_type() { expr } else { expr.cast(ty.clone()) }
}

fn count(call: &AggregateCall, arg: &Expr, exprs: &Exprs<'_>) -> Result<Lowered> {
    let distinct = call.distinct || call.func == AggregateFunc::CountDistinct;
    let value = match (distinct, call.args.len()) {
        (true, 2..) => exprs.value(&tuple_text(&call.args)?)?,
        (true, _) => exprs.key(arg)?,
        (false, _) => exprs.value(arg)?,
    };
    Ok(single(Part { distinct, ..part(df::count::count_udaf(), vec![value], count_type()) }, &call.ty))
}

/// Several values as one text that is the same for equal values only, and NULL if one of them is.
fn tuple_text(args: &[Expr]) -> Result<Expr> {
    let text = FieldType::new(TypeKind::LongText);
    // Bytes that are no text would be NULL as one.
    let bytes = FieldType::new(TypeKind::LongBlob);
    let mut parts = Vec::with_capacity(args.len() * 2);
    for arg in args {
        let weight = |ty| Expr::Call { func: Func::Weight, args: vec![arg.clone()], ty };
        let key = match arg.ty().eval_type() {
            EvalType::Real => weight(FieldType::double()).cast(bytes.clone()),
            _ if has_weight(arg.ty()) => weight(FieldType::varbinary(65_535)),
            _ => arg.clone().cast(bytes.clone()),
        };
        parts.push(Expr::call(Func::Hex, vec![key])?);
        parts.push(Expr::string(","));
    }
    Ok(Expr::Call { func: Func::Concat, args: parts, ty: text })
}

/// The argument of a sum as something that does not overflow, and the type of the sum.
fn sum_argument(arg: &Expr, exprs: &Exprs<'_>) -> Result<(DfExpr, FieldType)> {
    let ty = arg.ty();
    let (input, digits) = match ty.eval_type() {
        EvalType::Int => (FieldType::decimal(20, 0), 20),
        EvalType::Decimal => (ty.clone(), ty.length),
        _ => return Ok((exprs.value(&arg.clone().cast(FieldType::double()))?, FieldType::double())),
    };
    let scale = input.scale();
    let short = digits <= SUM_DIGITS_SHORT;
    let data_type = match short {
        true => arrow::datatypes::DataType::Decimal128(digits as u8, scale as i8),
        false => arrow::datatypes::DataType::Decimal256(digits.min(66) as u8, scale as i8),
    };
    let value = exprs.value(arg)?;
    let value =
        if arg.ty().arrow_type() == data_type { value } else { DfExpr::Cast(Cast::new(Box::new(value), data_type)) };
    // A sum of 256 bits has 76 digits, more than a DECIMAL's 65: the type only says where the point is.
    let length = if short { digits + 10 } else { digits.min(66) + 10 };
    Ok((value, FieldType { length, ..FieldType::decimal(65, scale) }))
}

fn sum_part(value: DfExpr, ty: FieldType, distinct: bool) -> Part {
    let is_real = ty.eval_type() == EvalType::Real;
    let function = if is_real && !distinct { SumInOrder::udaf() } else { df::sum::sum_udaf() };
    Part { distinct, ..part(function, vec![value], ty) }
}

fn average(call: &AggregateCall, arg: &Expr, exprs: &Exprs<'_>) -> Result<Lowered> {
    let (sum, sum_type) = sum_argument(arg, exprs)?;
    let distinct = call.distinct;
    let sums = sum_part(sum.clone(), sum_type.clone(), distinct);
    let counts = Part { distinct, ..part(df::count::count_udaf(), vec![sum], count_type()) };
    let divisor = if sum_type.eval_type() == EvalType::Real { sum_type.clone() } else { FieldType::decimal(20, 0) };
    let quotient = Expr::Call {
        func: Func::Div,
        args: vec![Expr::column(0, sum_type), Expr::column(1, count_type()).cast(divisor)],
        ty: call.ty.clone(),
    };
    Ok(Lowered { parts: vec![sums, counts], result: quotient })
}

fn extreme(call: &AggregateCall, arg: &Expr, exprs: &Exprs<'_>) -> Result<Lowered> {
    let minimum = call.func == AggregateFunc::Min;
    let value = exprs.value(arg)?;
    if arg.ty().is_string() && arg.ty().collation.weights_version() > 0 {
        // The first string in the order of weights, NULLs behind.
        let order = Sort::new(exprs.key(arg)?, minimum, false);
        let first = part(df::first_last::first_value_udaf(), vec![value], arg.ty().clone());
        return Ok(single(Part { order_by: vec![order], ..first }, &call.ty));
    }
    let function = if minimum { df::min_max::min_udaf() } else { df::min_max::max_udaf() };
    Ok(single(part(function, vec![value], arg.ty().clone()), &call.ty))
}

fn bits(call: &AggregateCall, arg: &Expr, exprs: &Exprs<'_>) -> Result<Lowered> {
    if of_bytes(arg.ty()) {
        let function = Arc::new(AggregateUDF::new_from_impl(BitBytes::new(call.func, arg.ty().clone())));
        return Ok(single(part(function, vec![exprs.value(arg)?], call.ty.clone()), &call.ty));
    }
    let (function, none) = match call.func {
        AggregateFunc::BitAnd => (df::bit_and_or_xor::bit_and_udaf(), u64::MAX),
        AggregateFunc::BitOr => (df::bit_and_or_xor::bit_or_udaf(), 0),
        _ => (df::bit_and_or_xor::bit_xor_udaf(), 0),
    };
    let unsigned = FieldType::bigint_unsigned();
    // A number with a point is a signed integer on its way, as beside the operators on bits.
    let bits = match arg.ty().eval_type() {
        EvalType::Decimal | EvalType::Real => {
            func::infer(Func::BitOr, vec![arg.clone(), Expr::literal(Value::UInt(0))])?
        }
        _ => arg.clone().cast(unsigned.clone()),
    };
    let value = exprs.value(&bits)?;
    let args = vec![Expr::column(0, unsigned.clone()), Expr::Literal(Value::UInt(none), unsigned.clone().required())];
    let result = Expr::Call { func: Func::Coalesce, args, ty: unsigned.clone() };
    Ok(Lowered { parts: vec![part(function, vec![value], unsigned)], result: converted(result, &call.ty) })
}

fn group_concat(call: &AggregateCall, exprs: &Exprs<'_>) -> Result<Lowered> {
    let kind = if call.ty.is_binary_string() { TypeKind::LongBlob } else { TypeKind::LongText };
    let text = FieldType::new(kind).with_collation(call.ty.collation);
    let parts: Vec<Expr> = call.args.iter().map(|arg| arg.clone().cast(text.clone())).collect();
    let arg = match &parts[..] {
        [arg] => arg.clone(),
        _ => Expr::Call { func: Func::Concat, args: parts, ty: text },
    };
    let mut args = vec![exprs.value(&arg)?];
    if call.distinct {
        args.extend(call.args.iter().map(|arg| exprs.key(arg)).collect::<Result<Vec<_>>>()?);
    }
    args.extend(call.order_by.iter().map(|key| exprs.key(&zero_for_null(&key.expr))).collect::<Result<Vec<_>>>()?);
    let spec = Spec {
        separator: call.separator.clone().unwrap_or_else(|| ",".to_string()),
        distinct: if call.distinct { call.args.len() } else { 0 },
        descending: call.order_by.iter().map(|key| key.descending).collect(),
        ty: call.ty.clone(),
        context: exprs.context.clone(),
        rows: AtomicU64::new(0),
    };
    let function = Arc::new(AggregateUDF::new_from_impl(GroupConcat::new(spec)));
    Ok(single(part(function, args, call.ty.clone()), &call.ty))
}

/// What GROUP_CONCAT sorts by: its ORDER BY takes NULL for the type's zero, unlike any other.
fn zero_for_null(expr: &Expr) -> Expr {
    let ty = expr.ty().clone().required();
    let zero = match ty.eval_type() {
        EvalType::Null => return expr.clone(),
        EvalType::Int if ty.unsigned => Value::UInt(0),
        EvalType::Int => Value::Int(0),
        EvalType::Real => Value::Double(0.0),
        EvalType::Decimal => Value::Decimal(Decimal::ZERO),
        EvalType::DateTime => Value::DateTime(DateTime(0)),
        EvalType::Duration => Value::Time(0),
        _ if ty.is_binary_string() => Value::from(Vec::new()),
        _ => Value::from(""),
    };
    let args = vec![expr.clone(), Expr::Literal(zero, ty.clone())];
    Expr::Call { func: Func::Coalesce, args, ty }
}

/// MySQL's order: NULLs first ascending, last descending; strings by weight.
///
/// # Errors
/// As [`Exprs::key`].
pub fn sort(key: &SortKey, exprs: &Exprs<'_>) -> Result<Sort> {
    Ok(Sort::new(exprs.key(&key.expr)?, !key.descending, !key.descending))
}
