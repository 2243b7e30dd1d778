//! `+ - * / DIV % -x`: exact for integers and decimals; out of range is error 1690, division by zero NULL with a warning.

use super::Func;
use super::infer::number_class;
use super::spec::{Arg, Call, Ret, Spec};
use crate::cast::{to_decimal, to_f64};
use crate::decimal::{DIVISION_SCALE, Decimal};
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::types::{DECIMAL_SCALE_MAX, EvalType, FieldType, TypeKind};
use crate::value::Value;

pub(super) fn spec(func: Func) -> Option<Spec> {
    const TWO: &[Arg] = &[Arg::Number];
    let binary = |typing, kernel| Spec::new(2, 2, TWO, Ret::Custom(typing), kernel);
    Some(match func {
        Func::Add => binary(type_add, add).total(),
        Func::Sub => binary(type_add, subtract).total(),
        Func::Mul => binary(type_multiply, multiply).total(),
        Func::Div => binary(type_divide, divide),
        Func::IntDiv => binary(type_integer_divide, integer_divide),
        Func::Mod => binary(type_modulo, modulo),
        Func::Neg => Spec::new(1, 1, TWO, Ret::Custom(type_negate), negate).total(),
        _ => return None,
    })
}

/// DOUBLEs from here on have no DECIMAL.
const DECIMAL_BOUND: f64 = 1e65;
/// Smaller DOUBLEs may have digits behind the last place of a DECIMAL.
const DECIMAL_LEAST: f64 = 1e-13;
/// Smaller divisors are zero to DIV.
const DIVISOR_LEAST: f64 = 1e-81;

/// The wider class of two operands.
fn class(args: &[Expr]) -> EvalType {
    let classes = || args.iter().map(|a| number_class(a.ty()));
    if classes().any(|c| c == EvalType::Real) {
        EvalType::Real
    } else if classes().any(|c| c == EvalType::Decimal) {
        EvalType::Decimal
    } else {
        EvalType::Int
    }
}

/// Digits before and behind the point.
fn digits(ty: &FieldType) -> (u32, u32) {
    let scale = u32::from(ty.scale());
    (ty.decimal_precision().max(scale) - scale, scale)
}

fn decimal_type(whole: u32, scale: u32) -> FieldType {
    let scale = scale.min(u32::from(DECIMAL_SCALE_MAX));
    FieldType::decimal(whole + scale, scale as u8)
}

fn integer_type(args: &[Expr]) -> FieldType {
    FieldType { unsigned: args.iter().any(|a| a.ty().is_unsigned() && a.ty().is_integer()), ..FieldType::bigint() }
}

fn operands(args: &[Expr]) -> ((u32, u32), (u32, u32)) {
    (digits(args[0].ty()), digits(args[1].ty()))
}

/// A DOUBLE: of fixed digits behind the point where its operands have such (FLOAT(7,2) and its like).
fn real_type(args: &[Expr], joined: impl Fn(u32, u32) -> u32) -> FieldType {
    let fixed = |ty: &FieldType| if ty.kind == TypeKind::Null { Some(0) } else { ty.fixed_scale() };
    let digits: Option<Vec<u32>> = args.iter().map(|arg| fixed(arg.ty())).collect();
    FieldType::double_of(digits.and_then(|digits| digits.into_iter().reduce(joined)))
}

fn type_add(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(match class(args) {
        EvalType::Real => real_type(args, u32::max),
        EvalType::Decimal => {
            let ((w1, s1), (w2, s2)) = operands(args);
            decimal_type(w1.max(w2) + 1, s1.max(s2))
        }
        _ => integer_type(args),
    })
}

fn type_multiply(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(match class(args) {
        EvalType::Real => real_type(args, |a, b| a + b),
        EvalType::Decimal => {
            let ((w1, s1), (w2, s2)) = operands(args);
            decimal_type(w1 + w2, s1 + s2)
        }
        _ => integer_type(args),
    })
}

fn type_divide(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    if class(args) == EvalType::Real {
        return Ok(real_type(args, |a, b| a.max(b) + u32::from(DIVISION_SCALE)));
    }
    let ((w1, s1), (_, s2)) = operands(args);
    Ok(decimal_type(w1 + s2, s1 + u32::from(DIVISION_SCALE)))
}

fn type_integer_divide(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(integer_type(args))
}

fn type_modulo(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(match class(args) {
        EvalType::Real => real_type(args, u32::max),
        EvalType::Decimal => {
            let ((w1, s1), (w2, s2)) = operands(args);
            decimal_type(w1.max(w2), s1.max(s2))
        }
        _ => FieldType { unsigned: args[0].ty().is_unsigned(), ..FieldType::bigint() },
    })
}

fn type_negate(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(match (class(args), &args[0]) {
        (EvalType::Real, _) => real_type(args, u32::max),
        (EvalType::Decimal, arg) => FieldType::decimal(arg.ty().decimal_precision(), arg.ty().scale()),
        // -9223372036854775809 and beyond: a decimal
        (_, Expr::Literal(Value::UInt(v), _)) if *v > 1 << 63 => FieldType::decimal(20, 0),
        _ => FieldType::bigint(),
    })
}

fn integers(args: &[Value]) -> (i128, i128) {
    (args[0].as_i128().unwrap_or_default(), args[1].as_i128().unwrap_or_default())
}

