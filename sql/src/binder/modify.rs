//! UPDATE and DELETE, of one table or several.

use super::call::default_value;
use super::from::ScanColumns;
use super::pending::Stage;
use super::scope::{Block, Clause, Relation, TableInSight, find};
use crate::error::{Error, Result};
use crate::parser::ast::{self, LimitClause, ObjectName, OrderItem, TableRef};
use crate::parser::statement::{Delete as DeleteTree, Update as UpdateTree};
use crate::plan::{Assignment, Delete, DeleteTarget, LogicalPlan, Scan, SortKey, Subquery, Update, UpdateTarget, walk};
use crate::privilege::Privileges;
use basalt_expr::expr::Expr;

/// A row that is changed under two names is found by its key the second time.
fn refuse_moved_keys(targets: &[UpdateTarget], tables: &[TableInSight]) -> Result<()> {
    for (at, target) in targets.iter().enumerate() {
        let Some(other) = targets[at + 1..].iter().find(|other| other.table.id == target.table.id) else { continue };
        let is_moved = |target: &UpdateTarget| target.assignments.iter().any(|a| target.table.handle.has(a.column));
        if is_moved(target) || is_moved(other) {
            let name =
                |target: &UpdateTarget| tables.iter().find(|t| t.first == target.offset).map(|t| t.alias.as_str());
            return Err(Error::key_of_two_names(name(target).unwrap_or_default(), name(other).unwrap_or_default()));
        }
    }
    Ok(())
}

impl super::Binder<'_> {
    /// Binds an UPDATE.
    pub(super) fn update(&mut self, update: &UpdateTree) -> Result<Update> {
        self.put_in_sight(&update.with.ctes, update.with.recursive)?;
        let relation = self.target_relation(&update.tables, Privileges::UPDATE)?;
        let mut block = Block::new(relation.columns.clone());
        let mut targets: Vec<UpdateTarget> = Vec::new();
        let mut assigned: Vec<(usize, usize, Option<Expr>)> = Vec::new();
        for (name, value) in &update.assignments {
            let found = find(&block.columns, name, Clause::Fields)?;
            let index = found.ok_or_else(|| Error::unknown_column(name, "field list"))?;
            let (table, offset) = source_of(&relation, index)
                .ok_or_else(|| Error::not_updatable(&block.columns[index].table, "UPDATE"))?;
            let value = match value {
                ast::Expr::Default => {
                    default_value(&relation.tables[table].table.columns[offset])?;
                    None
                }
                value => Some(self.expr(value, &mut block).and_then(Self::check_depth)?),
            };
            assigned.push((table, offset, value));
        }
        block.refuse_groups()?;
        let values: Vec<Expr> = assigned.iter().filter_map(|(_, _, v)| v.clone()).collect();
        let written: Vec<TableInSight> = assigned.iter().map(|(at, ..)| relation.tables[*at].clone()).collect();
        let rest = Rest { filter: update.filter.as_ref(), order_by: &update.order_by, limit: update.limit.as_ref() };
        let tables = relation.tables.clone();
        let (source, values) = self.rows(relation, block, rest, values, &written)?;
        let mut values = values.into_iter();
        for (at, offset, value) in assigned {
            let TableInSight { table, database, first, .. } = &tables[at];
            let value = value.and_then(|_| values.next());
            let assignment = Assignment { column: offset, value };
            match targets.iter_mut().find(|t| t.offset == *first) {
                Some(target) => target.assignments.push(assignment),
                None => targets.push(UpdateTarget {
                    table: table.clone(),
                    database: database.clone(),
                    offset: *first,
                    assignments: vec![assignment],
                }),
            }
        }
        // Where a table stands under two names, what the later one assigns stays.
        targets.sort_by_key(|target| target.offset);
        refuse_moved_keys(&targets, &tables)?;
        Ok(Update { source, targets, ignore: update.ignore })
    }

    /// Binds a DELETE.
    pub(super) fn delete(&mut self, delete: &DeleteTree) -> Result<Delete> {
        self.put_in_sight(&delete.with.ctes, delete.with.recursive)?;
        let relation = self.target_relation(&delete.from, Privileges::DELETE)?;
        let targets = match delete.targets.is_empty() {
            true => relation.tables.iter().take(1).map(delete_target).collect(),
            false => named_targets(&delete.targets, &relation)?,
        };
        if targets.is_empty() {
            return Err(Error::unsupported("DELETE of anything but tables"));
        }
        let block = Block::new(relation.columns.clone());
        let rest = Rest { filter: delete.filter.as_ref(), order_by: &delete.order_by, limit: delete.limit.as_ref() };
        let written: Vec<TableInSight> =
            relation.tables.iter().filter(|t| targets.iter().any(|target| target.offset == t.first)).cloned().collect();
        let (source, _) = self.rows(relation, block, rest, Vec::new(), &written)?;
        Ok(Delete { source, targets, ignore: delete.ignore })
    }

    /// FROM with all columns of every stored table, for rows to be written back.
    fn target_relation(&mut self, tables: &[TableRef], verb: Privileges) -> Result<Relation> {
        // Of several tables some may only be read; which, the plan tells.
        let is_one = matches!(tables, [TableRef::Table { .. }]);
        self.target_privileges = if is_one { verb } else { verb.with(Privileges::SELECT) };
        self.scanning(ScanColumns::All, |binder| binder.from(tables))
    }

    /// The rows to change, with WHERE, ORDER BY and LIMIT; subqueries of `values` are put up above them.
    fn rows(
        &mut self,
        relation: Relation,
        mut block: Block,
        rest: Rest<'_>,
        values: Vec<Expr>,
        written: &[TableInSight],
    ) -> Result<(LogicalPlan, Vec<Expr>)> {
        let filter = self.filter(rest.filter, &relation, &mut block)?;
        block.clause = Clause::OrderBy;
        let keys = self.sort_keys(rest.order_by, &mut block)?;
        block.refuse_groups()?;
        for target in written {
            refuse_reading(&block.subqueries, target, &|scan| {
                scan.database == target.database && scan.table.name == target.table.name
            })?;
        }
        let mut stage = Stage::new(relation.plan);
        if let Some(predicate) = filter {
            let predicate = stage.settle_one(predicate, &block.subqueries)?;
            let width = stage.width;
            stage.stack(width, |input| LogicalPlan::Filter { input, predicate });
        }
        if !keys.is_empty() {
            let (exprs, directions): (Vec<Expr>, Vec<bool>) = keys.into_iter().map(|k| (k.expr, k.descending)).unzip();
            let exprs = stage.settle(exprs, &block.subqueries)?;
            let keys =
                exprs.into_iter().zip(directions).map(|(expr, descending)| SortKey { expr, descending }).collect();
            let width = stage.width;
            stage.stack(width, |input| LogicalPlan::Sort { input, keys });
        }
        self.put_up_limit(&mut stage, rest.limit)?;
        let values = stage.settle(values, &block.subqueries)?;
        Ok((stage.plan, values))
    }
}

