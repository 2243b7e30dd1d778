//! The schema that a statement is bound under, and the tables that it and its transaction hold (metadata locks).
//!
//! The schema is held until the tables are, and until a transaction that begins has its snapshot. A table that a change
//! wants for itself ([`crate::ddl`]) is waited for, unless the transaction uses it already: the change waits for that.

use super::session::SqlSession;
use crate::binder::{self, Bound};
use crate::catalog::model::Schema;
use crate::catalog::{SchemaGuard, SeenSchema};
use crate::ddl;
use crate::error::{Error, Result};
use crate::parser::Statement;
use crate::planner::{self, PhysicalPlan, RowsPlan, ShortQuery};
use basalt_common::TableId;
use basalt_expr::types::FieldType;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// The schema of one statement.
pub(super) struct SchemaUse {
    guard: SchemaGuard,
    /// Within a transaction whose snapshot is older than the newest schema.
    seen: Option<Arc<SeenSchema>>,
}

impl SchemaUse {
    /// The newest schema.
    pub(super) fn newest(&self) -> &Arc<Schema> {
        self.guard.schema()
    }

    /// True when plans made with it serve every statement of the same schema version.
    pub(super) fn is_newest(&self) -> bool {
        self.seen.is_none()
    }
}

impl SqlSession {
    /// Takes hold of the schema for the next statement.
    ///
    /// # Errors
    /// 8027 when the cluster cannot be reached.
    pub(super) fn use_schema(&mut self) -> Result<SchemaUse> {
        let guard = self.server.catalog.guard()?;
        let newest = guard.schema();
        let then = self.txn.snapshot_schema().filter(|then| then.version != newest.version);
        let seen = then.map(|then| match &self.seen {
            Some(seen) if seen.schema.version == newest.version && seen.then == then.version => seen.clone(),
            _ => Arc::new(SeenSchema::new(newest, then)),
        });
        if seen.is_some() {
            self.seen = seen.clone();
        }
        self.txn.work_under(newest);
        Ok(SchemaUse { guard, seen })
    }

    /// Holds the tables of a plan for the statement, or for the transaction to its end, and lets the schema go.
    ///
    /// # Errors
    /// [`Error::BindAgain`] after a table was waited for; 1205 when that takes longer than `lock_wait_timeout`, 1317. 1213
    /// when that change waits for this transaction, which is rolled back. 8027.
    pub(super) async fn hold_tables(&mut self, plan: &PhysicalPlan, schema: SchemaUse) -> Result<()> {
        let tables = tables_of(plan);
        if tables.is_empty() {
            return Ok(());
        }
        let exclusive = &schema.newest().exclusive;
        let is_wanted = |table: &TableId| exclusive.contains_key(table);
        if let Some(table) = tables.iter().find(|table| is_wanted(table) && !self.txn.holds.has(**table)).copied() {
            let change = exclusive.get(&table).copied();
            let wanted_of_us = self.txn.holds.tables().filter_map(|held| exclusive.get(&held)).max().copied();
            let is_circle = self.txn.holds.tables().any(|held| exclusive.get(&held).copied() == change);
            drop(schema);
            // Another change waits for this transaction; whether this one waits for whoever waits for that, nobody can see.
            let circle_after = wanted_of_us.map(|_| CIRCLE_SUPPOSED);
            if is_circle || !self.wait_for_table(table, circle_after).await? {
                self.txn.rollback().await;
                return Err(basalt_client::Error::Deadlock { key: Bytes::new() }.into());
            }
            return Err(Error::BindAgain);
        }
        self.txn.holds.take(&schema.guard, &tables);
        self.txn.enter();
        // The snapshot is taken under the schema that it is said to be of.
        if self.reads_snapshot(plan) { self.txn.take_snapshot().await } else { Ok(()) }
    }

