//! Values in and out of Arrow arrays.

use crate::decimal::Decimal;
use crate::error::EvalError;
use crate::temporal::DateTime;
use crate::types::{EvalType, FieldType};
use crate::value::Value;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Decimal128Array, Decimal128Builder,
    Decimal256Array, Decimal256Builder, Float64Array, Float64Builder, Int64Array, Int64Builder, NullArray, StringArray,
    StringBuilder, UInt64Array, UInt64Builder,
};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type, Int64Type, UInt64Type, i256};
use basalt_common::codec::CodecError;
use std::sync::Arc;

/// Builds a column of one MySQL type from values or from stored bytes.
pub struct ColumnBuilder {
    ty: FieldType,
    builder: Builder,
}

enum Builder {
    Null(usize),
    Int(Int64Builder),
    UInt(UInt64Builder),
    Real(Float64Builder),
    Decimal128(Decimal128Builder),
    Decimal256(Decimal256Builder),
    String(StringBuilder),
    Binary(BinaryBuilder),
}

impl ColumnBuilder {
    /// A builder with room for `capacity` rows.
    pub fn new(ty: &FieldType, capacity: usize) -> ColumnBuilder {
        let builder = match ty.arrow_type() {
            DataType::Null => Builder::Null(0),
            DataType::UInt64 => Builder::UInt(UInt64Builder::with_capacity(capacity)),
            DataType::Float64 => Builder::Real(Float64Builder::with_capacity(capacity)),
            t @ DataType::Decimal128(..) => {
                Builder::Decimal128(Decimal128Builder::with_capacity(capacity).with_data_type(t))
            }
            t @ DataType::Decimal256(..) => {
                Builder::Decimal256(Decimal256Builder::with_capacity(capacity).with_data_type(t))
            }
            DataType::Utf8 => Builder::String(StringBuilder::with_capacity(capacity, capacity * 8)),
            DataType::Binary => Builder::Binary(BinaryBuilder::with_capacity(capacity, capacity * 8)),
            _ => Builder::Int(Int64Builder::with_capacity(capacity)),
        };
        ColumnBuilder { ty: ty.clone(), builder }
    }

    /// Appends NULL.
    pub fn append_null(&mut self) {
        match &mut self.builder {
            Builder::Null(n) => *n += 1,
            Builder::Int(b) => b.append_null(),
            Builder::UInt(b) => b.append_null(),
            Builder::Real(b) => b.append_null(),
            Builder::Decimal128(b) => b.append_null(),
            Builder::Decimal256(b) => b.append_null(),
            Builder::String(b) => b.append_null(),
            Builder::Binary(b) => b.append_null(),
        }
    }

    /// Appends a value of the column's type; integers and decimals are fitted to it, anything else must be of it.
    ///
    /// # Errors
    /// [`EvalError::Internal`] for a value of another type, [`EvalError::ResultOutOfRange`] for one that does not fit.
    pub fn append(&mut self, value: &Value) -> Result<(), EvalError> {
        match (&mut self.builder, value) {
            (_, Value::Null) => self.append_null(),
            (Builder::Int(b), Value::Int(v) | Value::Time(v)) => b.append_value(*v),
            (Builder::Int(b), Value::UInt(v)) if *v <= i64::MAX as u64 => b.append_value(*v as i64),
            (Builder::UInt(b), Value::UInt(v)) => b.append_value(*v),
            (Builder::UInt(b), Value::Int(v)) if *v >= 0 => b.append_value(*v as u64),
            (Builder::UInt(b), Value::DateTime(v)) => b.append_value(v.0),
            (Builder::Real(b), Value::Double(v)) => b.append_value(*v),
            (Builder::Decimal128(b), Value::Decimal(v)) => {
                let unscaled = v.rescale(self.ty.decimals).and_then(|d| d.unscaled().to_i128());
                b.append_value(unscaled.ok_or_else(|| out_of_range("DECIMAL", value))?);
            }
            (Builder::Decimal256(b), Value::Decimal(v)) => {
                let scaled = v.rescale(self.ty.decimals).ok_or_else(|| out_of_range("DECIMAL", value))?;
                b.append_value(scaled.unscaled());
            }
            (Builder::String(b), Value::String(v)) => b.append_value(v),
            (Builder::String(b), Value::Bytes(v)) => match std::str::from_utf8(v) {
                Ok(text) => b.append_value(text),
                Err(_) => b.append_value(String::from_utf8_lossy(v)),
            },
            (Builder::Binary(b), Value::String(_) | Value::Bytes(_)) => {
                b.append_value(value.as_bytes().unwrap_or_default());
            }
            (Builder::Int(_), Value::UInt(_)) => return Err(out_of_range("BIGINT", value)),
            (Builder::UInt(_), Value::Int(_)) => return Err(out_of_range("BIGINT UNSIGNED", value)),
            _ => return Err(EvalError::Internal(format!("{value:?} in a column of type {}", self.ty.sql_name()))),
        }
        Ok(())
    }

