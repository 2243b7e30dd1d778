//! Groups: expressions over FROM rewritten into expressions over GROUP BY's keys and aggregates.

use super::dependencies::Dependencies;
use super::pending::{self, Stage};
use super::scope::{Block, Named};
use super::select::output_of;
use crate::error::{Error, Result};
use crate::plan::{AggregateCall, LogicalPlan, OutputColumn, SortKey, walk};
use basalt_expr::aggregate::AggregateFunc;
use basalt_expr::expr::Expr;
use basalt_expr::func::Func;
use basalt_expr::types::FieldType;
use std::collections::BTreeSet;
use std::rc::Rc;

/// GROUP BY's expressions.
pub(super) struct Keys {
    /// With what subqueries put there.
    pub settled: Vec<Expr>,
    /// As the clauses have them, with subqueries as pending columns.
    pub named: Vec<Expr>,
}

/// How rows are grouped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grouping {
    /// ONLY_FULL_GROUP_BY.
    pub full: bool,
    /// WITH ROLLUP.
    pub rollup: bool,
}

/// Rewrites expressions over FROM into expressions over groups.
pub(super) struct Groups {
    keys: Vec<Expr>,
    /// The keys as the clauses have them, with subqueries as pending columns.
    named: Vec<Expr>,
    aggregates: Vec<AggregateCall>,
    columns: Rc<[Named]>,
    /// Columns that have one value in each group.
    determined: BTreeSet<usize>,
    /// ONLY_FULL_GROUP_BY
    full: bool,
    /// WITH ROLLUP.
    rollup: bool,
    groupings: Vec<Vec<Expr>>,
    /// Of what is rewritten, for errors.
    pub position: usize,
    /// Likewise.
    pub clause: &'static str,
}

impl Groups {
    pub fn new(keys: Keys, block: &Block, known: &Dependencies, how: Grouping) -> Self {
        let (Keys { settled: keys, named }, Grouping { full, rollup }) = (keys, how);
        let (aggregates, columns) = (block.aggregates.clone(), block.columns.clone());
        let groupings = block.groupings.clone();
        let determined = known.determined_by(&named);
        let clause = "SELECT list";
        Groups { keys, named, aggregates, columns, determined, full, rollup, groupings, position: 1, clause }
    }

    /// Over the groups: keys and aggregates by their columns.
    pub fn rewrite(&mut self, expr: Expr) -> Result<Expr> {
        pending::rewrite(expr, &mut |e| {
            if let Some(index) = self.named.iter().position(|k| k == e) {
                return Ok(Some(self.key(index)));
            }
            if let Expr::Call { func: Func::AnyValue, args, .. } = e {
                return self.any_value(args).map(Some);
            }
            let Expr::Column { index, ty } = e else { return Ok(None) };
            if let Some(j) = pending::as_aggregate(*index) {
                return Ok(Some(Expr::Column { index: self.first_aggregate() + j, ty: ty.clone() }));
            }
            if let Some(j) = pending::as_grouping(*index) {
                return self.grouping(j).map(Some);
            }
            if *index < self.columns.len() {
                return self.ungrouped(*index, e).map(Some);
            }
            Ok(None)
        })
    }

    /// ANY_VALUE(): its argument, whatever its groups determine.
    fn any_value(&mut self, args: &[Expr]) -> Result<Expr> {
        let [arg] = args else { return Err(Error::internal("ANY_VALUE has one argument")) };
        let full = std::mem::replace(&mut self.full, false);
        let value = self.rewrite(arg.clone());
        self.full = full;
        value
    }

    /// A key's column. ROLLUP makes NULLs of all.
    fn key(&self, index: usize) -> Expr {
        let ty = self.keys[index].ty().clone();
        Expr::Column { index, ty: if self.rollup { ty.nullable() } else { ty } }
    }

    /// Where the aggregates' columns begin.
    fn first_aggregate(&self) -> usize {
        self.keys.len() + usize::from(self.rollup)
    }

    /// GROUPING(): a bit an argument, the last one's lowest.
    fn grouping(&mut self, j: usize) -> Result<Expr> {
        let args = self.groupings[j].clone();
        if self.keys.is_empty() {
            return Err(Error::invalid_group_function());
        }
        let mut number = Expr::int(0);
        for (at, arg) in args.iter().enumerate() {
            let index = self.named.iter().position(|key| key == arg).ok_or_else(|| Error::not_grouped_by(at + 1))?;
            if self.rollup {
                let shift = args.len() - 1 - at;
                let bit = Expr::call(Func::ShiftLeft, vec![self.rolled_up(index)?, Expr::int(shift as i64)])?;
                number = Expr::call(Func::BitOr, vec![number, bit])?;
            }
        }
        Ok(number.cast(FieldType::bigint()))
    }

