//! What a session remembers, and its side of the protocol's seam.

use super::lock_tables::LockedTables;
use super::prepared::{NamedStatement, PreparedStatement};
use super::server::Shared;
use super::sql_mode::Modes;
use super::user_variables::UserVariables;
use super::variables::{SessionVariables, definition};
use crate::catalog::SeenSchema;
use crate::catalog::model::Table;
use crate::error::{Error, Result};
use crate::parser::ast::ObjectName;
use crate::server::column::ColumnDef;
use crate::server::constant::{Capabilities, Status};
use crate::server::error::{ErrorCode, MySqlError};
use crate::server::prepared::Param;
use crate::server::registry::ConnectionEntry;
use crate::server::result::ResultWriter;
use crate::server::session_api::{Prepared, Session, SessionContext};
use crate::transaction::SessionTxn;
use crate::version::SERVER_VERSION;
use async_trait::async_trait;
use basalt_common::env::Monotonic;
use basalt_common::memory::{Account, process};
use basalt_common::metrics;
use basalt_expr::Warnings;
use basalt_expr::memory_pool::Size;
use basalt_expr::value::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// A warning, note or error of the last statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// `Note`, `Warning`, `Error`.
    pub level: &'static str,
    /// MySQL's number.
    pub code: u16,
    /// The text.
    pub message: String,
}

/// What statements are told of the session again and again.
pub(super) struct Names {
    /// `user@host` of the account.
    pub current_user: Arc<str>,
    /// `user@host` of the client.
    pub user: Arc<str>,
    /// `VERSION()`.
    pub version: Arc<str>,
}

/// The session of one connection.
pub struct SqlSession {
    pub(super) server: Arc<Shared>,
    pub(super) connection: SessionContext,
    pub(super) variables: SessionVariables,
    pub(super) user_variables: UserVariables,
    /// While a prepared statement runs, the sql_mode of its PREPARE.
    pub(super) prepared_mode: Option<Modes>,
    /// Values of `?` while a prepared statement runs that has no plan.
    pub(super) parameters: Arc<[Value]>,
    pub(super) database: Option<Arc<str>>,
    pub(super) txn: SessionTxn,
    /// LOCK TABLES. Behind `txn`: what that holds goes first.
    pub(super) locks: Option<LockedTables>,
    /// SET TRANSACTION without scope: for the next transaction only.
    pub(super) next_transaction: BTreeMap<&'static str, String>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// What the binder has to say of the statement before it runs.
    pub(super) text_warnings: Warnings,
    pub(super) statements: HashMap<u32, PreparedStatement>,
    pub(super) named: HashMap<String, NamedStatement>,
    /// What prepared statements hold.
    pub(super) prepared_memory: Account,
    pub(super) last_statement_id: u32,
    pub(super) last_insert_id: u64,
    pub(super) found_rows: i64,
    pub(super) row_count: i64,
    /// Bytes that the plan cache works in, kept from statement to statement.
    pub(super) scratch: Vec<u8>,
    /// What the last statement of a transaction with an older snapshot was bound to.
    pub(super) seen: Option<Arc<SeenSchema>>,
    /// Name and host of the client.
    pub(super) account: (String, String),
    pub(super) names: Names,
}

impl SqlSession {
    /// A session for a client that has logged in.
    ///
    /// # Errors
    /// 1049 when it asked for a database that does not exist.
    pub fn new(server: Arc<Shared>, connection: SessionContext) -> Result<SqlSession> {
        let variables = SessionVariables::new(server.globals.clone());
        let entry = connection.connections.get(connection.connection_id);
        let shown = entry.map(|entry| entry.transaction().clone()).unwrap_or_default();
        let memory = connection.memory.session().clone();
        let txn = SessionTxn::new(server.cluster.clone(), server.catalog.no_holds(), memory, shown);
        let account = (connection.user.clone(), connection.peer.host());
        let names = Names {
            current_user: format!("{}@{}", connection.account.user, connection.account.host).into(),
            user: format!("{}@{}", account.0, account.1).into(),
            version: SERVER_VERSION.into(),
        };
        let wanted = connection.schema.clone();
        let connection_memory = connection.memory.clone();
        let prepared_memory = connection_memory.account_of_kept();
        let mut session = SqlSession {
            server,
            connection,
            variables,
            user_variables: UserVariables::new(connection_memory.clone()),
            prepared_mode: None,
            parameters: Arc::from([]),
            database: None,
            txn,
            locks: None,
            next_transaction: BTreeMap::new(),
            diagnostics: Vec::new(),
            statements: HashMap::new(),
            named: HashMap::new(),
            prepared_memory,
            last_statement_id: 0,
            last_insert_id: 0,
            found_rows: 0,
            row_count: 0,
            text_warnings: Warnings::default(),
            scratch: Vec::new(),
            seen: None,
            account,
            names,
        };
        session.take_over_globals();
        session.take_announced(session.connection.collation);
        if let Some(database) = wanted.filter(|d| !d.is_empty()) {
            session.check_sees_database(&database)?;
            session.use_database(&database)?;
        }
        Ok(session)
    }

