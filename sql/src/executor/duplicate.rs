//! Says which value of which key is there already (1062), from the bytes of the key.

use crate::catalog::model::{Handle, Schema, Table};
use crate::error::Error;
use basalt_common::table_key::{self, TableKeyKind};
use basalt_expr::EvalContext;
use basalt_expr::cell::format_value;
use basalt_expr::key::decode_value;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;

/// Longest value shown.
const VALUE_BYTES_MAX: usize = 64;

/// The error for a key that exists, of whichever table of the schema it belongs to.
pub fn of_key(schema: &Schema, key: &[u8], eval: &EvalContext) -> Error {
    let table = table_key::decode(key).ok().and_then(|(id, _, _)| schema.table_by_id(id));
    match table {
        Some((_, table)) => of_table(table, key, eval),
        None => Error::duplicate_entry(key.escape_ascii(), "unknown"),
    }
}

/// The error for a key of this table that exists.
pub fn of_table(table: &Table, key: &[u8], eval: &EvalContext) -> Error {
    let Ok((_, kind, rest)) = table_key::decode(key) else {
        return Error::duplicate_entry(key.escape_ascii(), "unknown");
    };
    let column_type = |&offset: &usize| table.columns[offset].ty.clone();
    let (name, value) = match kind {
        TableKeyKind::Row => {
            let value = match &table.handle {
                Handle::Common(offsets) => values(rest, offsets.iter().map(column_type), eval),
                Handle::Integer(offset) => integer(rest, &table.columns[*offset].ty),
                Handle::Hidden => integer(rest, &FieldType::bigint()),
            };
            ("PRIMARY", value)
        }
        TableKeyKind::Index(id) => match table.indexes.iter().find(|index| index.id == id) {
            Some(index) => {
                let types = index.columns.iter().map(|c| column_type(&c.column));
                (index.name.as_str(), values(rest, types, eval))
            }
            None => ("unknown", None),
        },
    };
    let value = value.unwrap_or_else(|| rest.escape_ascii().to_string());
    Error::duplicate_entry(value, format!("{}.{name}", table.name))
}

fn integer(handle: &[u8], ty: &FieldType) -> Option<String> {
    let handle = basalt_expr::key::Handle::decode(handle, true).ok()?;
    handle.to_integer(ty.unsigned).map(|value| text(&value, ty))
}

fn values(mut rest: &[u8], types: impl Iterator<Item = FieldType>, eval: &EvalContext) -> Option<String> {
    let mut parts = Vec::new();
    for ty in types {
        let value = decode_value(&mut rest, &ty, &eval.time_zone).ok()?;
        parts.push(if value.is_null() { "NULL".to_string() } else { text(&value, &ty) });
    }
    let mut joined = parts.join("-");
    if joined.len() > VALUE_BYTES_MAX {
        let end = (0..=VALUE_BYTES_MAX).rev().find(|&at| joined.is_char_boundary(at)).unwrap_or(0);
        joined.truncate(end);
    }
    Some(joined)
}

fn text(value: &Value, ty: &FieldType) -> String {
    let mut out = Vec::new();
    format_value(ty, value, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
