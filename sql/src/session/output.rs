//! From results to the protocol: column definitions, Arrow batches cell by cell, values, and parameters the other way.

use crate::error::{Error, Result};
use crate::plan::OutputColumn;
use crate::server::column::{ColumnDef, ColumnSet};
use crate::server::constant::{ColumnFlags, TypeCode};
use crate::server::prepared::Param;
use crate::server::result::RowWriter;
use crate::server::temporal::{DateTimeParts, TimeParts};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type, Int64Type, UInt64Type};
use arrow::record_batch::RecordBatch;
use basalt_expr::decimal::Decimal;
use basalt_expr::temporal::{DateTime, Fields};
use basalt_expr::types::{FieldType, TypeKind};
use basalt_expr::value::Value;
use bytes::Bytes;

/// Column definitions of a result.
pub fn column_set(columns: &[OutputColumn]) -> ColumnSet {
    ColumnSet::new(columns.iter().map(column_def).collect())
}

/// One column definition.
pub fn column_def(column: &OutputColumn) -> ColumnDef {
    let wire = column.ty.wire();
    let mut flags = ColumnFlags(wire.flags);
    let (mut schema, mut org_table, mut org_name) = (String::new(), String::new(), String::new());
    if let Some(origin) = &column.origin {
        (schema, org_table, org_name) = (origin.database.clone(), origin.table.clone(), origin.column.clone());
        let keys = origin.key_flags;
        for (set, flag) in [
            (keys.primary, ColumnFlags::PRIMARY_KEY),
            (keys.unique, ColumnFlags::UNIQUE_KEY),
            (keys.multiple, ColumnFlags::MULTIPLE_KEY),
            (keys.auto_increment, ColumnFlags::AUTO_INCREMENT),
        ] {
            if set {
                flags = flags.with(flag);
            }
        }
    }
    ColumnDef {
        schema,
        table: column.table.clone(),
        org_table,
        name: column.name.clone(),
        org_name,
        collation: wire.charset,
        length: wire.length,
        type_code: TypeCode(wire.type_code),
        flags,
        decimals: wire.decimals,
    }
}

/// Writes a batch's rows, with back-pressure between them.
///
/// # Errors
/// When the client is gone, or a row is too long for it.
pub async fn write_batch(out: &mut RowWriter<'_>, batch: &RecordBatch, types: &[FieldType]) -> Result<()> {
    let cells = batch.columns().iter().zip(types).map(|(array, ty)| Cells::of(array, ty)).collect::<Result<Vec<_>>>()?;
    for row in 0..batch.num_rows() {
        for cell in &cells {
            cell.write(out, row);
        }
        out.end_row()?;
        out.back_pressure().await?;
    }
    Ok(())
}

