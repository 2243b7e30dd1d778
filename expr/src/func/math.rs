//! Mathematics.

use super::Func;
use super::hybrid_number;
use super::infer::number_class;
use super::spec::{Arg, Call, Ret, Spec};
use crate::cast::{to_decimal, to_f64, to_i128, to_text};
use crate::context::EvalContext;
use crate::decimal::Decimal;
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::types::{EvalType, FieldType, TypeKind};
use crate::value::Value;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

pub(super) fn spec(func: Func) -> Option<Spec> {
    use Func::*;
    const REAL: &[Arg] = &[Arg::Real];
    const NUMBER: &[Arg] = &[Arg::Number];
    const ROUNDING: &[Arg] = &[Arg::Number, Arg::Int];
    Some(match func {
        Abs => Spec::new(1, 1, NUMBER, Ret::Custom(type_same), abs).total(),
        Ceil | Floor => Spec::new(1, 1, NUMBER, Ret::Custom(type_whole), whole).total(),
        Round => Spec::new(1, 2, ROUNDING, Ret::Custom(type_round), round).total(),
        Truncate => Spec::new(2, 2, ROUNDING, Ret::Custom(type_round), round).total(),
        Sign => Spec::new(1, 1, NUMBER, Ret::Int, sign).total(),
        Pi => Spec::new(0, 0, REAL, Ret::Custom(type_pi), |_, _| Ok(Value::Double(std::f64::consts::PI))),
        Rand => Spec::new(0, 1, &[Arg::Int], Ret::Custom(type_rand), rand).sees_null(),
        Power => Spec::new(2, 2, REAL, Ret::Real, power).total(),
        Atan => Spec::new(1, 2, REAL, Ret::Real, atan).total(),
        Log => Spec::new(1, 2, REAL, Ret::Real, logarithm),
        Ln | Log2 | Log10 => Spec::new(1, 1, REAL, Ret::Real, logarithm),
        Sqrt | Exp | Sin | Cos | Tan | Cot | Asin | Acos | Degrees | Radians => {
            Spec::new(1, 1, REAL, Ret::Real, real_function)
        }
        Conv => Spec::new(3, 3, &[Arg::Any, Arg::Int, Arg::Int], Ret::Text(64), conv),
        Bin | Oct => Spec::new(1, 1, &[Arg::Any], Ret::Text(64), radix),
        _ => return None,
    })
}

/// Type of ABS: the argument's calculation type.
fn type_same(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let ty = args[0].ty();
    Ok(match number_class(ty) {
        EvalType::Real => FieldType::double_of(ty.fixed_scale()),
        EvalType::Decimal => FieldType::decimal(ty.decimal_precision(), ty.scale()),
        _ => FieldType { unsigned: ty.is_unsigned(), ..FieldType::bigint() },
    })
}

fn type_whole(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let ty = args[0].ty();
    Ok(match number_class(ty) {
        EvalType::Real => FieldType::double(),
        EvalType::Decimal => {
            let digits = ty.decimal_precision().saturating_sub(u32::from(ty.scale())) + 1;
            if digits <= 18 { FieldType::bigint() } else { FieldType::decimal(digits, 0) }
        }
        _ => FieldType { unsigned: ty.is_unsigned(), ..FieldType::bigint() },
    })
}

fn type_round(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let ty = args[0].ty().clone();
    Ok(match number_class(&ty) {
        _ if ty.kind == TypeKind::Null => FieldType::double(),
        EvalType::Real => FieldType::double(),
        EvalType::Decimal => {
            let scale = match args.get(1) {
                None => 0,
                Some(digits) => match constant_of(digits) {
                    // Digits that the number does not have are not made up.
                    Some(value) => value.as_i64().unwrap_or(0).clamp(0, i64::from(ty.scale())) as u8,
                    None => ty.scale(),
                },
            };
            let whole = ty.decimal_precision().saturating_sub(u32::from(ty.scale())) + 1;
            FieldType::decimal(whole + u32::from(scale), scale)
        }
        _ => FieldType { unsigned: ty.is_unsigned(), ..FieldType::bigint() },
    })
}

/// What an argument is whatever the row and the session: a literal, or a calculation of literals and numbers that says
/// nothing and, since it runs while the statement is bound, cannot take long.
fn constant_of(expr: &Expr) -> Option<Value> {
    let mut is_light = expr.is_immutable();
    expr.visit(&mut |node| is_light &= matches!(node, Expr::Literal(..)) || node.ty().is_numeric());
    let quiet = EvalContext::default();
    let value = if is_light { crate::eval::eval_scalar(expr, &quiet).ok() } else { None };
    value.filter(|_| quiet.warnings.count() == 0)
}

fn type_pi(_: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(FieldType { decimals: 6, length: 8, ..FieldType::double().required() })
}

