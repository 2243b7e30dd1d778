//! Functional dependencies: which columns have one value wherever others have one, so that ONLY_FULL_GROUP_BY lets them stand
//! next to groups.
//!
//! | known of | dependency |
//! |---|---|
//! | a unique key without NULLs | its columns → all of the table |
//! | `a = f(b, c)` in WHERE, or in ON of an inner join | b, c → a; of a constant: nothing → a |
//! | the same in ON of a left join, `a` on the optional side | all columns of ON's other side → a |
//! | GROUP BY of a derived table | its keys → all |
//!
//! The optional side of a join keeps its dependencies, as its columns are all NULL where it has no row; only what depends on
//! nothing there may be NULL as well.

use super::pending;
use crate::plan::{JoinKind, LogicalPlan, Scan, as_outer_column};
use basalt_expr::expr::Expr;
use basalt_expr::func::{Func, Volatility};
use std::collections::BTreeSet;

/// Columns on the right have one value where those on the left have.
#[derive(Debug, Clone)]
struct Dependency {
    from: Vec<usize>,
    to: Vec<usize>,
}

/// What is known of the columns of a plan.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    all: Vec<Dependency>,
}

impl Dependencies {
    /// Of the columns that a plan puts out.
    pub fn of_plan(plan: &LogicalPlan) -> Dependencies {
        match plan {
            LogicalPlan::Scan(scan) => of_scan(scan),
            LogicalPlan::Filter { input, predicate } => {
                let mut known = Self::of_plan(input);
                known.add_filter(Some(predicate));
                known
            }
            LogicalPlan::Project { input, exprs, .. } => Self::of_plan(input).through(exprs),
            LogicalPlan::Join { left, right, kind, condition } => of_join(left, right, *kind, condition.as_ref()),
            LogicalPlan::Aggregate { input, group_by, rollup: false, output, .. } => {
                let mut known = Self::of_plan(input).through(group_by);
                known.add((0..group_by.len()).collect(), (0..output.len()).collect());
                known
            }
            LogicalPlan::Apply { input, .. }
            | LogicalPlan::Window { input, .. }
            | LogicalPlan::Sort { input, .. }
            | LogicalPlan::Limit { input, .. }
            | LogicalPlan::Distinct { input }
            | LogicalPlan::Rename { input, .. } => Self::of_plan(input),
            _ => Dependencies::default(),
        }
    }

    /// What a condition says that holds for all rows.
    pub fn add_filter(&mut self, predicate: Option<&Expr>) {
        for conjunct in predicate.into_iter().flat_map(|p| p.clone().conjuncts()) {
            for (column, from) in equalities(&conjunct) {
                self.add(from, vec![column]);
            }
        }
    }

