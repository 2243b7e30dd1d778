//! Pending columns: numbers that stand for what an operator will put out that is not there yet.
//!
//! ```text
//! 0 …            columns of FROM
//! 2^32 + j       the j-th aggregate of the block
//! 2^33 + j       its j-th window function
//! 2^34 + j       its j-th subquery
//! 2^35 + j       its j-th GROUPING()
//! 2^40 …         columns of enclosing blocks (plan::outer_column)
//! ```

use super::branches;
use crate::error::{Error, Result};
pub(super) use crate::plan::walk::{aggregate_exprs, window_exprs};
use crate::plan::{LogicalPlan, Subquery, as_outer_column, outer_column, walk};
use basalt_expr::expr::Expr;
use std::collections::{BTreeMap, BTreeSet};

const AGGREGATE: usize = 1 << 32;
const WINDOW: usize = 1 << 33;
const SUBQUERY: usize = 1 << 34;
const GROUPING: usize = 1 << 35;
const OUTER: usize = 1 << 40;

pub(super) fn aggregate(j: usize) -> usize {
    AGGREGATE + j
}
pub(super) fn window(j: usize) -> usize {
    WINDOW + j
}
pub(super) fn subquery(j: usize) -> usize {
    SUBQUERY + j
}
pub(super) fn as_aggregate(index: usize) -> Option<usize> {
    (AGGREGATE..WINDOW).contains(&index).then(|| index - AGGREGATE)
}
pub(super) fn as_window(index: usize) -> Option<usize> {
    (WINDOW..SUBQUERY).contains(&index).then(|| index - WINDOW)
}
pub(super) fn as_subquery(index: usize) -> Option<usize> {
    (SUBQUERY..GROUPING).contains(&index).then(|| index - SUBQUERY)
}
/// Whether a column is one of those that are not there yet.
pub(super) fn is_pending(index: usize) -> bool {
    (AGGREGATE..OUTER).contains(&index)
}
pub(super) fn grouping(j: usize) -> usize {
    GROUPING + j
}
pub(super) fn as_grouping(index: usize) -> Option<usize> {
    (GROUPING..OUTER).contains(&index).then(|| index - GROUPING)
}

/// Rebuilds an expression from the top: `f` gives a replacement, or `None` to go on with the parts.
pub(super) fn rewrite(expr: Expr, f: &mut dyn FnMut(&Expr) -> Result<Option<Expr>>) -> Result<Expr> {
    if let Some(replaced) = f(&expr)? {
        return Ok(replaced);
    }
    let list = |items: Vec<Expr>, f: &mut dyn FnMut(&Expr) -> Result<Option<Expr>>| -> Result<Vec<Expr>> {
        items.into_iter().map(|e| rewrite(e, f)).collect()
    };
    Ok(match expr {
        Expr::Call { func, args, ty } => Expr::Call { func, args: list(args, f)?, ty },
        Expr::Case { branches, otherwise, ty } => Expr::Case {
            branches: branches
                .into_iter()
                .map(|(when, then)| Ok((rewrite(when, f)?, rewrite(then, f)?)))
                .collect::<Result<_>>()?,
            otherwise: otherwise.map(|e| rewrite(*e, f).map(Box::new)).transpose()?,
            ty,
        },
        Expr::InList { expr, list: items, negated, ty } => {
            Expr::InList { expr: Box::new(rewrite(*expr, f)?), list: list(items, f)?, negated, ty }
        }
        Expr::InSet { expr, set, negated, ty } => Expr::InSet { expr: Box::new(rewrite(*expr, f)?), set, negated, ty },
        leaf => leaf,
    })
}

/// The plan under construction of a block, with the numbers its pending columns got.
pub(super) struct Stage {
    pub plan: LogicalPlan,
    /// Columns that `plan` puts out.
    pub width: usize,
    placed: BTreeMap<usize, usize>,
    /// Subqueries whose count of rows stands behind their value: it is looked at where the value is.
    unchecked: BTreeSet<usize>,
}

impl Stage {
    pub fn new(plan: LogicalPlan) -> Self {
        let width = plan.output().len();
        Stage { plan, width, placed: BTreeMap::new(), unchecked: BTreeSet::new() }
    }

    /// Replaces the plan by an operator over it that puts out `width` columns.
    pub fn stack(&mut self, width: usize, operator: impl FnOnce(Box<LogicalPlan>) -> LogicalPlan) {
        let empty = LogicalPlan::Values { rows: Vec::new(), output: Vec::new() };
        let plan = std::mem::replace(&mut self.plan, empty);
        self.plan = operator(Box::new(plan));
        self.width = width;
    }

    /// Says where a pending column now is.
    pub fn place(&mut self, pending: usize, index: usize) {
        self.placed.insert(pending, index);
    }

    /// Whether a pending column has a number.
    pub fn is_placed(&self, pending: usize) -> bool {
        self.placed.contains_key(&pending)
    }

    /// The columns so far are gone: an Aggregate stands above them.
    pub fn forget(&mut self) {
        self.placed.clear();
        self.unchecked.clear();
    }

    /// Puts up the subqueries that `exprs` refer to, and gives the expressions their real numbers.
    pub fn settle(&mut self, exprs: Vec<Expr>, subqueries: &[Subquery]) -> Result<Vec<Expr>> {
        let guarded = branches::guarded(&exprs, subqueries);
        self.settle_guarded(exprs, subqueries, &guarded)
    }

