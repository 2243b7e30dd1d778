//! How a function is described: what it takes, what it gives, how one row is calculated.
//!
//! Each family file has a `spec` function with one line a function; the table of all of them is built once. A kernel
//! calculates one row from [`Value`]s. [`super::vector`] has kernels over whole arrays for the functions that queries
//! spend their time in; both give the same results.

use super::collations::{as_bytes, joined};
use super::infer::sum_of_lengths;
use super::{Func, list};
use crate::collation::{Coercibility, Collation};
use crate::context::EvalContext;
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::types::{EvalType, FieldType, TypeKind};
use crate::value::Value;
use std::cell::RefCell;
use std::sync::LazyLock;

/// Any number of arguments.
pub(crate) const MANY: usize = usize::MAX;

/// One row of a function.
pub(crate) type Kernel = fn(&Call<'_>, &[Value]) -> Result<Value, EvalError>;
/// Type of a result that depends on the arguments; may convert them further.
pub(crate) type Typing = fn(&mut [Expr]) -> Result<FieldType, ExprError>;

/// What a kernel knows besides the values.
pub(crate) struct Call<'a> {
    pub func: Func,
    /// Type of the result.
    pub ty: &'a FieldType,
    /// Types of the arguments.
    pub types: Vec<&'a FieldType>,
    pub ctx: &'a EvalContext,
    /// What is kept from row to row.
    pub memo: Memo,
}

/// Kept from one row to the next within a batch.
#[derive(Default)]
pub(crate) struct Memo {
    pub regex: RefCell<Option<super::regexp::Compiled>>,
    pub rng: RefCell<Option<rand::rngs::SmallRng>>,
}

impl<'a> Call<'a> {
    pub fn new(func: Func, ty: &'a FieldType, args: &'a [Expr], ctx: &'a EvalContext) -> Call<'a> {
        Call { func, ty, types: args.iter().map(Expr::ty).collect(), ctx, memo: Memo::default() }
    }
    /// Collation of an argument.
    pub fn collation(&self, arg: usize) -> Collation {
        self.types.get(arg).map_or(Collation::DEFAULT, |t| t.collation)
    }
    /// A string of the result's kind.
    pub fn text(&self, bytes: Vec<u8>) -> Value {
        if self.ty.is_binary_string() {
            return Value::from(bytes);
        }
        match String::from_utf8(bytes) {
            Ok(text) => Value::from(text),
            Err(error) => Value::from(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        }
    }
    /// Error 1690 in MySQL's words for a calculation with these operands.
    pub fn out_of_range(&self, args: &[Value]) -> EvalError {
        let kind = match self.ty.eval_type() {
            EvalType::Real => "DOUBLE",
            EvalType::Decimal => "DECIMAL",
            _ if self.ty.unsigned => "BIGINT UNSIGNED",
            _ => "BIGINT",
        };
        let shown: Vec<String> = args.iter().map(crate::cast::display).collect();
        let name = self.func.name();
        let expression = match &shown[..] {
            [a, b] if !name.starts_with(|c: char| c.is_ascii_alphabetic()) => format!("({a} {name} {b})"),
            [a] if self.func == Func::Neg => format!("-({a})"),
            _ => format!("{name}({})", shown.join(",")),
        };
        EvalError::ResultOutOfRange { kind, expression }
    }
    /// A double, if it is a number.
    pub fn double(&self, value: f64, args: &[Value]) -> Result<Value, EvalError> {
        if value.is_finite() { Ok(Value::Double(value)) } else { Err(self.out_of_range(args)) }
    }
    /// Fails for a result beyond the limit; otherwise gives its length.
    pub fn check_length(&self, bytes: usize) -> Result<usize, EvalError> {
        let limit = crate::context::RESULT_BYTES_MAX;
        if bytes > limit { Err(EvalError::ResultTooLong { function: self.func.name(), limit }) } else { Ok(bytes) }
    }
}

/// What an argument is converted to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arg {
    /// As it is.
    Any,
    /// BIGINT.
    Int,
    /// DOUBLE.
    Real,
    /// A number of any type: strings become DOUBLE, dates and times integers or decimals.
    Number,
    /// A string; binary strings stay binary.
    Text,
    /// A string whose bytes count, in its character set.
    Bytes,
    /// DATETIME; dates and timestamps stay.
    DateTime,
    /// DATETIME, of which text and numbers may leave out the day or the month: `'2020-00-00'` has a year in any mode.
    LooseDate,
    /// TIME.
    Time,
}

/// Type of the result.
#[derive(Clone, Copy)]
pub(crate) enum Ret {
    Bool,
    Int,
    UInt,
    Real,
    Date,
    /// A string of so many characters at most.
    Text(u32),
    /// A string as long as the arguments together; binary if one of them is.
    Joined,
    /// A string as long as the first argument, binary if that is.
    First,
    Custom(Typing),
}

/// A function's description.
#[derive(Clone, Copy)]
pub(crate) struct Spec {
    pub min: usize,
    pub max: usize,
    /// Conversions of the arguments; the last one is for all that follow.
    pub args: &'static [Arg],
    pub ret: Ret,
    /// NULL if any argument is.
    pub strict: bool,
    /// Never NULL unless an argument is.
    pub total: bool,
    pub kernel: Kernel,
}

impl Spec {
    pub fn new(min: usize, max: usize, args: &'static [Arg], ret: Ret, kernel: Kernel) -> Spec {
        Spec { min, max, args, ret, strict: true, total: false, kernel }
    }
    /// It looks at NULL arguments itself.
    pub fn sees_null(self) -> Spec {
        Spec { strict: false, ..self }
    }
    /// Its result is NULL only for NULL arguments.
    pub fn total(self) -> Spec {
        Spec { total: true, ..self }
    }
}

/// The description of a function; `None` for those that are expanded to others or not done.
pub(crate) fn of(func: Func) -> Option<&'static Spec> {
    static SPECS: LazyLock<Vec<Option<Spec>>> = LazyLock::new(|| {
        let families = [
            super::arithmetic::spec,
            super::bits::spec,
            super::logic::spec,
            super::compare::spec,
            super::pattern::spec,
            super::regexp::spec,
            super::conversion::spec,
            super::math::spec,
            super::string::spec,
            super::text::spec,
            super::hash::spec,
            super::datetime::spec,
            super::datetime_arith::spec,
            super::datetime_format::spec,
            super::info::spec,
        ];
        list::ALL.iter().map(|&func| families.iter().find_map(|family| family(func))).collect()
    });
    SPECS[func as usize].as_ref()
}

