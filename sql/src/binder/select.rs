//! One SELECT: its clauses bound, then put up as operators from FROM upwards.

use super::dependencies::Dependencies;
use super::groups::{Grouping, Groups, Keys};
use super::locks::BlockLocks;
use super::pending::{self, Stage};
use super::scope::{Block, Clause, Named, Relation};
use super::zero_dates;
use crate::catalog::information_schema;
use crate::error::{Error, Result};
use crate::parser::ast::{self, LimitClause, OrderItem, Select, SelectItem};
use crate::plan::{LogicalPlan, OutputColumn, RowLimit, SortKey, Subquery, walk};
use basalt_expr::charset::Charset;
use basalt_expr::expr::Expr;
use std::rc::Rc;

/// Most columns of a select list.
const COLUMNS_MAX: usize = 4096;

/// An item of the select list.
struct Item {
    expr: Expr,
    output: OutputColumn,
}

impl super::Binder<'_> {
    /// Binds a SELECT with the ORDER BY and LIMIT that are its own.
    pub(super) fn select(
        &mut self,
        select: &Select,
        order_by: &[OrderItem],
        limit: Option<&LimitClause>,
    ) -> Result<LogicalPlan> {
        self.select_locking(select, order_by, limit, None)
    }

    /// The same of a SELECT with locking clauses, whose tables go to `locks`.
    pub(super) fn select_locking(
        &mut self,
        select: &Select,
        order_by: &[OrderItem],
        limit: Option<&LimitClause>,
        locks: Option<&mut BlockLocks<'_>>,
    ) -> Result<LogicalPlan> {
        // Without LIMIT it changes nothing; with one, FOUND_ROWS() would have to count what nobody reads.
        if select.calc_found_rows && limit.is_some() {
            return Err(Error::unsupported("SQL_CALC_FOUND_ROWS"));
        }
        let relation = match &locks {
            Some(locks) => self.scanning(locks.scan_columns(), |binder| binder.from(&select.from))?,
            None => self.from(&select.from)?,
        };
        let mut block = Block::new(relation.columns.clone());
        block.named_windows = select.windows.clone();
        let filter = self.filter(select.filter.as_ref(), &relation, &mut block)?;
        let mut items = self.items(select, &relation, &mut block)?;
        if let Some(locks) = locks {
            for index in locks.find(&relation, items.len())? {
                let column = &relation.columns[index];
                items.push(Item { expr: Expr::Column { index, ty: column.ty.clone() }, output: column.output() });
            }
        }
        let mut group_by = self.group_by(select, &items, &mut block)?;
        block.clause = Clause::Fields;
        self.check_windows(&mut block)?;
        block.clause = Clause::Having;
        block.in_having = Some(seen_by_having(&items, &group_by));
        block.grouped = columns_of(&group_by);
        let mut having = select.having.as_ref().map(|e| self.condition(e, &mut block)).transpose()?;
        block.clause = Clause::OrderBy;
        let aggregates = block.aggregates.len();
        let mut keys = self.order_by(order_by, &items, select.rollup, &mut block)?;
        if group_by.is_empty() && aggregates > 0 {
            // One row is in order.
            keys.clear();
        } else if group_by.is_empty() && block.aggregates.len() > aggregates {
            return Err(Error::aggregate_orders_rows(aggregate_position(&keys)));
        }

        let mut known = Dependencies::of_plan(&relation.plan);
        known.add_filter(filter.as_ref());
        let mut stage = Stage::new(relation.plan);
        if let Some(predicate) = filter {
            let predicate = stage.settle_one(predicate, &block.subqueries)?;
            let width = stage.width;
            stage.stack(width, |input| LogicalPlan::Filter { input, predicate });
        }
        if !group_by.is_empty() || !block.aggregates.is_empty() {
            let named = group_by.clone();
            let grouping = Grouping { full: self.ctx.only_full_group_by, rollup: select.rollup };
            group_by = stage.settle(group_by, &block.subqueries)?;
            let mut groups = Groups::new(Keys { settled: group_by, named }, &block, &known, grouping);
            for (position, item) in items.iter_mut().enumerate() {
                groups.position = position + 1;
                item.expr = groups.rewrite(item.expr.clone())?;
            }
            groups.clause = "HAVING clause";
            having = having.map(|e| groups.rewrite(e)).transpose()?;
            groups.clause = "ORDER BY";
            for (position, key) in keys.iter_mut().enumerate() {
                groups.position = position + 1;
                key.expr = groups.rewrite(key.expr.clone())?;
            }
            keys.retain(|key| !matches!(key.expr, Expr::Literal(..)));
            groups.clause = "SELECT list";
            groups.rewrite_pending(&mut block, &stage)?;
            if select.rollup && !select.distinct {
                keys.extend(groups.rollup_order()?);
            }
            groups.put_up(&mut stage, &block.subqueries)?;
        }
        if let Some(predicate) = having {
            let predicate = stage.settle_one(predicate, &block.subqueries)?;
            let width = stage.width;
            stage.stack(width, |input| LogicalPlan::Filter { input, predicate });
        }
        self.put_up_windows(&mut stage, &mut block)?;
        self.put_up_output(stage, &block, select.distinct, items, keys, limit)
    }

    /// Binds WHERE, over the tables of FROM.
    pub(super) fn filter(
        &mut self,
        filter: Option<&ast::Expr>,
        relation: &Relation,
        block: &mut Block,
    ) -> Result<Option<Expr>> {
        block.clause = Clause::Where;
        let bound = filter.map(|e| self.condition(e, block).and_then(Self::check_depth)).transpose()?;
        block.clause = Clause::Fields;
        Ok(bound.map(|predicate| zero_dates::found_by_null(predicate, &relation.columns, &relation.tables)))
    }

    fn items(&mut self, select: &Select, relation: &Relation, block: &mut Block) -> Result<Vec<Item>> {
        let mut items = Vec::with_capacity(select.items.len());
        for item in &select.items {
            match item {
                SelectItem::Wildcard { database, table } => {
                    items.extend(wildcard(relation, database.as_deref(), table.as_deref())?);
                }
                SelectItem::Expr { expr, alias, text } => {
                    let bound = self.expr(expr, block).and_then(Self::check_depth)?;
                    let named = name_within(expr, &bound, &block.columns).filter(|_| alias.is_none());
                    let name = named.unwrap_or_else(|| item_name(expr, alias.as_deref(), text));
                    let mut output = output_of(&bound, &block.columns);
                    Rc::make_mut(&mut block.aliases).push((name.clone(), bound.clone()));
                    output.name = name;
                    items.push(Item { expr: bound, output });
                }
            }
            if items.len() > COLUMNS_MAX {
                return Err(Error::too_many_columns());
            }
        }
        Ok(items)
    }

    fn group_by(&mut self, select: &Select, items: &[Item], block: &mut Block) -> Result<Vec<Expr>> {
        let mut keys: Vec<Expr> = Vec::with_capacity(select.group_by.len());
        for expr in &select.group_by {
            block.clause = Clause::GroupBy;
            let (key, name) = match (Self::position(expr), expr) {
                (Some(position), _) => {
                    let item = at_position(items, position, block.clause)?;
                    (item.expr.clone(), item.output.name.clone())
                }
                (None, ast::Expr::Column(name)) => (self.column(name, block)?, name.name.clone()),
                (None, _) => (self.expr(expr, block)?, String::new()),
            };
            let mut grouped = false;
            key.visit(&mut |e| {
                if let Expr::Column { index, .. } = e {
                    grouped |= pending::as_aggregate(*index).is_some() || pending::as_window(*index).is_some();
                }
            });
            if grouped {
                return Err(Error::cannot_group_on(name));
            }
            if select.rollup || !keys.contains(&key) {
                keys.push(key);
            }
        }
        Ok(keys)
    }

    fn order_by(
        &mut self,
        order_by: &[OrderItem],
        items: &[Item],
        rollup: bool,
        block: &mut Block,
    ) -> Result<Vec<SortKey>> {
        let mut keys = Vec::with_capacity(order_by.len());
        for item in order_by {
            let expr = match Self::position(&item.expr) {
                Some(position) => at_position(items, position, Clause::OrderBy)?.expr.clone(),
                None => {
                    block.in_order_expr = !matches!(item.expr, ast::Expr::Column(_));
                    self.expr(&item.expr, block)?
                }
            };
            // A constant orders nothing, unless ROLLUP makes NULLs of it.
            if rollup || !matches!(expr, Expr::Literal(..)) {
                keys.push(SortKey { expr, descending: item.descending });
            }
        }
        Ok(keys)
    }

    fn put_up_windows(&mut self, stage: &mut Stage, block: &mut Block) -> Result<()> {
        if block.windows.is_empty() {
            return Ok(());
        }
        let mut calls = std::mem::take(&mut block.windows);
        for call in &mut calls {
            pending::window_exprs(call, &mut |e| {
                *e = stage.settle_one(e.clone(), &block.subqueries)?;
                Ok(())
            })?;
        }
        let mut output = stage.plan.output();
        for (j, call) in calls.iter().enumerate() {
            stage.place(pending::window(j), output.len());
            let ty = call.ty.clone();
            output.push(OutputColumn { name: String::new(), table: String::new(), origin: None, ty });
        }
        let width = output.len();
        stage.stack(width, |input| LogicalPlan::Window { input, calls, output });
        Ok(())
    }

    /// Sort, limit and select list: the sort stands below the list, where all columns are at hand, unless DISTINCT comes
    /// between.
    fn put_up_output(
        &mut self,
        mut stage: Stage,
        block: &Block,
        distinct: bool,
        items: Vec<Item>,
        keys: Vec<SortKey>,
        limit: Option<&LimitClause>,
    ) -> Result<LogicalPlan> {
        let volatile = |e: &Expr| !matches!(e, Expr::Column { .. }) && e.columns().is_empty() && !e.is_constant();
        let above = distinct || keys.iter().any(|k| volatile(&k.expr) && items.iter().any(|i| i.expr == k.expr));
        if above {
            return self.sorted_above(stage, block, distinct, items, keys, limit);
        }
        put_up_sort(&mut stage, keys, &block.subqueries)?;
        self.put_up_limit(&mut stage, limit)?;
        project(&mut stage, items, block)?;
        Ok(stage.plan)
    }

    fn sorted_above(
        &mut self,
        mut stage: Stage,
        block: &Block,
        distinct: bool,
        items: Vec<Item>,
        keys: Vec<SortKey>,
        limit: Option<&LimitClause>,
    ) -> Result<LogicalPlan> {
        let mut subqueries = block.subqueries.clone();
        let mut over_output = Vec::with_capacity(keys.len());
        for (position, key) in keys.into_iter().enumerate() {
            let mut above = AboveList { items: &items, block, position: position + 1 };
            over_output.push(SortKey { expr: above.key(key.expr, &mut subqueries)?, ..key });
        }
        project(&mut stage, items, block)?;
        let width = stage.width;
        if distinct {
            stage.stack(width, |input| LogicalPlan::Distinct { input });
        }
        stage.forget();
        put_up_sort(&mut stage, over_output, &subqueries)?;
        self.put_up_limit(&mut stage, limit)?;
        if stage.width > width {
            let mut output = stage.plan.output();
            output.truncate(width);
            let exprs = output.iter().enumerate().map(|(index, c)| Expr::Column { index, ty: c.ty.clone() }).collect();
            stage.stack(width, |input| LogicalPlan::Project { input, exprs, output });
        }
        Ok(stage.plan)
    }

    /// LIMIT, if there is one.
    pub(super) fn put_up_limit(&mut self, stage: &mut Stage, limit: Option<&LimitClause>) -> Result<()> {
        let Some(limit) = limit else { return Ok(()) };
        let RowLimit { offset, count } = self.row_limit(limit)?;
        let width = stage.width;
        stage.stack(width, |input| LogicalPlan::Limit { input, offset, count });
        Ok(())
    }

    /// The numbers of a LIMIT.
    pub(super) fn row_limit(&mut self, limit: &LimitClause) -> Result<RowLimit> {
        let mut block = Block::new(Vec::new());
        let count = Some(self.expr(&limit.count, &mut block)?);
        let offset = limit.offset.as_ref().map(|e| self.expr(e, &mut block)).transpose()?;
        Ok(RowLimit { offset, count })
    }

    /// DO: the expressions are evaluated, nothing is put out by the session.
    pub(super) fn do_exprs(&mut self, exprs: &[ast::Expr]) -> Result<crate::plan::Query> {
        let item = |expr: &ast::Expr| SelectItem::Expr { expr: expr.clone(), alias: None, text: String::new() };
        let select = Select { items: exprs.iter().map(item).collect(), ..Select::default() };
        Ok(crate::plan::Query::reading(self.select(&select, &[], None)?))
    }
}

