//! Comparisons, and the functions that choose among their arguments by comparing.

use super::Func;
use super::collations::{cast_among, unify_collations};
use super::infer::{common_type_of, unify};
use super::spec::{Arg, Call, MANY, Ret, Spec};
use crate::cast::{to_decimal, to_f64_quiet};
use crate::context::EvalContext;
use crate::decimal::Decimal;
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::types::{EvalType, FieldType, TypeKind};
use crate::value::Value;
use std::cmp::Ordering;

pub(super) fn spec(func: Func) -> Option<Spec> {
    const ANY: &[Arg] = &[Arg::Any];
    Some(match func {
        Func::Eq | Func::Ne | Func::Lt | Func::Le | Func::Gt | Func::Ge => {
            Spec::new(2, 2, ANY, Ret::Custom(type_comparison), relation).total()
        }
        Func::NullSafeEq => Spec::new(2, 2, ANY, Ret::Custom(type_comparison), null_safe_equal).sees_null().total(),
        Func::Between => Spec::new(3, 3, ANY, Ret::Bool, between).sees_null().total(),
        Func::Greatest | Func::Least => Spec::new(2, MANY, ANY, Ret::Custom(type_extreme), extreme).total(),
        Func::OnlyRow => Spec::new(2, 2, ANY, Ret::Custom(type_of_first), only_row).sees_null(),
        Func::Coalesce => Spec::new(1, MANY, ANY, Ret::Custom(type_coalesce), coalesce).sees_null(),
        Func::AnyValue => Spec::new(1, 1, ANY, Ret::Custom(type_common), coalesce).sees_null(),
        Func::Interval => Spec::new(2, MANY, &[Arg::Number], Ret::Int, interval).sees_null(),
        Func::StrCmp => Spec::new(2, 2, &[Arg::Text], Ret::Custom(type_strcmp), strcmp).total(),
        _ => return None,
    })
}

fn type_comparison(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let [left, right] = args else { return Err(ExprError::ParameterCount("=".into())) };
    let (a, b) = unify(std::mem::replace(left, Expr::null()), std::mem::replace(right, Expr::null()), "=")?;
    (*left, *right) = (a, b);
    Ok(FieldType::boolean())
}

fn type_common(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let ty = common_type_of(&args.iter().collect::<Vec<_>>())?;
    for arg in args {
        *arg = cast_among(std::mem::replace(arg, Expr::null()), ty.clone())?;
    }
    Ok(ty)
}

/// As [`type_common`]; beside a date everything is one, and the result is of the dates' type.
fn type_extreme(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let is_date = |arg: &Expr| arg.ty().eval_type() == EvalType::DateTime;
    if args.iter().all(|arg| arg.ty().is_temporal() || arg.ty().kind == TypeKind::Null) || !args.iter().any(is_date) {
        return type_common(args);
    }
    let dates: Vec<FieldType> = args.iter().filter(|arg| is_date(arg)).map(|arg| arg.ty().clone()).collect();
    let to = if dates.iter().all(|ty| ty.kind == TypeKind::Date) { FieldType::date() } else { FieldType::datetime(0) };
    for arg in args.iter_mut() {
        *arg = super::spec::coerce(super::localize(std::mem::replace(arg, Expr::null())), Arg::DateTime);
    }
    let fsp = args.iter().map(|arg| arg.ty().decimals.min(6)).max().unwrap_or(0);
    Ok(if to.kind == TypeKind::Date { to } else { FieldType { decimals: fsp, ..FieldType::datetime(fsp) } })
}

/// As [`type_common`]; NULL only if every argument may be.
fn type_coalesce(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    let not_null = args.iter().any(|a| a.ty().not_null);
    let ty = type_common(args)?;
    Ok(FieldType { not_null, ..ty })
}

fn type_of_first(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(args[0].ty().clone())
}

fn type_strcmp(args: &mut [Expr]) -> Result<FieldType, ExprError> {
    unify_collations(args, "strcmp")?;
    Ok(FieldType::bigint())
}

