//! `& | ^ ~ << >> BIT_COUNT`: on 64 unsigned bits, or on the bytes of binary strings.
//!
//! Bytes are taken as they are where no operand is a number: a hexadecimal or bit literal is one, unless it stands beside a
//! binary string. `& | ^` want strings of one length (error 3513), shifts keep theirs.

use super::Func;
use super::hybrid_number;
use super::spec::{Arg, Call, Ret, Spec, text_result};
use crate::aggregate::of_bytes;
use crate::cast::to_bits;
use crate::collation::Collation;
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::types::{EvalType, FieldType};
use crate::value::Value;

pub(super) fn spec(func: Func) -> Option<Spec> {
    let arguments = match func {
        Func::BitAnd | Func::BitOr | Func::BitXor | Func::ShiftLeft | Func::ShiftRight => 2,
        Func::BitNot | Func::BitCount => 1,
        _ => return None,
    };
    let ret = match func {
        Func::BitCount => Ret::Custom(type_of_count),
        Func::BitNot | Func::ShiftLeft | Func::ShiftRight => Ret::Custom(type_of_first),
        _ => Ret::Custom(type_of_both),
    };
    Some(Spec::new(arguments, arguments, &[Arg::Any], ret, calculate).total())
}

fn bytes_type(ty: &FieldType) -> FieldType {
    text_result(ty.display_width(), Collation::Binary)
}

/// What bits are taken of: a date is the number of its digits, and of integers that met in a branch each keeps its own.
fn as_bits(arg: Expr) -> Expr {
    let is_branch = matches!(&arg, Expr::Case { .. } | Expr::Call { func: Func::Coalesce, .. });
    match arg.ty() {
        // The moment is rounded, not its number.
        ty if ty.is_temporal() && ty.decimals > 0 => {
            let whole = FieldType { decimals: 0, ..ty.clone() };
            super::date_as_number(super::cast(arg, whole))
        }
        ty if ty.is_temporal() => super::date_as_number(arg),
        ty if is_branch && ty.eval_type() == EvalType::Decimal && ty.decimals == 0 => {
            super::cast(arg, FieldType::bigint_unsigned())
        }
        _ => arg,
    }
}

fn all_as_bits(args: &mut [Expr]) {
    for arg in args.iter_mut() {
        *arg = as_bits(std::mem::replace(arg, Expr::null()));
    }
}

fn type_of_count(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    all_as_bits(args);
    Ok(FieldType::bigint())
}

fn type_of_first(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    all_as_bits(args);
    Ok(if of_bytes(args[0].ty()) { bytes_type(args[0].ty()) } else { FieldType::bigint_unsigned() })
}

fn type_of_both(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    all_as_bits(args);
    let types = [args[0].ty(), args[1].ty()];
    let is_bytes = types.iter().all(|ty| ty.is_binary_string()) && types.iter().any(|ty| of_bytes(ty));
    Ok(if is_bytes { bytes_type(types[0]) } else { FieldType::bigint_unsigned() })
}

fn calculate(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let is_bytes = call.ty.is_binary_string() || call.func == Func::BitCount && of_bytes(call.types[0]);
    if let (true, Some(bytes)) = (is_bytes, args[0].as_bytes()) {
        return of_strings(call, bytes, args);
    }
    let number = |at: usize| match hybrid_number(&args[at], call.types[at]) {
        Some(number) => to_bits(&number, call.ctx),
        None => to_bits(&args[at], call.ctx),
    };
    let a = number(0)?;
    let b = if args.len() > 1 { number(1)? } else { 0 };
    let shift = u32::try_from(b).unwrap_or(u32::MAX);
    Ok(match call.func {
        Func::BitAnd => Value::UInt(a & b),
        Func::BitOr => Value::UInt(a | b),
        Func::BitXor => Value::UInt(a ^ b),
        Func::ShiftLeft => Value::UInt(a.checked_shl(shift).unwrap_or(0)),
        Func::ShiftRight => Value::UInt(a.checked_shr(shift).unwrap_or(0)),
        Func::BitNot => Value::UInt(!a),
        _ => Value::Int(i64::from(a.count_ones())),
    })
}

fn of_strings(call: &Call<'_>, left: &[u8], args: &[Value]) -> Result<Value, EvalError> {
    let pairs = |with: fn(u8, u8) -> u8| {
        let mut bits = left.to_vec();
        combine(&mut bits, args[1].as_bytes().unwrap_or_default(), with).map(|()| bits)
    };
    let shift = || Ok::<_, EvalError>(usize::try_from(to_bits(&args[1], call.ctx)?).unwrap_or(usize::MAX));
    Ok(Value::from(match call.func {
        Func::BitAnd => pairs(|l, r| l & r)?,
        Func::BitOr => pairs(|l, r| l | r)?,
        Func::BitXor => pairs(|l, r| l ^ r)?,
        Func::ShiftLeft => shifted(left, shift()?),
        // To the right is to the left, read backwards.
        Func::ShiftRight => {
            let backwards = |bytes: &[u8]| bytes.iter().rev().map(|byte| byte.reverse_bits()).collect::<Vec<u8>>();
            backwards(&shifted(&backwards(left), shift()?))
        }
        Func::BitNot => left.iter().map(|byte| !byte).collect(),
        _ => return Ok(Value::Int(left.iter().map(|byte| i64::from(byte.count_ones())).sum())),
    }))
}

/// Puts the bytes of another string into these.
///
/// # Errors
/// 3513 for strings of two lengths.
pub(crate) fn combine(bits: &mut [u8], other: &[u8], with: fn(u8, u8) -> u8) -> Result<(), EvalError> {
    if bits.len() != other.len() {
        return Err(EvalError::BitOperandLengths);
    }
    bits.iter_mut().zip(other).for_each(|(bit, byte)| *bit = with(*bit, *byte));
    Ok(())
}

/// Bytes shifted to the left by so many bits.
fn shifted(bytes: &[u8], by: usize) -> Vec<u8> {
    let (whole, bits) = (by / 8, by % 8);
    let at = |index: usize| u16::from(bytes.get(index).copied().unwrap_or(0));
    let pair = |index: usize| at(index) << 8 | at(index + 1);
    (0..bytes.len()).map(|index| (pair(index.saturating_add(whole)) << bits >> 8) as u8).collect()
}
