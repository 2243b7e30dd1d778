//! Small results that the server makes up: SHOW, EXPLAIN, `ADMIN …`.

use crate::plan::OutputColumn;
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;

/// A result held in memory.
#[derive(Debug, Clone)]
pub struct Rows {
    /// Names and types.
    pub columns: Vec<OutputColumn>,
    /// Values, one vector a row.
    pub rows: Vec<Vec<Value>>,
}

impl Rows {
    /// No rows yet.
    pub fn new(columns: &[(&str, FieldType)]) -> Rows {
        let columns = columns
            .iter()
            .map(|(name, ty)| OutputColumn { name: (*name).to_string(), table: String::new(), origin: None, ty: ty.clone() })
            .collect();
        Rows { columns, rows: Vec::new() }
    }

    /// Adds a row; as many values as columns.
    pub fn push(&mut self, row: Vec<Value>) {
        debug_assert_eq!(row.len(), self.columns.len(), "a row has a value for each column");
        self.rows.push(row);
    }
}

/// A string value.
pub fn text(value: impl AsRef<str>) -> Value {
    Value::String(value.as_ref().into())
}

/// A string value, or NULL.
pub fn text_or_null(value: Option<impl AsRef<str>>) -> Value {
    value.map_or(Value::Null, text)
}

/// A number.
pub fn number(value: u64) -> Value {
    Value::UInt(value)
}

/// The type of most columns of SHOW.
pub fn varchar() -> FieldType {
    FieldType::varchar(256)
}

/// A value as its text, for messages and settings.
pub fn value_text(value: &Value) -> String {
    let mut out = Vec::new();
    match value {
        Value::Null => out.extend_from_slice(b"NULL"),
        Value::Int(v) => return v.to_string(),
        Value::UInt(v) => return v.to_string(),
        Value::Double(v) => return v.to_string(),
        Value::Decimal(v) => v.format(&mut out),
        Value::String(v) => return v.to_string(),
        Value::Bytes(v) => return String::from_utf8_lossy(v).into_owned(),
        Value::DateTime(v) => v.format(0, &mut out),
        Value::Time(v) => basalt_expr::temporal::format_time(*v, 0, &mut out),
    }
    String::from_utf8_lossy(&out).into_owned()
}
