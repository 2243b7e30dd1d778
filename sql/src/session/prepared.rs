//! Prepared statements: of the binary protocol, and PREPARE … EXECUTE of SQL.
//!
//! A statement is parsed once. Its plan is kept with the schema version and the parameters' types it was made for, and made
//! again when one of them is another; plans hold no values.
//!
//! A statement belongs to the database that was current when it was prepared: names in it mean that database's tables
//! whatever USE says later, and while it runs, DATABASE() is that one.

use super::data::{is_write, virtual_scans};
use super::session::SqlSession;
use super::sql_mode::Modes;
use super::statement::{has_statement, literal_text};
use super::variables::definition;
use crate::binder;
use crate::error::{Error, Result};
use crate::parser::ast::Expr;
use crate::parser::statement::{Ddl, ShowWhat};
use crate::parser::{Parsed, Statement, parse_one};
use crate::planner::PhysicalPlan;
use crate::planner::cache::Environment;
use crate::result_columns::ResultColumns;
use crate::server::column::ColumnSet;
use crate::server::prepared::Param;
use crate::server::result::ResultWriter;
use crate::server::session_api::Prepared;
use crate::server::temporal::{DateTimeParts, TimeParts};
use basalt_common::memory::heap;
use basalt_expr::charset::Charset;
use basalt_expr::decimal::Decimal;
use basalt_expr::temporal::Fields;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A statement of COM_STMT_PREPARE.
pub struct PreparedStatement {
    text: Arc<[u8]>,
    statement: Arc<Statement>,
    parameters: usize,
    /// The current database of its PREPARE.
    database: Option<Arc<str>>,
    /// The sql_mode of its PREPARE.
    mode: Modes,
    plan: Option<KeptPlan>,
    /// What it holds, about.
    bytes: usize,
    _place: Place,
}

