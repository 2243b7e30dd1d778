//! The collations of arguments and results: what they agree on ([`crate::collation::agree`]), and how they are brought to it.
//!
//! How firmly an expression has its collation is in its type ([`FieldType::coercibility`]), so that it outlives subqueries,
//! derived tables and UNION:
//!
//! | level | of | |
//! |---|---|---|
//! | 0 | `COLLATE` | explicit |
//! | 2 | columns, CAST and CONVERT | implicit |
//! | 3 | `USER()`, `DATABASE()`, `VERSION()` | of the system |
//! | 4 | literals, parameters | coercible |
//! | 5 | numbers and times | |
//! | 6 | NULL | |
//! | 7 | a mixture that no rule reconciles | none |
//!
//! Text that becomes text of another character set is converted by [`Func::Recollate`]; a character that is not there is
//! error 3854.

use super::conversion::recollated;
use super::infer::cast;
use super::spec::{self, Arg, Ret};
use super::{Func, infer};
use crate::charset::Charset;
use crate::collation::{Coercibility, Collation, Side, agree};
use crate::error::ExprError;
use crate::expr::Expr;
use crate::types::{EvalType, FieldType, TypeKind, UNSPECIFIED};

/// The answer of COERCIBILITY().
pub(super) fn level(ty: &FieldType) -> i64 {
    // Numbers and moments say with it whether they are columns; a BIT is bytes.
    let level = match ty.is_string() || ty.kind == TypeKind::Bit || ty.kind == TypeKind::Null {
        true => ty.coercibility,
        false => Coercibility::Numeric,
    };
    level as i64
}

/// What an expression of this type brings; of a number what error messages say.
pub(super) fn side_of_type(ty: &FieldType) -> Side {
    match ty.eval_type() {
        EvalType::String => Side::new(ty.collation, ty.coercibility),
        EvalType::Null => Side::new(Collation::Binary, Coercibility::Ignorable),
        _ => Side::new(Collation::Latin1SwedishCi, Coercibility::Numeric),
    }
}

/// What an expression brings where it meets others.
pub(super) fn side(expr: &Expr) -> Side {
    Side { is_ascii: is_ascii(expr), ..side_of_type(expr.ty()) }
}

/// Functions whose text is digits, letters and signs whatever they are given.
fn makes_ascii(func: Func) -> bool {
    use Func::*;
    let is_number = matches!(func, Hex | Bin | Oct | Conv | Md5 | Sha1 | Sha2 | ToBase64 | Uuid | InetNtoa | Format);
    is_number || matches!(func, DayName | MonthName | Charset | Collation | DateFormat | TimeFormat | GetFormat)
}

/// True for text that is ASCII by its making: literals that are, numbers, columns of ascii, and what is made of those.
fn is_ascii(expr: &Expr) -> bool {
    if !expr.ty().is_string() || expr.ty().collation.character_set() == Charset::Ascii {
        return true;
    }
    match expr {
        // What a conversion was asked to make can be anything.
        Expr::Literal(_, ty) | Expr::Call { func: Func::Cast | Func::CollateTo, ty, .. }
            if ty.coercibility == Coercibility::Implicit =>
        {
            false
        }
        Expr::Literal(value, _) => value.as_bytes().is_none_or(<[u8]>::is_ascii),
        Expr::Call { func: Func::Char | Func::Unhex | Func::FromBase64, .. } => false,
        Expr::Call { func, args, .. } => makes_ascii(*func) || !args.is_empty() && args.iter().all(is_ascii),
        Expr::Case { branches, otherwise, .. } => {
            branches.iter().map(|(_, result)| result).chain(otherwise.as_deref()).all(is_ascii)
        }
        _ => false,
    }
}

/// What the strings among expressions of these types agree on, where they meet in one text; each type with its side.
///
/// # Errors
/// [`ExprError::CollationMix`].
pub(super) fn agreed(all: &[(&FieldType, Side)], operation: &str) -> Result<(Collation, Coercibility), ExprError> {
    let strings: Vec<Side> = all.iter().filter(|(ty, _)| ty.is_string()).map(|(_, side)| *side).collect();
    if strings.is_empty() {
        return Ok((Collation::default(), Coercibility::Numeric));
    }
    agree(&strings).ok_or_else(|| mix(all, operation))
}

fn sides(args: &[Expr]) -> Vec<(&FieldType, Side)> {
    args.iter().map(|arg| (arg.ty(), side(arg))).collect()
}

fn mix(all: &[(&FieldType, Side)], operation: &str) -> ExprError {
    ExprError::CollationMix { sides: all.iter().map(|(_, side)| *side).collect(), operation: operation.to_string() }
}

/// What the strings among `args` agree on, where they meet in one text.
///
/// # Errors
/// [`ExprError::CollationMix`].
pub(crate) fn joined(args: &[Expr], operation: &str) -> Result<(Collation, Coercibility), ExprError> {
    agreed(&sides(args), operation)
}