/// SQL's order of two values of one type (or of two numbers of any); NULL is first. Strings compare in `ty`'s collation.
pub fn compare(a: &Value, b: &Value, ty: &FieldType) -> Ordering {
    use Value::*;
    match (a, b) {
        (Null, Null) => Ordering::Equal,
        (Null, _) => Ordering::Less,
        (_, Null) => Ordering::Greater,
        (Int(x), Int(y)) | (Time(x), Time(y)) => x.cmp(y),
        (Int(_) | UInt(_), Int(_) | UInt(_)) => a.as_i128().cmp(&b.as_i128()),
        (Double(x), Double(y)) => x.partial_cmp(y).unwrap_or(Ordering::Equal),
        (Decimal(x), Decimal(y)) => x.cmp(y),
        (DateTime(x), DateTime(y)) => x.cmp(y),
        (Decimal(_), Int(_) | UInt(_)) | (Int(_) | UInt(_), Decimal(_)) => exact(a).cmp(&exact(b)),
        _ => match (a.as_bytes(), b.as_bytes()) {
            (Some(x), Some(y)) => ty.collation.compare(x, y),
            _ => to_f64_quiet(a).partial_cmp(&to_f64_quiet(b)).unwrap_or(Ordering::Equal),
        },
    }
}

fn exact(value: &Value) -> Decimal {
    match value {
        Value::Decimal(d) => *d,
        Value::Int(v) => Decimal::from(*v),
        Value::UInt(v) => Decimal::from(*v),
        other => to_decimal(other, &EvalContext::default()).unwrap_or(Decimal::ZERO),
    }
}

/// Whether an order of the two sides satisfies a comparison operator.
pub(crate) fn satisfies(func: Func, order: Ordering) -> bool {
    match func {
        Func::Eq | Func::NullSafeEq => order == Ordering::Equal,
        Func::Ne => order != Ordering::Equal,
        Func::Lt => order == Ordering::Less,
        Func::Le => order != Ordering::Greater,
        Func::Gt => order == Ordering::Greater,
        _ => order != Ordering::Less,
    }
}

fn relation(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(Value::bool(satisfies(call.func, compare(&args[0], &args[1], call.types[0]))))
}

fn null_safe_equal(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(Value::bool(compare(&args[0], &args[1], call.types[0]) == Ordering::Equal))
}

fn between(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let test = |a: &Value, b: &Value, func: Func| {
        (!a.is_null() && !b.is_null()).then(|| satisfies(func, compare(a, b, call.types[0])))
    };
    let (low, high) = (test(&args[0], &args[1], Func::Ge), test(&args[0], &args[2], Func::Le));
    Ok(super::logic::of_truth(super::logic::and_values(low, high)))
}

fn extreme(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    let wanted = if call.func == Func::Greatest { Ordering::Greater } else { Ordering::Less };
    let mut best = &args[0];
    for value in &args[1..] {
        if compare(value, best, call.ty) == wanted {
            best = value;
        }
    }
    Ok(match best {
        Value::DateTime(date) if call.ty.kind == TypeKind::Date => Value::DateTime(date.date()),
        best => best.clone(),
    })
}

fn coalesce(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(args.iter().find(|v| !v.is_null()).cloned().unwrap_or_default())
}

/// The value of a subquery, unless it has more rows than one.
fn only_row(_: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    if args[1].as_i64().is_some_and(|rows| rows > 1) { Err(EvalError::SubqueryRows) } else { Ok(args[0].clone()) }
}

fn interval(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    if args[0].is_null() {
        return Ok(Value::Int(-1));
    }
    let above = args[1..].iter().take_while(|v| compare(v, &args[0], call.types[0]) != Ordering::Greater).count();
    Ok(Value::Int(above as i64))
}

fn strcmp(call: &Call<'_>, args: &[Value]) -> Result<Value, EvalError> {
    Ok(Value::Int(compare(&args[0], &args[1], call.types[0]) as i64))
}
