//! Which rows a window's frame holds, for each row of a sorted partition.
//!
//! ROWS counts rows; RANGE with CURRENT ROW takes all peers; RANGE with a distance searches the ORDER BY's values, which are
//! sorted: rows whose value is NULL are peers of each other and within no distance of anything.

use crate::error::{Error, Result};
use crate::plan::{Bound, Frame, Offset};
use arrow::array::ArrayRef;
use basalt_expr::cast::{to_decimal, to_f64_quiet};
use basalt_expr::convert::ColumnReader;
use basalt_expr::func::Interval;
use basalt_expr::temporal::DateTime;
use basalt_expr::types::{EvalType, FieldType};
use basalt_expr::value::Value;
use basalt_expr::{Decimal, EvalContext};
use std::cmp::Ordering;
use std::ops::Range;

/// The frames of one partition.
pub struct Frames<'a> {
    frame: &'a Frame,
    rows: usize,
    /// Groups of peers, in order.
    peers: &'a [Range<usize>],
    order: Option<Order>,
    /// The group that the current row is in.
    group: usize,
}

/// What RANGE with a distance searches.
struct Order {
    keys: Vec<Option<Key>>,
    /// The rows whose value is not NULL.
    valid: Range<usize>,
    descending: bool,
}

/// A value of ORDER BY.
#[derive(Debug, Clone, Copy)]
enum Key {
    Exact(Decimal),
    Real(f64),
    Moment(DateTime),
    Duration(i64),
}

impl Key {
    fn compare(&self, other: &Key) -> Ordering {
        match (self, other) {
            (Key::Exact(a), Key::Exact(b)) => a.cmp(b),
            (Key::Real(a), Key::Real(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Key::Moment(a), Key::Moment(b)) => a.cmp(b),
            (Key::Duration(a), Key::Duration(b)) => a.cmp(b),
            _ => Ordering::Equal,
        }
    }

    /// Farther by an offset; `None` beyond the type's end.
    fn moved(&self, offset: &Offset, up: bool) -> Option<Key> {
        match (self, offset) {
            (Key::Exact(key), Offset::Number(by)) => {
                let by = to_decimal(by, &EvalContext::default()).ok()?;
                Some(Key::Exact(if up { key.add(&by)? } else { key.subtract(&by)? }))
            }
            (Key::Real(key), Offset::Number(by)) => {
                let by = to_f64_quiet(by);
                Some(Key::Real(if up { key + by } else { key - by }))
            }
            (Key::Moment(key), Offset::Interval(by)) => signed(*by, up).add_to(*key).map(Key::Moment),
            (Key::Duration(key), Offset::Interval(by)) => key.checked_add(signed(*by, up).micros).map(Key::Duration),
            _ => None,
        }
    }
}

fn signed(interval: Interval, up: bool) -> Interval {
    if up { interval } else { interval.negate() }
}

impl<'a> Frames<'a> {
    /// For a partition of `rows` rows; `order` is the ORDER BY's column, its type and whether it descends.
    ///
    /// # Errors
    /// When the column cannot be read.
    pub fn new(
        frame: &'a Frame,
        rows: usize,
        peers: &'a [Range<usize>],
        order: Option<(&ArrayRef, &FieldType, bool)>,
    ) -> Result<Self> {
        let order = match order {
            Some((column, ty, descending)) if frame.range && has_offset(frame) => {
                Some(Order::new(column, ty, descending, frame)?)
            }
            _ => None,
        };
        Ok(Frames { frame, rows, peers, order, group: 0 })
    }

    /// The frame of a row; rows come in order.
    pub fn next(&mut self, row: usize) -> Range<usize> {
        while self.peers.get(self.group).is_some_and(|group| group.end <= row) {
            self.group += 1;
        }
        let peers = self.peers.get(self.group).cloned().unwrap_or(row..row + 1);
        let start = self.edge(&self.frame.start, row, &peers, true).min(self.rows);
        let end = self.edge(&self.frame.end, row, &peers, false).min(self.rows);
        start..end.max(start)
    }

    fn edge(&self, bound: &Bound, row: usize, peers: &Range<usize>, is_start: bool) -> usize {
        let by_peers = if is_start { peers.start } else { peers.end };
        let (offset, forward) = match bound {
            Bound::Unbounded => return if is_start { 0 } else { self.rows },
            Bound::Current if self.frame.range => return by_peers,
            Bound::Current => return if is_start { row } else { row + 1 },
            Bound::Preceding(offset) => (offset, false),
            Bound::Following(offset) => (offset, true),
        };
        if let Offset::Rows(count) = offset {
            let count = usize::try_from(*count).unwrap_or(usize::MAX);
            // The end is the row behind the last one.
            let at = row + usize::from(!is_start);
            return if forward { at.saturating_add(count) } else { at.saturating_sub(count) };
        }
        match &self.order {
            Some(order) => order.edge(offset, row, forward, is_start).unwrap_or(by_peers),
            None => by_peers,
        }
    }
}

fn has_offset(frame: &Frame) -> bool {
    [&frame.start, &frame.end].into_iter().any(|b| matches!(b, Bound::Preceding(_) | Bound::Following(_)))
}

impl Order {
    fn new(column: &ArrayRef, ty: &FieldType, descending: bool, frame: &Frame) -> Result<Order> {
        let is_real = ty.eval_type() == EvalType::Real
            || [&frame.start, &frame.end].into_iter().any(|bound| {
                matches!(
                    bound,
                    Bound::Preceding(Offset::Number(Value::Double(_)))
                        | Bound::Following(Offset::Number(Value::Double(_)))
                )
            });
        let reader = ColumnReader::new(column.as_ref(), ty)?;
        let mut keys = Vec::with_capacity(column.len());
        for row in 0..column.len() {
            keys.push(match reader.value(row) {
                Value::Null => None,
                Value::DateTime(moment) => Some(Key::Moment(moment)),
                Value::Time(micros) => Some(Key::Duration(micros)),
                number if is_real => Some(Key::Real(to_f64_quiet(&number))),
                number => Some(Key::Exact(to_decimal(&number, &EvalContext::default()).map_err(Error::from)?)),
            });
        }
        let start = keys.iter().position(Option::is_some).unwrap_or(keys.len());
        let end = keys.iter().rposition(Option::is_some).map_or(start, |last| last + 1);
        Ok(Order { keys, valid: start..end, descending })
    }

    /// Where a frame begins or ends; `None` for a row without a value.
    fn edge(&self, offset: &Offset, row: usize, forward: bool, is_start: bool) -> Option<usize> {
        let key = self.keys.get(row)?.as_ref()?;
        let Some(target) = key.moved(offset, forward != self.descending) else {
            return Some(if forward { self.valid.end } else { self.valid.start });
        };
        let is_before = |other: &Option<Key>| {
            let Some(other) = other else { return false };
            let order = if self.descending { target.compare(other) } else { other.compare(&target) };
            if is_start { order.is_lt() } else { order.is_le() }
        };
        Some(self.valid.start + self.keys[self.valid.clone()].partition_point(is_before))
    }
}