/// Columns of FROM that HAVING sees: those of the select list and of GROUP BY.
fn seen_by_having(items: &[Item], group_by: &[Expr]) -> Vec<usize> {
    columns_of(items.iter().map(|item| &item.expr).chain(group_by))
}

/// Which of these are columns.
fn columns_of<'e>(exprs: impl IntoIterator<Item = &'e Expr>) -> Vec<usize> {
    let column = |expr: &Expr| if let Expr::Column { index, .. } = expr { Some(*index) } else { None };
    exprs.into_iter().filter_map(column).collect()
}

/// Which key of ORDER BY, counted from 1, holds an aggregate.
fn aggregate_position(keys: &[SortKey]) -> usize {
    let has_aggregate = |key: &SortKey| key.expr.columns().into_iter().any(|c| pending::as_aggregate(c).is_some());
    keys.iter().position(has_aggregate).map_or(1, |position| position + 1)
}

fn project(stage: &mut Stage, items: Vec<Item>, block: &Block) -> Result<()> {
    let (exprs, output): (Vec<Expr>, Vec<OutputColumn>) = items.into_iter().map(|i| (i.expr, i.output)).unzip();
    let exprs = stage.settle(exprs, &block.subqueries)?;
    let width = exprs.len();
    stage.stack(width, |input| LogicalPlan::Project { input, exprs, output });
    Ok(())
}

