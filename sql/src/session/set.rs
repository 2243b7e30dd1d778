//! SET: system variables, user variables, NAMES, TRANSACTION.

use super::session::SqlSession;
use super::variable_value;
use super::variables::{self, Definition, Kind, Scope};
use crate::error::{Error, Result};
use crate::parser::ast::{Expr, Literal, VariableScope};
use crate::parser::statement::SetItem;
use basalt_expr::value::Value;
use std::time::Duration;

impl SqlSession {
    /// SET a = 1, @b = 2, NAMES …
    pub(super) async fn set(&mut self, items: &[SetItem]) -> Result<()> {
        // One that is refused keeps the others from being set.
        for item in items.iter().filter(|_| items.len() > 1) {
            if let SetItem::System { scope, name, value } = item {
                self.check_system(*scope, name, value.as_ref())?;
            }
        }
        for item in items {
            match item {
                SetItem::System { scope, name, value } => self.set_system(*scope, name, value.as_ref()).await?,
                SetItem::NextTransaction { name, value } => self.set_next_transaction(name, value.as_ref())?,
                SetItem::User { name, value } => {
                    let value = match value {
                        Expr::Literal(literal) if !matches!(literal, Literal::Temporal(..)) => self.evaluate(value)?,
                        _ => self.query_value(value).await?,
                    };
                    self.user_variables.set(name, value)?;
                }
                SetItem::Names { charset_only, charset, collation } => {
                    let charset = charset.as_deref().unwrap_or("utf8mb4");
                    match charset_only {
                        true => self.variables.set_character_set(charset, self.database_collation())?,
                        false => self.variables.set_names(charset, collation.as_deref())?,
                    }
                    self.warn_of_utf8mb3(charset);
                }
            }
        }
        self.connection.variables.set_results(self.variables.typed().results);
        Ok(())
    }

    /// Refuses what [`SqlSession::set_system`] would refuse.
    fn check_system(&mut self, scope: Option<VariableScope>, name: &str, value: Option<&Expr>) -> Result<()> {
        let definition = variables::definition(name).ok_or_else(|| Error::unknown_variable(name))?;
        let Some(value) = value.filter(|value| !matches!(value, Expr::Literal(Literal::Null))) else { return Ok(()) };
        let text = self.setting_text(definition.name, value)?;
        match scope {
            Some(VariableScope::Session) | None => self.variables.check(definition, &text).map(drop),
            Some(VariableScope::Global | VariableScope::Persist) => {
                self.require_variables_admin()?;
                variables::global_changes(definition, Some(&text)).map(drop)
            }
            Some(VariableScope::PersistOnly) => Ok(()),
        }
    }

    async fn set_system(&mut self, scope: Option<VariableScope>, name: &str, value: Option<&Expr>) -> Result<()> {
        let definition = variables::definition(name).ok_or_else(|| Error::unknown_variable(name))?;
        let is_null = matches!(value, Some(Expr::Literal(Literal::Null)));
        if is_null && definition.name == "character_set_results" && scope.is_none_or(|s| s == VariableScope::Session) {
            self.variables.set_results_null();
            return Ok(());
        }
        let text = value.map(|v| self.setting_text(definition.name, v)).transpose()?;
        match scope {
            // There is no restart of the whole cluster that the value could wait for.
            Some(VariableScope::PersistOnly) => return Err(Error::unsupported("SET PERSIST_ONLY")),
            Some(VariableScope::Global | VariableScope::Persist) => {
                self.set_global(definition, text.as_deref()).await?;
            }
            Some(VariableScope::Session) | None => {
                self.set_session(definition, text.as_deref()).await?;
                if definition.kind == Kind::Charset {
                    self.warn_of_utf8mb3(text.as_deref().unwrap_or_default());
                }
            }
        }
        self.warn_of_bounds(definition, text.as_deref());
        Ok(())
    }

    /// MySQL's warning about a number that became the nearest one that the variable takes.
    fn warn_of_bounds(&mut self, definition: &Definition, given: Option<&str>) {
        let Some(given) = given.filter(|_| matches!(definition.kind, Kind::Int(..) | Kind::UInt)) else { return };
        let is_kept = |kept: &str| given.trim().parse::<i128>().ok() == kept.parse().ok();
        if variable_value::check(definition, given).is_ok_and(|kept| !is_kept(&kept)) {
            let error = Error::truncated_setting(definition.name, given);
            self.warn(error.code(), error.to_string());
        }
    }

    async fn set_session(&mut self, definition: &'static Definition, text: Option<&str>) -> Result<()> {
        let before = self.variables.typed().autocommit;
        self.variables.set(definition, text)?;
        if !before && self.variables.typed().autocommit {
            // Switching autocommit on ends the open transaction, as MySQL does.
            self.commit_transaction().await?;
        }
        match definition.name {
            "wait_timeout" => {
                let seconds: u64 = self.variables.get(definition).parse().unwrap_or(28_800);
                self.connection.variables.set_wait_timeout(Duration::from_secs(seconds));
            }
            "max_allowed_packet" => {
                self.connection.variables.set_max_allowed_packet(self.variables.typed().max_allowed_packet)
            }
            _ => {}
        }
        Ok(())
    }