    /// What SET GLOBAL said of limits that the protocol layer keeps to, which starts with its defaults.
    fn take_over_globals(&self) {
        let typed = self.variables.typed();
        self.connection.variables.set_max_allowed_packet(typed.max_allowed_packet);
        let interactive = self.connection.capabilities.has(Capabilities::INTERACTIVE);
        let name = if interactive { "interactive_timeout" } else { "wait_timeout" };
        if let Some(seconds) = definition(name).and_then(|d| self.server.globals.get(d).parse().ok()) {
            self.connection.variables.set_wait_timeout(Duration::from_secs(seconds));
        }
    }

    /// The connection's row of the process list.
    pub(super) fn entry(&self) -> Option<Arc<ConnectionEntry>> {
        self.connection.connections.get(self.connection.connection_id)
    }

    /// USE.
    ///
    /// # Errors
    /// 1049 when there is no such database.
    pub(super) fn use_database(&mut self, name: &str) -> Result<()> {
        let schema = self.server.catalog.schema()?;
        let found = match schema.database(name) {
            Some(database) => database.name.clone(),
            None if crate::catalog::information_schema::is_database(name) => name.to_lowercase(),
            None => return Err(Error::unknown_database(name)),
        };
        if let Some(entry) = self.entry() {
            entry.set_schema(Some(&found));
        }
        self.database = Some(found.into());
        self.variables.follow_database(self.database_collation());
        Ok(())
    }

    /// A stored table by its name in a statement: its database's name, and the table.
    pub(super) fn table(&self, name: &ObjectName) -> Result<(String, Arc<Table>)> {
        let database = name.database.as_deref().or(self.database.as_deref()).ok_or_else(Error::no_database)?;
        let schema = self.server.catalog.schema()?;
        let found = schema.database(database).ok_or_else(|| Error::unknown_database(database))?;
        let table =
            schema.table(database, &name.name).cloned().ok_or_else(|| Error::no_such_table(&found.name, &name.name))?;
        Ok((found.name.clone(), table))
    }

    /// State flags of the protocol.
    pub(super) fn status_flags(&self, more_results: bool) -> Status {
        let mut status = Status::default();
        if self.variables.typed().autocommit {
            status = status.with(Status::AUTOCOMMIT);
        }
        if self.txn.is_open() {
            status = status.with(Status::IN_TRANSACTION);
        }
        if more_results {
            status = status.with(Status::MORE_RESULTS);
        }
        status
    }