fn put_up_sort(stage: &mut Stage, keys: Vec<SortKey>, subqueries: &[Subquery]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let (exprs, directions): (Vec<Expr>, Vec<bool>) = keys.into_iter().map(|k| (k.expr, k.descending)).unzip();
    let exprs = stage.settle(exprs, subqueries)?;
    let keys = exprs.into_iter().zip(directions).map(|(expr, descending)| SortKey { expr, descending }).collect();
    let width = stage.width;
    stage.stack(width, |input| LogicalPlan::Sort { input, keys });
    Ok(())
}

/// Expressions over what is below the select list, to be calculated above it, of its columns.
struct AboveList<'a> {
    items: &'a [Item],
    block: &'a Block,
    /// Of the key, for errors.
    position: usize,
}

impl AboveList<'_> {
    /// A key of ORDER BY; the subqueries that it needs and that the list has not are changed with it.
    fn key(&mut self, key: Expr, subqueries: &mut [Subquery]) -> Result<Expr> {
        let key = self.expr(key)?;
        let mut needed = Vec::new();
        key.visit(&mut |e| {
            if let Expr::Column { index, .. } = e {
                needed.extend(pending::as_subquery(*index));
            }
        });
        for j in needed {
            let mut subquery = subqueries[j].clone();
            for operand in walk::operands(&mut subquery.kind) {
                *operand = self.key(operand.clone(), subqueries)?;
            }
            pending::map_outer(&mut subquery.plan, 0, &mut |expr| match (self.found(&expr), expr) {
                (None, Expr::Column { index, .. }) => Err(self.missing(index)),
                (found, _) => Ok(found),
            })?;
            subqueries[j] = subquery;
        }
        Ok(key)
    }

    fn expr(&self, expr: Expr) -> Result<Expr> {
        pending::rewrite(expr, &mut |e| match (self.found(e), e) {
            (None, Expr::Column { index, .. }) if pending::as_subquery(*index).is_none() => Err(self.missing(*index)),
            (found, _) => Ok(found),
        })
    }

    fn found(&self, expr: &Expr) -> Option<Expr> {
        let index = self.items.iter().position(|item| item.expr == *expr)?;
        Some(Expr::Column { index, ty: expr.ty().clone() })
    }

    fn missing(&self, index: usize) -> Error {
        not_in_distinct(self.position, self.block.columns.get(index))
    }
}

