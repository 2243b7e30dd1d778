//! Privileges: which there are, where they may be granted, and what one account holds.
//!
//! A privilege is a bit, in MySQL's order, which is the order in which messages and SHOW GRANTS name them. What an account
//! may do with a table is the union of three: what it holds everywhere, on the table's database, and on the table.

use basalt_expr::collation::Collation;
use basalt_proto::schema::{TableGrant, User};

/// A set of privileges.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Privileges(pub u64);

/// Where a privilege may be granted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Also ON d.t.
    Table,
    /// Also ON d.*.
    Database,
    /// ON *.* only.
    Global,
}

macro_rules! privileges {
    ($($bit:literal $constant:ident $text:literal $level:ident;)*) => {
        impl Privileges {
            $(
                #[doc = $text]
                pub const $constant: Privileges = Privileges(1 << $bit);
            )*
        }
        /// Every privilege, by its bit: name and the finest level it is granted at.
        const TABLE: &[(Privileges, &str, Level)] = &[$((Privileges::$constant, $text, Level::$level)),*];
    };
}

privileges! {
    0 SELECT "SELECT" Table;
    1 INSERT "INSERT" Table;
    2 UPDATE "UPDATE" Table;
    3 DELETE "DELETE" Table;
    4 CREATE "CREATE" Table;
    5 DROP "DROP" Table;
    6 RELOAD "RELOAD" Global;
    7 SHUTDOWN "SHUTDOWN" Global;
    8 PROCESS "PROCESS" Global;
    9 FILE "FILE" Global;
    10 GRANT "GRANT OPTION" Table;
    11 REFERENCES "REFERENCES" Table;
    12 INDEX "INDEX" Table;
    13 ALTER "ALTER" Table;
    14 SHOW_DATABASES "SHOW DATABASES" Global;
    15 SUPER "SUPER" Global;
    16 CREATE_TEMPORARY "CREATE TEMPORARY TABLES" Database;
    17 LOCK_TABLES "LOCK TABLES" Database;
    18 EXECUTE "EXECUTE" Database;
    19 REPLICATION_SLAVE "REPLICATION SLAVE" Global;
    20 REPLICATION_CLIENT "REPLICATION CLIENT" Global;
    21 CREATE_VIEW "CREATE VIEW" Table;
    22 SHOW_VIEW "SHOW VIEW" Table;
    23 CREATE_ROUTINE "CREATE ROUTINE" Database;
    24 ALTER_ROUTINE "ALTER ROUTINE" Database;
    25 CREATE_USER "CREATE USER" Global;
    26 EVENT "EVENT" Database;
    27 TRIGGER "TRIGGER" Table;
    28 CREATE_TABLESPACE "CREATE TABLESPACE" Global;
    29 CREATE_ROLE "CREATE ROLE" Global;
    30 DROP_ROLE "DROP ROLE" Global;
}

impl Privileges {
    /// None.
    pub const NONE: Privileges = Privileges(0);
    /// Everything, the right to pass it on included.
    pub const EVERYTHING: Privileges = Privileges((1 << TABLE.len()) - 1);

    /// One privilege by its upper-cased name.
    pub fn named(name: &str) -> Option<Privileges> {
        TABLE.iter().find(|(_, text, _)| *text == name).map(|(bit, ..)| *bit)
    }

    /// What ALL PRIVILEGES means at a level: everything there but GRANT OPTION.
    pub fn all_at(level: Level) -> Privileges {
        let at = TABLE.iter().filter(|(_, _, finest)| *finest <= level);
        at.fold(Privileges::NONE, |all, (bit, ..)| all.with(*bit)).without(Privileges::GRANT)
    }

    /// Either's.
    pub const fn with(self, other: Privileges) -> Privileges {
        Privileges(self.0 | other.0)
    }

    /// These without the other's.
    pub const fn without(self, other: Privileges) -> Privileges {
        Privileges(self.0 & !other.0)
    }

    /// Whether all of the other's are here.
    pub const fn has(self, other: Privileges) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether one of the other's is here.
    pub const fn has_any(self, other: Privileges) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The privileges of a set, one by one.
    pub fn each(self) -> impl Iterator<Item = (Privileges, &'static str)> {
        TABLE.iter().filter(move |(bit, ..)| self.has(*bit)).map(|(bit, text, _)| (*bit, *text))
    }

