//! Functions over whole columns: fast kernels for what queries spend their time in, and the loop over rows for the rest.
//!
//! A fast kernel answers only when it gives exactly what the row kernel would; otherwise (an overflow to be reported, types
//! it does not know) it declines and the loop runs.

use super::compare::satisfies;
use super::growth::{Growth, check_value};
use super::pattern::{escape_of, is_long, like_matches};
use super::spec::{self, Call};
use super::{Func, Volatility};
use crate::charset::Charset;
use crate::convert::{ColumnBuilder, ColumnReader, array_of};
use crate::decimal::power_of_ten_i128;
use crate::error::EvalError;
use crate::eval::{ColumnarValue, truth_mask};
use crate::types::{EvalType, FieldType};
use crate::value::Value;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Datum, Decimal128Array, Float64Array, Int64Array, Scalar,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::{boolean, cmp, numeric};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, UInt64Type};
use std::sync::Arc;

/// Runs a function over columns.
///
/// # Errors
/// Of a row that fails.
pub(crate) fn run(call: &Call<'_>, args: &[ColumnarValue], rows: usize) -> Result<ColumnarValue, EvalError> {
    let constant = args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
    if constant && call.func.volatility() != Volatility::Volatile {
        let values: Vec<Value> = args
            .iter()
            .map(|a| match a {
                ColumnarValue::Scalar(value) => value.clone(),
                ColumnarValue::Array(_) => Value::Null,
            })
            .collect();
        return run_row(call, &values).map(ColumnarValue::Scalar);
    }
    match fast(call, args, rows)? {
        Some(array) => Ok(ColumnarValue::Array(array)),
        None => run_rows(call, args, rows).map(ColumnarValue::Array),
    }
}

/// Runs a function on one row.
///
/// # Errors
/// When it fails.
pub(crate) fn run_row(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let spec = spec::of(call.func).ok_or_else(|| EvalError::Unsupported(call.func.name().to_uppercase()))?;
    if spec.strict && args.iter().any(Value::is_null) {
        return Ok(Value::Null);
    }
    let value = (spec.kernel)(call, args)?;
    check_value(&value)?;
    Ok(value)
}

enum Source<'a> {
    Constant,
    Column(ColumnReader<'a>),
}

fn run_rows(call: &Call<'_>, args: &[ColumnarValue], rows: usize) -> Result<ArrayRef, EvalError> {
    let spec = spec::of(call.func).ok_or_else(|| EvalError::Unsupported(call.func.name().to_uppercase()))?;
    let mut values = Vec::with_capacity(args.len());
    let mut sources = Vec::with_capacity(args.len());
    for (arg, ty) in args.iter().zip(&call.types) {
        match arg {
            ColumnarValue::Scalar(value) => {
                values.push(value.clone());
                sources.push(Source::Constant);
            }
            ColumnarValue::Array(array) => {
                values.push(Value::Null);
                sources.push(Source::Column(ColumnReader::new(array.as_ref(), ty)?));
            }
        }
    }
    let mut builder = ColumnBuilder::new(call.ty, rows);
    let mut growth = Growth::default();
    for row in 0..rows {
        for (value, source) in values.iter_mut().zip(&sources) {
            if let Source::Column(reader) = source {
                *value = reader.value(row);
            }
        }
        if spec.strict && values.iter().any(Value::is_null) {
            builder.append_null();
        } else {
            let value = (spec.kernel)(call, &values)?;
            growth.add_value(&value)?;
            builder.append(&value)?;
        }
    }
    Ok(builder.finish())
}

fn fast(call: &Call<'_>, args: &[ColumnarValue], rows: usize) -> Result<Option<ArrayRef>, EvalError> {
    match (call.func, args) {
        (Func::Eq | Func::Ne | Func::Lt | Func::Le | Func::Gt | Func::Ge, [a, b]) => compare(call, a, b, rows),
        (Func::Add | Func::Sub | Func::Mul, [a, b]) => arithmetic(call, a, b, rows),
        (Func::IsNull | Func::IsNotNull, [ColumnarValue::Array(array)]) => {
            let mask = if call.func == Func::IsNull { boolean::is_null(array)? } else { boolean::is_not_null(array)? };
            Ok(Some(integers_of(&mask)))
        }
        (Func::Not, [value]) => {
            let mask = truth_mask(value, call.types[0], rows)?;
            Ok(Some(integers_of(&boolean::not(&mask)?)))
        }
        (Func::Like, [ColumnarValue::Array(array), ColumnarValue::Scalar(pattern), rest @ ..]) => {
            like(call, array, pattern, rest)
        }
        (Func::Weight, [ColumnarValue::Array(array)]) => weight(call, array),
        (Func::Cast, [ColumnarValue::Array(array)]) => Ok(cast(array, call.types[0], call.ty)),
        (Func::CollateTo, [ColumnarValue::Array(array)]) => Ok(Some(array.clone())),
        (Func::Recollate, [ColumnarValue::Array(array)]) if keeps_bytes(call) => Ok(Some(array.clone())),
        _ => Ok(None),
    }
}

