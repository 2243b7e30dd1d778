//! MySQL's rules for the types of results and for implicit conversions.
//!
//! Arithmetic: a DOUBLE or a string makes a DOUBLE, a DECIMAL a DECIMAL, else BIGINT, unsigned if an operand is.
//! Comparison ([`unify`]): numbers compare as they are, exactly; strings by the collation both agree on; a date or time
//! with a string, and a column of them with a constant number, turns that into a date or time; everything else as DOUBLE.
//! A string constant beside an integer or decimal is an exact number, so that ids beyond 2^53 stay apart and the column's
//! index can be used.
//! A constant is whatever reads no column: a literal, a parameter, a call of constants. No rule here asks which of them it
//! is, or a cached or prepared statement would mean something else than its text.
//!
//! Collations: [`super::collations`].

use super::collations::{
    adapt, agreed, cast_among, converted, result_coercibility, side, side_of_type, unify_collations,
};
use super::moment::{keeps_moments, localize, needs_session};
use super::{Func, date_number, moment, spec};
use crate::collation::{Coercibility, Collation, Side};
use crate::context::EvalContext;
use crate::decimal::Decimal;
use crate::error::ExprError;
use crate::expr::Expr;
use crate::types::{DECIMAL_PRECISION_MAX, DECIMAL_SCALE_MAX, EvalType, FieldType, NOT_FIXED, TypeKind, UNSPECIFIED};
use crate::value::Value;

/// Builds the call of `func`: finds the result's type and puts implicit casts around the arguments. IF, IFNULL and NULLIF
/// become CASE and COALESCE.
///
/// # Errors
/// [`ExprError`] when the number or the types of the arguments do not suit.
pub fn infer(func: Func, args: Vec<Expr>) -> Result<Expr, ExprError> {
    let count = |n: usize| if args.len() == n { Ok(()) } else { Err(ExprError::ParameterCount(func.name().into())) };
    match func {
        Func::If => {
            count(3)?;
            let [condition, yes, no] = take(args);
            return case(vec![(condition, yes)], Some(no));
        }
        Func::NullIf => {
            count(2)?;
            let [value, other] = take(args);
            check_repeated(&value, 2)?;
            let ty = value.ty().clone();
            let null = Expr::Literal(Value::Null, ty.clone().nullable());
            let equal = infer(Func::Eq, vec![value.clone(), other])?;
            let otherwise = Some(Box::new(value));
            return Ok(Expr::Case { branches: vec![(equal, null)], otherwise, ty: ty.nullable() });
        }
        Func::IfNull => {
            count(2)?;
            return infer(Func::Coalesce, args);
        }
        // Known here only: what travels to storage has no coercibility.
        Func::Coercibility => {
            count(1)?;
            return Ok(Expr::int(super::collations::level(args[0].ty())));
        }
        Func::Between => {
            count(3)?;
            return between(args);
        }
        Func::Cast | Func::CollateTo | Func::Recollate => return Err(ExprError::BadArguments(func.name().into())),
        _ => {}
    }
    let spec = spec::of(func).ok_or_else(|| ExprError::Unsupported(func.name().to_uppercase()))?;
    if args.len() < spec.min || args.len() > spec.max {
        return Err(ExprError::ParameterCount(func.name().to_string()));
    }
    super::regexp::check_charsets(func, &args)?;
    let want = |at: usize| spec.args.get(at).or(spec.args.last()).copied().unwrap_or(spec::Arg::Any);
    let args = if keeps_moments(func) { args } else { args.into_iter().map(localize).collect() };
    let mut args: Vec<Expr> = args.into_iter().enumerate().map(|(at, arg)| spec::coerce(arg, want(at))).collect();
    if takes_truth(func) {
        args = args.into_iter().map(condition).collect();
    }
    let rounds = matches!(func, Func::Round | Func::Truncate | Func::Format);
    if rounds && args.iter().skip(1).all(|digits| matches!(digits, Expr::Literal(..))) {
        args = args.into_iter().map(with_hidden_digits).collect();
    }
    let ty = spec::result_type(spec.ret, func, &mut args)
        .map_err(|error| error.of_operation(super::regexp::operation(func)))?;
    let coercibility = result_coercibility(func, spec.ret, &ty, &args);
    if let (spec::Ret::Joined, true) = (spec.ret, ty.is_string()) {
        args = args.into_iter().map(|arg| adapt(arg, ty.collation)).collect::<Result<_, _>>()?;
    }
    if matches!(func, Func::Add | Func::Sub | Func::Mul | Func::Div | Func::Mod) && ty.eval_type() == EvalType::Decimal
    {
        args = args.into_iter().map(with_hidden_digits).collect();
    }
    let not_null = is_never_null(func) || ty.not_null || spec.total && args.iter().all(|a| a.ty().not_null);
    if let (Func::Neg, [Expr::Literal(value, _)]) = (func, &args[..])
        && let Some(negated) = negated(value)
    {
        return Ok(Expr::literal(negated));
    }
    Ok(Expr::Call { func, args, ty: FieldType { not_null, coercibility, ..ty } })
}

