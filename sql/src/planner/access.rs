//! Which key a table is read by, and which of its ranges.
//!
//! ```text
//! WHERE a = ? AND b > 5 AND c = 1          KEY (a, b)
//!         │         │        └──────────── residual filter
//!         └────┬────┘
//!   AccessPath { Index, tests: a: [= ?], b: [> 5] }     planning: symbolic, parameters unknown
//!         │ resolve(parameters)
//!   ranges [ t7_i2·enc(?)·enc(5)+1 , t7_i2·enc(?)+1 )   execution: bytes
//! ```
//! Every conjunct that a key can answer (see [`super::condition`]) is tried with every usable key; the path with the lowest
//! cost wins. Without statistics the cost is a guess from the form of the tests: single rows before few, bounded before
//! open ranges, covering indexes before those that need a second read, the table itself last.
//!
//! Invariants: the ranges of a path hold every row for which the predicate is true; a conjunct is left out of the
//! residual filter only when its condition is exact and the path uses all of it whatever values parameters take: all
//! columns before its own are fixed by conditions that are certain ([`Condition::is_certain`]). A column whose constant
//! turns out to have no place in the key's order ends the ranges there, and the filter does the rest.

use crate::catalog::model::{Handle, Index, SchemaState, Table};
use crate::error::{Error, Result};
use crate::plan::IndexHint;
use crate::planner::bounds::KeyColumn;
use crate::planner::condition::{self, Condition, Test};
use crate::planner::interval::{KeyRanges, integer_width};
use basalt_common::{KeyRange, UserKey, table_key};
use basalt_expr::EvalContext;
use basalt_expr::expr::Expr;
use basalt_expr::key::IndexPart;

/// Most ranges one path makes; tests that would make more are left to the filter.
pub const RANGES_MAX: usize = 16_384;

/// A key and what is asked of its columns.
#[derive(Debug, Clone)]
pub struct AccessPath {
    /// The key.
    pub key: AccessKey,
    /// One a key column, from the first on, as many as have tests; all tests of one column must hold.
    pub columns: Vec<KeyTests>,
    /// Whether the key holds all the columns that are read, so that rows need not be looked up.
    pub is_covering: bool,
}

/// Which key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessKey {
    /// The rows themselves, by their handle.
    Table,
    /// An index, by its position in the table's indexes.
    Index(usize),
}

/// What is asked of one key column.
#[derive(Debug, Clone)]
pub struct KeyTests {
    /// The column as it stands in the key.
    pub column: KeyColumn,
    /// Its offset in the table.
    pub offset: usize,
    /// All must hold.
    pub tests: Vec<Test>,
    /// Whether the column is fixed to single values, as its tests say, whatever values parameters take.
    pub is_certain: bool,
}

/// Where to read, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// Row keys: each at most one row.
    Rows(Vec<UserKey>),
    /// Keys of entries of a unique index: each at most one row.
    Entries(Vec<UserKey>),
    /// Ranges of row keys or of an index's entries, in order.
    Ranges {
        /// The ranges.
        ranges: Vec<KeyRange>,
        /// How many rows they can hold at most, where the keys tell.
        rows_max: Option<u64>,
    },
}

/// What a choice is made from.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// The table.
    pub table: &'a Table,
    /// Offsets in the table of the predicate's columns.
    pub columns: &'a [usize],
    /// Offsets in the table of the columns that must be read.
    pub needed: &'a [usize],
    /// USE, FORCE, IGNORE INDEX.
    pub hints: &'a [IndexHint],
    /// Order in which the first rows are wanted, when the query ends with them: offsets in the table, descending or not.
    pub order: &'a [(usize, bool)],
}