/// True when a change of the collation leaves the strings as they are.
fn keeps_bytes(call: &Call<'_>) -> bool {
    let (from, to) = (call.types[0].collation.character_set(), call.ty.collation.character_set());
    from == to || from != Charset::Binary && to != Charset::Binary && to.holds(from)
}

/// MySQL's 0 and 1 for a mask.
pub(crate) fn integers_of(mask: &BooleanArray) -> ArrayRef {
    let values: Vec<i64> = mask.values().iter().map(i64::from).collect();
    Arc::new(Int64Array::new(values.into(), mask.nulls().cloned()))
}

/// Truth of every value of an array.
pub(crate) fn truth_of_array(array: &ArrayRef, ty: &FieldType) -> Result<BooleanArray, EvalError> {
    let nulls = array.nulls().cloned();
    let of = |values: BooleanBuffer| Ok(BooleanArray::new(values, nulls.clone()));
    match array.data_type() {
        DataType::Boolean => Ok(array.as_boolean().clone()),
        DataType::Null => Ok(BooleanArray::new_null(array.len())),
        DataType::Int64 => of(array.as_primitive::<Int64Type>().values().iter().map(|v| *v != 0).collect()),
        DataType::UInt64 => of(array.as_primitive::<UInt64Type>().values().iter().map(|v| *v != 0).collect()),
        DataType::Float64 => of(array.as_primitive::<Float64Type>().values().iter().map(|v| *v != 0.0).collect()),
        _ => {
            let reader = ColumnReader::new(array.as_ref(), ty)?;
            Ok((0..array.len()).map(|row| crate::cast::truth(&reader.value(row))).collect())
        }
    }
}

/// One side of an operator as Arrow sees it: a constant becomes an array of one.
fn datum(value: &ColumnarValue, ty: &FieldType) -> Option<Box<dyn Datum>> {
    match value {
        ColumnarValue::Array(array) => Some(Box::new(array.clone())),
        ColumnarValue::Scalar(value) => {
            let array = array_of(ty, std::slice::from_ref(value)).ok()?;
            Some(Box::new(Scalar::new(array)))
        }
    }
}

fn arrow_type(value: &ColumnarValue, ty: &FieldType) -> DataType {
    match value {
        ColumnarValue::Array(array) => array.data_type().clone(),
        ColumnarValue::Scalar(_) => ty.arrow_type(),
    }
}

fn compare(call: &Call<'_>, a: &ColumnarValue, b: &ColumnarValue, rows: usize) -> Result<Option<ArrayRef>, EvalError> {
    let (ta, tb) = (arrow_type(a, call.types[0]), arrow_type(b, call.types[1]));
    match (&ta, &tb) {
        (DataType::Int64, DataType::Int64)
        | (DataType::UInt64, DataType::UInt64)
        | (DataType::Decimal128(..), DataType::Decimal128(..))
            if ta == tb =>
        {
            let (Some(a), Some(b)) = (datum(a, call.types[0]), datum(b, call.types[1])) else { return Ok(None) };
            let kernel = match call.func {
                Func::Eq => cmp::eq,
                Func::Ne => cmp::neq,
                Func::Lt => cmp::lt,
                Func::Le => cmp::lt_eq,
                Func::Gt => cmp::gt,
                _ => cmp::gt_eq,
            };
            Ok(Some(integers_of(&kernel(a.as_ref(), b.as_ref())?)))
        }
        (DataType::Utf8 | DataType::Binary, DataType::Utf8 | DataType::Binary) => strings(call, a, b, rows),
        _ => Ok(None),
    }
}

