//! CREATE statements from the catalog, as SHOW CREATE prints them: what a dump tool feeds to another server.

use super::model::{Column, ColumnDefault, Database, Index, Table};
use basalt_expr::collation::Collation;
use basalt_expr::types::{FieldType, TypeKind};
use std::fmt::Write as _;

/// CREATE DATABASE.
pub fn create_database(database: &Database, if_not_exists: bool) -> String {
    let condition = if if_not_exists { "/*!32312 IF NOT EXISTS*/ " } else { "" };
    format!(
        "CREATE DATABASE {condition}{} /*!40100 DEFAULT CHARACTER SET {}{} */ /*!80016 DEFAULT ENCRYPTION='N' */",
        quoted(&database.name),
        database.charset,
        if tells_collation(&database.collation) { format!(" COLLATE {}", database.collation) } else { String::new() }
    )
}

/// The collation is written where it is not its character set's own, and for utf8mb4, whose own was another in MySQL 5.
fn tells_collation(name: &str) -> bool {
    Collation::from_name(name).is_ok_and(|c| !c.is_default() || c == Collation::DEFAULT)
}

/// CREATE TABLE, without the next AUTO_INCREMENT number: every SQL server has taken others already.
pub fn create_table(table: &Table) -> String {
    let mut lines: Vec<String> = table.public_columns().map(|(_, column)| column_line(table, column)).collect();
    lines.extend(table.listed_indexes().map(|i| index_line(table, i)));
    let mut out = format!("CREATE TABLE {} (\n  {}\n) ENGINE=InnoDB", quoted(&table.name), lines.join(",\n  "));
    // Writing to a String cannot fail.
    let _ = write!(out, " DEFAULT CHARSET={}", table.charset);
    if tells_collation(&table.collation) {
        let _ = write!(out, " COLLATE={}", table.collation);
    }
    if !table.comment.is_empty() {
        let _ = write!(out, " COMMENT={}", literal(&table.comment));
    }
    out
}

fn column_line(table: &Table, column: &Column) -> String {
    let mut out = format!("{} {}", quoted(&column.name), column.ty.sql_name());
    if is_text(&column.ty) {
        // As in MySQL, the table's collation goes without saying only where it is its character set's default.
        let collation = column.ty.collation;
        if collation.name() != table.collation {
            let _ = write!(out, " CHARACTER SET {} COLLATE {}", collation.charset(), collation.name());
        } else if !collation.is_default() {
            let _ = write!(out, " COLLATE {}", collation.name());
        }
    }
    if column.ty.not_null {
        out.push_str(" NOT NULL");
    } else if column.ty.kind == TypeKind::Timestamp {
        out.push_str(" NULL");
    }
    match &column.default {
        ColumnDefault::Value(value) if value.is_null() => out.push_str(" DEFAULT NULL"),
        ColumnDefault::Value(_) => {
            let _ = write!(out, " DEFAULT {}", literal(&default_text(column).unwrap_or_default()));
        }
        ColumnDefault::CurrentTimestamp(digits) => {
            let _ = write!(out, " DEFAULT {}", now(*digits));
        }
        ColumnDefault::None if !column.ty.not_null && !is_blob(&column.ty) => out.push_str(" DEFAULT NULL"),
        ColumnDefault::None => {}
    }
    if column.on_update_now {
        let _ = write!(out, " ON UPDATE {}", now(column.ty.decimals));
    }
    if column.auto_increment {
        out.push_str(" AUTO_INCREMENT");
    }
    if !column.comment.is_empty() {
        let _ = write!(out, " COMMENT {}", literal(&column.comment));
    }
    out
}

fn index_line(table: &Table, index: &Index) -> String {
    let parts: Vec<String> = index
        .columns
        .iter()
        .map(|part| {
            let length = part.prefix_length.map_or_else(String::new, |n| format!("({n})"));
            format!("{}{length}", quoted(&table.columns[part.column].name))
        })
        .collect();
    let parts = parts.join(",");
    let mut out = match (index.primary, index.unique) {
        (true, _) => format!("PRIMARY KEY ({parts})"),
        (_, true) => format!("UNIQUE KEY {} ({parts})", quoted(&index.name)),
        _ => format!("KEY {} ({parts})", quoted(&index.name)),
    };
    if !index.comment.is_empty() {
        let _ = write!(out, " COMMENT {}", literal(&index.comment));
    }
    out
}

/// The text of a column's default, without quotes; `None` for NULL and none.
pub fn default_text(column: &Column) -> Option<String> {
    match &column.default {
        ColumnDefault::Value(value) if !value.is_null() => {
            let mut out = Vec::new();
            basalt_expr::cell::format_value(&column.ty, value, &mut out);
            Some(String::from_utf8_lossy(&out).into_owned())
        }
        ColumnDefault::CurrentTimestamp(digits) => Some(now(*digits)),
        _ => None,
    }
}

fn now(digits: u8) -> String {
    if digits == 0 { "CURRENT_TIMESTAMP".to_string() } else { format!("CURRENT_TIMESTAMP({digits})") }
}

fn is_text(ty: &FieldType) -> bool {
    ty.is_string() && ty.collation != Collation::Binary
}

fn is_blob(ty: &FieldType) -> bool {
    ty.blob_bytes_max().is_some()
}

/// A name between backticks.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A string between quotes.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