/// Brings the strings among `args` to one collation, in which they are compared.
///
/// # Errors
/// [`ExprError::CollationMix`], 3854.
pub(crate) fn unify_collations(args: &mut [Expr], operation: &str) -> Result<Collation, ExprError> {
    let (collation, coercibility) = joined(args, operation)?;
    if coercibility == Coercibility::None {
        return Err(mix(&sides(args), operation));
    }
    recollate_all(args, collation)?;
    Ok(collation)
}

/// As [`unify_collations`] for functions to which every byte counts where the collations do not agree.
///
/// # Errors
/// [`ExprError::CollationMix`], 3854.
pub(crate) fn join_collations(args: &mut [Expr], operation: &str) -> Result<Collation, ExprError> {
    let (collation, _) = joined(args, operation)?;
    recollate_all(args, collation)?;
    Ok(collation)
}

fn recollate_all(args: &mut [Expr], collation: Collation) -> Result<(), ExprError> {
    for arg in args {
        let old = std::mem::replace(arg, Expr::null());
        *arg = recollate(old, collation)?;
    }
    Ok(())
}

/// Gives a string the collation it is compared in.
///
/// # Errors
/// 3854 for a literal that the collation's character set has no place for.
fn recollate(expr: Expr, collation: Collation) -> Result<Expr, ExprError> {
    if !expr.ty().is_string() || expr.ty().collation == collation {
        return Ok(expr);
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
    let (from, to) = (expr.ty().collation, collation);
    let becomes_bytes = ty.is_binary_string() && !expr.ty().is_binary_string();
    let ty = if ty.is_binary_string() != expr.ty().is_binary_string() {
        FieldType { length: UNSPECIFIED, unsigned: false, ..ty }
    } else {
        ty
    };
    match expr {
        Expr::Literal(value, _) => Ok(Expr::Literal(recollated(&value, from, to)?, ty)),
        other if becomes_bytes => Ok(cast(other, ty)),
        other => Ok(Expr::Call { func: Func::Recollate, args: vec![other], ty }),
    }
}

/// A text in the collation of another text of its character set, however firm its own is; everything else as it is.
///
/// # Errors
/// None today: the character set stays.
pub fn collate_as(expr: Expr, other: &FieldType) -> Result<Expr, ExprError> {
    let is_text = |ty: &FieldType| ty.is_string() && !ty.is_binary_string();
    let meet = is_text(expr.ty()) && is_text(other);
    let meet = meet && expr.ty().collation.character_set() == other.collation.character_set();
    if meet { recollate(expr, other.collation) } else { Ok(expr) }
}

/// A string that becomes part of one in `collation`: itself where its bytes may stay.
///
/// # Errors
/// 3854 for a literal that the collation's character set has no place for.
pub(super) fn adapt(expr: Expr, collation: Collation) -> Result<Expr, ExprError> {
    let (from, to) = (expr.ty().collation.character_set(), collation.character_set());
    let stays = match (from, to) {
        (Charset::Binary, _) => to == Charset::Binary,
        (_, Charset::Binary) => from.is_utf8(),
        _ => to.holds(from),
    };
    if !expr.ty().is_string() || stays { Ok(expr) } else { recollate(expr, collation) }
}

/// As [`cast`], of what becomes a text among others of type `ty`: a character that has no place there is an error.
///
/// # Errors
/// 3854 for a literal.
pub fn cast_among(expr: Expr, ty: FieldType) -> Result<Expr, ExprError> {
    let expr = if ty.is_string() { adapt(expr, ty.collation)? } else { expr };
    Ok(cast(expr, ty))
}

/// A string as the bytes of its character set, for functions that look at bytes.
pub(super) fn as_bytes(expr: Expr) -> Expr {
    let is_text = expr.ty().is_string() && !expr.ty().is_binary_string();
    match is_text && !expr.ty().collation.character_set().is_utf8() {
        true => cast(expr, FieldType::varbinary(UNSPECIFIED)),
        false => expr,
    }
}

/// `expr COLLATE collation`.
///
/// # Errors
/// [`ExprError::CollationOfOther`] when `expr` is of another character set.
pub fn collate(expr: Expr, collation: Collation) -> Result<Expr, ExprError> {
    // The text of a number is in whatever character set is asked for.
    let charset = if expr.ty().is_string() { expr.ty().collation.charset() } else { collation.charset() };
    let text = if expr.ty().is_string() { expr } else { spec::coerce(expr, Arg::Text) };
    if charset != collation.charset() {
        return Err(ExprError::CollationOfOther(collation.name().into(), charset.into()));
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
    match expr {
        Expr::Literal(value, _) => Expr::Literal(value, ty),
        other => Expr::Call { func: Func::CollateTo, args: vec![other], ty },
    }
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
        && connection != Collation::Binary
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
