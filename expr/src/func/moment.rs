//! Dates and times beside other types: what a text beside a date becomes, and where a TIMESTAMP, which is a moment in UTC,
//! turns into the local time that functions calculate with.

use super::{Func, date_number, infer};
use crate::context::EvalContext;
use crate::error::ExprError;
use crate::expr::Expr;
use crate::store::{StoreContext, cast_for_store};
use crate::temporal::parse::has_offset;
use crate::types::{EvalType, FieldType, TypeKind};
use crate::value::Value;

/// Digits of a fraction of a second.
const FSP_MAX: u8 = 6;

/// A text beside a date or time. A constant beside a date must be one (1525), but for IN and BETWEEN; any other text that is
/// none compares as zero.
pub(super) fn compared_text(text: Expr, beside: &FieldType, operation: &str) -> Expr {
    let to = match beside.kind {
        // A constant takes the column's digits, but for IN.
        TypeKind::Time if beside.is_field() && text.is_constant() && operation != "in" => {
            FieldType::time(beside.decimals)
        }
        TypeKind::Time => FieldType::time(FSP_MAX),
        TypeKind::Timestamp => FieldType { decimals: FSP_MAX, ..FieldType::new(TypeKind::Timestamp) },
        _ => FieldType::datetime(FSP_MAX),
    };
    // In CASE what is no date is equal to none.
    if operation == "case" {
        return infer::cast(text, to);
    }
    let text = match infer::cast(text, to.clone()) {
        Expr::Call { func: Func::Cast, mut args, .. } if args.len() == 1 => args.remove(0),
        converted => return converted,
    };
    let must_be_date = text.is_constant() && beside.kind != TypeKind::Time && matches!(operation, "=");
    if !must_be_date {
        let ty = FieldType { not_null: text.ty().not_null, ..to };
        return Expr::Call { func: Func::ComparedTime, args: vec![text], ty };
    }
    let kind = match beside.kind {
        TypeKind::Date => "DATE",
        TypeKind::Timestamp => "TIMESTAMP",
        _ => "DATETIME",
    };
    let ty = FieldType { not_null: text.ty().not_null, ..to };
    Expr::Call { func: Func::DateConstant, args: vec![text, Expr::string(kind)], ty }
}

/// True for a constant text that a column of TIME does not take as it is.
pub(super) fn is_no_time(text: &Expr) -> bool {
    if !text.ty().is_string() || !text.is_immutable() {
        return false;
    }
    let mut eval = EvalContext::default();
    eval.mode.strict = true;
    let Ok(value) = crate::eval::eval_scalar(text, &eval) else { return false };
    let is_zoned = value.as_bytes().is_some_and(has_offset);
    let context = StoreContext { eval: &eval, column: "", row: 1, ignore: false };
    is_zoned || cast_for_store(&value, text.ty(), &FieldType::time(FSP_MAX), &context).is_err()
}

/// A text that a column of TIME does not take, beside one.
pub(super) fn no_time(text: Expr) -> Expr {
    let ty = text.ty().clone();
    if text.is_constant() { Expr::Call { func: Func::NoTime, args: vec![text], ty } } else { text }
}

/// True for a comparison of a TIME with a text that is not known yet: whether it is one of texts depends on that.
pub fn awaits_text(comparison: &Expr) -> bool {
    let awaits = |arg: &Expr| match arg {
        Expr::Call { func: Func::ComparedTime, args, ty } if ty.kind == TypeKind::Time => {
            args.iter().any(|text| text.is_constant() && !text.is_immutable())
        }
        _ => false,
    };
    comparison.children().into_iter().any(awaits)
}

/// A TIMESTAMP beside another type: a constant becomes a moment, so that an index over moments serves; everything else is
/// compared as local time.
pub(super) fn unify(left: Expr, right: Expr, operation: &str) -> Result<(Expr, Expr), ExprError> {
    let is_left = left.ty().kind == TypeKind::Timestamp;
    let (beside, constant) = if is_left { (&left, &right) } else { (&right, &left) };
    let is_field = matches!(beside, Expr::Column { ty, .. } if ty.is_field());
    if constant.ty().is_numeric() && constant.is_constant() && is_field {
        let (column, number) = if is_left { (left, right) } else { (right, left) };
        let (column, number) = date_number::unify_date(column, number);
        return Ok(if is_left { (column, number) } else { (number, column) });
    }
    if !constant.is_constant() || constant.ty().is_numeric() {
        return infer::unify(localize(left), localize(right), operation);
    }
    let moment = FieldType { decimals: FSP_MAX, ..FieldType::new(TypeKind::Timestamp) };
    let bring = |side: Expr| match side.ty() {
        ty if ty.kind == TypeKind::Timestamp => side,
        ty if ty.is_string() => compared_text(side, &moment, operation),
        _ => infer::cast(side, moment.clone()),
    };
    Ok((bring(left), bring(right)))
}

/// True where a conversion asks for the session's time or zone: TIME to DATETIME, a TIMESTAMP, a text with an offset.
pub(super) fn needs_session(value: &Value, from: &FieldType, to: &FieldType) -> bool {
    let is_moment = |ty: &FieldType| ty.kind == TypeKind::Timestamp;
    to.eval_type() == EvalType::DateTime && from.eval_type() == EvalType::Duration
        || is_moment(from) != is_moment(to)
        || to.is_temporal() && value.as_bytes().is_some_and(has_offset)
}

/// A TIMESTAMP as the local time that functions calculate with; everything else as it is.
pub fn localize(expr: Expr) -> Expr {
    let ty = expr.ty();
    if ty.kind != TypeKind::Timestamp {
        return expr;
    }
    let local = FieldType { not_null: ty.not_null, ..FieldType::datetime(ty.decimals) };
    Expr::Call { func: Func::Cast, args: vec![expr], ty: local }
}

/// True for functions that take a TIMESTAMP as the moment it is.
pub(super) fn keeps_moments(func: Func) -> bool {
    use Func::*;
    matches!(
        func,
        Eq | NullSafeEq
            | Ne
            | Lt
            | Le
            | Gt
            | Ge
            | Between
            | Greatest
            | Least
            | Coalesce
            | AnyValue
            | IsNull
            | IsNotNull
            | Weight
            | UnixTimestamp
    )
}