/// Chooses the path for a predicate's conjuncts, and what is left to be filtered.
pub fn choose(choice: Choice<'_>, conjuncts: Vec<Expr>) -> (AccessPath, Vec<Expr>) {
    let conditions: Vec<Option<Condition>> = conjuncts.iter().map(condition::of_conjunct).collect();
    let mut best: Option<(u64, Candidate)> = None;
    for key in usable_keys(&choice) {
        let candidate = Candidate::new(&choice, key, &conditions);
        let mut cost = candidate.cost(choice.table);
        if !choice.order.is_empty() && candidate.path.gives_order(choice.table, choice.order).is_some() {
            // Only the first rows will be read.
            cost /= ORDER_BONUS;
        }
        if best.as_ref().is_none_or(|(lowest, _)| cost < *lowest) {
            best = Some((cost, candidate));
        }
    }
    let (_, chosen) = best.expect("the table itself is always usable");
    let residual = conjuncts
        .into_iter()
        .enumerate()
        .filter(|(at, _)| !(chosen.used.contains(at) && conditions[*at].as_ref().is_some_and(|c| c.is_exact)))
        .map(|(_, conjunct)| conjunct)
        .collect();
    (chosen.path, residual)
}

/// The table, and the public indexes that the hints leave.
fn usable_keys(choice: &Choice<'_>) -> Vec<AccessKey> {
    let named = |hint: &IndexHint, index: &Index| hint.indexes.iter().any(|i| i.id == index.id);
    let is_primary_forced = choice.hints.iter().any(|h| !h.ignore && h.indexes.iter().any(|i| i.primary));
    let wanted: Vec<_> = choice.hints.iter().filter(|h| !h.ignore).collect();
    let mut out = Vec::with_capacity(choice.table.indexes.len() + 1);
    for (at, index) in choice.table.indexes.iter().enumerate() {
        let has_entries = !(index.primary && choice.table.handle != Handle::Hidden);
        let is_ignored = choice.hints.iter().any(|h| h.ignore && named(h, index));
        let is_wanted = wanted.is_empty() || wanted.iter().any(|h| named(h, index));
        if has_entries && index.state == SchemaState::Public && !is_ignored && is_wanted {
            out.push(AccessKey::Index(at));
        }
    }
    if wanted.is_empty() || is_primary_forced || out.is_empty() {
        out.insert(0, AccessKey::Table);
    }
    out
}

/// How much cheaper a path is that gives the wanted order, when a LIMIT ends it.
const ORDER_BONUS: u64 = 1_000;

struct Candidate {
    path: AccessPath,
    /// Positions of the conjuncts that the path's tests come from.
    used: Vec<usize>,
}

/// Rows that a table is thought to have.
const ROWS_GUESS: u64 = 10_000_000;

impl Candidate {
    fn new(choice: &Choice<'_>, key: AccessKey, conditions: &[Option<Condition>]) -> Candidate {
        let mut columns = Vec::new();
        let mut used = Vec::new();
        let mut ranges = 1usize;
        let mut is_reached = true;
        for (offset, column) in key_columns(choice.table, key) {
            let is_prefix = column.part.prefix_length != 0;
            let (mut tests, mut tested, mut is_certain) = (Vec::new(), Vec::new(), false);
            for (at, condition) in conditions.iter().enumerate() {
                let Some(condition) = condition else { continue };
                if choice.columns.get(condition.column) == Some(&offset) {
                    let test = condition.test.clone().within(RANGES_MAX);
                    let is_whole = !matches!(test, Test::Near(_));
                    is_certain |= condition.is_certain && test.is_points();
                    tests.push(test);
                    if !is_prefix && is_reached && is_whole {
                        tested.push(at);
                    }
                }
            }
            if tests.is_empty() {
                break;
            }
            // Tests that make too many ranges are not used, and stay in the filter.
            ranges = ranges.saturating_mul(tests.iter().map(Test::intervals_max).sum());
            if ranges > RANGES_MAX {
                break;
            }
            used.extend(tested);
            let goes_on = tests.iter().any(Test::is_points);
            columns.push(KeyTests { column, offset, tests, is_certain });
            is_reached &= is_certain;
            if !goes_on {
                break;
            }
        }
        let is_covering = key == AccessKey::Table || covers(choice, key);
        Candidate { path: AccessPath { key, columns, is_covering }, used }
    }

