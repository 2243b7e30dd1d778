//! One text after the other: which statement it is, and who runs it.

use super::data::is_write;
use super::lock_tables::LockedTables;
use super::servers::unknown_thread;
use super::session::SqlSession;
use super::sql_mode::Modes;
use crate::binder;
use crate::ddl::{self, DdlContext};
use crate::error::{Error, Result};
use crate::parser::ast::{Expr, Literal};
use crate::parser::statement::{Show, ShowWhat};
use crate::parser::{ParseOptions, Parsed, Statement, parse_one};
use crate::planner::cache::{CacheScope, Lookup};
use crate::server::result::{OkSummary, ResultWriter};
use basalt_expr::EvalContext;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl SqlSession {
    /// Runs the statements of a text in turn; stops at the first that fails.
    pub(super) async fn run_text(&mut self, sql: &[u8], out: &mut ResultWriter) -> Result<()> {
        self.server.questions.fetch_add(1, Ordering::Relaxed);
        let sql = &*self.decoded_text(sql)?;
        if self.run_cached(sql, out).await? {
            return Ok(());
        }
        let mut rest = sql;
        let mut first = true;
        loop {
            let parsed = self.measured(rest.len(), || parse_one(rest, self.parse_options()));
            let Some(parsed) = parsed.inspect_err(|_| self.forget_diagnostics())? else {
                return if first && rest.iter().all(|b| b.is_ascii_whitespace() || *b == b';') {
                    Err(Error::empty_query())
                } else if first {
                    // Comments alone are a statement that does nothing.
                    self.done(out, false)
                } else {
                    Err(Error::internal("a result was announced and there is none"))
                };
            };
            let following = &rest[parsed.next..];
            let more = self.measured(following.len(), || has_statement(following, self.parse_options()));
            if more && !out.multi_statements_allowed() {
                let near = following.trim_ascii_start();
                let line = 1 + rest[..rest.len() - near.len()].iter().filter(|&&b| b == b'\n').count();
                return Err(Error::syntax(&String::from_utf8_lossy(near), line));
            }
            if parsed.parameters > 0 {
                return Err(Error::syntax("?", 1));
            }
            self.run_statement(&parsed, rest, out, more).await?;
            if !more {
                return Ok(());
            }
            (rest, first) = (following, false);
        }
    }

    /// Runs a text by a plan that was kept, or keeps its plan. False: not a text for the cache; nothing was done.
    async fn run_cached(&mut self, sql: &[u8], out: &mut ResultWriter) -> Result<bool> {
        if !self.literals_stay() {
            return Ok(false);
        }
        let Ok(text) = std::str::from_utf8(sql) else { return Ok(false) };
        let text = text.trim_end_matches([';', ' ', '\n', '\t', '\r']);
        if text.contains(';') {
            return Ok(false);
        }
        let current = self.server.catalog.schema()?;
        if self.reads_older_schema(current.version) {
            return Ok(false);
        }
        let scope = CacheScope {
            schema_version: current.version,
            environment: self.bind_environment(),
            database: self.database.as_deref().unwrap_or_default(),
            mode: self.lex_mode(),
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let found = self.server.plans.lookup(scope, text, &mut scratch);
        self.scratch = scratch;
        let (plan, params) = match found {
            Lookup::Uncacheable => return Ok(false),
            Lookup::Hit(plan, params) => (plan, params),
            Lookup::Miss(template) => {
                let bound =
                    parse_one(template.text.as_bytes(), self.parse_options()).ok().flatten().and_then(|parsed| {
                        let cacheable = matches!(parsed.statement, Statement::Query(_)) || is_write(&parsed.statement);
                        let ctx = self.bind_context(&current, &template.types);
                        cacheable.then(|| binder::bind(&parsed.statement, &ctx))
                    });
                let bound = match bound {
                    // Others may run it: nothing is remembered.
                    Some(Err(error)) if error.is_denied() => return Ok(false),
                    bound => bound.and_then(Result::ok),
                };
                // Whatever the template runs into, the text itself is bound again and says it in its own words.
                let plan = bound.filter(|b| b.cacheable).map(|b| self.plan(b.statement));
                if !self.server.plans.insert(&template, plan.as_ref()) {
                    return Ok(false);
                }
                let Some(plan) = plan else { return Ok(false) };
                (plan, template.params)
            }
        };
        self.forget_diagnostics();
        let schema = self.use_schema()?;
        if schema.newest().version != current.version {
            return Ok(false);
        }
        match self.run_plan(&plan, schema, params.into(), out, false).await {
            // The ordinary way binds again.
            Err(Error::BindAgain) => Ok(false),
            Err(Error::SchemaChanged) if !self.txn.is_open() => Ok(false),
            outcome => outcome.map(|()| true),
        }
    }

    pub(super) async fn run_statement(
        &mut self,
        parsed: &Parsed,
        text: &[u8],
        out: &mut ResultWriter,
        more: bool,
    ) -> Result<()> {
        let statement = &parsed.statement;
        if !keeps_diagnostics(statement) {
            self.forget_diagnostics();
        }
        self.check_statement(statement)?;
        match statement {
            Statement::Query(_)
            | Statement::Insert(_)
            | Statement::Update(_)
            | Statement::Delete(_)
            | Statement::Show(_) => {
                self.run_data(statement, (Arc::from([]), parsed.end - parsed.start), out, more).await
            }
            Statement::Do(exprs) => {
                for expr in exprs {
                    self.evaluate(expr)?;
                }
                self.done(out, more)
            }
            Statement::Explain { analyze, format, statement } => {
                self.explain(statement, *analyze, format.as_deref(), out, more).await
            }
            Statement::Prepare { name, text } => {
                self.prepare_named(name, text)?;
                self.done(out, more)
            }
            Statement::Execute { name, using } => self.execute_named(name, using, out, more).await,
            Statement::Deallocate(name) => {
                self.deallocate(name)?;
                self.done(out, more)
            }
            Statement::Split(split) => {
                let rows = self.split(split).await?;
                let eval = self.eval_context(Arc::from([]), false);
                self.write_rows(rows, &eval, out, more).await
            }
            Statement::Maintain { verb, tables } => {
                let rows = self.maintain(verb, tables).await?;
                let eval = self.eval_context(Arc::from([]), false);
                self.write_rows(rows, &eval, out, more).await
            }
            Statement::Unsupported(what) => Err(Error::unsupported(what)),
            _ => {
                self.run_effect(parsed, text).await?;
                self.done(out, more)
            }
        }
    }

    fn done(&mut self, out: &mut ResultWriter, more: bool) -> Result<()> {
        self.row_count = 0;
        let schema = self.database.clone();
        self.write_ok(OkSummary { schema: schema.as_deref(), ..OkSummary::default() }, out, more)
    }

    /// Statements that answer OK.
    async fn run_effect(&mut self, parsed: &Parsed, text: &[u8]) -> Result<()> {
        match &parsed.statement {
            Statement::Ddl(ddl) => {
                // MySQL's implicit commit. What SET TRANSACTION said was for the transaction that would have been next.
                self.commit_transaction().await?;
                self.next_transaction.clear();
                self.refuse_in_read_only_session()?;
                self.check_locked_ddl(ddl)?;
                let eval = self.eval_context(Arc::from([]), true);
                let (statement, entry) = (statement_text(parsed, text), self.entry());
                let show_state = |state: &str| entry.iter().for_each(|entry| entry.set_state(state));
                let outcome = ddl::execute(&self.ddl_context(&statement, &eval, &show_state), ddl).await;
                self.note_ddl(&eval, ddl);
                self.follow_locked_tables().await;
                tracing::info!(connection = self.connection.connection_id, statement, "schema change");
                outcome
            }
            Statement::Set(items) => self.set(items).await,
            Statement::SetTransaction { scope, isolation, read_only } => {
                self.set_transaction(*scope, isolation.as_deref(), *read_only).await
            }
            Statement::ResetPersist { name, if_exists } => self.reset_persist(name.as_deref(), *if_exists).await,
            Statement::Begin { consistent_snapshot, read_only, pessimistic } => {
                self.begin(*consistent_snapshot, *read_only, *pessimistic).await
            }
            Statement::Commit { chain, release } => self.commit(*chain, *release).await,
            Statement::Rollback { savepoint, chain, release } => {
                self.rollback(savepoint.as_deref(), *chain, *release).await
            }
            Statement::Savepoint(name) => self.set_savepoint(name),
            Statement::ReleaseSavepoint(name) => self.release_savepoint(name),
            Statement::Use(name) => self.use_database(name),
            Statement::Kill { query, id } => {
                let id = self.evaluate(id)?.as_u64().ok_or_else(|| unknown_thread("NULL"))?;
                self.kill_connection(id, *query).await?;
                // This statement is one of those that it ends.
                if id == self.connection.connection_id { Err(Error::Killed) } else { Ok(()) }
            }
            Statement::LockTables(tables) => self.lock_tables(tables, &statement_text(parsed, text)).await,
            Statement::UnlockTables => self.unlock_tables().await,
            Statement::Flush(what) => {
                if !matches!(what.as_str(), "PRIVILEGES" | "TABLES" | "TABLE" | "STATUS" | "") {
                    return Err(Error::unsupported(format!("FLUSH {what}")));
                }
                // MySQL's implicit commit.
                self.commit_transaction().await?;
                // There is nothing else here that flushing would change.
                if what == "PRIVILEGES" { self.server.catalog.refresh().await } else { Ok(()) }
            }
            Statement::AdminCheck(_) => Err(Error::unsupported("ADMIN CHECK TABLE")),
            Statement::User(statement) => {
                self.refuse_accounts_under_lock()?;
                self.commit_transaction().await?;
                let (account, kill) = (&self.connection.account, &self.connection.kill);
                self.server.users.change(&self.server.catalog, statement, account, kill).await
            }
            Statement::Grant(grant) => {
                self.refuse_accounts_under_lock()?;
                self.grant(grant).await
            }
            other => Err(Error::internal(format!("nobody runs {other:?}"))),
        }
    }

    /// What a schema change needs of the session.
    pub(super) fn ddl_context<'a>(
        &'a self,
        statement: &'a str,
        eval: &'a EvalContext,
        show_state: &'a (dyn Fn(&str) + Send + Sync),
    ) -> DdlContext<'a> {
        DdlContext {
            catalog: &self.server.catalog,
            database: self.database.as_deref(),
            eval,
            engine_substitution: !self.has_mode(Modes::NO_ENGINE_SUBSTITUTION),
            statement,
            kill: &self.connection.kill,
            lock_wait_timeout: self.variables.typed().metadata_lock_timeout,
            lock: self.locks.as_ref().and_then(LockedTables::lock),
            show_state,
        }
    }
}

