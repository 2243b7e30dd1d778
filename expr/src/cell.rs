//! Cells as the MySQL protocol sends them: text and binary.

use crate::charset::Charset;
use crate::convert::ColumnReader;
use crate::error::EvalError;
use crate::number;
use crate::temporal::zone::TimeZone;
use crate::temporal::{self, DateTime, SECOND};
use crate::types::{FieldType, NOT_FIXED, TypeKind};
use crate::value::Value;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::UInt64Type;
use std::sync::Arc;

/// Length of a YEAR that no column holds: its zero year is `0`, not `0000`.
pub const YEAR_OF_CAST: u32 = 4;

/// Appends the text of a value of type `ty`; nothing for NULL.
pub fn format_value(ty: &FieldType, value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => {}
        Value::Int(v) if ty.kind == TypeKind::Year && ty.length != YEAR_OF_CAST => {
            out.extend_from_slice(format!("{v:04}").as_bytes())
        }
        Value::Int(v) => out.extend_from_slice(itoa::Buffer::new().format(*v).as_bytes()),
        Value::UInt(v) if ty.kind == TypeKind::Bit => out.extend_from_slice(bit_bytes(*v, ty.length).as_slice()),
        Value::UInt(v) => out.extend_from_slice(itoa::Buffer::new().format(*v).as_bytes()),
        Value::Double(v) if ty.decimals != NOT_FIXED && ty.decimals <= 30 => {
            number::format_fixed(*v, usize::from(ty.decimals), out);
        }
        Value::Double(v) if ty.kind == TypeKind::Float => number::format_float(*v, out),
        Value::Double(v) => number::format_double(*v, out),
        Value::Decimal(v) if ty.kind == TypeKind::Decimal && v.scale() != ty.decimals => {
            v.rescale(ty.decimals).unwrap_or(*v).format(out);
        }
        Value::Decimal(v) => v.format(out),
        Value::String(s) => out.extend_from_slice(s.as_bytes()),
        Value::Bytes(b) => out.extend_from_slice(b),
        Value::DateTime(v) if ty.kind == TypeKind::Date => v.format_date(out),
        Value::DateTime(v) => v.format(ty.decimals, out),
        Value::Time(v) => temporal::format_time(*v, ty.decimals, out),
    }
}

fn bit_bytes(value: u64, bits: u32) -> Vec<u8> {
    let len = bits.clamp(1, 64).div_ceil(8) as usize;
    value.to_be_bytes()[8 - len..].to_vec()
}

/// A column as a session shows it: TIMESTAMPs, which are in UTC, in its zone; everything else as it is.
pub fn shown_in(zone: &TimeZone, ty: &FieldType, array: &ArrayRef) -> ArrayRef {
    match array.as_primitive_opt::<UInt64Type>() {
        Some(moments) if ty.kind == TypeKind::Timestamp => {
            Arc::new(moments.unary::<_, UInt64Type>(|moment| zone.from_utc(DateTime(moment)).0))
        }
        _ => array.clone(),
    }
}

/// A value as a session shows it.
pub fn value_shown_in(zone: &TimeZone, ty: &FieldType, value: Value) -> Value {
    match value {
        Value::DateTime(moment) if ty.kind == TypeKind::Timestamp => Value::DateTime(zone.from_utc(moment)),
        value => value,
    }
}

/// Formats the cells of one column, for rows sent one after another.
pub struct CellFormatter<'a> {
    ty: &'a FieldType,
    reader: ColumnReader<'a>,
    array: &'a ArrayRef,
}

