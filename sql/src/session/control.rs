//! BEGIN, COMMIT, ROLLBACK, savepoints, and what SET TRANSACTION said of the next one.

use super::data::Effect;
use super::session::{Diagnostic, SqlSession};
use super::variables;
use crate::error::{Error, Result};
use crate::executor;
use crate::parser::statement::{Ddl, UserSpec, UserStatement};
use crate::transaction::TxnSettings;
use basalt_expr::EvalContext;
use std::sync::Arc;

impl SqlSession {
    /// True between BEGIN and COMMIT.
    pub(super) fn in_transaction(&self) -> bool {
        self.txn.is_open()
    }

    /// Tells the transaction what the variables say now.
    fn settings(&self) -> TxnSettings {
        let typed = self.variables.typed();
        let read_only = variables::definition("transaction_read_only").is_some_and(|d| &*self.variables.get(d) == "ON");
        TxnSettings {
            autocommit: typed.autocommit,
            isolation: typed.isolation,
            pessimistic: !typed.optimistic,
            read_only,
            bytes_max: typed.txn_bytes_max,
        }
    }

    /// Refuses a schema change where transactions are read only.
    ///
    /// # Errors
    /// 1792.
    pub(super) fn refuse_in_read_only_session(&self) -> Result<()> {
        if self.settings().read_only { Err(Error::read_only_transaction()) } else { Ok(()) }
    }

    /// Before a statement: the next transaction gets the session's settings, and what SET TRANSACTION said for it alone.
    pub(super) fn apply_next_transaction(&mut self) -> Result<()> {
        if self.txn.is_open() {
            return Ok(());
        }
        let mut settings = self.settings();
        for (name, value) in std::mem::take(&mut self.next_transaction) {
            match name {
                "transaction_isolation" => settings.isolation = variables::isolation(&value),
                _ => settings.read_only = value == "ON",
            }
        }
        self.txn.settings = settings;
        Ok(())
    }

    pub(super) async fn begin(
        &mut self,
        consistent_snapshot: bool,
        read_only: Option<bool>,
        pessimistic: Option<bool>,
    ) -> Result<()> {
        self.commit_transaction().await?;
        self.release_tables().await;
        self.apply_next_transaction()?;
        if let Some(pessimistic) = pessimistic {
            self.txn.settings.pessimistic = pessimistic;
        }
        // Held until the snapshot is taken.
        let _schema = self.use_schema()?;
        self.txn.begin(read_only.unwrap_or(self.txn.settings.read_only), consistent_snapshot).await
    }

    /// Commits what is open, if anything.
    pub(super) async fn commit_transaction(&mut self) -> Result<()> {
        if !self.txn.is_open() {
            return Ok(());
        }
        let guard = match self.server.catalog.guard_commit(&self.txn.holds) {
            Ok(guard) => guard,
            Err(error) => {
                self.txn.rollback().await;
                return Err(error);
            }
        };
        let ctx = self.statement_context(guard.schema().clone(), Arc::from([]), Effect::Writes, Vec::new()).await?;
        executor::commit(&ctx, &mut self.txn).await
    }

    pub(super) async fn commit(&mut self, chain: bool, release: bool) -> Result<()> {
        self.commit_transaction().await?;
        self.after_end(chain, release).await
    }

    pub(super) async fn rollback(&mut self, savepoint: Option<&str>, chain: bool, release: bool) -> Result<()> {
        if let Some(name) = savepoint {
            return if self.txn.rollback_to_name(name).await { Ok(()) } else { Err(no_savepoint(name)) };
        }
        self.txn.rollback().await;
        self.after_end(chain, release).await
    }

    async fn after_end(&mut self, chain: bool, release: bool) -> Result<()> {
        if release {
            self.connection.kill.drain();
        }
        if chain {
            self.release_tables().await;
            self.txn.begin(self.txn.settings.read_only, false).await?;
        }
        Ok(())
    }

    /// SAVEPOINT: without autocommit it begins a transaction.
    pub(super) fn set_savepoint(&mut self, name: &str) -> Result<()> {
        if !self.variables.typed().autocommit {
            self.apply_next_transaction()?;
            self.txn.enter();
        }
        self.txn.set_savepoint(name)
    }

    pub(super) fn release_savepoint(&mut self, name: &str) -> Result<()> {
        if self.txn.release_savepoint(name) { Ok(()) } else { Err(no_savepoint(name)) }
    }

    /// After a schema change: its notes, and a current database that is gone.
    pub(super) fn note_ddl(&mut self, eval: &EvalContext, ddl: &Ddl) {
        self.diagnostics.extend(eval.warnings.take().into_iter().map(|w| Diagnostic {
            level: "Note",
            code: w.code,
            message: w.message,
        }));
        if let Ddl::DropDatabase { name, .. } = ddl
            && self.database.as_deref().is_some_and(|d| d.eq_ignore_ascii_case(name))
            && self.server.catalog.schema().is_ok_and(|s| s.database(name).is_none())
        {
            self.database = None;
        }
    }

    /// True for a change of nothing but the own account's password.
    pub(super) fn is_own_password(&self, statement: &UserStatement) -> bool {
        let own = &self.connection.account;
        let is_own = |spec: &UserSpec| {
            let is_account = spec.name == own.user && spec.host.eq_ignore_ascii_case(&own.host);
            (spec.is_current_user() || is_account) && spec.plugin.is_none() && spec.password.is_some()
        };
        matches!(statement, UserStatement::Alter { users, .. } if users.iter().all(is_own))
    }
}

fn no_savepoint(name: &str) -> Error {
    Error::User { code: 1305, sqlstate: "42000", message: format!("SAVEPOINT {name} does not exist") }
}
