//! INSERT and REPLACE.

use super::call::default_value;
use super::modify::refuse_reading;
use super::pending::Stage;
use super::query::set_operation;
use super::scope::{Block, Clause, Named, TableInSight, find};
use crate::catalog::model::{SchemaState, Table};
use crate::error::{Error, Result};
use crate::parser::ast::{self, ColumnName, QueryBody, SelectItem};
use crate::parser::statement::{Insert as InsertTree, InsertRows};
use crate::plan::{Assignment, Insert, InsertSource, LogicalPlan, OutputColumn, Query, SetKind, Subquery};
use crate::privilege::Privileges;
use basalt_expr::collation::Coercibility;
use basalt_expr::expr::Expr;
use std::collections::BTreeSet;
use std::sync::Arc;

impl super::Binder<'_> {
    /// Binds an INSERT or REPLACE.
    pub(super) fn insert(&mut self, insert: &InsertTree) -> Result<Insert> {
        let needed = if insert.replace { Privileges::INSERT.with(Privileges::DELETE) } else { Privileges::INSERT };
        let database = self.database_of(&insert.table)?;
        self.ctx.variables.check_all(&database, &insert.table.name, needed)?;
        self.ctx.variables.check_locked(&database, &insert.table.name, &insert.table.name)?;
        let (database, table) = self.stored_table(&insert.table)?;
        let columns = self.insert_columns(insert, &table)?;
        let target = InsertTarget { database: &database, table: &table, columns: &columns };
        let (source, on_duplicate) = match &insert.source {
            InsertRows::Values(rows) => {
                let source = self.insert_rows(rows, &columns, &database, &table)?;
                (source, self.on_duplicate(insert, target, Vec::new())?)
            }
            InsertRows::Query(query) => self.insert_query(insert, query, target)?,
        };
        Ok(Insert { table, database, columns, source, replace: insert.replace, ignore: insert.ignore, on_duplicate })
    }

    fn insert_columns(&self, insert: &InsertTree, table: &Table) -> Result<Vec<usize>> {
        let names = match &insert.columns {
            Some(names) if !names.is_empty() => names,
            // `INSERT INTO t () VALUES ()` is a row of defaults.
            Some(_) if matches!(&insert.source, InsertRows::Values(rows) if rows.iter().all(Vec::is_empty)) => {
                return Ok(Vec::new());
            }
            None if matches!(&insert.source, InsertRows::Values(rows) if rows.iter().all(Vec::is_empty)) => {
                return Ok(Vec::new());
            }
            _ => return Ok(table.public_columns().map(|(offset, _)| offset).collect()),
        };
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let offset = table.column_offset(name).ok_or_else(|| Error::unknown_column(name, "field list"))?;
            if columns.contains(&offset) {
                return Err(Error::column_twice(name));
            }
            columns.push(offset);
        }
        Ok(columns)
    }

    fn insert_rows(
        &mut self,
        rows: &[Vec<ast::Expr>],
        columns: &[usize],
        database: &str,
        table: &Arc<Table>,
    ) -> Result<InsertSource> {
        let mut block = Block::new(target_columns(database, table, &table.name));
        let mut bound = Vec::with_capacity(rows.len());
        for (i, row) in rows.iter().enumerate() {
            if row.len() != columns.len() {
                return Err(Error::wrong_value_count(i + 1));
            }
            let cells = row.iter().zip(columns).map(|(value, &offset)| match value {
                ast::Expr::Default => insert_default(table, offset),
                value => self.expr(value, &mut block).map(Some),
            });
            bound.push(cells.collect::<Result<Vec<_>>>()?);
        }
        block.refuse_groups()?;
        if block.subqueries.is_empty() {
            return Ok(InsertSource::Values(bound));
        }
        refuse_reading_target(&block.subqueries, database, table)?;
        self.rows_as_query(bound, &block, columns, table)
    }

    /// Rows with subqueries are a SELECT without FROM each.
    fn rows_as_query(
        &mut self,
        rows: Vec<Vec<Option<Expr>>>,
        block: &Block,
        columns: &[usize],
        table: &Table,
    ) -> Result<InsertSource> {
        let mut inputs = Vec::with_capacity(rows.len());
        for row in rows {
            let mut exprs = Vec::with_capacity(row.len());
            for (cell, &offset) in row.into_iter().zip(columns) {
                let expr = match cell {
                    Some(expr) => expr,
                    None if table.columns[offset].auto_increment => Expr::null(),
                    None => default_value(&table.columns[offset])?,
                };
                if expr.columns().into_iter().any(|index| index < table.columns.len()) {
                    return Err(Error::unsupported("columns beside subqueries in VALUES"));
                }
                exprs.push(expr);
            }
            let mut stage = Stage::new(LogicalPlan::Values { rows: vec![Vec::new()], output: Vec::new() });
            let exprs = stage.settle(exprs, &block.subqueries)?;
            let output = exprs
                .iter()
                .map(|e| OutputColumn { name: String::new(), table: String::new(), origin: None, ty: e.ty().clone() })
                .collect();
            let width = exprs.len();
            stage.stack(width, |input| LogicalPlan::Project { input, exprs, output });
            inputs.push(stage.plan);
        }
        let root = match inputs.pop() {
            Some(only) if inputs.is_empty() => only,
            last => {
                inputs.extend(last);
                set_operation(SetKind::Union, true, inputs)?
            }
        };
        Ok(InsertSource::Query(Box::new(Query::reading(root))))
    }

    /// INSERT … SELECT. Assignments may name columns of the tables that a SELECT without groups reads; those that they do
    /// are selected behind the others.
    fn insert_query(
        &mut self,
        insert: &InsertTree,
        tree: &ast::Query,
        target: InsertTarget<'_>,
    ) -> Result<(InsertSource, Vec<Assignment>)> {
        let query = self.top_query(tree)?;
        if query.root.output().len() != target.columns.len() {
            return Err(Error::wrong_value_count(1));
        }
        let read = match &tree.body {
            QueryBody::Select(select) if !insert.on_duplicate.is_empty() && !is_grouped(&query.root) => {
                let ctes = self.ctes.len();
                self.put_in_sight(&tree.with, tree.recursive)?;
                let relation = self.from(&select.from);
                self.ctes.truncate(ctes);
                relation?.columns
            }
            _ => Vec::new(),
        };
        let mut on_duplicate = self.on_duplicate(insert, target, read.clone())?;
        let first = 2 * target.table.columns.len();
        let used = on_duplicate.iter().filter_map(|a| a.value.as_ref()).flat_map(Expr::columns).filter(|&i| i >= first);
        let used: Vec<usize> = BTreeSet::from_iter(used).into_iter().collect();
        if used.is_empty() {
            return Ok((InsertSource::Query(Box::new(query)), on_duplicate));
        }
        let mut tree = tree.clone();
        if let QueryBody::Select(select) = &mut tree.body {
            select.items.extend(used.iter().map(|&index| item_of(&read[index - first])));
        }
        let query = self.top_query(&tree)?;
        let place = |index: usize| used.binary_search(&index).map_or(index, |at| first + at);
        for assignment in &mut on_duplicate {
            assignment.value = assignment.value.take().map(|value| value.map_columns(&place));
        }
        Ok((InsertSource::Query(Box::new(query)), on_duplicate))
    }

    /// The assignments, over the target's columns twice and then those of `read`.
    fn on_duplicate(
        &mut self,
        insert: &InsertTree,
        target: InsertTarget<'_>,
        read: Vec<Named>,
    ) -> Result<Vec<Assignment>> {
        if insert.on_duplicate.is_empty() {
            return Ok(Vec::new());
        }
        let InsertTarget { database, table, columns } = target;
        let width = table.columns.len();
        let mut names = target_columns(database, table, &table.name);
        if let Some((alias, renames)) = &insert.alias {
            if !renames.is_empty() && renames.len() != columns.len() {
                return Err(Error::wrong_column_list());
            }
            let mut inserted = target_columns("", table, alias);
            for (name, &offset) in renames.iter().zip(columns) {
                inserted[offset].name = name.clone();
            }
            // A bare name is the existing row's; the new row's are named through the alias, unless renamed.
            for column in &mut inserted {
                column.bare = !renames.is_empty() && !names.iter().any(|n| n.name.eq_ignore_ascii_case(&column.name));
            }
            names.extend(inserted);
        } else {
            // Only VALUES() names the new row's.
            let unnamed = |column| Named { bare: false, visible: false, ..column };
            names.extend(target_columns("", table, "").into_iter().map(unnamed));
        }
        names.extend(read);
        let mut block = Block::new(names);
        block.inserted_from = Some(width);
        let mut assignments = Vec::with_capacity(insert.on_duplicate.len());
        for (name, value) in &insert.on_duplicate {
            let column = target_offset(name, &block, width)?;
            let value = match value {
                ast::Expr::Default => insert_default(table, column)?,
                value => Some(self.expr(value, &mut block)?),
            };
            assignments.push(Assignment { column, value });
        }
        refuse_reading_target(&block.subqueries, database, table)?;
        block.refuse_pending()?;
        Ok(assignments)
    }
}

