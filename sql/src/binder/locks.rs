//! FOR UPDATE and FOR SHARE: which tables the locking clauses of a SELECT name, and what finds their rows.
//!
//! A clause is about the stored tables in the FROM of its own SELECT: all of them, or those that OF names. Derived tables,
//! common table expressions and subqueries lock by clauses of their own.
//!
//! A statement that is one chain over one table locks as the short path reads it ([`Query::locking`]). Any other SELECT with
//! a clause is bound a second time, with the handles of the locked tables behind its select list ([`RowLocks`]):
//!
//! | the SELECT | bound for its locks | its result |
//! |---|---|---|
//! | is the statement, and groups nothing | itself | the same rows, without the handles |
//! | is a part of one, groups nothing and has a LIMIT | itself | from the statement |
//! | any other | FROM and WHERE | from the statement |
//!
//! Not done (1235): clauses of a correlated subquery and of the recursive part of a common table expression; SKIP LOCKED
//! where the rows that are locked are not the statement's result.
//!
//! [`Query::locking`]: crate::plan::Query::locking

use super::from::ScanColumns;
use super::scope::{Relation, TableInSight};
use crate::catalog::model::Handle;
use crate::error::{Error, Result};
use crate::parser::ast::{self, LockClause, ObjectName, Select};
use crate::plan::{LockTarget, LockWait, Locking, LogicalPlan, RowLocks, as_outer_column, walk};
use crate::planner::short;
use basalt_expr::expr::Expr;

/// What the locking clauses of a statement lock.
#[derive(Default)]
pub(super) struct Locks {
    /// The clause of a statement that the short path runs.
    pub of_only_table: Option<Locking>,
    /// All others.
    pub rows: Vec<RowLocks>,
}

/// Where a query expression stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the statement.
    Whole,
    /// Within a statement.
    Within,
}

/// The tables that the clauses of one SELECT lock, to be found when its FROM is bound.
pub(super) struct BlockLocks<'a> {
    clauses: &'a [LockClause],
    /// The select list gets the handles of the tables.
    gives_handles: bool,
    targets: Vec<LockTarget>,
}

impl<'a> BlockLocks<'a> {
    fn new(clauses: &'a [LockClause]) -> BlockLocks<'a> {
        BlockLocks { clauses, gives_handles: false, targets: Vec::new() }
    }

    /// What the scans of FROM must put out.
    pub fn scan_columns(&self) -> ScanColumns {
        if self.gives_handles { ScanColumns::PublicAndHandle } else { ScanColumns::Public }
    }

    /// Finds the tables in FROM. Returns the columns of FROM that are to stand behind a select list of `width` items.
    ///
    /// # Errors
    /// 3568, 3569 for names in OF.
    pub fn find(&mut self, relation: &Relation, width: usize) -> Result<Vec<usize>> {
        let mut columns = Vec::new();
        for (at, locking) in chosen(self.clauses, relation)? {
            let found = &relation.tables[at];
            let handle = if self.gives_handles { handle_of(found)? } else { Vec::new() };
            let first = width + columns.len();
            self.targets.push(LockTarget {
                table: found.table.clone(),
                database: found.database.clone(),
                handle: (first..first + handle.len()).collect(),
                locking,
            });
            columns.extend(handle);
        }
        Ok(columns)
    }
}

impl super::Binder<'_> {
    /// Binds a SELECT with locking clauses, and what finds the rows that they lock.
    pub(super) fn locking_block(&mut self, query: &ast::Query, select: &Select, place: Place) -> Result<LogicalPlan> {
        let mut block = BlockLocks::new(&query.locking);
        let plan = self.select_locking(select, &query.order_by, query.limit.as_ref(), Some(&mut block))?;
        if block.targets.is_empty() {
            return Ok(plan);
        }
        // While it is bound again, the clauses within are not heard a second time.
        let Some(mut locks) = self.locks.take() else { return Ok(plan) };
        match (place, &block.targets[..]) {
            (Place::Whole, [target]) if short::is_chain(&plan) => locks.of_only_table = Some(target.locking),
            _ => locks.rows.push(self.row_locks(query, select, place, &plan)?),
        }
        self.locks = Some(locks);
        Ok(plan)
    }

