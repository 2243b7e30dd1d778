//! Aggregates: their MySQL types, and an accumulator for the short path.
//!
//! | function | of integers | of DECIMAL(p, s) | of others |
//! |---|---|---|---|
//! | COUNT | BIGINT | BIGINT | BIGINT |
//! | SUM | DECIMAL(p + 22, 0) | DECIMAL(p + 22, s) | DOUBLE |
//! | AVG | DECIMAL(p + 4, 4) | DECIMAL(p + 4, s + 4) | DOUBLE |
//! | MIN, MAX, ANY_VALUE | as the argument | as the argument | as the argument |
//! | BIT_AND, BIT_OR, BIT_XOR | BIGINT UNSIGNED | … | … |
//! | STDDEV…, VAR… | DOUBLE | DOUBLE | DOUBLE |
//! | GROUP_CONCAT | TEXT, or what `group_concat_max_len` makes of it | … | … |
//!
//! Inside DataFusion's plans its own accumulators run over converted arguments (the SQL crate's `query` lowers them);
//! both give the same results.

use crate::cast::{to_bits, to_decimal, to_f64, to_text};
use crate::context::EvalContext;
use crate::decimal::{DIVISION_SCALE, Decimal};
use crate::error::{EvalError, ExprError};
use crate::expr::Expr;
use crate::func::bits::combine;
use crate::func::compare;
use crate::types::{EvalType, FieldType, TypeKind};
use crate::value::Value;
use std::collections::BTreeSet;

/// Digits that SUM adds to its argument's.
const SUM_DIGITS: u32 = 22;
/// Longest result of GROUP_CONCAT by default (`group_concat_max_len`).
pub const GROUP_CONCAT_BYTES_MAX: usize = 1024;

/// An aggregate function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)] // the names are MySQL's
pub enum AggregateFunc {
    Count,
    CountDistinct,
    Sum,
    Avg,
    Min,
    Max,
    GroupConcat,
    BitAnd,
    BitOr,
    BitXor,
    StddevPop,
    StddevSamp,
    VarPop,
    VarSamp,
    AnyValue,
}

impl AggregateFunc {
    /// The aggregate of a SQL name, any case. ANY_VALUE is a plain function to the grammar and is not found here.
    pub fn by_name(name: &str) -> Option<AggregateFunc> {
        use AggregateFunc::*;
        Some(match name.to_ascii_lowercase().as_str() {
            "count" => Count,
            "sum" => Sum,
            "avg" => Avg,
            "min" => Min,
            "max" => Max,
            "group_concat" => GroupConcat,
            "bit_and" => BitAnd,
            "bit_or" => BitOr,
            "bit_xor" => BitXor,
            "std" | "stddev" | "stddev_pop" => StddevPop,
            "stddev_samp" => StddevSamp,
            "variance" | "var_pop" => VarPop,
            "var_samp" => VarSamp,
            "any_value" => AnyValue,
            _ => return None,
        })
    }

    /// True when it takes a TIMESTAMP as the moment it is; the others calculate with local times.
    pub fn keeps_moments(self) -> bool {
        use AggregateFunc::*;
        matches!(self, Count | CountDistinct | Min | Max | AnyValue)
    }

