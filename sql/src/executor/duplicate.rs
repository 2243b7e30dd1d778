//! Says which value of which key is there already (1062): from the row that has it, as far as it is known, else from the
//! bytes of the key, which of a string under a collation that ignores case or accents tell only an equal one.

use super::rows;
use crate::catalog::model::{Handle, Table};
use crate::context::StatementContext;
use crate::error::Error;
use basalt_common::table_key::{self, TableKeyKind};
use basalt_expr::EvalContext;
use basalt_expr::cell::{self, format_value};
use basalt_expr::key::{IndexPart, decode_value};
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;
use bytes::Bytes;

/// Longest value shown.
const VALUE_BYTES_MAX: usize = 64;

/// The error for a key that exists, of whichever table of the schema it belongs to; `row` is the row, with its key, that
/// was to have it.
pub fn of_key(key: &[u8], row: Option<&(Bytes, Bytes)>, ctx: &StatementContext) -> Error {
    let table = table_key::decode(key).ok().and_then(|(id, _, _)| ctx.schema.table_by_id(id));
    match table {
        Some((_, table)) => of_table(table, key, row, ctx),
        None => Error::duplicate_entry(key.escape_ascii(), "unknown"),
    }
}

/// The error for a key of this table that exists.
pub fn of_table(table: &Table, key: &[u8], row: Option<&(Bytes, Bytes)>, ctx: &StatementContext) -> Error {
    let Ok((_, kind, rest)) = table_key::decode(key) else {
        return Error::duplicate_entry(key.escape_ascii(), "unknown");
    };
    let whole = |&offset: &usize| (offset, 0);
    let (name, parts): (&str, Vec<(usize, u32)>) = match kind {
        TableKeyKind::Row => {
            let parts = match &table.handle {
                Handle::Common(offsets) => offsets.iter().map(whole).collect(),
                Handle::Integer(offset) => vec![(*offset, 0)],
                Handle::Hidden => Vec::new(),
            };
            ("PRIMARY", parts)
        }
        TableKeyKind::Index(id) => match table.indexes.iter().find(|index| index.id == id) {
            Some(index) => {
                let parts = index.columns.iter().map(|c| (c.column, c.prefix_length.unwrap_or(0)));
                (index.name.as_str(), parts.collect())
            }
            None => ("unknown", Vec::new()),
        },
    };
    let from_row = || of_row(table, &parts, row?, ctx);
    let from_key = || match (kind, &table.handle) {
        (TableKeyKind::Row, Handle::Integer(offset)) => integer(rest, &table.columns[*offset].ty),
        (TableKeyKind::Row, Handle::Hidden) => integer(rest, &FieldType::bigint()),
        _ => values(rest, parts.iter().map(|(offset, _)| table.columns[*offset].ty.clone()), &ctx.eval),
    };
    let value = from_row().or_else(from_key).unwrap_or_else(|| rest.escape_ascii().to_string());
    Error::duplicate_entry(value, format!("{}.{name}", table.name))
}

/// The key's values in a stored row; columns with the length of their prefix in the key, 0 for the whole.
fn of_row(table: &Table, parts: &[(usize, u32)], row: &(Bytes, Bytes), ctx: &StatementContext) -> Option<String> {
    let values = rows::decode(table, std::iter::once((&row.0[..], &row.1[..]))).ok()?.pop()?;
    let part = |&(offset, prefix_length): &(usize, u32)| {
        let ty = table.columns[offset].ty.clone();
        let value = IndexPart { ty: ty.clone(), prefix_length }.cut(&values[offset]);
        shown(&cell::value_shown_in(&ctx.eval.time_zone, &ty, value), &ty)
    };
    Some(joined(parts.iter().map(part).collect()))
}

fn integer(handle: &[u8], ty: &FieldType) -> Option<String> {
    let handle = basalt_expr::key::Handle::decode(handle, true).ok()?;
    handle.to_integer(ty.unsigned).map(|value| text(&value, ty))
}

fn values(mut rest: &[u8], types: impl Iterator<Item = FieldType>, eval: &EvalContext) -> Option<String> {
    let mut parts = Vec::new();
    for ty in types {
        let value = decode_value(&mut rest, &ty).ok()?;
        parts.push(shown(&cell::value_shown_in(&eval.time_zone, &ty, value), &ty));
    }
    Some(joined(parts))
}

fn joined(parts: Vec<String>) -> String {
    let mut joined = parts.join("-");
    if joined.len() > VALUE_BYTES_MAX {
        let end = (0..=VALUE_BYTES_MAX).rev().find(|&at| joined.is_char_boundary(at)).unwrap_or(0);
        joined.truncate(end);
    }
    joined
}

fn shown(value: &Value, ty: &FieldType) -> String {
    if value.is_null() { "NULL".to_string() } else { text(value, ty) }
}

fn text(value: &Value, ty: &FieldType) -> String {
    let mut out = Vec::new();
    format_value(ty, value, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