fn is_never_null(func: Func) -> bool {
    use Func::*;
    matches!(func, IsNull | IsNotNull | IsTrue | IsNotTrue | IsFalse | IsNotFalse | NullSafeEq)
}

/// A number with its sign changed, where that is a number of its type: `-5` is a constant, not a calculation.
fn negated(value: &Value) -> Option<Value> {
    match value {
        Value::Int(v) => v.checked_neg().map(Value::Int),
        Value::UInt(v) => i64::try_from(-i128::from(*v)).ok().map(Value::Int),
        Value::Decimal(v) => Some(Value::Decimal(v.negate())),
        Value::Double(v) => Some(Value::Double(-v)),
        _ => None,
    }
}

fn take<const N: usize>(args: Vec<Expr>) -> [Expr; N] {
    <[Expr; N]>::try_from(args).expect("the number of arguments was checked")
}

/// MySQL divides DECIMALs into whole words of nine digits and shows fewer: `1 / 3` is `0.3333`, `1 / 3 * 3` is `1.0000`.
/// Within another calculation a quotient has all its digits; its type shows them here, while the result keeps its own.
pub fn with_hidden_digits(expr: Expr) -> Expr {
    let hidden = hidden_scale(&expr);
    match expr {
        Expr::Call { func, args, ty } if hidden > u32::from(ty.scale()) => {
            let length = ty.length + hidden - u32::from(ty.scale());
            let ty =
                if length > DECIMAL_PRECISION_MAX { ty } else { FieldType { length, decimals: hidden as u8, ..ty } };
            Expr::Call { func, args, ty }
        }
        other => other,
    }
}

/// Digits behind the point that MySQL calculates an inexact DECIMAL with; 0 for everything exact.
fn hidden_scale(expr: &Expr) -> u32 {
    const WORD_DIGITS: u32 = 9;
    let words = |ty: &FieldType| u32::from(ty.scale()).next_multiple_of(WORD_DIGITS);
    match expr {
        Expr::Call { func: Func::Div, args, ty } if ty.eval_type() == EvalType::Decimal => {
            words(ty).max(args.iter().map(|arg| words(arg.ty())).sum()).min(u32::from(DECIMAL_SCALE_MAX))
        }
        Expr::Call { func: Func::Add | Func::Sub | Func::Mul | Func::Neg, args, ty }
            if ty.eval_type() == EvalType::Decimal =>
        {
            args.iter().map(hidden_scale).max().unwrap_or(0)
        }
        _ => 0,
    }
}

