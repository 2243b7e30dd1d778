//! The collations of arguments and results: what they agree on ([`crate::collation::agree`]), and how they are brought to it.

use super::infer::cast;
use super::spec::{self, Arg, Ret};
use super::{Func, infer};
use crate::collation::{Coercibility, Collation, Side, agree};
use crate::error::ExprError;
use crate::expr::Expr;
use crate::types::{EvalType, FieldType, TypeKind, UNSPECIFIED};
use crate::value::Value;

/// The collation of one expression; that of a number as error messages have it.
fn side(ty: &FieldType) -> Side {
    match ty.eval_type() {
        EvalType::String => (ty.collation, ty.coercibility),
        EvalType::Null => (Collation::Binary, Coercibility::Ignorable),
        _ => (Collation::Latin1SwedishCi, Coercibility::Numeric),
    }
}

/// What the strings among these types agree on, where they meet in one text.
///
/// # Errors
/// [`ExprError::CollationMix`].
pub(crate) fn joined(types: &[&FieldType], operation: &str) -> Result<Side, ExprError> {
    let strings: Vec<Side> = types.iter().filter(|ty| ty.is_string()).map(|ty| side(ty)).collect();
    if strings.is_empty() {
        return Ok((Collation::default(), Coercibility::Numeric));
    }
    agree(&strings).ok_or_else(|| mix(types, operation))
}

/// What the strings among these types agree on, where they are compared.
///
/// # Errors
/// [`ExprError::CollationMix`].
pub(crate) fn compared(types: &[&FieldType], operation: &str) -> Result<Side, ExprError> {
    let agreed = joined(types, operation)?;
    if agreed.1 == Coercibility::None { Err(mix(types, operation)) } else { Ok(agreed) }
}

fn mix(types: &[&FieldType], operation: &str) -> ExprError {
    ExprError::CollationMix { sides: types.iter().map(|ty| side(ty)).collect(), operation: operation.to_string() }
}

/// Brings the strings among `args` to one collation, in which they are compared.
///
/// # Errors
/// [`ExprError::CollationMix`].
pub(crate) fn unify_collations(args: &mut [Expr], operation: &str) -> Result<Collation, ExprError> {
    let (collation, _) = compared(&args.iter().map(Expr::ty).collect::<Vec<_>>(), operation)?;
    recollate_all(args, collation);
    Ok(collation)
}

/// As [`unify_collations`] for functions to which every byte counts where the collations do not agree.
///
/// # Errors
/// [`ExprError::CollationMix`].
pub(crate) fn join_collations(args: &mut [Expr], operation: &str) -> Result<Collation, ExprError> {
    let (collation, _) = joined(&args.iter().map(Expr::ty).collect::<Vec<_>>(), operation)?;
    recollate_all(args, collation);
    Ok(collation)
}

fn recollate_all(args: &mut [Expr], collation: Collation) {
    for arg in args {
        let old = std::mem::replace(arg, Expr::null());
        *arg = recollate(old, collation);
    }
}

/// Gives strings the collation they compare in.
pub(super) fn recollate(expr: Expr, collation: Collation) -> Expr {
    if !expr.ty().is_string() || expr.ty().collation == collation {
        return expr;
    }
    let kind = match (collation, expr.ty().kind) {
        (Collation::Binary, _) => TypeKind::VarBinary,
        (_, kind) if expr.ty().is_binary_string() => {
            debug_assert!(kind != TypeKind::Null);
            TypeKind::VarChar
        }
        (_, kind) => kind,
    };
    let ty = FieldType { kind, collation, ..expr.ty().clone() };
    if ty.is_binary_string() != expr.ty().is_binary_string() {
        return cast(expr, FieldType { length: UNSPECIFIED, ..ty });
    }
    retyped(expr, ty)
}