/// A column of a batch, its Arrow type settled once.
enum Cells<'a> {
    Null,
    Int(&'a arrow::array::Int64Array),
    UInt(&'a arrow::array::UInt64Array),
    Bit(&'a arrow::array::UInt64Array, usize),
    Double(&'a arrow::array::Float64Array),
    Float(&'a arrow::array::Float64Array),
    Decimal128(&'a arrow::array::Decimal128Array, u8),
    Decimal256(&'a arrow::array::Decimal256Array, u8),
    Text(&'a arrow::array::StringArray),
    Bytes(&'a arrow::array::BinaryArray),
    DateTime(&'a arrow::array::UInt64Array, u8),
    Time(&'a arrow::array::Int64Array, u8),
}

impl<'a> Cells<'a> {
    fn of(array: &'a ArrayRef, ty: &FieldType) -> Result<Cells<'a>> {
        Ok(match (array.data_type(), ty.kind) {
            (DataType::Null, _) => Cells::Null,
            (DataType::Int64, TypeKind::Time) => Cells::Time(array.as_primitive::<Int64Type>(), ty.scale()),
            (DataType::Int64, _) => Cells::Int(array.as_primitive::<Int64Type>()),
            (DataType::UInt64, TypeKind::Date | TypeKind::DateTime | TypeKind::Timestamp) => {
                Cells::DateTime(array.as_primitive::<UInt64Type>(), ty.scale())
            }
            (DataType::UInt64, TypeKind::Bit) => Cells::Bit(array.as_primitive::<UInt64Type>(), ty.length.div_ceil(8) as usize),
            (DataType::UInt64, _) => Cells::UInt(array.as_primitive::<UInt64Type>()),
            (DataType::Float64, TypeKind::Float) => Cells::Float(array.as_primitive::<Float64Type>()),
            (DataType::Float64, _) => Cells::Double(array.as_primitive::<Float64Type>()),
            (DataType::Decimal128(_, scale), _) => Cells::Decimal128(array.as_primitive::<Decimal128Type>(), *scale as u8),
            (DataType::Decimal256(_, scale), _) => Cells::Decimal256(array.as_primitive::<Decimal256Type>(), *scale as u8),
            (DataType::Utf8, _) => Cells::Text(array.as_string::<i32>()),
            (DataType::Binary, _) => Cells::Bytes(array.as_binary::<i32>()),
            (other, _) => return Err(Error::Internal(format!("a result column of type {other}"))),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Cells::Null => true,
            Cells::Int(a) | Cells::Time(a, _) => a.is_null(row),
            Cells::UInt(a) | Cells::Bit(a, _) | Cells::DateTime(a, _) => a.is_null(row),
            Cells::Double(a) | Cells::Float(a) => a.is_null(row),
            Cells::Decimal128(a, _) => a.is_null(row),
            Cells::Decimal256(a, _) => a.is_null(row),
            Cells::Text(a) => a.is_null(row),
            Cells::Bytes(a) => a.is_null(row),
        }
    }

    fn write(&self, out: &mut RowWriter<'_>, row: usize) {
        if self.is_null(row) {
            return out.null();
        }
        match self {
            Cells::Null => out.null(),
            Cells::Int(a) => out.int(a.value(row)),
            Cells::UInt(a) => out.uint(a.value(row)),
            Cells::Bit(a, bytes) => out.bytes(&a.value(row).to_be_bytes()[8 - (*bytes).min(8)..]),
            Cells::Double(a) => out.double(a.value(row)),
            Cells::Float(a) => out.float(a.value(row) as f32),
            Cells::Decimal128(a, scale) => out.bytes_with(|text| Decimal::new(a.value(row), *scale).format(text)),
            Cells::Decimal256(a, scale) => out.bytes_with(|text| Decimal::from_i256(a.value(row), *scale).format(text)),
            Cells::Text(a) => out.bytes(a.value(row).as_bytes()),
            Cells::Bytes(a) => out.bytes(a.value(row)),
            Cells::DateTime(a, fsp) => out.datetime(&datetime_parts(DateTime(a.value(row))), *fsp),
            Cells::Time(a, fsp) => out.time(&time_parts(a.value(row)), *fsp),
        }
    }
}

/// Writes one value as a cell.
pub fn write_value(out: &mut RowWriter<'_>, value: &Value, ty: &FieldType) {
    match value {
        Value::Null => out.null(),
        Value::Int(v) => out.int(*v),
        Value::UInt(v) if ty.kind == TypeKind::Bit => {
            out.bytes(&v.to_be_bytes()[8 - (ty.length.div_ceil(8) as usize).min(8)..]);
        }
        Value::UInt(v) => out.uint(*v),
        Value::Double(v) if ty.kind == TypeKind::Float => out.float(*v as f32),
        Value::Double(v) => out.double(*v),
        Value::Decimal(v) => out.bytes_with(|text| v.format(text)),
        Value::String(v) => out.bytes(v.as_bytes()),
        Value::Bytes(v) => out.bytes(v),
        Value::DateTime(v) => out.datetime(&datetime_parts(*v), ty.scale()),
        Value::Time(v) => out.time(&time_parts(*v), ty.scale()),
    }
}

fn datetime_parts(value: DateTime) -> DateTimeParts {
    let f = value.fields();
    DateTimeParts {
        year: f.year as u16,
        month: f.month as u8,
        day: f.day as u8,
        hour: f.hour as u8,
        minute: f.minute as u8,
        second: f.second as u8,
        micros: f.micro,
    }
}

fn time_parts(micros: i64) -> TimeParts {
    let all = micros.unsigned_abs();
    let seconds = all / 1_000_000;
    TimeParts {
        negative: micros < 0,
        days: (seconds / 86_400) as u32,
        hour: (seconds / 3600 % 24) as u8,
        minute: (seconds / 60 % 60) as u8,
        second: (seconds % 60) as u8,
        micros: (all % 1_000_000) as u32,
    }
}

/// A parameter as a value: what the client sent, checked.
///
/// # Errors
/// 1292 and 1366 for dates, times, numbers and text that are none.
pub fn param_value(param: &Param<'_>) -> Result<Value> {
    Ok(match param {
        Param::Null => Value::Null,
        Param::Int(v) => Value::Int(*v),
        Param::UInt(v) => Value::UInt(*v),
        Param::Float(v) => Value::Double(f64::from(*v)),
        Param::Double(v) => Value::Double(*v),
        // Drivers send bytes and text alike as strings; what is not UTF-8 can only be bytes.
        Param::Text(v) | Param::Blob(v) => match std::str::from_utf8(v) {
            Ok(text) => Value::String(text.into()),
            Err(_) => Value::Bytes(Bytes::copy_from_slice(v)),
        },
        Param::Decimal(v) => match Decimal::parse(v) {
            Some((decimal, length)) if length == v.len() => Value::Decimal(decimal),
            _ => return Err(wrong_value("DECIMAL", String::from_utf8_lossy(v))),
        },
        Param::Date(p) | Param::DateTime(p) => {
            let fields = Fields {
                year: u32::from(p.year),
                month: u32::from(p.month),
                day: u32::from(p.day),
                hour: u32::from(p.hour),
                minute: u32::from(p.minute),
                second: u32::from(p.second),
                micro: p.micros,
            };
            if !fields.is_valid(true) {
                return Err(wrong_value("DATETIME", format!("{}-{}-{}", p.year, p.month, p.day)));
            }
            Value::DateTime(fields.pack())
        }
        Param::Time(p) => {
            let seconds = u64::from(p.days) * 86_400 + u64::from(p.hour) * 3600 + u64::from(p.minute) * 60 + u64::from(p.second);
            let micros = i64::try_from(seconds * 1_000_000 + u64::from(p.micros)).map_err(|_| wrong_value("TIME", seconds))?;
            Value::Time(if p.negative { -micros } else { micros })
        }
    })
}

fn wrong_value(what: &str, value: impl std::fmt::Display) -> Error {
    Error::User { code: 1292, sqlstate: "22007", message: format!("Incorrect {what} value: '{value}'") }
}