/// `expr` converted to `ty`; itself when nothing has to be done, a constant when it is one that converts cleanly.
pub fn cast(expr: Expr, ty: FieldType) -> Expr {
    let expr = if ty.is_numeric() { as_number(expr) } else { expr };
    let ty = FieldType { not_null: expr.ty().not_null && !may_fail(expr.ty(), &ty), ..ty };
    let from = expr.ty();
    if same_representation(from, &ty) {
        return match expr {
            Expr::Literal(value, _) => Expr::Literal(value, ty),
            other => other,
        };
    }
    if let Expr::Literal(value, from) = &expr {
        // Not in the session's zone or time: those wait for the statement.
        let depends = needs_session(value, from, &ty);
        let quiet = EvalContext::default();
        if let (false, Ok(converted)) = (depends, crate::cast::cast_value(value, from, &ty, &quiet))
            && quiet.warnings.count() == 0
        {
            return Expr::Literal(converted, ty);
        }
    }
    Expr::Call { func: Func::Cast, args: vec![expr], ty }
}

/// The explicit `CAST(expr AS ty)`: as [`cast`], but a string is always cut to its length, and has the collation asked for.
pub fn cast_explicit(expr: Expr, ty: FieldType) -> Expr {
    let asked = ty.collation;
    let expr = if ty.eval_type() == EvalType::DateTime { checked_date(expr) } else { expr };
    if ty.is_string() && ty.length != UNSPECIFIED || ty.kind == TypeKind::Decimal {
        let not_null = expr.ty().not_null && !may_fail(expr.ty(), &ty);
        let expr = if ty.kind == TypeKind::Decimal { as_number(with_hidden_digits(expr)) } else { expr };
        return converted(Expr::Call { func: Func::Cast, args: vec![expr], ty: FieldType { not_null, ..ty } }, asked);
    }
    converted(cast(expr, ty), asked)
}

/// A date that is asked for by name: NULL where it is one that the mode does not let be, which a column may hold.
fn checked_date(expr: Expr) -> Expr {
    let is_sure = matches!(&expr, Expr::Literal(Value::DateTime(date), _) if date.is_real_date());
    if is_sure || expr.ty().eval_type() != EvalType::DateTime {
        return expr;
    }
    let local = localize(expr);
    let (func, ty) = match local.ty().kind {
        TypeKind::Date => (Func::Date, FieldType::date()),
        _ => (Func::Timestamp, FieldType::datetime(local.ty().decimals)),
    };
    Expr::Call { func, args: vec![local], ty }
}

fn may_fail(from: &FieldType, to: &FieldType) -> bool {
    (to.is_temporal() && !from.is_temporal()) || (to.is_string() && from.is_binary_string() && !to.is_binary_string())
}

/// True when values of `from` are values of `to` as they stand.
fn same_representation(from: &FieldType, to: &FieldType) -> bool {
    if from.eval_type() != to.eval_type() {
        return false;
    }
    let wide_enough = to.length == UNSPECIFIED || from.length <= to.length && from.length != UNSPECIFIED;
    match to.eval_type() {
        EvalType::Null => true,
        EvalType::Int => {
            let special = |ty: &FieldType| matches!(ty.kind, TypeKind::Year | TypeKind::Bit);
            from.unsigned == to.unsigned && !special(to) && !special(from)
        }
        EvalType::Real => to.kind != TypeKind::Float || from.kind == TypeKind::Float,
        EvalType::Decimal => from.length == to.length && from.decimals == to.decimals,
        EvalType::DateTime => {
            (from.kind == TypeKind::Date) == (to.kind == TypeKind::Date)
                && (from.kind == TypeKind::Timestamp) == (to.kind == TypeKind::Timestamp)
                && (from.decimals == to.decimals || to.kind == TypeKind::Date)
        }
        EvalType::Duration => from.decimals == to.decimals,
        EvalType::String => {
            from.is_binary_string() == to.is_binary_string()
                && wide_enough
                && to.kind != TypeKind::Binary
                && to.collation.character_set().holds(from.collation.character_set())
        }
    }
}

/// What a type counts as in arithmetic.
pub(crate) fn number_class(ty: &FieldType) -> EvalType {
    match ty.eval_type() {
        EvalType::Null | EvalType::String => EvalType::Real,
        EvalType::DateTime | EvalType::Duration if ty.decimals == 0 => EvalType::Int,
        EvalType::DateTime | EvalType::Duration => EvalType::Decimal,
        other => other,
    }
}

