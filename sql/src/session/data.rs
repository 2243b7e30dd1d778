//! SELECT, DML and SHOW: from a plan to rows or an OK packet.

use super::schema::SchemaUse;
use super::session::{Diagnostic, SqlSession};
use crate::catalog::information_schema;
use crate::catalog::model::Schema;
use crate::context::{Counters, Limits, RowStream, StatementContext};
use crate::error::{Error, Result};
use crate::executor::{self, DmlResult, Outcome};
use crate::parser::Statement;
use crate::parser::ast::{Expr, Query, QueryBody, Select, SelectItem};
use crate::planner::{self, PhysicalPlan, RowsPlan};
use crate::privilege::Privileges;
use crate::query::{self, VirtualTables};
use crate::server::column::ColumnDef;
use crate::server::constant::Capabilities;
use crate::server::result::{EndOfRows, OkSummary, ResultWriter};
use arrow::record_batch::RecordBatch;
use basalt_expr::EvalContext;
use basalt_expr::temporal::zone::TimeZone;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use std::sync::Arc;
use std::time::Duration;

/// How often a statement is bound again because the schema changed under it.
const SCHEMA_TRIES: u32 = 5;

/// True for statements that write.
pub(super) fn is_write(statement: &Statement) -> bool {
    matches!(statement, Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_))
}

/// What a statement does to data, which decides what a failing calculation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It reads: a warning.
    Reads,
    /// It writes: an error in strict mode.
    Writes,
    /// It writes with IGNORE: a warning.
    WritesIgnoring,
}

impl Effect {
    fn of(plan: &PhysicalPlan) -> Effect {
        let ignore = match plan {
            PhysicalPlan::Insert(plan) => plan.insert.ignore,
            PhysicalPlan::Update(plan) => plan.update.ignore,
            PhysicalPlan::Delete(plan) => plan.delete.ignore,
            _ => return Effect::Reads,
        };
        if ignore { Effect::WritesIgnoring } else { Effect::Writes }
    }
}

impl SqlSession {
    /// Binds, plans and runs a statement of so many bytes; again when the schema changed meanwhile.
    pub(super) async fn run_data(
        &mut self,
        statement: &Statement,
        (params, text_bytes): (Arc<[Value]>, usize),
        out: &mut ResultWriter,
        more: bool,
    ) -> Result<()> {
        let types: Vec<FieldType> = params.iter().map(basalt_expr::func::literal_type).collect();
        let mut tries = 0;
        loop {
            let schema = self.use_schema()?;
            let (plan, _) = self.measured(text_bytes, || self.bind_and_plan(statement, &schema, &types))?;
            match self.run_plan(&plan, schema, params.clone(), out, more).await {
                Err(Error::BindAgain) => continue,
                Err(Error::SchemaChanged) if tries < SCHEMA_TRIES && !self.txn.is_open() => tries += 1,
                outcome => return outcome,
            }
            self.server.catalog.refresh().await?;
        }
    }

