//! Transactions, sessions, maintenance, users, regions.

use super::ast::{Expr, ObjectName};
use super::core::Parser;
use super::lexer::Kind;
use super::statement::{Grant, GrantLevel, Split, SplitAt, Statement, TableToLock, UserSpec};
use crate::error::{Error, Result};

impl Parser<'_> {
    /// BEGIN, COMMIT, ROLLBACK, SAVEPOINT and their kin.
    pub fn transaction(&mut self) -> Result<Statement> {
        match self.any_word()?.as_str() {
            "BEGIN" => {
                let pessimistic = self.eat_any(&["PESSIMISTIC", "OPTIMISTIC"]).map(|w| w == "PESSIMISTIC");
                self.eat("WORK");
                Ok(Statement::Begin { consistent_snapshot: false, read_only: None, pessimistic })
            }
            "START" => self.start_transaction(),
            "COMMIT" => {
                self.eat("WORK");
                let (chain, release) = self.completion()?;
                Ok(Statement::Commit { chain, release })
            }
            "ROLLBACK" => {
                self.eat("WORK");
                if self.eat("TO") {
                    self.eat("SAVEPOINT");
                    let savepoint = Some(self.identifier()?);
                    return Ok(Statement::Rollback { savepoint, chain: false, release: false });
                }
                let (chain, release) = self.completion()?;
                Ok(Statement::Rollback { savepoint: None, chain, release })
            }
            "SAVEPOINT" => self.identifier().map(Statement::Savepoint),
            _ => {
                self.expect("SAVEPOINT")?;
                self.identifier().map(Statement::ReleaseSavepoint)
            }
        }
    }

    fn start_transaction(&mut self) -> Result<Statement> {
        if self.is_any(&["REPLICA", "SLAVE", "GROUP_REPLICATION"]) {
            let start = self.position() - 1;
            return self.unsupported_from(start);
        }
        self.expect("TRANSACTION")?;
        let (mut consistent_snapshot, mut read_only) = (false, None);
        if !self.is_end() {
            self.list(|p| {
                if p.eat_words(&["WITH", "CONSISTENT", "SNAPSHOT"]) {
                    consistent_snapshot = true;
                    return Ok(());
                }
                let is_first = read_only.is_none();
                read_only = Some(p.eat_words(&["READ", "ONLY"]));
                if read_only == Some(false) {
                    p.expect_words(&["READ", "WRITE"])?;
                }
                if is_first { Ok(()) } else { p.error() }
            })?;
        }
        Ok(Statement::Begin { consistent_snapshot, read_only, pessimistic: None })
    }

    /// `[AND [NO] CHAIN] [[NO] RELEASE]`.
    fn completion(&mut self) -> Result<(bool, bool)> {
        let mut chain = false;
        if self.eat("AND") {
            chain = !self.eat("NO");
            self.expect("CHAIN")?;
        }
        let release = if self.eat("NO") {
            self.expect("RELEASE")?;
            false
        } else {
            !chain && self.eat("RELEASE")
        };
        Ok((chain, release))
    }

    /// USE, KILL, PREPARE, EXECUTE, DEALLOCATE, LOCK, UNLOCK, FLUSH, DO.
    pub fn administer(&mut self) -> Result<Statement> {
        match self.any_word()?.as_str() {
            "USE" => self.identifier().map(Statement::Use),
            "KILL" => {
                self.eat("TIDB");
                let query = self.eat_any(&["QUERY", "CONNECTION"]) == Some("QUERY");
                Ok(Statement::Kill { query, id: self.expr()? })
            }
            "PREPARE" => {
                let name = self.identifier()?;
                self.expect("FROM")?;
                if !matches!(self.kind(), Kind::String(_) | Kind::UserVariable(_)) {
                    return self.error();
                }
                let text = self.operators(15)?;
                if Self::is_statement_text(&text) { Ok(Statement::Prepare { name, text }) } else { self.error() }
            }
            "EXECUTE" => {
                let name = self.identifier()?;
                let using = if self.eat("USING") { self.list(Self::user_variable)? } else { Vec::new() };
                Ok(Statement::Execute { name, using })
            }
            "DEALLOCATE" => {
                self.expect("PREPARE")?;
                self.identifier().map(Statement::Deallocate)
            }
            "LOCK" => self.lock_tables(),
            "UNLOCK" => match self.eat_any(&["TABLES", "TABLE"]) {
                Some(_) => Ok(Statement::UnlockTables),
                None if self.is_word("INSTANCE") => {
                    let start = self.position() - 1;
                    self.unsupported_from(start)
                }
                None => self.error(),
            },
            "FLUSH" => {
                if self.is_end() {
                    return self.error();
                }
                let start = self.offset();
                self.skip_rest();
                Ok(Statement::Flush(self.text_from(start).to_ascii_uppercase()))
            }
            _ => Ok(Statement::Do(self.list(Self::expr)?)),
        }
    }

    fn user_variable(&mut self) -> Result<String> {
        let Kind::UserVariable(name) = self.kind() else { return self.error() };
        let name = name.clone();
        self.advance();
        Ok(name)
    }

    fn lock_tables(&mut self) -> Result<Statement> {
        if self.eat_any(&["TABLES", "TABLE"]).is_none() {
            if self.is_word("INSTANCE") {
                let start = self.position() - 1;
                return self.unsupported_from(start);
            }
            return self.error();
        }
        let tables = self.list(|p| {
            let name = p.object_name()?;
            let has_alias = p.eat("AS") || (p.is_identifier() && !p.is_words(&["LOW_PRIORITY", "WRITE"]));
            let alias = if has_alias { Some(p.identifier()?) } else { None };
            let write = match p.eat_any(&["READ", "WRITE"]) {
                Some(word) => word == "WRITE",
                None => {
                    p.expect("LOW_PRIORITY")?;
                    p.expect("WRITE")?;
                    true
                }
            };
            if !write {
                p.eat("LOCAL");
            }
            Ok(TableToLock { name, alias, write })
        })?;
        Ok(Statement::LockTables(tables))
    }

    /// ANALYZE, CHECK, OPTIMIZE, CHECKSUM, REPAIR TABLE.
    pub fn maintain(&mut self) -> Result<Statement> {
        let verb = match self.any_word()?.as_str() {
            "ANALYZE" => "analyze",
            "CHECK" => "check",
            "OPTIMIZE" => "optimize",
            "CHECKSUM" => "checksum",
            _ => "repair",
        };
        self.eat_any(&["NO_WRITE_TO_BINLOG", "LOCAL"]);
        if self.eat_any(&["TABLE", "TABLES"]).is_none() {
            return self.error();
        }
        let tables = self.list(Self::object_name)?;
        if verb == "analyze" && (self.is_words(&["UPDATE", "HISTOGRAM"]) || self.is_words(&["DROP", "HISTOGRAM"])) {
            return Err(Error::unsupported("histograms"));
        }
        while self.eat_any(&["QUICK", "FAST", "MEDIUM", "EXTENDED", "CHANGED", "USE_FRM"]).is_some()
            || self.eat_words(&["FOR", "UPGRADE"])
        {}
        Ok(Statement::Maintain { verb, tables })
    }

    /// ADMIN CHECK TABLE.
    pub fn admin_check(&mut self) -> Result<Statement> {
        self.expect_words(&["ADMIN", "CHECK", "TABLE"])?;
        self.list(Self::object_name).map(Statement::AdminCheck)
    }

    /// SPLIT TABLE.
    pub fn split(&mut self) -> Result<Statement> {
        self.expect_words(&["SPLIT", "TABLE"])?;
        let table = self.object_name()?;
        let index = if self.eat("INDEX") { Some(self.identifier()?) } else { None };
        let at = if self.eat("BETWEEN") {
            let low = self.parenthesized(|p| p.list(Self::expr))?;
            self.expect("AND")?;
            let high = self.parenthesized(|p| p.list(Self::expr))?;
            self.expect("REGIONS")?;
            SplitAt::Between { low, high, regions: self.integer()? }
        } else {
            self.expect("BY")?;
            SplitAt::By(self.list(|p| p.parenthesized(|p| p.list(Self::expr)))?)
        };
        Ok(Statement::Split(Box::new(Split { table, index, at })))
    }

    /// `'name'@'host'`; the host is `%` when not said or empty. CURRENT_USER is an empty name and an empty host.
    pub fn account(&mut self) -> Result<(String, String)> {
        if self.eat("CURRENT_USER") || (self.is_word("USER") && self.is_symbol_at(1, "(")) {
            self.eat("USER");
            if self.eat_symbol("(") {
                self.expect_symbol(")")?;
            }
            return Ok((String::new(), String::new()));
        }
        let name = self.identifier_or_string()?;
        let Kind::UserVariable(host) = self.kind() else { return Ok((name, "%".to_string())) };
        let host = if host.is_empty() { "%".to_string() } else { host.clone() };
        self.advance();
        Ok((name, host))
    }

    /// Users with credentials, and account options, of which those without effect are read past.
    pub fn user_specs(&mut self) -> Result<Vec<UserSpec>> {
        let users = self.list(Self::user_spec)?;
        if self.eat("REQUIRE") && !self.eat("NONE") {
            return Err(Error::unsupported("REQUIRE"));
        }
        // As SHOW CREATE USER writes them: what holds for every account.
        const DEFAULTS: &[&[&str]] = &[
            &["PASSWORD", "EXPIRE", "DEFAULT"],
            &["PASSWORD", "HISTORY", "DEFAULT"],
            &["PASSWORD", "REUSE", "INTERVAL", "DEFAULT"],
            &["PASSWORD", "REQUIRE", "CURRENT", "DEFAULT"],
            &["ACCOUNT", "UNLOCK"],
        ];
        while DEFAULTS.iter().any(|words| self.eat_words(words)) {}
        if self.is_any(&["WITH", "PASSWORD", "ACCOUNT", "FAILED_LOGIN_ATTEMPTS", "COMMENT", "ATTRIBUTE", "DEFAULT"]) {
            return Err(Error::unsupported("account options"));
        }
        Ok(users)
    }

    fn user_spec(&mut self) -> Result<UserSpec> {
        let (name, host) = self.account()?;
        let mut user = UserSpec { name, host, plugin: None, password: None, hash: None };
        if !self.eat("IDENTIFIED") {
            return Ok(user);
        }
        if self.eat_any(&["WITH", "VIA"]).is_some() {
            user.plugin = Some(self.identifier_or_string()?.to_lowercase());
        }
        if self.eat("BY") {
            if self.eat("PASSWORD") {
                user.hash = Some(self.string()?.into_bytes());
            } else {
                user.password = Some(self.string()?);
            }
        } else if self.eat("AS") {
            user.hash = Some(match self.kind() {
                Kind::Hex(bytes) | Kind::String(bytes) => bytes.clone(),
                _ => return self.error(),
            });
            self.advance();
        } else if user.plugin.is_none() {
            return self.error();
        }
        Ok(user)
    }

    /// GRANT, REVOKE.
    pub fn grant(&mut self) -> Result<Statement> {
        let revoke = self.any_word()? == "REVOKE";
        let privileges = self.list(|p| {
            let mut words = Vec::new();
            while *p.kind() == Kind::Word && !p.is_any(&["ON", "TO", "FROM"]) {
                words.push(p.any_word()?);
            }
            if p.is_symbol("(") {
                return Err(Error::unsupported("column privileges"));
            }
            if words.is_empty() { p.error() } else { Ok(words.join(" ")) }
        })?;
        let level = match self.eat("ON") {
            true => {
                self.eat("TABLE");
                self.grant_level()?
            }
            false if revoke && privileges.len() == 2 && is_all(&privileges[0]) && privileges[1] == "GRANT OPTION" => {
                GrantLevel::Anything
            }
            false => return Err(Error::unsupported("roles")),
        };
        if !self.eat(if revoke { "FROM" } else { "TO" }) {
            return self.error();
        }
        // An account is not made or changed here: IDENTIFIED BY is no part of the grammar since MySQL 8.
        let users = self.list(|p| {
            let (name, host) = p.account()?;
            Ok(UserSpec { name, host, plugin: None, password: None, hash: None })
        })?;
        let grant_option = !revoke && self.eat_words(&["WITH", "GRANT", "OPTION"]);
        Ok(Statement::Grant(Box::new(Grant { revoke, privileges, level, users, grant_option })))
    }

    /// `*.*`, `*`, `d.*`, `d.t`, `t`.
    fn grant_level(&mut self) -> Result<GrantLevel> {
        if self.eat_symbol("*") {
            if !self.eat_symbol(".") {
                return Ok(GrantLevel::Current);
            }
            self.expect_symbol("*")?;
            return Ok(GrantLevel::Everything);
        }
        let first = self.identifier()?;
        if !self.eat_symbol(".") {
            return Ok(GrantLevel::Table(ObjectName { database: None, name: first }));
        }
        if self.eat_symbol("*") {
            return Ok(GrantLevel::Database(first));
        }
        Ok(GrantLevel::Table(ObjectName { database: Some(first), name: self.identifier()? }))
    }

    /// Whether `expr` may stand where a statement's text is asked for.
    fn is_statement_text(expr: &Expr) -> bool {
        matches!(expr, Expr::UserVariable(_) | Expr::Literal(super::ast::Literal::String { .. }))
    }
}

fn is_all(privilege: &str) -> bool {
    matches!(privilege, "ALL" | "ALL PRIVILEGES")
}
