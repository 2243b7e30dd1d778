//! What an account may do: asked before every statement, and for plans each time they run.
//!
//! ```text
//! statement ─┬─ SELECT, DML ─ bind: check_table, before a name is looked up (1142 comes before 1146 and 1054)
//!            │                └ plan: check_plan, at each execution: plans are kept over a REVOKE, and shared by accounts
//!            ├─ SHOW ───────── check_show
//!            └─ the rest ───── check_statement
//! ```
//! What a plan needs is read off the plan itself, whose operators are as they were bound: every table that is named is a scan
//! in it. Made-up tables are everybody's; their rows are filtered ([`SqlSession::visible_schema`]).

use super::session::SqlSession;
use crate::catalog::information_schema;
use crate::catalog::model::{Database, Schema};
use crate::error::{Error, Result};
use crate::parser::Statement;
use crate::parser::ast::ObjectName;
use crate::parser::statement::{AlterAction, CreateTable, Ddl, Show, ShowWhat, UserStatement};
use crate::planner::PhysicalPlan;
use crate::privilege::{Privileges, Rights};
use crate::session::needs::{self, Need};
use std::sync::Arc;

/// Made-up tables that tell of the whole cluster.
const OF_THE_CLUSTER: &[&str] = &["BASALT_REGIONS", "BASALT_STORES", "BASALT_DDL_JOBS"];

impl SqlSession {
    /// What the session's account holds now.
    pub(super) fn rights(&self) -> Arc<Rights> {
        self.server.users.rights(&self.connection.account)
    }

    /// Refuses with 1227 what needs a privilege ON *.*; `names` is what MySQL calls it.
    pub(super) fn require(&self, privilege: Privileges, names: &str) -> Result<()> {
        match self.rights().global.has(privilege) {
            true => Ok(()),
            false => Err(Error::privilege_needed(names)),
        }
    }

    /// 1044, which names the account.
    pub(super) fn database_denied(&self, database: &str) -> Error {
        let account = &self.connection.account;
        Error::database_denied(&account.user, &account.host, database)
    }

    /// 1142, which names the client.
    pub(super) fn table_denied(&self, command: &str, table: &str) -> Error {
        Error::User {
            code: 1142,
            sqlstate: "42000",
            message: format!(
                "{command} command denied to user '{}'@'{}' for table '{table}'",
                self.account.0, self.account.1
            ),
        }
    }

    /// Refuses a database of which the account holds nothing.
    pub(super) fn check_sees_database(&self, database: &str) -> Result<()> {
        match database.eq_ignore_ascii_case("information_schema") || self.rights().enters_database(database) {
            true => Ok(()),
            false => Err(self.database_denied(database)),
        }
    }

    fn check_database(&self, database: &str, privileges: Privileges) -> Result<()> {
        match self.rights().on_database(database).has(privileges) {
            true => Ok(()),
            false => Err(self.database_denied(database)),
        }
    }

    /// Refuses what needs all of `privileges` on a table.
    pub(super) fn check_on_table(&self, database: &str, table: &str, privileges: Privileges) -> Result<()> {
        let missing = privileges.without(self.rights().on_table(database, table));
        if missing.is_empty() { Ok(()) } else { Err(self.table_denied(&missing.commands(), table)) }
    }

    pub(super) fn check_named(&self, name: &ObjectName, privileges: Privileges) -> Result<()> {
        let database = name.database.as_deref().or(self.database.as_deref()).ok_or_else(Error::no_database)?;
        self.check_on_table(database, &name.name, privileges)
    }

    /// Refuses a plan that does more than the account may.
    pub(super) fn check_plan(&self, plan: &PhysicalPlan) -> Result<()> {
        self.check_locked(plan)?;
        if self.variables.typed().safe_updates && crate::planner::safe::changes_without_key(plan) {
            return Err(Error::unsafe_update());
        }
        let rights = self.rights();
        if rights.is_everything() {
            return Ok(());
        }
        for need in needs::of(plan) {
            self.check_need(&rights, &need)?;
        }
        for scan in super::data::virtual_scans(plan) {
            let is_mysql = scan.database.eq_ignore_ascii_case("mysql");
            if is_mysql && !rights.on_table("mysql", &scan.table).has(Privileges::SELECT) {
                return Err(self.table_denied("SELECT", &scan.table.to_lowercase()));
            }
            if OF_THE_CLUSTER.iter().any(|t| t.eq_ignore_ascii_case(&scan.table)) {
                self.require(Privileges::PROCESS, "PROCESS")?;
            }
        }
        Ok(())
    }