    /// 1 where a row is not grouped by a key, else 0.
    fn rolled_up(&self, index: usize) -> Result<Expr> {
        let keys = self.keys.len();
        let column = Expr::Column { index: keys, ty: FieldType::bigint_unsigned().required() };
        let shifted = Expr::call(Func::ShiftRight, vec![column, Expr::int((keys - 1 - index) as i64)])?;
        Ok(Expr::call(Func::BitAnd, vec![shifted, Expr::int(1)])?)
    }

    /// The order of ROLLUP's rows: by keys, and each sum behind what it sums up.
    pub fn rollup_order(&self) -> Result<Vec<SortKey>> {
        let mut order = Vec::with_capacity(self.keys.len() * 2);
        for index in 0..self.keys.len() {
            order.push(SortKey { expr: self.rolled_up(index)?, descending: false });
            order.push(SortKey { expr: self.key(index), descending: false });
        }
        Ok(order)
    }

    /// A column outside of GROUP BY: any of the group's values where MySQL allows it.
    fn ungrouped(&mut self, index: usize, column: &Expr) -> Result<Expr> {
        if self.full && !self.is_determined(index) {
            let named = &self.columns[index];
            let name = format!("{}.{}.{}", named.database, named.table, named.name);
            return Err(match self.keys.is_empty() {
                true => Error::mixed_group(self.position, self.clause, name),
                false => Error::not_grouped(self.position, self.clause, name),
            });
        }
        let ty = column.ty().clone();
        let ty = if self.keys.is_empty() { ty.nullable() } else { ty };
        let call = AggregateCall {
            func: AggregateFunc::AnyValue,
            args: vec![column.clone()],
            distinct: false,
            order_by: Vec::new(),
            separator: None,
            ty: ty.clone(),
        };
        let same = |a: &AggregateCall| a.func == AggregateFunc::AnyValue && a.args == call.args;
        let j = self.aggregates.iter().position(same).unwrap_or_else(|| {
            self.aggregates.push(call.clone());
            self.aggregates.len() - 1
        });
        Ok(Expr::Column { index: self.first_aggregate() + j, ty })
    }

    /// Whether the groups have one value of the column.
    fn is_determined(&self, index: usize) -> bool {
        !self.rollup && self.determined.contains(&index)
    }

    /// Windows and those subqueries that are not there yet come to stand above the groups.
    pub fn rewrite_pending(&mut self, block: &mut Block, stage: &Stage) -> Result<()> {
        let mut windows = std::mem::take(&mut block.windows);
        for call in &mut windows {
            pending::window_exprs(call, &mut |e| {
                *e = self.rewrite(e.clone())?;
                Ok(())
            })?;
        }
        block.windows = windows;
        let mut subqueries = std::mem::take(&mut block.subqueries);
        for (j, subquery) in subqueries.iter_mut().enumerate() {
            if stage.is_placed(pending::subquery(j)) || self.is_argument(j) {
                continue;
            }
            for operand in walk::operands(&mut subquery.kind) {
                *operand = self.rewrite(operand.clone())?;
            }
            pending::map_outer(&mut subquery.plan, 0, &mut |expr| match expr {
                Expr::Column { .. } => self.rewrite(expr).map(Some),
                whole => Ok(self.named.iter().position(|key| *key == whole).map(|index| self.key(index))),
            })?;
        }
        block.subqueries = subqueries;
        Ok(())
    }

    /// Whether the j-th subquery stands in an aggregate's arguments: then it stays below.
    fn is_argument(&self, j: usize) -> bool {
        self.aggregates.iter().any(|a| {
            let mut found = false;
            for arg in &a.args {
                arg.visit(&mut |e| {
                    found |= matches!(e, Expr::Column { index, .. } if *index == pending::subquery(j));
                });
            }
            found
        })
    }

    /// Puts the groups up.
    pub fn put_up(self, stage: &mut Stage, subqueries: &[crate::plan::Subquery]) -> Result<()> {
        let Groups { keys, mut aggregates, columns, rollup, .. } = self;
        for call in &mut aggregates {
            pending::aggregate_exprs(call, &mut |e| {
                *e = stage.settle_one(e.clone(), subqueries)?;
                Ok(())
            })?;
        }
        let mut output: Vec<OutputColumn> = keys.iter().map(|k| output_of(k, &columns)).collect();
        if rollup {
            output.iter_mut().for_each(|key| key.ty = key.ty.clone().nullable());
            let ty = FieldType::bigint_unsigned().required();
            output.push(OutputColumn { name: String::new(), table: String::new(), origin: None, ty });
        }
        output.extend(aggregates.iter().map(|a| {
            let plain = match (a.func == AggregateFunc::AnyValue, a.args.first()) {
                (true, Some(arg)) => output_of(arg, &columns),
                _ => OutputColumn { name: String::new(), table: String::new(), origin: None, ty: a.ty.clone() },
            };
            OutputColumn { ty: a.ty.clone(), ..plain }
        }));
        let width = output.len();
        stage.forget();
        stage.stack(width, |input| LogicalPlan::Aggregate { input, group_by: keys, aggregates, rollup, output });
        Ok(())
    }
}