/// Fails when a subquery reads the table that the statement writes. Derived tables may: MySQL reads them beforehand.
pub(super) fn refuse_reading(subqueries: &[Subquery], target: &TableInSight, is_same: &IsSame<'_>) -> Result<()> {
    let is_read = subqueries.iter().any(|s| reads(&mut (*s.plan).clone(), is_same));
    if is_read { Err(Error::update_table_used(&target.alias)) } else { Ok(()) }
}

/// Whether a scan is of a statement's target.
pub(super) type IsSame<'a> = dyn Fn(&Scan) -> bool + 'a;

fn reads(plan: &mut LogicalPlan, is_same: &IsSame<'_>) -> bool {
    match plan {
        LogicalPlan::Scan(scan) => is_same(scan),
        LogicalPlan::Rename { .. } => false,
        LogicalPlan::Apply { input, subqueries } => {
            reads(input, is_same) || subqueries.iter_mut().any(|s| reads(&mut s.plan, is_same))
        }
        other => walk::inputs(other).into_iter().any(|input| reads(input, is_same)),
    }
}

/// The clauses that UPDATE and DELETE share.
struct Rest<'a> {
    filter: Option<&'a ast::Expr>,
    order_by: &'a [OrderItem],
    limit: Option<&'a LimitClause>,
}

/// The stored table and column behind a column of the relation, found by where the table's columns lie.
fn source_of(relation: &Relation, index: usize) -> Option<(usize, usize)> {
    relation.tables.iter().enumerate().find_map(|(at, table)| {
        let offset = index.checked_sub(table.first)?;
        (offset < table.table.columns.len()).then_some((at, offset))
    })
}

fn delete_target(table: &TableInSight) -> DeleteTarget {
    DeleteTarget { table: table.table.clone(), database: table.database.clone(), offset: table.first }
}

fn named_targets(names: &[ObjectName], relation: &Relation) -> Result<Vec<DeleteTarget>> {
    let mut targets: Vec<DeleteTarget> = Vec::with_capacity(names.len());
    for name in names {
        let target = named_target(name, relation)?;
        if targets.iter().any(|t| t.offset == target.offset) {
            return Err(Error::duplicate_alias(&name.name));
        }
        targets.push(target);
    }
    Ok(targets)
}

fn named_target(name: &ObjectName, relation: &Relation) -> Result<DeleteTarget> {
    let found = relation.tables.iter().find(|t| {
        t.alias.eq_ignore_ascii_case(&name.name)
            && name.database.as_ref().is_none_or(|d| t.database.eq_ignore_ascii_case(d))
    });
    let is_derived = || relation.columns.iter().any(|c| c.table.eq_ignore_ascii_case(&name.name));
    match found {
        Some(table) => Ok(delete_target(table)),
        None if is_derived() => Err(Error::not_updatable(&name.name, "DELETE")),
        None => Err(Error::unknown_table_in(&name.name, "MULTI DELETE")),
    }
}
