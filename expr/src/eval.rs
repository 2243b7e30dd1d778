//! Runs expressions: over batches ([`eval`]) and over one row ([`eval_row`]), with the same kernels and results.
//!
//! Over a batch, a constant stays one value until an array is asked for. AND, OR and CASE look only at the rows that they
//! would reach one by one: a part that can fail or warn runs over a batch of just those rows, so `b <> 0 AND a / b > 1`
//! divides by no zero.

use crate::cast::truth;
use crate::context::EvalContext;
use crate::convert::{ColumnBuilder, ColumnReader, array_of};
use crate::error::EvalError;
use crate::expr::Expr;
use crate::func::growth::Growth;
use crate::func::spec::Call;
use crate::func::{Func, compare, vector};
use crate::types::{EvalType, FieldType, TypeKind};
use crate::value::Value;
use crate::value_set::ValueSet;
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::kernels::boolean::{and_kleene, or_kleene};
use arrow::compute::{interleave, take};
use arrow::datatypes::DataType;
use std::collections::{BTreeSet, HashSet};

/// A column of results, or one value for all rows.
#[derive(Clone, Debug)]
pub enum ColumnarValue {
    /// One value a row.
    Array(ArrayRef),
    /// The same for every row.
    Scalar(Value),
}

impl ColumnarValue {
    /// As an array of `rows` rows of type `ty`.
    ///
    /// # Errors
    /// [`EvalError::Internal`] when the scalar is not of that type.
    pub fn into_array(self, ty: &FieldType, rows: usize) -> Result<ArrayRef, EvalError> {
        match self {
            ColumnarValue::Array(array) => Ok(array),
            ColumnarValue::Scalar(Value::Null) => Ok(new_null_array(&ty.arrow_type(), rows)),
            ColumnarValue::Scalar(value) => {
                let mut builder = ColumnBuilder::new(ty, rows);
                let mut growth = Growth::default();
                for _ in 0..rows {
                    growth.add_value(&value)?;
                    builder.append(&value)?;
                }
                Ok(builder.finish())
            }
        }
    }
}

/// Evaluates `expr` for every row of `batch`.
///
/// # Errors
/// [`EvalError`] of a row that fails.
pub fn eval(expr: &Expr, batch: &RecordBatch, ctx: &EvalContext) -> Result<ColumnarValue, EvalError> {
    match expr {
        Expr::Column { index, ty } => match batch.columns().get(*index) {
            // Of a column without a type Arrow says that no value of it is NULL.
            Some(array) if *array.data_type() == DataType::Null => {
                Ok(ColumnarValue::Array(new_null_array(&ty.arrow_type(), array.len())))
            }
            Some(array) => Ok(ColumnarValue::Array(array.clone())),
            None => Err(EvalError::Internal(format!("no column {index}"))),
        },
        Expr::Literal(value, _) => Ok(ColumnarValue::Scalar(value.clone())),
        Expr::Parameter { .. } => eval_scalar(expr, ctx).map(ColumnarValue::Scalar),
        Expr::Call { func: func @ (Func::And | Func::Or), args, .. } => logic(*func, args, batch, ctx),
        Expr::Call { func: Func::Coalesce, args, ty } if !args.iter().skip(1).all(is_harmless) => {
            first_known(args, ty, batch, ctx)
        }
        Expr::Call { func, args, ty } => {
            let values = args.iter().map(|arg| eval(arg, batch, ctx)).collect::<Result<Vec<_>, _>>()?;
            vector::run(&Call::new(*func, ty, args, ctx), &values, batch.num_rows())
        }
        Expr::Case { branches, otherwise, ty } => case(branches, otherwise.as_deref(), ty, batch, ctx),
        Expr::InList { expr, list, negated, .. } => in_list(expr, list, *negated, batch, ctx),
        Expr::InSet { expr, set, negated, .. } => in_set(expr, set, *negated, batch, ctx),
    }
}

