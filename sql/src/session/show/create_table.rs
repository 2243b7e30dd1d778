//! SHOW CREATE TABLE: the statement that makes the table again, in MySQL's own layout, which dumps parse.

use crate::catalog::model::{Column, ColumnDefault, Index, Table};
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use std::fmt::Write;

/// The CREATE TABLE statement of `table`; `next_auto_increment` is shown when it is above 1.
pub fn create_table(table: &Table, next_auto_increment: Option<u64>) -> String {
    let mut lines: Vec<String> = table.public_columns().map(|(_, column)| column_line(column, &table.collation)).collect();
    lines.extend(table.indexes.iter().filter(|i| i.state == crate::catalog::model::SchemaState::Public).map(|i| index_line(table, i)));
    let mut out = format!("CREATE TABLE {} (\n  {}\n) ENGINE=InnoDB", quote(&table.name), lines.join(",\n  "));
    if let Some(next) = next_auto_increment.filter(|n| *n > 1) {
        let _ = write!(out, " AUTO_INCREMENT={next}");
    }
    let _ = write!(out, " DEFAULT CHARSET={} COLLATE={}", table.charset, table.collation);
    if !table.comment.is_empty() {
        let _ = write!(out, " COMMENT={}", quote_text(&table.comment));
    }
    out
}

fn column_line(column: &Column, table_collation: &str) -> String {
    let mut line = format!("{} {}", quote(&column.name), column.ty.sql_name());
    if column.ty.is_string() && !column.ty.is_binary_string() && column.ty.collation.name() != table_collation {
        let _ = write!(line, " COLLATE {}", column.ty.collation.name());
    }
    if column.ty.not_null {
        line.push_str(" NOT NULL");
    } else if matches!(column.ty.kind, basalt_expr::types::TypeKind::Timestamp) {
        line.push_str(" NULL");
    }
    match &column.default {
        ColumnDefault::None if column.ty.not_null || column.auto_increment || is_blob(&column.ty) => {}
        ColumnDefault::None | ColumnDefault::Value(Value::Null) => line.push_str(" DEFAULT NULL"),
        ColumnDefault::Value(value) => {
            let _ = write!(line, " DEFAULT {}", quote_text(&default_text(value, &column.ty)));
        }
        ColumnDefault::CurrentTimestamp(fsp) => line.push_str(&current_timestamp(" DEFAULT", *fsp)),
    }
    if column.on_update_now {
        line.push_str(&current_timestamp(" ON UPDATE", column.ty.decimals));
    }
    if column.auto_increment {
        line.push_str(" AUTO_INCREMENT");
    }
    if !column.comment.is_empty() {
        let _ = write!(line, " COMMENT {}", quote_text(&column.comment));
    }
    line
}

fn current_timestamp(before: &str, fsp: u8) -> String {
    if fsp == 0 { format!("{before} CURRENT_TIMESTAMP") } else { format!("{before} CURRENT_TIMESTAMP({fsp})") }
}

fn is_blob(ty: &FieldType) -> bool {
    ty.blob_bytes_max().is_some()
}

/// A default as text, as SHOW COLUMNS and information_schema print it.
pub fn default_text(value: &Value, ty: &FieldType) -> String {
    String::from_utf8_lossy(&crate::catalog::value_text(value, ty)).into_owned()
}

fn index_line(table: &Table, index: &Index) -> String {
    let columns = index
        .columns
        .iter()
        .map(|part| {
            let name = quote(&table.columns[part.column].name);
            part.prefix_length.map_or(name.clone(), |length| format!("{name}({length})"))
        })
        .collect::<Vec<_>>()
        .join(",");
    let comment = if index.comment.is_empty() { String::new() } else { format!(" COMMENT {}", quote_text(&index.comment)) };
    match (index.primary, index.unique) {
        (true, _) => format!("PRIMARY KEY ({columns}){comment}"),
        (_, true) => format!("UNIQUE KEY {} ({columns}){comment}", quote(&index.name)),
        _ => format!("KEY {} ({columns}){comment}", quote(&index.name)),
    }
}

/// An identifier between backticks.
pub fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn quote_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' => out.push_str("''"),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\0' => out.push_str("\\0"),
            other => out.push(other),
        }
    }
    out.push('\'');
    out
}
