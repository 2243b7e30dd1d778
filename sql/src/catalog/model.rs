//! The catalog's domain types: what a statement sees of the schema, immutable and shared.
//!
//! A [`Schema`] is one version of everything; sessions hold an `Arc` of it for the length of a statement (and a
//! transaction checks at commit that the tables it wrote have not changed). Records on disk are `basalt_proto::schema`,
//! converted in `record`.

use super::claims::Claims;
use basalt_common::{IndexId, TableId};
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A database.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its id, kept over renames.
    pub id: u64,
    /// Its name as it was written.
    pub name: String,
    /// Default character set of its tables.
    pub charset: String,
    /// Default collation of its tables.
    pub collation: String,
    /// Tables by lower-cased name.
    pub tables: BTreeMap<String, Arc<Table>>,
}

/// F1's schema states (Rae et al., "Online, Asynchronous Schema Change in F1", §3), in the order of an addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SchemaState {
    /// Does not exist for anybody.
    None,
    /// Deletes remove its entries; nothing else touches it.
    DeleteOnly,
    /// All writes maintain it; reads do not see it.
    WriteOnly,
    /// As `WriteOnly`, while old rows are being filled in.
    WriteReorganization,
    /// Everybody reads and writes it.
    Public,
}

/// A column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its id within the table, never used twice: rows are stored by it.
    pub id: u32,
    /// Its name as it was written.
    pub name: String,
    /// Its type; `not_null` is part of it.
    pub ty: FieldType,
    /// What an INSERT without the column stores.
    pub default: ColumnDefault,
    /// Takes the next number when NULL, 0 or nothing is inserted.
    pub auto_increment: bool,
    /// Set to the current time by every UPDATE that changes the row.
    pub on_update_now: bool,
    /// COMMENT.
    pub comment: String,
    /// For columns being added or dropped.
    pub state: SchemaState,
    /// What rows that were written before the column existed read as.
    pub original_default: Option<Value>,
}

/// What a column holds when an INSERT does not name it.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnDefault {
    /// No default: NOT NULL columns refuse (1364), others are NULL.
    None,
    /// A constant, already of the column's type (`Value::Null` for DEFAULT NULL).
    Value(Value),
    /// CURRENT_TIMESTAMP with this many fractional digits.
    CurrentTimestamp(u8),
}

/// One column of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexColumn {
    /// Offset in [`Table::columns`].
    pub column: usize,
    /// Characters (bytes for binary strings) that are indexed; `None` = all.
    pub prefix_length: Option<u32>,
    /// The version of the collation's weights that its entries hold.
    pub collation_version: u32,
}

/// A key of a table. The primary key of a clustered table has no entries of its own: it is the row key.
#[derive(Debug, Clone)]
pub struct Index {
    /// Its id within the table.
    pub id: IndexId,
    /// `PRIMARY` for the primary key.
    pub name: String,
    /// Its columns, in order.
    pub columns: Vec<IndexColumn>,
    /// Whether two rows may not have the same (non-NULL) values.
    pub unique: bool,
    /// Whether it is the primary key.
    pub primary: bool,
    /// Where it stands in a schema change.
    pub state: SchemaState,
    /// COMMENT.
    pub comment: String,
}

/// Puts indexes into MySQL's order: the primary key, UNIQUE over NOT NULL columns, then over nullable ones, whole columns
/// before prefixes, then the others, and as they were defined where nothing else decides. SHOW lists them so, and
/// INSERT … ON DUPLICATE KEY UPDATE takes the row that the first of them finds.
pub fn sort_indexes(indexes: &mut [Index], columns: &[Column]) {
    indexes.sort_by_key(|index| {
        if !index.unique {
            return (true, false, false, false);
        }
        let nullable = index.columns.iter().any(|c| !columns[c.column].ty.not_null);
        let has_prefix = index.columns.iter().any(|c| c.prefix_length.is_some());
        (false, nullable, !index.primary, has_prefix)
    });
}

/// How a row's key is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handle {
    /// A single-column integer primary key: its value (offset of the column).
    Integer(usize),
    /// A clustered primary key of other types or several columns: their encoding (offsets of the columns).
    Common(Vec<usize>),
    /// No clustered primary key: a hidden number, drawn from the table's own sequence.
    Hidden,
}