    /// Its name in SQL, lower case.
    pub fn name(self) -> &'static str {
        use AggregateFunc::*;
        match self {
            Count | CountDistinct => "count",
            Sum => "sum",
            Avg => "avg",
            Min => "min",
            Max => "max",
            GroupConcat => "group_concat",
            BitAnd => "bit_and",
            BitOr => "bit_or",
            BitXor => "bit_xor",
            StddevPop => "std",
            StddevSamp => "stddev_samp",
            VarPop => "variance",
            VarSamp => "var_samp",
            AnyValue => "any_value",
        }
    }

    /// True for those that calculate with numbers.
    pub fn takes_numbers(self) -> bool {
        use AggregateFunc::*;
        matches!(self, Sum | Avg | BitAnd | BitOr | BitXor | StddevPop | StddevSamp | VarPop | VarSamp)
    }

    /// The type of the result.
    ///
    /// # Errors
    /// [`ExprError::ParameterCount`] for a wrong number of arguments.
    pub fn result_type(self, args: &[Expr]) -> Result<FieldType, ExprError> {
        use AggregateFunc::*;
        let many = matches!(self, CountDistinct | GroupConcat);
        let wrong = match args.len() {
            0 => self != Count,
            1 => false,
            _ => !many,
        };
        if wrong {
            return Err(ExprError::ParameterCount(self.name().to_string()));
        }
        let arg = args.first().map_or_else(FieldType::null, |a| a.ty().clone());
        let digits = arg.decimal_precision();
        Ok(match (self, arg.eval_type()) {
            (Count | CountDistinct, _) => FieldType::bigint().required(),
            (BitAnd | BitOr | BitXor, _) if of_bytes(&arg) => FieldType::varbinary(arg.length).required(),
            (BitAnd | BitOr | BitXor, _) => FieldType::bigint_unsigned().required(),
            (StddevPop | StddevSamp | VarPop | VarSamp, _) => FieldType::double(),
            (GroupConcat, _) if args.iter().any(|a| a.ty().is_binary_string()) => FieldType::new(TypeKind::Blob),
            (GroupConcat, _) => {
                let ty = FieldType::new(TypeKind::Text);
                let string = args.iter().map(Expr::ty).find(|ty| ty.is_string());
                string.map_or(ty.clone(), |string| {
                    ty.with_collation(string.collation).with_coercibility(string.coercibility)
                })
            }
            (Min | Max | AnyValue, _) => arg.nullable(),
            (Sum, EvalType::Int | EvalType::Decimal) => FieldType::decimal(digits + SUM_DIGITS, arg.scale()),
            (Avg, EvalType::Int | EvalType::Decimal) => {
                let scale = arg.scale() + DIVISION_SCALE;
                FieldType::decimal(digits + u32::from(DIVISION_SCALE), scale)
            }
            (Sum, _) => FieldType::double_of(arg.fixed_scale()),
            (Avg, _) => FieldType::double_of(arg.fixed_scale().map(|scale| scale + u32::from(DIVISION_SCALE))),
        })
    }
}

/// True for an argument whose bytes BIT_AND, BIT_OR and BIT_XOR take as they are, rather than a number.
pub fn of_bytes(arg: &FieldType) -> bool {
    arg.is_binary_string() && !arg.is_hybrid()
}

/// Accumulates one aggregate of one group, row by row.
pub struct Accumulator {
    func: AggregateFunc,
    /// Of the argument.
    arg: FieldType,
    /// Of the result.
    ty: FieldType,
    separator: Vec<u8>,
    seen: Option<BTreeSet<Vec<u8>>>,
    state: State,
}

enum State {
    Count(i64),
    Decimal {
        sum: Decimal,
        count: i64,
    },
    Real {
        sum: f64,
        count: i64,
    },
    Extreme(Value),
    Bits(u64),
    /// `None`: no row yet.
    Bytes(Option<Vec<u8>>),
    /// Welford's: count, mean, sum of squared distances.
    Moments {
        count: f64,
        mean: f64,
        squares: f64,
    },
    Text(Option<Vec<u8>>),
}

impl Accumulator {
    /// An accumulator for `func` over an argument of type `arg` (any type for COUNT(*)); `separator` is GROUP_CONCAT's.
    pub fn new(
        func: AggregateFunc,
        distinct: bool,
        arg: &FieldType,
        result: &FieldType,
        separator: Option<&str>,
    ) -> Accumulator {
        use AggregateFunc::*;
        let exact = result.eval_type() == EvalType::Decimal;
        let state = match func {
            Count | CountDistinct => State::Count(0),
            Sum | Avg if exact => State::Decimal { sum: Decimal::ZERO, count: 0 },
            Sum | Avg => State::Real { sum: 0.0, count: 0 },
            Min | Max | AnyValue => State::Extreme(Value::Null),
            BitAnd | BitOr | BitXor if of_bytes(arg) => State::Bytes(None),
            BitAnd => State::Bits(u64::MAX),
            BitOr | BitXor => State::Bits(0),
            StddevPop | StddevSamp | VarPop | VarSamp => State::Moments { count: 0.0, mean: 0.0, squares: 0.0 },
            GroupConcat => State::Text(None),
        };
        let distinct = distinct && !matches!(func, Min | Max | AnyValue) || func == CountDistinct;
        Accumulator {
            func,
            arg: arg.clone(),
            ty: result.clone(),
            separator: separator.unwrap_or(",").as_bytes().to_vec(),
            seen: distinct.then(BTreeSet::new),
            state,
        }
    }