fn not_in_distinct(position: usize, column: Option<&Named>) -> Error {
    let name = column.map_or_else(String::new, |c| format!("{}.{}.{}", c.database, c.table, c.name));
    Error::User {
        code: 3065,
        sqlstate: "HY000",
        message: format!(
            "Expression #{position} of ORDER BY clause is not in SELECT list, references column '{name}' which is not in SELECT list; this is incompatible with DISTINCT"
        ),
    }
}

fn at_position(items: &[Item], position: u64, clause: Clause) -> Result<&Item> {
    let index = usize::try_from(position).ok().and_then(|p| p.checked_sub(1));
    index.and_then(|i| items.get(i)).ok_or_else(|| Error::unknown_column(position, clause.text()))
}

fn wildcard(relation: &Relation, database: Option<&str>, table: Option<&str>) -> Result<Vec<Item>> {
    let item = |&index: &usize| {
        let column = &relation.columns[index];
        Item { expr: Expr::Column { index, ty: column.ty.clone() }, output: column.output() }
    };
    let Some(table) = table else {
        if relation.columns.is_empty() {
            return Err(Error::no_tables_used());
        }
        return Ok(relation.star.iter().map(item).collect());
    };
    let of_table = |c: &Named| {
        c.visible && c.table.eq_ignore_ascii_case(table) && database.is_none_or(|d| c.database.eq_ignore_ascii_case(d))
    };
    let items: Vec<Item> =
        (0..relation.columns.len()).filter(|&i| of_table(&relation.columns[i])).map(|i| item(&i)).collect();
    if items.is_empty() { Err(Error::unknown_table(table)) } else { Ok(items) }
}

