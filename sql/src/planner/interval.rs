//! Sets of values of one key column, as ranges of their encoded bytes.
//!
//! The key codec keeps order and no encoding is a prefix of another, so a set of values is a set of byte ranges, and the key
//! ranges of several columns are made by concatenation:
//!
//! ```text
//! a IN (1, 2) AND b > 5
//!   a: {enc(1)} {enc(2)}      points
//!   b: [enc(5)+1, ∞)          where x+1 is the first string after all that start with x
//!   keys: enc(1) ++ [enc(5)+1, ∞of the column)   →   [enc(1)·enc(5)+1, enc(1)+1)
//!         enc(2) ++ …
//! ```
//! Equality is a *point*: only behind points may the next column narrow further. Invariant: the intervals of a set are not
//! empty, in order, and do not touch each other unless a point is among them.

use basalt_common::KeyRange;
use basalt_common::table_key::prefix_end;

/// `[start, end)` in encoded values; an empty `end` is infinity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// First encoding.
    pub start: Vec<u8>,
    /// First encoding after the interval; empty = no end.
    pub end: Vec<u8>,
    /// Exactly one value, whose encoding is `start`.
    pub is_point: bool,
}

impl Interval {
    /// One value.
    pub fn point(encoded: Vec<u8>) -> Interval {
        let end = prefix_end(&encoded);
        Interval { start: encoded, end, is_point: true }
    }

    /// Values from `start` on, before `end`.
    pub fn range(start: Vec<u8>, end: Vec<u8>) -> Interval {
        Interval { start, end, is_point: false }
    }

    fn is_empty(&self) -> bool {
        !self.end.is_empty() && self.start >= self.end
    }

    fn intersect(&self, other: &Interval) -> Interval {
        let start = self.start.clone().max(other.start.clone());
        Interval { start, end: min_end(&self.end, &other.end).to_vec(), is_point: self.is_point || other.is_point }
    }

    /// How many integers lie between the bounds, when both end in eight bytes of an integer.
    pub fn integer_width(&self) -> Option<u64> {
        integer_width(&self.start, &self.end)
    }
}

/// As [`Interval::integer_width`], for whole keys: they must be equal up to their last eight bytes.
pub fn integer_width(start: &[u8], end: &[u8]) -> Option<u64> {
    if start.len() != end.len() {
        return None;
    }
    let (start_head, start_tail) = start.split_last_chunk::<8>()?;
    let (end_head, end_tail) = end.split_last_chunk::<8>()?;
    (start_head == end_head).then(|| u64::from_be_bytes(*end_tail).saturating_sub(u64::from_be_bytes(*start_tail)))
}

fn min_end<'a>(a: &'a [u8], b: &'a [u8]) -> &'a [u8] {
    match (a.is_empty(), b.is_empty()) {
        (true, _) => b,
        (_, true) => a,
        _ => a.min(b),
    }
}

fn end_reaches(end: &[u8], start: &[u8]) -> bool {
    end.is_empty() || end >= start
}

/// Some values of a column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IntervalSet {
    intervals: Vec<Interval>,
}

impl IntervalSet {
    /// No value.
    pub fn none() -> IntervalSet {
        IntervalSet::default()
    }

    /// Every value, NULL included.
    pub fn all() -> IntervalSet {
        IntervalSet { intervals: vec![Interval::range(Vec::new(), Vec::new())] }
    }

    /// The union of any intervals.
    pub fn new(mut intervals: Vec<Interval>) -> IntervalSet {
        intervals.retain(|i| !i.is_empty());
        intervals.sort_by(|a, b| a.start.cmp(&b.start).then(a.is_point.cmp(&b.is_point)));
        let mut out: Vec<Interval> = Vec::with_capacity(intervals.len());
        for next in intervals {
            let Some(last) = out.last_mut() else {
                out.push(next);
                continue;
            };
            let is_inside = last.end.is_empty() || (!next.end.is_empty() && next.end <= last.end);
            if is_inside {
                continue;
            }
            let both_ranges = !last.is_point && !next.is_point;
            if (both_ranges && end_reaches(&last.end, &next.start)) || last.end > next.start {
                last.end = next.end;
                last.is_point = false;
            } else {
                out.push(next);
            }
        }
        IntervalSet { intervals: out }
    }

    /// The intervals, in order.
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// The same, taken.
    pub fn into_intervals(self) -> Vec<Interval> {
        self.intervals
    }

    /// A set of at most `intervals_max` intervals that holds this one: neighbours are joined, with what lies between.
    pub fn coarser(self, intervals_max: usize) -> IntervalSet {
        let a_piece = self.intervals.len().div_ceil(intervals_max.max(1));
        if a_piece <= 1 {
            return self;
        }
        let join = |piece: &[Interval]| match piece {
            [only] => only.clone(),
            piece => Interval::range(piece[0].start.clone(), piece[piece.len() - 1].end.clone()),
        };
        IntervalSet { intervals: self.intervals.chunks(a_piece).map(join).collect() }
    }

    /// True when no value is in the set.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// True when every value is in the set.
    pub fn is_all(&self) -> bool {
        matches!(self.intervals.as_slice(), [only] if only.start.is_empty() && only.end.is_empty())
    }

    /// True when the set is a list of single values.
    pub fn is_points(&self) -> bool {
        self.intervals.iter().all(|i| i.is_point)
    }

