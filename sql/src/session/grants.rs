//! GRANT and REVOKE, and what SHOW GRANTS prints.

use super::session::SqlSession;
use super::users::{no_such_grant, same, shown_digest};
use crate::catalog::information_schema::{AccountInfo, GrantInfo};
use crate::error::{Error, Result};
use crate::parser::statement::{Grant, GrantLevel};
use crate::privilege::{Level, Privileges, Rights};
use basalt_proto::schema::User;

/// What a GRANT or REVOKE is about, resolved.
struct Target {
    level: Level,
    /// Empty for everything.
    database: String,
    /// Empty for all of a database.
    table: String,
    privileges: Privileges,
}

impl SqlSession {
    /// GRANT and REVOKE: of all named accounts or, when one does not fit, of none.
    ///
    /// # Errors
    /// 1044, 1045 and 1142 for what the account may not pass on; 1410 and 1141 for accounts and grants that are not there.
    pub(super) async fn grant(&mut self, grant: &Grant) -> Result<()> {
        let target = match &grant.level {
            GrantLevel::Anything => None,
            level => Some(self.grant_target(grant, level)?),
        };
        match &target {
            Some(target) => self.check_may_grant(target)?,
            None => self.require(Privileges::CREATE_USER, "CREATE USER")?,
        }
        for spec in &grant.users {
            self.check_target(&spec.name, &spec.host)?;
        }
        self.commit_transaction().await?;
        let own = &self.connection.account;
        self.server
            .users
            .edit(&self.server.catalog, &self.connection.kill, |users| {
                grant.users.iter().try_for_each(|spec| {
                    let is_own = spec.is_current_user();
                    let (name, host) = if is_own { (&own.user, &own.host) } else { (&spec.name, &spec.host) };
                    change(users, name, host, grant.revoke, target.as_ref())
                })
            })
            .await
    }

    fn grant_target(&self, grant: &Grant, level: &GrantLevel) -> Result<Target> {
        let current = || self.database.as_deref().map(str::to_owned).ok_or_else(Error::no_database);
        let (level, database, table) = match level {
            GrantLevel::Everything | GrantLevel::Anything => (Level::Global, String::new(), String::new()),
            GrantLevel::Current => (Level::Database, current()?, String::new()),
            GrantLevel::Database(name) => (Level::Database, name.clone(), String::new()),
            GrantLevel::Table(name) => {
                let database = name.database.clone().map_or_else(current, Ok)?;
                (Level::Table, database, name.name.clone())
            }
        };
        let mut privileges = privileges_of(&grant.privileges, level)?;
        if grant.grant_option {
            privileges = privileges.with(Privileges::GRANT);
        }
        let target = Target { level, database, table, privileges };
        if !grant.revoke && level == Level::Table && !privileges.has(Privileges::CREATE) {
            self.check_may_grant(&target)?;
            let schema = self.server.catalog.schema()?;
            if schema.table(&target.database, &target.table).is_none() {
                return Err(Error::no_such_table(&target.database, &target.table));
            }
        }
        Ok(target)
    }

    /// One passes on what one holds with GRANT OPTION, at that level or above.
    fn check_may_grant(&self, target: &Target) -> Result<()> {
        let (rights, needed) = (self.rights(), target.privileges.with(Privileges::GRANT));
        let account = &self.connection.account;
        match target.level {
            Level::Global if rights.global.has(needed) => Ok(()),
            Level::Global => {
                let password = if account.credential == crate::server::Credential::Empty { "NO" } else { "YES" };
                Err(Error::access_denied(&account.user, &account.host, password))
            }
            Level::Database if rights.on_database(&target.database).has(needed) => Ok(()),
            Level::Database => Err(Error::database_denied(&account.user, &account.host, &target.database)),
            Level::Table => self.check_on_table(&target.database, &target.table, needed),
        }
    }
}