pub(crate) fn sum_of_lengths(args: &[Expr]) -> u32 {
    args.iter().fold(0u32, |sum, a| sum.saturating_add(a.ty().text_width()))
}

fn takes_truth(func: Func) -> bool {
    use Func::*;
    matches!(func, And | Or | Xor | Not | IsTrue | IsNotTrue | IsFalse | IsNotFalse)
}

/// A value where a truth is asked for. A text is the number at its front; if that is not all of it, the conversion says so,
/// which is an error where rows are changed.
pub fn condition(expr: Expr) -> Expr {
    if expr.ty().is_string() { spec::coerce(as_number(expr), spec::Arg::Real) } else { expr }
}

/// A hexadecimal literal where a number is wanted; everything else as it is.
pub fn as_number(expr: Expr) -> Expr {
    match &expr {
        Expr::Literal(value, ty) => hybrid_number(value, ty).map_or(expr, Expr::literal),
        _ => expr,
    }
}

/// The number that a hexadecimal literal is where a number is wanted: MySQL's hybrid of a binary string and a BIGINT
/// UNSIGNED, whose type here is a VARBINARY marked unsigned.
pub(crate) fn hybrid_number(value: &Value, ty: &FieldType) -> Option<Value> {
    let bytes = value.as_bytes().filter(|bytes| ty.is_hybrid() && bytes.len() <= 8)?;
    Some(Value::UInt(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))))
}

/// The number that all of a text is.
pub(super) fn exact_text(text: &[u8]) -> Option<Decimal> {
    Decimal::parse(text).filter(|(_, used)| *used == text.len()).map(|(number, _)| number)
}

/// A numeric constant that a string constant stands for exactly.
fn exact_number(value: &Value) -> Option<Value> {
    match exact_text(value.as_bytes()?)?.normalize() {
        d if d.scale() == 0 => match d.to_i128() {
            Some(v) => match i64::try_from(v) {
                Ok(v) => Some(Value::Int(v)),
                Err(_) => u64::try_from(v).ok().map(Value::UInt).or(Some(Value::Decimal(d))),
            },
            None => Some(Value::Decimal(d)),
        },
        d => Some(Value::Decimal(d)),
    }
}

