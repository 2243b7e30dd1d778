//! The databases that the server makes up: which tables they have, and who fills them.
//!
//! `information_schema` is what MySQL 8 has of it, as far as clients, dump tools and ORMs ask for it; the tables whose
//! names start with `BASALT_` are ours and carry SHOW statements (`crate::binder::show`). `mysql` has the tables that tools
//! look users up in, `performance_schema` the variables.
//!
//! A table is its columns' definition here and one producer in [`super::rows`]; a table without producer is empty.

use super::model::Schema;
use super::rows;
use super::size::TableSize;
use crate::deadlocks::Deadlock;
use crate::error::Result;
use async_trait::async_trait;
use basalt_common::TableId;
use basalt_expr::types::{FieldType, TypeKind};
use basalt_expr::value::Value;
use basalt_proto::pd::LockWait;

/// A row of a made-up table.
pub type Row = Vec<Value>;

/// What the made-up tables tell of the session and the server.
#[async_trait]
pub trait SessionInfo: Send + Sync {
    /// Names and values of system variables, ordered by name.
    fn variables(&self, global: bool) -> Vec<(String, String)>;
    /// Names and values of status variables, ordered by name.
    fn status(&self, global: bool) -> Vec<(String, String)>;
    /// Connections of all SQL servers that answer.
    async fn processes(&self) -> Vec<Process>;
    /// The time, milliseconds since 1970.
    fn now_unix_ms(&self) -> u64;
    /// Whether [`SessionInfo::processes`] are everybody's, not the account's own.
    fn sees_everybody(&self) -> bool;
    /// Who waits for whose locks, in all stores.
    ///
    /// # Errors
    /// When PD cannot be asked.
    async fn lock_waits(&self) -> Result<Vec<LockWait>>;
    /// The latest deadlocks whose victims were of this server, newest first.
    fn deadlocks(&self) -> Vec<Deadlock>;
    /// Warnings of the statement before: level, code, text.
    fn warnings(&self) -> Vec<(&'static str, u16, String)>;
    /// The accounts that may be seen: all, or the session's own.
    fn accounts(&self) -> Vec<AccountInfo>;
    /// Whether SHOW DATABASES lists a made-up database.
    fn sees_database(&self, name: &str) -> bool;
    /// What may be done with a table's columns, as COLUMNS tells it.
    fn column_privileges(&self, database: &str, table: &str) -> String;
    /// Regions that hold keys of `[start, end)`.
    ///
    /// # Errors
    /// When PD cannot be asked.
    async fn regions(&self, start: &[u8], end: &[u8]) -> Result<Vec<RegionInfo>>;
    /// Stores.
    ///
    /// # Errors
    /// When PD cannot be asked.
    async fn stores(&self) -> Result<Vec<StoreInfo>>;
    /// Schema changes, newest first, each as the values of a row of `BASALT_DDL_JOBS`.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    async fn ddl_jobs(&self) -> Result<Vec<Row>>;
    /// About how large tables are, in their order.
    ///
    /// # Errors
    /// When the cluster cannot be asked.
    async fn table_sizes(&self, tables: &[TableId]) -> Result<Vec<TableSize>>;
}

/// An account, for SHOW GRANTS and the tables of privileges.
#[derive(Debug, Clone, Default)]
pub struct AccountInfo {
    /// Name.
    pub user: String,
    /// Host pattern.
    pub host: String,
    /// Plugin that checks its password.
    pub plugin: String,
    /// What the plugin checks it with, as text.
    pub digest: String,
    /// What it holds: first ON *.*, then on databases, then on tables.
    pub grants: Vec<GrantInfo>,
}

/// What an account holds at one place.
#[derive(Debug, Clone, Default)]
pub struct GrantInfo {
    /// Database; empty for *.*.
    pub database: String,
    /// Table; empty for all of a database.
    pub table: String,
    /// Names, in MySQL's order.
    pub privileges: Vec<&'static str>,
    /// WITH GRANT OPTION
    pub grantable: bool,
    /// The GRANT that gives it.
    pub text: String,
}

/// A connection, for SHOW PROCESSLIST.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Connection id.
    pub id: u64,
    /// User.
    pub user: String,
    /// Host and port.
    pub host: String,
    /// Current database.
    pub database: Option<String>,
    /// `Query`, `Sleep`, …
    pub command: String,
    /// Seconds in that command.
    pub seconds: u64,
    /// State.
    pub state: String,
    /// Text of the statement.
    pub statement: Option<String>,
    /// Bytes that the connection and its statement hold.
    pub memory_bytes: u64,
    /// The start_ts of its transaction; 0 without one.
    pub transaction: u64,
}