/// Converts an argument.
pub(crate) fn coerce(arg: Expr, want: Arg) -> Expr {
    let ty = arg.ty();
    let eval = ty.eval_type();
    if eval == EvalType::Null {
        return arg;
    }
    match want {
        Arg::Any => arg,
        Arg::Int if eval == EvalType::Int => arg,
        Arg::Int => super::cast(arg, FieldType::bigint()),
        Arg::Real if eval == EvalType::Real => arg,
        Arg::Real => super::cast(arg, FieldType::double()),
        Arg::Number => match eval {
            EvalType::String => super::cast(arg, FieldType::double()),
            EvalType::DateTime | EvalType::Duration => {
                let fsp = ty.decimals;
                let to = if fsp == 0 { FieldType::bigint() } else { FieldType::decimal(14 + u32::from(fsp), fsp) };
                super::cast(arg, to)
            }
            _ => arg,
        },
        Arg::Text if eval == EvalType::String => arg,
        Arg::Bytes if eval == EvalType::String => as_bytes(arg),
        // A BIT is bytes where a text is wanted.
        Arg::Text | Arg::Bytes if ty.kind == TypeKind::Bit => {
            let bytes = ty.length.div_ceil(8);
            super::cast(arg, FieldType::varbinary(bytes))
        }
        Arg::Text | Arg::Bytes => {
            let length = ty.text_width();
            super::cast(arg, FieldType::varchar(length).with_coercibility(Coercibility::Numeric))
        }
        Arg::DateTime | Arg::LooseDate if eval == EvalType::DateTime => arg,
        Arg::DateTime | Arg::LooseDate => {
            let fsp = match eval {
                EvalType::Int => 0,
                EvalType::Duration | EvalType::Decimal => ty.decimals.min(6),
                _ => literal_fsp(&arg),
            };
            let to = FieldType::datetime(fsp);
            match want == Arg::LooseDate && eval != EvalType::Duration {
                true => Expr::Call { func: Func::LooseDate, args: vec![arg], ty: to },
                false => super::cast(arg, to),
            }
        }
        Arg::Time if eval == EvalType::Duration => arg,
        Arg::Time => {
            let fsp = match eval {
                EvalType::Int => 0,
                EvalType::DateTime | EvalType::Decimal => ty.decimals.min(6),
                _ => literal_fsp(&arg),
            };
            super::cast(arg, FieldType::time(fsp))
        }
    }
}

/// Digits of fraction in a date or time written as a string: those of a constant, 6 of anything else.
pub(crate) fn literal_fsp(arg: &Expr) -> u8 {
    match arg {
        Expr::Literal(value, _) => match value.as_bytes() {
            Some(text) => {
                let fraction = text.iter().rposition(|&b| b == b'.').map_or(&[][..], |at| &text[at + 1..]);
                fraction.iter().take_while(|b| b.is_ascii_digit()).count().min(6) as u8
            }
            None => 6,
        },
        _ => 6,
    }
}

/// The type that [`Ret`] says.
pub(crate) fn result_type(ret: Ret, func: Func, args: &mut [Expr]) -> Result<FieldType, ExprError> {
    Ok(match ret {
        Ret::Bool => FieldType::boolean(),
        Ret::Int => FieldType::bigint(),
        Ret::UInt => FieldType::bigint_unsigned(),
        Ret::Real => FieldType::double(),
        Ret::Date => FieldType::date(),
        Ret::Text(length) => FieldType::varchar(length),
        Ret::Joined => {
            let (collation, coercibility) = joined(args, func.name())?;
            text_result(sum_of_lengths(args), collation).with_coercibility(coercibility)
        }
        Ret::First => {
            let first = args.first().map_or_else(FieldType::null, |a| a.ty().clone());
            text_result(first.display_width(), first.collation)
        }
        Ret::Custom(typing) => typing(args)?,
    })
}

/// A string result in a collation.
pub(crate) fn text_result(length: u32, collation: Collation) -> FieldType {
    let kind = match (collation, length) {
        (Collation::Binary, 0..=65_535) => TypeKind::VarBinary,
        (Collation::Binary, _) => TypeKind::LongBlob,
        (_, 0..=16_383) => TypeKind::VarChar,
        _ => TypeKind::LongText,
    };
    FieldType { length, ..FieldType::new(kind) }.with_collation(collation)
}
