//! The schema that a statement is bound under, and the tables that it and its transaction hold (metadata locks).
//!
//! The schema is held until the tables are, and until a transaction that begins has its snapshot. A table that a schema change
//! or LOCK TABLES claims ([`crate::catalog::claims`]) is waited for, unless the transaction uses it already: the claim waits for that.

use super::session::SqlSession;
use crate::binder::{self, Bound};
use crate::catalog::model::Schema;
use crate::catalog::{SchemaGuard, SeenSchema, TableUse};
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
    /// [`Error::BindAgain`] after a claim was waited for; 1205 when that takes longer than `lock_wait_timeout`, 1317. 1213
    /// when that claim waits for this transaction, which is rolled back. 8027.
    pub(super) async fn hold_tables(&mut self, plan: &PhysicalPlan, schema: SchemaUse) -> Result<()> {
        let uses = uses_of(plan);
        if uses.is_empty() {
            return Ok(());
        }
        let claims = &schema.newest().claims;
        let holds = &self.txn.holds;
        let first_claim = |&(table, table_use): &(TableId, TableUse)| {
            holds.first_claim(claims, table, table_use).map(|claim| (claim, (table, table_use)))
        };
        // Tables that the session has locked are nobody else's.
        let in_the_way = if self.locks.is_some() { None } else { uses.iter().find_map(first_claim) };
        if let Some((claim, wanted)) = in_the_way {
            let is_circle = claims.queue_of(claim).into_iter().any(|claim| holds.are_wanted(claim));
            // Another claim, or a row's next owner, waits for this transaction; whether this claim waits for one of those,
            // nobody can see.
            let is_waited_for = claims.iter().any(|claim| holds.are_wanted(claim)) || self.txn.has_locks();
            let circle_after = is_waited_for.then_some(CIRCLE_SUPPOSED);
            let id = claim.id;
            drop(schema);
            if is_circle || !self.wait_for_claim(id, wanted, circle_after).await? {
                self.txn.rollback().await;
                return Err(basalt_client::Error::Deadlock { key: Bytes::new(), circle: Vec::new() }.into());
            }
            return Err(Error::BindAgain);
        }
        self.txn.holds.take(&schema.guard, &uses);
        self.txn.enter();
        // The snapshot is taken under the schema that it is said to be of.
        if self.reads_snapshot(plan) { self.txn.take_snapshot().await } else { Ok(()) }
    }

    /// Waits until a claim lets others use the table so; false when it takes longer than `at_most` until it is served.
    async fn wait_for_claim(
        &self,
        id: u64,
        (table, table_use): (TableId, TableUse),
        at_most: Option<Duration>,
    ) -> Result<bool> {
        let catalog = &self.server.catalog;
        let mut changes = catalog.changes();
        if let Some(entry) = self.entry() {
            entry.set_state(ddl::METADATA_LOCK_STATE);
        }
        let now = tokio::time::Instant::now();
        let until = now + self.variables.typed().metadata_lock_timeout;
        let mut supposed = now + at_most.unwrap_or(FOREVER);
        while catalog.schema()?.claims.find(id).is_some_and(|claim| claim.wanted.keeps(table, table_use)) {
            tokio::select! {
                () = self.connection.kill.interrupted() => return Err(Error::Killed),
                () = tokio::time::sleep_until(until) => return Err(Error::lock_wait_timeout()),
                () = tokio::time::sleep_until(supposed) => {
                    // LOCK TABLES that has what it wants waits for nobody.
                    if !ddl::is_granted(catalog, id).await? {
                        return Ok(false);
                    }
                    supposed = now + FOREVER;
                }
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

/// How long a transaction that others may wait for waits for a claim, before it is taken for a deadlock.
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

/// The stored tables of a plan, and what it does with them. Of a table with a row lock all scans lock.
fn uses_of(plan: &PhysicalPlan) -> Vec<(TableId, TableUse)> {
    let written = tables_written(plan);
    let table_use = |table: &TableId| if written.contains(table) { TableUse::Writes } else { TableUse::Reads };
    let read = tables_read(plan).into_iter().map(|table| (table, table_use(&table)));
    written.iter().map(|table| (*table, TableUse::Writes)).chain(read).collect()
}

/// The tables whose rows a plan changes or locks for an update.
pub(super) fn tables_written(plan: &PhysicalPlan) -> Vec<TableId> {
    let locked = |query: &crate::plan::Query| {
        let targets = query.locks.iter().flat_map(|locks| &locks.targets);
        targets.filter(|target| !target.locking.share).map(|target| target.table.id).collect::<Vec<_>>()
    };
    let locked_by_short = |short: &ShortQuery| match short.locking {
        Some(locking) if !locking.share => short.table().map(|t| t.id).into_iter().collect(),
        _ => Vec::new(),
    };
    let mut written = match plan {
        PhysicalPlan::Short(short) => return locked_by_short(short),
        PhysicalPlan::Query(query) => return locked(query),
        PhysicalPlan::Insert(plan) => vec![plan.insert.table.id],
        PhysicalPlan::Update(plan) => plan.update.targets.iter().map(|target| target.table.id).collect(),
        PhysicalPlan::Delete(plan) => plan.delete.targets.iter().map(|target| target.table.id).collect(),
    };
    if let PhysicalPlan::Insert(_) = plan {
        written.extend(match plan.rows() {
            Some(RowsPlan::Short(short)) => locked_by_short(short),
            Some(RowsPlan::Query(query)) => locked(query),
            None => Vec::new(),
        });
    }
    written
}
