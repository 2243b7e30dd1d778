//! `& | ^ ~ << >> BIT_COUNT`: on 64 unsigned bits.

use super::Func;
use super::spec::{Arg, Call, Ret, Spec};
use crate::cast::to_bits;
use crate::error::EvalError;
use crate::value::Value;

pub(super) fn spec(func: Func) -> Option<Spec> {
    let arguments = match func {
        Func::BitAnd | Func::BitOr | Func::BitXor | Func::ShiftLeft | Func::ShiftRight => 2,
        Func::BitNot | Func::BitCount => 1,
        _ => return None,
    };
    let ret = if func == Func::BitCount { Ret::Int } else { Ret::UInt };
    Some(Spec::new(arguments, arguments, &[Arg::Any], ret, calculate).total())
}

fn calculate(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let a = to_bits(&args[0], call.ctx)?;
    let b = args.get(1).map_or(Ok(0), |v| to_bits(v, call.ctx))?;
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
