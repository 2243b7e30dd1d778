//! Window functions and their frames.
//!
//! Numbers in frames and arguments may be parameters: what is known is checked when the statement is bound, and everything
//! again when it runs ([`WindowFrame::resolve`], [`WindowFunc::count`]).

use super::SortKey;
use crate::error::{Error, Result};
use basalt_expr::aggregate::AggregateFunc;
use basalt_expr::expr::Expr;
use basalt_expr::func::{Interval, IntervalUnit, interval_value};
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use basalt_expr::{EvalContext, eval_scalar};

/// One window function call.
#[derive(Debug, Clone)]
pub struct WindowCall {
    /// The function.
    pub func: WindowFunc,
    /// Arguments over the input.
    pub args: Vec<Expr>,
    /// PARTITION BY.
    pub partition_by: Vec<Expr>,
    /// ORDER BY.
    pub order_by: Vec<SortKey>,
    /// Frame; `None` = MySQL's default.
    pub frame: Option<WindowFrame>,
    /// Result type.
    pub ty: FieldType,
}

/// A function over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowFunc {
    /// An aggregate over the frame.
    Aggregate(AggregateFunc),
    /// ROW_NUMBER()
    RowNumber,
    /// RANK()
    Rank,
    /// DENSE_RANK()
    DenseRank,
    /// PERCENT_RANK()
    PercentRank,
    /// CUME_DIST()
    CumeDist,
    /// NTILE(n)
    Ntile,
    /// LAG(x, n, default)
    Lag,
    /// LEAD(x, n, default)
    Lead,
    /// FIRST_VALUE(x)
    FirstValue,
    /// LAST_VALUE(x)
    LastValue,
    /// NTH_VALUE(x, n)
    NthValue,
}

impl WindowFunc {
    /// Its name in SQL, lower case.
    pub fn name(self) -> &'static str {
        match self {
            WindowFunc::Aggregate(func) => func.name(),
            WindowFunc::RowNumber => "row_number",
            WindowFunc::Rank => "rank",
            WindowFunc::DenseRank => "dense_rank",
            WindowFunc::PercentRank => "percent_rank",
            WindowFunc::CumeDist => "cume_dist",
            WindowFunc::Ntile => "ntile",
            WindowFunc::Lag => "lag",
            WindowFunc::Lead => "lead",
            WindowFunc::FirstValue => "first_value",
            WindowFunc::LastValue => "last_value",
            WindowFunc::NthValue => "nth_value",
        }
    }

    /// Which argument is a number that is the same for all rows.
    pub fn count_argument(self) -> Option<usize> {
        match self {
            WindowFunc::Ntile => Some(0),
            WindowFunc::Lag | WindowFunc::Lead | WindowFunc::NthValue => Some(1),
            _ => None,
        }
    }

    /// The number that such an argument is.
    ///
    /// # Errors
    /// 1210 when it is none, or too small.
    pub fn count(self, arg: &Expr, ctx: &EvalContext) -> Result<u64> {
        let least = if matches!(self, WindowFunc::Lag | WindowFunc::Lead) { 0 } else { 1 };
        let wrong = || Error::wrong_arguments(self.name());
        if !arg.columns().is_empty() {
            return Err(wrong());
        }
        let value = eval_scalar(arg, ctx)?;
        if matches!(arg, Expr::Parameter { .. }) && value.as_i128().is_none() && !value.is_null() {
            return Err(Error::wrong_arguments("EXECUTE"));
        }
        let largest = i64::MAX as u64;
        value.as_u64().filter(|n| (least..=largest).contains(n)).ok_or_else(wrong)
    }
}

/// A window frame.
#[derive(Debug, Clone)]
pub struct WindowFrame {
    /// The window's name, for errors.
    pub window: String,
    /// RANGE rather than ROWS.
    pub range: bool,
    /// Where it starts.
    pub start: FrameBound,
    /// Where it ends.
    pub end: FrameBound,
}

