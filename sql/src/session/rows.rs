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