    /// Adds a warning to the statement's diagnostics.
    pub(super) fn warn(&mut self, code: u16, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic { level: "Warning", code, message: message.into() });
    }

    /// Warnings of the last statement, for OK packets.
    pub(super) fn warning_count(&self) -> u16 {
        u16::try_from(self.diagnostics.iter().filter(|d| d.level != "Error").count()).unwrap_or(u16::MAX)
    }

    /// Counts a statement that began at `began`.
    fn observe(&self, protocol: &str, began: Monotonic) {
        let took = self.server.env.now().since(began);
        metrics::SQL_STATEMENT_SECONDS.with_label_values(&[protocol]).observe(took.as_secs_f64());
    }

    /// An error in MySQL's words. A statement that was interrupted for the process's memory is told so.
    fn reason(&self, error: &Error) -> (u16, &'static str, String) {
        let (code, sqlstate, message) = error.to_mysql();
        match self.connection.kill.memory_at_kill().filter(|_| matches!(code, 1317 | 8175)) {
            Some(used) => Error::server_memory(Size(used), Size(process().limit())).to_mysql(),
            None => (code, sqlstate, message),
        }
    }

    /// Remembers an error for SHOW WARNINGS and tells it to the protocol.
    pub(super) fn failed(&mut self, error: &Error) -> MySqlError {
        let (code, sqlstate, message) = self.reason(error);
        if code == 8175 {
            metrics::SQL_MEMORY_CANCELLED.with_label_values(&["statement"]).inc();
        }
        metrics::SQL_ERRORS.with_label_values(&[&code.to_string()]).inc();
        if matches!(error, Error::Internal(_)) {
            tracing::error!(connection = self.connection.connection_id, %error, "a statement failed inside");
        }
        self.row_count = -1;
        self.diagnostics.push(Diagnostic { level: "Error", code, message: message.clone() });
        to_protocol(code, sqlstate, message)
    }
}

/// An error as the protocol sends it.
pub(super) fn to_protocol(code: u16, sqlstate: &str, message: String) -> MySqlError {
    let mut state = *b"HY000";
    if sqlstate.len() == 5 {
        state.copy_from_slice(sqlstate.as_bytes());
    }
    MySqlError::new(ErrorCode { code, sqlstate: state }, message)
}

impl From<MySqlError> for Error {
    fn from(error: MySqlError) -> Error {
        // The only errors that come from the protocol layer are about the client: it is gone, or a row is too long for it.
        Error::User { code: error.code.code, sqlstate: "HY000", message: error.message }
    }
}

#[async_trait]
impl Session for SqlSession {
    async fn query(&mut self, sql: &[u8], out: &mut ResultWriter) -> Result<(), MySqlError> {
        let began = self.server.env.now();
        self.connection.memory.begin(self.variables.typed().memory_quota);
        let outcome = self.run_text(sql, out).await;
        self.observe("text", began);
        outcome.map_err(|error| self.failed(&error))
    }

    async fn prepare(&mut self, sql: &[u8]) -> Result<Prepared, MySqlError> {
        self.forget_diagnostics();
        self.connection.memory.begin(self.variables.typed().memory_quota);
        match self.prepare_statement(sql) {
            Ok(prepared) => Ok(prepared),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn execute(&mut self, id: u32, params: &[Param<'_>], out: &mut ResultWriter) -> Result<(), MySqlError> {
        let began = self.server.env.now();
        self.connection.memory.begin(self.variables.typed().memory_quota);
        let outcome = self.execute_prepared(id, params, out).await;
        self.observe("prepared", began);
        outcome.map_err(|error| self.failed(&error))
    }

    fn close_statement(&mut self, id: u32) {
        if let Some(closed) = self.statements.remove(&id) {
            self.prepared_memory.sub(closed.bytes());
        }
    }

    async fn init_db(&mut self, schema: &str) -> Result<(), MySqlError> {
        match self.check_sees_database(schema).and_then(|()| self.use_database(schema)) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn field_list(&mut self, table: &str, wildcard: &str) -> Result<Vec<ColumnDef>, MySqlError> {
        match self.fields_of(table, wildcard) {
            Ok(columns) => Ok(columns),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn reset(&mut self) -> Result<(), MySqlError> {
        self.txn.rollback().await;
        self.release_tables().await;
        self.variables = SessionVariables::new(self.server.globals.clone());
        self.take_over_globals();
        self.take_announced(self.connection.collation);
        self.variables.follow_database(self.database_collation());
        self.user_variables.clear();
        self.next_transaction.clear();
        self.statements.clear();
        self.named.clear();
        self.prepared_memory.set(0);
        self.forget_diagnostics();
        (self.last_insert_id, self.found_rows, self.row_count) = (0, 0, 0);
        Ok(())
    }

    async fn kill(&mut self, connection_id: u64) -> Result<(), MySqlError> {
        match self.kill_connection(connection_id, false).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn status(&self) -> Status {
        self.status_flags(false)
    }

    fn warnings(&self) -> u16 {
        self.warning_count()
    }

    async fn close(&mut self) {
        self.txn.rollback().await;
        self.release_tables().await;
    }
}
