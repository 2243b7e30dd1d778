//! SET GLOBAL, SET PERSIST and RESET PERSIST: values that the catalog keeps, for every server and over restarts.

use super::session::SqlSession;
use super::variables::{self, Definition, canonical};
use crate::catalog::keys;
use crate::error::{Error, Result};
use crate::privilege::Privileges;
use basalt_proto::schema::GlobalVariable;
use prost::Message;

impl SqlSession {
    /// SET GLOBAL and SET PERSIST, which are the same; `None` = DEFAULT. In force here at return, and on other servers a moment
    /// later.
    pub(super) async fn set_global(&mut self, definition: &'static Definition, value: Option<&str>) -> Result<()> {
        self.require_variables_admin()?;
        let changes = variables::global_changes(definition, value)?;
        self.server
            .catalog
            .change_settings(|_, txn| {
                for (name, value) in &changes {
                    match value {
                        None => txn.delete(keys::variable(name))?,
                        Some(value) => {
                            let record = GlobalVariable { name: (*name).into(), value: value.to_string() };
                            txn.put(keys::variable(name), record.encode_to_vec())?;
                        }
                    }
                }
                Ok(true)
            })
            .await?;
        self.server.catalog.refresh_everywhere().await
    }

    /// RESET PERSIST: one variable or all have their defaults again.
    pub(super) async fn reset_persist(&mut self, name: Option<&str>, if_exists: bool) -> Result<()> {
        self.require_variables_admin()?;
        let name = name.map(|name| variables::definition(name).map_or(name, |d| canonical(d.name)));
        let changed = self.server.catalog.change_settings(|settings, txn| {
            let is_meant = |record: &&GlobalVariable| name.is_none_or(|name| record.name == name);
            let mut found = settings.variables.iter().filter(is_meant).peekable();
            if let Some(name) = name.filter(|_| found.peek().is_none() && !if_exists) {
                return Err(not_persisted(name));
            }
            let is_any = found.peek().is_some();
            found.try_for_each(|record| txn.delete(keys::variable(&record.name)))?;
            Ok(is_any)
        });
        match (changed.await?, name) {
            (None, Some(name)) => {
                let error = not_persisted(name);
                self.warn(error.code(), error.to_string());
                Ok(())
            }
            _ => self.server.catalog.refresh_everywhere().await,
        }
    }

    pub(super) fn require_variables_admin(&self) -> Result<()> {
        self.require(Privileges::SUPER, "SUPER or SYSTEM_VARIABLES_ADMIN")
    }
}

fn not_persisted(name: &str) -> Error {
    let message = format!("Variable {name} does not exist in persisted config file");
    Error::User { code: 3615, sqlstate: "HY000", message }
}
