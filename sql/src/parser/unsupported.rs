//! Statements that MySQL knows and we do not run: read as far as their name, and refused by it (1235).

use super::core::Parser;
use super::statement::Statement;
use crate::error::Result;

/// Statements that need nothing behind their name.
const ALONE: &[&str] = &[
    "FLUSH BINARY LOGS",
    "RESET BINARY LOGS AND GTIDS",
    "RESET MASTER",
    "RESET REPLICA",
    "RESET SLAVE",
    "RESIGNAL",
    "RESTART",
    "SHUTDOWN",
    "START GROUP_REPLICATION",
    "START REPLICA",
    "START SLAVE",
    "STOP GROUP_REPLICATION",
    "STOP REPLICA",
    "STOP SLAVE",
    "UNLOCK INSTANCE",
    "XA RECOVER",
];

/// Statements that go on behind their name. Those with modifiers between CREATE and what is made are listed without.
const OPENED: &[&str] = &[
    "ALTER EVENT",
    "ALTER FUNCTION",
    "ALTER INSTANCE",
    "ALTER LOGFILE GROUP",
    "ALTER PROCEDURE",
    "ALTER RESOURCE GROUP",
    "ALTER SERVER",
    "ALTER TABLESPACE",
    "ALTER UNDO TABLESPACE",
    "ALTER VIEW",
    "BINLOG",
    "CACHE INDEX",
    "CALL",
    "CHANGE MASTER",
    "CHANGE REPLICATION FILTER",
    "CHANGE REPLICATION SOURCE",
    "CLONE INSTANCE",
    "CLONE LOCAL",
    "CREATE AGGREGATE FUNCTION",
    "CREATE EVENT",
    "CREATE FUNCTION",
    "CREATE LOGFILE GROUP",
    "CREATE PROCEDURE",
    "CREATE RESOURCE GROUP",
    "CREATE ROLE",
    "CREATE SERVER",
    "CREATE SPATIAL REFERENCE SYSTEM",
    "CREATE TABLESPACE",
    "CREATE TRIGGER",
    "CREATE UNDO TABLESPACE",
    "CREATE VIEW",
    "DROP EVENT",
    "DROP FUNCTION",
    "DROP LOGFILE GROUP",
    "DROP PROCEDURE",
    "DROP RESOURCE GROUP",
    "DROP ROLE",
    "DROP SERVER",
    "DROP SPATIAL REFERENCE SYSTEM",
    "DROP TABLESPACE",
    "DROP TRIGGER",
    "DROP UNDO TABLESPACE",
    "GET CURRENT DIAGNOSTICS",
    "GET DIAGNOSTICS",
    "GET STACKED DIAGNOSTICS",
    "HANDLER",
    "HELP",
    "IMPORT TABLE",
    "INSTALL COMPONENT",
    "INSTALL PLUGIN",
    "LOAD DATA",
    "LOAD INDEX",
    "LOAD XML",
    "LOCK INSTANCE",
    "PURGE BINARY LOGS",
    "PURGE MASTER LOGS",
    "RENAME USER",
    "SET DEFAULT ROLE",
    "SET RESOURCE GROUP",
    "SET ROLE",
    "SIGNAL",
    "UNINSTALL COMPONENT",
    "UNINSTALL PLUGIN",
    "XA BEGIN",
    "XA COMMIT",
    "XA END",
    "XA PREPARE",
    "XA ROLLBACK",
    "XA START",
];

impl Parser<'_> {
    /// The statement that begins at `start` by its name; 1064 when MySQL has none that begins so.
    pub fn unsupported_from(&mut self, start: usize) -> Result<Statement> {
        self.rewind(start);
        if let Some(name) = self.eat_name(ALONE) {
            self.skip_rest();
            return Ok(Statement::Unsupported(name));
        }
        if (self.is_word("CREATE") || self.is_word("ALTER")) && self.has_modifiers() {
            return self.modified();
        }
        match self.eat_name(OPENED) {
            Some(_) if self.is_end() => self.error(),
            Some(name) => {
                self.skip_rest();
                Ok(Statement::Unsupported(name))
            }
            None => self.error_behind_known(),
        }
    }

    /// Takes the words of the one of `names` that stands here.
    fn eat_name(&mut self, names: &[&str]) -> Option<String> {
        let name = names.iter().find(|name| name.split(' ').enumerate().all(|(i, word)| self.is_word_at(i, word)))?;
        name.split(' ').for_each(|_| self.advance());
        Some((*name).to_string())
    }

    fn has_modifiers(&self) -> bool {
        ["OR", "ALGORITHM", "DEFINER", "SQL"].iter().any(|w| self.is_word_at(1, w))
    }

    /// `CREATE [OR REPLACE] [ALGORITHM = a] [DEFINER = user] [SQL SECURITY s] VIEW …` and its kin.
    fn modified(&mut self) -> Result<Statement> {
        let verb = self.any_word()?;
        let mut views_only = false;
        if verb == "CREATE" && self.eat("OR") {
            self.expect("REPLACE")?;
            views_only = true;
        }
        if self.eat("ALGORITHM") {
            self.expect_symbol("=")?;
            if self.eat_any(&["UNDEFINED", "MERGE", "TEMPTABLE"]).is_none() {
                return self.error();
            }
            views_only = true;
        }
        if self.eat("DEFINER") {
            self.expect_symbol("=")?;
            self.account()?;
        }
        if self.eat("SQL") {
            self.expect("SECURITY")?;
            if self.eat_any(&["DEFINER", "INVOKER"]).is_none() {
                return self.error();
            }
            views_only = true;
        }
        let kinds: &[&str] =
            if views_only { &["VIEW"] } else { &["VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT"] };
        match self.eat_any(kinds) {
            Some(kind) if !self.is_end() => {
                self.skip_rest();
                Ok(Statement::Unsupported(format!("{verb} {kind}")))
            }
            _ => self.error(),
        }
    }

    /// 1064 at the first word with which no statement goes on.
    fn error_behind_known<T>(&mut self) -> Result<T> {
        let known = |p: &Self, taken: usize| {
            OPENED.iter().chain(ALONE).any(|name| {
                let words = || name.split(' ');
                words().count() > taken && words().take(taken + 1).enumerate().all(|(i, w)| p.is_word_at(i, w))
            })
        };
        let taken = (0..4).take_while(|&n| known(self, n)).count();
        (0..taken.max(usize::from(self.is_any(&["CREATE", "DROP", "ALTER", "RENAME"])))).for_each(|_| self.advance());
        self.error()
    }
}
