//! SHOW DATABASES, TABLES, COLUMNS, INDEX: read off the statement's schema.

use super::create_table::{default_text, quote};
use crate::catalog::model::{Column, ColumnDefault, Database, Index, Schema, SchemaState, Table};
use crate::session::rows::{Rows, number, text, text_or_null, varchar};
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;

/// SHOW DATABASES.
pub fn databases(schema: &Schema) -> Rows {
    let mut rows = Rows::new(&[("Database", varchar())]);
    let mut names: Vec<&str> = schema.databases.values().map(|d| d.name.as_str()).collect();
    names.sort_unstable();
    names.into_iter().for_each(|name| rows.push(vec![text(name)]));
    rows
}

/// SHOW [FULL] TABLES.
pub fn tables(database: &Database, full: bool) -> Rows {
    let name = format!("Tables_in_{}", database.name);
    let mut columns = vec![(name.as_str(), varchar())];
    if full {
        columns.push(("Table_type", varchar()));
    }
    let mut rows = Rows::new(&columns);
    for table in database.tables.values() {
        let mut row = vec![text(&table.name)];
        if full {
            row.push(text("BASE TABLE"));
        }
        rows.push(row);
    }
    rows
}

/// SHOW TABLE STATUS.
pub fn table_status(database: &Database, rows_of: impl Fn(&Table) -> u64) -> Rows {
    let big = FieldType::bigint_unsigned;
    let mut rows = Rows::new(&[
        ("Name", varchar()),
        ("Engine", varchar()),
        ("Version", big()),
        ("Row_format", varchar()),
        ("Rows", big()),
        ("Avg_row_length", big()),
        ("Data_length", big()),
        ("Max_data_length", big()),
        ("Index_length", big()),
        ("Data_free", big()),
        ("Auto_increment", big()),
        ("Create_time", FieldType::datetime(0)),
        ("Update_time", FieldType::datetime(0)),
        ("Check_time", FieldType::datetime(0)),
        ("Collation", varchar()),
        ("Checksum", big()),
        ("Create_options", varchar()),
        ("Comment", varchar()),
    ]);
    for table in database.tables.values() {
        let created = basalt_expr::temporal::DateTime::from_micros(table.created_unix_ms as i64 * 1000);
        rows.push(vec![
            text(&table.name),
            text("InnoDB"),
            number(10),
            text("Dynamic"),
            number(rows_of(table)),
            number(0),
            number(0),
            number(0),
            number(0),
            number(0),
            Value::Null,
            created.map_or(Value::Null, |t| Value::DateTime(t.truncate(0))),
            Value::Null,
            Value::Null,
            text(&table.collation),
            Value::Null,
            text(""),
            text(&table.comment),
        ]);
    }
    rows
}

/// SHOW [FULL] COLUMNS, DESCRIBE.
pub fn columns(table: &Table, full: bool) -> Rows {
    let mut names = vec![("Field", varchar()), ("Type", varchar())];
    if full {
        names.push(("Collation", varchar()));
    }
    names.extend([("Null", varchar()), ("Key", varchar()), ("Default", varchar()), ("Extra", varchar())]);
    if full {
        names.extend([("Privileges", varchar()), ("Comment", varchar())]);
    }
    let mut rows = Rows::new(&names);
    for (offset, column) in table.public_columns() {
        let mut row = vec![text(&column.name), text(column.ty.sql_name())];
        if full {
            let is_text = column.ty.is_string() && !column.ty.is_binary_string();
            row.push(text_or_null(is_text.then(|| column.ty.collation.name())));
        }
        row.extend([
            text(if column.ty.not_null { "NO" } else { "YES" }),
            text(key_of(table, offset)),
            text_or_null(shown_default(column)),
            text(extra(column)),
        ]);
        if full {
            row.extend([text("select,insert,update,references"), text(&column.comment)]);
        }
        rows.push(row);
    }
    rows
}