/// A region, for SHOW TABLE REGIONS.
#[derive(Debug, Clone, Default)]
pub struct RegionInfo {
    /// Region id.
    pub id: u64,
    /// First key.
    pub start_key: Vec<u8>,
    /// First key after it; empty = none.
    pub end_key: Vec<u8>,
    /// Peer that leads.
    pub leader_peer: u64,
    /// Store of that peer.
    pub leader_store: u64,
    /// Ids of all peers.
    pub peers: Vec<u64>,
    /// Approximate size.
    pub size_bytes: u64,
    /// Approximate number of keys.
    pub keys: u64,
}

/// A store, for SHOW STORES.
#[derive(Debug, Clone, Default)]
pub struct StoreInfo {
    /// Store id.
    pub id: u64,
    /// Address.
    pub address: String,
    /// `Up`, `Down`, `Offline`, `Tombstone`.
    pub state: String,
    /// Regions with a peer there.
    pub regions: u64,
    /// Regions led from there.
    pub leaders: u64,
    /// Bytes used.
    pub used_bytes: u64,
    /// Bytes there are.
    pub capacity_bytes: u64,
}

/// Whether the server makes this database up.
pub fn is_database(name: &str) -> bool {
    ["information_schema", "mysql", "performance_schema", "sys"].iter().any(|d| d.eq_ignore_ascii_case(name))
}

/// Names of the made-up databases that SHOW DATABASES lists.
pub const DATABASES: &[&str] = &["information_schema", "mysql", "performance_schema", "sys"];

/// Columns of a made-up table; `None` when there is no such table.
pub fn columns(database: &str, table: &str) -> Option<Vec<(&'static str, FieldType)>> {
    if !is_database(database) {
        return None;
    }
    let (_, _, definition) =
        TABLES.iter().find(|(d, t, _)| d.eq_ignore_ascii_case(database) && t.eq_ignore_ascii_case(table))?;
    Some(definition.split_whitespace().map(column).collect())
}

/// All made-up tables: database and name.
pub fn tables() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLES.iter().map(|(database, table, _)| (*database, *table))
}

/// The rows of a made-up table; values are in the order of [`columns`].
///
/// # Errors
/// What [`SessionInfo`] returns.
pub async fn rows(database: &str, table: &str, schema: &Schema, info: &dyn SessionInfo) -> Result<Vec<Row>> {
    rows::produce(&database.to_lowercase(), &table.to_uppercase(), schema, info).await
}

/// `NAME:type`; the types are s(tring), t(ext), u(nsigned), i(nteger), d(atetime), b(inary).
fn column(definition: &'static str) -> (&'static str, FieldType) {
    const NAME_CHARS: u32 = 64;
    const STRING_CHARS: u32 = 512;
    let (name, ty) = definition.split_once(':').unwrap_or((definition, "s"));
    let collation = basalt_expr::Collation::Utf8mb4GeneralCi;
    let ty = match ty {
        "n" => FieldType::varchar(NAME_CHARS).with_collation(collation),
        "t" => FieldType::new(TypeKind::LongText).with_collation(collation),
        "u" => FieldType::bigint_unsigned(),
        "i" => FieldType::bigint(),
        "d" => FieldType::datetime(0),
        "b" => FieldType::varbinary(STRING_CHARS),
        _ => FieldType::varchar(STRING_CHARS).with_collation(collation),
    };
    (name, ty)
}

const IS: &str = "information_schema";

