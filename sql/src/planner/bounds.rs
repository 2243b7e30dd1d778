//! Turns tests with constants into intervals of a key column, when the constants are known.
//!
//! | column | constant | how it is brought into the key's order |
//! |---|---|---|
//! | integer | integer, decimal, double | to the nearest integers below and above: `a < 2.5` is `a <= 2`, `a = 2.5` is nothing |
//! | DECIMAL | integer, decimal | to the column's scale; a rounded bound is included |
//! | FLOAT, DOUBLE | any number | as double |
//! | string | string | its weight; cut to the prefix length, and included as a bound: its entry may be a longer string's |
//! | temporal | temporal | as it is: a DATE sorts as its midnight |
//!
//! A comparison with NULL holds for no row. A constant that has no place in the key's order gives every row: the
//! predicate is evaluated on them afterwards, since only exact conditions are dropped.

use crate::error::{Error, Result};
use crate::plan::CompareOp;
use crate::planner::condition::{NEAR_RANGES_MAX, Test};
use crate::planner::interval::{Interval, IntervalSet};
use basalt_common::codec;
use basalt_common::table_key::prefix_end;
use basalt_expr::EvalContext;
use basalt_expr::collation::Collation;
use basalt_expr::expr::Expr;
use basalt_expr::key::{IndexPart, encode_value};
use basalt_expr::types::{EvalType, FieldType, TypeKind};
use basalt_expr::value::Value;

/// A column as it stands in a key.
#[derive(Debug, Clone)]
pub struct KeyColumn {
    /// Its type and, for prefix indexes, its length.
    pub part: IndexPart,
    /// The 8 bytes of an integer handle, without flag and never NULL.
    pub is_integer_handle: bool,
}

/// First encoding behind NULL.
const NOT_NULL_START: u8 = 0x02;
const NULL: [u8; 1] = [0x01];

/// Whole numbers around a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Around {
    floor: i128,
    ceil: i128,
}

impl KeyColumn {
    /// The values that pass a test.
    ///
    /// # Errors
    /// When a constant cannot be calculated.
    pub fn intervals(&self, test: &Test, eval: &EvalContext) -> Result<IntervalSet> {
        Bounds { part: &self.part, is_integer_handle: self.is_integer_handle, eval }.intervals(test)
    }
}

struct Bounds<'a> {
    part: &'a IndexPart,
    is_integer_handle: bool,
    eval: &'a EvalContext,
}

