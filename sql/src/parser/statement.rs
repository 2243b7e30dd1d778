//! Trees of whole statements.

use super::ast::{DataType, Expr, LimitClause, ObjectName, OrderItem, Query, TableRef, VariableScope};

/// A statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// SELECT, VALUES, TABLE, WITH
    Query(Box<Query>),
    /// INSERT, REPLACE
    Insert(Box<Insert>),
    /// UPDATE
    Update(Box<Update>),
    /// DELETE
    Delete(Box<Delete>),
    /// EXPLAIN, DESCRIBE of a statement
    Explain {
        /// ANALYZE
        analyze: bool,
        /// FORMAT, lower-cased.
        format: Option<String>,
        /// What.
        statement: Box<Statement>,
    },
    /// Schema changes.
    Ddl(Box<Ddl>),
    /// SHOW, DESCRIBE of a table
    Show(Box<Show>),
    /// SET of variables
    Set(Vec<SetItem>),
    /// SET [SESSION | GLOBAL] TRANSACTION
    SetTransaction {
        /// None: the next transaction only.
        scope: Option<VariableScope>,
        /// As in `@@transaction_isolation`: `READ-COMMITTED`.
        isolation: Option<String>,
        /// READ ONLY, READ WRITE
        read_only: Option<bool>,
    },
    /// BEGIN, START TRANSACTION
    Begin {
        /// WITH CONSISTENT SNAPSHOT
        consistent_snapshot: bool,
        /// READ ONLY, READ WRITE
        read_only: Option<bool>,
        /// BEGIN OPTIMISTIC, BEGIN PESSIMISTIC
        pessimistic: Option<bool>,
    },
    /// COMMIT
    Commit {
        /// AND CHAIN
        chain: bool,
        /// RELEASE
        release: bool,
    },
    /// ROLLBACK
    Rollback {
        /// TO SAVEPOINT
        savepoint: Option<String>,
        /// AND CHAIN
        chain: bool,
        /// RELEASE
        release: bool,
    },
    /// SAVEPOINT
    Savepoint(String),
    /// RELEASE SAVEPOINT
    ReleaseSavepoint(String),
    /// RESET PERSIST
    ResetPersist {
        /// Which; all without.
        name: Option<String>,
        /// IF EXISTS
        if_exists: bool,
    },
    /// USE
    Use(String),
    /// KILL
    Kill {
        /// QUERY rather than CONNECTION
        query: bool,
        /// Which.
        id: Expr,
    },
    /// PREPARE name FROM
    Prepare {
        /// Its name.
        name: String,
        /// A literal or user variable.
        text: Expr,
    },
    /// EXECUTE name USING
    Execute {
        /// Its name.
        name: String,
        /// User variables.
        using: Vec<String>,
    },
    /// DEALLOCATE PREPARE, DROP PREPARE
    Deallocate(String),
    /// LOCK TABLES
    LockTables(Vec<TableToLock>),
    /// UNLOCK TABLES
    UnlockTables,
    /// FLUSH; upper-cased words behind it.
    Flush(String),
    /// ANALYZE, CHECK, OPTIMIZE, CHECKSUM, REPAIR TABLE
    Maintain {
        /// `analyze`, `check`, …
        verb: &'static str,
        /// Which tables.
        tables: Vec<ObjectName>,
    },
    /// ADMIN CHECK TABLE
    AdminCheck(Vec<ObjectName>),
    /// DO
    Do(Vec<Expr>),
    /// SPLIT TABLE
    Split(Box<Split>),
    /// CREATE, ALTER USER, SET PASSWORD
    User(Box<UserStatement>),
    /// GRANT, REVOKE
    Grant(Box<Grant>),
    /// A statement that MySQL knows and we do not do; says which (1235).
    Unsupported(String),
}

/// One table of LOCK TABLES.
#[derive(Debug, Clone, PartialEq)]
pub struct TableToLock {
    /// Which.
    pub name: ObjectName,
    /// AS
    pub alias: Option<String>,
    /// WRITE rather than READ
    pub write: bool,
}

/// INSERT, REPLACE.
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// REPLACE
    pub replace: bool,
    /// IGNORE
    pub ignore: bool,
    /// Into what.
    pub table: ObjectName,
    /// Columns; `None` when there is no list.
    pub columns: Option<Vec<String>>,
    /// Rows.
    pub source: InsertRows,
    /// `AS new (a, b)`
    pub alias: Option<(String, Vec<String>)>,
    /// ON DUPLICATE KEY UPDATE
    pub on_duplicate: Vec<(super::ast::ColumnName, Expr)>,
}

