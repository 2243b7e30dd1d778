//! CREATE TABLE: from the statement to a table, checked as a whole.

use super::column::build_column;
use super::names;
use crate::binder::collation_of;
use crate::catalog::config::{COLUMNS_MAX, INDEX_BYTES_MAX, INDEX_COLUMNS_MAX, INDEXES_MAX};
use crate::catalog::model::{Column, Handle, Index, IndexColumn, SchemaState, Table, sort_indexes};
use crate::error::{Error, Result};
use crate::parser::statement::{CreateTable, KeyDefinition, KeyKind};
use basalt_common::{IndexId, TableId};
use basalt_expr::EvalContext;
use basalt_expr::collation::Collation;
use std::collections::BTreeSet;

/// What a table takes from where it is made.
#[derive(Debug, Clone)]
pub struct TableDefaults {
    /// The table's id.
    pub id: TableId,
    /// Its database.
    pub database_id: u64,
    /// The database's character set.
    pub charset: String,
    /// The database's collation.
    pub collation: String,
    /// Now, milliseconds since 1970.
    pub now_unix_ms: u64,
}

/// Builds the table that the statement describes.
///
/// # Errors
/// MySQL's for tables that do not fit together: 1060, 1061, 1068, 1072, 1075, 1113, and 1235 for what Basalt does not have.
pub fn build_table(statement: &CreateTable, defaults: TableDefaults, eval: &EvalContext) -> Result<Table> {
    if statement.temporary {
        return Err(Error::unsupported("TEMPORARY tables"));
    }
    if statement.options.partition {
        return Err(Error::unsupported("partitioned tables"));
    }
    if statement.columns.is_empty() {
        return Err(Error::User {
            code: 1113,
            sqlstate: "42000",
            message: "A table must have at least 1 column".into(),
        });
    }
    if statement.columns.len() > COLUMNS_MAX {
        return Err(Error::User { code: 1117, sqlstate: "HY000", message: "Too many columns".into() });
    }
    let (charset, collation) = table_collation(statement, &defaults)?;
    let mut taken = BTreeSet::new();
    let mut columns = Vec::with_capacity(statement.columns.len());
    for (offset, definition) in statement.columns.iter().enumerate() {
        names::check_column(&definition.name)?;
        if !taken.insert(definition.name.to_lowercase()) {
            return Err(Error::duplicate_column(&definition.name));
        }
        columns.push(build_column(offset as u32 + 1, definition, collation, eval)?);
    }
    let mut indexes = Vec::new();
    for key in keys_of(statement) {
        refuse_null_in_primary_key(&key, statement)?;
        let index = build_index(IndexId(indexes.len() as u64 + 1), &key, &mut columns, &indexes)?;
        indexes.push(index);
    }
    sort_indexes(&mut indexes, &columns);
    check_auto_increment(&columns, &indexes)?;
    let handle = indexes.iter().find(|i| i.primary).map_or(Handle::Hidden, |primary| {
        let whole = primary.columns.iter().all(|c| c.prefix_length.is_none());
        if whole { crate::catalog::handle_of(primary, &columns) } else { Handle::Hidden }
    });
    Ok(Table {
        id: defaults.id,
        name: statement.name.name.clone(),
        database_id: defaults.database_id,
        next_index_id: indexes.len() as u64 + 1,
        next_column_id: columns.len() as u32 + 1,
        columns,
        indexes,
        handle,
        charset,
        collation: collation.name().to_string(),
        comment: statement.options.comment.clone().unwrap_or_default(),
        created_unix_ms: defaults.now_unix_ms,
        version: 0,
    })
}

fn table_collation(statement: &CreateTable, defaults: &TableDefaults) -> Result<(String, Collation)> {
    let options = &statement.options;
    let default = Collation::from_name(&defaults.collation)?;
    let collation = collation_of(options.charset.as_deref(), options.collation.as_deref(), default)?;
    Ok((collation.charset().to_string(), collation))
}

/// NULL written at a column that the primary key makes NOT NULL.
fn refuse_null_in_primary_key(key: &KeyDefinition, statement: &CreateTable) -> Result<()> {
    let is_part = |name: &str| key.parts.iter().filter_map(|p| p.column.as_ref()).any(|c| c.eq_ignore_ascii_case(name));
    let says_null = statement.columns.iter().any(|c| c.not_null == Some(false) && is_part(&c.name));
    if key.kind == KeyKind::Primary && says_null { Err(Error::primary_key_null()) } else { Ok(()) }
}

/// Keys written in columns, then keys of their own.
fn keys_of(statement: &CreateTable) -> Vec<KeyDefinition> {
    let of_column = |name: &str, kind| KeyDefinition {
        kind,
        name: None,
        parts: vec![crate::parser::statement::KeyPart {
            column: Some(name.to_string()),
            length: None,
            descending: false,
        }],
        comment: None,
        if_not_exists: false,
    };
    let mut keys = Vec::new();
    for column in &statement.columns {
        if column.primary {
            keys.push(of_column(&column.name, KeyKind::Primary));
        }
        if column.unique || column.ty.name == "serial" {
            keys.push(of_column(&column.name, KeyKind::Unique));
        }
    }
    keys.extend(statement.keys.iter().cloned());
    keys
}