impl PreparedStatement {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// One of the server's `max_prepared_stmt_count` prepared statements, given back when dropped.
struct Place(Arc<AtomicU64>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A plan and what it was made for.
struct KeptPlan {
    plan: PhysicalPlan,
    schema_version: u64,
    environment: Environment,
    types: Vec<FieldType>,
}

/// A statement of PREPARE.
pub struct NamedStatement {
    text: Vec<u8>,
    parameters: usize,
    /// The current database of its PREPARE.
    database: Option<Arc<str>>,
    /// The sql_mode of its PREPARE.
    mode: Modes,
    _place: Place,
}

/// What a prepared statement takes beside its text and its tree.
const STATEMENT_BYTES: usize = 512;

impl SqlSession {
    /// A place for one more prepared statement.
    fn place(&self) -> Result<Place> {
        let name = definition("max_prepared_stmt_count").expect("a variable of the table");
        let max = self.server.globals.get(name).parse().unwrap_or(0);
        let place = Place(self.server.prepared.clone());
        if place.0.fetch_add(1, Ordering::Relaxed) >= max {
            return Err(Error::too_many_statements(max));
        }
        Ok(place)
    }

    pub(super) fn prepare_statement(&mut self, sql: &[u8]) -> Result<Prepared> {
        let sql = &*self.decoded_text(sql)?;
        let place = self.place()?;
        let before = heap::balance();
        let (parsed, columns) = self.check_prepared(sql)?;
        let tree_bytes = usize::try_from(heap::balance() - before).unwrap_or(0);
        self.last_statement_id = self.last_statement_id.wrapping_add(1).max(1);
        let id = self.last_statement_id;
        let statement = PreparedStatement {
            text: sql.into(),
            statement: Arc::new(parsed.statement),
            parameters: parsed.parameters,
            database: self.database.clone(),
            mode: self.bound_mode(),
            plan: None,
            // A plan that is kept is about as large as the tree it was made of.
            bytes: sql.len() + 2 * tree_bytes + STATEMENT_BYTES,
            _place: place,
        };
        self.connection.memory.check_kept(statement.bytes)?;
        self.prepared_memory.add(statement.bytes);
        self.statements.insert(id, statement);
        Ok(Prepared { id, parameters: parsed.parameters, columns, warnings: 0 })
    }

    /// Reads a text that is prepared, finds out whether it can run, and the columns of its result.
    ///
    /// # Errors
    /// 1064 for several statements, 1295 for those that cannot be prepared, whatever the statement runs into.
    fn check_prepared(&mut self, sql: &[u8]) -> Result<(Parsed, Arc<ColumnSet>)> {
        let parsed =
            self.measured(sql.len(), || parse_one(sql, self.parse_options()))?.ok_or_else(Error::empty_query)?;
        let rest = &sql[parsed.next..];
        if self.measured(rest.len(), || has_statement(rest, self.parse_options())) {
            return Err(Error::syntax(String::from_utf8_lossy(rest).trim_ascii(), 1));
        }
        if !may_be_prepared(&parsed.statement) {
            return Err(Error::not_in_prepared());
        }
        self.check_statement(&parsed.statement)?;
        if !is_data(&parsed.statement) {
            return Ok((parsed, Arc::default()));
        }
        let schema = self.use_schema()?;
        let bound = binder::bind(&parsed.statement, &self.bind_context(schema.newest(), &[]))?;
        let columns = ResultColumns::from(binder::output_of(&bound.statement));
        let definitions = columns.definitions(self.variables.typed().results);
        self.check_plan(&self.plan(bound.statement))?;
        Ok((parsed, definitions))
    }

    /// Runs a prepared statement that has no plan, with values for its `?`.
    async fn run_with(&mut self, text: &[u8], values: Arc<[Value]>, out: &mut ResultWriter, more: bool) -> Result<()> {
        let parsed = parse_one(text, self.parse_options())?.ok_or_else(Error::empty_query)?;
        self.parameters = values;
        let outcome = Box::pin(self.run_statement(&parsed, text, out, more)).await;
        self.parameters = Arc::from([]);
        outcome
    }

    pub(super) async fn execute_prepared(
        &mut self,
        id: u32,
        params: &[Param<'_>],
        out: &mut ResultWriter,
    ) -> Result<()> {
        self.forget_diagnostics();
        self.server.questions.fetch_add(1, Ordering::Relaxed);
        let prepared = self.statements.get(&id).ok_or_else(|| unknown_name(&id.to_string(), "EXECUTE"))?;
        let (mode, database) = (prepared.mode, prepared.database.clone());
        self.prepared_mode = Some(mode);
        let outcome = if database == self.database {
            self.execute_here(id, params, out).await
        } else {
            let current = std::mem::replace(&mut self.database, database);
            let outcome = self.execute_here(id, params, out).await;
            self.go_back_to(current);
            outcome
        };
        self.prepared_mode = None;
        outcome
    }

    /// Makes a database current again that was before a prepared statement ran, unless that dropped it.
    fn go_back_to(&mut self, database: Option<Arc<str>>) {
        let is_there = |name: &Arc<str>| {
            crate::catalog::information_schema::is_database(name)
                || self.server.catalog.schema().map_or(true, |schema| schema.database(name).is_some())
        };
        self.database = database.filter(is_there);
    }

    /// Executes a statement in the current database, which is the statement's.
    async fn execute_here(&mut self, id: u32, params: &[Param<'_>], out: &mut ResultWriter) -> Result<()> {
        let values: Arc<[Value]> = params.iter().map(|param| self.param_value(param)).collect::<Result<_>>()?;
        let prepared = self.statements.get(&id).ok_or_else(|| unknown_name(&id.to_string(), "EXECUTE"))?;
        if values.len() != prepared.parameters {
            return Err(wrong_arguments());
        }
        let statement = prepared.statement.clone();
        self.check_statement(&statement)?;
        let prepared = self.statements.get(&id).ok_or_else(|| unknown_name(&id.to_string(), "EXECUTE"))?;
        if !is_data(&prepared.statement) {
            let text = prepared.text.clone();
            return self.run_with(&text, values, out, false).await;
        }
        let text_bytes = prepared.text.len();
        let types: Vec<FieldType> = params.iter().zip(values.iter()).map(|(p, value)| param_type(p, value)).collect();
        let schema = self.use_schema()?;
        let version = schema.newest().version;
        let environment = self.bind_environment();
        let kept = self.statements.get(&id).and_then(|p| p.plan.as_ref());
        let fits =
            |k: &&KeptPlan| k.schema_version == version && k.environment == environment && same_kinds(&k.types, &types);
        let plan = match kept.filter(|_| schema.is_newest()).filter(fits) {
            Some(kept) => kept.plan.clone(),
            None => {
                let bind = || self.bind_and_plan(&statement, &schema, &types);
                let (plan, cacheable) = self.measured(text_bytes, bind)?;
                // Values of variables stand in the plan, or an older schema does: it serves this once.
                let keep = (cacheable && virtual_scans(&plan).is_empty()).then(|| KeptPlan {
                    plan: plan.clone(),
                    schema_version: version,
                    environment,
                    types,
                });
                if let Some(prepared) = self.statements.get_mut(&id) {
                    prepared.plan = keep;
                }
                plan
            }
        };
        match self.run_plan(&plan, schema, values.clone(), out, false).await {
            Err(Error::BindAgain) => self.run_data(&statement, (values, text_bytes), out, false).await,
            Err(Error::SchemaChanged) if !self.txn.is_open() => {
                self.server.catalog.refresh().await?;
                self.run_data(&statement, (values, text_bytes), out, false).await
            }
            outcome => outcome,
        }
    }

    pub(super) fn prepare_named(&mut self, name: &str, text: &Expr) -> Result<()> {
        // As MySQL has it: also when the new one turns out to be wrong.
        let _ = self.deallocate(name);
        let place = self.place()?;
        let text = match literal_text(text) {
            Some(text) => text,
            None => match self.evaluate(text)? {
                Value::String(text) => text.as_bytes().to_vec(),
                Value::Bytes(bytes) => bytes.to_vec(),
                _ => return Err(Error::syntax("NULL", 1)),
            },
        };
        let (parsed, _) = self.check_prepared(&text)?;
        self.connection.memory.check_kept(text.len() + STATEMENT_BYTES)?;
        self.prepared_memory.add(text.len() + STATEMENT_BYTES);
        let (parameters, database, mode) = (parsed.parameters, self.database.clone(), self.bound_mode());
        self.named.insert(name.to_lowercase(), NamedStatement { text, parameters, database, mode, _place: place });
        Ok(())
    }

    pub(super) async fn execute_named(
        &mut self,
        name: &str,
        using: &[String],
        out: &mut ResultWriter,
        more: bool,
    ) -> Result<()> {
        let named = self.named.get(&name.to_lowercase()).ok_or_else(|| unknown_name(name, "EXECUTE"))?;
        if named.parameters != using.len() {
            return Err(wrong_arguments());
        }
        let (text, mode) = (named.text.clone(), named.mode);
        self.prepared_mode = Some(mode);
        let outcome = self.run_named(name, &text, using, out, more).await;
        self.prepared_mode = None;
        outcome
    }

    async fn run_named(
        &mut self,
        name: &str,
        text: &[u8],
        using: &[String],
        out: &mut ResultWriter,
        more: bool,
    ) -> Result<()> {
        let named = self.named.get(&name.to_lowercase()).ok_or_else(|| unknown_name(name, "EXECUTE"))?;
        let database = named.database.clone();
        let values: Arc<[Value]> = using.iter().map(|name| self.user_variables.get(name)).collect();
        let parsed = self.measured(text.len(), || parse_one(text, self.parse_options()))?;
        let parsed = parsed.ok_or_else(Error::empty_query)?;
        let current = std::mem::replace(&mut self.database, database);
        let allowed = self.check_statement(&parsed.statement);
        let outcome = match is_data(&parsed.statement) {
            _ if allowed.is_err() => allowed,
            true => self.run_data(&parsed.statement, (values, text.len()), out, more).await,
            false => self.run_with(text, values, out, more).await,
        };
        self.go_back_to(current);
        outcome
    }

    pub(super) fn deallocate(&mut self, name: &str) -> Result<()> {
        let gone = self.named.remove(&name.to_lowercase()).ok_or_else(|| unknown_name(name, "DEALLOCATE PREPARE"))?;
        self.prepared_memory.sub(gone.text.len() + STATEMENT_BYTES);
        Ok(())
    }
}

fn is_data(statement: &Statement) -> bool {
    matches!(statement, Statement::Query(_) | Statement::Show(_)) || is_write(statement)
}

/// Whether MySQL prepares such a statement.
fn may_be_prepared(statement: &Statement) -> bool {
    const NEVER: &[&str] = &[
        "CREATE TRIGGER",
        "CREATE PROCEDURE",
        "CREATE FUNCTION",
        "CREATE AGGREGATE FUNCTION",
        "CREATE ROLE",
        "CREATE SERVER",
        "CREATE TABLESPACE",
        "DROP PROCEDURE",
        "DROP FUNCTION",
        "DROP TRIGGER",
        "DROP TABLESPACE",
        "SIGNAL",
        "RESIGNAL",
        "GET DIAGNOSTICS",
        "GET CURRENT DIAGNOSTICS",
        "GET STACKED DIAGNOSTICS",
        "LOAD DATA",
        "LOAD XML",
        "HANDLER",
        "XA",
        "HELP",
        "SHUTDOWN",
        "RESTART",
        "LOCK INSTANCE",
        "UNLOCK INSTANCE",
        "PURGE BINARY LOGS",
        "IMPORT TABLE",
        "CLONE",
    ];
    match statement {
        Statement::Prepare { .. }
        | Statement::Execute { .. }
        | Statement::Deallocate(_)
        | Statement::Begin { .. }
        | Statement::Rollback { savepoint: Some(_), .. }
        | Statement::Savepoint(_)
        | Statement::ReleaseSavepoint(_)
        | Statement::Use(_)
        | Statement::LockTables(_)
        | Statement::UnlockTables
        | Statement::Maintain { verb: "check", .. } => false,
        Statement::Show(show) => !matches!(show.what, ShowWhat::Warnings { .. }),
        Statement::Ddl(ddl) => !matches!(**ddl, Ddl::AlterDatabase { .. }),
        Statement::Unsupported(what) => !NEVER.iter().any(|name| what.starts_with(name)),
        _ => true,
    }
}

fn same_kinds(a: &[FieldType], b: &[FieldType]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| a.kind == b.kind && a.unsigned == b.unsigned && a.decimals == b.decimals)
}

fn wrong_arguments() -> Error {
    Error::User { code: 1210, sqlstate: "HY000", message: "Incorrect arguments to EXECUTE".into() }
}

fn unknown_name(name: &str, to: &str) -> Error {
    Error::User {
        code: 1243,
        sqlstate: "HY000",
        message: format!("Unknown prepared statement handler ({name}) given to {to}"),
    }
}

fn wrong_value(what: &str, value: impl std::fmt::Display) -> Error {
    Error::User { code: 1292, sqlstate: "22007", message: format!("Incorrect {what} value: '{value}'") }
}

/// The type of a parameter: of a date or time what the client calls it, with all digits, else what the value is.
fn param_type(param: &Param<'_>, value: &Value) -> FieldType {
    match param {
        Param::Date(_) => FieldType::date().required(),
        Param::DateTime(_) => FieldType::datetime(6).required(),
        Param::Time(_) => FieldType::time(6).required(),
        _ => basalt_expr::func::literal_type(value),
    }
}

impl SqlSession {
    /// A parameter as a value: what the client sent, checked.
    ///
    /// # Errors
    /// 1292 for dates, times and numbers that are none.
    fn param_value(&self, param: &Param<'_>) -> Result<Value> {
        Ok(match param {
            Param::Null => Value::Null,
            Param::Int(v) => Value::Int(*v),
            Param::UInt(v) => Value::UInt(*v),
            Param::Float(v) => Value::Double(f64::from(*v)),
            Param::Double(v) => Value::Double(*v),
            Param::Text(v) | Param::Blob(v) => self.string_param(v),
            Param::Decimal(v) => match Decimal::parse(v) {
                Some((decimal, length)) if length == v.len() => Value::Decimal(decimal),
                _ => return Err(wrong_value("DECIMAL", String::from_utf8_lossy(v))),
            },
            Param::Date(p) | Param::DateTime(p) => datetime(p)?,
            Param::Time(p) => time(p)?,
        })
    }

    /// Drivers send bytes and text alike as strings; what is no text can only be bytes.
    fn string_param(&self, bytes: &[u8]) -> Value {
        let typed = self.variables.typed();
        let connection = typed.collation.character_set();
        match typed.client.decode(bytes) {
            Ok(text) if connection != Charset::Binary => Value::from(&*connection.fit(&text)),
            _ => Value::Bytes(Bytes::copy_from_slice(bytes)),
        }
    }
}

fn datetime(p: &DateTimeParts) -> Result<Value> {
    let fields = Fields {
        year: u32::from(p.year),
        month: u32::from(p.month),
        day: u32::from(p.day),
        hour: u32::from(p.hour),
        minute: u32::from(p.minute),
        second: u32::from(p.second),
        micro: p.micros,
    };
    match fields.is_valid(true) {
        true => Ok(Value::DateTime(fields.pack())),
        false => Err(wrong_value("DATETIME", format!("{}-{:02}-{:02}", p.year, p.month, p.day))),
    }
}

fn time(p: &TimeParts) -> Result<Value> {
    let seconds =
        u64::from(p.days) * 86_400 + u64::from(p.hour) * 3600 + u64::from(p.minute) * 60 + u64::from(p.second);
    let micros = seconds.checked_mul(1_000_000).and_then(|m| m.checked_add(u64::from(p.micros)));
    let micros = micros.and_then(|m| i64::try_from(m).ok()).ok_or_else(|| wrong_value("TIME", seconds))?;
    Ok(Value::Time(if p.negative { -micros } else { micros }))
}
