//! Rows and columns as the rest of the server has them: Arrow batches, typed by [`FieldType`].
//!
//! The only file of the protocol layer that knows MySQL's types; what a value of a type looks like as text and in binary
//! is [`basalt_expr::cell`]'s.

use super::charset::ResultCharset;
use super::column::ColumnDef;
use super::constant::{ColumnFlags, TypeCode};
use super::error::MySqlError;
use super::result::{Protocol, RowWriter};
use arrow::record_batch::RecordBatch;
use basalt_expr::cell::{self, CellFormatter};
use basalt_expr::temporal::zone::TimeZone;
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
    /// Writes the rows of `batch`, whose columns have `types`, as `zone` and `charset` show them, and waits for a client
    /// that reads slowly.
    ///
    /// # Errors
    /// When the batch does not have these types or the result these columns, or the client is gone.
    pub async fn batch(
        &mut self,
        types: &[FieldType],
        batch: &RecordBatch,
        (zone, charset): (&TimeZone, ResultCharset),
    ) -> Result<(), MySqlError> {
        let columns: Vec<_> = types.iter().zip(batch.columns()).map(|(ty, a)| cell::shown_in(zone, ty, a)).collect();
        let cells: Vec<CellFormatter<'_>> = types
            .iter()
            .zip(&columns)
            .map(|(ty, array)| CellFormatter::new(ty, array))
            .collect::<Result<_, _>>()
            .map_err(|error| MySqlError::internal(error.to_string()))?;
        let conversions: Vec<_> = types.iter().map(|ty| charset.of_cells(ty)).collect();
        let binary = self.protocol() == Protocol::Binary;
        for row in 0..batch.num_rows() {
            for (cell, conversion) in cells.iter().zip(&conversions) {
                if cell.is_null(row) {
                    self.null();
                } else if let Some(charset) = conversion {
                    self.bytes_with(|out| cell.converted(row, *charset, out));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::column::ColumnSet;
    use crate::server::constant::Capabilities;
    use crate::server::packet::PacketWriter;
    use crate::server::result::{EndOfRows, ResultWriter};
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use basalt_expr::collation::Collation;
    use basalt_expr::types::TypeKind;
    use std::sync::Arc;
    use std::time::Duration;

    async fn rows(protocol: Protocol) -> Vec<u8> {
        rows_in(protocol, "xy", ResultCharset::default()).await
    }

    async fn rows_in(protocol: Protocol, text: &str, charset: ResultCharset) -> Vec<u8> {
        let types = [FieldType::new(TypeKind::Short), FieldType::new(TypeKind::VarChar)];
        let columns = ColumnSet::new(types.iter().map(|ty| ColumnDef::of_type("c", ty)).collect());
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(-2), None]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![None, Some(text)]));
        let batch = RecordBatch::try_from_iter([("a", numbers), ("b", texts)]).unwrap();
        let packets = PacketWriter::new(Box::new(tokio::io::sink()), Duration::from_secs(1));
        let mut out = ResultWriter::new(packets, tokio::sync::mpsc::channel(1).0);
        out.set_capabilities(Capabilities::OFFERED);
        out.start(protocol, 1, 1000);
        let mut writer = out.start_rows(&columns).unwrap();
        writer.batch(&types, &batch, (&TimeZone::utc(), charset)).await.unwrap();
        writer.finish(EndOfRows::default()).unwrap();
        out.packets().payload().clone()
    }

    #[tokio::test]
    async fn batches_in_both_protocols() {
        let end = b"\x07\0\0\x06\xfe\0\0\0\0\0\0";
        let text = rows(Protocol::Text).await;
        assert!(text.ends_with(&[b"\x04\0\0\x04\x02-2\xfb\x04\0\0\x05\xfb\x02xy", &end[..]].concat()));
        let binary = rows(Protocol::Binary).await;
        let expected = [b"\x04\0\0\x04\0\x08\xfe\xff\x05\0\0\x05\0\x04\x02xy", &end[..]].concat();
        assert!(binary.ends_with(&expected));
    }

    #[tokio::test]
    async fn text_is_sent_in_the_character_set_of_results() {
        let latin1 = ResultCharset(Some(Collation::Latin1Bin));
        let text = rows_in(Protocol::Text, "é日", latin1).await;
        assert!(text.windows(4).any(|w| w == b"\xfb\x02\xe9?"));
        let binary = rows_in(Protocol::Binary, "é日", latin1).await;
        assert!(binary.windows(3).any(|w| w == b"\x02\xe9?"));
    }
}