    /// Runs a plan and writes its result. Outside of a transaction the tables are let go before the client takes the first
    /// row.
    pub(super) async fn run_plan(
        &mut self,
        plan: &PhysicalPlan,
        schema: SchemaUse,
        params: Arc<[Value]>,
        out: &mut ResultWriter,
        more: bool,
    ) -> Result<()> {
        self.check_plan(plan)?;
        let ctx =
            self.statement_context(schema.newest().clone(), params, Effect::of(plan), virtual_scans(plan)).await?;
        self.apply_next_transaction()?;
        self.hold_tables(plan, schema).await?;
        let outcome = executor::execute(plan, &ctx, &mut self.txn).await;
        self.txn.leave_statement();
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                self.take_warnings(&ctx.eval);
                return Err(error);
            }
        };
        match outcome {
            Outcome::Rows(rows) => self.write_rows(rows, &ctx.eval, out, more).await,
            Outcome::Done(done) => {
                self.txn.confirm_locks().await?;
                self.write_done(&done, &ctx.eval, out, more)
            }
        }
    }

    /// What a running statement has in hand. Made-up tables that it reads are filled here.
    pub(super) async fn statement_context(
        &self,
        schema: Arc<Schema>,
        params: Arc<[Value]>,
        effect: Effect,
        scans: Vec<crate::plan::VirtualScan>,
    ) -> Result<Arc<StatementContext>> {
        let eval = Arc::new(self.eval_context(params, effect == Effect::Writes));
        let mut virtual_tables = VirtualTables::default();
        if !scans.is_empty() {
            let (info, visible) = (self.session_info(eval.warnings.clone()), self.visible_schema(&schema));
            for scan in scans {
                let rows = information_schema::rows(&scan.database, &scan.table, &visible, &info).await?;
                query::virtual_table::add(&mut virtual_tables, &scan, &rows)?;
            }
        }
        let typed = self.variables.typed();
        let execution_time_max = (effect == Effect::Reads && typed.max_execution_time_ms > 0)
            .then(|| Duration::from_millis(typed.max_execution_time_ms));
        Ok(Arc::new(StatementContext {
            cluster: self.server.cluster.clone(),
            catalog: self.server.catalog.clone(),
            schema,
            virtual_tables,
            eval,
            kill: self.connection.kill.clone(),
            ends: execution_time_max.map(|limit| tokio::time::Instant::now() + limit),
            limits: Limits {
                lock_wait_timeout: Duration::from_millis(typed.lock_wait_timeout_ms),
                rolls_back_on_timeout: typed.rolls_back_on_timeout,
                execution_time_max,
                ..Limits::default()
            },
            memory: self.connection.memory.statement().clone(),
            deadlocks: self.server.deadlocks.clone(),
            counters: Counters::default(),
        }))
    }

    fn take_warnings(&mut self, eval: &EvalContext) {
        let warnings = eval.warnings.take();
        self.diagnostics.extend(warnings.into_iter().map(|w| Diagnostic {
            level: if matches!(w.code, 1007 | 1008 | 1050 | 1051 | 1061 | 1091 | 1031) { "Note" } else { "Warning" },
            code: w.code,
            message: w.message,
        }));
        let set = eval.set_last_insert_id.lock().ok().and_then(|id| *id);
        if let Some(id) = set {
            self.last_insert_id = id;
        }
    }

    /// Writes a result set, batch by batch as they come.
    pub(super) async fn write_rows(
        &mut self,
        mut rows: RowStream,
        eval: &EvalContext,
        out: &mut ResultWriter,
        more: bool,
    ) -> Result<()> {
        // The first batch is waited for before anything is sent: most errors come with it, and are told as errors.
        let mut batch = self.next_batch(&mut rows).await?;
        let charset = self.variables.typed().results;
        let (columns, definitions) = (rows.columns.clone(), rows.columns.definitions(charset));
        let mut writer = out.start_rows(&definitions)?;
        let mut count = 0;
        while let Some(current) = batch {
            count += current.num_rows() as i64;
            writer.batch(columns.types(), &current, (&eval.time_zone, charset)).await?;
            batch = self.next_batch(&mut rows).await?;
        }
        (self.found_rows, self.row_count) = (count, -1);
        self.take_warnings(eval);
        writer.finish(EndOfRows { status: self.status_flags(more), warnings: self.warning_count() })?;
        Ok(())
    }

    /// The next rows of a statement, which the client may be told.
    async fn next_batch(&mut self, rows: &mut RowStream) -> Result<Option<RecordBatch>> {
        let batch = rows.next().await?;
        self.txn.confirm_locks().await?;
        Ok(batch)
    }

    fn write_done(&mut self, done: &DmlResult, eval: &EvalContext, out: &mut ResultWriter, more: bool) -> Result<()> {
        self.take_warnings(eval);
        if done.last_insert_id != 0 {
            self.last_insert_id = done.last_insert_id;
        }
        let found = self.connection.capabilities.has(Capabilities::FOUND_ROWS);
        let affected_rows = if found && done.found_rows > 0 { done.found_rows } else { done.affected_rows };
        self.row_count = affected_rows as i64;
        let info = &done.info;
        // A generated number, else what LAST_INSERT_ID(expr) was given, else the last row's own.
        let set = eval.set_last_insert_id.lock().ok().and_then(|id| *id).unwrap_or(0);
        let ids = [done.last_insert_id, set, done.last_row_id];
        let last_insert_id = ids.into_iter().find(|&id| id != 0).unwrap_or(0);
        self.write_ok(OkSummary { affected_rows, last_insert_id, info, ..OkSummary::default() }, out, more)
    }

    /// The value of an expression that may have subqueries.
    pub(super) async fn query_value(&mut self, expr: &Expr) -> Result<Value> {
        let item = SelectItem::Expr { expr: expr.clone(), alias: None, text: String::new() };
        let body = QueryBody::Select(Box::new(Select { items: vec![item], ..Select::default() }));
        let statement = Statement::Query(Box::new(Query::of(body)));
        let (plan, ctx) = loop {
            let schema = self.use_schema()?;
            let (plan, _) = self.bind_and_plan(&statement, &schema, &self.parameter_types())?;
            self.check_plan(&plan)?;
            let (newest, params) = (schema.newest().clone(), self.parameters.clone());
            let ctx = self.statement_context(newest, params, Effect::Reads, virtual_scans(&plan)).await?;
            match self.hold_tables(&plan, schema).await {
                Err(Error::BindAgain) => {}
                held => break held.map(|()| (plan, ctx))?,
            }
        };
        let outcome = executor::execute(&plan, &ctx, &mut self.txn).await;
        self.txn.leave_statement();
        let value = match outcome {
            Ok(Outcome::Rows(rows)) => first_value(rows, &ctx.eval.time_zone).await,
            Ok(Outcome::Done(_)) => Ok(Value::Null),
            Err(error) => Err(error),
        };
        self.take_warnings(&ctx.eval);
        self.txn.confirm_locks().await?;
        value
    }

    /// Writes an OK packet; state and warnings are filled in.
    pub(super) fn write_ok(&self, summary: OkSummary<'_>, out: &mut ResultWriter, more: bool) -> Result<()> {
        out.ok(&OkSummary { status: self.status_flags(more), warnings: self.warning_count(), ..summary })?;
        Ok(())
    }

    /// EXPLAIN and EXPLAIN ANALYZE.
    pub(super) async fn explain(
        &mut self,
        statement: &Statement,
        analyze: bool,
        format: Option<&str>,
        out: &mut ResultWriter,
        more: bool,
    ) -> Result<()> {
        if let Some(format) = format.filter(|f| !matches!(*f, "traditional" | "row" | "brief" | "tree")) {
            return Err(Error::unsupported(format!("EXPLAIN FORMAT={format}")));
        }
        if is_write(statement) && analyze {
            return Err(Error::unsupported("EXPLAIN ANALYZE of statements that write"));
        }
        let schema = self.use_schema()?;
        let (plan, _) = self.bind_and_plan(statement, &schema, &self.parameter_types())?;
        self.check_plan(&plan)?;
        let parameters = self.parameters.clone();
        let ctx =
            self.statement_context(schema.newest().clone(), parameters, Effect::Reads, virtual_scans(&plan)).await?;
        let started = self.server.env.now();
        // A short query that reads too many rows is run by its fallback, which is then what there is to show.
        let (plan, counted) = match plan {
            PhysicalPlan::Short(short) if analyze && short.locking.is_none() => {
                match (executor::execute_short(&short, &ctx, &mut self.txn).await?, &short.fallback) {
                    (None, Some(query)) => (PhysicalPlan::Query(query.clone()), 0),
                    (rows, _) => (PhysicalPlan::Short(short), count(rows).await?),
                }
            }
            plan => (plan, 0),
        };
        let rows = match (&plan, analyze) {
            (PhysicalPlan::Query(query), _) => {
                let view = executor::read_view(query, &mut self.txn).await?;
                drop(schema);
                query::explain(query, &ctx, &view, &ctx.virtual_tables, analyze).await?
            }
            (short, false) => short_lines(&planner::explain::explain(short), None)?,
            (short, true) => {
                let rows = match short {
                    PhysicalPlan::Short(query) if query.locking.is_none() => counted,
                    short => match executor::execute(short, &ctx, &mut self.txn).await? {
                        Outcome::Rows(rows) => count(Some(rows)).await?,
                        Outcome::Done(_) => 0,
                    },
                };
                let took = self.server.env.now().since(started);
                short_lines(&planner::explain::explain(short), Some((rows, took)))?
            }
        };
        self.write_rows(rows, &ctx.eval, out, more).await
    }

    /// The columns of a table, for COM_FIELD_LIST.
    pub(super) fn fields_of(&self, table: &str, wildcard: &str) -> Result<Vec<ColumnDef>> {
        let name = crate::parser::ast::ObjectName { database: None, name: table.to_string() };
        self.check_named(&name, Privileges::SELECT)?;
        let (database, table) = self.table(&name)?;
        let matches = |column: &str| wildcard.is_empty() || wildcard == "%" || super::users::like(column, wildcard);
        let def = |column: &crate::catalog::model::Column| ColumnDef {
            schema: database.clone(),
            table: table.name.clone(),
            org_table: table.name.clone(),
            org_name: column.name.clone(),
            ..ColumnDef::of_type(&column.name, &column.ty)
        };
        Ok(table.public_columns().filter(|(_, c)| matches(&c.name)).map(|(_, c)| def(c)).collect())
    }
}