    /// Appends the integer of a handle (sign bit flipped when the column is unsigned).
    pub(crate) fn append_handle(&mut self, handle: i64) {
        match &mut self.builder {
            Builder::Int(b) => b.append_value(handle),
            Builder::UInt(b) => b.append_value(handle as u64 ^ (1 << 63)),
            _ => self.append_null(),
        }
    }

    /// Appends the bytes of a stored value (`row::encode_stored_value`).
    pub(crate) fn append_stored(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        match &mut self.builder {
            Builder::Null(n) => *n += 1,
            Builder::Int(b) => b.append_value(read_signed(bytes)?),
            Builder::UInt(b) => b.append_value(read_unsigned(bytes)?),
            Builder::Real(b) => {
                let bytes = bytes.try_into().map_err(|_| CodecError::Malformed("double"))?;
                b.append_value(f64::from_le_bytes(bytes));
            }
            Builder::Decimal128(b) => {
                let value = read_decimal(bytes, self.ty.decimals)?;
                b.append_value(value.unscaled().to_i128().ok_or(CodecError::Malformed("decimal"))?);
            }
            Builder::Decimal256(b) => b.append_value(read_decimal(bytes, self.ty.decimals)?.unscaled()),
            Builder::String(b) => {
                b.append_value(std::str::from_utf8(bytes).map_err(|_| CodecError::Malformed("text"))?);
            }
            Builder::Binary(b) => b.append_value(bytes),
        }
        Ok(())
    }

    /// Bytes the column takes so far, roughly.
    pub fn bytes(&self) -> usize {
        use arrow::array::ArrayBuilder;
        match &self.builder {
            Builder::Null(_) => 0,
            Builder::Int(b) => b.len() * 8,
            Builder::UInt(b) => b.len() * 8,
            Builder::Real(b) => b.len() * 8,
            Builder::Decimal128(b) => b.len() * 16,
            Builder::Decimal256(b) => b.len() * 32,
            Builder::String(b) => b.len() * 4 + b.values_slice().len(),
            Builder::Binary(b) => b.len() * 4 + b.values_slice().len(),
        }
    }

    /// The column; the builder starts anew.
    pub fn finish(&mut self) -> ArrayRef {
        match &mut self.builder {
            Builder::Null(n) => Arc::new(NullArray::new(std::mem::take(n))),
            Builder::Int(b) => Arc::new(b.finish()),
            Builder::UInt(b) => Arc::new(b.finish()),
            Builder::Real(b) => Arc::new(b.finish()),
            Builder::Decimal128(b) => Arc::new(b.finish()),
            Builder::Decimal256(b) => Arc::new(b.finish()),
            Builder::String(b) => Arc::new(b.finish()),
            Builder::Binary(b) => Arc::new(b.finish()),
        }
    }
}

fn out_of_range(kind: &'static str, value: &Value) -> EvalError {
    EvalError::ResultOutOfRange { kind, expression: crate::cast::display(value) }
}

fn read_signed(bytes: &[u8]) -> Result<i64, CodecError> {
    Ok(match *bytes {
        [a] => i64::from(a as i8),
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        _ => i64::from_le_bytes(bytes.try_into().map_err(|_| CodecError::Malformed("integer"))?),
    })
}

fn read_unsigned(bytes: &[u8]) -> Result<u64, CodecError> {
    Ok(match *bytes {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
        _ => u64::from_le_bytes(bytes.try_into().map_err(|_| CodecError::Malformed("integer"))?),
    })
}

fn read_decimal(bytes: &[u8], scale: u8) -> Result<Decimal, CodecError> {
    let (&stored_scale, digits) = bytes.split_first().ok_or(CodecError::Truncated)?;
    if digits.is_empty() || digits.len() > 32 || stored_scale > 76 {
        return Err(CodecError::Malformed("decimal"));
    }
    let fill = if digits[digits.len() - 1] & 0x80 == 0 { 0 } else { 0xff };
    let unscaled = if digits.len() <= 16 {
        let mut all = [fill; 16];
        all[..digits.len()].copy_from_slice(digits);
        i256::from_i128(i128::from_le_bytes(all))
    } else {
        let mut all = [fill; 32];
        all[..digits.len()].copy_from_slice(digits);
        i256::from_le_bytes(all)
    };
    Decimal::from_i256(unscaled, stored_scale).rescale(scale).ok_or(CodecError::Malformed("decimal"))
}