    /// Waits until no change wants the table for itself; false when that takes longer than `at_most`.
    async fn wait_for_table(&self, table: TableId, at_most: Option<Duration>) -> Result<bool> {
        let mut changes = self.server.catalog.changes();
        if let Some(entry) = self.entry() {
            entry.set_state(ddl::METADATA_LOCK_STATE);
        }
        let now = tokio::time::Instant::now();
        let until = now + self.variables.typed().metadata_lock_timeout;
        let supposed = now + at_most.unwrap_or(FOREVER);
        while self.server.catalog.schema()?.exclusive.contains_key(&table) {
            tokio::select! {
                () = self.connection.kill.interrupted() => return Err(Error::Killed),
                () = tokio::time::sleep_until(until) => return Err(Error::lock_wait_timeout()),
                () = tokio::time::sleep_until(supposed) => return Ok(false),
                changed = changes.changed() => changed.map_err(|_| Error::Killed)?,
            }
        }
        if let Some(entry) = self.entry() {
            entry.set_state("");
        }
        Ok(true)
    }

    /// True when plans of the newest schema are not this transaction's.
    pub(super) fn reads_older_schema(&self, newest: u64) -> bool {
        self.txn.snapshot_schema().is_some_and(|then| then.version != newest)
    }

    /// Binds and plans a statement; says also whether the plan may be kept.
    pub(super) fn bind_and_plan(
        &self,
        statement: &Statement,
        schema: &SchemaUse,
        types: &[FieldType],
    ) -> Result<(PhysicalPlan, bool)> {
        let Some(seen) = schema.seen.as_ref().filter(|_| !matches!(statement, Statement::Show(_))) else {
            let Bound { statement, cacheable } = binder::bind(statement, &self.bind_context(schema.newest(), types))?;
            return Ok((self.plan(statement), cacheable));
        };
        let bound = match binder::bind(statement, &self.bind_context(&seen.schema, types)) {
            // A hint names an index; is it only too young?
            Err(error) if error.code() == NO_SUCH_KEY => {
                binder::bind(statement, &self.bind_context(schema.newest(), types))?;
                return Err(Error::table_definition_changed());
            }
            bound => bound?,
        };
        let plan = self.plan(bound.statement);
        if self.reads_snapshot(&plan) {
            tables_read(&plan).into_iter().try_for_each(|table| seen.check_read(table))?;
        }
        Ok((plan, false))
    }

    /// True for what reads the transaction's snapshot, not the newest rows.
    fn reads_snapshot(&self, plan: &PhysicalPlan) -> bool {
        !self.txn.is_pessimistic()
            || match plan {
                PhysicalPlan::Short(short) => short.locking.is_none(),
                PhysicalPlan::Query(query) => query.locks.is_empty(),
                PhysicalPlan::Insert(_) | PhysicalPlan::Update(_) | PhysicalPlan::Delete(_) => false,
            }
    }
}

/// How long a transaction whose tables one change waits for waits for another change, before it is taken for a deadlock.
const CIRCLE_SUPPOSED: Duration = Duration::from_secs(10);
/// Longer than anybody waits.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// "Key doesn't exist in table".
const NO_SUCH_KEY: u16 = 1176;

fn tables_read(plan: &PhysicalPlan) -> Vec<TableId> {
    let mut tables = Vec::new();
    let mut of_query = |query: &crate::plan::Query| {
        planner::visit_scans(&query.root, &mut |scan| tables.push(scan.table.id));
    };
    let short_table = |short: &ShortQuery| short.table().map(|t| t.id).into_iter().collect();
    match plan {
        PhysicalPlan::Short(short) => return short_table(short),
        PhysicalPlan::Query(query) => of_query(query),
        PhysicalPlan::Insert(_) | PhysicalPlan::Update(_) | PhysicalPlan::Delete(_) => match plan.rows() {
            Some(RowsPlan::Short(short)) => return short_table(short),
            Some(RowsPlan::Query(query)) => of_query(query),
            None => {}
        },
    }
    tables
}

/// The stored tables that a plan reads and writes.
fn tables_of(plan: &PhysicalPlan) -> Vec<TableId> {
    let mut tables = tables_read(plan);
    match plan {
        PhysicalPlan::Short(_) | PhysicalPlan::Query(_) => {}
        PhysicalPlan::Insert(plan) => tables.push(plan.insert.table.id),
        PhysicalPlan::Update(plan) => tables.extend(plan.update.targets.iter().map(|target| target.table.id)),
        PhysicalPlan::Delete(plan) => tables.extend(plan.delete.targets.iter().map(|target| target.table.id)),
    }
    tables
}