/// Rows of an INSERT.
#[derive(Debug, Clone, PartialEq)]
pub enum InsertRows {
    /// VALUES; SET as one row.
    Values(Vec<Vec<Expr>>),
    /// SELECT
    Query(Box<Query>),
}

/// The common table expressions of a statement that is no query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct With {
    /// The expressions.
    pub ctes: Vec<super::ast::Cte>,
    /// RECURSIVE
    pub recursive: bool,
}

/// UPDATE.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// WITH
    pub with: With,
    /// IGNORE
    pub ignore: bool,
    /// What; several or joined = multi-table.
    pub tables: Vec<TableRef>,
    /// SET
    pub assignments: Vec<(super::ast::ColumnName, Expr)>,
    /// WHERE
    pub filter: Option<Expr>,
    /// ORDER BY
    pub order_by: Vec<OrderItem>,
    /// LIMIT
    pub limit: Option<LimitClause>,
}

/// DELETE.
#[derive(Debug, Clone, PartialEq)]
pub struct Delete {
    /// WITH
    pub with: With,
    /// IGNORE
    pub ignore: bool,
    /// Tables to delete from, of a multi-table DELETE; empty: the one in `from`.
    pub targets: Vec<ObjectName>,
    /// FROM or USING
    pub from: Vec<TableRef>,
    /// WHERE
    pub filter: Option<Expr>,
    /// ORDER BY
    pub order_by: Vec<OrderItem>,
    /// LIMIT
    pub limit: Option<LimitClause>,
}

/// A schema change.
#[derive(Debug, Clone, PartialEq)]
pub enum Ddl {
    /// CREATE DATABASE
    CreateDatabase {
        /// Its name.
        name: String,
        /// IF NOT EXISTS
        if_not_exists: bool,
        /// CHARACTER SET, lower-cased.
        charset: Option<String>,
        /// COLLATE, lower-cased.
        collation: Option<String>,
    },
    /// ALTER DATABASE
    AlterDatabase {
        /// Its name; `None` = the current one.
        name: Option<String>,
        /// CHARACTER SET, lower-cased.
        charset: Option<String>,
        /// COLLATE, lower-cased.
        collation: Option<String>,
    },
    /// DROP DATABASE
    DropDatabase {
        /// Its name.
        name: String,
        /// IF EXISTS
        if_exists: bool,
    },
    /// CREATE TABLE
    CreateTable(CreateTable),
    /// DROP TABLE
    DropTable {
        /// Which.
        tables: Vec<ObjectName>,
        /// IF EXISTS
        if_exists: bool,
        /// TEMPORARY
        temporary: bool,
    },
    /// DROP VIEW
    DropView {
        /// Which.
        views: Vec<ObjectName>,
        /// IF EXISTS
        if_exists: bool,
    },
    /// TRUNCATE
    Truncate(ObjectName),
    /// RENAME TABLE
    Rename(Vec<(ObjectName, ObjectName)>),
    /// ALTER TABLE
    AlterTable {
        /// Which.
        table: ObjectName,
        /// What.
        actions: Vec<AlterAction>,
    },
    /// CREATE INDEX
    CreateIndex {
        /// On what.
        table: ObjectName,
        /// The index.
        key: KeyDefinition,
        /// IF NOT EXISTS (MariaDB's)
        if_not_exists: bool,
    },
    /// DROP INDEX
    DropIndex {
        /// On what.
        table: ObjectName,
        /// Its name.
        name: String,
        /// IF EXISTS (MariaDB's)
        if_exists: bool,
    },
}

/// CREATE TABLE.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    /// Its name.
    pub name: ObjectName,
    /// IF NOT EXISTS
    pub if_not_exists: bool,
    /// TEMPORARY
    pub temporary: bool,
    /// Columns.
    pub columns: Vec<ColumnDefinition>,
    /// Keys outside of columns.
    pub keys: Vec<KeyDefinition>,
    /// Table options.
    pub options: TableOptions,
    /// LIKE
    pub like: Option<ObjectName>,
    /// AS SELECT
    pub select: Option<Box<Query>>,
}

/// Options of a table; those without effect here are read past.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableOptions {
    /// ENGINE
    pub engine: Option<String>,
    /// CHARACTER SET, lower-cased.
    pub charset: Option<String>,
    /// COLLATE, lower-cased.
    pub collation: Option<String>,
    /// COMMENT
    pub comment: Option<String>,
    /// AUTO_INCREMENT
    pub auto_increment: Option<u64>,
    /// PARTITION BY: what the table is partitioned by.
    pub partition: bool,
}

