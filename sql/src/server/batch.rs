//! Rows and columns as the rest of the server has them: Arrow batches, typed by [`FieldType`].
//!
//! The only file of the protocol layer that knows MySQL's types; what a value of a type looks like as text and in binary
//! is [`basalt_expr::cell`]'s.

use super::column::ColumnDef;
use super::constant::{ColumnFlags, TypeCode};
use super::error::MySqlError;
use super::result::{Protocol, RowWriter};
use arrow::record_batch::RecordBatch;
use basalt_expr::cell::CellFormatter;
use basalt_expr::types::FieldType;

impl ColumnDef {
    /// The definition of an expression's column; the names of a table's column are the caller's to add.
    pub fn of_type(name: impl Into<String>, ty: &FieldType) -> ColumnDef {
        let wire = ty.wire();
        ColumnDef {
            collation: wire.charset,
            length: wire.length,
            type_code: TypeCode(wire.type_code),
            flags: ColumnFlags(wire.flags),
            decimals: wire.decimals,
            ..ColumnDef::bigint(name)
        }
    }
}

impl RowWriter<'_> {
    /// Writes the rows of `batch`, whose columns have `types`, and waits for a client that reads slowly.
    ///
    /// # Errors
    /// When the batch does not have these types or the result these columns, or the client is gone.
    pub async fn batch(&mut self, types: &[FieldType], batch: &RecordBatch) -> Result<(), MySqlError> {
        let cells: Vec<CellFormatter<'_>> = types
            .iter()
            .zip(batch.columns())
            .map(|(ty, array)| CellFormatter::new(ty, array))
            .collect::<Result<_, _>>()
            .map_err(|error| MySqlError::internal(error.to_string()))?;
        let binary = self.protocol() == Protocol::Binary;
        for row in 0..batch.num_rows() {
            for cell in &cells {
                if cell.is_null(row) {
                    self.null();
                } else if binary {
                    self.raw_with(|out| cell.binary(row, out));
                } else {
                    self.bytes_with(|out| cell.text(row, out));
                }
            }
            self.end_row()?;
            self.back_pressure().await?;
        }
        Ok(())
    }
}