impl Handle {
    /// True when a column is part of the row key.
    pub fn has(&self, column: usize) -> bool {
        match self {
            Handle::Integer(offset) => *offset == column,
            Handle::Common(offsets) => offsets.contains(&column),
            Handle::Hidden => false,
        }
    }

    /// True when row keys end in eight bytes: an integer primary key, or the hidden number.
    pub fn is_integer(&self) -> bool {
        !matches!(self, Handle::Common(_))
    }
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its id; TRUNCATE gives it a new one.
    pub id: TableId,
    /// Its name as it was written.
    pub name: String,
    /// The database it is in.
    pub database_id: u64,
    /// Columns in the order of `SELECT *`; public ones first, columns in other states behind.
    pub columns: Vec<Column>,
    /// All indexes, the primary key among them, as [`sort_indexes`] orders them.
    pub indexes: Vec<Index>,
    /// How rows are keyed.
    pub handle: Handle,
    /// Default character set.
    pub charset: String,
    /// Default collation.
    pub collation: String,
    /// COMMENT.
    pub comment: String,
    /// Creation time, milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Version of the schema in which the table last changed.
    pub version: u64,
    /// Id of the next index that is added; ids are never used twice.
    pub next_index_id: u64,
    /// Id of the next column that is added. More than the largest there is: the ids of dropped columns still stand in rows.
    pub next_column_id: u32,
}

impl Table {
    /// The offset of a public column by name, any case.
    pub fn column_offset(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.state == SchemaState::Public && c.name.eq_ignore_ascii_case(name))
    }

    /// The public columns, in order; they come first.
    pub fn public_columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, c)| c.state == SchemaState::Public)
    }

    /// An index by name, any case. While one is replaced by another of its name, the one that is read.
    pub fn index(&self, name: &str) -> Option<&Index> {
        self.indexes.iter().filter(|i| i.name.eq_ignore_ascii_case(name)).max_by_key(|i| i.state)
    }

    /// The public indexes, in MySQL's order.
    pub fn listed_indexes(&self) -> impl Iterator<Item = &Index> {
        self.indexes.iter().filter(|i| i.state == SchemaState::Public)
    }

    /// The primary key.
    pub fn primary_key(&self) -> Option<&Index> {
        self.indexes.iter().find(|i| i.primary)
    }

    /// An index whose entries hold weights of another version than this binary's: it finds nothing where it should.
    pub fn stale_index(&self) -> Option<&Index> {
        let is_stale = |c: &IndexColumn| c.collation_version != self.columns[c.column].ty.collation.weights_version();
        self.indexes.iter().find(|i| i.columns.iter().any(is_stale))
    }

    /// The index that SHOW COLUMNS marks PRI: the primary key, or the first UNIQUE one that could be it.
    pub fn key_of_rows(&self) -> Option<&Index> {
        let may_be = |i: &&Index| {
            i.unique && i.columns.iter().all(|c| c.prefix_length.is_none() && self.columns[c.column].ty.not_null)
        };
        self.listed_indexes().find(may_be)
    }

    /// The indexes that have entries of their own: all but a clustered primary key.
    pub fn entry_indexes(&self) -> impl Iterator<Item = &Index> {
        let clustered = self.handle != Handle::Hidden;
        self.indexes.iter().filter(move |i| !(clustered && i.primary))
    }

    /// The column that AUTO_INCREMENT fills.
    pub fn auto_increment_column(&self) -> Option<usize> {
        self.columns.iter().position(|c| c.auto_increment)
    }
}

/// One version of the whole catalog.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// Raised by every step of every schema change.
    pub version: u64,
    /// Databases by lower-cased name.
    pub databases: BTreeMap<String, Arc<Database>>,
    /// Tables that schema changes and LOCK TABLES keep from others.
    pub claims: Claims,
}

impl Schema {
    /// A database by name, any case.
    pub fn database(&self, name: &str) -> Option<&Arc<Database>> {
        self.databases.get(name).or_else(|| self.databases.get(&name.to_lowercase()))
    }

    /// A table by names, any case.
    pub fn table(&self, database: &str, table: &str) -> Option<&Arc<Table>> {
        let tables = &self.database(database)?.tables;
        tables.get(table).or_else(|| tables.get(&table.to_lowercase()))
    }

    /// A table by id.
    pub fn table_by_id(&self, id: TableId) -> Option<(&Arc<Database>, &Arc<Table>)> {
        self.databases.values().find_map(|d| d.tables.values().find(|t| t.id == id).map(|t| (d, t)))
    }
}