    fn cost(&self, table: &Table) -> u64 {
        let points = self.path.point_columns();
        let mut rows = match self.path.is_unique_points(table) {
            true => points_max(&self.path.columns) as u64,
            false => {
                let lists = points_max(&self.path.columns[..points]) as u64;
                // Each fixed column is thought to leave one row in 2,000 and 20 more.
                let fixed = (0..points).fold(ROWS_GUESS, |rows, at| rows / if at == 0 { 2_000 } else { 20 });
                fixed.saturating_mul(lists).min(ROWS_GUESS)
            }
        };
        if let Some(range) = self.path.columns.get(points) {
            let is_bounded = range.tests.iter().any(Test::is_bounded) || Test::All(range.tests.clone()).is_bounded();
            rows /= if is_bounded { 40 } else { 3 };
        }
        let per_row = match (self.path.key, self.path.is_covering) {
            (AccessKey::Table, _) => 10,
            (AccessKey::Index(_), true) => 6,
            (AccessKey::Index(_), false) => 60,
        };
        rows.max(1).saturating_mul(per_row)
    }
}

fn points_max(columns: &[KeyTests]) -> usize {
    let of = |tests: &KeyTests| tests.tests.iter().filter(|t| t.is_points()).map(Test::points_max).min().unwrap_or(1);
    columns.iter().map(of).fold(1, usize::saturating_mul)
}

/// A key's columns: offset in the table, and how it stands in the key.
pub fn key_columns(table: &Table, key: AccessKey) -> Vec<(usize, KeyColumn)> {
    let whole = |offset: usize, is_integer_handle: bool| {
        let part = IndexPart::whole(table.columns[offset].ty.clone());
        (offset, KeyColumn { part, is_integer_handle })
    };
    match key {
        AccessKey::Table => match &table.handle {
            Handle::Integer(offset) => vec![whole(*offset, true)],
            Handle::Common(offsets) => offsets.iter().map(|&offset| whole(offset, false)).collect(),
            Handle::Hidden => Vec::new(),
        },
        AccessKey::Index(at) => {
            let part = |c: &crate::catalog::model::IndexColumn| {
                let mut column = whole(c.column, false);
                column.1.part.prefix_length = c.prefix_length.unwrap_or(0);
                column
            };
            table.indexes[at].columns.iter().map(part).collect()
        }
    }
}

/// True when the entries of the index hold every needed column: its whole columns and the handle's.
fn covers(choice: &Choice<'_>, key: AccessKey) -> bool {
    let AccessKey::Index(at) = key else { return true };
    let index = &choice.table.indexes[at];
    choice.needed.iter().all(|&needed| {
        let in_index = index.columns.iter().any(|c| c.column == needed && c.prefix_length.is_none());
        let in_handle = match &choice.table.handle {
            Handle::Integer(offset) => *offset == needed,
            // Encoded values have lost what their collation ignores.
            Handle::Common(offsets) => offsets.contains(&needed) && !choice.table.columns[needed].ty.is_string(),
            Handle::Hidden => needed == choice.table.columns.len(),
        };
        in_index || in_handle
    })
}

impl AccessPath {
    /// All rows, by the table itself.
    pub fn whole_table() -> AccessPath {
        AccessPath { key: AccessKey::Table, columns: Vec::new(), is_covering: true }
    }