/// An index over columns of a table; a primary key makes its columns NOT NULL.
///
/// # Errors
/// 1061, 1068, 1070, 1072, 1089, 1170, 1171, and 1235 for kinds that Basalt does not have.
pub(super) fn build_index(id: IndexId, key: &KeyDefinition, columns: &mut [Column], others: &[Index]) -> Result<Index> {
    let (unique, primary) = match key.kind {
        KeyKind::Primary => (true, true),
        KeyKind::Unique => (true, false),
        KeyKind::Plain => (false, false),
        KeyKind::FullText => return Err(Error::unsupported("FULLTEXT indexes")),
        KeyKind::Spatial => return Err(Error::unsupported("SPATIAL indexes")),
        KeyKind::Foreign => return Err(Error::unsupported("foreign keys")),
        KeyKind::Check => return Err(Error::unsupported("CHECK constraints")),
    };
    if primary && others.iter().any(|i| i.primary) {
        return Err(Error::two_primary_keys());
    }
    if others.len() >= INDEXES_MAX {
        return Err(Error::too_many_keys(INDEXES_MAX));
    }
    if key.parts.len() > INDEX_COLUMNS_MAX {
        return Err(Error::too_many_key_parts(INDEX_COLUMNS_MAX));
    }
    let mut parts: Vec<IndexColumn> = Vec::with_capacity(key.parts.len());
    for part in &key.parts {
        let name = part.column.as_deref().ok_or_else(|| Error::unsupported("indexes over expressions"))?;
        if part.descending {
            // MySQL before 8.0 read past DESC; an index that is walked backward serves the same queries.
            tracing::debug!(name, "DESC in an index is read past");
        }
        let column =
            columns.iter().position(|c| c.name.eq_ignore_ascii_case(name)).ok_or_else(|| Error::no_key_column(name))?;
        if parts.iter().any(|p| p.column == column) {
            return Err(Error::duplicate_column(name));
        }
        parts.push(IndexColumn {
            column,
            prefix_length: prefix_length(&columns[column], part.length)?,
            collation_version: columns[column].ty.collation.weights_version(),
        });
        if primary {
            columns[column].ty.not_null = true;
            if columns[column].default == crate::catalog::model::ColumnDefault::Value(basalt_expr::value::Value::Null) {
                columns[column].default = crate::catalog::model::ColumnDefault::None;
            }
        }
    }
    let bytes: u64 = parts.iter().map(|p| key_part_bytes(&columns[p.column], p.prefix_length)).sum();
    if bytes > u64::from(INDEX_BYTES_MAX) {
        return Err(Error::key_too_long(INDEX_BYTES_MAX));
    }
    if let Some(name) = &key.name {
        names::check_index(name)?;
    }
    let name = match (&key.name, primary) {
        (_, true) => "PRIMARY".to_string(),
        (Some(name), _) => name.clone(),
        (None, _) => free_name(&columns[parts[0].column].name, others),
    };
    if !primary && name.eq_ignore_ascii_case("PRIMARY") {
        return Err(Error::wrong_index_name(&name));
    }
    if others.iter().any(|i| i.name.eq_ignore_ascii_case(&name)) {
        return Err(Error::duplicate_key_name(&name));
    }
    Ok(Index {
        id,
        name,
        columns: parts,
        unique,
        primary,
        state: SchemaState::Public,
        comment: key.comment.clone().unwrap_or_default(),
    })
}

/// Bytes that MySQL reckons for a column in a key.
fn key_part_bytes(column: &Column, prefix: Option<u32>) -> u64 {
    /// The widest type that is not a string.
    const OTHER_BYTES: u64 = 8;
    let ty = &column.ty;
    if !ty.is_string() {
        return OTHER_BYTES;
    }
    u64::from(prefix.unwrap_or(ty.length)) * u64::from(ty.collation.character_set().char_bytes_max())
}

fn prefix_length(column: &Column, length: Option<u32>) -> Result<Option<u32>> {
    let ty = &column.ty;
    match length {
        Some(0) => Err(Error::User {
            code: 1391,
            sqlstate: "HY000",
            message: format!("Key part '{}' length cannot be 0", column.name),
        }),
        Some(_) if !ty.is_string() => Err(Error::wrong_prefix()),
        Some(length) if length > INDEX_BYTES_MAX => Err(Error::key_too_long(INDEX_BYTES_MAX)),
        Some(length) if ty.blob_bytes_max().is_none() && length > ty.length => Err(Error::wrong_prefix()),
        // The whole column after all.
        Some(length) if ty.blob_bytes_max().is_none() && length == ty.length => Ok(None),
        Some(length) => Ok(Some(length)),
        None if ty.blob_bytes_max().is_some() => Err(Error::User {
            code: 1170,
            sqlstate: "42000",
            message: format!("BLOB/TEXT column '{}' used in key specification without a key length", column.name),
        }),
        None if ty.is_string() && ty.length > INDEX_BYTES_MAX => Err(Error::key_too_long(INDEX_BYTES_MAX)),
        None => Ok(None),
    }
}

/// The column's name, with a number behind it when that is taken.
fn free_name(column: &str, others: &[Index]) -> String {
    let taken = |name: &str| others.iter().any(|i| i.name.eq_ignore_ascii_case(name));
    if !taken(column) && !column.eq_ignore_ascii_case("PRIMARY") {
        return column.to_string();
    }
    (2..).map(|n| format!("{column}_{n}")).find(|name| !taken(name)).expect("there are more numbers than indexes")
}

fn check_auto_increment(columns: &[Column], indexes: &[Index]) -> Result<()> {
    let mut auto = columns.iter().enumerate().filter(|(_, c)| c.auto_increment);
    let Some((first, _)) = auto.next() else { return Ok(()) };
    let leads = indexes.iter().any(|i| i.columns.first().is_some_and(|c| c.column == first));
    if auto.next().is_some() || !leads { Err(Error::wrong_auto_increment()) } else { Ok(()) }
}
