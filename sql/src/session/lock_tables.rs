//! LOCK TABLES and UNLOCK TABLES, and what a session may do in between.
//!
//! As in MySQL: a table is used by the alias that it was locked by, at most once in a statement for each time that it stands
//! in the list; made-up tables are always free. The tables' claim ([`TableLock`]) ends with UNLOCK TABLES, BEGIN, the next LOCK
//! TABLES and the connection. A session whose claim was taken away, as nobody heard of its server for long, has nothing locked
//! and can use nothing until one of them.

use super::schema::tables_written;
use super::session::SqlSession;
use crate::catalog::model::{Schema, Table};
use crate::catalog::{Claim, Wanted, information_schema};
use crate::ddl::TableLock;
use crate::error::{Error, Result};
use crate::parser::ast::ObjectName;
use crate::parser::statement::{Ddl, TableToLock};
use crate::plan::LogicalPlan;
use crate::planner::{self, PhysicalPlan, RowsPlan, ShortQuery, ShortSource};
use basalt_common::TableId;
use std::sync::Arc;

/// What a session has locked.
pub(super) struct LockedTables {
    /// `None` where all of them are made up.
    lock: Option<TableLock>,
    /// The stored ones.
    tables: Vec<LockedTable>,
}

/// One table of the list.
struct LockedTable {
    id: TableId,
    database: String,
    name: String,
    alias: String,
    write: bool,
}

impl LockedTables {
    pub(super) fn lock(&self) -> Option<&TableLock> {
        self.lock.as_ref()
    }

    fn claim<'a>(&self, schema: &'a Schema) -> Option<&'a Claim> {
        schema.claims.find(self.lock.as_ref()?.id())
    }

    fn named<'a>(&'a self, database: &'a str, name: &'a str) -> impl Iterator<Item = &'a LockedTable> {
        let is_it = move |table: &&LockedTable| {
            table.database.eq_ignore_ascii_case(database) && table.name.eq_ignore_ascii_case(name)
        };
        self.tables.iter().filter(is_it)
    }
}

impl LockedTable {
    /// After a schema change of the session: the table as it is now. False when it is gone.
    fn follow(&mut self, schema: &Schema, claim: &Claim) -> bool {
        let is_claimed = |table: &&Arc<Table>| claim.wanted.all.contains(&table.id);
        let truncated = || schema.table(&self.database, &self.name).filter(is_claimed).map(|table| table.id);
        let kept = schema.table_by_id(self.id).map(|(_, table)| table.id);
        let Some((database, table)) = kept.or_else(truncated).and_then(|id| schema.table_by_id(id)) else {
            return false;
        };
        if self.alias == self.name {
            self.alias.clone_from(&table.name);
        }
        (self.id, self.database, self.name) = (table.id, database.name.clone(), table.name.clone());
        true
    }
}

/// What is claimed for tables.
fn wanted(tables: &[LockedTable]) -> Wanted {
    let ids = |write: bool| tables.iter().filter(move |table| table.write == write).map(|table| table.id);
    let all = Wanted::all(ids(true));
    Wanted { writes: ids(false).filter(|table| !all.all.contains(table)).collect(), ..all }
}

impl SqlSession {
    /// LOCK TABLES.
    ///
    /// # Errors
    /// 1066 for an alias that stands twice in the list; nothing has happened then. 1049, 1146, 1044; 1205 and 1317 where
    /// others are waited for: what was locked before is given back then.
    pub(super) async fn lock_tables(&mut self, tables: &[TableToLock], statement: &str) -> Result<()> {
        for (at, table) in tables.iter().enumerate() {
            let is_same = |other: &TableToLock| {
                other.name.database == table.name.database && alias_of(other).eq_ignore_ascii_case(alias_of(table))
            };
            if tables[..at].iter().any(is_same) {
                return Err(Error::duplicate_alias(alias_of(table)));
            }
        }
        self.commit_transaction().await?;
        self.release_tables().await;
        let (eval, entry) = (self.eval_context(Arc::from([]), false), self.entry());
        let show_state = |state: &str| entry.iter().for_each(|entry| entry.set_state(state));
        let ctx = self.ddl_context(statement, &eval, &show_state);
        let lock = TableLock::take(&ctx, |schema| Ok(wanted(&self.find_to_lock(schema, tables)?))).await?;
        let tables = self.find_to_lock(&*self.server.catalog.schema()?, tables)?;
        self.locks = Some(LockedTables { lock, tables });
        Ok(())
    }