    /// Binds what finds the rows; `plan` is the SELECT itself.
    fn row_locks(&mut self, query: &ast::Query, select: &Select, place: Place, plan: &LogicalPlan) -> Result<RowLocks> {
        if self.is_in_recursion() {
            return Err(Error::unsupported(
                "FOR UPDATE and FOR SHARE in the recursive part of a common table expression",
            ));
        }
        let groups = is_grouped(plan);
        let is_result = place == Place::Whole && !groups;
        let skips = query.locking.iter().any(|clause| clause.skip_locked);
        if skips && !is_result {
            return Err(Error::unsupported(
                "SKIP LOCKED over joins and subqueries with groups, or in a part of a query",
            ));
        }
        let limit = query.limit.as_ref();
        let mut block = BlockLocks { gives_handles: true, ..BlockLocks::new(&query.locking) };
        let source = if is_result || (limit.is_some() && !groups) {
            // Rows that SKIP LOCKED leaves out do not count: who locks them stops when there are enough.
            let limit = limit.filter(|_| !skips);
            self.select_locking(select, &query.order_by, limit, Some(&mut block))?
        } else {
            let rows = Select { from: select.from.clone(), filter: select.filter.clone(), ..Select::default() };
            self.select_locking(&rows, &[], None, Some(&mut block))?
        };
        if is_correlated(&source)? {
            return Err(Error::unsupported("FOR UPDATE and FOR SHARE in a correlated subquery"));
        }
        let limit = limit.filter(|_| skips).map(|limit| self.row_limit(limit)).transpose()?;
        let result_columns = is_result.then(|| plan.output().len());
        Ok(RowLocks { source, targets: block.targets, result_columns, limit })
    }
}

/// The tables of FROM that clauses lock, by position, and how.
fn chosen(clauses: &[LockClause], relation: &Relation) -> Result<Vec<(usize, Locking)>> {
    let mut chosen: Vec<(usize, Locking)> = Vec::new();
    for clause in clauses {
        let named = match clause.of.is_empty() {
            true => relation.tables.iter().enumerate().map(|(at, table)| (at, table.alias.clone())).collect(),
            false => named_tables(&clause.of, relation)?,
        };
        for (at, name) in named {
            if chosen.iter().any(|(other, _)| *other == at) {
                return Err(Error::locked_twice(name));
            }
            chosen.push((at, locking(clause)));
        }
    }
    Ok(chosen)
}

/// The stored tables among the names in OF, with the names as errors show them.
fn named_tables(names: &[ObjectName], relation: &Relation) -> Result<Vec<(usize, String)>> {
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        let text = match &name.database {
            Some(database) => format!("`{database}`.`{}`", name.name),
            None => format!("`{}`", name.name),
        };
        let is_it = |table: &TableInSight| {
            table.alias.eq_ignore_ascii_case(&name.name)
                && name.database.as_ref().is_none_or(|database| table.database.eq_ignore_ascii_case(database))
        };
        let is_derived =
            || name.database.is_none() && relation.columns.iter().any(|c| c.table.eq_ignore_ascii_case(&name.name));
        match relation.tables.iter().position(is_it) {
            Some(at) => tables.push((at, text)),
            None if is_derived() => {}
            None => return Err(Error::no_table_to_lock(text)),
        }
    }
    Ok(tables)
}

fn locking(clause: &LockClause) -> Locking {
    let wait = match (clause.no_wait, clause.skip_locked) {
        (true, _) => LockWait::NoWait,
        (_, true) => LockWait::SkipLocked,
        _ => LockWait::Default,
    };
    Locking { share: clause.share, wait }
}

/// Where the columns of a table's handle stand in FROM.
fn handle_of(found: &TableInSight) -> Result<Vec<usize>> {
    let offsets = match &found.table.handle {
        Handle::Integer(offset) => vec![*offset],
        Handle::Common(offsets) => offsets.clone(),
        Handle::Hidden => vec![found.table.columns.len()],
    };
    let scanned = ScanColumns::PublicAndHandle.offsets(&found.table);
    let place = |offset: usize| {
        let position = scanned.iter().position(|&column| column == offset);
        position.map(|position| found.first + position).ok_or_else(|| Error::internal("a key that cannot be read"))
    };
    offsets.into_iter().map(place).collect()
}

/// Whether rows of a SELECT stand for several rows of its tables, or depend on rows that a LIMIT leaves out.
fn is_grouped(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate { .. } | LogicalPlan::Distinct { .. } | LogicalPlan::Window { .. } => true,
        LogicalPlan::Project { input, .. }
        | LogicalPlan::Filter { input, .. }
        | LogicalPlan::Sort { input, .. }
        | LogicalPlan::Limit { input, .. }
        | LogicalPlan::Apply { input, .. } => is_grouped(input),
        _ => false,
    }
}

/// Whether a plan reads columns of a query around it.
fn is_correlated(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    walk::deep(&mut plan.clone(), 0, &mut |expr, level| {
        expr.visit(&mut |e| {
            if let Expr::Column { index, .. } = e {
                found |= as_outer_column(*index).is_some_and(|(depth, _)| depth >= level);
            }
        });
        Ok(())
    })?;
    Ok(found)
}