/// Brings the two sides of a comparison to types that compare.
///
/// # Errors
/// [`ExprError::CollationMix`].
pub fn unify(left: Expr, right: Expr, operation: &str) -> Result<(Expr, Expr), ExprError> {
    use EvalType::*;
    let left = if right.ty().is_numeric() { as_number(left) } else { left };
    let right = if left.ty().is_numeric() { as_number(right) } else { right };
    let (a, b) = (left.ty().eval_type(), right.ty().eval_type());
    // The operand of CASE is compared as it is.
    let is_column = |e: &Expr| operation != "case" && matches!(e, Expr::Column { ty, .. } if ty.is_field());
    let is_moment = |e: &Expr| e.ty().kind == TypeKind::Timestamp;
    // What stands first decides for all that IN and BETWEEN compare it with.
    let is_right_column = |e: &Expr| is_column(e) && !matches!(operation, "in" | "between");
    let is_year = |e: &Expr| e.ty().kind == TypeKind::Year;
    // Lists and ranges compare numbers, and so does CASE; a column turns a constant into a year.
    let has_year_start = |year: &Expr, date: &Expr| {
        is_year(year) && !matches!(operation, "in" | "between" | "case") && !(is_column(year) && date.is_constant())
    };
    let double = |e: Expr| spec::coerce(e, spec::Arg::Real);
    Ok(match (a, b) {
        (Null, _) | (_, Null) => (left, right),
        (DateTime, Int) if has_year_start(&right, &left) => {
            let ty = FieldType { not_null: right.ty().not_null, ..FieldType::datetime(0) };
            return unify(left, Expr::Call { func: Func::YearStart, args: vec![right], ty }, operation);
        }
        (Int, DateTime) if has_year_start(&left, &right) => {
            let (right, left) = unify(right, left, operation)?;
            (left, right)
        }
        (DateTime, _) | (_, DateTime) if is_moment(&left) != is_moment(&right) => {
            moment::unify(left, right, operation)?
        }
        // The items of a list are not what a column of YEAR would take.
        (Int, _) if operation != "in" && is_column(&left) && is_year(&left) && right.is_constant() => {
            (left, constant_call(Func::YearNumber, right))
        }
        (_, Int) if is_right_column(&right) && is_year(&right) && left.is_constant() => {
            (constant_call(Func::YearNumber, left), right)
        }
        // A column of integers keeps all its digits beside a constant; any other integer is compared as a double.
        (Int, Real) if is_column(&left) && right.is_constant() => (left, constant_call(Func::ExactNumber, right)),
        (Real, Int) if is_right_column(&right) && left.is_constant() => (constant_call(Func::ExactNumber, left), right),
        (Int | Real | Decimal, Int | Real | Decimal) => (left, right),
        (String, String) => {
            let mut both = [left, right];
            unify_collations(&mut both, operation)?;
            let [left, right] = both;
            (left, right)
        }
        (DateTime, DateTime) | (Duration, Duration) => (left, right),
        // Beside one constant with a date, a column of TIME is compared with its time of day.
        (Duration, DateTime) if operation == "=" && is_column(&left) && right.is_constant() => {
            (left, cast(right, FieldType::time(6)))
        }
        (DateTime, Duration) if operation == "=" && is_column(&right) && left.is_constant() => {
            (cast(left, FieldType::time(6)), right)
        }
        (DateTime, Duration) => (left, spec::coerce(right, spec::Arg::DateTime)),
        (Duration, DateTime) => (spec::coerce(left, spec::Arg::DateTime), right),
        // Only a constant beside a TIME is one.
        (Duration, String) if is_text_beside_time(&right, operation) => {
            let ty = FieldType { collation: right.ty().collation, ..FieldType::varchar(TIME_TEXT_MAX) };
            unify(cast(left, ty), moment::no_time(right), operation)?
        }
        (String, Duration) if is_text_beside_time(&left, operation) => {
            let (right, left) = unify(right, left, operation)?;
            (left, right)
        }
        (DateTime | Duration, String) => {
            let text = moment::compared_text(right, left.ty(), operation);
            (left, text)
        }
        (String, DateTime | Duration) => (moment::compared_text(left, right.ty(), operation), right),
        (DateTime, _) if is_column(&left) && right.is_constant() => date_number::unify_date(left, right),
        (Duration, _) if is_column(&left) && right.is_constant() => date_number::unify_time(left, right, operation),
        (DateTime | Duration, _) if right.is_constant() => (date_number::as_number(left), right),
        (_, DateTime | Duration) if is_right_column(&right) && left.is_constant() => {
            let (right, left) = unify(right, left, operation)?;
            (left, right)
        }
        (_, DateTime | Duration) if left.is_constant() => (left, date_number::as_number(right)),
        (Int | Decimal, String) if right.is_constant() => (left, constant_number(right)),
        (String, Int | Decimal) => {
            let (right, left) = unify(right, left, operation)?;
            (left, right)
        }
        _ => (double(left), double(right)),
    })
}

/// Characters of the longest TIME, `-838:59:59.000000`.
const TIME_TEXT_MAX: u32 = 17;

/// A string that makes a TIME beside it a string: none of a list, whose items are compared as TIME, and no constant that a
/// column of TIME takes as it is.
fn is_text_beside_time(text: &Expr, operation: &str) -> bool {
    operation != "in" && (!text.is_constant() || operation == "=" && moment::is_no_time(text))
}

/// A string constant beside exact numbers, as an exact number: at once when it is a literal that is one, else when the
/// statement runs.
fn constant_number(constant: Expr) -> Expr {
    if let Expr::Literal(value, _) = &constant
        && let Some(number) = exact_number(value)
    {
        return Expr::literal(number);
    }
    constant_call(Func::ExactNumber, constant)
}