/// Evaluates `expr` to an array.
///
/// # Errors
/// As [`eval`].
pub fn eval_array(expr: &Expr, batch: &RecordBatch, ctx: &EvalContext) -> Result<ArrayRef, EvalError> {
    eval(expr, batch, ctx)?.into_array(expr.ty(), batch.num_rows())
}

/// Evaluates a condition: true where it is true, false where it is false or NULL.
///
/// # Errors
/// As [`eval`].
pub fn eval_filter(predicate: &Expr, batch: &RecordBatch, ctx: &EvalContext) -> Result<BooleanArray, EvalError> {
    let mask = truth_mask(&eval(predicate, batch, ctx)?, predicate.ty(), batch.num_rows())?;
    Ok(match mask.nulls() {
        Some(nulls) => BooleanArray::new(mask.values() & nulls.inner(), None),
        None => mask,
    })
}

/// Evaluates an expression without columns.
///
/// # Errors
/// [`EvalError`] when it fails, or reads a column.
pub fn eval_scalar(expr: &Expr, ctx: &EvalContext) -> Result<Value, EvalError> {
    eval_row(expr, &[], ctx)
}

/// Evaluates an expression over one row of values: the short path's INSERT, UPDATE and point reads.
///
/// # Errors
/// [`EvalError`] when it fails.
pub fn eval_row(expr: &Expr, row: &[Value], ctx: &EvalContext) -> Result<Value, EvalError> {
    let missing = |what: &str, index: usize| EvalError::Internal(format!("no {what} {index}"));
    match expr {
        Expr::Literal(value, _) => Ok(value.clone()),
        Expr::Column { index, .. } => row.get(*index).cloned().ok_or_else(|| missing("column", *index)),
        Expr::Parameter { index, .. } => {
            ctx.parameters.get(*index).cloned().ok_or_else(|| missing("parameter", *index))
        }
        Expr::Call { func: func @ (Func::And | Func::Or), args, .. } => {
            let decides = *func == Func::Or;
            let mut result = Some(!decides);
            for arg in args {
                match truth(&eval_row(arg, row, ctx)?) {
                    Some(value) if value == decides => return Ok(Value::bool(decides)),
                    Some(_) => {}
                    None => result = None,
                }
            }
            Ok(result.map_or(Value::Null, Value::bool))
        }
        Expr::Call { func: Func::Coalesce, args, .. } => {
            for arg in args {
                let value = eval_row(arg, row, ctx)?;
                if !value.is_null() {
                    return Ok(value);
                }
            }
            Ok(Value::Null)
        }
        Expr::Call { func, args, ty } => {
            let values = args.iter().map(|arg| eval_row(arg, row, ctx)).collect::<Result<Vec<_>, _>>()?;
            vector::run_row(&Call::new(*func, ty, args, ctx), &values)
        }
        Expr::Case { branches, otherwise, .. } => {
            for (condition, result) in branches {
                if truth(&eval_row(condition, row, ctx)?) == Some(true) {
                    return eval_row(result, row, ctx);
                }
            }
            otherwise.as_ref().map_or(Ok(Value::Null), |e| eval_row(e, row, ctx))
        }
        Expr::InList { expr, list, negated, .. } => {
            let needle = eval_row(expr, row, ctx)?;
            if needle.is_null() {
                return Ok(Value::Null);
            }
            let mut unknown = false;
            for item in list {
                let value = eval_row(item, row, ctx)?;
                if value.is_null() {
                    unknown = true;
                } else if compare(&needle, &value, expr.ty()).is_eq() {
                    return Ok(Value::bool(!negated));
                }
            }
            Ok(if unknown { Value::Null } else { Value::bool(*negated) })
        }
        Expr::InSet { expr, set, negated, .. } => {
            let needle = eval_row(expr, row, ctx)?;
            Ok(found_in(set, &needle, expr.ty()).map_or(Value::Null, |found| Value::bool(found != *negated)))
        }
    }
}

/// Whether a value is in a set; unknown for NULL, and beside a NULL in the set.
fn found_in(set: &ValueSet, needle: &Value, ty: &FieldType) -> Option<bool> {
    if needle.is_null() {
        return None;
    }
    match set.contains(needle, ty) {
        false if set.has_null() => None,
        found => Some(found),
    }
}