/// What an INSERT writes: columns by their offsets, in the order of its values.
#[derive(Clone, Copy)]
struct InsertTarget<'a> {
    database: &'a str,
    table: &'a Arc<Table>,
    columns: &'a [usize],
}

/// Whether rows of a query stand for several rows of its tables.
fn is_grouped(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate { .. } => true,
        LogicalPlan::Project { input, .. }
        | LogicalPlan::Filter { input, .. }
        | LogicalPlan::Sort { input, .. }
        | LogicalPlan::Limit { input, .. }
        | LogicalPlan::Distinct { input }
        | LogicalPlan::Window { input, .. }
        | LogicalPlan::Apply { input, .. } => is_grouped(input),
        _ => false,
    }
}

/// A column of FROM as an item of a select list.
fn item_of(column: &Named) -> SelectItem {
    let text = |name: &str| if name.is_empty() { None } else { Some(name.to_string()) };
    let name = ColumnName { database: text(&column.database), table: text(&column.table), name: column.name.clone() };
    SelectItem::Expr { expr: ast::Expr::Column(name), alias: None, text: column.name.clone() }
}

/// Fails when a subquery reads the table that is written under its own name; an alias is another table to MySQL here.
fn refuse_reading_target(subqueries: &[Subquery], database: &str, table: &Arc<Table>) -> Result<()> {
    let alias = table.name.clone();
    let target = TableInSight { table: table.clone(), database: database.to_string(), alias, first: 0 };
    refuse_reading(subqueries, &target, &|scan| {
        scan.database == database && scan.table.name == table.name && scan.alias.eq_ignore_ascii_case(&table.name)
    })
}

