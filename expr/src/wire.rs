//! Expressions as bytes, for fragments that travel to storage.
//!
//! ```text
//! column     00 index type            call      03 name type n arg…
//! literal    01 value type            case      04 type n (condition result)… has-else else
//! parameter  02 index type            in list   05 negated type expr n item…
//!                                    in set    06 negated has-null type expr n value…
//! value      00 null · 01 int · 02 uint · 03 double · 04 decimal text · 05 text · 06 bytes · 07 datetime · 08 time
//! ```
//! Numbers are varints, texts and bytes are preceded by their length, types are `ColumnType` messages. Functions go by
//! name, so that their order in the list may change.

use crate::decimal::Decimal;
use crate::expr::Expr;
use crate::func::Func;
use crate::temporal::DateTime;
use crate::types::FieldType;
use crate::value::Value;
use crate::value_set::ValueSet;
use basalt_common::codec::{CodecError, decode_varint, encode_varint};
use basalt_common::stack::levels_max;
use basalt_proto::coprocessor::ColumnType;
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;

/// Writes an expression.
pub fn encode_expr(expr: &Expr, out: &mut Vec<u8>) {
    match expr {
        Expr::Column { index, ty } => tagged(out, 0, *index as u64, ty),
        Expr::Literal(value, ty) => {
            out.push(1);
            encode_value(value, out);
            encode_type(ty, out);
        }
        Expr::Parameter { index, ty } => tagged(out, 2, *index as u64, ty),
        Expr::Call { func, args, ty } => {
            out.push(3);
            encode_bytes(func.name().as_bytes(), out);
            encode_type(ty, out);
            encode_list(args, out);
        }
        Expr::Case { branches, otherwise, ty } => {
            out.push(4);
            encode_type(ty, out);
            encode_varint(out, branches.len() as u64);
            for (condition, result) in branches {
                encode_expr(condition, out);
                encode_expr(result, out);
            }
            out.push(u8::from(otherwise.is_some()));
            if let Some(otherwise) = otherwise {
                encode_expr(otherwise, out);
            }
        }
        Expr::InList { expr, list, negated, ty } => {
            out.extend_from_slice(&[5, u8::from(*negated)]);
            encode_type(ty, out);
            encode_expr(expr, out);
            encode_list(list, out);
        }
        Expr::InSet { expr, set, negated, ty } => {
            out.extend_from_slice(&[6, u8::from(*negated), u8::from(set.has_null())]);
            encode_type(ty, out);
            encode_expr(expr, out);
            encode_varint(out, set.values().len() as u64);
            for value in set.values() {
                encode_value(value, out);
            }
        }
    }
}

/// Reads an expression and nothing behind it.
///
/// # Errors
/// [`CodecError`] for bytes that are none, or of a newer version.
pub fn decode_expr(mut bytes: &[u8]) -> Result<Expr, CodecError> {
    let expr = read_expr(&mut bytes, 0)?;
    if bytes.is_empty() { Ok(expr) } else { Err(CodecError::Malformed("bytes behind an expression")) }
}

fn tagged(out: &mut Vec<u8>, tag: u8, number: u64, ty: &FieldType) {
    out.push(tag);
    encode_varint(out, number);
    encode_type(ty, out);
}

fn encode_list(list: &[Expr], out: &mut Vec<u8>) {
    encode_varint(out, list.len() as u64);
    for expr in list {
        encode_expr(expr, out);
    }
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    encode_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn encode_type(ty: &FieldType, out: &mut Vec<u8>) {
    encode_bytes(&ty.to_proto().encode_to_vec(), out);
}

pub(crate) fn encode_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0),
        Value::Int(v) => number(out, 1, *v as u64),
        Value::UInt(v) => number(out, 2, *v),
        Value::Double(v) => number(out, 3, v.to_bits()),
        Value::Decimal(v) => {
            let mut text = Vec::new();
            v.format(&mut text);
            out.push(4);
            encode_bytes(&text, out);
        }
        Value::String(v) => {
            out.push(5);
            encode_bytes(v.as_bytes(), out);
        }
        Value::Bytes(v) => {
            out.push(6);
            encode_bytes(v, out);
        }
        Value::DateTime(v) => number(out, 7, v.0),
        Value::Time(v) => number(out, 8, *v as u64),
    }
}

fn number(out: &mut Vec<u8>, tag: u8, value: u64) {
    out.push(tag);
    out.extend_from_slice(&value.to_le_bytes());
}