fn integer(call: &Call<'_>, value: i128, args: &[Value]) -> Result<Value, EvalError> {
    let fitted = if call.ty.unsigned {
        u64::try_from(value).ok().map(Value::UInt)
    } else {
        i64::try_from(value).ok().map(Value::Int)
    };
    fitted.ok_or_else(|| call.out_of_range(args))
}

fn decimal(call: &Call<'_>, value: Option<Decimal>, args: &[Value]) -> Result<Value, EvalError> {
    value.and_then(|v| v.rescale(call.ty.decimals)).map(Value::Decimal).ok_or_else(|| call.out_of_range(args))
}

fn abs(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    match call.ty.eval_type() {
        EvalType::Real => Ok(Value::Double(to_f64(&args[0], call.ctx)?.abs())),
        EvalType::Decimal => decimal(call, Some(to_decimal(&args[0], call.ctx)?.abs()), args),
        _ => integer(call, to_i128(&args[0], call.ctx)?.abs(), args),
    }
}

fn whole(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let up = call.func == Func::Ceil;
    match &args[0] {
        Value::Double(v) => Ok(Value::Double(if up { v.ceil() } else { v.floor() })),
        Value::Decimal(v) => {
            let cut = if up { v.ceil() } else { v.floor() };
            match call.ty.eval_type() {
                EvalType::Decimal => decimal(call, Some(cut), args),
                _ => integer(call, cut.to_i128().ok_or_else(|| call.out_of_range(args))?, args),
            }
        }
        other => integer(call, to_i128(other, call.ctx)?, args),
    }
}

/// ROUND and TRUNCATE.
fn round(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let digits = args.get(1).map_or(0, |d| d.as_i128().unwrap_or(0)).clamp(-400, 400) as i64;
    let cut = call.func == Func::Truncate;
    match call.ty.eval_type() {
        EvalType::Real => {
            let value = to_f64(&args[0], call.ctx)?;
            Ok(Value::Double(round_double(value, digits as i32, cut)))
        }
        EvalType::Decimal => {
            let value = to_decimal(&args[0], call.ctx)?;
            decimal(call, if cut { value.truncate_digits(digits) } else { value.round(digits) }, args)
        }
        _ if digits >= 0 => integer(call, to_i128(&args[0], call.ctx)?, args),
        _ => {
            let value = Decimal::new(to_i128(&args[0], call.ctx)?, 0);
            let rounded = if cut { value.truncate_digits(digits) } else { value.round(digits) };
            integer(call, rounded.and_then(|d| d.to_i128()).ok_or_else(|| call.out_of_range(args))?, args)
        }
    }
}

/// A double rounded to digits behind the point, or before it.
pub(super) fn round_double(value: f64, digits: i32, cut: bool) -> f64 {
    let power = power_of_ten(digits.unsigned_abs());
    let scaled = if digits >= 0 { value * power } else { value / power };
    if !scaled.is_finite() {
        return if digits >= 0 { value } else { 0.0 };
    }
    // Doubles are rounded half to even, as MySQL's rint does.
    let rounded = if cut { scaled.trunc() } else { scaled.round_ties_even() };
    let result = if digits >= 0 { rounded / power } else { rounded * power };
    if result.is_finite() { result } else { value }
}

fn power_of_ten(exponent: u32) -> f64 {
    // Products are exact up to here.
    if exponent <= 22 { 10f64.powi(exponent as i32) } else { format!("1e{exponent}").parse().unwrap_or(f64::INFINITY) }
}

fn sign(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let value = crate::cast::to_f64_quiet(&args[0]);
    Ok(Value::Int(if value > 0.0 { 1 } else { -i64::from(value < 0.0) }))
}

/// A constant seed begins one sequence for all rows; one that depends on the row, here unsigned, begins its own in each.
fn type_rand(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    if let Some(seed) = args.first_mut() {
        let unsigned = !seed.is_constant();
        let ty = FieldType { unsigned, not_null: seed.ty().not_null, ..FieldType::bigint() };
        *seed = super::cast(std::mem::replace(seed, Expr::null()), ty);
    }
    Ok(FieldType::double())
}

/// MySQL's generator: two numbers below 2^30 - 1, each calculated from both.
struct Generator {
    seed1: u64,
    seed2: u64,
}

impl Generator {
    const END: u64 = 0x3fff_ffff;

    /// Begins a sequence; only the low half of the seed counts.
    fn seeded(seed: u64) -> Generator {
        let seed = seed as u32;
        let seed1 = u64::from(seed.wrapping_mul(0x1_0001).wrapping_add(55_555_555));
        let seed2 = u64::from(seed.wrapping_mul(0x1000_0001));
        Generator { seed1: seed1 % Generator::END, seed2: seed2 % Generator::END }
    }