    fn check_need(&self, rights: &Rights, need: &Need) -> Result<()> {
        let here = rights.on_table(&need.database, &need.table);
        let missing = need.privileges.without(here);
        if !missing.is_empty() {
            return Err(match &need.column {
                None => self.table_denied(&missing.commands(), &need.table),
                Some(column) => Error::User {
                    code: 1143,
                    sqlstate: "42000",
                    message: format!(
                        "{} command denied to user '{}'@'{}' for column '{column}' in table '{}'",
                        missing.commands(),
                        self.account.0,
                        self.account.1,
                        need.table
                    ),
                },
            });
        }
        let may_lock = Privileges::UPDATE.with(Privileges::DELETE).with(Privileges::LOCK_TABLES);
        if need.locks && !here.has_any(may_lock) {
            return Err(self.table_denied("SELECT with locking clause", &need.table));
        }
        Ok(())
    }

    /// Refuses a SHOW about what the account may not see.
    fn check_show(&self, show: &Show) -> Result<()> {
        let named =
            |database: &Option<String>| database.clone().or_else(|| self.database.as_deref().map(str::to_owned));
        let own = |name: &(String, String)| {
            let account = &self.connection.account;
            name.0.is_empty() || (name.0 == account.user && name.1.eq_ignore_ascii_case(&account.host))
        };
        match &show.what {
            ShowWhat::Tables { database, .. } | ShowWhat::TableStatus { database } => match named(database) {
                // 1049 is told to everybody.
                Some(name) if self.is_database(&name)? => self.check_sees_database(&name),
                _ => Ok(()),
            },
            ShowWhat::Columns { table, .. } | ShowWhat::Index(table) => match self.is_made_up(table) {
                true => Ok(()),
                false => self.check_named(table, Privileges::SELECT),
            },
            ShowWhat::Regions { table, .. } => self.check_named(table, Privileges::SELECT),
            ShowWhat::CreateTable(table) => {
                let database = table.database.as_deref().or(self.database.as_deref()).ok_or_else(Error::no_database)?;
                match self.rights().sees_table(database, &table.name) || self.is_made_up(table) {
                    true => self.check_locked_name(database, &table.name, &table.name),
                    false => Err(self.table_denied("SHOW", &table.name)),
                }
            }
            ShowWhat::CreateDatabase { name, .. } => match self.rights().enters_database(name) {
                true => Ok(()),
                false => Err(Error::database_denied(&self.account.0, &self.account.1, name)),
            },
            ShowWhat::Grants { user: Some(user) } if !own(user) => {
                self.check_on_table("mysql", "user", Privileges::SELECT)?;
                self.server.users.check_exists(&user.0, &user.1)
            }
            ShowWhat::CreateUser(user, host) if !own(&(user.clone(), host.clone())) => {
                self.check_database("mysql", Privileges::SELECT)?;
                let known = self.server.users.check_exists(user, host);
                known.map_err(|_| super::users::failed("SHOW CREATE USER", user, host))
            }
            _ => Ok(()),
        }
    }

    fn is_database(&self, name: &str) -> Result<bool> {
        Ok(information_schema::is_database(name) || self.server.catalog.schema()?.database(name).is_some())
    }

    fn is_made_up(&self, table: &ObjectName) -> bool {
        let database = table.database.as_deref().or(self.database.as_deref());
        database.is_some_and(information_schema::is_database)
    }

    /// Refuses statements that the account may not run; those that are planned are looked at when they run.
    pub(super) fn check_statement(&self, statement: &Statement) -> Result<()> {
        // What accounts hold is known as of the schema that this server has.
        self.server.catalog.schema()?;
        if self.rights().is_everything() {
            return match statement {
                Statement::Show(show) => self.check_show(show),
                _ => Ok(()),
            };
        }
        match statement {
            Statement::Show(show) => self.check_show(show),
            Statement::Ddl(ddl) => self.check_ddl(ddl),
            Statement::Use(name) => self.check_sees_database(name),
            Statement::Flush(what) => {
                let names = match what.as_str() {
                    "PRIVILEGES" => "RELOAD or FLUSH_PRIVILEGES",
                    "TABLES" | "TABLE" | "" => "RELOAD or FLUSH_TABLES",
                    "STATUS" => "RELOAD or FLUSH_STATUS",
                    _ => "RELOAD",
                };
                self.require(Privileges::RELOAD, names)
            }
            Statement::LockTables(tables) => tables.iter().try_for_each(|table| self.check_lock(&table.name)),
            Statement::Maintain { verb, tables } => {
                let needed = match *verb {
                    "check" => Privileges::SELECT,
                    _ => Privileges::SELECT.with(Privileges::INSERT),
                };
                tables.iter().try_for_each(|name| self.check_named(name, needed))
            }
            Statement::Split(_) | Statement::AdminCheck(_) => self.require(Privileges::SUPER, "SUPER"),
            Statement::User(user) if !self.is_own_password(user) => {
                self.require(Privileges::CREATE_USER, "CREATE USER")?;
                self.check_targets(user)
            }
            _ => Ok(()),
        }
    }