/// One of the conversions of a constant beside a column; of a literal its result, where that says nothing on the way.
fn constant_call(func: Func, constant: Expr) -> Expr {
    // A time of day belongs to the day of the statement.
    let is_literal = matches!(&constant, Expr::Literal(value, _) if !matches!(value, Value::Time(_)));
    let (not_null, ty) = (constant.ty().not_null, FieldType::decimal(DECIMAL_PRECISION_MAX, DECIMAL_SCALE_MAX));
    let call = Expr::Call { func, args: vec![constant], ty: FieldType { not_null, ..ty } };
    if !is_literal {
        return call;
    }
    let quiet = EvalContext::default();
    match crate::eval::eval_scalar(&call, &quiet) {
        Ok(Value::Decimal(number)) if quiet.warnings.count() == 0 => {
            let number = number.normalize();
            match number.to_i128().filter(|v| Decimal::new(*v, 0) == number).map(i64::try_from) {
                Some(Ok(integer)) => Expr::int(integer),
                _ => Expr::literal(Value::Decimal(number)),
            }
        }
        _ => call,
    }
}

fn between(args: Vec<Expr>) -> Result<Expr, ExprError> {
    let mut args = args;
    one_collation(&mut args, "between")?;
    let [value, low, high] = take(args);
    if low == high && low.is_constant() && matches!(value, Expr::Column { .. }) {
        return infer(Func::Eq, vec![value, low]);
    }
    let is_time = value.ty().eval_type() == EvalType::Duration;
    let value = match is_time && [&low, &high].into_iter().all(moment::is_no_time) {
        true => cast(value, FieldType { collation: low.ty().collation, ..FieldType::varchar(TIME_TEXT_MAX) }),
        false => value,
    };
    check_repeated(&value, 2)?;
    let (v1, low) = unify(value.clone(), low, "between")?;
    let (v2, high) = unify(value, high, "between")?;
    let not_null = v1.ty().not_null && low.ty().not_null && high.ty().not_null;
    let ty = FieldType { not_null, ..FieldType::boolean() };
    if v1 == v2 {
        return Ok(Expr::Call { func: Func::Between, args: vec![v1, low, high], ty });
    }
    let from = Expr::Call { func: Func::Ge, args: vec![v1, low], ty: ty.clone() };
    let to = Expr::Call { func: Func::Le, args: vec![v2, high], ty: ty.clone() };
    Ok(Expr::Call { func: Func::And, args: vec![from, to], ty })
}

/// What several others are compared with, first, and these: where they are compared as texts, in one collation for all.
///
/// # Errors
/// [`ExprError::CollationMix`].
pub fn one_collation(args: &mut [Expr], operation: &str) -> Result<(), ExprError> {
    let is_text = |arg: &Expr| arg.ty().is_string();
    // A NULL is one, too.
    let may_be_text = |arg: &Expr| is_text(arg) || arg.ty().kind == TypeKind::Null;
    if args.first().is_some_and(may_be_text) && args[1..].iter().any(is_text) {
        unify_collations(args, operation)?;
    }
    Ok(())
}

/// `[NOT] IN` with both sides brought to one type; a chain of `=` when the items need different conversions.
///
/// # Errors
/// [`ExprError::CollationMix`].
pub fn in_list(expr: Expr, list: Vec<Expr>, negated: bool) -> Result<Expr, ExprError> {
    let mut list = list;
    list.insert(0, expr);
    one_collation(&mut list, " IN ")?;
    let expr = list.remove(0);
    let not_null = expr.ty().not_null && list.iter().all(|item| item.ty().not_null);
    let ty = FieldType { not_null, ..FieldType::boolean() };
    // A list of one is an equality.
    let operation = if list.len() == 1 { "=" } else { "in" };
    check_copies(&expr, list.len())?;
    let pairs = list.into_iter().map(|item| unify(expr.clone(), item, operation));
    super::membership::of_pairs(pairs, negated, ty)
}

/// Parts of an expression that stand for one part of the statement.
const REPEATED_MAX: usize = 300_000;

/// Parts of an expression that are copied while a list is bound.
const COPIED_MAX: usize = 20_000_000;

