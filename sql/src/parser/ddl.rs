//! CREATE, DROP, ALTER, TRUNCATE, RENAME.

use super::ast::ObjectName;
use super::core::Parser;
use super::statement::{
    AlterAction, CreateTable, Ddl, KeyDefinition, KeyKind, KeyPart, Statement, TableOptions, UserStatement,
};
use crate::error::{Error, Result};

fn ddl(ddl: Ddl) -> Result<Statement> {
    Ok(Statement::Ddl(Box::new(ddl)))
}

impl Parser<'_> {
    /// CREATE.
    pub fn create(&mut self) -> Result<Statement> {
        let start = self.position();
        self.expect("CREATE")?;
        if self.eat_any(&["DATABASE", "SCHEMA"]).is_some() {
            let if_not_exists = self.if_not_exists()?;
            let name = self.identifier()?;
            let (charset, collation) = self.database_options()?;
            return ddl(Ddl::CreateDatabase { name, if_not_exists, charset, collation });
        }
        let temporary = self.eat("TEMPORARY");
        if self.eat("TABLE") {
            return ddl(Ddl::CreateTable(self.create_table(temporary)?));
        }
        let spatial_index = self.is_word("SPATIAL") && !self.is_word_at(1, "REFERENCE");
        if (self.is_any(&["UNIQUE", "INDEX", "FULLTEXT"]) || spatial_index) && !temporary {
            return self.create_index();
        }
        if self.eat("USER") {
            let if_not_exists = self.if_not_exists()?;
            let users = self.user_specs()?;
            return Ok(Statement::User(Box::new(UserStatement::Create { users, if_not_exists })));
        }
        if temporary {
            return self.error();
        }
        self.unsupported_from(start)
    }

    fn database_options(&mut self) -> Result<(Option<String>, Option<String>)> {
        let (mut charset, mut collation) = (None, None);
        while !self.is_end() {
            self.eat("DEFAULT");
            if self.eat_words(&["CHARACTER", "SET"]) || self.eat("CHARSET") {
                self.eat_symbol("=");
                charset = Some(self.charset_name()?);
            } else if self.eat("COLLATE") {
                self.eat_symbol("=");
                collation = Some(self.charset_name()?);
            } else if self.eat("ENCRYPTION") {
                self.eat_symbol("=");
                match self.string()?.to_uppercase().as_str() {
                    "N" => {}
                    "Y" => return Err(Error::unsupported("ENCRYPTION='Y'")),
                    other => return Err(Error::not_y_or_n(other)),
                }
            } else if self.eat("COMMENT") {
                self.eat_symbol("=");
                self.string()?;
            } else {
                return self.error();
            }
        }
        Ok((charset, collation))
    }

    fn create_table(&mut self, temporary: bool) -> Result<CreateTable> {
        let if_not_exists = self.if_not_exists()?;
        let name = self.object_name()?;
        let mut table = CreateTable {
            name,
            if_not_exists,
            temporary,
            columns: Vec::new(),
            keys: Vec::new(),
            options: TableOptions::default(),
            like: None,
            select: None,
        };
        if self.eat("LIKE") {
            table.like = Some(self.object_name()?);
            return Ok(table);
        }
        if self.is_symbol("(") && self.is_word_at(1, "LIKE") {
            self.advance();
            self.advance();
            table.like = Some(self.object_name()?);
            self.expect_symbol(")")?;
            return Ok(table);
        }
        if self.is_symbol("(") && !self.is_subquery_at(0) {
            self.advance();
            self.list(|p| p.table_element(&mut table))?;
            self.expect_symbol(")")?;
        }
        while self.table_option(&mut table.options)? {
            self.eat_symbol(",");
        }
        let duplicates = self.eat_any(&["IGNORE", "REPLACE"]);
        if duplicates.is_some() || self.eat("AS") || self.is_any(&["SELECT", "WITH", "VALUES"]) || self.is_symbol("(") {
            self.eat("AS");
            table.select = Some(Box::new(self.query()?));
        }
        Ok(table)
    }

    fn table_element(&mut self, table: &mut CreateTable) -> Result<()> {
        match self.key_definition()? {
            Some(key) => table.keys.push(key),
            None => table.columns.push(self.column_definition()?),
        }
        Ok(())
    }

    /// A key of a table definition; `None` when a column stands here.
    pub fn key_definition(&mut self) -> Result<Option<KeyDefinition>> {
        let mut name = None;
        let constraint = self.eat("CONSTRAINT");
        if constraint && !self.is_any(&["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]) {
            name = Some(self.identifier()?);
        }
        let kind = if self.eat_words(&["PRIMARY", "KEY"]) {
            KeyKind::Primary
        } else if self.eat("UNIQUE") {
            self.eat_any(&["KEY", "INDEX"]);
            KeyKind::Unique
        } else if self.eat_words(&["FOREIGN", "KEY"]) {
            KeyKind::Foreign
        } else if self.eat("CHECK") {
            KeyKind::Check
        } else if !constraint && self.eat("FULLTEXT") {
            self.eat_any(&["KEY", "INDEX"]);
            KeyKind::FullText
        } else if !constraint && self.eat("SPATIAL") {
            self.eat_any(&["KEY", "INDEX"]);
            KeyKind::Spatial
        } else if !constraint && self.eat_any(&["KEY", "INDEX"]).is_some() {
            KeyKind::Plain
        } else if constraint {
            return self.error();
        } else {
            return Ok(None);
        };
        self.key_body(kind, name).map(Some)
    }

    fn key_body(&mut self, kind: KeyKind, mut name: Option<String>) -> Result<KeyDefinition> {
        let mut key = KeyDefinition { kind, name: None, parts: Vec::new(), comment: None, if_not_exists: false };
        if kind == KeyKind::Check {
            self.skip_parentheses()?;
            self.eat("NOT");
            self.eat("ENFORCED");
            key.name = name;
            return Ok(key);
        }
        key.if_not_exists = self.if_not_exists()?;
        if self.is_identifier() && !self.is_word("USING") {
            let own = self.identifier()?;
            name = name.or(Some(own));
        }
        key.name = name;
        self.key_tail(&mut key)?;
        if kind == KeyKind::Foreign {
            self.references()?;
        }
        Ok(key)
    }

    /// `[USING BTREE] (parts) options`.
    fn key_tail(&mut self, key: &mut KeyDefinition) -> Result<()> {
        if self.eat("USING") || self.eat("TYPE") {
            self.any_word()?;
        }
        key.parts = self.parenthesized(|p| p.list(Self::key_part))?;
        loop {
            if self.eat("USING") || self.eat("TYPE") {
                self.any_word()?;
            } else if self.eat("COMMENT") {
                key.comment = Some(self.string()?);
            } else if self.eat("KEY_BLOCK_SIZE") {
                self.eat_symbol("=");
                self.integer()?;
            } else if self.eat_words(&["WITH", "PARSER"]) {
                self.identifier()?;
            } else if self.eat("INVISIBLE") {
                return Err(Error::unsupported("INVISIBLE indexes"));
            } else if self.eat_any(&["VISIBLE", "CLUSTERED", "NONCLUSTERED"]).is_some() {
            } else if self.eat_any(&["ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"]).is_some() {
                self.eat_symbol("=");
                self.string()?;
            } else {
                return Ok(());
            }
        }
    }

    fn key_part(&mut self) -> Result<KeyPart> {
        let mut part = KeyPart { column: None, length: None, descending: false };
        if self.is_symbol("(") {
            self.skip_parentheses()?;
        } else {
            part.column = Some(self.identifier()?);
            if self.eat_symbol("(") {
                part.length = Some(self.small_integer()?);
                self.expect_symbol(")")?;
            }
        }
        part.descending = self.eat("DESC");
        if !part.descending {
            self.eat("ASC");
        }
        Ok(part)
    }

    /// One table option; `false` when none stands here.
    pub fn table_option(&mut self, options: &mut TableOptions) -> Result<bool> {
        const IGNORED: &[&str] = &[
            "AVG_ROW_LENGTH",
            "CHECKSUM",
            "COMPRESSION",
            "CONNECTION",
            "DELAY_KEY_WRITE",
            "ENCRYPTION",
            "INSERT_METHOD",
            "KEY_BLOCK_SIZE",
            "MAX_ROWS",
            "MIN_ROWS",
            "PACK_KEYS",
            "PASSWORD",
            "ROW_FORMAT",
            "STATS_AUTO_RECALC",
            "STATS_PERSISTENT",
            "STATS_SAMPLE_PAGES",
            "TABLESPACE",
            "PAGE_CHECKSUM",
            "TRANSACTIONAL",
            "AUTO_ID_CACHE",
            "SHARD_ROW_ID_BITS",
            "PRE_SPLIT_REGIONS",
            "AUTOEXTEND_SIZE",
            "ENGINE_ATTRIBUTE",
            "SECONDARY_ENGINE",
            "SECONDARY_ENGINE_ATTRIBUTE",
            "PAGE_COMPRESSED",
            "PAGE_COMPRESSION_LEVEL",
            "SEQUENCE",
            "STORAGE",
        ];
        let by_default = self.is_word("DEFAULT");
        let ahead = usize::from(by_default);
        if by_default && !["CHARACTER", "CHARSET", "COLLATE"].iter().any(|w| self.is_word_at(ahead, w)) {
            return Ok(false);
        }
        if by_default {
            self.advance();
        }
        if self.eat_words(&["CHARACTER", "SET"]) || self.eat("CHARSET") {
            self.eat_symbol("=");
            options.charset = Some(self.charset_name()?);
        } else if self.eat("COLLATE") {
            self.eat_symbol("=");
            options.collation = Some(self.charset_name()?);
        } else if self.eat("ENGINE") || self.eat("TYPE") {
            self.eat_symbol("=");
            options.engine = Some(self.identifier_or_string()?);
        } else if self.eat("AUTO_INCREMENT") {
            self.eat_symbol("=");
            options.auto_increment = Some(self.integer()?);
        } else if self.eat("COMMENT") {
            self.eat_symbol("=");
            options.comment = Some(self.string()?);
        } else if self.eat("UNION") {
            self.eat_symbol("=");
            self.skip_parentheses()?;
        } else if self.eat_words(&["DATA", "DIRECTORY"]) || self.eat_words(&["INDEX", "DIRECTORY"]) {
            self.eat_symbol("=");
            self.string()?;
        } else if self.eat_any(IGNORED).is_some() {
            self.eat_symbol("=");
            self.advance();
        } else if self.is_words(&["PARTITION", "BY"]) {
            options.partition = true;
            self.skip_rest();
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn create_index(&mut self) -> Result<Statement> {
        let kind = match self.eat_any(&["UNIQUE", "FULLTEXT", "SPATIAL"]) {
            Some("UNIQUE") => KeyKind::Unique,
            Some("FULLTEXT") => KeyKind::FullText,
            Some(_) => KeyKind::Spatial,
            None => KeyKind::Plain,
        };
        self.expect("INDEX")?;
        let if_not_exists = self.if_not_exists()?;
        let name = Some(self.identifier()?);
        let mut key = KeyDefinition { kind, name, parts: Vec::new(), comment: None, if_not_exists };
        if self.eat("USING") || self.eat("TYPE") {
            self.any_word()?;
        }
        self.expect("ON")?;
        let table = self.object_name()?;
        self.key_tail(&mut key)?;
        self.online_options()?;
        ddl(Ddl::CreateIndex { table, key, if_not_exists })
    }

    /// ALGORITHM = …, LOCK = …: read past.
    fn online_options(&mut self) -> Result<()> {
        while self.eat_any(&["ALGORITHM", "LOCK"]).is_some() {
            self.eat_symbol("=");
            self.any_word()?;
        }
        Ok(())
    }

    /// DROP.
    pub fn drop_statement(&mut self) -> Result<Statement> {
        let start = self.position();
        self.expect("DROP")?;
        if self.eat_any(&["DATABASE", "SCHEMA"]).is_some() {
            let if_exists = self.if_exists()?;
            return ddl(Ddl::DropDatabase { name: self.identifier()?, if_exists });
        }
        let temporary = self.eat("TEMPORARY");
        if self.eat_any(&["TABLE", "TABLES"]).is_some() {
            let if_exists = self.if_exists()?;
            let tables = self.list(Self::object_name)?;
            self.eat_any(&["RESTRICT", "CASCADE"]);
            return ddl(Ddl::DropTable { tables, if_exists, temporary });
        }
        if self.eat("VIEW") {
            let if_exists = self.if_exists()?;
            let views = self.list(Self::object_name)?;
            self.eat_any(&["RESTRICT", "CASCADE"]);
            return ddl(Ddl::DropView { views, if_exists });
        }
        if self.eat("INDEX") {
            let if_exists = self.if_exists()?;
            let name = self.index_name()?;
            self.expect("ON")?;
            let table = self.object_name()?;
            self.online_options()?;
            return ddl(Ddl::DropIndex { table, name, if_exists });
        }
        if self.eat("PREPARE") {
            return Ok(Statement::Deallocate(self.identifier()?));
        }
        if self.eat("USER") {
            let if_exists = self.if_exists()?;
            let users = self.list(Self::account)?;
            return Ok(Statement::User(Box::new(UserStatement::Drop { users, if_exists })));
        }
        if temporary {
            return self.error();
        }
        self.unsupported_from(start)
    }

    fn index_name(&mut self) -> Result<String> {
        if self.eat("PRIMARY") { Ok("PRIMARY".to_string()) } else { self.identifier() }
    }

    /// ALTER.
    pub fn alter(&mut self) -> Result<Statement> {
        let start = self.position();
        self.expect("ALTER")?;
        self.eat_any(&["IGNORE", "ONLINE"]);
        if self.eat("TABLE") {
            self.if_exists()?;
            let table = self.object_name()?;
            let actions = if self.is_end() { Vec::new() } else { self.list(Self::alter_action)? };
            return ddl(Ddl::AlterTable { table, actions });
        }
        if self.eat_any(&["DATABASE", "SCHEMA"]).is_some() {
            let named = self.is_identifier() && !self.is_any(&["CHARSET", "COLLATE", "DEFAULT", "ENCRYPTION"]);
            let name = if named { Some(self.identifier()?) } else { None };
            let (charset, collation) = self.database_options()?;
            return ddl(Ddl::AlterDatabase { name, charset, collation });
        }
        if self.eat("USER") {
            let if_exists = self.if_exists()?;
            let users = self.user_specs()?;
            return Ok(Statement::User(Box::new(UserStatement::Alter { users, if_exists })));
        }
        self.unsupported_from(start)
    }

    fn alter_action(&mut self) -> Result<AlterAction> {
        if self.is_word("ADD") {
            return self.alter_add();
        }
        if self.is_word("DROP") {
            return self.alter_drop();
        }
        if self.is_word("RENAME") && !["COLUMN", "INDEX", "KEY"].iter().any(|w| self.is_word_at(1, w)) {
            self.advance();
            if !self.eat("TO") && !self.eat("AS") {
                self.eat_symbol("=");
            }
            return self.object_name().map(AlterAction::Rename);
        }
        if self.eat_words(&["DISABLE", "KEYS"]) {
            return Ok(AlterAction::EnableKeys(false));
        }
        if self.eat_words(&["ENABLE", "KEYS"]) {
            return Ok(AlterAction::EnableKeys(true));
        }
        if self.eat("FORCE") {
            return Ok(AlterAction::NoEffect);
        }
        if self.is_any(&["ALGORITHM", "LOCK"]) {
            self.online_options()?;
            return Ok(AlterAction::NoEffect);
        }
        const KNOWN: &[&str] = &[
            "ALTER",
            "CHANGE",
            "MODIFY",
            "RENAME",
            "CONVERT",
            "DISCARD",
            "IMPORT",
            "ORDER",
            "PARTITION",
            "REMOVE",
            "TRUNCATE",
            "COALESCE",
            "REORGANIZE",
            "EXCHANGE",
            "ANALYZE",
            "CHECK",
            "OPTIMIZE",
            "REBUILD",
            "REPAIR",
            "UPGRADE",
            "SET",
            "WITH",
            "WITHOUT",
            "SECONDARY_LOAD",
            "SECONDARY_UNLOAD",
            "CACHE",
        ];
        if self.is_any(KNOWN) {
            return self.alter_unsupported();
        }
        let mut options = TableOptions::default();
        if !self.table_option(&mut options)? {
            return self.error();
        }
        Ok(match options {
            TableOptions { auto_increment: Some(n), .. } => AlterAction::AutoIncrement(n),
            TableOptions { engine: Some(_), .. } => AlterAction::NoEffect,
            TableOptions { charset: None, collation: None, comment: None, partition: false, .. } => {
                AlterAction::NoEffect
            }
            _ => AlterAction::Unsupported("ALTER TABLE of table options".to_string()),
        })
    }

    /// An action that we do not do, by its verb and what it is done to.
    fn alter_unsupported(&mut self) -> Result<AlterAction> {
        let mut what = format!("ALTER TABLE … {}", self.any_word()?);
        if self.is_end() {
            return self.error();
        }
        const OBJECTS: &[&str] = &[
            "COLUMN",
            "INDEX",
            "KEY",
            "CONSTRAINT",
            "CHECK",
            "FOREIGN",
            "PARTITION",
            "PARTITIONING",
            "TABLESPACE",
            "TO",
            "BY",
            "VALIDATION",
        ];
        match self.eat_any(OBJECTS) {
            Some(object) => what = format!("{what} {object}"),
            None if what.ends_with(" ADD") || what.ends_with(" DROP") || what.ends_with(" ALTER") => {
                what.push_str(" COLUMN");
            }
            None => {}
        }
        self.skip_rest();
        Ok(AlterAction::Unsupported(what))
    }

    fn alter_add(&mut self) -> Result<AlterAction> {
        let start = self.position();
        self.advance();
        if let Some(key) = self.key_definition()? {
            return Ok(AlterAction::AddKey(key));
        }
        self.rewind(start);
        self.alter_unsupported()
    }

    fn alter_drop(&mut self) -> Result<AlterAction> {
        let start = self.position();
        self.advance();
        if self.eat_words(&["PRIMARY", "KEY"]) {
            return Ok(AlterAction::DropPrimaryKey);
        }
        if self.eat_any(&["KEY", "INDEX"]).is_some() {
            let if_exists = self.if_exists()?;
            return Ok(AlterAction::DropKey { name: self.index_name()?, if_exists });
        }
        self.rewind(start);
        self.alter_unsupported()
    }

    /// TRUNCATE TABLE, RENAME TABLE.
    pub fn truncate_or_rename(&mut self) -> Result<Statement> {
        let start = self.position();
        if self.eat("TRUNCATE") {
            self.eat("TABLE");
            return ddl(Ddl::Truncate(self.object_name()?));
        }
        self.expect("RENAME")?;
        if self.eat_any(&["TABLE", "TABLES"]).is_none() {
            return self.unsupported_from(start);
        }
        let pairs: Vec<(ObjectName, ObjectName)> = self.list(|p| {
            let from = p.object_name()?;
            p.expect("TO")?;
            Ok((from, p.object_name()?))
        })?;
        if pairs.is_empty() {
            return Err(Error::empty_query());
        }
        ddl(Ddl::Rename(pairs))
    }
}