impl Bounds<'_> {
    fn intervals(&self, test: &Test) -> Result<IntervalSet> {
        Ok(match test {
            Test::Compare(op, constant) => self.compare(*op, &constant_value(constant, self.eval)?)?,
            Test::NullSafeEqual(constant) => match constant_value(constant, self.eval)? {
                Value::Null => self.null(),
                value => self.compare(CompareOp::Eq, &value)?,
            },
            Test::In(list) => {
                let mut out = Vec::with_capacity(list.len());
                for constant in list {
                    let set = self.compare(CompareOp::Eq, &constant_value(constant, self.eval)?)?;
                    out.extend_from_slice(set.intervals());
                }
                IntervalSet::new(out)
            }
            Test::InSet(set) => self.points(set.values())?,
            Test::Near(set) => self.points(set.values())?.coarser(NEAR_RANGES_MAX),
            Test::IsNull => self.null(),
            Test::IsNotNull if self.is_integer_handle => IntervalSet::all(),
            Test::IsNotNull => IntervalSet::new(vec![Interval::range(self.start(), Vec::new())]),
            Test::Like { pattern, escape } => match constant_value(pattern, self.eval)? {
                Value::Null => IntervalSet::none(),
                pattern => self.like(&pattern, *escape),
            },
            Test::All(tests) => {
                let mut out = IntervalSet::all();
                for test in tests {
                    out = out.intersect(&self.intervals(test)?);
                }
                out
            }
            Test::Any(tests) => {
                let mut out = Vec::with_capacity(tests.len());
                for test in tests {
                    out.extend(self.intervals(test)?.into_intervals());
                }
                IntervalSet::new(out)
            }
        })
    }

    fn points(&self, values: &[Value]) -> Result<IntervalSet> {
        let mut out = Vec::with_capacity(values.len());
        for value in values {
            out.extend(self.compare(CompareOp::Eq, value)?.into_intervals());
        }
        Ok(IntervalSet::new(out))
    }

    fn null(&self) -> IntervalSet {
        if self.is_integer_handle {
            return IntervalSet::none();
        }
        IntervalSet::new(vec![Interval::point(NULL.to_vec())])
    }

    /// Where values that are not NULL begin.
    fn start(&self) -> Vec<u8> {
        if self.is_integer_handle { Vec::new() } else { vec![NOT_NULL_START] }
    }

    fn compare(&self, op: CompareOp, value: &Value) -> Result<IntervalSet> {
        if value.is_null() {
            return Ok(IntervalSet::none());
        }
        match self.part.ty.eval_type() {
            EvalType::Int => match around(value) {
                Some(around) => self.compare_integer(op, around),
                None => Ok(self.everything()),
            },
            EvalType::Decimal => self.compare_decimal(op, value),
            EvalType::Real => match as_double(value) {
                Some(value) => self.compare_encoded(op, &Value::Double(value), Bound::Exact),
                None => Ok(self.everything()),
            },
            EvalType::String if value.as_bytes().is_some() => {
                let bound = if self.part.may_be_cut(value) { Bound::Rounded } else { Bound::Exact };
                self.compare_encoded(op, &self.part.cut(value), bound)
            }
            _ => self.compare_encoded(op, value, Bound::Exact),
        }
    }

    /// Every value a comparison could be true for.
    fn everything(&self) -> IntervalSet {
        IntervalSet::new(vec![Interval::range(self.start(), Vec::new())])
    }

    fn compare_integer(&self, op: CompareOp, Around { floor, ceil }: Around) -> Result<IntervalSet> {
        let (min, max) = if self.part.ty.unsigned {
            (0, i128::from(u64::MAX))
        } else {
            (i128::from(i64::MIN), i128::from(i64::MAX))
        };
        let (low, high) = match op {
            CompareOp::Eq if floor != ceil => return Ok(IntervalSet::none()),
            CompareOp::Eq => (floor, floor),
            CompareOp::Lt => (min, ceil - 1),
            CompareOp::Le => (min, floor),
            CompareOp::Gt => (floor + 1, max),
            CompareOp::Ge => (ceil, max),
            CompareOp::Ne => return Ok(self.everything()),
        };
        let (low, high) = (low.max(min), high.min(max));
        if low > high {
            return Ok(IntervalSet::none());
        }
        let (start, last) = (self.encode_integer(low)?, self.encode_integer(high)?);
        Ok(IntervalSet::new(vec![match low == high {
            true => Interval::point(start),
            false => Interval::range(start, prefix_end(&last)),
        }]))
    }

    fn encode_integer(&self, value: i128) -> Result<Vec<u8>> {
        let value = match i64::try_from(value) {
            Ok(value) => Value::Int(value),
            Err(_) => Value::UInt(u64::try_from(value).map_err(|_| Error::Internal("integer bound".into()))?),
        };
        self.encode(&value)
    }

    fn compare_decimal(&self, op: CompareOp, value: &Value) -> Result<IntervalSet> {
        let decimal = match value {
            Value::Decimal(value) => *value,
            Value::Int(value) => basalt_expr::decimal::Decimal::from(*value),
            Value::UInt(value) => basalt_expr::decimal::Decimal::from(*value),
            _ => return Ok(self.everything()),
        };
        let Some(rescaled) = decimal.rescale(self.part.ty.decimals) else { return Ok(self.everything()) };
        if rescaled == decimal {
            return self.compare_encoded(op, &Value::Decimal(rescaled), Bound::Exact);
        }
        if op == CompareOp::Eq {
            return Ok(IntervalSet::none());
        }
        self.compare_encoded(op, &Value::Decimal(rescaled), Bound::Rounded)
    }

    fn compare_encoded(&self, op: CompareOp, value: &Value, bound: Bound) -> Result<IntervalSet> {
        let encoded = match self.encode(value) {
            Ok(encoded) => encoded,
            // A time that the zone skips, a number beyond the column's digits. Conditions on these types are never exact.
            Err(_) if matches!(self.part.ty.kind, TypeKind::Timestamp | TypeKind::Decimal) => {
                return Ok(self.everything());
            }
            Err(error) => return Err(error),
        };
        let behind = prefix_end(&encoded);
        let interval = match (op, bound) {
            // A cut string stands for many: it is one value of the key all the same.
            (CompareOp::Eq, _) => Interval::point(encoded),
            (CompareOp::Lt, Bound::Exact) => Interval::range(self.start(), encoded),
            (CompareOp::Lt | CompareOp::Le, _) => Interval::range(self.start(), behind),
            (CompareOp::Gt, Bound::Exact) => Interval::range(behind, Vec::new()),
            (CompareOp::Gt | CompareOp::Ge, _) => Interval::range(encoded, Vec::new()),
            (CompareOp::Ne, _) => return Ok(self.everything()),
        };
        Ok(IntervalSet::new(vec![interval]))
    }

    fn encode(&self, value: &Value) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(16);
        if self.is_integer_handle {
            match self.part.ty.unsigned {
                true => codec::encode_u64(&mut out, value.as_u64().ok_or_else(|| misfit(value, &self.part.ty))?),
                false => codec::encode_i64(&mut out, value.as_i64().ok_or_else(|| misfit(value, &self.part.ty))?),
            }
        } else {
            encode_value(&mut out, value, &self.part.ty)?;
        }
        Ok(out)
    }

    fn like(&self, pattern: &Value, escape: char) -> IntervalSet {
        let Some(text) = pattern.as_bytes().and_then(|b| std::str::from_utf8(b).ok()) else { return self.everything() };
        let (prefix, has_wildcard) = like_prefix(text, escape);
        // Only a key of bytes begins with the key of the string's beginning. Trailing spaces are not kept in all of them.
        let collation = self.part.ty.collation;
        let first = self.cut(&prefix);
        let kept = first.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
        let Some(first) = collation.key_prefix(&first[..kept]).filter(|_| collation.is_bin()) else {
            return self.everything();
        };
        let text_end = match has_wildcard {
            true => prefix_end(&first),
            false => [&*collation.weight(self.cut(&prefix)), &[0]].concat(),
        };
        let (mut start, mut end) = (vec![BYTES_FLAG], vec![BYTES_FLAG]);
        codec::encode_bytes(&mut start, &first);
        if text_end.is_empty() {
            end = vec![BYTES_FLAG + 1];
        } else {
            codec::encode_bytes(&mut end, &text_end);
        }
        IntervalSet::new(vec![Interval::range(start, end)])
    }

    /// What a prefix key keeps of a text: so many characters, of a binary column so many bytes.
    fn cut<'a>(&self, text: &'a str) -> &'a [u8] {
        let length = self.part.prefix_length as usize;
        let end = match self.part.ty.collation {
            _ if length == 0 => None,
            Collation::Binary => Some(length.min(text.len())),
            _ => text.char_indices().nth(length).map(|(end, _)| end),
        };
        &text.as_bytes()[..end.unwrap_or(text.len())]
    }
}

