//! INSERT and REPLACE.
//!
//! Rows are made in batches: values are calculated and stored into their columns' types, AUTO_INCREMENT numbers and hidden
//! row ids are taken for the whole batch, unique keys are locked together. An INSERT that does not care about conflicts
//! writes its rows as new and lets the lock request or the commit find duplicates; the others ([`super::conflict`]) read what is
//! there first.

use crate::catalog::model::{Handle as HandleKind, SchemaState, Table};
use crate::context::StatementContext;
use crate::error::{Error, Result};
use crate::executor::column_value::{self, StoreMode};
use crate::executor::config::INSERT_BATCH_ROWS;
use crate::executor::conflict::{self, ConflictRule};
use crate::executor::outcome::{DmlResult, insert_info};
use crate::executor::source::RowSource;
use crate::executor::table_writer::TableWriter;
use crate::plan::{Insert, InsertSource};
use crate::planner::InsertPlan;
use crate::transaction::SessionTxn;
use basalt_expr::expr::Expr;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use std::sync::Arc;

/// A row to be inserted: values of all the table's columns, and its number when it has no clustered key.
#[derive(Debug, Clone)]
pub struct NewRow {
    /// One a column, stored into the column's type.
    pub values: Vec<Value>,
    /// The hidden handle.
    pub hidden: Option<i64>,
    /// Its AUTO_INCREMENT value was asked for, not given.
    pub generated: bool,
    /// What its source selected behind its values, for ON DUPLICATE KEY UPDATE.
    pub beside: Vec<Value>,
}

/// What became of the rows.
#[derive(Debug, Default)]
pub struct Tally {
    /// Rows in the statement.
    pub records: u64,
    /// Rows that met another.
    pub duplicates: u64,
    /// Affected rows.
    pub affected: u64,
    /// Affected rows as clients count them that set CLIENT_FOUND_ROWS.
    pub found: u64,
    /// The first generated number of a row that was written as new.
    pub last_insert_id: u64,
    /// The AUTO_INCREMENT column's value in the last row that was written.
    pub last_row_id: u64,
}

impl Tally {
    /// Remembers a row that was written, with a generated number or without.
    pub fn wrote(&mut self, table: &Table, values: &[Value], generated: bool) {
        if let Some(offset) = table.auto_increment_column() {
            let id = &values[offset];
            self.last_row_id = id.as_u64().or(id.as_i64().map(|v| v as u64)).unwrap_or(0);
            if generated && self.last_insert_id == 0 {
                self.last_insert_id = self.last_row_id;
            }
        }
    }
}

/// Runs the statement within the transaction.
///
/// # Errors
/// Whatever makes a row fail; nothing of the statement may stay then.
pub async fn insert(plan: &InsertPlan, ctx: &Arc<StatementContext>, txn: &mut SessionTxn) -> Result<DmlResult> {
    let insert = &plan.insert;
    let mut run = InsertRun { insert, ctx, writer: TableWriter::new(&insert.table, ctx), tally: Tally::default() };
    match (&insert.source, &plan.source) {
        (InsertSource::Values(rows), _) => run.insert_values(rows, txn).await?,
        (InsertSource::Query(_), Some(source)) => {
            run.insert_rows(RowSource::open(source, ctx, txn).await?, txn).await?
        }
        (InsertSource::Query(_), None) => return Err(Error::Internal("INSERT … SELECT without a plan".into())),
    }
    Ok(run.finish())
}

struct InsertRun<'a> {
    insert: &'a Insert,
    ctx: &'a Arc<StatementContext>,
    writer: TableWriter<'a>,
    tally: Tally,
}