/// The name of a column of a derived or a made-up table, which is spelled as that table does; one of a stored table is
/// spelled as the statement does.
fn name_within(expr: &ast::Expr, bound: &Expr, columns: &[Named]) -> Option<String> {
    let (ast::Expr::Column(_), Expr::Column { index, .. }) = (expr, bound) else { return None };
    let column = columns.get(*index)?;
    let is_made_up = column.database.is_empty() || information_schema::is_database(&column.database);
    is_made_up.then(|| column.name.clone())
}

/// What the client sees as the column's name.
fn item_name(expr: &ast::Expr, alias: Option<&str>, text: &str) -> String {
    match (alias, expr) {
        (Some(alias), _) => alias.to_string(),
        (None, ast::Expr::Column(name)) => name.name.clone(),
        (None, ast::Expr::Literal(ast::Literal::String { bytes, charset: None })) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        (None, ast::Expr::Literal(ast::Literal::String { bytes, charset: Some(charset) })) => {
            introduced_name(charset, bytes, text)
        }
        (None, ast::Expr::Literal(ast::Literal::Null)) => "NULL".to_string(),
        (None, ast::Expr::Literal(ast::Literal::Bool(value))) => if *value { "TRUE" } else { "FALSE" }.to_string(),
        (None, _) => text.to_string(),
    }
}

/// The name of a literal with a character set: its text, where it is not written in digits.
fn introduced_name(charset: &str, bytes: &[u8], text: &str) -> String {
    let written = text.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').trim_start();
    let decoded = Charset::from_name(charset).and_then(|charset| charset.decode(bytes).ok());
    match decoded {
        Some(name) if written.starts_with(['\'', '"']) => name.into_owned(),
        _ => text.to_string(),
    }
}

/// Table and origin of an expression that is a plain column.
pub(super) fn output_of(expr: &Expr, columns: &Rc<[Named]>) -> OutputColumn {
    match expr {
        Expr::Column { index, .. } if *index < columns.len() => columns[*index].output(),
        _ => OutputColumn { name: String::new(), table: String::new(), origin: None, ty: expr.ty().clone() },
    }
}