/// An expression that each of so many items is bound with, though most of them share one form of it afterwards.
fn check_copies(expr: &Expr, times: usize) -> Result<(), ExprError> {
    if parts_of(expr).saturating_mul(times) <= COPIED_MAX { Ok(()) } else { Err(ExprError::TooLarge) }
}

fn parts_of(expr: &Expr) -> usize {
    let mut parts = 0;
    expr.visit(&mut |_| parts += 1);
    parts
}

/// An expression that is going to stand in so many places: within each other, NULLIF, BETWEEN and their like double it at
/// each level.
///
/// # Errors
/// [`ExprError::TooLarge`].
pub fn check_repeated(expr: &Expr, times: usize) -> Result<(), ExprError> {
    let parts = parts_of(expr);
    let is_small = parts == 1 || parts.saturating_mul(times) <= REPEATED_MAX;
    if is_small { Ok(()) } else { Err(ExprError::TooLarge) }
}

/// Whether the operand of CASE is equal to what stands after WHEN.
///
/// # Errors
/// [`ExprError::CollationMix`].
pub fn equal_in_case(operand: Expr, when: Expr) -> Result<Expr, ExprError> {
    let (operand, when) = unify(operand, when, "case")?;
    let ty = FieldType { not_null: operand.ty().not_null && when.ty().not_null, ..FieldType::boolean() };
    Ok(Expr::Call { func: Func::Eq, args: vec![operand, when], ty })
}