impl InsertRun<'_> {
    async fn insert_values(&mut self, rows: &[Vec<Option<Expr>>], txn: &mut SessionTxn) -> Result<()> {
        for chunk in rows.chunks(INSERT_BATCH_ROWS) {
            self.ctx.check_killed()?;
            let mut batch = Vec::with_capacity(chunk.len());
            for row in chunk {
                let mode = self.next_row();
                batch.push((self.row_of_exprs(row, mode)?, Vec::new()));
            }
            self.write(batch, txn).await?;
        }
        Ok(())
    }

    async fn insert_rows(&mut self, mut source: RowSource<'_>, txn: &mut SessionTxn) -> Result<()> {
        let types = source.types().to_vec();
        while let Some(rows) = source.next().await? {
            for chunk in rows.chunks(INSERT_BATCH_ROWS) {
                self.ctx.check_killed()?;
                let mut batch = Vec::with_capacity(chunk.len());
                for row in chunk {
                    let mode = self.next_row();
                    let beside = row.get(self.insert.columns.len()..).unwrap_or_default().to_vec();
                    batch.push((self.row_of_values(row, &types, mode)?, beside));
                }
                self.write(batch, txn).await?;
            }
        }
        Ok(())
    }

    fn next_row(&mut self) -> StoreMode {
        self.tally.records += 1;
        let null_fails = matches!(&self.insert.source, InsertSource::Values(rows) if rows.len() == 1);
        StoreMode { row: self.tally.records, ignore: self.insert.ignore, null_fails }
    }

    fn table(&self) -> &Table {
        &self.insert.table
    }

    /// A row with every column that the statement does not name at its default.
    fn defaults(&self, mode: StoreMode) -> Result<Vec<Value>> {
        let value = |(offset, column): (usize, &crate::catalog::model::Column)| {
            if self.insert.columns.contains(&offset) {
                return Ok(Value::Null);
            }
            // A column that is being added reads as its original default until it is public.
            if column.state != SchemaState::Public {
                return Ok(column.original_default.clone().unwrap_or_default());
            }
            column_value::default(column, mode, self.ctx)
        };
        self.table().columns.iter().enumerate().map(value).collect()
    }

    fn row_of_exprs(&self, exprs: &[Option<Expr>], mode: StoreMode) -> Result<Vec<Value>> {
        let mut values = self.defaults(mode)?;
        // Bulk rows are literals, which need no walk to know that they read nothing.
        let reads_columns = |expr: &Expr| !matches!(expr, Expr::Literal(..)) && !expr.columns().is_empty();
        if exprs.iter().flatten().any(reads_columns) {
            for &offset in &self.insert.columns {
                values[offset] = column_value::not_given_yet(&self.table().columns[offset], self.ctx)?;
            }
        }
        for (&offset, expr) in self.insert.columns.iter().zip(exprs) {
            let column = &self.table().columns[offset];
            values[offset] = match expr {
                None => column_value::default(column, mode, self.ctx)?,
                Some(expr) => {
                    let value = match expr {
                        Expr::Literal(value, _) => value.clone(),
                        expr => self.ctx.eval_row(expr, &values)?,
                    };
                    self.given(&value, expr.ty(), offset, mode)?
                }
            };
        }
        Ok(values)
    }

    fn row_of_values(&self, row: &[Value], types: &[FieldType], mode: StoreMode) -> Result<Vec<Value>> {
        let mut values = self.defaults(mode)?;
        for ((&offset, value), ty) in self.insert.columns.iter().zip(row).zip(types) {
            values[offset] = self.given(value, ty, offset, mode)?;
        }
        Ok(values)
    }

    /// A given value, stored. NULL for the AUTO_INCREMENT column asks for a number.
    fn given(&self, value: &Value, ty: &FieldType, offset: usize, mode: StoreMode) -> Result<Value> {
        let column = &self.table().columns[offset];
        if value.is_null() && column.auto_increment {
            return Ok(Value::Null);
        }
        column_value::store(value, ty, column, mode, self.ctx)
    }

    async fn write(&mut self, batch: Vec<(Vec<Value>, Vec<Value>)>, txn: &mut SessionTxn) -> Result<()> {
        let rows = self.number(batch).await?;
        let rule = ConflictRule::of(self.insert);
        if rule != ConflictRule::Fail {
            return conflict::write(self.insert, rule, rows, &self.writer, self.ctx, txn, &mut self.tally).await;
        }
        let mut encoded = Vec::with_capacity(rows.len());
        for row in &rows {
            encoded.push(self.writer.encode(&row.values, &self.writer.handle(&row.values, row.hidden)?)?);
        }
        self.writer.lock_new(&encoded, txn).await?;
        for row in &encoded {
            self.writer.add(row, txn).await?;
        }
        self.tally.affected += rows.len() as u64;
        self.tally.found += rows.len() as u64;
        for row in &rows {
            self.tally.wrote(&self.insert.table, &row.values, row.generated);
        }
        Ok(())
    }

    /// Gives rows their AUTO_INCREMENT values and hidden numbers.
    async fn number(&mut self, batch: Vec<(Vec<Value>, Vec<Value>)>) -> Result<Vec<NewRow>> {
        let new = |(values, beside)| NewRow { values, hidden: None, generated: false, beside };
        let mut rows: Vec<NewRow> = batch.into_iter().map(new).collect();
        let (id, handle) = (self.table().id, &self.insert.table.handle);
        let sequences = self.ctx.catalog.sequences();
        if let Some(offset) = self.insert.table.auto_increment_column() {
            let ty = &self.insert.table.columns[offset].ty;
            let (_, max) = ty.integer_range();
            let zero_asks = !self.ctx.eval.mode.no_auto_value_on_zero;
            let is_asked = |row: &NewRow| match &row.values[offset] {
                Value::Null => true,
                Value::Double(v) => zero_asks && *v == 0.0,
                v => zero_asks && v.as_i128() == Some(0),
            };
            // In the order of the rows: a number that is given raises those that are taken behind it.
            for run in rows.chunk_by_mut(|a, b| is_asked(a) == is_asked(b)) {
                if !is_asked(&run[0]) {
                    let given = run.iter().filter_map(|r| r.values[offset].as_u64()).max().unwrap_or(0);
                    if given > 0 {
                        sequences.observe_auto_increment(id, given).await?;
                    }
                    continue;
                }
                let mut next = sequences.auto_increment(id, run.len() as u64).await?;
                for row in run {
                    if i128::from(next) > max {
                        return Err(Error::User {
                            code: 1467,
                            sqlstate: "HY000",
                            message: "Failed to read auto-increment value from storage engine".into(),
                        });
                    }
                    row.values[offset] = integer(next, ty);
                    row.generated = true;
                    next += 1;
                }
            }
        }
        if *handle == HandleKind::Hidden {
            let first = sequences.row_ids(id, rows.len() as u64).await?;
            for (at, row) in rows.iter_mut().enumerate() {
                row.hidden = Some((first + at as u64) as i64);
            }
        }
        Ok(rows)
    }

    fn finish(self) -> DmlResult {
        let tally = self.tally;
        let is_simple = matches!(&self.insert.source, InsertSource::Values(rows) if rows.len() == 1);
        let warnings = self.ctx.eval.warnings.count();
        DmlResult {
            affected_rows: tally.affected,
            found_rows: tally.found,
            last_insert_id: tally.last_insert_id,
            last_row_id: tally.last_row_id,
            info: if is_simple { String::new() } else { insert_info(tally.records, tally.duplicates, warnings) },
        }
    }
}

fn integer(value: u64, ty: &FieldType) -> Value {
    match ty.eval_type() {
        basalt_expr::types::EvalType::Real => Value::Double(value as f64),
        _ if ty.unsigned => Value::UInt(value),
        _ => Value::Int(value as i64),
    }
}