/// `PRI`, `UNI`, `MUL` or nothing, as MySQL's DESCRIBE marks a column.
pub fn key_of(table: &Table, offset: usize) -> &'static str {
    let leads = |index: &Index| index.columns.first().is_some_and(|c| c.column == offset);
    let public = || table.indexes.iter().filter(|i| i.state == SchemaState::Public);
    if public().any(|i| i.primary && i.columns.iter().any(|c| c.column == offset)) {
        "PRI"
    } else if public().any(|i| i.unique && i.columns.len() == 1 && leads(i)) {
        "UNI"
    } else if public().any(leads) {
        "MUL"
    } else {
        ""
    }
}

/// A column's default as DESCRIBE and information_schema print it; `None` = NULL.
pub fn shown_default(column: &Column) -> Option<String> {
    match &column.default {
        ColumnDefault::None | ColumnDefault::Value(Value::Null) => None,
        ColumnDefault::Value(value) => Some(default_text(value, &column.ty)),
        ColumnDefault::CurrentTimestamp(0) => Some("CURRENT_TIMESTAMP".into()),
        ColumnDefault::CurrentTimestamp(fsp) => Some(format!("CURRENT_TIMESTAMP({fsp})")),
    }
}

/// `auto_increment`, `DEFAULT_GENERATED on update CURRENT_TIMESTAMP`, …
pub fn extra(column: &Column) -> String {
    let mut parts = Vec::new();
    if column.auto_increment {
        parts.push("auto_increment".to_string());
    }
    if matches!(column.default, ColumnDefault::CurrentTimestamp(_)) {
        parts.push("DEFAULT_GENERATED".to_string());
    }
    if column.on_update_now {
        let fsp = column.ty.decimals;
        parts.push(if fsp == 0 { "on update CURRENT_TIMESTAMP".into() } else { format!("on update CURRENT_TIMESTAMP({fsp})") });
    }
    parts.join(" ")
}

/// SHOW INDEX.
pub fn index(table: &Table) -> Rows {
    let big = FieldType::bigint;
    let mut rows = Rows::new(&[
        ("Table", varchar()),
        ("Non_unique", big()),
        ("Key_name", varchar()),
        ("Seq_in_index", big()),
        ("Column_name", varchar()),
        ("Collation", varchar()),
        ("Cardinality", big()),
        ("Sub_part", big()),
        ("Packed", varchar()),
        ("Null", varchar()),
        ("Index_type", varchar()),
        ("Comment", varchar()),
        ("Index_comment", varchar()),
        ("Visible", varchar()),
        ("Expression", varchar()),
    ]);
    for index in table.indexes.iter().filter(|i| i.state == SchemaState::Public) {
        for (position, part) in index.columns.iter().enumerate() {
            let column = &table.columns[part.column];
            rows.push(vec![
                text(&table.name),
                Value::Int(i64::from(!index.unique)),
                text(&index.name),
                Value::Int(position as i64 + 1),
                text(&column.name),
                text("A"),
                Value::Int(0),
                part.prefix_length.map_or(Value::Null, |n| Value::Int(i64::from(n))),
                Value::Null,
                text(if column.ty.not_null { "" } else { "YES" }),
                text("BTREE"),
                text(""),
                text(&index.comment),
                text("YES"),
                Value::Null,
            ]);
        }
    }
    rows
}

/// SHOW CREATE DATABASE.
pub fn create_database(database: &Database, if_not_exists: bool) -> Rows {
    let mut rows = Rows::new(&[("Database", varchar()), ("Create Database", FieldType::varchar(1024))]);
    let statement = format!(
        "CREATE DATABASE {}{} /*!40100 DEFAULT CHARACTER SET {} COLLATE {} */",
        if if_not_exists { "/*!32312 IF NOT EXISTS*/ " } else { "" },
        quote(&database.name),
        database.charset,
        database.collation
    );
    rows.push(vec![text(&database.name), text(statement)]);
    rows
}