/// `CASE WHEN … END` (an operand is compared by the caller) with results brought to one type.
///
/// # Errors
/// [`ExprError`] when the results have no common type.
pub fn case(branches: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Result<Expr, ExprError> {
    let results: Vec<&Expr> = branches.iter().map(|(_, r)| r).chain(&otherwise).collect();
    let ty = common_type_of(&results)?;
    let ty = if otherwise.is_some() { ty } else { ty.nullable() };
    let branch = |(truth, result)| Ok((condition(truth), cast_among(result, ty.clone())?));
    let branches = branches.into_iter().map(branch).collect::<Result<_, ExprError>>()?;
    let otherwise = otherwise.map(|result| cast_among(result, ty.clone())).transpose()?.map(Box::new);
    Ok(Expr::Case { branches, otherwise, ty })
}

/// [`common_type`] of expressions.
///
/// # Errors
/// As [`common_type`].
pub fn common_type_of(exprs: &[&Expr]) -> Result<FieldType, ExprError> {
    common(&exprs.iter().map(|expr| (expr.ty(), side(expr))).collect::<Vec<_>>())
}

/// The common type of the columns that a set operation puts into one.
///
/// # Errors
/// 1271 when nothing reconciles their collations.
pub fn common_column(types: &[&FieldType], operation: &str) -> Result<FieldType, ExprError> {
    let ty = common_type(types).map_err(|error| error.of_operation(operation))?;
    let mix = || ExprError::CollationMix { sides: Vec::new(), operation: operation.to_string() };
    if ty.is_string() && ty.coercibility == Coercibility::None { Err(mix()) } else { Ok(ty) }
}

/// The common type of expressions that meet in one place: CASE, COALESCE, VALUES. Their collations may differ.
///
/// # Errors
/// [`ExprError::BadArguments`] for no types at all, [`ExprError::CollationMix`].
pub fn common_type(types: &[&FieldType]) -> Result<FieldType, ExprError> {
    common(&types.iter().map(|ty| (*ty, side_of_type(ty))).collect::<Vec<_>>())
}

fn common(exprs: &[(&FieldType, Side)]) -> Result<FieldType, ExprError> {
    let not_null = exprs.iter().all(|(t, _)| t.not_null);
    let known: Vec<&FieldType> = exprs.iter().map(|(t, _)| *t).filter(|t| t.kind != TypeKind::Null).collect();
    let Some(first) = known.first() else {
        return if exprs.is_empty() { Err(ExprError::BadArguments("case".into())) } else { Ok(FieldType::null()) };
    };
    let all = |f: &dyn Fn(&FieldType) -> bool| known.iter().all(|t| f(t));
    let ty = if all(&|t| t == *first || FieldType { not_null: first.not_null, ..t.clone() } == **first) {
        let coercibility = known.iter().map(|t| t.coercibility).min();
        FieldType { coercibility: coercibility.unwrap_or(first.coercibility), ..(*first).clone() }
    } else if all(&|t| t.kind == TypeKind::Bit) {
        let length = known.iter().map(|t| t.length).max().unwrap_or(first.length);
        FieldType { length, ..(*first).clone() }
    } else if all(&|t| t.is_integer()) {
        common_integer(&known)
    } else if all(&|t| t.is_numeric()) {
        common_number(&known)
    } else if all(&|t| t.is_temporal()) {
        let fsp = known.iter().map(|t| t.decimals).max().unwrap_or(0);
        match () {
            () if all(&|t| t.kind == TypeKind::Time) => FieldType::time(fsp),
            () if all(&|t| t.kind == TypeKind::Date) => FieldType::date(),
            () if all(&|t| t.kind == TypeKind::Timestamp) => {
                FieldType { decimals: fsp, ..FieldType::new(TypeKind::Timestamp) }
            }
            () => FieldType::datetime(fsp),
        }
    } else {
        common_string(&known, agreed(exprs, "case")?)
    };
    Ok(FieldType { not_null, ..ty.calculated() })
}

/// YEAR fits into an INT with a sign and without one.
fn common_integer(types: &[&FieldType]) -> FieldType {
    let is_year = |t: &&FieldType| t.kind == TypeKind::Year;
    let signed = types.iter().any(|t| !t.unsigned && !is_year(t));
    let unsigned = types.iter().any(|t| t.unsigned) || !signed;
    let kind = |t: &FieldType| if is_year(&t) { TypeKind::Long } else { t.kind };
    let kind = types.iter().map(|t| kind(t)).filter(|k| *k <= TypeKind::LongLong).max().unwrap_or(TypeKind::LongLong);
    if signed && unsigned {
        let big = types.iter().any(|t| t.unsigned && t.decimal_precision() >= 19);
        return if big { FieldType::decimal(20, 0) } else { FieldType::bigint() };
    }
    FieldType { unsigned, ..FieldType::new(kind) }
}

fn common_number(types: &[&FieldType]) -> FieldType {
    if types.iter().any(|t| t.eval_type() == EvalType::Real) {
        let fits_float = |t: &&FieldType| t.kind == TypeKind::Float || t.is_integer() && !needs_double(t.kind);
        let kind = if types.iter().all(fits_float) { TypeKind::Float } else { TypeKind::Double };
        // FLOAT(7,2) and DOUBLE(12,3) keep their digits beside anything that has a fixed number of them.
        let decimals = types.iter().map(|t| t.scale()).max().unwrap_or(NOT_FIXED);
        return FieldType { decimals, ..FieldType::new(kind) };
    }
    let scale = types.iter().map(|t| t.scale()).max().unwrap_or(0);
    let whole = types.iter().map(|t| t.decimal_precision().saturating_sub(u32::from(t.scale()))).max().unwrap_or(1);
    FieldType::decimal(whole + u32::from(scale), scale)
}

/// Integers that make a DOUBLE of a FLOAT beside them; BIGINT, as in MySQL, is none.
fn needs_double(kind: TypeKind) -> bool {
    matches!(kind, TypeKind::Long | TypeKind::Bit)
}

fn common_string(types: &[&FieldType], (collation, coercibility): (Collation, Coercibility)) -> FieldType {
    let is_binary = collation == Collation::Binary;
    let width = |ty: &&FieldType| match is_binary && ty.is_string() {
        true => ty.display_width().saturating_mul(ty.collation.character_set().char_bytes_max()),
        false => ty.text_width(),
    };
    let length = types.iter().map(width).max().unwrap_or(UNSPECIFIED);
    let coercibility = match coercibility {
        Coercibility::Numeric | Coercibility::Ignorable => Coercibility::Coercible,
        other => other,
    };
    spec::text_result(length, collation).with_coercibility(coercibility)
}