fn strings(call: &Call<'_>, a: &ColumnarValue, b: &ColumnarValue, rows: usize) -> Result<Option<ArrayRef>, EvalError> {
    let collation = call.collation(0);
    let reader = |value: &ColumnarValue, ty: &FieldType| -> Result<ArrayRef, EvalError> {
        match value {
            ColumnarValue::Array(array) => Ok(array.clone()),
            ColumnarValue::Scalar(value) => array_of(ty, std::slice::from_ref(value)),
        }
    };
    let (left, right) = (reader(a, call.types[0])?, reader(b, call.types[1])?);
    let (left, right) = (ColumnReader::new(&left, call.types[0])?, ColumnReader::new(&right, call.types[1])?);
    let at = |value: &ColumnarValue, row: usize| if matches!(value, ColumnarValue::Scalar(_)) { 0 } else { row };
    let mask: BooleanArray = (0..rows)
        .map(|row| match (left.bytes(at(a, row)), right.bytes(at(b, row))) {
            (Some(x), Some(y)) => Some(satisfies(call.func, collation.compare(x, y))),
            _ => None,
        })
        .collect();
    Ok(Some(integers_of(&mask)))
}

fn arithmetic(
    call: &Call<'_>,
    a: &ColumnarValue,
    b: &ColumnarValue,
    rows: usize,
) -> Result<Option<ArrayRef>, EvalError> {
    let (ta, tb, to) = (arrow_type(a, call.types[0]), arrow_type(b, call.types[1]), call.ty.arrow_type());
    match (&ta, &tb, &to) {
        (DataType::Int64, DataType::Int64, DataType::Int64)
        | (DataType::UInt64, DataType::UInt64, DataType::UInt64)
        | (DataType::Float64, DataType::Float64, DataType::Float64) => {
            let (Some(a), Some(b)) = (datum(a, call.types[0]), datum(b, call.types[1])) else { return Ok(None) };
            let result = match call.func {
                Func::Add => numeric::add(a.as_ref(), b.as_ref()),
                Func::Sub => numeric::sub(a.as_ref(), b.as_ref()),
                _ => numeric::mul(a.as_ref(), b.as_ref()),
            };
            // An overflow is reported by the row that has it.
            let Ok(result) = result else { return Ok(None) };
            if to == DataType::Float64 {
                let doubles = result.as_primitive::<Float64Type>();
                if doubles.iter().flatten().any(|v| !v.is_finite()) {
                    return Ok(None);
                }
            }
            Ok(Some(result))
        }
        (_, _, DataType::Decimal128(_, scale)) => Ok(decimal(call, a, b, rows, *scale as u32)),
        _ => Ok(None),
    }
}

/// A column of integers or decimals as 128-bit integers of one scale.
struct Wide {
    values: Vec<i128>,
    nulls: Option<NullBuffer>,
    scale: u32,
}

fn widen(value: &ColumnarValue, ty: &FieldType) -> Option<Wide> {
    let array = match value {
        ColumnarValue::Array(array) => array.clone(),
        ColumnarValue::Scalar(value) => array_of(ty, std::slice::from_ref(value)).ok()?,
    };
    let (values, scale): (Vec<i128>, u32) = match array.data_type() {
        DataType::Int64 if ty.is_integer() => {
            (array.as_primitive::<Int64Type>().values().iter().map(|v| i128::from(*v)).collect(), 0)
        }
        DataType::UInt64 if ty.is_integer() => {
            (array.as_primitive::<UInt64Type>().values().iter().map(|v| i128::from(*v)).collect(), 0)
        }
        DataType::Decimal128(_, scale) => {
            (array.as_primitive::<Decimal128Type>().values().to_vec(), u32::try_from(*scale).ok()?)
        }
        _ => return None,
    };
    Some(Wide { values, nulls: array.nulls().cloned(), scale })
}

fn decimal(call: &Call<'_>, a: &ColumnarValue, b: &ColumnarValue, rows: usize, scale: u32) -> Option<ArrayRef> {
    let (left, right) = (widen(a, call.types[0])?, widen(b, call.types[1])?);
    let (fa, fb) = if call.func == Func::Mul {
        if left.scale + right.scale != scale {
            return None;
        }
        (1, 1)
    } else {
        (power_of_ten_i128(scale.checked_sub(left.scale)?), power_of_ten_i128(scale.checked_sub(right.scale)?))
    };
    let nulls_of = |wide: &Wide, value: &ColumnarValue| match (value, &wide.nulls) {
        (ColumnarValue::Scalar(_), Some(_)) => Some(NullBuffer::new_null(rows)),
        (_, nulls) => nulls.clone(),
    };
    let nulls = NullBuffer::union(nulls_of(&left, a).as_ref(), nulls_of(&right, b).as_ref());
    let at = |wide: &Wide, row: usize| wide.values[if wide.values.len() == 1 { 0 } else { row }];
    let limit = power_of_ten_i128(call.ty.length.min(38));
    let mut out = Vec::with_capacity(rows);
    for row in 0..rows {
        if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
            out.push(0);
            continue;
        }
        let (x, y) = (at(&left, row).checked_mul(fa)?, at(&right, row).checked_mul(fb)?);
        let result = match call.func {
            Func::Add => x.checked_add(y)?,
            Func::Sub => x.checked_sub(y)?,
            _ => x.checked_mul(y)?,
        };
        if result >= limit || result <= -limit {
            return None;
        }
        out.push(result);
    }
    let array = Decimal128Array::new(out.into(), nulls).with_data_type(call.ty.arrow_type());
    Some(Arc::new(array))
}

