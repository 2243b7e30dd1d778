//! Functions and operators: the registry, type inference and the kernels.
//!
//! ```text
//! Func::by_name("concat") ── infer(func, args) ──▶ Expr::Call { func, args with casts, ty }
//!                               │                        │
//!                            spec::of(func)            eval: vector::run, or the spec's kernel row by row
//! ```
//! | file | holds |
//! |---|---|
//! | [`list`] | the enum of all functions and their names |
//! | [`spec`] | how a function is described; the table of descriptions |
//! | [`infer`] | result types, implicit casts |
//! | [`collations`] | the collation that strings meet in, and how they are brought to it |
//! | [`membership`] | the form of an IN list |
//! | [`vector`] | kernels over whole Arrow arrays |
//! | [`growth`] | how long they may become |
//! | the others | one family of functions each |
//!
//! A new function is a name in `list.rs` and a line with a kernel in its family. A name without a description answers
//! with error 1235.

mod arithmetic;
pub(crate) mod bits;
pub(crate) mod collations;
mod compare;
pub(crate) mod conversion;
mod date_number;
mod datetime;
mod datetime_arith;
mod datetime_format;
pub(crate) mod growth;
mod hash;
mod icu;
pub(crate) mod infer;
mod info;
mod list;
mod logic;
mod math;
mod membership;
mod moment;
mod pattern;
pub use pattern::like_matches;
pub use text::is_locale;
pub(crate) mod regexp;
pub(crate) mod spec;
mod string;
mod text;
pub(crate) mod vector;

pub use collations::{cast_among, collate, collate_as, infer_in};
pub use compare::compare;
pub use date_number::as_number as date_as_number;
pub use datetime_arith::{Interval, IntervalUnit, interval_value};
pub use infer::as_number as literal_as_number;
pub(crate) use infer::hybrid_number;
pub use infer::{
    case, cast, cast_explicit, check_repeated, common_column, common_type, common_type_of, condition, equal_in_case,
    in_list, infer, one_collation, unify, with_hidden_digits,
};
pub use list::{ALL, Func};
pub use moment::{awaits_text, localize};

use crate::types::{FieldType, NOT_FIXED};
use crate::value::Value;

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
            Func::Rand | Func::Uuid | Func::Sleep | Func::SysDate => Volatility::Volatile,
            Func::Now
            | Func::CurrentDate
            | Func::CurrentTime
            | Func::UtcTimestamp
            | Func::UtcDate
            | Func::UtcTime
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
