//! What the binder and expressions are told of a session.

use super::session::SqlSession;
use super::sql_mode::Modes;
use crate::binder::{BindContext, Variables};
use crate::catalog::model::Schema;
use crate::error::Result;
use crate::memory::aside;
use crate::parser::ParseOptions;
use crate::parser::ast::{Expr, VariableScope};
use crate::plan::BoundStatement;
use crate::planner::cache::Environment;
use crate::planner::digest::LexMode;
use crate::planner::{self, PhysicalPlan};
use crate::privilege::Privileges;
use basalt_expr::EvalContext;
use basalt_expr::collation::Collation;
use basalt_expr::context::SessionInfo;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use std::sync::Arc;

/// A text above this is read while another thread takes over this one's connections.
const TEXT_BYTES_INLINE_MAX: usize = 16 << 10;

impl Variables for SqlSession {
    fn system(&self, scope: Option<VariableScope>, name: &str) -> Result<Value> {
        self.system_variable(scope, name)
    }

    fn check_any(&self, database: &str, table: &str, one_of: Privileges) -> Result<()> {
        let rights = self.rights();
        match rights.is_everything() || rights.on_table(database, table).has_any(one_of) {
            true => Ok(()),
            // The verb of the statement, where SELECT would do too.
            false => {
                let verb = one_of.without(Privileges::SELECT);
                let verb = if verb.is_empty() { one_of } else { verb };
                Err(self.table_denied(&verb.commands(), table))
            }
        }
    }

    fn check_all(&self, database: &str, table: &str, all_of: Privileges) -> Result<()> {
        self.check_on_table(database, table, all_of)
    }

    fn check_locked(&self, database: &str, table: &str, alias: &str) -> Result<()> {
        self.check_locked_name(database, table, alias)
    }

    fn user(&self, name: &str) -> Value {
        self.user_variables.get(name)
    }
}

impl SqlSession {
    /// What a statement is bound against.
    pub(super) fn bind_context<'a>(&'a self, schema: &'a Schema, parameters: &'a [FieldType]) -> BindContext<'a> {
        BindContext {
            schema,
            database: self.database.as_deref(),
            variables: self,
            parameters,
            only_full_group_by: self.bound_mode().has(Modes::ONLY_FULL_GROUP_BY),
            no_unsigned_subtraction: self.bound_mode().has(Modes::NO_UNSIGNED_SUBTRACTION),
            settings: self.variables.typed().settings,
            collation: self.connection_collation(),
            pads_chars: self.has_mode(Modes::PAD_CHAR_TO_FULL_LENGTH),
            use_indexes: self.variables.typed().use_indexes,
            account: (&self.connection.account.user, &self.connection.account.host),
            warnings: &self.text_warnings,
        }
    }

    /// A statement begins that has not warned of anything yet.
    pub(super) fn forget_diagnostics(&mut self) {
        self.diagnostics.clear();
        self.text_warnings.take();
    }

    /// Does work that keeps memory for the statement which no account counts: reading its text, binding, planning.
    pub(super) fn measured<T>(&self, text_bytes: usize, work: impl FnOnce() -> T) -> T {
        let meter = self.connection.memory.statement().meter().clone();
        let work = || meter.measure(work);
        if text_bytes > TEXT_BYTES_INLINE_MAX { aside(work) } else { work() }
    }

    /// Plans a bound statement as the session's variables allow.
    pub(super) fn plan(&self, statement: BoundStatement) -> PhysicalPlan {
        planner::plan(statement, self.variables.typed().short_path)
    }

    fn connection_collation(&self) -> Collation {
        self.variables.typed().collation
    }

    /// True when the session's sql_mode has it.
    pub(super) fn has_mode(&self, mode: Modes) -> bool {
        self.variables.typed().sql_mode.has(mode)
    }

    /// The sql_mode that statements are read and bound in: of a prepared statement, that of its PREPARE.
    pub(super) fn bound_mode(&self) -> Modes {
        self.prepared_mode.unwrap_or(self.variables.typed().sql_mode)
    }

    /// How sql_mode changes the parser.
    pub(super) fn parse_options(&self) -> ParseOptions {
        self.bound_mode().of_parser(self.variables.typed().client)
    }

    /// How sql_mode changes the plan cache's lexer.
    pub(super) fn lex_mode(&self) -> LexMode {
        let options = self.parse_options();
        LexMode { ansi_quotes: options.ansi_quotes, no_backslash_escapes: options.no_backslash_escapes }
    }

    /// What expressions of one statement are evaluated with.
    pub(super) fn eval_context(&self, parameters: Arc<[Value]>, in_write: bool) -> EvalContext {
        let typed = self.variables.typed();
        let (clock, fixed) = (self.server.env.wall_micros() as i64, typed.now_unix_micros);
        EvalContext {
            mode: typed.sql_mode.of_expressions(),
            in_write,
            time_zone: typed.time_zone.clone(),
            now_unix_micros: fixed.unwrap_or(clock),
            clock_unix_micros: fixed.map(|_| clock),
            seed: self.server.env.random_u64(),
            session: Arc::new(SessionInfo {
                database: self.database.clone(),
                current_user: self.names.current_user.clone(),
                user: self.names.user.clone(),
                connection_id: self.connection.connection_id,
                last_insert_id: self.last_insert_id,
                found_rows: self.found_rows,
                row_count: self.row_count,
                version: self.names.version.clone(),
                collation: self.connection_collation(),
                recursion_depth_max: Some(typed.recursion_depth_max),
                group_concat_bytes_max: Some(typed.group_concat_bytes_max),
            }),
            parameters,
            warnings: self.text_warnings.moved(),
            ..EvalContext::default()
        }
    }

    /// The value of an expression that reads no table.
    ///
    /// # Errors
    /// 1054 for columns; what the expression runs into.
    pub(super) fn evaluate(&self, expr: &Expr) -> Result<Value> {
        let schema = self.server.catalog.schema()?;
        let bound = crate::binder::bind_constant(expr, &self.bind_context(&schema, &self.parameter_types()))?;
        let ctx = self.eval_context(self.parameters.clone(), false);
        Ok(self.measured(0, || basalt_expr::eval::eval_scalar(&bound, &ctx))?)
    }

    /// Types of [`SqlSession::parameters`].
    pub(super) fn parameter_types(&self) -> Vec<FieldType> {
        self.parameters.iter().map(basalt_expr::func::literal_type).collect()
    }

    /// Everything that changes how a text is bound, for keys of plans.
    pub(super) fn bind_environment(&self) -> Environment {
        let typed = self.variables.typed();
        let choices = u64::from(self.connection_collation().id()) << 16
            | (typed.use_indexes as u64) << 8
            | typed.short_path as u64;
        [typed.sql_mode.bits(), self.bound_mode().bits(), typed.settings.fingerprint(), choices]
    }
}