/// The key codec's flag of strings.
const BYTES_FLAG: u8 = 0x07;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// The encoded value is the constant.
    Exact,
    /// It is near, or stands for others too: the bound itself must be read.
    Rounded,
}

/// A constant's value.
///
/// # Errors
/// When it cannot be calculated.
pub fn constant_value(constant: &Expr, eval: &EvalContext) -> Result<Value> {
    match constant {
        Expr::Literal(value, _) => Ok(value.clone()),
        Expr::Parameter { index, .. } => match eval.parameters.get(*index) {
            Some(value) => Ok(value.clone()),
            None => Err(Error::Internal(format!("parameter {index} has no value"))),
        },
        constant => Ok(basalt_expr::eval_scalar(constant, eval)?),
    }
}

fn misfit(value: &Value, ty: &FieldType) -> Error {
    Error::Internal(format!("{value:?} as a key of type {}", ty.sql_name()))
}

fn around(value: &Value) -> Option<Around> {
    match value {
        Value::Int(_) | Value::UInt(_) => value.as_i128().map(|v| Around { floor: v, ceil: v }),
        Value::Double(v) => {
            // Beyond this a double stands for many integers.
            const EXACT: f64 = 9_007_199_254_740_992.0;
            (v.abs() < EXACT).then(|| Around { floor: v.floor() as i128, ceil: v.ceil() as i128 })
        }
        Value::Decimal(v) => {
            // Beyond 38 digits every integer is on one side.
            let far = if v.is_negative() { i128::MIN / 2 } else { i128::MAX / 2 };
            Some(Around { floor: v.floor().to_i128().unwrap_or(far), ceil: v.ceil().to_i128().unwrap_or(far) })
        }
        _ => None,
    }
}

fn as_double(value: &Value) -> Option<f64> {
    match value {
        Value::Double(v) => Some(*v),
        Value::Int(v) => Some(*v as f64),
        Value::UInt(v) => Some(*v as f64),
        Value::Decimal(v) => Some(v.to_f64()),
        _ => None,
    }
}

/// The text before the first wildcard, and whether there is one.
fn like_prefix(pattern: &str, escape: char) -> (String, bool) {
    let mut out = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' | '_' => return (out, true),
            c if c == escape => out.push(chars.next().unwrap_or(escape)),
            c => out.push(c),
        }
    }
    (out, false)
}