/// The columns of a table that is written, all of them, by their names.
pub(super) fn target_columns(database: &str, table: &Arc<Table>, alias: &str) -> Vec<Named> {
    let named = |(offset, column): (usize, &crate::catalog::model::Column)| Named {
        database: database.to_string(),
        table: alias.to_string(),
        name: column.name.clone(),
        ty: column.ty.clone().with_coercibility(Coercibility::Implicit),
        origin: Some(crate::plan::Origin {
            database: database.to_string(),
            table: table.name.clone(),
            column: column.name.clone(),
            key_flags: crate::plan::KeyFlags::default(),
        }),
        bare: column.state == SchemaState::Public,
        visible: column.state == SchemaState::Public,
        source: Some((0, offset)),
    };
    table.columns.iter().enumerate().map(named).collect()
}

fn target_offset(name: &ColumnName, block: &Block, width: usize) -> Result<usize> {
    let found = find(&block.columns[..width], name, Clause::Fields)?;
    found.ok_or_else(|| Error::unknown_column(name, "field list"))
}

/// DEFAULT for a column: `None` lets the executor put it in, after the check that there is one.
fn insert_default(table: &Table, offset: usize) -> Result<Option<Expr>> {
    let column = &table.columns[offset];
    if !column.auto_increment {
        default_value(column)?;
    }
    Ok(None)
}