/// The same text, of a type that differs in its collation or in how firm that is.
fn retyped(expr: Expr, ty: FieldType) -> Expr {
    match expr {
        Expr::Literal(value, _) => Expr::Literal(value, ty),
        other => Expr::Call { func: Func::CollateTo, args: vec![other], ty },
    }
}

/// `expr COLLATE collation`.
///
/// # Errors
/// [`ExprError::CollationMix`] when `expr` is a binary string.
pub fn collate(expr: Expr, collation: Collation) -> Result<Expr, ExprError> {
    let text = if expr.ty().is_string() { expr } else { spec::coerce(expr, Arg::Text) };
    if text.ty().is_binary_string() && collation != Collation::Binary && !matches!(text, Expr::Literal(Value::Null, _))
    {
        let explicit = FieldType::varchar(0).with_collation(collation).with_coercibility(Coercibility::Explicit);
        return Err(mix(&[text.ty(), &explicit], "collate"));
    }
    let ty = text.ty().clone().with_collation(collation).with_coercibility(Coercibility::Explicit);
    Ok(Expr::Call { func: Func::CollateTo, args: vec![text], ty })
}

/// What CAST and CONVERT give: a text has the collation that was asked for, as firmly as a column.
pub(super) fn converted(expr: Expr, asked: Collation) -> Expr {
    let ty = expr.ty();
    if !ty.is_string() || ty.collation == asked && ty.coercibility == Coercibility::Implicit {
        return expr;
    }
    let ty = ty.clone().with_collation(asked).with_coercibility(Coercibility::Implicit);
    retyped(expr, ty)
}

/// [`infer`] in a session: a text that is made of no text has the connection's collation.
///
/// # Errors
/// As [`infer`].
pub fn infer_in(func: Func, args: Vec<Expr>, connection: Collation) -> Result<Expr, ExprError> {
    let is_new = makes_text(func) || !args.iter().any(|arg| arg.ty().is_string());
    let mut call = infer(func, args)?;
    if let Expr::Call { ty, .. } | Expr::Case { ty, .. } = &mut call
        && is_new
        && ty.is_string()
        && ty.collation == Collation::DEFAULT
        && (Coercibility::Coercible..=Coercibility::Ignorable).contains(&ty.coercibility)
    {
        (ty.collation, ty.coercibility) = (connection, Coercibility::Coercible);
    }
    Ok(call)
}

/// How firmly the result of a function has its collation.
pub(super) fn result_coercibility(func: Func, ret: Ret, ty: &FieldType, args: &[Expr]) -> Coercibility {
    let is_decided = ty.coercibility < Coercibility::Coercible || ty.coercibility == Coercibility::None;
    match () {
        () if !ty.is_string() => FieldType::new(ty.kind).coercibility,
        () if matches!(func, Func::Database | Func::User | Func::CurrentUser | Func::Version) => Coercibility::System,
        () if makes_text(func) => Coercibility::Coercible,
        () if matches!(func, Func::Binary) => Coercibility::Implicit,
        () if is_decided => ty.coercibility,
        () => {
            let of = |args: &[Expr]| args.iter().filter(|a| a.ty().is_string()).map(|a| a.ty().coercibility).min();
            let of = if matches!(ret, Ret::First) { of(&args[..args.len().min(1)]) } else { of(args) };
            match of {
                Some(Coercibility::None) => Coercibility::None,
                of => of.unwrap_or(Coercibility::Coercible).min(Coercibility::Coercible),
            }
        }
    }
}

/// True for functions whose text is their own, not made of their arguments' characters.
fn makes_text(func: Func) -> bool {
    let is_fixed = spec::of(func).is_some_and(|spec| matches!(spec.ret, Ret::Text(_)));
    is_fixed
        || matches!(func, Func::Hex | Func::Unhex | Func::Char | Func::DateFormat | Func::TimeFormat)
        || matches!(func, Func::ToBase64 | Func::FromBase64 | Func::Format | Func::Conv | Func::FromUnixTime)
}