    /// As messages list them: "INSERT, DELETE".
    pub fn names(self) -> String {
        self.each().map(|(_, text)| text).collect::<Vec<_>>().join(", ")
    }

    /// As "… command denied" lists them, where GRANT OPTION is called GRANT.
    pub fn commands(self) -> String {
        self.names().replace("GRANT OPTION", "GRANT")
    }

    /// As SHOW GRANTS lists them at a level.
    pub fn listed(self, level: Level) -> String {
        let plain = self.without(Privileges::GRANT);
        match plain {
            Privileges::NONE => "USAGE".to_owned(),
            all if all == Privileges::all_at(level) => "ALL PRIVILEGES".to_owned(),
            some => some.names(),
        }
    }
}

/// What one account holds.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Rights {
    /// Everywhere.
    pub global: Privileges,
    /// On databases (`table` is empty) and tables.
    pub grants: Vec<TableGrant>,
}

impl Rights {
    /// The rights in an account's record.
    pub fn of(user: &User) -> Rights {
        // Records from before single privileges say only whether the account may do everything.
        let global = if user.all_privileges { Privileges::EVERYTHING } else { Privileges(user.privileges) };
        Rights { global, grants: user.grants.clone() }
    }

    /// Writes them into the account's record.
    pub fn store(self, user: &mut User) {
        (user.all_privileges, user.privileges, user.grants) = (false, self.global.0, self.grants);
    }

    /// Whether nothing needs to be asked.
    pub fn is_everything(&self) -> bool {
        self.global == Privileges::EVERYTHING
    }

    /// On a database: what holds everywhere, and the grant whose name or pattern fits best.
    pub fn on_database(&self, database: &str) -> Privileges {
        self.global.with(self.database_grant(database))
    }

    /// On a table.
    pub fn on_table(&self, database: &str, table: &str) -> Privileges {
        let exact = self.grants.iter().find(|g| {
            !g.table.is_empty() && g.database.eq_ignore_ascii_case(database) && g.table.eq_ignore_ascii_case(table)
        });
        self.on_database(database).with(exact.map_or(Privileges::NONE, |g| Privileges(g.privileges)))
    }

    /// Whether a database's name is shown.
    pub fn sees_database(&self, database: &str) -> bool {
        self.on_database(database).has_any(Privileges::SHOW_DATABASES) || self.enters_database(database)
    }

    /// Whether anything may be done in a database, as USE and SHOW TABLES ask.
    pub fn enters_database(&self, database: &str) -> bool {
        self.on_database(database).has_any(Privileges::all_at(Level::Database))
            || !self.database_grant(database).is_empty()
            || self.grants.iter().any(|g| !g.table.is_empty() && g.database.eq_ignore_ascii_case(database))
    }

    /// Whether anything may be done with a table, as SHOW TABLES and information_schema ask.
    pub fn sees_table(&self, database: &str, table: &str) -> bool {
        self.on_table(database, table).has_any(Privileges::all_at(Level::Table))
    }

    /// The grants on databases are patterns, as in MySQL: `_` and `%` stand for others unless escaped. The most exact one
    /// holds, alone.
    fn database_grant(&self, database: &str) -> Privileges {
        let fitting = self.grants.iter().filter(|g| g.table.is_empty() && fits(database, &g.database));
        let best = fitting.min_by_key(|g| (wildcards(&g.database), std::cmp::Reverse(g.database.len())));
        best.map_or(Privileges::NONE, |g| Privileges(g.privileges))
    }

    /// Adds privileges; none on a level removes it when that is all there was.
    pub fn add(&mut self, database: &str, table: &str, privileges: Privileges) {
        if database.is_empty() {
            self.global = self.global.with(privileges);
            return;
        }
        match self.grants.iter_mut().find(|g| is_of(g, database, table)) {
            Some(grant) => grant.privileges |= privileges.0,
            None if privileges.is_empty() => {}
            None => {
                let (database, table) = (database.to_owned(), table.to_owned());
                self.grants.push(TableGrant { database, table, privileges: privileges.0 });
                // As SHOW GRANTS lists them: databases, then tables.
                self.grants.sort_by_key(|g| (!g.table.is_empty(), g.database.clone(), g.table.clone()));
            }
        }
    }