    fn check_lock(&self, name: &ObjectName) -> Result<()> {
        let database = name.database.as_deref().or(self.database.as_deref()).ok_or_else(Error::no_database)?;
        self.check_database(database, Privileges::LOCK_TABLES)?;
        self.check_on_table(database, &name.name, Privileges::SELECT)
    }

    /// Whoever may make accounts must not become more than they are by changing a mightier one.
    fn check_targets(&self, statement: &UserStatement) -> Result<()> {
        let targets: Vec<(&str, &str)> = match statement {
            UserStatement::Create { .. } => Vec::new(),
            UserStatement::Alter { users, .. } => users.iter().map(|u| (u.name.as_str(), u.host.as_str())).collect(),
            UserStatement::Drop { users, .. } => users.iter().map(|(n, h)| (n.as_str(), h.as_str())).collect(),
        };
        targets.into_iter().try_for_each(|(name, host)| self.check_target(name, host))
    }

    /// 1227 for an account that has SUPER, unless one's own has it.
    pub(super) fn check_target(&self, name: &str, host: &str) -> Result<()> {
        let is_super = self.server.users.rights_of(name, host).global.has(Privileges::SUPER);
        if is_super { self.require(Privileges::SUPER, "SYSTEM_USER") } else { Ok(()) }
    }

    fn check_ddl(&self, ddl: &Ddl) -> Result<()> {
        match ddl {
            Ddl::CreateDatabase { name, .. } => self.check_database(name, Privileges::CREATE),
            Ddl::DropDatabase { name, .. } => self.check_database(name, Privileges::DROP),
            Ddl::AlterDatabase { name, .. } => {
                let name = name.as_deref().or(self.database.as_deref()).ok_or_else(Error::no_database)?;
                self.check_database(name, Privileges::ALTER)
            }
            Ddl::CreateTable(create) => self.check_create_table(create),
            Ddl::DropTable { tables, .. } => tables.iter().try_for_each(|t| self.check_named(t, Privileges::DROP)),
            Ddl::DropView { views, .. } => views.iter().try_for_each(|v| self.check_named(v, Privileges::DROP)),
            Ddl::Truncate(table) => self.check_named(table, Privileges::DROP),
            Ddl::Rename(pairs) => pairs.iter().try_for_each(|(old, new)| self.check_rename(old, new)),
            Ddl::AlterTable { table, actions } => {
                self.check_named(table, Privileges::ALTER)?;
                actions.iter().try_for_each(|action| match action {
                    AlterAction::Rename(new) => self.check_rename(table, new),
                    _ => Ok(()),
                })
            }
            Ddl::CreateIndex { table, .. } | Ddl::DropIndex { table, .. } => self.check_named(table, Privileges::INDEX),
        }
    }

    fn check_create_table(&self, create: &CreateTable) -> Result<()> {
        if create.temporary {
            let database = create.name.database.as_deref().or(self.database.as_deref());
            return self.check_database(database.ok_or_else(Error::no_database)?, Privileges::CREATE_TEMPORARY);
        }
        self.check_named(&create.name, Privileges::CREATE)?;
        if let Some(like) = &create.like {
            self.check_named(like, Privileges::SELECT)?;
        }
        match &create.select {
            None => Ok(()),
            Some(_) => self.check_named(&create.name, Privileges::INSERT),
        }
    }

    fn check_rename(&self, old: &ObjectName, new: &ObjectName) -> Result<()> {
        self.check_named(old, Privileges::DROP.with(Privileges::ALTER))?;
        self.check_named(new, Privileges::INSERT.with(Privileges::CREATE))
    }

    /// The schema as the account may see it, for the made-up tables.
    pub(super) fn visible_schema(&self, schema: &Arc<Schema>) -> Arc<Schema> {
        let rights = self.rights();
        if rights.is_everything() {
            return schema.clone();
        }
        let mut visible = Schema::clone(schema);
        visible.databases.retain(|_, database| rights.sees_database(&database.name));
        for database in visible.databases.values_mut() {
            let name = database.name.clone();
            let tables = database.tables.iter().filter(|(_, table)| rights.sees_table(&name, &table.name));
            let tables = tables.map(|(key, table)| (key.clone(), table.clone())).collect();
            *database = Arc::new(Database { tables, ..Database::clone(database) });
        }
        Arc::new(visible)
    }
}
