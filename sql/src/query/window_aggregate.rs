//! Aggregates over the frames of a partition.
//!
//! Frames move forward only. So rows are added as the frame's end passes them, and taken out as its start does where that
//! leaves no trace; MIN and MAX keep the rows that may still become the extreme; the others are calculated anew for a frame
//! whose start has moved, as MySQL does, which for sums of DOUBLE is the only way to the same digits.

use crate::error::Result;
use arrow::array::ArrayRef;
use basalt_expr::EvalContext;
use basalt_expr::aggregate::{Accumulator, AggregateFunc};
use basalt_expr::convert::ColumnReader;
use basalt_expr::func::compare;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use std::collections::VecDeque;
use std::ops::Range;

/// One aggregate over one partition.
pub struct WindowAggregate<'a> {
    func: AggregateFunc,
    /// The argument's values; `None` for COUNT(*).
    values: Option<ColumnReader<'a>>,
    arg: &'a FieldType,
    ty: &'a FieldType,
    ctx: &'a EvalContext,
    accumulator: Accumulator,
    /// Rows that are or may become the extreme, best first.
    candidates: VecDeque<(usize, Value)>,
    frame: Range<usize>,
    result: Option<Value>,
}

impl<'a> WindowAggregate<'a> {
    /// Of a column of type `arg`; without one, COUNT(*).
    ///
    /// # Errors
    /// When the column cannot be read.
    pub fn new(
        func: AggregateFunc,
        column: Option<&'a ArrayRef>,
        arg: &'a FieldType,
        ty: &'a FieldType,
        ctx: &'a EvalContext,
    ) -> Result<Self> {
        let values = column.map(|column| ColumnReader::new(column.as_ref(), arg)).transpose()?;
        let accumulator = Accumulator::new(func, false, arg, ty, None);
        let candidates = VecDeque::new();
        Ok(WindowAggregate { func, values, arg, ty, ctx, accumulator, candidates, frame: 0..0, result: None })
    }

    /// The result over the next row's frame.
    ///
    /// # Errors
    /// 1690 when a sum leaves its type.
    pub fn over(&mut self, frame: Range<usize>) -> Result<Value> {
        if let Some(result) = &self.result
            && frame == self.frame
        {
            return Ok(result.clone());
        }
        let result = match self.func {
            AggregateFunc::Min | AggregateFunc::Max => self.extreme(&frame),
            _ => self.accumulated(&frame)?,
        };
        self.frame = frame;
        self.result = Some(result.clone());
        Ok(result)
    }

    fn value(&self, row: usize) -> Value {
        self.values.as_ref().map_or(Value::Int(1), |values| values.value(row))
    }

    fn accumulated(&mut self, frame: &Range<usize>) -> Result<Value> {
        let grows = self.frame.start <= frame.start && self.frame.end <= frame.end && frame.start < self.frame.end;
        let keeps = grows && (frame.start == self.frame.start || self.accumulator.can_remove());
        if keeps {
            for row in self.frame.start..frame.start {
                self.accumulator.remove(&self.value(row), self.ctx)?;
            }
        } else {
            self.accumulator = Accumulator::new(self.func, false, self.arg, self.ty, None);
        }
        let from = if keeps { self.frame.end } else { frame.start };
        for row in from..frame.end {
            self.accumulator.add(&self.value(row), self.ctx)?;
        }
        Ok(self.accumulator.finish()?)
    }

    fn extreme(&mut self, frame: &Range<usize>) -> Value {
        let from = self.frame.end.max(frame.start);
        while self.candidates.front().is_some_and(|(row, _)| *row < frame.start) {
            self.candidates.pop_front();
        }
        for row in from..frame.end {
            let value = self.value(row);
            if value.is_null() {
                continue;
            }
            // Of equal values the first one stays, as with an aggregate.
            let beaten = |other: &Value| match self.func {
                AggregateFunc::Min => compare(&value, other, self.arg).is_lt(),
                _ => compare(&value, other, self.arg).is_gt(),
            };
            while self.candidates.back().is_some_and(|(_, other)| beaten(other)) {
                self.candidates.pop_back();
            }
            self.candidates.push_back((row, value));
        }
        self.candidates.front().map_or(Value::Null, |(_, value)| value.clone())
    }
}