    /// The next number, from 0 to 1.
    fn next(&mut self) -> f64 {
        self.seed1 = (self.seed1 * 3 + self.seed2) % Generator::END;
        self.seed2 = (self.seed1 + self.seed2 + 33) % Generator::END;
        self.seed1 as f64 / Generator::END as f64
    }
}

fn rand(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let seed = args.first().map(|v| v.as_i128().unwrap_or(0) as u64);
    if let (Some(seed), true) = (seed, call.types.first().is_some_and(|ty| ty.unsigned)) {
        return Ok(Value::Double(Generator::seeded(seed).next()));
    }
    let mut rng = call.memo.rng.borrow_mut();
    let rng = rng.get_or_insert_with(|| SmallRng::seed_from_u64(seed.unwrap_or_else(|| call.ctx.next_seed())));
    Ok(Value::Double(rng.random::<f64>()))
}

fn real(args: &[Value], at: usize) -> f64 {
    crate::cast::to_f64_quiet(&args[at])
}

fn power(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    call.double(real(args, 0).powf(real(args, 1)), args)
}

fn atan(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let result = if args.len() == 2 { real(args, 0).atan2(real(args, 1)) } else { real(args, 0).atan() };
    call.double(result, args)
}

fn logarithm(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let value = real(args, args.len() - 1);
    let base = if args.len() == 2 { Some(real(args, 0)) } else { None };
    if value <= 0.0 || base.is_some_and(|b| b <= 0.0 || b == 1.0) {
        call.ctx.warnings.push(3020, "Invalid argument for logarithm");
        return Ok(Value::Null);
    }
    let result = match (call.func, base) {
        (_, Some(base)) => value.ln() / base.ln(),
        (Func::Log2, _) => value.log2(),
        (Func::Log10, _) => value.log10(),
        _ => value.ln(),
    };
    call.double(result, args)
}

fn real_function(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let x = real(args, 0);
    let result = match call.func {
        Func::Sqrt if x < 0.0 => return Ok(Value::Null),
        Func::Asin | Func::Acos if x.abs() > 1.0 => return Ok(Value::Null),
        Func::Sqrt => x.sqrt(),
        Func::Exp => x.exp(),
        Func::Sin => x.sin(),
        Func::Cos => x.cos(),
        Func::Tan => x.tan(),
        Func::Cot => 1.0 / x.tan(),
        Func::Asin => x.asin(),
        Func::Acos => x.acos(),
        Func::Degrees => x.to_degrees(),
        _ => x.to_radians(),
    };
    call.double(result, args)
}

/// Digits of a number in a base, capital letters.
fn digits_in(mut value: u64, base: u64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let digit = (value % base) as u8;
        out.push(if digit < 10 { b'0' + digit } else { b'A' + digit - 10 });
        value /= base;
        if value == 0 {
            break;
        }
    }
    out.reverse();
    out
}

fn conv(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let (from, to) = (args[1].as_i64().unwrap_or(0), args[2].as_i64().unwrap_or(0));
    if !(2..=36).contains(&from.unsigned_abs()) || !(2..=36).contains(&to.unsigned_abs()) {
        return Ok(Value::Null);
    }
    let value = match (&args[0], hybrid_number(&args[0], call.types[0])) {
        // A BIT and a hexadecimal literal are their numbers, in any base.
        (_, Some(Value::UInt(number))) => Some(number),
        (Value::UInt(bits), _) if call.types[0].kind == TypeKind::Bit => Some(*bits),
        (other, _) => leading_digits(&to_text(other, call.types[0]), from.unsigned_abs()),
    };
    let Some(mut value) = value else { return Ok(Value::Null) };
    let mut out = Vec::new();
    if to < 0 && (value as i64) < 0 {
        out.push(b'-');
        value = value.wrapping_neg();
    }
    out.extend(digits_in(value, to.unsigned_abs()));
    Ok(call.text(out))
}

/// The number at the front of a text, modulo 2^64 where it is negative and the largest one where it is too large; `None` for
/// a text of nothing.
fn leading_digits(text: &[u8], base: u64) -> Option<u64> {
    let text = text.trim_ascii();
    let (negative, digits) = match text.first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(base as u32).map(u64::from);
    let value =
        digits.iter().map_while(digit).fold(0u64, |value, digit| value.saturating_mul(base).saturating_add(digit));
    Some(if negative { value.wrapping_neg() } else { value })
}

/// BIN and OCT: as CONV from base 10.
fn radix(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let base = if call.func == Func::Bin { 2 } else { 8 };
    let hybrid = hybrid_number(&args[0], call.types[0]);
    let value = match hybrid.as_ref().unwrap_or(&args[0]) {
        Value::Int(value) => Some(*value as u64),
        Value::UInt(value) => Some(*value),
        other => leading_digits(&to_text(other, call.types[0]), 10),
    };
    Ok(value.map_or(Value::Null, |value| call.text(digits_in(value, base))))
}