/// The integer as a value of the result's type, if it fits.
fn integer_result(call: &Call<'_>, value: i128, args: &[Value]) -> Result<Value, EvalError> {
    let fitted = if call.ty.unsigned {
        u64::try_from(value).ok().map(Value::UInt)
    } else {
        i64::try_from(value).ok().map(Value::Int)
    };
    fitted.ok_or_else(|| call.out_of_range(args))
}

fn decimal_result(call: &Call<'_>, value: Option<Decimal>, args: &[Value]) -> Result<Value, EvalError> {
    let fitted = value.and_then(|v| v.rescale(call.ty.decimals)).filter(|d| d.fits(76, d.scale()));
    fitted.map(Value::Decimal).ok_or_else(|| call.out_of_range(args))
}

fn decimals(call: &Call<'_>, args: &[Value]) -> Result<(Decimal, Decimal), EvalError> {
    Ok((to_decimal(&args[0], call.ctx)?, to_decimal(&args[1], call.ctx)?))
}

fn doubles(call: &Call<'_>, args: &[Value]) -> Result<(f64, f64), EvalError> {
    Ok((to_f64(&args[0], call.ctx)?, to_f64(&args[1], call.ctx)?))
}

fn add(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    match call.ty.eval_type() {
        EvalType::Real => doubles(call, args).and_then(|(a, b)| call.double(a + b, args)),
        EvalType::Decimal => decimals(call, args).and_then(|(a, b)| decimal_result(call, a.add(&b), args)),
        _ => {
            let (a, b) = integers(args);
            integer_result(call, a + b, args)
        }
    }
}

fn subtract(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    match call.ty.eval_type() {
        EvalType::Real => doubles(call, args).and_then(|(a, b)| call.double(a - b, args)),
        EvalType::Decimal => decimals(call, args).and_then(|(a, b)| decimal_result(call, a.subtract(&b), args)),
        _ => {
            let (a, b) = integers(args);
            integer_result(call, a - b, args)
        }
    }
}

fn multiply(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    match call.ty.eval_type() {
        EvalType::Real => doubles(call, args).and_then(|(a, b)| call.double(a * b, args)),
        EvalType::Decimal => decimals(call, args).and_then(|(a, b)| decimal_result(call, a.multiply(&b), args)),
        _ => {
            let (a, b) = integers(args);
            integer_result(call, a * b, args)
        }
    }
}

fn by_zero(call: &Call<'_>) -> Result<Value, EvalError> {
    call.ctx.division_by_zero()?;
    Ok(Value::Null)
}

fn divide(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    if call.ty.eval_type() == EvalType::Real {
        let (a, b) = doubles(call, args)?;
        return if b == 0.0 { by_zero(call) } else { call.double(a / b, args) };
    }
    let (a, b) = decimals(call, args)?;
    if b.is_zero() {
        return by_zero(call);
    }
    decimal_result(call, a.divide(&b, call.ty.decimals), args)
}

fn integer_divide(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    if call.types.iter().all(|t| t.is_integer()) {
        let (a, b) = integers(args);
        return if b == 0 { by_zero(call) } else { integer_result(call, a / b, args) };
    }
    let (a, b) = match (&args[0], &args[1]) {
        (Value::Double(v), _) | (_, Value::Double(v)) if is_no_decimal(*v) => return divide_doubles(call, args),
        _ => decimals(call, args)?,
    };
    if b.is_zero() {
        return by_zero(call);
    }
    let quotient = a.divide_integer(&b).and_then(|q| q.to_i128());
    integer_result(call, quotient.ok_or_else(|| call.out_of_range(args))?, args)
}

/// Whether a DECIMAL has no place for all of a number's digits.
fn is_no_decimal(v: f64) -> bool {
    v.abs() >= DECIMAL_BOUND || v != 0.0 && v.abs() < DECIMAL_LEAST
}

fn divide_doubles(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let (a, b) = doubles(call, args)?;
    // MySQL's decimals, on their way, end there.
    if b.abs() < DIVISOR_LEAST {
        return by_zero(call);
    }
    let quotient = a / b;
    // 1e-70 / 1e-80 is a hair less than 1e10.
    let nearest = quotient.round();
    let is_whole = (quotient - nearest).abs() <= nearest.abs() * 2.0 * f64::EPSILON;
    // As `as` saturates, what does not fit is out of range.
    integer_result(call, if is_whole { nearest } else { quotient.trunc() } as i128, args)
}

fn modulo(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    match call.ty.eval_type() {
        EvalType::Real => {
            let (a, b) = doubles(call, args)?;
            if b == 0.0 { by_zero(call) } else { call.double(a % b, args) }
        }
        EvalType::Decimal => {
            let (a, b) = decimals(call, args)?;
            if b.is_zero() { by_zero(call) } else { decimal_result(call, a.remainder(&b), args) }
        }
        _ => {
            let (a, b) = integers(args);
            if b == 0 { by_zero(call) } else { integer_result(call, a % b, args) }
        }
    }
}

fn negate(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    match call.ty.eval_type() {
        EvalType::Real => call.double(-to_f64(&args[0], call.ctx)?, args),
        EvalType::Decimal => decimal_result(call, Some(to_decimal(&args[0], call.ctx)?.negate()), args),
        _ => integer_result(call, -args[0].as_i128().unwrap_or_default(), args),
    }
}