    /// Takes privileges away; false when none of them was granted there.
    pub fn remove(&mut self, database: &str, table: &str, privileges: Privileges) -> bool {
        if database.is_empty() {
            self.global = self.global.without(privileges);
            return true;
        }
        let Some(at) = self.grants.iter().position(|g| is_of(g, database, table)) else { return false };
        // USAGE is none, and everybody's.
        if privileges.0 != 0 && self.grants[at].privileges & privileges.0 == 0 {
            return false;
        }
        self.grants[at].privileges &= !privileges.0;
        if self.grants[at].privileges == 0 {
            self.grants.remove(at);
        }
        true
    }
}

/// LIKE, as it matches names.
fn fits(name: &str, pattern: &str) -> bool {
    basalt_expr::func::like_matches(name.as_bytes(), pattern.as_bytes(), b"\\", Collation::Utf8mb4GeneralCi)
}

fn is_of(grant: &TableGrant, database: &str, table: &str) -> bool {
    grant.database.eq_ignore_ascii_case(database) && grant.table.eq_ignore_ascii_case(table)
}

/// Characters of a pattern that stand for others.
fn wildcards(pattern: &str) -> usize {
    let (mut count, mut escaped) = (0, false);
    for c in pattern.chars() {
        match c {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '%' | '_' if !escaped => count += 1,
            _ => {}
        }
        escaped = false;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_levels() {
        assert_eq!(Privileges::named("SHOW DATABASES"), Some(Privileges::SHOW_DATABASES));
        assert_eq!(Privileges::named("FLY"), None);
        let set = Privileges::GRANT.with(Privileges::SELECT);
        assert_eq!((set.names().as_str(), set.commands().as_str()), ("SELECT, GRANT OPTION", "SELECT, GRANT"));
        assert_eq!(Privileges::all_at(Level::Database).listed(Level::Database), "ALL PRIVILEGES");
        assert_eq!(Privileges::all_at(Level::Global).with(Privileges::GRANT), Privileges::EVERYTHING);
        assert_eq!(
            Privileges::all_at(Level::Table).names(),
            "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER, CREATE VIEW, SHOW VIEW, TRIGGER"
        );
        assert_eq!(Privileges::GRANT.listed(Level::Global), "USAGE");
    }

    #[test]
    fn a_table_has_the_union_of_three_levels() {
        let mut rights = Rights::default();
        rights.add("", "", Privileges::PROCESS);
        rights.add("Shop", "", Privileges::SELECT);
        rights.add("shop", "orders", Privileges::INSERT);
        assert_eq!(rights.on_table("shop", "Orders").names(), "SELECT, INSERT, PROCESS");
        assert_eq!(rights.on_table("shop", "people").names(), "SELECT, PROCESS");
        assert!(rights.sees_table("shop", "people") && !rights.sees_table("other", "people"));
        assert!(rights.sees_database("SHOP") && !rights.sees_database("other"));
        rights.add("", "", Privileges::SHOW_DATABASES);
        assert!(rights.sees_database("other") && !rights.enters_database("other") && rights.enters_database("shop"));
        rights.remove("", "", Privileges::SHOW_DATABASES);
        assert!(
            rights.remove("shop", "orders", Privileges::INSERT) && !rights.remove("shop", "orders", Privileges::INSERT)
        );
        assert_eq!(rights.grants.len(), 1);
    }

    #[test]
    fn the_most_exact_pattern_holds_alone() {
        let mut rights = Rights::default();
        rights.add("a%", "", Privileges::SELECT.with(Privileges::UPDATE));
        rights.add("ab_", "", Privileges::DELETE);
        rights.add(r"ab\_", "", Privileges::INSERT);
        assert_eq!(rights.on_database("ab_").names(), "INSERT");
        assert_eq!(rights.on_database("abc").names(), "DELETE");
        assert_eq!(rights.on_database("axyz").names(), "SELECT, UPDATE");
        assert!(rights.on_database("xa").is_empty());
    }

    #[test]
    fn records_from_before_single_privileges_are_read() {
        let old = User { all_privileges: true, ..User::default() };
        assert!(Rights::of(&old).is_everything());
        let mut user = old;
        Rights::of(&user).store(&mut user);
        assert!(!user.all_privileges && Rights::of(&user).is_everything());
    }
}