/// An Arrow array of the values.
///
/// # Errors
/// As [`ColumnBuilder::append`].
pub fn array_of(ty: &FieldType, values: &[Value]) -> Result<ArrayRef, EvalError> {
    let mut builder = ColumnBuilder::new(ty, values.len());
    for value in values {
        builder.append(value)?;
    }
    Ok(builder.finish())
}

/// A column seen as values of a MySQL type: the array's type is found out once, not per row.
pub struct ColumnReader<'a> {
    array: &'a dyn Array,
    kind: Reader<'a>,
}

enum Reader<'a> {
    Null,
    Int(&'a Int64Array),
    Time(&'a Int64Array),
    UInt(&'a UInt64Array),
    DateTime(&'a UInt64Array),
    Real(&'a Float64Array),
    Decimal128(&'a Decimal128Array, u8),
    Decimal256(&'a Decimal256Array, u8),
    String(&'a StringArray),
    Binary(&'a BinaryArray),
    Bool(&'a BooleanArray),
}

impl<'a> ColumnReader<'a> {
    /// Reads `array` as a column of type `ty`.
    ///
    /// # Errors
    /// [`EvalError::Internal`] when Arrow's type is not one that holds `ty`.
    pub fn new(array: &'a dyn Array, ty: &FieldType) -> Result<ColumnReader<'a>, EvalError> {
        let kind = match (array.data_type(), ty.eval_type()) {
            (DataType::Null, _) => Reader::Null,
            (DataType::Int64, EvalType::Duration) => Reader::Time(array.as_primitive::<Int64Type>()),
            (DataType::Int64, _) => Reader::Int(array.as_primitive::<Int64Type>()),
            (DataType::UInt64, EvalType::DateTime) => Reader::DateTime(array.as_primitive::<UInt64Type>()),
            (DataType::UInt64, _) => Reader::UInt(array.as_primitive::<UInt64Type>()),
            (DataType::Float64, _) => Reader::Real(array.as_primitive::<Float64Type>()),
            (DataType::Decimal128(_, s), _) => Reader::Decimal128(array.as_primitive::<Decimal128Type>(), *s as u8),
            (DataType::Decimal256(_, s), _) => Reader::Decimal256(array.as_primitive::<Decimal256Type>(), *s as u8),
            (DataType::Utf8, _) => Reader::String(array.as_string::<i32>()),
            (DataType::Binary, _) => Reader::Binary(array.as_binary::<i32>()),
            (DataType::Boolean, _) => Reader::Bool(array.as_boolean()),
            (other, _) => return Err(EvalError::Internal(format!("{other} for {}", ty.sql_name()))),
        };
        Ok(ColumnReader { array, kind })
    }

    /// The bytes of a string cell, borrowed; `None` for NULL and other types.
    pub fn bytes(&self, row: usize) -> Option<&'a [u8]> {
        if self.array.is_null(row) {
            return None;
        }
        match &self.kind {
            Reader::String(a) => Some(a.value(row).as_bytes()),
            Reader::Binary(a) => Some(a.value(row)),
            _ => None,
        }
    }

    /// The value of a row. Panics beyond the array's end.
    pub fn value(&self, row: usize) -> Value {
        if self.array.is_null(row) {
            return Value::Null;
        }
        match &self.kind {
            Reader::Null => Value::Null,
            Reader::Int(a) => Value::Int(a.value(row)),
            Reader::Time(a) => Value::Time(a.value(row)),
            Reader::UInt(a) => Value::UInt(a.value(row)),
            Reader::DateTime(a) => Value::DateTime(DateTime(a.value(row))),
            Reader::Real(a) => Value::Double(a.value(row)),
            Reader::Decimal128(a, scale) => Value::Decimal(Decimal::new(a.value(row), *scale)),
            Reader::Decimal256(a, scale) => Value::Decimal(Decimal::from_i256(a.value(row), *scale)),
            Reader::String(a) => Value::from(a.value(row)),
            Reader::Binary(a) => Value::Bytes(bytes::Bytes::copy_from_slice(a.value(row))),
            Reader::Bool(a) => Value::bool(a.value(row)),
        }
    }
}

/// The value of one cell.
///
/// # Errors
/// As [`ColumnReader::new`].
pub fn value_at(array: &dyn Array, ty: &FieldType, row: usize) -> Result<Value, EvalError> {
    Ok(ColumnReader::new(array, ty)?.value(row))
}