/// True if anything but blanks and comments follows.
pub(super) fn has_statement(text: &[u8], options: ParseOptions) -> bool {
    !text.iter().all(|b| b.is_ascii_whitespace() || *b == b';') && !matches!(parse_one(text, options), Ok(None))
}

/// SHOW WARNINGS and its like talk about the statement before.
fn keeps_diagnostics(statement: &Statement) -> bool {
    match statement {
        Statement::Show(show) => matches!(**show, Show { what: ShowWhat::Warnings { .. }, .. }),
        Statement::Query(query) => matches!(
            &query.body,
            crate::parser::ast::QueryBody::Select(select)
                if select.from.is_empty() && select.items.iter().any(|item| speaks_of_diagnostics(&format!("{item:?}")))
        ),
        _ => false,
    }
}

fn speaks_of_diagnostics(item: &str) -> bool {
    ["warning_count", "error_count"].iter().any(|name| item.contains(name))
}

/// The statement's own text, for the log.
fn statement_text(parsed: &Parsed, text: &[u8]) -> String {
    String::from_utf8_lossy(&text[parsed.start..parsed.end]).into_owned()
}

/// A string or user variable as text, for PREPARE.
pub(super) fn literal_text(expr: &Expr) -> Option<Vec<u8>> {
    match expr {
        Expr::Literal(Literal::String { bytes, .. }) => Some(bytes.clone()),
        _ => None,
    }
}