    /// Values in both.
    pub fn intersect(&self, other: &IntervalSet) -> IntervalSet {
        let (mut i, mut j) = (0, 0);
        let mut out = Vec::new();
        while let (Some(a), Some(b)) = (self.intervals.get(i), other.intervals.get(j)) {
            let both = a.intersect(b);
            if !both.is_empty() {
                out.push(both);
            }
            let a_first = !a.end.is_empty() && (b.end.is_empty() || a.end <= b.end);
            if a_first { i += 1 } else { j += 1 }
        }
        IntervalSet { intervals: out }
    }

    /// Values in either.
    pub fn union(mut self, other: IntervalSet) -> IntervalSet {
        self.intervals.extend(other.intervals);
        IntervalSet::new(self.intervals)
    }
}

/// Key ranges of a composite key, under construction: what the columns so far allow.
#[derive(Debug, Clone)]
pub struct KeyRanges {
    /// In key order; all points until a range was appended.
    pub ranges: Vec<Interval>,
    /// Columns that are fixed to points.
    pub point_columns: usize,
    /// Whether a column behind the points has a range of its own.
    pub has_range: bool,
}

impl KeyRanges {
    /// The whole key space under `prefix`.
    pub fn under(prefix: Vec<u8>) -> KeyRanges {
        KeyRanges { ranges: vec![Interval::point(prefix)], point_columns: 0, has_range: false }
    }

    /// Narrows by the next column. Returns false when nothing more can be narrowed behind it. Sets that would make more
    /// than `ranges_max` ranges are left out, which reads more but never less.
    pub fn push(&mut self, set: &IntervalSet, ranges_max: usize) -> bool {
        if set.is_all() || self.has_range || self.ranges.len().saturating_mul(set.intervals().len()) > ranges_max {
            return false;
        }
        let mut out = Vec::with_capacity(self.ranges.len() * set.intervals().len());
        for prefix in &self.ranges {
            for interval in set.intervals() {
                let start = [prefix.start.as_slice(), &interval.start].concat();
                let end = match interval.end.is_empty() {
                    true => prefix.end.clone(),
                    false => [prefix.start.as_slice(), &interval.end].concat(),
                };
                out.push(Interval { start, end, is_point: interval.is_point });
            }
        }
        self.ranges = out;
        self.has_range = !set.is_points();
        self.point_columns += usize::from(!self.has_range);
        !self.has_range
    }

    /// The ranges as keys.
    pub fn into_key_ranges(self) -> Vec<KeyRange> {
        self.ranges.into_iter().map(|i| KeyRange::new(i.start, i.end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: u8, end: u8) -> Interval {
        Interval::range(vec![start], if end == 0 { vec![] } else { vec![end] })
    }

    #[test]
    fn unions_merge_and_points_stay_apart() {
        let set =
            IntervalSet::new(vec![range(5, 9), range(1, 5), Interval::point(vec![12]), Interval::point(vec![13])]);
        assert_eq!(set.intervals(), [range(1, 9), Interval::point(vec![12]), Interval::point(vec![13])]);
        let cut = set.intersect(&IntervalSet::new(vec![range(7, 13)]));
        assert_eq!(cut.intervals(), [range(7, 9), Interval::point(vec![12])]);
        assert!(IntervalSet::new(vec![range(3, 3)]).is_empty());
    }

    #[test]
    fn columns_narrow_until_the_first_range() {
        let mut keys = KeyRanges::under(vec![100]);
        let points = IntervalSet::new(vec![Interval::point(vec![1]), Interval::point(vec![2])]);
        assert!(keys.push(&points, 10));
        assert!(!keys.push(&IntervalSet::new(vec![range(7, 0)]), 10));
        assert_eq!(
            keys.ranges,
            [Interval::range(vec![100, 1, 7], vec![100, 2]), Interval::range(vec![100, 2, 7], vec![100, 3])]
        );
        assert_eq!((keys.point_columns, keys.has_range), (1, true));
    }

    fn any_set() -> impl Strategy<Value = IntervalSet> {
        proptest::collection::vec((0u8..20, 0u8..20, any::<bool>()), 0..6).prop_map(|parts| {
            let interval = |(a, b, point)| if point { Interval::point(vec![a]) } else { range(a, b) };
            IntervalSet::new(parts.into_iter().map(interval).collect())
        })
    }

    fn holds(set: &IntervalSet, value: u8) -> bool {
        set.intervals().iter().any(|i| i.start <= vec![value] && (i.end.is_empty() || vec![value] < i.end))
    }

    proptest! {
        #[test]
        fn sets_behave_as_sets(a in any_set(), b in any_set(), value in 0u8..25) {
            prop_assert_eq!(holds(&a.intersect(&b), value), holds(&a, value) && holds(&b, value));
            prop_assert_eq!(holds(&a.clone().union(b.clone()), value), holds(&a, value) || holds(&b, value));
            let coarse = a.clone().union(b.clone()).coarser(2);
            prop_assert!(coarse.intervals().len() <= 2);
            prop_assert!(holds(&coarse, value) || !(holds(&a, value) || holds(&b, value)));
            for set in [a.intersect(&b), a.union(b), coarse] {
                prop_assert!(set.intervals().windows(2).all(|w| !w[0].end.is_empty() && w[0].end <= w[1].start));
            }
        }
    }
}