/// A column of CREATE TABLE.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: DataType,
    /// NOT NULL, NULL
    pub not_null: Option<bool>,
    /// DEFAULT
    pub default: Option<Expr>,
    /// AUTO_INCREMENT
    pub auto_increment: bool,
    /// ON UPDATE CURRENT_TIMESTAMP, with its fractional digits.
    pub on_update_now: Option<u32>,
    /// COMMENT
    pub comment: Option<String>,
    /// PRIMARY KEY
    pub primary: bool,
    /// UNIQUE
    pub unique: bool,
    /// AS (…), GENERATED ALWAYS AS
    pub generated: bool,
    /// REFERENCES
    pub references: bool,
    /// CHECK
    pub check: bool,
}

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// PRIMARY KEY
    Primary,
    /// UNIQUE
    Unique,
    /// KEY, INDEX
    Plain,
    /// FULLTEXT
    FullText,
    /// SPATIAL
    Spatial,
    /// FOREIGN KEY
    Foreign,
    /// CHECK
    Check,
}

/// A key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyDefinition {
    /// What it is.
    pub kind: KeyKind,
    /// Its name.
    pub name: Option<String>,
    /// Its columns.
    pub parts: Vec<KeyPart>,
    /// COMMENT
    pub comment: Option<String>,
    /// IF NOT EXISTS (MariaDB's)
    pub if_not_exists: bool,
}

/// A column of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyPart {
    /// The column; `None` for an expression.
    pub column: Option<String>,
    /// Prefix length.
    pub length: Option<u32>,
    /// DESC
    pub descending: bool,
}

/// What ALTER TABLE does.
#[derive(Debug, Clone, PartialEq)]
pub enum AlterAction {
    /// ADD KEY and its kin
    AddKey(KeyDefinition),
    /// DROP KEY
    DropKey {
        /// Its name.
        name: String,
        /// IF EXISTS (MariaDB's)
        if_exists: bool,
    },
    /// DROP PRIMARY KEY
    DropPrimaryKey,
    /// RENAME TO
    Rename(ObjectName),
    /// DISABLE KEYS (false), ENABLE KEYS (true): no effect.
    EnableKeys(bool),
    /// AUTO_INCREMENT = n
    AutoIncrement(u64),
    /// ENGINE = InnoDB, ALGORITHM, LOCK, FORCE: no effect.
    NoEffect,
    /// What we do not do.
    Unsupported(String),
}

/// SHOW.
#[derive(Debug, Clone, PartialEq)]
pub struct Show {
    /// What.
    pub what: ShowWhat,
    /// LIKE, WHERE
    pub filter: Option<ShowFilter>,
}

/// LIKE or WHERE of SHOW.
#[derive(Debug, Clone, PartialEq)]
pub enum ShowFilter {
    /// LIKE
    Like(String),
    /// WHERE
    Where(Expr),
}

/// What SHOW shows.
#[derive(Debug, Clone, PartialEq)]
pub enum ShowWhat {
    /// DATABASES
    Databases,
    /// TABLES
    Tables {
        /// FULL
        full: bool,
        /// FROM
        database: Option<String>,
    },
    /// TABLE STATUS
    TableStatus {
        /// FROM
        database: Option<String>,
    },
    /// COLUMNS, FIELDS, DESCRIBE
    Columns {
        /// FULL
        full: bool,
        /// FROM
        table: ObjectName,
    },
    /// INDEX, KEYS
    Index(ObjectName),
    /// CREATE TABLE
    CreateTable(ObjectName),
    /// CREATE DATABASE
    CreateDatabase {
        /// Its name.
        name: String,
        /// IF NOT EXISTS
        if_not_exists: bool,
    },
    /// VARIABLES
    Variables {
        /// GLOBAL
        global: bool,
    },
    /// STATUS
    Status {
        /// GLOBAL
        global: bool,
    },
    /// WARNINGS, ERRORS
    Warnings {
        /// ERRORS rather than WARNINGS
        errors: bool,
        /// COUNT(*)
        count: bool,
        /// LIMIT
        limit: Option<LimitClause>,
    },
    /// ENGINE name STATUS
    EngineStatus {
        /// The engine.
        engine: String,
    },
    /// PROCESSLIST
    ProcessList {
        /// FULL
        full: bool,
    },
    /// ENGINES
    Engines,
    /// CHARACTER SET
    Charsets,
    /// COLLATION
    Collations,
    /// GRANTS
    Grants {
        /// FOR
        user: Option<(String, String)>,
    },
    /// CREATE USER
    CreateUser(String, String),
    /// PLUGINS
    Plugins,
    /// PRIVILEGES
    Privileges,
    /// TRIGGERS
    Triggers,
    /// EVENTS
    Events,
    /// PROCEDURE STATUS, FUNCTION STATUS
    Routines,
    /// OPEN TABLES
    OpenTables,
    /// MASTER STATUS, BINARY LOG STATUS
    BinaryLogStatus,
    /// REPLICA STATUS, SLAVE STATUS
    ReplicaStatus,
    /// BINARY LOGS
    BinaryLogs,
    /// TABLE t REGIONS
    Regions {
        /// Of which table.
        table: ObjectName,
        /// Of which index.
        index: Option<String>,
    },
    /// STORES
    Stores,
    /// A thing MySQL shows and we do not.
    Unsupported(String),
}