/// Truth of every row.
pub(crate) fn truth_mask(value: &ColumnarValue, ty: &FieldType, rows: usize) -> Result<BooleanArray, EvalError> {
    match value {
        ColumnarValue::Scalar(value) => Ok(match truth(value) {
            Some(value) => BooleanArray::from(vec![value; rows]),
            None => BooleanArray::new_null(rows),
        }),
        ColumnarValue::Array(array) => vector::truth_of_array(array, ty),
    }
}

/// True for parts that neither fail nor warn, so that running them on a row too many is no harm.
fn is_harmless(expr: &Expr) -> bool {
    let mut harmless = true;
    expr.visit(&mut |e| {
        if let Expr::Call { func, .. } = e {
            use Func::*;
            harmless &= matches!(
                func,
                And | Or
                    | Not
                    | Xor
                    | Eq
                    | NullSafeEq
                    | Ne
                    | Lt
                    | Le
                    | Gt
                    | Ge
                    | Between
                    | IsNull
                    | IsNotNull
                    | IsTrue
                    | IsFalse
                    | IsNotTrue
                    | IsNotFalse
                    | Like
                    | CollateTo
                    | Coalesce
            );
        }
    });
    harmless
}

/// The rows of a batch at these positions.
fn select(batch: &RecordBatch, rows: &[u32]) -> Result<RecordBatch, EvalError> {
    if rows.len() == batch.num_rows() {
        return Ok(batch.clone());
    }
    let indices = UInt32Array::from(rows.to_vec());
    let columns = batch.columns().iter().map(|c| take(c, &indices, None)).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &options)?)
}

fn logic(func: Func, args: &[Expr], batch: &RecordBatch, ctx: &EvalContext) -> Result<ColumnarValue, EvalError> {
    let rows = batch.num_rows();
    let decides = func == Func::Or;
    let mut result: Option<BooleanArray> = None;
    for arg in args {
        let mask = match &result {
            None => truth_mask(&eval(arg, batch, ctx)?, arg.ty(), rows)?,
            Some(so_far) => {
                let is_open = |row: usize| so_far.is_null(row) || so_far.value(row) != decides;
                if !(0..rows).any(is_open) {
                    break;
                }
                let mask = if is_harmless(arg) {
                    truth_mask(&eval(arg, batch, ctx)?, arg.ty(), rows)?
                } else {
                    let open: Vec<u32> = (0..rows as u32).filter(|row| is_open(*row as usize)).collect();
                    let part = select(batch, &open)?;
                    let mask = truth_mask(&eval(arg, &part, ctx)?, arg.ty(), open.len())?;
                    if open.len() == rows { mask } else { spread(&mask, &open, rows, decides) }
                };
                if decides { or_kleene(so_far, &mask)? } else { and_kleene(so_far, &mask)? }
            }
        };
        result = Some(mask);
    }
    let result = result.unwrap_or_else(|| BooleanArray::from(vec![!decides; rows]));
    Ok(ColumnarValue::Array(vector::integers_of(&result)))
}

/// A mask of some rows as one of all, `other` for those not in `at`.
fn spread(mask: &BooleanArray, at: &[u32], rows: usize, other: bool) -> BooleanArray {
    let mut all = vec![Some(other); rows];
    for (from, to) in at.iter().enumerate() {
        all[*to as usize] = mask.is_valid(from).then(|| mask.value(from));
    }
    BooleanArray::from(all)
}

/// Results of some rows from here and of others from there, put together.
struct Pieces<'a> {
    ty: &'a FieldType,
    /// The first is one NULL, for rows that nothing has a result for.
    pieces: Vec<ArrayRef>,
    /// Where each row's result is: the piece, and the place within.
    source: Vec<(usize, usize)>,
}