    /// The columns that have one value where all of `keys` have.
    pub fn determined_by(&self, keys: &[Expr]) -> BTreeSet<usize> {
        let column = |e: &Expr| if let Expr::Column { index, .. } = e { Some(*index) } else { None };
        let mut found: BTreeSet<usize> = keys.iter().filter_map(column).collect();
        loop {
            let before = found.len();
            for dependency in &self.all {
                if dependency.from.iter().all(|column| found.contains(column)) {
                    found.extend(&dependency.to);
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }

    fn add(&mut self, from: Vec<usize>, to: Vec<usize>) {
        self.all.push(Dependency { from, to });
    }

    /// Over the output of a projection.
    fn through(&self, exprs: &[Expr]) -> Dependencies {
        let place =
            |wanted: &usize| exprs.iter().position(|e| matches!(e, Expr::Column { index, .. } if index == wanted));
        let mut known = Dependencies::default();
        for dependency in &self.all {
            let from: Option<Vec<usize>> = dependency.from.iter().map(place).collect();
            if let Some(from) = from {
                known.add(from, dependency.to.iter().filter_map(place).collect());
            }
        }
        for (at, expr) in exprs.iter().enumerate() {
            if let Some(from) = inputs_of(expr).and_then(|from| from.iter().map(place).collect()) {
                known.add(from, vec![at]);
            }
        }
        known
    }

    /// Columns behind `by` others.
    fn shifted(mut self, by: usize) -> Dependencies {
        for dependency in &mut self.all {
            dependency.from.iter_mut().chain(&mut dependency.to).for_each(|column| *column += by);
        }
        self
    }

    /// Of the optional side of a join.
    fn optional(mut self) -> Dependencies {
        self.all.retain(|dependency| !dependency.from.is_empty());
        self
    }
}

fn of_scan(scan: &Scan) -> Dependencies {
    let mut known = Dependencies::default();
    for key in scan.table.indexes.iter().filter(|key| key.primary || key.unique) {
        let place = |offset: usize| scan.columns.iter().position(|&column| column == offset);
        let usable = |column: usize| scan.table.columns[column].ty.not_null;
        let whole = key.columns.iter().all(|c| c.prefix_length.is_none() && usable(c.column));
        let from: Option<Vec<usize>> = key.columns.iter().map(|c| place(c.column)).collect();
        if let Some(from) = from.filter(|_| whole) {
            known.add(from, (0..scan.columns.len()).collect());
        }
    }
    known
}

fn of_join(left: &LogicalPlan, right: &LogicalPlan, kind: JoinKind, condition: Option<&Expr>) -> Dependencies {
    let width = left.output().len();
    let (mut of_left, of_right) = (Dependencies::of_plan(left), Dependencies::of_plan(right).shifted(width));
    let is_left = |column: &usize| *column < width;
    match kind {
        JoinKind::Semi | JoinKind::Anti => return of_left,
        JoinKind::Inner => {
            of_left.all.extend(of_right.all);
            of_left.add_filter(condition);
        }
        JoinKind::Left => {
            of_left.all.extend(of_right.optional().all);
            add_optional(&mut of_left, condition, &is_left);
        }
        JoinKind::Right => {
            of_left = of_left.optional();
            of_left.all.extend(of_right.all);
            add_optional(&mut of_left, condition, &|column| !is_left(column));
        }
    }
    of_left
}

/// Equalities of an outer join's ON: a column of the optional side is that of the row that was found, or NULL, and which of
/// both the other side's columns decide together.
fn add_optional(known: &mut Dependencies, condition: Option<&Expr>, is_kept: &dyn Fn(&usize) -> bool) {
    let Some(condition) = condition else { return };
    let Some(read) = inputs_of(condition) else { return };
    let deciding: Vec<usize> = read.into_iter().filter(is_kept).collect();
    for conjunct in condition.clone().conjuncts() {
        for (column, from) in equalities(&conjunct) {
            if !is_kept(&column) && from.iter().all(is_kept) {
                known.add(deciding.clone(), vec![column]);
            }
        }
    }
}

/// The columns that an equality gives a value, with those that it depends on.
fn equalities(conjunct: &Expr) -> Vec<(usize, Vec<usize>)> {
    let Expr::Call { func: Func::Eq, args, .. } = conjunct else { return Vec::new() };
    let [left, right] = &args[..] else { return Vec::new() };
    let one = |column: &Expr, other: &Expr| match column {
        Expr::Column { index, .. } if as_outer_column(*index).is_none() => Some((*index, inputs_of(other)?)),
        _ => None,
    };
    [one(left, right), one(right, left)].into_iter().flatten().collect()
}

/// The columns of FROM that decide an expression's value; `None` when others do as well.
fn inputs_of(expr: &Expr) -> Option<Vec<usize>> {
    let mut is_certain = true;
    expr.visit(&mut |e| {
        if let Expr::Call { func, .. } = e {
            is_certain &= func.volatility() != Volatility::Volatile;
        }
    });
    let columns = expr.columns().into_iter().filter(|column| as_outer_column(*column).is_none());
    let columns: Vec<usize> = columns.collect();
    let are_plain = columns.iter().all(|column| !pending::is_pending(*column));
    (is_certain && are_plain).then_some(columns)
}