    fn find_to_lock(&self, schema: &Schema, tables: &[TableToLock]) -> Result<Vec<LockedTable>> {
        let mut found = Vec::with_capacity(tables.len());
        for table in tables {
            let name = &table.name;
            let database = name.database.as_deref().or(self.database.as_deref()).ok_or_else(Error::no_database)?;
            if database.eq_ignore_ascii_case("information_schema") {
                return Err(self.database_denied(database));
            }
            if information_schema::columns(database, &name.name).is_some() {
                continue;
            }
            let is_there = schema.database(database).is_some() || information_schema::is_database(database);
            match schema.table(database, &name.name) {
                Some(stored) => found.push(LockedTable {
                    id: stored.id,
                    database: database.to_string(),
                    name: stored.name.clone(),
                    alias: alias_of(table).to_string(),
                    write: table.write,
                }),
                None if is_there => return Err(Error::no_such_table(database, &name.name)),
                None => return Err(Error::unknown_database(database)),
            }
        }
        Ok(found)
    }

    /// UNLOCK TABLES: commits, where anything was locked.
    ///
    /// # Errors
    /// Of the commit.
    pub(super) async fn unlock_tables(&mut self) -> Result<()> {
        if self.locks.is_none() {
            return Ok(());
        }
        let committed = self.commit_transaction().await;
        self.release_tables().await;
        committed
    }

    /// Gives locked tables back; the transaction is over.
    pub(super) async fn release_tables(&mut self) {
        if let Some(lock) = self.locks.take().and_then(|locks| locks.lock) {
            lock.release().await;
        }
    }

    /// After a schema change: locked tables have other names, or are gone. Without any the session is free again.
    pub(super) async fn follow_locked_tables(&mut self) {
        let (Some(locks), Ok(schema)) = (&mut self.locks, self.server.catalog.schema()) else { return };
        if let Some(claim) = locks.claim(&schema) {
            locks.tables.retain_mut(|table| table.follow(&schema, claim));
            if locks.tables.is_empty() {
                self.release_tables().await;
            }
        }
    }

    /// Refuses a plan that uses what is not locked (1100), or writes to what is locked for reading (1099).
    pub(super) fn check_locked(&self, plan: &PhysicalPlan) -> Result<()> {
        let Some(locks) = &self.locks else { return Ok(()) };
        let schema = self.server.catalog.schema()?;
        let is_in_force = locks.lock.is_none() || locks.claim(&schema).is_some();
        let mut left: Vec<&LockedTable> = locks.tables.iter().filter(|_| is_in_force).collect();
        for used in tables_named(plan) {
            let is_it =
                |locked: &&LockedTable| locked.id == used.table && locked.alias.eq_ignore_ascii_case(&used.alias);
            let Some(at) = left.iter().position(is_it) else { return Err(Error::not_locked(used.alias)) };
            let locked = left.swap_remove(at);
            if used.writes && !locked.write {
                return Err(Error::locked_for_reading(used.alias));
            }
        }
        Ok(())
    }

    /// Refuses (1100) a table that is not in the list, whatever its alias there.
    pub(super) fn check_locked_name(&self, database: &str, name: &str, alias: &str) -> Result<()> {
        let Some(locks) = &self.locks else { return Ok(()) };
        let is_made_up = information_schema::columns(database, name).is_some();
        if is_made_up || locks.named(database, name).next().is_some() {
            return Ok(());
        }
        Err(Error::not_locked(alias))
    }

    /// Refuses a table that is not in the list, whatever its alias there, or not locked for writing.
    pub(super) fn check_locked_for(&self, name: &ObjectName, writes: bool) -> Result<()> {
        let Some(locks) = &self.locks else { return Ok(()) };
        let database = name.database.as_deref().or(self.database.as_deref()).ok_or_else(Error::no_database)?;
        self.check_locked_name(database, &name.name, &name.name)?;
        match !writes || locks.named(database, &name.name).any(|table| table.write) {
            true => Ok(()),
            false => Err(Error::locked_for_reading(&name.name)),
        }
    }