    /// `SET @@transaction_isolation`, `SET @@transaction_read_only`: as SET TRANSACTION, for the next one alone.
    fn set_next_transaction(&mut self, name: &str, value: Option<&Expr>) -> Result<()> {
        let name = name.replacen("tx_", "transaction_", 1);
        let definition = variables::definition(&name).ok_or_else(|| Error::unknown_variable(&name))?;
        self.refuse_within_transaction()?;
        let Some(value) = value else {
            self.next_transaction.remove(definition.name);
            return Ok(());
        };
        let text = self.setting_text(definition.name, value)?;
        let value = self.variables.check(definition, &text)?;
        self.next_transaction.insert(definition.name, value.to_string());
        Ok(())
    }

    fn refuse_within_transaction(&self) -> Result<()> {
        match self.in_transaction() {
            true => Err(Error::User {
                code: 1568,
                sqlstate: "25001",
                message: "Transaction characteristics can't be changed while a transaction is in progress".into(),
            }),
            false => Ok(()),
        }
    }

    /// SET [SESSION | GLOBAL] TRANSACTION.
    pub(super) async fn set_transaction(
        &mut self,
        scope: Option<VariableScope>,
        isolation: Option<&str>,
        read_only: Option<bool>,
    ) -> Result<()> {
        if scope.is_none() {
            self.refuse_within_transaction()?;
        }
        let access = read_only.map(|r| if r { "ON" } else { "OFF" });
        for (name, value) in [("transaction_isolation", isolation), ("transaction_read_only", access)] {
            let Some(value) = value else { continue };
            let definition = variables::definition(name).expect("a variable of the table");
            match scope {
                // For the next transaction only: the session's value comes back when that one has begun.
                None => {
                    self.variables.check(definition, value)?;
                    self.next_transaction.insert(definition.name, value.to_string());
                }
                Some(VariableScope::Session) => self.variables.set(definition, Some(value))?,
                Some(_) => self.set_global(definition, Some(value)).await?,
            }
        }
        Ok(())
    }

    /// The text of a setting: words stand for themselves (`SET autocommit = ON`, `SET NAMES utf8mb4`).
    fn setting_text(&mut self, name: &str, value: &Expr) -> Result<String> {
        Ok(match value {
            Expr::Column(name) if name.table.is_none() => name.name.clone(),
            Expr::Default => return Err(Error::internal("DEFAULT is no expression")),
            Expr::Literal(Literal::Bool(on)) => if *on { "ON" } else { "OFF" }.to_string(),
            other => match self.evaluate(other)? {
                Value::Null => {
                    return Err(Error::User {
                        code: 1231,
                        sqlstate: "42000",
                        message: format!("Variable '{name}' can't be set to the value of 'NULL'"),
                    });
                }
                Value::String(text) => text.to_string(),
                value => String::from_utf8_lossy(&crate::catalog::value_text(
                    &value,
                    &basalt_expr::func::literal_type(&value),
                ))
                .into_owned(),
            },
        })
    }

    /// The value of `@@name`.
    pub(super) fn system_variable(&self, scope: Option<VariableScope>, name: &str) -> Result<Value> {
        // Not variables that can be set: what the statement before left behind.
        let counted = match name.to_ascii_lowercase().as_str() {
            "warning_count" => Some(self.diagnostics.len()),
            "error_count" => Some(self.diagnostics.iter().filter(|d| d.level == "Error").count()),
            _ => None,
        };
        if let Some(count) = counted.filter(|_| scope != Some(VariableScope::Global)) {
            return Ok(Value::Int(count as i64));
        }
        let definition = variables::definition(name).ok_or_else(|| Error::unknown_variable(name))?;
        if scope == Some(VariableScope::Session) && definition.scope == Scope::Global {
            return Err(Error::User {
                code: 1238,
                sqlstate: "HY000",
                message: format!("Variable '{name}' is a GLOBAL variable"),
            });
        }
        let text = match (scope, definition.name) {
            (Some(VariableScope::Global), _) => self.server.globals.get(definition),
            (_, "last_insert_id" | "identity") => self.last_insert_id.to_string().into(),
            (_, "pseudo_thread_id") => self.connection.connection_id.to_string().into(),
            (_, "timestamp") if &*self.variables.get(definition) == "0" => {
                let micros = self.server.env.wall_micros();
                format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000).into()
            }
            _ => self.variables.get(definition),
        };
        Ok(variables::typed_value(definition, &text))
    }
}