/// The named privileges at a level.
fn privileges_of(names: &[String], level: Level) -> Result<Privileges> {
    let mut all = Privileges::NONE;
    for name in names {
        let one = match name.as_str() {
            "ALL" | "ALL PRIVILEGES" if names.len() == 1 => Privileges::all_at(level),
            "USAGE" => Privileges::NONE,
            name => Privileges::named(name).ok_or_else(|| Error::unsupported(format!("the privilege {name}")))?,
        };
        all = all.with(one);
    }
    let allowed = Privileges::all_at(level).with(Privileges::GRANT);
    match (level, allowed.has(all)) {
        (_, true) => Ok(all),
        (Level::Table, false) => Err(Error::User {
            code: 1144,
            sqlstate: "42000",
            message: "Illegal GRANT/REVOKE command; please consult the manual to see which privileges can be used"
                .into(),
        }),
        _ => Err(Error::User {
            code: 1221,
            sqlstate: "HY000",
            message: "Incorrect usage of DB GRANT and GLOBAL PRIVILEGES".into(),
        }),
    }
}

/// Changes one account; without a target it loses all.
fn change(users: &mut [User], name: &str, host: &str, revoke: bool, target: Option<&Target>) -> Result<()> {
    let found = users.iter_mut().find(|u| same(u, name, host));
    let user = match found {
        Some(user) => user,
        None if target.is_none() => {
            return Err(Error::User {
                code: 1269,
                sqlstate: "HY000",
                message: "Can't revoke all privileges for one or more of the requested users".into(),
            });
        }
        None if revoke => return Err(no_such_grant(name, host)),
        None => {
            return Err(Error::User {
                code: 1410,
                sqlstate: "42000",
                message: "You are not allowed to create a user with GRANT".into(),
            });
        }
    };
    let mut rights = Rights::of(user);
    match target {
        None => rights = Rights::default(),
        Some(target) if revoke => {
            if !rights.remove(&target.database, &target.table, target.privileges) {
                return Err(nothing_granted(name, host, target));
            }
        }
        Some(target) => rights.add(&target.database, &target.table, target.privileges),
    }
    // The last way in: nobody could give it back.
    if same(user, "root", "%") && !rights.is_everything() {
        return Err(Error::unsupported("taking root's privileges"));
    }
    rights.store(user);
    Ok(())
}

fn nothing_granted(name: &str, host: &str, target: &Target) -> Error {
    match target.level {
        Level::Table => Error::User {
            code: 1147,
            sqlstate: "42000",
            message: format!(
                "There is no such grant defined for user '{name}' on host '{host}' on table '{}'",
                target.table
            ),
        },
        _ => no_such_grant(name, host),
    }
}

/// An account as the made-up tables and SHOW GRANTS tell of it.
pub(super) fn describe(user: &User, rights: &Rights) -> AccountInfo {
    let names = |privileges: Privileges| privileges.without(Privileges::GRANT).each().map(|(_, name)| name).collect();
    let info = |level: Level, database: &str, table: &str, privileges: Privileges| GrantInfo {
        database: database.to_owned(),
        table: table.to_owned(),
        privileges: names(privileges),
        grantable: privileges.has(Privileges::GRANT),
        text: text(user, level, database, table, privileges),
    };
    let global = info(Level::Global, "", "", rights.global);
    let finer = rights.grants.iter().map(|grant| {
        let level = if grant.table.is_empty() { Level::Database } else { Level::Table };
        info(level, &grant.database, &grant.table, Privileges(grant.privileges))
    });
    AccountInfo {
        user: user.name.clone(),
        host: user.host.clone(),
        plugin: user.plugin.clone(),
        digest: shown_digest(user),
        grants: std::iter::once(global).chain(finer).collect(),
    }
}

fn text(user: &User, level: Level, database: &str, table: &str, privileges: Privileges) -> String {
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    let on = match level {
        Level::Global => "*.*".to_owned(),
        Level::Database => format!("{}.*", quoted(database)),
        Level::Table => format!("{}.{}", quoted(database), quoted(table)),
    };
    let option = if privileges.has(Privileges::GRANT) { " WITH GRANT OPTION" } else { "" };
    let (listed, name, host) = (privileges.listed(level), quoted(&user.name), quoted(&user.host));
    format!("GRANT {listed} ON {on} TO {name}@{host}{option}")
}