impl<'a> Pieces<'a> {
    fn new(ty: &'a FieldType, rows: usize) -> Pieces<'a> {
        Pieces { ty, pieces: vec![new_null_array(&ty.arrow_type(), 1)], source: vec![(0, 0); rows] }
    }

    /// Evaluates an expression at `rows` and keeps the results that are taken; the rows of the others.
    fn place(
        &mut self,
        expr: &Expr,
        rows: Vec<u32>,
        batch: &RecordBatch,
        ctx: &EvalContext,
        is_taken: impl Fn(&dyn Array, usize) -> bool,
    ) -> Result<Vec<u32>, EvalError> {
        if rows.is_empty() {
            return Ok(rows);
        }
        let array = eval(expr, &select(batch, &rows)?, ctx)?.into_array(self.ty, rows.len())?;
        let is_typed = array.data_type() == &self.ty.arrow_type();
        let array = if is_typed { array } else { retype(&array, expr.ty(), self.ty)? };
        let mut rest = Vec::new();
        for (at, row) in rows.into_iter().enumerate() {
            if is_taken(&array, at) { self.source[row as usize] = (self.pieces.len(), at) } else { rest.push(row) }
        }
        self.pieces.push(array);
        Ok(rest)
    }

    fn finish(self) -> Result<ColumnarValue, EvalError> {
        let arrays: Vec<&dyn Array> = self.pieces.iter().map(|piece| piece.as_ref()).collect();
        if self.ty.is_string() {
            Growth::default().add(arrays.iter().map(|piece| piece.get_buffer_memory_size()).sum())?;
        }
        Ok(ColumnarValue::Array(interleave(&arrays, &self.source)?))
    }
}

fn case(
    branches: &[(Expr, Expr)],
    otherwise: Option<&Expr>,
    ty: &FieldType,
    batch: &RecordBatch,
    ctx: &EvalContext,
) -> Result<ColumnarValue, EvalError> {
    let mut results = Pieces::new(ty, batch.num_rows());
    let mut open: Vec<u32> = (0..batch.num_rows() as u32).collect();
    for (condition, result) in branches {
        if open.is_empty() {
            break;
        }
        let part = select(batch, &open)?;
        let mask = truth_mask(&eval(condition, &part, ctx)?, condition.ty(), open.len())?;
        let (mut hit, mut rest) = (Vec::new(), Vec::new());
        for (at, row) in open.into_iter().enumerate() {
            if mask.is_valid(at) && mask.value(at) { hit.push(row) } else { rest.push(row) }
        }
        results.place(result, hit, batch, ctx, |_, _| true)?;
        open = rest;
    }
    if let Some(otherwise) = otherwise {
        results.place(otherwise, open, batch, ctx, |_, _| true)?;
    }
    results.finish()
}

/// COALESCE of parts that may fail or warn: each looks only at the rows for which all before it are NULL.
fn first_known(
    args: &[Expr],
    ty: &FieldType,
    batch: &RecordBatch,
    ctx: &EvalContext,
) -> Result<ColumnarValue, EvalError> {
    let mut results = Pieces::new(ty, batch.num_rows());
    let mut open = (0..batch.num_rows() as u32).collect();
    for arg in args {
        open = results.place(arg, open, batch, ctx, |array, at| array.is_valid(at))?;
    }
    results.finish()
}

/// An array brought to the Arrow type of `to` value by value (a bare NULL, a decimal of another width).
fn retype(array: &ArrayRef, from: &FieldType, to: &FieldType) -> Result<ArrayRef, EvalError> {
    let reader = ColumnReader::new(array.as_ref(), from)?;
    let values: Vec<Value> = (0..array.len()).map(|row| reader.value(row)).collect();
    array_of(to, &values)
}

/// Constants of an IN list, for look-ups.
enum Haystack {
    Integers(HashSet<i64>),
    /// Weights of strings.
    Weights(BTreeSet<Vec<u8>>),
    Values(Vec<Value>),
}

fn in_list(
    expr: &Expr,
    list: &[Expr],
    negated: bool,
    batch: &RecordBatch,
    ctx: &EvalContext,
) -> Result<ColumnarValue, EvalError> {
    let rows = batch.num_rows();
    if !list.iter().all(Expr::is_constant) {
        // A list with columns: an OR of equalities, as written.
        let ty = FieldType::boolean();
        let pairs = list.iter().map(|item| Expr::Call {
            func: Func::Eq,
            args: vec![expr.clone(), item.clone()],
            ty: ty.clone(),
        });
        let any = Expr::Call { func: Func::Or, args: pairs.collect(), ty: ty.clone() };
        let whole = if negated { Expr::Call { func: Func::Not, args: vec![any], ty } } else { any };
        return eval(&whole, batch, ctx);
    }
    let ColumnarValue::Array(needles) = eval(expr, batch, ctx)? else {
        let value = eval_row(
            &Expr::InList { expr: Box::new(expr.clone()), list: list.to_vec(), negated, ty: FieldType::boolean() },
            &[],
            ctx,
        )?;
        return Ok(ColumnarValue::Scalar(value));
    };
    let ty = expr.ty();
    let values = list.iter().map(|item| eval_scalar(item, ctx)).collect::<Result<Vec<_>, _>>()?;
    let unknown = values.iter().any(Value::is_null);
    let haystack = haystack(ty, values);
    let reader = ColumnReader::new(needles.as_ref(), ty)?;
    let mut builder = ColumnBuilder::new(&FieldType::boolean(), rows);
    for row in 0..rows {
        let found = match (&haystack, reader.bytes(row)) {
            _ if needles.is_null(row) || ty.kind == TypeKind::Null => {
                builder.append_null();
                continue;
            }
            (Haystack::Weights(set), Some(bytes)) => set.contains(&*ty.collation.weight(bytes)),
            (Haystack::Integers(set), _) => reader.value(row).as_i64().is_some_and(|v| set.contains(&v)),
            (Haystack::Values(all), _) => {
                let needle = reader.value(row);
                all.iter().any(|value| compare(&needle, value, ty).is_eq())
            }
            (Haystack::Weights(_), None) => false,
        };
        match (found, unknown) {
            (false, true) => builder.append_null(),
            _ => builder.append(&Value::bool(found != negated))?,
        }
    }
    Ok(ColumnarValue::Array(builder.finish()))
}

fn in_set(
    expr: &Expr,
    set: &ValueSet,
    negated: bool,
    batch: &RecordBatch,
    ctx: &EvalContext,
) -> Result<ColumnarValue, EvalError> {
    let ty = expr.ty();
    let needles = match eval(expr, batch, ctx)? {
        ColumnarValue::Array(needles) => needles,
        ColumnarValue::Scalar(needle) => {
            let found = found_in(set, &needle, ty).map_or(Value::Null, |found| Value::bool(found != negated));
            return Ok(ColumnarValue::Scalar(found));
        }
    };
    let reader = ColumnReader::new(needles.as_ref(), ty)?;
    let mask: BooleanArray = (0..needles.len())
        .map(|row| {
            if needles.is_null(row) || ty.kind == TypeKind::Null {
                return None;
            }
            let found = match reader.bytes(row) {
                Some(bytes) => set.contains_bytes(bytes, ty),
                None => set.contains(&reader.value(row), ty),
            };
            (found || !set.has_null()).then_some(found != negated)
        })
        .collect();
    Ok(ColumnarValue::Array(vector::integers_of(&mask)))
}

fn haystack(ty: &FieldType, values: Vec<Value>) -> Haystack {
    let known: Vec<Value> = values.into_iter().filter(|v| !v.is_null()).collect();
    if ty.is_integer() && known.iter().all(|v| v.as_i64().is_some()) {
        return Haystack::Integers(known.iter().filter_map(Value::as_i64).collect());
    }
    if ty.eval_type() == EvalType::String && known.iter().all(|v| v.as_bytes().is_some()) {
        let weight = |v: &Value| ty.collation.weight(v.as_bytes().unwrap_or_default()).into_owned();
        return Haystack::Weights(known.iter().map(weight).collect());
    }
    Haystack::Values(known)
}