/// One assignment of SET.
#[derive(Debug, Clone, PartialEq)]
pub enum SetItem {
    /// A system variable.
    System {
        /// SESSION when absent.
        scope: Option<VariableScope>,
        /// Lower-cased.
        name: String,
        /// `None` = DEFAULT.
        value: Option<Expr>,
    },
    /// `@@name` without a scope, of a variable that transactions begin with: for the next one alone.
    NextTransaction {
        /// Lower-cased.
        name: String,
        /// `None` = DEFAULT.
        value: Option<Expr>,
    },
    /// A user variable.
    User {
        /// Its name.
        name: String,
        /// Its value.
        value: Expr,
    },
    /// NAMES, CHARACTER SET
    Names {
        /// CHARACTER SET rather than NAMES.
        charset_only: bool,
        /// `None` = DEFAULT.
        charset: Option<String>,
        /// COLLATE
        collation: Option<String>,
    },
}

/// SPLIT TABLE.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Which.
    pub table: ObjectName,
    /// INDEX
    pub index: Option<String>,
    /// Where.
    pub at: SplitAt,
}

/// Where SPLIT TABLE splits.
#[derive(Debug, Clone, PartialEq)]
pub enum SplitAt {
    /// BETWEEN (low) AND (high) REGIONS n
    Between {
        /// From.
        low: Vec<Expr>,
        /// To.
        high: Vec<Expr>,
        /// Into how many.
        regions: u64,
    },
    /// BY (values), (values)
    By(Vec<Vec<Expr>>),
}

/// What is done to users.
#[derive(Debug, Clone, PartialEq)]
pub enum UserStatement {
    /// CREATE USER
    Create {
        /// Who.
        users: Vec<UserSpec>,
        /// IF NOT EXISTS
        if_not_exists: bool,
    },
    /// ALTER USER, SET PASSWORD
    Alter {
        /// Who; an empty name is the current user.
        users: Vec<UserSpec>,
        /// IF EXISTS
        if_exists: bool,
    },
    /// DROP USER
    Drop {
        /// Name and host.
        users: Vec<(String, String)>,
        /// IF EXISTS
        if_exists: bool,
    },
}

/// A user with credentials.
#[derive(Debug, Clone, PartialEq)]
pub struct UserSpec {
    /// Name.
    pub name: String,
    /// Host; `%` when not said.
    pub host: String,
    /// IDENTIFIED WITH
    pub plugin: Option<String>,
    /// IDENTIFIED BY
    pub password: Option<String>,
    /// IDENTIFIED WITH … AS
    pub hash: Option<Vec<u8>>,
}

impl UserSpec {
    /// CURRENT_USER rather than an account that is named.
    pub fn is_current_user(&self) -> bool {
        self.name.is_empty() && self.host.is_empty()
    }
}

/// GRANT and REVOKE.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// REVOKE
    pub revoke: bool,
    /// Upper-cased privileges.
    pub privileges: Vec<String>,
    /// On what.
    pub level: GrantLevel,
    /// To whom.
    pub users: Vec<UserSpec>,
    /// WITH GRANT OPTION
    pub grant_option: bool,
}

/// What privileges are granted on.
#[derive(Debug, Clone, PartialEq)]
pub enum GrantLevel {
    /// `*.*`
    Everything,
    /// `*`: the current database.
    Current,
    /// `d.*`
    Database(String),
    /// `d.t`, `t`
    Table(ObjectName),
    /// `REVOKE ALL, GRANT OPTION FROM u`: whatever there is.
    Anything,
}