/// A bound of a window frame.
#[derive(Debug, Clone)]
pub enum FrameBound {
    /// UNBOUNDED PRECEDING
    UnboundedPreceding,
    /// n PRECEDING
    Preceding(FrameOffset),
    /// CURRENT ROW
    CurrentRow,
    /// n FOLLOWING
    Following(FrameOffset),
    /// UNBOUNDED FOLLOWING
    UnboundedFollowing,
}

impl FrameBound {
    /// The distance from the current row, if the bound has one.
    pub fn offset(&self) -> Option<&FrameOffset> {
        match self {
            FrameBound::Preceding(offset) | FrameBound::Following(offset) => Some(offset),
            _ => None,
        }
    }
}

/// How far from the current row a frame begins or ends.
#[derive(Debug, Clone)]
pub struct FrameOffset {
    /// Constant.
    pub value: Expr,
    /// Of an interval.
    pub unit: Option<IntervalUnit>,
}

/// A frame whose parameters are known.
#[derive(Debug, Clone)]
pub struct Frame {
    /// RANGE rather than ROWS.
    pub range: bool,
    /// Where it starts.
    pub start: Bound,
    /// Where it ends.
    pub end: Bound,
}

/// A bound of a [`Frame`].
#[derive(Debug, Clone)]
pub enum Bound {
    /// The partition's end: its first row as a start, its last as an end.
    Unbounded,
    /// The current row; its peers with RANGE.
    Current,
    /// Before it.
    Preceding(Offset),
    /// Behind it.
    Following(Offset),
}

/// A distance.
#[derive(Debug, Clone)]
pub enum Offset {
    /// Of rows.
    Rows(u64),
    /// Of numbers.
    Number(Value),
    /// Of moments.
    Interval(Interval),
}

impl WindowFrame {
    /// The frame with the values of its parameters.
    ///
    /// # Errors
    /// 3586 for a bound that is negative, NULL or not a number; 1210 for a parameter of another type.
    pub fn resolve(&self, ctx: &EvalContext) -> Result<Frame> {
        let bound = |bound: &FrameBound| {
            Ok::<_, Error>(match bound {
                FrameBound::UnboundedPreceding | FrameBound::UnboundedFollowing => Bound::Unbounded,
                FrameBound::CurrentRow => Bound::Current,
                FrameBound::Preceding(offset) => Bound::Preceding(self.offset(offset, ctx)?),
                FrameBound::Following(offset) => Bound::Following(self.offset(offset, ctx)?),
            })
        };
        Ok(Frame { range: self.range, start: bound(&self.start)?, end: bound(&self.end)? })
    }

    /// Checks the bounds that are no parameters.
    ///
    /// # Errors
    /// As [`WindowFrame::resolve`].
    pub fn check(&self, ctx: &EvalContext) -> Result<()> {
        for offset in [self.start.offset(), self.end.offset()].into_iter().flatten() {
            let mut has_parameters = false;
            offset.value.visit(&mut |e| has_parameters |= matches!(e, Expr::Parameter { .. }));
            if !has_parameters {
                self.offset(offset, ctx)?;
            }
        }
        Ok(())
    }

    fn offset(&self, offset: &FrameOffset, ctx: &EvalContext) -> Result<Offset> {
        let bad = || Error::bad_frame(&self.window);
        let value = eval_scalar(&offset.value, ctx)?;
        if let Some(unit) = offset.unit {
            let interval = interval_value(&value, offset.value.ty(), unit, ctx)?.ok_or_else(bad)?;
            return if interval.months < 0 || interval.micros < 0 {
                Err(bad())
            } else {
                Ok(Offset::Interval(interval))
            };
        }
        let fits = match &value {
            Value::Null => return Err(bad()),
            Value::Int(n) => *n >= 0,
            Value::UInt(_) => true,
            Value::Decimal(n) if self.range => !n.is_negative(),
            Value::Double(n) if self.range => *n >= 0.0,
            _ if matches!(offset.value, Expr::Parameter { .. }) => return Err(Error::wrong_arguments("EXECUTE")),
            _ => false,
        };
        match (fits, self.range, value.as_u64()) {
            (true, true, _) => Ok(Offset::Number(value)),
            (true, false, Some(rows)) => Ok(Offset::Rows(rows)),
            _ => Err(bad()),
        }
    }
}