fn read_expr(input: &mut &[u8], depth: usize) -> Result<Expr, CodecError> {
    if depth > levels_max() {
        return Err(CodecError::Malformed("expression is too deep"));
    }
    Ok(match read_byte(input)? {
        0 => Expr::Column { index: read_len(input)?, ty: read_type(input)? },
        1 => Expr::Literal(read_value(input)?, read_type(input)?),
        2 => Expr::Parameter { index: read_len(input)?, ty: read_type(input)? },
        3 => {
            let name = read_text(input)?;
            let func = Func::by_name(name).ok_or(CodecError::Malformed("unknown function"))?;
            let ty = read_type(input)?;
            Expr::Call { func, args: read_list(input, depth)?, ty }
        }
        4 => {
            let ty = read_type(input)?;
            let mut branches = Vec::new();
            for _ in 0..read_len(input)? {
                branches.push((read_expr(input, depth + 1)?, read_expr(input, depth + 1)?));
            }
            let otherwise = match read_byte(input)? {
                0 => None,
                _ => Some(Box::new(read_expr(input, depth + 1)?)),
            };
            Expr::Case { branches, otherwise, ty }
        }
        5 => {
            let negated = read_byte(input)? != 0;
            let ty = read_type(input)?;
            let expr = Box::new(read_expr(input, depth + 1)?);
            Expr::InList { expr, list: read_list(input, depth)?, negated, ty }
        }
        6 => {
            let negated = read_byte(input)? != 0;
            let has_null = read_byte(input)? != 0;
            let ty = read_type(input)?;
            let expr = Box::new(read_expr(input, depth + 1)?);
            let mut values = if has_null { vec![Value::Null] } else { Vec::new() };
            for _ in 0..read_len(input)? {
                values.push(read_value(input)?);
            }
            let set = ValueSet::new(expr.ty(), values).ok_or(CodecError::Malformed("set"))?;
            Expr::InSet { expr, set: Arc::new(set), negated, ty }
        }
        _ => return Err(CodecError::Malformed("unknown expression")),
    })
}

fn read_list(input: &mut &[u8], depth: usize) -> Result<Vec<Expr>, CodecError> {
    // The list grows as it is read: its claimed length allocates nothing.
    let mut list = Vec::new();
    for _ in 0..read_len(input)? {
        list.push(read_expr(input, depth + 1)?);
    }
    Ok(list)
}

fn read_value(input: &mut &[u8]) -> Result<Value, CodecError> {
    Ok(match read_byte(input)? {
        0 => Value::Null,
        1 => Value::Int(read_u64(input)? as i64),
        2 => Value::UInt(read_u64(input)?),
        3 => Value::Double(f64::from_bits(read_u64(input)?)),
        4 => {
            let (decimal, _) = Decimal::parse(read_bytes(input)?).ok_or(CodecError::Malformed("decimal"))?;
            Value::Decimal(decimal)
        }
        5 => Value::from(read_text(input)?),
        6 => Value::Bytes(Bytes::copy_from_slice(read_bytes(input)?)),
        7 => Value::DateTime(DateTime(read_u64(input)?)),
        8 => Value::Time(read_u64(input)? as i64),
        _ => return Err(CodecError::Malformed("unknown value")),
    })
}

fn read_byte(input: &mut &[u8]) -> Result<u8, CodecError> {
    let (&byte, rest) = input.split_first().ok_or(CodecError::Truncated)?;
    *input = rest;
    Ok(byte)
}

fn read_u64(input: &mut &[u8]) -> Result<u64, CodecError> {
    let (bytes, rest) = input.split_first_chunk::<8>().ok_or(CodecError::Truncated)?;
    *input = rest;
    Ok(u64::from_le_bytes(*bytes))
}

fn read_len(input: &mut &[u8]) -> Result<usize, CodecError> {
    usize::try_from(decode_varint(input)?).map_err(|_| CodecError::Malformed("length"))
}

fn read_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], CodecError> {
    let len = read_len(input)?;
    let (bytes, rest) = input.split_at_checked(len).ok_or(CodecError::Truncated)?;
    *input = rest;
    Ok(bytes)
}

fn read_text<'a>(input: &mut &'a [u8]) -> Result<&'a str, CodecError> {
    std::str::from_utf8(read_bytes(input)?).map_err(|_| CodecError::Malformed("text"))
}

fn read_type(input: &mut &[u8]) -> Result<FieldType, CodecError> {
    let message = ColumnType::decode(read_bytes(input)?).map_err(|_| CodecError::Malformed("type"))?;
    FieldType::from_proto(&message).map_err(|_| CodecError::Malformed("type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_travel() {
        let column = Expr::column(3, FieldType::varchar(20));
        let call = Expr::Call {
            func: Func::Concat,
            args: vec![column.clone(), Expr::string("é"), Expr::null()],
            ty: FieldType::varchar(99),
        };
        let decimal = Decimal::parse(b"-1.50").map(|d| d.0).expect("a decimal");
        let expr = Expr::Case {
            branches: vec![(
                Expr::InList {
                    expr: Box::new(call),
                    list: vec![Expr::literal(Value::Decimal(decimal)), Expr::literal(Value::Double(0.5))],
                    negated: true,
                    ty: FieldType::boolean(),
                },
                Expr::int(-7),
            )],
            otherwise: Some(Box::new(Expr::Parameter { index: 2, ty: FieldType::bigint_unsigned() })),
            ty: FieldType::bigint(),
        };
        let mut bytes = Vec::new();
        encode_expr(&expr, &mut bytes);
        assert_eq!(decode_expr(&bytes), Ok(expr));
        for end in 0..bytes.len() {
            assert!(decode_expr(&bytes[..end]).is_err());
        }
    }
}
