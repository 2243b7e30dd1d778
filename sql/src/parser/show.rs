//! SHOW, DESCRIBE, EXPLAIN.

use super::ast::ObjectName;
use super::core::Parser;
use super::lexer::Kind;
use super::statement::{Show, ShowFilter, ShowWhat, Statement};
use crate::error::Result;

impl Parser<'_> {
    /// SHOW.
    pub fn show(&mut self) -> Result<Statement> {
        let start = self.position();
        self.expect("SHOW")?;
        let what = match self.show_what()? {
            Some(what) => what,
            None => {
                const KNOWN: &[&str] = &[
                    "BINLOG",
                    "RELAYLOG",
                    "REPLICAS",
                    "PROFILE",
                    "PROFILES",
                    "FUNCTION",
                    "PROCEDURE",
                    "PARSE_TREE",
                    "CLIENT_STATISTICS",
                    "INDEX_STATISTICS",
                    "USER_STATISTICS",
                    "ENGINE",
                    "EXPLAIN",
                    "LOCALES",
                    "PACKAGE",
                    "STATS_META",
                    "STATS_HISTOGRAMS",
                    "STATS_BUCKETS",
                    "STATS_HEALTHY",
                    "BINDINGS",
                    "CONFIG",
                    "PUMP",
                ];
                if !self.is_any(KNOWN) {
                    return self.error();
                }
                self.rewind(start);
                self.advance();
                let what = format!("SHOW {}", self.any_word()?);
                self.skip_rest();
                ShowWhat::Unsupported(what)
            }
        };
        let filter = if self.eat("LIKE") {
            Some(ShowFilter::Like(self.string()?))
        } else if self.eat("WHERE") {
            Some(ShowFilter::Where(self.expr()?))
        } else {
            None
        };
        Ok(Statement::Show(Box::new(Show { what, filter })))
    }

    fn show_what(&mut self) -> Result<Option<ShowWhat>> {
        let global = match self.eat_any(&["GLOBAL", "SESSION", "LOCAL"]) {
            Some(scope) => scope == "GLOBAL",
            None => false,
        };
        if self.is_word("COUNT") && self.is_symbol_at(1, "(") {
            self.advance();
            self.parenthesized(|p| p.expect_symbol("*"))?;
            let errors = self.eat("ERRORS");
            if !errors {
                self.expect("WARNINGS")?;
            }
            return Ok(Some(ShowWhat::Warnings { errors, count: true, limit: None }));
        }
        self.eat("EXTENDED");
        let full = self.eat("FULL");
        let Kind::Word = self.kind() else { return self.error() };
        let word = self.token_text().to_ascii_uppercase();
        let at = self.position();
        self.advance();
        let what = match word.as_str() {
            "DATABASES" | "SCHEMAS" => ShowWhat::Databases,
            "TABLES" => ShowWhat::Tables { full, database: self.eat_from_database()? },
            "TABLE" if self.eat("STATUS") => ShowWhat::TableStatus { database: self.eat_from_database()? },
            "TABLE" => self.show_table_regions()?,
            "COLUMNS" | "FIELDS" => ShowWhat::Columns { full, table: self.expect_from_table()? },
            "INDEX" | "INDEXES" | "KEYS" => ShowWhat::Index(self.expect_from_table()?),
            "CREATE" => return self.show_create().map(Some),
            "VARIABLES" => ShowWhat::Variables { global },
            "STATUS" => ShowWhat::Status { global },
            "WARNINGS" | "ERRORS" => {
                ShowWhat::Warnings { errors: word == "ERRORS", count: false, limit: self.limit()? }
            }
            "PROCESSLIST" => ShowWhat::ProcessList { full },
            "STORAGE" if self.eat("ENGINES") => ShowWhat::Engines,
            "ENGINES" => ShowWhat::Engines,
            "ENGINE" => {
                let engine = self.identifier()?;
                self.expect("STATUS")?;
                ShowWhat::EngineStatus { engine }
            }
            "CHARSET" => ShowWhat::Charsets,
            "CHARACTER" if self.eat("SET") => ShowWhat::Charsets,
            "COLLATION" => ShowWhat::Collations,
            "GRANTS" => self.show_grants()?,
            "PLUGINS" => ShowWhat::Plugins,
            "PRIVILEGES" => ShowWhat::Privileges,
            "TRIGGERS" | "EVENTS" => {
                self.eat_from_database()?;
                if word == "EVENTS" { ShowWhat::Events } else { ShowWhat::Triggers }
            }
            "PROCEDURE" | "FUNCTION" if self.eat("STATUS") => ShowWhat::Routines,
            "OPEN" if self.eat("TABLES") => {
                self.eat_from_database()?;
                ShowWhat::OpenTables
            }
            "MASTER" if self.eat("STATUS") => ShowWhat::BinaryLogStatus,
            "MASTER" if self.eat("LOGS") => ShowWhat::BinaryLogs,
            "BINARY" if self.eat_words(&["LOG", "STATUS"]) => ShowWhat::BinaryLogStatus,
            "BINARY" if self.eat("LOGS") => ShowWhat::BinaryLogs,
            "BINLOG" if self.eat("STATUS") => ShowWhat::BinaryLogStatus,
            "REPLICA" | "SLAVE" if self.eat("STATUS") => ShowWhat::ReplicaStatus,
            "STORES" => ShowWhat::Stores,
            _ => {
                self.rewind(at);
                return Ok(None);
            }
        };
        Ok(Some(what))
    }

    /// `FROM d`, `IN d`, or nothing.
    fn eat_from_database(&mut self) -> Result<Option<String>> {
        if self.eat_any(&["FROM", "IN"]).is_some() { self.identifier().map(Some) } else { Ok(None) }
    }

    /// `FROM t [FROM d]`.
    fn expect_from_table(&mut self) -> Result<ObjectName> {
        if self.eat_any(&["FROM", "IN"]).is_none() {
            return self.error();
        }
        let mut table = self.object_name()?;
        if let Some(database) = self.eat_from_database()? {
            table.database = Some(database);
        }
        Ok(table)
    }

    /// `t [INDEX i] REGIONS` behind SHOW TABLE.
    fn show_table_regions(&mut self) -> Result<ShowWhat> {
        let table = self.object_name()?;
        let index = if self.eat("INDEX") { Some(self.identifier()?) } else { None };
        self.expect("REGIONS")?;
        Ok(ShowWhat::Regions { table, index })
    }

    fn show_create(&mut self) -> Result<ShowWhat> {
        if self.eat("TABLE") {
            return self.object_name().map(ShowWhat::CreateTable);
        }
        if self.eat_any(&["DATABASE", "SCHEMA"]).is_some() {
            let if_not_exists = self.if_not_exists()?;
            return Ok(ShowWhat::CreateDatabase { name: self.identifier()?, if_not_exists });
        }
        if self.eat("USER") {
            let (name, host) = self.account()?;
            return Ok(ShowWhat::CreateUser(name, host));
        }
        let what = self.eat_any(&["VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "SEQUENCE", "PACKAGE"]);
        let Some(what) = what else { return self.error() };
        self.skip_rest();
        Ok(ShowWhat::Unsupported(format!("SHOW CREATE {what}")))
    }

    fn show_grants(&mut self) -> Result<ShowWhat> {
        let user = if self.eat("FOR") { Some(self.account()?) } else { None };
        Ok(ShowWhat::Grants { user })
    }

    /// DESCRIBE t, EXPLAIN statement.
    pub fn explain(&mut self) -> Result<Statement> {
        self.advance();
        let analyze = self.eat("ANALYZE");
        let mut format = None;
        if self.eat("FORMAT") {
            self.expect_symbol("=")?;
            format = Some(self.identifier_or_string()?.to_lowercase());
        } else if self.eat_any(&["EXTENDED", "PARTITIONS"]).is_some() {
        }
        if self.is_words(&["FOR", "CONNECTION"]) {
            return Err(crate::error::Error::unsupported("EXPLAIN FOR CONNECTION"));
        }
        let statement = self.is_symbol("(")
            || self.is_any(&["SELECT", "INSERT", "REPLACE", "UPDATE", "DELETE", "WITH", "VALUES", "TABLE"]);
        if statement || analyze || format.is_some() {
            if !statement {
                return self.error();
            }
            return Ok(Statement::Explain { analyze, format, statement: Box::new(self.statement()?) });
        }
        let table = self.object_name()?;
        let filter = match self.kind() {
            Kind::String(_) => Some(ShowFilter::Like(self.string()?)),
            Kind::Word | Kind::Quoted(_) => Some(ShowFilter::Like(self.identifier()?)),
            _ => None,
        };
        Ok(Statement::Show(Box::new(Show { what: ShowWhat::Columns { full: false, table }, filter })))
    }
}