async fn count(rows: Option<RowStream>) -> Result<u64> {
    let (Some(mut rows), mut count) = (rows, 0) else { return Ok(0) };
    while let Some(batch) = rows.next().await? {
        count += batch.num_rows() as u64;
    }
    Ok(count)
}

/// The first column of the only row, as `zone` shows it.
async fn first_value(mut rows: RowStream, zone: &TimeZone) -> Result<Value> {
    let Some(ty) = rows.columns.first().map(|c| c.ty.clone()) else { return Ok(Value::Null) };
    let mut value = Value::Null;
    while let Some(batch) = rows.next().await? {
        if batch.num_rows() > 0 {
            value = basalt_expr::convert::value_at(batch.column(0).as_ref(), &ty, 0)?;
        }
    }
    let value = basalt_expr::cell::value_shown_in(zone, &ty, value);
    // A variable is a number or a string.
    if !ty.is_temporal() || value.is_null() {
        return Ok(match value {
            // A YEAR.
            Value::Int(number) if ty.is_unsigned() => Value::UInt(number as u64),
            value => value,
        });
    }
    let mut text = Vec::new();
    basalt_expr::cell::format_value(&ty, &value, &mut text);
    Ok(Value::from(String::from_utf8_lossy(&text).into_owned()))
}

/// A short plan's lines in EXPLAIN's table; `actual` is what the whole statement put out, and how long it took.
fn short_lines(rows: &[planner::explain::ExplainRow], actual: Option<(u64, Duration)>) -> Result<RowStream> {
    let line = |(position, row): (usize, &planner::explain::ExplainRow)| query::explain::ExplainLine {
        id: format!("{}{}", "  ".repeat(row.depth), row.operator),
        estimated_rows: row.rows.map(|r| r as usize),
        actual_rows: actual.filter(|_| position == 0).map(|(rows, _)| rows),
        task: row.task,
        access_object: row.access.clone(),
        execution_info: actual
            .filter(|_| position == 0)
            .map(|(_, took)| format!("time: {took:.1?}"))
            .unwrap_or_default(),
        operator_info: row.info.clone(),
    };
    query::explain::rows(&rows.iter().enumerate().map(line).collect::<Vec<_>>(), actual.is_some())
}

/// The made-up tables that a plan reads.
pub(super) fn virtual_scans(plan: &PhysicalPlan) -> Vec<crate::plan::VirtualScan> {
    let of_rows = |rows: &RowsPlan| match rows {
        RowsPlan::Query(query) => query::virtual_table::virtual_scans(&query.root),
        RowsPlan::Short(_) => Vec::new(),
    };
    match plan {
        PhysicalPlan::Query(query) => query::virtual_table::virtual_scans(&query.root),
        PhysicalPlan::Short(_) | PhysicalPlan::Insert(_) | PhysicalPlan::Update(_) | PhysicalPlan::Delete(_) => {
            plan.rows().map(of_rows).unwrap_or_default()
        }
    }
}