impl<'a> CellFormatter<'a> {
    /// A formatter of `array`, a column of type `ty`.
    ///
    /// # Errors
    /// [`EvalError::Internal`] when the array does not hold that type.
    pub fn new(ty: &'a FieldType, array: &'a ArrayRef) -> Result<CellFormatter<'a>, EvalError> {
        Ok(CellFormatter { ty, reader: ColumnReader::new(array.as_ref(), ty)?, array })
    }
    /// True when the cell is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row) || self.array.data_type() == &arrow::datatypes::DataType::Null
    }
    /// Appends the text of a cell, without its length; nothing for NULL.
    pub fn text(&self, row: usize, out: &mut Vec<u8>) {
        match self.reader.bytes(row) {
            Some(bytes) => out.extend_from_slice(bytes),
            None => format_value(self.ty, &self.reader.value(row), out),
        }
    }
    /// Appends a cell of text in another character set than the one it is kept in.
    pub fn converted(&self, row: usize, charset: Charset, out: &mut Vec<u8>) {
        if let Some(text) = self.reader.bytes(row) {
            out.extend_from_slice(&charset.encode(&String::from_utf8_lossy(text)));
        }
    }
    /// Appends a cell in the binary protocol's form, with its length where that form has one; nothing for NULL.
    pub fn binary(&self, row: usize, out: &mut Vec<u8>) {
        match self.reader.bytes(row) {
            Some(bytes) => push_length_encoded(bytes, out),
            None => format_value_binary(self.ty, &self.reader.value(row), out),
        }
    }
}

/// Appends the text of a cell and says whether there is one (it is not NULL).
///
/// # Errors
/// [`EvalError::Internal`] when the array does not hold that type.
pub fn format_cell(ty: &FieldType, array: &ArrayRef, row: usize, out: &mut Vec<u8>) -> Result<bool, EvalError> {
    let formatter = CellFormatter::new(ty, array)?;
    if formatter.is_null(row) {
        return Ok(false);
    }
    formatter.text(row, out);
    Ok(true)
}

/// Appends a value in the binary protocol's form (`COM_STMT_EXECUTE` results) by its column's wire type; nothing for NULL.
pub fn format_value_binary(ty: &FieldType, value: &Value, out: &mut Vec<u8>) {
    use TypeKind::*;
    match value {
        Value::Null => {}
        Value::Int(_) | Value::UInt(_) if ty.kind != Bit && ty.is_integer() => {
            let bits = match value {
                Value::UInt(v) => *v,
                _ => value.as_i64().unwrap_or_default() as u64,
            };
            let width = match ty.kind {
                Tiny => 1,
                Short | Year => 2,
                Int24 | Long => 4,
                _ => 8,
            };
            out.extend_from_slice(&bits.to_le_bytes()[..width]);
        }
        Value::Double(v) if ty.kind == Float => out.extend_from_slice(&(*v as f32).to_le_bytes()),
        Value::Double(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::DateTime(v) => {
            let f = v.fields();
            let date_only = ty.kind == Date || v.time_of_day() == 0;
            let len = if v.0 == 0 {
                0
            } else if date_only {
                4
            } else if f.micro == 0 {
                7
            } else {
                11
            };
            out.push(len);
            let mut all = [0; 11];
            all[..2].copy_from_slice(&(f.year as u16).to_le_bytes());
            all[2..7].copy_from_slice(&[f.month as u8, f.day as u8, f.hour as u8, f.minute as u8, f.second as u8]);
            all[7..].copy_from_slice(&f.micro.to_le_bytes());
            out.extend_from_slice(&all[..usize::from(len)]);
        }
        Value::Time(v) => {
            let (micros, seconds) = (v.unsigned_abs() % SECOND as u64, v.unsigned_abs() / SECOND as u64);
            let len = if *v == 0 {
                0
            } else if micros == 0 {
                8
            } else {
                12
            };
            out.push(len);
            let mut all = [0; 12];
            all[0] = u8::from(*v < 0);
            all[1..5].copy_from_slice(&((seconds / 86_400) as u32).to_le_bytes());
            let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
            all[5..8].copy_from_slice(&[hour as u8, minute as u8, second as u8]);
            all[8..].copy_from_slice(&(micros as u32).to_le_bytes());
            out.extend_from_slice(&all[..usize::from(len)]);
        }
        _ => {
            let mut text = Vec::with_capacity(24);
            format_value(ty, value, &mut text);
            push_length_encoded(&text, out);
        }
    }
}

/// Appends a length-encoded string.
pub fn push_length_encoded(bytes: &[u8], out: &mut Vec<u8>) {
    let len = bytes.len() as u64;
    match len {
        0..=250 => out.push(len as u8),
        251..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&len.to_le_bytes()[..2]);
        }
        0x1_0000..=0xff_ffff => {
            out.push(0xfd);
            out.extend_from_slice(&len.to_le_bytes()[..3]);
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&len.to_le_bytes());
        }
    }
    out.extend_from_slice(bytes);
}