    /// [`Stage::settle`] of parts of expressions in which not every row reaches the subqueries of `guarded`.
    pub fn settle_guarded(
        &mut self,
        exprs: Vec<Expr>,
        subqueries: &[Subquery],
        guarded: &BTreeSet<usize>,
    ) -> Result<Vec<Expr>> {
        let mut wanted = Vec::new();
        for expr in &exprs {
            self.collect(expr, subqueries, &mut wanted);
        }
        let mut batch: Vec<Subquery> = Vec::new();
        for j in wanted {
            let mut added = subqueries[j].clone();
            for operand in walk::operands(&mut added.kind) {
                let mut nested = Vec::new();
                operand.visit(&mut |e| {
                    if let Expr::Column { index, .. } = e {
                        nested.extend(as_subquery(*index));
                    }
                });
                if !nested.is_empty() {
                    self.apply(std::mem::take(&mut batch));
                }
                *operand = self.real(operand.clone())?;
            }
            self.placed.insert(subquery(j), self.width + batch.len());
            if guarded.contains(&subquery(j)) && branches::may_have_rows(&added) {
                self.unchecked.insert(subquery(j));
                batch.extend(branches::with_rows(added));
            } else {
                batch.push(added);
            }
        }
        self.apply(batch);
        exprs.into_iter().map(|e| self.real(e)).collect()
    }

    /// One expression of [`Stage::settle`].
    pub fn settle_one(&mut self, expr: Expr, subqueries: &[Subquery]) -> Result<Expr> {
        self.settle(vec![expr], subqueries)?.pop().ok_or_else(|| Error::internal("settle lost an expression"))
    }

    /// The subqueries that `expr` needs and that are not there, those they need first.
    fn collect(&self, expr: &Expr, subqueries: &[Subquery], wanted: &mut Vec<usize>) {
        let mut here = Vec::new();
        expr.visit(&mut |e| {
            if let Expr::Column { index, .. } = e
                && let Some(j) = as_subquery(*index)
                && !self.placed.contains_key(index)
            {
                here.push(j);
            }
        });
        for j in here {
            for operand in walk::operands(&mut subqueries[j].kind.clone()) {
                self.collect(operand, subqueries, wanted);
            }
            if !wanted.contains(&j) {
                wanted.push(j);
            }
        }
    }

    fn apply(&mut self, subqueries: Vec<Subquery>) {
        if !subqueries.is_empty() {
            let width = self.width + subqueries.len();
            self.stack(width, |input| LogicalPlan::Apply { input, subqueries });
        }
    }

    fn real(&self, expr: Expr) -> Result<Expr> {
        rewrite(expr, &mut |e| match e {
            Expr::Column { index, ty } if *index >= AGGREGATE && *index < OUTER => match self.placed.get(index) {
                Some(&at) => {
                    let value = Expr::Column { index: at, ty: ty.clone() };
                    let checked = self.unchecked.contains(index);
                    Ok(Some(if checked { branches::checked(value, at + 1)? } else { value }))
                }
                None => Err(Error::invalid_group_function()),
            },
            _ => Ok(None),
        })
    }
}

/// An expression as the block `depth` levels out has it, where it is calculated of that block's columns alone.
fn of_outer_columns(expr: &Expr, depth: u8) -> Option<Expr> {
    let inner = |index: usize| as_outer_column(index).filter(|(at, _)| *at == depth).map(|(_, inner)| inner);
    let columns = expr.columns();
    let is_whole = !columns.is_empty() && columns.iter().all(|&index| inner(index).is_some());
    is_whole.then(|| expr.clone().map_columns(&|index| inner(index).unwrap_or(index)))
}

/// Renumbers, within a subquery's plan, what it calculates of the columns of the block `depth` levels out. `f` is asked for
/// each expression of those columns alone, from the top, and gives the column that stands for it; it must for a lone column.
pub(super) fn map_outer(
    plan: &mut LogicalPlan,
    depth: u8,
    f: &mut dyn FnMut(Expr) -> Result<Option<Expr>>,
) -> Result<()> {
    let mut on_expr = |expr: &mut Expr| -> Result<()> {
        let taken = std::mem::replace(expr, Expr::null());
        *expr = rewrite(taken, &mut |e| {
            let Some(asked) = of_outer_columns(e, depth) else { return Ok(None) };
            match (f(asked)?, e) {
                (Some(Expr::Column { index, ty }), _) => {
                    Ok(Some(Expr::Column { index: outer_column(depth, index), ty }))
                }
                (None, Expr::Call { .. } | Expr::Case { .. } | Expr::InList { .. } | Expr::InSet { .. }) => Ok(None),
                _ => Err(Error::unsupported("a subquery that refers to a grouped expression")),
            }
        })?;
        Ok(())
    };
    walk::for_each_expr(plan, &mut on_expr)?;
    if let LogicalPlan::Apply { subqueries, .. } = plan {
        for subquery in subqueries {
            map_outer(&mut subquery.plan, depth + 1, f)?;
        }
    }
    for input in walk::inputs(plan) {
        map_outer(input, depth, f)?;
    }
    Ok(())
}
