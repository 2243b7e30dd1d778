//! The schema that a statement works under, held until the statement has its timestamp.

use super::session::SqlSession;
use crate::binder::{self, Bound};
use crate::catalog::model::Schema;
use crate::catalog::{SchemaGuard, SeenSchema};
use crate::error::{Error, Result};
use crate::parser::Statement;
use crate::planner::{self, PhysicalPlan, RowsPlan, ShortQuery};
use basalt_common::TableId;
use basalt_expr::types::FieldType;
use std::sync::Arc;

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

    /// Lets the schema go at once when the plan reads and writes no table: it may take its time (SLEEP).
    pub(super) fn for_plan(self, plan: &PhysicalPlan) -> Option<SchemaUse> {
        let needs_it = match plan {
            PhysicalPlan::Short(short) => short.table().is_some(),
            PhysicalPlan::Query(_) => !tables_read(plan).is_empty(),
            PhysicalPlan::Insert(_) | PhysicalPlan::Update(_) | PhysicalPlan::Delete(_) => true,
        };
        needs_it.then_some(self)
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