    /// The index, unless the table itself is read.
    pub fn index<'a>(&self, table: &'a Table) -> Option<&'a Index> {
        match self.key {
            AccessKey::Table => None,
            AccessKey::Index(at) => table.indexes.get(at),
        }
    }

    /// How many key columns are fixed to single values.
    pub fn point_columns(&self) -> usize {
        self.columns.iter().take_while(|c| c.tests.iter().any(Test::is_points)).count()
    }

    /// True when each combination of values is at most one row: all columns of a unique key are fixed.
    pub fn is_unique_points(&self, table: &Table) -> bool {
        let (columns, is_unique) = match self.key {
            AccessKey::Table => match &table.handle {
                Handle::Integer(_) => (1, true),
                Handle::Common(offsets) => (offsets.len(), true),
                Handle::Hidden => return false,
            },
            AccessKey::Index(at) => (table.indexes[at].columns.len(), table.indexes[at].unique),
        };
        // NULLs repeat in a unique index.
        let may_be_null = |c: &KeyTests| c.tests.iter().all(|t| matches!(t, Test::IsNull | Test::NullSafeEqual(_)));
        let are_fixed = self.point_columns() == columns && self.columns.iter().all(|c| c.is_certain);
        is_unique && are_fixed && !self.columns.iter().any(may_be_null)
    }

    /// Rows that the path reads at most, as far as its form tells before parameters are known.
    pub fn rows_max(&self, table: &Table) -> Option<usize> {
        self.is_unique_points(table).then(|| points_max(&self.columns))
    }

    /// Whether rows come in this order, and if so, whether the key must be read backwards.
    pub fn gives_order(&self, table: &Table, order: &[(usize, bool)]) -> Option<bool> {
        let is_fixed = |at: usize| {
            let single = |c: &KeyTests| c.is_certain && c.tests.iter().any(|t| t.is_points() && t.points_max() == 1);
            self.columns.get(at).is_some_and(single)
        };
        let reverse = order.first()?.1;
        let key = key_columns(table, self.key);
        let mut at = 0;
        for &(offset, descending) in order {
            while key.get(at).is_some_and(|(key_offset, _)| *key_offset != offset) && is_fixed(at) {
                at += 1;
            }
            let (key_offset, column) = key.get(at)?;
            if *key_offset != offset || descending != reverse || column.part.prefix_length != 0 {
                return None;
            }
            at += 1;
        }
        Some(reverse)
    }

    /// The key's ranges for the values that parameters have now.
    ///
    /// # Errors
    /// When a constant cannot be calculated.
    pub fn resolve(&self, table: &Table, eval: &EvalContext) -> Result<Resolved> {
        let prefix = match self.key {
            AccessKey::Table => table_key::row_prefix(table.id),
            AccessKey::Index(at) => {
                let index = table.indexes.get(at).ok_or_else(|| Error::Internal("an index that is gone".into()))?;
                table_key::index_prefix(table.id, index.id)
            }
        };
        let mut keys = KeyRanges::under(prefix);
        let mut has_null = false;
        for column in &self.columns {
            let mut set = column.column.intervals(first_test(column)?, eval)?;
            for test in &column.tests[1..] {
                set = set.intersect(&column.column.intervals(test, eval)?);
            }
            if set.is_empty() {
                return Ok(Resolved::Rows(Vec::new()));
            }
            has_null |= set.intervals().iter().any(|i| i.start == [1]);
            if !keys.push(&set, RANGES_MAX) {
                break;
            }
        }
        let is_whole_key = keys.point_columns == key_width(table, self.key);
        if is_whole_key && keys.point_columns > 0 && !keys.has_range {
            let points = |keys: KeyRanges| keys.ranges.into_iter().map(|i| UserKey::from(i.start)).collect();
            match self.key {
                AccessKey::Table => return Ok(Resolved::Rows(points(keys))),
                AccessKey::Index(at) if table.indexes[at].unique && !has_null => {
                    return Ok(Resolved::Entries(points(keys)));
                }
                AccessKey::Index(_) => {}
            }
        }
        let ranges = keys.into_key_ranges();
        let is_unique = self.key == AccessKey::Table || self.index(table).is_some_and(|i| i.unique);
        let width = |r: &KeyRange| integer_width(r.start.as_slice(), r.end.as_slice());
        // The last column of a unique key has at most one row a value; any other key has some.
        let is_last = self.columns.len() == key_width(table, self.key);
        let values = ranges.iter().map(width).try_fold(0u64, |sum, w| Some(sum.saturating_add(w?)));
        let rows_max = values.filter(|_| is_last && is_unique);
        Ok(Resolved::Ranges { ranges, rows_max: rows_max.or(values.map(|v| v.saturating_mul(ROWS_PER_VALUE))) })
    }
}

/// Rows thought to share one value of a key that is not unique.
const ROWS_PER_VALUE: u64 = 10;

fn first_test(column: &KeyTests) -> Result<&Test> {
    column.tests.first().ok_or_else(|| Error::Internal("a key column without test".into()))
}

/// How many columns the key has.
fn key_width(table: &Table, key: AccessKey) -> usize {
    match key {
        AccessKey::Table => match &table.handle {
            Handle::Integer(_) => 1,
            Handle::Common(offsets) => offsets.len(),
            Handle::Hidden => 0,
        },
        AccessKey::Index(at) => table.indexes[at].columns.len(),
    }
}