    /// Adds the value of one row; for COUNT(*) any value that is not NULL.
    ///
    /// # Errors
    /// 1690 when a sum leaves its type.
    pub fn add(&mut self, value: &Value, ctx: &EvalContext) -> Result<(), EvalError> {
        if value.is_null() {
            return Ok(());
        }
        if let Some(seen) = &mut self.seen {
            let key = match value.as_bytes() {
                Some(bytes) => self.arg.collation.weight(bytes).into_owned(),
                None => match value {
                    // Zero is one value, whatever its sign.
                    Value::Double(number) => to_text(&Value::Double(number + 0.0), &self.arg),
                    other => to_text(other, &self.arg),
                },
            };
            if !seen.insert(key) {
                return Ok(());
            }
        }
        match &mut self.state {
            State::Count(count) => *count += 1,
            State::Decimal { sum, count } => {
                let overflow =
                    || EvalError::ResultOutOfRange { kind: "DECIMAL", expression: format!("{}()", self.func.name()) };
                *sum = sum.add(&to_decimal(value, ctx)?).ok_or_else(overflow)?;
                *count += 1;
            }
            State::Real { sum, count } => {
                *sum += to_f64(value, ctx)?;
                *count += 1;
            }
            State::Extreme(best) => {
                let better = match self.func {
                    AggregateFunc::Min => compare(value, best, &self.arg).is_lt(),
                    AggregateFunc::Max => compare(value, best, &self.arg).is_gt(),
                    _ => false,
                };
                if best.is_null() || better {
                    *best = value.clone();
                }
            }
            State::Bits(bits) => {
                let value = to_bits(value, ctx)?;
                match self.func {
                    AggregateFunc::BitAnd => *bits &= value,
                    AggregateFunc::BitOr => *bits |= value,
                    _ => *bits ^= value,
                }
            }
            State::Bytes(bytes) => mix(bytes, value.as_bytes().unwrap_or_default(), self.func)?,
            State::Moments { count, mean, squares } => {
                let value = to_f64(value, ctx)?;
                *count += 1.0;
                let distance = value - *mean;
                *mean += distance / *count;
                *squares += distance * (value - *mean);
            }
            State::Text(text) => {
                let part = to_text(value, &self.arg);
                match text {
                    None => *text = Some(part),
                    Some(text) if text.len() < GROUP_CONCAT_BYTES_MAX => {
                        text.extend_from_slice(&self.separator);
                        text.extend_from_slice(&part);
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Whether [`Accumulator::remove`] takes a value out again without a trace: sums of DOUBLE lose digits, extremes and bits
    /// do not know what was below.
    pub fn can_remove(&self) -> bool {
        let exact = matches!(self.state, State::Count(_) | State::Decimal { .. });
        (exact || matches!(self.state, State::Bits(_)) && self.func == AggregateFunc::BitXor) && self.seen.is_none()
    }

    /// Takes out a value that was added before.
    ///
    /// # Errors
    /// As [`Accumulator::add`].
    pub fn remove(&mut self, value: &Value, ctx: &EvalContext) -> Result<(), EvalError> {
        if value.is_null() {
            return Ok(());
        }
        match &mut self.state {
            State::Count(count) => *count -= 1,
            State::Decimal { sum, count } => {
                let overflow =
                    || EvalError::ResultOutOfRange { kind: "DECIMAL", expression: format!("{}()", self.func.name()) };
                *sum = sum.subtract(&to_decimal(value, ctx)?).ok_or_else(overflow)?;
                *count -= 1;
            }
            State::Bits(bits) => *bits ^= to_bits(value, ctx)?,
            _ => return Err(EvalError::Internal(format!("{} forgets nothing", self.func.name()))),
        }
        Ok(())
    }

    /// The result for the rows so far.
    ///
    /// # Errors
    /// 1690 when it does not fit its type.
    pub fn finish(&self) -> Result<Value, EvalError> {
        let overflow =
            || EvalError::ResultOutOfRange { kind: "DECIMAL", expression: format!("{}()", self.func.name()) };
        Ok(match &self.state {
            State::Count(count) => Value::Int(*count),
            State::Decimal { count: 0, .. } | State::Real { count: 0, .. } => Value::Null,
            State::Decimal { sum, count } => {
                let result = if self.func == AggregateFunc::Avg {
                    sum.divide(&Decimal::from(*count), self.ty.decimals)
                } else {
                    sum.rescale(self.ty.decimals)
                };
                Value::Decimal(result.ok_or_else(overflow)?)
            }
            State::Real { sum, count } => {
                Value::Double(if self.func == AggregateFunc::Avg { sum / *count as f64 } else { *sum })
            }
            State::Extreme(best) => best.clone(),
            State::Bits(bits) => Value::UInt(*bits),
            State::Bytes(Some(bytes)) => Value::from(bytes.clone()),
            State::Bytes(None) => {
                let neutral = if self.func == AggregateFunc::BitAnd { 0xff } else { 0 };
                Value::from(vec![neutral; self.ty.length as usize])
            }
            State::Moments { count, squares, .. } => {
                let (sample, root) = match self.func {
                    AggregateFunc::StddevSamp => (true, true),
                    AggregateFunc::VarSamp => (true, false),
                    AggregateFunc::StddevPop => (false, true),
                    _ => (false, false),
                };
                let divisor = if sample { count - 1.0 } else { *count };
                if divisor <= 0.0 {
                    return Ok(Value::Null);
                }
                let variance = squares / divisor;
                Value::Double(if root { variance.sqrt() } else { variance })
            }
            State::Text(None) => Value::Null,
            State::Text(Some(text)) => {
                let end = text.len().min(GROUP_CONCAT_BYTES_MAX);
                if self.ty.is_binary_string() {
                    Value::from(text[..end].to_vec())
                } else {
                    let text = String::from_utf8_lossy(text);
                    Value::from(&text[..text.floor_char_boundary(end)])
                }
            }
        })
    }
}

/// One more string into the bits so far.
fn mix(bits: &mut Option<Vec<u8>>, value: &[u8], func: AggregateFunc) -> Result<(), EvalError> {
    let Some(bits) = bits else {
        *bits = Some(value.to_vec());
        return Ok(());
    };
    let with: fn(u8, u8) -> u8 = match func {
        AggregateFunc::BitAnd => |l, r| l & r,
        AggregateFunc::BitOr => |l, r| l | r,
        _ => |l, r| l ^ r,
    };
    combine(bits, value, with)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(func: AggregateFunc, distinct: bool, ty: &FieldType, values: &[Value]) -> String {
        let result = func.result_type(&[Expr::column(0, ty.clone())]).unwrap();
        let mut accumulator = Accumulator::new(func, distinct, ty, &result, None);
        for value in values {
            accumulator.add(value, &EvalContext::default()).unwrap();
        }
        let value = accumulator.finish().unwrap();
        if value.is_null() { "NULL".into() } else { String::from_utf8(to_text(&value, &result)).unwrap() }
    }

    #[test]
    fn aggregates_are_mysqls() {
        use AggregateFunc::*;
        let int = FieldType::bigint();
        let values = [Value::Int(1), Value::Null, Value::Int(2), Value::Int(2)];
        let cases = [
            (Count, false, "3"),
            (Count, true, "2"),
            (Sum, false, "5"),
            (Sum, true, "3"),
            (Avg, false, "1.6667"),
            (Min, false, "1"),
            (Max, false, "2"),
            (BitXor, false, "1"),
            (GroupConcat, false, "1,2,2"),
            (VarPop, false, "0.2222222222222222"),
        ];
        for (func, distinct, expected) in cases {
            assert_eq!(run(func, distinct, &int, &values), expected, "{func:?}");
        }
        assert_eq!(run(Sum, false, &int, &[Value::Null]), "NULL");
        assert_eq!(run(BitAnd, false, &int, &[]), "18446744073709551615");
        assert_eq!(run(Sum, false, &FieldType::double(), &[Value::Double(0.5), Value::Double(1.0)]), "1.5");
    }
}