fn like(
    call: &Call<'_>,
    array: &ArrayRef,
    pattern: &Value,
    rest: &[ColumnarValue],
) -> Result<Option<ArrayRef>, EvalError> {
    let escape = match rest {
        [] => None,
        [ColumnarValue::Scalar(escape)] => Some(escape.clone()),
        _ => return Ok(None),
    };
    if escape.as_ref().is_some_and(Value::is_null) {
        return Ok(None);
    }
    let Some(pattern) = pattern.as_bytes() else { return Ok(None) };
    let reader = ColumnReader::new(array.as_ref(), call.types[0])?;
    let collation = call.collation(0);
    let all = [Value::Null, Value::Null, escape.clone().unwrap_or_default()];
    let escape = if escape.is_some() { escape_of(&all) } else { b"\\" };
    if is_long(escape) {
        return Ok(None);
    }
    // `%word%` is a search for bytes.
    let inner = pattern.strip_prefix(b"%").and_then(|p| p.strip_suffix(b"%"));
    let word =
        inner.filter(|w| collation.is_bin() && !w.iter().any(|b| matches!(b, b'%' | b'_') || escape.contains(b)));
    let finder = word.map(memchr::memmem::Finder::new);
    let mask: BooleanArray = (0..array.len())
        .map(|row| {
            reader.bytes(row).map(|text| match &finder {
                Some(finder) => finder.find(text).is_some(),
                None => like_matches(text, pattern, escape, collation),
            })
        })
        .collect();
    Ok(Some(integers_of(&mask)))
}

fn weight(call: &Call<'_>, array: &ArrayRef) -> Result<Option<ArrayRef>, EvalError> {
    if let (Some(numbers), EvalType::Real) = (array.as_primitive_opt::<Float64Type>(), call.ty.eval_type()) {
        return Ok(Some(Arc::new(numbers.unary::<_, Float64Type>(|number| number + 0.0))));
    }
    if !call.types[0].is_string() {
        return Ok(None);
    }
    let reader = ColumnReader::new(array.as_ref(), call.types[0])?;
    let collation = call.collation(0);
    let mut builder = BinaryBuilder::with_capacity(array.len(), array.len() * 8);
    let mut growth = Growth::default();
    for row in 0..array.len() {
        match reader.bytes(row) {
            Some(bytes) => {
                let weight = collation.weight(bytes);
                growth.add(weight.len())?;
                builder.append_value(weight);
            }
            None => builder.append_null(),
        }
    }
    Ok(Some(Arc::new(builder.finish())))
}

/// Integers to decimals and doubles, decimals to doubles.
fn cast(array: &ArrayRef, from: &FieldType, to: &FieldType) -> Option<ArrayRef> {
    if !from.is_integer() {
        return None;
    }
    let wide = widen(&ColumnarValue::Array(array.clone()), from)?;
    match to.arrow_type() {
        DataType::Float64 if to.kind == crate::types::TypeKind::Double => {
            let values: Vec<f64> = wide.values.iter().map(|v| *v as f64).collect();
            Some(Arc::new(Float64Array::new(values.into(), wide.nulls)))
        }
        DataType::Decimal128(precision, scale) if !to.unsigned => {
            let (factor, limit) = (power_of_ten_i128(scale as u32), power_of_ten_i128(u32::from(precision)));
            let values: Option<Vec<i128>> =
                wide.values.iter().map(|v| v.checked_mul(factor).filter(|v| *v < limit && *v > -limit)).collect();
            let array = Decimal128Array::new(values?.into(), wide.nulls).with_data_type(to.arrow_type());
            Some(Arc::new(array))
        }
        _ => None,
    }
}