/// Database, table, columns.
const TABLES: &[(&str, &str, &str)] = &[
    (
        IS,
        "SCHEMATA",
        "CATALOG_NAME:s SCHEMA_NAME:n DEFAULT_CHARACTER_SET_NAME:n DEFAULT_COLLATION_NAME:n SQL_PATH:s \
        DEFAULT_ENCRYPTION:n",
    ),
    (
        IS,
        "TABLES",
        "TABLE_CATALOG:s TABLE_SCHEMA:n TABLE_NAME:n TABLE_TYPE:n ENGINE:n VERSION:u ROW_FORMAT:n TABLE_ROWS:u \
        AVG_ROW_LENGTH:u DATA_LENGTH:u MAX_DATA_LENGTH:u INDEX_LENGTH:u DATA_FREE:u AUTO_INCREMENT:u CREATE_TIME:d \
        UPDATE_TIME:d CHECK_TIME:d TABLE_COLLATION:n CHECKSUM:u CREATE_OPTIONS:s TABLE_COMMENT:s BASALT_TABLE_ID:u",
    ),
    (
        IS,
        "COLUMNS",
        "TABLE_CATALOG:s TABLE_SCHEMA:n TABLE_NAME:n COLUMN_NAME:n ORDINAL_POSITION:u COLUMN_DEFAULT:t \
        IS_NULLABLE:n DATA_TYPE:n CHARACTER_MAXIMUM_LENGTH:u CHARACTER_OCTET_LENGTH:u NUMERIC_PRECISION:u NUMERIC_SCALE:u \
        DATETIME_PRECISION:u CHARACTER_SET_NAME:n COLLATION_NAME:n COLUMN_TYPE:t COLUMN_KEY:n EXTRA:s PRIVILEGES:s \
        COLUMN_COMMENT:t GENERATION_EXPRESSION:t SRS_ID:u",
    ),
    (
        IS,
        "STATISTICS",
        "TABLE_CATALOG:s TABLE_SCHEMA:n TABLE_NAME:n NON_UNIQUE:i INDEX_SCHEMA:n INDEX_NAME:n SEQ_IN_INDEX:u \
        COLUMN_NAME:n COLLATION:n CARDINALITY:i SUB_PART:u PACKED:n NULLABLE:n INDEX_TYPE:n COMMENT:n INDEX_COMMENT:s \
        IS_VISIBLE:n EXPRESSION:t",
    ),
    (
        IS,
        "KEY_COLUMN_USAGE",
        "CONSTRAINT_CATALOG:s CONSTRAINT_SCHEMA:n CONSTRAINT_NAME:n TABLE_CATALOG:s TABLE_SCHEMA:n \
        TABLE_NAME:n COLUMN_NAME:n ORDINAL_POSITION:u POSITION_IN_UNIQUE_CONSTRAINT:u REFERENCED_TABLE_SCHEMA:n \
        REFERENCED_TABLE_NAME:n REFERENCED_COLUMN_NAME:n",
    ),
    (
        IS,
        "TABLE_CONSTRAINTS",
        "CONSTRAINT_CATALOG:s CONSTRAINT_SCHEMA:n CONSTRAINT_NAME:n TABLE_SCHEMA:n TABLE_NAME:n \
        CONSTRAINT_TYPE:n ENFORCED:n",
    ),
    (
        IS,
        "REFERENTIAL_CONSTRAINTS",
        "CONSTRAINT_CATALOG:s CONSTRAINT_SCHEMA:n CONSTRAINT_NAME:n UNIQUE_CONSTRAINT_CATALOG:s \
        UNIQUE_CONSTRAINT_SCHEMA:n UNIQUE_CONSTRAINT_NAME:n MATCH_OPTION:n UPDATE_RULE:n DELETE_RULE:n TABLE_NAME:n \
        REFERENCED_TABLE_NAME:n",
    ),
    (IS, "CHECK_CONSTRAINTS", "CONSTRAINT_CATALOG:s CONSTRAINT_SCHEMA:n CONSTRAINT_NAME:n CHECK_CLAUSE:t"),
    (IS, "ENGINES", "ENGINE:n SUPPORT:n COMMENT:s TRANSACTIONS:n XA:n SAVEPOINTS:n"),
    (IS, "CHARACTER_SETS", "CHARACTER_SET_NAME:n DEFAULT_COLLATE_NAME:n DESCRIPTION:s MAXLEN:u"),
    (
        IS,
        "COLLATIONS",
        "COLLATION_NAME:n CHARACTER_SET_NAME:n ID:u IS_DEFAULT:n IS_COMPILED:n SORTLEN:u PAD_ATTRIBUTE:n",
    ),
    (IS, "COLLATION_CHARACTER_SET_APPLICABILITY", "COLLATION_NAME:n CHARACTER_SET_NAME:n"),
    (
        IS,
        "BASALT_DEADLOCKS",
        "DEADLOCK_ID:u OCCUR_TIME:d MEMBER:u TRX_ID:u IS_VICTIM:i CONNECTION_ID:u STATEMENT:t TABLE_SCHEMA:n TABLE_NAME:n \
        INDEX_NAME:n WAITED_FOR:s",
    ),
    (IS, "BASALT_ENGINE_STATUS", "TYPE:n NAME:s STATUS:t"),
    (
        "sys",
        "innodb_lock_waits",
        "wait_started:d wait_age_secs:i locked_table:s locked_table_schema:n locked_table_name:n locked_index:n locked_key:s \
        waiting_trx_id:u waiting_trx_started:d waiting_pid:u waiting_query:t blocking_trx_id:u blocking_trx_started:d \
        blocking_pid:u blocking_query:t sql_kill_blocking_query:s sql_kill_blocking_connection:s",
    ),
    (IS, "PROCESSLIST", "ID:u USER:n HOST:s DB:n COMMAND:n TIME:i STATE:n INFO:t MEMORY:u"),
    (
        IS,
        "PLUGINS",
        "PLUGIN_NAME:n PLUGIN_VERSION:n PLUGIN_STATUS:n PLUGIN_TYPE:n PLUGIN_TYPE_VERSION:n PLUGIN_LIBRARY:n \
        PLUGIN_LIBRARY_VERSION:n PLUGIN_AUTHOR:n PLUGIN_DESCRIPTION:t PLUGIN_LICENSE:n LOAD_OPTION:n",
    ),
    (IS, "USER_PRIVILEGES", "GRANTEE:s TABLE_CATALOG:s PRIVILEGE_TYPE:n IS_GRANTABLE:n"),
    (IS, "SCHEMA_PRIVILEGES", "GRANTEE:s TABLE_CATALOG:s TABLE_SCHEMA:n PRIVILEGE_TYPE:n IS_GRANTABLE:n"),
    (IS, "TABLE_PRIVILEGES", "GRANTEE:s TABLE_CATALOG:s TABLE_SCHEMA:n TABLE_NAME:n PRIVILEGE_TYPE:n IS_GRANTABLE:n"),
    (
        IS,
        "COLUMN_PRIVILEGES",
        "GRANTEE:s TABLE_CATALOG:s TABLE_SCHEMA:n TABLE_NAME:n COLUMN_NAME:n PRIVILEGE_TYPE:n \
        IS_GRANTABLE:n",
    ),
    (IS, "SESSION_VARIABLES", "VARIABLE_NAME:n VARIABLE_VALUE:t"),
    (IS, "GLOBAL_VARIABLES", "VARIABLE_NAME:n VARIABLE_VALUE:t"),
    (IS, "SESSION_STATUS", "VARIABLE_NAME:n VARIABLE_VALUE:t"),
    (IS, "GLOBAL_STATUS", "VARIABLE_NAME:n VARIABLE_VALUE:t"),
    (
        IS,
        "PARTITIONS",
        "TABLE_CATALOG:s TABLE_SCHEMA:n TABLE_NAME:n PARTITION_NAME:n SUBPARTITION_NAME:n \
        PARTITION_ORDINAL_POSITION:u SUBPARTITION_ORDINAL_POSITION:u PARTITION_METHOD:n SUBPARTITION_METHOD:n \
        PARTITION_EXPRESSION:t SUBPARTITION_EXPRESSION:t PARTITION_DESCRIPTION:t TABLE_ROWS:u AVG_ROW_LENGTH:u DATA_LENGTH:u \
        MAX_DATA_LENGTH:u INDEX_LENGTH:u DATA_FREE:u CREATE_TIME:d UPDATE_TIME:d CHECK_TIME:d CHECKSUM:u \
        PARTITION_COMMENT:t NODEGROUP:n TABLESPACE_NAME:n",
    ),
    (
        IS,
        "FILES",
        "FILE_ID:i FILE_NAME:s FILE_TYPE:n TABLESPACE_NAME:n TABLE_CATALOG:s TABLE_SCHEMA:n TABLE_NAME:n \
        LOGFILE_GROUP_NAME:n LOGFILE_GROUP_NUMBER:i ENGINE:n FULLTEXT_KEYS:n DELETED_ROWS:i UPDATE_COUNT:i FREE_EXTENTS:i \
        TOTAL_EXTENTS:i EXTENT_SIZE:i INITIAL_SIZE:i MAXIMUM_SIZE:i AUTOEXTEND_SIZE:i CREATION_TIME:d LAST_UPDATE_TIME:d \
        LAST_ACCESS_TIME:d RECOVER_TIME:i TRANSACTION_COUNTER:i VERSION:u ROW_FORMAT:n TABLE_ROWS:u STATUS:n EXTRA:s",
    ),
    (
        IS,
        "VIEWS",
        "TABLE_CATALOG:s TABLE_SCHEMA:n TABLE_NAME:n VIEW_DEFINITION:t CHECK_OPTION:n IS_UPDATABLE:n DEFINER:s \
        SECURITY_TYPE:n CHARACTER_SET_CLIENT:n COLLATION_CONNECTION:n",
    ),
    (
        IS,
        "TRIGGERS",
        "TRIGGER_CATALOG:s TRIGGER_SCHEMA:n TRIGGER_NAME:n EVENT_MANIPULATION:n EVENT_OBJECT_CATALOG:s \
        EVENT_OBJECT_SCHEMA:n EVENT_OBJECT_TABLE:n ACTION_ORDER:u ACTION_CONDITION:t ACTION_STATEMENT:t ACTION_ORIENTATION:n \
        ACTION_TIMING:n CREATED:d SQL_MODE:s DEFINER:s CHARACTER_SET_CLIENT:n COLLATION_CONNECTION:n DATABASE_COLLATION:n",
    ),
    (
        IS,
        "EVENTS",
        "EVENT_CATALOG:s EVENT_SCHEMA:n EVENT_NAME:n DEFINER:s TIME_ZONE:n EVENT_BODY:n EVENT_DEFINITION:t \
        EVENT_TYPE:n EXECUTE_AT:d INTERVAL_VALUE:s INTERVAL_FIELD:n SQL_MODE:s STARTS:d ENDS:d STATUS:n ON_COMPLETION:n \
        CREATED:d LAST_ALTERED:d LAST_EXECUTED:d EVENT_COMMENT:s ORIGINATOR:u CHARACTER_SET_CLIENT:n COLLATION_CONNECTION:n \
        DATABASE_COLLATION:n",
    ),
    (
        IS,
        "ROUTINES",
        "SPECIFIC_NAME:n ROUTINE_CATALOG:s ROUTINE_SCHEMA:n ROUTINE_NAME:n ROUTINE_TYPE:n DATA_TYPE:t \
        DTD_IDENTIFIER:t ROUTINE_BODY:n ROUTINE_DEFINITION:t IS_DETERMINISTIC:n SQL_DATA_ACCESS:n SECURITY_TYPE:n CREATED:d \
        LAST_ALTERED:d SQL_MODE:s ROUTINE_COMMENT:t DEFINER:s CHARACTER_SET_CLIENT:n COLLATION_CONNECTION:n \
        DATABASE_COLLATION:n",
    ),
    (
        IS,
        "PARAMETERS",
        "SPECIFIC_CATALOG:s SPECIFIC_SCHEMA:n SPECIFIC_NAME:n ORDINAL_POSITION:u PARAMETER_MODE:n \
        PARAMETER_NAME:n DATA_TYPE:t DTD_IDENTIFIER:t ROUTINE_TYPE:n",
    ),
    (IS, "TABLESPACES", "TABLESPACE_NAME:n ENGINE:n"),
    (IS, "BASALT_WARNINGS", "LEVEL:n CODE:u MESSAGE:t"),
    (IS, "BASALT_GRANTS", "USER:n HOST:s POSITION:u GRANT_TEXT:t ACCOUNT_TEXT:t"),
    (
        IS,
        "BASALT_REGIONS",
        "REGION_ID:u START_KEY:s END_KEY:s LEADER_ID:u LEADER_STORE_ID:u PEERS:s SIZE_BYTES:u KEYS:u \
        RAW_START:b RAW_END:b",
    ),
    (IS, "BASALT_STORES", "STORE_ID:u ADDRESS:s STATE:n REGIONS:u LEADERS:u USED_BYTES:u CAPACITY_BYTES:u"),
    (
        IS,
        "BASALT_DDL_JOBS",
        "JOB_ID:u KIND:n STATE:n SCHEMA_STATE:n DATABASE_ID:u TABLE_ID:u INDEXES:t ROWS_DONE:u ROWS_TOTAL:u ERROR:t \
        STATEMENT:t",
    ),
    ("performance_schema", "SESSION_VARIABLES", "VARIABLE_NAME:n VARIABLE_VALUE:t"),
    ("performance_schema", "GLOBAL_VARIABLES", "VARIABLE_NAME:n VARIABLE_VALUE:t"),
    ("performance_schema", "SESSION_STATUS", "VARIABLE_NAME:n VARIABLE_VALUE:t"),
    ("performance_schema", "GLOBAL_STATUS", "VARIABLE_NAME:n VARIABLE_VALUE:t"),
    (
        "mysql",
        "user",
        "Host:s User:n Select_priv:n Insert_priv:n Update_priv:n Delete_priv:n Create_priv:n Drop_priv:n \
        Grant_priv:n Super_priv:n plugin:n authentication_string:t account_locked:n",
    ),
    ("mysql", "db", "Host:s Db:n User:n"),
    ("mysql", "time_zone_name", "Name:n Time_zone_id:u"),
];