    /// Refuses a schema change of what is not locked for writing.
    pub(super) fn check_locked_ddl(&self, ddl: &Ddl) -> Result<()> {
        if self.locks.is_none() {
            return Ok(());
        }
        let check = |name: &ObjectName| self.check_locked_for(name, true);
        match ddl {
            Ddl::CreateDatabase { .. }
            | Ddl::AlterDatabase { .. }
            | Ddl::DropDatabase { .. }
            | Ddl::DropView { .. } => Err(Error::tables_are_locked()),
            Ddl::CreateTable(create) if create.temporary => Ok(()),
            Ddl::CreateTable(create) => Err(Error::not_locked(&create.name.name)),
            Ddl::DropTable { temporary: true, .. } => Ok(()),
            Ddl::DropTable { tables, .. } => tables.iter().try_for_each(check),
            Ddl::Truncate(table)
            | Ddl::AlterTable { table, .. }
            | Ddl::CreateIndex { table, .. }
            | Ddl::DropIndex { table, .. } => check(table),
            Ddl::Rename(pairs) => {
                // A name that an earlier pair of the list makes is that pair's table.
                let is_made = |name: &ObjectName, before: usize| pairs[..before].iter().any(|(_, to)| to == name);
                let named = pairs.iter().enumerate().filter(|(at, (from, _))| !is_made(from, *at));
                named.map(|(_, (from, _))| from).try_for_each(check)
            }
        }
    }

    /// Refuses changes of accounts while tables are locked: the tables that MySQL keeps them in are not.
    pub(super) fn refuse_accounts_under_lock(&self) -> Result<()> {
        if self.locks.is_none() { Ok(()) } else { Err(Error::not_locked("user")) }
    }
}

fn alias_of(table: &TableToLock) -> &str {
    table.alias.as_deref().unwrap_or(&table.name.name)
}

/// A table as a statement names it.
struct Named {
    table: TableId,
    alias: String,
    writes: bool,
}

/// The tables that the statement of a plan names, each as often as it does.
fn tables_named(plan: &PhysicalPlan) -> Vec<Named> {
    let mut named = Vec::new();
    match plan {
        PhysicalPlan::Short(short) => name_short(short, &mut named),
        PhysicalPlan::Query(query) => name_scans(&query.root, &mut named),
        PhysicalPlan::Insert(insert) => {
            let table = &insert.insert.table;
            named.push(Named { table: table.id, alias: table.name.clone(), writes: true });
            match plan.rows() {
                Some(RowsPlan::Short(short)) => name_short(short, &mut named),
                Some(RowsPlan::Query(query)) => name_scans(&query.root, &mut named),
                None => {}
            }
            return named;
        }
        PhysicalPlan::Update(plan) => {
            let targets: Vec<_> = plan.update.targets.iter().map(|t| (t.table.id, t.offset)).collect();
            name_targets(&plan.update.source, &targets, &mut named);
            return named;
        }
        PhysicalPlan::Delete(plan) => {
            let targets: Vec<_> = plan.delete.targets.iter().map(|t| (t.table.id, t.offset)).collect();
            name_targets(&plan.delete.source, &targets, &mut named);
            return named;
        }
    }
    let written = tables_written(plan);
    named.iter_mut().for_each(|used| used.writes = written.contains(&used.table));
    named
}

fn name_short(short: &ShortQuery, named: &mut Vec<Named>) {
    if let ShortSource::Table(read) = &short.source {
        named.push(Named { table: read.scan.table.id, alias: read.scan.alias.clone(), writes: false });
    }
}

fn name_scans(plan: &LogicalPlan, named: &mut Vec<Named>) {
    planner::visit_scans(plan, &mut |scan| {
        named.push(Named { table: scan.table.id, alias: scan.alias.clone(), writes: false });
    });
}

/// The tables of a relation, of which those at some offsets are changed.
fn name_targets(source: &LogicalPlan, targets: &[(TableId, usize)], named: &mut Vec<Named>) {
    let written: Vec<_> = targets.iter().map(|&(table, offset)| (table, alias_at(source, offset))).collect();
    name_scans(source, named);
    for used in named {
        used.writes =
            written.iter().any(|(table, alias)| *table == used.table && alias.is_none_or(|alias| alias == used.alias));
    }
}

/// The alias of the scan whose columns begin at an offset of a relation's output.
fn alias_at(plan: &LogicalPlan, offset: usize) -> Option<&str> {
    match plan {
        LogicalPlan::Scan(scan) => (offset == 0).then_some(&*scan.alias),
        LogicalPlan::Join { left, right, .. } => {
            let width = left.output().len();
            if offset < width { alias_at(left, offset) } else { alias_at(right, offset - width) }
        }
        LogicalPlan::Filter { input, .. }
        | LogicalPlan::Sort { input, .. }
        | LogicalPlan::Apply { input, .. }
        | LogicalPlan::Limit { input, .. }
        | LogicalPlan::Project { input, .. } => alias_at(input, offset),
        _ => None,
    }
}
